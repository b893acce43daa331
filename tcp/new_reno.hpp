// NewReno: slow start, congestion avoidance and recovery without SACK (RFC 5681, RFC 6582). The only writer of cwnd
// and ssthresh; it decides how much may be in flight, never what is sent.
#pragma once

#include <algorithm>
#include <cstdint>

#include "tcp/conn.hpp"

namespace pollux::tcp::new_reno {

/// RFC 5681 equation (4).
inline uint32_t half_of_flight(const Conn& c) { return std::max(c.in_flight() / 2, 2u * c.mss); }

/// New data was acknowledged outside of recovery. cwnd grows by bytes, however many ACKs say so (RFC 3465), and only
/// while it is what limits the sender (RFC 7661).
inline void on_ack(Conn& c, uint32_t acked) {
    if (!c.has(ConnFlags::cwnd_limited)) return;
    if (c.cwnd < c.ssthresh) {
        c.cwnd += acked;  // slow start
    } else {
        const uint64_t growth = uint64_t{acked} * c.mss / c.cwnd;  // one segment a round trip
        c.cwnd += static_cast<uint32_t>(std::max<uint64_t>(growth, 1));
    }
    c.cwnd = std::min(c.cwnd, 1u << 30);
}

/// The third duplicate ACK: RFC 6582 section 3.2 (2).
inline void on_loss(Conn& c) {
    c.ssthresh = half_of_flight(c);
    c.cwnd = c.ssthresh + 3u * c.mss;
}

/// A further duplicate ACK: a segment has left the network (RFC 5681 section 3.2 (4)).
/// No more can leave than was outstanding, whatever the peer claims (Savage 1999).
inline void on_segment_left(Conn& c) {
    if (c.cwnd < c.ssthresh + 3u * c.mss + c.recover.since(c.snd.una)) c.cwnd += c.mss;
}

/// An ACK of some of what was outstanding at the loss: RFC 6582 section 3.2 (3), partial acknowledgment.
inline void on_partial_ack(Conn& c, uint32_t acked) {
    c.cwnd = c.cwnd > acked ? c.cwnd - acked : 0;
    if (acked >= c.mss) c.cwnd += c.mss;
    c.cwnd = std::max<uint32_t>(c.cwnd, c.mss);
}

/// All that was outstanding at the loss is acknowledged: RFC 6582 section 3.2 (3), full acknowledgment (1).
inline void on_recovered(Conn& c) {
    c.cwnd = std::max<uint32_t>(std::min(c.ssthresh, std::max<uint32_t>(c.in_flight(), c.mss) + c.mss), c.mss);
}

/// The retransmission timer fired: RFC 5681 section 3.1, equation (4) once per loss, then one segment.
inline void on_timeout(Conn& c, bool first_time) {
    if (first_time) c.ssthresh = half_of_flight(c);
    c.cwnd = c.mss;
}

}  // namespace pollux::tcp::new_reno
