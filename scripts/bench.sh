#!/usr/bin/env bash
# The benchmarks, release build: medians of repetitions. Arguments go to each program, e.g. --benchmark_filter=KeepAlive.
# BENCH_REPETITIONS (default 5) sets the repetitions; BENCH_OUT=FOLDER keeps the JSON of each program there.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

setup
build release

# Autogroups make nice act only inside a session: a steady measurement raises the session's own.
if [ -w /proc/self/autogroup ]; then echo -19 >/proc/self/autogroup 2>/dev/null || true; fi

mapfile -t programs < <(find "$root/build/release/bench" -maxdepth 1 -type f -executable | sort)
[ "${#programs[@]}" -gt 0 ] || die "no benchmark in build/release/bench"
for program in "${programs[@]}"; do
    say "$(basename "$program")"
    out=()
    if [ -n "${BENCH_OUT:-}" ]; then
        mkdir -p "$BENCH_OUT"
        out=("--benchmark_out=$BENCH_OUT/$(basename "$program").json" --benchmark_out_format=json)
    fi
    "$program" --benchmark_repetitions="${BENCH_REPETITIONS:-5}" --benchmark_report_aggregates_only=true \
        --benchmark_enable_random_interleaving=true "${out[@]}" "$@"
done
