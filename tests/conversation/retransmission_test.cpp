// The retransmission timer: RFC 6298, Karn's rule, backoff and its end (RFC 9293 section 3.8.3), and what a timeout
// does to the congestion window (RFC 5681 section 3.1, RFC 6928).
#include "tests/support/conversation.hpp"

namespace pollux::test {
namespace {

using Retransmission = Conversation;

// Whose reductions are halves; CUBIC's are in congestion_test.cpp.
tcp::StackSettings new_reno() {
    return settings_with([](auto& s) { s.congestion = tcp::CongestionControl::new_reno; });
}

// ---- The timer.
// --------------------------------------------------------------------------------------------------------

TEST_F(Retransmission, FirstRtoComesFromTheHandshake) {
    proves("K11");
    // SRTT = R, RTTVAR = R/2, RTO = SRTT + max(200 ms, 4 RTTVAR). A half-open record keeps its time in units of
    // 4 ms, rounded on both sides.
    constexpr Duration granularity = 8ms;
    for (const Duration rtt : {1ms, 10ms, 100ms, 200ms, 500ms}) {
        SCOPED_TRACE(rtt.count());
        starts_with(small_settings());
        peer.connects({.rtt = rtt});
        const tcp::ConnInfo info = world.info();
        EXPECT_LE(info.srtt, rtt + granularity);
        EXPECT_GE(info.srtt, rtt - granularity);
        EXPECT_EQ(info.rttvar, info.srtt / 2);
        app.sends("hello");
        peer.expects({.flags = ack, .seq = 1, .text = "hello"});
        EXPECT_TRUE(about(peer.waits(), info.srtt + std::max<Duration>(200ms, 4 * info.rttvar)));
        peer.expects({.flags = ack, .seq = 1, .text = "hello"});
    }
}

TEST_F(Retransmission, VarianceFollowsTheSamples) {
    proves("K11");
    peer.connects({.rtt = 100ms});
    int64_t srtt = world.info().srtt.count(), rttvar = world.info().rttvar.count();
    for (const Duration rtt : {150ms, 80ms, 300ms, 100ms, 100ms}) {
        app.sends("x");
        peer.expects({.flags = ack, .text = "x"});
        time.passes(rtt);
        peer.sends({.flags = ack});
        // RFC 6298 (2.3): RTTVAR before SRTT, beta 1/4, alpha 1/8.
        rttvar = (3 * rttvar + std::abs(srtt - rtt.count())) / 4;
        srtt = (7 * srtt + rtt.count()) / 8;
        EXPECT_NEAR(static_cast<double>(world.info().srtt.count()), static_cast<double>(srtt), 20);
        EXPECT_NEAR(static_cast<double>(world.info().rttvar.count()), static_cast<double>(rttvar), 20);
    }
    app.sends("y");
    peer.expects({.flags = ack, .text = "y"});
    EXPECT_TRUE(about(peer.waits(), Duration{srtt + std::max<int64_t>(200'000, 4 * rttvar)}, 3ms));
    peer.expects({.flags = ack, .text = "y"});
}

TEST_F(Retransmission, TimestampsGiveTheSampleToo) {
    proves("K11");
    peer.connects({.ts = true, .rtt = 100ms});
    int64_t srtt = world.info().srtt.count(), rttvar = world.info().rttvar.count();
    EXPECT_NEAR(static_cast<double>(srtt), 100'000, 8'000);
    for (const Duration rtt : {150ms, 100ms, 120ms}) {
        app.sends("x");
        peer.expects({.flags = ack, .text = "x"});
        time.passes(rtt);
        peer.sends({.flags = ack});
        rttvar = (3 * rttvar + std::abs(srtt - rtt.count())) / 4;
        srtt = (7 * srtt + rtt.count()) / 8;
        EXPECT_NEAR(static_cast<double>(world.info().srtt.count()), static_cast<double>(srtt), 1'000);
        EXPECT_NEAR(static_cast<double>(world.info().rttvar.count()), static_cast<double>(rttvar), 1'000);
    }
}

TEST_F(Retransmission, EachTimeoutDoublesTheTimer) {
    proves("K11 MUST-19");
    peer.connects();
    app.sends("hello");
    peer.expects({.flags = ack, .seq = 1, .text = "hello"});
    Duration expected = world.info().rto;
    for (int i = 0; i < 15; ++i) {
        EXPECT_TRUE(about(peer.waits(), expected)) << "retransmission " << i;
        peer.expects({.flags = ack, .seq = 1, .text = "hello"});
        peer.expects_nothing();
        expected = std::min<Duration>(expected * 2, 120s);
    }
}

TEST_F(Retransmission, TimerRestartsOnNewAcksAndStopsWhenAllIsAcknowledged) {
    proves("K11");
    peer.connects();
    app.sends("first");
    time.passes(50ms);
    app.sends("second");
    peer.expects_exactly(2);
    time.passes(50ms);
    peer.sends({.flags = ack, .ack = 6});  // (5.3): restart for the second
    const Duration rto = world.info().rto;
    EXPECT_TRUE(about(peer.waits(), rto));
    peer.expects({.flags = ack, .seq = 6, .text = "second"});
    peer.sends({.flags = ack, .ack = 12});  // (5.2): all acknowledged
    time.passes(1h);
    peer.expects_nothing();
}

TEST_F(Retransmission, DuplicateAckDoesNotRestartTheTimer) {
    proves("K11");
    peer.connects();
    app.sends("hello");
    peer.expects({.text = "hello"});
    time.passes(150ms);
    peer.sends({.flags = ack, .ack = 1});
    EXPECT_TRUE(about(peer.waits() + 150ms, world.info().rto));
    peer.expects({.flags = ack, .seq = 1, .text = "hello"});
}

TEST_F(Retransmission, SegmentSentTwiceGivesNoSampleAndTheBackoffStays) {
    proves("K11 MUST-18");
    peer.connects();
    const Duration rto = world.info().rto;
    app.sends("hello");
    peer.expects({.text = "hello"});
    peer.waits();
    peer.expects({.text = "hello"});
    time.passes(50ms);
    const tcp::ConnInfo before = world.info();
    peer.sends({.flags = ack});
    EXPECT_EQ(world.info().srtt, before.srtt);
    EXPECT_EQ(world.info().rttvar, before.rttvar);
    // Karn: the backed-off RTO serves until a segment that was sent once gives a sample.
    app.sends("again");
    peer.expects({.seq = 6, .text = "again"});
    EXPECT_TRUE(about(peer.waits(), 2 * rto));
    peer.expects({.seq = 6, .text = "again"});
    peer.sends({.flags = ack});
    app.sends("fresh");
    peer.expects({.seq = 11, .text = "fresh"});
    time.passes(10ms);
    peer.sends({.flags = ack});
    app.sends("calm");
    peer.expects({.seq = 16, .text = "calm"});
    EXPECT_LE(peer.waits(), 215ms);
    peer.expects({.seq = 16, .text = "calm"});
}

TEST_F(Retransmission, LostSynAckGivesNoSampleAndThreeSecondsForData) {
    proves("K11 MUST-18");
    peer.sends({.flags = syn, .mss = 1460});
    peer.expects({.flags = syn | ack});
    peer.waits();
    peer.expects({.flags = syn | ack});
    time.passes(10ms);
    peer.sends({.flags = ack});
    EXPECT_EQ(world.info().srtt, 0ms);
    app.sends("hello");
    peer.expects({.text = "hello"});
    EXPECT_TRUE(about(peer.waits(), 3s));  // RFC 6298 (5.7)
    peer.expects({.text = "hello"});
}

// ---- What a timeout does.
// ------------------------------------------------------------------------------------------------

TEST_F(Retransmission, TimeoutSendsTheOldestAloneAndStartsSlowly) {
    proves("K12 MUST-19");
    starts_with(new_reno());
    peer.connects();
    app.sends_pattern(14'600);
    peer.expects_exactly(10);
    peer.waits();
    peer.expects({.flags = ack, .seq = 1, .bytes = 1'460});
    peer.expects_nothing();
    EXPECT_EQ(world.info().cwnd, 1'460u);
    EXPECT_EQ(world.info().ssthresh, 7'300u);  // half of what was in flight
    // All that was sent counts as lost: slow start goes through it again, oldest first.
    peer.sends({.flags = ack, .ack = 1'461});
    EXPECT_EQ(world.info().cwnd, 2'920u);
    peer.expects({.flags = ack, .seq = 1'461, .bytes = 1'460});
    peer.expects({.flags = ack, .seq = 2'921, .bytes = 1'460});
    peer.expects_nothing();
    peer.sends({.flags = ack, .ack = 2'921});
    peer.expects({.flags = ack, .seq = 4'381});
    peer.expects({.flags = ack, .seq = 5'841});
    peer.expects_nothing();
    // What had arrived after all is not sent again.
    peer.sends({.flags = ack, .ack = 14'601});
    peer.expects_nothing();
    EXPECT_EQ(world.stack().unacknowledged(app.conn()), 0u);
    EXPECT_EQ(world.count(Tally::retransmission_timeouts), 1u);
    EXPECT_EQ(world.count(Tally::retransmitted_segments), 5u);
}

TEST_F(Retransmission, ThresholdIsAtLeastTwoSegmentsAndASecondTimeoutKeepsIt) {
    proves("K12");
    starts_with(new_reno());
    peer.connects();
    app.sends("small");
    peer.expects({.text = "small"});
    peer.waits();
    peer.expects({.text = "small"});
    EXPECT_EQ(world.info().cwnd, 1'460u);
    EXPECT_EQ(world.info().ssthresh, 2'920u);
    starts_with(new_reno());
    peer.connects();
    app.sends_pattern(14'600);
    peer.expects_exactly(10);
    peer.waits();
    peer.expects({.seq = 1});
    peer.waits();
    peer.expects({.seq = 1});
    // RFC 5681 section 3.1: ssthresh is held when a retransmitted segment times out again.
    EXPECT_EQ(world.info().ssthresh, 7'300u);
    EXPECT_EQ(world.info().cwnd, 1'460u);
}

TEST_F(Retransmission, AboveTheThresholdTheWindowGrowsByOneSegmentPerRoundTrip) {
    proves("MUST-19");
    starts_with(new_reno());
    peer.connects({.win = 65'535});
    app.sends_pattern(400'000);
    peer.expects_exactly(10);
    peer.waits();
    peer.sends({.flags = ack, .ack = 14'601});  // all at once: nothing says that the timeout was spurious
    peer.forgets();
    const uint32_t ssthresh = world.info().ssthresh;
    // Slow start up to ssthresh, then congestion avoidance.
    uint32_t last = world.info().cwnd;
    bool avoided = false;
    for (int round = 0; round < 14; ++round) {
        time.passes(10ms);
        const int64_t end = peer.heard;
        for (int64_t at = world.info().snd_una.since(peer.host_isn()); at < end; at += 1'460) {
            peer.sends({.flags = ack, .ack = std::min(end, at + 1'460)});
        }
        peer.forgets();
        const uint32_t cwnd = world.info().cwnd;
        if (last >= ssthresh) {
            avoided = true;
            EXPECT_LE(cwnd, last + 1'460 + 30) << "round " << round;
            EXPECT_GT(cwnd, last) << "round " << round;
        } else {
            EXPECT_LE(cwnd, std::max(2 * last, 2 * ssthresh)) << "round " << round;
            EXPECT_GT(cwnd, last) << "round " << round;
        }
        last = cwnd;
    }
    EXPECT_TRUE(avoided);
}

// ---- Duplicate ACKs.
// ------------------------------------------------------------------------------------------------------

TEST_F(Retransmission, ThirdDuplicateAckRepeatsTheOldestSegment) {
    proves("K2");
    starts_with(new_reno());
    peer.connects();
    app.sends_pattern(14'600);
    peer.expects_exactly(10);
    for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(peer.sends({.flags = ack, .ack = 1}), Verdict::duplicate_ack);
        peer.expects_nothing();
    }
    peer.sends({.flags = ack, .ack = 1});
    peer.expects({.flags = ack, .seq = 1, .bytes = 1'460});
    peer.expects_nothing();
    EXPECT_TRUE(world.info().in_recovery);
    EXPECT_EQ(world.info().ssthresh, 7'300u);
    // A full ACK ends the recovery with cwnd at ssthresh at most.
    peer.sends({.flags = ack, .ack = 14'601});
    EXPECT_FALSE(world.info().in_recovery);
    EXPECT_LE(world.info().cwnd, 7'300u + 1'460u);
    EXPECT_EQ(world.count(Tally::fast_retransmits), 1u);
    EXPECT_EQ(world.count(Tally::retransmission_timeouts), 0u);
}

TEST_F(Retransmission, AcksWithDataOrANewWindowAreNotDuplicates) {
    proves("K2");
    peer.connects();
    app.sends_pattern(14'600);
    peer.expects_exactly(10);
    for (uint32_t i = 0; i < 6; ++i) peer.sends({.flags = ack, .ack = 1, .win = 60'000 - i});
    peer.expects_nothing();
    for (int i = 0; i < 6; ++i) peer.sends({.flags = ack, .ack = 1, .win = 60'000 - 5, .bytes = 100});
    for (const Heard& h : peer.takes_all()) EXPECT_EQ(h.bytes(), 0u);
    time.passes(50ms);
    peer.forgets();
    EXPECT_EQ(world.count(Tally::fast_retransmits), 0u);
}

TEST_F(Retransmission, PartialAckRepeatsTheNextHole) {
    proves("K3");
    peer.connects();
    app.sends_pattern(14'600);
    peer.expects_exactly(10);
    for (int i = 0; i < 3; ++i) peer.sends({.flags = ack, .ack = 1});
    peer.expects({.flags = ack, .seq = 1, .bytes = 1'460});
    peer.forgets();
    peer.sends({.flags = ack, .ack = 2'921});  // the third segment was lost too
    ASSERT_FALSE(peer.heard_nothing());
    EXPECT_EQ(peer.takes_all().front().seq, 2'921);
    EXPECT_TRUE(world.info().in_recovery);
    peer.sends({.flags = ack, .ack = 14'601});
    EXPECT_FALSE(world.info().in_recovery);
    EXPECT_EQ(world.count(Tally::retransmission_timeouts), 0u);
}

// ---- The end.
// ------------------------------------------------------------------------------------------------------------

TEST_F(Retransmission, ConnectionEndsAfterTheConfiguredRetransmissionsAndNotBefore100Seconds) {
    proves("K16 SHLD-11 MUST-12");
    peer.connects();
    app.takes_events();
    app.sends("hello");
    peer.expects({.text = "hello"});
    const Instant start = world.now();
    ASSERT_TRUE(world.passes_until([&] { return peer.state() == State::closed; }, 1h));
    EXPECT_GE(world.now() - start, 100s);
    EXPECT_EQ(app.takes_events(), Events({Kind::unanswered, Kind::timed_out}));
    size_t repeated = 0;
    for (const Heard& h : peer.takes_all()) {
        if (h.bytes() > 0) ++repeated;
    }
    EXPECT_EQ(repeated, 15u);
    EXPECT_EQ(world.count(Tally::connections_timed_out), 1u);
    expects_all_returned();
    peer.sends({.flags = ack, .ack = 6});
    peer.expects({.flags = rst, .seq = 6});
}

TEST_F(Retransmission, NumberOfRetransmissionsIsSettable) {
    proves("K16 MUST-20 MUST-21");
    starts_with(settings_with([](auto& s) { s.data_retries = 3; }));
    peer.connects();
    app.takes_events();
    app.sends("hello");
    peer.expects({.text = "hello"});
    for (int i = 0; i < 3; ++i) {
        peer.waits();
        peer.expects({.seq = 1, .text = "hello"});
    }
    EXPECT_EQ(app.takes_events(), Events{Kind::unanswered});
    ASSERT_TRUE(world.passes_until([&] { return peer.state() == State::closed; }, 1min));
    EXPECT_EQ(app.takes_events(), Events{Kind::timed_out});
    peer.expects_nothing();
    expects_all_returned();
}

TEST_F(Retransmission, AfterThreeInVainEveryOtherOneAsksForTheNextHop) {
    // RFC 9293 section 3.8.3: at R1 (SHLD-10: at least 3) the IP layer is told, R2 ends the connection.
    proves("MUST-20 SHLD-10");
    starts_with(settings_with([](auto& s) { s.data_retries = 8; }));
    peer.connects();
    app.sends("hello");
    peer.expects({.text = "hello"});
    for (const uint64_t look_ups : {0, 0, 1, 1, 2, 2}) {
        peer.waits();
        peer.expects({.seq = 1, .text = "hello"});
        EXPECT_EQ(world.host().look_ups(), look_ups);
    }
    peer.sends({.flags = ack, .ack = 6});  // it is alive after all, on the path that it always had
    app.sends("more");
    peer.expects({.seq = 6, .text = "more"});
    EXPECT_EQ(world.host().look_ups(), 2u);
}

TEST_F(Retransmission, ProgressStartsTheCountAgain) {
    // RFC 9293 section 3.8.3 counts retransmissions of the same segment.
    proves("K16");
    for (const bool ts : {false, true}) {
        SCOPED_TRACE(ts ? "with timestamps" : "without");
        starts_with(settings_with([](auto& s) { s.data_retries = 3; }));
        peer.connects({.ts = ts});
        for (int64_t segment = 1; segment <= 6; ++segment) {
            app.sends("x");
            peer.expects({.text = "x"});
            peer.waits();
            peer.expects({.text = "x"});
            time.passes(10ms);
            peer.sends({.flags = ack, .ack = 1 + segment});
            ASSERT_EQ(peer.state(), State::established) << segment;
        }
        app.sends("abcdef");
        peer.forgets();
        for (int64_t byte = 1; byte <= 5; ++byte) {
            for (int i = 0; i < 3; ++i) {
                peer.waits();
                peer.forgets();
            }
            peer.sends({.flags = ack, .ack = 7 + byte});
            peer.forgets();
            ASSERT_EQ(peer.state(), State::established) << byte;
        }
    }
}

// ---- The beginning.
// --------------------------------------------------------------------------------------------------------

TEST_F(Retransmission, InitialWindowFollowsTheMss) {
    proves("L1");
    struct Case {
        uint16_t mtu, mss;
        uint32_t window;
    };
    // min(10 MSS, max(2 MSS, 14600))
    for (const Case& c : {Case{1500, 1460, 14'600}, Case{1500, 536, 5'360}, Case{9000, 1460, 14'600},
                          Case{9000, 2000, 14'600}, Case{9000, 8000, 16'000}, Case{9000, 8960, 17'920}}) {
        SCOPED_TRACE(c.mss);
        starts_with(settings_with([&](auto& s) { s.mtu = mtu_like(c.mtu); }));
        peer.connects({.mss = c.mss});
        EXPECT_EQ(world.info().cwnd, c.window);
        app.sends_pattern(60'000);
        size_t sent = 0;
        for (const Heard& h : peer.takes_all()) sent += h.bytes();
        EXPECT_LE(sent, c.window);
        EXPECT_GT(sent + c.mss, c.window);
    }
}

TEST_F(Retransmission, InitialWindowAfterALostSynAckIsOneSegment) {
    proves("L1");
    peer.sends({.flags = syn, .mss = 1460});
    peer.expects({.flags = syn | ack});
    peer.waits();
    peer.expects({.flags = syn | ack});
    peer.sends({.flags = ack});
    app.sends_pattern(10'000);
    peer.expects({.flags = ack, .seq = 1, .bytes = 1'460});
    peer.expects_nothing();
}

TEST_F(Retransmission, SlowStartGrowsByTheBytesAcknowledged) {
    proves("MUST-19");
    for (const int64_t segments_per_ack : {1, 2, 5}) {
        SCOPED_TRACE(segments_per_ack);
        starts_with(small_settings());
        peer.connects();
        app.sends_pattern(200'000);
        peer.expects_exactly(10);
        for (int64_t acked = segments_per_ack; acked <= 10; acked += segments_per_ack) {
            peer.sends({.flags = ack, .ack = 1 + acked * 1'460});
        }
        EXPECT_EQ(world.info().cwnd, 29'200u);
        peer.expects_exactly(20);
    }
}

}  // namespace
}  // namespace pollux::test
