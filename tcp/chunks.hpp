// Chunks: the pooled buffers for data that must be kept. A ChunkList is a run of bytes in order, spread over chunks;
// received data that stays unread, data out of order and copies to send are all made of them.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "tcp/pool.hpp"

namespace pollux::tcp {

struct ChunkList {
    uint32_t head = ~0u, tail = ~0u;
    constexpr bool empty() const { return head == ~0u; }
};

class Chunks {
public:
    static constexpr uint32_t chunk_size = 2048;
    static constexpr uint32_t none = ~0u;

    explicit Chunks(uint32_t capacity) : data_(capacity, "chunks"), meta_(capacity) {}

    /// An empty chunk, or `none`.
    uint32_t take() {
        const uint32_t chunk = data_.take();
        if (chunk != none) meta_[chunk] = {};
        return chunk;
    }
    void give(uint32_t chunk) { data_.give(chunk); }
    uint32_t in_use() const { return data_.size(); }
    uint32_t free() const { return data_.capacity() - data_.size(); }
    uint32_t capacity() const { return data_.capacity(); }
    size_t memory_bytes() const { return data_.memory_bytes() + meta_.size() * sizeof(Meta); }

    /// What the chunk holds.
    std::span<const std::byte> bytes(uint32_t chunk) const {
        const Meta& m = meta_[chunk];
        return {data_[chunk].bytes.data() + m.begin, size_t{m.end} - m.begin};
    }
    /// How many bytes fit behind what the chunk holds.
    uint32_t room(uint32_t chunk) const { return chunk_size - meta_[chunk].end; }
    /// How many chunks appending `size` bytes to `list` takes at most.
    uint32_t needed(const ChunkList& list, size_t size) const {
        const size_t room = list.empty() ? 0 : chunk_size - meta_[list.tail].end;
        return size <= room ? 0 : static_cast<uint32_t>((size - room + chunk_size - 1) / chunk_size);
    }
    /// Copies `bytes` behind the list's end and returns how many chunks that took. The caller has asked needed().
    uint32_t append(ChunkList& list, std::span<const std::byte> bytes) {
        uint32_t taken = 0;
        while (!bytes.empty()) {
            if (list.empty() || meta_[list.tail].end == chunk_size) {
                const uint32_t chunk = take();
                if (list.empty())
                    list.head = chunk;
                else
                    meta_[list.tail].next = chunk;
                list.tail = chunk;
                ++taken;
            }
            Meta& m = meta_[list.tail];
            const size_t size = std::min(bytes.size(), size_t{chunk_size} - m.end);
            std::memcpy(data_[list.tail].bytes.data() + m.end, bytes.data(), size);
            m.end = static_cast<uint16_t>(m.end + size);
            bytes = bytes.subspan(size);
        }
        return taken;
    }
    /// Puts `behind` behind `list`; copies small heads into room that is there, so that dust does not hold chunks.
    /// Returns how many chunks that freed.
    uint32_t concatenate(ChunkList& list, ChunkList behind) {
        uint32_t freed = 0;
        while (!list.empty() && !behind.empty() &&
               bytes(behind.head).size() <= size_t{chunk_size} - meta_[list.tail].end) {
            append(list, bytes(behind.head));
            const uint32_t next = meta_[behind.head].next;
            give(behind.head);
            behind.head = next;
            ++freed;
        }
        if (behind.empty()) return freed;
        if (list.empty())
            list.head = behind.head;
        else
            meta_[list.tail].next = behind.head;
        list.tail = behind.tail;
        return freed;
    }
    /// Drops the first `size` bytes of the list and returns how many chunks that freed.
    uint32_t drop_front(ChunkList& list, size_t size) {
        uint32_t freed = 0;
        while (size > 0) {
            Meta& m = meta_[list.head];
            const size_t here = std::min(size, size_t{m.end} - m.begin);
            m.begin = static_cast<uint16_t>(m.begin + here);
            size -= here;
            if (m.begin < m.end) break;
            const uint32_t next = m.next;
            give(list.head);
            list.head = next;
            if (next == none) list.tail = none;
            ++freed;
        }
        return freed;
    }
    void release(ChunkList& list) {
        while (!list.empty()) {
            const uint32_t next = meta_[list.head].next;
            give(list.head);
            list.head = next;
        }
        list.tail = none;
    }

private:
    struct Data {
        Data() {}  // not cleared: what is read has been written
        std::array<std::byte, chunk_size> bytes;
    };
    struct Meta {
        uint32_t next = none;
        uint16_t begin = 0, end = 0;
    };

    // The data pool is padded to the alignment of Pool's link array by chunk_size itself.
    struct alignas(64) AlignedData : Data {};
    Pool<AlignedData> data_;
    std::vector<Meta> meta_;
};

}  // namespace pollux::tcp
