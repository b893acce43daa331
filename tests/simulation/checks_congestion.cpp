// After a turn: cwnd, ssthresh and loss recovery, as the stack tells of them, against what was on the wire.
#include <algorithm>

#include "tests/simulation/checks.hpp"

namespace pollux::simulation {

using namespace tcp;

void Checks::judges_recovery(const ConnInfo& info, Instant now) {
    Watch& w = watch_of(info.flow);
    check_congestion(w, info, now);
    check_recovery(w, info, now);
    remember(w, info);
}

void Checks::check_congestion(Watch& w, const ConnInfo& info, Instant now) {
    if (in(info.state, State::syn_sent | State::syn_received)) return;
    const uint32_t segments = settings_.initial_window_segments;
    const bool first = !w.state || in(*w.state, State::syn_sent | State::syn_received);
    if (first && info.cwnd > std::max({2u * info.mss, segments * info.mss, 1u})) {  // RFC 6928
        complain(now, w, "an initial window of " + std::to_string(info.cwnd));
    }
    check_growth(w, info, first, now);
    check_timeout(w, info, now);
    if (info.cwnd < info.mss) complain(now, w, "cwnd is below one segment");
    if (w.new_now) check_in_network(w, info, now);
}

// RFC 3465: no more than what has arrived; RFC 6582: one segment for each duplicate, and three at once. The end of a
// reduction is ssthresh (RFC 9937), and an undo brings back what was there (RFC 4015).
void Checks::check_growth(Watch& w, const ConnInfo& info, bool first, Instant now) {
    const uint64_t arrived =
        first ? 0 : info.snd_una.since(w.una) + (info.sacked - std::min(info.sacked, w.sacked_bytes));
    uint64_t most = std::max(w.cwnd, w.in_flight) + arrived + uint64_t{w.same_acks_now + 4} * info.mss;
    if (info.reductions > w.reductions) w.before_reduction = most;
    if (w.phase == Phase::recovery || w.phase == Phase::reduced) most += std::max(most, uint64_t{info.ssthresh});
    if (counted(Tally::recoveries_undone) || counted(Tally::timeouts_undone)) {
        most = std::max(most, w.before_reduction + arrived);
    }
    if (first || scenario_.hostile || info.cwnd <= most) return;
    complain(now, w, "cwnd grows from " + std::to_string(w.cwnd) + " to " + std::to_string(info.cwnd));
}

// RFC 5681 section 3.1: after a timeout one segment, and half of what was in flight; CUBIC leaves 0.7 (RFC 9438
// section 4.6). Of a reduction that is under way, ssthresh stays.
void Checks::check_timeout(Watch& w, const ConnInfo& info, Instant now) {
    if (w.timer_now || counted(Tally::retransmission_timeouts)) w.timed_out_until = w.said_end;
    const bool timed_out = w.timer_now && w.heard_now == 0 && info.snd_wnd != 0 && timing_ && !w.heard_error;
    if (!timed_out || info.timer != ConnInfo::Timer::retransmission || w.new_now) return;
    const bool cubic = info.congestion == CongestionControl::cubic;
    const uint64_t share = cubic ? uint64_t{std::max(w.in_flight, w.cwnd)} * 717 / 1'024 + 1 : w.in_flight / 2;
    const uint64_t most =
        std::max({share, uint64_t{2} * info.mss, w.phase == Phase::open ? 0 : uint64_t{w.ssthresh}});
    if (info.cwnd == info.mss && info.ssthresh <= most) return;
    complain(now, w,
             "after a timeout cwnd is " + std::to_string(info.cwnd) + ", ssthresh " + std::to_string(info.ssthresh) +
                 ", of " + std::to_string(w.in_flight) + " in flight and " + std::to_string(w.cwnd) + " before");
}

// New data has left: RFC 5681 section 3.1. A FIN or the probe of a closed window is one number, a tail loss probe one
// segment (RFC 8985 section 7.3). Without a scoreboard limited transmit adds two segments (RFC 3042), and so does the
// question whether a timeout was spurious (RFC 5682).
void Checks::check_in_network(Watch& w, const ConnInfo& info, Instant now) {
    uint64_t most = std::max(info.cwnd, 1u);
    if (counted(Tally::tail_loss_probes)) most = std::max(most, uint64_t{w.pipe}) + info.mss;
    if (!w.scoreboard || !info.scoreboard) {
        if (info.phase == Phase::open) most += uint64_t{std::min<uint32_t>(info.dup_acks, 2)} * info.mss;
        if (info.phase == Phase::loss) {
            const int64_t then = w.timed_out_until - w.position(info.snd_una);
            most = std::max(most, static_cast<uint64_t>(std::max<int64_t>(then, 0)) + 2u * info.mss);
        }
    }
    if (info.pipe <= most) return;
    complain(now, w, "more in flight than cwnd: " + std::to_string(info.pipe) + " of " + std::to_string(info.cwnd));
}

void Checks::check_recovery(Watch& w, const ConnInfo& info, Instant now) {
    if (in(info.state, State::syn_sent | State::syn_received)) return;
    const uint64_t parts = uint64_t{info.pipe} + info.sacked + info.lost;
    if (parts != info.in_flight) {
        complain(now, w,
                 "of " + std::to_string(info.in_flight) + " in flight " + std::to_string(info.pipe) +
                     " are in the network, " + std::to_string(info.sacked) + " have arrived, " +
                     std::to_string(info.lost) + " are lost");
    }
    // RFC 5681 section 3.1, RFC 6582 section 3.2, RFC 3168 section 6.1.2: one answer for all that was in flight. A
    // timeout of another segment is another event.
    const int64_t una = w.position(info.snd_una);
    const bool undone = counted(Tally::recoveries_undone) || counted(Tally::timeouts_undone);
    if (info.reductions > w.reductions) {
        const bool timed_out = counted(Tally::retransmission_timeouts);
        if (una < w.reduced_until && !undone && !timed_out && w.reductions != 0) {
            complain(now, w,
                     "a second reduction at " + std::to_string(una) + ", the first one was for all up to " +
                         std::to_string(w.reduced_until));
        }
        // A tail loss probe that has repaired a loss ends its recovery at once (RFC 8985 section 7.4.2).
        w.reduced_until = info.phase == Phase::open ? 0 : w.said_before;
    } else if (info.reductions < w.reductions) {
        w.reduced_until = 0;
    }
    if (scenario_.hostile) return;
    // RFC 2018 section 5: what the peer has reported is not sent again; nobody here drops what it has reported.
    if (!w.needless_now.empty() && w.scoreboard && info.scoreboard) {
        complain(now, w, "says again what the peer has reported: " + w.needless_now);
    }
    if (counted(Tally::sacks_reneged)) complain(now, w, "believes that the peer has dropped what it had reported");
}

}  // namespace pollux::simulation
