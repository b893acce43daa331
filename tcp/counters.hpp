// Counts of one core: one per Verdict (what became of received packets) and one per Tally (what else happened).
// One writer, no atomics; the tools read a copy that the owner hands out.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tcp/verdict.hpp"

namespace pollux::tcp {

enum class Tally : uint8_t {
    fast_path,  // segments that met every expectation of the fast path
    segments_received,
    segments_sent,           // of connections, retransmissions included
    payload_bytes_received,  // in order, once each
    payload_bytes_sent,      // first transmissions
    acks_sent,               // segments without payload, SYN and FIN
    urgent_segments,         // of connections, with URG: delivered in line (RFC 9293 section 3.8.5)
    connections_opened,
    cookies_accepted,       // of connections_opened: by SYN cookie
    connections_closed,     // ended without a reset or a timeout
    connections_reset,      // ended by the peer's RST
    connections_aborted,    // ended by our RST
    connections_timed_out,  // ended by R2
    connects_started,       // opens of ours
    connects_refused,       // ended by a RST that acknowledges our SYN
    connects_unreachable,   // ended by a hard ICMP error, or by a next hop that does not answer
    connects_abandoned,     // closed by the application in SYN-SENT
    connects_forbidden,     // not begun: broadcast, multicast, unspecified, of two families, to ourselves
    connects_in_use,        // not begun: the tuple is a connection's, or in TIME-WAIT too short
    connects_without_port,  // not begun: no local port found
    connects_unroutable,    // not begun: no usable address of ours leads there (engine/opener.hpp)
    connects_without_room,  // not begun: no record or no place in the table
    syns_retransmitted,
    retransmitted_segments,
    retransmission_timeouts,
    fast_retransmits,        // recoveries begun by duplicate ACKs, SACKs or time
    recoveries_undone,       // they had been for nothing: cwnd came back
    timeouts_undone,         // timeouts likewise
    tail_loss_probes,
    segments_marked_lost,
    duplicates_reported,     // DSACKs
    sacks_reneged,           // peers that dropped what they had reported
    recoveries_without_room,  // no cold record or ring: NewReno, or a window that waits
    black_holes_found,       // connections' segments made smaller because full ones drew no answer
    window_probes,
    keep_alive_probes,
    receive_buffers_grown,
    path_mtu_lowered,  // connections' segments made smaller by a "too big"
    ecn_connections,   // opened with ECN agreed on
    ecn_reductions,    // of cwnd, by an echoed mark
    ce_received,       // data segments with a mark, of connections that echo it
    syn_acks_retransmitted,
    half_open_expired,
    time_wait_made,
    time_wait_recycled,  // ended before 2 MSL because the store was full
    time_wait_expired,
    resets_sent,
    challenge_acks_sent,
    challenge_acks_limited,
    stateless_replies_dropped,
    unread_bytes_rolled_back,  // accepted in this turn, unread, and no chunk to keep them: not acknowledged
    handed_over,               // packets given to the worker that owns their flow
    taken_over,                // packets of our flows that other workers received
    link_news_lost,            // what a neighbour said and another worker had no room for
    datagrams_reassembled,     // from IP fragments (engine/fragments.hpp)
    fragments_discarded,       // kept in vain: timed out, overlapping, too many of one datagram
    duplicate_addresses,       // addresses of ours that another station uses (RFC 4862 section 5.4)
    busy_us,                   // microseconds of turns that found work: what packets have cost
    // [test] of the settings: what was done to packets on purpose (engine/impaired_queue.hpp).
    impaired_received_lost,
    impaired_received_duplicated,
    impaired_received_reordered,
    impaired_received_corrupted,
    impaired_received_overflowed,  // dropped because too many were being held back
    impaired_sent_lost,
    impaired_sent_duplicated,
    impaired_sent_reordered,
    impaired_sent_corrupted,
    impaired_sent_overflowed,
    sent_without_link,  // frames dropped: the device takes nothing and has no link
    events_lost,        // must stay 0: the event list is sized for a whole turn
    count,
};
inline constexpr size_t tally_count = static_cast<size_t>(Tally::count);

struct TallyInfo {
    Tally tally;
    std::string_view name, sentence;
};
extern const std::array<TallyInfo, tally_count> tallies;  // indexed by Tally; order checked at compile time

class Counters {
public:
    void add(Verdict verdict, uint64_t n = 1) { verdicts_[static_cast<size_t>(verdict)] += n; }
    void add(Tally tally, uint64_t n = 1) { tallies_[static_cast<size_t>(tally)] += n; }
    uint64_t operator[](Verdict verdict) const { return verdicts_[static_cast<size_t>(verdict)]; }
    uint64_t operator[](Tally tally) const { return tallies_[static_cast<size_t>(tally)]; }
    Counters& operator+=(const Counters& other) {
        for (size_t i = 0; i < verdict_count; ++i) verdicts_[i] += other.verdicts_[i];
        for (size_t i = 0; i < tally_count; ++i) tallies_[i] += other.tallies_[i];
        return *this;
    }

private:
    alignas(64) std::array<uint64_t, verdict_count> verdicts_{};
    std::array<uint64_t, tally_count> tallies_{};
};

}  // namespace pollux::tcp
