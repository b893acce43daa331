// Which segments are lost, told by time: RACK and its tail loss probe (RFC 8985).
//
// A segment is lost when one that was sent after it has arrived and a reordering window has passed since it should
// have arrived itself. That works for retransmissions as for first ones, and for the last segments of a flight, which
// no duplicate ACK follows, a probe draws the ACK that tells. The window stays 0 until reordering has been seen, so
// that three SACKed segments show a loss at once; DSACKs, which report what was repeated in vain, widen it.
#include <algorithm>

#include "tcp/stack.hpp"

namespace pollux::tcp {
namespace {

constexpr uint32_t duplicate_threshold = 3;
constexpr uint8_t reo_wnd_persist = 16;         // recoveries
constexpr Duration first_probe_timeout = 1s;    // without an RTT sample
constexpr Duration longest_ack_delay = 200ms;   // that a lone segment may meet at the peer's

// RACK_sent_after() of RFC 8985 section 6.2, step 2.
bool sent_after(uint32_t at_us, SeqNum end, uint32_t other_at_us, SeqNum other_end) {
    const auto later = static_cast<int32_t>(at_us - other_at_us);
    return later > 0 || (later == 0 && end.after(other_end));
}

}  // namespace

// Step 2: a segment has arrived that had not before. `ack`: the ACK, if its timestamp echoes one of those that SEG.ACK
// covers; an ACK of data behind a gap echoes what came before the gap (RFC 7323 section 4.3).
void Stack::rack_update(const Conn& c, Recovery& r, const SentRecord& record, const Segment* ack, Instant now) const {
    const uint32_t rtt = static_cast<uint32_t>(now.time_since_epoch().count()) - record.sent_at_us;
    if (record.times_sent > 1) {
        // An ACK of an earlier transmission says nothing about when the later one arrived.
        if (ack != nullptr && c.has(ConnFlags::timestamps) && ack->has(Present::timestamps)) {
            const uint32_t sent = timestamp_clock(now - Duration{rtt}) + c.ts_offset;
            if (static_cast<int32_t>(ack->timestamps.echo - sent) < 0) return;
        }
        if (rtt < r.min_rtt.us()) return;
    }
    const bool first = r.rack.rtt_us == 0;  // then there is no time to compare with
    r.rack.rtt_us = std::max(rtt, 1u);
    if (first || sent_after(record.sent_at_us, record.end, r.rack.sent_at_us, r.rack.end)) {
        r.rack.sent_at_us = record.sent_at_us;
        r.rack.end = record.end;
    }
}

// Step 4.
void Stack::rack_widen(Conn& c, Rack& rack) {
    if (rack.in_dsack_round && !c.snd.una.after(rack.dsack_round)) return;
    rack.in_dsack_round = true;
    rack.dsack_round = c.snd.nxt;
    if (rack.reo_wnd_mult < 255) ++rack.reo_wnd_mult;
    rack.reo_wnd_persist = reo_wnd_persist;
}

void Stack::rack_recovered(Rack& rack) {
    if (rack.reo_wnd_persist > 0 && --rack.reo_wnd_persist == 0) rack.reo_wnd_mult = 1;
}

// RACK_update_reo_wnd() of step 4, in microseconds.
uint32_t Stack::reordering_window(const Conn& c, const Recovery& r) {
    if (!r.rack.reordering_seen) {
        const bool recovers = r.phase == Phase::recovery || r.phase == Phase::loss;
        if (recovers || r.board.sacked_segments() >= duplicate_threshold) return 0;
    }
    const uint32_t least = r.min_rtt.us() != 0 ? r.min_rtt.us() : c.srtt_us;
    return std::min(r.rack.reo_wnd_mult * (least / 4), c.srtt_us);
}

// Step 5. How many bytes are newly lost; `reorder_at` is when to ask again.
uint32_t Stack::detect_losses(Conn& c, Recovery& r, Instant now) {
    r.reorder_at = Tick{};
    if (r.rack.rtt_us == 0) return 0;
    const auto now_us = static_cast<uint32_t>(now.time_since_epoch().count());
    const uint32_t patience = r.rack.rtt_us + reordering_window(c, r);
    const uint32_t before = r.board.lost();
    while (r.board.oldest() != Scoreboard::none) {
        const SentRecord& record = r.board.record(r.board.oldest());
        if (!sent_after(r.rack.sent_at_us, r.rack.end, record.sent_at_us, record.end)) break;
        const uint32_t age = now_us - record.sent_at_us;
        if (age < patience) {
            r.reorder_at = deadline_at(now + Duration{patience - age});
            break;
        }
        counters_.add(Tally::segments_marked_lost);
        r.board.mark_lost(r.board.oldest());
    }
    return r.board.lost() - before;
}

// The reordering timer: nothing has been heard meanwhile, but time has passed.
void Stack::on_reordering_timeout(Conn& c, Recovery& r, Instant now) {
    AckSample sample{.now = now, .flight_before = c.in_flight(), .pipe_before = r.board.pipe()};
    sample.lost = detect_losses(c, r, now);
    if (sample.lost == 0) return;
    if (r.excused) r.phase = Phase::open;
    if (r.phase == Phase::open || r.phase == Phase::reduced)
        enter_recovery(c, r, sample);
    make_ready(c);
}

// Section 6.3: after a timeout the first segment is lost, and so is whatever has had its time.
void Stack::mark_timed_out(Conn& c, Recovery& r, Instant now) {
    const auto now_us = static_cast<uint32_t>(now.time_since_epoch().count());
    const uint32_t patience = (r.rack.rtt_us != 0 ? r.rack.rtt_us : c.srtt_us) + reordering_window(c, r);
    while (r.board.oldest() != Scoreboard::none) {
        if (now_us - r.board.record(r.board.oldest()).sent_at_us < patience) break;
        counters_.add(Tally::segments_marked_lost);
        r.board.mark_lost(r.board.oldest());
    }
    r.board.mark_lost(r.board.head());
}

// ---- The tail loss probe. ---------------------------------------------------------------------------------------

// Section 7.2: what was just sent or acknowledged starts the timer anew, unless losses are known or suspected.
void Stack::arm_probe(Conn& c, Recovery& r, Instant now) {
    r.probe.rearm = false;
    r.probe_at = Tick{};
    const Scoreboard& board = r.board;
    const bool quiet = r.phase == Phase::open && !board.empty() && board.sacked() == 0 && board.lost() == 0;
    if (!quiet || r.probe.active || c.snd_wnd == 0 || c.has(ConnFlags::persisting) || c.backoff != 0) return;
    Duration wait = first_probe_timeout;
    if (c.srtt_us != 0) {
        wait = 2 * Duration{c.srtt_us};
        if (board.size() == 1) wait += longest_ack_delay;
    }
    // Never beyond the RTO, in whose place it then fires.
    r.probe_at = earliest(deadline_at(now + wait), c.retransmit_at);
}

void Stack::end_probe(Recovery& r) {
    r.probe.active = r.probe.due = false;
    r.probe_at = Tick{};
}

void Stack::on_probe_timeout(Conn& c, Recovery& r, Instant now) {
    r.probe_at = Tick{};
    if (r.phase != Phase::open || r.board.empty() || c.snd_wnd == 0) return;
    r.probe.due = true;
    start_retransmit_timer(c, now);
    make_ready(c);
}

// Section 7.3: new data if there is any and the peer has room, else the last segment again.
void Stack::output_probe(Conn& c, Recovery& r, Instant now, TxBatch& out) {
    r.probe.due = false;
    if (r.board.empty() || c.snd_wnd == 0) return;
    const uint32_t flight = c.in_flight();
    const uint32_t room = c.snd_wnd > flight ? c.snd_wnd - flight : 0;
    const uint32_t size = std::min({uint32_t{c.mss}, c.unsent(), room});
    r.probe.is_repetition = size == 0 || !r.board.make_room(segment_records_);
    r.probe.active = true;
    counters_.add(Tally::tail_loss_probes);
    if (r.probe.is_repetition) {
        resend(c, r, r.board.highest_unsacked(), now, out);
    } else {
        const bool fin = c.has(ConnFlags::fin_queued) && size == c.unsent() && size < room;
        emit(c, c.snd.nxt, size, fin, now, out);
    }
    r.probe.end = c.snd.nxt;
}

// Section 7.4: whether the probe, a repetition, has repaired a loss; then the window is reduced for it. No second
// arrival of the same segment means that the first was lost.
void Stack::settle_probe(Conn& c, Recovery& r, const Segment& s, const AckSample& sample) {
    if (s.ack.before(r.probe.end)) return;
    if (!r.probe.is_repetition || sample.dsack) {
        r.probe.active = false;
    } else if (s.ack.after(r.probe.end)) {
        r.probe.active = false;
        if (r.phase == Phase::open) congestion::reduce_at_once(c, &r, congestion::Cause::loss, c.cwnd);
    } else if (!sample.advances && s.payload.empty() && s.sack_count == 0) {
        r.probe.active = false;
    }
}

}  // namespace pollux::tcp
