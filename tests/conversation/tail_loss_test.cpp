// Tail loss probes (RFC 8985 section 7): what no ACK speaks of any more is probed after two round trips, once, with
// new data or with the last segment again, so that RACK finds what is lost without a timeout.
#include "tests/support/flight.hpp"

namespace pollux::test {
namespace {

class TailLoss : public Flight {
protected:
    /// Ten in flight, of which the first `delivered` arrive after a round trip.
    void flies_and_delivers(int64_t delivered) {
        flies(10);
        time.passes(rtt);
        for (int64_t n = 1; n <= delivered; ++n) arrives(n);
    }
    uint64_t probes() { return world.count(Tally::tail_loss_probes); }
    uint64_t timeouts() { return world.count(Tally::retransmission_timeouts); }
};

// ---- When, and what.
// ---------------------------------------------------------------------------------------------------

TEST_F(TailLoss, TheLastSegmentLeavesAgainAfterTwoRoundTrips) {
    proves("K9");
    for (const bool ts : {false, true}) {
        SCOPED_TRACE(ts);
        opens_with(small_settings(), {.ts = ts});
        flies_and_delivers(7);
        EXPECT_TRUE(about(peer.waits(), 2 * world.info().srtt));
        const Heard probe = hears_only(10);
        EXPECT_EQ(probes(), 1u);
        EXPECT_EQ(world.info().reductions, 0u);
        // What the probe's SACK says is enough for RACK: 8 and 9 left long before it.
        time.passes(rtt);
        gets(probe);
        const Heard eight = hears(8);
        EXPECT_EQ(phase(), Phase::recovery);
        EXPECT_EQ(world.count(Tally::segments_marked_lost), 2u);
        std::vector<Heard> more = peer.takes_all();
        gets(eight);
        if (more.empty()) more = peer.takes_all();
        for (const Heard& h : more) EXPECT_EQ(h.seq, first(9));
        gets_all(more);
        EXPECT_EQ(world.info().in_flight, 0u);
        EXPECT_EQ(timeouts(), 0u);
        EXPECT_EQ(world.info().reductions, 1u);
    }
}

TEST_F(TailLoss, NewDataIsTheBetterProbe) {
    proves("K9");
    opens();
    flies(10, 5);  // cwnd is used up; a probe may go beyond it
    EXPECT_TRUE(about(peer.waits(), 2 * world.info().srtt));
    hears_only(11);
    EXPECT_EQ(probes(), 1u);
    // It is delivered: nothing was lost, nothing is reduced.
    time.passes(rtt);
    for (int64_t n = 1; n <= 11; ++n) arrives(n);
    for (const Heard& h : peer.takes_all()) EXPECT_GE(h.seq, first(12));
    EXPECT_EQ(world.info().reductions, 0u);
    EXPECT_GE(cwnd(), bytes(10));
    EXPECT_EQ(world.count(Tally::retransmitted_segments), 0u);
}

TEST_F(TailLoss, WhereTheWindowHasNoRoomForNewDataTheLastSegmentServes) {
    proves("K9");
    opens();
    peer.window = static_cast<uint32_t>(4 * size());
    acknowledges();
    flies(4, 5);
    EXPECT_TRUE(about(peer.waits(), 2 * world.info().srtt));
    hears_only(4);
    EXPECT_EQ(probes(), 1u);
}

TEST_F(TailLoss, OneProbeAndThenTheTimeout) {
    proves("K9 K12");
    opens();
    flies(10);
    EXPECT_TRUE(about(peer.waits(), 2 * world.info().srtt));
    hears_only(10);
    const Duration rto = world.info().rto;
    EXPECT_TRUE(about(peer.waits(), rto));
    hears_only(1);
    EXPECT_EQ(timeouts(), 1u);
    EXPECT_TRUE(about(peer.waits(), 2 * rto));
    peer.expects({.flags = ack, .seq = first(1)});
    peer.expects_nothing();
    EXPECT_EQ(probes(), 1u);
    EXPECT_EQ(timeouts(), 2u);
}

TEST_F(TailLoss, AnotherFlightMayBeProbedAgain) {
    proves("K9");
    opens();
    for (int64_t flight = 0; flight < 3; ++flight) {
        flies(4);
        peer.waits();
        const Heard probe = hears_only(flight * 4 + 4);
        arrives(flight * 4 + 1, flight * 4 + 3);
        gets(probe);
        arrives(flight * 4 + 4);  // a DSACK: the episode is over
        EXPECT_EQ(world.info().in_flight, 0u);
        EXPECT_EQ(probes(), static_cast<uint64_t>(flight) + 1);
    }
    EXPECT_EQ(timeouts(), 0u);
}

TEST_F(TailLoss, TheTimerBeginsAgainWithNewDataAndWithEveryNewAck) {
    proves("K9");
    opens();
    flies(4);
    time.passes(60ms);
    flies(4);
    EXPECT_TRUE(about(peer.waits(), 2 * world.info().srtt));
    hears_only(8);
    opens_with(small_settings());
    flies(4);
    time.passes(60ms);
    arrives(1);
    EXPECT_TRUE(about(peer.waits(), 2 * world.info().srtt));
    hears_only(4);
}

TEST_F(TailLoss, WithoutASampleTheTimerIsOneSecond) {
    proves("K9");
    peer.sends({.flags = syn, .mss = 1460, .sack_ok = true});
    peer.expects({.flags = syn | ack});
    peer.waits();
    peer.expects({.flags = syn | ack});
    time.passes(10ms);
    peer.sends({.flags = ack});
    ASSERT_EQ(world.info().srtt, 0ms);
    app.sends("a");
    app.sends("b");
    peer.expects_exactly(2);
    EXPECT_TRUE(about(peer.waits(), 1s));
    peer.expects({.flags = ack, .seq = 2, .text = "b"});
    peer.expects_nothing();
    EXPECT_EQ(probes(), 1u);
}

TEST_F(TailLoss, TheProbeNeverWaitsLongerThanTheTimeoutWould) {
    proves("K9");
    opens({.rtt = 400ms});
    for (int i = 0; i < 30; ++i) {  // RTTVAR goes down, and 2 SRTT is more than SRTT + 200 ms
        app.sends_pattern(1);
        const Heard h = peer.expects({.bytes = 1});
        time.passes(rtt);
        gets(h);
    }
    const tcp::ConnInfo info = world.info();
    ASSERT_LT(info.rto, 2 * info.srtt);
    app.sends("ab");
    app.sends("cd");
    peer.expects_exactly(2);
    EXPECT_TRUE(about(peer.waits(), info.rto));
    peer.expects({.flags = ack, .text = "cd"});
    peer.expects_nothing();
    EXPECT_EQ(probes(), 1u);
    EXPECT_EQ(timeouts(), 0u);
}

TEST_F(TailLoss, ALoneSegmentWaitsForTheTimeout) {
    // With the allowance for its delayed ACK (section 7.2: 200 ms) the probe would come after the timeout.
    proves("K9 K11");
    opens();
    flies(1);
    EXPECT_TRUE(about(peer.waits(), world.info().rto));
    hears_only(1);
    EXPECT_EQ(probes(), 0u);
    EXPECT_EQ(timeouts(), 1u);
}

TEST_F(TailLoss, WithoutSackThereIsNoProbe) {
    proves("K9");
    opens({.sack = false});
    flies(10);
    EXPECT_TRUE(about(peer.waits(), world.info().rto));
    hears_only(1);
    EXPECT_EQ(probes(), 0u);
}

TEST_F(TailLoss, WhereSomethingIsReportedOrRepairedThereIsNoProbe) {
    proves("K9");
    // Segments beyond a hole: RACK's own timer is at work.
    opens();
    flies(10);
    time.passes(rtt);
    arrives(2);
    peer.waits();
    hears_only(1);
    EXPECT_EQ(probes(), 0u);
    // A recovery whose repetition is lost, and nothing that RACK could learn it from.
    const Duration rto = world.info().rto, waited = peer.waits();
    EXPECT_LE(waited, rto + 2ms);
    EXPECT_GE(waited, rto - rtt * 3 / 2);  // of the first segment, or of its repetition
    hears_only(1);
    EXPECT_EQ(probes(), 0u);
    EXPECT_EQ(timeouts(), 1u);
}

// ---- What it costs.
// ----------------------------------------------------------------------------------------------------

TEST_F(TailLoss, AProbeThatRepairedALossReducesOnce) {
    // Section 7.4: the receiver says DSACK where the original came as well; who says nothing of the kind by the time
    // that data beyond the probe is acknowledged has lost it.
    proves("K9");
    for (const bool ts : {false, true}) {
        SCOPED_TRACE(ts);
        opens_with(small_settings(), {.ts = ts});
        flies_and_delivers(8);
        peer.waits();
        const Heard probe = hears_only(10);
        arrives(9);  // late, but there
        time.passes(rtt);
        gets(probe);
        EXPECT_EQ(world.info().in_flight, 0u);
        const uint32_t before = cwnd();
        flies(2);
        time.passes(rtt);
        arrives(11);
        arrives(12);
        EXPECT_EQ(world.info().reductions, 1u);
        EXPECT_LT(cwnd(), before);
        EXPECT_LT(world.info().ssthresh, before);
        EXPECT_EQ(timeouts(), 0u);
        flies(2);
        time.passes(rtt);
        arrives(13, 14);
        EXPECT_EQ(world.info().reductions, 1u);
    }
}

TEST_F(TailLoss, AProbeThatFoundNothingMissingCostsNothing) {
    proves("K9 X19");
    for (const bool apart : {false, true}) {
        SCOPED_TRACE(apart ? "the original and the probe are acknowledged apart" : "by one ACK");
        opens_with(small_settings());
        flies_and_delivers(7);
        const tcp::ConnInfo before = world.info();
        peer.waits();
        const Heard probe = hears_only(10);
        if (apart) {
            arrives(8, 10);
            time.passes(rtt);
        } else {
            for (int64_t n = 8; n <= 10; ++n) keeps(first(n), end(n));
        }
        gets(probe);  // the DSACK
        flies(2);
        time.passes(rtt);
        arrives(11);
        arrives(12);
        peer.expects_nothing();
        EXPECT_GE(cwnd(), before.cwnd);
        EXPECT_EQ(world.info().ssthresh, before.ssthresh);
        EXPECT_EQ(world.info().reductions, 0u);
        EXPECT_EQ(timeouts(), 0u);
    }
}

TEST_F(TailLoss, ALossThatRackFindsBehindTheProbeIsReducedForOnce) {
    proves("K9 L8");
    opens();
    flies_and_delivers(8);
    peer.waits();
    const Heard probe = hears_only(10);
    time.passes(rtt);
    gets(probe);
    const Heard again = hears_only(9);
    time.passes(rtt);
    gets(again);
    EXPECT_EQ(phase(), Phase::open);
    flies(2);
    time.passes(rtt);
    arrives(11, 12);
    EXPECT_EQ(world.info().reductions, 1u);
    EXPECT_EQ(world.count(Tally::fast_retransmits), 1u);
}

TEST_F(TailLoss, ARepeatedProbeIsNoSampleOfTheRoundTrip) {
    proves("K11");
    opens();
    flies_and_delivers(8);
    peer.waits();
    const Heard probe = hears_only(10);
    arrives(9);
    const tcp::ConnInfo before = world.info();
    time.passes(5ms);
    gets(probe);
    EXPECT_EQ(world.info().srtt, before.srtt);
    EXPECT_EQ(world.info().rttvar, before.rttvar);
    EXPECT_EQ(world.info().min_rtt, before.min_rtt);
}

// ---- FIN.
// --------------------------------------------------------------------------------------------------------------

TEST_F(TailLoss, TheFinIsProbedAndReportedLikeData) {
    proves("K9 K4");
    opens();
    flies(3);
    app.shuts_down();
    peer.expects({.flags = fin | ack, .seq = end(3), .bytes = 0});
    time.passes(rtt);
    arrives(1);
    EXPECT_TRUE(about(peer.waits(), 2 * world.info().srtt));
    const Heard probe = peer.expects({.flags = fin | ack});
    EXPECT_EQ(probe.end(), end(3) + 1);
    peer.expects_nothing();
    EXPECT_EQ(probes(), 1u);
    // The peer keeps the FIN's number too, and says so.
    time.passes(rtt);
    keeps(end(3), end(3) + 1);
    acknowledges();
    ASSERT_FALSE(peer.heard_nothing());
    finishes();
    EXPECT_EQ(peer.state(), State::fin_wait_2);
    EXPECT_EQ(timeouts(), 0u);
    EXPECT_EQ(world.info().reductions, 1u);
}

TEST_F(TailLoss, ALostFinIsRepairedByTheTimeout) {
    proves("K11 F8");
    opens();
    flies(2);
    app.shuts_down();
    peer.expects({.flags = fin | ack, .seq = end(2)});
    time.passes(rtt);
    arrives(1, 2);
    EXPECT_LE(peer.waits(), world.info().rto + 2ms);
    gets(peer.expects({.flags = fin | ack, .seq = end(2), .bytes = 0}));
    EXPECT_EQ(peer.state(), State::fin_wait_2);
}

}  // namespace
}  // namespace pollux::test
