// How reading an IP packet that should hold TCP can end. None but `ok` is ever answered: a packet that fails here
// is dropped and counted under this name.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string_view>

namespace pollux::tcp::wire {

enum class ParseResult : uint8_t {
    ok,
    truncated,      // ends before its IP length says, or within the fixed part of a header
    bad_ip_header,  // version, header length, total length, the form of an IP option or of an extension header
    bad_ip_checksum,
    fragment,        // named, not handled here
    source_routed,   // not supported (RFC 9293 MUST-51..53 are declared deviations)
    mapped_address,  // an IPv6 packet from or to ::ffff:0:0/96: IPv4's addresses have no place on this wire
    not_tcp,
    bad_tcp_header,  // data offset below 5 or beyond the segment
    bad_tcp_checksum,
    bad_options,  // a TCP option with an illegal length
};

/// "bad_tcp_checksum".
std::string_view to_string(ParseResult result) noexcept;
std::ostream& operator<<(std::ostream& out, ParseResult result);

}  // namespace pollux::tcp::wire
