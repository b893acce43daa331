// Explicit Congestion Notification, agreeing on it and saying so: RFC 3168 sections 6.1.1 and 6.1.4 to 6.1.6. What
// marks do is in ecn_marks_test.cpp.
#include "tests/support/opening.hpp"

namespace pollux::test {
namespace {

constexpr tcp::Ecn not_ect = tcp::Ecn::not_ect, ect0 = tcp::Ecn::ect0, ce = tcp::Ecn::ce;

class Ecn : public Opening {
protected:
    static tcp::StackSettings asking(uint8_t syn_retries = 1) {
        return settings_with([&](auto& s) { s.ecn_request = true, s.ecn_syn_retries = syn_retries; });
    }
    /// The connection neither sends ECT nor believes ECE.
    void does_not_send_by_ecn(Here here = Here::current()) {
        EXPECT_FALSE(world.info().ecn) << here.line;
        const uint32_t cwnd = world.info().cwnd;
        app.sends("data");
        peer.expects({.flags = ack, .text = "data", .ecn = not_ect}, here);
        peer.sends({.flags = ack | ece});
        EXPECT_GE(world.info().cwnd, cwnd) << here.line;
        EXPECT_EQ(world.count(Tally::ecn_reductions), 0u) << here.line;
        app.sends("more");
        peer.expects({.flags = ack, .text = "more", .ecn = not_ect}, here);
        peer.sends({.flags = ack});
    }
    /// A mark on the peer's data means something, or nothing, to the connection.
    void echoes_marks(bool echoes, Here here = Here::current()) {
        peer.sends({.flags = ack, .text = "marked", .ecn = ce});
        time.passes(100ms);
        peer.expects({.flags = echoes ? ack | ece : ack}, here);
    }
    void has_no_ecn(Here here = Here::current()) {
        does_not_send_by_ecn(here);
        echoes_marks(false, here);
        EXPECT_EQ(world.count(Tally::ecn_connections), 0u) << here.line;
        EXPECT_EQ(world.count(Tally::ce_received), 0u) << here.line;
    }
    void has_ecn(Here here = Here::current()) {
        EXPECT_TRUE(world.info().ecn) << here.line;
        EXPECT_EQ(world.count(Tally::ecn_connections), 1u) << here.line;
        app.sends("data");
        peer.expects({.flags = ack, .text = "data", .ecn = ect0}, here);
        peer.sends({.flags = ack});
        echoes_marks(true, here);
    }
};

// ---- A peer asks. -----------------------------------------------------------------------------------------------

TEST_F(Ecn, APeerThatAsksIsAgreedWith) {
    proves("M1 SHLD-8");
    peer.sends({.flags = syn | ece | cwr, .seq = 0, .mss = 1460});
    peer.expects({.flags = syn | ack | ece, .seq = 0, .ack = 1, .ecn = not_ect});
    EXPECT_TRUE(world.stack().half_open_at(0, world.now())->ecn);
    EXPECT_TRUE(about(peer.waits(), 1s, 5ms));
    peer.expects({.flags = syn | ack | ece, .seq = 0, .ack = 1, .ecn = not_ect});  // again, and the same
    peer.sends({.flags = syn | ece | cwr, .seq = 0, .mss = 1460});
    peer.expects({.flags = syn | ack | ece, .seq = 0, .ack = 1, .ecn = not_ect});
    peer.sends({.flags = ack});
    has_ecn();
}

TEST_F(Ecn, OnlyBothFlagsAsk) {
    proves("M1 SHLD-8");
    for (const Flags flags : {syn, syn | ece, syn | cwr}) {
        SCOPED_TRACE(to_string(flags));
        starts_with(small_settings());
        peer.sends({.flags = flags, .seq = 0, .mss = 1460});
        peer.expects({.flags = syn | ack, .seq = 0, .ack = 1, .ecn = not_ect});
        EXPECT_FALSE(world.stack().half_open_at(0, world.now())->ecn);
        peer.sends({.flags = ack});
        has_no_ecn();
    }
}

TEST_F(Ecn, APeerThatAsksIsNotAgreedWithWhenTheSettingsSayNo) {
    proves("M1");
    starts_with(settings_with([](auto& s) { s.ecn = false; }));
    peer.sends({.flags = syn | ece | cwr, .seq = 0, .mss = 1460});
    peer.expects({.flags = syn | ack, .seq = 0, .ack = 1, .ecn = not_ect});
    peer.sends({.flags = ack});
    has_no_ecn();
}

TEST_F(Ecn, ASynThatComesAgainWithoutAskingWithdrawsIt) {
    // Section 6.1.1.1: its sender believes that the flags were what had it dropped, and may not send ECT. Which
    // answer reached it we do not know, so if marked data comes all the same, the mark is echoed.
    proves("M1");
    peer.sends({.flags = syn | ece | cwr, .seq = 0, .mss = 1460});
    peer.expects({.flags = syn | ack | ece});
    peer.sends({.flags = syn, .seq = 0, .mss = 1460});
    peer.expects({.flags = syn | ack, .seq = 0, .ack = 1});
    EXPECT_FALSE(world.stack().half_open_at(0, world.now())->ecn);
    peer.sends({.flags = syn | ece | cwr, .seq = 0, .mss = 1460});  // and a late copy does not bring it back
    peer.expects({.flags = syn | ack, .seq = 0, .ack = 1});
    peer.sends({.flags = ack});
    does_not_send_by_ecn();
    echoes_marks(true);
}

TEST_F(Ecn, ASynThatFirstCameWithoutAskingAsksNoMore) {
    proves("M1");
    peer.sends({.flags = syn, .seq = 0, .mss = 1460});
    peer.expects({.flags = syn | ack});
    peer.sends({.flags = syn | ece | cwr, .seq = 0, .mss = 1460});
    peer.expects({.flags = syn | ack});
    peer.sends({.flags = ack});
    has_no_ecn();
}

TEST_F(Ecn, AMarkOnASynIsNoneOfOurs) {
    // Nothing is agreed yet: whoever marks a SYN marks what may not be marked.
    proves("M1 M3");
    peer.sends({.flags = syn | ece | cwr, .seq = 0, .mss = 1460, .ecn = ce});
    peer.expects({.flags = syn | ack | ece, .seq = 0, .ack = 1});
    peer.sends({.flags = ack, .ecn = ce});
    app.sends("x");
    peer.expects({.flags = ack, .text = "x", .ecn = ect0});
    peer.sends({.flags = ack});
    has_ecn();
}

TEST_F(Ecn, ANewConnectionAgreesAnew) {
    // Section 6.1.1: TIME-WAIT keeps nothing of it.
    proves("M1");
    peer.connects({.ecn = true});
    app.shuts_down();
    peer.sends({.flags = fin | ack, .ack = 2, .ecn = ce});
    ASSERT_EQ(peer.state(), State::time_wait);
    for (const Heard& h : peer.takes_all()) EXPECT_FALSE(h.has(ece));
    const tcp::SeqNum newer = peer.isn() + 100'000;
    peer.starts_over(newer);
    peer.connects();
    does_not_send_by_ecn();
    echoes_marks(false);
}

// ---- We ask. ----------------------------------------------------------------------------------------------------

TEST_F(Ecn, OurSynAsksWhenTheSettingsSaySo) {
    proves("B9 M1 SHLD-8");
    starts_with(asking());
    asks();
    peer.expects({.flags = syn | ece | cwr, .seq = 0, .ecn = not_ect});
    peer.sends({.flags = syn | ack | ece, .seq = 0, .ack = 1, .mss = 1460});
    peer.expects({.flags = ack, .seq = 1, .ack = 1, .bytes = 0, .ecn = not_ect});
    has_ecn();
}

TEST_F(Ecn, OurSynDoesNotAskByDefaultAndThenNoAnswerAgrees) {
    proves("M1");
    asks();
    peer.expects({.flags = syn, .seq = 0, .ecn = not_ect});
    peer.sends({.flags = syn | ack | ece, .seq = 0, .ack = 1, .mss = 1460});
    peer.expects({.flags = ack, .seq = 1});
    has_no_ecn();
}

TEST_F(Ecn, OnlyEceWithoutCwrAgrees) {
    // A peer that returns whatever stands in these bits does not agree.
    proves("M1");
    for (const Flags flags : {syn | ack, syn | ack | cwr, syn | ack | ece | cwr}) {
        SCOPED_TRACE(to_string(flags));
        starts_with(asking());
        asks();
        peer.expects({.flags = syn | ece | cwr});
        peer.sends({.flags = flags, .seq = 0, .ack = 1, .mss = 1460});
        peer.expects({.flags = ack, .seq = 1});
        has_no_ecn();
    }
}

TEST_F(Ecn, AfterLostSynsTheNextIsPlain) {
    proves("B9");
    for (const uint8_t asking_syns : {uint8_t{1}, uint8_t{3}, uint8_t{11}}) {
        SCOPED_TRACE(unsigned{asking_syns});
        starts_with(asking(asking_syns));
        const tcp::ConnId conn = asks();
        for (int sent = 0; sent < 6; ++sent) {
            if (sent > 0) peer.waits();
            peer.expects({.flags = sent < asking_syns ? syn | ece | cwr : syn, .seq = 0, .ecn = not_ect});
        }
        world.stack().abort(conn, world.now());
    }
}

TEST_F(Ecn, ASecondSynThatStillAsksIsAgreedTo) {
    proves("B9 M1");
    starts_with(asking(2));
    asks();
    peer.expects({.flags = syn | ece | cwr});
    peer.waits();
    peer.expects({.flags = syn | ece | cwr});
    peer.sends({.flags = syn | ack | ece, .seq = 0, .ack = 1, .mss = 1460});
    peer.expects({.flags = ack, .seq = 1});
    has_ecn();
}

TEST_F(Ecn, AfterAPlainSynNoAnswerAgrees) {
    // Section 6.1.1: who has sent a plain SYN must not send ECT. But the peer may have agreed to the one before it,
    // so its data may be marked, and the echo is all that slows it down.
    proves("B9 M1");
    starts_with(asking());
    asks();
    peer.expects({.flags = syn | ece | cwr});
    peer.waits();
    peer.expects({.flags = syn});
    peer.sends({.flags = syn | ack | ece, .seq = 0, .ack = 1, .mss = 1460});
    peer.expects({.flags = ack, .seq = 1});
    does_not_send_by_ecn();
    echoes_marks(true);
    EXPECT_EQ(world.count(Tally::ecn_connections), 0u);
}

// ---- Both ask. --------------------------------------------------------------------------------------------------

TEST_F(Ecn, CrossingSynsThatBothAskAgree) {
    proves("M1 B7");
    starts_with(asking());
    asks();
    peer.expects({.flags = syn | ece | cwr});
    peer.sends({.flags = syn | ece | cwr, .seq = 0, .mss = 1460});
    peer.expects({.flags = syn | ack | ece, .seq = 0, .ack = 1, .ecn = not_ect});
    EXPECT_TRUE(about(peer.waits(), 1s, 5ms));
    peer.expects({.flags = syn | ack | ece, .seq = 0, .ack = 1, .ecn = not_ect});
    peer.sends({.flags = ack, .seq = 1, .ack = 1});
    has_ecn();
}

TEST_F(Ecn, OfCrossingSynsEachMustAsk) {
    proves("M1 B7");
    for (const bool ours : {false, true}) {
        SCOPED_TRACE(ours);
        starts_with(ours ? asking() : small_settings());
        asks();
        peer.expects({.flags = ours ? syn | ece | cwr : syn});
        peer.sends({.flags = ours ? syn : syn | ece | cwr, .seq = 0, .mss = 1460});
        peer.expects({.flags = syn | ack, .seq = 0, .ack = 1});
        peer.sends({.flags = ack, .seq = 1, .ack = 1});
        has_no_ecn();
    }
}

TEST_F(Ecn, ACrossingSynAckThatDoesNotAgreeWithdrawsIt) {
    proves("M1 B7");
    starts_with(asking());
    asks();
    peer.expects({.flags = syn | ece | cwr});
    peer.sends({.flags = syn | ece | cwr, .seq = 0, .mss = 1460});
    peer.expects({.flags = syn | ack | ece});
    peer.sends({.flags = syn | ack, .seq = 0, .ack = 1, .mss = 1460});
    peer.expects({.flags = ack, .seq = 1});
    does_not_send_by_ecn();
    EXPECT_EQ(world.count(Tally::ecn_connections), 0u);
}

// ---- What may be marked. ----------------------------------------------------------------------------------------

TEST_F(Ecn, NewDataIsEctAndRetransmissionsAreNot) {
    proves("M2");
    for (const bool ts : {false, true}) {
        SCOPED_TRACE(ts);
        starts_with(settings_with([](auto& s) { s.dscp = 46; }));
        peer.connects({.ts = ts, .ecn = true});
        app.sends_pattern(2'000);
        for (const Heard& h : peer.expects_exactly(2)) {
            EXPECT_EQ(h.segment.ecn, ect0);
            EXPECT_EQ(h.segment.traffic_class, 46) << "the DSCP stands beside it";
        }
        peer.waits();
        peer.expects({.flags = ack, .seq = 1, .ecn = not_ect});  // by timer
        peer.sends({.flags = ack, .ack = 2'001});
        app.sends("new");
        peer.expects({.flags = ack | cwr, .seq = 2'001, .text = "new", .ecn = ect0});
    }
}

TEST_F(Ecn, AFastRetransmissionIsNotEctAndNewDataBesideItIs) {
    proves("M2");
    peer.connects({.ecn = true});
    app.sends_pattern(40'000);
    peer.expects_exactly(10);
    for (int i = 0; i < 3; ++i) peer.sends({.flags = ack, .ack = 1});
    bool repeated = false;
    for (int i = 0; i < 8; ++i) peer.sends({.flags = ack, .ack = 1});
    for (const Heard& h : peer.takes_all()) {
        EXPECT_EQ(h.segment.ecn, h.seq < 14'601 ? not_ect : ect0) << h.seq;
        repeated |= h.seq == 1;
    }
    EXPECT_TRUE(repeated);
    EXPECT_GT(peer.heard, 14'601);
}

TEST_F(Ecn, WhatLeavesAgainInSmallerSegmentsIsNotEct) {
    proves("M2");
    peer.connects({.ecn = true});
    app.sends_pattern(2'920);
    peer.expects_exactly(2);
    EXPECT_EQ(icmp(tcp::PathNotice::Kind::too_big, 1, 1'400), Verdict::path_notice);
    const auto smaller = peer.takes_all();
    EXPECT_GE(smaller.size(), 3u);
    for (const Heard& h : smaller) EXPECT_EQ(h.segment.ecn, not_ect);
    peer.sends({.flags = ack});
    app.sends("new");
    peer.expects({.flags = ack, .text = "new", .ecn = ect0});  // and no CWR: that was no congestion
}

TEST_F(Ecn, DuplicateAcksOfWhatLeftAgainInSmallerSegmentsAreNoLoss) {
    // Not in a window that a mark has reduced either, where three of them would be one.
    proves("M4 H3");
    peer.connects({.ecn = true});
    app.sends_pattern(2'920);
    peer.sends({.flags = ack | ece, .ack = 1});
    EXPECT_EQ(world.count(Tally::ecn_reductions), 1u);
    EXPECT_EQ(icmp(tcp::PathNotice::Kind::too_big, 1, 1'400), Verdict::path_notice);
    for (int i = 0; i < 4; ++i) peer.sends({.flags = ack, .ack = 1});
    EXPECT_EQ(world.count(Tally::fast_retransmits), 0u);
    peer.forgets();
}

TEST_F(Ecn, ProbesOfAClosedWindowAreNotEct) {
    proves("M2");
    peer.connects({.ecn = true});
    peer.sends({.flags = ack, .win = 0});
    app.sends("waiting");
    for (int i = 0; i < 3; ++i) {
        peer.waits();
        peer.expects({.flags = ack, .seq = 1, .bytes = 1, .ecn = not_ect});
        peer.sends({.flags = ack, .ack = 1, .win = 0});
    }
    peer.sends({.flags = ack, .ack = 1, .win = 65'535});
    for (const Heard& h : peer.takes_all()) EXPECT_EQ(h.segment.ecn, h.seq == 1 ? not_ect : ect0) << h.seq;
    EXPECT_EQ(peer.heard, 8);
}

TEST_F(Ecn, WhatCarriesNoDataIsNotEct) {
    proves("M2");
    peer.connects({.ecn = true});
    peer.sends({.flags = ack, .text = "request"});
    time.passes(100ms);
    peer.expects({.flags = ack, .seq = 1, .bytes = 0, .ecn = not_ect});  // a delayed ACK
    peer.sends({.flags = ack, .seq = 100, .text = "ahead"});
    peer.expects({.flags = ack, .seq = 1, .bytes = 0, .ecn = not_ect});  // a duplicate ACK
    peer.nxt = 8;
    peer.sends({.flags = syn, .seq = 8});
    peer.nxt = 8;
    peer.expects({.flags = ack, .seq = 1, .bytes = 0, .ecn = not_ect});  // a challenge ACK
    app.does("asks for probes", [](tcp::Stack& stack, tcp::ConnId conn, auto) { stack.set_keep_alive(conn, true); });
    peer.waits(3h);
    peer.expects({.flags = ack, .seq = 0, .bytes = 0, .ecn = not_ect});  // a keep-alive probe
    peer.sends({.flags = ack});
    app.shuts_down();
    peer.expects({.flags = fin | ack, .seq = 1, .bytes = 0, .ecn = not_ect});
    app.aborts();
    EXPECT_EQ(peer.expects_reset(2).segment.ecn, not_ect);
}

TEST_F(Ecn, DataWithAFinIsEct) {
    proves("M2");
    peer.connects({.ecn = true});
    app.does("sends and closes", [](tcp::Stack& stack, tcp::ConnId conn, Instant now) {
        EXPECT_TRUE(stack.send_copy(conn, std::as_bytes(std::span("bye", 3))));
        stack.shutdown(conn, now);
    });
    peer.expects({.flags = fin | ack, .text = "bye", .ecn = ect0});
    peer.waits();
    peer.expects({.flags = fin | ack, .text = "bye", .ecn = not_ect});
}

}  // namespace
}  // namespace pollux::test
