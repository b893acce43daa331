// TimerWheel: one hierarchical wheel of pool indices per core, in ticks of one millisecond.
//
// A node has one entry, at its earliest deadline. Nearly every deadline is moved later before it is reached (each ACK
// does so), hence a later deadline costs nothing here: the caller writes it into the node, and when the wheel gets to
// the old one it asks (`expire` answers with the deadline that holds now). Only an earlier deadline moves the entry.
//
// Four levels of 256 slots, one for each byte of a tick. An entry stands on the level of the highest byte in which
// its tick differs from the current one, in the slot that this byte names:
//
//     current 00 00 12 34    due 00 00 12 90: level 0, slot 90    due 00 00 17 02: level 1, slot 17
//
// When time reaches 00 00 17 00, slot 17 of level 1 is cascaded: its entries move to level 0. Bitmaps of occupied
// slots let time jump over empty stretches.
//
// A slot is a queue of cells in chunks, not a list through the nodes: following links from node to node would wait
// for memory at each, while cells name the nodes ahead of time, so that they can be prefetched (about
// three times faster in bench/timer_wheel). A node knows its slot and cell; when it leaves, the last of its
// slot fills the gap. Slots stay dense, memory is bounded by the number of nodes, and work may stop after any entry
// and be continued in the next turn.
//
// Entries of one tick are served in no particular order, entries of different ticks in theirs. Ticks wrap after 49.7
// days. A deadline lies less than 2^31 ms ahead; one further away counts as past.
#pragma once

#include <array>
#include <bit>
#include <cassert>
#include <cstdint>
#include <optional>

#include "tcp/pool.hpp"
#include "tcp/time.hpp"

namespace pollux::tcp {

/// The part of the wheel that knows no nodes: where time stands and which slots are occupied.
class WheelCalendar {
public:
    static constexpr uint32_t levels = 4;
    static constexpr uint32_t slots_per_level = 256;
    static constexpr uint32_t slot_count = levels * slots_per_level;

    uint32_t current() const { return current_; }
    void set_current(uint32_t tick) { current_ = tick; }

    /// The slot for an entry due at `tick`, at or after the current one.
    uint32_t slot_for(uint32_t tick) const {
        const auto level = static_cast<uint32_t>(std::bit_width((tick ^ current_) | 1) - 1) / 8;
        return slot_at(level, tick);
    }
    /// The slot of `level` that the current tick names: on level 0 what is due now, above it what must be cascaded
    /// now.
    uint32_t current_slot(uint32_t level) const { return slot_at(level, current_); }

    void set_occupied(uint32_t slot) { occupied_[slot / 64] |= bit(slot); }
    void set_empty(uint32_t slot) { occupied_[slot / 64] &= ~bit(slot); }
    bool is_occupied(uint32_t slot) const { return (occupied_[slot / 64] & bit(slot)) != 0; }

    /// Whether there is work at the current tick.
    bool has_work_now() const {
        return is_occupied(current_slot(0)) || is_occupied(current_slot(1)) || is_occupied(current_slot(2)) ||
               is_occupied(current_slot(3));
    }
    /// The first tick at or after the current one with an entry due or a slot to cascade.
    std::optional<uint32_t> next_work() const;

private:
    static constexpr uint64_t bit(uint32_t slot) { return uint64_t{1} << slot % 64; }
    static constexpr uint32_t slot_at(uint32_t level, uint32_t tick) {
        return level * slots_per_level + (tick >> 8 * level) % slots_per_level;
    }

    std::array<uint64_t, slot_count / 64> occupied_{};
    uint32_t current_ = 0;
};

/// Node has `Tick armed_at`, which is unset in a new node and whenever the node is not in the wheel, and two numbers
/// that mean something only while it is: its slot and its cell. All three belong to the wheel.
template <class Node, uint32_t Node::*slot_of = &Node::timer_slot, uint32_t Node::*cell_of = &Node::timer_cell>
class TimerWheel {
public:
    /// As many entries as `nodes` has records; all memory is reserved here.
    explicit TimerWheel(Pool<Node>& nodes)
        : nodes_(nodes),
          chunks_(nodes.capacity() / Chunk::cells + 2 * WheelCalendar::slot_count, "the timer wheel") {}
    TimerWheel(const TimerWheel&) = delete;
    TimerWheel& operator=(const TimerWheel&) = delete;

    /// The tick up to which everything has been served.
    Tick current() const { return Tick{calendar_.current()}; }

    /// Sees to it that `expire` is called for the node at `deadline` or before. A deadline at or before the current
    /// tick is served by the next advance(); one that is given by `expire` itself, one tick later, so that no node is
    /// served twice in a tick.
    void arm(uint32_t index, Tick deadline) {
        assert(deadline.is_set());
        Node& node = nodes_[index];
        if (node.armed_at.is_set()) {
            if (node.armed_at.at_or_before(deadline)) return;
            remove(node);
        } else {
            ++size_;
        }
        if (!started_) start_before(deadline);
        node.armed_at = not_past(deadline);
        append(index, node, calendar_.slot_for(node.armed_at.raw()));
    }

    /// Takes the node out of the wheel, if it is there.
    void cancel(uint32_t index) {
        Node& node = nodes_[index];
        if (!node.armed_at.is_set()) return;
        remove(node);
        node.armed_at = Tick{};
        --size_;
    }

    bool is_armed(uint32_t index) const { return nodes_[index].armed_at.is_set(); }

    /// For each entry due at or before `now`: takes it out and calls `Tick expire(uint32_t index)`, which returns the
    /// node's next deadline (unset: none). `expire` may arm, cancel and give back any node. Serving or cascading
    /// one entry costs one unit of `budget`; returns 0 when all work up to `now` is done, else 1.
    template <class Expire>
    uint32_t advance(Tick now, uint32_t budget, Expire&& expire) {
        assert(!serving_ && now.is_set());
        if (size_ == 0) {
            calendar_.set_current(now.raw());
            started_ = true;
            return 0;
        }
        if (now.raw() == calendar_.current() && !calendar_.has_work_now()) return 0;
        for (;;) {
            const auto work = calendar_.next_work();
            if (!work || !Tick{*work}.at_or_before(now)) {
                if (Tick{calendar_.current()}.before(now)) calendar_.set_current(now.raw());
                return 0;
            }
            calendar_.set_current(*work);
            if (!cascade(budget) || !serve(budget, expire)) return 1;
        }
    }

    /// The earliest tick at which advance() has work; unset when the wheel is empty. For entries more than a level 0
    /// turn away it is the tick of their cascade.
    Tick next_due() const {
        const auto work = calendar_.next_work();
        if (!work) return {};
        return Tick{*work == 0 ? 1 : *work};
    }

    uint32_t size() const { return size_; }
    size_t memory_bytes() const { return sizeof(*this) + chunks_.memory_bytes(); }

    /// For tests: walks all slots.
    bool check_invariants() const;

private:
    // 256 bytes. Each slot has at most two chunks that are not full, its first and its last.
    struct alignas(64) Chunk {
        static constexpr uint32_t cells = 62;
        Chunk() {}  // cells are written before they are read
        uint32_t next, prev;
        std::array<uint32_t, cells> nodes;
    };
    static_assert(sizeof(Chunk) == 256);
    // The entries are those from `head` up to `tail`. A cell is named chunk << 6 | position.
    struct Slot {
        uint32_t head_chunk = 0, tail_chunk = 0;
        uint32_t head = 0, tail = 0;  // positions; in an occupied slot head < cells and tail > 0
    };
    static constexpr uint32_t look_ahead = 16;  // how many entries before its turn a node is prefetched

    Tick not_past(Tick deadline) const {
        const Tick current{calendar_.current()};
        if (!deadline.at_or_before(current)) return deadline;
        const uint32_t tick = current.raw() + (serving_ ? 1 : 0);
        return Tick{tick == 0 ? 1 : tick};
    }

    // Before the first advance() the time is unknown: start far enough back that this deadline and its neighbours lie
    // ahead.
    void start_before(Tick deadline) {
        calendar_.set_current(deadline.raw() - (uint32_t{1} << 30));
        started_ = true;
    }

    void append(uint32_t index, Node& node, uint32_t slot_number) {
        Slot& slot = slots_[slot_number];
        if (!calendar_.is_occupied(slot_number)) {
            // Never `none`: the constructor reserved the most that can be needed.
            const uint32_t chunk = chunks_.take();
            slot = {.head_chunk = chunk, .tail_chunk = chunk, .head = 0, .tail = 0};
            calendar_.set_occupied(slot_number);
        } else if (slot.tail == Chunk::cells) {
            const uint32_t chunk = chunks_.take();
            chunks_[slot.tail_chunk].next = chunk;
            chunks_[chunk].prev = slot.tail_chunk;
            slot.tail_chunk = chunk;
            slot.tail = 0;
        }
        node.*slot_of = slot_number;
        node.*cell_of = slot.tail_chunk << 6 | slot.tail;
        chunks_[slot.tail_chunk].nodes[slot.tail++] = index;
    }

    // The last entry of the slot takes the place of this one.
    void remove(const Node& node) {
        Slot& slot = slots_[node.*slot_of];
        const uint32_t cell = node.*cell_of;
        const uint32_t last = chunks_[slot.tail_chunk].nodes[--slot.tail];
        chunks_[cell >> 6].nodes[cell & 63] = last;
        const uint32_t slot_number = node.*slot_of;
        nodes_[last].*cell_of = cell;
        if (slot.head_chunk == slot.tail_chunk) {
            if (slot.head == slot.tail) release(slot_number);
        } else if (slot.tail == 0) {
            const uint32_t prev = chunks_[slot.tail_chunk].prev;
            chunks_.give(slot.tail_chunk);
            slot.tail_chunk = prev;
            slot.tail = Chunk::cells;
        }
    }

    // Takes out the first entry of an occupied slot and brings a later one near.
    uint32_t pop(uint32_t slot_number) {
        Slot& slot = slots_[slot_number];
        const uint32_t index = chunks_[slot.head_chunk].nodes[slot.head];
        prefetch(slot, look_ahead);
        ++slot.head;
        if (slot.head_chunk == slot.tail_chunk) {
            if (slot.head == slot.tail) release(slot_number);
        } else if (slot.head == Chunk::cells) {
            const uint32_t next = chunks_[slot.head_chunk].next;
            chunks_.give(slot.head_chunk);
            slot.head_chunk = next;
            slot.head = 0;
        }
        return index;
    }

    // Gives back the only chunk of a slot that has become empty.
    void release(uint32_t slot_number) {
        chunks_.give(slots_[slot_number].head_chunk);
        calendar_.set_empty(slot_number);
    }

    // Brings the entry near that stands `ahead` places behind the first, if there is one.
    void prefetch(const Slot& slot, uint32_t ahead) const {
        uint32_t at = slot.head + ahead;
        uint32_t chunk = slot.head_chunk;
        if (at >= Chunk::cells && chunk != slot.tail_chunk) {
            at -= Chunk::cells;
            chunk = chunks_[chunk].next;
        }
        if (at >= (chunk == slot.tail_chunk ? slot.tail : Chunk::cells)) return;
        const uint32_t index = chunks_[chunk].nodes[at];
        __builtin_prefetch(&nodes_[index].armed_at, 1);
        __builtin_prefetch(&(nodes_[index].*slot_of), 1);
    }
    void prefetch_first(uint32_t slot_number) const {
        if (!calendar_.is_occupied(slot_number)) return;
        for (uint32_t ahead = 0; ahead < look_ahead; ++ahead) prefetch(slots_[slot_number], ahead);
    }

    // Moves what stands above level 0 in the slots of the current tick to its place below; false when the budget
    // ended.
    bool cascade(uint32_t& budget) {
        for (uint32_t level = WheelCalendar::levels - 1; level > 0; --level) {
            const uint32_t slot = calendar_.current_slot(level);
            prefetch_first(slot);
            while (calendar_.is_occupied(slot)) {
                if (budget == 0) return false;
                --budget;
                const uint32_t index = pop(slot);
                Node& node = nodes_[index];
                append(index, node, calendar_.slot_for(node.armed_at.raw()));
            }
        }
        return true;
    }

    // Expires the entries of the current tick; false when the budget ended.
    template <class Expire>
    bool serve(uint32_t& budget, Expire&& expire) {
        const uint32_t slot = calendar_.current_slot(0);
        prefetch_first(slot);
        while (calendar_.is_occupied(slot)) {
            if (budget == 0) return false;
            --budget;
            const uint32_t index = pop(slot);
            nodes_[index].armed_at = Tick{};
            --size_;
            serving_ = true;
            const Tick next = expire(index);
            if (next.is_set()) arm(index, next);
            serving_ = false;
        }
        return true;
    }

    Pool<Node>& nodes_;
    WheelCalendar calendar_;
    uint32_t size_ = 0;
    bool started_ = false;
    bool serving_ = false;  // inside `expire`
    Pool<Chunk> chunks_;
    std::array<Slot, WheelCalendar::slot_count> slots_{};
};

template <class Node, uint32_t Node::*slot_of, uint32_t Node::*cell_of>
bool TimerWheel<Node, slot_of, cell_of>::check_invariants() const {
    uint32_t entries = 0, chunks = 0;
    for (uint32_t number = 0; number < WheelCalendar::slot_count; ++number) {
        if (!calendar_.is_occupied(number)) continue;
        const Slot& slot = slots_[number];
        // A slot that waits for the rest of its cascade holds entries whose place is already further down.
        const uint32_t level = number / WheelCalendar::slots_per_level;
        const bool cascading = level > 0 && calendar_.current_slot(level) == number;
        uint32_t at = slot.head;
        for (uint32_t chunk = slot.head_chunk;; chunk = chunks_[chunk].next, at = 0) {
            ++chunks;
            const uint32_t end = chunk == slot.tail_chunk ? slot.tail : Chunk::cells;
            if (at >= end || !chunks_.is_taken(chunk)) return false;
            for (; at < end; ++at, ++entries) {
                const Node& node = nodes_[chunks_[chunk].nodes[at]];
                if (node.*slot_of != number || node.*cell_of != (chunk << 6 | at)) return false;
                if (!node.armed_at.is_set() || node.armed_at.before(Tick{calendar_.current()})) return false;
                if (!cascading && calendar_.slot_for(node.armed_at.raw()) != number) return false;
            }
            if (chunk == slot.tail_chunk) break;
            if (chunks_[chunks_[chunk].next].prev != chunk) return false;
        }
    }
    return entries == size_ && chunks == chunks_.size();
}

}  // namespace pollux::tcp
