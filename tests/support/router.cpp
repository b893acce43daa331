#include "tests/support/router.hpp"

#include <algorithm>

#include "tcp/wire/icmp.hpp"
#include "tcp/wire/icmpv6.hpp"

namespace pollux::test {

using namespace tcp;
using namespace tcp::wire;

namespace {

constexpr IpAddress router_v4 = IpAddress::from_v4(0xcb00'71fe), router_v6{{0x2001'0db8, 0xffff, 0, 0xfe}};
constexpr size_t icmp_header = 8;

bool is_v6(const Packet& packet) { return !packet.empty() && packet[0] >> 4 == std::byte{6}; }

// `rest` is the word behind type, code and checksum.
Packet error_about(const Packet& dropped, uint8_t type, uint8_t code, uint32_t rest) {
    const bool v6 = is_v6(dropped);
    const size_t ip = v6 ? Ipv6Header::fixed_size : Ipv4Header::min_size;
    // RFC 792: the IP header and 8 bytes. RFC 4443 section 3.2: as much as fits into 1280.
    const size_t quoted = std::min<size_t>(dropped.size(), v6 ? 1280 - ip - icmp_header : ip + 8);
    Packet packet(ip + icmp_header + quoted);
    const auto message = std::span(packet).subspan(ip);
    store_be16(message.data(), static_cast<uint16_t>(type << 8 | code));
    store_be32(message.data() + 4, rest);
    std::copy_n(dropped.begin(), quoted, message.begin() + icmp_header);
    const auto length = static_cast<uint16_t>(message.size());
    uint64_t sum = sum_of(message);
    if (v6) {
        const IpAddress to = load_address(dropped.data() + 8);
        write_ipv6(
            packet.data(),
            {.source = router_v6, .destination = to, .payload_length = length, .next_header = IpProtocol::icmpv6});
        sum += pseudo_header_sum(router_v6, to, uint8_t(IpProtocol::icmpv6), length);
    } else {
        write_ipv4(packet.data(), {.source = router_v4.v4(),
                                   .destination = load_be32(dropped.data() + 12),
                                   .total_length = static_cast<uint16_t>(packet.size()),
                                   .protocol = IpProtocol::icmp});
    }
    store_be16(message.data() + 2, checksum_of(sum));
    return packet;
}

}  // namespace

Packet too_big_about(const Packet& dropped, uint32_t mtu) {
    return is_v6(dropped) ? error_about(dropped, 2, 0, mtu) : error_about(dropped, 3, 4, mtu);
}

Packet icmp_error_about(const Packet& dropped, uint8_t type, uint8_t code) {
    return error_about(dropped, type, code, 0);
}

std::optional<PathNotice> notice_in(const Packet& packet) {
    if (is_v6(packet)) {
        const auto ip = Ipv6Header::parse(packet);
        if (!ip || ip->chain() != Ipv6Chain::ok || ip->protocol() != IpProtocol::icmpv6) return {};
        const auto message = Icmpv6Message::parse(ip->payload());
        if (!message || !message->checksum_ok(ip->source(), ip->destination())) return {};
        return path_notice(*message);
    }
    const auto ip = Ipv4Header::parse(packet);
    if (!ip || !ip->checksum_ok() || ip->protocol() != IpProtocol::icmp) return {};
    const auto message = IcmpMessage::parse(ip->payload());
    if (!message || !message->checksum_ok()) return {};
    const auto error = parse_icmp_error(*message);
    return error ? path_notice(*error) : std::nullopt;
}

}  // namespace pollux::test
