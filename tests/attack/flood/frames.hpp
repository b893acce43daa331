// FrameMaker: the frames of a flood, each from nothing but its number, so that a run is the same every time.
//
// Whole frames with good checksums leave here (`mangled` ones excepted), because what a victim does with a bad
// checksum is only one of the questions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "tcp/segment.hpp"
#include "tcp/wire/mac_address.hpp"

namespace pollux::test {

enum class Kind : uint8_t {
    syn,             // with MSS, SACK-permitted, timestamps, window scale
    plain_syn,       // without options
    ack,             // random numbers
    data,            // the same with 64 bytes
    rst,             // without ACK
    rst_ack,         // with it
    fin,             // without ACK
    fin_ack,         // with it
    flags,           // all 64 sets of the six flags in turn
    closed,          // SYN to a port where nobody listens
    land,            // from the victim to itself, same port
    martian,         // from loopback, multicast, broadcast, reserved or unspecified addresses
    fragment,        // first, middle and last pieces, overlapping and too long ones
    echo,            // ping
    broadcast_echo,  // ping to the broadcast address of the link (smurf)
    too_big,         // ICMP: fragmentation needed, about a connection that may exist
    arp,             // requests and answers in anybody's name
    neighbor,        // the same of IPv6: solicitations and advertisements
    collide,         // SYNs whose tuples all have one hash under the usual RSS key
    mangled,         // all of the above with bytes changed or cut off
    count,
};
std::string_view to_string(Kind kind);

struct Target {
    tcp::wire::MacAddress our_mac{}, victim_mac{};
    tcp::IpAddress v4{}, v6{};  // of the victim
    uint16_t port = 80, closed_port = 81;
};

class FrameMaker {
public:
    /// `v6`: TCP and neighbour discovery over IPv6. `tuples`: how many different sources; 0: as many as can be told
    /// apart.
    FrameMaker(const Target& target, bool v6, uint32_t tuples);

    /// Writes the n-th frame of a kind and returns its size. `room` holds at least 1,514 bytes.
    size_t write(Kind kind, uint64_t n, std::span<std::byte> room) const;

    /// Tuples that collide under the usual RSS key.
    size_t colliding() const { return colliding_.size(); }

private:
    size_t write_tcp(Kind kind, uint64_t n, std::span<std::byte> room) const;
    size_t write_ip(const tcp::Segment& segment, std::span<std::byte> room) const;
    size_t write_fragment(uint64_t n, std::span<std::byte> room) const;
    size_t write_icmp(Kind kind, uint64_t n, std::span<std::byte> room) const;
    size_t write_arp(uint64_t n, std::span<std::byte> room) const;
    size_t write_neighbor(uint64_t n, std::span<std::byte> room) const;
    size_t write_mangled(uint64_t n, std::span<std::byte> room) const;
    size_t finish_frame(size_t ip_size, std::span<std::byte> room) const;
    tcp::IpAddress martian(uint64_t n) const;

    Target target_;
    bool v6_;
    uint64_t tuples_;
    std::vector<tcp::Endpoint> colliding_;
};

/// The Toeplitz hash of an IPv4 tuple under Microsoft's example key, which is the default of many drivers.
uint32_t usual_rss_hash(uint32_t source, uint32_t destination, uint16_t source_port, uint16_t destination_port);

}  // namespace pollux::test
