// Pools for a test of one connection or two.
#pragma once

#include "tcp/stack_settings.hpp"

namespace pollux::simulation {

inline constexpr tcp::Capacity few_of_each{.connections = 4,
                                           .half_open = 4,
                                           .time_wait = 4,
                                           .send_entries = 8,
                                           .chunks = 16,
                                           .receive_stores = 4,
                                           .recoveries = 4,
                                           .segment_records = 64,
                                           .events = 64,
                                           .pins = 8};

}  // namespace pollux::simulation
