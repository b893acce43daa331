// RateLimit: so many replies a second, with a burst whose size is random from second to second, so that counting our
// replies tells nobody how much of the budget others have used.
#pragma once

#include <algorithm>
#include <cstdint>

#include "tcp/time.hpp"

namespace pollux::tcp {

/// xorshift64*: enough for jitter, not for secrets.
class Jitter {
public:
    explicit Jitter(uint64_t seed) : state_(seed | 1) {}
    uint64_t next() {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return state_ * 0x2545'f491'4f6c'dd1d;
    }
    /// Uniform enough in [0, bound).
    uint32_t below(uint32_t bound) { return static_cast<uint32_t>((next() >> 32) * bound >> 32); }

private:
    uint64_t state_;
};

class RateLimit {
public:
    RateLimit(uint32_t per_second, uint64_t seed) : per_second_(per_second), jitter_(seed) {}

    /// Whether one more may leave now.
    bool allow(Instant now) {
        if (now >= refill_at_) {
            refill_at_ = now + 1s;
            // Between three quarters and all of the budget, drawn anew each second.
            left_ = per_second_ - jitter_.below(per_second_ / 4 + 1);
        }
        if (left_ == 0) return false;
        --left_;
        return true;
    }

private:
    uint32_t per_second_;
    uint32_t left_ = 0;
    Instant refill_at_{};
    Jitter jitter_;
};

}  // namespace pollux::tcp
