// Campaign: many seeds, by several threads; each run is alone with its own stacks, so threads share nothing but the
// counter that hands out seeds.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "tests/simulation/run.hpp"

namespace pollux::simulation {

struct Failure {
    uint64_t seed = 0;
    std::string complaint;
};

struct CampaignResult {
    uint64_t runs = 0, packets = 0, faults = 0;
    std::vector<Failure> failures;  // by seed; at most `most_failures`
};

/// Plays seeds [first, first + count). Ends early after `most_failures`. `progress` is called now and then, if given.
CampaignResult run_campaign(uint64_t first, uint64_t count, unsigned threads, const Play& play = run_once,
                            size_t most_failures = 10, const std::function<void(uint64_t done)>& progress = {});

}  // namespace pollux::simulation
