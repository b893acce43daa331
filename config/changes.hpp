// What has changed in a settings file since the engine started.
#pragma once

#include <string>

#include "config/settings.hpp"

namespace pollux::config {

/// The keys and tables that differ and that a running engine does not take up, with commas: "tcp.ttl, [[listen]]".
/// Empty: none.
std::string changes_for_a_restart(const Settings& before, const Settings& now);

}  // namespace pollux::config
