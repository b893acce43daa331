// Recovery from a peer without SACK: limited transmit (RFC 3042), three duplicate ACKs (RFC 5681 section 3.2), and
// NewReno's partial ACKs (RFC 6582).
#include "tests/support/flight.hpp"

namespace pollux::test {
namespace {

class NewReno : public Flight {
protected:
    void opens_without_sack(bool ts = false) { opens_with(small_settings(), {.sack = false, .ts = ts}); }
};

TEST_F(NewReno, TheFirstTwoDuplicatesLetANewSegmentOutEach) {
    proves("K1 K2");
    for (const bool ts : {false, true}) {
        SCOPED_TRACE(ts);
        opens_without_sack(ts);
        flies(10, 10);
        const uint32_t window = cwnd();
        time.passes(rtt);
        EXPECT_EQ(arrives(2), Verdict::duplicate_ack);
        hears_only(11);
        EXPECT_EQ(arrives(3), Verdict::duplicate_ack);
        hears_only(12);
        EXPECT_EQ(cwnd(), window);
        EXPECT_EQ(world.info().reductions, 0u);
        arrives(4);
        hears_only(1);
        EXPECT_TRUE(world.info().in_recovery);
        EXPECT_FALSE(world.info().scoreboard);
        EXPECT_EQ(world.info().reductions, 1u);
    }
}

TEST_F(NewReno, LimitedTransmitObeysThePeersWindow) {
    proves("K1");
    opens_without_sack();
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

TEST_F(NewReno, NewSegmentsOfLimitedTransmitDoNotRaiseTheThreshold) {
    // RFC 5681 section 3.2 step 2: they do not count as in flight.
    proves("K1 K2");
    opens_with(settings_with([](auto& s) { s.congestion = tcp::CongestionControl::new_reno; }), {.sack = false});
    flies(10, 10);
    time.passes(rtt);
    for (const int64_t n : {2, 3, 4}) arrives(n);
    EXPECT_EQ(peer.takes_all().size(), 3u);
    EXPECT_EQ(world.info().ssthresh, bytes(5));
}

TEST_F(NewReno, PartialAcksRepeatHoleAfterHoleUntilTheRecoveryPoint) {
    proves("K3");
    for (const bool ts : {false, true}) {
        SCOPED_TRACE(ts);
        opens_without_sack(ts);
        flies(10);
        time.passes(rtt);
        for (const int64_t n : {2, 4, 6, 7, 8, 9, 10}) arrives(n);
        Heard again = hears_only(1);
        const uint32_t ssthresh = world.info().ssthresh;
        EXPECT_TRUE(near(ssthresh, 7));
        for (const int64_t hole : {3, 5}) {
            time.passes(rtt);
            gets(again);
            EXPECT_TRUE(world.info().in_recovery);
            again = hears_only(hole);
        }
        time.passes(rtt);
        gets(again);
        EXPECT_FALSE(world.info().in_recovery);
        EXPECT_LE(cwnd(), ssthresh + bytes(1));
        EXPECT_EQ(world.info().ssthresh, ssthresh);
        EXPECT_EQ(world.info().reductions, 1u);
        EXPECT_EQ(world.count(Tally::retransmitted_segments), 3u);
        EXPECT_EQ(world.count(Tally::retransmission_timeouts), 0u);
        peer.expects_nothing();
    }
}

TEST_F(NewReno, DuplicatesAfterATimeoutStartNoRecovery) {
    // RFC 6582 section 3.2 step 1: they were caused by what left before the timeout, or by its repetition.
    proves("K3 L8");
    opens_without_sack();
    flies(10);
    peer.waits();
    hears_only(1);
    const uint32_t ssthresh = world.info().ssthresh;
    for (int i = 0; i < 5; ++i) peer.sends({.flags = ack, .ack = first(1)});
    peer.expects_nothing();
    EXPECT_EQ(world.info().ssthresh, ssthresh);
    EXPECT_EQ(world.info().reductions, 1u);
    EXPECT_EQ(world.count(Tally::fast_retransmits), 0u);
}

TEST_F(NewReno, BlocksOfAPeerThatNeverAgreedAreNotRead) {
    proves("K2 J1");
    opens_without_sack();
    flies(10);
    time.passes(rtt);
    for (int i = 0; i < 2; ++i) {
        peer.sends({.flags = ack, .ack = first(1), .sack = {block(2, 10)}});
        peer.expects_nothing();
    }
    EXPECT_EQ(world.info().sacked, 0u);
    peer.sends({.flags = ack, .ack = first(1), .sack = {block(2, 10)}});
    hears_only(1);
    peer.sends({.flags = ack, .ack = end(1), .sack = {block(3, 10)}});
    hears(2);
    peer.forgets();
}

TEST_F(NewReno, OneReductionForAllHolesOfARecovery) {
    proves("L8 K3");
    opens_without_sack();
    flies(10);
    time.passes(rtt);
    for (const int64_t n : {2, 3, 5, 6, 7, 8, 9, 10}) arrives(n);
    while (world.info().in_recovery) {
        ASSERT_FALSE(peer.heard_nothing());
        time.passes(rtt);
        gets_all(peer.takes_all());
    }
    EXPECT_EQ(world.info().in_flight, 0u);
    EXPECT_EQ(world.info().reductions, 1u);
    EXPECT_TRUE(near(world.info().ssthresh, 7));
    EXPECT_EQ(world.count(Tally::fast_retransmits), 1u);
}

}  // namespace
}  // namespace pollux::test
