// What an ACK teaches: RFC 9293 section 3.10.7.4, fifth, with the window of RFC 5961 section 5.
//
// With a scoreboard recovery.cpp draws the conclusions. Without one, for peers without SACK or when memory is short,
// they are drawn here: loss detection by duplicate ACKs (RFC 5681 section 3.2), limited transmit (RFC 3042), the
// recovery of RFC 6582 and F-RTO as RFC 5682 section 2.1 has it.
#include <bit>

#include "tcp/rtt.hpp"
#include "tcp/stack.hpp"

namespace pollux::tcp {
namespace {

constexpr uint8_t duplicate_threshold = 3;

}  // namespace

Verdict Stack::process_ack(Conn& c, const Segment& s, Instant now) {
    if (!s.has(Flags::ack)) return Verdict::no_ack;
    if (s.ack.after(c.snd.nxt)) {
        challenge_ack(c, now);
        return Verdict::ack_of_unsent;
    }
    if (s.ack.before(c.snd.una.back(c.max_snd_wnd))) {
        challenge_ack(c, now);
        return Verdict::old_ack;
    }
    // RFC 9293 MUST-37: a peer that answers probes is alive. Nobody waits for a connection that the application has
    // closed, so there a closed window counts against R2 all the same (RFC 6429, Sockstress).
    if (c.has(ConnFlags::persisting) && !c.has(ConnFlags::app_closed)) c.unanswered = 0;
    if (s.ack.before(c.snd.una)) {
        // Reordered: nothing to learn, but what it reports may be new (RFC 2018 section 5); its data counts too.
        if (s.sack_count > 0 && c.has_recovery) read_old_report(c, recoveries_[c.cold], s, now);
        return Verdict::pure_ack;
    }
    const bool advances = s.ack.after(c.snd.una);
    const bool same_window = (s.window << c.snd_scale) == c.snd_wnd;
    // RFC 5681 section 2: without data, SYN and FIN, same window, something outstanding.
    const bool duplicate = !advances && s.payload.empty() && !s.has(Flags::fin) && same_window && c.in_flight() > 0;
    take_ack(c, s, duplicate, now);
    if (advances && c.fin_acknowledged()) on_fin_acknowledged(c, now);
    return duplicate ? Verdict::duplicate_ack : Verdict::pure_ack;
}

// SEG.ACK is acceptable: SND.UNA and SND.WND follow it, then loss recovery and the window.
void Stack::take_ack(Conn& c, const Segment& s, bool duplicate, Instant now) {
    AckSample sample{.now = now, .acked = s.ack.since(c.snd.una), .flight_before = c.in_flight()};
    sample.advances = sample.acked > 0;
    sample.duplicate = duplicate;
    sample.delivered = sample.acked;
    sample.marked = c.ecn && s.has(Flags::ece);
    Recovery* const r = recovery_of(c);
    const bool has_board = r != nullptr && r->board.active();
    if (sample.advances) advance_una(c, s.ack);
    if (r != nullptr && s.sack_count > 0 && reports_duplicate(s)) {
        sample.dsack = true;
        on_dsack(c, *r, s.sack_blocks[0]);
    }
    if (has_board) {
        sample.pipe_before = r->board.pipe();
        sample.delivered = 0;
        read_scoreboard(c, *r, s, sample);
    }
    if (sample.advances) sample_rtt(c, s, sample.oldest_rtt_us, now);
    update_window(c, s, sample.advances, now);
    if (r != nullptr && r->probe.active) settle_probe(c, *r, s, sample);
    if (r != nullptr && r->undo.possible && was_for_nothing(c, *r, s, sample)) undo_reduction(c, *r);
    if (has_board)
        follow_ack(c, *r, sample);
    else if (sample.advances)
        on_new_ack(c, r, sample);
    else if (duplicate && !c.has(ConnFlags::persisting))
        on_duplicate_ack(c, r);
    if (sample.marked) on_ecn_echo(c, r, sample);
    if (sample.advances) go_on(c, now);
    if (r != nullptr && c.in_flight() == 0) rest_recovery(c, *r, now);
}

void Stack::advance_una(Conn& c, SeqNum ack) {
    const bool fin = c.has(ConnFlags::fin_sent) && ack == c.snd.nxt;
    send_queues_.acknowledge(c, ack.since(c.snd.una) - (fin ? 1 : 0));
    c.snd.una = ack;
    // RFC 6298 section 5: the backoff ends with the next sample, so not with the ACK of what was sent twice (Karn).
    if (c.backoff != 0) c.unanswered = 0;
    if (c.has(ConnFlags::persisting)) c.backoff = 0;
}

// SND.UNA has moved: the timer, and who waits for that.
void Stack::go_on(Conn& c, Instant now) {
    // RFC 6298 (5.2), (5.3): nothing outstanding stops the timer, new data acknowledged restarts it.
    // A probe that the device had no room for would ask what this ACK has answered, and repeat an acknowledged FIN.
    c.clear(ConnFlags::persisting | ConnFlags::probe_window);
    if (c.in_flight() == 0)
        stop_retransmit_timer(c);
    else
        start_retransmit_timer(c, now);
    if (c.has(ConnFlags::wants_writable)) {
        c.clear(ConnFlags::wants_writable);
        raise(c, Event::Kind::writable);
    }
    if (c.queued() > 0 || c.has(ConnFlags::fin_queued)) make_ready(c);
}

// An ACK of new data when at most one segment was in flight: the expected one.
void Stack::on_lone_ack(Conn& c, const Segment& s, Instant now) {
    const uint32_t acked = s.ack.since(c.snd.una);
    advance_una(c, s.ack);
    sample_rtt(c, s, 0, now);
    if (c.has(ConnFlags::cwnd_limited)) {
        congestion::on_ack(c, nullptr, {.now = now, .acked = acked, .delivered = acked}, settings_.hystart);
    }
    if (c.snd.una.after(c.recover)) c.recover = c.snd.una.back(1);
    update_window(c, s, true, now);
    go_on(c, now);
}

// ---- Without a scoreboard. --------------------------------------------------------------------------------------

void Stack::on_new_ack(Conn& c, Recovery* r, const AckSample& sample) {
    if (c.has(ConnFlags::duplicates)) {
        c.clear(ConnFlags::duplicates);
        c.dup_acks = 0;
    }
    if (c.has(ConnFlags::fast_recovery)) {
        if (c.snd.una.before(c.recover)) {
            // Partial: the next hole begins here; repair it without waiting for three more duplicates.
            congestion::on_partial_ack(c, sample.acked);
            c.set(ConnFlags::resend_first);
        } else {
            c.clear(ConnFlags::fast_recovery);
            congestion::on_recovered(c);
            if (r != nullptr) r->undo.possible = false;
        }
        return;
    }
    if (c.has(ConnFlags::rto_recovery)) {
        if (r != nullptr) judge_timeout_by_acks(c, *r);
        c.rtx = later(c.rtx, c.snd.una);
        if (c.snd.una.at_or_after(c.recover)) {
            c.clear(ConnFlags::rto_recovery);
            if (r != nullptr) r->undo.possible = false;
        }
    }
    // RFC 3168 section 6.1.2: what reports congestion opens no window.
    if (!sample.marked) congestion::on_ack(c, r, sample, settings_.hystart);
    if (c.ecn_reduced && c.snd.una.after(c.recover)) c.ecn_reduced = false;
    // Follows SND.UNA, so that it never falls half the circle behind.
    if (c.snd.una.after(c.recover)) c.recover = c.snd.una.back(1);
}

// F-RTO: the first ACK after the repetition lets two new segments out; if the next one moves on as well, it is an ACK
// of what had been in flight all along.
void Stack::judge_timeout_by_acks(Conn& c, Recovery& r) {
    if (r.spurious == SpuriousTimeout::no) return;
    if (r.spurious == SpuriousTimeout::sent_new) return undo_reduction(c, r);
    const bool may_ask = c.snd.una.before(c.recover) && c.unsent() > 0 && c.snd_wnd > c.in_flight();
    r.spurious = may_ask ? SpuriousTimeout::sent_new : SpuriousTimeout::no;
}

void Stack::on_duplicate_ack(Conn& c, Recovery* r) {
    c.set(ConnFlags::duplicates);
    if (c.dup_acks < 127) ++c.dup_acks;
    make_ready(c);  // RFC 3042: the first two let a new segment out each
    if (r != nullptr) r->spurious = SpuriousTimeout::no;
    if (c.has(ConnFlags::fast_recovery)) return congestion::on_segment_left(c);
    // RFC 6582 section 3.2 (1): data of an earlier loss that is repaired already raises duplicates of its own.
    if (c.dup_acks != duplicate_threshold || !(c.snd.una.after(c.recover) || c.ecn_reduced)) return;
    c.recover = c.snd.nxt;
    congestion::on_third_duplicate(c, r, !c.ecn_reduced);
    c.ecn_reduced = false;
    c.cwr_due = c.ecn;
    c.set(ConnFlags::fast_recovery | ConnFlags::resend_first);
    c.clear(ConnFlags::rtt_timed);
    counters_.add(Tally::fast_retransmits);
}

// SND.WL2 is not needed: the ACK is not older than SND.UNA, so the RFC's second comparison always holds. Nor is WL1
// asked when the ACK `advances`: the segment left the peer after all that were heard before, even if it repeats older
// data. To move SND.UNA and keep the old SND.WND would move the right edge to where the peer never promised it.
void Stack::update_window(Conn& c, const Segment& s, bool advances, Instant now) {
    if (!advances && !c.snd_wl1.at_or_before(s.seq)) return;
    c.snd_wl1 = later(c.snd_wl1, s.seq);
    const uint32_t window = s.window << c.snd_scale;
    if (window == c.snd_wnd) return;
    const bool opened = window > c.snd_wnd;
    c.snd_wnd = window;
    if (!opened) return;
    c.max_snd_wnd = std::max(c.max_snd_wnd, window);
    if (c.has(ConnFlags::persisting)) {
        // What was sent as a probe and not taken leaves again, at once.
        c.clear(ConnFlags::persisting);
        c.unanswered = c.backoff = 0;
        stop_retransmit_timer(c);
        if (c.in_flight() > 0) {
            // If it counts as lost, it is the next to leave as it is.
            if (!first_is_lost(c)) c.set(ConnFlags::resend_first);
            start_retransmit_timer(c, now);
        }
    }
    make_ready(c);
}

bool Stack::first_is_lost(const Conn& c) const {
    const Recovery* const r = recovery_of(c);
    if (r == nullptr || !r->board.active()) return c.has(ConnFlags::rto_recovery) && c.rtx == c.snd.una;
    return r->board.first_lost() != Scoreboard::none && r->board.first_lost() == r->board.head();
}

// RFC 6298 section 3 (Karn), RFC 7323 section 4: the scoreboard knows what was sent once, and to the microsecond;
// timestamps tell which transmission is acknowledged; without either one segment at a time is timed, and never one
// that was retransmitted.
void Stack::sample_rtt(Conn& c, const Segment& s, uint32_t recorded_us, Instant now) {
    const uint32_t flight = c.in_flight();
    if (recorded_us != 0) {
        const uint32_t segments = flight / c.mss;
        rtt_sample(c.srtt_us, c.rttvar_us, Duration{recorded_us},
                   segments <= 4 ? 0 : static_cast<uint32_t>(std::bit_width(segments)) - 2);
        c.clear(ConnFlags::rtt_timed);
    } else if (c.has(ConnFlags::timestamps)) {
        if (!s.has(Present::timestamps)) return;
        const auto ms = static_cast<int32_t>(timestamp_clock(now) + c.ts_offset - s.timestamps.echo);
        if (ms < 0 || ms > 600'000) return;  // an echo of what was never sent
        const uint32_t extra = flight <= 4u * c.mss ? 0 : static_cast<uint32_t>(std::bit_width(flight / c.mss)) - 2;
        rtt_sample(c.srtt_us, c.rttvar_us, Duration{int64_t{ms} * 1000}, extra);
    } else if (c.has(ConnFlags::rtt_timed) && s.ack.at_or_after(c.rtt_seq)) {
        c.clear(ConnFlags::rtt_timed);
        const auto elapsed = static_cast<uint32_t>(now.time_since_epoch().count()) - c.rtt_at_us;
        rtt_sample(c.srtt_us, c.rttvar_us, Duration{elapsed}, 0);
    } else {
        return;
    }
    if (c.has(ConnFlags::syn_lost)) c.clear(ConnFlags::syn_lost);
    c.backoff = 0;
}

void Stack::on_fin_acknowledged(Conn& c, Instant now) {
    if (c.state == State::fin_wait_1) {
        enter(c, State::fin_wait_2);
        // RFC 1122 section 4.2.2.20: a peer that never closes must not hold a connection that nobody reads.
        if (c.has(ConnFlags::app_closed)) {
            c.retransmit_at = deadline_at(now + settings_.fin_wait_2);
            schedule(c);
        }
    } else if (c.state == State::closing) {
        enter(c, State::time_wait);
    }
    make_ready(c);  // TIME-WAIT and the end of LAST-ACK follow in output()
}

}  // namespace pollux::tcp
