#!/usr/bin/env bash
# The fuzzers of tests/fuzz: clang, libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer. Needs no root but for
# installing clang; the target `ingress` needs no huge pages and no device.
#
#   scripts/fuzz.sh [--seconds N] [--target T] [--keep] [--coverage]      60 seconds for each target by default
#
# --target T   only this one, as in tests/fuzz/README.md; may be repeated
# --keep       what is new goes into the corpus, which is made as small as its coverage allows
# --coverage   afterwards: which lines of the target's own files its corpus reaches
#
# Prints the executions of each. Exit status 0 only if nothing was found; what was stands in build/fuzz/finds and is
# given again by build/fuzz/tests/fuzz/pollux-fuzz-T FILE.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages+=(clang libclang-rt-14-dev llvm)  # for this script alone

seconds=60 keep=false coverage=false targets=()
while [ $# -gt 0 ]; do
    case $1 in
        --seconds)
            [[ ${2:-} =~ ^[0-9]+$ ]] || die "$1: found \"${2:-}\", expected a number"
            seconds=$2
            shift 2
            ;;
        --target)
            [ -d "$root/tests/fuzz/corpus/${2:-/}" ] ||
                die "$1: found \"${2:-}\", expected one of $(ls "$root/tests/fuzz/corpus" | tr '\n' ' ')"
            targets+=("$2")
            shift 2
            ;;
        --keep | --coverage)
            declare "${1#--}=true"
            shift
            ;;
        --help)
            sed -n '2,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        *) die "unknown argument $1; see --help" ;;
    esac
done
[ "${#targets[@]}" -gt 0 ] || mapfile -t targets < <(ls "$root/tests/fuzz/corpus")

program() { echo "tests/fuzz/pollux-fuzz-${1//_/-}"; }
longest_of() {  # bytes of an input
    case $1 in
        options) echo 48 ;;
        cookies) echo 256 ;;
        receive_store | scoreboard) echo 512 ;;
        settings | state_machine) echo 2048 ;;
        *) echo 1600 ;;
    esac
}

setup
programs=()
for target in "${targets[@]}"; do programs+=("$(program "$target")"); done
JOBS=2 build fuzz "${programs[@]}"

finds=$root/build/fuzz/finds
mkdir -p "$finds"
failed=0
for target in "${targets[@]}"; do
    corpus=$root/tests/fuzz/corpus/$target
    fuzzer=$root/build/fuzz/$(program "$target")
    work=$root/build/fuzz/work/$target
    log=$finds/$target.log
    mkdir -p "$work"
    options=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len="$(longest_of "$target")"
        -print_final_stats=1 -artifact_prefix="$finds/$target-")
    case $target in
        http_*) options+=(-dict="$root/tests/fuzz/http.dict") ;;
        settings) options+=(-dict="$root/tests/fuzz/settings.dict") ;;
    esac
    status=0
    "$fuzzer" "${options[@]}" "$work" "$corpus" >"$log" 2>&1 || status=$?
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    printf '%-16s %12s executions in %s s, %s files in the corpus\n' "$target" "${executions:-?}" "$seconds" \
        "$(find "$corpus" -type f | wc -l)"
    if [ "$status" -ne 0 ]; then
        failed=1
        say "$target: found something; the end of $log:"
        tail -n 40 "$log"
    elif $keep; then
        rm -rf "$work.least"
        mkdir -p "$work.least"
        "$fuzzer" -set_cover_merge=1 -max_len="$(longest_of "$target")" "$work.least" "$corpus" "$work" >"$log.merge" 2>&1
        rm -rf "$corpus" "$work"
        mv "$work.least" "$corpus"
        say "$target: the corpus has $(find "$corpus" -type f | wc -l) files now"
    fi
done

if $coverage; then
    build fuzz-coverage "${programs[@]}"
    python3 "$root/tests/fuzz/coverage.py" --build "$root/build/fuzz-coverage" --root "$root" "${targets[@]}"
fi
exit "$failed"
