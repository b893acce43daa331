// How the benchmarks count: TSC cycles, next to Google Benchmark's times, as the user counter "cycles" per operation.
#pragma once

#include <benchmark/benchmark.h>
#include <x86intrin.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace pollux::bench {

/// The mean over all iterations: for what is short and hot.
class MeanCycles {
public:
    explicit MeanCycles(benchmark::State& state) : state_(state), start_(__rdtsc()) {}
    ~MeanCycles() {
        const auto cycles = static_cast<double>(__rdtsc() - start_);
        state_.counters["cycles"] = cycles / static_cast<double>(state_.iterations());
    }

private:
    benchmark::State& state_;
    uint64_t start_;
};

/// The median burst: another process on the core does not count.
class BurstCycles {
public:
    void start() { started_ = __rdtsc(); }
    void stop() {
        const auto cycles = static_cast<uint32_t>(__rdtsc() - started_);
        if (bursts_.size() < max_bursts) bursts_.push_back(cycles);
    }
    void report(benchmark::State& state, uint32_t operations_per_burst) {
        std::ranges::nth_element(bursts_, bursts_.begin() + static_cast<ptrdiff_t>(bursts_.size() / 2));
        state.counters["cycles"] = static_cast<double>(bursts_[bursts_.size() / 2]) / operations_per_burst;
    }

private:
    static constexpr size_t max_bursts = 1'000'000;
    uint64_t started_ = 0;
    std::vector<uint32_t> bursts_;
};

/// The same order of visits in every run.
struct Xorshift {
    uint64_t state = 0x9e37'79b9'7f4a'7c15;
    uint32_t below(uint32_t bound) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return static_cast<uint32_t>((state >> 32) * bound >> 32);
    }
};

}  // namespace pollux::bench
