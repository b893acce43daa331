// RACK (RFC 8985 section 6.2): a segment is lost when one that left later has been delivered and the reordering
// window has passed since; the window is a quarter of the least round trip, wider after DSACKs, and nothing where
// three segments are delivered beyond a hole or a recovery is under way, as long as nothing has come out of order.
#include "tests/support/flight.hpp"

namespace pollux::test {
namespace {

class Rack : public Flight {
protected:
    /// A flight of two; the reordering window passes before the late `n` comes, and its repetition comes as well.
    /// How long the window was.
    Duration comes_late(int64_t n, Here here = Here::current()) {
        flies(2, 0, here);
        time.passes(rtt);
        arrives(n + 1);
        peer.expects_nothing(here);
        const Duration window = peer.waits(300s, here);
        const Heard again = hears_only(n, here);
        arrives(n);
        time.passes(rtt);
        gets(again);
        peer.expects_nothing(here);
        return window;
    }
    /// A flight of two, the first of which is lost and repaired.
    Duration gets_lost(int64_t n, Here here = Here::current()) {
        flies(2, 0, here);
        time.passes(rtt);
        arrives(n + 1);
        peer.expects_nothing(here);
        const Duration window = peer.waits(300s, here);
        const Heard again = hears_only(n, here);
        time.passes(rtt);
        gets(again);
        peer.expects_nothing(here);
        EXPECT_EQ(world.info().in_flight, 0u) << here.line;
        return window;
    }
};

// ---- What is lost, and when.
// -------------------------------------------------------------------------------------------

TEST_F(Rack, ThreeSegmentsDeliveredBeyondAHoleMeanALoss) {
    proves("K6");
    for (const bool ts : {false, true}) {
        SCOPED_TRACE(ts ? "with timestamps" : "without");
        opens_with(small_settings(), {.ts = ts});
        flies(10);
        time.passes(rtt);
        arrives(2);
        arrives(3);
        peer.expects_nothing();
        EXPECT_EQ(phase(), Phase::open);
        EXPECT_EQ(world.info().sacked, bytes(2));
        EXPECT_EQ(world.info().lost, 0u);
        EXPECT_EQ(world.info().pipe, bytes(8));
        arrives(4);
        hears_only(1);
        EXPECT_EQ(phase(), Phase::recovery);
        EXPECT_TRUE(world.info().in_recovery);
        EXPECT_EQ(world.info().sacked, bytes(3));
        EXPECT_EQ(world.info().pipe, bytes(7));  // six that nobody has spoken of, and the repetition
        EXPECT_EQ(world.count(Tally::fast_retransmits), 1u);
        EXPECT_EQ(world.count(Tally::segments_marked_lost), 1u);
        EXPECT_EQ(world.count(Tally::retransmission_timeouts), 0u);
    }
}

TEST_F(Rack, OneSegmentDeliveredLaterStartsATimerThatNeedsNoMoreAcks) {
    proves("K6");
    for (const Duration round_trip : {8ms, 40ms, 200ms}) {
        for (const bool ts : {false, true}) {
            SCOPED_TRACE(testing::Message() << round_trip.count() << " us, timestamps " << ts);
            opens_with(small_settings(), {.ts = ts, .rtt = round_trip});
            flies(2);
            time.passes(rtt);
            arrives(2);
            EXPECT_TRUE(about(world.info().min_rtt, round_trip));
            peer.expects_nothing();
            EXPECT_TRUE(about(peer.waits(), round_trip / 4, 3ms));
            hears_only(1);
            EXPECT_EQ(phase(), Phase::recovery);
            EXPECT_EQ(world.count(Tally::retransmission_timeouts), 0u);
            EXPECT_EQ(world.count(Tally::tail_loss_probes), 0u);
        }
    }
}

TEST_F(Rack, ReorderingThatHealsInTimeCostsNothing) {
    proves("K6 L8");
    for (const bool ts : {false, true}) {
        SCOPED_TRACE(ts);
        opens_with(small_settings(), {.ts = ts});
        flies(10);
        time.passes(rtt);
        const tcp::ConnInfo before = world.info();
        arrives(2);
        time.passes(9ms);
        arrives(1);
        for (int64_t n = 3; n <= 10; ++n) arrives(n);
        time.passes(1s);
        peer.expects_nothing();
        EXPECT_GE(world.info().cwnd, before.cwnd);
        EXPECT_EQ(world.info().ssthresh, before.ssthresh);
        EXPECT_EQ(world.info().reductions, 0u);
        EXPECT_EQ(world.count(Tally::fast_retransmits), 0u);
        EXPECT_EQ(world.count(Tally::segments_marked_lost), 0u);
        EXPECT_EQ(world.count(Tally::retransmitted_segments), 0u);
    }
}

TEST_F(Rack, WhereReorderingWasSeenThreeSegmentsAreNotEnough) {
    proves("K6 L8");
    opens();
    flies(2);
    time.passes(rtt);
    arrives(2);
    arrives(1);  // late, and never sent twice: the path reorders
    flies(8);    // 3 to 10
    time.passes(rtt);
    for (int64_t n = 4; n <= 8; ++n) arrives(n);
    peer.expects_nothing();
    EXPECT_EQ(phase(), Phase::open);
    EXPECT_TRUE(about(peer.waits(), rtt / 4));
    hears_only(3);
    // In time, it would have cost nothing.
    opens_with(small_settings());
    flies(2);
    time.passes(rtt);
    arrives(2);
    arrives(1);
    flies(8);
    time.passes(rtt);
    for (int64_t n = 4; n <= 8; ++n) arrives(n);
    time.passes(8ms);
    arrives(3);
    arrives(9);
    arrives(10);
    time.passes(1s);
    peer.expects_nothing();
    EXPECT_EQ(world.info().reductions, 0u);
}

TEST_F(Rack, RepetitionsOutOfOrderAreNoReordering) {
    // Section 6.2 step 3: only a segment that was sent once tells about the path.
    proves("K6");
    opens();
    flies(4);
    time.passes(rtt);
    arrives(2, 4);
    const Heard again = hears_only(1);
    time.passes(rtt);
    gets(again);
    flies(4);  // 5 to 8
    time.passes(rtt);
    arrives(6, 8);
    hears_only(5);
}

TEST_F(Rack, InRecoveryALaterDeliveryIsEnough) {
    proves("K6");
    opens();
    flies(10);
    time.passes(rtt);
    arrives(2, 4);
    hears_only(1);
    arrives(6);
    hears_only(5);
    arrives(7);
    peer.expects_nothing();
    arrives(10);
    hears(8);
    hears_only(9);
    EXPECT_EQ(world.count(Tally::segments_marked_lost), 4u);
}

TEST_F(Rack, WhatLeftLaterThanTheDeliveredIsNotLost) {
    proves("K6");
    opens();
    flies(3);
    time.passes(30ms);
    flies(7);  // 4 to 10
    time.passes(10ms);
    arrives(2, 3);
    EXPECT_TRUE(about(peer.waits(), rtt / 4));
    const Heard again = hears_only(1);
    EXPECT_EQ(world.count(Tally::segments_marked_lost), 1u);
    time.passes(20ms);
    arrives(4, 10);
    time.passes(20ms);
    gets(again);
    peer.expects_nothing();
    EXPECT_EQ(world.info().in_flight, 0u);
    EXPECT_EQ(world.count(Tally::retransmitted_segments), 1u);
}

TEST_F(Rack, SmallSegmentsAreSegmentsToo) {
    proves("K6 K4");
    opens();
    for (const char* const text : {"a", "bc", "d", "ef", "g"}) app.sends(text);
    peer.expects_exactly(5);
    time.passes(rtt);
    keeps(2, 3);
    acknowledges();
    keeps(5, 6);
    acknowledges();
    keeps(6, 8);
    acknowledges();
    peer.expects_nothing();
    keeps(8, 9);
    acknowledges();
    peer.expects({.flags = ack, .seq = 3, .text = "bc"});
    peer.expects_nothing();
}

// ---- Repetitions.
// ------------------------------------------------------------------------------------------------------

TEST_F(Rack, ALostRepetitionIsFoundWithoutATimeout) {
    proves("K7");
    for (const bool ts : {false, true}) {
        SCOPED_TRACE(ts);
        opens_with(small_settings(), {.ts = ts});
        flies(10, 10);
        time.passes(rtt);
        arrives(2);
        hears_only(11);
        arrives(3);
        hears_only(12);
        time.passes(2ms);
        arrives(4);
        hears_only(1);  // and is lost
        time.passes(2ms);
        arrives(5, 10);
        // They left before the repetition did: nothing is known of it.
        const auto later = peer.takes_all();
        ASSERT_FALSE(later.empty());
        for (const Heard& h : later) EXPECT_GE(h.seq, first(13));
        time.passes(rtt - 3ms);
        keeps(first(11), end(12), peer.first_ts(first(11)));
        acknowledges();
        for (const Heard& h : peer.takes_all()) EXPECT_GE(h.seq, first(13));
        time.passes(4ms);
        gets(later.front());
        ASSERT_FALSE(peer.heard_nothing());
        hears(1);
        for (const Heard& h : peer.takes_all()) EXPECT_GE(h.seq, first(13));
        EXPECT_EQ(world.count(Tally::retransmission_timeouts), 0u);
        EXPECT_EQ(world.info().reductions, 1u);
    }
}

TEST_F(Rack, ARepetitionLostAfterATimeoutIsFoundWithoutAnotherOne) {
    proves("K7 K12");
    opens();
    flies(10);
    peer.waits();
    peer.forgets();  // the probe
    peer.waits();
    gets(hears_only(1));
    const Heard second = hears(2), third = hears_only(3);
    EXPECT_EQ(second.at, third.at);
    time.passes(rtt);
    gets(third);
    hears(2);
    peer.forgets();
    EXPECT_EQ(world.count(Tally::retransmission_timeouts), 1u);
}

TEST_F(Rack, TheOriginalOfARepetitionIsNoProofOfItsDelivery) {
    // Section 6.2 step 2: an ACK sooner than the least round trip after the repetition, or that echoes an older
    // timestamp, was caused by the original. Taken for the repetition's, it would condemn all that left before.
    proves("K6");
    for (const bool ts : {false, true}) {
        SCOPED_TRACE(ts);
        opens_with(small_settings(), {.ts = ts});
        flies(10);
        time.passes(rtt);
        arrives(2, 4);
        hears_only(1);
        time.passes(3ms);
        arrives(1);
        EXPECT_EQ(world.count(Tally::segments_marked_lost), 1u);
        peer.expects_nothing();
        time.passes(rtt / 2);
        peer.expects_nothing();
        arrives(5, 10);
        peer.expects_nothing();
        EXPECT_EQ(world.info().in_flight, 0u);
        EXPECT_EQ(world.count(Tally::retransmitted_segments), 1u);
        // Nor is it a sample: 3 ms would make the window of reordering useless.
        EXPECT_TRUE(about(world.info().min_rtt, rtt));
    }
}

// ---- The reordering window.
// --------------------------------------------------------------------------------------------

TEST_F(Rack, EveryRoundWithADsackWidensTheReorderingWindow) {
    proves("K8");
    opens();
    EXPECT_EQ(world.info().reo_wnd_mult, 1);
    EXPECT_TRUE(about(comes_late(1), 10ms));
    EXPECT_EQ(world.info().reo_wnd_mult, 2);
    EXPECT_TRUE(about(comes_late(3), 20ms));
    EXPECT_EQ(world.info().reo_wnd_mult, 3);
    EXPECT_TRUE(about(gets_lost(5), 30ms));
    EXPECT_EQ(world.info().reo_wnd_mult, 3);
}

TEST_F(Rack, TheReorderingWindowIsNeverWiderThanTheRoundTrip) {
    proves("K8");
    opens();
    for (int64_t n = 1; n <= 15; n += 2) comes_late(n);
    EXPECT_GE(world.info().reo_wnd_mult, 8);
    const tcp::ConnInfo info = world.info();
    EXPECT_LT(info.srtt, info.reo_wnd_mult * info.min_rtt / 4);
    const Duration window = gets_lost(17);
    // The delivery gives a sample of 40 ms before the window is computed.
    EXPECT_LE(window, info.srtt + 2ms);
    EXPECT_GE(window, std::min(info.srtt, (7 * info.srtt + rtt) / 8) - 1ms);
    EXPECT_EQ(world.count(Tally::retransmission_timeouts), 0u);
}

TEST_F(Rack, DsacksOfOneRoundWidenTheWindowOnce) {
    proves("K8");
    opens();
    flies(4);
    time.passes(rtt);
    arrives(3);
    peer.waits();
    const Heard again = hears_only(1);
    arrives(1);
    const Heard second = hears_only(2);
    arrives(2);
    arrives(4);
    flies(2);  // 5 and 6: the round in which the DSACKs come
    gets(again);
    EXPECT_EQ(world.info().reo_wnd_mult, 2);
    gets(second);
    EXPECT_EQ(world.info().reo_wnd_mult, 2);
    time.passes(rtt);
    arrives(5, 6);
    peer.expects_nothing();
    comes_late(7);
    EXPECT_EQ(world.info().reo_wnd_mult, 3);
}

TEST_F(Rack, AfterSixteenRecoveriesWithoutADsackTheWindowReturns) {
    proves("K8");
    opens();
    comes_late(1);
    EXPECT_EQ(world.info().reo_wnd_mult, 2);
    int64_t n = 3;
    // Another DSACK starts the count again.
    for (int i = 0; i < 10; ++i, n += 2) gets_lost(n);
    EXPECT_EQ(world.info().reo_wnd_mult, 2);
    comes_late(n);
    n += 2;
    EXPECT_EQ(world.info().reo_wnd_mult, 3);
    for (int recovery = 1; recovery <= 16; ++recovery, n += 2) {
        EXPECT_EQ(world.info().reo_wnd_mult, 3) << "recovery " << recovery;
        EXPECT_TRUE(about(gets_lost(n), 30ms)) << "recovery " << recovery;
        ASSERT_EQ(phase(), Phase::open);
        EXPECT_GE(cwnd(), bytes(2));  // ssthresh is at least two segments
    }
    EXPECT_EQ(world.info().reo_wnd_mult, 1);
    EXPECT_TRUE(about(gets_lost(n), 10ms));
}

}  // namespace
}  // namespace pollux::test
