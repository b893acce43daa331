#!/usr/bin/env bash
# Builds what the attack suite needs and runs it: tests/attack/README.md. Needs root.
#   run.sh [--short | --long] [--row ATK-nn]... [--list]
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

setup
case " $* " in
    *" --list "* | *" --help "* | *" -h "*) ;;
    *)
        build asan apps/pollux-httpd tests/interop/dialer/pollux-test-dialer
        build release apps/pollux-httpd apps/pollux-ctl tests/attack/flood/pollux-test-flood
        ;;
esac
exec python3 "$root/tests/attack/run.py" "$@"
