// Application: what runs at the application's place in one host's turn: its side of every connection, as the plans
// say. It opens, writes, reads (by itself, in pieces, or after a pause), half-closes, closes or aborts, and compares
// what it reads with what the other side writes, by position.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "tcp/stack.hpp"
#include "tests/simulation/judge.hpp"
#include "tests/simulation/scenario.hpp"

namespace pollux::simulation {

/// One side's part of one connection, so far.
struct Story {
    enum class End : uint8_t {
        none,
        closed,       // in good order
        let_go,       // by close(): the stack goes on by itself
        aborted,      // by abort()
        reset,        // by the peer
        timed_out,    //
        refused,      //
        unreachable,  //
        not_begun,    // connect() said no
    };
    tcp::FourTuple flow;  // once it is known
    tcp::ConnId conn;
    bool asked = false, opened = false, peer_closed = false, shut = false, lost_patience = false;
    uint64_t sent = 0, received = 0;
    End end = End::none;
    tcp::Instant ended_at{};
    bool is_open() const { return conn && end == End::none; }
};
std::string_view name(Story::End end);

class Application {
public:
    Application(const Scenario& scenario, Side side, Judge& judge);

    /// Memory pins: one of each connection's own, so that a leaked reference shows.
    void reserves_pins(tcp::Stack& stack);
    void on_turn(std::span<const tcp::Event> events, tcp::Stack& stack, tcp::Instant now);
    /// When it wants a turn without an event: the next connection to open.
    std::optional<tcp::Instant> next_due() const;

    std::span<const Story> stories() const { return stories_; }
    const Story& story(size_t connection) const { return stories_[connection]; }
    /// The notes of this turn, in words, for the event log.
    std::vector<std::string> notes;
    bool takes_notes = false;
    /// Whether it called abort() or close() on this connection in the last turn.
    bool acted_on(size_t connection) const { return acted_[connection]; }
    bool anything_open() const;

    /// After healing, an application that is still not through waits so long and no longer.
    static constexpr tcp::Duration patience = tcp::Duration{std::chrono::hours{2}};

private:
    struct Pace {
        tcp::Instant next_write{}, next_read{};
        bool may_write = true, unread = false, finished = false;
        tcp::PinId pin = 0;
    };

    void opens(tcp::Stack& stack, tcp::Instant now);
    void hears(const tcp::Event& event, tcp::Stack& stack, tcp::Instant now);
    void acts(size_t connection, tcp::Stack& stack, tcp::Instant now);
    void reads(size_t connection, tcp::Stack& stack, tcp::Instant now);
    void writes(size_t connection, tcp::Stack& stack, tcp::Instant now);
    void ends(size_t connection, tcp::Stack& stack, tcp::Instant now);
    void sets_clock(size_t connection, tcp::Stack& stack, tcp::Instant now);
    void note(size_t connection, std::string_view what);
    void finish(size_t connection, Story::End end, tcp::Instant now);
    size_t connection_at(tcp::ConnId conn, const tcp::Stack& stack) const;
    std::optional<tcp::Instant> opening_time(size_t connection) const;
    const AppPlan& plan(size_t connection) const { return scenario_.connections[connection].apps[number(side_)]; }

    const Scenario& scenario_;
    Side side_;
    Judge& judge_;
    std::vector<Story> stories_;
    std::vector<Pace> paces_;
    std::vector<bool> acted_;
};

}  // namespace pollux::simulation
