#include "tcp/wire/icmpv6.hpp"

namespace pollux::tcp::wire {
namespace {

PathNotice::Kind kind_of(Icmpv6Type type, uint8_t code) noexcept {
    using enum PathNotice::Kind;
    switch (type) {
        case Icmpv6Type::packet_too_big: return too_big;  // RFC 4443 section 3.2: the code is ignored
        case Icmpv6Type::destination_unreachable:
            // 1: administratively prohibited, with 5 (source address) and 6 (route) as its special cases (RFC 4443
            // section 3.1); 4: port unreachable.
            return code == 1 || code == 4 || code == 5 || code == 6 ? unreachable_hard : unreachable_soft;
        // 1: unrecognized next header: there is no TCP at that address, as IPv4's "protocol unreachable" says.
        case Icmpv6Type::parameter_problem: return code == 1 ? unreachable_hard : unreachable_soft;
        default: return unreachable_soft;  // RFC 4443 section 2.4 (a): unknown errors are passed on too
    }
}

}  // namespace

bool turn_into_echo_reply_v6(std::span<std::byte> ip_packet, uint8_t hop_limit,
                             const IpAddress& our_address) noexcept {
    const auto ip = Ipv6Header::parse(ip_packet);
    if (!ip || ip->has_extensions() || ip->protocol() != IpProtocol::icmpv6) return false;
    const auto request = Icmpv6Message::parse(ip->payload());
    if (!request || !request->is_echo_request()) return false;

    std::byte* const message = ip_packet.data() + Ipv6Header::fixed_size;
    const IpAddress asked = ip->destination();
    // RFC 1624 for all that changes: the type, and the source if the request went to a group. Addresses that change
    // places change no sum; a 32-bit word counts as its two halves.
    constexpr uint16_t request_word = uint16_t(Icmpv6Type::echo_request) << 8;
    constexpr uint16_t reply_word = uint16_t(Icmpv6Type::echo_reply) << 8;
    uint64_t sum = uint64_t{uint16_t(~load_be16(message + 2))} + uint16_t(~request_word) + reply_word;
    for (const uint32_t word : asked.words) sum += ~word;
    for (const uint32_t word : our_address.words) sum += word;
    store_be16(message, reply_word);
    store_be16(message + 2, checksum_of(sum));
    write_ipv6(ip_packet.data(),
               {.source = our_address,
                .destination = ip->source(),
                .payload_length = static_cast<uint16_t>(ip->total_length() - Ipv6Header::fixed_size),
                .next_header = IpProtocol::icmpv6,
                .hop_limit = hop_limit,
                .dscp = ip->dscp()});
    return true;
}

std::optional<PathNotice> path_notice(const Icmpv6Message& message) noexcept {
    if (!message.is_error()) return {};
    constexpr size_t quoted_tcp = 8;  // ports and sequence number
    const auto ip = Ipv6Header::parse_quoted(message.body());
    if (!ip || ip->chain() != Ipv6Chain::ok || ip->protocol() != IpProtocol::tcp) return {};
    const auto tcp = ip->payload();
    if (tcp.size() < quoted_tcp) return {};
    const IpAddress local = ip->source(), remote = ip->destination();
    if (local.is_v4() || remote.is_v4()) return {};  // would name a connection over IPv4
    const auto kind = kind_of(message.type(), message.code());
    return PathNotice{.kind = kind,
                      .flow = {local, remote, load_be16(tcp.data()), load_be16(tcp.data() + 2)},
                      .quoted_seq = SeqNum{load_be32(tcp.data() + 4)},
                      .mtu = kind == PathNotice::Kind::too_big ? message.mtu() : 0};
}

}  // namespace pollux::tcp::wire
