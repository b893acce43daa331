#!/usr/bin/env bash
# Every test, under AddressSanitizer and UndefinedBehaviorSanitizer, and the interoperation tests against the kernel's TCP on TAP
# devices. Needs root for these; without root they count as one failure. Ends with one line: N passed, N failed.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

setup
build asan
build release

results=$root/build/asan/results
rm -rf "$results"
mkdir -p "$results"

# Every program writes one XML file of its cases there; a program that crashes leaves none, which the summary counts.
say "tests of build/asan"
GTEST_OUTPUT=xml:$results/ meson test -C "$root/build/asan" --no-rebuild --print-errorlogs || true

say "interoperation with the kernel, curl, wrk and ab"
python3 "$root/tests/interop/run.py" --asan "$root/build/asan" --release "$root/build/release" \
    --xml "$results/interop.xml" || true

say "conformance"
python3 "$root/tests/check_conformance.py" --xml "$results/conformance.xml" "$root/tests/conformance.tsv" "$results" || true

python3 "$root/tests/summary.py" --build "$root/build/asan" --expect interop --expect conformance "$results"
