// Host: one Stack with its application, fed with packets and drained of packets, one turn at a time, exactly as a
// worker does it: input, timers, application, transmit. Every packet passes through tcp/wire in both directions.
//
// After every turn it checks what must always hold: the stack's own invariants, no allocation inside the stack, no
// packet above the MTU, answers on the path that the packets came by, and no use of a received packet after its turn
// (its bytes are overwritten).
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "tcp/stack.hpp"
#include "tcp/wire/packet.hpp"
#include "tests/support/family.hpp"
#include "tests/support/packet_log.hpp"

namespace pollux::test {

/// What runs at the application's place in the turn.
class Application {
public:
    virtual ~Application() = default;
    virtual void on_turn(std::span<const tcp::Event> events, tcp::Stack& stack, tcp::Instant now) = 0;
};

/// Pools of a few dozen: small enough to build thousands of stacks, large enough for every conversation. The MTU
/// makes the MSS 1460 over either family.
tcp::StackSettings small_settings();
/// Always the same secrets: one seed replays everything.
tcp::Secrets test_secrets();

inline const tcp::Endpoint host_endpoint{test_address(1), 80};
inline const tcp::Endpoint peer_endpoint{test_address(2), 40'000};

/// The path that all packets come by.
inline constexpr tcp::PathId test_path = 7;

class Host {
public:
    /// Listens on host_endpoint.
    Host(const tcp::StackSettings& settings, Application& application);

    /// One turn with at most one burst of packets, TCP or ICMP errors; what leaves is appended to `sent`. Returns
    /// whether work is left that another turn at the same time would do.
    bool turn(tcp::Instant now, std::span<const Packet> arrived, std::vector<Packet>& sent);

    tcp::Stack& stack() { return stack_; }
    const tcp::Stack& stack() const { return stack_; }
    const tcp::Counters& counters() const { return counters_; }
    /// What became of the last packet: of its reading, and if that was ok, of its segment.
    tcp::wire::ParseResult last_parse() const { return last_parse_; }
    tcp::Verdict last_verdict() const { return last_verdict_; }
    /// Packets that parse() refused.
    uint64_t refused() const { return refused_; }
    /// Packets that asked for the next hop instead of leaving on the path that the packets came by.
    uint64_t look_ups() const { return look_ups_; }

private:
    void encode(std::vector<Packet>& sent);
    void check();

    tcp::Counters counters_;
    tcp::Stack stack_;
    Application& application_;
    tcp::TxBatch out_{64};
    std::vector<Packet> burst_;
    std::vector<tcp::Segment> segments_;
    std::vector<tcp::Verdict> verdicts_;
    tcp::wire::ParseResult last_parse_ = tcp::wire::ParseResult::ok;
    tcp::Verdict last_verdict_ = tcp::Verdict::count;
    uint64_t refused_ = 0;
    uint64_t look_ups_ = 0;
    uint64_t allocations_ = 0;
};

/// An Instant at which a SYN of peer_endpoint gets an ISN of `wanted` (RFC 6528: it follows a clock of 4 us). If the
/// ISN does not behave so, any Instant.
tcp::Instant start_for_isn(const tcp::StackSettings& settings, tcp::SeqNum wanted);

}  // namespace pollux::test
