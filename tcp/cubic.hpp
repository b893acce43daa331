// CUBIC congestion avoidance (RFC 9438) in integers. It knows windows, acknowledged bytes and time, no connection:
// the caller owns cwnd and ssthresh, does slow start and recovery itself, and keeps a copy of this struct to undo a
// reduction that proves spurious (section 4.9).
//
//          cwnd                              W_cubic(t) = W_max + C (t - K)^3,  C = 0.4 segments/s^3
//   W_max ..........._______..............
//              _--                           t = 0 at the first ACK after recovery, K where the curve meets W_max.
//            /                               The time during which cwnd was not the limit is no part of t.
//       |___/
//         t = 0         K             t
//
// The window grows in whole segments, as senders use it. ACKs earn credit in bytes, so that it does not matter how
// many ACKs say the same; there is no division before a segment has been earned.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <type_traits>

#include "tcp/time.hpp"

namespace pollux::tcp {

/// The largest number whose cube is not above `x`. One bit a step: it runs once per congestion event.
constexpr uint32_t cube_root(uint64_t x) {
    constexpr uint64_t largest = 2'642'245;  // its cube is the last one below 2^64
    uint64_t root = 0;
    for (uint64_t bit = uint64_t{1} << 21; bit != 0; bit >>= 1) {
        const uint64_t next = root | bit;
        if (next <= largest && next * next * next <= x) root = next;
    }
    return static_cast<uint32_t>(root);
}

/// All zero: nothing known yet, no epoch. Windows are in bytes, at most max_cwnd.
struct Cubic {
    static constexpr uint32_t max_cwnd = 1u << 30;
    static constexpr uint32_t beta_on_loss = 700;  // in thousandths: 0.7, section 4.6
    static constexpr uint32_t beta_on_ecn = 850;   // 0.85, RFC 8511

    Instant epoch{};           // t_epoch, moved later by all the time that does not count
    uint64_t credit = 0;       // sum of acked * (target - cwnd); a byte of growth costs cwnd of it
    uint32_t w_max = 0;        // 0: undefined
    uint32_t cwnd_prior = 0;   // 0: no congestion yet
    uint32_t w_est = 0;        // what Reno would have; 0: no epoch runs
    uint32_t w_est_acked = 0;  // bytes acknowledged towards its next segment
    uint32_t k_us = 0;
    uint32_t paused_at = 0;  // 1 + t in microseconds while t stands still, else 0

    /// A congestion event at this cwnd, sections 4.6 and 4.7. Returns the new ssthresh. After a loss that is the new
    /// cwnd too; after ECN-Echo cwnd may go below it, down to one segment.
    uint32_t on_congestion(uint32_t cwnd, uint32_t mss, uint32_t beta_1000 = beta_on_loss) {
        assert(beta_1000 <= 1000);
        cwnd = std::min(cwnd, max_cwnd);
        const bool others_need_room = cwnd < w_max;  // fast convergence
        w_max = others_need_room ? scaled(cwnd, (1000 + beta_1000) / 2) : cwnd;
        cwnd_prior = cwnd;
        end_epoch();
        return std::max(scaled(cwnd, beta_1000), 2 * mss);
    }

    /// The retransmission timer fired, for the first time since the last progress. Returns the new ssthresh. The next
    /// congestion avoidance starts on the plateau of its curve, wherever slow start ends (section 4.8).
    uint32_t on_timeout(uint32_t cwnd, uint32_t mss) {
        const uint32_t ssthresh = on_congestion(cwnd, mss);
        w_max = 0;
        return ssthresh;
    }

    /// Congestion avoidance: `acked` bytes were delivered while cwnd was the limit. Returns the new cwnd.
    uint32_t on_ack(uint32_t cwnd, uint32_t mss, uint32_t acked, uint32_t srtt_us, Instant now) {
        cwnd = std::clamp(cwnd, mss, max_cwnd);
        acked = std::min(acked, cwnd);
        if (w_est == 0) begin_epoch(cwnd, mss, now);
        if (paused_at != 0) resume(now);
        grow_w_est(cwnd, mss, acked);

        const uint64_t segment = uint64_t{cwnd} * mss;  // the price of one
        credit = std::min(credit, segment - 1);         // whatever made cwnd smaller has not made us richer
        const int64_t from_k = elapsed(now) - k_us;
        uint64_t wanted = max_cwnd;
        if (w_max + above_w_max(from_k, mss) < w_est) {
            // Section 4.3, Reno-friendly region: cwnd follows W_est, by the same one segment for two acknowledged.
            credit += uint64_t{acked} * (cwnd / 2);
            wanted = w_est > cwnd ? w_est - cwnd : 0;
        } else {
            // Sections 4.4 and 4.5: (target - cwnd) / cwnd for each segment, target a round trip ahead.
            const int64_t ahead = w_max + above_w_max(from_k + srtt_us, mss) - cwnd;
            credit += acked * static_cast<uint64_t>(std::clamp<int64_t>(ahead, 0, cwnd / 2));
        }
        if (credit < segment || wanted == 0) return cwnd;
        const uint64_t growth = std::min(credit / segment * mss, wanted);
        credit -= growth * cwnd;
        return static_cast<uint32_t>(std::min<uint64_t>(cwnd + growth, max_cwnd));
    }

    /// Nothing was in flight and nothing sent for this long: the curve moves along (sections 4.2 and 5.8).
    void on_idle(Duration idle) {
        if (w_est != 0 && idle > Duration::zero()) epoch = moved(epoch, idle.count());
    }

    /// An ACK came while something else than cwnd was the limit: t stands still from now until the next on_ack().
    void pause(Instant now) {
        if (w_est != 0 && paused_at == 0) paused_at = static_cast<uint32_t>(elapsed(now)) + 1;
    }

    /// cwnd or the MSS was changed by somebody else: the next on_ack() begins a new curve there, towards the same
    /// W_max.
    void end_epoch() { w_est = 0; }

private:
    // A fixed-point second of 2^20 microseconds makes shifts of all divisions: C is 0.4 * 1.048576^3 segments in it.
    static constexpr uint64_t c_65536 = 30'223;                    // C * 2^16
    static constexpr uint64_t reciprocal_c_65536 = 142'108;        // 2^16 / C
    static constexpr int64_t longest_us = (int64_t{1} << 30) - 1;  // C t^3 is beyond max_cwnd even with an MSS of 8

    static constexpr uint32_t scaled(uint32_t cwnd, uint32_t by_1000) {
        return static_cast<uint32_t>(uint64_t{cwnd} * by_1000 / 1000);
    }
    /// Wraps where signed addition would overflow.
    static constexpr Instant moved(Instant from, int64_t us) {
        const uint64_t sum = static_cast<uint64_t>(from.time_since_epoch().count()) + static_cast<uint64_t>(us);
        return Instant{Duration{static_cast<int64_t>(sum)}};
    }
    /// t in microseconds, bounded.
    int64_t elapsed(Instant now) const {
        const uint64_t since = static_cast<uint64_t>(now.time_since_epoch().count()) -
                               static_cast<uint64_t>(epoch.time_since_epoch().count());
        return std::clamp<int64_t>(static_cast<int64_t>(since), 0, 2 * longest_us);
    }
    void resume(Instant now) {
        epoch = moved(now, -int64_t{paused_at - 1});
        paused_at = 0;
    }

    /// C (t - K)^3 in bytes.
    static constexpr int64_t above_w_max(int64_t from_k_us, uint32_t mss) {
        const int64_t bounded = std::clamp(from_k_us, -longest_us, longest_us);
        const auto distance = static_cast<uint64_t>(bounded < 0 ? -bounded : bounded);
        const uint64_t square = distance * distance >> 24;     // below 2^36, 16 bits of it behind the point
        const uint64_t cube = square * (distance >> 4) >> 16;  // below 2^46
        const uint64_t bytes = (cube * mss >> 16) * c_65536 >> 16;
        return bounded < 0 ? -static_cast<int64_t>(bytes) : static_cast<int64_t>(bytes);
    }

    /// The first ACK of a congestion avoidance stage.
    void begin_epoch(uint32_t cwnd, uint32_t mss, Instant now) {
        epoch = now;
        credit = 0;
        w_est = cwnd;
        w_est_acked = 0;
        k_us = 0;
        paused_at = 0;
        if (cwnd_prior == 0) cwnd_prior = cwnd;  // section 4.10: slow start ended without congestion
        if (w_max <= cwnd) {
            w_max = cwnd;  // sections 4.8 and 4.10: K is 0
        } else {
            const uint64_t segments = (uint64_t{w_max - cwnd} << 33) / mss;  // 33 bits behind the point
            k_us = cube_root((segments >> 16) * reciprocal_c_65536) << 9;    // 11 bits; to microseconds: 20
        }
    }

    /// Figure 4 in whole segments: alpha is 3 (1 - 0.7) / (1 + 0.7) = 9/17 up to cwnd_prior, and 1 from there. It
    /// stays so after ECN: RFC 8511 changes the decrease only.
    void grow_w_est(uint32_t cwnd, uint32_t mss, uint32_t acked) {
        const auto segment = w_est < cwnd_prior ? static_cast<uint32_t>(uint64_t{cwnd} * 17 / 9) : cwnd;
        w_est_acked = std::min(w_est_acked, segment - 1) + acked;
        if (w_est_acked < segment) return;
        w_est_acked -= segment;
        w_est = std::min(w_est + mss, max_cwnd);
    }
};
static_assert(sizeof(Cubic) <= 40 && std::is_trivially_copyable_v<Cubic>);

}  // namespace pollux::tcp
