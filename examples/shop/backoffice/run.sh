exec adstage sandbox shop web --listen "$HOST:$PORT" --page page.built --release "$ADSTAGE_RELEASE"
