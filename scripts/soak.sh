#!/usr/bin/env bash
# Many seeds of the simulator (tests/simulation), optimised, with assertions and without sanitizers. Needs no root, no DPDK.
#
#   scripts/soak.sh [--seeds N] [--from S] [--jobs J] [--both-ways]     200,000 seeds from 1 on all cores by default
#
# --both-ways plays each seed with and without the fast path and compares both after every turn.
#
# Prints seeds per second. Exit status 0 only if every seed held; a failing one prints the command that replays it.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

seeds=200000 from=1 jobs=$(nproc) more=()
while [ $# -gt 0 ]; do
    case $1 in
        --seeds | --from | --jobs)
            [[ ${2:-} =~ ^[0-9]+$ ]] || die "$1: found \"${2:-}\", expected a number"
            declare "${1#--}=$2"
            shift 2
            ;;
        --both-ways)
            more+=("$1")
            shift
            ;;
        --help)
            sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        *) die "unknown argument $1; see --help" ;;
    esac
done

build checked tests/simulation/pollux-simulate
say "soak: $seeds seeds from $from, $jobs at a time"
exec "$root/build/checked/tests/simulation/pollux-simulate" --seeds "$seeds" --from "$from" --jobs "$jobs" "${more[@]}"
