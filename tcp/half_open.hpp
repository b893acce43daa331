// HalfOpen: a connection in SYN-RECEIVED that came from LISTEN, in one cache line: all that is known before the third
// segment of the handshake. It holds no buffer and answers repeated SYNs with the same ISN.
//
// Each retransmission level has one constant timeout (1, 2, 4, 8, 16 s), hence one first-in-first-out list a level
// and no wheel: the front is always the earliest (RFC 6298 section 2.1, RFC 9293 section 3.8.3).
#pragma once

#include <array>
#include <cstdint>

#include "tcp/index_list.hpp"
#include "tcp/pool.hpp"
#include "tcp/segment.hpp"
#include "tcp/time.hpp"

namespace pollux::tcp {

struct alignas(64) HalfOpen {
    FourTuple flow{};
    SeqNum irs;  // the peer's initial sequence number
    SeqNum iss;  // ours
    uint32_t ts_recent = 0;
    uint16_t mss = 0;  // as the peer announced it; 0: it did not
    PathId path = unresolved_path;
    Present options = Present::none;  // offered by the peer and wanted by us; and the marks below
    uint8_t snd_scale : 4 = 0;
    uint8_t level : 4 = 0;  // SYN-ACK retransmissions so far
    uint16_t due = 0;       // deadline in units of 4 ms, modulo 2^16
    uint32_t next = ~0u, prev = ~0u;

    static constexpr Present stands_to_send{0x80};    // on the list of SYN-ACKs to repeat
    static constexpr Present syn_was_repeated{0x40};  // by the peer: our answer may have been lost
    static constexpr Present ecn{0x20};               // asked for on one SYN and agreed to on another
    static constexpr Present ecn_withdrawn{0x10};     // and then the SYN came again without asking

    /// Milliseconds until the deadline, negative when it has passed.
    constexpr int32_t due_in_ms(Tick now) const {
        return static_cast<int16_t>(due - static_cast<uint16_t>(now.raw() / 4)) * 4;
    }
    constexpr void set_due(Tick now, uint32_t ms) { due = static_cast<uint16_t>((now.raw() + ms + 3) / 4); }
};
static_assert(sizeof(HalfOpen) == 64, "one cache line");

class HalfOpenStore {
public:
    static constexpr uint32_t none = ~0u;
    static constexpr uint32_t max_level = 15;

    explicit HalfOpenStore(uint32_t capacity)
        : records_(capacity, "half-open records"), waiting_(make_lists(records_)), to_send_(records_) {}

    uint32_t take() { return records_.take(); }
    HalfOpen& operator[](uint32_t index) { return records_[index]; }
    const HalfOpen& operator[](uint32_t index) const { return records_[index]; }
    void prefetch(uint32_t index) const { records_.prefetch(index); }
    uint32_t in_use() const { return records_.size(); }
    uint32_t capacity() const { return records_.capacity(); }
    uint32_t high_water() const { return records_.high_water(); }
    bool is_taken(uint32_t index) const { return records_.is_taken(index); }
    size_t memory_bytes() const { return records_.memory_bytes(); }
    /// Over half used: SYN-ACKs are repeated at most twice.
    bool crowded() const { return records_.size() > records_.capacity() / 2; }

    /// Waits `ms` for the completing ACK.
    void wait(uint32_t index, Tick now, uint32_t ms) {
        records_[index].set_due(now, ms);
        waiting_[records_[index].level].push_back(index);
    }
    /// The next record of this level whose time has come, taken out of its list and put on the list to send;
    /// `none` when there is none.
    uint32_t take_due(uint32_t level, Tick now) {
        const uint32_t index = waiting_[level].front();
        if (index == none || records_[index].due_in_ms(now) > 0) return none;
        waiting_[level].erase(index);
        records_[index].due = 0;
        to_send_.push_back(index);
        records_[index].options |= HalfOpen::stands_to_send;
        return index;
    }
    /// The first record whose SYN-ACK must be repeated; `none` when there is none.
    uint32_t first_to_send() const { return to_send_.front(); }
    void sent(uint32_t index) {
        to_send_.erase(index);
        HalfOpen& h = records_[index];
        h.options = h.options & ~HalfOpen::stands_to_send;
    }
    /// Ends the record.
    void give(uint32_t index) {
        if (stands_to_send(index))
            sent(index);
        else
            waiting_[records_[index].level].erase(index);
        records_.give(index);
    }
    /// Milliseconds until the earliest deadline; a large value when there is none.
    int32_t next_due_in_ms(Tick now) const {
        int32_t least = to_send_.empty() ? INT32_MAX : 0;
        for (const auto& list : waiting_) {
            if (!list.empty()) least = std::min(least, records_[list.front()].due_in_ms(now));
        }
        return least;
    }

private:
    using List = IndexList<HalfOpen>;
    template <size_t... Level>
    static std::array<List, sizeof...(Level)> make_lists(Pool<HalfOpen>& records, std::index_sequence<Level...>) {
        return {((void)Level, List{records})...};
    }
    static std::array<List, max_level + 1> make_lists(Pool<HalfOpen>& records) {
        return make_lists(records, std::make_index_sequence<max_level + 1>{});
    }
    bool stands_to_send(uint32_t index) const { return any(records_[index].options & HalfOpen::stands_to_send); }

    Pool<HalfOpen> records_;
    std::array<List, max_level + 1> waiting_;
    List to_send_;
};

}  // namespace pollux::tcp
