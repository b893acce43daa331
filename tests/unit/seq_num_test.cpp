// Points on the circle of 2^32: every promise is made across the wrap.
#include "tcp/seq_num.hpp"

#include <gtest/gtest.h>

#include <concepts>
#include <random>

#include "tcp/segment.hpp"

namespace pollux::tcp {
namespace {

template <typename T>
concept AddsPoints = requires(T a, T b) {
    a + b;
};
template <typename T>
concept HasAnOrder = requires(T a, T b) {
    a < b;
};
static_assert(!AddsPoints<SeqNum>, "point + point means nothing");
static_assert(!HasAnOrder<SeqNum>, "a circle cannot be sorted");
static_assert(!std::convertible_to<uint32_t, SeqNum>, "a length is not a point");

TEST(SeqNum, ComparisonsHoldAcrossTheWrap) {
    const SeqNum last{0xffff'ffff}, first{0};
    EXPECT_TRUE(last.before(first));
    EXPECT_TRUE(first.after(last));
    EXPECT_FALSE(first.before(last));
    EXPECT_TRUE(last.at_or_before(last));
    EXPECT_TRUE(last.at_or_after(last));
    EXPECT_FALSE(last.before(last));
    EXPECT_FALSE(last.after(last));
    EXPECT_EQ(later(last, first), first);
    EXPECT_EQ(earlier(last, first), last);
}

TEST(SeqNum, DistancesAreSignedAndLengthsAreNot) {
    const SeqNum a{0xffff'fff0}, b{0x10};
    EXPECT_EQ(b - a, 32);
    EXPECT_EQ(a - b, -32);
    EXPECT_EQ(b.since(a), 32u);
    EXPECT_EQ(a + 32, b);
    EXPECT_EQ(b.back(32), a);
    EXPECT_EQ(SeqNum{0x8000'0000}.since(SeqNum{0}), 0x8000'0000u);
}

TEST(SeqNum, WindowIncludesItsFirstAndExcludesItsEnd) {
    const SeqNum first{0xffff'fffe};
    EXPECT_FALSE(first.back(1).in_window(first, 4));
    EXPECT_TRUE(first.in_window(first, 4));
    EXPECT_TRUE((first + 3).in_window(first, 4));
    EXPECT_FALSE((first + 4).in_window(first, 4));
    EXPECT_FALSE(first.in_window(first, 0));
    // RFC 9293 MUST-1: sizes are unsigned, so half the circle and more is a window too.
    EXPECT_TRUE((first + 0x9000'0000).in_window(first, 0xa000'0000));
}

TEST(SeqNum, OrderDoesNotDependOnTheOrigin) {
    std::mt19937 random{9293};
    for (int i = 0; i < 10'000; ++i) {
        const SeqNum origin{static_cast<uint32_t>(random())};
        const uint32_t a = static_cast<uint32_t>(random()) >> 1, b = static_cast<uint32_t>(random()) >> 1;
        EXPECT_EQ((origin + a).before(origin + b), a < b);
        EXPECT_EQ((origin + a).at_or_after(origin + b), a >= b);
        EXPECT_EQ((origin + a) - (origin + b), static_cast<int32_t>(a) - static_cast<int32_t>(b));
    }
}

}  // namespace
}  // namespace pollux::tcp
