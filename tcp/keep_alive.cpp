// Keep-alive probes: RFC 9293 section 3.8.4. Off unless the application or the settings ask for them.
//
// A connection is idle while it has nothing queued and nothing in flight: the timer that would watch over data then
// waits for the peer's silence to become too long. Every acceptable segment starts it anew; whatever is sent takes it
// away, because an answer to that is owed anyway. A probe repeats the last number that the peer has acknowledged,
// without data, and so draws an ACK from any living peer.
#include "tcp/stack.hpp"

namespace pollux::tcp {

void Stack::set_keep_alive(ConnId conn, bool on) {
    Conn* c = find(conn);
    if (c == nullptr) return;
    if (on) {
        c->set(ConnFlags::keep_alive);
        make_ready(*c);  // output() starts the timer
    } else {
        c->clear(ConnFlags::keep_alive);
        stop_keep_alive(*c);
    }
}

// Nothing queued, nothing in flight, and still the application's: what it has closed, other timers end.
bool Stack::is_idle(const Conn& c) {
    const bool may_send = in(c.state, can_send_states) && !c.has(ConnFlags::fin_queued);
    return (may_send || c.state == State::fin_wait_2) && c.queued() == 0 && c.in_flight() == 0 &&
           !c.has(ConnFlags::app_closed | ConnFlags::wants_writable);
}

// The peer has just spoken, or there is nothing left that it must answer.
void Stack::restart_keep_alive(Conn& c, Instant now) {
    if (!is_idle(c)) return;
    c.set(ConnFlags::idle_timed);
    c.clear(ConnFlags::probe_idle);
    c.unanswered = 0;
    c.retransmit_at = deadline_at(now + settings_.keep_alive_idle);
    schedule(c);
}

void Stack::stop_keep_alive(Conn& c) {
    if (!c.has(ConnFlags::idle_timed)) return;
    c.clear(ConnFlags::idle_timed | ConnFlags::probe_idle);
    c.unanswered = 0;  // R2 counts for what is sent from now on
    stop_retransmit_timer(c);
}

void Stack::on_keep_alive_timeout(Conn& c, Instant now) {
    if (c.unanswered >= settings_.keep_alive_probes) return give_up(c, Event::Kind::timed_out);
    ++c.unanswered;
    c.set(ConnFlags::probe_idle);
    c.retransmit_at = deadline_at(now + settings_.keep_alive_interval);
    make_ready(c);
}

}  // namespace pollux::tcp
