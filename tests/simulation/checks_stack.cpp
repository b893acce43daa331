// After a turn: what the stack says of itself must agree with what was on the wire.
#include "tests/simulation/checks.hpp"

namespace pollux::simulation {

using namespace tcp;

namespace {

constexpr Duration tick = 1ms;

// RFC 9293 figure 5 as of a connection that exists: one arrow, or several in one turn.
bool may_become(State from, State to) {
    if (from == to) return true;
    switch (from) {
        case State::syn_sent: return to != State::closed && to != State::listen;
        case State::syn_received: return !in(to, State::syn_sent) && to != State::closed;
        case State::established: return !in(to, State::syn_sent | State::syn_received) && to != State::closed;
        case State::fin_wait_1: return in(to, State::fin_wait_2 | State::closing | State::time_wait);
        case State::fin_wait_2: return to == State::time_wait;
        case State::close_wait: return to == State::last_ack;
        case State::closing: return to == State::time_wait;
        default: return false;
    }
}

std::string in_ms(Duration time) { return std::to_string(time.count() / 1000) + " ms"; }

}  // namespace

void Checks::ends_turn(const Stack& stack, Instant now, bool room) {
    std::optional<Duration> earliest;
    const Watch* whose = nullptr;
    bool ready = stack.has_work();
    for (Watch& w : watches_) {
        check_replies(w, now);
        check_giving_up(w, now);
    }
    std::vector<const Watch*> alive;
    stack.for_each_conn(0, stack.extents().connections, [&](ConnId id) {
        const auto info = stack.conn_at(id.index, now);
        if (!info) return;
        Watch& w = watch_of(info->flow);
        alive.push_back(&w);
        check_conn(w, *info, now, room && !ready);
        for (const auto& left : {info->timer_left, info->ack_left}) {
            if (left && (!earliest || *left < *earliest)) earliest = left, whose = &w;
        }
    });
    for (Watch& w : watches_) {
        if (std::ranges::find(alive, &w) == alive.end()) w.state.reset(), w.owes_ack_since.reset();
    }
    if (earliest && room && !ready) {
        const auto due = stack.next_due(now);
        if (!due || *due > now + std::max(*earliest, Duration{0}) + tick) {
            complain(now, *whose, "the stack would sleep beyond its timer, which is due in " + in_ms(*earliest));
        }
    }
    check_time_wait(stack, now);
    check_pools(stack, now);
    if (const std::string broken = stack.check_invariants(); !broken.empty()) judge_.complains(now, broken);
}

// RFC 9293 section 3.10.7: a RST is never answered; RFC 5961 section 3.2 allows a challenge ACK of a connection.
void Checks::check_replies(Watch& w, Instant now) {
    if (w.resets_heard_now == 0 || w.heard_now != w.resets_heard_now) return;
    // An abort of this turn, or an earlier one whose RST had no room until now.
    bool acted = w.connection != SIZE_MAX && application_.acted_on(w.connection);
    const bool full = scenario_.find(FaultKind::full_ring, side_) != nullptr;
    if (w.connection != SIZE_MAX && (full || w.resets_said == w.resets_said_now)) {
        const Story::End end = application_.story(w.connection).end;
        acted |= end == Story::End::aborted || end == Story::End::let_go;
    }
    if (w.resets_said_now > 0 && !acted) return complain(now, w, "a RST is answered by a RST");
    if (!w.existed && w.said_now > 0 && !w.new_now && !acted) complain(now, w, "a RST to nothing is answered");
}

// RFC 9293 section 3.8.3: not before R2, which is a number of attempts that nothing has answered.
void Checks::check_giving_up(Watch& w, Instant now) {
    if (w.connection == SIZE_MAX || !timing_ || w.doubtful) return;
    if (settings_.keep_alive || settings_.user_timeout.count() != 0) return;  // they have limits of their own
    const Story& story = application_.story(w.connection);
    if (story.end != Story::End::timed_out || story.ended_at != now || story.flow != w.flow) return;
    // The first probe of a closed window says something new: it is no repetition.
    const uint32_t attempts = story.opened ? settings_.data_retries : settings_.syn_retries;
    if (w.repetitions + 1 < attempts) {
        complain(now, w,
                 "gives up after " + std::to_string(w.repetitions) + " of " + std::to_string(attempts) + " attempts");
    }
}

void Checks::check_conn(Watch& w, const ConnInfo& info, Instant now, bool room) {
    check_state(w, info, now);
    check_window(w, info, now);
    check_congestion(w, info, now);
    check_recovery(w, info, now);
    if (room) check_timers(w, info, now);
    check_acking(w, info, now, room);
    check_receiving(w, info, now, room);
    remember(w, info);
}

void Checks::remember(Watch& w, const ConnInfo& info) {
    w.state = info.state;
    w.cwnd = info.cwnd;
    w.ssthresh = info.ssthresh;
    w.in_flight = info.in_flight;
    w.pipe = info.pipe;
    w.una = info.snd_una;
    w.phase = info.phase;
    w.scoreboard = info.scoreboard;
    w.sacked_bytes = info.sacked;
    w.reductions = info.reductions;
}

void Checks::check_window(Watch& w, const ConnInfo& info, Instant now) {
    if (!info.snd_una.at_or_before(info.snd_nxt)) return complain(now, w, "SND.UNA is after SND.NXT");
    if (!w.iss_known) {
        if (!in(info.state, State::syn_sent | State::syn_received))
            complain(now, w, "a connection without a SYN on the wire");
        return;
    }
    if (w.position(info.snd_una) > std::max<int64_t>(w.heard_ack, 0)) {
        complain(now, w, "SND.UNA is beyond all that was acknowledged");
    }
    if (w.position(info.snd_nxt) != w.said_end) {
        complain(now, w, "SND.NXT is not where the last byte on the wire ended");
    }
    if (in(info.state, State::syn_sent | State::syn_received)) return;
    // The probe of a closed window is one byte, and a FIN behind it.
    if (info.in_flight > w.most_window + 2) complain(now, w, "more in flight than the largest window");
    if (!w.irs_known || w.peer_position(info.rcv_nxt) > w.ranges.contiguous()) {
        complain(now, w, "RCV.NXT is beyond what has been heard");
    }
}

// Inside the window, nothing outdated and room for all: then what was heard without a gap is taken, and the window is
// open as far as the application has read.
void Checks::check_receiving(Watch& w, const ConnInfo& info, Instant now, bool room) {
    if (!in(info.state, State::established | State::fin_wait_1 | State::fin_wait_2) || info.released) return;
    if (!w.irs_known || scenario_.hostile) return;
    const int64_t next = w.peer_position(info.rcv_nxt);
    // What came before there was a connection need not have been taken, but may.
    w.accepted.add(0, next);
    if (!w.state) return;
    if (w.taken_all() && !starves() && *w.state == info.state && next < w.accepted.contiguous()) {
        return complain(now, w,
                        "RCV.NXT is " + std::to_string(next) + ", has heard all up to " +
                            std::to_string(w.accepted.contiguous()));
    }
    if (!room || info.unread != 0) return;
    const int headers = w.flow.local_addr.is_v4() ? 40 : 60;
    const int64_t by_mtu = settings_.mtu - headers;
    const int64_t full = settings_.max_mss == 0 ? by_mtu : std::min<int64_t>(by_mtu, settings_.max_mss);
    const int64_t space = std::min<int64_t>(settings_.receive_buffer, 65'535);  // a SYN can say no more
    const int64_t held = std::min<int64_t>(2 * full, settings_.receive_buffer / 2);
    // RFC 9293 section 3.8.6.2.2; data that the delayed ACK has not acknowledged keeps the edge back too.
    if (info.rcv_wnd + held + 2 * full + 64 < space) {
        complain(now, w, "all is read, and the window stays at " + std::to_string(info.rcv_wnd));
    }
}

// RFC 9293 section 3.6.1: 2 MSL, unless a new SYN takes over or the store is full.
void Checks::check_time_wait(const Stack& stack, Instant now) {
    for (Watch& w : watches_) w.time_wait_now = false;
    for (uint32_t i = 0; i < stack.extents().time_wait; ++i) {
        const auto record = stack.time_wait_at(i, now);
        if (!record) continue;
        Watch& w = watch_of(record->flow);
        w.time_wait_now = true;
        if (!w.time_wait_from) w.time_wait_from = now;
        if (record->left > 2 * settings_.msl + tick) complain(now, w, "more than 2 MSL of TIME-WAIT");
    }
    for (Watch& w : watches_) {
        if (w.time_wait_now || !w.time_wait_from) continue;
        const Duration waited = now - *std::exchange(w.time_wait_from, {});
        const bool taken_over = stack.state_of(w.flow) != State::closed && stack.state_of(w.flow) != State::listen;
        if (waited + 2 * tick < 2 * settings_.msl && !taken_over && counters_[Tally::time_wait_recycled] == 0) {
            complain(now, w, "TIME-WAIT has ended after " + in_ms(waited));
        }
    }
}

void Checks::check_timers(Watch& w, const ConnInfo& info, Instant now) {
    const bool opening = in(info.state, State::syn_sent | State::syn_received);
    const bool outstanding = info.in_flight > 0 || opening;
    if (outstanding && !info.timer_left) return complain(now, w, "something is outstanding and no timer runs");
    if (info.rto > settings_.max_rto) complain(now, w, "RTO above its limit: " + in_ms(info.rto));
    const Duration least = std::min(opening ? settings_.initial_rto : settings_.min_rto_variance, settings_.max_rto);
    if (info.rto < least) complain(now, w, "RTO below its limit: " + in_ms(info.rto));
    // RFC 6298 (2.3) from the values that it is made of.
    if (info.srtt.count() != 0) {
        const Duration plain = info.srtt + std::max(settings_.min_rto_variance, 4 * info.rttvar);
        const Duration wanted = std::min(plain * (int64_t{1} << info.backoff), settings_.max_rto);
        if (info.rto != wanted) complain(now, w, "RTO is " + in_ms(info.rto) + " instead of " + in_ms(wanted));
        // No answer is faster than the network: timestamps count in ms, half-open records in 4 ms, twice.
        const Duration network = scenario_.delay[0] + scenario_.delay[1];
        if (!scenario_.hostile && info.srtt + 9 * tick < network) {
            complain(now, w, "SRTT of " + in_ms(info.srtt) + " is less than the network's " + in_ms(network));
        }
    }
    if (outstanding && info.timer_left && *info.timer_left > settings_.max_rto + tick) {
        complain(now, w, "a timer beyond the largest RTO: " + in_ms(*info.timer_left));
    }
}

void Checks::check_acking(Watch& w, const ConnInfo& info, Instant now, bool room) {
    if (!w.irs_known || !w.state || in(info.state, State::syn_sent | State::syn_received)) return;
    const int64_t next = w.peer_position(info.rcv_nxt);
    if (next <= w.said_ack) {
        w.owes_ack_since.reset();
    } else if (!w.owes_ack_since) {
        w.owes_ack_since = now;
    }
    if (!timing_ || !room) return;
    // RFC 9293 MUST-40 and the setting; a tick of rounding, and one of the wheel.
    if (w.owes_ack_since && now - *w.owes_ack_since > settings_.ack_delay + 2 * tick) {
        complain(now, w, "an ACK is owed since " + in_ms(now - *w.owes_ack_since));
    }
    // RFC 9293 SHLD-19: every second full segment.
    const int headers = w.flow.local_addr.is_v4() ? 40 : 60;
    const int by_mtu = settings_.mtu - headers;
    const int64_t full = settings_.max_mss == 0 ? by_mtu : std::min<int>(by_mtu, settings_.max_mss);
    if (next - w.said_ack >= 2 * full + 64) complain(now, w, "more than two full segments without an ACK");
    // RFC 5681 section 4.2: a gap is reported at once.
    if (w.beyond_gap_now && w.said_now == 0 && !scenario_.hostile) complain(now, w, "data beyond a gap draws no ACK");
}

void Checks::check_state(Watch& w, const ConnInfo& info, Instant now) {
    if (w.state && !may_become(*w.state, info.state)) {
        complain(now, w, std::string(tcp::name(*w.state)) + " became " + std::string(tcp::name(info.state)));
    }
    if (!w.irs_known || !w.iss_known) return;
    const bool fin_said = w.said_fin >= 0;
    const bool closed_by_us =
        in(info.state, State::fin_wait_1 | State::fin_wait_2 | State::closing | State::last_ack | State::time_wait);
    if (fin_said != closed_by_us) {
        complain(now, w, std::string(tcp::name(info.state)) + (fin_said ? " after" : " without") + " a FIN of ours");
    }
    const bool fin_taken = w.heard_fin >= 0 && w.peer_position(info.rcv_nxt) > w.heard_fin;
    const bool closed_by_peer =
        in(info.state, State::close_wait | State::closing | State::last_ack | State::time_wait);
    if (fin_taken != closed_by_peer) {
        complain(now, w,
                 std::string(tcp::name(info.state)) + (fin_taken ? " after" : " without") + " the peer's FIN");
    }
}

// All that is in use belongs to something that is there.
void Checks::check_pools(const Stack& stack, Instant now) {
    const PoolUse use = stack.pool_use();
    const PoolUse most = stack.pool_capacity();
    uint32_t conns = 0;
    uint64_t kept = 0, queued = 0, outstanding = 0;
    stack.for_each_conn(0, stack.extents().connections, [&](ConnId id) {
        const auto info = stack.info(id);
        ++conns;
        kept += info->unread + info->out_of_order;
        queued += info->queued;
        outstanding += info->in_flight;
    });
    const auto wrong = [&](const char* what) {
        judge_.complains(now, std::string("pools of ") + letter(side_) + ": " + what);
    };
    // A record on the ready list is given back when its turn comes.
    if (use.connections < conns || (!stack.has_work() && use.connections != conns)) wrong("connection records");
    if (use.table_entries != conns + use.half_open + use.time_wait) wrong("places in the table");
    if (kept + queued == 0 && use.chunks != 0) wrong("chunks that hold nothing");
    if (queued == 0 && (use.send_entries != 0 || use.pins != 0)) wrong("queued pieces without bytes");
    if (queued != 0 && use.send_entries + use.connections == 0) wrong("queued bytes without pieces");
    if (use.receive_stores > conns) wrong("more receive stores than connections");
    if (use.timers > conns) wrong("more timers than connections");
    if (use.recoveries > conns) wrong("more recovery records than connections");
    if (outstanding == 0 && use.segment_records != 0) wrong("records of segments that are not in flight");
    if (use.chunks > most.chunks || use.half_open > most.half_open || use.time_wait > most.time_wait ||
        use.segment_records > most.segment_records)
        wrong("overflow");
}

}  // namespace pollux::simulation
