#!/bin/sh
# Compares this host with what the configuration needs: the same as `murmuring check`, whose words and exit codes it has.
# Without the binary it compares with sysctl.conf beside it (1,000,000 connections), which says less. Changes nothing.
#
#   check.sh [--config FILE] [--shards NUMBER] …
#
# MURMURING_BIN names the binary; otherwise it is looked for in PATH and in the build beside this folder.
set -eu
here=$(dirname "$0")
for binary in "${MURMURING_BIN:-}" murmuring "$here/../target/release/murmuring" "$here/../target/debug/murmuring"; do
    if [ -n "$binary" ] && command -v "$binary" >/dev/null; then exec "$binary" check "$@"; fi
done
echo "check.sh: no murmuring binary: build it with \`cargo build --release\`, or name it in MURMURING_BIN" >&2
for file in apply.sh values.sh sysctl.conf; do
    if [ ! -r "$here/$file" ]; then
        echo "check.sh: $file is missing beside it, too: copy the folder tuning/ whole" >&2
        exit 2
    fi
done
echo "check.sh: comparing with sysctl.conf alone; limits, ports, io_uring and the data directory are not looked at" >&2
"$here/apply.sh"
exit 2
