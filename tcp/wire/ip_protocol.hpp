// What an IP packet carries: IPv4's protocol field, IPv6's last next header. One registry serves both (IANA's
// "Assigned Internet Protocol Numbers"); any number may arrive.
#pragma once

#include <cstdint>

namespace pollux::tcp::wire {

enum class IpProtocol : uint8_t { icmp = 1, tcp = 6, udp = 17, icmpv6 = 58 };

}  // namespace pollux::tcp::wire
