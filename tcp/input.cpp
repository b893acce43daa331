// Segment arrives: RFC 9293 section 3.10.7, in its order and its numbering, with the checks of RFC 5961 and RFC 7323
// where those place them. One function per numbered step; the fifth is in ack.cpp, the seventh and eighth in
// text.cpp, LISTEN and SYN-RECEIVED in handshake.cpp, SYN-SENT in connect.cpp, TIME-WAIT in time_wait.cpp.
#include <array>
#include <cassert>

#include "tcp/stack.hpp"

namespace pollux::tcp {
namespace {

constexpr size_t burst_pass = 32;  // segments that the three passes handle together
constexpr uint8_t paws_days = 24;  // RFC 7323 section 5.5: then TS.Recent is outdated
// What turns an established connection away from the fast path.
constexpr ConnFlags uncommon = ConnFlags::has_store | ConnFlags::fast_recovery | ConnFlags::rto_recovery |
                               ConnFlags::persisting | ConnFlags::app_closed | ConnFlags::rtt_timed |
                               ConnFlags::fin_sent | ConnFlags::duplicates;

uint8_t day_of(Instant now) {
    return static_cast<uint8_t>(std::chrono::duration_cast<std::chrono::days>(now.time_since_epoch()).count());
}

bool timestamp_is_older(uint32_t value, uint32_t than) { return static_cast<int32_t>(value - than) < 0; }

}  // namespace

void Stack::input(std::span<const Segment> burst, std::span<const uint64_t> known, Instant now, TxBatch& out,
                  Verdict* results) {
    std::array<uint64_t, burst_pass> hashes;
    while (!burst.empty()) {
        const auto part = burst.first(std::min(burst.size(), burst_pass));
        for (size_t i = 0; i < part.size(); ++i) {
            hashes[i] = known.empty() || known[i] == 0 ? hash(part[i].flow) : known[i];
            assert(hashes[i] == hash(part[i].flow));
            table_.prefetch(hashes[i]);
        }
        for (size_t i = 0; i < part.size(); ++i) prefetch(table_.first_candidate(hashes[i]));
        for (size_t i = 0; i < part.size(); ++i) {
            const Verdict verdict = process(hashes[i], part[i], now, out);
            if (results != nullptr) *results++ = verdict;
        }
        burst = burst.subspan(part.size());
        known = known.empty() ? known : known.subspan(part.size());
    }
}

Verdict Stack::input(const Segment& segment, Instant now, TxBatch& out) {
    return process(hash(segment.flow), segment, now, out);
}

Verdict Stack::process(uint64_t hash, const Segment& s, Instant now, TxBatch& out) {
    counters_.add(Tally::segments_received);
    const auto decide = [&] {
        const EntryRef entry = find_entry(hash, s.flow);
        if (!entry) return listen_arrives(hash, s, now, out);
        switch (entry.kind()) {
            case EntryRef::Kind::connection: {
                Conn& c = conns_[entry.index()];
                if (settings_.fast_path && fast_path(c, s, now)) {
                    return s.payload.empty() ? Verdict::pure_ack : Verdict::delivered;
                }
                if (c.state == State::syn_sent) return syn_sent_arrives(c, s, now, out);
                if (c.state == State::syn_received) return syns_crossed_arrives(c, s, now, out);
                return segment_arrives(c, s, now);
            }
            case EntryRef::Kind::half_open: return half_open_arrives(entry.index(), hash, s, now, out);
            case EntryRef::Kind::time_wait: return time_wait_arrives(entry.index(), hash, s, now, out);
        }
        return Verdict::no_connection;
    };
    const Verdict verdict = decide();
    counters_.add(verdict);
    return verdict;
}

// The expected segment: the next data in order, or an ACK of what is in flight, and nothing else to think about. Each
// line is one expectation; every conversation runs with this function and without it, and both ways must keep every
// promise.
bool Stack::fast_path(Conn& c, const Segment& s, Instant now) {
    const auto size = static_cast<uint32_t>(s.payload.size());
    const uint32_t acked = s.ack.since(c.snd.una);
    const bool expected = c.state == State::established &&                      //
                          (s.flags & ~Flags::psh) == Flags::ack &&              // nothing but ACK and PSH
                          s.seq == c.rcv.nxt &&                                 // in order
                          size <= c.rcv.edge.since(c.rcv.nxt) &&                // fits the window
                          acked <= c.in_flight() && (acked > 0 || size > 0) &&  // teaches something
                          !c.has(uncommon) && c.has(ConnFlags::timestamps) &&   //
                          s.present == Present::timestamps && s.sack_count == 0 &&
                          !timestamp_is_older(s.timestamps.value, c.ts_recent) && c.ts_recent_day == day_of(now) &&
                          s.window != 0 && borrowed_count_ < borrowed_.size() &&  //
                          (s.ecn != Ecn::ce || !c.hears_ce);
    if (!expected) return false;
    counters_.add(Tally::fast_path);
    if (c.has_recovery)
        take_ack(c, s, false, now);
    else if (acked > 0)
        on_lone_ack(c, s, now);
    else
        update_window(c, s, false, now);
    learn_timestamp(c, s, now);
    c.path = s.path;
    if (size > 0) accept_in_order(c, s.payload);
    if (c.has(ConnFlags::keep_alive)) restart_keep_alive(c, now);
    return true;
}

Verdict Stack::segment_arrives(Conn& c, const Segment& s, Instant now) {
    Verdict verdict = check_timestamp(c, s, now);                        // RFC 7323 section 5.3: PAWS
    if (verdict == Verdict::count) verdict = check_sequence(c, s, now);  // first:   sequence number
    if (verdict == Verdict::count) verdict = check_reset(c, s, now);     // second:  RST bit
    if (verdict == Verdict::count) verdict = check_syn(c, s, now);       // fourth:  SYN bit
    if (verdict != Verdict::count) return verdict;
    verdict = process_ack(c, s, now);  // fifth:   ACK field
    const bool accepted = verdict == Verdict::pure_ack || verdict == Verdict::duplicate_ack;
    if (!accepted || c.generation == 0) return verdict;
    learn_timestamp(c, s, now);
    c.path = s.path;
    if (c.has(ConnFlags::keep_alive)) restart_keep_alive(c, now);
    if (s.has(Flags::urg)) counters_.add(Tally::urgent_segments);  // sixth: URG bit; its data is as any other
    verdict = process_text(c, s, now, verdict);                    // seventh: segment text
    if (c.generation == 0) return verdict;
    return process_fin(c, s, verdict);  // eighth:  FIN bit
}

// Verdict::count means "proceed" between the steps: it names no packet's end.

Verdict Stack::check_timestamp(Conn& c, const Segment& s, Instant now) {
    if (!c.has(ConnFlags::timestamps) || s.has(Flags::rst)) return Verdict::count;
    // RFC 7323 section 3.2: once agreed, a segment without the option should be dropped.
    if (!s.has(Present::timestamps)) return Verdict::missing_timestamp;
    const auto age = static_cast<uint8_t>(day_of(now) - c.ts_recent_day);
    if (!timestamp_is_older(s.timestamps.value, c.ts_recent) || age >= paws_days) return Verdict::count;
    if (s.has(Flags::syn) || s.seq_length() == 0)
        challenge_ack(c, now);
    else
        acknowledge_at_once(c);
    return Verdict::paws;
}

Verdict Stack::check_sequence(Conn& c, const Segment& s, Instant now) {
    const uint32_t length = s.seq_length();
    const uint32_t window = c.rcv.edge.since(c.rcv.nxt);
    const SeqNum last = s.seq + (length == 0 ? 0 : length - 1);
    const bool acceptable = window == 0 ? s.seq == c.rcv.nxt  // ACK, RST and FIN are valid at a closed window (E11)
                                        : s.seq.in_window(c.rcv.nxt, window) || last.in_window(c.rcv.nxt, window) ||
                                              (s.seq.at_or_before(c.rcv.nxt) && last.at_or_after(c.rcv.edge));
    if (acceptable) return Verdict::count;
    if (s.has(Flags::rst)) return Verdict::reset_ignored;
    // RFC 5961 section 7: without data there is no transfer to help along, so these answers are limited.
    if (s.has(Flags::syn)) {
        challenge_ack(c, now);
        return Verdict::syn_in_window;
    }
    const bool old = length > 0 && last.before(c.rcv.nxt);
    if (length == 0)
        challenge_ack(c, now);
    else
        acknowledge_at_once(c);
    if (old) note_duplicate(c, {s.seq, s.seq + static_cast<uint32_t>(s.payload.size())});
    return old ? Verdict::old_data : Verdict::out_of_window;
}

// RFC 5961 section 3.2: only an exact RST ends the connection.
Verdict Stack::check_reset(Conn& c, const Segment& s, Instant now) {
    if (!s.has(Flags::rst)) return Verdict::count;
    if (c.state == State::time_wait) return Verdict::reset_ignored;  // RFC 1337
    if (s.seq != c.rcv.nxt) {
        challenge_ack(c, now);
        return Verdict::reset_in_window;
    }
    // RFC 9293 MUST-11: SYN-RECEIVED of a Conn came from SYN-SENT, so the open was refused.
    const bool refused = c.state == State::syn_received;
    counters_.add(refused ? Tally::connects_refused : Tally::connections_reset);
    raise(c, refused ? Event::Kind::refused : Event::Kind::reset);
    release(c);
    return Verdict::reset_by_peer;
}

// RFC 5961 section 4.2: a SYN never ends a connection; an honest peer that has forgotten us answers the ACK with RST.
Verdict Stack::check_syn(Conn& c, const Segment& s, Instant now) {
    if (!s.has(Flags::syn)) return Verdict::count;
    challenge_ack(c, now);
    return Verdict::syn_in_window;
}

// RFC 7323 section 4.3 (2): TS.Recent follows the segment at the left edge of what we acknowledged last. While an ACK
// is delayed, that edge is before RCV.NXT, so the first unacknowledged segment is the one echoed.
void Stack::learn_timestamp(Conn& c, const Segment& s, Instant now) {
    if (!s.has(Present::timestamps) || !c.has(ConnFlags::timestamps)) return;
    if (c.has(ConnFlags::ack_delayed) || s.seq.after(c.rcv.nxt)) return;
    const uint8_t day = day_of(now);
    const bool outdated = static_cast<uint8_t>(day - c.ts_recent_day) >= paws_days;
    if (timestamp_is_older(s.timestamps.value, c.ts_recent) && !outdated) return;
    c.ts_recent = s.timestamps.value;
    c.ts_recent_day = day;
}

void Stack::acknowledge_now(Conn& c) {
    c.set(ConnFlags::ack_now);
    make_ready(c);
}

// RFC 5681 section 4.2: this segment earns an ACK of its own. With SACK one a burst tells as much.
void Stack::acknowledge_at_once(Conn& c) {
    if (!c.has(ConnFlags::sack) && c.immediate_acks < 255) ++c.immediate_acks;
    acknowledge_now(c);
}

// RFC 5961 section 7, but per connection: a budget shared by all would tell one peer about another (CVE-2016-5696).
// The number allowed in each second is jittered.
void Stack::challenge_ack(Conn& c, Instant now) {
    const auto period = static_cast<uint16_t>(now.time_since_epoch() / 1s % 65'535 + 1);  // 0: none yet
    if (period != c.challenge_period) {
        c.challenge_period = period;
        c.challenge_credit =
            static_cast<uint8_t>(std::min(255u, settings_.challenge_acks_per_second + jitter_.below(2)));
    }
    if (c.challenge_credit == 0) {
        counters_.add(Tally::challenge_acks_limited);
        return;
    }
    --c.challenge_credit;
    counters_.add(Tally::challenge_acks_sent);
    acknowledge_now(c);
}

// RFC 9293 section 3.10.7.1: CLOSED.
Verdict Stack::closed_arrives(const Segment& s, Verdict why, Instant now, TxBatch& out) {
    if (s.has(Flags::rst)) return Verdict::reset_ignored;
    return reset_reply(s, why, now, out);
}

Verdict Stack::reset_reply(const Segment& to, Verdict sent, Instant now, TxBatch& out) {
    if (!reset_limit_.allow(now)) return Verdict::reset_limited;
    TxSegment* reply = out.add_stateless();
    if (reply == nullptr) return Verdict::no_room_to_answer;
    Segment& r = reply->segment;
    r.flow = to.flow;
    r.path = to.path;
    r.ttl = settings_.ttl;
    r.traffic_class = settings_.dscp;
    if (to.has(Flags::ack)) {
        r.flags = Flags::rst;
        r.seq = to.ack;
    } else {
        r.flags = Flags::rst | Flags::ack;
        r.ack = to.seq + to.seq_length();
    }
    counters_.add(Tally::resets_sent);
    return sent;
}

}  // namespace pollux::tcp
