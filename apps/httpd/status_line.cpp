#include "apps/httpd/status_line.hpp"

#include <cstdio>

namespace pollux::httpd {

std::string StatusLine::next(double seconds, bool draining, const tcp::PoolUse& pools, const tcp::Counters& tcp,
                             const http::HttpCounters& http) {
    const double elapsed = seconds > seconds_ ? seconds - seconds_ : 1;
    const auto rate = [&](uint64_t now, uint64_t before) { return static_cast<double>(now - before) / elapsed; };
    const auto of = [&](tcp::Tally tally) { return rate(tcp[tally], tcp_[tally]); };
    char line[320];
    std::snprintf(
        line, sizeof line,
        "%7.1f s  %8u open  %9.0f requests/s  %8.0f opened/s  %8.1f MB/s  2xx %llu  4xx %llu  5xx %llu  "
        "retransmitted %.0f/s%s",
        seconds, pools.connections, rate(http.requests, http_.requests), of(tcp::Tally::connections_opened),
        rate(http.answer_bytes, http_.answer_bytes) / 1e6, static_cast<unsigned long long>(http.answers_2xx),
        static_cast<unsigned long long>(http.answers_4xx), static_cast<unsigned long long>(http.answers_5xx),
        of(tcp::Tally::retransmitted_segments), draining ? "  draining" : "");
    seconds_ = seconds;
    tcp_ = tcp;
    http_ = http;
    return line;
}

}  // namespace pollux::httpd
