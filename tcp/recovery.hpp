// Recovery: what a connection needs beyond Conn while more than one segment is in flight: the scoreboard, RACK-TLP
// (RFC 8985), PRR (RFC 9937), what an undo restores, and the congestion controller's own state.
//
// Pooled. A connection takes one when its second segment leaves, or when a timeout fires, and gives it back once
// nothing is in flight and nothing in it is worth keeping. When the pool is empty, the connection does without:
// NewReno with duplicate ACKs (RFC 6582), which is also how peers without SACK are served.
#pragma once

#include <cstdint>

#include "tcp/cubic.hpp"
#include "tcp/hystart.hpp"
#include "tcp/scoreboard.hpp"
#include "tcp/time.hpp"

namespace pollux::tcp {

/// Where a connection stands in RFC 5681's course of events.
enum class Phase : uint8_t {
    open,      // nothing lost
    reduced,   // the peer has echoed a congestion mark
    recovery,  // fast recovery
    loss,      // after a timeout
};

/// The lowest RTT of the last one to two windows of five minutes.
struct MinRtt {
    uint32_t current_us = 0, before_us = 0;  // 0: none
    uint32_t began_us = 0;

    void take(uint32_t rtt_us, uint32_t now_us) {
        if (current_us != 0 && now_us - began_us > window_us) {
            before_us = current_us;
            current_us = 0;
        }
        if (current_us == 0) began_us = now_us;
        if (current_us == 0 || rtt_us < current_us) current_us = rtt_us;
    }
    uint32_t us() const {
        return current_us == 0 ? before_us : before_us == 0 || current_us < before_us ? current_us : before_us;
    }
    static constexpr uint32_t window_us = 300'000'000;
};

/// RFC 8985 section 5.2.
struct Rack {
    uint32_t sent_at_us = 0;  // RACK.xmit_ts: of the most recently sent segment that has arrived
    SeqNum end;               // RACK.end_seq: its end
    uint32_t rtt_us = 0;      // RACK.rtt; 0: nothing has arrived yet
    SeqNum fack;              // RACK.fack: the highest number that has arrived
    SeqNum dsack_round;       // one widening per round trip ends here
    uint8_t reo_wnd_mult = 1;
    uint8_t reo_wnd_persist = 0;    // recoveries for which the widening lasts
    bool reordering_seen = false;
    bool in_dsack_round = false;
};

/// RFC 8985 section 7.2.
struct TailProbe {
    SeqNum end;                  // TLP.end_seq, while `active`
    bool active = false;         // a probe is out and unanswered
    bool is_repetition = false;  // TLP.is_retrans
    bool rearm = false;          // something was sent or acknowledged: the timer starts anew
    bool due = false;            // the probe leaves in this turn
};

/// RFC 9937 section 6.1, in bytes.
struct RateReduction {
    uint32_t delivered = 0, out = 0, flight = 0;  // prr_delivered, prr_out, RecoverFS
};

/// What was there before the last reduction, and what would prove that it was for nothing.
struct Undo {
    bool possible = false;
    bool timeout = false;        // what would be undone was one
    uint32_t cwnd = 0, ssthresh = 0;
    Cubic cubic;
    int32_t unreported = 0;      // repetitions that no DSACK has reported as superfluous
    bool repeated = false;       // something was sent again
    SeqNum first, last;          // where the first segment that was repeated begins, where the last one ends
    uint32_t timestamp = 0;      // TSval of the first repetition
    SackBlock reported;          // the last DSACK: that it comes again says nothing more
    SeqNum until;                // after recovery: once this is acknowledged, no DSACK is to come
};

/// RFC 5682: after a timeout, whether what was in flight still arrives.
enum class SpuriousTimeout : uint8_t {
    no,         // decided, or not asked
    asks,       // the first segment was repeated
    sent_new,   // an ACK moved on: new data is out, repetitions wait for the next ACK
};

/// Whether cwnd is what limits the sender, remembered for a flight (RFC 7661 section 4.1): only then may it grow.
struct Usage {
    SeqNum until;          // SND.NXT when it was noted
    uint32_t most = 0;     // bytes in flight
    bool limited = false;  // cwnd was full
};

struct Recovery {
    Scoreboard board;
    Rack rack;
    TailProbe probe;
    RateReduction prr;
    Undo undo;
    Cubic cubic;
    HyStart hystart;
    MinRtt min_rtt;
    Usage usage;
    Phase phase = Phase::open;
    SpuriousTimeout spurious = SpuriousTimeout::no;
    bool force_first = false;  // the lowest lost segment leaves whatever cwnd says
    bool excused = false;      // Phase::loss, but nothing was: the path takes no segments of that size
    SeqNum point;              // RecoveryPoint: SND.NXT at the reduction or timeout
    Tick reorder_at, probe_at;
    uint32_t reductions = 0;
    // Delivery rate.
    uint32_t delivered = 0, delivered_at_us = 0, first_sent_at_us = 0;
    uint32_t app_limited_until = 0;  // of `delivered`; 0: not limited
    uint32_t rate_bytes = 0, rate_interval_us = 0;
};

}  // namespace pollux::tcp
