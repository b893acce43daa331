#include "engine/interface.hpp"

#include <algorithm>
#include <stdexcept>

namespace pollux::engine {
namespace {

std::string where(const config::Port& port) {
    const std::string source = port.source.to_string();
    return source.empty() ? source : " (" + source + ")";
}

uint32_t v4_of(const config::Port& port, const tcp::IpAddress& address) {
    if (!address.is_v4()) {
        throw std::runtime_error("port " + port.device + ": the address " + address.to_string() +
                                 " is IPv6, which is not served yet" + where(port));
    }
    return address.v4();
}

}  // namespace

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
        const uint32_t mask = prefix.length == 0 ? 0 : ~uint32_t{0} << (32 - std::min<uint8_t>(prefix.length, 32));
        made.networks.push_back({v4_of(port, prefix.address), mask});
    }
    if (port.gateway) made.gateway = v4_of(port, *port.gateway);
    if (port.mac) made.mac = *port.mac;
    return made;
}

}  // namespace pollux::engine
