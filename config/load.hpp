// A settings file in TOML becomes Settings, or one sentence that says where, what was found and what is expected:
//
//     demo.toml:7: found the integer 5 for http.idle_timeout, expected a duration from "0s" to "24h" in us, ms, ...
//
// Unknown keys, wrong types, values out of range and combinations that cannot work are all errors: nothing is
// ignored.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "config/settings.hpp"

namespace pollux::config {

/// what() is `FILE:LINE: found ..., expected ...`.
class SettingsError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// The settings of the file at `path`.
Settings load_file(const std::string& path);

/// The settings of a TOML document. `name` stands in messages for the file, and relative names of [[route]] files
/// start at its folder.
Settings load_text(std::string_view document, const std::string& name);

/// All settings in effect, defaults included, as a document that load_text turns into equal settings.
std::string to_toml(const Settings& settings);

}  // namespace pollux::config
