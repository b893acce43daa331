// Construction, look-up, events and the application's calls. The protocol itself is in the files that stack.hpp
// names.
#include "tcp/stack.hpp"

#include <algorithm>
#include <cassert>
#include <stdexcept>

namespace pollux::tcp {
namespace {

// One store may hold the receive buffer twice over in chunks, so that small segments fit too, and never all of them.
uint32_t chunk_limit(const StackSettings& s) {
    return 2 * std::max(s.receive_buffer, s.receive_buffer_max) / Chunks::chunk_size + 8;
}

}  // namespace

Stack::Stack(const StackSettings& settings, const Secrets& secrets, Counters& counters)
    : settings_(settings),
      secrets_(secrets),
      counters_(counters),
      conns_(settings.capacity.connections, "connections"),
      table_(settings.capacity.connections + settings.capacity.half_open + settings.capacity.time_wait),
      wheel_(conns_),
      extras_(settings.capacity.connections),
      half_open_(settings.capacity.half_open),
      cookies_(secrets.cookies, settings.cookie_period),
      spent_(settings.syn_cookies == SynCookieMode::never ? 0 : settings.capacity.spent_cookies),
      cookies_from_(settings.capacity.half_open - settings.capacity.half_open / 4),
      time_wait_(settings.capacity.time_wait),
      chunks_(settings.capacity.chunks),
      stores_(settings.capacity.receive_stores, chunks_, settings.reassembly_ranges, chunk_limit(settings)),
      pins_(settings.capacity.pins),
      send_queues_(settings.capacity.send_entries, chunks_, pins_),
      recoveries_(settings.capacity.recoveries, "loss recovery"),
      segment_records_(settings.capacity.segment_records, "segment records"),
      reset_limit_(settings.resets_per_second, secrets.random_seed),
      ack_limit_(settings.resets_per_second, ~secrets.random_seed),
      ports_(secrets.isn, settings.first_local_port, settings.last_local_port),
      jitter_(secrets.random_seed ^ 0x9e37'79b9'7f4a'7c15),
      ready_(settings.capacity.connections),
      events_(settings.capacity.events),
      borrowed_(std::min<uint32_t>(settings.capacity.events, no_borrowed)) {
    // What would make no progress, or wrap; the settings file is checked with better sentences.
    if (settings.transmit_quantum == 0) throw std::invalid_argument("transmit_quantum: found 0, expected 1 or more");
    const int least_segment = std::min<int>(settings.mtu - 40, settings.max_mss == 0 ? 0xffff : settings.max_mss);
    if (least_segment < 24) throw std::invalid_argument("mtu or max_mss: leaves no room for data beside the options");
    if (settings.first_local_port == 0 || settings.first_local_port > settings.last_local_port) {
        throw std::invalid_argument("first_local_port: expected 1 or more, and at most last_local_port");
    }
    if (settings.cookie_period < 1s) throw std::invalid_argument("cookie_period: expected 1 s or more");
    // RFC 9293 SHLD-19: every second full segment, or as many bytes. One byte counts units of 64.
    const uint32_t full = std::min<uint32_t>(receive_mss({}), settings.mtu - 52u);
    least_window_step_ = std::min<uint32_t>(receive_mss({}), settings.receive_buffer / 2);
    ack_threshold_units_ = static_cast<uint8_t>(std::clamp(2 * full / 64, 1u, 255u));
}

// ---- Listening. -------------------------------------------------------------------------------------------------

bool Stack::listen(const Endpoint& local, std::optional<CongestionControl> congestion) {
    if (std::ranges::find(listeners_, local, &Listener::local) != listeners_.end()) return false;
    listeners_.push_back({local, congestion});
    return true;
}

void Stack::stop_listening(const Endpoint& local) {
    std::erase_if(listeners_, [&](const Listener& l) { return l.local == local; });
    for (uint32_t i = 0; i < half_open_.high_water(); ++i) {
        if (!half_open_.is_taken(i)) continue;
        const FourTuple& flow = half_open_[i].flow;
        if (!listening({flow.local_addr, flow.local_port})) end_half_open(i);
    }
}

const Stack::Listener* Stack::listener(const Endpoint& local) const {
    const auto found = std::ranges::find_if(listeners_, [&](const Listener& l) {
        return l.local.port == local.port && (l.local.address.is_unspecified() || l.local.address == local.address);
    });
    return found == listeners_.end() ? nullptr : &*found;
}

// ---- Look-up. ---------------------------------------------------------------------------------------------------

EntryRef Stack::find_entry(uint64_t hash, const FourTuple& flow) const {
    return table_.find(hash, [&](EntryRef entry) {
        switch (entry.kind()) {
            case EntryRef::Kind::connection: return conns_[entry.index()].flow == flow;
            case EntryRef::Kind::half_open: return half_open_[entry.index()].flow == flow;
            case EntryRef::Kind::time_wait: return time_wait_[entry.index()].flow == flow;
        }
        return false;
    });
}

void Stack::prefetch(EntryRef entry) const {
    if (!entry) return;
    switch (entry.kind()) {
        case EntryRef::Kind::connection: return conns_.prefetch(entry.index(), 2);
        case EntryRef::Kind::half_open: return half_open_.prefetch(entry.index());
        case EntryRef::Kind::time_wait: return time_wait_.prefetch(entry.index());
    }
}

const Conn* Stack::find(ConnId id) const {
    if (id.generation == 0 || id.index >= conns_.high_water()) return nullptr;
    const Conn& c = conns_[id.index];
    return c.generation == id.generation && !c.has(ConnFlags::app_closed) ? &c : nullptr;
}

State Stack::state_of(const FourTuple& flow) const {
    const EntryRef entry = find_entry(hash(flow), flow);
    if (!entry) return listening({flow.local_addr, flow.local_port}) ? State::listen : State::closed;
    switch (entry.kind()) {
        case EntryRef::Kind::connection: return conns_[entry.index()].state;
        case EntryRef::Kind::half_open: return State::syn_received;
        case EntryRef::Kind::time_wait: return State::time_wait;
    }
    return State::closed;
}

ConnId Stack::find_conn(const FourTuple& flow) const {
    const EntryRef entry = find_entry(hash(flow), flow);
    if (!entry || entry.kind() != EntryRef::Kind::connection) return {};
    return id_of(conns_[entry.index()]);
}

// ---- Life of a connection. --------------------------------------------------------------------------------------

void Stack::raise(const Conn& c, Event::Kind kind) {
    if (c.has(ConnFlags::app_closed)) return;
    if (event_count_ == events_.size()) {
        counters_.add(Tally::events_lost);
        return;
    }
    events_[event_count_++] = {id_of(c), kind};
}

// For what strangers can bring about as often as they like.
void Stack::raise_once(const Conn& c, Event::Kind kind) {
    const bool told = std::ranges::any_of(events(), [&](const Event& e) { return e.kind == kind && e.conn == id_of(c); });
    if (!told) raise(c, kind);
}

void Stack::enter(Conn& c, State next) {
    assert(may_follow(c.state, next));
    c.state = next;
}

void Stack::make_ready(Conn& c) {
    if (c.has(ConnFlags::ready)) return;
    c.set(ConnFlags::ready);
    ready_.push_back(index_of(c));
}

Conn& Stack::begin(uint32_t index, const FourTuple& flow, State state) {
    Conn& c = conns_[index];
    c.flow = flow;
    c.generation = next_generation_++;
    if (next_generation_ == 0) next_generation_ = 1;  // 0 names no connection
    enter(c, state);
    c.congestion = static_cast<uint8_t>(settings_.congestion) & 3;
    if (!settings_.nagle) c.set(ConnFlags::no_delay);
    if (settings_.keep_alive) c.set(ConnFlags::keep_alive);  // output() starts the timer
    extras_[index] = {};
    extras_[index].user_timeout_ms = static_cast<uint32_t>(settings_.user_timeout / 1ms);
    return c;
}

// Gives back all that the connection holds but its record and its place in the table.
void Stack::forget(Conn& c) {
    if (c.armed_at.is_set()) wheel_.cancel(index_of(c));
    send_queues_.clear(c);
    give_recovery(c);
    if (c.has(ConnFlags::has_store)) stores_.give(c.store);
    c.clear(ConnFlags::has_store);
    c.borrowed = no_borrowed;
    c.generation = 0;
    c.state = State::closed;
    // A record on the ready list is given back when its turn comes.
    if (!c.has(ConnFlags::ready)) conns_.give(index_of(c));
}

void Stack::release(Conn& c) {
    [[maybe_unused]] const bool erased = table_.erase(hash(c.flow), EntryRef::connection(index_of(c)));
    assert(erased);
    forget(c);
}

uint64_t Stack::wall_clock_us(Instant now) const {
    return static_cast<uint64_t>(now.time_since_epoch().count()) + settings_.wall_clock_at_zero_us;
}

uint32_t Stack::timestamp_clock(Instant now) const { return static_cast<uint32_t>(wall_clock_us(now) / 1000); }

uint32_t Stack::timestamp_offset(const FourTuple& flow) const {
    return static_cast<uint32_t>(siphash_1_3(secrets_.timestamps, flow));
}

// ---- The turn. --------------------------------------------------------------------------------------------------

bool Stack::advance_timers(Instant now, uint32_t budget) {
    bool more = advance_half_open(now, budget);
    more |= advance_time_wait(now, budget);
    return wheel_.advance(tick_at(now), budget, [&](uint32_t index) { return on_timer(index, now); }) > 0 || more;
}

void Stack::transmit(Instant now, TxBatch& out) {
    settle_turn();
    event_count_ = 0;
    repeat_syn_acks(now, out);
    serve_ready(now, out);
    if (duplicate_count_ > 0) forget_duplicates();
}

std::optional<Instant> Stack::next_due(Instant now) const {
    const Tick tick = tick_at(now);
    int64_t least = half_open_.next_due_in_ms(tick);
    const auto consider = [&](Tick due) { least = std::min<int64_t>(least, due - tick); };
    if (time_wait_.front() != TimeWaitStore::none) consider(time_wait_[time_wait_.front()].ends_at);
    if (const Tick due = wheel_.next_due(); due.is_set()) consider(due);
    if (least == INT32_MAX) return {};
    if (least <= 0) return now;
    // The start of that tick: `now` lies somewhere within its own.
    const auto us = now.time_since_epoch().count();
    return Instant{Duration{(us / 1000 + least) * 1000}};
}

// ---- The application's calls. -----------------------------------------------------------------------------------

bool Stack::has_unread(const Conn& c) const {
    return c.borrowed != no_borrowed || (c.has(ConnFlags::has_store) && stores_[c.store].unread_bytes > 0);
}

std::span<const std::byte> Stack::unread(ConnId conn) const {
    const Conn* c = find(conn);
    if (c == nullptr) return {};
    if (c->has(ConnFlags::has_store) && stores_[c->store].unread_bytes > 0) return stores_.front(stores_[c->store]);
    return c->borrowed == no_borrowed ? Piece{} : borrowed_[c->borrowed].bytes;
}

void Stack::consume(ConnId conn, uint32_t bytes) {
    Conn* c = find(conn);
    if (c == nullptr) return;
    if (c->has(ConnFlags::has_store) && stores_[c->store].unread_bytes > 0) {
        ReceiveStore& store = stores_[c->store];
        const uint32_t here = std::min(bytes, store.unread_bytes);
        stores_.consume(store, here);
        bytes -= here;
        drop_empty_store(*c);
        // The window may open now: output() decides (RFC 9293 section 3.8.6.2.2).
        make_ready(*c);
    }
    while (bytes > 0 && c->borrowed != no_borrowed) {
        Borrowed& b = borrowed_[c->borrowed];
        const auto here = std::min<size_t>(bytes, b.bytes.size());
        b.bytes = b.bytes.subspan(here);
        bytes -= static_cast<uint32_t>(here);
        if (!b.bytes.empty()) break;
        if (b.next != no_borrowed) borrowed_[b.next].tail = b.tail;
        c->borrowed = b.next;
    }
    assert(bytes == 0 && "consumed more than was unread");
}

bool Stack::queue_pieces(Conn& c, std::span<const Pinned> pieces, More more) {
    uint64_t size = 0;
    size_t count = 0;
    for (const Pinned& p : pieces) {
        size += p.bytes.size();
        count += p.bytes.empty() ? 0 : 1;
    }
    if (!in(c.state, can_send_states) || c.has(ConnFlags::fin_queued)) return false;
    if (size + c.queued() > settings_.send_queue_limit || !send_queues_.has_room(c, count)) {
        return promise_writable(c, size);
    }
    stop_waiting_for_room(c);
    hold_back(c, more);
    for (const Pinned& p : pieces) {
        if (p.bytes.empty()) continue;
        send_queues_.push(c, {p.bytes.data(), static_cast<uint32_t>(p.bytes.size()), p.pin});
    }
    make_ready(c);
    return true;
}

// Refused for now. What no empty queue could take is refused for good, without a promise.
bool Stack::promise_writable(Conn& c, uint64_t size) {
    if (size > settings_.send_queue_limit) return false;
    c.set(ConnFlags::wants_writable);
    make_ready(c);
    return false;
}

// Something will be in flight: the timer is needed for that, and an ACK will keep the promise.
void Stack::stop_waiting_for_room(Conn& c) {
    if (waits_for_room(c)) stop_retransmit_timer(c);
}

void Stack::hold_back(Conn& c, More more) {
    if (more == More::to_come) return c.set(ConnFlags::more_to_come);
    if (!c.has(ConnFlags::more_to_come)) return;
    stop_hold_timer(c);
    c.clear(ConnFlags::more_to_come);
}

void Stack::stop_hold_timer(Conn& c) {
    if (!c.has(ConnFlags::hold_timed)) return;
    c.clear(ConnFlags::hold_timed);
    stop_retransmit_timer(c);
}

bool Stack::send(ConnId conn, std::span<const Pinned> pieces, More more) {
    Conn* c = find(conn);
    return c != nullptr && queue_pieces(*c, pieces, more);
}

bool Stack::send_copy(ConnId conn, std::span<const std::byte> bytes, More more) {
    Conn* c = find(conn);
    if (c == nullptr || !in(c->state, can_send_states) || c->has(ConnFlags::fin_queued)) return false;
    const size_t extends = std::min<size_t>(bytes.size(), send_queues_.room_in_last(*c));
    const uint32_t needed = chunks_.needed({}, bytes.size() - extends);
    if (needed > chunks_.free() || bytes.size() + c->queued() > settings_.send_queue_limit ||
        !send_queues_.has_room(*c, needed)) {
        return promise_writable(*c, bytes.size());
    }
    stop_waiting_for_room(*c);
    hold_back(*c, more);
    bytes = bytes.subspan(send_queues_.extend_last(*c, bytes));
    while (!bytes.empty()) {
        ChunkList list;
        const auto here = bytes.first(std::min<size_t>(bytes.size(), Chunks::chunk_size));
        chunks_.append(list, here);
        send_queues_.push(*c, {chunks_.bytes(list.head).data(), static_cast<uint32_t>(here.size()),
                               list.head | SendPiece::chunk_owner});
        bytes = bytes.subspan(here.size());
    }
    make_ready(*c);
    return true;
}

uint32_t Stack::unacknowledged(ConnId conn) const {
    const Conn* c = find(conn);
    return c == nullptr ? 0 : c->queued();
}

void Stack::set_deadline(ConnId conn, Instant when) {
    Conn* c = find(conn);
    if (c == nullptr) return;
    c->app_deadline = deadline_at(when);
    schedule(*c);
}

void Stack::clear_deadline(ConnId conn) {
    if (Conn* c = find(conn)) c->app_deadline = Tick{};
}

void Stack::set_dscp(ConnId conn, uint8_t dscp) {
    Conn* c = find(conn);
    if (c == nullptr) return;
    extras_[conn.index].dscp = dscp & 0x3f;
    c->set(ConnFlags::own_dscp);
}

void Stack::set_congestion(ConnId conn, CongestionControl control) {
    if (Conn* c = find(conn)) c->congestion = static_cast<uint8_t>(control) & 3;
}

void Stack::set_no_delay(ConnId conn, bool on) {
    Conn* c = find(conn);
    if (c == nullptr) return;
    if (!on) return c->clear(ConnFlags::no_delay);
    c->set(ConnFlags::no_delay);
    make_ready(*c);  // what waited for an ACK
}

// ---- Tools and tests. -------------------------------------------------------------------------------------------

std::optional<ConnInfo> Stack::info(ConnId conn) const {
    if (conn.generation == 0 || conn.index >= conns_.high_water()) return {};
    const Conn& c = conns_[conn.index];
    if (c.generation != conn.generation) return {};
    ConnInfo info;
    info.flow = c.flow;
    info.state = c.state;
    info.cwnd = c.cwnd;
    info.ssthresh = c.ssthresh;
    info.mss = c.mss;
    info.snd_wnd = c.snd_wnd;
    info.rcv_wnd = c.rcv.edge.since(c.rcv.nxt);
    info.srtt = Duration{c.srtt_us};
    info.rttvar = Duration{c.rttvar_us};
    info.rto = rto(c);
    info.in_flight = c.in_flight();
    info.queued = c.queued();
    if (c.has(ConnFlags::has_store)) {
        info.unread = stores_[c.store].unread_bytes;
        info.out_of_order = stores_[c.store].out_of_order_bytes();
    }
    info.backoff = c.backoff;
    info.dup_acks = c.dup_acks;
    info.snd_scale = c.snd_scale;
    info.rcv_scale = c.rcv_scale;
    info.timestamps = c.has(ConnFlags::timestamps);
    info.sack = c.has(ConnFlags::sack);
    info.ecn = c.ecn;
    info.congestion = static_cast<CongestionControl>(c.congestion);
    info.phase = c.has(ConnFlags::fast_recovery)  ? Phase::recovery
                 : c.has(ConnFlags::rto_recovery) ? Phase::loss
                                                  : Phase::open;
    info.pipe = c.in_flight();
    if (const Recovery* const r = recovery_of(c)) {
        info.scoreboard = r->board.active();
        if (info.scoreboard) {
            info.phase = r->phase;
            info.pipe = r->board.pipe();
            info.sacked = r->board.sacked();
            info.lost = r->board.lost();
        }
        info.reductions = r->reductions;
        info.reo_wnd_mult = r->rack.reo_wnd_mult;
        info.min_rtt = Duration{r->min_rtt.us()};
        info.delivery_bytes = r->rate_bytes;
        info.delivery_time = Duration{r->rate_interval_us};
    }
    info.in_recovery = info.phase != Phase::open;
    info.snd_una = c.snd.una;
    info.snd_nxt = c.snd.nxt;
    info.rcv_nxt = c.rcv.nxt;
    if (c.retransmit_at.is_set()) {
        info.timer = c.has(ConnFlags::persisting)                         ? ConnInfo::Timer::persist
                     : c.has(ConnFlags::hold_timed)                       ? ConnInfo::Timer::hold
                     : c.has(ConnFlags::idle_timed)                       ? ConnInfo::Timer::keep_alive
                     : c.state == State::fin_wait_2 && c.in_flight() == 0 ? ConnInfo::Timer::fin_wait_2
                                                                          : ConnInfo::Timer::retransmission;
    }
    info.unanswered = c.unanswered;
    info.fin_queued = c.has(ConnFlags::fin_queued);
    info.released = c.has(ConnFlags::app_closed);
    info.wants_writable = c.has(ConnFlags::wants_writable);
    return info;
}

std::optional<ConnInfo> Stack::conn_at(uint32_t index, Instant now) const {
    const Conn& c = conns_[index];
    std::optional<ConnInfo> info = this->info(id_of(c));
    if (!info) return {};
    const auto left = [&](bool is_set, Tick due) {
        return is_set ? std::optional<Duration>{(due - tick_at(now)) * 1ms} : std::nullopt;
    };
    info->timer_left = left(c.retransmit_at.is_set(), c.retransmit_at);
    info->ack_left = left(c.has(ConnFlags::ack_timed), c.ack_at);
    info->deadline_left = left(c.app_deadline.is_set(), c.app_deadline);
    return info;
}

std::optional<HalfOpenInfo> Stack::half_open_at(uint32_t index, Instant now) const {
    if (!half_open_.is_taken(index)) return {};
    const HalfOpen& h = half_open_[index];
    HalfOpenInfo info;
    info.flow = h.flow;
    // The waits that it has behind it, and what has passed of the present one.
    for (uint32_t level = 0; level <= h.level; ++level) info.age += syn_ack_timeout(level);
    if (!any(h.options & HalfOpen::stands_to_send)) {
        info.due_in = h.due_in_ms(tick_at(now)) * 1ms;
        info.age = std::max(info.age - info.due_in, Duration::zero());
    }
    info.retransmissions = h.level;
    info.syn_repeated = any(h.options & HalfOpen::syn_was_repeated);
    info.peer_mss = h.mss;
    info.snd_scale = h.snd_scale;
    info.window_scale = any(h.options & Present::window_scale);
    info.sack = any(h.options & Present::sack_permitted);
    info.timestamps = any(h.options & Present::timestamps);
    info.ecn = (h.options & (HalfOpen::ecn | HalfOpen::ecn_withdrawn)) == HalfOpen::ecn;
    return info;
}

std::optional<TimeWaitInfo> Stack::time_wait_at(uint32_t index, Instant now) const {
    if (!time_wait_.is_taken(index)) return {};
    const TimeWait& t = time_wait_[index];
    return TimeWaitInfo{t.flow, (t.ends_at - tick_at(now)) * 1ms, t.snd_nxt, t.rcv_nxt, t.timestamps};
}

PoolUse Stack::pool_use() const {
    return {.connections = conns_.size(),
            .half_open = half_open_.in_use(),
            .time_wait = time_wait_.in_use(),
            .send_entries = send_queues_.in_use(),
            .chunks = chunks_.in_use(),
            .receive_stores = stores_.in_use(),
            .recoveries = recoveries_.size(),
            .segment_records = segment_records_.in_use(),
            .table_entries = table_.size(),
            .timers = wheel_.size(),
            .pins = pins_.total()};
}

PoolUse Stack::pool_capacity() const {
    return {.connections = conns_.capacity(),
            .half_open = half_open_.capacity(),
            .time_wait = time_wait_.capacity(),
            .send_entries = send_queues_.capacity(),
            .chunks = chunks_.capacity(),
            .receive_stores = stores_.capacity(),
            .recoveries = recoveries_.capacity(),
            .segment_records = segment_records_.capacity(),
            .table_entries = table_.capacity(),
            .timers = conns_.capacity(),
            .pins = 0};  // references are not bounded
}

size_t Stack::memory_bytes() const {
    return conns_.memory_bytes() + table_.memory_bytes() + half_open_.memory_bytes() + spent_.memory_bytes() +
           time_wait_.memory_bytes() + chunks_.memory_bytes() + stores_.memory_bytes() + send_queues_.memory_bytes() + ready_.memory_bytes() +
           extras_.size() * sizeof(ConnExtras) + recoveries_.memory_bytes() + segment_records_.memory_bytes();
}

std::string Stack::check_invariants() const {
    if (table_.size() != half_open_.in_use() + time_wait_.in_use() + [&] {
            uint32_t live = 0;
            for (uint32_t i = 0; i < conns_.high_water(); ++i)
                live += conns_.is_taken(i) && conns_[i].generation != 0;
            return live;
        }()) {
        return "the table and the pools disagree on how many entries there are";
    }
    for (uint32_t i = 0; i < conns_.high_water(); ++i) {
        if (!conns_.is_taken(i) || conns_[i].generation == 0) continue;
        const Conn& c = conns_[i];
        const std::string who = c.flow.to_string() + " " + std::string(name(c.state)) + ": ";
        if (!c.snd.una.at_or_before(c.snd.nxt)) return who + "SND.UNA is after SND.NXT";
        const uint32_t fin = c.has(ConnFlags::fin_sent) && c.in_flight() > 0 ? 1 : 0;
        if (c.in_flight() > c.queued() + fin) return who + "more in flight than queued";
        if (!c.rcv.nxt.at_or_before(c.rcv.edge)) return who + "RCV.NXT is beyond the announced window";
        if (c.cwnd < c.mss && !c.has(ConnFlags::syn_lost)) return who + "cwnd is below one segment";
        if (c.in_flight() > 0 && !c.retransmit_at.is_set()) return who + "data in flight and no timer";
        if (c.unsent() > 0 && !c.retransmit_at.is_set() && !c.has(ConnFlags::ready)) {
            return who + "data to send, nothing in flight and no timer";
        }
        if (c.has(ConnFlags::idle_timed) && !c.has(ConnFlags::ready) && !(is_idle(c) && c.retransmit_at.is_set())) {
            return who + "a keep-alive timer although it is not idle";
        }
        const Tick due = next_deadline(c);
        // A deadline that had passed when it was set stands one tick after the wheel's time.
        if (due.is_set() && !c.has(ConnFlags::ready) &&
            (!c.armed_at.is_set() || (due.before(c.armed_at) && c.armed_at - wheel_.current() > 1))) {
            return who + "a deadline that the wheel does not know";
        }
        if ((c.first.size == 0) != (c.queued() == 0)) return who + "the first piece and the queue disagree";
        if (const Recovery* const r = recovery_of(c); r != nullptr && r->board.active()) {
            if (const char* broken = r->board.check()) return who + broken;
            if (r->board.una() != c.snd.una || r->board.nxt() != c.snd.nxt) return who + "the scoreboard lags behind";
        }
        if (c.has(ConnFlags::has_store)) {
            const ReceiveStore& store = stores_[c.store];
            if (store.empty()) return who + "an empty receive store";
            if (store.range_count > 0 && !c.rcv.nxt.before(store.ranges[0].first)) {
                return who + "an out-of-order range that is in order";
            }
        }
        if (find_entry(hash(c.flow), c.flow) != EntryRef::connection(i)) return who + "the table does not find it";
    }
    return {};
}

}  // namespace pollux::tcp
