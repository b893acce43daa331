// Judge: holds the first complaint of a run. Checks report here, as values, so that the test program, the soak and
// the minimiser share them.
#pragma once

#include <string>

#include "tcp/time.hpp"

namespace pollux::simulation {

class Judge {
public:
    /// Something that must never be. The first complaint stands: what follows may be its consequence.
    void complains(tcp::Instant at, std::string what) {
        if (has_complaint()) return;
        at_ = at;
        complaint_ = std::move(what);
    }
    bool has_complaint() const { return !complaint_.empty(); }
    const std::string& complaint() const { return complaint_; }
    tcp::Instant at() const { return at_; }

private:
    std::string complaint_;
    tcp::Instant at_{};
};

}  // namespace pollux::simulation
