// Pool: a fixed number of equal records in one block, named by 32-bit indices.
//
// Everything is reserved at start and nothing is touched before it is taken: records that were never used cost no
// memory. Freed records are taken again last in, first out, while their cache lines are still warm. A freed record
// keeps its contents until it is taken again, so that a stale handle can be checked against the generation in it.
// Running out is an answer (`none`), which the caller turns into a verdict.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "tcp/memory_block.hpp"

namespace pollux::tcp {

template <class T>
class Pool {
    static_assert(std::is_trivially_destructible_v<T>, "records are dropped, never destroyed");
    static_assert(alignof(T) <= MemoryBlock::small_page && alignof(T) % alignof(uint32_t) == 0);

public:
    static constexpr uint32_t none = ~uint32_t{0};
    static constexpr uint32_t max_capacity = uint32_t{1} << 30;

    explicit Pool(uint32_t capacity, const char* purpose = "a pool")
        : block_(size_t{checked(capacity, purpose)} * (sizeof(T) + sizeof(uint32_t)), purpose),
          records_(reinterpret_cast<T*>(block_.data())),
          links_(reinterpret_cast<uint32_t*>(block_.data() + size_t{capacity} * sizeof(T))),
          capacity_(capacity) {}
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    /// The index of a value-initialised record, or `none` when all are in use.
    uint32_t take() {
        uint32_t index = first_free_;
        if (index != none) {
            first_free_ = links_[index];
        } else {
            if (touched_ == capacity_) return none;
            index = touched_++;
        }
        links_[index] = taken;
        ++in_use_;
        std::construct_at(records_ + index);
        return index;
    }

    void give(uint32_t index) {
        assert(is_taken(index) && "given back twice, or never taken");
        links_[index] = first_free_;
        first_free_ = index;
        --in_use_;
    }

    /// The record at `index`, which has been taken at least once; a freed record still holds what it held.
    T& operator[](uint32_t index) {
        assert(index < touched_);
        return records_[index];
    }
    const T& operator[](uint32_t index) const {
        assert(index < touched_);
        return records_[index];
    }

    bool is_taken(uint32_t index) const { return index < touched_ && links_[index] == taken; }

    /// Brings `lines` cache lines of the record near, starting with line `first`.
    void prefetch(uint32_t index, size_t lines = 1, size_t first = 0) const {
        const std::byte* const record = reinterpret_cast<const std::byte*>(records_ + index);
        for (size_t line = first; line < first + lines; ++line) __builtin_prefetch(record + line * 64);
    }

    uint32_t size() const { return in_use_; }
    uint32_t capacity() const { return capacity_; }
    bool is_full() const { return in_use_ == capacity_; }
    /// Every index that was ever taken is below this: the bound for a walk over all records with is_taken().
    uint32_t high_water() const { return touched_; }
    size_t memory_bytes() const { return block_.size(); }

private:
    static constexpr uint32_t taken = none - 1;

    static uint32_t checked(uint32_t capacity, const char* purpose) {
        if (capacity <= max_capacity) return capacity;
        throw std::runtime_error("asked for " + std::to_string(capacity) + " records of " + purpose +
                                 ", at most 2^30 are possible");
    }

    MemoryBlock block_;
    T* records_;
    uint32_t* links_;  // per record: `taken`, or the next free index
    uint32_t capacity_;
    uint32_t touched_ = 0;  // records below have been taken at least once
    uint32_t first_free_ = none;
    uint32_t in_use_ = 0;
};

}  // namespace pollux::tcp
