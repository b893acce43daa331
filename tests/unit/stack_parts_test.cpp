// The small parts of the stack, each by itself: RTT, rate limits, pins, the transmit batch, the ready ring, half-open
// and TIME-WAIT stores, the lists of names.
#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "tcp/counters.hpp"
#include "tcp/half_open.hpp"
#include "tcp/pins.hpp"
#include "tcp/rate_limit.hpp"
#include "tcp/ready_ring.hpp"
#include "tcp/rtt.hpp"
#include "tcp/state.hpp"
#include "tcp/time_wait.hpp"
#include "tcp/tx_batch.hpp"

namespace pollux::tcp {
namespace {

TEST(Rtt, TheFirstSampleSetsBothValues) {
    uint32_t srtt = 0, rttvar = 0;
    rtt_sample(srtt, rttvar, 80ms, 0);
    EXPECT_EQ(srtt, 80'000u);  // RFC 6298 (2.2)
    EXPECT_EQ(rttvar, 40'000u);
}

TEST(Rtt, LaterSamplesAreWeightedByOneEighthAndOneQuarter) {
    uint32_t srtt = 80'000, rttvar = 40'000;
    rtt_sample(srtt, rttvar, 160ms, 0);
    EXPECT_EQ(rttvar, 50'000u);  // 3/4 * 40 + 1/4 * |80 - 160|
    EXPECT_EQ(srtt, 90'000u);    // 7/8 * 80 + 1/8 * 160
}

TEST(Rtt, ManySamplesInARoundTripChangeItAsSlowlyAsOne) {
    uint32_t one = 100'000, one_var = 10'000, many = 100'000, many_var = 10'000;
    rtt_sample(one, one_var, 200ms, 0);
    for (int i = 0; i < 8; ++i) rtt_sample(many, many_var, 200ms, 3);
    EXPECT_NEAR(many, one, 1'000);
}

TEST(Rtt, ASampleBelowTheResolutionStillCountsAsASample) {
    uint32_t srtt = 0, rttvar = 0;
    rtt_sample(srtt, rttvar, 0ms, 0);
    EXPECT_GT(srtt, 0u);
}

TEST(RateLimitTest, AllowsAtMostItsRateAndNotTheSameNumberEachSecond) {
    RateLimit limit(1'000, 42);
    std::set<int> allowed;
    for (int second = 1; second <= 20; ++second) {
        int count = 0;
        for (int i = 0; i < 5'000; ++i) count += limit.allow(Instant{1s * second + i * 100us}) ? 1 : 0;
        EXPECT_LE(count, 1'000);
        EXPECT_GE(count, 750);
        allowed.insert(count);
    }
    EXPECT_GT(allowed.size(), 5u) << "a constant number would be a side channel";
}

TEST(PinsTest, CountsReferencesAndRunsOutWithASentence) {
    Pins pins(3);
    const PinId a = pins.reserve(), b = pins.reserve();
    EXPECT_NE(a, b);
    EXPECT_NE(a, 0u);
    EXPECT_THROW(pins.reserve(), std::runtime_error);
    pins.add(a);
    pins.add(a);
    pins.drop(a);
    EXPECT_TRUE(pins.in_use(a));
    EXPECT_FALSE(pins.in_use(b));
    EXPECT_EQ(pins.total(), 1u);
}

TEST(TxBatchTest, RepliesWithoutAConnectionTakeAtMostHalf) {
    TxBatch batch(10);
    int stateless = 0;
    while (batch.add_stateless() != nullptr) ++stateless;
    EXPECT_EQ(stateless, 5);
    EXPECT_EQ(batch.room(), 5u);
    batch.reset(4);
    EXPECT_EQ(batch.room(), 4u);
    batch.reset(1'000);
    EXPECT_EQ(batch.room(), 10u) << "never above the capacity";
}

TEST(ReadyRingTest, KeepsItsOrderAcrossTheEnd) {
    ReadyRing ring(4);
    for (uint32_t round = 0; round < 10; ++round) {
        ring.push_back(1);
        ring.push_back(2);
        ring.push_front(0);
        EXPECT_EQ(ring.size(), 3u);
        EXPECT_EQ(ring.pop_front(), 0u);
        EXPECT_EQ(ring.pop_front(), 1u);
        EXPECT_EQ(ring.pop_front(), 2u);
        EXPECT_TRUE(ring.empty());
    }
}

TEST(HalfOpenStoreTest, EachLevelIsServedInOrderOfItsDeadlinesAcrossTheWrapOfTheClock) {
    HalfOpenStore store(8);
    const Tick before_wrap{0xffff'fe00};
    const uint32_t first = store.take(), second = store.take();
    store.wait(first, before_wrap, 1'000);
    store.wait(second, Tick{before_wrap.raw() + 100}, 1'000);
    EXPECT_NEAR(store.next_due_in_ms(before_wrap), 1'000, 4);
    EXPECT_EQ(store.take_due(0, Tick{before_wrap.raw() + 900}), HalfOpenStore::none);
    EXPECT_EQ(store.take_due(0, Tick{before_wrap.raw() + 1'004}), first);
    EXPECT_EQ(store.take_due(0, Tick{before_wrap.raw() + 1'004}), HalfOpenStore::none);
    EXPECT_EQ(store.first_to_send(), first);
    store.give(first);  // while it stands on the list to send
    EXPECT_EQ(store.first_to_send(), HalfOpenStore::none);
    store.give(second);
    EXPECT_EQ(store.in_use(), 0u);
}

TEST(TimeWaitStoreTest, TheFrontEndsFirstAndARestartGoesToTheBack) {
    TimeWaitStore store(2);
    const uint32_t a = store.take(Tick{100}), b = store.take(Tick{200});
    EXPECT_EQ(store.take(Tick{300}), TimeWaitStore::none);
    EXPECT_EQ(store.front(), a);
    store.restart(a, Tick{300});
    EXPECT_EQ(store.front(), b);
    store.give(b);
    EXPECT_EQ(store.front(), a);
}

TEST(Names, EveryVerdictAndTallyHasAUniqueNameAndASentence) {
    std::set<std::string_view> names;
    for (const VerdictInfo& v : verdicts) {
        EXPECT_TRUE(names.insert(v.name).second) << v.name;
        EXPECT_FALSE(v.sentence.empty());
        std::ostringstream out;
        out << v.verdict;
        EXPECT_EQ(out.str(), v.name);
    }
    for (const TallyInfo& t : tallies) EXPECT_TRUE(names.insert(t.name).second) << t.name;
}

TEST(States, OnlyTheArrowsOfTheRfcArePossible) {
    EXPECT_TRUE(may_follow(State::established, State::fin_wait_1));
    EXPECT_TRUE(may_follow(State::fin_wait_1, State::closing));
    EXPECT_FALSE(may_follow(State::established, State::time_wait));
    EXPECT_FALSE(may_follow(State::close_wait, State::fin_wait_1));
    EXPECT_FALSE(may_follow(State::last_ack, State::established));
    EXPECT_EQ(name(State::syn_received), "SYN-RECEIVED");
}

}  // namespace
}  // namespace pollux::tcp
