// Congestion control: how much may be in flight. The functions here are the only writers of cwnd and ssthresh; they
// never decide what is sent.
//
// Two controllers, chosen per listener or connect: NewReno (RFC 5681, RFC 6582) and CUBIC (RFC 9438), both with
// HyStart++ (RFC 9406) in the first slow start. The choice is a closed sum type: two bits of the connection, a switch
// without a default, and the state of both in the cold record. A third one, driven by rates (BBR), finds what it
// needs in AckSample and answers pacing_rate().
//
//                 open ---- loss ----> recovery     PRR (RFC 9937) leads cwnd to ssthresh
//                  | \                  |           undone if nothing was lost (RFC 4015, RFC 3708)
//                  |  +--- ECE -----> reduced       the same, without a loss (RFC 3168)
//                  +------ RTO -----> loss          one segment, then slow start up to ssthresh
#pragma once

#include <cstdint>

#include "tcp/time.hpp"

namespace pollux::tcp {

struct Conn;
struct Recovery;
struct StackSettings;

enum class CongestionControl : uint8_t { new_reno, cubic };

/// What one ACK taught. The ACK's reader fills it, once; the window's writer reads it.
struct AckSample {
    Instant now{};
    uint32_t acked = 0;      // bytes that SEG.ACK newly covers
    uint32_t delivered = 0;  // bytes newly known to have arrived, by SEG.ACK or SACK
    uint32_t lost = 0;       // bytes newly found lost
    uint32_t flight_before = 0;  // SND.NXT - SND.UNA before it
    uint32_t pipe_before = 0;    // of those, believed to be in the network
    uint32_t rtt_us = 0;         // of the segment sent last among those delivered, if it was sent once; 0: none
    uint32_t oldest_rtt_us = 0;  // of the one sent first: what the retransmission timer must know
    bool advances = false;       // SND.UNA moved
    bool duplicate = false;      // RFC 5681 section 2
    bool marked = false;         // ECE: a router would rather not have forwarded (RFC 3168)
    bool dsack = false;          // it reports something that arrived twice (RFC 2883)
    bool original = false;       // something arrived that was sent before the timeout, and once (RFC 5682)
    // Delivery rate: `rate_bytes` were delivered within `rate_interval_us`; 0: no sample.
    uint32_t rate_bytes = 0, rate_interval_us = 0;
    bool app_limited = false;  // the application, not the network, set that rate
};

namespace congestion {

/// Why the window is reduced: the controllers answer a mark more gently than a loss (RFC 8511).
enum class Cause : uint8_t { loss, mark };

/// Outside of PRR: new data was acknowledged. Grows by what was delivered, however many ACKs say so (RFC 3465), and
/// only while cwnd is the limit (RFC 7661).
void on_ack(Conn& c, Recovery* r, const AckSample& sample, bool hystart);

/// A loss or a mark, with a cold record: ssthresh by the controller, and PRR begins (RFC 9937 section 6.2).
void begin_reduction(Conn& c, Recovery& r, Cause cause, const AckSample& sample);
/// PRR: each ACK until the end of the reduction, after the scoreboard has been brought up to date.
void on_reduction_ack(Conn& c, Recovery& r, const AckSample& sample);
/// All that was in flight at the reduction has been acknowledged.
void end_reduction(Conn& c);
/// A loss that its repair has already healed: the reduction in one step (RFC 8985 section 7.4.2).
void reduce_at_once(Conn& c, Recovery* r, Cause cause, uint32_t flight);

/// The retransmission timer has fired: one segment; ssthresh once for all timeouts of one flight (RFC 5681 section
/// 3.1).
void on_timeout(Conn& c, Recovery* r, bool first_time);
/// The reduction was for nothing: cwnd, ssthresh and the controller are as before it (RFC 4015, RFC 9438 section 4.9).
void undo(Conn& c, Recovery& r);
/// Nothing was sent for longer than an RTO: RFC 5681 section 4.1.
void restart_after_idle(Conn& c, uint32_t restart_window);

// Without a scoreboard: RFC 6582.
void on_third_duplicate(Conn& c, Recovery* r, bool reduces);
void on_segment_left(Conn& c);
void on_partial_ack(Conn& c, uint32_t acked);
void on_recovered(Conn& c);

/// Bytes a second at which segments should leave; 0: as ACKs clock them out, which is what both controllers do.
constexpr uint64_t pacing_rate(CongestionControl control) {
    switch (control) {
        case CongestionControl::new_reno: return 0;
        case CongestionControl::cubic: return 0;
    }
    return 0;
}

}  // namespace congestion
}  // namespace pollux::tcp
