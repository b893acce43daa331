#!/usr/bin/env bash
# Plants known bugs one after another and asks which conversation catches each: see README.md and run.sh --help.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

case " $* " in
    *" --help "* | *" -h "* | *" --list "*) ;;
    *) setup ;;
esac
exec python3 "$root/tests/mutation/run.py" "$@"
