// Paths: the ways that packets came by, interned. A path is (port, VLAN, link address) and has a 16-bit number that
// segments and connections carry; it holds the Ethernet header of the way back, ready to copy. So a server answers
// on the path that a packet came by and needs no neighbour resolution.
//
// Bounded: when the table is full, new peers get tcp::unresolved_path and are reached through ARP. The table is
// never cleaned: its size is what a link has stations, not what the world has clients.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "engine/interface.hpp"
#include "tcp/segment.hpp"
#include "tcp/wire/ethernet.hpp"

namespace pollux::engine {

struct Path {
    std::array<std::byte, 18> header{};  // Ethernet of IPv4, with a VLAN tag if there is one; its last 2 bytes say so
    uint8_t header_size = 0;
    uint8_t interface = 0;
};

/// The Ethernet header that leads from `interface` to `mac`.
Path make_path(const Interface& interface, uint16_t vlan, const tcp::wire::MacAddress& mac);

class Paths {
public:
    /// `seed` keeps stations of the link from choosing their places in the table.
    explicit Paths(uint32_t capacity, uint64_t seed);

    /// The number of the path to `mac`; unresolved_path when there is no place left.
    tcp::PathId intern(const Interface& interface, uint16_t vlan, const tcp::wire::MacAddress& mac) {
        const uint64_t key = key_of(interface.index, vlan, mac);
        if (key == last_key_) return last_id_;  // bursts mostly come from one station: the gateway
        return find_or_add(key, interface, vlan, mac);
    }
    bool knows(tcp::PathId id) const { return id < paths_.size(); }
    const Path& operator[](tcp::PathId id) const { return paths_[id]; }
    size_t size() const { return paths_.size(); }
    uint32_t capacity() const { return capacity_; }

private:
    static uint64_t key_of(uint8_t interface, uint16_t vlan, const tcp::wire::MacAddress& mac) {
        uint64_t key = 0;
        std::memcpy(&key, mac.octets.data(), mac.octets.size());
        return key | uint64_t{vlan} << 48 | uint64_t{interface} << 60;
    }
    tcp::PathId find_or_add(uint64_t key, const Interface& interface, uint16_t vlan,
                            const tcp::wire::MacAddress& mac);

    struct Slot {
        uint64_t key = 0;
        tcp::PathId id = tcp::unresolved_path;  // unresolved_path: free
    };
    static constexpr uint32_t probes = 8;

    std::vector<Path> paths_;  // reserved at start
    std::vector<Slot> slots_;
    uint32_t capacity_;
    uint32_t shift_;
    uint64_t multiplier_;
    uint64_t last_key_ = ~uint64_t{0};  // no key: its link address would be a group's
    tcp::PathId last_id_ = tcp::unresolved_path;
};

}  // namespace pollux::engine
