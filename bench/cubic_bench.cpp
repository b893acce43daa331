// Cubic::on_ack and HyStart::on_ack, many connections in turn as in a burst, their state in the cache. "cycles" is
// per ACK.
#include <benchmark/benchmark.h>

#include <array>
#include <vector>

#include "bench/cycles.hpp"
#include "tcp/cubic.hpp"
#include "tcp/hystart.hpp"

namespace pollux::tcp {
namespace {

using bench::BurstCycles;

constexpr uint32_t burst = 32, mss = 1448;

struct Sender {
    Cubic cubic;
    uint32_t cwnd = 0;
};

// An ACK of two segments for each of 32 senders, time passing as their round trip says. After 2 K every one loses.
void on_ack(benchmark::State& state) {
    const auto window = static_cast<uint32_t>(state.range(0));
    const auto rtt_us = static_cast<uint32_t>(state.range(1));
    std::array<Sender, burst> senders;
    const auto lose = [&](Sender& s) { s.cwnd = s.cubic.on_congestion(window * mss, mss); };
    for (Sender& s : senders) lose(s);
    Instant now{1h};
    BurstCycles cycles;
    for (auto _ : state) {
        now += Duration{std::max<int64_t>(int64_t{rtt_us} * 2 * mss / senders[0].cwnd, 1)};
        cycles.start();
        for (Sender& s : senders) s.cwnd = s.cubic.on_ack(s.cwnd, mss, 2 * mss, rtt_us, now);
        cycles.stop();
        for (Sender& s : senders) {
            if (s.cwnd > window * mss * 5 / 4) lose(s);
        }
        benchmark::ClobberMemory();
    }
    cycles.report(state, burst);
}
BENCHMARK(on_ack)
    ->Name("cubic/on_ack")
    ->ArgNames({"window", "rtt_us"})
    ->Args({20, 50'000})     // Reno-friendly first, then the curve
    ->Args({1'000, 50'000})  // the curve
    ->Args({1'000, 200})     // Reno-friendly all the time
    ->Args({100'000, 100'000});

// The first ACK of an epoch computes K: once per congestion event.
void new_epoch(benchmark::State& state) {
    std::array<Sender, burst> senders;
    BurstCycles cycles;
    for (auto _ : state) {
        for (Sender& s : senders) s.cwnd = s.cubic.on_congestion(1'000 * mss, mss);
        cycles.start();
        for (Sender& s : senders) s.cwnd = s.cubic.on_ack(s.cwnd, mss, 2 * mss, 50'000, Instant{1h});
        cycles.stop();
    }
    cycles.report(state, burst);
}
BENCHMARK(new_epoch)->Name("cubic/new_epoch");

void hystart_on_ack(benchmark::State& state) {
    struct Starting {
        HyStart hystart;
        SeqNum una;
        uint32_t cwnd = 10 * mss;
    };
    std::array<Starting, burst> senders{};
    BurstCycles cycles;
    for (auto _ : state) {
        cycles.start();
        for (Starting& s : senders) {
            s.una += 2 * mss;
            s.cwnd += s.hystart.on_ack(s.una, s.una + s.cwnd, 2 * mss, mss, 50'000).bytes;
        }
        cycles.stop();
        for (Starting& s : senders) {
            if (s.cwnd > 10'000 * mss) s = {};
        }
        benchmark::ClobberMemory();
    }
    cycles.report(state, burst);
}
BENCHMARK(hystart_on_ack)->Name("hystart/on_ack");

}  // namespace
}  // namespace pollux::tcp

BENCHMARK_MAIN();
