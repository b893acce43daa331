// TIME-WAIT: the side that closed first stays to acknowledge a repeated FIN, and keeps the tuple until every old
// segment has died: 2 MSL (RFC 9293 section 3.6.1). A newer SYN may take the tuple over earlier (RFC 6191); a RST may
// not end the wait (RFC 1337).
#include <algorithm>

#include "tcp/stack.hpp"

namespace pollux::tcp {

// Turns the connection into its record, in its place in the table.
void Stack::enter_time_wait(Conn& c, Instant now) {
    if (time_wait_.in_use() == time_wait_.capacity() && time_wait_.front() != TimeWaitStore::none) {
        counters_.add(Tally::time_wait_recycled);
        end_time_wait(time_wait_.front());
    }
    const uint32_t index = time_wait_.take(deadline_at(now + 2 * settings_.msl));
    if (index == TimeWaitStore::none) return release(c);  // a store of size 0
    TimeWait& t = time_wait_[index];
    t.flow = c.flow;
    t.rcv_nxt = c.rcv.nxt;
    t.snd_nxt = c.snd.nxt;
    t.ts_recent = c.ts_recent;
    t.timestamps = c.has(ConnFlags::timestamps);
    t.rcv_scale = c.rcv_scale;
    t.doublings = extras_[index_of(c)].doublings & 0xf;
    t.path = c.path;
    [[maybe_unused]] const bool replaced =
        table_.replace(hash(c.flow), EntryRef::connection(index_of(c)), EntryRef::time_wait(index));
    counters_.add(Tally::time_wait_made);
    forget(c);
}

Verdict Stack::time_wait_arrives(uint32_t index, uint64_t hash, const Segment& s, Instant now, TxBatch& out) {
    TimeWait& t = time_wait_[index];
    if (s.has(Flags::rst)) return Verdict::reset_ignored;
    if (s.has(Flags::syn) && !s.has(Flags::ack | Flags::fin)) return reopen(index, hash, s, now, out);
    if (s.has(Flags::syn)) {
        acknowledge_time_wait(t, now, out);
        return Verdict::syn_in_window;
    }
    const bool older =
        t.timestamps && s.has(Present::timestamps) && static_cast<int32_t>(s.timestamps.value - t.ts_recent) < 0;
    if (!older && !s.has(Flags::ack)) return Verdict::no_ack;
    // The expected ACK teaches nothing any more; one of what was never sent is answered (RFC 5961 section 5.2).
    const bool expected = s.seq == t.rcv_nxt && s.seq_length() == 0 && s.ack.at_or_before(t.snd_nxt);
    if (!older && expected) return Verdict::time_wait;
    // An answer to a segment without data may be answered in turn: limited.
    if (s.seq_length() == 0 && !ack_limit_.allow(now)) return Verdict::time_wait;
    t.path = s.path;
    acknowledge_time_wait(t, now, out);
    // RFC 9293 section 3.10.7.4: a retransmission of the remote FIN restarts the 2 MSL timeout.
    if (!older && s.has(Flags::fin) && s.seq + s.seq_length() == t.rcv_nxt) {
        time_wait_.restart(index, deadline_at(now + 2 * settings_.msl));
    }
    return Verdict::time_wait;
}

// RFC 6191 section 2: timestamps decide where both sides have them, else the sequence number. Our ISN begins above
// all that the old connection sent (RFC 9293 MAY-2), so that nothing of it can be taken for new.
Verdict Stack::reopen(uint32_t index, uint64_t hash, const Segment& syn, Instant now, TxBatch& out) {
    const TimeWait& t = time_wait_[index];
    const bool both = t.timestamps && syn.has(Present::timestamps);
    const auto age = static_cast<int32_t>(syn.timestamps.value - t.ts_recent);
    const bool newer = both && age != 0 ? age > 0 : syn.seq.at_or_after(t.rcv_nxt);
    if (!newer || !listening({syn.flow.local_addr, syn.flow.local_port}) || !accepting_) {
        acknowledge_time_wait(t, now, out);
        return Verdict::time_wait;
    }
    // Without a record to take over with, the wait goes on (RFC 9293 MUST-13).
    if (half_open_.in_use() == half_open_.capacity()) return Verdict::half_open_full;
    constexpr uint32_t beyond = 65'536;
    const SeqNum iss = later(initial_sequence(syn.flow, now), t.snd_nxt + beyond);
    end_time_wait(index);
    const Verdict made = make_half_open(hash, syn, iss, now, out);
    return made == Verdict::syn_answered ? Verdict::time_wait_reopened : made;
}

void Stack::acknowledge_time_wait(const TimeWait& t, Instant now, TxBatch& out) {
    TxSegment* reply = out.add_stateless();
    if (reply == nullptr) return counters_.add(Tally::stateless_replies_dropped);
    Segment& r = reply->segment;
    r.flow = t.flow;
    r.seq = t.snd_nxt;
    r.ack = t.rcv_nxt;
    r.flags = Flags::ack;
    // As a connection with everything read: the edge stays where it was, up to a unit of the scale.
    r.window = std::min((receive_buffer(t.doublings) + (1u << t.rcv_scale) - 1) >> t.rcv_scale, 65'535u);
    if (t.timestamps) {
        r.present = Present::timestamps;
        r.timestamps = {timestamp_clock(now) + timestamp_offset(t.flow), t.ts_recent};
    }
    r.path = t.path;
    r.ttl = settings_.ttl;
    r.traffic_class = settings_.dscp;
    counters_.add(Tally::acks_sent);
}

void Stack::end_time_wait(uint32_t index) {
    table_.erase(hash(time_wait_[index].flow), EntryRef::time_wait(index));
    time_wait_.give(index);
}

bool Stack::advance_time_wait(Instant now, uint32_t& budget) {
    const Tick tick = tick_at(now);
    while (time_wait_.front() != TimeWaitStore::none && time_wait_[time_wait_.front()].ends_at.at_or_before(tick)) {
        if (budget == 0) return true;
        --budget;
        counters_.add(Tally::time_wait_expired);
        end_time_wait(time_wait_.front());
    }
    return false;
}

}  // namespace pollux::tcp
