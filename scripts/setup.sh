#!/usr/bin/env bash
# Installs the Debian packages that Pollux needs and that are not there yet. Needs no network when all are there.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

setup
