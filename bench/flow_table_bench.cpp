// FlowTable in bursts of 32, as a turn uses it: hash all and prefetch their buckets, prefetch the records, then look
// up and compare tuples. Random flows, so that every look-up of a large table misses the caches; "cycles" is per
// operation, in TSC cycles; find_hit compares the tuple in a record of a connection's size, the line that
// processing the segment needs next; find_hit_table_only is the table without it.
#include <benchmark/benchmark.h>
#include <x86intrin.h>

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "bench/cycles.hpp"
#include "tcp/flow_table.hpp"
#include "tcp/pool.hpp"
#include "tcp/segment.hpp"
#include "tcp/siphash.hpp"

namespace pollux::tcp {
namespace {

using bench::BurstCycles;
using bench::Xorshift;

constexpr uint32_t burst = 32;
constexpr SipKey key{0x0706'0504'0302'0100, 0x0f0e'0d0c'0b0a'0908};

struct alignas(64) Record {  // as large as a connection
    FourTuple flow;
    std::array<std::byte, 156> rest;
};
static_assert(sizeof(Record) == 192);

FourTuple flow_of(uint32_t n) {
    return {.local_addr = IpAddress::from_v4(0xc000'0201),
            .remote_addr = IpAddress::from_v4(0x0a00'0000 + n / 60'000),
            .local_port = 80,
            .remote_port = static_cast<uint16_t>(1024 + n % 60'000)};
}

struct World {
    explicit World(uint32_t size) : pool(size), table(size) {
        for (uint32_t n = 0; n < size; ++n) {
            const uint32_t index = pool.take();
            pool[index].flow = flow_of(n);
            if (!table.insert(siphash_1_3(key, pool[index].flow), EntryRef::connection(index))) std::abort();
        }
    }
    Pool<Record> pool;
    FlowTable table;
};

World& world(uint32_t size) {  // one at a time: the largest takes 2 GB
    static std::unique_ptr<World> only;
    if (!only || only->pool.size() != size) only.reset(), only = std::make_unique<World>(size);
    return *only;
}

enum class Records { untouched, compared };

// first: flows [first, first + size) are asked for. Those from `size` on are in no table.
void look_up(benchmark::State& state, uint32_t first, Records records) {
    const auto size = static_cast<uint32_t>(state.range(0));
    const World& w = world(size);
    Xorshift random;
    BurstCycles cycles;
    std::array<FourTuple, burst> flows;
    std::array<uint64_t, burst> hashes;
    uint64_t operations = 0, found = 0;
    for (auto _ : state) {
        for (uint32_t i = 0; i < burst; ++i) {
            flows[i] = flow_of(first + random.below(size));
            hashes[i] = siphash_1_3(key, flows[i]);
        }
        cycles.start();
        for (const uint64_t hash : hashes) w.table.prefetch(hash);
        if (records == Records::compared) {
            for (const uint64_t hash : hashes) {
                if (const EntryRef ref = w.table.first_candidate(hash)) w.pool.prefetch(ref.index());
            }
        }
        for (uint32_t i = 0; i < burst; ++i) {
            const EntryRef ref = w.table.find(hashes[i], [&](EntryRef candidate) {
                return records == Records::untouched || w.pool[candidate.index()].flow == flows[i];
            });
            found += static_cast<bool>(ref);
        }
        cycles.stop();
        operations += burst;
    }
    if (first == 0 ? found != operations : found > operations / 100) state.SkipWithError("the table is wrong");
    cycles.report(state, burst);
}
void find_hit(benchmark::State& state) { look_up(state, 0, Records::compared); }
void find_hit_table_only(benchmark::State& state) { look_up(state, 0, Records::untouched); }
void find_miss(benchmark::State& state) { look_up(state, static_cast<uint32_t>(state.range(0)), Records::compared); }

// Bursts of entries of a table of the given size leave and come back.
void erase_insert(benchmark::State& state) {
    const auto size = static_cast<uint32_t>(state.range(0));
    World& w = world(size);
    Xorshift random;
    BurstCycles cycles;
    std::array<uint64_t, burst> hashes;
    std::array<uint32_t, burst> indices;
    for (auto _ : state) {
        const uint32_t start = random.below(size - burst);
        const uint32_t step = std::max(1u, (size - start) / burst);  // distinct
        for (uint32_t i = 0; i < burst; ++i) {
            indices[i] = start + i * step;
            hashes[i] = siphash_1_3(key, w.pool[indices[i]].flow);
        }
        bool done = true;
        cycles.start();
        for (const uint64_t hash : hashes) w.table.prefetch(hash);
        for (uint32_t i = 0; i < burst; ++i) done &= w.table.erase(hashes[i], EntryRef::connection(indices[i]));
        for (uint32_t i = 0; i < burst; ++i) done &= w.table.insert(hashes[i], EntryRef::connection(indices[i]));
        cycles.stop();
        if (!done) state.SkipWithError("the table is wrong");
    }
    cycles.report(state, 2 * burst);
}

// Size by size, so that each world is built once.
[[maybe_unused]] const bool registered = [] {
    for (const int64_t size : {1'000, 1'000'000, 10'000'000}) {
        benchmark::RegisterBenchmark("flow_table/find_hit", find_hit)->Arg(size);
        benchmark::RegisterBenchmark("flow_table/find_hit_table_only", find_hit_table_only)->Arg(size);
        benchmark::RegisterBenchmark("flow_table/find_miss", find_miss)->Arg(size);
        benchmark::RegisterBenchmark("flow_table/erase_insert", erase_insert)->Arg(size);
    }
    return true;
}();

}  // namespace
}  // namespace pollux::tcp

BENCHMARK_MAIN();
