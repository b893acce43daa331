// The queue against a plain vector of bytes: what is gathered at any offset is what was queued there, and every pin and
// chunk comes back when its last byte is acknowledged, not earlier.
#include "tcp/send_queue.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace pollux::tcp {
namespace {

class SendQueueTest : public testing::Test {
protected:
    Chunks chunks{64};
    Pins pins{16};
    SendQueues queues{128, chunks, pins};
    TxBatch batch{64};
    Conn c{};
    std::vector<std::byte> memory = [] {
        std::vector<std::byte> bytes(50'000);
        for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte(i * 31 >> 3);
        return bytes;
    }();

    std::vector<std::byte> gathered(uint32_t offset, uint32_t size) {
        batch.reset();
        batch.add();
        const uint32_t got = queues.gather(c, offset, size, batch);
        std::vector<std::byte> bytes;
        for (const Piece piece : batch.pieces(batch.segments()[0])) bytes.insert(bytes.end(), piece.begin(), piece.end());
        EXPECT_EQ(bytes.size(), got);
        EXPECT_EQ(batch.segments()[0].payload_size, got);
        return bytes;
    }
};

TEST_F(SendQueueTest, GathersExactlyTheQueuedBytesAtEveryOffset) {
    std::mt19937 random(7);
    std::vector<std::byte> queued;
    for (int step = 0; step < 4'000; ++step) {
        if (random() % 2 == 0 && queues.has_room(c, 1)) {
            const uint32_t size = 1 + static_cast<uint32_t>(random()) % 700;
            const size_t at = random() % (memory.size() - size);
            queues.push(c, {memory.data() + at, size, 1 + static_cast<uint32_t>(random()) % 3});
            queued.insert(queued.end(), memory.begin() + static_cast<long>(at), memory.begin() + static_cast<long>(at + size));
        } else if (!queued.empty()) {
            const uint32_t acked = 1 + static_cast<uint32_t>(random() % queued.size());
            queues.acknowledge(c, acked);
            queued.erase(queued.begin(), queued.begin() + acked);
        }
        ASSERT_EQ(c.queued(), queued.size());
        if (queued.empty()) {
            ASSERT_EQ(pins.total(), 0u);
            ASSERT_EQ(queues.in_use(), 0u);
            continue;
        }
        const uint32_t offset = static_cast<uint32_t>(random() % queued.size());
        const uint32_t size = 1 + static_cast<uint32_t>(random() % (queued.size() - offset));
        const auto got = gathered(offset, size);
        ASSERT_FALSE(got.empty());
        ASSERT_TRUE(std::equal(got.begin(), got.end(), queued.begin() + offset));
    }
    queues.clear(c);
    EXPECT_EQ(pins.total(), 0u);
    EXPECT_EQ(queues.in_use(), 0u);
}

TEST_F(SendQueueTest, APinIsHeldUntilTheLastByteIsAcknowledged) {
    queues.push(c, {memory.data(), 100, 5});
    EXPECT_TRUE(pins.in_use(5));
    queues.acknowledge(c, 99);
    EXPECT_TRUE(pins.in_use(5));
    queues.acknowledge(c, 1);
    EXPECT_FALSE(pins.in_use(5));
}

TEST_F(SendQueueTest, ACopiedPieceGivesItsChunkBack) {
    ChunkList list;
    chunks.append(list, std::span(memory).first(300));
    queues.push(c, {chunks.bytes(list.head).data(), 300, list.head | SendPiece::chunk_owner});
    EXPECT_EQ(gathered(10, 50), std::vector<std::byte>(memory.begin() + 10, memory.begin() + 60));
    queues.acknowledge(c, 300);
    EXPECT_EQ(chunks.in_use(), 0u);
}

TEST_F(SendQueueTest, ASegmentGathersABoundedNumberOfPieces) {
    for (int i = 0; i < 40; ++i) queues.push(c, {memory.data() + i, 1, 1});
    EXPECT_EQ(gathered(0, 40).size(), SendQueues::max_pieces);
}

TEST_F(SendQueueTest, RoomIsOneInlinePieceAndTheFreeEntries) {
    EXPECT_TRUE(queues.has_room(c, 129));
    EXPECT_FALSE(queues.has_room(c, 130));
    queues.push(c, {memory.data(), 1, 1});
    EXPECT_FALSE(queues.has_room(c, 129));
}

}  // namespace
}  // namespace pollux::tcp
