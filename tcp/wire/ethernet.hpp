// Ethernet II frames: a view that has been checked, and a writer. Up to two VLAN tags (IEEE 802.1Q and 802.1ad) are
// skipped; the outer identifier is reported. A third tag stays in place as an EtherType that nobody knows. VLAN
// identifier 0 (a priority tag) means "no VLAN", as the standard says.
#pragma once

#include <cstring>
#include <optional>
#include <span>

#include "tcp/wire/bytes.hpp"
#include "tcp/wire/mac_address.hpp"

namespace pollux::tcp::wire {

/// The EtherTypes that we know; any other number may occur.
enum class EtherType : uint16_t { ipv4 = 0x0800, arp = 0x0806, vlan = 0x8100, ipv6 = 0x86dd, service_vlan = 0x88a8 };

inline constexpr uint16_t no_vlan = 0;

class EthernetFrame {
public:
    static constexpr size_t header_size = 14;
    static constexpr size_t vlan_tag_size = 4;

    /// Nothing if the frame ends within its header or tags.
    static std::optional<EthernetFrame> parse(std::span<const std::byte> bytes) noexcept {
        if (bytes.size() < header_size) return {};
        size_t size = header_size;
        uint16_t vlan = no_vlan;
        while (is_vlan(load_be16(bytes.data() + size - 2)) && size < header_size + 2 * vlan_tag_size) {
            if (bytes.size() < size + vlan_tag_size) return {};
            if (size == header_size) vlan = load_be16(bytes.data() + size) & 0x0fff;
            size += vlan_tag_size;
        }
        return EthernetFrame{bytes, static_cast<uint16_t>(size), vlan};
    }

    MacAddress destination() const noexcept { return address_at(0); }
    MacAddress source() const noexcept { return address_at(6); }
    /// Of the payload, behind the tags.
    EtherType ether_type() const noexcept { return EtherType{load_be16(bytes_.data() + size_ - 2)}; }
    /// The outer VLAN, or no_vlan.
    uint16_t vlan_id() const noexcept { return vlan_; }
    size_t size() const noexcept { return size_; }
    std::span<const std::byte> payload() const noexcept { return bytes_.subspan(size_); }

    /// Sent to a group. RFC 1122 section 3.2.2 and RFC 9293 MUST-57: such a frame never carries TCP.
    bool is_multicast() const noexcept { return (load_u8(bytes_.data()) & 1) != 0; }
    bool is_broadcast() const noexcept { return destination().is_broadcast(); }

private:
    EthernetFrame(std::span<const std::byte> checked, uint16_t size, uint16_t vlan) noexcept
        : bytes_(checked), size_(size), vlan_(vlan) {}

    static constexpr bool is_vlan(uint16_t type) noexcept {
        return type == uint16_t(EtherType::vlan) || type == uint16_t(EtherType::service_vlan);
    }
    MacAddress address_at(size_t offset) const noexcept {
        MacAddress address;
        std::memcpy(address.octets.data(), bytes_.data() + offset, address.octets.size());
        return address;
    }

    std::span<const std::byte> bytes_;
    uint16_t size_;
    uint16_t vlan_;
};

constexpr size_t ethernet_size(uint16_t vlan_id = no_vlan) noexcept {
    return EthernetFrame::header_size + (vlan_id == no_vlan ? 0 : EthernetFrame::vlan_tag_size);
}

/// Writes ethernet_size(vlan_id) bytes and returns how many; 0 if `out` is too small.
inline size_t write_ethernet(std::span<std::byte> out, const MacAddress& destination, const MacAddress& source,
                             EtherType type, uint16_t vlan_id = no_vlan) noexcept {
    const size_t size = ethernet_size(vlan_id);
    if (out.size() < size) return 0;
    std::memcpy(out.data(), destination.octets.data(), 6);
    std::memcpy(out.data() + 6, source.octets.data(), 6);
    if (vlan_id != no_vlan) {
        store_be16(out.data() + 12, uint16_t(EtherType::vlan));
        store_be16(out.data() + 14, vlan_id & 0x0fff);
    }
    store_be16(out.data() + size - 2, uint16_t(type));
    return size;
}

}  // namespace pollux::tcp::wire
