// CUBIC in integers against RFC 9438's formulas in double precision, and what the formulas do not say: small and
// large ACKs, idle time, bounds.
#include "tcp/cubic.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <random>
#include <vector>

namespace pollux::tcp {
namespace {

constexpr double c_of_rfc = 0.4, beta_of_rfc = 0.7;  // sections 4.6 and 5.1
constexpr Instant start{1h};

double seconds(Duration d) { return static_cast<double>(d.count()) / 1e6; }

// The RFC's formulas, in segments and seconds, windows with fractions.
struct Reference {
    double w_max = 0, k = 0, t_epoch = 0, w_est = 0, cwnd_prior = 0;

    void begin(double cwnd, double now) {
        if (w_max <= cwnd) w_max = cwnd;
        if (cwnd_prior == 0) cwnd_prior = cwnd;
        k = std::cbrt((w_max - cwnd) / c_of_rfc);  // figure 2
        t_epoch = now;
        w_est = cwnd;
    }
    double w_cubic(double t) const { return c_of_rfc * std::pow(t - k, 3) + w_max; }  // figure 1
    double on_ack(double cwnd, double segments_acked, double rtt, double now) {
        const double t = now - t_epoch;
        const double alpha = w_est < cwnd_prior ? 3 * (1 - beta_of_rfc) / (1 + beta_of_rfc) : 1;
        w_est += alpha * segments_acked / cwnd;  // figure 4
        if (w_cubic(t) < w_est) return std::max(cwnd, w_est);
        const double target = std::clamp(w_cubic(t + rtt), cwnd, 1.5 * cwnd);
        return cwnd + (target - cwnd) / cwnd * segments_acked;
    }
};

// A sender in congestion avoidance, never idle, whose ACKs are spread evenly over the round trip.
struct Sender {
    uint32_t mss = 1448;
    Duration rtt = 50ms;
    uint32_t cwnd = 0;
    Instant now = start;
    Cubic cubic{};
    int64_t ns_left = 0;
    uint64_t acked_in_all = 0;

    void ack(uint32_t bytes) {
        time_passes_for(bytes);
        grow(bytes);
    }
    void time_passes_for(uint32_t bytes) {
        const int64_t ns = rtt.count() * 1000 * bytes / cwnd + ns_left;
        now += Duration{ns / 1000};
        ns_left = ns % 1000;
    }
    void grow(uint32_t bytes) {
        cwnd = cubic.on_ack(cwnd, mss, bytes, static_cast<uint32_t>(rtt.count()), now);
        acked_in_all += bytes;
    }
    void loses(uint32_t at_segments) { cwnd = cubic.on_congestion(at_segments * mss, mss); }
    void run(Duration time) {
        for (const Instant end = now + time; now < end;) ack(std::max(mss, cwnd / 64 / mss * mss));
    }
    double segments() const { return static_cast<double>(cwnd) / mss; }
};

TEST(CubeRoot, IsExactAtEveryCubeAndItsNeighbours) {
    EXPECT_EQ(cube_root(0), 0u);
    EXPECT_EQ(cube_root(~uint64_t{0}), 2'642'245u);
    for (uint64_t n = 1; n <= 2'642'245; ++n) {
        const uint64_t cube = n * n * n;
        ASSERT_EQ(cube_root(cube - 1), n - 1);
        ASSERT_EQ(cube_root(cube), n);
        ASSERT_EQ(cube_root(cube + 1), n == 1 ? 1 : n);
    }
}

struct Path {
    uint32_t mss, w_max;
    Duration rtt;
};
class CubicCurve : public testing::TestWithParam<Path> {};

// Ten percent of the window would be noticed, one percent and a segment is what whole segments cost.
TEST_P(CubicCurve, FollowsTheFormulasOverKAndBeyond) {
    RecordProperty("row", "L5 L6");
    const auto [mss, w_max, rtt] = GetParam();
    Sender sender{.mss = mss, .rtt = rtt};
    sender.loses(w_max);
    Reference reference{.w_max = double(w_max), .cwnd_prior = double(w_max)};
    double cwnd = sender.segments();
    EXPECT_NEAR(cwnd, 0.7 * w_max, 0.001 * w_max + 0.01);
    reference.begin(cwnd, seconds(sender.now - start));
    EXPECT_GT(reference.k, 1.0);

    sender.grow(mss);  // t = 0
    EXPECT_NEAR(seconds(Duration{sender.cubic.k_us}), reference.k, 0.001 * reference.k);
    bool cubic_region = false;
    for (const auto end = sender.now + Duration{int64_t(2.5e6 * reference.k)}; sender.now < end;) {
        const uint32_t bytes = std::max(mss, sender.cwnd / 64 / mss * mss);
        sender.ack(bytes);
        const double now = seconds(sender.now - start), t = now - reference.t_epoch;
        cwnd = reference.on_ack(cwnd, double(bytes) / mss, seconds(rtt), now);
        ASSERT_NEAR(sender.segments(), cwnd, 0.01 * cwnd + 1) << "t = " << t << ", K = " << reference.k;
        if (reference.w_cubic(t) < reference.w_est) continue;
        cubic_region = true;
        ASSERT_NEAR(sender.segments(), reference.w_cubic(t), 0.02 * cwnd + 1)
            << "t = " << t << ", K = " << reference.k;
    }
    EXPECT_TRUE(cubic_region);
    EXPECT_GT(sender.segments(), w_max * 1.5) << "the convex part was seen";
}
INSTANTIATE_TEST_SUITE_P(Paths, CubicCurve,
                         testing::Values(Path{1448, 40, 100ms}, Path{1448, 100, 100ms}, Path{1448, 1'000, 30ms},
                                         Path{1448, 10'000, 100ms}, Path{536, 200, 300ms}, Path{8, 500, 80ms},
                                         Path{8'948, 1'000, 10ms}, Path{65'535, 2'000, 50ms},
                                         Path{1448, 100'000, 200ms}),
                         [](const auto& test) {
                             return "Mss" + std::to_string(test.param.mss) + "Wmax" +
                                    std::to_string(test.param.w_max) + "Rtt" + std::to_string(test.param.rtt / 1ms);
                         });

TEST(Cubic, AWindowOfTenMillionSegmentsFollowsTheCurveToo) {
    RecordProperty("row", "L5");
    Sender sender{.mss = 64, .rtt = 100ms};
    sender.loses(10'000'000);
    Reference reference{.w_max = 1e7, .cwnd_prior = 1e7};
    reference.begin(sender.segments(), 0);
    sender.grow(64);
    EXPECT_NEAR(seconds(Duration{sender.cubic.k_us}), reference.k, 0.01);  // about 196 s
    sender.run(Duration{int64_t(reference.k * 0.5e6)});
    EXPECT_NEAR(sender.segments() / reference.w_cubic(reference.k * 0.5), 1, 0.002);
    sender.run(Duration{int64_t(reference.k * 0.5e6)});
    EXPECT_NEAR(sender.segments() / 1e7, 1, 0.002);
}

TEST(Cubic, OnShortPathsItGrowsAsRenoWithNineSeventeenthsOfASegmentARoundTrip) {
    RecordProperty("row", "L5");
    Sender sender{.rtt = 1ms};
    sender.loses(100);  // K is 4.2 s: 4,200 round trips
    const double from = sender.segments();
    sender.grow(sender.mss);
    sender.run(34ms);
    EXPECT_NEAR(sender.segments(), from + 34 * 9.0 / 17, 1.01);
    // Up to where the loss was, then a segment a round trip.
    while (sender.segments() < 100) sender.run(1ms);
    EXPECT_NEAR(seconds(sender.now - start) * 1000, 30 * 17.0 / 9, 3);
    const double then = sender.segments();
    sender.run(40ms);
    EXPECT_NEAR(sender.segments(), then + 40, 1.5);
}

TEST(Cubic, ALossLeavesSevenTenthsAndEcnSeventeenTwentieths) {
    RecordProperty("row", "L6");
    Cubic cubic;
    EXPECT_NEAR(cubic.on_congestion(1'000'000, 1'000), 700'000, 500);
    EXPECT_EQ(cubic.w_max, 1'000'000u);
    cubic = {};
    EXPECT_NEAR(cubic.on_congestion(1'000'000, 1'000, Cubic::beta_on_ecn), 850'000, 500);
    EXPECT_EQ(cubic.w_max, 1'000'000u);
    EXPECT_EQ(cubic.on_congestion(2'500, 1'000), 2'000u) << "never below two segments";
}

TEST(Cubic, ASecondLossBelowTheFirstLowersThePlateau) {
    RecordProperty("row", "L6");
    Cubic cubic;
    cubic.on_congestion(1'000'000, 1'000);
    cubic.on_congestion(800'000, 1'000);
    EXPECT_NEAR(cubic.w_max, 800'000 * 0.85, 500) << "fast convergence: cwnd (1 + beta) / 2";
    EXPECT_EQ(cubic.cwnd_prior, 800'000u);
    cubic.on_congestion(700'000, 1'000);
    EXPECT_EQ(cubic.w_max, 700'000u) << "above the last plateau: nobody new";
    cubic.on_congestion(600'000, 1'000, Cubic::beta_on_ecn);
    EXPECT_NEAR(cubic.w_max, 600'000 * 0.925, 500);
}

TEST(Cubic, AfterATimeoutTheCurveBeginsOnItsPlateau) {
    RecordProperty("row", "L6");
    Sender sender{.rtt = 100ms};
    EXPECT_NEAR(sender.cubic.on_timeout(1000 * 1448, 1448), 700 * 1448, 1448);
    EXPECT_EQ(sender.cubic.cwnd_prior, 1000u * 1448);
    sender.cwnd = 700 * 1448;  // slow start went so far
    Reference reference;
    reference.begin(700, 0);
    sender.grow(sender.mss);
    EXPECT_EQ(sender.cubic.k_us, 0u);
    EXPECT_EQ(sender.cubic.w_max, 700u * 1448);
    sender.run(3s);
    EXPECT_NEAR(sender.segments(), 700 + 30 * 9.0 / 17, 2) << "Reno-friendly: alpha 9/17 below the old window";
    sender.run(7s);
    EXPECT_NEAR(sender.segments(), reference.w_cubic(10), 11) << "convex from the start";
}

TEST(Cubic, SlowStartThatEndedWithoutLossBeginsOnThePlateauAsReno) {
    RecordProperty("row", "L6");
    Sender sender{.rtt = 100ms, .cwnd = 100 * 1448};
    sender.grow(sender.mss);
    EXPECT_EQ(sender.cubic.k_us, 0u);
    EXPECT_EQ(sender.cubic.cwnd_prior, 100u * 1448);
    sender.run(2s);
    EXPECT_NEAR(sender.segments(), 100 + 20, 1.5) << "one segment a round trip: alpha is 1";
    sender.run(6s);
    EXPECT_NEAR(sender.segments(), 100 + 0.4 * 512, 5);
}

TEST(Cubic, IdleTimeMovesTheCurveWithoutAJump) {
    RecordProperty("row", "L6");
    Sender busy{.rtt = 50ms};
    busy.loses(500);
    busy.grow(busy.mss);
    busy.run(4s);
    Sender idle = busy, forgetful = busy;
    const uint32_t before = busy.cwnd;
    idle.now += 30s;
    idle.cubic.on_idle(30s);
    forgetful.now += 30s;
    for (int round_trips = 1; round_trips <= 60; ++round_trips) {
        busy.run(50ms);
        idle.run(50ms);
        ASSERT_EQ(idle.cwnd, busy.cwnd);
    }
    EXPECT_LT(idle.segments(), before / 1448.0 * 1.2);
    forgetful.run(3s);
    EXPECT_GT(forgetful.segments(), idle.segments() * 2) << "this test would notice";
}

TEST(Cubic, WhileSomethingElseLimitsTheSenderTimeStandsStill) {
    RecordProperty("row", "L6");
    Sender busy{.rtt = 50ms};
    busy.loses(500);
    busy.grow(busy.mss);
    busy.run(4s);
    Sender slow = busy;
    for (int i = 0; i < 1'000; ++i) {
        slow.cubic.pause(slow.now);
        slow.now += 50ms;
        if (i == 500) {  // idle in the middle of it counts once
            slow.now += 2h;
            slow.cubic.on_idle(2h);
        }
    }
    EXPECT_EQ(slow.cwnd, busy.cwnd);
    busy.grow(busy.mss);
    slow.grow(slow.mss);
    for (int round_trips = 1; round_trips <= 60; ++round_trips) {
        busy.run(50ms);
        slow.run(50ms);
        ASSERT_EQ(slow.cwnd, busy.cwnd);
    }
}

TEST(Cubic, NeitherIdlingNorAPauseBeginsAnEpoch) {
    Cubic cubic;
    cubic.on_idle(10s);
    cubic.pause(start);
    EXPECT_EQ(cubic.epoch, Instant{});
    EXPECT_EQ(cubic.paused_at, 0u);
    cubic.on_congestion(100'000, 1'000);
    cubic.on_idle(10s);
    cubic.pause(start);
    cubic.on_ack(70'000, 1'000, 1'000, 50'000, start + 1h);
    EXPECT_EQ(cubic.epoch, start + 1h);
}

TEST(Cubic, ANewEpochKeepsNothingOfTheLastButItsWindows) {
    Sender s{.rtt = 50ms};
    for (const bool timeout : {false, true}) {
        s.loses(500);
        s.grow(s.mss);
        s.run(3'700ms);
        s.grow(1);
        EXPECT_GT(s.cubic.credit, 0u);
        EXPECT_GT(s.cubic.w_est_acked, 0u);
        EXPECT_GT(s.cubic.k_us, 0u);
        s.cubic.pause(s.now);
        EXPECT_GT(s.cubic.paused_at, 0u);
        s.now += 1s;
        s.cwnd = timeout ? s.cubic.on_timeout(s.cwnd, s.mss) : s.cubic.on_congestion(s.cwnd, s.mss);
        Cubic fresh{.w_max = s.cubic.w_max, .cwnd_prior = s.cubic.cwnd_prior};
        s.grow(1);
        fresh.on_ack(s.cwnd, s.mss, 1, 50'000, s.now);
        EXPECT_EQ(s.cubic.epoch, s.now);
        EXPECT_EQ(s.cubic.credit, fresh.credit);
        EXPECT_EQ(s.cubic.w_est, s.cwnd);
        EXPECT_EQ(s.cubic.w_est_acked, 1u);
        EXPECT_EQ(s.cubic.k_us, fresh.k_us);
        EXPECT_EQ(s.cubic.k_us == 0, timeout);
        EXPECT_EQ(s.cubic.paused_at, 0u);
    }
}

TEST(Cubic, TheSameBytesGiveTheSameGrowthHoweverManyAcksTheyTake) {
    RecordProperty("row", "L5");
    for (const Duration rtt : {2ms, 100ms}) {  // Reno-friendly; concave and convex
        std::vector<Sender> senders(4, Sender{.rtt = rtt});
        const std::array<uint32_t, 4> acked{100, 1448, 2 * 1448, 4 * 1448};
        for (size_t i = 0; i < senders.size(); ++i) {
            Sender& s = senders[i];
            s.loses(64);
            const Instant end = s.now + 9s;
            while (s.now < end) {
                // Time goes by rounds, so that it is the same for all: whole windows of 64 segments' bytes.
                for (uint32_t bytes = 0; bytes < 64 * 1448; bytes += acked[i])
                    s.grow(std::min(acked[i], 64 * 1448 - bytes));
                s.now += rtt;
            }
            EXPECT_EQ(s.acked_in_all, senders[0].acked_in_all);
            EXPECT_GT(s.segments(), 80);
            EXPECT_NEAR(s.segments(), senders[0].segments(), 1.0)
                << acked[i] << " bytes per ACK, " << rtt / 1ms << " ms";
        }
    }
}

TEST(Cubic, NeverGrowsByMoreThanASegmentForTwoAcknowledged) {
    RecordProperty("row", "L5");
    // A curve that is far above: K long past, with ACKs of any size.
    std::mt19937 random{9438};
    for (int round = 0; round < 200; ++round) {
        Sender s{.mss = 100 + static_cast<uint32_t>(random()) % 9'000, .rtt = 10ms};
        s.loses(4 + static_cast<uint32_t>(random()) % 400);
        const uint32_t first = s.cwnd;
        s.grow(s.mss);
        s.now += 100s;
        for (int i = 0; i < 500 && s.cwnd < Cubic::max_cwnd / 2; ++i)
            s.grow(1 + static_cast<uint32_t>(random()) % (4 * s.mss));
        EXPECT_LE(s.cwnd - first, s.acked_in_all / 2);
        EXPECT_GT(s.cwnd - first + s.mss, s.acked_in_all / 2 * 9 / 10) << "and here it uses nearly all of that";
    }
}

TEST(Cubic, AWindowThatSomebodyLoweredDoesNotJumpBack) {
    Sender s{.rtt = 100ms};
    s.loses(1'000);
    s.grow(s.mss);
    s.run(3s);
    s.cwnd = 10 * s.mss;
    const uint64_t acked_before = s.acked_in_all;
    for (int i = 0; i < 100; ++i) s.ack(s.mss);
    EXPECT_LE(s.cwnd, 10 * s.mss + (s.acked_in_all - acked_before) / 2 + s.mss);
    // A new curve from there has everything before it.
    s.cwnd = 10 * s.mss;
    s.cubic.end_epoch();
    s.ack(s.mss);
    EXPECT_EQ(s.cubic.epoch, s.now);
    EXPECT_NEAR(s.cubic.k_us, std::cbrt(990 / 0.4) * 1e6, 2'000);
}

TEST(Cubic, AWindowAboveThePlateauDoesNotShrinkTowardsIt) {
    Cubic cubic;
    const uint32_t cwnd = cubic.on_congestion(2'100, 1'000);
    EXPECT_EQ(cwnd, 2'000u);
    cubic.on_congestion(2'000, 1'000);  // the plateau goes to 1,700, the window has reached its floor
    EXPECT_EQ(cubic.on_ack(2'000, 1'000, 1'000, 50'000, start), 2'000u);
    EXPECT_EQ(cubic.k_us, 0u);
    EXPECT_EQ(cubic.w_max, 2'000u);
}

TEST(Cubic, ACopyUndoesAReduction) {
    Sender s{.rtt = 50ms};
    s.loses(300);
    s.grow(s.mss);
    s.run(2s);
    Sender undisturbed = s;
    const Cubic before = s.cubic;
    const uint32_t cwnd = s.cwnd;
    s.loses(cwnd / s.mss);
    s.grow(s.mss);
    s.cubic = before;
    s.cwnd = cwnd;
    s.run(5s);
    undisturbed.run(5s);
    EXPECT_EQ(s.cwnd, undisturbed.cwnd);
}

// Under UBSan this is the proof that no input divides by zero or overflows.
TEST(Cubic, StaysInItsBoundsForAnyInput) {
    std::mt19937_64 random{64};
    const auto any = [&](uint64_t bound) {  // of any magnitude, the bound itself now and then
        return random() % 8 == 0 ? bound : (random() >> random() % 64) % std::max<uint64_t>(bound, 1);
    };
    constexpr uint64_t all = ~uint64_t{0};
    Cubic cubic;
    for (int i = 0; i < 400'000; ++i) {
        const auto cwnd = static_cast<uint32_t>(any(random() % 4 == 0 ? 0xffff'ffff : Cubic::max_cwnd));
        const auto mss = static_cast<uint32_t>(8 + any(65'535 - 8));
        const Instant now{Duration{static_cast<int64_t>(any(all))}};
        const uint64_t what = random() % 16;
        if (random() % 64 == 0) cubic = {};
        if (what == 0) {
            const uint32_t ssthresh = cubic.on_congestion(cwnd, mss, static_cast<uint32_t>(any(1000)));
            ASSERT_GE(ssthresh, 2 * mss);
            ASSERT_LE(ssthresh, std::max(2 * mss, std::min(cwnd, Cubic::max_cwnd)));
        } else if (what == 1) {
            ASSERT_GE(cubic.on_timeout(cwnd, mss), 2 * mss);
        } else if (what == 2) {
            cubic.on_idle(Duration{static_cast<int64_t>(any(all))});
        } else if (what == 3) {
            cubic.pause(now);
        } else {
            const uint32_t before = std::clamp(cwnd, mss, Cubic::max_cwnd),
                           acked = static_cast<uint32_t>(any(0xffff'ffff));
            const uint32_t after = cubic.on_ack(cwnd, mss, acked, static_cast<uint32_t>(any(0xffff'ffff)), now);
            ASSERT_GE(after, before);
            ASSERT_LE(after, Cubic::max_cwnd);
            ASSERT_LE(after - before, std::min(acked, before) / 2 + mss);
            ASSERT_LE(cubic.w_est, Cubic::max_cwnd);
        }
    }
}

}  // namespace
}  // namespace pollux::tcp
