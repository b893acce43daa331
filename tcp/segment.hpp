// Segment: the one value that the protocol reads and writes. It has no byte order, no checksum and no mbuf; wire/
// turns packets into Segments and back. A received segment borrows its payload from the packet until the turn ends;
// what is sent gathers its payload from the pieces of a TxBatch instead.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <span>
#include <string>

#include "tcp/address.hpp"
#include "tcp/seq_num.hpp"

namespace pollux::tcp {

/// A connection's name, seen from our side.
struct FourTuple {
    IpAddress local_addr{}, remote_addr{};
    uint16_t local_port = 0, remote_port = 0;
    constexpr bool operator==(const FourTuple&) const = default;
    std::string to_string() const;  // "192.0.2.1:80 <- 192.0.2.2:40000"
};
static_assert(sizeof(FourTuple) == 36);

/// The control bits of RFC 9293 section 3.1, at their places on the wire.
enum class Flags : uint8_t {
    none = 0,
    fin = 1,
    syn = 2,
    rst = 4,
    psh = 8,
    ack = 16,
    urg = 32,
    ece = 64,
    cwr = 128,
};
constexpr Flags operator|(Flags a, Flags b) { return Flags(uint8_t(a) | uint8_t(b)); }
constexpr Flags operator&(Flags a, Flags b) { return Flags(uint8_t(a) & uint8_t(b)); }
constexpr Flags operator~(Flags a) { return Flags(uint8_t(~uint8_t(a))); }
constexpr Flags& operator|=(Flags& a, Flags b) { return a = a | b; }
constexpr bool any(Flags f) { return f != Flags::none; }

/// Which options a segment carries; the values stand in the Segment's own fields.
enum class Present : uint8_t { none = 0, mss = 1, window_scale = 2, sack_permitted = 4, timestamps = 8 };
constexpr Present operator|(Present a, Present b) { return Present(uint8_t(a) | uint8_t(b)); }
constexpr Present operator&(Present a, Present b) { return Present(uint8_t(a) & uint8_t(b)); }
constexpr Present operator~(Present a) { return Present(uint8_t(~uint8_t(a))); }
constexpr Present& operator|=(Present& a, Present b) { return a = a | b; }
constexpr bool any(Present p) { return p != Present::none; }

/// The ECN field of the IP header (RFC 3168 section 5).
enum class Ecn : uint8_t { not_ect = 0, ect1 = 1, ect0 = 2, ce = 3 };

/// Received bytes [first, end) that lie beyond the acknowledgment number (RFC 2018 section 3).
struct SackBlock {
    SeqNum first{}, end{};
    constexpr bool operator==(const SackBlock&) const = default;
};

/// TSval and TSecr (RFC 7323 section 3.2).
struct Timestamps {
    uint32_t value = 0, echo = 0;
    constexpr bool operator==(const Timestamps&) const = default;
};

/// Where a packet came from and where its answer goes: an interned (port, VLAN, link address). The engine gives the
/// numbers out; `unresolved` asks the engine to look the next hop up by address.
using PathId = uint16_t;
inline constexpr PathId unresolved_path = 0xffff;

struct alignas(64) Segment {
    FourTuple flow{};
    SeqNum seq{}, ack{};
    uint32_t window = 0;  // the 16 bits on the wire; the connection applies the scale
    Timestamps timestamps{};
    std::array<SackBlock, 4> sack_blocks{};
    std::span<const std::byte> payload{};
    Flags flags = Flags::none;
    Present present = Present::none;
    uint8_t window_scale = 0;
    uint8_t sack_count = 0;
    uint16_t mss = 0;
    PathId path = unresolved_path;
    Ecn ecn = Ecn::not_ect;
    uint8_t ttl = 64;           // hop limit
    uint8_t traffic_class = 0;  // the six DSCP bits

    constexpr bool has(Flags f) const { return any(flags & f); }
    constexpr bool has(Present p) const { return any(present & p); }
    constexpr std::span<const SackBlock> sack() const { return {sack_blocks.data(), sack_count}; }
    /// SEG.LEN for `payload_size` payload bytes: SYN and FIN occupy one number each (RFC 9293 section 3.4).
    constexpr uint32_t seq_length(uint32_t payload_size) const {
        return payload_size + (has(Flags::syn) ? 1 : 0) + (has(Flags::fin) ? 1 : 0);
    }
    constexpr uint32_t seq_length() const { return seq_length(static_cast<uint32_t>(payload.size())); }
};
static_assert(sizeof(Segment) == 128, "two cache lines");

/// "[S.] seq 0 ack 1 win 65535 len 0 <mss 1460,ws 7>": failures, traces and scripts share this notation.
std::string to_string(const Segment& segment);
std::string to_string(Flags flags);  // "S." "P." "F." "R" "none"
std::ostream& operator<<(std::ostream& out, const Segment& segment);
std::ostream& operator<<(std::ostream& out, const IpAddress& address);
std::ostream& operator<<(std::ostream& out, SeqNum seq);

}  // namespace pollux::tcp
