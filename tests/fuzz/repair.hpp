// Frames of any bytes, made right as far as bytes tell: without it a fuzzer would hardly ever get past a checksum.
#pragma once

#include <cstddef>
#include <span>

namespace pollux::fuzz {

struct Repair {
    bool checksums = false;
    bool lengths = false;  // of the IP packet: as long as the frame has bytes
};

/// Changes the checksums and lengths of the frame's IPv4 or IPv6 packet and of the TCP, ICMP or ICMPv6 in it, so that
/// they are right, where such headers can be found at all.
void repair(std::span<std::byte> frame, const Repair& what);

}  // namespace pollux::fuzz
