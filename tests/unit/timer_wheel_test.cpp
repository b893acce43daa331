// TimerWheel against a map of deadlines on a line of 64-bit ticks, near and across the wrap of 2^32. Each expiry
// must be the earliest one that the map holds: nothing early, nothing late, nothing lost, nothing twice.
#include "tcp/timer_wheel.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <vector>

namespace pollux::tcp {
namespace {

constexpr uint32_t no_limit = std::numeric_limits<uint32_t>::max();
constexpr uint64_t wrap = uint64_t{1} << 32;

struct Node {
    uint32_t timer_slot = 0, timer_cell = 0;
    Tick armed_at;
};
using Wheel = TimerWheel<Node>;

// Ticks whose low 32 bits are the reserved 0 do not exist: as with tick_at(), the next one stands for them.
uint64_t real(uint64_t time) { return static_cast<uint32_t>(time) == 0 ? time + 1 : time; }
Tick tick(uint64_t time) { return Tick{static_cast<uint32_t>(real(time))}; }

constexpr auto none = [](uint32_t) { return Tick{}; };

class TimerWheelTest : public testing::Test {
protected:
    explicit TimerWheelTest(uint32_t nodes = 5000) : nodes_(nodes), wheel_(nodes_) {
        for (uint32_t i = 0; i < nodes; ++i) nodes_.take();
    }
    std::vector<uint32_t> expired_at(uint64_t now, uint32_t budget = no_limit) {
        std::vector<uint32_t> expired;
        wheel_.advance(tick(now), budget, [&](uint32_t index) {
            expired.push_back(index);
            return Tick{};
        });
        EXPECT_TRUE(wheel_.check_invariants());
        std::ranges::sort(expired);
        return expired;
    }
    using Indices = std::vector<uint32_t>;
    Pool<Node> nodes_;
    Wheel wheel_;
};

TEST_F(TimerWheelTest, EachDeadlineIsServedAtItsTickAndNotBefore) {
    for (const uint64_t start : {uint64_t{1}, uint64_t{255}, uint64_t{0x1234'fffe}, wrap - 300, wrap - 1}) {
        for (const uint64_t distance : {1, 2, 255, 256, 257, 65'535, 65'536, 65'537, 16'777'216, 2'147'483'647}) {
            SCOPED_TRACE(testing::Message() << "start " << start << " distance " << distance);
            Wheel wheel{nodes_};
            const uint64_t due = real(start + distance);
            int served = 0;
            const auto expire = [&](uint32_t) { return ++served, Tick{}; };
            ASSERT_EQ(wheel.advance(tick(start), no_limit, expire), 0u);
            wheel.arm(1, tick(due));
            EXPECT_TRUE(wheel.check_invariants());
            if (due - 1 > start && real(due - 1) < due) {
                ASSERT_EQ(wheel.advance(tick(due - 1), no_limit, expire), 0u);
                ASSERT_EQ(served, 0);
                ASSERT_EQ(wheel.next_due(), tick(due)) << "exact on level 0";
            }
            ASSERT_EQ(wheel.advance(tick(due), no_limit, expire), 0u);
            ASSERT_EQ(served, 1);
            ASSERT_EQ(wheel.size(), 0u);
            ASSERT_FALSE(wheel.next_due().is_set());
        }
    }
}

TEST_F(TimerWheelTest, ADeadlineHalfTheCircleAwayCountsAsPast) {
    expired_at(1000);
    wheel_.arm(1, tick(1000 + (uint64_t{1} << 31) - 1));
    wheel_.arm(2, tick(1000 + (uint64_t{1} << 31)));
    EXPECT_EQ(expired_at(1000), (Indices{2}));
    EXPECT_EQ(expired_at(1000 + (uint64_t{1} << 31) - 2), Indices{});
    EXPECT_EQ(expired_at(1000 + (uint64_t{1} << 31) - 1), (Indices{1}));
}

TEST_F(TimerWheelTest, ALaterDeadlineMovesNothingAndAnEarlierOneMovesTheEntry) {
    expired_at(100);
    wheel_.arm(1, tick(500));
    wheel_.arm(1, tick(900));
    EXPECT_EQ(nodes_[1].armed_at, tick(500)) << "the wheel asks at 500; the caller has noted 900";
    wheel_.arm(1, tick(300));
    EXPECT_EQ(nodes_[1].armed_at, tick(300));
    EXPECT_EQ(wheel_.size(), 1u);
    EXPECT_EQ(expired_at(299), Indices{});
    EXPECT_EQ(expired_at(300), (Indices{1}));
    EXPECT_EQ(expired_at(1000), Indices{});
}

TEST_F(TimerWheelTest, WhatExpireAnswersIsTheNextDeadline) {
    expired_at(100);
    wheel_.arm(1, tick(200));
    std::vector<uint64_t> asked;
    uint64_t now = 0;
    for (now = 100; now < 3000; ++now) {
        wheel_.advance(tick(now), no_limit, [&](uint32_t) {
            asked.push_back(now);
            return now == 2000 ? Tick{} : tick(now + 900);
        });
    }
    EXPECT_EQ(asked, (std::vector<uint64_t>{200, 1100, 2000}));
    EXPECT_EQ(wheel_.size(), 0u);
}

TEST_F(TimerWheelTest, ACancelledEntryIsNeverServed) {
    expired_at(100);
    for (uint32_t i = 0; i < 10; ++i) wheel_.arm(i, tick(200 + 300 * (i % 3)));
    for (const uint32_t i : {0u, 9u, 4u, 4u}) wheel_.cancel(i);
    EXPECT_FALSE(wheel_.is_armed(4));
    EXPECT_EQ(expired_at(100'000), (Indices{1, 2, 3, 5, 6, 7, 8}));
}

TEST_F(TimerWheelTest, APastDeadlineIsServedByTheNextAdvanceOfTheSameTick) {
    expired_at(1000);
    wheel_.arm(1, tick(1000));
    wheel_.arm(2, tick(10));
    EXPECT_EQ(wheel_.next_due(), tick(1000));
    EXPECT_EQ(expired_at(1000), (Indices{1, 2}));
}

TEST_F(TimerWheelTest, ANodeThatAnswersWithThePastIsAskedOncePerTick) {
    for (const uint64_t start : {uint64_t{255}, wrap - 3}) {
        Wheel wheel{nodes_};
        ASSERT_EQ(wheel.advance(tick(start), no_limit, none), 0u);
        wheel.arm(7, tick(start));
        uint32_t asked = 0;
        for (uint64_t now = start; now < start + 10; ++now) {
            if (real(now) != now) continue;
            asked = 0;
            ASSERT_EQ(wheel.advance(tick(now), no_limit, [&](uint32_t) { return ++asked, tick(now); }), 0u);
            ASSERT_EQ(asked, 1u) << now;
        }
        wheel.cancel(7);
    }
}

TEST_F(TimerWheelTest, ArmingBeforeTheFirstAdvanceKeepsTheDeadline) {
    for (const uint64_t start : {uint64_t{1}, uint64_t{3'000'000'000}, wrap - 100}) {
        Wheel wheel{nodes_};
        wheel.arm(1, tick(start + 1000));
        wheel.arm(2, tick(start + 200));
        std::vector<uint32_t> served;
        const auto expire = [&](uint32_t index) { return served.push_back(index), Tick{}; };
        wheel.advance(tick(start), no_limit, expire);
        EXPECT_EQ(served, Indices{});
        wheel.advance(tick(start + 199), no_limit, expire);
        EXPECT_EQ(served, Indices{});
        wheel.advance(tick(start + 200), no_limit, expire);
        EXPECT_EQ(served, (Indices{2}));
        wheel.advance(tick(start + 1000), no_limit, expire);
        EXPECT_EQ(served, (Indices{2, 1}));
    }
}

TEST_F(TimerWheelTest, ALongPauseExpiresEverythingInOrder) {
    for (const uint64_t start : {uint64_t{1}, wrap - 1'000'000}) {
        std::mt19937_64 random{start};
        Wheel wheel{nodes_};
        wheel.advance(tick(start), no_limit, none);
        std::multimap<uint64_t, uint32_t> expected;
        for (uint32_t i = 0; i < 5000; ++i) {
            const uint64_t due = real(start + 1 + (random() >> (33 + random() % 30)));
            wheel.arm(i, tick(due));
            expected.emplace(due, i);
        }
        ASSERT_TRUE(wheel.check_invariants());
        auto next = expected.begin();
        // Cascades cost at most three units for each entry: there is no cost for the empty ticks between.
        EXPECT_EQ(wheel.advance(tick(start + 0x7fff'ffff), 4 * 5000,
                                [&](uint32_t index) {
                                    EXPECT_EQ(nodes_[index].armed_at.is_set(), false);
                                    const auto [first, last] = expected.equal_range(next->first);
                                    EXPECT_TRUE(std::any_of(first, last, [&](auto& e) { return e.second == index; }));
                                    ++next;
                                    return Tick{};
                                }),
                  0u);
        EXPECT_EQ(next, expected.end());
        EXPECT_EQ(wheel.size(), 0u);
    }
}

TEST_F(TimerWheelTest, JumpingFromDueToDueServesEveryDeadlineAtItsTick) {
    std::mt19937_64 random{5};
    const uint64_t start = wrap - 70'000;
    wheel_.advance(tick(start), no_limit, none);
    std::map<uint32_t, Tick> deadline;
    for (uint32_t i = 0; i < 300; ++i) {
        deadline[i] = tick(start + 1 + random() % (uint64_t{1} << (4 + i % 27)));
        wheel_.arm(i, deadline[i]);
    }
    uint32_t jumps = 0;
    while (wheel_.size() > 0) {
        const Tick now = wheel_.next_due();
        ASSERT_TRUE(now.is_set());
        ASSERT_LT(++jumps, 2000u);
        ASSERT_EQ(wheel_.advance(now, no_limit,
                                 [&](uint32_t index) {
                                     EXPECT_EQ(deadline[index], now);
                                     return Tick{};
                                 }),
                  0u);
    }
    EXPECT_FALSE(wheel_.next_due().is_set());
}

TEST_F(TimerWheelTest, ABudgetStopsWithinASlotAndWithinACascadeAndLosesNothing) {
    const uint64_t start = wrap - 500;
    wheel_.advance(tick(start), no_limit, none);
    for (uint32_t i = 0; i < 1000; ++i) wheel_.arm(i, tick(start + 5000));
    std::set<uint32_t> served;
    uint32_t turns = 0, most = 0, remain = 1;
    while (remain != 0) {
        uint32_t calls = 0;
        remain = wheel_.advance(tick(start + 5000), 7, [&](uint32_t index) {
            ++calls;
            EXPECT_TRUE(served.insert(index).second);
            return Tick{};
        });
        ASSERT_TRUE(wheel_.check_invariants());
        most = std::max(most, calls);
        ASSERT_LT(++turns, 1000u);
        // A node that stands behind the point where work stopped can leave; a new one is not lost.
        if (turns == 20) wheel_.cancel(999);
        if (turns == 21) wheel_.arm(2000, tick(start + 5000));
    }
    EXPECT_EQ(served.size(), 1000u);
    EXPECT_FALSE(served.contains(999));
    EXPECT_TRUE(served.contains(2000));
    EXPECT_LE(most, 7u);
    EXPECT_GE(turns, 2 * 1000u / 7) << "the cascade costs budget too";
}

TEST_F(TimerWheelTest, WithoutBudgetNothingIsServedAndWorkIsReported) {
    expired_at(100);
    wheel_.arm(1, tick(101));
    EXPECT_EQ(wheel_.advance(tick(100), 0, none), 0u);
    EXPECT_NE(wheel_.advance(tick(101), 0, none), 0u);
    EXPECT_EQ(wheel_.advance(tick(101), 1, none), 0u) << "a budget that just suffices leaves nothing";
    EXPECT_EQ(wheel_.size(), 0u);
}

TEST_F(TimerWheelTest, ExpireMayGiveBackItsOwnNodeAndOthersInTheSameSlot) {
    expired_at(100);
    for (uint32_t i = 0; i < 10; ++i) wheel_.arm(i, tick(150));
    Indices served;
    wheel_.advance(tick(150), no_limit, [&](uint32_t index) {
        served.push_back(index);
        nodes_.give(index);
        const uint32_t other = index ^ 1;
        wheel_.cancel(other);
        nodes_.give(other);
        const uint32_t fresh = nodes_.take();  // the record just given back, as another connection
        EXPECT_EQ(fresh, other);
        wheel_.arm(fresh, tick(150));
        return Tick{};
    });
    EXPECT_TRUE(wheel_.check_invariants());
    EXPECT_EQ(served.size(), 5u) << "one of each pair";
    Indices others;
    for (const uint32_t index : served) others.push_back(index ^ 1);
    std::ranges::sort(others);
    EXPECT_EQ(expired_at(151), others) << "armed in the past by expire: one tick later";
}

TEST_F(TimerWheelTest, AClockThatStandsOrStepsBackDoesNoHarm) {
    expired_at(1000);
    wheel_.arm(1, tick(1100));
    EXPECT_EQ(expired_at(900), Indices{});
    EXPECT_EQ(expired_at(1099), Indices{});
    EXPECT_EQ(expired_at(1098), Indices{});
    EXPECT_EQ(expired_at(1100), (Indices{1}));
}

// The wheel and its reference. Deadlines are drawn from all levels; `expire` arms and cancels other nodes.
class Reference {
public:
    Reference(uint32_t seed, uint32_t nodes, uint64_t start)
        : random_(seed), nodes_(nodes), wheel_(nodes_), now_(start) {
        for (uint32_t i = 0; i < nodes; ++i) nodes_.take();
        wheel_.advance(tick(now_), no_limit, none);
        current_ = now_;
    }

    /// All magnitudes up to `bits` bits are equally likely.
    uint64_t draw(uint64_t bits) {
        const uint64_t range = uint64_t{1} << random_() % (bits + 1);
        return random_() % range;
    }
    uint32_t draw_node() { return static_cast<uint32_t>(random_() % nodes_.capacity()); }
    uint64_t draw_deadline() { return random_() % 8 == 0 ? real(now_ - draw(5)) : real(now_ + draw(20)); }

    void note(uint32_t index, uint64_t deadline) {
        const uint64_t at = deadline > current_ ? deadline : real(current_ + (serving_ ? 1 : 0));
        const auto known = armed_.find(index);
        if (known != armed_.end() && known->second <= deadline) return;
        armed_[index] = at;
    }
    void arm() {
        const uint32_t index = draw_node();
        const uint64_t deadline = draw_deadline();
        note(index, deadline);
        wheel_.arm(index, tick(deadline));
        // Between two calls of advance() that ended early, only the wheel knows how far it has got.
        uint64_t& at = armed_[index];
        const auto late = static_cast<int64_t>(nodes_[index].armed_at - tick(at));
        if (late > 0 && !serving_) {
            EXPECT_LE(at + static_cast<uint64_t>(late), now_);
            at += static_cast<uint64_t>(late);
        }
    }
    void cancel() {
        const uint32_t index = draw_node();
        armed_.erase(index);
        wheel_.cancel(index);
    }
    void advance(uint32_t budget) {
        uint32_t calls = 0;
        const uint32_t remain = wheel_.advance(tick(now_), budget, [&](uint32_t index) {
            ++calls;
            const auto known = armed_.find(index);
            if (known == armed_.end()) {
                ADD_FAILURE() << "node " << index << " was not armed";
                return Tick{};
            }
            const auto earliest = std::ranges::min_element(armed_, {}, [](auto& e) { return e.second; });
            EXPECT_EQ(known->second, earliest->second) << "out of order";
            EXPECT_LE(known->second, now_) << "early";
            current_ = known->second;
            armed_.erase(known);
            serving_ = true;
            if (random_() % 4 == 0) arm();
            if (random_() % 4 == 0) cancel();
            uint64_t next = 0;
            if (random_() % 2 == 0) note(index, next = draw_deadline());
            serving_ = false;
            return next == 0 ? Tick{} : tick(next);
        });
        EXPECT_LE(calls, budget);
        const bool due = std::ranges::any_of(armed_, [&](auto& e) { return e.second <= now_; });
        if (remain == 0) {
            EXPECT_FALSE(due) << "work was left behind";
            current_ = now_;
        }
        EXPECT_TRUE(!due || remain != 0);
    }
    void pass(uint64_t time) { now_ = real(now_ + time); }
    uint64_t now() const { return now_; }

    /// After a completed advance(): the wheel holds what the map holds.
    void compare() {
        ASSERT_TRUE(wheel_.check_invariants());
        ASSERT_EQ(wheel_.size(), armed_.size());
        uint64_t earliest = ~uint64_t{0};
        for (const auto& [index, at] : armed_) {
            ASSERT_EQ(nodes_[index].armed_at, tick(at)) << "node " << index;
            earliest = std::min(earliest, at);
        }
        const Tick next = wheel_.next_due();
        ASSERT_EQ(next.is_set(), !armed_.empty());
        if (armed_.empty()) return;
        ASSERT_TRUE(next.at_or_before(tick(earliest)));
        ASSERT_TRUE(tick(now_).at_or_before(next));
        if (earliest >> 8 == now_ >> 8) {
            ASSERT_EQ(next, tick(earliest));
        }
    }

private:
    std::mt19937_64 random_;
    Pool<Node> nodes_;
    Wheel wheel_;
    std::map<uint32_t, uint64_t> armed_;  // node -> tick at which it will be served
    uint64_t now_, current_ = 0;
    bool serving_ = false;
};

TEST(TimerWheelReference, RandomOperationsMatchAMap) {
    for (uint32_t seed = 1; seed <= 12; ++seed) {
        SCOPED_TRACE(testing::Message() << "seed " << seed);
        Reference reference{seed, 200, seed % 3 == 0 ? 100 : wrap - 20'000};
        for (int step = 0; step < 6000; ++step) {
            switch (reference.draw_node() % 8) {
                case 0: reference.cancel(); break;
                case 1:
                    reference.pass(reference.draw(16));
                    reference.advance(no_limit);
                    break;
                case 2:
                    reference.pass(1);
                    reference.advance(no_limit);
                    break;
                default: reference.arm(); break;
            }
            reference.compare();
            if (testing::Test::HasFailure()) FAIL() << "step " << step;
        }
        EXPECT_GT(reference.now(), seed % 3 == 0 ? 100'000 : wrap) << "the wrap was not crossed";
    }
}

// The same with one unit of work a call and time that runs on meanwhile: entries are served late, but in order.
TEST(TimerWheelReference, StepsOfOneUnitServeInOrderAndLoseNothing) {
    for (uint32_t seed = 1; seed <= 12; ++seed) {
        SCOPED_TRACE(testing::Message() << "seed " << seed);
        Reference reference{seed, 100, seed % 3 == 0 ? 100 : wrap - 20'000};
        for (int round = 0; round < 300; ++round) {
            for (int i = 0; i < 20; ++i) reference.arm();
            for (int i = 0; i < 3; ++i) reference.cancel();
            reference.pass(reference.draw(14));
            for (int i = 0; i < 60; ++i) {
                reference.advance(1);
                if (i % 4 == 1) reference.arm();
                if (i % 16 == 0) reference.pass(1);
            }
            reference.advance(no_limit);
            reference.compare();
            if (testing::Test::HasFailure()) FAIL() << "round " << round;
        }
    }
}

}  // namespace
}  // namespace pollux::tcp
