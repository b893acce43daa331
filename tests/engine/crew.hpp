// Several workers on one real port over net_ring, with as many queues, and the test at the other end of the rings: it
// decides which queue each frame comes to, so it can be as wrong as the worst device.
//
// Turns are taken one by one with times of the test's own (turn()), or by threads that run as production does
// (run()).
#pragma once

#include <rte_eth_ring.h>
#include <rte_ring.h>

#include <atomic>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "engine/clock.hpp"
#include "engine/exchange.hpp"
#include "engine/idle.hpp"
#include "engine/port.hpp"
#include "tests/engine/rig.hpp"

namespace pollux::testing {

/// A client's side of one connection: it sends what it is told and keeps the numbers.
struct CrewClient {
    tcp::FourTuple flow;  // as it sends
    tcp::SeqNum seq{1000}, ack{0};
    uint32_t answers = 0, resets = 0;
    bool open = false;

    Bytes frame(Flags flags, std::string_view payload = {}) {
        Segment segment;
        segment.flow = flow;
        segment.seq = seq;
        segment.ack = ack;
        segment.flags = flags;
        segment.window = 65535;
        segment.payload = as_bytes(payload);
        Bytes made = tcp_frame(segment);
        seq = seq + segment.seq_length();
        return made;
    }
    /// Takes what the server sent.
    void hears(const Segment& segment) {
        if (segment.has(Flags::rst)) {
            ++resets;
            return;
        }
        if (segment.has(Flags::syn)) open = true;
        if (!segment.payload.empty()) ++answers;
        ack = segment.seq + segment.seq_length();
    }
    /// As the server sees it.
    tcp::FourTuple server_flow() const {
        return {flow.remote_addr, flow.local_addr, flow.remote_port, flow.local_port};
    }
};

class Crew {
public:
    /// `probes`: its IPv6 address is asked for before it is used. `owners`: instead of those that the port has.
    explicit Crew(uint32_t workers, bool probes = false, const std::optional<engine::Ownership>& owners = {})
        : number_(next_++) {
        for (uint32_t i = 0; i < workers; ++i) {
            pools_.push_back(make_test_pool(2047));
            pool_pointers_.push_back(pools_.back().get());
            to_us_.push_back(make_ring("rx" + std::to_string(i)));
            from_us_.push_back(make_ring("tx" + std::to_string(i)));
        }
        client_pool_ = make_test_pool(2047);
        rte_eth_from_rings(name().c_str(), to_us_.data(), workers, from_us_.data(), workers, 0);
        settings_.device = "net_ring_" + name();
        settings_.addresses = {{tcp::IpAddress::from_v4(our_v4), 24}, {our_v6, 64}};
        settings_.duplicate_address_detection = probes;
        settings_.gateway = tcp::IpAddress::from_v4(gateway_v4);
        settings_.gateway_v6 = gateway_v6;
        settings_.mac = our_mac;
        port_ = std::make_unique<engine::Port>(settings_, 0, pool_pointers_);
        interfaces_ = {port_->interface()};
        owners_ = {owners.value_or(port_->ownership(test_secrets().table))};
        std::vector<engine::Waker*> wakers;
        for (uint32_t i = 0; i < workers; ++i) {
            wakers_.push_back(std::make_unique<engine::Waker>());
            wakers.push_back(wakers_.back().get());
        }
        exchange_ = std::make_unique<engine::Exchange>(wakers);
        gate_ = std::make_unique<engine::Gate>(workers);
        for (uint32_t i = 0; i < workers; ++i) members_.push_back(std::make_unique<Member>(*this, i));
    }
    ~Crew() {
        stop();
        members_.clear();
        exchange_.reset();
        take_frames();
        port_.reset();
        for (size_t i = 0; i < to_us_.size(); ++i) {
            rte_ring_free(to_us_[i]);
            rte_ring_free(from_us_[i]);
        }
        for (const auto& pool : pools_) EXPECT_EQ(rte_mempool_avail_count(pool.get()), 2047u) << "packets were lost";
        EXPECT_EQ(rte_mempool_avail_count(client_pool_.get()), 2047u) << "packets of the client were lost";
    }
    Crew(const Crew&) = delete;
    Crew& operator=(const Crew&) = delete;

    struct Member {
        Member(Crew& crew, uint32_t index)
            : stack(small_stack_for_crew(), test_secrets(), counters),
              worker({{crew.port_->id(), static_cast<uint16_t>(index)}}, crew.interfaces_, stack, app, counters,
                     *crew.pools_[index], settings_for(crew, index)) {
            EXPECT_TRUE(stack.listen({{}, 80}));
        }
        static engine::WorkerSettings settings_for(Crew& crew, uint32_t index) {
            engine::WorkerSettings settings;
            settings.announces = false;
            settings.crossing = {&crew.exchange_->side(index), crew.owners_};
            settings.gate = &crew.gate_->post_of(index);
            return settings;
        }
        static tcp::StackSettings small_stack_for_crew() {
            tcp::StackSettings settings = small_stack();
            settings.capacity.connections = 1024;
            settings.capacity.half_open = 1024;
            settings.capacity.events = 4096;
            return settings;
        }
        tcp::Counters counters;
        tcp::Stack stack;
        CannedApp app;
        engine::Worker<engine::NicQueue, CannedApp> worker;
    };

    uint32_t workers() const { return static_cast<uint32_t>(members_.size()); }
    Member& operator[](uint32_t worker) { return *members_[worker]; }
    const engine::Port& port() const { return *port_; }
    engine::Gate& gate() { return *gate_; }
    void wake_all() {
        for (const auto& waker : wakers_) waker->wake();
    }
    uint32_t owner_of(const CrewClient& client) const { return owner_of(client.server_flow()); }
    uint32_t owner_of(const tcp::FourTuple& flow) const { return owners_[0].owner_of(flow, 0); }
    tcp::Instant now() const { return now_; }

    void deliver(uint32_t queue, std::span<const std::byte> frame) {
        rte_mbuf* packet = nullptr;
        while (!packet) packet = rte_pktmbuf_alloc(client_pool_.get());  // with threads, some is on its way back
        engine::packet_comes(packet);
        std::copy(frame.begin(), frame.end(), engine::room_of(*packet).begin());
        engine::set_size(*packet, frame.size());
        engine::packet_leaves(packet);
        while (rte_ring_enqueue(to_us_[queue], packet) != 0) std::this_thread::yield();
    }
    /// Every worker takes so many turns, one after the other.
    void turn(int times = 1) {
        for (int i = 0; i < times; ++i) {
            for (const auto& member : members_) member->worker.turn(now_);
        }
    }
    std::vector<Bytes> take_frames() {
        std::vector<Bytes> frames;
        for (rte_ring* ring : from_us_) {
            for (void* object = nullptr; rte_ring_dequeue(ring, &object) == 0;) {
                auto* packet = static_cast<rte_mbuf*>(object);
                engine::packet_comes(packet);
                const auto bytes = engine::bytes_of(*packet);
                frames.emplace_back(bytes.begin(), bytes.end());
                engine::release(packet);
            }
        }
        return frames;
    }
    void time_passes(tcp::Duration duration) { now_ += duration; }

    /// A thread for each worker, until stop().
    void run() {
        stopping_ = false;
        for (uint32_t i = 0; i < workers(); ++i) threads_.emplace_back([this, i] { loop(i); });
    }
    void stop() {
        stopping_ = true;
        wake_all();
        for (std::thread& thread : threads_) thread.join();
        threads_.clear();
    }

    uint64_t count(tcp::Tally tally) const {
        uint64_t sum = 0;
        for (const auto& member : members_) sum += member->counters[tally];
        return sum;
    }
    uint64_t count(Verdict verdict) const {
        uint64_t sum = 0;
        for (const auto& member : members_) sum += member->counters[verdict];
        return sum;
    }
    /// Every connection with the worker that has it; fails if two have one.
    std::vector<std::pair<tcp::FourTuple, uint32_t>> connections() {
        std::vector<std::pair<tcp::FourTuple, uint32_t>> all;
        std::set<std::string> seen;
        for (uint32_t worker = 0; worker < workers(); ++worker) {
            const tcp::Stack& stack = members_[worker]->stack;
            stack.for_each_conn(0, ~0u, [&](tcp::ConnId conn) {
                const auto flow = stack.info(conn)->flow;
                EXPECT_TRUE(seen.insert(flow.to_string()).second) << flow.to_string() << " has two owners";
                all.emplace_back(flow, worker);
            });
        }
        return all;
    }

private:
    std::string name() const { return "crew" + std::to_string(number_); }
    rte_ring* make_ring(const std::string& what) const {
        rte_ring* ring = rte_ring_create((name() + what).c_str(), 1024, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
        EXPECT_NE(ring, nullptr);
        return ring;
    }
    void loop(uint32_t index) {
        const engine::Clock clock;
        Member& member = *members_[index];
        engine::Idle idle{engine::Idle::Kind::adaptive, *wakers_[index]};
        idle.watch(member.worker.queues());
        while (!stopping_.load(std::memory_order_relaxed)) {
            const tcp::Instant now = clock.now() + 1s;
            if (member.worker.turn(now)) {
                idle.worked();
            } else {
                idle.rest(
                    now, [&](tcp::Instant at) { return member.worker.next_due(at); },
                    [&] { return member.worker.has_pending() || stopping_.load(std::memory_order_relaxed); });
            }
        }
    }

    static inline uint32_t next_ = 0;
    uint32_t number_;
    std::vector<engine::PacketPool> pools_;
    std::vector<rte_mempool*> pool_pointers_;
    engine::PacketPool client_pool_;
    std::vector<rte_ring*> to_us_, from_us_;
    config::Port settings_;
    std::unique_ptr<engine::Port> port_;
    std::vector<engine::Interface> interfaces_;
    std::vector<engine::Ownership> owners_;
    std::vector<std::unique_ptr<engine::Waker>> wakers_;
    std::unique_ptr<engine::Exchange> exchange_;
    std::unique_ptr<engine::Gate> gate_;  // nothing is posted unless the test does
    std::vector<std::unique_ptr<Member>> members_;
    std::vector<std::thread> threads_;
    std::atomic<bool> stopping_{false};
    tcp::Instant now_{1s};
};

}  // namespace pollux::testing
