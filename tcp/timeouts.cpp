// What each expiry does. A connection has one entry in the wheel, at its earliest deadline; which timer that was is
// the list of ifs in on_timer(). Timers send nothing themselves: they mark, and output() sends in the same turn.
//
// A later deadline is only written into the connection: almost every RTO is cancelled, so the wheel looks at the
// deadline when it gets there.
#include <algorithm>
#include <utility>

#include "tcp/stack.hpp"

namespace pollux::tcp {
namespace {

constexpr Duration rto_after_lost_syn = 3s;      // RFC 6298 (5.7)
constexpr uint8_t most_doublings = 12;           // by then any RTO has reached its maximum
constexpr Duration longest_user_timeout = 240h;  // well within the circle of ticks

// `ms` later; never the tick that means "unset".
Tick after(Tick tick, uint32_t ms) {
    const uint32_t raw = tick.raw() + ms;
    return Tick{raw == 0 ? 1u : raw};
}

}  // namespace

Tick Stack::on_timer(uint32_t index, Instant now) {
    Conn& c = conns_[index];
    const Tick tick = tick_at(now);
    const auto due = [&](Tick deadline) { return deadline.is_set() && deadline.at_or_before(tick); };
    if (Recovery* const r = recovery_of(c)) {
        if (due(r->probe_at)) on_probe_timeout(c, *r, now);
        if (due(r->reorder_at)) on_reordering_timeout(c, *r, now);
    }
    if (due(c.retransmit_at)) {
        const Tick fired = std::exchange(c.retransmit_at, Tick{});
        if (c.has(ConnFlags::idle_timed)) {
            on_keep_alive_timeout(c, now);
        } else if (c.has(ConnFlags::hold_timed)) {
            c.clear(ConnFlags::hold_timed | ConnFlags::more_to_come);
            make_ready(c);
        } else if (c.state == State::fin_wait_2) {
            give_up(c, Event::Kind::timed_out);
        } else if (in(c.state, opening_states)) {
            on_syn_timeout(c, now);
        } else if (waits_for_room(c)) {
            c.clear(ConnFlags::wants_writable);
            raise(c, Event::Kind::writable);
            make_ready(c);  // if that tempts nobody to send, the connection is idle again
        } else if (user_timeout_is_over(c, fired, now)) {
            give_up(c, Event::Kind::timed_out);
        } else if (c.has(ConnFlags::persisting) || c.snd_wnd == 0) {
            on_persist_timeout(c, now);
        } else {
            on_retransmission_timeout(c, now);
        }
        if (c.generation == 0) return Tick{};
    }
    if (c.has(ConnFlags::ack_timed) && due(c.ack_at)) acknowledge_now(c);
    if (due(c.app_deadline)) {
        c.app_deadline = Tick{};
        raise(c, Event::Kind::deadline);
    }
    return next_deadline(c);
}

// RFC 6298 (5.4) to (5.6), RFC 5681 section 3.1: the earliest segment again, twice the timeout, one segment of cwnd,
// and all that was outstanding counts as lost.
void Stack::on_retransmission_timeout(Conn& c, Instant now) {
    if (exhausted(c)) return give_up(c, Event::Kind::timed_out);
    counters_.add(Tally::retransmission_timeouts);
    if (c.unanswered + 1 == r1) suspect_black_hole(c, now);
    Recovery* const r = take_recovery(c);
    const bool first_time = c.unanswered == 0;
    if (r != nullptr && r->board.active()) {
        on_board_timeout(c, *r, now);
    } else {
        if (r != nullptr) {
            const bool may_be_spurious = first_time && !c.has(ConnFlags::fast_recovery);
            r->spurious = may_be_spurious ? SpuriousTimeout::asks : SpuriousTimeout::no;
        }
        congestion::on_timeout(c, r, first_time);
        c.clear(ConnFlags::fast_recovery | ConnFlags::rtt_timed | ConnFlags::duplicates);
        c.set(ConnFlags::rto_recovery);
        c.dup_acks = 0;
        c.rtx = c.snd.una;
    }
    c.recover = c.snd.nxt;
    c.cwr_due = c.ecn;
    c.ecn_reduced = false;
    c.clear(ConnFlags::resend_first);
    count_expiry(c, now);
}

// RFC 9293 section 3.8.6.1: probes for ever while they are answered, ever more seldom. A window that closed over data
// in flight is probed with that data.
void Stack::on_persist_timeout(Conn& c, Instant now) {
    if (exhausted(c)) return give_up(c, Event::Kind::timed_out);
    c.set(ConnFlags::persisting | ConnFlags::probe_window);
    count_expiry(c, now);
}

void Stack::count_expiry(Conn& c, Instant now) {
    if (c.unanswered < 255) ++c.unanswered;
    if (c.backoff < most_doublings) ++c.backoff;
    start_retransmit_timer(c, now);
    const ConnExtras& extras = extras_[index_of(c)];
    if (extras.user_timeout_ms != 0 && !in(c.state, opening_states)) {
        c.retransmit_at = earliest(c.retransmit_at, after(extras.unacked_since, extras.user_timeout_ms));
    }
    if (c.unanswered == r1) raise(c, Event::Kind::unanswered);
    make_ready(c);
}

// R2 (RFC 9293 section 3.8.3), or the user timeout instead; nobody waits for what the application has closed.
bool Stack::exhausted(const Conn& c) const {
    if (!c.has(ConnFlags::app_closed) && extras_[index_of(c)].user_timeout_ms != 0) return false;
    return c.unanswered >= (c.has(ConnFlags::app_closed) ? settings_.orphan_retries : settings_.data_retries);
}

void Stack::set_user_timeout(ConnId conn, Duration limit) {
    const Conn* c = find(conn);
    if (c == nullptr) return;
    extras_[conn.index].user_timeout_ms =
        static_cast<uint32_t>(std::clamp<Duration>(limit, 0s, longest_user_timeout) / 1ms);
}

// RFC 5482 section 3, RFC 6429: an answer that acknowledges nothing does not count. The first expiry since SND.UNA
// moved tells when the wait began: the timer was started with it.
bool Stack::user_timeout_is_over(const Conn& c, Tick due, Instant now) {
    ConnExtras& extras = extras_[index_of(c)];
    if (extras.user_timeout_ms == 0) return false;
    if (!extras.unacked_since.is_set() || extras.unacked_una != c.snd.una) {
        extras.unacked_una = c.snd.una;
        extras.unacked_since = after(due, -static_cast<uint32_t>(rto(c) / 1ms));
    }
    return after(extras.unacked_since, extras.user_timeout_ms).at_or_before(tick_at(now));
}

void Stack::give_up(Conn& c, Event::Kind kind) {
    counters_.add(Tally::connections_timed_out);
    raise(c, kind);
    release(c);
}

Duration Stack::rto(const Conn& c) const {
    Duration base = settings_.initial_rto;
    if (c.srtt_us != 0) {
        base = Duration{c.srtt_us} + std::max(settings_.min_rto_variance, Duration{int64_t{4} * c.rttvar_us});
    } else if (c.has(ConnFlags::syn_lost)) {
        base = std::max(base, rto_after_lost_syn);
    }
    return std::min(base * (int64_t{1} << c.backoff), settings_.max_rto);
}

void Stack::start_retransmit_timer(Conn& c, Instant now) { c.retransmit_at = deadline_at(now + rto(c)); }

void Stack::stop_retransmit_timer(Conn& c) { c.retransmit_at = Tick{}; }

Tick Stack::next_deadline(const Conn& c) const {
    Tick due = earliest(c.retransmit_at, c.app_deadline);
    if (const Recovery* const r = recovery_of(c)) due = earliest(due, earliest(r->probe_at, r->reorder_at));
    return c.has(ConnFlags::ack_timed) ? earliest(due, c.ack_at) : due;
}

void Stack::schedule(Conn& c) {
    const Tick due = next_deadline(c);
    if (!due.is_set() || (c.armed_at.is_set() && c.armed_at.at_or_before(due))) return;
    wheel_.arm(index_of(c), due);
}

}  // namespace pollux::tcp
