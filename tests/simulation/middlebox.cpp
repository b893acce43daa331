#include "tests/simulation/middlebox.hpp"

#include <algorithm>

#include "tcp/wire/checksum.hpp"
#include "tcp/wire/ipv4.hpp"
#include "tcp/wire/ipv6.hpp"
#include "tcp/wire/tcp_header.hpp"

namespace pollux::simulation {

using namespace tcp;
using namespace tcp::wire;

namespace {

constexpr uint8_t protocol_tcp = 6;
constexpr uint8_t kind_end = 0, kind_nop = 1, kind_mss = 2, kind_window_scale = 3, kind_sack_permitted = 4,
                  kind_sack = 5, kind_timestamps = 8;

bool is_v6(const Packet& packet) { return packet[0] >> 4 == std::byte{6}; }
uint8_t byte_at(const Packet& packet, size_t at) { return std::to_integer<uint8_t>(packet[at]); }

// Writes one byte and repairs the 16-bit checksum at `checksum_at` over the area that begins at `begin`.
void put(Packet& packet, size_t at, uint8_t value, size_t begin, size_t checksum_at) {
    const size_t word_at = at - (at - begin) % 2;
    const uint16_t before = load_be16(packet.data() + word_at);
    packet[at] = std::byte{value};
    const uint16_t after = load_be16(packet.data() + word_at);
    const uint16_t sum = load_be16(packet.data() + checksum_at);
    store_be16(packet.data() + checksum_at, updated_checksum(sum, before, after));
}

template <class Unwanted>
void pad_options(Packet& packet, const Glance& seen, Unwanted&& unwanted) {
    const size_t end = seen.tcp_at + TcpHeader::min_size + seen.options_size;
    for (size_t at = seen.tcp_at + TcpHeader::min_size; at < end;) {
        const uint8_t kind = byte_at(packet, at);
        if (kind == kind_end) return;
        if (kind == kind_nop) {
            ++at;
            continue;
        }
        if (at + 1 >= end) return;
        const size_t size = byte_at(packet, at + 1);
        if (size < 2 || at + size > end) return;
        if (unwanted(kind)) {
            for (size_t i = at; i < at + size; ++i) put(packet, i, kind_nop, seen.tcp_at, seen.tcp_at + 16);
        }
        at += size;
    }
}

}  // namespace

Glance glance(const Packet& packet) {
    Glance seen;
    if (packet.size() < Ipv4Header::min_size) return seen;
    seen.is_v6 = is_v6(packet);
    seen.tcp_at = seen.is_v6 ? Ipv6Header::fixed_size : Ipv4Header::min_size;
    const uint8_t protocol = byte_at(packet, seen.is_v6 ? 6 : 9);
    if (packet.size() < seen.tcp_at + TcpHeader::min_size || protocol != protocol_tcp) return seen;
    const std::byte* const header = packet.data() + seen.tcp_at;
    const size_t size = size_t{load_u8(header + 12)} >> 4 << 2;
    if (size < TcpHeader::min_size || packet.size() < seen.tcp_at + size) return seen;
    seen.is_tcp = true;
    seen.options_size = size - TcpHeader::min_size;
    seen.payload = packet.size() - seen.tcp_at - size;
    seen.flags = Flags{load_u8(header + 13)};
    seen.ports = load_be32(header);
    seen.seq = load_be32(header + 4);
    seen.ack = load_be32(header + 8);
    seen.window = load_be16(header + 14);
    return seen;
}

void strip_syn_options(Packet& packet, const Glance& seen, uint32_t options) {
    pad_options(packet, seen, [options](uint8_t kind) {
        const auto is = [&](uint8_t which, Stripped option) {
            return kind == which && (options & static_cast<uint32_t>(option)) != 0;
        };
        return is(kind_mss, Stripped::mss) || is(kind_window_scale, Stripped::window_scale) ||
               is(kind_sack_permitted, Stripped::sack_permitted) || is(kind_timestamps, Stripped::timestamps);
    });
}

void strip_sack_blocks(Packet& packet, const Glance& seen) {
    pad_options(packet, seen, [](uint8_t kind) { return kind == kind_sack; });
}

void mark_congestion(Packet& packet) {
    if (is_v6(packet))
        packet[1] |= std::byte{0x30};  // the low half of the traffic class, behind the version's byte
    else
        put(packet, 1, byte_at(packet, 1) | 3, 0, 10);
}

void flip_bits(Packet& packet, Random& random) {
    const bool v6 = is_v6(packet);
    // RFC 8200 section 8.1: nothing covers traffic class, flow label and hop limit. Two flips in the same column of
    // the sum may cancel: they go into one word, where they cannot.
    const auto covered = [v6](size_t bit) { return !v6 || bit < 4 || (bit >= 32 && bit / 8 != 7); };
    size_t bit;
    do {
        bit = random.below(packet.size() * 8);
    } while (!covered(bit));
    packet[bit / 8] ^= std::byte{1} << bit % 8;
    for (uint64_t more = random.below(3); more > 0; --more) {
        const size_t near = bit / 8 * 8 + (bit + more) % 8;
        if (covered(near)) packet[near / 8] ^= std::byte{1} << near % 8;
    }
}

}  // namespace pollux::simulation
