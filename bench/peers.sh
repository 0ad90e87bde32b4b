#!/usr/bin/env bash
# Measures Murmuring and other servers alike, one after the other, round by round, with the same clients in the same run.
#
#   bench/peers.sh FILE.jsonl [ROUNDS] [option of `murmuring-bench broadcast` ...]
#
# Needs node with npm, cargo, and nats-server (`apt-get install nats-server`); a server whose tools are missing is left out
# and said so. The others are as their documentation recommends for many small messages: no compression, TCP_NODELAY,
# read buffers of 4 KiB where the default is 128. None of them stores a message before it is delivered, numbers it, or
# takes a repeated one for what it is, as Murmuring does; `murmuring-memory` is Murmuring without a disk, to tell the two
# costs apart.
set -euo pipefail

if [ $# -lt 1 ]; then
    sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
lines=$(realpath -m "$1")
rounds=${2:-3}
options=("${@:3}")
bench=${MURMURING_BENCH:-$here/../target/release/murmuring-bench}
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

[ -x "$bench" ] || { echo "build it first: cargo build --release -p gateway -p bench" >&2; exit 2; }

# A program that takes a port as its argument, for each server that can be made here.
peers=()
if command -v node >/dev/null && command -v npm >/dev/null; then
    npm ci --silent --no-audit --no-fund --prefix "$here/peers/ws"
    printf '#!/bin/sh\nexec node %q "$1"\n' "$here/peers/ws/server.js" > "$made/ws"
    peers+=(ws:plain)
else
    echo "left out: ws (node and npm are missing)" >&2
fi
cargo build --quiet --release --locked --manifest-path "$here/peers/tungstenite/Cargo.toml"
printf '#!/bin/sh\nexec %q "$1"\n' "$here/peers/tungstenite/target/release/peer-tungstenite" > "$made/tokio-tungstenite"
peers+=(tokio-tungstenite:plain)
if command -v nats-server >/dev/null; then
    printf '#!/bin/sh\nexec %q "$1"\n' "$here/peers/nats/server.sh" > "$made/nats-server"
    peers+=(nats-server:nats)
else
    echo "left out: nats-server (apt-get install nats-server)" >&2
fi
chmod +x "$made"/*

measure() {
    echo
    "$bench" broadcast --json "$lines" "${options[@]}" "$@"
}

for _ in $(seq "$rounds"); do
    measure --peer murmuring --engine embedded
    measure --peer murmuring-memory --engine memory
    for peer in "${peers[@]}"; do
        measure --peer "${peer%:*}" --program "$made/${peer%:*}" --dialect "${peer#*:}"
    done
done

echo
"$bench" compare "$lines"
