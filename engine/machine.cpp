#include "engine/machine.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/random.h>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <stdexcept>

#include "config/secret_file.hpp"
#include "engine/impaired_queue.hpp"
#include "engine/sentence.hpp"

namespace pollux::engine {
namespace {

cpu_set_t own_cpus() {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    pthread_getaffinity_np(pthread_self(), sizeof cpus, &cpus);
    return cpus;
}

void fill_random(void* to, size_t size) {
    auto* at = static_cast<std::byte*>(to);
    while (size > 0) {
        const ssize_t got = getrandom(at, size, 0);
        if (got < 0) throw std::runtime_error("the kernel has no random bytes for our secrets: " + errno_text(errno));
        at += got;
        size -= static_cast<size_t>(got);
    }
}

uint16_t largest_mtu(const config::Settings& settings) {
    uint16_t mtu = 1500;
    for (const config::Port& port : settings.ports) mtu = std::max(mtu, port.mtu_bytes);
    return mtu;
}

size_t pools_bytes(const config::Settings& settings) {
    return settings.eal.cores.size() * packet_pool_bytes(settings.engine.packet_buffers, largest_mtu(settings));
}

// The lcores in the workers' order: EAL's main one first.
std::vector<unsigned> lcores() {
    std::vector<unsigned> all{rte_get_main_lcore()};
    unsigned lcore = 0;
    RTE_LCORE_FOREACH_WORKER(lcore) all.push_back(lcore);
    return all;
}

}  // namespace

struct Signals::Saved {
    struct sigaction term, interrupt, hangup;
    bool with_reload;
};

Signals::Signals(bool with_reload) : saved_(std::make_unique<Saved>()) {
    requests_ = reloads_ = 0;
    saved_->with_reload = with_reload;
    struct sigaction action {};
    action.sa_handler = [](int) { request_end(); };
    sigaction(SIGTERM, &action, &saved_->term);
    sigaction(SIGINT, &action, &saved_->interrupt);
    action.sa_handler = [](int) { reloads_.fetch_add(1, std::memory_order_relaxed); };
    action.sa_flags = SA_RESTART;
    if (with_reload) sigaction(SIGHUP, &action, &saved_->hangup);
}

Signals::~Signals() {
    sigaction(SIGTERM, &saved_->term, nullptr);
    sigaction(SIGINT, &saved_->interrupt, nullptr);
    if (saved_->with_reload) sigaction(SIGHUP, &saved_->hangup, nullptr);
}

Housekeeper::Housekeeper(const cpu_set_t& cpus, std::chrono::milliseconds interval,
                         std::function<void(bool last)> task, std::function<void()> look) {
    // What is not on time yet (workers that still allocate) is looked for again soon.
    thread_ = std::thread{[this, cpus, interval, task = std::move(task), look = std::move(look)] {
        pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus);  // not on the lcore that its maker is pinned to
        pthread_setname_np(pthread_self(), "housekeeper");
        std::unique_lock lock{mutex_};
        constexpr std::chrono::milliseconds beat{100};
        auto due = std::chrono::steady_clock::now() + interval;
        while (!wake_.wait_for(lock, std::min(interval, beat), [this] { return stopping_; })) {
            lock.unlock();
            look();
            if (std::chrono::steady_clock::now() >= due) {
                task(false);
                due += interval;
            }
            lock.lock();
        }
        lock.unlock();
        task(true);
    }};
}

void Housekeeper::stop() {
    {
        const std::lock_guard lock{mutex_};
        stopping_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
}

Machine::Machine(const config::Settings& settings, const std::function<void(const std::string&)>& on_notice,
                 bool opens, bool rereads)
    : settings_(settings),
      free_cpus_(own_cpus()),
      signals_(rereads),
      eal_(settings, pools_bytes(settings)),
      secrets_(make_secrets(settings.security.cookie_secret_file)),
      stack_settings_(settings.tcp) {
    if (!eal_.notice().empty() && on_notice) on_notice(eal_.notice());
    make_pools();
    make_ports(on_notice);
    make_exchange(opens);
    stack_settings_.wall_clock_at_zero_us = clock_.wall_at_zero_us();
    stack_settings_.syn_cookies = settings.security.syn_cookies;
    stack_settings_.cookie_period = settings.security.cookie_period;
    stack_settings_.cookie_secret_is_shared = !settings.security.cookie_secret_file.empty();
}

void Machine::make_pools() {
    size_t descriptors = 0;
    for (const config::Port& port : settings_.ports) descriptors += size_t{port.rx_descriptors} + port.tx_descriptors;
    size_t in_hand = 2 * transmit_batch;
    if (settings_.test.enabled) in_hand += settings_.ports.size() * 2 * ImpairedDirection::capacity;
    const size_t on_their_way = (lcores().size() - 1) * Exchange::ring_packets;  // to other workers
    if (settings_.engine.packet_buffers < descriptors + in_hand + on_their_way) {
        throw std::runtime_error("engine.packet_buffers is " + std::to_string(settings_.engine.packet_buffers) +
                                 ", the descriptors of the ports, one turn and the rings to other workers need " +
                                 std::to_string(descriptors + in_hand + on_their_way));
    }
    for (const unsigned lcore : lcores()) {
        pools_.push_back(make_packet_pool("packets-" + std::to_string(lcore), settings_.engine.packet_buffers,
                                          largest_mtu(settings_), static_cast<int>(rte_lcore_to_socket_id(lcore))));
    }
}

void Machine::make_ports(const std::function<void(const std::string&)>& on_notice) {
    std::vector<rte_mempool*> pools;
    for (const PacketPool& pool : pools_) pools.push_back(pool.get());
    if (settings_.ports.empty()) throw std::runtime_error("no [[port]] is configured: there is nothing to serve on");
    stack_settings_.mtu = UINT16_MAX;
    port_settings_ = settings_.ports;
    if (settings_.test.enabled) {
        // What is damaged behind the device's back must not be summed by it afterwards, nor called good by it before.
        for (config::Port& port : port_settings_) port.checksum_offload = config::ChecksumOffload::off;
        if (on_notice) on_notice(describe(settings_.test));
    }
    for (size_t i = 0; i < settings_.ports.size(); ++i) {
        ports_.push_back(
            std::make_unique<Port>(port_settings_[i], i, pools, eal_.last_words(), wants_log(settings_.eal)));
        interfaces_.push_back(ports_.back()->interface());
        stack_settings_.mtu = std::min(stack_settings_.mtu, settings_.ports[i].mtu_bytes);
        const std::chrono::seconds patience{settings_.ports[i].is_pci() ? 5 : 0};
        if (!ports_.back()->wait_for_link(patience) && on_notice) {
            on_notice("port " + interfaces_.back().name + " has no link yet");
        }
    }
}

void Machine::make_exchange(bool opens) {
    // The tables' key: a flow is hashed once, and nobody outside chooses which worker gets it.
    for (const auto& port : ports_) {
        if (opens) port->must_foresee_owners();
        owners_.push_back(port->ownership(secrets_.table));
    }
    std::vector<Waker*> wakers;
    for (uint32_t i = 0; i < workers(); ++i) {
        wakers_.push_back(std::make_unique<Waker>());
        wakers.push_back(wakers_.back().get());
    }
    if (workers() > 1) exchange_ = std::make_unique<Exchange>(wakers);
}

std::vector<NicQueue> Machine::queues(uint32_t worker) const {
    std::vector<NicQueue> queues;
    const auto queue = static_cast<uint16_t>(worker);
    for (const auto& port : ports_) {
        queues.emplace_back(port->id(), queue, port->wakes(), port->may_lack_peer(queue));
    }
    return queues;
}

WorkerSettings Machine::worker_settings(uint32_t worker) const {
    const uint64_t seed = secrets(worker).random_seed;
    WorkerSettings made;
    made.icmp = {settings_.engine.icmp_replies_per_second, stack_settings_.ttl, seed};
    made.announces = worker == 0;
    made.seed = seed * 0x9e37'79b9'7f4a'7c15;
    if (exchange_) made.crossing = {&exchange_->side(worker), owners_};
    return made;
}

tcp::Secrets Machine::secrets(uint32_t worker) const {
    tcp::Secrets own = secrets_;  // the same for all, so that any worker completes any handshake; but not the jitter
    own.random_seed += worker * 0x9e37'79b9'7f4a'7c15;
    return own;
}

std::vector<PortInfo> Machine::port_infos() const {
    std::vector<PortInfo> infos;
    for (const auto& port : ports_) infos.push_back(port->info());
    return infos;
}

Idle::Kind Machine::idle_kind() const {
    switch (settings_.engine.idle) {
        case config::Idle::spin: return Idle::Kind::spin;
        case config::Idle::adaptive: return Idle::Kind::adaptive;
        case config::Idle::automatic: break;
    }
    const bool virtual_port = std::any_of(settings_.ports.begin(), settings_.ports.end(),
                                          [](const config::Port& port) { return !port.is_pci(); });
    return virtual_port ? Idle::Kind::adaptive : Idle::Kind::spin;
}

void Machine::listen_all(tcp::Stack& stack) const {
    for (const config::Listen& listen : settings_.listens) {
        const tcp::Endpoint endpoint{listen.address, listen.port};
        if (!stack.listen(endpoint, listen.congestion)) {
            throw std::runtime_error("[[listen]] " + endpoint.to_string() + " stands twice in the settings");
        }
    }
}

void Machine::on_each_lcore(const std::function<void(uint32_t)>& work) const {
    // EAL waits for the others by a state of its own; that all they did happened before is said by the count.
    std::atomic<uint32_t> ended{0};
    struct Task {
        const std::function<void(uint32_t)>* work;
        uint32_t index;
        std::atomic<uint32_t>* ended;
    };
    const std::vector<unsigned> all = lcores();
    std::vector<Task> tasks;
    for (uint32_t i = 0; i < all.size(); ++i) tasks.push_back({&work, i, &ended});
    const auto call = [](void* task) {
        const auto& own = *static_cast<const Task*>(task);
        (*own.work)(own.index);
        own.ended->fetch_add(1, std::memory_order_release);
        return 0;
    };
    for (uint32_t i = 1; i < all.size(); ++i) rte_eal_remote_launch(call, &tasks[i], all[i]);
    work(0);
    rte_eal_mp_wait_lcore();
    [[maybe_unused]] const uint32_t others = ended.load(std::memory_order_acquire);
    assert(others + 1 == all.size());
}

tcp::Secrets make_secrets(const std::string& cookie_secret_file) {
    tcp::Secrets secrets;
    for (tcp::SipKey* key : {&secrets.table, &secrets.isn, &secrets.timestamps, &secrets.cookies}) {
        fill_random(&key->k0, sizeof key->k0);
        fill_random(&key->k1, sizeof key->k1);
    }
    fill_random(&secrets.random_seed, sizeof secrets.random_seed);
    if (cookie_secret_file.empty()) return secrets;
    const auto [k0, k1] = config::read_secret_file(cookie_secret_file);
    const tcp::SipKey shared{k0, k1};
    uint64_t purpose = 0;
    for (uint64_t* half : {&secrets.timestamps.k0, &secrets.timestamps.k1, &secrets.cookies.k0, &secrets.cookies.k1}) {
        *half = tcp::siphash_2_4(shared, std::as_bytes(std::span{&++purpose, 1}));
    }
    return secrets;
}

void add(tcp::PoolUse& total, const tcp::PoolUse& more) {
    total.connections += more.connections;
    total.half_open += more.half_open;
    total.time_wait += more.time_wait;
    total.send_entries += more.send_entries;
    total.chunks += more.chunks;
    total.receive_stores += more.receive_stores;
    total.recoveries += more.recoveries;
    total.segment_records += more.segment_records;
    total.table_entries += more.table_entries;
    total.timers += more.timers;
    total.pins += more.pins;
}

}  // namespace pollux::engine
