#!/usr/bin/env bash
# Measures every figure of docs/BENCHMARKS.md that fits a host of 2 CPUs and 24 GiB, and appends it to a file as JSON lines.
#
#   bench/figures.sh FILE.jsonl [PART ...]        all parts when none is named, in an hour and a half
#
# Parts: rounds (each figure beside its floor, ROUNDS times, 3 by default), sizes (rooms of 2 to 300,000 members),
# history (logs of 10^2 to 10^7 events), idle (10,000 and 100,000 sessions), million (a million, three times), held (a million
# for HOLD seconds, 1,800 by default), most (two million, then MOST, 2,600,000 by default), peers (other servers: bench/peers.sh).
# Not among all, since they need to be asked for: nodes (one server and clusters of one router), routers (one and two of them, on
# the FoundationDB cluster of CLUSTER_FILE).
#
# Nothing else should run on the host. For a million sessions its limits must be right: tuning/apply.sh --apply.
set -euo pipefail

if [ $# -lt 1 ]; then
    sed -n '2,12s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
lines=$(realpath -m "$1")
shift
bench=${MURMURING_BENCH:-$here/../target/release/murmuring-bench}
[ -x "$bench" ] || { echo "build it first: cargo build --release -p gateway -p bench" >&2; exit 2; }

# A run that misses a promise or a rate is told, and does not end the others.
measure() {
    echo
    "$bench" "$@" --json "$lines" || echo "figures.sh: '$*' ended with exit code $?" >&2
}

# Each scenario in the same minutes as what it is divided by.
rounds() {
    for _ in $(seq "${ROUNDS:-3}"); do
        measure floor accept --rounds 1
        measure storm --clients 60000
        measure floor send --rounds 1
        measure floor send --sends 100000 --rounds 1
        measure fanout --members 10000 --rate 10
        measure rooms --conversations 10 --members 1000 --burst 10 --rate 500
        measure rooms --conversations 100 --members 100 --burst 10 --rate 5000
        measure rooms --conversations 100 --members 100 --rate 1200
        measure floor sync --rounds 1
        measure floor store --bytes 100 --rounds 1
        measure durable --conversations 1
        measure durable --conversations 100000
        measure rooms --conversations 1000 --members 10 --find-peak
        measure rooms --conversations 1000 --members 10 --find-peak --engine memory
        for echoes in 20000 40000 60000; do
            measure floor echo --echoes "$echoes" --rounds 1
        done
        measure slow
    done
}

# As many deliveries a second in all sizes, so that what differs is the size.
sizes() {
    for _ in $(seq "${ROUNDS:-3}"); do
        for members in 2 10 100 1000 10000; do
            measure rooms --conversations "$((10000 / members))" --members "$members" --rate "$((40000 / members))"
        done
        measure fanout --members 100 --rate 20
        measure fanout --members 1000 --rate 20
        measure fanout --members 10000 --rate 4
    done
    measure fanout --members 100000 --rate 0.4 --time 30
    measure fanout --members 300000 --rate 0.2 --time 30
}

history() { measure history --power 7; }

idle() {
    for clients in 10000 100000; do
        measure idle --clients "$clients" --hold 120
    done
}

million() { measure idle --clients 1000000 --hold 120 --cycles 3; }

held() { measure idle --clients 1000000 --hold "${HOLD:-1800}"; }

most() {
    measure idle --clients 2000000 --hold 180
    measure idle --clients "${MOST:-2600000}" --hold 120
}

peers() { "$here/peers.sh" "$lines" "${ROUNDS:-3}"; }

# One server and a cluster in the same minutes, at as many deliveries a second.
nodes() {
    for _ in $(seq "${ROUNDS:-3}"); do
        for members in 10 1000; do
            for rate in $([ "$members" = 10 ] && echo 3000 || echo 90 40); do
                local rooms=(--conversations "$((10000 / members))" --members "$members" --rate "$rate" --shards 1)
                measure rooms "${rooms[@]}"
                measure rooms "${rooms[@]}" --gateways 1 --router-shards 1
            done
        done
        measure moves --gateways 2 --shards 1 --router-shards 2
    done
    measure fanout --members 100000 --rate 0.4 --time 30
    measure fanout --members 100000 --rate 0.4 --time 30 --gateways 3 --shards 1
}

routers() {
    local store=(--engine foundationdb --cluster-file "${CLUSTER_FILE:?a FoundationDB cluster file}")
    for _ in $(seq "${ROUNDS:-3}"); do
        for routers in 1 2; do
            measure durable --conversations 10000 --gateways 1 --routers "$routers" --shards 1 "${store[@]}"
        done
        measure moves --gateways 2 --routers 2 --shards 1 "${store[@]}"
    done
}

parts=("$@")
[ $# -gt 0 ] || parts=(rounds sizes history idle million held most peers)
for part in "${parts[@]}"; do
    case $part in
        rounds | sizes | history | idle | million | held | most | peers | nodes | routers) "$part" ;;
        *) echo "no such part: $part" >&2; exit 2 ;;
    esac
done
