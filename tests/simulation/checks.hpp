// Checks: watches one host's wire, from outside, and after each turn compares it with what the stack says of itself.
//
//   said     every byte is the stream's byte of that position, once said never beyond what the application wrote; FIN
//            stands behind the last byte; nothing beyond the peer's window but a probe of one; segments fit the
//            peer's MSS and our MTU; ACKs only of what was heard, and never backwards; the right edge never moves
//            left; SACK only of what was heard; timestamps run with the clock; no reply to RST
//   timers   something outstanding has a timer, and the stack's next wake is not later; RTO within limits; a
//            retransmission without an answer waits at least the minimum and backs off; ACKs are not later than the
//            delay, nor fewer than every second segment; a gap is reported at once
//   stack    SND.UNA <= SND.NXT <= UNA + largest window; it believes only what was on the wire; cwnd at least one
//            segment, never exceeded by what is in the network, and growing by no more than what arrived; one
//            reduction for all that was in flight; nothing is sent again that the peer has reported; what is in
//            flight is in the network, lost or reported; only the arrows of RFC 9293 figure 5; its own invariants;
//            pools that add up
#pragma once

#include <deque>
#include <optional>
#include <vector>

#include "tcp/stack.hpp"
#include "tests/simulation/application.hpp"
#include "tests/simulation/judge.hpp"
#include "tests/simulation/scenario.hpp"
#include "tests/simulation/watch.hpp"

namespace pollux::simulation {

class Checks {
public:
    Checks(const Scenario& scenario, Side side, const Application& application, const tcp::Counters& counters,
           Judge& judge);

    void begins_turn() {
        for (Watch& w : watches_) begin(w);
        before_ = counters_;
    }
    /// A whole segment has arrived and is about to be given to the stack.
    void hears(const tcp::Segment& segment, const tcp::Stack& stack, tcp::Instant now);
    /// A router's error about this tuple has arrived.
    void hears_error(const tcp::FourTuple& flow);
    /// A segment leaves, as read from its packet.
    void says(const tcp::Segment& segment, size_t packet_size, tcp::Instant now);
    /// `room`: the transmit ring took all that the stack wanted to send, and no due timer was left for another turn.
    void ends_turn(const tcp::Stack& stack, tcp::Instant now, bool room);

    /// What the stack says of the window and the loss recovery of one connection.
    void judges_recovery(const tcp::ConnInfo& info, tcp::Instant now);

    /// The watch over a connection's tuple; null: nothing was on the wire.
    const Watch* watch(size_t connection) const;
    /// From now on nothing is said about the timing: packets had to wait at the host.
    void forgives_timing() { timing_ = false; }

private:
    static void begin(Watch& w);
    Watch& watch_of(const tcp::FourTuple& flow);
    void complain(tcp::Instant now, const Watch& w, const std::string& what);

    // Heard.
    void hears_syn(Watch& w, const tcp::Segment& s);
    void hears_ack(Watch& w, const tcp::Segment& s, tcp::Instant now);
    static void hears_sacks(Watch& w, const tcp::Segment& s);
    static void hears_clock(Watch& w, const tcp::Segment& s);
    void hears_text(Watch& w, const tcp::Segment& s);

    // Said.
    void says_syn(Watch& w, const tcp::Segment& s, tcp::Instant now);
    void check_ack(Watch& w, const tcp::Segment& s, tcp::Instant now);
    void check_edge(Watch& w, const tcp::Segment& s, tcp::Instant now);
    void check_text(Watch& w, const tcp::Segment& s, tcp::Instant now);
    void check_size(Watch& w, const tcp::Segment& s, size_t packet_size, tcp::Instant now);
    void check_clock(Watch& w, const tcp::Segment& s, tcp::Instant now);
    void check_timing(Watch& w, int64_t first, int64_t end, tcp::Instant now);

    // Of the stack.
    static void remember(Watch& w, const tcp::ConnInfo& info);
    void check_conn(Watch& w, const tcp::ConnInfo& info, tcp::Instant now, bool room);
    void check_window(Watch& w, const tcp::ConnInfo& info, tcp::Instant now);
    void check_congestion(Watch& w, const tcp::ConnInfo& info, tcp::Instant now);
    void check_growth(Watch& w, const tcp::ConnInfo& info, bool first, tcp::Instant now);
    void check_timeout(Watch& w, const tcp::ConnInfo& info, tcp::Instant now);
    void check_in_network(Watch& w, const tcp::ConnInfo& info, tcp::Instant now);
    void check_recovery(Watch& w, const tcp::ConnInfo& info, tcp::Instant now);
    void check_timers(Watch& w, const tcp::ConnInfo& info, tcp::Instant now);
    void check_acking(Watch& w, const tcp::ConnInfo& info, tcp::Instant now, bool room);
    void check_state(Watch& w, const tcp::ConnInfo& info, tcp::Instant now);
    void check_receiving(Watch& w, const tcp::ConnInfo& info, tcp::Instant now, bool room);
    void check_time_wait(const tcp::Stack& stack, tcp::Instant now);
    void check_replies(Watch& w, tcp::Instant now);
    void check_giving_up(Watch& w, tcp::Instant now);
    void check_pools(const tcp::Stack& stack, tcp::Instant now);

    const Scenario& scenario_;
    Side side_;
    const tcp::StackSettings& settings_;
    const Application& application_;
    const tcp::Counters& counters_;
    Judge& judge_;
    std::deque<Watch> watches_;
    /// The stack has had no room for something that it was given.
    bool starves() const {
        return counters_[tcp::Verdict::no_buffer] != 0 || counters_[tcp::Tally::unread_bytes_rolled_back] != 0;
    }
    /// Whether it has counted this in the present turn, of whichever connection.
    bool counted(tcp::Tally tally) const { return counters_[tally] != before_[tally]; }
    tcp::Counters before_;  // the present turn
    bool timing_ = true;
};

}  // namespace pollux::simulation
