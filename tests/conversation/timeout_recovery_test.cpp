// What a timeout does where a scoreboard knows the segments: RFC 5681 section 3.1, RFC 6298 section 5, RFC 8985
// section 6.3; and the end of it (R2). retransmission_test.cpp has the timer itself and peers without SACK.
#include "tests/support/flight.hpp"

namespace pollux::test {
namespace {

class TimeoutRecovery : public Flight {
protected:
    /// Lets the retransmission timer run out once; hears the oldest.
    Heard times_out(int64_t oldest, Here here = Here::current()) {
        const uint64_t before = timeouts();
        while (timeouts() == before) {
            peer.forgets();
            peer.waits(130s, here);
        }
        // The third one in a row makes full segments smaller (black_hole_test.cpp).
        Heard h = peer.expects({.flags = ack, .seq = first(oldest)}, here);
        peer.expects_nothing(here);
        return h;
    }
    uint64_t timeouts() { return world.count(Tally::retransmission_timeouts); }
};

TEST_F(TimeoutRecovery, TheWindowIsOneSegmentAndTheThresholdFollowsTheAlgorithm) {
    proves("K12 L6");
    for (const bool sack : {true, false}) {
        for (const auto control : {tcp::CongestionControl::new_reno, tcp::CongestionControl::cubic}) {
            const bool cubic = control == tcp::CongestionControl::cubic;
            SCOPED_TRACE(testing::Message() << (cubic ? "CUBIC" : "NewReno") << ", SACK " << sack);
            opens_with(settings_with([&](auto& s) { s.congestion = control; }), {.sack = sack});
            EXPECT_EQ(world.info().congestion, control);
            flies(10);
            times_out(1);
            EXPECT_EQ(cwnd(), bytes(1));
            EXPECT_TRUE(near(world.info().ssthresh, cubic ? 7 : 5));
            EXPECT_EQ(phase(), Phase::loss);
            if (sack) {
                EXPECT_EQ(world.info().pipe, bytes(1));
            }
            EXPECT_EQ(world.info().reductions, 1u);
            // RFC 5681 section 3.1: held when what was repeated times out again.
            for (int again = 0; again < 3; ++again) {
                times_out(1);
                EXPECT_LE(cwnd(), bytes(1));
                EXPECT_TRUE(near(world.info().ssthresh, cubic ? 7 : 5));
                EXPECT_EQ(world.info().reductions, 1u);
            }
        }
    }
}

TEST_F(TimeoutRecovery, EverythingCountsAsLostAndLeavesOldestFirst) {
    proves("K12");
    for (const bool ts : {false, true}) {
        SCOPED_TRACE(ts);
        opens_with(small_settings(), {.ts = ts});
        flies(10);
        gets(times_out(1));
        // Slow start, from one segment: two, four, and the rest.
        int64_t next = 2;
        for (const int64_t count : {2, 4, 3}) {
            const auto heard = peer.expects_exactly(static_cast<size_t>(count));
            for (const Heard& h : heard) EXPECT_EQ(h.seq, first(next++));
            EXPECT_EQ(phase(), Phase::loss);
            time.passes(rtt);
            gets_all(heard);
        }
        EXPECT_EQ(world.info().in_flight, 0u);
        EXPECT_EQ(phase(), Phase::open);
        EXPECT_EQ(timeouts(), 1u);
        EXPECT_LE(cwnd(), bytes(10));
    }
}

TEST_F(TimeoutRecovery, WhatIsReportedAfterTheTimeoutIsNotRepeated) {
    proves("K12 K4");
    opens();
    flies(10);
    const Heard again = times_out(1);
    time.passes(rtt);
    // The originals of 3 to 10 were slow, not lost.
    keeps(first(3), end(10));
    acknowledges();
    for (const Heard& h : peer.takes_all()) EXPECT_EQ(h.seq, first(2));
    gets(again);
    for (const Heard& h : peer.takes_all()) EXPECT_EQ(h.seq, first(2));
    arrives(2);
    EXPECT_EQ(world.info().in_flight, 0u);
    peer.expects_nothing();
    EXPECT_EQ(timeouts(), 1u);
}

TEST_F(TimeoutRecovery, ATimeoutDuringARecoveryBeginsAnew) {
    proves("K12 K11");
    opens();
    flies(10);
    time.passes(rtt);
    arrives(2, 5);
    hears_only(1);  // lost again; nobody says a word any more
    const uint32_t ssthresh = world.info().ssthresh;
    const Heard again = times_out(1);
    EXPECT_EQ(cwnd(), bytes(1));
    EXPECT_EQ(phase(), Phase::loss);
    EXPECT_LE(world.info().ssthresh, ssthresh);
    EXPECT_GE(world.info().ssthresh, bytes(2));
    time.passes(rtt);
    gets(again);
    EXPECT_EQ(heard_at(), first(6));
    EXPECT_EQ(peer.inbox().size(), 2u);
    finishes();
    EXPECT_EQ(timeouts(), 1u);
    EXPECT_TRUE(same(peer.stream(), pattern(0, 1 + bytes(10))));
}

TEST_F(TimeoutRecovery, TheTimerBacksOffAndComesBackWithASample) {
    proves("K11 MUST-18");
    opens({.mss = 1'000});  // too small for a black hole
    const Duration rto = world.info().rto;
    flies(10);
    times_out(1);
    Instant last = world.now();
    for (int doubled = 2; doubled <= 16; doubled *= 2) {
        times_out(1);
        EXPECT_TRUE(about(world.now() - last, rto * doubled)) << doubled;
        last = world.now();
    }
    const tcp::ConnInfo before = world.info();
    time.passes(20ms);
    arrives(1, 10);  // of a repetition or not: no sample (Karn)
    EXPECT_EQ(world.info().srtt, before.srtt);
    flies(1);
    time.passes(rtt);
    arrives(11);
    flies(1);
    EXPECT_LE(peer.waits(), world.info().rto + 2ms);
    EXPECT_LE(world.info().rto, rto + 50ms);
    hears_only(12);
}

TEST_F(TimeoutRecovery, ReportsDoNotRestartTheTimerAndAcksDo) {
    proves("K11");
    opens();
    flies(10);
    const Instant sent = world.now();
    const Duration rto = world.info().rto;
    time.passes(rtt);
    arrives(3);
    peer.waits();
    peer.takes_all();
    for (int64_t n = 4; n <= 10; ++n) {
        time.passes(5ms);
        arrives(n);
    }
    peer.takes_all();
    const Instant reported = world.now();
    while (timeouts() == 0) {
        peer.forgets();
        peer.waits();
    }
    EXPECT_LE(world.now() - sent, rto + rtt * 2);
    EXPECT_LT(world.now() - reported, rto);
    peer.forgets();
    // (5.3): an ACK of new data does.
    opens_with(small_settings());
    flies(10);
    time.passes(200ms);
    peer.forgets();
    arrives(1);
    time.passes(100ms);
    peer.forgets();
    EXPECT_EQ(timeouts(), 0u);
}

TEST_F(TimeoutRecovery, ConnectionsWithAScoreboardEndTooAndLeaveNothing) {
    proves("K16");
    for (const bool reported : {false, true}) {
        SCOPED_TRACE(reported);
        starts_with(settings_with([](auto& s) { s.data_retries = 4; }));
        const tcp::PoolUse start = world.stack().pool_use();
        opens();
        app.takes_events();
        flies(10);
        if (reported) {
            time.passes(rtt);
            arrives(2, 6);
        }
        ASSERT_TRUE(world.passes_until([&] { return peer.state() == State::closed; }, 10min));
        EXPECT_EQ(app.takes_events(), Events({Kind::unanswered, Kind::timed_out}));
        EXPECT_EQ(timeouts(), 4u);
        peer.forgets();
        EXPECT_TRUE(world.stack().pool_use() == start);
        expects_all_returned();
    }
}

}  // namespace
}  // namespace pollux::test
