// Neighbor discovery (RFC 4861) as far as a host needs it that ignores routers' advertisements: who has an address,
// and I have it; duplicate address detection (RFC 4862 section 5.4) asks the same from no address.
//
// parse() makes all the checks of RFC 4861 sections 7.1.1 and 7.1.2 but the checksum: hop limit 255 (no router has
// forwarded it), code 0, length, options with a length and within the message, a target that is no group, the rules
// for messages from the unspecified address and to groups. A message behind a fragment header, or with a link-layer
// address that is not Ethernet's, is refused too (RFC 6980; RFC 2464 section 6). Whom to believe is the engine's
// decision.
#pragma once

#include <optional>
#include <span>

#include "tcp/wire/icmpv6.hpp"
#include "tcp/wire/ipv6.hpp"
#include "tcp/wire/mac_address.hpp"

namespace pollux::tcp::wire {

/// RFC 4291 section 2.7.1.
inline constexpr IpAddress all_nodes{{0xff02'0000, 0, 0, 1}};
/// Whole IPv6 packets, as the writers below make them.
inline constexpr size_t neighbor_probe_size = Ipv6Header::fixed_size + 24;
inline constexpr size_t neighbor_message_size = neighbor_probe_size + 8;  // with a link-layer address

class NeighborSolicitation {
public:
    /// `message` is the payload of `ip`.
    static std::optional<NeighborSolicitation> parse(const Ipv6Header& ip, const Icmpv6Message& message) noexcept;

    IpAddress target() const noexcept { return target_; }
    std::optional<MacAddress> source_mac() const noexcept { return mac_; }
    /// From the unspecified address: somebody wants to use the target and asks whether anybody does.
    bool is_probe() const noexcept { return is_probe_; }

private:
    NeighborSolicitation(const IpAddress& target, const std::optional<MacAddress>& mac, bool probe) noexcept
        : target_(target), mac_(mac), is_probe_(probe) {}

    IpAddress target_;
    std::optional<MacAddress> mac_;
    bool is_probe_;
};

class NeighborAdvertisement {
public:
    /// `message` is the payload of `ip`.
    static std::optional<NeighborAdvertisement> parse(const Ipv6Header& ip, const Icmpv6Message& message) noexcept;

    IpAddress target() const noexcept { return target_; }
    std::optional<MacAddress> target_mac() const noexcept { return mac_; }
    bool is_router() const noexcept { return (flags_ & 0x80) != 0; }
    /// An answer to a solicitation: the neighbor hears us.
    bool is_solicited() const noexcept { return (flags_ & 0x40) != 0; }
    /// The address replaces another one that is known.
    bool is_override() const noexcept { return (flags_ & 0x20) != 0; }

private:
    NeighborAdvertisement(const IpAddress& target, const std::optional<MacAddress>& mac, uint8_t flags) noexcept
        : target_(target), mac_(mac), flags_(flags) {}

    IpAddress target_;
    std::optional<MacAddress> mac_;
    uint8_t flags_;
};

/// Each writes a whole IPv6 packet with its checksum and returns its size, or 0 if `out` is too small. Without
/// `our_mac`, as from the unspecified address, there is no option.
size_t write_neighbor_solicitation(std::span<std::byte> out, const IpAddress& source, const IpAddress& destination,
                                   const IpAddress& target, const std::optional<MacAddress>& our_mac) noexcept;
size_t write_neighbor_advertisement(std::span<std::byte> out, const IpAddress& source, const IpAddress& destination,
                                    const IpAddress& target, const MacAddress& our_mac, bool solicited,
                                    bool overrides) noexcept;

/// The group in which the owner of `address` listens for solicitations (RFC 4291 section 2.7.1).
constexpr IpAddress solicited_node(const IpAddress& address) noexcept {
    return {{0xff02'0000, 0, 1, 0xff00'0000 | (address.words[3] & 0x00ff'ffff)}};
}

/// The Ethernet group of an IPv6 group (RFC 2464 section 7).
constexpr MacAddress multicast_mac(const IpAddress& group) noexcept {
    const uint32_t low = group.words[3];
    return {{0x33, 0x33, static_cast<uint8_t>(low >> 24), static_cast<uint8_t>(low >> 16),
             static_cast<uint8_t>(low >> 8), static_cast<uint8_t>(low)}};
}

}  // namespace pollux::tcp::wire
