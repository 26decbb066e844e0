# STOCK names the stock service; a name that does not resolve makes /up say so. STORE_PORT is the port of a store for orders, on this machine.
exec adstage sandbox shop web --listen "$HOST:$PORT" --page page.built --release "$ADSTAGE_RELEASE" --stock "${STOCK:-}" \
  --store "${STORE_PORT:+$HOST:$STORE_PORT}"
