// The three-way handshake, seen from the side that listens (RFC 9293 sections 3.5 and 3.10.7.2 to 3.10.7.4).
//
// Why three: our SYN-ACK goes to wherever the SYN claims to come from, and only a peer that really sent it can return
// our initial sequence number. A stale SYN from an old connection gets a SYN-ACK too, but its owner answers with RST,
// and nothing was opened: until the third segment there is a HalfOpen record of 64 bytes and no connection.
//
// Under a flood of SYNs there is not even that: the SYN-ACK is a cookie (syn_cookies.hpp), and who returns it is
// answered from what its third segment says.
//
// Data on a SYN is not processed; data on the third segment is delivered.
#include <algorithm>
#include <bit>

#include "tcp/ecn.hpp"
#include "tcp/rtt.hpp"
#include "tcp/stack.hpp"

namespace pollux::tcp {
namespace {

constexpr uint16_t default_mss_v4 = 536, default_mss_v6 = 1220;  // RFC 9293 MUST-15
constexpr uint16_t least_mss = 48;                               // smaller ones only serve attacks (CVE-2019-11479)
constexpr uint16_t timestamps_size = 12;
constexpr uint32_t crowded_retries = 2;
constexpr Duration refusal_lasts = 1s;  // about what a flight behind a dropped third segment takes to arrive

uint16_t default_mss(const FourTuple& flow) { return flow.remote_addr.is_v4() ? default_mss_v4 : default_mss_v6; }

}  // namespace

// ---- LISTEN. ----------------------------------------------------------------------------------------------------

Verdict Stack::listen_arrives(uint64_t hash, const Segment& s, Instant now, TxBatch& out) {
    if (!listening({s.flow.local_addr, s.flow.local_port})) {
        const bool opens = s.has(Flags::syn) && !s.has(Flags::ack);
        return closed_arrives(s, opens ? Verdict::no_listener : Verdict::no_connection, now, out);
    }
    if (s.has(Flags::rst)) return Verdict::reset_ignored;                         // first
    if (s.has(Flags::ack)) return ack_to_listener(hash, s, now, out);             // second
    if (!s.has(Flags::syn) || s.has(Flags::fin)) return Verdict::nonsense_flags;  // fourth
    if (!accepting_) return Verdict::draining;
    if (wants_cookie()) return answer_by_cookie(s, now, out);
    return make_half_open(hash, s, initial_sequence(s.flow, now), now, out);  // third
}

Verdict Stack::make_half_open(uint64_t hash, const Segment& syn, SeqNum iss, Instant now, TxBatch& out) {
    const uint32_t index = half_open_.take();
    if (index == HalfOpenStore::none) return Verdict::half_open_full;
    HalfOpen& h = half_open_[index];
    h.flow = syn.flow;
    h.irs = syn.seq;
    h.iss = iss;
    h.path = syn.path;
    accept_options(h, syn);
    if (settings_.ecn && asks_for_ecn(syn)) h.options |= HalfOpen::ecn;
    half_open_.wait(index, tick_at(now), static_cast<uint32_t>(syn_ack_timeout(0) / 1ms));
    if (!table_.insert(hash, EntryRef::half_open(index))) {
        half_open_.give(index);
        return Verdict::table_full;
    }
    return send_syn_ack(h, now, out) ? Verdict::syn_answered : Verdict::no_room_to_answer;
}

// What the peer's SYN or SYN-ACK offers and we want too.
void Stack::accept_options(HalfOpen& h, const Segment& syn) const {
    h.mss = syn.has(Present::mss) ? std::max<uint16_t>(syn.mss, 1) : uint16_t{0};
    if (syn.has(Present::window_scale) && settings_.window_scaling) {
        h.options |= Present::window_scale;
        h.snd_scale = static_cast<uint8_t>(std::min<uint8_t>(syn.window_scale, 14)) & 0xf;
    }
    if (syn.has(Present::sack_permitted) && settings_.sack) h.options |= Present::sack_permitted;
    if (syn.has(Present::timestamps) && settings_.timestamps) {
        h.options |= Present::timestamps;
        h.ts_recent = syn.timestamps.value;
    }
}

bool Stack::send_syn_ack(const HalfOpen& h, Instant now, TxBatch& out) {
    return send_syn_ack(h, timestamp_clock(now) + timestamp_offset(h.flow), out);
}

bool Stack::send_syn_ack(const HalfOpen& h, uint32_t ts_value, TxBatch& out) {
    TxSegment* reply = out.add_stateless();
    if (reply == nullptr) {
        counters_.add(Tally::stateless_replies_dropped);
        return false;
    }
    Segment& r = reply->segment;
    r.flow = h.flow;
    r.seq = h.iss;
    r.ack = h.irs + 1;
    r.flags = Flags::syn | Flags::ack;
    if ((h.options & (HalfOpen::ecn | HalfOpen::ecn_withdrawn)) == HalfOpen::ecn) r.flags |= Flags::ece;
    r.window = initial_window();
    r.present = Present::mss | (h.options & (Present::window_scale | Present::sack_permitted | Present::timestamps));
    r.mss = receive_mss(h.flow);
    r.window_scale = receive_scale();
    if (r.has(Present::timestamps)) r.timestamps = {ts_value, h.ts_recent};
    r.path = h.path;
    r.ttl = settings_.ttl;
    r.traffic_class = settings_.dscp;
    return true;
}

// ---- SYN cookies (RFC 4987 section 3.6). ------------------------------------------------------------------------

bool Stack::wants_cookie() const {
    switch (settings_.syn_cookies) {
        case SynCookieMode::never: return false;
        case SynCookieMode::adaptive: return half_open_.in_use() >= cookies_from_;
        case SynCookieMode::always: return true;
    }
    return false;
}

// No record, no timer, no repetition: one SYN-ACK, and what must be known later is inside it.
Verdict Stack::answer_by_cookie(const Segment& syn, Instant now, TxBatch& out) {
    HalfOpen h;
    h.flow = syn.flow;
    h.irs = syn.seq;
    h.path = syn.path;
    accept_options(h, syn);
    const uint16_t mss = h.mss != 0 ? h.mss : default_mss(h.flow);
    h.iss = cookies_.make(h.flow, h.irs, mss, wall_clock_us(now));
    cookies_end_ = now + 2 * settings_.cookie_period;
    uint32_t ts_value = 0;
    if (any(h.options & Present::timestamps)) {
        if (settings_.ecn && asks_for_ecn(syn)) h.options |= HalfOpen::ecn;
        ts_value = SynCookies::stamp(timestamp_clock(now) + timestamp_offset(h.flow), cookie_options(h));
    } else {
        h.options = Present::none;  // the peer would not bring them back
    }
    return send_syn_ack(h, ts_value, out) ? Verdict::cookie_sent : Verdict::no_room_to_answer;
}

CookieOptions Stack::cookie_options(const HalfOpen& h) {
    CookieOptions options;
    if (any(h.options & Present::window_scale)) options.window_scale = h.snd_scale;
    options.sack = any(h.options & Present::sack_permitted);
    options.ecn = any(h.options & HalfOpen::ecn);
    return options;
}

// Where no cookie can be out, none is looked for: an ACK without a connection costs no more than ever.
bool Stack::may_be_cookie(const Segment& s, Instant now) const {
    if (settings_.syn_cookies == SynCookieMode::never || s.has(Flags::syn | Flags::rst)) return false;
    return settings_.cookie_secret_is_shared || now < cookies_end_;
}

Verdict Stack::ack_to_listener(uint64_t hash, const Segment& s, Instant now, TxBatch& out) {
    if (!may_be_cookie(s, now)) return reset_reply(s, Verdict::no_connection, now, out);
    const auto [judgement, mss, tag] = cookies_.judge(s.flow, s.seq.back(1), s.ack.back(1), wall_clock_us(now));
    if (judgement == SynCookies::Judgement::good && !spent_.contains(hash, tag)) {
        return open_by_cookie(hash, recall(s, mss), tag, s, now);
    }
    // What follows a third segment that was dropped for want of room: the peer will repeat that first.
    if (s.seq_length() > 0 && now < refusing_until_) return Verdict::table_full;
    const Verdict why = judgement == SynCookies::Judgement::good    ? Verdict::replayed_cookie
                        : judgement == SynCookies::Judgement::stale ? Verdict::stale_cookie
                                                                    : Verdict::bad_cookie;
    return reset_reply(s, why, now, out);
}

// Without room the segment is dropped, and its repetition will be a cookie again.
Verdict Stack::open_by_cookie(uint64_t hash, const HalfOpen& h, uint32_t tag, const Segment& s, Instant now) {
    const uint32_t conn = conns_.take();
    if (conn == Pool<Conn>::none || !table_.insert(hash, EntryRef::connection(conn))) {
        if (conn != Pool<Conn>::none) conns_.give(conn);
        refusing_until_ = now + refusal_lasts;
        return Verdict::table_full;
    }
    spent_.add(hash, tag);
    return establish(conn, h, Origin::cookie, s, now);
}

// What the record would have held, had there been one.
HalfOpen Stack::recall(const Segment& s, uint16_t mss) const {
    HalfOpen h;
    h.flow = s.flow;
    h.irs = s.seq.back(1);
    h.iss = s.ack.back(1);
    h.mss = mss;
    if (!s.has(Present::timestamps) || !settings_.timestamps) return h;
    const CookieOptions options = SynCookies::read_stamp(s.timestamps.echo);
    h.options = Present::timestamps;
    h.ts_recent = s.timestamps.value;
    if (options.window_scale && settings_.window_scaling) {
        h.options |= Present::window_scale;
        h.snd_scale = std::min<uint8_t>(*options.window_scale, 14) & 0xf;
    }
    if (options.sack && settings_.sack) h.options |= Present::sack_permitted;
    if (options.ecn && settings_.ecn) h.options |= HalfOpen::ecn;
    return h;
}

// ---- SYN-RECEIVED. ----------------------------------------------------------------------------------------------

Verdict Stack::half_open_arrives(uint32_t index, uint64_t hash, const Segment& s, Instant now, TxBatch& out) {
    HalfOpen& h = half_open_[index];
    const SeqNum rcv_nxt = h.irs + 1;
    const uint32_t window = initial_window();
    const SeqNum last = s.seq + (s.seq_length() == 0 ? 0 : s.seq_length() - 1);
    if (s.has(Flags::rst)) {
        if (s.seq == rcv_nxt) {
            end_half_open(index);
            return Verdict::reset_by_peer;
        }
        if (!s.seq.in_window(rcv_nxt, window)) return Verdict::reset_ignored;
        acknowledge_half_open(h, now, out);
        return Verdict::reset_in_window;
    }
    if (s.has(Flags::syn)) {
        if (s.has(Flags::fin)) return Verdict::nonsense_flags;
        if (s.seq == h.irs && !s.has(Flags::ack)) {
            h.path = s.path;
            h.options |= HalfOpen::syn_was_repeated;
            if (!asks_for_ecn(s)) h.options |= HalfOpen::ecn_withdrawn;
            return send_syn_ack(h, now, out) ? Verdict::syn_repeated : Verdict::no_room_to_answer;
        }
        // Another ISN: the peer may have restarted. It will answer the ACK with a RST that ends this record.
        acknowledge_half_open(h, now, out);
        return Verdict::syn_in_window;
    }
    if (any(h.options & Present::timestamps)) {
        if (!s.has(Present::timestamps)) return Verdict::missing_timestamp;
        if (static_cast<int32_t>(s.timestamps.value - h.ts_recent) < 0) {
            acknowledge_half_open(h, now, out);
            return Verdict::paws;
        }
    }
    if (!s.seq.in_window(rcv_nxt, window) && !last.in_window(rcv_nxt, window)) {
        acknowledge_half_open(h, now, out);
        return Verdict::out_of_window;
    }
    if (!s.has(Flags::ack)) return Verdict::no_ack;
    // RFC 9293 section 3.10.7.4, fifth: SND.UNA < SEG.ACK =< SND.NXT leaves one value.
    if (s.ack == h.iss + 1) return complete_handshake(index, hash, s, now);
    // The peer may have been given a cookie before there was room for this record.
    if (s.seq == rcv_nxt && may_be_cookie(s, now)) {
        const auto [judgement, mss, tag] = cookies_.judge(s.flow, h.irs, s.ack.back(1), wall_clock_us(now));
        if (judgement == SynCookies::Judgement::good && !spent_.contains(hash, tag)) {
            if (conns_.is_full()) return Verdict::table_full;
            // What the peer offers is the same as then, and so is what we took up, unless it has no timestamps.
            HalfOpen known = any(h.options & Present::timestamps) ? h : recall(s, mss);
            known.iss = s.ack.back(1);
            end_half_open(index);
            return open_by_cookie(hash, known, tag, s, now);
        }
    }
    return reset_reply(s, Verdict::half_open_ack, now, out);
}

void Stack::acknowledge_half_open(const HalfOpen& h, Instant now, TxBatch& out) {
    if (!ack_limit_.allow(now)) return counters_.add(Tally::challenge_acks_limited);
    TxSegment* reply = out.add_stateless();
    if (reply == nullptr) return counters_.add(Tally::stateless_replies_dropped);
    Segment& r = reply->segment;
    r.flow = h.flow;
    r.seq = h.iss + 1;
    r.ack = h.irs + 1;
    r.flags = Flags::ack;
    // The window of the SYN-ACK again, scaled now and rounded up, so that its edge does not move left.
    const int scale = any(h.options & Present::window_scale) ? receive_scale() : 0;
    r.window = (initial_window() + (1u << scale) - 1) >> scale;
    if (any(h.options & Present::timestamps)) {
        r.present = Present::timestamps;
        r.timestamps = {timestamp_clock(now) + timestamp_offset(h.flow), h.ts_recent};
    }
    r.path = h.path;
    r.ttl = settings_.ttl;
    r.traffic_class = settings_.dscp;
    counters_.add(Tally::challenge_acks_sent);
}

// A full connection pool drops the ACK without a word: the SYN-ACK is repeated, and the peer tries again.
Verdict Stack::complete_handshake(uint32_t index, uint64_t hash, const Segment& s, Instant now) {
    const uint32_t conn = conns_.take();
    if (conn == Pool<Conn>::none) return Verdict::table_full;
    const HalfOpen h = half_open_[index];
    [[maybe_unused]] const bool replaced =
        table_.replace(hash, EntryRef::half_open(index), EntryRef::connection(conn));
    half_open_.give(index);
    return establish(conn, h, Origin::record, s, now);
}

// The connection has its place in the table and nothing else yet; `s` completes its handshake.
Verdict Stack::establish(uint32_t conn, const HalfOpen& h, Origin origin, const Segment& s, Instant now) {
    Conn& c = begin(conn, h.flow, State::established);
    if (const Listener* l = listener({h.flow.local_addr, h.flow.local_port}); l != nullptr && l->congestion) {
        c.congestion = static_cast<uint8_t>(*l->congestion) & 3;
    }
    agree(c, h, origin, s, now);
    // RFC 6298 (2.2): the handshake is the first sample.
    if (!c.has(ConnFlags::timestamps | ConnFlags::syn_lost) && origin == Origin::record) {
        const Duration waited = syn_ack_timeout(0) - h.due_in_ms(tick_at(now)) * 1ms;
        rtt_sample(c.srtt_us, c.rttvar_us, std::clamp<Duration>(waited, 1us, syn_ack_timeout(0)), 0);
    }
    counters_.add(Tally::connections_opened);
    if (origin == Origin::cookie) counters_.add(Tally::cookies_accepted);
    if (c.ecn) counters_.add(Tally::ecn_connections);
    raise(c, Event::Kind::opened);
    // RFC 9293 section 3.10.7.4: go on with the segment in ESTABLISHED; it may carry data and FIN.
    if (!s.payload.empty() || s.has(Flags::fin)) {
        const Verdict text = process_text(c, s, now, Verdict::opened);
        if (c.generation != 0) process_fin(c, s, text);
    }
    return Verdict::opened;
}

// What both sides know of each other once each has seen the other's SYN. `s` is the latest of the peer's segments:
// what completes the handshake, or, for an open of ours, its SYN.
void Stack::agree(Conn& c, const HalfOpen& h, Origin origin, const Segment& s, Instant now) {
    c.path = s.path;
    c.rcv.nxt = h.irs + 1;
    c.rcv.edge = c.rcv.nxt + initial_window();
    c.snd.una = c.snd.nxt = h.iss + 1;
    c.recover = c.snd.una.back(1);
    if (any(h.options & Present::window_scale)) {
        c.snd_scale = h.snd_scale;
        c.rcv_scale = receive_scale() & 0xf;
    }
    // Replaces the one of the SYN, which is never scaled (RFC 7323 section 2.2).
    c.snd_wnd = s.window << (s.has(Flags::syn) ? 0 : c.snd_scale);
    c.max_snd_wnd = c.snd_wnd;
    c.snd_wl1 = s.seq;
    uint16_t mss = h.mss != 0 ? h.mss : default_mss(h.flow);
    mss = std::min(std::max(mss, least_mss), receive_mss(h.flow));
    if (any(h.options & Present::timestamps)) {
        c.set(ConnFlags::timestamps);
        mss = static_cast<uint16_t>(mss - timestamps_size);
        c.ts_recent = h.ts_recent;
        // RFC 7323 section 4.3 (2): a segment beyond the edge that overtook others teaches nothing yet.
        if (s.seq.at_or_before(c.rcv.nxt) && static_cast<int32_t>(s.timestamps.value - h.ts_recent) > 0) {
            c.ts_recent = s.timestamps.value;
        }
        c.ts_recent_day = static_cast<uint8_t>(now.time_since_epoch() / std::chrono::days{1});
        c.ts_offset = timestamp_offset(h.flow);
        // A cookie of a machine whose clock is ahead of ours: our next TSval must not be older (PAWS).
        const uint32_t ahead = s.timestamps.echo - (timestamp_clock(now) + c.ts_offset);
        if (origin == Origin::cookie && static_cast<int32_t>(ahead) > 0) c.ts_offset += ahead;
    }
    if (any(h.options & Present::sack_permitted)) c.set(ConnFlags::sack);
    c.hears_ce = any(h.options & HalfOpen::ecn);
    c.ecn = c.hears_ce && !any(h.options & HalfOpen::ecn_withdrawn);
    if (c.has(ConnFlags::keep_alive)) make_ready(c);  // output() starts the timer
    extras_[index_of(c)].round_end = c.rcv.edge;
    extras_[index_of(c)].round_start_us = static_cast<uint32_t>(now.time_since_epoch().count());
    c.mss = mss;
    c.cwnd = initial_cwnd(mss);
    const bool repeated = h.level > 0 || any(h.options & HalfOpen::syn_was_repeated);
    if (repeated) {
        c.set(ConnFlags::syn_lost);
        c.cwnd = mss;  // RFC 5681 section 3.1
    }
    // RFC 6298 (2.2): the handshake is the first sample; repeated, it teaches only through timestamps (Karn).
    // A cookie's timestamp is rounded and may be another machine's: the first answer will be the first sample.
    if (c.has(ConnFlags::timestamps) && s.has(Flags::ack) && origin == Origin::record) sample_rtt(c, s, 0, now);
}

void Stack::end_half_open(uint32_t index) {
    table_.erase(hash(half_open_[index].flow), EntryRef::half_open(index));
    half_open_.give(index);
}

// ---- SYN-ACK retransmission. --------------------------------------------------------------------------------------

Duration Stack::syn_ack_backoff(uint32_t level) const {
    return std::min(settings_.initial_rto * (1 << std::min(level, 10u)), settings_.max_rto);
}

// The same for all records of a level, with half_open_timeout too: what is left of it when the level begins.
Duration Stack::syn_ack_timeout(uint32_t level) const {
    const Duration wait = syn_ack_backoff(level);
    if (settings_.half_open_timeout == 0s) return wait;
    Duration left = settings_.half_open_timeout;
    for (uint32_t before = 0; before < level; ++before) left -= syn_ack_backoff(before);
    return std::clamp<Duration>(left, 1ms, wait);
}

// As many as the settings say, or as leave before half_open_timeout.
uint32_t Stack::useful_syn_ack_retries() const {
    const uint32_t most = std::min<uint32_t>(settings_.syn_ack_retries, HalfOpenStore::max_level);
    if (settings_.half_open_timeout == 0s) return most;
    uint32_t retries = 0;
    Duration leaves = syn_ack_backoff(0);
    while (retries < most && leaves < settings_.half_open_timeout) leaves += syn_ack_backoff(++retries);
    return retries;
}

bool Stack::advance_half_open(Instant now, uint32_t& budget) {
    const Tick tick = tick_at(now);
    const uint32_t retries = half_open_.crowded() ? std::min(syn_ack_retries_, crowded_retries) : syn_ack_retries_;
    for (uint32_t level = 0; level <= HalfOpenStore::max_level; ++level) {
        while (true) {
            if (budget == 0) return true;
            const uint32_t index = half_open_.take_due(level, tick);
            if (index == HalfOpenStore::none) break;
            --budget;
            if (level < retries) continue;  // repeat_syn_acks() sends it
            counters_.add(Tally::half_open_expired);
            end_half_open(index);
        }
    }
    return false;
}

void Stack::repeat_syn_acks(Instant now, TxBatch& out) {
    for (uint32_t index; (index = half_open_.first_to_send()) != HalfOpenStore::none;) {
        HalfOpen& h = half_open_[index];
        if (!send_syn_ack(h, now, out)) return;
        counters_.add(Tally::syn_acks_retransmitted);
        half_open_.sent(index);
        h.level = (h.level + 1) & 0xf;
        half_open_.wait(index, tick_at(now), static_cast<uint32_t>(syn_ack_timeout(h.level) / 1ms));
    }
}

// ---- What we announce. ------------------------------------------------------------------------------------------

// RFC 6528: ISN = M + F(tuple, secret), M a clock of 4 microseconds: nobody can guess it, and numbers of the same
// tuple keep growing.
SeqNum Stack::initial_sequence(const FourTuple& flow, Instant now) const {
    return SeqNum{static_cast<uint32_t>(wall_clock_us(now) / 4 + siphash_2_4(secrets_.isn, flow))};
}

uint16_t Stack::receive_mss(const FourTuple& flow) const {
    const int headers = flow.local_addr.is_v4() ? 40 : 60;
    const auto by_mtu = static_cast<uint16_t>(settings_.mtu - headers);
    return settings_.max_mss == 0 ? by_mtu : std::min(by_mtu, settings_.max_mss);
}

}  // namespace pollux::tcp
