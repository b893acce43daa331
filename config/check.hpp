// Combinations of settings that cannot work, found before anything is started.
#pragma once

#include <string>

#include "config/settings.hpp"

namespace pollux::config {

/// Throws SettingsError for the first combination that cannot work. `file` names the file for what is missing in it.
void check(const Settings& settings, const std::string& file);

}  // namespace pollux::config
