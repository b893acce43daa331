// What a request costs before TCP has its turn: finding the head, and choosing the answer. Cycles are counted by TSC.
#include <string>
#include <string_view>
#include <vector>

#include "apps/http/connection.hpp"
#include "bench/cycles.hpp"
#include "tests/support/http_requests.hpp"

namespace {

using namespace pollux;
using namespace pollux::http;

using bench::MeanCycles;
using tests::browser_request;
using tests::wrk_request;

void BM_HttpParse(benchmark::State& state, std::string_view request) {
    const std::string bytes{request};  // in memory of its own, as in a packet
    const Limits limits;
    const MeanCycles cycles{state};
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
    const MeanCycles cycles{state};
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
    const MeanCycles cycles{state};
    for (auto _ : state) benchmark::DoNotOptimize(logic.on_data(connection, bytes, Sink{}));
    state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_HttpConnection)->Arg(1)->Arg(16);

}  // namespace

BENCHMARK_MAIN();
