// Conn: one connection in three cache lines, in RFC words.
//
//   line 0   what every segment needs: the tuple, the state, where both sequence spaces stand
//   line 1   what ACKs and output need: windows, RTT, cwnd, timestamps, the piece in flight, the deadlines
//   line 2   what only the uncommon needs: the place in the wheel, delayed ACK, recovery, queues longer than one
//   piece
//
// The expected GET that also acknowledges the last answer touches lines 0 and 1 only. A connection owns no buffer
// while it is idle: received data that stays unread or came out of order is in a ReceiveStore, what is queued to send
// beyond one piece is a list of SendEntry, both pooled and reached by index.
//
// Send sequence space (RFC 9293 figure 3):      Receive sequence space (figure 4):
//
//      snd.una     snd.nxt    una+wnd                  rcv.nxt         rcv.edge
//   ------|-----------|----------|-------           -------|---------------|---------
//    acked  in flight   may send                    received   announced
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "tcp/pool.hpp"
#include "tcp/segment.hpp"
#include "tcp/state.hpp"
#include "tcp/time.hpp"

namespace pollux::tcp {

/// Names a connection to the application. A ConnId whose connection has ended matches nothing: calls with it are
/// no-ops.
struct ConnId {
    uint32_t index = ~0u;
    uint32_t generation = 0;  // 0 names no connection
    constexpr bool operator==(const ConnId&) const = default;
    constexpr explicit operator bool() const { return generation != 0; }
};

enum class ConnFlags : uint32_t {
    none = 0,
    ready = 1u << 0,            // stands on the ready list
    ack_now = 1u << 1,          // an ACK leaves in this turn, with data or alone
    ack_delayed = 1u << 2,      // data has been received since the last ACK left
    fin_queued = 1u << 3,       // FIN follows the queued data
    fin_sent = 1u << 4,         // snd.nxt counts the FIN
    app_closed = 1u << 5,       // the application has let go; nothing is delivered to it
    timestamps = 1u << 6,       // agreed on both SYNs
    sack = 1u << 7,             // agreed on both SYNs
    has_store = 1u << 8,        // `store` is valid: unread or out-of-order data
    more_queued = 1u << 9,      // pieces beyond `first` are queued
    fast_recovery = 1u << 10,   // without a scoreboard, RFC 6582: until `recover` is acknowledged
    rto_recovery = 1u << 11,    // without one: [rtx, recover) was sent before a timeout and counts as lost
    resend_first = 1u << 12,    // the segment at snd.una leaves again in this turn
    cwnd_limited = 1u << 13,    // cwnd held data back since the last ACK
    wants_writable = 1u << 14,  // send() was refused; tell when there is room
    persisting = 1u << 15,      // retransmit_at is the persist timer
    probe_window = 1u << 16,    // a window probe leaves in this turn
    rtt_timed = 1u << 17,       // rtt_seq and rtt_at time a segment (no timestamps)
    no_delay = 1u << 18,        // Nagle off
    syn_lost = 1u << 19,        // the handshake needed a retransmission: IW 1, RTO 3 s until sampled
    send_reset = 1u << 20,      // aborted: the RST leaves in this turn, then the record is free
    ack_timed = 1u << 21,       // ack_at is set
    duplicates = 1u << 22,      // dup_acks is not 0
    reduced_window = 1u << 23,  // unread data made the announced window smaller than the buffer
    has_duplicate = 1u << 24,   // a DSACK block of this turn waits in duplicates_
    more_to_come = 1u << 25,    // the application holds back a last segment that is not full
    hold_timed = 1u << 26,      // retransmit_at ends the holding back: nothing is in flight
    grown_buffer = 1u << 27,    // receives into more than settings.receive_buffer
    keep_alive = 1u << 28,      // the application wants probes while the connection is idle
    idle_timed = 1u << 29,      // retransmit_at is the keep-alive timer: nothing is queued or in flight
    probe_idle = 1u << 30,      // a keep-alive probe leaves in this turn
    own_dscp = 1u << 31,        // not the DSCP of the settings
};
constexpr ConnFlags operator|(ConnFlags a, ConnFlags b) { return ConnFlags(uint32_t(a) | uint32_t(b)); }
constexpr ConnFlags operator&(ConnFlags a, ConnFlags b) { return ConnFlags(uint32_t(a) & uint32_t(b)); }
constexpr ConnFlags operator~(ConnFlags a) { return ConnFlags(~uint32_t(a)); }
constexpr ConnFlags& operator|=(ConnFlags& a, ConnFlags b) { return a = a | b; }
constexpr ConnFlags& operator&=(ConnFlags& a, ConnFlags b) { return a = a & b; }
constexpr bool any(ConnFlags f) { return f != ConnFlags::none; }

/// SND.*: SND.WL2 of RFC 9293 is missing because it never exceeds SND.UNA: for an acceptable ACK the comparison with
/// it is always true.
struct SendSpace {
    SeqNum una, nxt;
};
struct ReceiveSpace {
    SeqNum nxt, edge;  // edge: right edge of the announced window; never moves left
};

/// Bytes to send: immutable memory, and who must stay alive for it: a pin of the application's or a chunk of ours.
struct SendPiece {
    const std::byte* data = nullptr;
    uint32_t size = 0;
    uint32_t owner = 0;  // pin id, or chunk index with `chunk_owner` set
    static constexpr uint32_t chunk_owner = 1u << 31;
};

struct alignas(64) Conn {
    // Line 0.
    FourTuple flow{};
    State state : 12 = State::closed;
    bool has_recovery : 1 = false;  // `cold` is valid
    uint8_t congestion : 2 = 0;     // a CongestionControl
    uint8_t snd_scale : 4 = 0;      // how far the peer's windows are shifted
    uint8_t rcv_scale : 4 = 0;      // how far ours are
    uint8_t backoff : 4 = 0;        // doublings of the RTO or of the persist interval
    bool ecn : 1 = false;           // agreed: our new data is ECT(0), and ECE reduces cwnd
    bool hears_ce : 1 = false;      // the peer's data may be ECT: marks are echoed
    bool echo_ce : 1 = false;       // a mark was heard: ECE on every ACK until CWR
    bool cwr_due : 1 = false;       // cwnd was reduced: CWR on the next new data
    ConnFlags flags = ConnFlags::none;
    uint32_t generation = 0;
    ReceiveSpace rcv{};
    SendSpace snd{};
    // Line 1.
    uint32_t snd_wnd = 0;  // SND.WND in bytes
    SeqNum snd_wl1;        // SND.WL1
    uint16_t mss = 536;    // payload of one segment, options already taken off
    PathId path = unresolved_path;
    uint32_t srtt_us = 0;  // 0: no sample yet
    uint32_t rttvar_us = 0;
    uint32_t cwnd = 0;
    uint32_t ts_recent = 0;  // TS.Recent
    uint32_t ts_offset = 0;  // our timestamp clock's offset for this tuple
    SendPiece first{};       // what stands at snd.una
    Tick retransmit_at;      // RTO, persist or keep-alive timer, or the end of FIN-WAIT-2
    Tick app_deadline;
    Tick armed_at;               // where the wheel looks; unset: not in the wheel
    uint16_t borrowed = 0xffff;  // first of this turn's payloads that the application has not consumed
    uint8_t ts_recent_day = 0;   // day of TS.Recent, modulo 256 (RFC 7323 section 5.5: outdated after 24)
    uint8_t unacked_units = 0;   // 64-byte units received since the last ACK, saturating
    // Line 2.
    uint32_t timer_slot = none, timer_cell = none;
    Tick ack_at;  // delayed ACK
    uint32_t ssthresh = ~0u;
    uint32_t store = none;                        // ReceiveStore
    uint32_t more_head = none, more_tail = none;  // SendEntry list behind `first`
    uint32_t all_queued = 0;                      // bytes of all pieces, while there is more than one
    SeqNum rtt_seq;                               // without timestamps: acknowledging this ends the measurement
    uint32_t rtt_at_us = 0;                       // when it was sent
    SeqNum recover;                               // RFC 6582
    SeqNum rtx;                                   // next to retransmit during rto_recovery
    uint32_t max_snd_wnd = 0;                     // MAX.SND.WND (RFC 5961 section 5)
    uint8_t dup_acks : 7 = 0;
    bool ecn_reduced : 1 = false;  // by a mark: what was sent before `recover` reduces cwnd no further
    uint8_t challenge_credit = 0;  // challenge ACKs left in this period
    uint16_t challenge_period = 0;
    uint32_t cold = none;        // Recovery
    uint16_t more_count = 0;     // how many pieces stand behind `first`
    uint8_t unanswered = 0;      // timeouts since the peer last answered: R2 counts these
    uint8_t immediate_acks = 0;  // segments of this turn that each earn an ACK (RFC 5681 section 4.2)

    static constexpr uint32_t none = ~0u;

    constexpr bool has(ConnFlags f) const { return any(flags & f); }
    constexpr void set(ConnFlags f) { flags |= f; }
    constexpr void clear(ConnFlags f) { flags &= ~f; }
    /// Sequence numbers sent and unacknowledged, FIN included.
    constexpr uint32_t in_flight() const { return snd.nxt.since(snd.una); }
    /// Bytes queued from snd.una on, sent or not; the FIN is not counted.
    constexpr uint32_t queued() const { return has(ConnFlags::more_queued) ? all_queued : first.size; }
    /// Bytes queued but never sent: none once the FIN is.
    constexpr uint32_t unsent() const { return has(ConnFlags::fin_sent) ? 0 : queued() - in_flight(); }
    constexpr bool fin_acknowledged() const { return has(ConnFlags::fin_sent) && snd.una == snd.nxt; }
};
/// What only few connections ask for, in an array beside them by the same index. The expected segment does not touch
/// it, unless buffers may grow or the connection has a DSCP of its own.
struct ConnExtras {
    uint32_t user_timeout_ms = 0;        // 0: none
    Tick unacked_since;                  // nothing has been acknowledged from here on, while
    SeqNum unacked_una;                  // SND.UNA stands here
    SeqNum round_end;                    // receive buffer: a window's worth of data has come when RCV.NXT is here,
    uint32_t round_start_us = 0;         // having begun then
    Tick last_sent;                      // data, while cwnd is above the restart window
    uint8_t doublings = 0;               // of the receive buffer, at most 15
    uint8_t dscp = 0;                    // with ConnFlags::own_dscp
};
static_assert(sizeof(ConnExtras) == 28);

/// R1 of RFC 9293 section 3.8.3: so many timeouts without an answer are told, to the application and to IP.
inline constexpr uint8_t r1 = 3;

static_assert(offsetof(Conn, snd_wnd) == 64 && offsetof(Conn, timer_slot) == 128 && sizeof(Conn) == 192);
static_assert(std::is_trivially_destructible_v<Conn>);

}  // namespace pollux::tcp
