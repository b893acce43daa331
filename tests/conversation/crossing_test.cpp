// Two who ask each other at the same time: simultaneous open, RFC 9293 section 3.5 (figure 8), and what becomes of a
// SYN-RECEIVED that came from SYN-SENT (MUST-11). The last conversations are between two hosts of ours, with every
// single packet lost in turn, and every two.
#include <algorithm>
#include <memory>
#include <vector>

#include "tests/support/opening.hpp"

namespace pollux::test {
namespace {

using Crossing = Opening;

TEST_F(Crossing, SynsOpenOneConnectionWithTheOriginalNumbers) {
    proves("B7 MUST-10");
    const tcp::ConnId conn = asks();
    const Heard asked = peer.expects({.flags = syn, .seq = 0});
    EXPECT_EQ(peer.sends({.flags = syn, .seq = 0, .mss = 1'000, .ws = uint8_t{3}}), Verdict::syns_crossed);
    const Heard answer = peer.expects({.flags = syn | ack, .seq = 0, .ack = 1, .bytes = 0, .mss = 1460});
    EXPECT_EQ(answer.raw_seq, asked.raw_seq);
    peer.expects_nothing();
    EXPECT_EQ(peer.state(), State::syn_received);
    EXPECT_EQ(app.takes_events(), Events{});
    EXPECT_EQ(peer.sends({.flags = ack, .seq = 1, .ack = 1, .text = "hello"}), Verdict::opened);
    EXPECT_EQ(app.takes_events(), (Events{Kind::opened, Kind::data}));
    EXPECT_EQ(app.conn(), conn);
    EXPECT_EQ(app.takes(), "hello");
    EXPECT_EQ(peer.state(), State::established);
    EXPECT_EQ(world.stack().pool_use().connections, 1u);
    EXPECT_EQ(world.stack().pool_use().half_open, 0u);
    app.sends_pattern(2'000);
    EXPECT_LE(peer.takes_all().front().bytes(), 1'000u) << "the MSS of the crossing SYN";
    EXPECT_EQ(peer.heard, 2'001);
}

TEST_F(Crossing, ThePeersSynAckOpensToo) {
    // The usual case: both answer the other's SYN, and neither sends a bare ACK first (figure 8, lines 4 to 7).
    proves("B7 MUST-10");
    crosses();
    peer.sends({.flags = syn | ack, .seq = 0, .ack = 1, .mss = 1460});
    EXPECT_EQ(peer.state(), State::established);
    EXPECT_EQ(app.takes_events(), Events{Kind::opened});
    for (const Heard& h : peer.takes_all()) {
        EXPECT_EQ(h.segment.flags, ack);
        EXPECT_EQ(h.seq, 1);
        EXPECT_EQ(h.ack, 1);
    }
    peer.sends({.flags = ack, .seq = 1, .text = "x"});
    EXPECT_EQ(app.takes(), "x");
    app.sends("y");
    peer.expects({.flags = ack, .seq = 1, .ack = 2, .text = "y"});
}

TEST_F(Crossing, OptionsAreThoseOfBothSyns) {
    proves("B7 J1 I1");
    for (int theirs = 0; theirs < 8; ++theirs) {
        SCOPED_TRACE(theirs);
        starts_with(small_settings());
        asks();
        peer.expects({.flags = syn, .sack_ok = true, .has_ts = true});
        const auto ws = theirs & 1 ? std::optional<uint8_t>(2) : std::nullopt;
        const auto ts = theirs & 4 ? std::optional(tcp::Timestamps{peer.ts_now(), 0}) : std::nullopt;
        const uint32_t stamped = peer.ts_now();
        peer.sends(
            {.flags = syn, .seq = 0, .win = 1'000, .mss = 1460, .ws = ws, .sack_ok = (theirs & 2) != 0, .ts = ts});
        const Heard h = peer.expects(
            {.flags = syn | ack, .seq = 0, .ack = 1, .sack_ok = (theirs & 2) != 0, .has_ts = (theirs & 4) != 0});
        EXPECT_EQ(h.segment.has(tcp::Present::window_scale), (theirs & 1) != 0);
        if (theirs & 4) {
            EXPECT_EQ(h.segment.timestamps.echo, stamped);
        }
        peer.sends({.flags = ack, .win = 1'000});
        EXPECT_EQ(peer.state(), State::established);
        app.sends_pattern(6'000);
        peer.takes_all();
        EXPECT_EQ(peer.heard > 1'001, (theirs & 1) != 0);
        EXPECT_LE(peer.heard, 4'001);
        peer.sends({.flags = ack, .seq = 101, .win = 0, .bytes = 10});
        EXPECT_EQ(peer.expects({.flags = ack, .ack = 1, .has_ts = (theirs & 4) != 0}).segment.sack_count,
                  theirs & 2 ? 1 : 0);
    }
}

TEST_F(Crossing, OurLostSynAckIsRepeated) {
    proves("B7 MUST-10");
    crosses();
    Duration wait = 1s;
    for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(about(peer.waits(), wait, 5ms));
        peer.expects({.flags = syn | ack, .seq = 0, .ack = 1, .mss = 1460});
        peer.expects_nothing();
        wait *= 2;
    }
    EXPECT_EQ(app.takes_events(), Events{Kind::unanswered});
    peer.sends({.flags = ack, .seq = 1});
    EXPECT_EQ(peer.state(), State::established);
    EXPECT_EQ(app.takes_events(), Events{Kind::opened});
    time.passes(10min);
    peer.expects_nothing();
}

TEST_F(Crossing, ARepeatedSynDrawsAnAnswerThatCompletesIt) {
    // The peer has not heard our SYN-ACK: SYN-ACK again, or the ACK that RFC 5961 section 4 asks for; both serve.
    proves("B7");
    crosses();
    peer.sends({.flags = syn, .seq = 0, .mss = 1460});
    const Heard h = peer.expects({.ack = 1, .bytes = 0});
    EXPECT_FALSE(h.has(rst));
    EXPECT_EQ(h.seq, h.has(syn) ? 0 : 1);
    peer.expects_nothing();
    EXPECT_EQ(peer.state(), State::syn_received);
    peer.sends({.flags = ack, .seq = 1});
    EXPECT_EQ(peer.state(), State::established);
}

TEST_F(Crossing, WithoutAnAnswerTheAttemptTimesOut) {
    proves("B2 B7");
    crosses();
    time.passes(10min);
    for (const Heard& h : peer.takes_all()) {
        EXPECT_EQ(h.seq, 0);
        EXPECT_EQ(h.segment.flags, syn | ack);
    }
    EXPECT_EQ(app.takes_events(), Events({Kind::unanswered, Kind::timed_out}));
    EXPECT_EQ(peer.state(), State::closed);
    expects_all_returned();
}

TEST_F(Crossing, ResetIsARefusalAndNoReturnToListening) {
    proves("MUST-11");
    for (const Flags flags : {rst, rst | ack}) {
        starts_with(small_settings());
        const tcp::ConnId conn = crosses();
        EXPECT_EQ(peer.sends({.flags = flags, .seq = 1, .ack = 1}), Verdict::reset_by_peer);
        peer.expects_nothing();
        EXPECT_EQ(app.takes_events(), Events{Kind::refused});
        EXPECT_FALSE(world.stack().is_open(conn));
        expects_all_returned();
    }
}

TEST_F(Crossing, AnInexactResetIsChallengedOrDropped) {
    proves("MUST-11 A9");
    crosses();
    peer.sends({.flags = rst, .seq = 100});
    peer.expects({.flags = ack, .seq = 1, .ack = 1, .bytes = 0});
    for (const int64_t seq : {int64_t{-1}, int64_t{-100'000}, peer.edge(), int64_t{1'000'000'000}}) {
        peer.sends({.flags = rst, .seq = seq});
        peer.expects_nothing();
    }
    EXPECT_EQ(peer.state(), State::syn_received);
    EXPECT_EQ(app.takes_events(), Events{});
    peer.sends({.flags = ack, .seq = 1, .ack = 1});
    EXPECT_EQ(peer.state(), State::established);
}

TEST_F(Crossing, AWrongAcknowledgmentDrawsAResetAndTheAttemptGoesOn) {
    proves("B7 A10");
    crosses();
    for (const int64_t number : {int64_t{0}, int64_t{2}, int64_t{-5}, int64_t{1'000'000}}) {
        SCOPED_TRACE(number);
        peer.sends({.flags = ack, .seq = 1, .ack = number, .text = "data"});
        peer.nxt = 1;
        peer.expects({.flags = rst, .seq = number, .bytes = 0});
        peer.expects_nothing();
        EXPECT_EQ(peer.state(), State::syn_received);
    }
    EXPECT_EQ(app.received(), "");
    peer.sends({.flags = ack, .seq = 1, .ack = 1});
    EXPECT_EQ(peer.state(), State::established);
}

TEST_F(Crossing, WhatWasQueuedLeavesWithTheOpening) {
    proves("X18 B7");
    const tcp::ConnId conn = asks_and_is_heard();
    EXPECT_TRUE(queues(conn, "early "));
    peer.sends({.flags = syn, .seq = 0, .mss = 1460});
    peer.expects({.flags = syn | ack, .seq = 0, .ack = 1, .bytes = 0});
    EXPECT_TRUE(queues(conn, "bird"));
    peer.expects_nothing();
    peer.sends({.flags = ack, .seq = 1, .ack = 1});
    peer.expects({.flags = ack, .seq = 1, .ack = 1, .text = "early bird"});
}

TEST_F(Crossing, AFinMayCompleteIt) {
    proves("B7 A11");
    crosses();
    peer.sends({.flags = fin | ack, .seq = 1, .ack = 1, .text = "bye"});
    peer.expects({.flags = ack, .seq = 1, .ack = 5});
    EXPECT_EQ(app.takes(), "bye");
    EXPECT_EQ(app.takes_events(), (Events{Kind::opened, Kind::data, Kind::peer_closed}));
    EXPECT_EQ(peer.state(), State::close_wait);
}

TEST_F(Crossing, AHalfCloseInSynReceivedFollowsTheOpening) {
    // Section 3.10.4: the FIN may leave from SYN-RECEIVED, or wait for the connection.
    proves("B7");
    const tcp::ConnId conn = crosses();
    world.stack().shutdown(conn, world.now());
    world.delivers({});
    if (peer.heard_nothing()) peer.sends({.flags = ack, .seq = 1, .ack = 1});
    peer.expects({.flags = fin | ack, .seq = 1, .ack = 1});
    peer.sends({.flags = ack, .seq = 1, .ack = 2});
    EXPECT_EQ(peer.state(), State::fin_wait_2);
}

TEST_F(Crossing, ThePeerLearnsOfACloseOrAbortInSynReceived) {
    // It may be ESTABLISHED by our SYN-ACK: whatever it says next must not be met by silence
    // (section 3.10.4, 3.10.5).
    proves("B7");
    for (const bool aborted : {false, true}) {
        SCOPED_TRACE(aborted);
        starts_with(small_settings());
        const tcp::ConnId conn = crosses();
        if (aborted)
            world.stack().abort(conn, world.now());
        else
            world.stack().close(conn, world.now());
        world.delivers({});
        EXPECT_FALSE(world.stack().is_open(conn));
        if (peer.heard_nothing()) peer.sends({.flags = ack, .seq = 1, .ack = 1});
        const Heard h = peer.expects({.seq = 1, .bytes = 0});
        EXPECT_TRUE(h.has(rst) || (h.has(fin) && !aborted));
        peer.takes_all();
        if (h.has(fin)) {
            peer.sends({.flags = fin | ack, .seq = 1, .ack = 2});
            peer.expects({.flags = ack, .seq = 2, .ack = 2});
            time.passes(2min);
        }
        EXPECT_EQ(app.takes_events(), Events{});
        expects_all_returned();
    }
}

// ---- Two hosts. --------------------------------------------------------------------------------------------------

/// Two hosts on a wire that loses the packets it is told to lose, counted over both directions. A way takes 1 ms.
class TwoHosts : public testing::Test {
protected:
    struct Side {
        ScriptedApp app;
        std::unique_ptr<Host> host;
        std::vector<Packet> arriving;
    };
    static constexpr uint16_t port = 5'000;  // nobody listens there

    void starts() {
        for (Side& side : sides_) {
            side.app.starts_over();
            side.host = std::make_unique<Host>(small_settings(), side.app);
            side.arriving.clear();
        }
        packets_ = 0;
        now_ = Instant{1'000s};
    }
    static tcp::FourTuple flow(int side) {
        const tcp::IpAddress a = test_address(1), b = test_address(2);
        return side == 0 ? tcp::FourTuple{a, b, port, port} : tcp::FourTuple{b, a, port, port};
    }
    tcp::ConnId asks(int side) { return sides_[side].host->stack().connect(flow(side), now_); }
    State state(int side) const { return sides_[side].host->stack().state_of(flow(side)); }
    /// Lets a millisecond pass; what both send arrives after the next one.
    void steps(const std::vector<int>& lost) {
        std::vector<Packet> sent[2];
        for (int i : {0, 1}) {
            auto arrived = std::exchange(sides_[i].arriving, {});
            bool busy = sides_[i].host->turn(now_, arrived, sent[i]);
            while (busy) busy = sides_[i].host->turn(now_, {}, sent[i]);
        }
        for (int i : {0, 1}) {
            for (Packet& packet : sent[i]) {
                if (std::ranges::find(lost, packets_++) != lost.end()) continue;
                sides_[1 - i].arriving.push_back(std::move(packet));
            }
        }
        now_ += 1ms;
    }
    /// Nothing is under way: on to the next timer, or to `end`.
    void jumps(Instant end) {
        if (!sides_[0].arriving.empty() || !sides_[1].arriving.empty()) return;
        Instant next = end;
        for (const Side& side : sides_) next = std::min(next, side.host->stack().next_due(now_).value_or(end));
        now_ = std::max(now_, next);
    }
    void must_open(const std::vector<int>& lost, int second_asks_after_ms) {
        starts();
        asks(0);
        for (int ms = 0; ms < second_asks_after_ms; ++ms) steps(lost);
        asks(1);
        for (const Instant end = now_ + 20s; now_ < end; jumps(end)) steps(lost);
        for (int i : {0, 1}) {
            ASSERT_EQ(state(i), State::established) << i;
            EXPECT_EQ(sides_[i].app.takes_events(), Events{Kind::opened}) << i;
            EXPECT_EQ(sides_[i].host->counters()[Tally::resets_sent], 0u) << i;
        }
        for (int i : {0, 1}) {
            Side& from = sides_[i];
            const std::string text = i == 0 ? "to the second" : "to the first";
            EXPECT_TRUE(from.host->stack().send_copy(from.app.conn(), std::as_bytes(std::span(text))));
            for (int ms = 0; ms < 10; ++ms) steps({});
            EXPECT_EQ(sides_[1 - i].app.received(), text);
        }
    }

    Side sides_[2];
    Instant now_;
    int packets_ = 0;
};

TEST_F(TwoHosts, OpenWhateverSinglePacketIsLost) {
    RecordProperty("row", "B7 MUST-10");
    for (const int second : {0, 1}) {
        for (int lost = -1; lost < 8; ++lost) {
            SCOPED_TRACE(testing::Message()
                         << "second asks after " << second << " ms, packet " << lost << " is lost");
            must_open({lost}, second);
        }
    }
}

TEST_F(TwoHosts, OpenWhateverTwoPacketsAreLost) {
    RecordProperty("row", "B7 MUST-10");
    for (int first = 0; first < 6; ++first) {
        for (int second = first + 1; second < 8; ++second) {
            SCOPED_TRACE(testing::Message() << "packets " << first << " and " << second << " are lost");
            must_open({first, second}, 0);
        }
    }
}

}  // namespace
}  // namespace pollux::test
