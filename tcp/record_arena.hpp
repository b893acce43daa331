// RecordArena: rings of records in blocks of a power of two, cut from one block of memory that is reserved at start.
//
// A buddy allocator: a block of 2^k records begins at a multiple of 2^k; two free neighbours that are halves of one
// larger block become that block again. Taking and giving cost at most one step per power of two, and running out is
// an answer.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "tcp/memory_block.hpp"

namespace pollux::tcp {

template <class Record>
class RecordArena {
    static_assert(std::is_trivially_copyable_v<Record>);

public:
    static constexpr uint32_t none = ~0u;
    static constexpr uint32_t least_order = 3;  // 8 records
    static constexpr uint32_t orders = 31;

    explicit RecordArena(uint32_t records, const char* purpose)
        : capacity_(records >> least_order << least_order),
          block_(size_t{capacity_} * sizeof(Record), purpose),
          records_(reinterpret_cast<Record*>(block_.data())),
          links_(capacity_ >> least_order) {
        free_.fill(none);
        // The largest aligned blocks that fit, from the front.
        uint32_t at = 0;
        while (at < capacity_) {
            uint32_t order = static_cast<uint32_t>(std::bit_width(capacity_ - at)) - 1;
            if (at != 0) order = std::min(order, static_cast<uint32_t>(std::countr_zero(at)));
            put(at, order);
            at += 1u << order;
        }
    }

    /// Where a block of 2^`order` records begins, or `none`.
    uint32_t take(uint32_t order) {
        uint32_t found = order;
        while (found < orders && free_[found] == none) ++found;
        if (found == orders) return none;
        const uint32_t at = free_[found];
        remove(at, found);
        while (found > order) {
            --found;
            put(at + (1u << found), found);  // the upper half stays
        }
        in_use_ += 1u << order;
        return at;
    }
    void give(uint32_t at, uint32_t order) {
        assert(in_use_ >= 1u << order);
        in_use_ -= 1u << order;
        for (; order + 1 < orders; ++order) {
            const uint32_t buddy = at ^ (1u << order);
            if (buddy + (1u << order) > capacity_ || links_[buddy >> least_order].order != order + 1) break;
            remove(buddy, order);
            at &= ~(1u << order);
        }
        put(at, order);
    }

    Record* at(uint32_t index) { return records_ + index; }
    uint32_t in_use() const { return in_use_; }
    uint32_t capacity() const { return capacity_; }
    size_t memory_bytes() const { return block_.size() + links_.size() * sizeof(Link); }

private:
    struct Link {
        uint32_t prev = none, next = none;
        uint32_t order = 0;  // of the free block that begins here, and one; 0: none does
    };

    void put(uint32_t at, uint32_t order) {
        links_[at >> least_order] = {none, free_[order], order + 1};
        if (free_[order] != none) links_[free_[order] >> least_order].prev = at;
        free_[order] = at;
    }
    void remove(uint32_t at, uint32_t order) {
        Link& link = links_[at >> least_order];
        if (link.prev == none)
            free_[order] = link.next;
        else
            links_[link.prev >> least_order].next = link.next;
        if (link.next != none) links_[link.next >> least_order].prev = link.prev;
        link.order = 0;
    }

    uint32_t capacity_;
    MemoryBlock block_;
    Record* records_;
    std::vector<Link> links_;  // one per 2^least_order records
    std::array<uint32_t, orders> free_{};
    uint32_t in_use_ = 0;
};

}  // namespace pollux::tcp
