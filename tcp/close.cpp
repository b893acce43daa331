// CLOSE and ABORT calls and what is left when both sides have closed (RFC 9293 sections 3.6, 3.10.4, 3.10.5).
//
// FIN and ACK travel apart because each side closes its own half when it is ready: we acknowledge a FIN at once, and
// our own FIN leaves when the application closes and its data is sent. When it closes in the turn in which the FIN
// came, one segment carries both.
#include "tcp/stack.hpp"

namespace pollux::tcp {

void Stack::shutdown(ConnId conn, Instant) {
    if (Conn* c = find(conn)) queue_fin(*c);
}

void Stack::close(ConnId conn, Instant now) {
    Conn* c = find(conn);
    if (c == nullptr) return;
    if (c->state == State::syn_sent) return abandon(*c);
    // RFC 2525 section 2.17: the peer must learn that nobody read what it sent.
    if (has_unread(*c)) return abort_with_reset(*c);
    c->set(ConnFlags::app_closed);
    c->app_deadline = Tick{};
    stop_keep_alive(*c);  // RFC 9293 section 3.8.3: from here R2 and the end of FIN-WAIT-2 watch over it
    queue_fin(*c);
    if (c->state == State::fin_wait_2) {
        c->retransmit_at = deadline_at(now + settings_.fin_wait_2);
        schedule(*c);
    }
    make_ready(*c);
}

void Stack::abort(ConnId conn, Instant) {
    if (Conn* c = find(conn)) abort_with_reset(*c);
}

void Stack::abort_all() {
    for (uint32_t i = 0; i < conns_.high_water(); ++i) {
        if (conns_.is_taken(i) && conns_[i].generation != 0) abort_with_reset(conns_[i]);
    }
}

void Stack::queue_fin(Conn& c) {
    if (!in(c.state, can_send_states) || c.has(ConnFlags::fin_queued)) return;
    stop_waiting_for_room(c);
    hold_back(c, More::none);
    c.clear(ConnFlags::wants_writable);
    c.set(ConnFlags::fin_queued);
    make_ready(c);
}

// RFC 9293 sections 3.10.4, 3.10.5: the peer has not answered, so there is nothing to tell it. What it may still
// answer belongs to no connection any more.
void Stack::abandon(Conn& c) {
    counters_.add(Tally::connects_abandoned);
    release(c);
}

// The connection ends here; its record waits on the ready list until the RST has left.
void Stack::abort_with_reset(Conn& c) {
    if (c.state == State::syn_sent) return abandon(c);
    counters_.add(Tally::connections_aborted);
    c.set(ConnFlags::send_reset);
    make_ready(c);
    release(c);
}

// Both sides have closed and all is sent and acknowledged: the record becomes a TIME-WAIT record or is given back.
// While the application has not read everything, the connection stays for it.
bool Stack::finished(Conn& c, Instant now) {
    const bool done = c.state == State::time_wait || (c.state == State::last_ack && c.fin_acknowledged());
    if (!done || (has_unread(c) && !c.has(ConnFlags::app_closed))) return false;
    counters_.add(Tally::connections_closed);
    raise(c, Event::Kind::closed);
    if (c.state == State::time_wait)
        enter_time_wait(c, now);
    else
        release(c);
    return true;
}

}  // namespace pollux::tcp
