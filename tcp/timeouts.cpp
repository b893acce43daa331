// What each expiry does. A connection has one entry in the wheel, at its earliest deadline; which timer that was is
// the list of ifs in on_timer(). Timers send nothing themselves: they mark, and output() sends in the same turn.
//
// A later deadline is only written into the connection: almost every RTO is cancelled, so the wheel looks at the
// deadline when it gets there.
#include <algorithm>

#include "tcp/new_reno.hpp"
#include "tcp/stack.hpp"

namespace pollux::tcp {
namespace {

constexpr Duration rto_after_lost_syn = 3s;  // RFC 6298 (5.7)
constexpr uint8_t most_doublings = 12;       // by then any RTO has reached its maximum

}  // namespace

Tick Stack::on_timer(uint32_t index, Instant now) {
    Conn& c = conns_[index];
    const Tick tick = tick_at(now);
    const auto due = [&](Tick deadline) { return deadline.is_set() && deadline.at_or_before(tick); };
    if (due(c.retransmit_at)) {
        c.retransmit_at = Tick{};
        if (c.state == State::fin_wait_2) {
            give_up(c, Event::Kind::timed_out);
        } else if (waits_for_room(c)) {
            c.clear(ConnFlags::wants_writable);
            raise(c, Event::Kind::writable);
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
    new_reno::on_timeout(c, c.unanswered == 0);
    c.clear(ConnFlags::fast_recovery | ConnFlags::resend_first | ConnFlags::rtt_timed | ConnFlags::duplicates);
    c.set(ConnFlags::rto_recovery);
    c.dup_acks = 0;
    c.recover = c.snd.nxt;
    c.rtx = c.snd.una;
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
    ++c.unanswered;
    if (c.backoff < most_doublings) ++c.backoff;
    start_retransmit_timer(c, now);
    make_ready(c);
}

// R2 (RFC 9293 section 3.8.3).
bool Stack::exhausted(const Conn& c) const {
    return c.unanswered >= (c.has(ConnFlags::app_closed) ? settings_.orphan_retries : settings_.data_retries);
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
    const Tick due = earliest(c.retransmit_at, c.app_deadline);
    return c.has(ConnFlags::ack_timed) ? earliest(due, c.ack_at) : due;
}

void Stack::schedule(Conn& c) {
    const Tick due = next_deadline(c);
    if (!due.is_set() || (c.armed_at.is_set() && c.armed_at.at_or_before(due))) return;
    wheel_.arm(index_of(c), due);
}

}  // namespace pollux::tcp
