// What the network says about a path: ICMP errors (with the segment they quote) and neighbours that do not answer.
// The engine makes them; Stack::notify acts on them only when the quoted sequence number is outstanding (RFC 5927).
#pragma once

#include <cstdint>

#include "tcp/segment.hpp"

namespace pollux::tcp {

struct PathNotice {
    enum class Kind : uint8_t {
        unreachable_soft,      // net, host, source route failed, time exceeded, parameter problem (RFC 9293 MUST-56)
        unreachable_hard,      // protocol, port; administratively prohibited
        too_big,               // fragmentation needed: `mtu` says what fits
        neighbor_unreachable,  // link-layer resolution failed
    };
    Kind kind = Kind::unreachable_soft;
    FourTuple flow{};   // of the quoted segment, seen from our side
    SeqNum quoted_seq;  // its sequence number; unused by neighbor_unreachable
    uint32_t mtu = 0;
    uint32_t quoted_length = 0;  // of the IP packet that did not fit, as its header says; needed when `mtu` is 0
};

}  // namespace pollux::tcp
