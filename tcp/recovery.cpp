// Loss recovery over a scoreboard: what an ACK tells of it, and the phases that follow (RFC 5681, RFC 6675, RFC 9937).
//
// One ACK: the scoreboard learns what has arrived (RFC 2018), RACK what is lost (rack.cpp); then a reduction that was
// for nothing is undone (RFC 4015 by timestamps, RFC 3708 by DSACKs, RFC 5682 after timeouts), a phase may end, a new
// one begin, and the window is written once (congestion.cpp).
#include <algorithm>
#include <array>

#include "tcp/stack.hpp"

namespace pollux::tcp {
namespace {

uint32_t us_of(Instant now) { return static_cast<uint32_t>(now.time_since_epoch().count()); }

}  // namespace

// ---- The cold record. -------------------------------------------------------------------------------------------

Recovery* Stack::take_recovery(Conn& c) {
    if (c.has_recovery) return &recoveries_[c.cold];
    const uint32_t index = recoveries_.take();
    if (index == Pool<Recovery>::none) {
        counters_.add(Tally::recoveries_without_room);
        return nullptr;
    }
    c.cold = index;
    c.has_recovery = true;
    Recovery& r = recoveries_[index];
    r.point = r.usage.until = c.snd.una;
    r.rack.fack = c.snd.una;
    return &r;
}

void Stack::give_recovery(Conn& c) {
    if (!c.has_recovery) return;
    recoveries_[c.cold].board.end(segment_records_);
    recoveries_.give(c.cold);
    c.cold = Conn::none;
    c.has_recovery = false;
}

// Nothing is in flight: the ring goes back, and all of it unless the controller has learnt something.
void Stack::rest_recovery(Conn& c, Recovery& r, Instant now) {
    r.board.end(segment_records_);
    if (c.unsent() == 0) r.cubic.pause(now);  // RFC 9438 section 5.8: without data there is no time of growth
    r.reorder_at = r.probe_at = Tick{};
    r.app_limited_until = 0;
    const bool scarce = c.unsent() == 0 && recoveries_.size() > recoveries_.capacity() / 8 * 7;
    const bool learnt = c.ssthresh != ~0u || r.probe.active || r.rack.reordering_seen;
    if (!learnt || (scarce && !r.probe.active)) give_recovery(c);
}

// ---- What is sent. ----------------------------------------------------------------------------------------------

// New data of `length` is about to count as sent.
void Stack::note_new(Conn& c, uint32_t length, Instant now) {
    if (!c.has_recovery && c.in_flight() == 0) {  // a lone segment needs no record
        lone_ = {index_of(c), us_of(now)};
        if (c.cwnd > settings_.initial_window_segments * c.mss) extras_[index_of(c)].last_sent = tick_at(now);
        return;
    }
    Recovery* const r = take_recovery(c);
    if (r == nullptr) return;
    extras_[index_of(c)].last_sent = tick_at(now);
    if (!r->board.active() && !begin_board(c, *r, now)) return;
    append_record(*r, c.snd.nxt + length, us_of(now), true);
    if (r->phase != Phase::open) r->prr.out += length;
    r->probe.rearm = true;
}

// False: the scoreboard is full, and no larger ring is to be had.
bool Stack::has_room_on_board(Conn& c) {
    if (!c.has_recovery) return true;
    Scoreboard& board = recoveries_[c.cold].board;
    if (!board.active() || board.make_room(segment_records_)) return true;
    counters_.add(Tally::recoveries_without_room);
    return false;
}

// After what could be sent has been.
void Stack::note_usage(const Conn& c, Recovery& r) {
    const uint32_t used = r.board.active() ? r.board.pipe() : c.in_flight();
    const bool limited = c.has(ConnFlags::cwnd_limited) || used + c.mss > c.cwnd;
    Usage& usage = r.usage;
    if (limited || c.snd.una.at_or_after(usage.until) || (!usage.limited && used > usage.most)) {
        usage = {.until = c.snd.nxt, .most = used, .limited = limited};
    }
}

// The application has nothing more to send, and cwnd would allow it: rates until then are the application's.
void Stack::note_app_limited(const Conn& c, Recovery& r) {
    if (r.board.pipe() < c.cwnd) r.app_limited_until = std::max(r.delivered + r.board.pipe(), 1u);
}

// With at most one segment in flight, whose record has to be made up.
bool Stack::begin_board(Conn& c, Recovery& r, Instant now) {
    const bool by_duplicates = c.has(ConnFlags::fast_recovery | ConnFlags::rto_recovery);
    if (!c.has(ConnFlags::sack) || by_duplicates || c.in_flight() > c.mss + 1u) return false;
    if (!r.board.begin(segment_records_, c.snd.una)) {
        counters_.add(Tally::recoveries_without_room);
        return false;
    }
    // Nothing of what RACK knew is in flight; its times may be half the circle away.
    r.rack.fack = c.snd.una;
    r.rack.rtt_us = 0;
    // Mostly it left a moment ago, in the same turn; if not, it counts as sent now, and gives no RTT.
    const bool timed = lone_.conn == index_of(c) && c.backoff == 0;
    if (c.in_flight() > 0) append_record(r, c.snd.nxt, timed ? lone_.sent_at_us : us_of(now), timed);
    return true;
}

void Stack::append_record(Recovery& r, SeqNum end, uint32_t sent_at_us, bool timed) {
    SentRecord record;
    record.end = end;
    record.sent_at_us = sent_at_us;
    record.timed = timed;
    stamp(r, record);
    r.board.append(record);
}

// For the delivery rate: what had been delivered when this left.
void Stack::stamp(Recovery& r, SentRecord& record) {
    if (r.board.pipe() == 0) r.first_sent_at_us = r.delivered_at_us = record.sent_at_us;
    record.delivered = r.delivered;
    record.delivered_at_us = r.delivered_at_us;
    record.first_sent_at_us = r.first_sent_at_us;
    record.app_limited = r.app_limited_until != 0;
}

// [seq, seq + length) has left once more.
void Stack::note_repeated(Conn& c, SeqNum seq, uint32_t length, Instant now) {
    if (!c.has_recovery) return;
    Recovery& r = recoveries_[c.cold];
    if (r.phase != Phase::open || c.has(ConnFlags::fast_recovery | ConnFlags::rto_recovery)) {
        if (!r.undo.repeated) {
            r.undo.repeated = true;
            r.undo.first = r.undo.last = seq;
            r.undo.timestamp = timestamp_clock(now) + c.ts_offset;
        }
        r.undo.last = later(r.undo.last, seq + length);
        ++r.undo.unreported;
    }
    if (!r.board.active()) return;
    const uint32_t position = r.board.starting_at(seq);
    if (position == Scoreboard::none || r.board.size_of(position) > length) return;  // part of one: a window probe
    if (seq == c.snd.una && r.phase != Phase::open) start_retransmit_timer(c, now);
    stamp(r, r.board.resent(position, us_of(now)));
    if (r.phase != Phase::open) r.prr.out += length;
}

// False when the quota or the batch ended.
bool Stack::output_repetitions(Conn& c, Recovery& r, Instant now, TxBatch& out, uint32_t& quota) {
    const auto may_emit = [&] { return quota > 0 && out.room() > 0 && out.piece_room() >= SendQueues::max_pieces; };
    if (r.probe.due) {
        if (!may_emit()) return false;
        output_probe(c, r, now, out);
        --quota;
    }
    while (r.board.first_lost() != Scoreboard::none) {
        const uint32_t position = r.board.first_lost();
        const uint32_t size = r.board.size_of(position);
        if (!r.force_first) {
            if (r.spurious == SpuriousTimeout::sent_new) break;  // the next ACK decides
            if (r.board.pipe() + size > c.cwnd) {
                c.set(ConnFlags::cwnd_limited);
                break;
            }
        }
        // Into a closed window nothing goes but its probes; what a smaller one no longer takes waits for it to open.
        const uint32_t ahead = r.board.record(position).end.since(c.snd.una);
        if (ahead > c.snd_wnd && (c.snd_wnd == 0 || position != r.board.head())) break;
        if (!may_emit()) return false;
        r.force_first = false;
        const uint32_t sent = resend(c, r, position, now, out);
        --quota;
        if (sent < size && !cut_records(c, r, sent, now)) return true;
    }
    return true;
}

// A record that stands for several segments of many small pieces each does not fit into one. False: there is no room
// to cut it, and the connection goes on without a scoreboard.
bool Stack::cut_records(Conn& c, Recovery& r, uint32_t size, Instant now) {
    if (r.board.recut(segment_records_, size)) return true;
    r.board.end(segment_records_);
    r.phase = Phase::open;
    resend_outstanding(c, now);
    return false;
}

uint32_t Stack::resend(Conn& c, const Recovery& r, uint32_t position, Instant now, TxBatch& out) {
    const SeqNum first = r.board.first_of(position);
    const uint32_t left = c.queued() - std::min(c.queued(), first.since(c.snd.una));
    const bool fin = c.has(ConnFlags::fin_sent) && r.board.record(position).end == c.snd.nxt;
    return emit(c, first, std::min(r.board.size_of(position), left), fin, now, out);
}

// ---- What an ACK tells. -----------------------------------------------------------------------------------------

// RFC 2883 section 4: the first block reports a duplicate when it lies below SEG.ACK or inside the second.
bool Stack::reports_duplicate(const Segment& s) {
    if (s.sack_count == 0) return false;
    const SackBlock& first = s.sack_blocks[0];
    if (!first.first.before(first.end)) return false;
    if (first.end.at_or_before(s.ack)) return true;
    if (s.sack_count < 2) return false;
    const SackBlock& second = s.sack_blocks[1];
    return first.first.at_or_after(second.first) && first.end.at_or_before(second.end);
}

// SND.UNA is where SEG.ACK has moved it.
void Stack::read_scoreboard(Conn& c, Recovery& r, const Segment& s, AckSample& sample) {
    const uint32_t now_us = us_of(sample.now);
    uint32_t newest_sent = 0, newest_delivered = 0;
    bool any_rtt = false, any_rate = false, repeated = false, in_order = true;
    SentRecord rate_of;
    const auto delivered = [&](const SentRecord& record, uint32_t size) {
        sample.delivered += size;
        r.delivered += size;
        r.delivered_at_us = now_us;
        const uint32_t rtt = std::max(now_us - record.sent_at_us, 1u);
        if (record.times_sent == 1) {
            if (record.timed) {
                if (sample.oldest_rtt_us == 0) sample.oldest_rtt_us = rtt;
                if (!any_rtt || static_cast<int32_t>(record.sent_at_us - newest_sent) >= 0) {
                    any_rtt = true;
                    newest_sent = record.sent_at_us;
                    sample.rtt_us = rtt;
                }
            }
            sample.original |= r.phase == Phase::loss && record.end.at_or_before(r.point);
            if (record.end.before(r.rack.fack)) r.rack.reordering_seen = true;  // RACK, step 3
        } else {
            repeated = true;
        }
        r.rack.fack = later(r.rack.fack, record.end);
        rack_update(c, r, record, in_order ? &s : nullptr, sample.now);
        if (!any_rate || static_cast<int32_t>(record.delivered - newest_delivered) >= 0) {
            any_rate = true;
            newest_delivered = record.delivered;
            rate_of = record;
            r.first_sent_at_us = record.sent_at_us;
        }
    };
    if (sample.advances) r.board.acknowledge(c.snd.una, delivered);
    // Karn: what was sent once may have waited at the peer's for what was sent twice.
    if (repeated) {
        sample.rtt_us = sample.oldest_rtt_us = 0;
        any_rtt = false;
    }
    in_order = false;
    if (s.sack_count > 0) read_blocks(c, r, s, sample.dsack, delivered);
    if (sample.rtt_us != 0) r.min_rtt.take(sample.rtt_us, now_us);
    if (any_rate) rate(r, rate_of, sample);
    sample.lost = detect_losses(c, r, sample.now);
}

// Some peers keep a FIN without reporting it. Where all data of its segment has arrived, it has arrived with it.
bool Stack::shares_segment_with_fin(const Conn& c, const Recovery& r, SeqNum end) {
    if (!c.has(ConnFlags::fin_sent) || end + 1 != c.snd.nxt || r.board.last() == Scoreboard::none) return false;
    return r.board.first_of(r.board.last()).before(end);
}

// Lowest first, so that what one ACK reports together does not look like reordering. A block that names what was
// never sent, or nothing, means nothing.
template <class Delivered>
void Stack::read_blocks(Conn& c, Recovery& r, const Segment& s, bool first_is_duplicate, Delivered&& delivered) {
    std::array<SackBlock, 4> blocks;
    uint32_t count = 0;
    for (const SackBlock& block : s.sack().subspan(first_is_duplicate ? 1 : 0)) {
        const SeqNum first = later(block.first, c.snd.una);
        if (!block.first.before(block.end) || !first.before(block.end) || block.end.after(c.snd.nxt)) continue;
        uint32_t at = count++;
        for (; at > 0 && blocks[at - 1].first.after(first); --at) blocks[at] = blocks[at - 1];
        blocks[at] = {first, shares_segment_with_fin(c, r, block.end) ? c.snd.nxt : block.end};
    }
    for (uint32_t i = 0; i < count; ++i) r.board.mark_sacked(blocks[i], delivered);
}

// draft-cheng-iccrg-delivery-rate-estimation: over the longer of the times that sending and acknowledging took.
void Stack::rate(Recovery& r, const SentRecord& newest, AckSample& sample) {
    const uint32_t send_took = newest.sent_at_us - newest.first_sent_at_us;
    const uint32_t ack_took = r.delivered_at_us - newest.delivered_at_us;
    const uint32_t interval = std::max(send_took, ack_took);
    if (r.app_limited_until != 0 && static_cast<int32_t>(r.delivered - r.app_limited_until) > 0) {
        r.app_limited_until = 0;
    }
    if (interval == 0 || interval < r.min_rtt.us()) return;
    sample.rate_bytes = r.rate_bytes = r.delivered - newest.delivered;
    sample.rate_interval_us = r.rate_interval_us = interval;
    sample.app_limited = newest.app_limited;
}

// What is reported on an ACK that moves nothing.
void Stack::read_old_report(Conn& c, Recovery& r, const Segment& s, Instant now) {
    if (!r.board.active()) return;
    AckSample sample{.now = now, .flight_before = c.in_flight(), .pipe_before = r.board.pipe()};
    sample.dsack = reports_duplicate(s);
    if (sample.dsack) on_dsack(c, r, s.sack_blocks[0]);
    read_scoreboard(c, r, s, sample);
    follow_ack(c, r, sample);
}

void Stack::on_dsack(Conn& c, Recovery& r, SackBlock duplicate) {
    counters_.add(Tally::duplicates_reported);
    rack_widen(c, r.rack);
    // RFC 3708: of what recovery has repeated, not of what the network has doubled.
    if (!r.undo.possible || !r.undo.repeated || duplicate == r.undo.reported) return;
    if (duplicate.first.before(r.undo.first) || duplicate.end.after(r.undo.last)) return;
    if (r.probe.is_repetition && duplicate.end == r.probe.end) return;  // of the tail loss probe
    const uint32_t position = r.board.active() ? r.board.starting_at(duplicate.first) : Scoreboard::none;
    if (position != Scoreboard::none && r.board.record(position).times_sent == 1) return;
    r.undo.reported = duplicate;
    const uint32_t segments = (duplicate.end.since(duplicate.first) + c.mss - 1) / c.mss;
    r.undo.unreported -= static_cast<int32_t>(std::min(segments, uint32_t{1u << 16}));
}

// ---- The phases. ------------------------------------------------------------------------------------------------

void Stack::follow_ack(Conn& c, Recovery& r, const AckSample& sample) {
    if (!r.board.empty() && r.board.record(r.board.head()).kind == SentRecord::Kind::sacked) {
        return on_reneging(c, r, sample.now);
    }
    if (r.spurious != SpuriousTimeout::no) judge_timeout(c, r, sample);
    const bool reduces = r.phase == Phase::recovery || r.phase == Phase::reduced;
    const bool ends = r.phase != Phase::open && c.snd.una.at_or_after(r.point);
    if (ends) leave_phase(c, r);
    if (r.excused && sample.lost > 0) r.phase = Phase::open;  // this one is a loss
    if (r.board.lost() > 0 && (r.phase == Phase::open || r.phase == Phase::reduced)) {
        enter_recovery(c, r, sample);
    } else if (reduces) {
        if (!ends && sample.delivered > 0) congestion::on_reduction_ack(c, r, sample);
    } else if (sample.advances && !sample.marked) {
        congestion::on_ack(c, &r, sample, settings_.hystart);
    }
    if (r.phase == Phase::open) {
        // They follow SND.UNA, so that neither falls half the circle behind.
        r.point = c.snd.una;
        if (c.snd.una.after(c.recover)) c.recover = c.snd.una.back(1);
        if (r.undo.possible && c.snd.una.after(r.undo.until)) r.undo.possible = false;
    }
    if (sample.advances) r.probe.rearm = true;
    make_ready(c);
}

// One reduction for all that was in flight, whatever of it turns out to be lost; a mark of the same window has
// reduced it already.
void Stack::enter_recovery(Conn& c, Recovery& r, const AckSample& sample) {
    if (r.phase == Phase::open) congestion::begin_reduction(c, r, congestion::Cause::loss, sample);
    r.phase = Phase::recovery;
    r.excused = false;
    r.point = c.recover = c.snd.nxt;
    c.cwr_due = c.ecn;
    end_probe(r);
    c.clear(ConnFlags::rtt_timed);
    counters_.add(Tally::fast_retransmits);
    congestion::on_reduction_ack(c, r, sample);
}

// All that was in flight then has been acknowledged.
void Stack::leave_phase(Conn& c, Recovery& r) {
    if (r.phase == Phase::recovery || r.phase == Phase::reduced) congestion::end_reduction(c);
    if (r.phase != Phase::reduced) rack_recovered(r.rack);
    r.phase = Phase::open;
    r.excused = false;
    r.spurious = SpuriousTimeout::no;
    r.force_first = false;
    r.undo.until = c.snd.nxt;  // a DSACK of the last repetition is still to come
}

bool Stack::was_for_nothing(const Conn& c, const Recovery& r, const Segment& s, const AckSample& sample) {
    if (!r.undo.repeated) return false;
    // RFC 3708: every repetition arrived beside its original.
    if (r.undo.unreported <= 0) return true;
    // RFC 4015: the first repeated segment is acknowledged, by an ACK to something sent before the repetition.
    return sample.advances && c.has(ConnFlags::timestamps) && s.has(Present::timestamps) &&
           c.snd.una.after(r.undo.first) && static_cast<int32_t>(s.timestamps.echo - r.undo.timestamp) < 0;
}

void Stack::undo_reduction(Conn& c, Recovery& r) {
    counters_.add(r.undo.timeout ? Tally::timeouts_undone : Tally::recoveries_undone);
    congestion::undo(c, r);
    r.board.unmark_lost();
    r.phase = Phase::open;
    r.spurious = SpuriousTimeout::no;
    r.force_first = false;
    r.rack.reordering_seen = true;  // what seemed lost had only been overtaken
    c.clear(ConnFlags::fast_recovery | ConnFlags::rto_recovery | ConnFlags::resend_first);
    make_ready(c);
}

// F-RTO, RFC 5682 section 3.1: after a timeout, does what was in flight still arrive? The ACK of the repetition lets
// new data out instead of more repetitions; if what it moves on to was sent only once, the timeout was spurious.
void Stack::judge_timeout(Conn& c, Recovery& r, const AckSample& sample) {
    const bool all = c.snd.una.at_or_after(r.point);
    if (sample.original && !all) return undo_reduction(c, r);
    const bool may_ask = sample.advances && !all && c.unsent() > 0 && c.snd_wnd > c.in_flight();
    const bool asks = r.spurious == SpuriousTimeout::asks && may_ask;
    r.spurious = asks ? SpuriousTimeout::sent_new : SpuriousTimeout::no;
}

// RFC 2018 section 8: SND.UNA stands before something that was reported, so it has been dropped. Nothing that was
// reported is believed any more.
void Stack::on_reneging(Conn& c, Recovery& r, Instant now) {
    counters_.add(Tally::sacks_reneged);
    r.board.forget_sacks();
    enter_loss(c, r, r.phase == Phase::open);
    start_retransmit_timer(c, now);
    make_ready(c);
}

// RFC 5681 section 3.1, RFC 8985 section 6.3.
void Stack::on_board_timeout(Conn& c, Recovery& r, Instant now) {
    mark_timed_out(c, r, now);
    const bool new_episode = r.phase == Phase::open || (r.phase == Phase::loss && c.unanswered == 0);
    const bool may_be_spurious = r.phase == Phase::open && c.unanswered == 0;
    enter_loss(c, r, new_episode);
    if (may_be_spurious) r.spurious = SpuriousTimeout::asks;
}

void Stack::enter_loss(Conn& c, Recovery& r, bool new_episode) {
    congestion::on_timeout(c, &r, new_episode);
    r.phase = Phase::loss;
    r.excused = false;
    r.point = c.recover = c.snd.nxt;
    r.spurious = SpuriousTimeout::no;
    r.force_first = true;
    end_probe(r);
    r.reorder_at = Tick{};
    c.clear(ConnFlags::rtt_timed);
}

}  // namespace pollux::tcp
