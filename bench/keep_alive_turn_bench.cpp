// BM_KeepAliveTurn: what one keep-alive request costs the server's core, the whole turn: a burst of GETs, as wrk
// sends them, received as real mbufs of a mempool; checksums verified in software; TCP with timestamps, RTT,
// congestion control and timers live; HTTP parsed and answered with 118 bytes (head and body); frames written and
// summed in software. Each request acknowledges the answer before it, as a client's does.
//
// What is not in it: a device's driver. The queue is memory, so the packets' descriptors cost nothing; the generator
// fills the frames just before the turn, so they are as warm as a device with DDIO makes them, or warmer. The clock
// is read once per turn, as in production.
//
// The generator (building requests, reading and releasing answers) runs between the turns. Its cycles are counted
// apart:
//
//     cycles_gross = everything          cycles_generator = between the turns          cycles_net = the difference
//
// each per request. Means suffer when the machine runs something else in between, so the turns are also kept one by
// one: cycles_net_median, and cycles_net_best_decile, which the gate uses. `fast_path` is the share of segments that
// met every expectation. Args: connections, burst.
#include <benchmark/benchmark.h>

#include "bench/keep_alive_rig.hpp"
#include "bench/memory_ground.hpp"

namespace {

using namespace pollux;
using bench::answer_size;
using bench::request;
using tcp::Flags;

using bench::Ground;
using bench::QueueHandle;
using bench::server_interfaces;
using Server = bench::Server<QueueHandle>;
using Generator = bench::Generator<QueueHandle>;

/// The head's size decides the body's: one connection asks once.
size_t body_for_answer(rte_mempool& pool, const engine::Clock& clock) {
    constexpr size_t probe = 10;  // two digits of Content-Length, as the final one has or nearly
    engine::MemoryQueue queue;
    const auto interfaces = server_interfaces();
    Server server{1, probe, pool, {&queue}, interfaces, clock};
    Generator generator{1, pool, {&queue}};
    bench::open_all(generator, server, clock);
    generator.send(generator.clients()[0], Flags::ack | Flags::psh, false, request, clock.now());
    server.turn(clock.now());
    generator.collect();
    const size_t head = generator.answer_bytes() - probe;
    return head < answer_size ? answer_size - head : 1;
}

void BM_KeepAliveTurn(benchmark::State& state) {
    static Ground ground;
    const auto connections = static_cast<uint32_t>(state.range(0));
    const auto burst = static_cast<uint32_t>(state.range(1));
    const engine::Clock clock;
    engine::MemoryQueue queue;
    const size_t body = body_for_answer(*ground.pool, clock);
    const auto interfaces = server_interfaces();
    Server server{connections, body, *ground.pool, {&queue}, interfaces, clock};
    Generator generator{connections, *ground.pool, {&queue}};
    bench::open_all(generator, server, clock);

    std::vector<uint32_t> turns;  // cycles of each
    turns.reserve(1u << 20);
    uint32_t next = 0;
    uint64_t requests = 0, answers = 0, in_turns = 0;
    const tcp::Counters before = server.counters;
    const uint64_t began = rte_rdtsc();
    for (auto _ : state) {
        const tcp::Instant sent_at = clock.now();
        for (uint32_t i = 0; i < burst; ++i) {
            generator.send(generator.clients()[next], Flags::ack | Flags::psh, false, request, sent_at);
            if (++next == connections) next = 0;
        }
        const uint64_t turn_began = rte_rdtsc();
        server.turn(clock.now());
        const uint64_t turn_cycles = rte_rdtsc() - turn_began;
        in_turns += turn_cycles;
        if (turns.size() < turns.capacity()) turns.push_back(static_cast<uint32_t>(turn_cycles));
        answers += generator.collect();
        requests += burst;
    }
    const uint64_t gross = rte_rdtsc() - began;
    const auto since = [&](tcp::Tally tally) { return static_cast<double>(server.counters[tally] - before[tally]); };
    if (answers != requests) state.SkipWithError("a request has no answer");

    const auto per_request = [&](uint64_t cycles) {
        return static_cast<double>(cycles) / static_cast<double>(requests);
    };
    state.counters["cycles_gross"] = per_request(gross);
    state.counters["cycles_generator"] = per_request(gross - in_turns);
    state.counters["cycles_net"] = per_request(in_turns);
    std::sort(turns.begin(), turns.end());
    const auto quantile = [&](size_t percent) {
        return turns.empty() ? 0.0 : static_cast<double>(turns[turns.size() * percent / 100]) / burst;
    };
    state.counters["cycles_net_median"] = quantile(50);
    state.counters["cycles_net_best_decile"] = quantile(10);
    state.counters["fast_path"] = since(tcp::Tally::fast_path) / since(tcp::Tally::segments_received);
    state.counters["answer_bytes"] = generator.answer_bytes();
}
BENCHMARK(BM_KeepAliveTurn)
    ->ArgNames({"connections", "burst"})
    ->Args({1000, 32})
    ->Args({1000, 1})
    ->Args({100'000, 32});

}  // namespace

BENCHMARK_MAIN();
