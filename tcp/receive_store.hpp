// ReceiveStore: what one connection has received and its application has not: bytes in order that stay unread, and
// ranges that came out of order. A connection takes a store when it needs one and gives it back when it is empty.
//
//        unread (in order)     rcv.nxt        range 0            range 1
//   ...[===================]------|------[==============)----[=======)------> sequence numbers
//
// Ranges are sorted, disjoint and never touch. Their number and the chunks of one store are bounded; out-of-order
// data may use only three quarters of all chunks, so that data in order keeps moving (RFC 9293 section 3.10.7.4, E of
// the conformance table; SegmentSmack).
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "tcp/chunks.hpp"
#include "tcp/pool.hpp"
#include "tcp/segment.hpp"
#include "tcp/seq_num.hpp"

namespace pollux::tcp {

struct ReceiveStore {
    static constexpr uint32_t max_ranges = 64;
    struct Range {
        SeqNum first, end;
        ChunkList chunks;
        bool unreported = false;  // no SACK block has told of it as it is now
    };

    ChunkList unread{};
    uint32_t unread_bytes = 0;
    uint32_t chunk_count = 0;
    SeqNum fin_at;  // where the stream ends, when has_fin: a FIN that came ahead of data
    bool has_fin = false;
    uint8_t range_count = 0;
    uint8_t unreported = 0;           // ranges that are
    std::array<SeqNum, 4> recent{};  // points in the ranges that grew last, newest first (RFC 2018 section 4)
    std::array<Range, max_ranges> ranges{};

    bool empty() const { return unread_bytes == 0 && range_count == 0 && !has_fin; }
    uint32_t out_of_order_bytes() const {
        uint32_t bytes = 0;
        for (uint32_t i = 0; i < range_count; ++i) bytes += ranges[i].end.since(ranges[i].first);
        return bytes;
    }
};

class ReceiveStores {
public:
    static constexpr uint32_t none = ~0u;

    /// `ranges_limit`: out-of-order ranges of one store; `chunk_limit`: chunks of one store.
    ReceiveStores(uint32_t capacity, Chunks& chunks, uint32_t ranges_limit, uint32_t chunk_limit)
        : stores_(capacity, "receive stores"),
          chunks_(chunks),
          ranges_limit_(std::min(ranges_limit, ReceiveStore::max_ranges)),
          chunk_limit_(chunk_limit) {}

    uint32_t take() { return stores_.take(); }
    /// Frees the store with all it holds.
    void give(uint32_t index);
    ReceiveStore& operator[](uint32_t index) { return stores_[index]; }
    const ReceiveStore& operator[](uint32_t index) const { return stores_[index]; }
    uint32_t in_use() const { return stores_.size(); }
    uint32_t capacity() const { return stores_.capacity(); }
    size_t memory_bytes() const { return stores_.memory_bytes(); }

    /// Appends bytes in order; false, and nothing done, when chunks do not suffice.
    [[nodiscard]] bool append(ReceiveStore& store, std::span<const std::byte> bytes);
    /// Keeps [at, at + size) until the gap before it closes. Bytes that are there already stay as they are. False,
    /// and nothing done, when ranges or chunks do not suffice.
    [[nodiscard]] bool insert(ReceiveStore& store, SeqNum at, std::span<const std::byte> bytes);
    /// Moves what begins at or before `next` to the unread bytes; returns the new end of the data in order.
    SeqNum join(ReceiveStore& store, SeqNum next);
    /// Writes SACK blocks, what is unreported first, and of that the range that grew last; how many (RFC 2018 section
    /// 4). What they name is reported with that.
    uint8_t report(ReceiveStore& store, std::span<SackBlock> blocks);
    /// What is there already of [at, end), which begins at or beyond the data in order: the first contiguous part, or
    /// an empty block.
    static SackBlock overlap(const ReceiveStore& store, SeqNum at, SeqNum end);
    /// Forgets what is beyond a gap, and a FIN there.
    void drop_out_of_order(ReceiveStore& store);
    /// The first contiguous part of the unread bytes.
    std::span<const std::byte> front(const ReceiveStore& store) const {
        return store.unread_bytes == 0 ? std::span<const std::byte>{} : chunks_.bytes(store.unread.head);
    }
    void consume(ReceiveStore& store, uint32_t bytes) {
        store.chunk_count -= chunks_.drop_front(store.unread, bytes);
        store.unread_bytes -= bytes;
    }

private:
    bool may_take(const ReceiveStore& store, uint32_t chunks, bool in_order) const;
    static void mark(ReceiveStore& store, ReceiveStore::Range& range, bool unreported) {
        store.unreported = static_cast<uint8_t>(store.unreported + unreported - range.unreported);
        range.unreported = unreported;
    }

    Pool<ReceiveStore> stores_;
    Chunks& chunks_;
    uint32_t ranges_limit_, chunk_limit_;
};

}  // namespace pollux::tcp
