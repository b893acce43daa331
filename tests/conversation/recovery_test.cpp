// Loss recovery with SACK: what leaves again, in which order, and how often the window is reduced. RFC 2018 section
// 5, RFC 3042, RFC 5681 section 3.2, RFC 6675; how much may leave is in prr_test.cpp, what RACK takes for lost in
// rack_test.cpp.
#include <algorithm>

#include "tests/support/flight.hpp"

namespace pollux::test {
namespace {

class Recovery : public Flight {
protected:
    /// The numbers of all segments heard, in order.
    std::vector<int64_t> takes_numbers() {
        std::vector<int64_t> all;
        for (const Heard& h : peer.takes_all()) all.push_back((h.seq - first(1)) / size() + 1);
        return all;
    }
    using Numbers = std::vector<int64_t>;
};

// ---- Limited transmit.
// -------------------------------------------------------------------------------------------------

TEST_F(Recovery, EachOfTheFirstTwoReportsLetsOneNewSegmentOut) {
    proves("K1");
    for (const bool ts : {false, true}) {
        SCOPED_TRACE(ts);
        opens_with(small_settings(), {.ts = ts});
        flies(10, 10);
        const uint32_t window = cwnd();
        time.passes(rtt);
        arrives(2);
        hears_only(11);
        arrives(3);
        hears_only(12);
        EXPECT_EQ(cwnd(), window);
        EXPECT_EQ(phase(), Phase::open);
        arrives(4);
        hears_only(1);
    }
}

TEST_F(Recovery, LimitedTransmitObeysThePeersWindow) {
    proves("K1");
    opens();
    peer.window = static_cast<uint32_t>(5 * size());
    acknowledges();
    flies(5, 5);
    time.passes(rtt);
    arrives(2);
    arrives(3);
    peer.expects_nothing();
    arrives(4);
    hears_only(1);
}

TEST_F(Recovery, AcksThatReportNothingNewLetNothingOutAndMeanNoLoss) {
    // RFC 6675 section 2: of a peer that agreed to SACK a duplicate ACK is one that reports something.
    proves("K1 K2");
    opens();
    flies(10, 10);
    time.passes(rtt);
    for (int i = 0; i < 10; ++i) acknowledges();
    peer.expects_nothing();
    arrives(2);
    hears_only(11);
    for (int i = 0; i < 10; ++i) acknowledges();  // the same report again
    peer.expects_nothing();
    EXPECT_EQ(phase(), Phase::open);
    EXPECT_EQ(world.info().reductions, 0u);
}

// ---- What leaves again.
// ------------------------------------------------------------------------------------------------

TEST_F(Recovery, ASingleLossIsRepairedWithoutATimeout) {
    proves("K4 K6");
    for (const int64_t lost : {1, 2, 5, 7}) {
        SCOPED_TRACE(lost);
        opens_with(small_settings());
        flies(10);
        time.passes(rtt);
        for (int64_t n = 1; n <= 10; ++n) {
            if (n != lost) arrives(n);
        }
        const Heard again = hears_only(lost);
        time.passes(rtt);
        gets(again);
        EXPECT_EQ(world.info().in_flight, 0u);
        EXPECT_EQ(phase(), Phase::open);
        EXPECT_EQ(world.info().reductions, 1u);
        EXPECT_EQ(world.count(Tally::retransmitted_segments), 1u);
        EXPECT_EQ(world.count(Tally::retransmission_timeouts), 0u);
        EXPECT_TRUE(same(peer.stream(), pattern(0, 1 + bytes(10))));
    }
}

TEST_F(Recovery, HolesAreFilledInOrderAndNothingThatIsThereIsRepeated) {
    proves("K4 L8");
    opens();
    flies(10);
    time.passes(rtt);
    for (const int64_t n : {2, 4, 6, 7, 8, 9, 10}) arrives(n);
    EXPECT_EQ(takes_numbers(), Numbers({1, 3, 5}));
    EXPECT_EQ(world.info().reductions, 1u);
    const uint32_t ssthresh = world.info().ssthresh;
    EXPECT_TRUE(near(ssthresh, 7));  // CUBIC: 0.7 of ten
    time.passes(rtt);
    for (const int64_t n : {1, 3}) {
        arrives(n);
        EXPECT_EQ(phase(), Phase::recovery) << n;
    }
    arrives(5);
    EXPECT_EQ(phase(), Phase::open);
    peer.expects_nothing();
    EXPECT_EQ(world.info().in_flight, 0u);
    EXPECT_EQ(world.info().ssthresh, ssthresh);
    EXPECT_EQ(world.info().reductions, 1u);
    EXPECT_EQ(world.count(Tally::fast_retransmits), 1u);
    EXPECT_EQ(world.count(Tally::retransmitted_segments), 3u);
    EXPECT_EQ(world.count(Tally::retransmission_timeouts), 0u);
}

TEST_F(Recovery, BlocksMayStandInAnyOrder) {
    proves("K4");
    opens();
    Blocks blocks{block(2, 2), block(4, 4), block(6, 10)};
    std::ranges::sort(blocks);
    do {
        opens_with(small_settings());
        flies(10);
        time.passes(rtt);
        peer.sends({.flags = ack, .ack = first(1), .sack = blocks});
        EXPECT_EQ(takes_numbers(), Numbers({1, 3, 5}));
        EXPECT_EQ(world.info().sacked, bytes(7));
    } while (std::ranges::next_permutation(blocks).found);
}

TEST_F(Recovery, WhatIsReportedOnceStaysReported) {
    // Later ACKs may have no room for it (RFC 2018 section 4), or say it in other pieces.
    proves("K4");
    opens();
    flies(10);
    time.passes(rtt);
    peer.sends({.flags = ack, .ack = first(1), .sack = {block(4, 4)}});
    peer.sends({.flags = ack, .ack = first(1), .sack = {block(8, 8)}});
    EXPECT_EQ(world.info().sacked, bytes(2));
    peer.sends({.flags = ack, .ack = first(1), .sack = {block(4, 4), block(8, 8)}});
    EXPECT_EQ(world.info().sacked, bytes(2));
    peer.expects_nothing();
    peer.sends({.flags = ack, .ack = first(1), .sack = {block(8, 10)}});
    EXPECT_EQ(world.info().sacked, bytes(4));
    EXPECT_EQ(takes_numbers().front(), 1);
    peer.sends({.flags = ack, .ack = first(1), .sack = {block(9, 10), block(4, 4)}});
    EXPECT_EQ(world.info().sacked, bytes(4));
    for (const int64_t n : takes_numbers()) EXPECT_TRUE(n == 2 || n == 3 || (n >= 5 && n <= 7)) << n;
}

TEST_F(Recovery, ABlockOnAnAckBelowSndUnaCounts) {
    proves("K4");
    opens();
    flies(10);
    time.passes(rtt);
    arrives(1);
    // Overtaken by the ACK of the first segment.
    peer.sends({.flags = ack, .ack = first(1), .sack = {block(3, 5)}});
    hears_only(2);
    EXPECT_EQ(world.info().sacked, bytes(3));
    EXPECT_EQ(phase(), Phase::recovery);
}

TEST_F(Recovery, ABlockOnASegmentWithDataCounts) {
    proves("K4");
    opens();
    flies(10);
    time.passes(rtt);
    peer.sends({.flags = ack, .ack = first(1), .text = "and now", .sack = {block(2, 4)}});
    const auto heard = peer.takes_all();
    EXPECT_TRUE(std::ranges::any_of(heard, [&](const Heard& h) { return h.seq == first(1) && h.bytes() > 0; }));
    EXPECT_EQ(app.received(), "and now");
}

TEST_F(Recovery, ManyHolesAreRepairedThroughThreeBlocksAtATime) {
    proves("K4 K6");
    for (const bool ts : {false, true}) {
        SCOPED_TRACE(ts);
        opens_with(settings_with([](auto& s) { s.initial_window_segments = 20; }), {.ts = ts});
        flies(20, 10);
        time.passes(rtt);
        for (int64_t n = 2; n <= 20; n += 2) {
            arrives(n);
            time.passes(10us);
        }
        finishes();
        EXPECT_EQ(world.count(Tally::retransmission_timeouts), 0u);
        EXPECT_EQ(world.count(Tally::retransmitted_segments), 10u);
        EXPECT_EQ(world.info().reductions, 1u);
        EXPECT_TRUE(same(peer.stream(), pattern(0, 1 + bytes(30))));
    }
}

TEST_F(Recovery, TheNumbersMayWrapInTheMiddle) {
    proves("K4 K6");
    // Our ISN follows a clock of 4 us: nearly one turn of it later it stands seven thousand bytes below 2^32.
    time.passes(Duration{(int64_t{1} << 32) * 4} - 28ms);
    opens();
    ASSERT_GT(peer.host_isn().raw(), 0xffff'0000u);
    ASSERT_TRUE((peer.host_isn() + static_cast<uint32_t>(first(1))).raw() > 0xffff'0000u &&
                (peer.host_isn() + static_cast<uint32_t>(first(10))).raw() < 0x1'0000u);
    flies(10);
    time.passes(rtt);
    for (const int64_t n : {2, 4, 6, 7, 8, 9, 10}) arrives(n);
    EXPECT_EQ(takes_numbers(), Numbers({1, 3, 5}));
    time.passes(rtt);
    arrives(1);
    arrives(3);
    arrives(5);
    EXPECT_EQ(world.info().in_flight, 0u);
    EXPECT_TRUE(same(peer.stream(), pattern(0, 1 + bytes(10))));
}

TEST_F(Recovery, TheFinBehindAHoleIsReportedAndNotRepeated) {
    proves("K4 F8");
    opens();
    flies(4);
    app.shuts_down();
    const Heard last = peer.expects({.flags = fin | ack, .seq = end(4), .bytes = 0});
    time.passes(rtt);
    arrives(2);
    arrives(3);
    gets(last);  // the FIN is one of three
    hears_only(1);
    arrives(4);
    peer.expects_nothing();
    time.passes(rtt);
    arrives(1);
    EXPECT_EQ(peer.state(), State::fin_wait_2);
    EXPECT_EQ(world.count(Tally::retransmission_timeouts), 0u);
    EXPECT_EQ(world.count(Tally::retransmitted_segments), 1u);
}

TEST_F(Recovery, DataThatHasArrivedDoesNotLeaveAgainForAFinThatWasNotReported) {
    proves("K4");
    opens();
    app.does("application sends and shuts down", [](tcp::Stack& stack, tcp::ConnId conn, Instant now) {
        static const std::string text = pattern(1, 5 * 1'460);
        EXPECT_TRUE(stack.send(conn, tcp::Pinned{std::as_bytes(std::span(text)), 0}));
        stack.shutdown(conn, now);
    });
    EXPECT_TRUE(peer.expects_exactly(5).back().has(fin));
    time.passes(rtt);
    keeps(first(3), end(5));  // the peer has the FIN too, and reports bytes only
    acknowledges();
    const Heard again = hears(1);
    std::vector<Heard> rest = peer.takes_all();
    time.passes(rtt);
    gets(again);  // RACK: what left before this, and is not reported, is lost
    for (int round = 0; round < 4; ++round) {
        for (const Heard& h : peer.takes_all()) rest.push_back(h);
        time.passes(rtt);
    }
    for (const Heard& h : rest) EXPECT_EQ(h.seq, first(2));
    ASSERT_FALSE(rest.empty());
    gets(rest.front());
    gets(peer.expects({.flags = fin | ack, .seq = end(5), .bytes = 0}));  // and if it had not come with them: again
    EXPECT_EQ(peer.state(), State::fin_wait_2);
}

TEST_F(Recovery, TheFinOnALostSegmentLeavesAgainWithIt) {
    proves("K4 F8");
    opens();
    app.does("application sends and shuts down", [](tcp::Stack& stack, tcp::ConnId conn, Instant now) {
        static const std::string text = pattern(1, 5 * 1'460);
        EXPECT_TRUE(stack.send(conn, tcp::Pinned{std::as_bytes(std::span(text)), 0}));
        stack.shutdown(conn, now);
    });
    const auto all = peer.expects_exactly(5);
    EXPECT_TRUE(all.back().has(fin));
    time.passes(rtt);
    keeps(first(1), end(3));
    acknowledges();
    peer.waits();
    const Heard probe = peer.expects({.flags = fin | ack, .seq = first(5), .bytes = 1'460});
    time.passes(rtt);
    gets(probe);
    ASSERT_FALSE(peer.heard_nothing());
    gets(hears_only(4));
    EXPECT_EQ(peer.state(), State::fin_wait_2);
    EXPECT_EQ(world.count(Tally::retransmission_timeouts), 0u);
}

// ---- How often it costs.
// -----------------------------------------------------------------------------------------------

TEST_F(Recovery, EveryRecoveryReducesOnceAndTheNextOneAgain) {
    proves("L8 K10");
    opens();
    flies(10);
    time.passes(rtt);
    arrives(2, 10);
    const Heard again = hears_only(1);
    time.passes(rtt);
    gets(again);
    EXPECT_EQ(world.info().reductions, 1u);
    EXPECT_TRUE(near(cwnd(), 7));
    EXPECT_EQ(world.info().ssthresh, cwnd());
    flies(7);  // 11 to 17
    time.passes(rtt);
    arrives(12, 17);
    hears_only(11);
    EXPECT_EQ(world.info().reductions, 2u);
    EXPECT_TRUE(near(world.info().ssthresh, 4.9));
    EXPECT_EQ(world.count(Tally::fast_retransmits), 2u);
}

TEST_F(Recovery, ALossOfWhatLeftDuringARecoveryIsAnotherOne) {
    proves("L8");
    opens();
    flies(10, 30);
    time.passes(rtt);
    arrives(2);
    arrives(3);
    arrives(4);
    arrives(5, 10);
    const auto heard = peer.takes_all();  // 11 and 12, 1 again, and what PRR lets out
    ASSERT_GE(heard.size(), 5u);
    const int64_t next = (heard[3].seq - first(1)) / size() + 1;
    EXPECT_EQ(next, 13);
    EXPECT_EQ(world.info().reductions, 1u);
    time.passes(rtt);
    arrives(11, 12);
    arrives(1);
    EXPECT_EQ(world.info().reductions, 1u);
    EXPECT_EQ(phase(), Phase::open);  // recovery ended at 12
    // 13 is lost.
    const int64_t last = (heard.back().seq - first(1)) / size() + 1;
    arrives(14, last);
    peer.forgets();
    time.passes(rtt);
    peer.forgets();
    EXPECT_EQ(world.info().reductions, 2u);
}

// ---- Without room for a scoreboard.
// ------------------------------------------------------------------------------------

TEST_F(Recovery, WithoutRoomForAScoreboardDuplicateAcksServe) {
    proves("K2 K3 K4");
    for (const bool no_record : {false, true}) {
        SCOPED_TRACE(no_record ? "every record is taken" : "no ring is as long as the flight");
        starts_with(settings_with([&](auto& s) {
            s.capacity.recoveries = no_record ? 1 : 64;
            s.capacity.segment_records = no_record ? 64 : 4;
        }));
        Peer other(world, {peer_endpoint.address, 41'000});
        other.connects({.sack_ok = true, .rtt = 500ms});  // its timeout is far
        app.sends_pattern(2'920);
        other.expects_exactly(2);
        opens();
        flies(10);
        EXPECT_FALSE(world.info().scoreboard);
        EXPECT_GE(world.count(Tally::recoveries_without_room), 1u);
        time.passes(rtt);
        for (const int64_t n : {2, 4, 5, 6, 7, 8, 9, 10}) arrives(n);
        Heard again = hears_only(1);
        time.passes(rtt);
        gets(again);
        again = hears_only(3);
        time.passes(rtt);
        gets(again);
        EXPECT_EQ(world.info().in_flight, 0u);
        EXPECT_EQ(world.count(Tally::retransmission_timeouts), 0u);
        EXPECT_TRUE(near(world.info().ssthresh, 7));
        other.forgets();
    }
}

TEST_F(Recovery, NothingOfARecoveryIsKeptWhenTheConnectionEnds) {
    const tcp::PoolUse start = world.stack().pool_use();
    opens();
    flies(10);
    time.passes(rtt);
    arrives(3, 10);
    peer.takes_all();
    EXPECT_TRUE(world.info().scoreboard);
    peer.sends({.flags = rst, .seq = 1});
    peer.expects_nothing();
    EXPECT_EQ(peer.state(), State::closed);
    EXPECT_TRUE(world.stack().pool_use() == start);
    expects_all_returned();
}

}  // namespace
}  // namespace pollux::test
