#include "engine/interface.hpp"

#include <algorithm>
#include <stdexcept>

namespace pollux::engine {

using tcp::IpAddress;

namespace {

std::string where(const config::Port& port) {
    const std::string source = port.source.to_string();
    return source.empty() ? source : " (" + source + ")";
}

}  // namespace

bool Interface::is_on_link(const IpAddress& address) const {
    if (address.is_v4()) return is_on_link(address.v4());
    return address.is_link_local() ||
           std::any_of(networks_v6.begin(), networks_v6.end(),
                       [&](const config::Prefix& network) { return network.contains(address); });
}

std::optional<IpAddress> Interface::next_hop(const IpAddress& destination) const {
    if (is_on_link(destination)) return destination;
    if (!destination.is_v4()) return gateway_v6;
    return gateway ? std::optional{IpAddress::from_v4(*gateway)} : std::nullopt;
}

std::optional<uint32_t> Interface::source_for(uint32_t v4) const {
    for (const Ipv4Network& network : networks) {
        if (network.contains(v4)) return network.address;
    }
    return networks.empty() ? std::nullopt : std::optional{networks.front().address};
}

Interface make_interface(const config::Port& port, size_t index) {
    if (index >= max_interfaces) {
        throw std::runtime_error("port " + port.device + ": more than " + std::to_string(max_interfaces) +
                                 " ports are configured" + where(port));
    }
    if (port.addresses.empty()) {
        throw std::runtime_error("port " + port.device + ": it has no address" + where(port));
    }
    Interface made;
    made.index = static_cast<uint8_t>(index);
    made.name = port.device.substr(0, port.device.find(','));
    made.mtu = port.mtu_bytes;
    for (const config::Prefix& prefix : port.addresses) {
        if (!prefix.address.is_v4()) {
            made.networks_v6.push_back(prefix);
            continue;
        }
        const uint32_t mask = prefix.length == 0 ? 0 : ~uint32_t{0} << (32 - std::min<uint8_t>(prefix.length, 32));
        made.networks.push_back({prefix.address.v4(), mask});
    }
    if (port.gateway) made.gateway = port.gateway->v4();
    made.gateway_v6 = port.gateway_v6;
    made.detects_duplicates = port.duplicate_address_detection;
    if (port.mac) made.mac = *port.mac;
    return made;
}

}  // namespace pollux::engine
