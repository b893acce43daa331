// Black holes: a path that swallows segments of full size and says nothing (RFC 4821 section 7.7, RFC 8899
// section 4.3). At the third timeout in a row of such segments without any progress they fall to 1024 bytes, once and
// for good.
#include "tests/support/flight.hpp"

namespace pollux::test {
namespace {

class BlackHole : public Flight {
protected:
    static constexpr int64_t base = 1'024;

    /// Lets the retransmission timer run out once; takes what leaves then.
    std::vector<Heard> times_out() {
        const uint64_t before = world.count(Tally::retransmission_timeouts);
        while (world.count(Tally::retransmission_timeouts) == before) {
            peer.forgets();
            peer.waits(130s);
        }
        return peer.takes_all();
    }
    /// Three times, as it takes to suspect the path.
    std::vector<Heard> times_out_thrice() {
        times_out();
        times_out();
        return times_out();
    }
    uint64_t found() { return world.count(Tally::black_holes_found); }
    /// The path lets through what is not larger than `limit`, and everything comes to its end.
    void goes_through(size_t limit, std::vector<Heard> heard) {
        for (int i = 0; i < 200 && world.info().in_flight > 0; ++i) {
            time.passes(rtt);
            for (const Heard& h : heard) {
                if (h.bytes() <= limit) gets(h);
            }
            if (peer.heard_nothing() && world.info().in_flight > 0) peer.waits(10s);
            heard = peer.takes_all();
        }
        EXPECT_EQ(world.info().in_flight, 0u);
    }
};

TEST_F(BlackHole, ThreeTimeoutsInARowMakeTheSegmentsSmaller) {
    proves("H3");
    for (const bool sack : {true, false}) {
        for (const bool ts : {false, true}) {
            SCOPED_TRACE(testing::Message() << "SACK " << sack << ", timestamps " << ts);
            opens_with(small_settings(), {.sack = sack, .ts = ts});
            flies(10, 10);
            std::vector<Heard> heard;
            for (int i = 0; i < 2; ++i) {
                heard = times_out();
                ASSERT_EQ(heard.size(), 1u);
                EXPECT_EQ(heard[0].bytes(), static_cast<size_t>(size()));
                EXPECT_EQ(found(), 0u);
            }
            const uint32_t ssthresh = world.info().ssthresh, reductions = world.info().reductions;
            heard = times_out();
            ASSERT_EQ(heard.size(), 1u);
            EXPECT_EQ(heard[0].seq, first(1));
            EXPECT_LE(heard[0].bytes(), static_cast<size_t>(base));
            EXPECT_GE(heard[0].bytes(), static_cast<size_t>(base - 12));
            EXPECT_LE(world.info().mss, static_cast<uint32_t>(base));
            EXPECT_EQ(found(), 1u);
            // No word about congestion in it.
            EXPECT_EQ(world.info().ssthresh, ssthresh);
            EXPECT_EQ(world.info().reductions, reductions);
            goes_through(base, heard);
            EXPECT_TRUE(same(peer.stream(), pattern(0, 1 + bytes(20))));
            EXPECT_EQ(found(), 1u);
            EXPECT_EQ(world.count(Tally::retransmission_timeouts), 3u);
            // And so for all that follows.
            app.sends_pattern(10'000);
            const auto more = peer.takes_all();
            ASSERT_FALSE(more.empty());
            for (const Heard& h : more) EXPECT_LE(h.bytes(), static_cast<size_t>(base));
        }
    }
}

TEST_F(BlackHole, TheSizeIsNotRaisedAgainNorLoweredFurther) {
    proves("H3");
    opens();
    flies(4);
    times_out_thrice();
    for (int i = 0; i < 3; ++i) {
        const auto heard = times_out();
        ASSERT_EQ(heard.size(), 1u);
        EXPECT_EQ(heard[0].bytes(), static_cast<size_t>(base));
    }
    EXPECT_EQ(found(), 1u);
    arrives(1, 4);
    peer.forgets();
    for (int i = 0; i < 5; ++i) {
        app.sends_pattern(3'000);
        for (const Heard& h : peer.takes_all()) {
            EXPECT_LE(h.bytes(), static_cast<size_t>(base));
            keeps(h.seq, h.end());
        }
        time.passes(rtt);
        acknowledges();
        for (const Heard& h : peer.takes_all()) keeps(h.seq, h.end());
        acknowledges();
    }
    EXPECT_EQ(world.info().mss, static_cast<uint32_t>(base));
}

TEST_F(BlackHole, ProgressBetweenTheTimeoutsMeansThatFullSegmentsPass) {
    proves("H3");
    for (const bool reported : {false, true}) {
        SCOPED_TRACE(reported ? "a report" : "an acknowledgment");
        opens_with(small_settings());
        flies(10);
        times_out();
        times_out();
        if (reported)
            arrives(5);
        else
            arrives(1);
        peer.forgets();
        times_out();
        const auto heard = times_out();
        ASSERT_FALSE(heard.empty());
        for (const Heard& h : heard) EXPECT_EQ(h.bytes(), static_cast<size_t>(size()));
        EXPECT_EQ(found(), 0u);
        EXPECT_EQ(world.info().mss, 1'460u);
    }
}

TEST_F(BlackHole, SmallSegmentsThatGetLostAreNone) {
    proves("H3");
    for (const size_t length : {size_t{5}, size_t{1'000}, size_t{1'024}}) {
        SCOPED_TRACE(length);
        opens_with(small_settings());
        app.sends_pattern(length);
        peer.expects({.bytes = length});
        for (int i = 0; i < 4; ++i) {
            peer.waits();
            peer.expects({.bytes = length});
        }
        EXPECT_EQ(found(), 0u);
        EXPECT_EQ(world.info().mss, 1'460u);
    }
}

TEST_F(BlackHole, SizesThatAreSmallAlreadyStay) {
    proves("H3");
    for (const uint16_t mss : {uint16_t{536}, uint16_t{1'000}, uint16_t{1'024}}) {
        SCOPED_TRACE(mss);
        opens_with(small_settings(), {.mss = mss});
        flies(4);
        for (int i = 0; i < 4; ++i) {
            const auto heard = times_out();
            ASSERT_EQ(heard.size(), 1u);
            EXPECT_EQ(heard[0].bytes(), size_t{mss});
        }
        EXPECT_EQ(found(), 0u);
    }
}

TEST_F(BlackHole, TheFinStaysBehindItsData) {
    proves("H3 F8");
    opens();
    flies(2);
    app.shuts_down();
    peer.expects({.flags = fin | ack});
    const auto heard = times_out_thrice();
    EXPECT_EQ(found(), 1u);
    goes_through(base, heard);
    EXPECT_EQ(peer.state(), State::fin_wait_2);
    EXPECT_TRUE(same(peer.stream(), pattern(0, 1 + bytes(2))));
}

TEST_F(BlackHole, AHoleBehindARouterThatHasSpokenIsFoundToo) {
    proves("H3");
    opens();
    flies(4);
    const tcp::SeqNum quoted = peer.host_isn() + static_cast<uint32_t>(first(1));
    world.stack().notify(
        {.kind = tcp::PathNotice::Kind::too_big, .flow = peer.flow(), .quoted_seq = quoted, .mtu = mtu_like(1'300)},
        world.now());
    world.delivers({});
    for (const Heard& h : peer.takes_all()) EXPECT_LE(h.bytes(), 1'260u);
    const auto heard = times_out_thrice();
    ASSERT_EQ(heard.size(), 1u);
    EXPECT_EQ(heard[0].bytes(), static_cast<size_t>(base));
    EXPECT_EQ(found(), 1u);
}

TEST_F(BlackHole, OtherConnectionsKeepTheirSize) {
    proves("H3");
    opens();
    flies(4);
    const tcp::ConnId swallowed = app.conn();
    Peer other(world, {peer_endpoint.address, 41'000});
    other.connects({.sack_ok = true});
    while (found() == 0) {
        peer.forgets();
        peer.waits();
    }
    peer.forgets();
    EXPECT_EQ(world.stack().info(swallowed)->mss, static_cast<uint32_t>(base));
    EXPECT_EQ(world.info().mss, 1'460u);
}

// ---- What a router says, where a scoreboard knows the segments.
// ------------------------------------------------------

class TooBig : public BlackHole {
protected:
    Verdict too_big(uint32_t mtu, int64_t segment) {
        const tcp::SeqNum quoted = peer.host_isn() + static_cast<uint32_t>(first(segment));
        const Verdict verdict = world.stack().notify(
            {.kind = tcp::PathNotice::Kind::too_big, .flow = peer.flow(), .quoted_seq = quoted, .mtu = mtu},
            world.now());
        world.delivers({});
        return verdict;
    }
};

TEST_F(TooBig, WhatIsReportedIsNotSentAgain) {
    proves("H3 K4");
    opens();
    flies(10);
    time.passes(rtt);
    const tcp::ConnInfo before = world.info();
    arrives(3, 4);
    EXPECT_EQ(too_big(mtu_like(1'300), 1), Verdict::path_notice);
    int64_t reached = first(1);
    const auto heard = peer.takes_all();
    for (const Heard& h : heard) {
        EXPECT_LE(h.bytes(), 1'260u);
        if (h.seq == first(5)) reached = first(5);
        EXPECT_EQ(h.seq, reached);
        EXPECT_TRUE(h.end() <= first(3) || h.seq >= first(5)) << "what is there is repeated";
        reached = h.end();
    }
    EXPECT_EQ(reached, end(10));
    // The network has said what it wants: no congestion.
    EXPECT_EQ(world.info().cwnd, before.cwnd);
    EXPECT_EQ(world.info().ssthresh, before.ssthresh);
    EXPECT_EQ(world.info().reductions, 0u);
    EXPECT_EQ(world.info().mss, 1'260u);
    time.passes(rtt);
    gets_all(heard);
    EXPECT_EQ(world.info().in_flight, 0u);
    EXPECT_EQ(world.info().reductions, 0u);
    EXPECT_EQ(world.count(Tally::path_mtu_lowered), 1u);
}

TEST_F(TooBig, ReportsOfTheSmallerSegmentsFitTheRecords) {
    proves("H3 K4 K6");
    opens();
    flies(10);
    EXPECT_EQ(too_big(mtu_like(1'300), 1), Verdict::path_notice);
    const auto heard = peer.takes_all();
    ASSERT_GE(heard.size(), 12u);
    time.passes(rtt);
    for (size_t i = 1; i < 4; ++i) gets(heard[i]);
    const Heard again = peer.expects({.flags = ack, .seq = first(1), .bytes = 1'260});
    peer.expects_nothing();
    for (size_t i = 4; i < heard.size(); ++i) gets(heard[i]);
    time.passes(rtt);
    gets(again);
    EXPECT_EQ(world.info().in_flight, 0u);
    EXPECT_EQ(world.info().reductions, 1u);
    EXPECT_EQ(world.count(Tally::retransmission_timeouts), 0u);
}

TEST_F(TooBig, InARecoveryItChangesTheSizeAndNotTheThreshold) {
    proves("H3 L8");
    opens();
    flies(10);
    time.passes(rtt);
    arrives(3, 6);
    EXPECT_EQ(phase(), Phase::recovery);
    const uint32_t ssthresh = world.info().ssthresh;
    peer.forgets();
    EXPECT_EQ(too_big(mtu_like(1'300), 1), Verdict::path_notice);
    for (const Heard& h : peer.takes_all()) {
        EXPECT_LE(h.bytes(), 1'260u);
        EXPECT_TRUE(h.end() <= first(3) || h.seq >= first(7)) << "what is there is repeated";
        keeps(h.seq, h.end());
    }
    time.passes(rtt);
    acknowledges();
    finishes();
    EXPECT_EQ(world.info().ssthresh, ssthresh);
    EXPECT_EQ(world.info().reductions, 1u);
    EXPECT_TRUE(same(peer.stream(), pattern(0, 1 + bytes(10))));
}

TEST_F(TooBig, WhatIsLostAfterItInTheSameFlightReducesNoFurther) {
    proves("H3 L8");
    opens();
    flies(10);
    time.passes(rtt);
    arrives(3, 6);
    ASSERT_EQ(phase(), Phase::recovery);
    peer.forgets();
    EXPECT_EQ(too_big(mtu_like(1'300), 1), Verdict::path_notice);
    const std::vector<Heard> again = peer.takes_all();
    ASSERT_GT(again.size(), 2u);
    time.passes(rtt);
    // The first piece is lost again.
    for (const Heard& h : again) {
        if (h.seq != first(1)) gets(h);
    }
    EXPECT_EQ(heard_at(), first(1));
    peer.forgets();
    EXPECT_EQ(world.info().reductions, 1u);
    time.passes(1s);
    finishes();
    EXPECT_TRUE(same(peer.stream(), pattern(0, 1 + bytes(10))));
}

TEST_F(TooBig, EndsTheQuestionWhetherATimeoutWasSpurious) {
    proves("H3 K14");
    opens({.sack = false});
    flies(10, 10);
    peer.waits();
    hears_only(1);  // by the timer
    arrives(1, 3);  // and F-RTO asks by two new segments (RFC 5682 section 2.1)
    const int64_t sent = peer.takes_all().back().end();
    EXPECT_EQ(sent, end(12));
    EXPECT_EQ(too_big(mtu_like(1'300), 4), Verdict::path_notice);
    for (const Heard& h : peer.takes_all()) EXPECT_LT(h.seq, sent) << "new data, beyond cwnd";
    EXPECT_LE(world.info().mss, 1'260u);
    acknowledges();
    finishes();
}

TEST_F(TooBig, LiesChangeNothingInARecoveryEither) {
    proves("H4");
    opens();
    flies(10);
    time.passes(rtt);
    arrives(1);
    arrives(3, 6);
    hears_only(2);
    for (const int64_t segment : {-5, 1, 11, 500}) {
        EXPECT_EQ(too_big(mtu_like(1'300), segment), Verdict::icmp_ignored) << segment;
    }
    for (const uint32_t mtu : {68u, by_family(551u, 1'279u), uint32_t{mtu_like(1'500)}, 65'535u}) {
        EXPECT_EQ(too_big(mtu, 2), Verdict::icmp_ignored) << mtu;
    }
    peer.expects_nothing();
    EXPECT_EQ(world.info().mss, 1'460u);
}

}  // namespace
}  // namespace pollux::test
