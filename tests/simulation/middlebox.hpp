// What stands in the network and looks into packets: a glance at the kind of a packet, and middleboxes that take
// options off, mark congestion or damage what passes. Whoever changes a packet on purpose repairs the checksums, as
// real ones do; damage does not.
#pragma once

#include "tcp/segment.hpp"
#include "tests/simulation/random.hpp"
#include "tests/support/packet_log.hpp"

namespace pollux::simulation {

using test::Packet;

/// What the network can tell of an intact packet without knowing connections.
struct Glance {
    bool is_tcp = false, is_v6 = false;
    size_t tcp_at = 0, options_size = 0, payload = 0;
    tcp::Flags flags = tcp::Flags::none;
    uint32_t ports = 0, ack = 0, seq = 0;
    uint16_t window = 0;
    bool has(tcp::Flags f) const { return tcp::any(flags & f); }
    bool pure_ack() const { return is_tcp && payload == 0 && (flags & ~tcp::Flags::psh) == tcp::Flags::ack; }
};
Glance glance(const Packet& packet);

enum class Stripped : uint8_t { mss = 1, window_scale = 2, sack_permitted = 4, timestamps = 8 };
/// Turns the options of a SYN segment that are in `options` (bits of Stripped) into padding.
void strip_syn_options(Packet& packet, const Glance& seen, uint32_t options);
/// Turns the SACK blocks of a packet into padding.
void strip_sack_blocks(Packet& packet, const Glance& seen);
/// Sets the congestion experienced code point (RFC 3168), whatever was there.
void mark_congestion(Packet& packet);
/// One to three bits are flipped where a checksum notices one to three bits.
void flip_bits(Packet& packet, Random& random);

}  // namespace pollux::simulation
