// Proportional rate reduction (RFC 9937): during a recovery the sender lets out what the algorithm of section 6 says,
// byte for byte; at the end cwnd is ssthresh.
#include <algorithm>

#include "tests/support/flight.hpp"

namespace pollux::test {
namespace {

// Section 6 in bytes, with what it is told by the test.
struct Prr {
    int64_t ssthresh, recover_fs, mss;
    int64_t delivered = 0, out = 0;

    /// How many bytes may leave on an ACK that brought so much, with so much in the network.
    int64_t on_ack(int64_t delivered_now, int64_t in_flight, bool safe) {
        delivered += delivered_now;
        if (in_flight > ssthresh) return (delivered * ssthresh + recover_fs - 1) / recover_fs - out;
        int64_t allowed = std::max(delivered - out, delivered_now);
        if (safe) allowed += mss;
        return std::min(ssthresh - in_flight, allowed);
    }
};

class Proportional : public Flight {
protected:
    /// Twenty segments have left a round trip ago, the whole window; plenty waits behind them.
    void twenty_in_flight(tcp::CongestionControl control) {
        opens_with(settings_with([&](auto& s) {
            s.congestion = control;
            s.initial_window_segments = 20;
        }));
        flies(20, 60);
        time.passes(rtt);
    }
    /// What left, in segments.
    int64_t leaves(Here here = Here::current()) {
        int64_t count = 0;
        for (const Heard& h : peer.takes_all()) {
            EXPECT_EQ(h.bytes(), static_cast<size_t>(size())) << here.line;
            ++count;
        }
        return count;
    }
    static constexpr tcp::CongestionControl both[] = {tcp::CongestionControl::new_reno,
                                                      tcp::CongestionControl::cubic};
};

TEST_F(Proportional, SendingFollowsDelivery) {
    proves("K10");
    for (const auto control : both) {
        SCOPED_TRACE(control == tcp::CongestionControl::cubic ? "CUBIC" : "NewReno");
        twenty_in_flight(control);
        const int64_t target = control == tcp::CongestionControl::cubic ? 14 : 10;
        // 1 is lost; one ACK tells of the three behind it.
        int64_t in_flight = 20 - 3 - 1;
        arrives(2, 4);
        EXPECT_TRUE(near(world.info().ssthresh, static_cast<double>(target)));
        Prr prr{.ssthresh = world.info().ssthresh, .recover_fs = 20 * size(), .mss = size()};
        hears(1);
        int64_t left = 1 + leaves();
        EXPECT_EQ(left, std::max<int64_t>(1, prr.on_ack(3 * size(), in_flight * size(), false) / size()));
        in_flight += left;
        prr.out += left * size();
        for (int64_t n = 5; n <= 20; ++n) {
            arrives(n);
            --in_flight;
            left = leaves();
            const int64_t allowed = prr.on_ack(size(), in_flight * size(), false);
            EXPECT_EQ(left, std::max<int64_t>(0, allowed) / size()) << "segment " << n;
            in_flight += left;
            prr.out += left * size();
            EXPECT_EQ(world.info().pipe, bytes(in_flight)) << "segment " << n;
        }
        EXPECT_EQ(phase(), Phase::recovery);
        EXPECT_LE(in_flight, target);
        EXPECT_GE(in_flight, target - 1);
        // The repetition arrives, and with it everything up to the recovery point.
        time.passes(rtt);
        arrives(1);
        EXPECT_EQ(phase(), Phase::open);
        EXPECT_GE(cwnd(), prr.ssthresh);
        EXPECT_LE(cwnd(), prr.ssthresh + size() / 5);  // the ACK that ends it is the first of congestion avoidance
        EXPECT_EQ(world.info().ssthresh, prr.ssthresh);
        peer.forgets();
    }
}

TEST_F(Proportional, BelowTheThresholdOneSegmentLeavesForEachDelivered) {
    // Conservative (CRB) while nothing proves progress; one more on each ACK that moves SND.UNA (SSRB).
    proves("K10");
    twenty_in_flight(tcp::CongestionControl::cubic);
    // Twelve are lost, 1 to 12.
    int64_t in_flight = 20 - 3 - 12;
    arrives(13, 15);
    Prr prr{.ssthresh = world.info().ssthresh, .recover_fs = 20 * size(), .mss = size()};
    hears(1);
    int64_t left = 1 + leaves();
    EXPECT_EQ(left, 3);
    EXPECT_EQ(left, prr.on_ack(3 * size(), in_flight * size(), false) / size());
    in_flight += left;
    prr.out += left * size();
    for (int64_t n = 16; n <= 20; ++n) {
        arrives(n);
        --in_flight;
        left = leaves();
        EXPECT_EQ(left, 1) << "segment " << n;
        EXPECT_EQ(left, prr.on_ack(size(), in_flight * size(), false) / size());
        in_flight += left;
        prr.out += left * size();
    }
    time.passes(rtt);
    for (int64_t n = 1; n <= 4; ++n) {
        arrives(n);
        --in_flight;
        left = leaves();
        EXPECT_EQ(left, 2) << "segment " << n;
        EXPECT_EQ(left, prr.on_ack(size(), in_flight * size(), true) / size());
        in_flight += left;
        prr.out += left * size();
        EXPECT_EQ(world.info().pipe, bytes(in_flight));
    }
    EXPECT_EQ(phase(), Phase::recovery);
    EXPECT_EQ(world.count(Tally::retransmission_timeouts), 0u);
}

TEST_F(Proportional, AFirstRepetitionLeavesWhateverTheNumbersSay) {
    proves("K10");
    // Without new reports: the reordering window runs out, and nothing is delivered just then.
    opens();
    flies(10, 10);
    time.passes(rtt);
    arrives(2);
    hears_only(11);
    peer.waits();
    hears_only(1);
    EXPECT_EQ(phase(), Phase::recovery);
    // With a report that is worth less than a segment: 0.7 of one.
    opens_with(small_settings());
    flies(10, 10);
    time.passes(rtt);
    arrives(2);
    hears_only(11);
    arrives(3);
    hears_only(12);
    arrives(4);
    hears_only(1);
}

TEST_F(Proportional, AcksThatDeliverNothingLetNothingOut) {
    proves("K10");
    twenty_in_flight(tcp::CongestionControl::cubic);
    arrives(2, 10);
    peer.forgets();
    for (int i = 0; i < 20; ++i) acknowledges();
    peer.expects_nothing();
    arrives(11);
    EXPECT_LE(leaves(), 2);
}

TEST_F(Proportional, WhatOneAckDeliversLeavesNoBurst) {
    // A whole window delivered by one ACK at the end: what follows is ssthresh at most.
    proves("K10");
    twenty_in_flight(tcp::CongestionControl::cubic);
    arrives(2, 4);
    leaves();
    keeps(first(1), end(20));
    acknowledges();
    EXPECT_EQ(phase(), Phase::open);
    EXPECT_TRUE(near(cwnd(), 14));
    EXPECT_LE(world.info().pipe, cwnd());
    peer.forgets();
}

TEST_F(Proportional, OneThresholdForAllHolesOfARecovery) {
    proves("K10 L8");
    for (const auto control : both) {
        SCOPED_TRACE(control == tcp::CongestionControl::cubic ? "CUBIC" : "NewReno");
        twenty_in_flight(control);
        const double ssthresh = control == tcp::CongestionControl::cubic ? 14 : 10;
        for (const int64_t n : {2, 3, 4, 6, 8, 10, 12, 14, 16, 18, 20}) {
            arrives(n);
            if (phase() == Phase::recovery) {
                EXPECT_TRUE(near(world.info().ssthresh, ssthresh)) << n;
            }
        }
        EXPECT_EQ(world.info().reductions, 1u);
        finishes();
        EXPECT_EQ(world.info().reductions, 1u);
        EXPECT_EQ(world.count(Tally::fast_retransmits), 1u);
        EXPECT_EQ(world.count(Tally::retransmission_timeouts), 0u);
        EXPECT_TRUE(same(peer.stream(), pattern(0, 1 + bytes(80))));
    }
}

TEST_F(Proportional, ThresholdsAreTwoSegmentsAtLeast) {
    proves("K10 L6");
    for (const auto control : both) {
        opens_with(settings_with([&](auto& s) {
            s.congestion = control;
            s.initial_window_segments = 2;
        }));
        ASSERT_EQ(cwnd(), bytes(2));
        flies(2);
        time.passes(rtt);
        arrives(2);
        peer.waits();
        const Heard again = hears_only(1);
        EXPECT_EQ(world.info().ssthresh, bytes(2));
        time.passes(rtt);
        gets(again);
        EXPECT_EQ(cwnd(), bytes(2));
    }
}

}  // namespace
}  // namespace pollux::test
