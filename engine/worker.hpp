// Worker: one turn of the loop, for one core.
//
//     receive -> ingress -> stack.input -> timers -> application -> stack.transmit -> egress -> send -> release
//
// Received packets are released last, because the application reads from them and the stack copies what is left
// unread when transmit() begins. A worker owns its queues' share of everything: neighbours, paths, backlogs. It
// shares nothing and locks nothing; what belongs to another worker goes there through the rings of exchange.hpp. Time
// is handed in: a test calls turn() with Instants of its own.
//
// `work` in turn()'s answer is what DESIGN calls work: something received, expired, sent or raised, or a frame
// refused or a timer due that the next turn must see. When there is none for a while, whoever calls turn() may sleep
// until next_due().
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "engine/dpdk.hpp"
#include "engine/egress.hpp"
#include "engine/exchange.hpp"
#include "engine/gate.hpp"
#include "engine/ingress.hpp"
#include "engine/interface.hpp"
#include "engine/local_addresses.hpp"
#include "engine/mbuf.hpp"
#include "engine/neighbors.hpp"
#include "engine/nic_queue.hpp"
#include "engine/opener.hpp"
#include "engine/paths.hpp"
#include "tcp/counters.hpp"
#include "tcp/stack.hpp"
#include "tcp/tx_batch.hpp"

namespace pollux::engine {

/// What runs on the stack. `on_turn` comes every turn, with or without events: applications have time too.
/// Optional: `void drain(tcp::Stack&, tcp::Instant)`, once, when the engine begins to shut down; and what follows.
template <class A>
concept Application = requires(A app, const A& const_app, std::span<const tcp::Event> events, tcp::Stack& stack,
                               tcp::Instant now) {
    app.on_turn(events, stack, now);
    { const_app.next_due() } -> std::convertible_to<std::optional<tcp::Instant>>;
};

/// An application that opens connections: it gets its worker's Opener once, before the first turn.
template <class A>
concept OpensConnections = requires(A app, Opener& opener) { app.start(opener); };

inline constexpr uint32_t receive_burst = 32;    // packets of one queue and turn
inline constexpr uint32_t timer_budget = 64;     // connections served by one turn's timers
inline constexpr uint32_t transmit_batch = 256;  // segments of one turn

struct WorkerSettings {
    uint32_t neighbors = 256;
    uint32_t paths = 4096;
    IcmpPolicy icmp{};
    bool announces = true;  // this worker's probes and announcements of our addresses speak for the machine
    uint64_t seed = 1;
    Crossing crossing{};          // to the other workers
    Gate::Post* gate = nullptr;  // where new rules come from; null: there are none, ever
};

template <PacketQueue Queue, Application App>
class Worker {
public:
    /// One queue of each interface, in the same order. Refers to all but `queues` and `settings`.
    Worker(std::vector<Queue> queues, std::span<const Interface> interfaces, tcp::Stack& stack, App& app,
           tcp::Counters& counters, rte_mempool& pool, const WorkerSettings& settings = {})
        : queues_(std::move(queues)),
          interfaces_(interfaces),
          stack_(stack),
          app_(app),
          counters_(counters),
          paths_(settings.paths, settings.seed),
          neighbors_(settings.neighbors),
          addresses_(interfaces),
          side_(settings.crossing.side),
          gate_(settings.gate),
          egress_(interfaces, paths_, neighbors_, addresses_, counters, pool, transmit_batch),
          ingress_(paths_, neighbors_, addresses_, egress_, counters, settings.icmp, settings.crossing,
                   2 * receive_burst * static_cast<uint32_t>(interfaces.size())),
          opener_(stack, counters, interfaces, addresses_, settings.crossing),
          out_(transmit_batch),
          received_(2 * size_t{receive_burst} * interfaces.size()),
          speaks_(settings.announces),
          announcements_(settings.announces ? announcements : 0) {
        if constexpr (OpensConnections<App>) app_.start(opener_);
    }

    /// One turn; whether there was work.
    bool turn(tcp::Instant now) {
        if constexpr (queue_has_time) {
            for (Queue& queue : queues_) queue.set_time(now);
        }
        if (has_new_orders()) [[unlikely]] take_orders();
        out_.reset(egress_.reserve());
        if (announcements_ != 0 && now >= announce_at_) announce(now);
        advance_addresses(now);

        const std::span<rte_mbuf*> received = receive(now);
        if (!ingress_.segments().empty()) stack_.input(ingress_.segments(), ingress_.hashes(), now, out_);
        for (const tcp::PathNotice& notice : ingress_.notices()) counters_.add(stack_.notify(notice, now));

        const bool timers_left = stack_.advance_timers(now, timer_budget);
        const bool events = !stack_.events().empty();
        app_.on_turn(stack_.events(), stack_, now);
        stack_.transmit(now, out_);

        egress_.encode(out_, now);
        egress_.serve_neighbors(now);
        for (const tcp::PathNotice& notice : egress_.notices()) stack_.notify(notice, now);
        egress_.clear_notices();
        uint32_t sent = 0;
        for (size_t i = 0; i < queues_.size(); ++i) sent += egress_.flush(i, queues_[i]);
        release(received);
        return !received.empty() || timers_left || events || sent != 0 || egress_.backlog() != 0 || stack_.has_work();
    }

    /// When there is work without a packet arriving; nothing: never.
    std::optional<tcp::Instant> next_due(tcp::Instant now) const {
        std::optional<tcp::Instant> due = stack_.next_due(now);
        earlier(due, app_.next_due());
        earlier(due, neighbors_.next_due());
        earlier(due, addresses_.next_due());
        if (announcements_ != 0) earlier(due, announce_at_);
        if constexpr (queue_has_time) {
            for (const Queue& queue : queues_) earlier(due, queue.next_due());
        }
        return due;
    }
    /// Whether other threads have left something that the next turn will find.
    bool has_pending() const { return (side_ && side_->waiting()) || has_new_orders(); }

    /// DESIGN section 6, draining: no new connection, and the application lets go of what it has.
    void begin_drain(tcp::Instant now) {
        stack_.set_accepting(false);
        if constexpr (requires { app_.drain(stack_, now); }) app_.drain(stack_, now);
    }
    /// Whether no connection is left and nothing waits to be sent.
    bool is_drained() const {
        const tcp::PoolUse use = stack_.pool_use();
        if constexpr (queue_has_time) {
            for (const Queue& queue : queues_) {
                if (queue.unsent() != 0) return false;
            }
        }
        return use.connections == 0 && use.half_open == 0 && egress_.backlog() == 0 && !stack_.has_work();
    }
    /// RST to every connection that is left; the next turns send them.
    void abort_all() { stack_.abort_all(); }

    /// Looks which queues have somebody at the other end; those that have not, a bit for each interface.
    uint64_t look_for_peers() {
        uint64_t lacking = 0;
        if constexpr (requires(Queue & queue) { queue.look(); }) {
            for (size_t i = 0; i < queues_.size(); ++i) {
                queues_[i].look();
                if (queues_[i].lacks_peer()) lacking |= uint64_t{1} << i;
            }
        }
        return lacking;
    }

    std::vector<Queue>& queues() { return queues_; }
    const Egress& egress() const { return egress_; }
    const Paths& paths() const { return paths_; }
    const LocalAddresses& addresses() const { return addresses_; }
    const Neighbors& neighbors() const { return neighbors_; }

private:
    // Queues that hold packets back have a clock of their own (impaired_queue.hpp).
    static constexpr bool queue_has_time = requires(Queue & queue, tcp::Instant now) { queue.set_time(now); };
    static constexpr uint8_t announcements = 2;  // RFC 5227 section 2.3: ANNOUNCE_NUM
    static constexpr tcp::Duration announce_interval = std::chrono::seconds{2};

    static void earlier(std::optional<tcp::Instant>& due, std::optional<tcp::Instant> other) {
        if (other && (!due || *other < *due)) due = other;
    }

    bool has_new_orders() const { return gate_ && gate_->has_news(); }
    void take_orders() {
        Gate::Orders* const orders = gate_->take();
        ingress_.judge_by(orders->rulebook.get(), orders->hits.data());
    }

    // One burst of each queue and what other workers have handed over, read by ingress; what is left of it to
    // release.
    std::span<rte_mbuf*> receive(tcp::Instant now) {
        ingress_.begin();
        size_t count = 0;
        for (size_t i = 0; i < queues_.size(); ++i) {
            const auto burst = std::span{received_}.subspan(count, receive_burst);
            const size_t arrived = queues_[i].receive(burst);
            if (arrived != 0) ingress_.read(burst.first(arrived), interfaces_[i], now);
            count += arrived;
        }
        if (side_) count += receive_handed_over(std::span{received_}.subspan(count), now);
        return std::span{received_}.first(count);
    }

    size_t receive_handed_over(std::span<rte_mbuf*> room, tcp::Instant now) {
        side_->flush(counters_);
        if (!side_->waiting()) return 0;
        side_->hear([&](const LinkNews& news) { ingress_.hear(news, interfaces_, now); });
        const auto burst = room.first(receive_burst * interfaces_.size());
        const size_t arrived = side_->take(burst);
        if (arrived != 0) ingress_.read_handed_over(burst.first(arrived), interfaces_, now);
        return arrived;
    }

    void advance_addresses(tcp::Instant now) {
        if (addresses_.begin(now) && speaks_) {
            for (const Interface& interface : interfaces_) egress_.probe(interface);
        }
        if (addresses_.advance(now) && speaks_) {
            for (const Interface& interface : interfaces_) egress_.announce_v6(interface);
        }
    }

    void announce(tcp::Instant now) {
        for (const Interface& interface : interfaces_) egress_.announce(interface);
        --announcements_;
        announce_at_ = now + announce_interval;
    }

    std::vector<Queue> queues_;
    std::span<const Interface> interfaces_;
    tcp::Stack& stack_;
    App& app_;
    tcp::Counters& counters_;
    Paths paths_;
    Neighbors neighbors_;
    LocalAddresses addresses_;
    Exchange::Side* side_;
    Gate::Post* gate_;
    Egress egress_;
    Ingress ingress_;
    Opener opener_;
    tcp::TxBatch out_;
    std::vector<rte_mbuf*> received_;
    bool speaks_;
    uint8_t announcements_;  // of IPv4 addresses, still to be made
    tcp::Instant announce_at_{};
};

}  // namespace pollux::engine
