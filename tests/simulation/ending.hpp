// Ending: whether a connection has come to an end that can be explained. After healing everything finishes in good
// order, unless an application wanted otherwise or one side had died of its limits before.
#pragma once

#include <optional>
#include <string>

#include "tests/simulation/application.hpp"
#include "tests/simulation/hostile_peer.hpp"
#include "tests/simulation/scenario.hpp"

namespace pollux::simulation {

/// A complaint about connection `index`, or nothing.
std::optional<std::string> judge_ending(const Scenario& scenario, size_t index, const Story& a, const Story& b);
/// The same of a hostile peer that ended like this.
std::optional<std::string> judge_ending(const Scenario& scenario, size_t index, const Story& a,
                                        HostilePeer::Farewell farewell);

}  // namespace pollux::simulation
