// ImpairedQueue: a bad network between a queue and its worker, for tests ([test] of the settings). In each direction
// packets are lost, doubled, held back so that others overtake them, delayed and damaged by one flipped bit, as a
// seed says: the same seed, packets and times give the same damage. The launcher puts it around every queue when, and
// only when, [test] is enabled; without it the worker's queues are the devices' own and nothing is paid.
//
//     device ──> impair ──> delay line ──> receive() ──> worker ──> send() ──> impair ──> delay line ──> device
//
// Time is handed in once a turn by set_time(), which also sends what has become due. next_due() bounds the sleep.
//
// Everything is bounded: a packet for which the delay line has no place is dropped and counted. A duplicate is a deep
// copy, since ingress may answer a packet in place; when the pool has no packet for it, there is no duplicate. A
// damaged packet loses what the device said about its checksums, and ports do theirs in software while a queue is
// impaired: a device would sum after the damage. When the device refuses packets, they wait here in order and send()
// takes no more, so that the backlog of egress does what it always does.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "config/settings.hpp"
#include "engine/dpdk.hpp"
#include "engine/mbuf.hpp"
#include "engine/nic_queue.hpp"
#include "tcp/counters.hpp"
#include "tcp/rate_limit.hpp"
#include "tcp/time.hpp"

namespace pollux::engine {

/// What one direction counts.
struct ImpairmentTallies {
    tcp::Tally lost, duplicated, reordered, corrupted, overflowed;

    static constexpr ImpairmentTallies received() {
        using enum tcp::Tally;
        return {impaired_received_lost, impaired_received_duplicated, impaired_received_reordered,
                impaired_received_corrupted, impaired_received_overflowed};
    }
    static constexpr ImpairmentTallies sent() {
        using enum tcp::Tally;
        return {impaired_sent_lost, impaired_sent_duplicated, impaired_sent_reordered, impaired_sent_corrupted,
                impaired_sent_overflowed};
    }
};

/// One direction: packets go in when they come and come out when they are due.
class ImpairedDirection {
public:
    /// How many packets it can hold back.
    static constexpr uint32_t capacity = 2'048;

    ImpairedDirection(const config::Impairment& impairment, uint64_t seed, const ImpairmentTallies& tallies,
                      tcp::Counters& counters);
    ~ImpairedDirection();
    ImpairedDirection(ImpairedDirection&&) = default;
    ImpairedDirection& operator=(ImpairedDirection&&) = delete;

    /// The packet is its own from here on.
    void admit(rte_mbuf* packet, tcp::Instant now);
    /// Fills `into` from the front with what is due by now, in the order of becoming due; how many. They are the
    /// caller's then.
    uint16_t take_due(std::span<rte_mbuf*> into, tcp::Instant now);
    std::optional<tcp::Instant> next_due() const {
        return held_.empty() ? std::nullopt : std::optional{held_.front().due};
    }
    size_t held() const { return held_.size(); }

private:
    struct Held {
        tcp::Instant due;
        uint64_t order;  // of admission: equals stay in order
        rte_mbuf* packet;
    };
    static bool later(const Held& a, const Held& b) { return a.due != b.due ? a.due > b.due : a.order > b.order; }

    bool happens(uint32_t ppm) { return ppm != 0 && random_.below(1'000'000) < ppm; }
    void travel(rte_mbuf* packet, tcp::Instant now);
    void corrupt(rte_mbuf& packet);

    config::Impairment impairment_;
    ImpairmentTallies tallies_;
    tcp::Counters* counters_;
    tcp::Jitter random_;
    std::vector<Held> held_;   // a heap, the earliest first; reserved at start
    tcp::Instant last_due_{};  // of those that nobody overtakes
    uint64_t admitted_ = 0;
};

/// The generator of one direction of one queue: near seeds and numbers give unrelated streams.
constexpr uint64_t impairment_seed(uint64_t seed, uint32_t worker, uint32_t port, bool receiving) {
    uint64_t mixed = seed * 0x9e37'79b9'7f4a'7c15 + (uint64_t{worker} << 32) + (uint64_t{port} << 1) + receiving;
    mixed = (mixed ^ mixed >> 30) * 0xbf58'476d'1ce4'e5b9;  // the finalizer of SplitMix64
    mixed = (mixed ^ mixed >> 27) * 0x94d0'49bb'1331'11eb;
    return mixed ^ mixed >> 31;
}

template <PacketQueue Inner>
class ImpairedQueue {
public:
    ImpairedQueue(Inner inner, const config::Test& test, uint32_t worker, uint32_t port, tcp::Counters& counters)
        : inner_(std::move(inner)),
          in_(test.receive, impairment_seed(test.seed, worker, port, true), ImpairmentTallies::received(), counters),
          out_(test.send, impairment_seed(test.seed, worker, port, false), ImpairmentTallies::sent(), counters) {
        refused_.reserve(burst);
    }
    ~ImpairedQueue() { release(refused_); }
    ImpairedQueue(ImpairedQueue&&) = default;
    ImpairedQueue& operator=(ImpairedQueue&&) = delete;

    /// Once at the start of each turn.
    void set_time(tcp::Instant now) {
        now_ = now;
        push_out();
    }
    uint16_t receive(std::span<rte_mbuf*> into) {
        const uint16_t arrived = inner_.receive(into);
        for (rte_mbuf* packet : into.first(arrived)) in_.admit(packet, now_);
        return in_.take_due(into, now_);
    }
    /// All or nothing: nothing while the device refuses what came before.
    uint16_t send(std::span<rte_mbuf*> packets) {
        push_out();
        if (!refused_.empty()) return 0;
        packets = packets.first(std::min<size_t>(packets.size(), UINT16_MAX));
        for (rte_mbuf* packet : packets) out_.admit(packet, now_);
        push_out();
        return static_cast<uint16_t>(packets.size());
    }
    /// When something held back becomes due; at once while the device refuses.
    std::optional<tcp::Instant> next_due() const {
        if (!refused_.empty()) return now_;
        const auto in = in_.next_due(), out = out_.next_due();
        return in && out ? std::min(*in, *out) : in ? in : out;
    }
    /// Packets on their way out that the device does not have yet.
    size_t unsent() const { return out_.held() + refused_.size(); }

    bool has_link() const requires requires(const Inner& inner) { inner.has_link(); }
    { return inner_.has_link(); }
    bool lacks_peer() const requires requires(const Inner& inner) { inner.lacks_peer(); }
    { return inner_.lacks_peer(); }
    void look() requires requires(Inner& inner) { inner.look(); }
    { inner_.look(); }

private:
    static constexpr size_t burst = 64;  // handed to the device at once

    void push_out() {
        while (true) {
            if (refused_.empty()) {
                refused_.resize(burst);  // within what was reserved
                refused_.resize(out_.take_due(refused_, now_));
                if (refused_.empty()) return;
            }
            const uint16_t taken = inner_.send(refused_);
            refused_.erase(refused_.begin(), refused_.begin() + taken);
            if (!refused_.empty()) return;
        }
    }

    Inner inner_;
    ImpairedDirection in_, out_;
    std::vector<rte_mbuf*> refused_;  // due, in order, and not taken by the device yet
    tcp::Instant now_{};
};

/// One sentence for people: what [test] does to packets.
std::string describe(const config::Test& test);

}  // namespace pollux::engine
