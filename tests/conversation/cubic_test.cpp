// CUBIC (RFC 9438) and, beside it, NewReno in congestion avoidance: growth around W_max, the Reno-friendly bound, the
// reduction, fast convergence, and a pause that is no time of growth.
#include <algorithm>
#include <cmath>

#include "tests/support/flight.hpp"

namespace pollux::test {
namespace {

class Cubic : public Flight {
protected:
    static constexpr double c = 0.4, beta = 0.7;  // section 4.1.2 and 4.6

    /// A window of forty segments, the first of which is lost and repaired; a stream without end goes on.
    /// What cwnd was.
    double loses_one_of_forty(const tcp::StackSettings& settings, Duration round_trip, Here here = Here::current()) {
        tcp::StackSettings forty = settings;
        forty.initial_window_segments = 40;
        opens_with(forty, {.rtt = round_trip, .ws = uint8_t{7}}, here);
        app.sends_pattern(3'000'000);
        return loses_one(here);
    }
    /// The first of all that has been heard is lost; how large the window was.
    double loses_one(Here here = Here::current()) {
        const uint64_t before = world.info().reductions;
        const double window = segments();
        time.passes(rtt);
        auto all = peer.takes_all();
        all.erase(all.begin());
        gets_all(all);
        EXPECT_EQ(world.info().reductions, before + 1) << here.line;
        for (int i = 0; i < 20 && phase() != Phase::open; ++i) {
            time.passes(rtt);
            gets_all(peer.takes_all());
        }
        EXPECT_EQ(phase(), Phase::open) << here.line;
        epoch_ = world.now();
        return window;
    }
    double segments() { return static_cast<double>(cwnd()) / static_cast<double>(size()); }
    double threshold() { return static_cast<double>(world.info().ssthresh) / static_cast<double>(size()); }
    /// Seconds since the end of the last recovery.
    double elapsed() { return static_cast<double>((world.now() - epoch_).count()) / 1e6; }
    /// Section 4.2.
    static double w_cubic(double t, double w_max, double start) {
        const double k = std::cbrt((w_max - start) / c);
        return c * std::pow(t - k, 3) + w_max;
    }

private:
    Instant epoch_;
};

tcp::StackSettings of(tcp::CongestionControl control) {
    return settings_with([&](auto& s) { s.congestion = control; });
}

TEST_F(Cubic, ALossLeavesSevenTenths) {
    proves("L6");
    EXPECT_NEAR(loses_one_of_forty(of(tcp::CongestionControl::cubic), 100ms), 40, 0.01);
    EXPECT_NEAR(threshold(), 28, 0.05);
    EXPECT_GE(segments(), 28 - 0.05);
    EXPECT_LE(segments(), 29.5);
    peer.forgets();
}

TEST_F(Cubic, NewRenoLeavesHalf) {
    proves("MAY-18 L8");
    loses_one_of_forty(of(tcp::CongestionControl::new_reno), 100ms);
    EXPECT_NEAR(threshold(), 20, 0.05);
    EXPECT_LE(segments(), 21.5);
    peer.forgets();
}

TEST_F(Cubic, NewRenoGrowsByOneSegmentARound) {
    proves("L8");
    loses_one_of_forty(of(tcp::CongestionControl::new_reno), 100ms);
    for (int i = 0; i < 15; ++i) {
        const double before = segments();
        round();
        EXPECT_NEAR(segments() - before, 1, 0.1) << i;
    }
    peer.forgets();
}

TEST_F(Cubic, GrowthIsConcaveToWmaxAndConvexBeyond) {
    proves("L5");
    const double w_max = loses_one_of_forty(of(tcp::CongestionControl::cubic), 400ms);
    const double start = threshold();
    const double k = std::cbrt((w_max - start) / c);
    ASSERT_NEAR(k, 3.1, 0.1);
    double reached_at = 0;
    std::vector<double> steps;
    while (elapsed() < k + 3) {
        const double before = segments();
        round();
        const double t = elapsed(), now = segments();
        steps.push_back(now - before);
        // cwnd follows the curve, which is asked for one round trip ahead (section 4.2).
        EXPECT_GE(now, w_cubic(t - 0.4, w_max, start) - 1.5) << t;
        EXPECT_LE(now, w_cubic(t + 0.8, w_max, start) + 1) << t;
        EXPECT_LE(now, 1.5 * before) << t;
        if (reached_at == 0 && now >= w_max - 0.5) reached_at = t;
    }
    EXPECT_NEAR(reached_at, k, 1.2);
    // Fast at first, flat around W_max, fast again.
    EXPECT_GT(steps.front() + steps[1], 2 * *std::ranges::min_element(steps));
    EXPECT_GT(steps.back(), 2 * *std::ranges::min_element(steps));
    peer.forgets();
}

TEST_F(Cubic, OnShortPathsItGrowsAsRenoWould) {
    // Section 4.3: 3 (1 - beta) / (1 + beta) segments a round trip, 0.53, where the cubic curve would be slower.
    proves("L5");
    loses_one_of_forty(of(tcp::CongestionControl::cubic), 20ms);
    const double start = segments();
    for (int i = 1; i <= 16; ++i) {
        const double before = segments();
        round();
        EXPECT_LE(segments() - before, 1.1) << i;
        EXPECT_GE(segments() - start, 0.53 * i - 1.2) << i;
        EXPECT_LE(segments() - start, 0.53 * i + 2) << i;
    }
    peer.forgets();
}

TEST_F(Cubic, AtMostOneSegmentForTwoThatAreAcknowledged) {
    proves("L5");
    // Long after the epoch began, the window was the limit all the time: the curve is steep.
    loses_one_of_forty(of(tcp::CongestionControl::cubic), 600ms);
    for (int i = 0; i < 12; ++i) {
        const auto all = (time.passes(rtt), peer.takes_all());
        // The window grows by whole segments: what two acknowledged ones earn may come with the second.
        const uint32_t before = cwnd();
        for (size_t n = 0; n < all.size(); ++n) {
            gets(all[n]);
            EXPECT_LE(cwnd() - before, bytes(static_cast<int64_t>(n) / 2 + 1));
        }
    }
    peer.forgets();
}

TEST_F(Cubic, ALossBelowTheLastMaximumGivesRoomToOthers) {
    // Section 4.7, fast convergence: W_max is (1 + beta) / 2 of the window at the second loss.
    proves("L6");
    loses_one_of_forty(of(tcp::CongestionControl::cubic), 400ms);
    round();
    const double second = loses_one();
    ASSERT_LT(second, 38);
    const double start = threshold();
    EXPECT_NEAR(start, beta * second, 0.6);
    const double w_max = second * (1 + beta) / 2;
    // Flat around the lower maximum.
    const double k = std::cbrt((w_max - start) / c);
    while (elapsed() < k + 0.4) round();
    EXPECT_NEAR(segments(), w_max, 1.7);
    peer.forgets();
}

TEST_F(Cubic, APauseIsNoTimeOfGrowth) {
    // Section 5.8: the epoch moves on by the time that the application had nothing to send.
    proves("L6");
    opens_with(settings_with([](auto& s) { s.restart_after_idle = false; }), {.rtt = 100ms, .ws = uint8_t{7}});
    flies(10);
    time.passes(rtt);
    arrives(2, 10);
    const Heard again = hears_only(1);
    time.passes(rtt);
    gets(again);
    ASSERT_TRUE(near(cwnd(), 7));
    flies(7);
    time.passes(rtt);
    for (int64_t n = 11; n <= 17; ++n) arrives(n);
    const double before = segments();
    ASSERT_LT(before, 9);
    time.passes(60s);
    // Full windows again: grown by rounds, not by the minute that has passed.
    app.sends_pattern(1'000'000);
    double last = before;
    for (int i = 1; i <= 5; ++i) {
        round();
        EXPECT_LE(segments(), last + 1.5) << i;
        last = segments();
    }
    EXPECT_GT(last, before);
    peer.forgets();
}

TEST_F(Cubic, AfterATimeoutTheWindowComesBackAlongTheCurve) {
    proves("L6 K12");
    opens_with(settings_with([](auto& s) { s.initial_window_segments = 40; }), {.rtt = 100ms, .ws = uint8_t{7}});
    flies(40, 400);
    while (world.count(Tally::retransmission_timeouts) == 0) {
        peer.forgets();
        peer.waits();
    }
    EXPECT_EQ(cwnd(), bytes(1));
    EXPECT_NEAR(threshold(), 28, 0.8);
    double last = 1;
    bool avoided = false;
    for (int i = 0; i < 14; ++i) {
        round();
        const double now = segments();
        if (last >= threshold()) {
            avoided = true;
            EXPECT_LE(now, last * 1.1 + 1) << i;
        } else {
            EXPECT_LE(now, 2 * last + 0.01) << i;
        }
        last = now;
    }
    EXPECT_TRUE(avoided);
    EXPECT_LE(last, 45);
    peer.forgets();
}

}  // namespace
}  // namespace pollux::test
