// ARP for Ethernet and IPv4 (RFC 826): a view that has been checked, and writers of the 28 bytes behind the Ethernet
// header. Addresses are host-order numbers, as IpAddress::v4() gives them. Whom to believe is the engine's decision.
#pragma once

#include <cstring>
#include <optional>
#include <span>

#include "tcp/wire/bytes.hpp"
#include "tcp/wire/mac_address.hpp"

namespace pollux::tcp::wire {

enum class ArpOperation : uint16_t { request = 1, reply = 2 };

class ArpPacket {
public:
    static constexpr size_t wire_size = 28;

    /// Nothing if it is short, of other hardware or protocol, or neither a request nor a reply. Padding is cut off.
    static std::optional<ArpPacket> parse(std::span<const std::byte> bytes) noexcept {
        if (bytes.size() < wire_size) return {};
        const std::byte* at = bytes.data();
        const uint16_t operation = load_be16(at + 6);
        if (load_be32(at) != 0x0001'0800 || load_be16(at + 4) != 0x0604 || operation - 1u > 1u) return {};
        return ArpPacket{bytes.first<wire_size>()};
    }

    ArpOperation operation() const noexcept { return ArpOperation{load_be16(bytes_.data() + 6)}; }
    bool is_request() const noexcept { return operation() == ArpOperation::request; }
    MacAddress sender_mac() const noexcept { return mac_at(8); }
    uint32_t sender_v4() const noexcept { return load_be32(bytes_.data() + 14); }
    MacAddress target_mac() const noexcept { return mac_at(18); }
    uint32_t target_v4() const noexcept { return load_be32(bytes_.data() + 24); }

private:
    explicit ArpPacket(std::span<const std::byte, wire_size> checked) noexcept : bytes_(checked) {}

    MacAddress mac_at(size_t offset) const noexcept {
        MacAddress address;
        std::memcpy(address.octets.data(), bytes_.data() + offset, address.octets.size());
        return address;
    }

    std::span<const std::byte, wire_size> bytes_;
};

/// Each writer returns ArpPacket::wire_size, or 0 if `out` is too small.
inline size_t write_arp(std::span<std::byte> out, ArpOperation operation, const MacAddress& sender_mac,
                        uint32_t sender_v4, const MacAddress& target_mac, uint32_t target_v4) noexcept {
    if (out.size() < ArpPacket::wire_size) return 0;
    std::byte* at = out.data();
    store_be32(at, 0x0001'0800);  // Ethernet, IPv4
    store_be16(at + 4, 0x0604);   // address lengths
    store_be16(at + 6, uint16_t(operation));
    std::memcpy(at + 8, sender_mac.octets.data(), 6);
    store_be32(at + 14, sender_v4);
    std::memcpy(at + 18, target_mac.octets.data(), 6);
    store_be32(at + 24, target_v4);
    return ArpPacket::wire_size;
}

/// "Who has target_v4?" Its frame goes to the broadcast address, or to the address last known.
inline size_t write_arp_request(std::span<std::byte> out, const MacAddress& our_mac, uint32_t our_v4,
                                uint32_t target_v4) noexcept {
    return write_arp(out, ArpOperation::request, our_mac, our_v4, MacAddress{}, target_v4);
}

/// Answers `request` for our address.
inline size_t write_arp_reply(std::span<std::byte> out, const MacAddress& our_mac, uint32_t our_v4,
                              const ArpPacket& request) noexcept {
    return write_arp(out, ArpOperation::reply, our_mac, our_v4, request.sender_mac(), request.sender_v4());
}

/// Announces our own address (RFC 5227 section 3): a request for it, from it.
inline size_t write_gratuitous_arp(std::span<std::byte> out, const MacAddress& our_mac, uint32_t our_v4) noexcept {
    return write_arp(out, ArpOperation::request, our_mac, our_v4, MacAddress{}, our_v4);
}

}  // namespace pollux::tcp::wire
