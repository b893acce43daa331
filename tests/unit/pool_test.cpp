// Pool against a std::set of the indices in use, and its three promises: nothing is touched before it is taken, a
// freed record keeps its contents, running out is an answer.
#include "tcp/pool.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <random>
#include <set>
#include <vector>

namespace pollux::tcp {
namespace {

struct Record {
    uint64_t value = 7;
    uint32_t generation = 0;
};
struct alignas(64) Line {
    uint32_t words[16]{};
};

TEST(Pool, TakesEveryIndexOnceAndThenSaysNone) {
    Pool<Record> pool{100};
    std::set<uint32_t> taken;
    for (uint32_t i = 0; i < 100; ++i) taken.insert(pool.take());
    EXPECT_EQ(taken.size(), 100u);
    EXPECT_EQ(*taken.rbegin(), 99u);
    EXPECT_EQ(pool.size(), 100u);
    EXPECT_EQ(pool.take(), Pool<Record>::none);
    EXPECT_EQ(pool.size(), 100u);
    pool.give(42);
    EXPECT_EQ(pool.size(), 99u);
    EXPECT_EQ(pool.take(), 42u);
    EXPECT_EQ(pool.take(), Pool<Record>::none);
}

TEST(Pool, RecordsAreValueInitialisedEachTimeTheyAreTaken) {
    Pool<Record> pool{4};
    const uint32_t first = pool.take();
    EXPECT_EQ(pool[first].value, 7u);
    pool[first].value = 1;
    pool.give(first);
    EXPECT_EQ(pool.take(), first);
    EXPECT_EQ(pool[first].value, 7u);
}

TEST(Pool, AFreedRecordKeepsItsContentsUntilItIsTakenAgain) {
    Pool<Record> pool{4};
    const uint32_t index = pool.take();
    pool[index] = {.value = 99, .generation = 5};
    pool.give(index);
    EXPECT_FALSE(pool.is_taken(index));
    EXPECT_EQ(pool[index].value, 99u);
    EXPECT_EQ(pool[index].generation, 5u);
}

TEST(Pool, LastFreedIsTakenFirst) {
    Pool<Record> pool{10};
    for (int i = 0; i < 6; ++i) pool.take();
    pool.give(1);
    pool.give(4);
    EXPECT_EQ(pool.take(), 4u);
    EXPECT_EQ(pool.take(), 1u);
    EXPECT_EQ(pool.take(), 6u) << "then records that were never used";
    EXPECT_EQ(pool.high_water(), 7u);
}

TEST(Pool, AnEmptyPoolIsAllowed) {
    Pool<Record> pool{0};
    EXPECT_EQ(pool.take(), Pool<Record>::none);
    EXPECT_EQ(pool.capacity(), 0u);
    EXPECT_EQ(pool.memory_bytes(), 0u);
}

TEST(Pool, TooLargeACapacityIsRefusedWithASentence) {
    try {
        Pool<Record> pool{(1u << 30) + 1, "connections"};
        FAIL() << "was accepted";
    } catch (const std::runtime_error& error) {
        EXPECT_STREQ(error.what(), "asked for 1073741825 records of connections, at most 2^30 are possible");
    }
}

TEST(Pool, MemoryThatCannotBeReservedIsAClearSentence) {
    try {
        MemoryBlock block{size_t{1} << 60, "the connection table"};
        FAIL() << "was reserved";
    } catch (const std::runtime_error& error) {
        EXPECT_EQ(std::string{error.what()}.find("cannot reserve 1099511627776 MB for the connection table: "), 0u)
            << error.what();
    }
}

TEST(Pool, RecordsAreAlignedAndLargePoolsStandOnHugePages) {
    Pool<Line> small{3};
    small.take();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(&small[0]) % 64, 0u);
    Pool<Line> large{100'000};
    large.take();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(&large[0]) % MemoryBlock::huge_page, 0u);
    EXPECT_EQ(large.memory_bytes() % MemoryBlock::huge_page, 0u);
    EXPECT_GE(large.memory_bytes(), 100'000u * 68u);
}

TEST(Pool, WhatIsNotTakenCostsNoMemory) {
    Pool<Line> pool{1u << 20};  // 68 MB
    for (int i = 0; i < 1000; ++i) pool.take();
    std::vector<unsigned char> resident((pool.memory_bytes() + 4095) / 4096);
    ASSERT_EQ(mincore(&pool[0], pool.memory_bytes(), resident.data()), 0);
    size_t pages = 0;
    for (const auto page : resident) pages += page & 1;
    EXPECT_LE(pages * 4096, 3 * MemoryBlock::huge_page) << "one huge page of records, one or two of links";
}

TEST(Pool, RandomTakesAndGivesMatchASet) {
    for (const uint32_t seed : {1u, 2u, 3u}) {
        std::mt19937 random{seed};
        Pool<Record> pool{300};
        std::set<uint32_t> in_use;
        for (int step = 0; step < 20'000; ++step) {
            if (random() % 2 == 0) {
                const uint32_t index = pool.take();
                ASSERT_EQ(index == Pool<Record>::none, in_use.size() == 300) << "seed " << seed << " step " << step;
                if (index == Pool<Record>::none) continue;
                ASSERT_LT(index, 300u);
                ASSERT_TRUE(in_use.insert(index).second) << "given out twice";
                pool[index].value = index;
            } else if (!in_use.empty()) {
                auto it = in_use.lower_bound(static_cast<uint32_t>(random() % 300));
                if (it == in_use.end()) it = in_use.begin();
                ASSERT_EQ(pool[*it].value, *it);
                pool.give(*it);
                in_use.erase(it);
            }
            ASSERT_EQ(pool.size(), in_use.size());
        }
        for (uint32_t index = 0; index < 300; ++index) EXPECT_EQ(pool.is_taken(index), in_use.contains(index));
    }
}

#ifndef NDEBUG
TEST(PoolDeathTest, GivingTwiceIsCaught) {
    Pool<Record> pool{4};
    const uint32_t index = pool.take();
    pool.give(index);
    EXPECT_DEATH(pool.give(index), "given back twice");
}
TEST(PoolDeathTest, GivingWhatWasNeverTakenIsCaught) {
    Pool<Record> pool{4};
    pool.take();
    EXPECT_DEATH(pool.give(3), "never taken");
}
#endif

}  // namespace
}  // namespace pollux::tcp
