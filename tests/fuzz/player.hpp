// Player: a stack of the fuzzer's and its application, which does what the bytes say and knows what its connections
// must read and may have said. Every byte follows from its place: the peers' from its sequence number, ours from its
// position behind our SYN.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "tcp/stack.hpp"
#include "tests/fuzz/input.hpp"

namespace pollux::fuzz {

/// What a stack is told to be: small, quick to give up, and every setting that changes what is done with a segment.
tcp::StackSettings read_settings(Input& in);

std::byte peer_byte(tcp::SeqNum seq);

/// What the application, or the network, does in a turn beside the segments.
struct Act {
    enum class What : uint8_t {
        nothing,
        send_pinned,
        send_copy,
        hold_back,
        read,
        stop_reading,
        shut_down,
        close,
        abort,
        deadline,
        tune,
        connect,
        connect_from,
        stop_listening,
        listen,
        drain,
        count
    };
    What what = What::nothing;
    uint8_t number = 0;  // of a connection, modulo how many there are; or of a remote host
    uint16_t size = 0;
};

class Player {
public:
    Player(const tcp::StackSettings& settings, bool ipv6);

    /// One turn. `room`: segments that may leave.
    void turn(std::span<const tcp::Segment> burst, std::span<const tcp::PathNotice> notices, const Act& act,
              uint32_t room, tcp::Instant now);
    /// Of the last turn.
    const tcp::TxBatch& out() const { return out_; }
    /// Whether its application, or a limit, may have ended connections by RST in the last turn.
    bool may_have_reset() const { return may_have_reset_; }
    const tcp::Stack& stack() const { return stack_; }
    const tcp::Counters& counters() const { return counters_; }
    /// The application wants no connection any more: closes each, or aborts it.
    void ends_all(bool by_abort, tcp::Instant now);

    /// Host `number` of the other side.
    tcp::FourTuple flow_to(uint8_t number, uint16_t local_port, uint16_t remote_port) const;

private:
    struct Talk {
        tcp::ConnId conn;
        tcp::FourTuple flow;
        uint64_t sent = 0;
        std::optional<tcp::SeqNum> reads_at;  // once the connection is open, and its first turn over
        bool opened = false, shut = false, reads = true, let_go = false;
    };
    Talk* find(tcp::ConnId conn);
    void hears(const tcp::Event& event);
    void acts(const Act& act, tcp::Instant now);
    void acts_on(Talk& talk, const Act& act, tcp::Instant now);
    void sends(Talk& talk, const Act& act);
    void reads(Talk& talk, uint32_t most);
    void connects(const Act& act, tcp::Instant now);
    void judges_output(tcp::Instant now);
    void judges_bytes(const Talk& talk, const tcp::TxSegment& tx, const tcp::ConnInfo& info) const;
    void settles(tcp::Instant now);

    tcp::Counters counters_;
    tcp::Stack stack_;
    tcp::TxBatch out_{64};
    std::vector<Talk> talks_;
    tcp::PinId pin_;
    bool ipv6_, may_have_reset_ = false;
};

}  // namespace pollux::fuzz
