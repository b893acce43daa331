#include "tcp/wire/nd.hpp"

#include <cstring>

namespace pollux::tcp::wire {
namespace {

constexpr size_t fixed_part = 24;  // type, code, checksum, flags, target
constexpr uint8_t nd_hop_limit = 255;
enum class NdOption : uint8_t { source_link_address = 1, target_link_address = 2 };

// What both messages have in common (RFC 4861 sections 7.1.1 and 7.1.2).
bool is_sound(const Ipv6Header& ip, const Icmpv6Message& message, Icmpv6Type type) noexcept {
    return ip.chain() == Ipv6Chain::ok && ip.protocol() == IpProtocol::icmpv6 && !ip.has_fragment_header() &&
           ip.hop_limit() == nd_hop_limit && message.type() == type && message.code() == 0 &&
           message.bytes().size() >= fixed_part && !load_address(message.bytes().data() + 8).is_multicast();
}

struct LinkAddress {
    bool sound = false;  // every option has a length and stays within the message
    std::optional<MacAddress> mac{};
};

// Section 4.6: lengths count units of 8 bytes, unknown options are skipped. The first address of its kind counts.
LinkAddress link_address(const Icmpv6Message& message, NdOption wanted) noexcept {
    LinkAddress found;
    auto options = message.bytes().subspan(fixed_part);
    while (!options.empty()) {
        if (options.size() < 8) return {};
        const size_t size = 8 * size_t{load_u8(&options[1])};
        if (size == 0 || size > options.size()) return {};
        if (NdOption{load_u8(options.data())} == wanted && !found.mac) {
            if (size != 8) return {};  // not Ethernet's
            found.mac.emplace();
            std::memcpy(found.mac->octets.data(), &options[2], 6);
        }
        options = options.subspan(size);
    }
    found.sound = true;
    return found;
}

size_t write_message(std::span<std::byte> out, const IpAddress& source, const IpAddress& destination, Icmpv6Type type,
                     uint32_t flags, const IpAddress& target, NdOption option,
                     const std::optional<MacAddress>& our_mac) noexcept {
    const size_t size = our_mac ? neighbor_message_size : neighbor_probe_size;
    if (out.size() < size) return 0;
    const auto length = static_cast<uint16_t>(size - Ipv6Header::fixed_size);
    write_ipv6(out.data(), {.source = source,
                            .destination = destination,
                            .payload_length = length,
                            .next_header = IpProtocol::icmpv6,
                            .hop_limit = nd_hop_limit});
    const auto message = out.subspan(Ipv6Header::fixed_size, length);
    store_be32(message.data(), uint32_t(type) << 24);
    store_be32(message.data() + 4, flags);
    store_address(message.data() + 8, target);
    if (our_mac) {
        store_be16(message.data() + fixed_part, static_cast<uint16_t>(uint16_t(option) << 8 | 1));
        std::memcpy(message.data() + fixed_part + 2, our_mac->octets.data(), 6);
    }
    const uint64_t pseudo = pseudo_header_sum(source, destination, uint8_t(IpProtocol::icmpv6), length);
    store_be16(message.data() + 2, checksum_of(pseudo + sum_of(message)));
    return size;
}

}  // namespace

std::optional<NeighborSolicitation> NeighborSolicitation::parse(const Ipv6Header& ip,
                                                                const Icmpv6Message& message) noexcept {
    if (!is_sound(ip, message, Icmpv6Type::neighbor_solicitation)) return {};
    const LinkAddress link = link_address(message, NdOption::source_link_address);
    if (!link.sound) return {};
    const bool probe = ip.source().is_unspecified();
    if (probe && (!ip.destination().is_solicited_node() || link.mac)) return {};
    return NeighborSolicitation{load_address(message.bytes().data() + 8), link.mac, probe};
}

std::optional<NeighborAdvertisement> NeighborAdvertisement::parse(const Ipv6Header& ip,
                                                                  const Icmpv6Message& message) noexcept {
    if (!is_sound(ip, message, Icmpv6Type::neighbor_advertisement)) return {};
    const LinkAddress link = link_address(message, NdOption::target_link_address);
    if (!link.sound) return {};
    const NeighborAdvertisement found{load_address(message.bytes().data() + 8), link.mac,
                                      load_u8(message.bytes().data() + 4)};
    if (ip.destination().is_multicast() && found.is_solicited()) return {};
    return found;
}

size_t write_neighbor_solicitation(std::span<std::byte> out, const IpAddress& source, const IpAddress& destination,
                                   const IpAddress& target, const std::optional<MacAddress>& our_mac) noexcept {
    return write_message(out, source, destination, Icmpv6Type::neighbor_solicitation, 0, target,
                         NdOption::source_link_address, our_mac);
}

size_t write_neighbor_advertisement(std::span<std::byte> out, const IpAddress& source, const IpAddress& destination,
                                    const IpAddress& target, const MacAddress& our_mac, bool solicited,
                                    bool overrides) noexcept {
    const uint32_t flags = (solicited ? 0x4000'0000u : 0) | (overrides ? 0x2000'0000u : 0);
    return write_message(out, source, destination, Icmpv6Type::neighbor_advertisement, flags, target,
                         NdOption::target_link_address, our_mac);
}

}  // namespace pollux::tcp::wire
