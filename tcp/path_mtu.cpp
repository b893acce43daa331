// What the network says about a path: the path MTU (RFC 1191, RFC 8201), and the errors that change nothing.
//
// An ICMP error proves its origin by the sequence number that it quotes: only one that is outstanding counts
// (RFC 5927 section 4), and none ends a synchronised connection (RFC 9293 MUST-56, SHLD-26 as every modern stack
// reads it). "Too big" makes the connection's segments as small as it says, never below the least MTU, never larger
// than they are, and all that is outstanding leaves again at once: the segments that did not fit are lost, and those
// behind them will be taken twice. The network is not congested, so cwnd and ssthresh stay (RFC 1191 section 6.5).
// The smaller size lasts as long as the connection.
#include <algorithm>
#include <array>

#include "tcp/stack.hpp"

namespace pollux::tcp {
namespace {

// As Linux: RFC 791 lets a path have 68, but all that a smaller MTU would serve today is an attack (RFC 5927 section
// 7).
constexpr uint32_t least_mtu_v4 = 552;
constexpr uint32_t base_segment = 1024;   // RFC 4821 section 7.2: payload bytes
constexpr uint32_t least_mtu_v6 = 1280;  // RFC 8200 section 5; RFC 8201 section 4: less is discarded

// RFC 1191 section 7.1, as far as we follow it down.
constexpr std::array<uint32_t, 8> plateaus{65'535, 32'000, 17'914, 8'166, 4'352, 2'002, 1'492, 1'006};

// RFC 1191 section 5: of a router too old to name its MTU, the next plateau below the packet that did not fit. Not
// below what we send now: each packet of a window draws a message, and the later ones tell of the same link.
uint32_t next_plateau(uint32_t packet) {
    const auto below = std::ranges::find_if(plateaus, [packet](uint32_t mtu) { return mtu < packet; });
    if (below != plateaus.end()) return *below;
    return packet > least_mtu_v4 ? least_mtu_v4 : 0;  // every path takes the least
}

}  // namespace

Verdict Stack::notify(const PathNotice& notice, Instant now) {
    const EntryRef entry = find_entry(hash(notice.flow), notice.flow);
    if (!entry || entry.kind() != EntryRef::Kind::connection) return Verdict::icmp_ignored;
    Conn& c = conns_[entry.index()];
    if (in(c.state, opening_states)) return opening_notice(c, notice);
    if (!notice.quoted_seq.in_window(c.snd.una, c.in_flight())) return Verdict::icmp_ignored;
    if (notice.kind == PathNotice::Kind::too_big)
        return lower_path_mtu(c, notice, now) ? Verdict::path_notice : Verdict::icmp_ignored;
    raise_once(c, Event::Kind::path_error);
    return Verdict::path_notice;
}

// False, and nothing has changed, when the MTU is none that a path could have or no less than what we send.
bool Stack::lower_path_mtu(Conn& c, const PathNotice& notice, Instant now) {
    const bool is_v4 = c.flow.remote_addr.is_v4();
    // IP and TCP headers, and the timestamps of every segment.
    const uint32_t headers = (is_v4 ? 40u : 60u) + (c.has(ConnFlags::timestamps) ? 12u : 0u);
    const uint32_t mtu = is_v4 && notice.mtu == 0 ? next_plateau(notice.quoted_length) : notice.mtu;
    if (mtu < (is_v4 ? least_mtu_v4 : least_mtu_v6) || mtu >= headers + c.mss) return false;
    counters_.add(Tally::path_mtu_lowered);
    lower_mss(c, mtu - headers, now);
    return true;
}

// RFC 4821 section 7.7: full segments that nothing answers, again and again, may be too large for a path whose
// routers do not say so. The base size passes nearly everywhere.
void Stack::suspect_black_hole(Conn& c, Instant now) {
    const bool full = std::min(c.queued(), c.in_flight()) >= c.mss;
    const Recovery* const r = recovery_of(c);
    const bool others_pass = r != nullptr && r->board.sacked() > 0;
    if (!full || others_pass || c.mss <= base_segment) return;
    counters_.add(Tally::black_holes_found);
    lower_mss(c, base_segment, now);
}

// What is outstanding and too large leaves again at once, with the cwnd that was there.
void Stack::lower_mss(Conn& c, uint32_t mss, Instant now) {
    c.mss = static_cast<uint16_t>(mss);
    Recovery* const r = recovery_of(c);
    if (r != nullptr && r->board.active()) {
        if (r->phase == Phase::recovery || r->phase == Phase::reduced) congestion::end_reduction(c);
        if (r->board.recut(segment_records_, mss)) return resend_too_large(c, *r, now);
        r->board.end(segment_records_);
        r->phase = Phase::open;
    }
    resend_outstanding(c, now);
}

// As after a timeout, but the network is not congested.
void Stack::resend_too_large(Conn& c, Recovery& r, Instant now) {
    // What has already reduced cwnd for this flight does so for all of it.
    r.excused = r.phase == Phase::open || r.excused;
    r.phase = Phase::loss;
    r.point = c.recover = c.snd.nxt;
    r.spurious = SpuriousTimeout::no;
    r.undo.possible = false;
    end_probe(r);
    if (c.snd_wnd != 0) start_retransmit_timer(c, now);
    make_ready(c);
}

// Without a scoreboard, all that is in flight.
void Stack::resend_outstanding(Conn& c, Instant now) {
    // Duplicate ACKs so far told of the same loss; those to come answer what arrives twice.
    if (c.has(ConnFlags::fast_recovery)) congestion::on_recovered(c);
    c.clear(ConnFlags::fast_recovery | ConnFlags::resend_first | ConnFlags::rtt_timed | ConnFlags::duplicates);
    c.set(ConnFlags::rto_recovery);
    if (Recovery* const r = recovery_of(c)) r->spurious = SpuriousTimeout::no;  // F-RTO asked about other segments
    c.ecn_reduced = false;
    c.dup_acks = 0;
    c.recover = c.snd.nxt;
    c.rtx = c.snd.una;
    // Nothing goes into a closed window: its probes go on, and all leaves with its opening.
    if (c.snd_wnd != 0) start_retransmit_timer(c, now);
    make_ready(c);
}

}  // namespace pollux::tcp
