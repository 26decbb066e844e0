exec adstage sandbox shop courier --release "$ADSTAGE_RELEASE"
