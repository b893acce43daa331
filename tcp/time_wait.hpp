// TimeWait: a connection in TIME-WAIT, in one cache line. It re-acknowledges a repeated FIN, keeps the tuple from
// being used too early, and knows what a newer SYN must exceed (RFC 9293 section 3.6.1, RFC 6191, RFC 1337).
//
// All wait 2 MSL, so one first-in-first-out list is the timer: its front is always the earliest. A full store
// recycles the front.
#pragma once

#include <cstdint>

#include "tcp/index_list.hpp"
#include "tcp/pool.hpp"
#include "tcp/segment.hpp"
#include "tcp/time.hpp"

namespace pollux::tcp {

struct alignas(64) TimeWait {
    FourTuple flow{};
    SeqNum rcv_nxt, snd_nxt;
    uint32_t ts_recent = 0;
    Tick ends_at;
    PathId path = unresolved_path;
    bool timestamps = false;
    uint8_t rcv_scale : 4 = 0;
    uint8_t doublings : 4 = 0;  // of the receive buffer
    uint32_t next = ~0u, prev = ~0u;
};
static_assert(sizeof(TimeWait) == 64, "one cache line");

class TimeWaitStore {
public:
    static constexpr uint32_t none = ~0u;

    explicit TimeWaitStore(uint32_t capacity) : records_(capacity, "TIME-WAIT records"), list_(records_) {}

    /// Waits until `ends_at`; `none` when the store is full.
    uint32_t take(Tick ends_at) {
        const uint32_t index = records_.take();
        if (index == none) return none;
        records_[index].ends_at = ends_at;
        list_.push_back(index);
        return index;
    }
    void restart(uint32_t index, Tick ends_at) {
        list_.erase(index);
        records_[index].ends_at = ends_at;
        list_.push_back(index);
    }
    void give(uint32_t index) {
        list_.erase(index);
        records_.give(index);
    }
    /// The record that ends first, or `none`.
    uint32_t front() const { return list_.front(); }
    TimeWait& operator[](uint32_t index) { return records_[index]; }
    const TimeWait& operator[](uint32_t index) const { return records_[index]; }
    void prefetch(uint32_t index) const { records_.prefetch(index); }
    uint32_t in_use() const { return records_.size(); }
    uint32_t capacity() const { return records_.capacity(); }
    uint32_t high_water() const { return records_.high_water(); }
    bool is_taken(uint32_t index) const { return records_.is_taken(index); }
    size_t memory_bytes() const { return records_.memory_bytes(); }

private:
    Pool<TimeWait> records_;
    IndexList<TimeWait> list_;
};

}  // namespace pollux::tcp
