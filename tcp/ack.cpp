// What an ACK teaches: RFC 9293 section 3.10.7.4, fifth, with the window of RFC 5961 section 5, loss detection by
// duplicate ACKs (RFC 5681 section 3.2) and the recovery of RFC 6582.
#include <bit>

#include "tcp/new_reno.hpp"
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
    if (s.ack.before(c.snd.una)) return Verdict::pure_ack;  // reordered: nothing to learn, its data counts

    const bool advances = s.ack.after(c.snd.una);
    const bool same_window = (s.window << c.snd_scale) == c.snd_wnd;
    // RFC 5681 section 2: without data, SYN and FIN, same window, something outstanding.
    const bool duplicate = !advances && s.payload.empty() && !s.has(Flags::fin) && same_window && c.in_flight() > 0;
    if (advances) on_new_ack(c, s, now);
    update_window(c, s, advances, now);
    if (duplicate && !c.has(ConnFlags::persisting)) on_duplicate_ack(c);
    if (advances && c.fin_acknowledged()) on_fin_acknowledged(c, now);
    return duplicate ? Verdict::duplicate_ack : Verdict::pure_ack;
}

void Stack::on_new_ack(Conn& c, const Segment& s, Instant now) {
    const uint32_t acked = s.ack.since(c.snd.una);
    const bool fin = c.has(ConnFlags::fin_sent) && s.ack == c.snd.nxt;
    send_queues_.acknowledge(c, acked - (fin ? 1 : 0));
    c.snd.una = s.ack;
    // RFC 6298 section 5: the backoff ends with the next sample, so not with the ACK of what was sent twice (Karn).
    if (c.backoff != 0) c.unanswered = 0;
    if (c.has(ConnFlags::persisting)) c.backoff = 0;
    sample_rtt(c, s, now);
    if (c.has(ConnFlags::duplicates)) {
        c.clear(ConnFlags::duplicates);
        c.dup_acks = 0;
    }
    if (c.has(ConnFlags::fast_recovery)) {
        if (s.ack.before(c.recover)) {
            // Partial: the next hole begins here; repair it without waiting for three more duplicates.
            new_reno::on_partial_ack(c, acked);
            c.set(ConnFlags::resend_first);
        } else {
            c.clear(ConnFlags::fast_recovery);
            new_reno::on_recovered(c);
        }
    } else {
        if (c.has(ConnFlags::rto_recovery)) {
            c.rtx = later(c.rtx, c.snd.una);
            if (s.ack.at_or_after(c.recover)) c.clear(ConnFlags::rto_recovery);
        }
        new_reno::on_ack(c, acked);
        // Follows SND.UNA, so that it never falls half the circle behind.
        if (c.snd.una.after(c.recover)) c.recover = c.snd.una.back(1);
    }
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

void Stack::on_duplicate_ack(Conn& c) {
    c.set(ConnFlags::duplicates);
    if (c.dup_acks < 255) ++c.dup_acks;
    if (c.has(ConnFlags::fast_recovery)) {
        new_reno::on_segment_left(c);
        make_ready(c);
        return;
    }
    // RFC 6582 section 3.2 (1): data of an earlier loss that is repaired already raises duplicates of its own.
    if (c.dup_acks != duplicate_threshold || !c.snd.una.after(c.recover)) return;
    c.recover = c.snd.nxt;
    new_reno::on_loss(c);
    c.set(ConnFlags::fast_recovery | ConnFlags::resend_first);
    c.clear(ConnFlags::rtt_timed);
    counters_.add(Tally::fast_retransmits);
    make_ready(c);
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
        c.backoff = c.unanswered = 0;
        stop_retransmit_timer(c);
        if (c.in_flight() > 0) {
            // If it counts as lost, it is the next to leave as it is.
            const bool next = c.has(ConnFlags::rto_recovery) && c.rtx == c.snd.una;
            if (!next) c.set(ConnFlags::resend_first);
            start_retransmit_timer(c, now);
        }
    }
    make_ready(c);
}

// RFC 6298 section 3 (Karn), RFC 7323 section 4: timestamps tell which transmission is acknowledged; without them one
// segment at a time is timed, and never one that was retransmitted.
void Stack::sample_rtt(Conn& c, const Segment& s, Instant now) {
    if (c.has(ConnFlags::timestamps)) {
        if (!s.has(Present::timestamps)) return;
        const auto ms = static_cast<int32_t>(timestamp_clock(now) + c.ts_offset - s.timestamps.echo);
        if (ms < 0 || ms > 600'000) return;  // an echo of what was never sent
        const uint32_t flight = c.in_flight();
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
