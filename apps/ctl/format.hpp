// Rows of an answer as text for people: aligned columns, names spelled as in the protocol, values with their units.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

namespace pollux::ctl {

using Json = nlohmann::json;

/// Every counter that is not 0 with its sentence. `per_core`: a column for each worker besides the sum; `all`: zeros
/// too.
std::string counters_text(std::span<const Json> rows, bool per_core, bool all);
/// Two lines for each connection, as `ss -tin` has them.
std::string connection_heading();
std::string connection_text(const Json& row);
/// Connections by state, and how many in all.
std::string states_text(std::span<const Json> rows);
std::string ports_text(std::span<const Json> rows);
std::string neighbors_text(std::span<const Json> rows);
std::string rules_text(std::span<const Json> rows);
/// The sentence of each row, a line each.
std::string sentences_text(std::span<const Json> rows);
std::string pools_text(std::span<const Json> rows);

/// "950us", "12.3ms", "4.2s", "10min": a time to three digits or so.
std::string time_text(int64_t us);

}  // namespace pollux::ctl
