// CUBIC against RFC 9438's own formulas, over a simulated path: the window of one flow after single losses, and how
// two flows share a bottleneck.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/simulation/dumbbell.hpp"

namespace pollux::simulation {
namespace {

using namespace tcp;
using namespace std::chrono_literals;

// RFC 9438 sections 4.2 and 4.3, in segments and seconds.
struct Curve {
    static constexpr double c = 0.4, beta = 0.7;
    double w_max, at_begin;
    double k() const { return std::cbrt((w_max - at_begin) / c); }
    double cubic(double t) const { return c * std::pow(t - k(), 3) + w_max; }
    // A flow that grows as Reno does with this beta: alpha segments a round trip, one above W_max.
    double reno(double t, double rtt) const {
        const double alpha = 3 * (1 - beta) / (1 + beta), rounds = t / rtt;
        const double until_max = (w_max - at_begin) / alpha;
        return rounds < until_max ? at_begin + alpha * rounds : w_max + (rounds - until_max);
    }
    double window(double t, double rtt) const { return std::max(cubic(t), reno(t, rtt)); }
};

double seconds(Duration time) { return static_cast<double>(time.count()) / 1e6; }

class CubicCurve : public testing::Test {
protected:
    static constexpr Duration rtt = 100ms;

    static Dumbbell::Plan plan(std::vector<Duration> losses) {
        Dumbbell::Plan plan;
        plan.settings.congestion = CongestionControl::cubic;
        plan.settings.hystart = false;  // the first loss, not the delay, ends slow start
        plan.rtt = rtt;
        plan.losses = std::move(losses);
        return plan;
    }
    double window() const { return static_cast<double>(link_->info(0)->cwnd) / link_->info(0)->mss; }
    // Follows one epoch, from a loss until `end`: each round trip within 10 % of the curve. `remembered`: of W_max,
    // what fast convergence leaves.
    void follows(Duration loss, Duration end, double remembered) {
        link_->runs_until(loss);
        double before = window();
        for (auto at = loss; link_->info(0)->reductions == reductions_ || link_->info(0)->phase != Phase::open;) {
            ASSERT_LT(at, loss + 10 * rtt) << "the loss has not been repaired";
            if (link_->info(0)->phase == Phase::open) before = window();
            link_->runs_until(at += 10ms);
        }
        ++reductions_;
        EXPECT_EQ(link_->info(0)->reductions, reductions_);
        const Curve curve{before * remembered, window()};
        EXPECT_NEAR(curve.at_begin, Curve::beta * before, 0.05 * before);
        const Duration began = link_->now();
        int samples = 0;
        for (Duration at = began + rtt; at < end; at += rtt, ++samples) {
            link_->runs_until(at);
            const double wanted = curve.window(seconds(at - began), seconds(rtt));
            ASSERT_NEAR(window(), wanted, 0.1 * wanted)
                << seconds(at - began) << " s into the epoch, K is " << curve.k() << " s, W_max " << curve.w_max;
        }
        EXPECT_GT(samples, 20);
    }
    void begins(std::vector<Duration> losses) { link_.emplace(plan(std::move(losses))); }

    std::optional<Dumbbell> link_;
    uint32_t reductions_ = 0;
};

TEST_F(CubicCurve, FollowsWCubicAfterASingleLoss) {
    begins({650ms});
    follows(650ms, 16s, 1);
}

TEST_F(CubicCurve, FollowsWCubicAfterALossAboveTheLastMaximum) {
    begins({650ms, 14s});
    follows(650ms, 14s, 1);
    follows(14s, 28s, 1);
}

// RFC 9438 section 4.7: a loss below the last maximum makes room, W_max = cwnd (1 + beta) / 2.
TEST_F(CubicCurve, ConvergesFastAfterALossBelowTheLastMaximum) {
    begins({650ms, 4s});
    follows(650ms, 4s - 100ms, 1);
    follows(4s, 14s, (1 + Curve::beta) / 2);
}

// With a short RTT the friendly estimate is the larger one for long.
TEST_F(CubicCurve, TwoFlowsThatBeganApartShareABottleneck) {
    Dumbbell::Plan two;
    two.settings.congestion = CongestionControl::cubic;
    two.starts = {0s, 4s};
    two.rate = 2'500'000;  // 20 Mb/s
    two.rtt = 40ms;
    two.queue = 100'000;
    Dumbbell link(two);
    link.runs_until(30s);
    std::vector<uint64_t> before = link.received();
    link.runs_until(90s);
    std::vector<uint64_t> shares = link.received();
    uint64_t sum = 0;
    for (size_t i = 0; i < shares.size(); ++i) sum += shares[i] -= before[i];
    EXPECT_GE(jain_index(shares), 0.95) << shares[0] << " and " << shares[1];
    EXPECT_GE(static_cast<double>(sum), 0.9 * 60 * 2'500'000) << "the bottleneck is in use";
}

}  // namespace
}  // namespace pollux::simulation
