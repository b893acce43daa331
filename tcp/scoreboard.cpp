#include "tcp/scoreboard.hpp"

#include <bit>
#include <utility>

namespace pollux::tcp {
namespace {

bool sent_before(const SentRecord& a, const SentRecord& b) {
    return static_cast<int32_t>(a.sent_at_us - b.sent_at_us) < 0;
}

}  // namespace

// ---- The ring. --------------------------------------------------------------------------------------------------

bool Scoreboard::begin(SentRecords& arena, SeqNum una) {
    const uint32_t at = arena.take(SentRecords::least_order);
    if (at == SentRecords::none) return false;
    *this = {};
    ring_ = arena.at(at);
    ring_at_ = at;
    mask_ = (1u << SentRecords::least_order) - 1;
    una_ = una;
    return true;
}

void Scoreboard::end(SentRecords& arena) {
    if (!active()) return;
    arena.give(ring_at_, static_cast<uint32_t>(std::bit_width(mask_)));
    *this = {};
}

bool Scoreboard::make_room(SentRecords& arena) {
    if (count_ <= mask_) return true;
    const auto order = static_cast<uint32_t>(std::bit_width(mask_));
    if (count_ >= most_records) return false;
    const uint32_t larger = arena.take(order + 1);
    if (larger == SentRecords::none) return false;
    SentRecord* const to = arena.at(larger);
    const uint32_t mask = 2 * mask_ + 1;
    for (uint32_t i = 0; i < count_; ++i) to[(head_ + i) & mask] = at(head_ + i);
    arena.give(ring_at_, order);
    ring_ = to;
    ring_at_ = larger;
    mask_ = mask;
    return true;
}

// ---- Finding. ---------------------------------------------------------------------------------------------------

// The offset of the first record that begins at or after `seq`, which lies in [una, nxt].
uint32_t Scoreboard::lower_bound(SeqNum seq) const {
    const uint32_t wanted = seq.since(una_);
    if (wanted == 0) return 0;
    uint32_t low = 0, high = count_;  // the first record whose end is at or after `seq` lies in [low, high]
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (at(head_ + middle).end.since(una_) < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return std::min(low + 1, count_);
}

uint32_t Scoreboard::starting_at(SeqNum seq) const {
    if (count_ == 0 || !seq.in_window(una_, nxt().since(una_))) return none;
    const uint32_t position = (head_ + lower_bound(seq)) & position_mask;
    return offset(position) < count_ && first_of(position) == seq ? position : none;
}

// Leaps over a run of SACKed records, and makes the next leap longer.
uint32_t Scoreboard::next_unsacked(uint32_t position) {
    while (offset(position) < count_ && at(position).kind == Kind::sacked) {
        SentRecord& record = at(position);
        const uint32_t next = record.next;
        if (offset(next) < count_ && at(next).kind == Kind::sacked) record.next = at(next).next;
        position = record.next;
    }
    return position;
}

uint32_t Scoreboard::highest_unsacked() const {
    for (uint32_t i = count_; i > 0; --i) {
        const uint32_t position = (head_ + i - 1) & position_mask;
        if (at(position).kind != Kind::sacked) return position;
    }
    return none;
}

// ---- The lists. -------------------------------------------------------------------------------------------------

void Scoreboard::unlink(SentRecord& record, uint32_t& first, uint32_t& last) {
    (record.prev == none ? first : at(record.prev).next) = record.next;
    (record.next == none ? last : at(record.next).prev) = record.prev;
}

// What leaves later in the same microsecond must not seem to have left before: RACK tells equal times apart by number.
void Scoreboard::push_newest(uint32_t position) {
    SentRecord& record = at(position);
    if (newest_ != none) {
        const SentRecord& newest = at(newest_);
        if (sent_before(record, newest)) record.sent_at_us = newest.sent_at_us;
        if (record.sent_at_us == newest.sent_at_us && newest.end.after(record.end)) ++record.sent_at_us;
    }
    record.prev = newest_;
    record.next = none;
    (newest_ == none ? oldest_ : at(newest_).next) = position;
    newest_ = position;
}

// Behind `hint` and all that were sent no later.
void Scoreboard::insert_by_time(uint32_t position, uint32_t& hint) {
    SentRecord& record = at(position);
    uint32_t before = hint;
    uint32_t behind = hint == none ? oldest_ : at(hint).next;
    while (behind != none && !sent_before(record, at(behind))) {
        before = behind;
        behind = at(behind).next;
    }
    record.prev = before;
    record.next = behind;
    (before == none ? oldest_ : at(before).next) = position;
    (behind == none ? newest_ : at(behind).prev) = position;
    hint = position;
}

// Losses are found in order of sending, so one comes behind the other, and mostly behind all.
void Scoreboard::insert_by_sequence(uint32_t position) {
    SentRecord& record = at(position);
    uint32_t before = last_lost_;
    if (before != none && offset(before) > offset(position)) {
        const bool helps = lost_hint_ != none && offset(lost_hint_) < offset(position);
        before = helps ? lost_hint_ : none;
        uint32_t behind = before == none ? first_lost_ : at(before).next;
        while (offset(behind) < offset(position)) {
            before = behind;
            behind = at(behind).next;
        }
    }
    record.prev = before;
    record.next = before == none ? first_lost_ : at(before).next;
    (before == none ? first_lost_ : at(before).next) = position;
    (record.next == none ? last_lost_ : at(record.next).prev) = position;
    lost_hint_ = position;
}

// Out of its list and its count.
void Scoreboard::take_out(uint32_t position, uint32_t size) {
    SentRecord& record = at(position);
    switch (record.kind) {
        case Kind::in_flight:
            unlink(record, oldest_, newest_);
            pipe_ -= size;
            break;
        case Kind::lost:
            if (lost_hint_ == position) lost_hint_ = none;
            unlink(record, first_lost_, last_lost_);
            lost_ -= size;
            break;
        case Kind::sacked:
            sacked_ -= size;
            --sacked_segments_;
            break;
    }
}

// ---- What happens to segments. ----------------------------------------------------------------------------------

void Scoreboard::append(const SentRecord& record) {
    assert(active() && count_ <= mask_);
    const uint32_t position = (head_ + count_) & position_mask;
    pipe_ += record.end.since(nxt());
    ++count_;
    at(position) = record;
    push_newest(position);
}

SentRecord& Scoreboard::resent(uint32_t position, uint32_t now_us) {
    SentRecord& record = at(position);
    const uint32_t size = size_of(position);
    take_out(position, size);
    record.kind = Kind::in_flight;
    record.sent_at_us = now_us;
    record.timed = true;
    if (record.times_sent < 255) ++record.times_sent;
    pipe_ += size;
    push_newest(position);
    return record;
}

void Scoreboard::mark_lost(uint32_t position) {
    SentRecord& record = at(position);
    if (record.kind == Kind::lost) return;
    const uint32_t size = size_of(position);
    take_out(position, size);
    record.kind = Kind::lost;
    lost_ += size;
    insert_by_sequence(position);
}

void Scoreboard::unmark_lost() {
    uint32_t hint = none;
    while (first_lost_ != none) {
        const uint32_t position = first_lost_;
        const uint32_t size = size_of(position);
        take_out(position, size);
        at(position).kind = Kind::in_flight;
        pipe_ += size;
        // Ascending numbers are mostly ascending times; what was sent again is not.
        if (hint != none && sent_before(at(position), at(hint))) hint = none;
        insert_by_time(position, hint);
    }
}

void Scoreboard::forget_sacks() {
    for (uint32_t i = 0; i < count_; ++i) {
        const uint32_t position = (head_ + i) & position_mask;
        if (at(position).kind == Kind::sacked) mark_lost(position);
    }
}

bool Scoreboard::recut(SentRecords& arena, uint32_t mss) {
    uint32_t needed = 0;
    for (uint32_t i = 0; i < count_; ++i) {
        const uint32_t position = head_ + i;
        const bool cut = at(position).kind != Kind::sacked;
        needed += cut ? (size_of(position & position_mask) + mss - 1) / mss : 1;
    }
    const uint32_t order = std::max<uint32_t>(SentRecords::least_order, static_cast<uint32_t>(std::bit_width(needed)));
    const uint32_t where = needed > most_records ? SentRecords::none : arena.take(order);
    if (where == SentRecords::none) return false;
    Scoreboard fresh;
    fresh.ring_ = arena.at(where);
    fresh.ring_at_ = where;
    fresh.mask_ = (1u << order) - 1;
    fresh.una_ = una_;
    for (uint32_t i = 0; i < count_; ++i) {
        const uint32_t position = (head_ + i) & position_mask;
        const SentRecord& old = at(position);
        const bool too_large = size_of(position) > mss;
        SeqNum first = first_of(position);
        while (first != old.end) {
            const bool whole = old.kind == Kind::sacked || old.end.since(first) <= mss;
            const SeqNum end = whole ? old.end : first + mss;
            SentRecord piece = old;
            piece.end = end;
            piece.kind = Kind::in_flight;
            const uint32_t to = fresh.count_;
            fresh.append(piece);
            if (old.kind == Kind::sacked) {
                fresh.mark_sacked({first, end}, [](const SentRecord&, uint32_t) {});
            } else if (old.kind == Kind::lost || too_large) {
                fresh.mark_lost(to);
            }
            first = end;
        }
    }
    // Appending has put them in order of sequence; RACK wants the order of time.
    fresh.oldest_ = fresh.newest_ = none;
    uint32_t hint = none;
    for (uint32_t position = 0; position < fresh.count_; ++position) {
        if (fresh.at(position).kind != Kind::in_flight) continue;
        if (hint != none && sent_before(fresh.at(position), fresh.at(hint))) hint = none;
        fresh.insert_by_time(position, hint);
    }
    end(arena);
    *this = fresh;
    return true;
}

// ---- Believing. -------------------------------------------------------------------------------------------------

const char* Scoreboard::check() const {
    if (!active()) return count_ == 0 && pipe_ + lost_ + sacked_ == 0 ? nullptr : "counts without a ring";
    uint32_t bytes[3] = {}, segments[3] = {};
    for (uint32_t i = 0; i < count_; ++i) {
        const uint32_t position = (head_ + i) & position_mask;
        const auto kind = static_cast<size_t>(at(position).kind);
        if (!at(position).end.after(first_of(position))) return "an empty record";
        bytes[kind] += size_of(position);
        ++segments[kind];
    }
    if (bytes[0] != pipe_ || bytes[1] != lost_ || bytes[2] != sacked_ || segments[2] != sacked_segments_) {
        return "the bytes in flight, lost and SACKed are not those of the records";
    }
    uint32_t listed = 0;
    for (uint32_t p = oldest_, last = none; p != none; last = p, p = at(p).next, ++listed) {
        if (listed > count_ || at(p).kind != Kind::in_flight || at(p).prev != last) return "the list by time is broken";
        if (last != none && sent_before(at(p), at(last))) return "the list by time is not in order";
    }
    if (listed != segments[0]) return "the list by time is incomplete";
    listed = 0;
    for (uint32_t p = first_lost_, last = none; p != none; last = p, p = at(p).next, ++listed) {
        if (listed > count_ || at(p).kind != Kind::lost || at(p).prev != last) return "the list of losses is broken";
        if (last != none && offset(p) <= offset(last)) return "the list of losses is not in order";
    }
    return listed == segments[1] ? nullptr : "the list of losses is incomplete";
}

}  // namespace pollux::tcp
