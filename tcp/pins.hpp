// Pins: who still refers to memory that the application lends for sending.
//
// The application reserves a pin per block of memory (an answer's head, a file's generation). Each queued piece
// counts one reference until its last byte is acknowledged; a block whose count is 0 may be overwritten or freed. The
// counts belong to one core: no atomics.
#pragma once

#include <cassert>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "tcp/tx_batch.hpp"

namespace pollux::tcp {

using PinId = uint32_t;

/// Memory to send without a copy. Pin 0 stands for memory that lives as long as the process.
struct Pinned {
    Piece bytes;
    PinId pin = 0;
};

class Pins {
public:
    explicit Pins(uint32_t capacity) : counts_(capacity == 0 ? 1 : capacity) {}

    /// A pin of the caller's own; pins are never given back. For start-up: throws when all are reserved.
    PinId reserve() {
        if (next_ == counts_.size()) {
            throw std::runtime_error("all " + std::to_string(counts_.size()) + " pins are reserved; raise tcp.pins");
        }
        return next_++;
    }
    bool in_use(PinId pin) const { return counts_[pin] != 0; }
    uint64_t total() const { return total_; }

    void add(PinId pin) {
        ++counts_[pin];
        ++total_;
    }
    void drop(PinId pin) {
        assert(counts_[pin] > 0);
        --counts_[pin];
        --total_;
    }

private:
    std::vector<uint32_t> counts_;
    uint64_t total_ = 0;
    PinId next_ = 1;
};

}  // namespace pollux::tcp
