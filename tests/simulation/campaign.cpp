#include "tests/simulation/campaign.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

namespace pollux::simulation {

CampaignResult run_campaign(uint64_t first, uint64_t count, unsigned threads, const Play& play, size_t most_failures,
                            const std::function<void(uint64_t)>& progress) {
    CampaignResult result;
    std::mutex mutex;
    std::atomic<uint64_t> next{0};
    const auto works = [&] {
        for (uint64_t i = next++; i < count; i = next++) {
            const Scenario scenario = make_scenario(first + i);
            const Outcome outcome = play(scenario, nullptr);
            const std::lock_guard lock(mutex);
            ++result.runs;
            result.packets += outcome.packets;
            result.faults += scenario.faults.size();
            if (!outcome.ok()) result.failures.push_back({scenario.seed, outcome.complaint});
            if (result.failures.size() >= most_failures) next = count;
            if (progress && result.runs % 1'000 == 0) progress(result.runs);
        }
    };
    if (threads <= 1) {
        works();
    } else {
        std::vector<std::jthread> workers;
        for (unsigned i = 0; i < threads; ++i) workers.emplace_back(works);
    }
    std::ranges::sort(result.failures, {}, &Failure::seed);
    return result;
}

}  // namespace pollux::simulation
