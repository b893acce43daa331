#include "tests/fuzz/repair.hpp"

#include <algorithm>

#include "tcp/wire/checksum.hpp"
#include "tcp/wire/ethernet.hpp"
#include "tcp/wire/ip_protocol.hpp"
#include "tcp/wire/ipv4.hpp"
#include "tcp/wire/ipv6.hpp"

namespace pollux::fuzz {
namespace {

using namespace tcp::wire;

constexpr size_t no_field = 0;

size_t checksum_field(IpProtocol protocol) {
    switch (protocol) {
        case IpProtocol::tcp: return 16;
        case IpProtocol::icmp:
        case IpProtocol::icmpv6: return 2;
        default: return no_field;
    }
}

void fill_checksum(std::span<std::byte> bytes, size_t field, uint64_t pseudo) {
    if (field == no_field || bytes.size() < field + 2) return;
    store_be16(&bytes[field], 0);
    store_be16(&bytes[field], checksum_of(pseudo + sum_of(bytes)));
}

void repair_v4(std::span<std::byte> packet, const Repair& what) {
    if (packet.size() < Ipv4Header::min_size) return;
    if (what.lengths) store_be16(&packet[2], static_cast<uint16_t>(std::min<size_t>(packet.size(), 65'535)));
    const auto ip = Ipv4Header::parse(packet);
    if (!ip || !what.checksums) return;
    fill_checksum(packet.first(ip->size()), 10, 0);
    const auto payload = packet.subspan(ip->size(), ip->payload().size());
    const bool has_pseudo = ip->protocol() != IpProtocol::icmp;
    const uint64_t pseudo = pseudo_header_sum(ip->source(), ip->destination(), uint8_t(ip->protocol()),
                                              static_cast<uint32_t>(payload.size()));
    fill_checksum(payload, checksum_field(ip->protocol()), has_pseudo ? pseudo : 0);
}

void repair_v6(std::span<std::byte> packet, const Repair& what) {
    if (packet.size() < Ipv6Header::fixed_size) return;
    const size_t length = std::min<size_t>(packet.size() - Ipv6Header::fixed_size, 65'535);
    if (what.lengths) store_be16(&packet[4], static_cast<uint16_t>(length));
    const auto ip = Ipv6Header::parse(packet);
    if (!ip || !what.checksums || ip->chain() != Ipv6Chain::ok) return;
    const size_t size = ip->payload().size();
    const auto payload = packet.subspan(ip->total_length() - size, size);
    // As sum_of() has it: the product's own pseudo-header takes mapped addresses for IPv4's.
    const uint64_t pseudo = uint64_t{uint8_t(ip->protocol())} + size + sum_of(packet.subspan(8, 32));
    fill_checksum(payload, checksum_field(ip->protocol()), pseudo);
}

}  // namespace

void repair(std::span<std::byte> frame, const Repair& what) {
    const auto ethernet = EthernetFrame::parse(frame);
    if (!ethernet || ethernet->payload().empty()) return;
    const auto packet = frame.subspan(ethernet->size());
    switch (load_u8(packet.data()) >> 4) {
        case 4: repair_v4(packet, what); break;
        case 6: repair_v6(packet, what); break;
        default: break;
    }
}

}  // namespace pollux::fuzz
