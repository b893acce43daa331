// Output: what may be sent now, and building the segment. The only place where segments of connections leave.
//
// In this order: what is known to be lost, new data as cwnd, the peer's window and the rules against silly windows
// (RFC 9293 section 3.8.6.2.1) and small segments (section 3.7.4) allow, the FIN behind the last byte, and an ACK of
// its own only when nothing has carried it.
#include <algorithm>
#include <utility>

#include "tcp/stack.hpp"

namespace pollux::tcp {
namespace {

constexpr ConnFlags wants_attention = ConnFlags::reduced_window | ConnFlags::has_store | ConnFlags::has_duplicate |
                                      ConnFlags::wants_writable | ConnFlags::keep_alive;
constexpr Duration longest_hold = 200ms;  // as Linux's TCP_CORK
constexpr Duration room_interval = 10ms;  // after which a send() that found an empty pool may try again

}  // namespace

// Ready connections in turn. A record whose connection has ended since is given back here.
void Stack::serve_ready(Instant now, TxBatch& out) {
    while (!ready_.empty() && out.room() > 0) {
        const uint32_t index = ready_.pop_front();
        Conn& c = conns_[index];
        if (c.generation == 0) {
            if (c.has(ConnFlags::send_reset) && !output_reset(c, now, out)) {
                ready_.push_front(index);
                return;
            }
            conns_.give(index);
            continue;
        }
        switch (output(c, now, out)) {
            case Output::done:
                c.clear(ConnFlags::ready);
                if (finished(c, now)) continue;
                schedule(c);
                break;
            case Output::again: ready_.push_back(index); break;
            case Output::blocked: ready_.push_front(index); return;
        }
    }
}

Stack::Output Stack::output(Conn& c, Instant now, TxBatch& out) {
    if (in(c.state, opening_states)) return output_opening(c, now, out);
    uint32_t quota = settings_.transmit_quantum;
    const bool acks_wait = c.has(ConnFlags::ack_now);
    if (c.has(ConnFlags::idle_timed) && !is_idle(c)) stop_keep_alive(c);
    if (!output_lost(c, now, out, quota) || !output_new(c, now, out, quota)) {
        return quota == 0 ? Output::again : Output::blocked;
    }
    if (Recovery* const r = recovery_of(c)) {
        note_usage(c, *r);
        if (r->probe.rearm) arm_probe(c, *r, now);
    }
    if (acks_wait && !c.has(ConnFlags::ack_now)) c.immediate_acks = 0;  // data has carried them
    if (c.has(wants_attention)) attend(c, now);
    if (c.has(ConnFlags::ack_now)) {
        // A probe or FIN that a closed window refused stands beyond what the peer takes for in order.
        const SeqNum seq = earlier(c.snd.nxt, c.snd.una + c.snd_wnd);
        do {
            if (out.room() == 0) {
                c.set(ConnFlags::ack_now);  // the others leave in the next turn
                return Output::blocked;
            }
            emit(c, seq, 0, false, now, out);
        } while ((c.immediate_acks > 0 && --c.immediate_acks > 0) || owes_reports(c));
    } else if (c.has(ConnFlags::ack_delayed) && !c.has(ConnFlags::ack_timed)) {
        c.set(ConnFlags::ack_timed);
        c.ack_at = deadline_at(now + settings_.ack_delay);
    }
    return Output::done;
}

// What few connections need behind their data.
void Stack::attend(Conn& c, Instant now) {
    const bool window_opens = c.has(ConnFlags::reduced_window) && may_announce_more(c);
    if (window_opens || owes_reports(c)) c.set(ConnFlags::ack_now);
    // Refused by an empty pool with nothing in flight: no ACK will tell when there is room, so the clock does.
    if (waits_for_room(c) && !c.retransmit_at.is_set()) c.retransmit_at = deadline_at(now + room_interval);
    if (c.has(ConnFlags::keep_alive) && !c.retransmit_at.is_set()) restart_keep_alive(c, now);
}

// False when the quota or the batch ended.
bool Stack::output_lost(Conn& c, Instant now, TxBatch& out, uint32_t& quota) {
    const SeqNum data_end = c.snd.una + c.queued();
    const auto may_emit = [&] { return quota > 0 && out.room() > 0 && out.piece_room() >= SendQueues::max_pieces; };
    if (c.has(ConnFlags::resend_first) && c.snd_wnd != 0) {
        if (!may_emit()) return false;
        c.clear(ConnFlags::resend_first);
        if (c.in_flight() > 0) {
            const uint32_t size = std::min({uint32_t{c.mss}, c.in_flight(), c.queued()});
            emit(c, c.snd.una, size, c.has(ConnFlags::fin_sent), now, out);
            --quota;
        }
    }
    if (c.has(ConnFlags::probe_window)) {
        if (!may_emit()) return false;
        c.clear(ConnFlags::probe_window);
        // What is outstanding serves as the probe; else what the window takes, or one byte that it does not.
        const SeqNum at = c.in_flight() > 0 ? c.snd.una : c.snd.nxt;
        const uint32_t size = std::min({std::max(c.snd_wnd, 1u), uint32_t{c.mss}, data_end.since(at)});
        const bool fin = c.has(ConnFlags::fin_queued) && at + size == data_end;
        if (size > 0 || fin) {
            counters_.add(Tally::window_probes);
            emit(c, at, size, fin, now, out);
            --quota;
        }
    }
    if (c.has(ConnFlags::probe_idle)) {
        if (out.room() == 0) return false;
        c.clear(ConnFlags::probe_idle);
        counters_.add(Tally::keep_alive_probes);
        emit(c, c.snd.nxt.back(1), 0, false, now, out);
    }
    Recovery* const r = recovery_of(c);
    if (r != nullptr && r->board.active()) return output_repetitions(c, *r, now, out, quota);
    const bool waits = r != nullptr && r->spurious == SpuriousTimeout::sent_new;
    while (c.has(ConnFlags::rto_recovery) && !waits && c.rtx.before(c.recover)) {
        const uint32_t ahead = c.rtx.since(c.snd.una);
        const uint32_t left = c.rtx.before(data_end) ? data_end.since(c.rtx) : 0;
        const uint32_t size = std::min({uint32_t{c.mss}, left, c.recover.since(c.rtx)});
        // The first segment always leaves, but into a closed window: that is probed.
        if (ahead + std::max(size, 1u) > std::min(c.cwnd, c.snd_wnd) && (ahead > 0 || c.snd_wnd == 0)) {
            if (c.cwnd <= c.snd_wnd) c.set(ConnFlags::cwnd_limited);
            break;
        }
        if (!may_emit()) return false;
        c.rtx += emit(c, c.rtx, size, c.has(ConnFlags::fin_sent), now, out);
        --quota;
    }
    return true;
}

// False when the quota or the batch ended.
bool Stack::output_new(Conn& c, Instant now, TxBatch& out, uint32_t& quota) {
    Recovery* const r = recovery_of(c);
    if (repeats_first(c, r)) return true;
    c.clear(ConnFlags::cwnd_limited);
    while (true) {
        const uint32_t unsent = c.unsent();
        const bool fin_due = c.has(ConnFlags::fin_queued) && !c.has(ConnFlags::fin_sent);
        if (unsent == 0 && !fin_due) {
            if (c.has_recovery) note_app_limited(c, recoveries_[c.cold]);
            return true;
        }
        const uint32_t flight = c.in_flight();
        if (flight == 0) restart_after_idle(c, now);
        const uint32_t room = congestion_room(c);
        const uint32_t usable = std::min(room, c.snd_wnd > flight ? c.snd_wnd - flight : 0);
        const uint32_t size = std::min({uint32_t{c.mss}, unsent, usable});
        const bool last = size == unsent;
        const bool go =
            size == 0 ? last && (usable > 0 || flight == 0) : size == c.mss || may_send_small(c, size, unsent);
        if (!go) {
            if (room < c.mss) c.set(ConnFlags::cwnd_limited);
            if (flight == 0 && !c.retransmit_at.is_set()) {
                if (c.has(ConnFlags::more_to_come) && size == unsent)
                    start_holding(c, now);
                else
                    start_persist(c, now);
            }
            return true;
        }
        if (quota == 0 || out.room() == 0 || out.piece_room() < SendQueues::max_pieces) return false;
        if (!has_room_on_board(c)) return true;  // an ACK makes room
        // The FIN rides along when it fits the window, or when nothing else would bring it (RFC 9293 section 3.10.4).
        const bool fin = fin_due && last && (usable > size || flight + size == 0);
        stop_hold_timer(c);
        emit(c, c.snd.nxt, size, fin, now, out);
        --quota;
    }
}

// What is lost goes before what is new, unless F-RTO asks.
bool Stack::repeats_first(const Conn& c, const Recovery* r) {
    if (r != nullptr && r->spurious == SpuriousTimeout::sent_new) return false;
    if (r != nullptr && r->board.active()) return r->board.lost() > 0;
    return c.has(ConnFlags::rto_recovery) && c.rtx.before(c.recover);
}

// How much more cwnd allows in flight.
uint32_t Stack::congestion_room(const Conn& c) const {
    uint32_t window = c.cwnd;
    uint32_t used = c.in_flight();
    const Recovery* const r = recovery_of(c);
    if (r != nullptr && r->board.active()) {
        used = r->board.pipe();
    } else if (c.has(ConnFlags::rto_recovery)) {
        // RFC 5682 section 2.1, step 2: two new segments beyond all that was in flight.
        const bool asks = r != nullptr && r->spurious == SpuriousTimeout::sent_new;
        if (asks) window = std::max(window, c.recover.since(c.snd.una) + 2u * c.mss);
    } else if (c.has(ConnFlags::duplicates) && !c.has(ConnFlags::fast_recovery)) {
        window += std::min<uint32_t>(c.dup_acks, 2) * c.mss;  // RFC 3042: limited transmit
    }
    return window > used ? window - used : 0;
}

// RFC 5681 section 4.1. Which connections have a window to lose, extras remembers.
void Stack::restart_after_idle(Conn& c, Instant now) {
    const uint32_t restart_window = initial_cwnd(c.mss);
    if (!settings_.restart_after_idle || c.cwnd <= restart_window) return;
    const Tick last = std::exchange(extras_[index_of(c)].last_sent, Tick{});
    if (!last.is_set()) return;
    const Duration idle = (tick_at(now) - last) * 1ms;
    if (idle > rto(c)) congestion::restart_after_idle(c, restart_window);
}

// RFC 6928, with the segment size that is really used.
uint32_t Stack::initial_cwnd(uint32_t mss) const {
    const uint32_t segments = settings_.initial_window_segments;
    return std::min(segments * mss, std::max(2u * mss, segments * 1460));
}

// Less than a full segment leaves when it is all there is and nothing waits for an ACK (Nagle off: or not), or when
// it is half of the largest window that the peer ever offered.
bool Stack::may_send_small(const Conn& c, uint32_t size, uint32_t unsent) const {
    if (size == unsent) {
        return !c.has(ConnFlags::more_to_come) && (c.has(ConnFlags::no_delay) || c.in_flight() == 0);
    }
    return size >= c.max_snd_wnd / 2;
}

// The clock ends the holding back only while no ACK will ask again.
void Stack::start_holding(Conn& c, Instant now) {
    c.set(ConnFlags::hold_timed);
    c.retransmit_at = deadline_at(now + longest_hold);
}

void Stack::start_persist(Conn& c, Instant now) {
    c.set(ConnFlags::persisting);
    start_retransmit_timer(c, now);
}

// RFC 9293 section 3.8.3 (a), RFC 1122 section 3.3.1.4: R1 retransmissions without an answer are advice that the next
// hop may be dead. A path is only as good as the link address of the last packet that came by it, which no checksum
// of ours covers: from then on every other attempt asks the neighbour cache instead.
PathId Stack::path_of(const Conn& c) {
    // The backoff, which is never less, spares the expected segment the third cache line.
    return c.backoff >= r1 && c.unanswered >= r1 && (c.unanswered & 1) != 0 ? unresolved_path : c.path;
}

// What every segment of a connection carries; RFC 7323 section 3.2: timestamps on each, RST included.
Segment& Stack::add_segment(const Conn& c, SeqNum seq, Instant now, TxBatch& out) {
    Segment& s = out.add().segment;
    s.flow = c.flow;
    s.seq = seq;
    s.ack = c.rcv.nxt;
    s.flags = Flags::ack;
    s.path = path_of(c);
    s.ttl = settings_.ttl;
    s.traffic_class = c.has(ConnFlags::own_dscp) ? extras_[index_of(c)].dscp : settings_.dscp;
    if (c.has(ConnFlags::timestamps)) {
        s.present = Present::timestamps;
        s.timestamps = {timestamp_clock(now) + c.ts_offset, c.ts_recent};
    }
    return s;
}

// Emits [seq, seq + size) and, `with_fin`, the FIN if that reaches the end of the queue. Returns the sequence numbers
// that the segment occupies.
uint32_t Stack::emit(Conn& c, SeqNum seq, uint32_t size, bool with_fin, Instant now, TxBatch& out) {
    Segment& s = add_segment(c, seq, now, out);
    s.window = announce_window(c, now);
    const bool acks_wait = c.has(ConnFlags::ack_now);
    // A repetition is as long as it was the first time: if the report does not fit, an ACK of its own brings it.
    const bool repeats = size > 0 && seq.before(c.snd.nxt) && c.has_recovery;
    const bool reports = c.has(ConnFlags::has_store | ConnFlags::has_duplicate) && c.has(ConnFlags::sack);
    if (reports && !repeats) {
        report_received(c, s);
        // RFC 9293 MUST-16: options that are not on every segment come off this one's payload.
        if (s.sack_count > 0) size = std::min(size, c.mss - std::min(c.mss - 1u, 4u + 8u * s.sack_count));
    }
    uint32_t sent = 0;
    if (size > 0) {
        sent = send_queues_.gather(c, seq.since(c.snd.una), size, out);
        // RFC 9293 MUST-61: PSH on the last byte of what is queued.
        if (seq + sent == c.snd.una + c.queued()) s.flags |= Flags::psh;
    }
    if (c.hears_ce) say_ecn(c, s, seq, sent);
    const bool fin = with_fin && seq + sent == c.snd.una + c.queued();
    if (fin) s.flags |= Flags::fin;
    count_emitted(c, seq, sent, fin, now);
    if (reports && repeats && acks_wait) c.set(ConnFlags::ack_now);
    return sent + (fin ? 1 : 0);
}

// RFC 2018 section 4, and before it RFC 2883 section 4: the first block is a duplicate, if there is one to tell of.
void Stack::report_received(Conn& c, Segment& s) {
    const uint32_t most = c.has(ConnFlags::timestamps) ? 3 : 4;  // what 40 bytes of options hold
    if (c.has(ConnFlags::has_duplicate)) {
        const SackBlock block = take_duplicate(c);
        if (block.first != block.end) s.sack_blocks[s.sack_count++] = block;
    }
    if (!c.has(ConnFlags::has_store)) return;
    const auto rest = std::span(s.sack_blocks).first(most).subspan(s.sack_count);
    s.sack_count = static_cast<uint8_t>(s.sack_count + stores_.report(stores_[c.store], rest));
}

void Stack::count_emitted(Conn& c, SeqNum seq, uint32_t size, bool fin, Instant now) {
    // Whatever leaves carries the ACK of all that was received.
    c.clear(ConnFlags::ack_now | ConnFlags::ack_delayed | ConnFlags::ack_timed);
    c.unacked_units = 0;
    counters_.add(Tally::segments_sent);
    const uint32_t length = size + (fin ? 1 : 0);
    if (length == 0) return counters_.add(Tally::acks_sent);

    const SeqNum end = seq + length;
    if (seq.before(c.snd.nxt)) {
        counters_.add(Tally::retransmitted_segments);
        c.clear(ConnFlags::rtt_timed);  // Karn: what is repeated is not timed
        note_repeated(c, seq, length, now);
    } else if (!c.has(ConnFlags::timestamps | ConnFlags::rtt_timed)) {
        c.set(ConnFlags::rtt_timed);
        c.rtt_seq = end;
        c.rtt_at_us = static_cast<uint32_t>(now.time_since_epoch().count());
    }
    if (end.after(c.snd.nxt)) {
        if (seq == c.snd.nxt) note_new(c, length, now);
        counters_.add(Tally::payload_bytes_sent, end.since(c.snd.nxt) - (fin ? 1 : 0));
        c.snd.nxt = end;
    }
    if (fin && !c.has(ConnFlags::fin_sent)) {
        c.set(ConnFlags::fin_sent);
        enter(c, c.state == State::established ? State::fin_wait_1 : State::last_ack);
    }
    // RFC 6298 (5.1): sending data starts the timer when it is not running.
    if (!c.retransmit_at.is_set()) start_retransmit_timer(c, now);
}

bool Stack::output_reset(Conn& c, Instant now, TxBatch& out) {
    if (out.room() == 0) return false;
    add_segment(c, c.snd.nxt, now, out).flags |= Flags::rst;
    counters_.add(Tally::resets_sent);
    return true;
}

}  // namespace pollux::tcp
