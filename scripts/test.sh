#!/usr/bin/env bash
# Every test, under AddressSanitizer and UndefinedBehaviorSanitizer; those of the engine under ThreadSanitizer too; and the
# interoperation tests against the kernel's TCP on TAP devices. Needs root for these; without root they count as one failure. Ends with one line: N passed, N failed.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

setup
build asan
build tsan tests/engine/engine tests/engine/engine_launcher
build release

results=$root/build/asan/results
rm -rf "$results"
mkdir -p "$results"

# Every program writes one XML file of its cases there; a program that crashes leaves none, which the summary counts.
say "tests of build/asan"
GTEST_OUTPUT=xml:$results/ meson test -C "$root/build/asan" --no-rebuild --print-errorlogs || true

say "tests of build/tsan"
for program in engine engine_launcher; do
    GTEST_OUTPUT=xml:$results/${program}_tsan.xml timeout 600 "$root/build/tsan/tests/engine/$program" \
        >"$results/${program}_tsan.log" 2>&1 || tail -n 60 "$results/${program}_tsan.log"
done

say "interoperation with the kernel, curl, wrk and ab"
python3 "$root/tests/interop/run.py" --asan "$root/build/asan" --release "$root/build/release" \
    --xml "$results/interop.xml" || true

say "attacks, under sanitizers"
python3 "$root/tests/attack/run.py" --short --asan "$root/build/asan" --release "$root/build/release" \
    --xml "$results/attack.xml" || true

say "conformance"
python3 "$root/tests/check_conformance.py" --xml "$results/conformance.xml" "$root/tests/conformance.tsv" "$results" || true

python3 "$root/tests/summary.py" --build "$root/build/asan" --expect engine_tsan --expect engine_launcher_tsan \
    --expect interop --expect attack --expect conformance "$results"
