// BM_SynFlood: what a SYN of a flood costs the server's core, the whole turn: bursts of minimum or ordinary SYNs of
// ever new addresses and ports, received as real mbufs; checksums verified in software; the table asked; answered by a
// cookie, or by a record until the records are full (then dropped); frames written and summed in software.
//
// The device is memory, as in BM_KeepAliveTurn. The generator's work lies between the turns and is not counted.
// Cycles per SYN: `cycles_best_decile` (the gate) and `cycles_median` of the turns.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <stdexcept>

#include "bench/cycles.hpp"
#include "bench/memory_ground.hpp"

namespace {

using namespace pollux;
using bench::QueueHandle;
using tcp::Flags;
using tcp::IpAddress;

constexpr uint32_t flood_v4 = 0x0a63'0000;  // the server's network: 65,000 addresses

class SynSource {
public:
    SynSource(rte_mempool& pool, QueueHandle queue, bool v6, bool options)
        : pool_(pool), queue_(queue), v6_(v6), options_(options), server_v6_(*IpAddress::parse(bench::server_v6)) {}

    void send(tcp::Instant now) {
        tcp::Segment s;
        const uint32_t host = 2 + random_.below(65'000);
        IpAddress address = server_v6_;
        address.words[2] = random_.below(~0u);
        address.words[3] = host;
        s.flow = {v6_ ? address : IpAddress::from_v4(flood_v4 + host),
                  v6_ ? server_v6_ : IpAddress::from_v4(bench::server_v4),
                  static_cast<uint16_t>(1024 + random_.below(64'000)), 80};
        s.seq = tcp::SeqNum{random_.below(~0u)};
        s.flags = Flags::syn;
        s.window = 64'240;
        if (options_) {
            s.present = tcp::Present::mss | tcp::Present::window_scale | tcp::Present::sack_permitted |
                        tcp::Present::timestamps;
            s.mss = 1460;
            s.window_scale = 7;
            s.timestamps = {static_cast<uint32_t>(now.time_since_epoch().count() / 1000), 0};
        }
        rte_mbuf* packet = rte_pktmbuf_alloc(&pool_);
        if (packet == nullptr) throw std::runtime_error("no packet");
        const auto room = engine::room_of(*packet);
        tcp::wire::write_ethernet(room, bench::server_mac, bench::client_mac,
                                  v6_ ? tcp::wire::EtherType::ipv6 : tcp::wire::EtherType::ipv4);
        engine::set_size(*packet, bench::ip_at + tcp::wire::emit(s, room.subspan(bench::ip_at)));
        queue_.arrive(packet);
    }

    uint64_t collect() {
        sent_.clear();
        queue_.take_sent(sent_);
        const uint64_t answers = sent_.size();
        engine::release(sent_);
        return answers;
    }

private:
    rte_mempool& pool_;
    QueueHandle queue_;
    bool v6_, options_;
    IpAddress server_v6_;
    bench::Xorshift random_;
    std::vector<rte_mbuf*> sent_;
};

void BM_SynFlood(benchmark::State& state, bool v6, bool options, tcp::SynCookieMode cookies) {
    static bench::Ground ground;
    constexpr uint32_t burst = 32;
    const engine::Clock clock;
    engine::MemoryQueue queue;
    const auto interfaces = bench::server_interfaces();
    bench::Server<QueueHandle> server{100'000, 10, *ground.pool, {&queue}, interfaces, clock, {}, cookies};
    SynSource source{*ground.pool, {&queue}, v6, options};

    std::vector<uint32_t> turns;
    turns.reserve(1u << 20);
    uint64_t syns = 0, answers = 0;
    for (auto _ : state) {
        const tcp::Instant sent_at = clock.now();
        for (uint32_t i = 0; i < burst; ++i) source.send(sent_at);
        const uint64_t began = rte_rdtsc();
        server.turn(clock.now());
        const uint64_t took = rte_rdtsc() - began;
        if (turns.size() < turns.capacity()) turns.push_back(static_cast<uint32_t>(took));
        syns += burst;
        answers += source.collect();
    }
    const uint64_t by_cookie = server.counters[tcp::Verdict::cookie_sent];
    if (cookies == tcp::SynCookieMode::always && (answers != syns || by_cookie != syns)) {
        state.SkipWithError("a SYN was not answered by a cookie");
    }
    std::sort(turns.begin(), turns.end());
    const auto quantile = [&](size_t percent) {
        return static_cast<double>(turns[turns.size() * percent / 100]) / burst;
    };
    state.counters["cycles_best_decile"] = quantile(10);
    state.counters["cycles_median"] = quantile(50);
    state.counters["answered"] = static_cast<double>(answers) / static_cast<double>(syns);
}
BENCHMARK_CAPTURE(BM_SynFlood, cookies_v4, false, true, tcp::SynCookieMode::always);
BENCHMARK_CAPTURE(BM_SynFlood, cookies_v4_no_options, false, false, tcp::SynCookieMode::always);
BENCHMARK_CAPTURE(BM_SynFlood, cookies_v6, true, true, tcp::SynCookieMode::always);
BENCHMARK_CAPTURE(BM_SynFlood, records_v4, false, true, tcp::SynCookieMode::never);

}  // namespace

BENCHMARK_MAIN();
