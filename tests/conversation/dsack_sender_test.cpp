// What the sender makes of DSACKs (RFC 2883 section 4): only the first block is one, it reports a duplicate and no
// new data; and what a batch of ACKs says about time (X19).
#include "tests/support/flight.hpp"

namespace pollux::test {
namespace {

class DsackSender : public Flight {
protected:
    /// A recovery for nothing, ended: 1 was late, its repetition is still on its way. Ten segments are acknowledged,
    /// and five are in flight, 11 to 15.
    Heard repeats_for_nothing() {
        flies(10);
        time.passes(rtt);
        arrives(2, 4);
        Heard again = hears_only(1);
        arrives(1);
        arrives(5, 9);
        flies(5);
        arrives(10);
        EXPECT_EQ(phase(), Phase::open);
        EXPECT_EQ(world.info().reductions, 1u);
        return again;
    }
};

TEST_F(DsackSender, OnlyTheFirstBlockIsADsack) {
    proves("X19");
    opens();
    repeats_for_nothing();
    time.passes(rtt);
    // 12 is reported, and behind it what looks like a duplicate.
    peer.sends({.flags = ack, .ack = first(11), .sack = {block(12, 12), block(1, 1)}});
    EXPECT_EQ(world.info().sacked, bytes(1));
    EXPECT_EQ(world.info().reductions, 1u);
    EXPECT_EQ(world.info().reo_wnd_mult, 1);
    EXPECT_EQ(world.count(Tally::recoveries_undone), 0u);
    // In the first place it is one.
    peer.sends({.flags = ack, .ack = first(11), .sack = {block(1, 1), block(12, 12)}});
    EXPECT_EQ(world.info().reductions, 0u);
    EXPECT_EQ(world.info().reo_wnd_mult, 2);
    EXPECT_EQ(world.count(Tally::recoveries_undone), 1u);
    EXPECT_EQ(world.info().sacked, bytes(1));
}

TEST_F(DsackSender, ADuplicateAboveTheAcknowledgmentIsNoNewData) {
    // RFC 2883 section 4.1.3: the first block lies in the second.
    proves("X19 K1");
    opens();
    flies(10, 10);
    time.passes(rtt);
    arrives(2);
    hears_only(11);
    for (int i = 0; i < 5; ++i) arrives(2);  // the network doubles it
    peer.expects_nothing();
    EXPECT_EQ(world.info().sacked, bytes(1));
    EXPECT_EQ(world.count(Tally::duplicates_reported), 5u);
    EXPECT_EQ(phase(), Phase::open);
    EXPECT_EQ(world.count(Tally::segments_marked_lost), 0u);
}

TEST_F(DsackSender, AcksWithNothingButADsackAreNoSignOfLoss) {
    proves("X19 K1 K2");
    opens();
    flies(3);
    time.passes(rtt);
    arrives(1, 3);
    flies(10, 5);
    time.passes(rtt);
    for (int i = 0; i < 5; ++i) arrives(2);
    peer.expects_nothing();
    EXPECT_EQ(phase(), Phase::open);
    EXPECT_EQ(world.info().reductions, 0u);
    EXPECT_EQ(world.count(Tally::segments_marked_lost), 0u);
    arrives(4);
    peer.forgets();
}

TEST_F(DsackSender, ADsackEndsTheEpisodeOfAProbe) {
    proves("X19 K9");
    opens();
    flies(10);
    const tcp::ConnInfo before = world.info();
    peer.waits();
    const Heard probe = hears_only(10);
    arrives(1, 10);  // late
    time.passes(rtt);
    gets(probe);
    EXPECT_EQ(world.count(Tally::tail_loss_probes), 1u);
    // Data beyond the probe is acknowledged: nothing is held against it, and the next flight may be probed.
    flies(4);
    time.passes(rtt);
    arrives(11, 14);
    EXPECT_GE(cwnd(), before.cwnd);
    EXPECT_EQ(world.info().ssthresh, before.ssthresh);
    EXPECT_EQ(world.info().reductions, 0u);
    flies(4);
    peer.waits();
    hears_only(18);
    EXPECT_EQ(world.count(Tally::tail_loss_probes), 2u);
}

TEST_F(DsackSender, DuplicatesOfWhatWasNeverSentAreIgnored) {
    proves("X19");
    opens();
    repeats_for_nothing();
    const tcp::ConnInfo before = world.info();
    for (const Block& lie : {Block{-5'000, -3'000}, Block{first(1) - 0x4000'0000LL, first(1) - 0x3fff'0000LL},
                             Block{end(1), first(1)}, Block{first(1), first(1)}}) {
        peer.sends({.flags = ack, .ack = first(11), .sack = {lie}});
        EXPECT_EQ(world.info().reductions, before.reductions) << lie.first;
        EXPECT_EQ(world.info().cwnd, before.cwnd) << lie.first;
        EXPECT_EQ(world.info().sacked, 0u);
    }
    peer.expects_nothing();
}

TEST_F(DsackSender, TheSameDsackAgainCountsForNoOtherRepetition) {
    // Two segments were repeated, one of them for nothing: saying so twice does not excuse the other.
    proves("X19 K13");
    opens();
    flies(10);
    time.passes(rtt);
    arrives(3, 10);
    hears(1);
    hears_only(2);
    arrives(1);  // late; 2 is lost
    for (int i = 0; i < 3; ++i) arrives(1);
    EXPECT_EQ(world.count(Tally::recoveries_undone), 0u);
    EXPECT_EQ(world.info().reductions, 1u);
    EXPECT_EQ(phase(), Phase::recovery);
    arrives(2);
    EXPECT_EQ(world.info().reductions, 1u);
}

// ---- A batch of ACKs.
// ---------------------------------------------------------------------------------------------------

TEST_F(DsackSender, ABatchOfAcksGivesTheRoundTripAndNoMore) {
    proves("X19 K11");
    for (const bool ts : {false, true}) {
        SCOPED_TRACE(ts);
        opens_with(small_settings(), {.ts = ts});
        const Duration start = world.info().srtt;
        for (int i = 0; i < 10; ++i) {
            const int64_t n = 5 * i;
            flies(5);
            time.passes(rtt);
            const auto stamp = ts ? std::optional(tcp::Timestamps{peer.ts_now(), peer.first_ts(first(n + 1))})
                                  : std::optional<tcp::Timestamps>{};
            peer.sends_burst({{.flags = ack, .ack = end(n + 1), .ts = stamp},
                              {.flags = ack, .ack = end(n + 2), .ts = stamp},
                              {.flags = ack, .ack = end(n + 3), .ts = stamp},
                              {.flags = ack, .ack = end(n + 4), .ts = stamp},
                              {.flags = ack, .ack = end(n + 5), .ts = stamp}});
            EXPECT_LE(world.info().srtt, start);
            EXPECT_GE(world.info().srtt, rtt - 1ms);
        }
        EXPECT_LE(world.info().srtt, rtt + 8ms);
    }
}

TEST_F(DsackSender, AnAckOfTwoSegmentsMeasuresOneOfThem) {
    // A delayed ACK: the first of the two has waited at the peer. Nothing shorter than the path can come out of it.
    proves("X19 K11");
    opens();
    for (int i = 0; i < 12; ++i) {
        flies(1);
        time.passes(20ms);
        flies(1);
        time.passes(rtt);
        keeps(first(2 * i + 1), end(2 * i + 2));
        acknowledges();
        EXPECT_EQ(world.info().in_flight, 0u);
    }
    EXPECT_GE(world.info().srtt, rtt);
    EXPECT_LE(world.info().srtt, rtt + 22ms);
}

}  // namespace
}  // namespace pollux::test
