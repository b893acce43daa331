#include "apps/httpd/status_line.hpp"

#include <cstdio>
#include <string_view>

namespace pollux::httpd {

std::string StatusLine::next(double seconds, bool draining, const tcp::PoolUse& pools, const tcp::Counters& tcp,
                             const http::HttpCounters& http) {
    const double elapsed = seconds > seconds_ ? seconds - seconds_ : 1;
    const auto rate = [&](uint64_t now, uint64_t before) { return static_cast<double>(now - before) / elapsed; };
    const auto of = [&](tcp::Tally tally) { return rate(tcp[tally], tcp_[tally]); };
    char rates[320];
    std::snprintf(
        rates, sizeof rates,
        "%7.1f s  %8u open  %9.0f requests/s  %8.0f opened/s  %8.1f MB/s  2xx %llu  4xx %llu  5xx %llu  "
        "retransmitted %.0f/s%s",
        seconds, pools.connections, rate(http.requests, http_.requests), of(tcp::Tally::connections_opened),
        rate(http.answer_bytes, http_.answer_bytes) / 1e6, static_cast<unsigned long long>(http.answers_2xx),
        static_cast<unsigned long long>(http.answers_4xx), static_cast<unsigned long long>(http.answers_5xx),
        of(tcp::Tally::retransmitted_segments), draining ? "  draining" : "");
    std::string line = rates;
    std::string_view separator = "  | ";
    for (const tcp::VerdictInfo& info : tcp::verdicts) {
        const uint64_t rose = tcp[info.verdict] - tcp_[info.verdict];
        if (rose == 0 || info.tone == tcp::Tone::normal) continue;
        line.append(separator).append(info.name).append(" +").append(std::to_string(rose));
        separator = ", ";
    }
    seconds_ = seconds;
    tcp_ = tcp;
    http_ = http;
    return line;
}

std::string StatusLine::summary(const tcp::Counters& counters) {
    std::string text;
    const auto add = [&](uint64_t count, std::string_view name, std::string_view sentence) {
        if (count == 0) return;
        char line[200];
        std::snprintf(line, sizeof line, "%14llu  %-29.*s  %.*s\n", static_cast<unsigned long long>(count),
                      static_cast<int>(name.size()), name.data(), static_cast<int>(sentence.size()), sentence.data());
        text += line;
    };
    for (const tcp::VerdictInfo& info : tcp::verdicts) add(counters[info.verdict], info.name, info.sentence);
    for (const tcp::TallyInfo& info : tcp::tallies) add(counters[info.tally], info.name, info.sentence);
    return text;
}

std::string StatusLine::summary(const tcp::PoolUse& pools, uint64_t packets) {
    std::string line = "in use:";
    const auto add = [&](const char* name, uint64_t count) {
        line.append(line.ends_with(':') ? " " : ", ").append(name).append(" ").append(std::to_string(count));
    };
    add("connections", pools.connections);
    add("half-open records", pools.half_open);
    add("TIME-WAIT records", pools.time_wait);
    add("send entries", pools.send_entries);
    add("chunks", pools.chunks);
    add("receive stores", pools.receive_stores);
    add("table entries", pools.table_entries);
    add("timers", pools.timers);
    add("pins", pools.pins);
    add("packets", packets);
    return line + "\n";
}

}  // namespace pollux::httpd
