#!/usr/bin/env bash
# Our TCP's sender against Linux's over the same bad link: goodput in turns, or both beside each other (tests/interop/goodput.py).
# Needs root; everything happens in network namespaces of its own, which are removed at the end, after Ctrl-C too.
#
#   scripts/goodput.sh [--runs N] [--seconds S] [--only TEXT] [--json FILE]      loss x round trip, four minutes
#   scripts/goodput.sh --fairness ...                                             on one bottleneck, nine minutes
#   scripts/goodput.sh --help                                                     all options
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

program=(python3 "$root/tests/interop/goodput.py" --build "$root/build/release")
for argument; do
    [ "$argument" != --help ] || exec "${program[@]}" --help
done
need_root_and_tun
build release apps/pollux-ctl tests/interop/dialer/pollux-test-dialer tests/interop/link/pollux-test-link >&2
called=scripts/goodput.sh
[ $# -eq 0 ] || called+=$(printf ' %q' "$@")
exec "${program[@]}" --called "$called" "$@"
