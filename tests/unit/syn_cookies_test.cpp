// SYN cookies as functions of key, tuple and time; what they do to a connection is in conversation/syn_cookie_test.cpp.
#include "tcp/syn_cookies.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

namespace pollux::tcp {
namespace {

using namespace std::chrono_literals;
using Judgement = SynCookies::Judgement;

constexpr SipKey secret{1, 2};
constexpr uint64_t period = 60'000'000;  // us
constexpr uint64_t start = 1'000'000 * period;
const FourTuple flow{IpAddress::from_v4(0xc000'0201), IpAddress::from_v4(0xc000'0202), 80, 40'000};
constexpr SeqNum isn{0xffff'fff0};

TEST(SynCookies, BringBackTheLargestSizeNotAboveThePeers) {
    SynCookies cookies{secret, 60s};
    for (uint32_t mss = 0; mss <= 65'535; ++mss) {
        const SeqNum cookie = cookies.make(flow, isn, static_cast<uint16_t>(mss), start);
        const auto judged = cookies.judge(flow, isn, cookie, start);
        ASSERT_EQ(judged.judgement, Judgement::good);
        ASSERT_LE(judged.mss, std::max(mss, 48u));
        for (const uint16_t size : SynCookies::sizes) ASSERT_FALSE(size > judged.mss && size <= mss) << mss;
    }
}

TEST(SynCookies, AreGoodForThisPeriodAndTheNext) {
    SynCookies maker{secret, 60s};
    for (const uint64_t made : {start, start + period / 2, start + period - 1}) {
        const SeqNum cookie = maker.make(flow, isn, 1460, made);
        const auto at = [&](uint64_t when) {
            SynCookies judge{secret, 60s};
            return judge.judge(flow, isn, cookie, when).judgement;
        };
        EXPECT_EQ(at(made), Judgement::good);
        EXPECT_EQ(at(start + 2 * period - 1), Judgement::good);
        EXPECT_EQ(at(start + 2 * period), Judgement::stale);
        EXPECT_EQ(at(start + 3 * period - 1), Judgement::stale);
        EXPECT_EQ(at(start + 3 * period), Judgement::forged);
        // By a clock that is behind, as far as clocks may differ.
        EXPECT_EQ(at(start - 1), Judgement::good);
        EXPECT_EQ(at(start - 1'000'000), Judgement::good);
        EXPECT_EQ(at(start - 1'000'001), Judgement::forged);
    }
}

TEST(SynCookies, OfAnotherTupleIsnOrSecretAreForged) {
    SynCookies cookies{secret, 60s};
    const SeqNum cookie = cookies.make(flow, isn, 1460, start);
    FourTuple other = flow;
    other.remote_port = 40'001;
    EXPECT_EQ(cookies.judge(other, isn, cookie, start).judgement, Judgement::forged);
    other = flow;
    other.local_addr = IpAddress::from_v4(0xc000'0203);
    EXPECT_EQ(cookies.judge(other, isn, cookie, start).judgement, Judgement::forged);
    EXPECT_EQ(cookies.judge(flow, isn + 1, cookie, start).judgement, Judgement::forged);
    SynCookies stranger{{1, 3}, 60s};
    EXPECT_EQ(stranger.judge(flow, isn, cookie, start).judgement, Judgement::forged);
}

TEST(SynCookies, OnlySixteenOfAllNumbersAreRight) {
    SynCookies cookies{secret, 60s};
    std::set<uint32_t> right;
    for (const uint64_t when : {start, start + period}) {
        for (const uint16_t size : SynCookies::sizes) right.insert(cookies.make(flow, isn, size, when).raw());
    }
    EXPECT_EQ(right.size(), 16u);
    std::mt19937 random{1};
    for (int i = 0; i < 1'000'000; ++i) {
        const auto guess = static_cast<uint32_t>(random());
        if (right.contains(guess)) continue;
        ASSERT_NE(cookies.judge(flow, isn, SeqNum{guess}, start + period).judgement, Judgement::good);
    }
}

TEST(SynCookies, TheStampCarriesOptionsAndIsNeverInTheFuture) {
    for (uint32_t bits = 0; bits < 64; ++bits) {
        CookieOptions options;
        if ((bits & 15) != 15) options.window_scale = static_cast<uint8_t>(bits & 15);
        options.sack = (bits & 16) != 0;
        options.ecn = (bits & 32) != 0;
        for (uint32_t clock = 0xffff'ff00; clock != 0x100; ++clock) {
            const uint32_t stamp = SynCookies::stamp(clock, options);
            ASSERT_LT(clock - stamp, 64u);
            ASSERT_EQ(SynCookies::read_stamp(stamp), options);
        }
    }
}

TEST(SpentCookies, RemembersTheLatestOfEachLine) {
    SpentCookies spent{15};  // one line
    for (uint32_t tag = 1; tag <= 20; ++tag) {
        EXPECT_FALSE(spent.contains(7, tag));
        spent.add(7, tag);
    }
    for (uint32_t tag = 1; tag <= 5; ++tag) EXPECT_FALSE(spent.contains(7, tag));
    for (uint32_t tag = 6; tag <= 20; ++tag) EXPECT_TRUE(spent.contains(7, tag));
    EXPECT_EQ(spent.memory_bytes(), 64u);
}

}  // namespace
}  // namespace pollux::tcp
