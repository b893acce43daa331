// Neighbors: the neighbour cache of one worker, for both families (ARP: RFC 826, RFC 1122 section 2.3.2; neighbour
// discovery: RFC 4861 section 7). It says where a next hop is, keeps up to three packets for each one that is being
// asked for, and decides whom to believe. It owns no packet format and no clock: what has to be sent is a list of
// questions that the worker turns into frames, what comes in is handed to it as a fact that somebody claims.
//
//                 resolve()            reply                   60 s old and in use
//      (none) ------------> incomplete -----> reachable --------------------> probing --- reply ---> reachable
//                                |                                              |
//                                +-- 3 questions, no answer --> failed <--------+      (failed: refused for 10 s)
//
// Whom to believe: an answer that nobody asked for teaches nothing. The address of a live entry may change, but not
// twice within a second, and not by an advertisement that does not claim to override (RFC 4861 section 7.2.5). Only
// solicited advertisements and ARP keep an entry from growing old. The table is bounded; what does not fit is not
// reached, and what is idle longest gives way.
//
// Answers reach one worker and are heard by all (exchange.hpp): each believes them by these same rules.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "engine/interface.hpp"
#include "tcp/segment.hpp"
#include "tcp/time.hpp"
#include "tcp/wire/mac_address.hpp"

struct rte_mbuf;

namespace pollux::engine {

/// A copy of what tools may know of one entry.
struct NeighborInfo {
    uint8_t interface = 0;
    tcp::IpAddress address{};
    tcp::wire::MacAddress mac{};  // unspecified: not known
    std::string_view state;       // "incomplete", "reachable", "probing", "failed"
    tcp::Duration age{};          // since its link address was learned or last changed; 0: it has none
    tcp::Duration unused{};       // since a packet last asked for it
    uint8_t waiting = 0;          // packets that wait for its answer
};

class Neighbors {
public:
    /// "Who has `target`?" To all who may have it, or to the one who had it.
    struct Question {
        uint8_t interface;
        tcp::IpAddress target;
        std::optional<tcp::wire::MacAddress> to;
    };
    /// A packet that waited: with its answer, or (mac unspecified) without one.
    struct Released {
        rte_mbuf* packet;
        uint8_t interface;
        tcp::wire::MacAddress mac;
        tcp::FourTuple flow;
    };
    enum class Lookup : uint8_t { known, asking, unreachable };
    struct Answer {
        Lookup what;
        tcp::wire::MacAddress mac;
    };

    explicit Neighbors(uint32_t capacity);

    /// Where `address` is; begins to ask when nobody knows.
    Answer resolve(uint8_t interface, const tcp::IpAddress& address, tcp::Instant now);
    /// Keeps `packet` until `address`, which is being asked for, has answered. False: three wait already; it stays
    /// the caller's.
    bool hold(uint8_t interface, const tcp::IpAddress& address, rte_mbuf* packet, const tcp::FourTuple& flow);
    /// Somebody says that `address` is at `mac`; `overrides`: also if it was elsewhere. False: it contradicts what is
    /// known, too soon or without that claim, or is nobody's address; nothing was learned. `confirms`: it shows that
    /// the neighbour hears us (RFC 4861 section 7.3.1); otherwise what is known stays as old as it is, and what is new
    /// is asked with its first use.
    bool learn(uint8_t interface, const tcp::IpAddress& address, const tcp::wire::MacAddress& mac, bool overrides,
               tcp::Instant now, bool confirms = true);
    /// `address` says that it is still where it was.
    void confirm(uint8_t interface, const tcp::IpAddress& address, tcp::Instant now);
    /// Asks again, gives up, ages.
    void advance(tcp::Instant now);
    /// When advance() has work next.
    std::optional<tcp::Instant> next_due() const;

    /// What has come up since clear_output().
    std::span<const Question> questions() const { return questions_; }
    std::span<const Released> released() const { return released_; }
    bool has_output() const { return !questions_.empty() || !released_.empty(); }
    void clear_output() {
        questions_.clear();
        released_.clear();
    }
    /// The entry at `index`, below in_use(); nothing: it is free.
    std::optional<NeighborInfo> info(uint32_t index, tcp::Instant now) const;
    uint32_t in_use() const { return in_use_; }
    uint32_t capacity() const { return static_cast<uint32_t>(entries_.size()); }

    /// Hands out every packet that still waits, for the end.
    void release_all();

    static constexpr uint32_t pending_packets = 3;
    static constexpr uint32_t questions_asked = 3;
    static constexpr tcp::Duration first_wait = std::chrono::seconds{1};  // doubles with each question
    static constexpr tcp::Duration fresh_for = std::chrono::seconds{60};
    // More SYNs may ask than there is room to wait. One that last left before the end of the questions (7 s) comes
    // again before 14 s and an initial RTO have passed: it must find the refusal, or it would wait for another round.
    static constexpr tcp::Duration refused_for = std::chrono::seconds{10};
    static constexpr tcp::Duration change_hold = std::chrono::seconds{1};

private:
    enum class State : uint8_t { free, incomplete, reachable, probing, failed };
    struct Entry {
        State state = State::free;
        uint8_t interface = 0;
        uint8_t asked = 0;
        uint8_t waiting = 0;
        tcp::IpAddress address{};
        tcp::wire::MacAddress mac{};
        tcp::Instant due{};      // of the next question, of giving up, of ageing
        tcp::Instant changed{};  // when `mac` was last set
        tcp::Instant used{};
        std::array<rte_mbuf*, pending_packets> packets{};
        std::array<tcp::FourTuple, pending_packets> flows{};
    };

    Entry* find(uint8_t interface, const tcp::IpAddress& address);
    Entry* make(uint8_t interface, const tcp::IpAddress& address, tcp::Instant now);
    void ask(Entry& entry, tcp::Instant now);
    void settle(Entry& entry, const tcp::wire::MacAddress& mac, tcp::Instant now);
    void release(Entry& entry, const tcp::wire::MacAddress& mac);
    void note_due(tcp::Instant when) {
        if (!next_due_ || when < *next_due_) next_due_ = when;
    }

    std::vector<Entry> entries_;  // sorted by nothing: a link has few next hops, and most packets know their path
    std::vector<Question> questions_;
    std::vector<Released> released_;
    std::optional<tcp::Instant> next_due_;
    uint32_t in_use_ = 0;  // entries_[0, in_use_) have been taken at least once
};

}  // namespace pollux::engine
