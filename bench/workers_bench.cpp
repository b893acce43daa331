// BM_Workers: do two cores serve twice as much as one? Each worker runs on a core of its own, with a port
// over net_ring, and on the same core a generator that plays its share of the clients: so what is compared is
// the whole loop, driver included, with nothing between the cores but what the workers themselves exchange.
//
// Args: workers; whether owners are computed for every packet (rss = "software") or the queue is believed (rss =
// "device"). Each client's packets come to its owner's queue in either case. One worker alone has nobody to compute
// owners for.
//
// In each iteration every worker serves a fixed number of requests, all at the same time. `requests` a second are the
// sum of the workers' own rates; `cycles` are those of one core for a request, generator included: with perfect
// scaling they are the same for one worker and two.
#include <benchmark/benchmark.h>
#include <pthread.h>
#include <rte_eth_ring.h>
#include <rte_ring.h>

#include <atomic>
#include <barrier>
#include <thread>

#include "bench/keep_alive_rig.hpp"
#include "engine/eal.hpp"
#include "engine/exchange.hpp"
#include "engine/port.hpp"

namespace {

using namespace pollux;
using tcp::Flags;

constexpr uint32_t connections = 1'000;  // of each worker
constexpr uint32_t burst = engine::receive_burst;
constexpr uint32_t requests = 200'000;  // of each worker and iteration
constexpr uint32_t pool_packets = 8'191;

std::vector<uint16_t> cores() {
    cpu_set_t cpus;
    pthread_getaffinity_np(pthread_self(), sizeof cpus, &cpus);
    std::vector<uint16_t> all;
    for (uint16_t core = 0; core < CPU_SETSIZE; ++core) {
        if (CPU_ISSET(core, &cpus)) all.push_back(core);
    }
    return all;
}

/// EAL, once per process, before the affinity of its threads is changed.
struct Ground {
    Ground() : cpus(cores()), eal(settings(), 16 * engine::packet_pool_bytes(pool_packets, 1500)) {}
    config::Settings settings() const {
        config::Settings made;
        made.eal.huge_pages = engine::free_huge_pages() != engine::HugePages::none;
        made.eal.cores = {cpus.front()};
        return made;
    }
    std::vector<uint16_t> cpus;
    engine::Eal eal;
};

/// One queue's two rings, from the generator's end.
struct Rings {
    rte_ring *to_us, *from_us;
    void arrive(rte_mbuf* packet) {
        if (rte_ring_enqueue(to_us, packet) != 0) throw std::runtime_error("the ring is full");
    }
    void take_sent(std::vector<rte_mbuf*>& into) {
        const size_t had = into.size();
        into.resize(had + 2 * burst);
        const unsigned came =
            rte_ring_dequeue_burst(from_us, reinterpret_cast<void**>(into.data() + had), 2 * burst, nullptr);
        into.resize(had + came);
    }
};

/// A port with one queue: each worker has one of its own, because the queues of one net_ring port count their packets
/// side by side in one cache line, which costs two workers 2 % and is no doing of theirs.
class Wire {
public:
    Wire() {
        static uint32_t number = 0;
        const std::string name = "bench" + std::to_string(number++);
        const auto ring = [&](const char* what) {
            return rte_ring_create((name + what).c_str(), 1024, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
        };
        pool = engine::make_packet_pool(name + "p", pool_packets, 1500, SOCKET_ID_ANY);
        rings = {ring("r"), ring("t")};
        rte_eth_from_rings(name.c_str(), &rings.to_us, 1, &rings.from_us, 1, 0);
        settings_.device = "net_ring_" + name;
        settings_.addresses = {{tcp::IpAddress::from_v4(bench::server_v4), 16}};
        settings_.mac = bench::server_mac;
        rte_mempool* pools[] = {pool.get()};
        port_ = std::make_unique<engine::Port>(settings_, 0, pools);
        interfaces = {port_->interface()};
    }
    ~Wire() {
        port_.reset();
        rte_ring_free(rings.to_us);
        rte_ring_free(rings.from_us);
    }
    Wire(const Wire&) = delete;
    Wire& operator=(const Wire&) = delete;

    engine::NicQueue queue() const { return {port_->id(), 0}; }

    engine::PacketPool pool;
    Rings rings{};
    std::vector<engine::Interface> interfaces;

private:
    config::Port settings_;
    std::unique_ptr<engine::Port> port_;
};

/// A worker and its generator, on one core.
class Pair {
public:
    Pair(Wire& wire, uint32_t index, const engine::Ownership& owner, const engine::Crossing& crossing)
        : server_(connections, 16, *wire.pool, wire.queue(), wire.interfaces, clock_, crossing),
          generator_(connections, *wire.pool, wire.rings,
                     [&](const bench::Client& client) { return owner.owner_of(client.flow(), index) == index; }) {
        bench::open_all(generator_, server_, clock_);
    }
    /// `requests` of them, a burst a turn; the cycles that it took.
    uint64_t serve() {
        const uint64_t start = rte_rdtsc();
        uint32_t answers = 0;
        for (uint32_t asked = 0; asked < requests; asked += burst) {
            const tcp::Instant now = clock_.now();
            for (uint32_t i = 0; i < burst; ++i) {
                generator_.send(generator_.clients()[next_], Flags::ack | Flags::psh, false, bench::request, now);
                if (++next_ == connections) next_ = 0;
            }
            server_.turn(clock_.now());
            answers += generator_.collect();
        }
        if (answers != requests) throw std::runtime_error("a request has no answer");
        return rte_rdtsc() - start;
    }

private:
    engine::Clock clock_;
    bench::Server<engine::NicQueue> server_;
    bench::Generator<Rings> generator_;
    uint32_t next_ = 0;
};

void BM_Workers(benchmark::State& state) {
    static Ground ground;
    const auto workers = static_cast<uint32_t>(state.range(0));
    const bool computed = state.range(1) != 0;
    if (ground.cpus.size() < workers) return state.SkipWithError("not so many cores");
    const std::vector<std::unique_ptr<Wire>> wires = [&] {
        std::vector<std::unique_ptr<Wire>> made;
        for (uint32_t i = 0; i < workers; ++i) made.push_back(std::make_unique<Wire>());
        return made;
    }();
    const std::vector<engine::Ownership> software{engine::Ownership::software(workers, bench::secrets.table)};
    const std::vector<engine::Ownership> believed{engine::Ownership::device(workers, {}, {})};
    std::vector<std::unique_ptr<engine::Waker>> wakers;
    std::vector<engine::Waker*> waker_pointers;
    for (uint32_t i = 0; i < workers; ++i) {
        wakers.push_back(std::make_unique<engine::Waker>());
        waker_pointers.push_back(wakers.back().get());
    }
    engine::Exchange exchange{waker_pointers};

    std::atomic<bool> done{false};
    std::barrier line{workers + 1};
    std::vector<uint64_t> cycles(workers);  // of each, all iterations
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < workers; ++i) {
        threads.emplace_back([&, i] {
            cpu_set_t cpu;
            CPU_ZERO(&cpu);
            CPU_SET(ground.cpus[i], &cpu);
            pthread_setaffinity_np(pthread_self(), sizeof cpu, &cpu);
            rte_thread_register();  // for a cache of packets of its own, as an lcore has
            {
                engine::Crossing crossing;
                if (workers > 1) crossing = {&exchange.side(i), computed ? software : believed};
                Pair pair{*wires[i], i, software[0], crossing};
                line.arrive_and_wait();  // all are ready
                while (true) {
                    line.arrive_and_wait();
                    if (done) break;
                    cycles[i] += pair.serve();
                    line.arrive_and_wait();
                }
            }
            rte_thread_unregister();
        });
    }
    line.arrive_and_wait();
    for (auto _ : state) {
        line.arrive_and_wait();  // go
        line.arrive_and_wait();  // all have served
    }
    done = true;
    line.arrive_and_wait();
    for (std::thread& thread : threads) thread.join();
    const auto served = static_cast<double>(state.iterations()) * requests;
    double rate = 0, mean = 0;
    for (const uint64_t own : cycles) {
        rate += served * static_cast<double>(rte_get_tsc_hz()) / static_cast<double>(own);
        mean += static_cast<double>(own) / served / workers;
    }
    state.counters["requests"] = rate;
    state.counters["cycles"] = mean;
}
BENCHMARK(BM_Workers)
    ->ArgNames({"workers", "computed"})
    ->Args({1, 0})
    ->Args({2, 0})
    ->Args({2, 1})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
