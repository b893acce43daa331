// The peer's window during a recovery (X9): retransmission stops at a window of 0 and goes on when it opens; what
// lies beyond a window that has shrunk waits.
#include "tests/support/flight.hpp"

namespace pollux::test {
namespace {

class RecoveryWindow : public Flight {
protected:
    void loses_three() {
        flies(10, 10);
        time.passes(rtt);
        arrives(2);
        arrives(3);
        arrives(4);
        peer.forgets();  // 11, 12 and 1 again
        EXPECT_EQ(phase(), Phase::recovery);
    }
};

TEST_F(RecoveryWindow, AtAWindowOfZeroNothingIsRepeatedUntilItOpens) {
    proves("X9");
    for (const bool ts : {false, true}) {
        SCOPED_TRACE(ts);
        opens_with(small_settings(), {.ts = ts});
        loses_three();
        const uint32_t reductions = world.info().reductions;
        peer.window = 0;
        arrives(6);  // 5 is lost, and the peer has no room for it now
        arrives(8);  // nor for 7
        peer.expects_nothing();
        time.passes(150ms);
        peer.expects_nothing();
        // Probes only, of a byte at most.
        for (int i = 0; i < 3; ++i) {
            peer.waits();
            for (const Heard& h : peer.takes_all()) {
                EXPECT_LE(h.bytes(), 1u);
                acknowledges();
            }
        }
        EXPECT_EQ(peer.state(), State::established);
        peer.window = 65'535;
        acknowledges();
        if (peer.heard_nothing()) {
            EXPECT_LE(peer.waits(), rtt);
        }
        EXPECT_EQ(heard_at(), first(1));
        finishes();
        EXPECT_TRUE(same(peer.stream(), pattern(0, 1 + bytes(20))));
        EXPECT_EQ(world.info().reductions, reductions);
        EXPECT_EQ(world.count(Tally::retransmission_timeouts), 0u);
    }
}

TEST_F(RecoveryWindow, WhatLiesBeyondAShrunkenWindowWaits) {
    proves("X9");
    opens();
    loses_three();
    peer.window = static_cast<uint32_t>(5 * size());  // 1 to 5
    arrives(6, 10);
    for (const Heard& h : peer.takes_all()) EXPECT_LE(h.end(), end(5));
    time.passes(rtt);
    arrives(1);
    const auto heard = peer.takes_all();
    for (const Heard& h : heard) EXPECT_LE(h.end(), acked() + 5 * size());
    peer.window = 65'535;
    time.passes(rtt);
    acknowledges();
    finishes();
    EXPECT_TRUE(same(peer.stream(), pattern(0, 1 + bytes(20))));
}

TEST_F(RecoveryWindow, AtAWindowOfZeroThereIsNoProbeOfTheTail) {
    proves("X9 K9");
    opens();
    flies(10);
    time.passes(rtt);
    arrives(1, 5);
    peer.window = 0;
    acknowledges();
    time.passes(150ms);
    peer.expects_nothing();
    peer.waits();
    EXPECT_LE(peer.expects({.flags = ack}).bytes(), 1u);
    peer.expects_nothing();
    EXPECT_EQ(world.count(Tally::tail_loss_probes), 0u);
    peer.window = 65'535;
    acknowledges();
    finishes();
    EXPECT_TRUE(same(peer.stream(), pattern(0, 1 + bytes(10))));
}

TEST_F(RecoveryWindow, AfterATimeoutAClosedWindowStopsTheRepetitionToo) {
    proves("X9 K12");
    opens();
    flies(10);
    while (world.count(Tally::retransmission_timeouts) == 0) {
        peer.forgets();
        peer.waits();
    }
    const Heard again = hears_only(1);
    time.passes(rtt);
    peer.window = 0;
    gets(again);
    time.passes(150ms);
    peer.expects_nothing();
    peer.waits();
    EXPECT_LE(peer.expects({.flags = ack}).bytes(), 1u);
    peer.expects_nothing();
    peer.window = 65'535;
    acknowledges();
    ASSERT_FALSE(peer.heard_nothing());
    EXPECT_EQ(heard_at(), first(2));
    finishes();
    EXPECT_TRUE(same(peer.stream(), pattern(0, 1 + bytes(10))));
}

TEST_F(RecoveryWindow, WithoutSackTheSameHolds) {
    proves("X9 K3");
    opens({.sack = false});
    flies(10, 5);
    time.passes(rtt);
    for (int64_t n = 3; n <= 5; ++n) arrives(n);
    peer.forgets();
    EXPECT_TRUE(world.info().in_recovery);
    peer.window = 0;
    arrives(1);  // a partial ACK; 2 has no room
    peer.expects_nothing();
    time.passes(150ms);
    peer.expects_nothing();
    peer.waits();
    EXPECT_LE(peer.expects({.flags = ack}).bytes(), 1u);
    peer.expects_nothing();
    peer.window = 65'535;
    acknowledges();
    if (peer.heard_nothing()) peer.waits();
    EXPECT_EQ(heard_at(), first(2));
    finishes();
    EXPECT_TRUE(same(peer.stream(), pattern(0, 1 + bytes(15))));
}

}  // namespace
}  // namespace pollux::test
