#!/bin/sh
# nats-server with its WebSocket listener: `server.sh PORT`. A client speaks the protocol of NATS inside of its frames.
set -eu
directory=$(mktemp -d)
cat > "$directory/nats.conf" <<END
listen: "127.0.0.1:-1"
max_connections: 1000000
websocket { listen: "127.0.0.1:$1", no_tls: true, compression: false }
END
exec nats-server --config "$directory/nats.conf" --log "$directory/log"
