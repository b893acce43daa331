// One function per rule; each names the table that has to be changed.
#include "config/check.hpp"

#include <algorithm>
#include <filesystem>

#include "config/load.hpp"
#include "config/notation.hpp"
#include "config/secret_file.hpp"

namespace pollux::config {
namespace {

[[noreturn]] void complain(const Source& where, const std::string& found, const std::string& expected) {
    throw SettingsError(where.to_string() + ": found " + found + ", expected " + expected);
}

std::string line_of(const Source& source) { return "line " + std::to_string(source.line); }

/// 2001:db8::/64 itself is every router's address on that link (RFC 4291 section 2.6.1); a /127 (RFC 6164) and a /128
/// have none.
bool is_subnet_router(const Prefix& prefix) {
    uint32_t host_bits = 0;
    for (uint32_t bit = prefix.length; bit < 128; ++bit)
        host_bits |= prefix.address.words[bit / 32] >> (31 - bit % 32) & 1;
    return prefix.length < 127 && host_bits == 0;
}

/// 192.0.2.0/24 has the network address 192.0.2.0 and the broadcast address 192.0.2.255; a /31 (RFC 3021) and a /32
/// have neither.
bool is_host_address(const Prefix& prefix) {
    const tcp::IpAddress& address = prefix.address;
    if (address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_reserved() ||
        address.is_limited_broadcast())
        return false;
    if (!address.is_v4()) return !is_subnet_router(prefix);
    if (prefix.length >= 31) return true;
    const uint32_t host_mask = UINT32_MAX >> prefix.length;
    const uint32_t host = address.v4() & host_mask;
    return host != 0 && host != host_mask;
}

void check_addresses(const Port& port) {
    if (port.device.empty()) complain(port.source, "a [[port]] without device", device().expected);
    if (port.addresses.empty())
        complain(port.source, "a [[port]] without addresses", "at least one, such as [\"192.0.2.1/24\"]");
    for (const Prefix& prefix : port.addresses) {
        if (!is_host_address(prefix))
            complain(port.source, "the address " + in_quotes(prefix.to_string()) + " of port.addresses",
                     "the address of one host on its network");
    }
}

void check_gateway(const Port& port, const tcp::IpAddress& gateway) {
    bool reachable = !gateway.is_v4() && gateway.is_link_local();
    for (const Prefix& prefix : port.addresses) {
        if (prefix.address == gateway)
            complain(port.source, "the gateway " + in_quotes(gateway.to_string()) + " among the port's own addresses",
                     "the address of another host");
        reachable = reachable || prefix.contains(gateway);
    }
    if (!reachable)
        complain(port.source, "the gateway " + in_quotes(gateway.to_string()) + " outside the port's networks",
                 "an address inside " + in_quotes(port.addresses.front().to_string()) +
                     (port.addresses.size() > 1 ? " or another network of the port" : ""));
}

/// RFC 8200 section 5: every link that carries IPv6 carries 1280 bytes.
void check_mtu(const Port& port) {
    constexpr uint16_t least = 1280;
    const bool v6 = std::any_of(port.addresses.begin(), port.addresses.end(),
                                [](const Prefix& prefix) { return !prefix.address.is_v4(); });
    if (v6 && port.mtu_bytes < least)
        complain(port.source, "port.mtu_bytes = " + std::to_string(port.mtu_bytes) + " with an IPv6 address",
                 "at least " + std::to_string(least));
}

/// The part of a device string that names the device: "net_tap0" of "net_tap0,iface=pollux0".
std::string_view device_name(const Port& port) {
    return std::string_view{port.device}.substr(0, port.device.find(','));
}

void check_distinct(const std::vector<Port>& ports) {
    for (size_t i = 0; i < ports.size(); ++i) {
        for (size_t j = 0; j < i; ++j) {
            if (device_name(ports[i]) == device_name(ports[j]))
                complain(ports[i].source,
                         "the device " + in_quotes(device_name(ports[i])) + " again (first in " +
                             line_of(ports[j].source) + ")",
                         "each device once");
            if (ports[i].mac && ports[i].mac == ports[j].mac)
                complain(ports[i].source,
                         "the MAC address " + in_quotes(ports[i].mac->to_string()) + " again (first in " +
                             line_of(ports[j].source) + ")",
                         "each MAC address once");
        }
        for (size_t k = 0; k < ports[i].addresses.size(); ++k) {
            for (size_t j = 0; j <= i; ++j) {
                for (size_t l = 0; l < (j == i ? k : ports[j].addresses.size()); ++l) {
                    if (ports[i].addresses[k].address == ports[j].addresses[l].address)
                        complain(ports[i].source,
                                 "the address " + in_quotes(ports[i].addresses[k].address.to_string()) +
                                     " again (first in " + line_of(ports[j].source) + ")",
                                 "each address once");
                }
            }
        }
    }
}

void check_listen(const Listen& listen, const Settings& settings) {
    if (listen.port == 0) complain(listen.source, "a [[listen]] without port", "a port from 1 to 65535");
    bool ours = listen.address.is_unspecified();
    for (const Port& port : settings.ports)
        for (const Prefix& prefix : port.addresses) ours = ours || prefix.address == listen.address;
    if (!ours)
        complain(listen.source, "the address " + in_quotes(listen.address.to_string()) + " that no [[port]] has",
                 "an address of a [[port]], or none for all of them");
    for (const Listen& other : settings.listens) {
        if (&other == &listen) return;
        if (other.port != listen.port) continue;
        const bool overlap =
            other.address == listen.address || other.address.is_unspecified() || listen.address.is_unspecified();
        if (overlap)
            complain(listen.source,
                     "port " + std::to_string(listen.port) + " again (first in " + line_of(other.source) + ")",
                     "each address and port once");
    }
}

void check_filter(const Filter& filter) {
    if (!filter.action) complain(filter.source, "a [[filter]] without action", filter_action().expected);
    if (!filter.from || !filter.to || filter.from->address.is_v4() == filter.to->address.is_v4()) return;
    complain(filter.source,
             "the source " + in_quotes(filter.from->to_string()) + " with the destination " +
                 in_quotes(filter.to->to_string()) + " in one [[filter]]",
             "two of the same family");
}

void check_filters(const std::vector<Filter>& filters) {
    if (filters.size() > most_filters)
        complain(filters[most_filters].source, std::to_string(filters.size()) + " tables [[filter]]",
                 "at most " + std::to_string(most_filters));
    for (const Filter& filter : filters) check_filter(filter);
}

void check_route(const Route& route, const std::vector<Route>& routes) {
    if (route.path.empty()) complain(route.source, "a [[route]] without path", url_path().expected);
    if (!route.body && !route.file)
        complain(route.source, "the route " + in_quotes(route.path) + " with neither body nor file", "one of them");
    if (route.body && route.file)
        complain(route.source, "the route " + in_quotes(route.path) + " with both body and file", "only one of them");
    if (route.file && !std::filesystem::is_regular_file(*route.file))
        complain(route.source, "no file " + in_quotes(*route.file) + " for the route " + in_quotes(route.path),
                 "the name of a file, relative to the folder of the settings");
    for (const Route& other : routes) {
        if (&other == &route) return;
        if (other.path == route.path)
            complain(route.source,
                     "the route " + in_quotes(route.path) + " again (first in " + line_of(other.source) + ")",
                     "each path once");
    }
}

}  // namespace

void check(const Settings& settings, const std::string& file) {
    const Source top{file, 1};
    if (settings.ports.empty()) complain(top, "no [[port]]", "at least one device with an address");
    for (const Port& port : settings.ports) {
        check_addresses(port);
        if (port.gateway) check_gateway(port, *port.gateway);
        if (port.gateway_v6) check_gateway(port, *port.gateway_v6);
        check_mtu(port);
    }
    check_distinct(settings.ports);
    if (settings.listens.empty()) complain(top, "no [[listen]]", "at least one port to listen on");
    for (const Listen& listen : settings.listens) check_listen(listen, settings);
    check_filters(settings.filters);
    if (settings.tcp.initial_rto > settings.tcp.max_rto)
        complain(settings.tcp_source, "tcp.initial_rto = " + in_quotes(to_string(settings.tcp.initial_rto)),
                 "at most tcp.max_rto = " + in_quotes(to_string(settings.tcp.max_rto)));
    if (settings.tcp.first_local_port > settings.tcp.last_local_port)
        complain(settings.tcp_source, "tcp.first_local_port = " + std::to_string(settings.tcp.first_local_port),
                 "at most tcp.last_local_port = " + std::to_string(settings.tcp.last_local_port));
    if (!settings.security.cookie_secret_file.empty()) read_secret_file(settings.security.cookie_secret_file);
    for (const Route& route : settings.routes) check_route(route, settings.routes);
}

}  // namespace pollux::config
