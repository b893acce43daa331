// The family that a run speaks: IPv4, or IPv6 when POLLUX_IP=6. meson runs every conversation over both; what a
// conversation promises does not depend on it, so tests name the family only where a number does.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "tcp/address.hpp"

namespace pollux::test {

inline bool over_ipv6() {
    static const bool asked = [] {
        const char* const family = std::getenv("POLLUX_IP");
        return family != nullptr && std::string_view(family) == "6";
    }();
    return asked;
}

template <class T>
T by_family(T ipv4, T ipv6) {
    return over_ipv6() ? ipv6 : ipv4;
}

inline size_t ip_header_size() { return by_family<size_t>(20, 40); }

/// The MTU that leaves a segment the room that `ipv4_mtu` leaves it over IPv4: tests of segment sizes speak of one
/// number for both families.
inline uint16_t mtu_like(uint16_t ipv4_mtu) { return static_cast<uint16_t>(ipv4_mtu + ip_header_size() - 20); }

/// Number `last` of the family's documentation prefix (RFC 5737, RFC 3849): 192.0.2.1 or 2001:db8::1.
inline tcp::IpAddress test_address(uint8_t last) {
    return by_family(tcp::IpAddress::from_v4(0xc000'0200u | last), tcp::IpAddress{{0x2001'0db8, 0, 0, last}});
}

/// Whether a checksum covers this bit of a packet: IPv6 has none over traffic class, flow label and hop limit
/// (RFC 8200 section 8.1).
inline bool checksum_covers(size_t bit) { return !over_ipv6() || bit < 4 || (bit >= 32 && bit / 8 != 7); }

}  // namespace pollux::test
