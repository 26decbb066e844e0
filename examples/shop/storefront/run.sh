# STOCK names the stock service; a name that does not resolve makes /up say so.
exec adstage sandbox shop web --listen "$HOST:$PORT" --page page.built --release "$ADSTAGE_RELEASE" --stock "${STOCK:-}"
