// Clock: the time stamp counter as an Instant, and the only now() there is. Instant{0} is when the clock was made;
// the wall clock of that moment is kept beside it for what has to agree between machines (cookie periods, Date).
//
// All cores read the same counter (invariant TSC, synchronised by the processor); a copy of the clock serves each.
#pragma once

#include <chrono>
#include <cstdint>

#include "engine/dpdk.hpp"
#include "tcp/time.hpp"

namespace pollux::engine {

class Clock {
public:
    /// Begins now. EAL has been started: it has measured the counter's rate.
    Clock() : Clock(rte_get_tsc_hz()) {}
    explicit Clock(uint64_t ticks_per_second)
        : origin_(rte_rdtsc()),
          // Microseconds per tick in units of 2^-44: off by less than a second in 100 years.
          scale_(static_cast<uint64_t>((static_cast<unsigned __int128>(1'000'000) << 44) / ticks_per_second)),
          wall_at_zero_us_(static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                                     std::chrono::system_clock::now().time_since_epoch())
                                                     .count())) {}

    tcp::Instant now() const {
        const uint64_t ticks = rte_rdtsc() - origin_;
        const auto us = static_cast<uint64_t>(static_cast<unsigned __int128>(ticks) * scale_ >> 44);
        return tcp::Instant{tcp::Duration{static_cast<int64_t>(us)}};
    }
    /// Microseconds since the Unix epoch at Instant{0}.
    uint64_t wall_at_zero_us() const { return wall_at_zero_us_; }

private:
    uint64_t origin_;
    uint64_t scale_;
    uint64_t wall_at_zero_us_;
};

}  // namespace pollux::engine
