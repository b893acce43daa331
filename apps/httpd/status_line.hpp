// One line a second for people: rates since the line before, and what is open now.
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

private:
    double seconds_ = 0;
    tcp::Counters tcp_{};
    http::HttpCounters http_{};
};

}  // namespace pollux::httpd
