#!/bin/sh
# What a number of connections needs: memory, limits, settings, shards, addresses for a load test.
#
#   plan.sh 1000000                              a page for people
#   plan.sh 1000000 --shards 57 --print sysctl   sysctl.conf for it; --print limits: limits.conf
#   plan.sh --users 10000000 --nodes 12 …        from users to nodes (docs/CAPACITY.md)
#
# All numbers are `murmuring plan`'s, so that there is one table of them. MURMURING_BIN names the binary; otherwise it is
# looked for in PATH and in the build beside this folder. Changes nothing.
set -eu
here=$(dirname "$0")
for binary in "${MURMURING_BIN:-}" murmuring "$here/../target/release/murmuring" "$here/../target/debug/murmuring"; do
    if [ -n "$binary" ] && command -v "$binary" >/dev/null; then exec "$binary" plan "$@"; fi
done
echo "plan.sh: no murmuring binary: build it with \`cargo build --release\`, or name it in MURMURING_BIN" >&2
exit 2
