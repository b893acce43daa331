// The round-trip estimator of RFC 6298 section 2 in integer microseconds.
#pragma once

#include <algorithm>
#include <cstdint>

#include "tcp/time.hpp"

namespace pollux::tcp {

/// Takes one sample. `srtt_us` of 0 means that there is none yet. With several samples per round trip the weights
/// shrink by 2^`extra_shift`, so that the memory still spans about eight round trips (RFC 7323 appendix G).
constexpr void rtt_sample(uint32_t& srtt_us, uint32_t& rttvar_us, Duration sample, uint32_t extra_shift) {
    const auto r = static_cast<uint32_t>(std::clamp<int64_t>(sample.count(), 1, 600'000'000));
    if (srtt_us == 0) {
        srtt_us = r;        // (2.2) SRTT <- R
        rttvar_us = r / 2;  //       RTTVAR <- R/2
        return;
    }
    const uint32_t alpha_shift = 3 + extra_shift, beta_shift = 2 + extra_shift;
    const uint32_t delta = r > srtt_us ? r - srtt_us : srtt_us - r;
    rttvar_us = rttvar_us - (rttvar_us >> beta_shift) + (delta >> beta_shift);  // (2.3) 3/4 RTTVAR + 1/4 |SRTT - R'|
    srtt_us = std::max(srtt_us - (srtt_us >> alpha_shift) + (r >> alpha_shift), 1u);  // 7/8 SRTT + 1/8 R'
}

}  // namespace pollux::tcp
