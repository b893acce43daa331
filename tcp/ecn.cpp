// Explicit Congestion Notification: RFC 3168, the reduction as in RFC 8511. ECT(1) is never sent (RFC 8311).
//
// A router that is about to drop a packet marks it instead (CE), if the packet says that somebody will care (ECT).
// The receiver tells the sender by ECE, on every ACK, because any of them may be lost, until CWR tells it that it was
// heard:
//
//     sender                        router                      receiver
//        ── data, ECT(0) ──────────── ! ── data, CE ───────────────>
//        <──────────────────────────────────────────── ACK, ECE ────     and on each further one,
//     cwnd falls                                                         once for a whole window of marks
//        ── new data, ECT(0), CWR ─────────────────────────────────>
//        <───────────────────────────────────────────────── ACK ────
//
// New data alone is ECT. Nobody would notice the loss of a pure ACK or of a probe, so nobody could be asked to slow
// down for its mark (sections 6.1.4, 6.1.6); a retransmission may be an old copy from anywhere, whose mark counts
// nothing (section 6.1.5); and on SYNs nothing is agreed yet. A path that drops what is ECT is survived by that: what
// is lost comes again without.
#include "tcp/ecn.hpp"

#include "tcp/stack.hpp"

namespace pollux::tcp {

// ---- Agreeing. --------------------------------------------------------------------------------------------------

// Whether the SYN that leaves now asks. RFC 3168 section 6.1.1.1: some boxes drop a SYN for these two flags, so after
// some SYNs without an answer the next ones are plain.
bool Stack::asks_for_ecn_now(const Conn& c) const {
    return settings_.ecn_request && c.unanswered < settings_.ecn_syn_retries;
}

// `s` answers our SYN or crosses it. Once a SYN of ours was plain we may send no ECT, whatever it was that the peer
// has answered; but the peer may, so its marks are echoed (section 6.1.1).
Present Stack::ecn_of_answer(const Conn& c, const Segment& s) const {
    if (!settings_.ecn_request || !wants_ecn(s)) return Present::none;
    return asks_for_ecn_now(c) ? HalfOpen::ecn : HalfOpen::ecn | HalfOpen::ecn_withdrawn;
}

// ---- Receiving. -------------------------------------------------------------------------------------------------

// Data that lies in the window has come (section 6.1.3). CWR answers the marks before it, so it comes first. As Linux
// does it, what begins or ends the echo is acknowledged at once: the peer's cwnd may be small.
void Stack::note_mark(Conn& c, const Segment& s) {
    const bool marked = s.ecn == Ecn::ce;
    if (marked) counters_.add(Tally::ce_received);
    const bool echoes = marked || (c.echo_ce && !s.has(Flags::cwr));
    if (echoes != c.echo_ce || (marked && s.has(Flags::cwr))) acknowledge_now(c);
    c.echo_ce = echoes;
}

// ---- Sending. ---------------------------------------------------------------------------------------------------

// What a segment with `size` bytes from `seq` says.
void Stack::say_ecn(Conn& c, Segment& s, SeqNum seq, uint32_t size) {
    if (c.echo_ce) s.flags |= Flags::ece;
    const bool new_data = size > 0 && seq == c.snd.nxt && !c.has(ConnFlags::persisting);
    if (!c.ecn || !new_data) return;
    s.ecn = Ecn::ect0;
    if (!c.cwr_due) return;
    s.flags |= Flags::cwr;
    c.cwr_due = false;
}

// The peer has heard a mark. One answer for a window of data (section 6.1.2): what left before the last one, or
// before the loss that is being repaired, has been answered for.
void Stack::on_ecn_echo(Conn& c, Recovery* r, const AckSample& sample) {
    const bool has_board = r != nullptr && r->board.active();
    const bool repairs = has_board ? r->phase != Phase::open : c.has(ConnFlags::fast_recovery | ConnFlags::rto_recovery);
    if (repairs || !c.snd.una.after(c.recover)) return;
    if (has_board) {
        congestion::begin_reduction(c, *r, congestion::Cause::mark, sample);
        r->phase = Phase::reduced;
        r->point = c.snd.nxt;
        end_probe(*r);
        congestion::on_reduction_ack(c, *r, sample);
    } else {
        congestion::reduce_at_once(c, r, congestion::Cause::mark, sample.flight_before);
        c.ecn_reduced = true;
    }
    c.recover = c.snd.nxt;
    c.cwr_due = true;
    counters_.add(Tally::ecn_reductions);
}

}  // namespace pollux::tcp
