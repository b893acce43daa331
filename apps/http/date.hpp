// The Date field (RFC 9110 sections 5.6.7 and 6.6.1) out of a handed-in count of seconds.
#pragma once

#include <array>
#include <cstdint>

namespace pollux::http {

/// "Sun, 06 Nov 1994 08:49:37 GMT": always 29 characters.
using ImfFixdate = std::array<char, 29>;

/// `unix_seconds` counts from 1970-01-01 without leap seconds; beyond the year 9999 it stays at that year's end.
ImfFixdate imf_fixdate(uint64_t unix_seconds);

}  // namespace pollux::http
