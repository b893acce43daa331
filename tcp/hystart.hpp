// HyStart++ (RFC 9406): slow start that ends when the round trip becomes longer, before the queue overflows.
//
// A round lasts until what was sent at its start is acknowledged. When a round's least RTT is a threshold above that
// of the round before, conservative slow start (CSS) begins: a quarter of the growth, for five rounds, the one in
// which it began among them. Should the RTT fall below where CSS began, the rise was noise, and slow start goes on.
//
// Only the first slow start of a connection needs it (section 4.3): later ones know ssthresh. The caller owns cwnd
// and ssthresh.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "tcp/seq_num.hpp"

namespace pollux::tcp {

/// All zero: slow start has not begun.
struct HyStart {
    enum class Phase : uint8_t { ready, slow_start, conservative, over };
    struct Growth {
        uint32_t bytes;  // by how much cwnd may grow
        bool ends;       // now: ssthresh = cwnd
    };

    // RFC 9406 section 4.3.
    static constexpr uint32_t min_rtt_thresh_us = 4'000, max_rtt_thresh_us = 16'000, min_rtt_divisor = 8;
    static constexpr uint32_t n_rtt_sample = 8, css_growth_divisor = 4, css_rounds_at_most = 5;
    static constexpr uint32_t burst_limit = 8;  // L, for a sender that does not pace

    SeqNum window_end;               // the round ends when this is acknowledged
    uint32_t last_round_min_us = 0;  // RTTs: 0 is infinity
    uint32_t current_round_min_us = 0;
    uint32_t css_baseline_us = 0;
    Phase phase = Phase::ready;
    uint8_t samples = 0;     // RTTs of this round, counted up to n_rtt_sample
    uint8_t css_rounds = 0;  // rounds that ended in CSS
    uint8_t remainder = 0;   // of the CSS divisor, so that small ACKs add up

    /// An ACK in slow start: SND.UNA and SND.NXT after it, the bytes it delivered, its RTT or 0. Call it for ACKs
    /// that do not let cwnd grow as well: they bring RTTs and end rounds.
    Growth on_ack(SeqNum una, SeqNum nxt, uint32_t acked, uint32_t mss, uint32_t rtt_us) {
        const uint32_t bytes = std::min(acked, burst_limit * mss);
        if (phase == Phase::over) return {bytes, false};
        if (phase == Phase::ready) begin(nxt);
        const Growth growth{phase == Phase::conservative ? divided(bytes) : bytes, false};
        if (rtt_us != 0) {
            current_round_min_us = current_round_min_us == 0 ? rtt_us : std::min(current_round_min_us, rtt_us);
            samples = static_cast<uint8_t>(std::min<uint32_t>(samples + 1u, n_rtt_sample));
        }
        if (samples >= n_rtt_sample) judge();
        // Not `una at or after window_end`: however long nobody asked, the mark is in flight or has been
        // acknowledged.
        const bool in_flight = window_end.in_window(una + 1, nxt.since(una));
        return in_flight ? growth : Growth{growth.bytes, end_round(nxt)};
    }

    /// Congestion, or slow start is over for another reason: from now on growth is that of plain slow start.
    void stop() { phase = Phase::over; }

private:
    void begin(SeqNum nxt) {
        phase = Phase::slow_start;
        window_end = nxt;
    }
    uint32_t divided(uint32_t bytes) {
        const uint32_t sum = bytes + remainder;
        remainder = static_cast<uint8_t>(sum % css_growth_divisor);
        return sum / css_growth_divisor;
    }
    /// This round has samples enough.
    void judge() {
        if (phase == Phase::conservative) {
            if (current_round_min_us < css_baseline_us) phase = Phase::slow_start;
        } else if (last_round_min_us != 0) {
            const uint64_t threshold =
                std::clamp(last_round_min_us / min_rtt_divisor, min_rtt_thresh_us, max_rtt_thresh_us);
            if (current_round_min_us < last_round_min_us + threshold) return;
            phase = Phase::conservative;
            css_baseline_us = current_round_min_us;
            css_rounds = 0;
            remainder = 0;
        }
    }
    /// Returns whether slow start ends with the round.
    bool end_round(SeqNum nxt) {
        window_end = nxt;
        last_round_min_us = current_round_min_us;
        current_round_min_us = 0;
        samples = 0;
        if (phase != Phase::conservative || ++css_rounds < css_rounds_at_most) return false;
        phase = Phase::over;
        return true;
    }
};
static_assert(sizeof(HyStart) <= 40 && std::is_trivially_copyable_v<HyStart>);

}  // namespace pollux::tcp
