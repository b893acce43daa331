// What a request costs before TCP has its turn: finding the head, and choosing the answer. Cycles are counted by TSC.
#include <benchmark/benchmark.h>
#include <x86intrin.h>

#include <string>
#include <string_view>
#include <vector>

#include "apps/http/connection.hpp"

namespace {

using namespace pollux::http;

constexpr std::string_view wrk_request = "GET / HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n";
constexpr std::string_view browser_request =
    "GET /assets/css/site.min.css?v=20240611 HTTP/1.1\r\n"
    "Host: www.example.org\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    "Accept-Language: en-US,en;q=0.5\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Referer: https://www.example.org/articles/2024/index.html\r\n"
    "Cookie: session=2f1a9c84be7740d1a3c5; theme=dark; consent=yes\r\n"
    "Connection: keep-alive\r\n"
    "Sec-Fetch-Dest: document\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Priority: u=0, i\r\n"
    "Cache-Control: no-cache\r\n"
    "\r\n";

/// Cycles of one iteration, as a counter beside the times.
class CycleCount {
public:
    explicit CycleCount(benchmark::State& state) : state_(state), start_(__rdtsc()) {}
    ~CycleCount() {
        const auto cycles = static_cast<double>(__rdtsc() - start_);
        state_.counters["cycles"] = cycles / static_cast<double>(state_.iterations());
    }

private:
    benchmark::State& state_;
    uint64_t start_;
};

void BM_HttpParse(benchmark::State& state, std::string_view request) {
    const std::string bytes{request};  // in memory of its own, as in a packet
    const Limits limits;
    const CycleCount cycles{state};
    for (auto _ : state) {
        Progress progress;
        Request parsed;
        benchmark::DoNotOptimize(parse(bytes, progress, limits, parsed));
        benchmark::DoNotOptimize(parsed);
    }
}
BENCHMARK_CAPTURE(BM_HttpParse, wrk, wrk_request);
BENCHMARK_CAPTURE(BM_HttpParse, browser_600_bytes, browser_request);

void BM_ResponseBuild(benchmark::State& state, bool limited) {
    const std::vector<Route> routes{{"/", "Hello world\n", "text/plain", {}}};
    ContentSettings settings;
    if (limited) settings.max_requests = 100;
    Content content{settings, routes};
    content.set_time(1);
    const CycleCount cycles{state};
    for (auto _ : state) {
        const PageId page = content.find("/");
        const Answer answer = content.answer(page, Persistence::keep, false, 50, [](PinId) { return false; });
        benchmark::DoNotOptimize(answer);
    }
}
BENCHMARK_CAPTURE(BM_ResponseBuild, unlimited, false);
BENCHMARK_CAPTURE(BM_ResponseBuild, announced, true);

/// All of it: bytes in, answer out.
void BM_HttpConnection(benchmark::State& state) {
    struct Sink {
        Taken operator()(const Answer& answer) const {
            benchmark::DoNotOptimize(answer);
            return Taken::all;
        }
        bool in_use(PinId) const { return false; }
    };
    const std::vector<Route> routes{{"/", "Hello world\n", "text/plain", {}}};
    Content content{{}, routes};
    content.set_time(1);
    ServerLogic logic{content, {}};
    ConnectionState connection;
    std::string bytes;
    for (int64_t i = 0; i < state.range(0); ++i) bytes += wrk_request;
    const CycleCount cycles{state};
    for (auto _ : state) benchmark::DoNotOptimize(logic.on_data(connection, bytes, Sink{}));
    state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_HttpConnection)->Arg(1)->Arg(16);

}  // namespace
