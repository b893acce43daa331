// From config's plain structs to what the server is made of. Files are read here, once, at start.
#pragma once

#include <cstdint>
#include <vector>

#include "apps/http/response.hpp"
#include "apps/httpd/http_server.hpp"
#include "config/settings.hpp"

namespace pollux::httpd {

/// Throws config::SettingsError for a file that cannot be read or a route that cannot be served.
std::vector<http::Route> routes_of(const config::Settings& settings);

/// `wall_at_zero_us`: microseconds since the Unix epoch at Instant{0}.
ServerSettings server_settings_of(const config::Settings& settings, uint64_t wall_at_zero_us);

/// Makes the stack's pins suffice for these routes.
void reserve_pins(config::Settings& settings, const std::vector<http::Route>& routes);

}  // namespace pollux::httpd
