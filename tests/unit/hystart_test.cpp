// HyStart++: rounds by sequence numbers, across the wrap; a rise of the RTT ends slow start, noise does not.
#include "tcp/hystart.hpp"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace pollux::tcp {
namespace {

constexpr uint32_t mss = 1000;
using Phase = HyStart::Phase;

// A sender that is never idle: what cwnd allows is in flight, and each ACK is of one segment.
struct Sender {
    HyStart hystart{};
    SeqNum una{0xffff'f000}, nxt = una + 20 * mss;
    uint32_t cwnd = 20 * mss;
    bool ended = false;

    HyStart::Growth ack(uint32_t rtt_us, uint32_t bytes = mss) {
        una += bytes;
        const HyStart::Growth growth = hystart.on_ack(una, nxt, bytes, mss, rtt_us);
        cwnd += growth.bytes;
        nxt = later(nxt, una + cwnd);
        ended = ended || growth.ends;
        return growth;
    }
    /// Until the mark of this round is acknowledged; the first RTTs as given, the last one goes on.
    void round(const std::vector<uint32_t>& rtts_us) {
        size_t i = 0;
        const SeqNum end = hystart.phase == Phase::ready ? nxt : hystart.window_end;
        while (una.before(end) && !ended) ack(rtts_us[std::min(i++, rtts_us.size() - 1)]);
    }
    void round(uint32_t rtt_us) { round(std::vector<uint32_t>{rtt_us}); }
    Phase phase() const { return hystart.phase; }
};

TEST(HyStart, ARiseOfTheRttSlowsDownAndFiveRoundsLaterSlowStartEnds) {
    RecordProperty("row", "L7");
    Sender s;
    s.round(50'000);
    s.round(50'000);
    EXPECT_EQ(s.phase(), Phase::slow_start);
    uint32_t before = s.cwnd;
    s.round(60'000);  // the eighth sample of this round decides: it is the first of the five
    EXPECT_EQ(s.phase(), Phase::conservative);
    for (int round = 2; round <= 4; ++round) {
        before = s.cwnd;
        s.round(60'000);
        EXPECT_NEAR(s.cwnd, before * 1.25, before * 0.07) << "a quarter of the growth";
        EXPECT_FALSE(s.ended);
    }
    before = s.cwnd;
    s.round(60'000);
    EXPECT_TRUE(s.ended);
    EXPECT_EQ(s.phase(), Phase::over);
    EXPECT_LT(s.cwnd, before * 1.3);
}

TEST(HyStart, TheThresholdIsAnEighthOfTheRttBetweenFourAndSixteenMilliseconds) {
    RecordProperty("row", "L7");
    struct Case {
        uint32_t rtt_us, threshold_us;
    };
    for (const auto& [rtt, threshold] : {Case{100, 4'000}, Case{31'999, 4'000}, Case{40'000, 5'000},
                                         Case{100'000, 12'500}, Case{128'000, 16'000}, Case{1'000'000, 16'000}}) {
        for (const bool rises : {false, true}) {
            Sender s;
            s.round(rtt);
            s.round(rtt + threshold - (rises ? 0 : 1));
            EXPECT_EQ(s.phase(), rises ? Phase::conservative : Phase::slow_start) << rtt << " + " << threshold;
        }
    }
}

TEST(HyStart, NoiseAboveTheLeastRttEndsNothing) {
    RecordProperty("row", "L7");
    std::mt19937 random{9406};
    for (int run = 0; run < 100; ++run) {
        Sender s;
        for (int round = 0; round < 8; ++round) {
            std::vector<uint32_t> rtts(8);  // one in eight is near the truth, the others anywhere above it
            for (uint32_t& rtt : rtts) rtt = 50'000 + static_cast<uint32_t>(random()) % 200'000;
            rtts[random() % 8] = 50'000 + static_cast<uint32_t>(random()) % 6'000;
            s.round(rtts);
            ASSERT_EQ(s.phase(), Phase::slow_start);
        }
    }
}

TEST(HyStart, ALowerMinimumEndsNothing) {
    RecordProperty("row", "L7");
    Sender s;
    for (const uint32_t rtt : {90'000u, 60'000u, 40'000u, 20'000u, 19'000u, 500u}) {
        s.round(rtt);
        EXPECT_EQ(s.phase(), Phase::slow_start);
    }
}

TEST(HyStart, SlowStartGoesOnWhenTheRttFallsBelowTheBaseline) {
    RecordProperty("row", "L7");
    Sender s;
    s.round(50'000);
    s.round(80'000);
    ASSERT_EQ(s.phase(), Phase::conservative);
    s.round(80'000);
    s.round(80'000);
    EXPECT_EQ(s.phase(), Phase::conservative) << "not lower: no reason to go on";
    s.round(79'999);
    EXPECT_EQ(s.phase(), Phase::slow_start);
    uint32_t before = s.cwnd;
    s.round(80'000);
    EXPECT_NEAR(s.cwnd, 2 * before, 2 * mss) << "at full speed";
    EXPECT_EQ(s.phase(), Phase::slow_start);
    // A further rise counts its five rounds from the start.
    s.round(120'000);
    for (int round = 2; round <= 4; ++round) s.round(120'000);
    EXPECT_EQ(s.phase(), Phase::conservative);
    s.round(120'000);
    EXPECT_TRUE(s.ended);
}

TEST(HyStart, FewerThanEightSamplesNeverDecide) {
    RecordProperty("row", "L7");
    Sender s;
    s.round(50'000);
    const std::vector<uint32_t> seven{90'000, 90'000, 90'000, 90'000,
                                      90'000, 90'000, 90'000, 0};  // the others have no RTT
    s.round(seven);
    EXPECT_EQ(s.phase(), Phase::slow_start);
    s.round(90'000);
    EXPECT_EQ(s.phase(), Phase::slow_start) << "no rise against the round of seven";
    s.round(120'000);
    ASSERT_EQ(s.phase(), Phase::conservative);
    s.round({60'000, 60'000, 60'000, 60'000, 60'000, 60'000, 60'000, 0});
    EXPECT_EQ(s.phase(), Phase::conservative) << "nor do they lead back";
    s.round({60'000, 60'000, 60'000, 60'000, 60'000, 60'000, 60'000, 60'000, 0});
    EXPECT_EQ(s.phase(), Phase::slow_start);
}

TEST(HyStart, ARoundWithoutSamplesIsNoBasisForTheNext) {
    RecordProperty("row", "L7");
    Sender s;
    s.round(50'000);
    s.round(0u);
    s.round(500'000);
    EXPECT_EQ(s.phase(), Phase::slow_start);
    s.round(600'000);
    EXPECT_EQ(s.phase(), Phase::conservative);
}

TEST(HyStart, EightSamplesAreCountedWithinARoundNotOverSeveral) {
    RecordProperty("row", "L7");
    Sender s;
    s.round(50'000);
    for (uint32_t rtt = 60'000; rtt <= 100'000; rtt += 10'000) s.round({rtt, rtt, rtt, rtt, rtt, rtt, rtt, 0});
    EXPECT_EQ(s.phase(), Phase::slow_start);
}

TEST(HyStart, NoAckCountsForMoreThanEightSegments) {
    Sender s;
    EXPECT_EQ(s.ack(50'000, 8 * mss).bytes, 8 * mss);
    s.nxt = s.una + 100 * mss;
    EXPECT_EQ(s.ack(50'000, 9 * mss).bytes, 8 * mss);
    s.round(50'000);
    s.round(90'000);
    ASSERT_EQ(s.phase(), Phase::conservative);
    EXPECT_EQ(s.ack(90'000, 20 * mss).bytes, 2 * mss);
}

TEST(HyStart, SmallAcksAddUpInConservativeSlowStart) {
    Sender s;
    s.round(50'000);
    s.round(90'000);
    ASSERT_EQ(s.phase(), Phase::conservative);
    uint32_t grown = 0;
    for (int i = 0; i < 400; ++i) grown += s.ack(90'000, 1).bytes;
    EXPECT_EQ(grown, 100u);
}

TEST(HyStart, AfterCongestionItIsPlainSlowStartForGood) {
    Sender s;
    s.round(50'000);
    s.hystart.stop();
    for (uint32_t rtt = 60'000; rtt < 1'000'000; rtt += 100'000) {
        const SeqNum end = s.nxt;
        const uint32_t before = s.cwnd;
        while (s.una.before(end) && s.cwnd < 1u << 22) EXPECT_FALSE(s.ack(rtt).ends);
        EXPECT_TRUE(s.cwnd >= 2 * before || s.cwnd >= 1u << 22);
    }
    EXPECT_EQ(s.phase(), Phase::over);
}

TEST(HyStart, ARoundEndsHoweverFarTheMarkIsBehind) {
    RecordProperty("row", "L7");
    Sender s;
    s.round(50'000);
    const SeqNum mark = s.hystart.window_end;
    s.una += 0x9000'0000;  // more than half the circle, in another phase
    s.nxt = s.una + 20 * mss;
    EXPECT_TRUE(s.una.before(mark)) << "what a comparison would say";
    s.ack(50'000);
    EXPECT_EQ(s.hystart.window_end, s.una + 19 * mss);
}

TEST(HyStart, TheLongestRttsDoNotOverflow) {
    Sender s;
    s.round(0xffff'ffff);
    s.round(0xffff'ffff);
    EXPECT_EQ(s.phase(), Phase::slow_start);
    EXPECT_EQ(s.ack(1, 0xffff'ffff).bytes, 8 * mss);
}

}  // namespace
}  // namespace pollux::tcp
