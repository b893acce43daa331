// Rows of answers on the control socket, as JSON objects. apps/ctl/README.md lists their fields: sizes in bytes,
// times in microseconds (`_us`) or milliseconds (`_ms`), names in lower case.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "config/settings.hpp"
#include "engine/inspection.hpp"
#include "engine/port.hpp"
#include "tcp/counters.hpp"
#include "tcp/stack.hpp"

namespace pollux::engine {

using Json = nlohmann::ordered_json;  // fields stay in the order in which they are written

Json connection_row(const tcp::ConnInfo& info, uint32_t worker);
Json half_open_row(const tcp::HalfOpenInfo& info, uint32_t worker);
Json time_wait_row(const tcp::TimeWaitInfo& info, uint32_t worker);
Json neighbor_row(const NeighborInfo& info, uint32_t worker);
Json port_row(const PortInfo& info);

/// A pool of one worker. `capacity` 0: it has no bound of its own.
Json pool_row(uint32_t worker, std::string_view name, uint64_t used, uint64_t capacity);
/// Every pool of one worker, through `add(row)`.
void pool_rows(const Slice& slice, uint32_t worker, const std::function<void(const Json&)>& add);
/// Every counter of all workers, through `add(row)`.
void counter_rows(std::span<const tcp::Counters> workers, const std::function<void(const Json&)>& add);

/// Every rule of [[filter]] with its hits, which are [worker][rule], then what no rule fits, through `add(row)`.
void rule_rows(std::span<const config::Filter> rules, std::span<const std::vector<uint64_t>> hits,
               const std::function<void(const Json&)>& add);

}  // namespace pollux::engine
