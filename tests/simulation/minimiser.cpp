#include "tests/simulation/minimiser.hpp"

namespace pollux::simulation {

Minimum minimise(const Scenario& failing, const Play& play) {
    Minimum least{.without = {}, .scenario = failing, .outcome = play(failing, nullptr)};
    if (least.outcome.ok()) return least;
    for (bool dropped = true; dropped;) {
        dropped = false;
        std::vector<std::string> names;
        for (const Fault& fault : least.scenario.faults) names.push_back(fault.name());
        for (const std::string& name : names) {
            Scenario candidate = without(least.scenario, {&name, 1});
            Outcome outcome = play(candidate, nullptr);
            if (outcome.ok()) continue;
            least.without.push_back(name);
            least.scenario = std::move(candidate);
            least.outcome = std::move(outcome);
            dropped = true;
        }
    }
    return least;
}

}  // namespace pollux::simulation
