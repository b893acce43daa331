// Every policy of the protocol that a user may choose, with its default and its reason. A Stack copies them at
// start; nothing here changes while it runs.
#pragma once

#include <cstdint>

#include "tcp/congestion.hpp"
#include "tcp/syn_cookies.hpp"
#include "tcp/time.hpp"

namespace pollux::tcp {

/// How many of each thing one worker's stack may hold. All of it is allocated at start.
struct Capacity {
    uint32_t connections = 100'000;   // established connections, at most 2^28
    uint32_t half_open = 16'384;      // SYN-RECEIVED records
    uint32_t time_wait = 100'000;     // TIME-WAIT records; a full store recycles the oldest
    uint32_t send_entries = 65'536;   // queued pieces beyond the one that each connection holds inline
    uint32_t chunks = 16'384;         // buffers of `chunk_size` for data kept: unread, out of order, copied to send
    uint32_t receive_stores = 8'192;  // connections that hold unread or out-of-order data at the same time
    uint32_t recoveries = 16'384;     // connections with more than one segment in flight, or in loss recovery
    uint32_t segment_records = 262'144;  // segments that those have in flight, each rounded up to a power of two
    uint32_t spent_cookies = 65'535;  // SYN cookies that have opened a connection, so that none does it twice
    uint32_t events = 4'096;          // events that one turn can record
    uint32_t pins = 65'536;           // pin ids that the application can reserve
    bool operator==(const Capacity&) const = default;
};

struct StackSettings {
    Capacity capacity{};

    // Segment sizes. MSS = MTU - 40 (IPv4) or - 60 (IPv6), less what `max_mss` says (RFC 9293 section 3.7.1).
    uint16_t mtu = 1500;
    uint16_t max_mss = 0;  // 0: as the MTU allows

    // Options offered and accepted.
    bool window_scaling = true;
    bool sack = true;
    bool timestamps = true;

    // ECN (RFC 3168). A SYN that asks may meet a middlebox that drops it for the flags, so after some without an answer
    // the next ones are plain. A peer's SYN has passed them all: to agree risks nothing.
    bool ecn = true;              // agree when a peer asks
    bool ecn_request = false;     // ask in opens of ours,
    uint8_t ecn_syn_retries = 1;  // in so many SYNs

    // Receiving.
    uint32_t receive_buffer = 256 * 1024;  // bytes; what one connection may keep unread or out of order
    // To what it may grow, by doubling, while a peer fills it within each round trip and the application keeps up.
    // Not above receive_buffer: it never grows.
    uint32_t receive_buffer_max = 0;
    Duration ack_delay = 40ms;             // RFC 9293 MUST-40: below 0.5 s
    uint16_t reassembly_ranges = 64;       // separate out-of-order ranges of one connection

    // Retransmission (RFC 6298, RFC 9293 section 3.8.3).
    Duration initial_rto = 1s;
    Duration min_rto_variance = 200ms;  // RTO = SRTT + max(this, 4 RTTVAR), as Linux
    Duration max_rto = 120s;
    uint8_t syn_ack_retries = 5;  // after 1, 2, 4, 8, 16 s
    Duration half_open_timeout = 0s;  // so long after its SYN a half-open record ends; 0: after the last of those
    uint8_t syn_retries = 7;      // R2 of an open of ours: after 1, 2, 4, ... 64 s; given up after 247 s (MUST-23)
    uint8_t data_retries = 15;    // R2: more than 100 s with the default RTO
    uint8_t orphan_retries = 8;   // R2 of a connection that the application has closed

    // SYN cookies (RFC 4987 section 3.6): in place of half-open records, always or while those are 3/4 used.
    SynCookieMode syn_cookies = SynCookieMode::adaptive;
    Duration cookie_period = 60s;          // a cookie is good for one to two of these
    bool cookie_secret_is_shared = false;  // so cookies that this stack never made may come back to it

    // Ports that an active open may choose from, both ends included (RFC 6056 section 3.2).
    uint16_t first_local_port = 32'768;
    uint16_t last_local_port = 60'999;

    // RFC 5482 section 3, without the option: data or a FIN unacknowledged for so long ends the connection, at a
    // closed window too, and R2 counts no more. 0: R2 alone.
    Duration user_timeout = 0s;

    // Keep-alive probes (RFC 9293 section 3.8.4): asked for by the application, or here for every connection.
    bool keep_alive = false;
    Duration keep_alive_idle = 2h;       // without a segment from the peer, until the first probe
    Duration keep_alive_interval = 75s;  // between probes that nothing answers
    uint8_t keep_alive_probes = 9;       // unanswered ones that end the connection: never a single one (MUST-29)

    // Closing.
    Duration msl = 30s;         // TIME-WAIT lasts 2 MSL
    Duration fin_wait_2 = 60s;  // of a connection that the application has closed

    // Sending.
    bool nagle = false;                     // RFC 9293 MUST-17: off for HTTP, where answers are whole
    uint32_t send_queue_limit = 1u << 31;   // bytes queued and unacknowledged of one connection
    CongestionControl congestion = CongestionControl::cubic;  // unless a listener or connect() says otherwise
    bool hystart = true;                    // HyStart++ in the first slow start (RFC 9406)
    bool restart_after_idle = true;         // cwnd back to the initial window after an RTO of silence (RFC 5681)
    uint32_t initial_window_segments = 10;  // RFC 6928: min(N MSS, max(2 MSS, N * 1460))

    // Replies without a connection.
    uint32_t resets_per_second = 1'000;
    uint32_t challenge_acks_per_second = 2;  // of one connection (RFC 5961 section 7), randomised

    // IP.
    uint8_t ttl = 64;
    uint8_t dscp = 0;

    // Fairness: how many segments one connection may emit before the next ready one has its turn.
    uint16_t transmit_quantum = 16;

    // Off, every segment takes the numbered steps of RFC 9293: the conversations run both ways.
    bool fast_path = true;

    // Microseconds since the Unix epoch at Instant{0}: the timestamp clock and the cookie periods derive from it.
    uint64_t wall_clock_at_zero_us = 0;

    bool operator==(const StackSettings&) const = default;
};

}  // namespace pollux::tcp
