// ReadyRing: connections that want to send, in turn. A connection stands in it at most once (ConnFlags::ready), so a
// ring as large as the connection pool never overflows.
#pragma once

#include <bit>
#include <cassert>
#include <cstdint>

#include "tcp/memory_block.hpp"

namespace pollux::tcp {

class ReadyRing {
public:
    explicit ReadyRing(uint32_t capacity)
        : mask_(std::bit_ceil(capacity == 0 ? 1u : capacity) - 1),
          block_((size_t{mask_} + 1) * sizeof(uint32_t), "the ready ring"),
          slots_(reinterpret_cast<uint32_t*>(block_.data())) {}

    bool empty() const { return head_ == tail_; }
    uint32_t size() const { return tail_ - head_; }
    void push_back(uint32_t index) {
        assert(size() <= mask_);
        slots_[tail_++ & mask_] = index;
    }
    void push_front(uint32_t index) {
        assert(size() <= mask_);
        slots_[--head_ & mask_] = index;
    }
    uint32_t pop_front() { return slots_[head_++ & mask_]; }
    uint32_t front() const { return slots_[head_ & mask_]; }
    size_t memory_bytes() const { return block_.size(); }

private:
    uint32_t mask_;
    uint32_t head_ = 0, tail_ = 0;
    MemoryBlock block_;
    uint32_t* slots_;
};

}  // namespace pollux::tcp
