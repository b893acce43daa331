// Stack: the protocol's whole public face.
//
// One Stack belongs to one core and shares nothing. It takes Segments and time, and gives Segments (in a TxBatch) and
// Events. A turn of the loop is
//
//     stack.input(burst, now, out);               // what arrived
//     stack.advance_timers(now, budget);          // what is due
//     app.on_turn(stack.events(), stack, now);    // the application, once, after both
//     stack.transmit(now, out);                   // what may be sent now
//
// and payload that was received is valid until transmit() begins: what the application has not consumed by then is
// copied into pooled chunks and counts against the window. Nothing in here allocates after the constructor, asks for
// the time, throws or calls back.
//
// The members are implemented where a reader of RFC 9293 looks for them: input.cpp (segment arrives), handshake.cpp,
// connect.cpp, ack.cpp, recovery.cpp, rack.cpp, ecn.cpp, text.cpp, receive_window.cpp, output.cpp, timeouts.cpp,
// keep_alive.cpp, path_mtu.cpp, close.cpp, time_wait.cpp; stack.cpp has the rest.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tcp/chunks.hpp"
#include "tcp/conn.hpp"
#include "tcp/congestion.hpp"
#include "tcp/counters.hpp"
#include "tcp/flow_table.hpp"
#include "tcp/half_open.hpp"
#include "tcp/path_notice.hpp"
#include "tcp/pins.hpp"
#include "tcp/port_chooser.hpp"
#include "tcp/rate_limit.hpp"
#include "tcp/ready_ring.hpp"
#include "tcp/receive_store.hpp"
#include "tcp/recovery.hpp"
#include "tcp/send_queue.hpp"
#include "tcp/siphash.hpp"
#include "tcp/stack_settings.hpp"
#include "tcp/syn_cookies.hpp"
#include "tcp/time_wait.hpp"
#include "tcp/timer_wheel.hpp"
#include "tcp/tx_batch.hpp"

namespace pollux::tcp {

/// What happened to a connection. After `closed`, `reset`, `timed_out`, `refused` or `unreachable` the ConnId is dead.
struct Event {
    enum class Kind : uint8_t {
        opened,       // handshake complete, of either side's asking
        data,         // unread() has something
        writable,     // a send() that was refused may succeed now
        peer_closed,  // the peer has sent FIN, after all data; we may still send
        closed,       // ended in good order: both sides have closed
        reset,        // ended by a RST
        timed_out,    // ended by R2, the user timeout, or keep-alive probes that nothing answered
        deadline,     // the Instant given to set_deadline() has come
        refused,      // connect() was answered by a RST: nobody listens there
        unreachable,  // connect(): the network says that it cannot deliver, or the next hop does not answer
        unanswered,   // R1 (RFC 9293 SHLD-9): three retransmissions in a row without an answer; it goes on
        path_error,   // an ICMP error about this connection that changes nothing (RFC 9293 SHLD-25)
    };
    ConnId conn;
    Kind kind;
};

/// Secrets last as long as the process: table places, ISNs and timestamp offsets depend on them. Machines that complete
/// each other's handshakes have `timestamps` and `cookies` in common.
struct Secrets {
    SipKey table, isn, timestamps;
    uint64_t random_seed = 0;  // jitter of rate limits
    SipKey cookies{};          // of which a key for each period is made
};

/// A copy of what tools and tests may know of one connection.
struct ConnInfo {
    FourTuple flow;
    State state = State::closed;
    uint32_t cwnd = 0, ssthresh = 0, mss = 0, snd_wnd = 0, rcv_wnd = 0;
    Duration srtt{}, rttvar{}, rto{};
    uint32_t in_flight = 0, queued = 0, unread = 0, out_of_order = 0;
    uint8_t backoff = 0, dup_acks = 0, snd_scale = 0, rcv_scale = 0;
    bool timestamps = false, sack = false, ecn = false, in_recovery = false;
    SeqNum snd_una, snd_nxt, rcv_nxt;
    CongestionControl congestion = CongestionControl::cubic;
    // Loss recovery. Without a `scoreboard`, pipe is in_flight, and phase what duplicate ACKs and timeouts say.
    using Phase = tcp::Phase;
    Phase phase = Phase::open;
    bool scoreboard = false;
    uint32_t pipe = 0, sacked = 0, lost = 0;  // bytes: believed in the network, arrived, to be sent again
    uint32_t reductions = 0;                  // of the window, without those undone; while there is a cold record
    uint8_t reo_wnd_mult = 1;                 // of RACK's reordering window
    Duration min_rtt{};                       // 0: unknown
    uint32_t delivery_bytes = 0;              // the latest delivery rate: so many bytes
    Duration delivery_time{};                 // within this time; 0: none yet
    /// What `timer` waits for: the RTO, an open window, the end of FIN-WAIT-2, a word of an idle peer, more to send.
    enum class Timer : uint8_t { none, retransmission, persist, fin_wait_2, keep_alive, hold };
    Timer timer = Timer::none;
    uint8_t unanswered = 0;                                       // timeouts since the peer last answered
    bool fin_queued = false, released = false;                    // `released`: the application has let go
    bool wants_writable = false;                                  // a send() was refused
    std::optional<Duration> timer_left, ack_left, deadline_left;  // of conn_at() only; negative: overdue
};

/// A copy of what tools may know of a half-open record.
struct HalfOpenInfo {
    FourTuple flow;
    Duration age{}, due_in{};     // since its first SYN-ACK; until the next one, or its end
    uint8_t retransmissions = 0;  // of the SYN-ACK
    bool syn_repeated = false;    // the peer asked again
    uint16_t peer_mss = 0;        // 0: not said
    uint8_t snd_scale = 0;
    bool window_scale = false, sack = false, timestamps = false, ecn = false;
};

/// A copy of what tools may know of a TIME-WAIT record.
struct TimeWaitInfo {
    FourTuple flow;
    Duration left{};
    SeqNum snd_nxt, rcv_nxt;
    bool timestamps = false;
};

/// How much of each pool is in use, or how much there is.
struct PoolUse {
    uint32_t connections = 0, half_open = 0, time_wait = 0, send_entries = 0, chunks = 0, receive_stores = 0;
    uint32_t recoveries = 0, segment_records = 0;
    uint32_t table_entries = 0, timers = 0;
    uint64_t pins = 0;  // references to pinned memory
    bool operator==(const PoolUse&) const = default;
};

class Stack {
public:
    Stack(const StackSettings& settings, const Secrets& secrets, Counters& counters);
    Stack(const Stack&) = delete;
    Stack& operator=(const Stack&) = delete;

    // ---- Listening. -------------------------------------------------------------------------------------------
    /// Accepts connections to `local`; an unspecified address stands for every local one. `congestion`: of these
    /// connections, if not that of the settings. False: already listening.
    bool listen(const Endpoint& local, std::optional<CongestionControl> congestion = {});
    /// Ends the half-open records of `local` silently; established connections go on (RFC 9293 section 3.10.4).
    void stop_listening(const Endpoint& local);
    /// While not accepting, SYNs are dropped as `draining`.
    void set_accepting(bool accepting) { accepting_ = accepting; }

    // ---- Active open. -------------------------------------------------------------------------------------------
    /// Asks the peer for a connection; the SYN leaves with transmit(). An empty ConnId: not begun, and a Tally says
    /// why. Later `opened`, or the end as `refused`, `timed_out` (`syn_retries`) or `unreachable`. Until then send()
    /// and shutdown() queue, and close() and abort() end the attempt without a packet.
    /// The caller knows that the local address is its own and the remote one no broadcast address of a subnet.
    ConnId connect(const FourTuple& flow, Instant now);
    /// The same from a local port of the stack's choosing (RFC 6056), with which `accepts(flow)` holds: for many
    /// workers, that the answer comes to this one.
    template <class Accepts>
    ConnId connect(const IpAddress& local, const Endpoint& remote, Instant now, Accepts&& accepts);
    ConnId connect(const IpAddress& local, const Endpoint& remote, Instant now) {
        return connect(local, remote, now, [](const FourTuple&) { return true; });
    }

    // ---- The turn. --------------------------------------------------------------------------------------------
    /// A burst in order of arrival: hashes and prefetches all, then looks all up, then processes each.
    /// `known`: what somebody has computed already, siphash_1_3(Secrets::table, flow) of each segment, or 0; empty if
    /// nobody has. `results` is null or has one place per segment.
    void input(std::span<const Segment> burst, std::span<const uint64_t> known, Instant now, TxBatch& out,
               Verdict* results = nullptr);
    void input(std::span<const Segment> burst, Instant now, TxBatch& out, Verdict* results = nullptr) {
        input(burst, {}, now, out, results);
    }
    Verdict input(const Segment& segment, Instant now, TxBatch& out);
    /// Acts on an ICMP error or a neighbour failure.
    Verdict notify(const PathNotice& notice, Instant now);
    /// Serves at most `budget` due timers; whether due ones remain. What they send leaves with transmit().
    bool advance_timers(Instant now, uint32_t budget);
    /// Of this turn, in order. Valid until transmit().
    std::span<const Event> events() const { return {events_.data(), event_count_}; }
    /// Ends the turn for received data, then sends what may be sent: ready connections in turn, a quantum each.
    void transmit(Instant now, TxBatch& out);
    /// When advance_timers() has work next; nothing: never. A bound for any sleep.
    std::optional<Instant> next_due(Instant now) const;
    /// Whether a connection waits for room in a TxBatch, or events wait for the next turn.
    bool has_work() const { return !ready_.empty() || event_count_ != 0; }

    // ---- The application's calls. A dead ConnId is a no-op: false, empty or 0. -----------------------------------
    bool is_open(ConnId conn) const { return find(conn) != nullptr; }
    /// The first contiguous part of what has been received and not consumed; empty when all is consumed.
    std::span<const std::byte> unread(ConnId conn) const;
    /// Marks the first `bytes` of unread() as done with. More than it has is a bug of the caller's.
    void consume(ConnId conn, uint32_t bytes);
    /// Queues all pieces, or none and promises a `writable` event (unless they exceed send_queue_limit by
    /// themselves). The memory stays referenced, through its pin, until its last byte is acknowledged.
    /// With `More::to_come` a last segment that is not full waits for what follows: until a send without it,
    /// shutdown(), close(), or 200 ms with nothing in flight (RFC 9293 MUST-60).
    enum class More : bool { none, to_come };
    [[nodiscard]] bool send(ConnId conn, std::span<const Pinned> pieces, More more = More::none);
    [[nodiscard]] bool send(ConnId conn, Pinned piece, More more = More::none) {
        return send(conn, std::span<const Pinned>(&piece, 1), more);
    }
    /// As send(), of a copy made now.
    [[nodiscard]] bool send_copy(ConnId conn, std::span<const std::byte> bytes, More more = More::none);
    /// Bytes queued and not yet acknowledged.
    uint32_t unacknowledged(ConnId conn) const;
    /// Half-close: FIN follows what is queued; receiving goes on (RFC 9293 section 3.6).
    void shutdown(ConnId conn, Instant now);
    /// Full close: the ConnId is dead at once and raises no more events. FIN follows what is queued; unread data, or
    /// data that arrives later, answers with RST (RFC 9293 SHLD-3).
    void close(ConnId conn, Instant now);
    /// RST now; the queue is dropped (RFC 9293 section 3.10.5). The ConnId is dead at once.
    void abort(ConnId conn, Instant now);
    /// RST to every connection, those that the application has closed included: the end of draining.
    void abort_all();
    /// Raises `deadline` once, at or just after `when`; replaces the deadline set before.
    void set_deadline(ConnId conn, Instant when);
    void clear_deadline(ConnId conn);
    /// Ends the connection with `timed_out` when data or the FIN has gone unacknowledged for so long; 0: by R2 alone.
    /// It is looked at whenever a retransmission or a window probe is due, so never before the first of them.
    void set_user_timeout(ConnId conn, Duration limit);
    /// Probes the peer while the connection is idle, or no longer. Dead peers end with `timed_out` (RFC 9293
    /// MUST-24).
    void set_keep_alive(ConnId conn, bool on);
    /// Of what the connection sends from now on (RFC 9293 MUST-48, SHLD-21), 0 to 63, instead of the settings' DSCP.
    void set_dscp(ConnId conn, uint8_t dscp);
    /// Who decides how much may be in flight, from now on: in place of the settings' choice, before anything is sent.
    void set_congestion(ConnId conn, CongestionControl control);
    /// Small segments leave at once, or wait while others are unacknowledged (Nagle; RFC 9293 MUST-17).
    void set_no_delay(ConnId conn, bool on);

    Pins& pins() { return pins_; }
    const Pins& pins() const { return pins_; }

    // ---- Tools and tests. ----------------------------------------------------------------------------------------
    const StackSettings& settings() const { return settings_; }
    Counters& counters() { return counters_; }
    std::optional<ConnInfo> info(ConnId conn) const;
    /// Looks a tuple up: the state it is in, and its ConnId when it is a connection.
    State state_of(const FourTuple& flow) const;
    ConnId find_conn(const FourTuple& flow) const;
    PoolUse pool_use() const;
    PoolUse pool_capacity() const;
    size_t memory_bytes() const;
    /// Calls `visit(ConnId)` for connections with index in [from, from + count), so that tools can go in slices.
    template <class Visit>
    void for_each_conn(uint32_t from, uint32_t count, Visit&& visit) const {
        for (uint32_t i = from; i < from + count && i < conns_.high_water(); ++i) {
            if (conns_[i].generation != 0) visit(ConnId{i, conns_[i].generation});
        }
    }
    /// What stands at one place; nothing: it is free. `index` is below extents().
    std::optional<ConnInfo> conn_at(uint32_t index, Instant now) const;
    std::optional<HalfOpenInfo> half_open_at(uint32_t index, Instant now) const;
    std::optional<TimeWaitInfo> time_wait_at(uint32_t index, Instant now) const;
    /// How far such walks go: every index that was ever used is below these.
    struct Extents {
        uint32_t connections = 0, half_open = 0, time_wait = 0;
    };
    Extents extents() const { return {conns_.high_water(), half_open_.high_water(), time_wait_.high_water()}; }
    /// Checks every invariant that a debug build believes in; returns a sentence for the first that does not hold.
    std::string check_invariants() const;

private:
    enum class Output : uint8_t { done, again, blocked };

    // stack.cpp
    uint64_t hash(const FourTuple& flow) const { return siphash_1_3(secrets_.table, flow); }
    EntryRef find_entry(uint64_t hash, const FourTuple& flow) const;
    void prefetch(EntryRef entry) const;
    const Conn* find(ConnId id) const;
    Conn* find(ConnId id) { return const_cast<Conn*>(std::as_const(*this).find(id)); }
    uint32_t index_of(const Conn& c) const { return static_cast<uint32_t>(&c - &conns_[0]); }
    ConnId id_of(const Conn& c) const { return {index_of(c), c.generation}; }
    struct Listener {
        Endpoint local;
        std::optional<CongestionControl> congestion;
    };
    const Listener* listener(const Endpoint& local) const;
    bool listening(const Endpoint& local) const { return listener(local) != nullptr; }
    void raise(const Conn& c, Event::Kind kind);
    void raise_once(const Conn& c, Event::Kind kind);
    void enter(Conn& c, State next);
    void make_ready(Conn& c);
    Conn& begin(uint32_t index, const FourTuple& flow, State state);
    void release(Conn& c);
    void forget(Conn& c);
    bool queue_pieces(Conn& c, std::span<const Pinned> pieces, More more);
    bool promise_writable(Conn& c, uint64_t size);
    static bool waits_for_room(const Conn& c) {
        return c.has(ConnFlags::wants_writable) && c.queued() == 0 && c.in_flight() == 0 &&
               !in(c.state, opening_states);
    }
    void stop_waiting_for_room(Conn& c);
    void hold_back(Conn& c, More more);
    void stop_hold_timer(Conn& c);
    uint64_t wall_clock_us(Instant now) const;
    uint32_t timestamp_clock(Instant now) const;
    uint32_t timestamp_offset(const FourTuple& flow) const;
    bool has_unread(const Conn& c) const;

    // input.cpp: RFC 9293 section 3.10.7
    Verdict process(uint64_t hash, const Segment& s, Instant now, TxBatch& out);
    Verdict closed_arrives(const Segment& s, Verdict why, Instant now, TxBatch& out);
    Verdict segment_arrives(Conn& c, const Segment& s, Instant now);
    bool fast_path(Conn& c, const Segment& s, Instant now);
    Verdict check_timestamp(Conn& c, const Segment& s, Instant now);
    Verdict check_sequence(Conn& c, const Segment& s, Instant now);
    Verdict check_reset(Conn& c, const Segment& s, Instant now);
    Verdict check_syn(Conn& c, const Segment& s, Instant now);
    void learn_timestamp(Conn& c, const Segment& s, Instant now);
    void acknowledge_now(Conn& c);
    void acknowledge_at_once(Conn& c);
    void challenge_ack(Conn& c, Instant now);
    Verdict reset_reply(const Segment& to, Verdict sent, Instant now, TxBatch& out);

    // handshake.cpp
    Verdict listen_arrives(uint64_t hash, const Segment& s, Instant now, TxBatch& out);
    Verdict half_open_arrives(uint32_t index, uint64_t hash, const Segment& s, Instant now, TxBatch& out);
    Verdict complete_handshake(uint32_t index, uint64_t hash, const Segment& s, Instant now);
    enum class Origin : uint8_t { record, cookie };  // of what is known about a peer whose handshake is complete
    Verdict establish(uint32_t conn, const HalfOpen& h, Origin origin, const Segment& s, Instant now);
    void accept_options(HalfOpen& h, const Segment& syn) const;
    void agree(Conn& c, const HalfOpen& h, Origin origin, const Segment& s, Instant now);
    bool wants_cookie() const;
    Verdict answer_by_cookie(const Segment& syn, Instant now, TxBatch& out);
    static CookieOptions cookie_options(const HalfOpen& h);
    bool may_be_cookie(const Segment& s, Instant now) const;
    Verdict ack_to_listener(uint64_t hash, const Segment& s, Instant now, TxBatch& out);
    Verdict open_by_cookie(uint64_t hash, const HalfOpen& h, uint32_t tag, const Segment& s, Instant now);
    HalfOpen recall(const Segment& s, uint16_t mss) const;
    Verdict make_half_open(uint64_t hash, const Segment& syn, SeqNum iss, Instant now, TxBatch& out);
    bool send_syn_ack(const HalfOpen& h, Instant now, TxBatch& out);
    bool send_syn_ack(const HalfOpen& h, uint32_t ts_value, TxBatch& out);
    void acknowledge_half_open(const HalfOpen& h, Instant now, TxBatch& out);
    void end_half_open(uint32_t index);
    bool advance_half_open(Instant now, uint32_t& budget);
    void repeat_syn_acks(Instant now, TxBatch& out);
    Duration syn_ack_backoff(uint32_t level) const;
    Duration syn_ack_timeout(uint32_t level) const;
    uint32_t useful_syn_ack_retries() const;
    SeqNum initial_sequence(const FourTuple& flow, Instant now) const;
    uint16_t receive_mss(const FourTuple& flow) const;

    // connect.cpp
    bool may_connect(const IpAddress& local, const Endpoint& remote) const;
    bool is_free(const FourTuple& flow, Instant now) const;
    bool may_take_over(const TimeWait& t, Instant now) const;
    Verdict syn_sent_arrives(Conn& c, const Segment& s, Instant now, TxBatch& out);
    Verdict syns_crossed_arrives(Conn& c, const Segment& s, Instant now, TxBatch& out);
    static void sample_syn(Conn& c, Instant now);
    void become_established(Conn& c);
    void fail_to_open(Conn& c, Event::Kind kind, Tally why);
    Verdict opening_notice(Conn& c, const PathNotice& notice);
    void on_syn_timeout(Conn& c, Instant now);
    Output output_opening(Conn& c, Instant now, TxBatch& out);
    void emit_syn(Conn& c, Instant now, TxBatch& out);

    // ack.cpp
    Verdict process_ack(Conn& c, const Segment& s, Instant now);
    void take_ack(Conn& c, const Segment& s, bool duplicate, Instant now);
    void advance_una(Conn& c, SeqNum ack);
    void go_on(Conn& c, Instant now);
    void on_lone_ack(Conn& c, const Segment& s, Instant now);
    void on_new_ack(Conn& c, Recovery* r, const AckSample& sample);
    void judge_timeout_by_acks(Conn& c, Recovery& r);
    void on_duplicate_ack(Conn& c, Recovery* r);
    void update_window(Conn& c, const Segment& s, bool advances, Instant now);
    bool first_is_lost(const Conn& c) const;
    void sample_rtt(Conn& c, const Segment& s, uint32_t recorded_us, Instant now);
    void on_fin_acknowledged(Conn& c, Instant now);

    // recovery.cpp
    const Recovery* recovery_of(const Conn& c) const { return c.has_recovery ? &recoveries_[c.cold] : nullptr; }
    Recovery* recovery_of(const Conn& c) { return c.has_recovery ? &recoveries_[c.cold] : nullptr; }
    Recovery* take_recovery(Conn& c);
    void give_recovery(Conn& c);
    void rest_recovery(Conn& c, Recovery& r, Instant now);
    void note_new(Conn& c, uint32_t length, Instant now);
    bool has_room_on_board(Conn& c);
    static void note_usage(const Conn& c, Recovery& r);
    static void note_app_limited(const Conn& c, Recovery& r);
    bool begin_board(Conn& c, Recovery& r, Instant now);
    static void append_record(Recovery& r, SeqNum end, uint32_t sent_at_us, bool timed);
    static void stamp(Recovery& r, SentRecord& record);
    void note_repeated(Conn& c, SeqNum seq, uint32_t length, Instant now);
    bool output_repetitions(Conn& c, Recovery& r, Instant now, TxBatch& out, uint32_t& quota);
    bool cut_records(Conn& c, Recovery& r, uint32_t size, Instant now);
    uint32_t resend(Conn& c, const Recovery& r, uint32_t position, Instant now, TxBatch& out);
    static bool reports_duplicate(const Segment& s);
    static bool shares_segment_with_fin(const Conn& c, const Recovery& r, SeqNum end);
    void read_scoreboard(Conn& c, Recovery& r, const Segment& s, AckSample& sample);
    template <class Delivered>
    void read_blocks(Conn& c, Recovery& r, const Segment& s, bool first_is_duplicate, Delivered&& delivered);
    void read_old_report(Conn& c, Recovery& r, const Segment& s, Instant now);
    static void rate(Recovery& r, const SentRecord& newest, AckSample& sample);
    void on_dsack(Conn& c, Recovery& r, SackBlock duplicate);
    void follow_ack(Conn& c, Recovery& r, const AckSample& sample);
    void enter_recovery(Conn& c, Recovery& r, const AckSample& sample);
    void leave_phase(Conn& c, Recovery& r);
    static bool was_for_nothing(const Conn& c, const Recovery& r, const Segment& s, const AckSample& sample);
    void undo_reduction(Conn& c, Recovery& r);
    void judge_timeout(Conn& c, Recovery& r, const AckSample& sample);
    void on_reneging(Conn& c, Recovery& r, Instant now);
    void on_board_timeout(Conn& c, Recovery& r, Instant now);
    void enter_loss(Conn& c, Recovery& r, bool new_episode);

    // rack.cpp
    void rack_update(const Conn& c, Recovery& r, const SentRecord& record, const Segment* ack, Instant now) const;
    static void rack_widen(Conn& c, Rack& rack);
    static void rack_recovered(Rack& rack);
    static uint32_t reordering_window(const Conn& c, const Recovery& r);
    uint32_t detect_losses(Conn& c, Recovery& r, Instant now);
    void on_reordering_timeout(Conn& c, Recovery& r, Instant now);
    void mark_timed_out(Conn& c, Recovery& r, Instant now);
    static void arm_probe(Conn& c, Recovery& r, Instant now);
    static void end_probe(Recovery& r);
    void on_probe_timeout(Conn& c, Recovery& r, Instant now);
    void output_probe(Conn& c, Recovery& r, Instant now, TxBatch& out);
    static void settle_probe(Conn& c, Recovery& r, const Segment& s, const AckSample& sample);

    // text.cpp
    Verdict process_text(Conn& c, const Segment& s, Instant now, Verdict so_far);
    Verdict keep_or_deliver(Conn& c, SeqNum at, Piece payload);
    Verdict process_fin(Conn& c, const Segment& s, Verdict so_far);
    Verdict accept_fin(Conn& c);
    bool remember_fin(Conn& c, SeqNum fin_at);
    void accept_in_order(Conn& c, Piece payload);
    ReceiveStore* store_of(Conn& c);
    void drop_empty_store(Conn& c);
    bool settle(Conn& c);
    void settle_turn();
    void note_received(Conn& c, size_t size);
    void note_duplicate(Conn& c, SackBlock block);
    SackBlock take_duplicate(Conn& c);
    bool owes_reports(const Conn& c) const;
    void forget_duplicates();

    // receive_window.cpp
    uint32_t receive_buffer(const Conn& c) const;
    uint32_t receive_buffer(uint8_t doublings) const;
    uint32_t receive_space(const Conn& c) const;
    bool may_announce_more(const Conn& c) const;
    bool is_worth_a_step(const Conn& c, SeqNum edge) const;
    uint16_t announce_window(Conn& c, Instant now);
    void measure_round(Conn& c, Instant now);
    uint8_t receive_scale() const;
    uint32_t initial_window() const;

    // output.cpp
    Output output(Conn& c, Instant now, TxBatch& out);
    void attend(Conn& c, Instant now);
    bool output_lost(Conn& c, Instant now, TxBatch& out, uint32_t& quota);
    bool output_new(Conn& c, Instant now, TxBatch& out, uint32_t& quota);
    bool output_reset(Conn& c, Instant now, TxBatch& out);
    static PathId path_of(const Conn& c);
    Segment& add_segment(const Conn& c, SeqNum seq, Instant now, TxBatch& out);
    uint32_t emit(Conn& c, SeqNum seq, uint32_t size, bool with_fin, Instant now, TxBatch& out);
    void report_received(Conn& c, Segment& s);
    void count_emitted(Conn& c, SeqNum seq, uint32_t size, bool fin, Instant now);
    static bool repeats_first(const Conn& c, const Recovery* r);
    uint32_t congestion_room(const Conn& c) const;
    void restart_after_idle(Conn& c, Instant now);
    uint32_t initial_cwnd(uint32_t mss) const;
    bool may_send_small(const Conn& c, uint32_t size, uint32_t usable) const;
    void start_persist(Conn& c, Instant now);
    void start_holding(Conn& c, Instant now);
    void serve_ready(Instant now, TxBatch& out);

    // ecn.cpp
    bool asks_for_ecn_now(const Conn& c) const;
    Present ecn_of_answer(const Conn& c, const Segment& s) const;
    void note_mark(Conn& c, const Segment& s);
    static void say_ecn(Conn& c, Segment& s, SeqNum seq, uint32_t size);
    void on_ecn_echo(Conn& c, Recovery* r, const AckSample& sample);

    // timeouts.cpp
    Tick on_timer(uint32_t index, Instant now);
    void on_retransmission_timeout(Conn& c, Instant now);
    void on_persist_timeout(Conn& c, Instant now);
    void count_expiry(Conn& c, Instant now);
    bool exhausted(const Conn& c) const;
    bool user_timeout_is_over(const Conn& c, Tick due, Instant now);
    void give_up(Conn& c, Event::Kind kind);
    Duration rto(const Conn& c) const;
    void start_retransmit_timer(Conn& c, Instant now);
    void stop_retransmit_timer(Conn& c);
    Tick next_deadline(const Conn& c) const;
    void schedule(Conn& c);

    // keep_alive.cpp
    static bool is_idle(const Conn& c);
    void restart_keep_alive(Conn& c, Instant now);
    void stop_keep_alive(Conn& c);
    void on_keep_alive_timeout(Conn& c, Instant now);

    // path_mtu.cpp
    bool lower_path_mtu(Conn& c, const PathNotice& notice, Instant now);
    void suspect_black_hole(Conn& c, Instant now);
    void lower_mss(Conn& c, uint32_t mss, Instant now);
    void resend_too_large(Conn& c, Recovery& r, Instant now);
    void resend_outstanding(Conn& c, Instant now);

    // close.cpp
    void queue_fin(Conn& c);
    void abandon(Conn& c);
    void abort_with_reset(Conn& c);
    bool finished(Conn& c, Instant now);

    // time_wait.cpp
    void enter_time_wait(Conn& c, Instant now);
    Verdict time_wait_arrives(uint32_t index, uint64_t hash, const Segment& s, Instant now, TxBatch& out);
    Verdict reopen(uint32_t index, uint64_t hash, const Segment& syn, Instant now, TxBatch& out);
    void acknowledge_time_wait(const TimeWait& t, Instant now, TxBatch& out);
    void end_time_wait(uint32_t index);
    bool advance_time_wait(Instant now, uint32_t& budget);

    // Payload of this turn that stands in the packets still: one per segment in order.
    struct Borrowed {
        ConnId conn;
        Piece bytes;
        uint16_t next = no_borrowed;  // of the same connection
        uint16_t tail = no_borrowed;  // in the first one: the last of the same connection
    };
    static constexpr uint16_t no_borrowed = 0xffff;

    // A duplicate that a DSACK block will tell of (RFC 2883). A report that does not leave in its turn is lost, and
    // so is one that finds no place: it is advice.
    struct Duplicate {
        ConnId conn;  // none: told
        SackBlock block;
    };
    static constexpr uint32_t most_duplicates = 64;  // of one turn

    StackSettings settings_;
    Secrets secrets_;
    Counters& counters_;
    Pool<Conn> conns_;
    FlowTable table_;
    TimerWheel<Conn> wheel_;
    std::vector<ConnExtras> extras_;
    HalfOpenStore half_open_;
    SynCookies cookies_;
    SpentCookies spent_;
    uint32_t cookies_from_;     // half-open records in use, of the adaptive mode
    uint32_t syn_ack_retries_ = useful_syn_ack_retries();
    Instant cookies_end_{};     // then the last cookie made here is no longer good
    Instant refusing_until_{};  // a good cookie has found no room lately
    TimeWaitStore time_wait_;
    Chunks chunks_;
    ReceiveStores stores_;
    Pins pins_;
    SendQueues send_queues_;
    Pool<Recovery> recoveries_;
    /// The segment that left last with nothing else of its connection in flight: it has no record.
    struct Lone {
        uint32_t conn = ~0u, sent_at_us = 0;
    };
    Lone lone_;
    SentRecords segment_records_;
    RateLimit reset_limit_;
    RateLimit ack_limit_;  // ACKs of half-open and TIME-WAIT records to segments without data
    PortChooser ports_;
    Jitter jitter_;

    std::vector<Listener> listeners_;
    ReadyRing ready_;
    std::vector<Event> events_;
    uint32_t event_count_ = 0;
    std::vector<Borrowed> borrowed_;
    uint32_t borrowed_count_ = 0;
    std::array<Duplicate, most_duplicates> duplicates_{};
    uint32_t duplicate_count_ = 0;
    uint32_t next_generation_ = 1;
    uint32_t least_window_step_ = 0;  // by which an announced window opens, over either family
    uint8_t ack_threshold_units_ = 1;
    bool accepting_ = true;
};

template <class Accepts>
ConnId Stack::connect(const IpAddress& local, const Endpoint& remote, Instant now, Accepts&& accepts) {
    FourTuple flow{local, remote.address, 0, remote.port};
    if (!may_connect(local, remote)) {
        counters_.add(Tally::connects_forbidden);
        return {};
    }
    const auto port = ports_.choose(flow, [&](const FourTuple& candidate) {
        return !listening({local, candidate.local_port}) && accepts(candidate) && is_free(candidate, now);
    });
    if (!port) {
        counters_.add(Tally::connects_without_port);
        return {};
    }
    flow.local_port = *port;
    return connect(flow, now);
}

}  // namespace pollux::tcp
