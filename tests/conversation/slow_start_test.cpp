// Slow start, and when cwnd may grow at all: by bytes (RFC 3465), only while it is the limit (RFC 7661), from a small
// window after a pause (RFC 5681 section 4.1), and until the round trip rises (HyStart++, RFC 9406).
#include "tests/support/flight.hpp"

namespace pollux::test {
namespace {

class SlowStart : public Flight {
protected:
    /// A stream without end.
    void streams(const tcp::StackSettings& settings, Manner manner = {}, Here here = Here::current()) {
        manner.ts = true;
        manner.ws = uint8_t{7};
        opens_with(settings, manner, here);
        app.sends_pattern(3'000'000);
    }
    double segments() { return static_cast<double>(cwnd()) / static_cast<double>(size()); }
    /// How much cwnd grows in a round.
    double grows_by(Duration round_trip) {
        const double before = segments();
        round(round_trip);
        return segments() / before;
    }
    bool slow_start_is_over() { return world.info().ssthresh < 1u << 30; }
};

// ---- Growth.
// -----------------------------------------------------------------------------------------------------------

TEST_F(SlowStart, GrowthDoesNotDependOnHowManySegmentsAnAckIsFor) {
    proves("L2");
    for (const bool sack : {true, false}) {
        for (const int64_t per_ack : {1, 2, 4}) {
            SCOPED_TRACE(testing::Message() << per_ack << " segments, SACK " << sack);
            streams(small_settings(), {.sack = sack});
            EXPECT_EQ(cwnd(), bytes(10));
            round(rtt, per_ack);
            EXPECT_EQ(cwnd(), bytes(20));
            round(rtt, per_ack);
            EXPECT_EQ(cwnd(), bytes(40));
            EXPECT_EQ(peer.inbox().size(), 40u);
            peer.forgets();
        }
    }
}

TEST_F(SlowStart, AcksOfSingleBytesBringSingleBytes) {
    proves("L2");
    opens();
    flies(10, 10);
    time.passes(rtt);
    const uint32_t before = cwnd();
    for (int i = 1; i <= 100; ++i) peer.sends({.flags = ack, .ack = first(1) + i});
    EXPECT_EQ(cwnd(), before + 100);
    peer.expects_nothing();
}

TEST_F(SlowStart, CwndGrowsOnlyWhileItIsTheLimit) {
    proves("L3");
    for (const bool sack : {true, false}) {
        SCOPED_TRACE(sack);
        opens_with(small_settings(), {.sack = sack});
        // The application is the limit.
        for (int64_t i = 0; i < 20; ++i) {
            flies(3);
            time.passes(rtt);
            for (int64_t n = 1; n <= 3; ++n) arrives(3 * i + n);
        }
        EXPECT_EQ(cwnd(), bytes(10));
        // The peer's window is.
        opens_with(small_settings(), {.sack = sack});
        peer.window = static_cast<uint32_t>(4 * size());
        acknowledges();
        flies(4, 96);
        time.passes(rtt);
        for (int64_t n = 1; n <= 4; ++n) arrives(n);
        for (int i = 0; i < 24; ++i) round();
        EXPECT_EQ(cwnd(), bytes(10));
        EXPECT_EQ(world.info().in_flight, 0u);
    }
}

TEST_F(SlowStart, InCongestionAvoidanceTooCwndGrowsOnlyWhileItIsTheLimit) {
    proves("L3");
    for (const auto control : {tcp::CongestionControl::new_reno, tcp::CongestionControl::cubic}) {
        opens_with(settings_with([&](auto& s) { s.congestion = control; }));
        flies(10);
        time.passes(rtt);
        arrives(2, 10);
        const Heard again = hears_only(1);
        time.passes(rtt);
        gets(again);
        const uint32_t before = cwnd();
        for (int64_t n = 11; n < 71; n += 2) {
            flies(2);
            time.passes(rtt);
            arrives(n);
            arrives(n + 1);
        }
        EXPECT_EQ(cwnd(), before);
    }
}

// ---- After a pause.
// ---------------------------------------------------------------------------------------------------

TEST_F(SlowStart, AfterAPauseTheWindowStartsAgain) {
    proves("L4");
    for (const bool sack : {true, false}) {
        SCOPED_TRACE(sack);
        opens_with(small_settings(), {.sack = sack});
        grows_to(40);
        const uint32_t ssthresh = world.info().ssthresh;
        time.passes(world.info().rto + 50ms);
        flies(10, 30);  // the initial window, and the rest waits
        EXPECT_EQ(cwnd(), bytes(10));
        EXPECT_EQ(world.info().ssthresh, ssthresh);
        EXPECT_EQ(world.info().reductions, 0u);
        time.passes(rtt);
        for (int64_t n = 31; n <= 40; ++n) arrives(n);
        EXPECT_EQ(cwnd(), bytes(20));
        finishes();
    }
}

TEST_F(SlowStart, AShortPauseOrTheSettingKeepTheWindow) {
    proves("L4");
    opens();
    grows_to(40);
    time.passes(world.info().rto - 50ms);
    flies(40);
    finishes();
    opens_with(settings_with([](auto& s) { s.restart_after_idle = false; }));
    grows_to(40);
    time.passes(10s);
    flies(40);
    EXPECT_EQ(cwnd(), bytes(40));
    finishes();
}

TEST_F(SlowStart, APauseNeverRaisesTheWindow) {
    proves("L4");
    opens();
    flies(10);
    time.passes(rtt);
    arrives(2, 10);
    const Heard again = hears_only(1);
    time.passes(rtt);
    gets(again);
    EXPECT_TRUE(near(cwnd(), 7));
    time.passes(10s);
    flies(7, 5);
    EXPECT_TRUE(near(cwnd(), 7));
}

TEST_F(SlowStart, WaitingForAnAckIsNoPause) {
    proves("L4");
    opens();
    grows_to(20);
    flies(1);
    time.passes(world.info().rto - 30ms);
    flies(19);
    peer.forgets();
    EXPECT_EQ(cwnd(), bytes(20));
}

// ---- HyStart++.
// -------------------------------------------------------------------------------------------------------

TEST_F(SlowStart, ARiseOfTheRoundTripEndsItInFiveCarefulRounds) {
    proves("L7");
    streams(small_settings());
    EXPECT_NEAR(grows_by(40ms), 2, 0.01);
    EXPECT_NEAR(grows_by(40ms), 2, 0.01);
    // 12 ms more, and the threshold is 5 ms. The round that counts began with the last ACKs before the rise.
    round(52ms);
    // Eight samples of the next one: the rest of it grows by a quarter.
    const double first_round = grows_by(52ms);
    EXPECT_GT(first_round, 1.2);
    EXPECT_LT(first_round, 1.55);
    EXPECT_FALSE(slow_start_is_over());
    for (int careful = 2; careful <= 4; ++careful) {
        EXPECT_NEAR(grows_by(52ms), 1.25, 0.06) << careful;
        EXPECT_FALSE(slow_start_is_over()) << careful;
    }
    for (int more = 0; more < 3 && !slow_start_is_over(); ++more) round(52ms);
    ASSERT_TRUE(slow_start_is_over());
    EXPECT_NEAR(static_cast<double>(world.info().ssthresh), static_cast<double>(cwnd()), bytes(20));
    EXPECT_EQ(world.info().reductions, 0u);
    EXPECT_LT(grows_by(52ms), 1.1);
    peer.forgets();
}

TEST_F(SlowStart, TheThresholdIsAnEighthBetweenFourAndSixteenMilliseconds) {
    proves("L7");
    struct Case {
        Duration rtt, rise;
        bool ends;
    };
    for (const Case& c : {Case{10ms, 2ms, false}, Case{10ms, 7ms, true}, Case{80ms, 8ms, false},
                          Case{80ms, 13ms, true}, Case{200ms, 13ms, false}, Case{200ms, 19ms, true}}) {
        SCOPED_TRACE(testing::Message() << c.rtt.count() << " us and " << c.rise.count());
        streams(small_settings(), {.rtt = c.rtt});
        round(c.rtt);
        round(c.rtt);
        round(c.rtt + c.rise);
        const double growth = grows_by(c.rtt + c.rise);
        if (c.ends)
            EXPECT_LT(growth, 1.6);
        else
            EXPECT_NEAR(growth, 2, 0.01);
        peer.forgets();
    }
}

TEST_F(SlowStart, NoiseDoesNotEndIt) {
    proves("L7");
    // The last ACKs of every round are late by 12 ms; the least of a round is what counts.
    streams(small_settings());
    for (int i = 0; i < 3; ++i) {
        const double before = segments();
        const auto all = peer.takes_all();
        for (size_t at = 0; at < all.size(); ++at) {
            const Instant due = all[at].at + 40ms + (at >= all.size() * 3 / 4 ? 12ms : 0ms);
            if (due > world.now()) time.passes(due - world.now());
            gets(all[at]);
        }
        EXPECT_NEAR(segments() / before, 2, 0.01) << i;
    }
    EXPECT_FALSE(slow_start_is_over());
    peer.forgets();
}

TEST_F(SlowStart, ALowerMinimumDoesNotEndIt) {
    proves("L7");
    streams(small_settings(), {.rtt = 60ms});
    for (const Duration round_trip : {60ms, 50ms, 42ms}) EXPECT_NEAR(grows_by(round_trip), 2, 0.01);
    EXPECT_FALSE(slow_start_is_over());
    peer.forgets();
}

TEST_F(SlowStart, ARiseThatPassesLetsItGoOn) {
    // RFC 9406 section 4.2: a round trip below that of the beginning of the careful rounds.
    proves("L7");
    streams(small_settings());
    round(40ms);
    round(40ms);
    round(52ms);
    EXPECT_LT(grows_by(52ms), 1.55);
    round(41ms);
    round(41ms);
    EXPECT_NEAR(grows_by(41ms), 2, 0.1);
    EXPECT_FALSE(slow_start_is_over());
    peer.forgets();
}

TEST_F(SlowStart, WithoutHystartARiseChangesNothing) {
    proves("L7");
    streams(settings_with([](auto& s) { s.hystart = false; }));
    round(40ms);
    round(40ms);
    EXPECT_NEAR(grows_by(55ms), 2, 0.01);
    EXPECT_NEAR(grows_by(75ms), 2, 0.01);
    EXPECT_FALSE(slow_start_is_over());
    peer.forgets();
}

}  // namespace
}  // namespace pollux::test
