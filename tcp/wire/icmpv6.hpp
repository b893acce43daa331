// ICMPv6 (RFC 4443): a view that has been checked, the echo reply, and what an error says about one of our
// connections. Neighbor discovery has a file of its own (nd.hpp).
//
// An error quotes as much of the packet that caused it as fits into 1280 bytes: for TCP at least the ports and the
// sequence number. As with ICMP, that number is all the proof of origin there is (RFC 5927 section 4).
#pragma once

#include <optional>
#include <span>

#include "tcp/path_notice.hpp"
#include "tcp/wire/bytes.hpp"
#include "tcp/wire/checksum.hpp"
#include "tcp/wire/ipv6.hpp"

namespace pollux::tcp::wire {

enum class Icmpv6Type : uint8_t {
    destination_unreachable = 1,
    packet_too_big = 2,
    time_exceeded = 3,
    parameter_problem = 4,
    echo_request = 128,
    echo_reply = 129,
    router_solicitation = 133,
    router_advertisement = 134,
    neighbor_solicitation = 135,
    neighbor_advertisement = 136,
    redirect = 137,
};

class Icmpv6Message {
public:
    static constexpr size_t header_size = 8;

    /// `bytes` are the IPv6 payload. Nothing if the header does not fit. The checksum is a question of its own.
    static std::optional<Icmpv6Message> parse(std::span<const std::byte> bytes) noexcept {
        if (bytes.size() < header_size) return {};
        return Icmpv6Message{bytes};
    }

    Icmpv6Type type() const noexcept { return Icmpv6Type{load_u8(bytes_.data())}; }
    uint8_t code() const noexcept { return load_u8(bytes_.data() + 1); }
    /// RFC 4443 section 2.3: unlike ICMP's, it covers the pseudo-header.
    bool checksum_ok(const IpAddress& source, const IpAddress& destination) const noexcept {
        const auto length = static_cast<uint32_t>(bytes_.size());
        return checks_out(pseudo_header_sum(source, destination, uint8_t(IpProtocol::icmpv6), length) +
                          sum_of(bytes_));
    }
    /// Of packet_too_big (RFC 4443 section 3.2).
    uint32_t mtu() const noexcept { return load_be32(bytes_.data() + 4); }
    /// Echo data, or the packet that an error quotes.
    std::span<const std::byte> body() const noexcept { return bytes_.subspan(header_size); }
    std::span<const std::byte> bytes() const noexcept { return bytes_; }

    bool is_echo_request() const noexcept { return type() == Icmpv6Type::echo_request && code() == 0; }
    /// RFC 4443 section 2.1: the highest bit tells errors from information.
    bool is_error() const noexcept { return uint8_t(type()) < 128; }

private:
    explicit Icmpv6Message(std::span<const std::byte> checked) noexcept : bytes_(checked) {}
    std::span<const std::byte> bytes_;
};

/// Turns the IPv6 packet of an echo request into its reply where it stands (RFC 4443 section 4.2): it goes to the
/// source, comes from `our_address` (to which the request went, unless that was a group), and its hop limit starts
/// again. A wrong checksum stays wrong: check it first. False, and nothing is changed, if it is not an echo request
/// directly behind the IPv6 header.
bool turn_into_echo_reply_v6(std::span<std::byte> ip_packet, uint8_t hop_limit,
                             const IpAddress& our_address) noexcept;

/// What an error means to the connection whose packet it quotes, seen from our side. Nothing if it is no error,
/// quotes no TCP over IPv6, a fragment, or too little. The caller has checked the checksum.
std::optional<PathNotice> path_notice(const Icmpv6Message& message) noexcept;

}  // namespace pollux::tcp::wire
