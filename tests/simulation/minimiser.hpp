// Minimiser: drops the faults of a failing seed one by one, keeps each away whose absence leaves the run failing, and
// begins again until every fault that is left is needed.
#pragma once

#include <string>
#include <vector>

#include "tests/simulation/run.hpp"

namespace pollux::simulation {

struct Minimum {
    std::vector<std::string> without;  // what was dropped
    Scenario scenario;                 // what is left
    Outcome outcome;                   // of that
};

/// By a test's own idea of a failure too.
Minimum minimise(const Scenario& failing, const Play& play);

}  // namespace pollux::simulation
