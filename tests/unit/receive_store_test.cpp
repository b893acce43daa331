// The store against the simplest thing that could be right: an array of bytes with a mark for each that is there.
#include "tcp/receive_store.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace pollux::tcp {
namespace {

std::byte byte_at(uint32_t position) { return std::byte(position * 2654435761u >> 24); }

std::vector<std::byte> stretch(uint32_t first, uint32_t end) {
    std::vector<std::byte> bytes;
    for (uint32_t i = first; i < end; ++i) bytes.push_back(byte_at(i));
    return bytes;
}

std::vector<std::byte> drain(ReceiveStores& stores, ReceiveStore& store) {
    std::vector<std::byte> all;
    while (store.unread_bytes > 0) {
        const auto part = stores.front(store);
        all.insert(all.end(), part.begin(), part.end());
        stores.consume(store, static_cast<uint32_t>(part.size()));
    }
    return all;
}

class ReceiveStoreTest : public testing::Test {
protected:
    Chunks chunks{512};
    ReceiveStores stores{4, chunks, 64, 400};
    uint32_t index = stores.take();
    ReceiveStore& store() { return stores[index]; }
    static constexpr SeqNum start{0xffff'ff00};  // crosses the wrap
};

TEST_F(ReceiveStoreTest, AnyOrderOfAnyOverlappingPiecesGivesTheSameStream) {
    constexpr uint32_t total = 9'000;
    for (uint32_t seed = 1; seed <= 60; ++seed) {
        std::mt19937 random(seed);
        std::vector<bool> there(total);
        SeqNum next = start;
        std::vector<std::byte> delivered;
        while (next != start + total) {
            const uint32_t done = next.since(start);
            // One piece in six is the next in order.
            const auto ahead =
                random() % 6 == 0 ? 0u : static_cast<uint32_t>(random()) % std::min(total - done, 4'000u);
            const uint32_t first = done + ahead;
            const uint32_t end = std::min(total, first + 1 + static_cast<uint32_t>(random()) % 1'500);
            const auto bytes = stretch(first, end);
            if (first == done) {
                ASSERT_TRUE(stores.append(store(), bytes));
                next = stores.join(store(), next + (end - first));
            } else {
                ASSERT_TRUE(stores.insert(store(), start + first, bytes));
            }
            std::fill(there.begin() + first, there.begin() + end, true);

            uint32_t contiguous = done;
            while (contiguous < total && there[contiguous]) ++contiguous;
            if (first == done) {
                ASSERT_EQ(next.since(start), contiguous) << "seed " << seed;
            }
            const auto part = drain(stores, store());
            delivered.insert(delivered.end(), part.begin(), part.end());
            ASSERT_EQ(delivered.size(), next.since(start));

            // Ranges are exactly the runs of marks beyond what is in order.
            uint32_t runs = 0, bytes_beyond = 0;
            for (uint32_t i = next.since(start); i < total; ++i) {
                if (!there[i]) continue;
                ++bytes_beyond;
                if (i == 0 || !there[i - 1]) ++runs;
            }
            ASSERT_EQ(store().range_count, runs);
            ASSERT_EQ(store().out_of_order_bytes(), bytes_beyond);
        }
        ASSERT_EQ(delivered, stretch(0, total)) << "seed " << seed;
        ASSERT_TRUE(store().empty());
        ASSERT_EQ(chunks.in_use(), 0u) << "every chunk is given back";
        ASSERT_EQ(store().chunk_count, 0u);
    }
}

TEST_F(ReceiveStoreTest, OneByteSegmentsDoNotHoldAChunkEach) {
    for (uint32_t i = 1; i < 4'000; i += 2) {
        const auto one = stretch(i, i + 1);
        if (!stores.insert(store(), start + i, one)) break;  // the number of ranges is bounded
    }
    EXPECT_EQ(store().range_count, ReceiveStore::max_ranges);
    for (uint32_t i = 2; i < 128; i += 2) ASSERT_TRUE(stores.insert(store(), start + i, stretch(i, i + 1)));
    EXPECT_EQ(store().range_count, 1u);
    EXPECT_EQ(store().chunk_count, 1u) << "127 bytes that touch share one chunk";
}

TEST_F(ReceiveStoreTest, OutOfOrderDataLeavesAQuarterOfTheChunksForDataInOrder) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < 60 && stores.insert(store(), start + (1 + i * 40'000), stretch(0, 16'384)); ++i) ++kept;
    EXPECT_GE(chunks.free(), chunks.capacity() / 4 - 8);
    EXPECT_LT(kept, 60u);
    const uint32_t other = stores.take();
    EXPECT_TRUE(stores.append(stores[other], stretch(0, 10'000))) << "another connection's data in order is taken";
}

TEST_F(ReceiveStoreTest, AStoreFullOfRangesStillTakesTheDataThatClosesItsFirstGap) {
    ReceiveStores few(1, chunks, 64, 10);
    ReceiveStore& full = few[few.take()];
    uint32_t at = 1'000;
    while (few.insert(full, start + at, stretch(at, at + 100))) at += 200;
    EXPECT_TRUE(few.append(full, stretch(0, 1'000)));
    EXPECT_EQ(few.join(full, start + 1'000), start + 1'100);
}

TEST_F(ReceiveStoreTest, RefusingLeavesEverythingAsItWas) {
    ASSERT_TRUE(stores.insert(store(), start + 10, stretch(10, 20)));
    const uint32_t used = chunks.in_use();
    EXPECT_FALSE(stores.insert(store(), start + 15, stretch(15, 1'000'000)));
    EXPECT_EQ(chunks.in_use(), used);
    EXPECT_EQ(store().out_of_order_bytes(), 10u);
    EXPECT_FALSE(stores.append(store(), stretch(0, 1'000'000)));
    EXPECT_EQ(store().unread_bytes, 0u);
}

TEST_F(ReceiveStoreTest, GivingTheStoreBackFreesUnreadAndOutOfOrderData) {
    ASSERT_TRUE(stores.append(store(), stretch(0, 5'000)));
    ASSERT_TRUE(stores.insert(store(), start + 9'000, stretch(9'000, 12'000)));
    stores.give(index);
    EXPECT_EQ(chunks.in_use(), 0u);
    EXPECT_EQ(stores.in_use(), 0u);
}

}  // namespace
}  // namespace pollux::tcp
