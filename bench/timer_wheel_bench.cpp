// TimerWheel with a million nodes of a connection's size. "cycles" is per operation, in TSC cycles. Nodes whose turn
// it is are read and written before the clock starts, as the packet's processing has done; the rest is cold.
#include <benchmark/benchmark.h>
#include <x86intrin.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <vector>

#include "bench/cycles.hpp"
#include "tcp/pool.hpp"
#include "tcp/time.hpp"
#include "tcp/timer_wheel.hpp"

namespace pollux::tcp {
namespace {

using bench::BurstCycles;
using bench::Xorshift;

constexpr uint32_t burst = 32;
constexpr uint32_t no_limit = ~uint32_t{0};

struct alignas(64) Node {
    std::array<std::byte, 64> line_0{};
    Tick armed_at, deadline;
    alignas(64) uint32_t timer_slot = 0;
    uint32_t timer_cell = 0;
};
static_assert(sizeof(Node) == 192);

struct World {
    // Deadlines are spread evenly over the `spread` milliseconds that follow.
    World(uint32_t size, uint32_t spread) : nodes(size), wheel(nodes) {
        wheel.advance(Tick{now}, no_limit, [](uint32_t) { return Tick{}; });
        for (uint32_t i = 0; i < size; ++i) {
            nodes.take();
            arm(i, 1 + random.below(spread));
        }
    }
    void arm(uint32_t index, uint32_t distance) {
        nodes[index].deadline = Tick{now + distance};
        wheel.arm(index, nodes[index].deadline);
    }
    std::array<uint32_t, burst> near_nodes() {
        std::array<uint32_t, burst> indices;
        for (uint32_t& index : indices) {
            index = random.below(nodes.capacity());
            Tick deadline = nodes[index].deadline;
            benchmark::DoNotOptimize(deadline);
            nodes[index].deadline = deadline;
        }
        benchmark::ClobberMemory();
        _mm_mfence();
        return indices;
    }

    Pool<Node> nodes;
    TimerWheel<Node> wheel;
    Xorshift random;
    uint32_t now = 1'000'000;
};

// The sum, cascades and all, by the thread's own clock: for calls that take microseconds.
class SumCycles {
public:
    void start() { started_ = cpu_ns(); }
    void stop() { total_ += cpu_ns() - started_; }
    void report(benchmark::State& state, uint64_t operations) const {
        state.counters["cycles"] = static_cast<double>(total_) * tsc_ghz() / static_cast<double>(operations);
    }

private:
    static int64_t ns(clockid_t clock) {
        timespec time{};
        clock_gettime(clock, &time);
        return time.tv_sec * 1'000'000'000 + time.tv_nsec;
    }
    static int64_t cpu_ns() { return ns(CLOCK_THREAD_CPUTIME_ID); }
    static double tsc_ghz() {
        static const double ghz = [] {
            const int64_t since = ns(CLOCK_MONOTONIC);
            const uint64_t tsc = __rdtsc();
            while (ns(CLOCK_MONOTONIC) - since < 20'000'000) {
            }
            return static_cast<double>(__rdtsc() - tsc) / static_cast<double>(ns(CLOCK_MONOTONIC) - since);
        }();
        return ghz;
    }

    int64_t started_ = 0, total_ = 0;
};

// What each ACK does: the deadline moves later, the entry stays.
void arm_later(benchmark::State& state) {
    World world{static_cast<uint32_t>(state.range(0)), 5000};
    BurstCycles cycles;
    for (auto _ : state) {
        const auto indices = world.near_nodes();
        cycles.start();
        for (const uint32_t index : indices) world.arm(index, 6000);
        cycles.stop();
    }
    cycles.report(state, burst);
}
BENCHMARK(arm_later)->Name("timer_wheel/arm_later")->Arg(1'000)->Arg(1'000'000);

// A connection ends and another begins: both change the lists.
void cancel_and_arm(benchmark::State& state) {
    World world{static_cast<uint32_t>(state.range(0)), 5000};
    BurstCycles cycles;
    for (auto _ : state) {
        const auto indices = world.near_nodes();
        std::array<uint32_t, burst> distances;
        for (uint32_t& distance : distances) distance = 1 + world.random.below(5000);
        cycles.start();
        for (uint32_t i = 0; i < burst; ++i) {
            world.wheel.cancel(indices[i]);
            world.arm(indices[i], distances[i]);
        }
        cycles.stop();
    }
    cycles.report(state, 2 * burst);
}
BENCHMARK(cancel_and_arm)->Name("timer_wheel/cancel_and_arm")->Arg(1'000)->Arg(1'000'000);

// Every node is served once a second and armed for a second later: no deadline is ever moved in time. Cascades
// included.
void expire_each_second(benchmark::State& state) {
    World world{static_cast<uint32_t>(state.range(0)), 1000};
    SumCycles cycles;
    uint64_t operations = 0;
    for (auto _ : state) {
        Tick now{++world.now};
        cycles.start();
        world.wheel.advance(now, no_limit, [&](uint32_t index) {
            ++operations;
            return world.nodes[index].deadline = Tick{now.raw() + 1000};
        });
        cycles.stop();
    }
    cycles.report(state, std::max<uint64_t>(operations, 1));
}
BENCHMARK(expire_each_second)->Name("timer_wheel/expire_each_second")->Arg(1'000'000)->Iterations(5000);

// The life of a server: each node has a request a second, each request moves its idle deadline to five seconds later,
// and the wheel, when it gets to the old one, asks. Cycles per request: its share of advance; arm_later comes on top.
void request_each_second(benchmark::State& state) {
    World world{static_cast<uint32_t>(state.range(0)), 5000};
    const uint32_t requests_per_tick = world.nodes.capacity() / 1000;
    SumCycles cycles;
    uint64_t operations = 0, asked = 0;
    for (auto _ : state) {
        const Tick now{++world.now};
        for (uint32_t done = 0; done < requests_per_tick; done += burst) {
            const auto indices = world.near_nodes();
            for (const uint32_t index : indices) world.arm(index, 5000);
            operations += burst;
        }
        cycles.start();
        world.wheel.advance(now, no_limit, [&](uint32_t index) {
            ++asked;
            Tick& deadline = world.nodes[index].deadline;
            if (deadline.at_or_before(now))
                deadline = Tick{now.raw() + 5000};  // idle: a new connection takes its place
            return deadline;
        });
        cycles.stop();
    }
    cycles.report(state, operations);
    state.counters["asked_per_request"] = static_cast<double>(asked) / static_cast<double>(operations);
}
BENCHMARK(request_each_second)->Name("timer_wheel/request_each_second")->Arg(1'000'000)->Iterations(20000);

// A turn with nothing due, within the same millisecond and in a new one.
void advance_idle(benchmark::State& state) {
    World world{1000, 1};
    world.wheel.advance(Tick{world.now + 1}, no_limit, [&](uint32_t) { return Tick{world.now + (1u << 30)}; });
    world.now += 2;
    const auto step = static_cast<uint32_t>(state.range(0));
    BurstCycles cycles;
    for (auto _ : state) {
        cycles.start();
        for (uint32_t i = 0; i < burst; ++i) {
            world.now = world.now + step;
            benchmark::DoNotOptimize(world.wheel.advance(Tick{world.now}, no_limit, [](uint32_t) { return Tick{}; }));
        }
        cycles.stop();
        if (world.now > 1u << 29) break;
    }
    cycles.report(state, burst);
}
BENCHMARK(advance_idle)->Name("timer_wheel/advance_idle")->ArgName("new_tick")->Arg(0)->Arg(1)->Iterations(1'000'000);

}  // namespace
}  // namespace pollux::tcp

BENCHMARK_MAIN();
