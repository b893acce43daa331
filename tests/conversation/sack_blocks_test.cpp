// Which SACK blocks are believed, and how much they say: never more than the bytes they name (RFC 2018, RFC 6675
// section 2), and nothing where they name what cannot be.
#include "tests/support/flight.hpp"

namespace pollux::test {
namespace {

using SackBlocks = Flight;

TEST_F(SackBlocks, BlocksThatCannotBeAreIgnored) {
    proves("K4");
    opens();
    const Block impossible[] = {
        block(11, 11),                              // never sent
        {first(11), first(11) + 1},                 //
        {first(10), end(10) + 1},                   // partly
        {first(2), end(10) + 1'000},                //
        {first(1) - 100, first(1) - 50},            // acknowledged, or before the beginning
        {first(1) - 2, first(1) - 1},               //
        {first(3), first(3)},                       // empty
        {end(10), end(10)},                         //
        {end(5), first(3)},                         // reversed
        {first(2), first(2) + 0x7fff'ffff},         // half the circle
        {first(2), first(2) - 1},                   // the whole circle
        {first(1) + 0x8000'0000LL, end(2)},         //
        {first(1) - 1'000'000, first(1) - 998'540}  // far behind
    };
    flies(10);
    time.passes(rtt);
    const tcp::ConnInfo before = world.info();
    for (const Block& wrong : impossible) {
        SCOPED_TRACE(testing::Message() << wrong.first << " to " << wrong.second);
        for (int i = 0; i < 4; ++i) {
            peer.sends({.flags = ack, .ack = first(1), .sack = {wrong}});
            peer.sends({.flags = ack, .ack = first(1), .sack = {wrong, wrong, wrong, wrong}});
        }
        peer.expects_nothing();
        EXPECT_EQ(world.info().sacked, 0u);
        EXPECT_EQ(world.info().lost, 0u);
        EXPECT_EQ(world.info().pipe, bytes(10));
        EXPECT_EQ(world.info().cwnd, before.cwnd);
        EXPECT_EQ(world.info().reductions, 0u);
    }
    // And those beside them count.
    peer.sends({.flags = ack, .ack = first(1), .sack = {block(2, 4), {end(5), first(3)}, block(11, 12)}});
    hears_only(1);
    EXPECT_EQ(world.info().sacked, bytes(3));
}

TEST_F(SackBlocks, WrongBlocksBeforeGoodOnesHideNothing) {
    proves("K4");
    for (const bool reversed : {false, true}) {
        opens_with(small_settings());
        flies(10);
        time.passes(rtt);
        const Block wrong = reversed ? Block{end(9), first(8)} : block(12, 13);
        peer.sends({.flags = ack, .ack = first(1), .sack = {wrong, block(2, 4)}});
        hears_only(1);
        EXPECT_EQ(world.info().sacked, bytes(3));
    }
}

TEST_F(SackBlocks, AFewBytesAreNotTheSegment) {
    proves("K5");
    opens();
    flies(10);
    time.passes(rtt);
    for (const int64_t n : {2, 3, 4}) {
        keeps(first(n), first(n) + 10);
        acknowledges();
        EXPECT_LE(world.info().sacked, 30u);
        EXPECT_GE(world.info().pipe, bytes(6) - 30);
    }
    peer.forgets();
    // Whatever that was taken for: all else of these segments is still missing.
    keeps(first(5), end(10));
    acknowledges();
    EXPECT_LE(world.info().sacked, bytes(6) + 30);
    finishes();
    EXPECT_TRUE(same(peer.stream(), pattern(0, 1 + bytes(10))));
    EXPECT_EQ(world.count(Tally::retransmission_timeouts), 0u);
}

TEST_F(SackBlocks, OfABlockAcrossSegmentsOnlyTheWholeOnesAreDelivered) {
    proves("K5");
    struct Case {
        int64_t before, behind;  // bytes of 3 and of 7 that the block has beyond 4 to 6
    };
    for (const Case& c : {Case{0, 0}, Case{1, 0}, Case{0, 1}, Case{700, 700}, Case{1'459, 1'459}}) {
        SCOPED_TRACE(testing::Message() << c.before << " " << c.behind);
        opens_with(small_settings());
        flies(10);
        time.passes(rtt);
        keeps(first(4) - c.before, end(6) + c.behind);
        acknowledges();
        const auto partial = static_cast<uint32_t>(c.before + c.behind);
        EXPECT_GE(world.info().sacked, bytes(3));
        EXPECT_LE(world.info().sacked, bytes(3) + partial);
        keeps(first(7), end(10));
        acknowledges();
        // 1 to 3 leave again, all of them or what is missing; nothing of 4 to 6 does.
        while (world.info().in_flight > 0) {
            const auto heard = peer.takes_all();
            ASSERT_FALSE(heard.empty());
            for (const Heard& h : heard) {
                EXPECT_TRUE(h.end() <= first(4)) << "what is there is repeated";
                gets(h);
            }
            time.passes(rtt);
        }
        EXPECT_TRUE(same(peer.stream(), pattern(0, 1 + bytes(10))));
        EXPECT_EQ(world.count(Tally::retransmission_timeouts), 0u);
    }
}

TEST_F(SackBlocks, PiecesThatAddUpAreTheSegment) {
    // A receiver behind a device that cuts segments in two reports the halves one by one.
    proves("K5");
    opens();
    flies(10);
    time.passes(rtt);
    peer.sends({.flags = ack, .ack = first(1), .sack = {{first(2), first(2) + 730}}});
    EXPECT_LE(world.info().sacked, 730u);
    peer.sends({.flags = ack, .ack = first(1), .sack = {block(2, 2)}});
    EXPECT_EQ(world.info().sacked, bytes(1));
    EXPECT_TRUE(about(peer.waits(), rtt / 4));
    hears_only(1);
}

TEST_F(SackBlocks, AcknowledgmentsInTheMiddleOfASegmentLeaveItsRest) {
    proves("K5 K4");
    opens();
    flies(4);
    time.passes(rtt);
    keeps(first(1), first(1) + 500);
    acknowledges();
    arrives(2, 4);
    const Heard rest = peer.expects({.flags = ack, .seq = first(1) + 500});
    EXPECT_EQ(rest.bytes(), static_cast<size_t>(size()) - 500);
    peer.expects_nothing();
    time.passes(rtt);
    gets(rest);
    EXPECT_EQ(world.info().in_flight, 0u);
}

TEST_F(SackBlocks, BlocksBeforeAnythingIsInFlightAreIgnored) {
    proves("K4");
    opens();
    peer.sends({.flags = ack, .ack = first(1), .sack = {block(1, 2)}});
    peer.sends({.flags = ack, .ack = first(1), .sack = {block(1, 2)}});
    flies(10);
    EXPECT_EQ(world.info().sacked, 0u);
    EXPECT_EQ(world.info().pipe, bytes(10));
    time.passes(rtt);
    arrives(2, 4);
    hears_only(1);
}

TEST_F(SackBlocks, ReportsFromAStormOfAcksStayWithinTheRecords) {
    // Blocks of one byte each, at every place of the flight, on ACKs by the thousand.
    proves("K4 K5");
    opens();
    flies(10);
    time.passes(rtt);
    for (int64_t at = first(1) + 1; at + 7 < end(10); at += 8) {
        peer.sends({.flags = ack, .ack = first(1), .sack = {{at, at + 1}, {at + 2, at + 3}, {at + 4, at + 5}}});
        EXPECT_LE(world.info().sacked, bytes(10));
    }
    peer.forgets();
    keeps(first(1), end(10));
    acknowledges();
    EXPECT_EQ(world.info().in_flight, 0u);
    EXPECT_EQ(world.info().sacked, 0u);
    EXPECT_EQ(world.info().pipe, 0u);
}

}  // namespace
}  // namespace pollux::test
