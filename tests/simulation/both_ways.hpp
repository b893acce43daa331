// Both ways: a scenario is played as it is, and again with each host's fast path on if it was off, and off if it was
// on. Both runs must be the same run: after every turn the same packets, and a stack that says the same of itself in
// every field of every connection and in every counter but the one that counts the fast path.
#pragma once

#include "tests/simulation/run.hpp"

namespace pollux::simulation {

/// Each host takes the other way.
Scenario with_other_paths(Scenario scenario);

/// A Play: the outcome of the scenario, or a complaint about the first turn that is not the same both ways.
Outcome run_both_ways(const Scenario& scenario, Record* record = nullptr);
/// The same of any two scenarios that should play alike.
Outcome compare(const Scenario& scenario, const Scenario& other, Record* record = nullptr);

}  // namespace pollux::simulation
