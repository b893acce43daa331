#include "apps/httpd/from_settings.hpp"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "config/load.hpp"

namespace pollux::httpd {
namespace {

std::string contents_of(const config::Route& route) {
    std::ifstream in{*route.file, std::ios::binary};
    std::ostringstream text;
    // An empty file sets failbit on the output: nothing was written, which is right.
    if (!in || (in.peek() != std::ifstream::traits_type::eof() && !(text << in.rdbuf()))) {
        throw config::SettingsError(route.source.to_string() + ": found no readable file \"" + *route.file +
                                    "\" for the route \"" + route.path + "\", expected one that this user may read");
    }
    return std::move(text).str();
}

}  // namespace

std::vector<http::Route> routes_of(const config::Settings& settings) {
    std::vector<http::Route> routes;
    for (const config::Route& given : settings.routes) {
        http::Route route;
        route.path = given.path;
        route.body = given.file ? contents_of(given) : given.body.value_or("");
        if (!given.content_type.empty()) route.content_type = given.content_type;
        try {
            http::check(route);
        } catch (const std::invalid_argument& error) {
            throw config::SettingsError(given.source.to_string() + ": " + error.what());
        }
        routes.push_back(std::move(route));
    }
    return routes;
}

ServerSettings server_settings_of(const config::Settings& settings, uint64_t wall_at_zero_us) {
    const config::Http& http = settings.http;
    ServerSettings server;
    server.limits.head.request_line = http.max_request_line_bytes;
    server.limits.head.fields_size = http.max_header_bytes;
    server.limits.head.fields = http.max_header_fields;
    server.limits.body = http.max_body_bytes;
    server.limits.max_requests = static_cast<uint16_t>(std::min<uint32_t>(http.max_requests, 65'535));
    server.limits.idle_timeout = http.idle_timeout != tcp::Duration::zero();
    server.limits.header_timeout = http.header_timeout != tcp::Duration::zero();
    server.limits.request_buffers = std::min(http.request_buffers, settings.tcp.capacity.connections);
    server.content.idle_seconds =
        static_cast<uint32_t>(std::chrono::duration_cast<std::chrono::seconds>(http.idle_timeout).count());
    server.content.max_requests = server.limits.max_requests;
    server.idle_timeout = http.idle_timeout;
    server.header_timeout = http.header_timeout;
    server.linger_timeout = http.linger_timeout;
    server.wall_at_zero_us = wall_at_zero_us;
    return server;
}

void reserve_pins(config::Settings& settings, const std::vector<http::Route>& routes) {
    const http::PinId needed = http::Content::pins_for(routes.size(), server_settings_of(settings, 0).content);
    settings.tcp.capacity.pins = std::max(settings.tcp.capacity.pins, needed);
}

}  // namespace pollux::httpd
