#!/bin/bash
# Spreads the work of network cards over the CPUs that the shards run on: one queue's interrupt a CPU, sending by the
# queue of the sending CPU (XPS), and, where a card has fewer queues than there are CPUs, packets to the CPU whose shard
# reads the socket (RPS and RFS).
#
#   irq.sh [--apply | --undo] [--root DIRECTORY] [DEVICE…]
#
# Without devices: all that are hardware. A dry run unless --apply or --undo is there; what --apply overwrites is saved in
# /run/murmuring-tuning/irq, which lasts as long as what was set: until the next boot. murmuring-tuning.service runs it
# at each one.
# Stop irqbalance first (`systemctl disable --now irqbalance`), or it moves the interrupts back.
#
# Why, and where it is written: Documentation/networking/scaling.rst ("RSS: IRQ configuration", "RPS", "RFS", "XPS") and
# Documentation/core-api/irq/irq-affinity.rst. A packet that is handled on another CPU than its shard's costs a wake
# between CPUs and cold caches on both. Not measured by us: loopback has neither interrupts nor queues.
# Interrupts that the kernel manages itself (NVMe, some cards) refuse to be moved: they are told and left.
set -eu
here=$(dirname "$0")
mode='' root='' devices=()
while [ $# -gt 0 ]; do
    case $1 in
    --apply | --undo) mode=$1 ;;
    --root) root=${2:?--root needs a directory}; shift ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "irq.sh: unknown word $1; --help shows all" >&2; exit 2 ;;
    *) devices+=("$1") ;;
    esac
    shift
done

# Flows that RFS remembers, of all devices; scaling.rst advises 32,768 for a server with moderately many.
FLOWS=32768

# The online CPUs, a number each: `0-3,8` becomes `0 1 2 3 8`.
cpus() {
    tr ',' '\n' <"$root/sys/devices/system/cpu/online" | while IFS=- read -r first last; do
        seq "$first" "${last:-$first}"
    done
}

# The mask of CPUs as the kernel writes it: groups of 32 bits, the highest first, with a comma between them.
mask() {
    awk -v list="$*" -v highest="${cpu[-1]}" 'BEGIN {
        count = split(list, numbers, " ")
        for (i = 1; i <= count; i++) group[int(numbers[i] / 32)] += 2 ^ (numbers[i] % 32)
        last = int(highest / 32)
        for (i = last; i >= 0; i--) out = out (i < last ? "," : "") sprintf(last > 0 ? "%08x" : "%x", group[i])
        print out
    }'
}

hardware() {
    local device
    for device in "$root"/sys/class/net/*; do
        if [ -e "$device/device" ]; then basename "$device"; fi
    done
}

# The interrupts of a device, in the order of its queues.
interrupts() {
    local irq
    if [ -d "$root/sys/class/net/$1/device/msi_irqs" ]; then
        for irq in "$root/sys/class/net/$1/device/msi_irqs"/*; do basename "$irq"; done | sort -n
    fi
}

# The CPUs of queue $1 of $2: every CPU is one queue's.
cpus_of_queue() {
    local place
    for ((place = $1 % ${#cpu[@]}; place < ${#cpu[@]}; place += $2)); do echo "${cpu[place]}"; done
}

queues() {
    local found=("$root/sys/class/net/$1/queues/$2"-*)
    if [ -e "${found[0]}" ]; then echo "${#found[@]}"; else echo 0; fi
}

device_lines() {
    local device=$1 place=0 irq queue
    for irq in $(interrupts "$device"); do
        echo "exactly /proc/irq/$irq/smp_affinity_list ${cpu[place % ${#cpu[@]}]}"
        place=$((place + 1))
    done
    local sending receiving
    sending=$(queues "$device" tx) receiving=$(queues "$device" rx)
    for ((queue = 0; queue < sending; queue++)); do
        # shellcheck disable=SC2046  # a word a CPU
        echo "exactly /sys/class/net/$device/queues/tx-$queue/xps_cpus $(mask $(cpus_of_queue "$queue" "$sending"))"
    done
    if [ "$receiving" -gt 0 ] && [ "$receiving" -lt "${#cpu[@]}" ]; then
        for ((queue = 0; queue < receiving; queue++)); do
            # shellcheck disable=SC2046
            echo "exactly /sys/class/net/$device/queues/rx-$queue/rps_cpus $(mask $(cpus_of_queue "$queue" "$receiving"))"
            echo "exactly /sys/class/net/$device/queues/rx-$queue/rps_flow_cnt $((FLOWS / receiving))"
        done
        echo "least /proc/sys/net/core/rps_sock_flow_entries $FLOWS"
    fi
}

set -- --saved "$root/run/murmuring-tuning/irq"
if [ -n "$root" ]; then set -- "$@" --root "$root"; fi
if [ "$mode" = --undo ]; then exec "$here/values.sh" --undo "$@"; fi
mapfile -t cpu < <(cpus)
if [ ${#devices[@]} = 0 ]; then mapfile -t devices < <(hardware); fi
if [ ${#devices[@]} = 0 ]; then
    echo "irq.sh: no network device of hardware here; name one" >&2
    exit 0
fi
for device in "${devices[@]}"; do
    if [ ! -d "$root/sys/class/net/$device" ]; then
        echo "irq.sh: no device $device" >&2
        exit 2
    fi
done
for device in "${devices[@]}"; do device_lines "$device"; done | "$here/values.sh" ${mode:+"$mode"} "$@"
