#!/bin/sh
# Raises the settings of this host to those of a file for sysctl(8), and takes them back. A host's own larger value stays.
#
#   apply.sh [--apply | --undo] [--connections N] [--root DIRECTORY] [FILE]
#
# FILE is sysctl.conf beside this script, which is for 1,000,000 connections; with --connections N the numbers come from
# plan.sh instead. A dry run unless --apply or --undo is there. What --apply overwrites is saved in
# /run/murmuring-tuning/sysctl, which lasts as long as what was set: until the next boot. murmuring-tuning.service
# runs it at each one.
# In load.conf ranges are set exactly: its lines stand below a comment `# exactly`.
set -eu
here=$(dirname "$0")
words='' root='' connections='' file=''
while [ $# -gt 0 ]; do
    case $1 in
    --apply | --undo) words=$1 ;;
    --root) root=${2:?--root needs a directory}; shift ;;
    --connections) connections=${2:?--connections needs a number}; shift ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "apply.sh: unknown word $1; --help shows all" >&2; exit 2 ;;
    *) file=$1 ;;
    esac
    shift
done
file=${file:-$here/sysctl.conf}

settings() {
    if [ -n "$connections" ]; then "$here/plan.sh" "$connections" --print sysctl; else cat "$file"; fi
}

# Turns `key = value` into a line for values.sh.
lines() {
    awk '
        /^# exactly$/ { rule = "exactly"; next }
        /^[ \t]*(#|;|$)/ { next }
        {
            at = index($0, "="); key = substr($0, 1, at - 1); value = substr($0, at + 1)
            gsub(/[ \t]/, "", key); gsub(/\./, "/", key); gsub(/^[ \t]+|[ \t]+$/, "", value)
            print (rule ? rule : "least"), "/proc/sys/" key, value
            rule = ""
        }'
}

set -- --root "$root" --saved "$root/run/murmuring-tuning/sysctl"
if [ -z "$root" ]; then shift 2; fi
if [ "$words" = --undo ]; then exec "$here/values.sh" --undo "$@"; fi
found=$(settings)
printf '%s\n' "$found" | lines | "$here/values.sh" ${words:+"$words"} "$@"
