#!/bin/sh
# Writes values into files of /proc and /sys, and remembers what was there. For apply.sh and irq.sh, which say what to
# write: on stdin a line each, `RULE PATH VALUE…`, where RULE is `least` (numbers are raised, never lowered) or `exactly`.
#
#   values.sh [--apply | --undo] [--root DIRECTORY] [--saved FILE]
#
# Without --apply or --undo it says what it would do and changes nothing. --apply writes; what it overwrites is saved
# first, once, so that a second run finds nothing to do. --undo writes back what was saved, and reads no stdin.
# --root is put in front of every path, for tests on a copy. Exit code 1 when something could not be written.
set -eu

mode=show root='' saved=''
while [ $# -gt 0 ]; do
    case $1 in
    --apply) mode=apply ;;
    --undo) mode=undo ;;
    --root) root=${2:?--root needs a directory}; shift ;;
    --saved) saved=${2:?--saved needs a file}; shift ;;
    *) echo "values.sh: unknown word $1" >&2; exit 2 ;;
    esac
    shift
done
saved=${saved:-$root/run/murmuring-tuning/saved}
failed=0

# Numbers of /proc are separated by tabs; a line is compared word by word. Some files are there and can't be read.
current() {
    content=$(cat "$root$1" 2>/dev/null) || return 1
    printf '%s' "$content" | tr -s '\t\n' '  ' | sed 's/^ *//; s/ *$//'
}

# Masks of CPUs have as many leading zeros as the kernel likes.
same() { [ "$(printf '%s' "$1" | sed 's/^[0,]*//')" = "$(printf '%s' "$2" | sed 's/^[0,]*//')" ]; }

# The value to write for `RULE NOW WANTED`.
goal() {
    awk -v rule="$1" -v now="$2" -v wanted="$3" 'BEGIN {
        count = split(wanted, words, " "); split(now, before, " ")
        for (i = 1; i <= count; i++) {
            word = words[i]
            if (rule == "least" && before[i] + 0 > word + 0) word = before[i]
            out = out (i > 1 ? " " : "") word
        }
        print out
    }'
}

write() {
    if { printf '%s\n' "$2" >"$root$1"; } 2>/dev/null; then return 0; fi
    echo "failed  $1: this user may not write it, or the kernel refuses $2" >&2
    failed=1
    return 1
}

remember() {
    if [ ! -f "$saved" ]; then
        mkdir -p "$(dirname "$saved")"
        : >"$saved"
    fi
    if awk -v path="$1" '$1 == path { found = 1 } END { exit found }' "$saved"; then
        printf '%s %s\n' "$1" "$2" >>"$saved"
    fi
}

set_one() {
    rule=$1 path=$2 wanted=$3
    if ! now=$(current "$path"); then
        echo "absent  $path"
        return
    fi
    value=$(goal "$rule" "$now" "$wanted")
    if same "$now" "$value"; then
        echo "ok      $path = $now"
    elif [ "$mode" = show ]; then
        echo "would   $path: $now -> $value"
    else
        remember "$path" "$now"
        if write "$path" "$value"; then echo "set     $path: $now -> $value"; fi
    fi
}

undo() {
    if [ ! -f "$saved" ]; then
        echo "nothing was saved in $saved"
        return
    fi
    while read -r path value; do
        if now=$(current "$path") && same "$now" "$value"; then
            echo "ok      $path = $now"
        elif write "$path" "$value"; then
            echo "back    $path: $now -> $value"
        fi
    done <"$saved"
    if [ "$failed" = 0 ]; then rm -f "$saved"; fi
}

if [ "$mode" = undo ]; then
    undo
else
    while read -r rule path value; do
        case $rule in
        least | exactly) set_one "$rule" "$path" "$value" ;;
        *) echo "values.sh: unknown rule $rule" >&2; exit 2 ;;
        esac
    done
    if [ "$mode" = show ]; then echo "nothing was changed; --apply does it, --undo takes it back"; fi
fi
exit "$failed"
