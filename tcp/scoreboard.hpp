// Scoreboard: what is known of every segment between SND.UNA and SND.NXT (RFC 6675 section 2, RFC 8985 section 5).
//
//        snd.una                                          snd.nxt
//     -----|======|xxxxxx|######|######|======|xxxxxx|======|-----
//           in flight  lost  SACKed                 in order of sequence, in one ring
//
// A record stands for one segment as it was sent and is of one kind at a time:
//   in flight   in a list by the time of its last transmission, so that RACK looks at the oldest ones only
//   lost        to be sent again; in a list by sequence number, so that the lowest hole is filled first
//   SACKed      has arrived, unless the peer reneges; `next` leads on towards the next one that is not
// The bytes in flight are RFC 6675's pipe.
//
// What an ACK costs: a step for every record that changes its kind, and for each block a binary search. Blocks that
// are repeated in every ACK cost no more than that, because a run of SACKed records is crossed in one leap.
//
// Records are named by position, which counts up for ever (modulo 2^31); the ring doubles when it is full.
#pragma once

#include <cassert>
#include <cstdint>
#include <utility>

#include "tcp/record_arena.hpp"
#include "tcp/segment.hpp"
#include "tcp/seq_num.hpp"

namespace pollux::tcp {

struct SentRecord {
    enum class Kind : uint8_t { in_flight, lost, sacked };
    static constexpr uint32_t none = ~0u;

    SeqNum end;               // it begins where the one before it ends
    uint32_t sent_at_us = 0;  // the last time
    uint32_t prev = none, next = none;
    // Of the connection, when it was sent: for the delivery rate.
    uint32_t delivered = 0, delivered_at_us = 0, first_sent_at_us = 0;
    Kind kind = Kind::in_flight;
    uint8_t times_sent = 1;   // saturates
    bool timed = true;        // sent_at_us is exact
    bool app_limited = false;  // the application had no more to send then
};
static_assert(sizeof(SentRecord) == 32);
using SentRecords = RecordArena<SentRecord>;

class Scoreboard {
public:
    using Kind = SentRecord::Kind;
    static constexpr uint32_t none = SentRecord::none;
    static constexpr uint32_t most_records = 1u << 15;  // of one connection

    bool active() const { return ring_ != nullptr; }
    bool empty() const { return count_ == 0; }
    uint32_t size() const { return count_; }
    SeqNum una() const { return una_; }
    SeqNum nxt() const { return count_ == 0 ? una_ : at(head_ + count_ - 1).end; }
    uint32_t pipe() const { return pipe_; }
    uint32_t sacked() const { return sacked_; }
    uint32_t lost() const { return lost_; }
    uint32_t sacked_segments() const { return sacked_segments_; }

    /// Takes the smallest ring; false: there is none. What is sent from now on begins at `una`.
    bool begin(SentRecords& arena, SeqNum una);
    /// Gives the ring back.
    void end(SentRecords& arena);
    /// Whether one more record fits, if need be by moving into a larger ring.
    bool make_room(SentRecords& arena);

    /// Appends a segment that has just been sent: [nxt(), record.end). The caller has asked make_room().
    void append(const SentRecord& record);
    /// It has been sent again.
    SentRecord& resent(uint32_t position, uint32_t now_us);
    /// It is lost; no-op if it was already, and never of a SACKed one.
    void mark_lost(uint32_t position);
    /// Lost ones count as in flight again: they were not (RFC 4015).
    void unmark_lost();
    /// The peer has dropped what it had reported: SACKed ones are lost (RFC 2018 section 8).
    void forget_sacks();
    /// All records cut to at most `mss`, those that were larger lost. False: no ring is large enough, nothing changed.
    bool recut(SentRecords& arena, uint32_t mss);

    /// Drops what lies before `una`. `delivered(record, bytes)` for each that was not SACKed before, in order.
    template <class Delivered>
    void acknowledge(SeqNum una, Delivered&& delivered);
    /// Marks what lies wholly inside `block`, which lies in [una, nxt]. `delivered(record, bytes)` for each new one.
    template <class Delivered>
    void mark_sacked(SackBlock block, Delivered&& delivered);

    /// Positions: of the longest in flight, the lowest lost, the first; `none` if there is none.
    uint32_t oldest() const { return oldest_; }
    uint32_t first_lost() const { return first_lost_; }
    uint32_t head() const { return count_ == 0 ? none : head_; }
    uint32_t last() const { return count_ == 0 ? none : (head_ + count_ - 1) & position_mask; }
    uint32_t next_in_list(uint32_t position) const { return at(position).next; }
    /// The highest that is not SACKed, or `none`.
    uint32_t highest_unsacked() const;
    const SentRecord& record(uint32_t position) const { return at(position); }
    SeqNum first_of(uint32_t position) const { return offset(position) == 0 ? una_ : at(position - 1).end; }
    uint32_t size_of(uint32_t position) const { return at(position).end.since(first_of(position)); }
    /// The record that begins at `seq`, or `none`.
    uint32_t starting_at(SeqNum seq) const;

    /// A sentence for the first thing that is not as it should be, or null.
    const char* check() const;

private:
    static constexpr uint32_t position_mask = 0x7fff'ffff;

    SentRecord& at(uint32_t position) { return ring_[position & mask_]; }
    const SentRecord& at(uint32_t position) const { return ring_[position & mask_]; }
    uint32_t offset(uint32_t position) const { return (position - head_) & position_mask; }
    uint32_t lower_bound(SeqNum seq) const;
    uint32_t next_unsacked(uint32_t position);
    void unlink(SentRecord& record, uint32_t& first, uint32_t& last);
    void push_newest(uint32_t position);
    void insert_by_time(uint32_t position, uint32_t& hint);
    void insert_by_sequence(uint32_t position);
    void take_out(uint32_t position, uint32_t size);

    SentRecord* ring_ = nullptr;
    uint32_t ring_at_ = 0, mask_ = 0;
    uint32_t head_ = 0, count_ = 0;
    SeqNum una_;
    uint32_t pipe_ = 0, sacked_ = 0, lost_ = 0;  // bytes
    uint32_t sacked_segments_ = 0;
    uint32_t oldest_ = none, newest_ = none;        // in flight, by time
    uint32_t first_lost_ = none, last_lost_ = none;  // by sequence
    uint32_t lost_hint_ = none;                      // the one marked last
};

template <class Delivered>
void Scoreboard::acknowledge(SeqNum una, Delivered&& delivered) {
    while (count_ > 0) {
        SentRecord& record = at(head_);
        const bool whole = record.end.at_or_before(una);
        const SeqNum end = whole ? record.end : una;
        if (!end.after(una_)) break;
        const uint32_t size = end.since(una_);
        const bool is_new = record.kind != Kind::sacked;
        if (whole) {
            take_out(head_, size);
            if (is_new) delivered(std::as_const(record), size);
            una_ = end;
            head_ = (head_ + 1) & position_mask;
            --count_;
        } else {
            // Part of a segment: the rest keeps its kind.
            (record.kind == Kind::in_flight ? pipe_ : record.kind == Kind::lost ? lost_ : sacked_) -= size;
            if (is_new) delivered(std::as_const(record), size);
            una_ = end;
        }
    }
    una_ = later(una_, una);
}

template <class Delivered>
void Scoreboard::mark_sacked(SackBlock block, Delivered&& delivered) {
    uint32_t position = next_unsacked((head_ + lower_bound(block.first)) & position_mask);
    while (offset(position) < count_ && at(position).end.at_or_before(block.end)) {
        SentRecord& record = at(position);
        const uint32_t size = size_of(position);
        take_out(position, size);
        delivered(std::as_const(record), size);
        record.kind = Kind::sacked;
        record.next = (position + 1) & position_mask;
        sacked_ += size;
        ++sacked_segments_;
        position = next_unsacked(record.next);
    }
}

}  // namespace pollux::tcp
