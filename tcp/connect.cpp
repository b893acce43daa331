// Active open: the three-way handshake, seen from the side that asks (RFC 9293 sections 3.5 and 3.10.7.3).
//
// Why three segments: our SYN says from which number we count, and the SYN-ACK proves that it arrived, because only
// who received it can acknowledge that number. But the peer cannot know either whether our SYN was a new one or an
// old one that had been lost in the network: so we return the peer's number in a third segment, and a host that never
// asked returns a RST instead. The peer gives nothing away before the third segment; we may put data on it.
//
//     connect()  SYN-SENT      ── SYN, ISS ────────────────>
//                              <─────────── SYN-ACK, IRS ──   acknowledges ISS: ESTABLISHED
//                              ── ACK (and queued data) ───>
//
// When both sides ask at once, each gets a SYN where it expected a SYN-ACK. Then each acknowledges the other's SYN
// with its own, the original numbers stand, and one connection comes of it (SYN-SENT -> SYN-RECEIVED -> ESTABLISHED).
//
// What is asked for is a Conn from the start: it is our own wish, so nobody can flood us with it. Until the SYN is
// acknowledged SND.UNA and SND.NXT both stand behind it, at the first byte that can be queued; the SYN itself is at
// SND.UNA - 1.
#include <algorithm>

#include "tcp/ecn.hpp"
#include "tcp/rtt.hpp"
#include "tcp/stack.hpp"

namespace pollux::tcp {
namespace {

constexpr uint32_t beyond_old_numbers = 65'536;  // as for a peer's SYN: an old connection's window lies below
constexpr Duration reuse_wait = 1s;              // in which the timestamp clock is sure to have moved

// RFC 9293 MUST-46, RFC 1122 section 3.2.1.3: nobody is there alone. A subnet's own broadcast address is known to who
// knows the subnet, which is the engine.
bool is_one_host(const IpAddress& address) {
    return !address.is_unspecified() && !address.is_multicast() && !address.is_limited_broadcast() &&
           !address.is_reserved();
}

}  // namespace

// ---- The OPEN call. ---------------------------------------------------------------------------------------------

bool Stack::may_connect(const IpAddress& local, const Endpoint& remote) const {
    return is_one_host(local) && is_one_host(remote.address) && local.is_v4() == remote.address.is_v4() &&
           remote.port != 0;
}

// Nothing uses the tuple, or a TIME-WAIT record that lets itself be taken over.
bool Stack::is_free(const FourTuple& flow, Instant now) const {
    const EntryRef entry = find_entry(hash(flow), flow);
    return !entry || (entry.kind() == EntryRef::Kind::time_wait && may_take_over(time_wait_[entry.index()], now));
}

// RFC 6191 from the other side: with timestamps on both sides whatever still comes of the old connection is older
// than the new one, once our own clock has moved.
bool Stack::may_take_over(const TimeWait& t, Instant now) const {
    const Duration waited = 2 * settings_.msl - (t.ends_at - tick_at(now)) * 1ms;
    return t.timestamps && settings_.timestamps && waited >= reuse_wait;
}

ConnId Stack::connect(const FourTuple& flow, Instant now) {
    const auto fails = [this](Tally why) {
        counters_.add(why);
        return ConnId{};
    };
    const bool with_itself = flow.local_addr == flow.remote_addr && flow.local_port == flow.remote_port;
    if (!may_connect(flow.local_addr, {flow.remote_addr, flow.remote_port}) || flow.local_port == 0 || with_itself) {
        return fails(Tally::connects_forbidden);
    }
    const uint64_t hash = this->hash(flow);
    const EntryRef entry = find_entry(hash, flow);
    if (!is_free(flow, now)) return fails(Tally::connects_in_use);
    const uint32_t index = conns_.take();
    if (index == Pool<Conn>::none) return fails(Tally::connects_without_room);
    SeqNum iss = initial_sequence(flow, now);
    if (entry) {  // RFC 9293 MAY-2: above all that the old connection sent
        iss = later(iss, time_wait_[entry.index()].snd_nxt + beyond_old_numbers);
        end_time_wait(entry.index());
    }
    if (!table_.insert(hash, EntryRef::connection(index))) {
        conns_.give(index);
        return fails(Tally::connects_without_room);
    }
    Conn& c = begin(index, flow, State::syn_sent);
    c.snd.una = c.snd.nxt = iss + 1;
    c.cwnd = c.mss;  // agree() says what it really is
    c.ts_offset = timestamp_offset(flow);
    c.set(ConnFlags::resend_first);
    make_ready(c);
    counters_.add(Tally::connects_started);
    return id_of(c);
}

// ---- Segment arrives. -------------------------------------------------------------------------------------------

// RFC 9293 section 3.10.7.3.
Verdict Stack::syn_sent_arrives(Conn& c, const Segment& s, Instant now, TxBatch& out) {
    // First: an ACK of anything but our SYN comes of an old connection, and so does our SYN in the eyes of its
    // sender.
    if (s.has(Flags::ack) && s.ack != c.snd.nxt) {
        return s.has(Flags::rst) ? Verdict::reset_ignored : reset_reply(s, Verdict::wrong_syn_ack, now, out);
    }
    // Second: who acknowledges our SYN has seen it, so may refuse it (RFC 5961 section 3.2).
    if (s.has(Flags::rst)) {
        if (!s.has(Flags::ack)) return Verdict::reset_ignored;
        fail_to_open(c, Event::Kind::refused, Tally::connects_refused);
        return Verdict::reset_by_peer;
    }
    if (!s.has(Flags::syn)) return Verdict::not_open_yet;  // fifth
    // Fourth. What else the segment carries is not processed: not acknowledged, it comes again.
    if (!s.has(Flags::ack) && s.has(Flags::fin)) return Verdict::nonsense_flags;
    HalfOpen peer;
    peer.flow = c.flow;
    peer.irs = s.seq;
    peer.iss = c.snd.una.back(1);
    accept_options(peer, s);
    peer.options |= ecn_of_answer(c, s);
    if (c.unanswered > 0 && s.has(Flags::ack)) peer.level = 1;
    agree(c, peer, Origin::record, s, now);
    if (s.has(Flags::ack)) {
        if (!c.has(ConnFlags::timestamps | ConnFlags::syn_lost)) sample_syn(c, now);
        become_established(c);
        acknowledge_now(c);
        return Verdict::opened;
    }
    enter(c, State::syn_received);
    c.set(ConnFlags::resend_first);
    make_ready(c);
    return Verdict::syns_crossed;
}

// RFC 9293 section 3.10.7.4 in SYN-RECEIVED, for a connection that we asked for.
Verdict Stack::syns_crossed_arrives(Conn& c, const Segment& s, Instant now, TxBatch& out) {
    const bool peers_syn = s.has(Flags::syn) && !s.has(Flags::rst) && s.seq + 1 == c.rcv.nxt;
    if (peers_syn && !wants_ecn(s)) c.ecn = false;
    if (!peers_syn) {
        Verdict verdict = check_timestamp(c, s, now);
        if (verdict == Verdict::count) verdict = check_sequence(c, s, now);
        if (verdict == Verdict::count) verdict = check_reset(c, s, now);
        if (verdict == Verdict::count) verdict = check_syn(c, s, now);
        if (verdict != Verdict::count) return verdict;
        if (!s.has(Flags::ack)) return Verdict::no_ack;
    } else if (!s.has(Flags::ack)) {
        c.set(ConnFlags::resend_first);
        make_ready(c);
        return Verdict::syn_repeated;
    }
    // Fifth: SND.UNA < SEG.ACK =< SND.NXT leaves one value.
    if (s.ack != c.snd.nxt) return reset_reply(s, Verdict::half_open_ack, now, out);
    if (c.has(ConnFlags::timestamps))
        sample_rtt(c, s, 0, now);
    else if (c.unanswered == 0)
        sample_syn(c, now);
    if (c.unanswered > 0) {
        if (c.srtt_us == 0) c.set(ConnFlags::syn_lost);
        c.cwnd = c.mss;
    }
    become_established(c);
    c.path = s.path;
    if (peers_syn) {  // the SYN lies left of the window, so the peer is owed an ACK; and its window field is not
                      // scaled
        acknowledge_now(c);
        return Verdict::opened;
    }
    update_window(c, s, true, now);
    learn_timestamp(c, s, now);
    const Verdict text = process_text(c, s, now, Verdict::opened);
    if (c.generation != 0) process_fin(c, s, text);
    return Verdict::opened;
}

// Without timestamps: from the SYN to what acknowledges it, if it left once (Karn).
void Stack::sample_syn(Conn& c, Instant now) {
    const auto waited = static_cast<uint32_t>(now.time_since_epoch().count()) - c.rtt_at_us;
    rtt_sample(c.srtt_us, c.rttvar_us, Duration{waited}, 0);
}

void Stack::become_established(Conn& c) {
    enter(c, State::established);
    stop_retransmit_timer(c);
    c.unanswered = c.backoff = 0;
    c.clear(ConnFlags::resend_first);
    counters_.add(Tally::connections_opened);
    if (c.ecn) counters_.add(Tally::ecn_connections);
    raise(c, Event::Kind::opened);
    make_ready(c);  // what was queued meanwhile
}

void Stack::fail_to_open(Conn& c, Event::Kind kind, Tally why) {
    counters_.add(why);
    raise(c, kind);
    release(c);
}

// RFC 5461 section 4, RFC 5927 section 4: a hard error that quotes exactly our SYN ends the attempt, whose peer has
// not been heard of; a soft one does not. Once a SYN of the peer's has been seen, none does.
Verdict Stack::opening_notice(Conn& c, const PathNotice& notice) {
    const bool neighbor = notice.kind == PathNotice::Kind::neighbor_unreachable;
    if (!neighbor && notice.quoted_seq != c.snd.una.back(1)) return Verdict::icmp_ignored;
    if (notice.kind == PathNotice::Kind::too_big) return Verdict::icmp_ignored;  // no SYN is too big
    const bool hard = neighbor || notice.kind == PathNotice::Kind::unreachable_hard;
    if (c.state == State::syn_sent && hard)
        fail_to_open(c, Event::Kind::unreachable, Tally::connects_unreachable);
    else
        raise_once(c, Event::Kind::path_error);
    return Verdict::path_notice;
}

// ---- SYN and its retransmission. --------------------------------------------------------------------------------

// RFC 6298 section 2.1 and (5.5), R2 of RFC 9293 MUST-23.
void Stack::on_syn_timeout(Conn& c, Instant now) {
    if (c.unanswered >= settings_.syn_retries) return give_up(c, Event::Kind::timed_out);
    c.set(ConnFlags::resend_first);
    counters_.add(Tally::syns_retransmitted);
    count_expiry(c, now);
}

Stack::Output Stack::output_opening(Conn& c, Instant now, TxBatch& out) {
    if (c.has(ConnFlags::resend_first)) {
        if (out.room() == 0) return Output::blocked;
        c.clear(ConnFlags::resend_first | ConnFlags::ack_now);
        c.immediate_acks = 0;
        emit_syn(c, now, out);
    }
    if (c.has(ConnFlags::ack_now)) {
        if (out.room() == 0) return Output::blocked;
        c.immediate_acks = 0;
        emit(c, c.snd.nxt, 0, false, now, out);
    }
    return Output::done;
}

// SYN, or SYN-ACK when the SYNs have crossed: then with the options that both have.
void Stack::emit_syn(Conn& c, Instant now, TxBatch& out) {
    Segment& s = add_segment(c, c.snd.una.back(1), now, out);
    s.window = initial_window();  // never scaled (RFC 7323 section 2.2)
    s.present = Present::mss;
    s.mss = receive_mss(c.flow);
    const bool asks = c.state == State::syn_sent;
    if (asks) {
        s.flags = asks_for_ecn_now(c) ? Flags::syn | Flags::ece | Flags::cwr : Flags::syn;
        s.ack = SeqNum{};
    } else {
        s.flags = c.ecn ? Flags::syn | Flags::ack | Flags::ece : Flags::syn | Flags::ack;
    }
    if (asks ? settings_.sack : c.has(ConnFlags::sack)) s.present |= Present::sack_permitted;
    // Where neither side shifts anything, leaving the option out says the same.
    if (asks ? settings_.window_scaling : (c.snd_scale | c.rcv_scale) != 0) {
        s.present |= Present::window_scale;
        s.window_scale = receive_scale();
    }
    if (asks ? settings_.timestamps : c.has(ConnFlags::timestamps)) {
        s.present |= Present::timestamps;
        s.timestamps = {timestamp_clock(now) + c.ts_offset, asks ? 0 : c.ts_recent};
    }
    counters_.add(Tally::segments_sent);
    if (!c.retransmit_at.is_set()) {
        c.rtt_at_us = static_cast<uint32_t>(now.time_since_epoch().count());
        start_retransmit_timer(c, now);
    }
}

}  // namespace pollux::tcp
