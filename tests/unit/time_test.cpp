// Handed-in time and the circle of millisecond ticks.
#include "tcp/time.hpp"

#include <gtest/gtest.h>

namespace pollux::tcp {
namespace {

template <typename Clock>
concept TellsTheTime = requires {
    Clock::now();
};
static_assert(!TellsTheTime<EngineTime>, "protocol code cannot ask for the time");

constexpr Instant at(Duration since_origin) { return Instant{since_origin}; }

TEST(Time, TickIsTheMillisecondThatHasBegun) {
    EXPECT_EQ(tick_at(at(5ms)).raw(), 5u);
    EXPECT_EQ(tick_at(at(5999us)).raw(), 5u);
    EXPECT_EQ(tick_at(at(6ms)).raw(), 6u);
}

TEST(Time, DeadlineNeverFiresEarly) {
    for (const Duration when : {1000us, 1001us, 1500us, 1999us, 2000us, 123456789us}) {
        const Tick deadline = deadline_at(at(when));
        const auto fires = Duration{int64_t{deadline.raw()} * 1000};
        EXPECT_GE(fires, when);
        EXPECT_LT(fires - when, 1ms);
    }
}

TEST(Time, NoInstantMapsToTheReservedTick) {
    EXPECT_TRUE(tick_at(at(0ms)).is_set());
    EXPECT_TRUE(deadline_at(at(0ms)).is_set());
    const Duration one_turn = std::chrono::milliseconds{int64_t{1} << 32};
    EXPECT_TRUE(tick_at(at(one_turn)).is_set());
    EXPECT_FALSE(Tick{}.is_set());
}

TEST(Time, TicksCompareAcrossTheWrap) {
    const Tick before{0xffff'fff0}, after{0x10};
    EXPECT_TRUE(before.before(after));
    EXPECT_FALSE(after.before(before));
    EXPECT_TRUE(before.at_or_before(before));
    EXPECT_EQ(after - before, 32);
    EXPECT_EQ(before - after, -32);
}

TEST(Time, EarliestPassesOverUnsetDeadlines) {
    const Tick none{}, soon{0xffff'ffff}, late{3};
    EXPECT_EQ(earliest(none, late), late);
    EXPECT_EQ(earliest(late, none), late);
    EXPECT_EQ(earliest(late, soon), soon);
    EXPECT_FALSE(earliest(none, none).is_set());
}

}  // namespace
}  // namespace pollux::tcp
