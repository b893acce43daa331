// IndexList against a std::deque, several lists over one pool.
#include "tcp/index_list.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <random>
#include <vector>

namespace pollux::tcp {
namespace {

struct Record {
    uint32_t next = 0, prev = 0;
    uint32_t age_next = 0, age_prev = 0;
};
using List = IndexList<Record>;
using AgeList = IndexList<Record, &Record::age_next, &Record::age_prev>;

template <class AnyList>
std::vector<uint32_t> contents(const AnyList& list) {
    std::vector<uint32_t> indices;
    for (uint32_t i = list.front(); i != AnyList::none; i = list.after(i)) indices.push_back(i);
    return indices;
}

class IndexListTest : public testing::Test {
protected:
    IndexListTest() {
        for (int i = 0; i < 100; ++i) pool_.take();
    }
    Pool<Record> pool_{100};
};

TEST_F(IndexListTest, AnEmptyListHasNoFront) {
    List list{pool_};
    EXPECT_TRUE(list.empty());
    EXPECT_EQ(list.front(), List::none);
    EXPECT_EQ(list.back(), List::none);
    EXPECT_EQ(list.pop_front(), List::none);
    EXPECT_EQ(list.size(), 0u);
}

TEST_F(IndexListTest, WhatIsPushedFirstLeavesFirst) {
    List list{pool_};
    for (const uint32_t i : {5u, 0u, 9u}) list.push_back(i);
    EXPECT_EQ(contents(list), (std::vector<uint32_t>{5, 0, 9}));
    EXPECT_EQ(list.pop_front(), 5u);
    EXPECT_EQ(list.pop_front(), 0u);
    EXPECT_EQ(list.pop_front(), 9u);
    EXPECT_TRUE(list.empty());
}

TEST_F(IndexListTest, OneRecordStandsInTwoListsByDifferentLinks) {
    List list{pool_};
    AgeList ages{pool_};
    for (const uint32_t i : {1u, 2u, 3u}) list.push_back(i), ages.push_front(i);
    list.erase(2);
    EXPECT_EQ(contents(list), (std::vector<uint32_t>{1, 3}));
    EXPECT_EQ(contents(ages), (std::vector<uint32_t>{3, 2, 1}));
}

TEST_F(IndexListTest, RandomOperationsMatchADeque) {
    for (const uint32_t seed : {1u, 2u, 3u, 4u}) {
        std::mt19937 random{seed};
        std::array<List, 3> lists{List{pool_}, List{pool_}, List{pool_}};
        std::array<std::deque<uint32_t>, 3> expected;
        std::array<int, 100> home{};  // which list a record is in, -1: none
        home.fill(-1);
        for (int step = 0; step < 20'000; ++step) {
            const auto index = static_cast<uint32_t>(random() % 100);
            const auto which = random() % 3;
            if (home[index] >= 0) {
                const auto at = static_cast<size_t>(home[index]);
                lists[at].erase(index);
                std::erase(expected[at], index);
                home[index] = -1;
            } else if (random() % 4 == 0) {
                const uint32_t popped = lists[which].pop_front();
                ASSERT_EQ(popped, expected[which].empty() ? List::none : expected[which].front());
                if (popped == List::none) continue;
                expected[which].pop_front();
                home[popped] = -1;
            } else if (random() % 3 == 0) {
                lists[which].push_front(index);
                expected[which].push_front(index);
                home[index] = static_cast<int>(which);
            } else {
                lists[which].push_back(index);
                expected[which].push_back(index);
                home[index] = static_cast<int>(which);
            }
            for (size_t i = 0; i < 3; ++i) {
                ASSERT_EQ(lists[i].size(), expected[i].size());
                ASSERT_TRUE(std::ranges::equal(contents(lists[i]), expected[i]))
                    << "seed " << seed << " step " << step;
                ASSERT_EQ(lists[i].back(), expected[i].empty() ? List::none : expected[i].back());
            }
        }
    }
}

#ifndef NDEBUG
TEST_F(IndexListTest, ErasingWhatIsInNoListIsCaught) {
    List list{pool_};
    list.push_back(1);
    list.push_back(2);
    list.erase(2);
    EXPECT_DEATH(list.erase(2), "Assertion");
}
#endif

}  // namespace
}  // namespace pollux::tcp
