// What the SYNs say about ECN (RFC 3168 section 6.1.1). Asking takes both flags and agreeing takes one, so that a
// peer which only returns the reserved bits of old does not seem to agree.
#pragma once

#include "tcp/segment.hpp"

namespace pollux::tcp {

/// An ECN-setup SYN.
constexpr bool asks_for_ecn(const Segment& syn) { return syn.has(Flags::ece) && syn.has(Flags::cwr); }

/// An ECN-setup SYN, or an ECN-setup SYN-ACK.
constexpr bool wants_ecn(const Segment& syn) {
    return syn.has(Flags::ack) ? syn.has(Flags::ece) && !syn.has(Flags::cwr) : asks_for_ecn(syn);
}

}  // namespace pollux::tcp
