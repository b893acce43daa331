// A receiver may throw away what it has reported (RFC 2018 section 8): the sender keeps everything until it is
// acknowledged, and does not trust the reports any more after a timeout, or when an ACK contradicts them.
#include <set>

#include "tests/support/flight.hpp"

namespace pollux::test {
namespace {

class Reneging : public Flight {
protected:
    /// Lets the retransmission timer run out; takes what leaves then.
    std::vector<Heard> times_out() {
        const uint64_t before = world.count(Tally::retransmission_timeouts);
        while (world.count(Tally::retransmission_timeouts) == before) {
            peer.forgets();
            peer.waits(10s);
        }
        return peer.takes_all();
    }
};

TEST_F(Reneging, AfterATimeoutReportsAreNotTrusted) {
    proves("K15");
    for (const bool ts : {false, true}) {
        SCOPED_TRACE(ts);
        opens_with(small_settings(), {.ts = ts});
        flies(10);
        time.passes(rtt);
        arrives(2, 10);
        hears_only(1);  // and is lost
        reneges();
        const auto heard = times_out();
        ASSERT_EQ(heard.size(), 1u);
        EXPECT_EQ(heard[0].seq, first(1));
        time.passes(rtt);
        gets(heard[0]);
        // It has nothing else: all the rest leaves again, in order, without another timeout.
        EXPECT_EQ(acked(), end(1));
        ASSERT_FALSE(peer.heard_nothing());
        EXPECT_EQ(heard_at(), first(2));
        finishes();
        EXPECT_EQ(world.count(Tally::retransmission_timeouts), 1u);
        EXPECT_TRUE(same(peer.stream(), pattern(0, 1 + bytes(10))));
        EXPECT_GE(world.count(Tally::sacks_reneged), 1u);
        EXPECT_EQ(world.info().sacked, 0u);
    }
}

TEST_F(Reneging, NothingReportedIsReleasedBeforeItIsAcknowledged) {
    proves("K15");
    opens();
    flies(10);
    time.passes(rtt);
    arrives(2, 10);
    hears_only(1);
    EXPECT_EQ(world.stack().unacknowledged(app.conn()), bytes(10));
    EXPECT_EQ(world.info().in_flight, bytes(10));
    EXPECT_EQ(world.stack().pool_use().pins, 1u);
}

TEST_F(Reneging, AnAckThatStopsAtWhatWasReportedIsFollowedUp) {
    // The peer acknowledges up to the reported, and not the reported: it has lost it.
    proves("K15");
    opens();
    flies(10);
    time.passes(rtt);
    arrives(2, 10);
    const Heard again = hears_only(1);
    reneges();
    time.passes(rtt);
    gets(again);
    EXPECT_EQ(acked(), end(1));
    if (peer.heard_nothing()) {
        EXPECT_LE(peer.waits(), world.info().rto + 2ms);
    }
    EXPECT_EQ(heard_at(), first(2));
    finishes();
    EXPECT_TRUE(same(peer.stream(), pattern(0, 1 + bytes(10))));
    EXPECT_GE(world.count(Tally::sacks_reneged), 1u);
}

TEST_F(Reneging, WhoHasKeptItGetsOnlyWhatIsMissing) {
    proves("K15 K12 K4");
    for (const bool ts : {false, true}) {
        SCOPED_TRACE(ts);
        opens_with(small_settings(), {.ts = ts});
        flies(10);
        time.passes(rtt);
        arrives(4, 10);
        peer.forgets();  // 1 to 3 again, all lost
        auto heard = times_out();
        std::set<int64_t> repeated;
        for (int i = 0; i < 20 && world.info().in_flight > 0; ++i) {
            ASSERT_FALSE(heard.empty());
            for (const Heard& h : heard) repeated.insert(h.seq);
            time.passes(rtt);
            gets_all(heard);  // its ACKs say again what it has
            heard = peer.takes_all();
        }
        EXPECT_EQ(world.info().in_flight, 0u);
        EXPECT_EQ(repeated, (std::set<int64_t>{first(1), first(2), first(3)}));
        EXPECT_EQ(world.count(Tally::retransmission_timeouts), 1u);
    }
}

TEST_F(Reneging, ATimeoutWithoutAnyReportRenegesNothing) {
    proves("K15");
    opens();
    flies(10);
    times_out();
    EXPECT_EQ(world.count(Tally::sacks_reneged), 0u);
    finishes();
    peer.forgets();
    EXPECT_EQ(world.count(Tally::sacks_reneged), 0u);
}

}  // namespace
}  // namespace pollux::test
