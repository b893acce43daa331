// Dialer: the application of pollux-test-dialer. It opens connections to the targets in turn, some at a time, moves
// the same content over each, and counts what became of them. What others open to it is echoed.
//
//     download   the peer sends the content; every byte is compared with what stands at its place
//     upload     the content is queued before the handshake is complete, once or many times; the peer says if it was
//                the same
//
// `we close`: our FIN goes first, behind the content (ours or the peer's), and TIME-WAIT is here. `peer closes`: its
// FIN goes first, ours answers it. One object serves one worker, with its share of every batch; what they share is
// the Plan. The tuples of its connections are remembered, so that one that comes again too early is noticed here and
// not only by a peer.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/opener.hpp"
#include "tcp/stack.hpp"

namespace pollux::test {

/// Each is a peer of its own.
struct Target {
    bool upload = false, we_close = false;
    tcp::Endpoint peer{};
};

/// What all workers are to do. A batch begins with every byte on standard input, whose end says that none follows.
struct Plan {
    std::vector<Target> targets;
    std::vector<std::byte> content;
    uint32_t times = 1;        // an upload sends the content so often
    uint32_t connections = 1;  // of one batch, all workers together
    uint32_t at_once = 1;      // of each worker
    bool settles = false;      // waits at the end until no TIME-WAIT is left
    std::atomic<uint32_t> batches{0};
    std::atomic<bool> complete{false};
    std::atomic<uint32_t> done{0};  // workers
};

struct DialerReport {
    uint64_t opened = 0, refused = 0, timed_out = 0, unreachable = 0;  // how attempts ended
    uint64_t closed = 0, reset = 0;                                    // how what was opened ended; timed_out too
    uint64_t not_begun = 0;                                            // calls of connect() that it refused
    uint64_t accepted = 0, bytes_received = 0;
    uint64_t downloaded = 0;  // the content, all of it and nothing else
    uint64_t refused_sends = 0;
    uint64_t tuples = 0, reused = 0, reused_in_time_wait = 0;
    uint64_t time_wait_peak = 0;

    DialerReport& operator+=(const DialerReport& other);
};

class Dialer {
public:
    Dialer(tcp::Stack& stack, Plan& plan, uint32_t worker, uint32_t workers);

    void start(engine::Opener& opener) { opener_ = &opener; }
    void on_turn(std::span<const tcp::Event> events, tcp::Stack& stack, tcp::Instant now);
    std::optional<tcp::Instant> next_due() const;
    void drain(tcp::Stack& stack, tcp::Instant now);
    DialerReport report() const { return report_; }

private:
    struct Call {
        uint32_t generation = 0;  // 0: no call of ours
        uint32_t target = 0;
        uint64_t received = 0;
        bool same = true, finished = false;  // `finished`: our FIN is queued
        tcp::FourTuple flow{};
    };
    struct Use {
        tcp::Instant ended{};  // not before this: an event may be of the end of the turn before
        bool in_time_wait = false;
    };
    static constexpr tcp::Duration look_interval = std::chrono::milliseconds{10};
    static constexpr tcp::Duration retry_interval = std::chrono::milliseconds{10};

    void look_for_orders(tcp::Instant now);
    void open_more(tcp::Stack& stack, tcp::Instant now);
    bool open_one(tcp::Stack& stack, tcp::Instant now);
    void note_tuple(const tcp::FourTuple& flow, tcp::Instant now);
    void happened(const tcp::Event& event, Call& call, tcp::Stack& stack, tcp::Instant now);
    void read(tcp::ConnId conn, Call& call, tcp::Stack& stack);
    void finish(tcp::ConnId conn, Call& call, tcp::Stack& stack, tcp::Instant now);
    void end(Call& call, uint64_t& count);
    void end_if_all_is_done(const tcp::Stack& stack);
    static void echo(const tcp::Event& event, tcp::Stack& stack, tcp::Instant now);

    Plan& plan_;
    uint32_t worker_, workers_;
    tcp::Duration msl_;
    engine::Opener* opener_ = nullptr;
    std::vector<Call> calls_;                   // by the index of the ConnId
    std::unordered_map<uint64_t, Use> tuples_;  // by target and local port
    uint32_t batches_ = 0, wanted_ = 0, in_hand_ = 0, next_target_ = 0;
    std::optional<tcp::Instant> look_at_ = tcp::Instant{}, retry_at_;
    tcp::Instant last_turn_{};
    bool done_ = false;
    DialerReport report_;
};

}  // namespace pollux::test
