// Interface: what the packet path knows of one port, as plain values: addresses, networks, gateway, MAC, MTU and what
// the device does for us. No DPDK in here: tests make one by hand, port.hpp makes one of a device.
//
// We are strong hosts (RFC 1122 section 3.3.4.2): an address belongs to the port that it is configured on. Whether an
// IPv6 address of ours may be used yet is a worker's knowledge (local_addresses.hpp).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/settings.hpp"
#include "tcp/wire/mac_address.hpp"

namespace pollux::engine {

/// An address of ours and the network around it, in host order.
struct Ipv4Network {
    uint32_t address = 0;
    uint32_t mask = 0;

    constexpr bool contains(uint32_t v4) const { return ((address ^ v4) & mask) == 0; }
    /// A /31 (RFC 3021) and a /32 have no broadcast address.
    constexpr bool is_broadcast(uint32_t v4) const {
        return mask < 0xffff'fffe && contains(v4) && ((v4 & ~mask) == ~mask || (v4 & ~mask) == 0);
    }
};

struct Interface {
    uint8_t index = 0;  // its place among the ports of the settings
    std::string name;
    tcp::wire::MacAddress mac{};
    std::vector<Ipv4Network> networks;  // of either family at least one
    std::vector<config::Prefix> networks_v6;
    std::optional<uint32_t> gateway;
    std::optional<tcp::IpAddress> gateway_v6;
    bool detects_duplicates = true;  // IPv6 addresses are asked for before they are used (RFC 4862 section 5.4)
    uint16_t mtu = 1500;
    bool device_sums_tcp = false;  // the device fills TCP checksums in (mbufs then carry the offload flags)

    bool is_ours(uint32_t v4) const {
        for (const Ipv4Network& network : networks) {
            if (network.address == v4) return true;
        }
        return false;
    }
    bool is_broadcast(uint32_t v4) const {
        if (v4 == 0xffff'ffff) return true;
        for (const Ipv4Network& network : networks) {
            if (network.is_broadcast(v4)) return true;
        }
        return false;
    }
    bool is_on_link(uint32_t v4) const {
        for (const Ipv4Network& network : networks) {
            if (network.contains(v4)) return true;
        }
        return false;
    }
    /// The place of an IPv6 address of ours among networks_v6, or none.
    std::optional<size_t> index_of(const tcp::IpAddress& v6) const {
        for (size_t i = 0; i < networks_v6.size(); ++i) {
            if (networks_v6[i].address == v6) return i;
        }
        return {};
    }
    bool is_ours(const tcp::IpAddress& address) const {
        return address.is_v4() ? is_ours(address.v4()) : index_of(address).has_value();
    }
    /// Of either family; link-local addresses are on every link.
    bool is_on_link(const tcp::IpAddress& address) const;
    /// Whom to hand a packet for `destination` to; nothing: no route.
    std::optional<tcp::IpAddress> next_hop(const tcp::IpAddress& destination) const;
    /// The IPv4 address of ours that a neighbour at `v4` knows us by; nothing: we have none. (Of IPv6 addresses only
    /// some may be used: local_addresses.hpp.)
    std::optional<uint32_t> source_for(uint32_t v4) const;
};

/// More ports do not fit the keys of paths.hpp.
inline constexpr size_t max_interfaces = 16;

/// The values of the settings; the device's own are filled in by Port. Throws for what is not served yet.
Interface make_interface(const config::Port& port, size_t index);

}  // namespace pollux::engine
