#include "tcp/congestion.hpp"

#include <algorithm>

#include "tcp/conn.hpp"
#include "tcp/recovery.hpp"

namespace pollux::tcp::congestion {
namespace {

constexpr uint32_t most = 1u << 30;
constexpr uint32_t no_loss_yet = ~0u;  // of ssthresh

// In thousandths: what NewReno leaves of the window (RFC 5681 section 3.1, RFC 8511 section 3).
constexpr uint32_t new_reno_beta_on_loss = 500, new_reno_beta_on_ecn = 800;

uint32_t at_least_two(const Conn& c, uint64_t window) {
    return static_cast<uint32_t>(std::clamp<uint64_t>(window, 2u * c.mss, most));
}

// The controller's answer: the new ssthresh. NewReno halves what was in flight, without what limited transmit has
// added beyond cwnd (RFC 5681 section 3.2 (2)). CUBIC takes its share of cwnd, which grows only while it is the limit
// and so cannot run away from what is in flight (RFC 9438 section 4.6).
uint32_t answer(Conn& c, Recovery* r, Cause cause, uint32_t flight) {
    const bool loss = cause == Cause::loss;
    switch (static_cast<CongestionControl>(c.congestion)) {
        case CongestionControl::new_reno:
            if (loss) return at_least_two(c, uint64_t{std::min(flight, c.cwnd)} * new_reno_beta_on_loss / 1000);
            return at_least_two(c, uint64_t{c.cwnd} * new_reno_beta_on_ecn / 1000);
        case CongestionControl::cubic: {
            const uint32_t beta = loss ? Cubic::beta_on_loss : Cubic::beta_on_ecn;
            if (r != nullptr) return r->cubic.on_congestion(c.cwnd, c.mss, beta);
            return at_least_two(c, uint64_t{c.cwnd} * beta / 1000);
        }
    }
    return c.ssthresh;
}

void remember(const Conn& c, Recovery& r, Cause cause) {
    r.undo = {};
    r.undo.possible = cause == Cause::loss;
    r.undo.cwnd = c.cwnd;
    r.undo.ssthresh = c.ssthresh;
    r.undo.cubic = r.cubic;
    ++r.reductions;
}

// RFC 7661: in slow start half of cwnd in use is enough, since the next flight is twice as large.
bool is_limit(const Conn& c, const Recovery* r) {
    if (r == nullptr) return c.has(ConnFlags::cwnd_limited);
    return r->usage.limited || (c.cwnd < c.ssthresh && c.cwnd < 2 * r->usage.most);
}

bool is_cubic(const Conn& c) { return static_cast<CongestionControl>(c.congestion) == CongestionControl::cubic; }

void slow_start(Conn& c, Recovery* r, const AckSample& sample, bool hystart) {
    const bool limited = is_limit(c, r);
    uint32_t growth = sample.delivered;
    if (hystart && r != nullptr && c.ssthresh == no_loss_yet) {
        const HyStart::Growth may = r->hystart.on_ack(c.snd.una, c.snd.nxt, growth, c.mss, sample.rtt_us);
        growth = may.bytes;
        if (may.ends) c.ssthresh = std::min(c.cwnd + (limited ? growth : 0), most);
    }
    if (limited) c.cwnd = std::min({c.cwnd + growth, c.ssthresh, most});
}

void avoid_congestion(Conn& c, Recovery* r, const AckSample& sample) {
    if (!is_limit(c, r)) {
        if (is_cubic(c) && r != nullptr) r->cubic.pause(sample.now);
        return;
    }
    if (is_cubic(c) && r != nullptr) {
        c.cwnd = std::min(r->cubic.on_ack(c.cwnd, c.mss, sample.delivered, c.srtt_us, sample.now), most);
        return;
    }
    const uint64_t growth = uint64_t{sample.delivered} * c.mss / c.cwnd;  // one segment a round trip
    c.cwnd = static_cast<uint32_t>(std::min<uint64_t>(c.cwnd + std::max<uint64_t>(growth, 1), most));
}

}  // namespace

void on_ack(Conn& c, Recovery* r, const AckSample& sample, bool hystart) {
    if (c.cwnd < c.ssthresh)
        slow_start(c, r, sample, hystart);
    else
        avoid_congestion(c, r, sample);
}

// ---- Proportional rate reduction. -------------------------------------------------------------------------------

void begin_reduction(Conn& c, Recovery& r, Cause cause, const AckSample& sample) {
    remember(c, r, cause);
    c.ssthresh = answer(c, &r, cause, sample.flight_before);
    r.hystart.stop();
    r.prr = {.delivered = 0, .out = 0, .flight = std::max(sample.pipe_before, 1u)};
}

void on_reduction_ack(Conn& c, Recovery& r, const AckSample& sample) {
    RateReduction& prr = r.prr;
    prr.delivered += sample.delivered;
    const uint32_t pipe = r.board.pipe();
    uint64_t may_send = 0;
    if (pipe > c.ssthresh) {
        // In proportion: as much shorter as ssthresh is than what was in flight.
        const uint64_t share = (uint64_t{prr.delivered} * c.ssthresh + prr.flight - 1) / prr.flight;
        may_send = share > prr.out ? share - prr.out : 0;
    } else {
        // Below ssthresh: what has left the network is replaced, and one segment more while nothing else gets lost.
        uint64_t limit = std::max(prr.delivered > prr.out ? prr.delivered - prr.out : 0, sample.delivered);
        if (sample.advances && sample.lost == 0) limit += c.mss;
        may_send = std::min<uint64_t>(c.ssthresh - pipe, limit);
    }
    if (prr.out == 0) may_send = std::max<uint64_t>(may_send, c.mss);  // the fast retransmission itself
    c.cwnd = static_cast<uint32_t>(std::clamp<uint64_t>(pipe + may_send, c.mss, most));
}

void end_reduction(Conn& c) { c.cwnd = c.ssthresh; }

void reduce_at_once(Conn& c, Recovery* r, Cause cause, uint32_t flight) {
    if (r != nullptr) {
        remember(c, *r, cause);
        r->undo.possible = false;
        r->hystart.stop();
    }
    c.ssthresh = answer(c, r, cause, flight);
    c.cwnd = std::min(c.cwnd, c.ssthresh);
}

// ---- Timeout, undo, idle. ---------------------------------------------------------------------------------------

void on_timeout(Conn& c, Recovery* r, bool first_time) {
    if (first_time) {
        if (r != nullptr) {
            remember(c, *r, Cause::loss);
            r->undo.timeout = true;
            r->hystart.stop();
        }
        c.ssthresh = r != nullptr && is_cubic(c) ? r->cubic.on_timeout(std::min(c.cwnd, c.in_flight()), c.mss)
                                                 : answer(c, r, Cause::loss, c.in_flight());
    }
    c.cwnd = c.mss;
}

void undo(Conn& c, Recovery& r) {
    c.cwnd = std::max(c.cwnd, r.undo.cwnd);
    c.ssthresh = r.undo.ssthresh;
    r.cubic = r.undo.cubic;
    r.undo.possible = false;
    --r.reductions;
}

void restart_after_idle(Conn& c, uint32_t restart_window) {
    // What was reached before is reached again by slow start, not by probing.
    c.ssthresh = std::max(c.ssthresh, c.cwnd / 4 * 3);
    c.cwnd = restart_window;
}

// ---- Without a scoreboard. --------------------------------------------------------------------------------------

// RFC 6582 section 3.2 (2); not a second time for a window whose mark has been answered.
void on_third_duplicate(Conn& c, Recovery* r, bool reduces) {
    if (reduces) {
        if (r != nullptr) remember(c, *r, Cause::loss);
        c.ssthresh = answer(c, r, Cause::loss, c.in_flight());
    }
    c.cwnd = c.ssthresh + 3u * c.mss;
}

// A further duplicate ACK: a segment has left the network (RFC 5681 section 3.2 (4)).
// No more can leave than was outstanding, whatever the peer claims (Savage 1999).
void on_segment_left(Conn& c) {
    if (c.cwnd < c.ssthresh + 3u * c.mss + c.recover.since(c.snd.una)) c.cwnd += c.mss;
}

// RFC 6582 section 3.2 (3), partial acknowledgment.
void on_partial_ack(Conn& c, uint32_t acked) {
    c.cwnd = c.cwnd > acked ? c.cwnd - acked : 0;
    if (acked >= c.mss) c.cwnd += c.mss;
    c.cwnd = std::max<uint32_t>(c.cwnd, c.mss);
}

// RFC 6582 section 3.2 (3), full acknowledgment (1).
void on_recovered(Conn& c) {
    c.cwnd = std::max<uint32_t>(std::min(c.ssthresh, std::max<uint32_t>(c.in_flight(), c.mss) + c.mss), c.mss);
}

}  // namespace pollux::tcp::congestion
