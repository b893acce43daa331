// What a router says about a packet that its next link does not take: ICMP "fragmentation needed" (RFC 792, RFC 1191
// section 4) or ICMPv6 "packet too big" (RFC 4443 section 3.2), as bytes; and what a host reads in it, by tcp/wire.
#pragma once

#include <optional>

#include "tcp/path_notice.hpp"
#include "tests/support/packet_log.hpp"

namespace pollux::test {

/// The error about `dropped`; `mtu` 0: from a router that predates RFC 1191.
Packet too_big_about(const Packet& dropped, uint32_t mtu);
/// Any other error about `dropped`, by the numbers of its family (RFC 792, RFC 4443).
Packet icmp_error_about(const Packet& dropped, uint8_t type, uint8_t code);
/// What a received error means; nothing if it is none, or damaged.
std::optional<tcp::PathNotice> notice_in(const Packet& packet);

}  // namespace pollux::test
