// One line a second for people: rates since the line before, what is open now, and behind a bar the verdicts that
// rose and that say something: all but the expected ones. At the end, every counter that is not 0, with its sentence.
#pragma once

#include <string>

#include "apps/http/connection.hpp"
#include "tcp/counters.hpp"
#include "tcp/stack.hpp"

namespace pollux::httpd {

class StatusLine {
public:
    /// All sums are since the start.
    std::string next(double seconds, bool draining, const tcp::PoolUse& pools, const tcp::Counters& tcp,
                     const http::HttpCounters& http);

    /// A line for each counter that is not 0.
    static std::string summary(const tcp::Counters& counters);
    /// What is taken from each pool, the packet pools included. When everybody has gone, that is what it was at
    /// start.
    static std::string summary(const tcp::PoolUse& pools, uint64_t packets);

private:
    double seconds_ = 0;
    tcp::Counters tcp_{};
    http::HttpCounters http_{};
};

}  // namespace pollux::httpd
