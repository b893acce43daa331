// Addresses of both families in 16 bytes: IPv4 is stored v4-mapped (RFC 4291 section 2.5.5.2), so that every table,
// tuple and comparison has one shape. A v4-mapped address inside an IPv6 packet is refused at ingress.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pollux::tcp {

/// 16 bytes as four 32-bit groups, each in host order; words[0] holds the first four bytes on the wire.
struct IpAddress {
    std::array<uint32_t, 4> words{};

    constexpr bool operator==(const IpAddress&) const = default;

    /// `v4` in host order: 192.0.2.1 is 0xc0000201.
    static constexpr IpAddress from_v4(uint32_t v4) { return {{0, 0, 0x0000'ffff, v4}}; }
    /// Reads "192.0.2.1" or "2001:db8::1"; nothing else (no prefix, no zone).
    static std::optional<IpAddress> parse(std::string_view text);

    constexpr bool is_v4() const { return words[0] == 0 && words[1] == 0 && words[2] == 0x0000'ffff; }
    constexpr uint32_t v4() const { return words[3]; }
    constexpr bool is_unspecified() const {
        return is_v4() ? words[3] == 0 : (words[0] | words[1] | words[2] | words[3]) == 0;
    }
    constexpr bool is_loopback() const {
        return is_v4() ? words[3] >> 24 == 127 : (words[0] | words[1] | words[2]) == 0 && words[3] == 1;
    }
    constexpr bool is_multicast() const { return is_v4() ? words[3] >> 28 == 0xe : words[0] >> 24 == 0xff; }
    constexpr bool is_limited_broadcast() const { return is_v4() && words[3] == 0xffff'ffff; }
    /// 169.254.0.0/16 (RFC 3927), fe80::/10 (RFC 4291 section 2.5.6).
    constexpr bool is_link_local() const {
        return is_v4() ? words[3] >> 16 == 0xa9fe : words[0] >> 22 == 0xfe80 >> 6;
    }
    /// ff02::1:ff00:0/104 (RFC 4291 section 2.7.1): where the owners of addresses with one ending are asked for them.
    constexpr bool is_solicited_node() const {
        return words[0] == 0xff02'0000 && words[1] == 0 && words[2] == 1 && words[3] >> 24 == 0xff;
    }
    /// 240.0.0.0/4 but the limited broadcast: reserved, never a peer.
    constexpr bool is_reserved() const { return is_v4() && words[3] >> 28 == 0xf && words[3] != 0xffff'ffff; }

    /// "192.0.2.1" or the RFC 5952 form of an IPv6 address.
    std::string to_string() const;
};
static_assert(sizeof(IpAddress) == 16);

/// An address and a port. An unspecified address in a listener means "any local address".
struct Endpoint {
    IpAddress address{};
    uint16_t port = 0;
    constexpr bool operator==(const Endpoint&) const = default;
    std::string to_string() const;
};

}  // namespace pollux::tcp
