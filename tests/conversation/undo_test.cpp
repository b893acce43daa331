// Recoveries and timeouts that were for nothing, and how they are recognised: the echo of an older timestamp (Eifel,
// RFC 3522 and 4015), DSACKs of everything that was repeated (RFC 3708), new acknowledgments of what was never
// repeated (F-RTO, RFC 5682). cwnd and ssthresh come back, and nothing else leaves again.
#include "tests/support/flight.hpp"

namespace pollux::test {
namespace {

class Undo : public Flight {
protected:
    /// cwnd and ssthresh are what they were, or what has been acknowledged since has let cwnd grow.
    void expects_all_back(const tcp::ConnInfo& before, uint32_t acked_since, Here here = Here::current()) {
        const tcp::ConnInfo now = world.info();
        EXPECT_GE(now.cwnd, before.cwnd) << here.line;
        EXPECT_LE(now.cwnd, before.cwnd + acked_since) << here.line;
        EXPECT_EQ(now.ssthresh, before.ssthresh) << here.line;
        EXPECT_EQ(now.reductions, before.reductions) << here.line;
        EXPECT_EQ(now.phase, Phase::open) << here.line;
        EXPECT_FALSE(now.in_recovery) << here.line;
    }
    void expects_no_undo(Here here = Here::current()) {
        EXPECT_EQ(world.count(Tally::recoveries_undone), 0u) << here.line;
        EXPECT_EQ(world.count(Tally::timeouts_undone), 0u) << here.line;
        EXPECT_EQ(world.info().reductions, 1u) << here.line;
    }
    Heard times_out(int64_t oldest = 1, Here here = Here::current()) {
        const uint64_t before = world.count(Tally::retransmission_timeouts);
        while (world.count(Tally::retransmission_timeouts) == before) {
            peer.forgets();  // a probe
            peer.waits(10s, here);
        }
        return hears_only(oldest, here);
    }
};

// ---- Eifel.
// -----------------------------------------------------------------------------------------------------------

TEST_F(Undo, AnEchoOfTheOriginalUndoesTheRecovery) {
    proves("K13");
    for (const bool sack : {true, false}) {
        SCOPED_TRACE(sack ? "with SACK" : "without");
        opens_with(small_settings(), {.sack = sack, .ts = true});
        flies(10);
        time.passes(rtt);
        const tcp::ConnInfo before = world.info();
        for (const int64_t n : {2, 3, 4}) arrives(n);
        hears_only(1);
        EXPECT_TRUE(world.info().in_recovery);
        EXPECT_LT(world.info().ssthresh, before.cwnd);
        time.passes(5ms);
        arrives(1);  // late; its own TSval is what the ACK echoes
        expects_all_back(before, bytes(4));
        EXPECT_EQ(world.count(Tally::recoveries_undone), 1u);
        for (int64_t n = 5; n <= 10; ++n) arrives(n);
        peer.expects_nothing();
        EXPECT_EQ(world.count(Tally::retransmitted_segments), 1u);
    }
}

TEST_F(Undo, AnEchoOfTheRepetitionDoesNot) {
    proves("K13");
    for (const bool sack : {true, false}) {
        SCOPED_TRACE(sack ? "with SACK" : "without");
        opens_with(small_settings(), {.sack = sack, .ts = true});
        flies(10);
        time.passes(rtt);
        for (int64_t n = 2; n <= 10; ++n) arrives(n);
        const Heard again = hears_only(1);
        time.passes(rtt);
        gets(again);
        expects_no_undo();
        EXPECT_TRUE(near(world.info().ssthresh, 7));
        EXPECT_LE(cwnd(), bytes(8));
    }
}

TEST_F(Undo, AnEchoOfTheOriginalUndoesTheTimeout) {
    proves("K13");
    for (const bool sack : {true, false}) {
        SCOPED_TRACE(sack ? "with SACK" : "without");
        opens_with(small_settings(), {.sack = sack, .ts = true});
        flies(10);
        const tcp::ConnInfo before = world.info();
        times_out();
        EXPECT_EQ(cwnd(), bytes(1));
        time.passes(20ms);
        arrives(1);
        expects_all_back(before, bytes(1));
        EXPECT_EQ(world.count(Tally::timeouts_undone), 1u);
        peer.expects_nothing();
        for (int64_t n = 2; n <= 10; ++n) arrives(n);
        peer.expects_nothing();
        EXPECT_EQ(world.info().in_flight, 0u);
    }
}

TEST_F(Undo, AnEchoOfTheRepetitionLeavesTheTimeoutAsItIs) {
    proves("K13 K14");
    for (const bool sack : {true, false}) {
        SCOPED_TRACE(sack ? "with SACK" : "without");
        opens_with(small_settings(), {.sack = sack, .ts = true});
        flies(10);
        const Heard again = times_out();
        time.passes(rtt);
        gets(again);
        expects_no_undo();
        hears(2);
        hears_only(3);
    }
}

// ---- DSACK.
// -----------------------------------------------------------------------------------------------------------

TEST_F(Undo, ADsackOfTheOnlyRepetitionUndoesTheRecoveryEvenAfterItsEnd) {
    proves("K13");
    opens();
    flies(10);
    time.passes(rtt);
    const tcp::ConnInfo before = world.info();
    for (const int64_t n : {2, 3, 4}) arrives(n);
    const Heard again = hears_only(1);
    time.passes(5ms);
    arrives(1);
    for (int64_t n = 5; n <= 10; ++n) arrives(n);
    EXPECT_EQ(phase(), Phase::open);
    EXPECT_EQ(world.info().reductions, 1u);
    time.passes(rtt - 5ms);
    gets(again);
    expects_all_back(before, bytes(10));
    EXPECT_EQ(world.count(Tally::recoveries_undone), 1u);
    peer.expects_nothing();
}

TEST_F(Undo, ADsackDuringTheRecoveryUndoesIt) {
    proves("K13");
    opens();
    flies(10);
    time.passes(rtt);
    const tcp::ConnInfo before = world.info();
    for (const int64_t n : {2, 3, 4}) arrives(n);
    const Heard again = hears_only(1);
    time.passes(5ms);
    arrives(1);
    gets(again);
    expects_all_back(before, bytes(4));
    EXPECT_EQ(world.count(Tally::recoveries_undone), 1u);
    for (int64_t n = 5; n <= 10; ++n) arrives(n);
    peer.expects_nothing();
}

TEST_F(Undo, EveryRepetitionMustHaveBeenForNothing) {
    proves("K13");
    for (const bool all : {false, true}) {
        SCOPED_TRACE(all ? "both came twice" : "one was lost");
        opens_with(small_settings());
        flies(10);
        time.passes(rtt);
        const tcp::ConnInfo before = world.info();
        arrives(3, 10);  // 1 and 2 are missing
        const Heard one = hears(1), two = hears_only(2);
        time.passes(5ms);
        if (all) {
            arrives(1, 2);
            gets(one);
            EXPECT_EQ(world.info().reductions, 1u);
            gets(two);
            expects_all_back(before, bytes(10));
            EXPECT_EQ(world.count(Tally::recoveries_undone), 1u);
        } else {
            arrives(1);
            time.passes(rtt);
            gets(one);
            gets(two);
            expects_no_undo();
        }
        peer.expects_nothing();
    }
}

TEST_F(Undo, ADsackOfWhatWasNeverRepeatedUndoesNothing) {
    // RFC 3708 section 2: the network has doubled it.
    proves("K13 X19");
    opens();
    flies(10);
    time.passes(rtt);
    arrives(2, 10);
    const Heard again = hears_only(1);
    arrives(5);  // again
    arrives(6);
    time.passes(rtt);
    gets(again);
    arrives(5);
    expects_no_undo();
    EXPECT_TRUE(near(cwnd(), 7));
}

TEST_F(Undo, ATimeoutWhoseRepetitionCameTwiceIsUndone) {
    proves("K13");
    opens();
    flies(10);
    const tcp::ConnInfo before = world.info();
    peer.waits();
    const Heard probe = hears_only(10);
    peer.waits();
    const Heard again = hears_only(1);
    EXPECT_EQ(world.count(Tally::retransmission_timeouts), 1u);
    time.passes(20ms);
    for (int64_t n = 1; n <= 10; ++n) keeps(first(n), end(n));
    acknowledges();  // all of them, at last
    peer.expects_nothing();
    gets(probe);
    gets(again);
    EXPECT_EQ(world.info().ssthresh, before.ssthresh);
    EXPECT_GE(cwnd(), before.cwnd);
    EXPECT_EQ(world.count(Tally::timeouts_undone), 1u);
    EXPECT_EQ(world.info().reductions, 0u);
}

// ---- F-RTO.
// -----------------------------------------------------------------------------------------------------------

TEST_F(Undo, AcksOfWhatWasNeverRepeatedShowThatTheTimeoutWasSpurious) {
    proves("K14");
    for (const bool sack : {true, false}) {
        SCOPED_TRACE(sack ? "with SACK" : "without");
        opens_with(small_settings(), {.sack = sack});
        flies(10, 10);
        const tcp::ConnInfo before = world.info();
        times_out();
        EXPECT_EQ(cwnd(), bytes(1));
        const int64_t next = sack ? 12 : 11;  // the probe was a new one
        time.passes(20ms);
        // The originals were late, all of them. New data leaves, at most two segments (RFC 5682 section 2.1 step 2b).
        arrives(1);
        auto heard = peer.takes_all();
        EXPECT_GE(heard.size(), 1u);
        EXPECT_LE(heard.size(), 2u);
        for (const Heard& h : heard) EXPECT_GE(h.seq, first(next));
        arrives(2);
        EXPECT_EQ(world.count(Tally::timeouts_undone), 1u);
        expects_all_back(before, bytes(3));
        for (int64_t n = 3; n <= 10; ++n) arrives(n);
        for (const Heard& h : peer.takes_all()) EXPECT_GE(h.seq, first(next));
        EXPECT_EQ(world.count(Tally::retransmitted_segments), 1u);
    }
}

TEST_F(Undo, AfterARealTimeoutTheNewDataShowsTheHole) {
    proves("K14 K12");
    for (const bool sack : {true, false}) {
        SCOPED_TRACE(sack ? "with SACK" : "without");
        opens_with(small_settings(), {.sack = sack});
        flies(10, 10);
        while (world.count(Tally::retransmission_timeouts) == 0) {
            peer.forgets();
            peer.waits();
        }
        const Heard again = hears_only(1);
        time.passes(rtt);
        gets(again);
        finishes();
        expects_no_undo();
        EXPECT_EQ(world.count(Tally::retransmission_timeouts), 1u);
        EXPECT_TRUE(same(peer.stream(), pattern(0, 1 + bytes(20))));
    }
}

TEST_F(Undo, AnAckThatReachesOverWhatWasReportedProvesNothing) {
    // Never repeated, but delivered long ago: the timeout repaired the hole before it.
    proves("K14");
    for (const bool sack : {true, false}) {
        SCOPED_TRACE(sack ? "with SACK" : "without");
        opens_with(small_settings(), {.sack = sack});
        flies(10, 10);
        time.passes(rtt);
        for (int64_t n = 2; n <= 10; ++n) arrives(n);
        peer.forgets();  // 1 again, and new data: all lost
        while (world.count(Tally::retransmission_timeouts) == 0) {
            peer.forgets();
            peer.waits();
        }
        const Heard again = hears_only(1);
        time.passes(rtt);
        gets(again);
        EXPECT_EQ(world.count(Tally::timeouts_undone), 0u);
        finishes();
        EXPECT_EQ(world.count(Tally::timeouts_undone), 0u);
        EXPECT_TRUE(same(peer.stream(), pattern(0, 1 + bytes(20))));
    }
}

TEST_F(Undo, ADuplicateAckAfterTheTimeoutMeansThatItWasReal) {
    // RFC 5682 section 2.1 step 2a: retransmission goes on in order.
    proves("K14 K12");
    opens({.sack = false});
    flies(10, 10);
    times_out();
    time.passes(10ms);
    peer.sends({.flags = ack, .ack = first(1)});
    peer.expects_nothing();
    time.passes(rtt);
    arrives(1);
    hears(2);
    peer.forgets();
    EXPECT_EQ(world.count(Tally::timeouts_undone), 0u);
}

}  // namespace
}  // namespace pollux::test
