// BM_Workers: do two cores serve twice as much as one? Each worker runs on a core of its own, with a queue of one
// port over net_ring, and on the same core a generator that plays its share of the clients: so what is compared is
// the whole loop, driver included, with nothing between the cores but what the workers themselves exchange. Owners
// are computed in software for every packet, as on a device that is not trusted.
//
// Arg: workers. Each iteration serves a fixed number of requests on every worker at the same time; items are
// requests. `cycles` are those of one core for a request, generator included: with perfect scaling they are the same
// for one worker and two. One worker alone has nobody to compute owners for.
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

/// A port with one queue for each worker.
class Wires {
public:
    explicit Wires(uint32_t workers) {
        static uint32_t number = 0;
        const std::string name = "bench" + std::to_string(number++);
        std::vector<rte_ring*> to_us, from_us;
        for (uint32_t i = 0; i < workers; ++i) {
            const auto ring = [&](const char* what) {
                return rte_ring_create((name + what + std::to_string(i)).c_str(), 1024, SOCKET_ID_ANY,
                                       RING_F_SP_ENQ | RING_F_SC_DEQ);
            };
            pools.push_back(
                engine::make_packet_pool(name + "p" + std::to_string(i), pool_packets, 1500, SOCKET_ID_ANY));
            pool_pointers_.push_back(pools.back().get());
            rings.push_back({ring("r"), ring("t")});
            to_us.push_back(rings.back().to_us);
            from_us.push_back(rings.back().from_us);
        }
        rte_eth_from_rings(name.c_str(), to_us.data(), workers, from_us.data(), workers, 0);
        settings_.device = "net_ring_" + name;
        settings_.addresses = {{tcp::IpAddress::from_v4(bench::server_v4), 16}};
        settings_.mac = bench::server_mac;
        port_ = std::make_unique<engine::Port>(settings_, 0, pool_pointers_);
        interfaces = {port_->interface()};
        owners = {port_->ownership({11, 22})};
    }
    ~Wires() {
        port_.reset();
        for (const Rings& pair : rings) {
            rte_ring_free(pair.to_us);
            rte_ring_free(pair.from_us);
        }
    }
    Wires(const Wires&) = delete;
    Wires& operator=(const Wires&) = delete;

    engine::NicQueue queue(uint32_t worker) const { return {port_->id(), static_cast<uint16_t>(worker)}; }

    std::vector<engine::PacketPool> pools;
    std::vector<Rings> rings;
    std::vector<engine::Interface> interfaces;
    std::vector<engine::Ownership> owners;

private:
    std::vector<rte_mempool*> pool_pointers_;
    config::Port settings_;
    std::unique_ptr<engine::Port> port_;
};

/// A worker and its generator, on one core.
class Pair {
public:
    Pair(Wires& wires, uint32_t index, const engine::Crossing& crossing)
        : server_(connections, 16, *wires.pools[index], wires.queue(index), wires.interfaces, clock_, crossing),
          generator_(connections, *wires.pools[index], wires.rings[index], [&](const bench::Client& client) {
              return wires.owners[0].owner_of(client.flow(), index) == index;
          }) {
        bench::open_all(generator_, server_, clock_);
    }
    /// `requests` of them, a burst a turn.
    void serve() {
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
    if (ground.cpus.size() < workers) return state.SkipWithError("not so many cores");
    Wires wires{workers};
    std::vector<std::unique_ptr<engine::Waker>> wakers;
    std::vector<engine::Waker*> waker_pointers;
    for (uint32_t i = 0; i < workers; ++i) {
        wakers.push_back(std::make_unique<engine::Waker>());
        waker_pointers.push_back(wakers.back().get());
    }
    engine::Exchange exchange{waker_pointers};

    std::atomic<bool> done{false};
    std::barrier line{workers + 1};
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < workers; ++i) {
        threads.emplace_back([&, i] {
            cpu_set_t cpu;
            CPU_ZERO(&cpu);
            CPU_SET(ground.cpus[i], &cpu);
            pthread_setaffinity_np(pthread_self(), sizeof cpu, &cpu);
            rte_thread_register();  // for a cache of packets of its own, as an lcore has
            {
                const engine::Crossing crossing =
                    workers > 1 ? engine::Crossing{&exchange.side(i), wires.owners} : engine::Crossing{};
                Pair pair{wires, i, crossing};
                line.arrive_and_wait();  // all are ready
                while (true) {
                    line.arrive_and_wait();
                    if (done) break;
                    pair.serve();
                    line.arrive_and_wait();
                }
            }
            rte_thread_unregister();
        });
    }
    line.arrive_and_wait();
    uint64_t cycles = 0;
    for (auto _ : state) {
        const uint64_t start = rte_rdtsc();
        line.arrive_and_wait();  // go
        line.arrive_and_wait();  // all have served
        cycles += rte_rdtsc() - start;
    }
    done = true;
    line.arrive_and_wait();
    for (std::thread& thread : threads) thread.join();
    const auto rounds = static_cast<double>(state.iterations());
    state.SetItemsProcessed(state.iterations() * workers * requests);
    state.counters["cycles"] = static_cast<double>(cycles) / (rounds * requests);
}
BENCHMARK(BM_Workers)->ArgName("workers")->Arg(1)->Arg(2)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
