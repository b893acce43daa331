// The IPv6 header and its extension headers (RFC 8200): a view that has been checked, and a writer. What lies behind
// the payload length (the padding of short Ethernet frames) is cut off. There is no header checksum.
//
// parse() walks over the extension headers once, in bounded steps, each of which moves on and stays within the
// packet:
//
//     hop-by-hop options    only directly behind the IPv6 header (RFC 8200 section 4.1), anywhere else malformed
//     destination options   anywhere. The options of both kinds are skipped or make the packet malformed, as the two
//                           highest bits of their type ask (section 4.2); how much padding and how many options
//                           is bounded (RFC 8504 section 5.3)
//     routing               of any type, as if unknown (section 4.4): passed over when no segments are left, else a
//                           source route. RFC 5095 wants the same for type 0.
//     fragment              an atomic one, alone in its datagram, is passed over (RFC 6946); any other ends the walk
//
// Headers may come in any order and any number of times (section 4.1), up to a limit that no sender of good will
// reaches. Whatever else the next header says, "no next header" and IPsec included, is the packet's protocol.
#pragma once

#include <optional>
#include <span>

#include "tcp/address.hpp"
#include "tcp/segment.hpp"
#include "tcp/wire/bytes.hpp"
#include "tcp/wire/ip_protocol.hpp"
#include "tcp/wire/parse_result.hpp"

namespace pollux::tcp::wire {

/// What the bounded walk over the extension headers found.
enum class Ipv6Chain : uint8_t { ok, fragment, source_route, malformed };

/// An address of 16 bytes as it stands in a packet.
inline IpAddress load_address(const std::byte* at) noexcept {
    return {{load_be32(at), load_be32(at + 4), load_be32(at + 8), load_be32(at + 12)}};
}
inline void store_address(std::byte* at, const IpAddress& address) noexcept {
    for (size_t i = 0; i < 4; ++i) store_be32(at + 4 * i, address.words[i]);
}

class Ipv6Header {
public:
    static constexpr size_t fixed_size = 40;

    /// Why parse() would refuse: ok, truncated or bad_ip_header.
    static ParseResult check(std::span<const std::byte> bytes) noexcept {
        if (bytes.size() < fixed_size) return ParseResult::truncated;
        if (load_u8(bytes.data()) >> 4 != 6) return ParseResult::bad_ip_header;
        return length_at(bytes) <= bytes.size() ? ParseResult::ok : ParseResult::truncated;
    }
    static std::optional<Ipv6Header> parse(std::span<const std::byte> bytes) noexcept {
        if (check(bytes) != ParseResult::ok) return {};
        return std::optional<Ipv6Header>(std::in_place, Checked{}, bytes.first(length_at(bytes)));
    }
    /// A header quoted by an ICMPv6 error: as parse(), but the packet may have been cut behind the fixed header. A
    /// cut within an extension header leaves a malformed chain.
    static std::optional<Ipv6Header> parse_quoted(std::span<const std::byte> bytes) noexcept {
        if (bytes.size() < fixed_size || load_u8(bytes.data()) >> 4 != 6) return {};
        const size_t total = length_at(bytes);
        return std::optional<Ipv6Header>(std::in_place, Checked{},
                                         bytes.first(total < bytes.size() ? total : bytes.size()));
    }

    /// Of the whole packet, as its header says.
    size_t total_length() const noexcept { return length_at(bytes_); }
    uint8_t dscp() const noexcept { return static_cast<uint8_t>(load_be16(at(0)) >> 6 & 0x3f); }
    Ecn ecn() const noexcept { return Ecn(load_u8(at(1)) >> 4 & 3); }
    uint32_t flow_label() const noexcept { return load_be32(at(0)) & 0xf'ffff; }
    uint8_t hop_limit() const noexcept { return load_u8(at(7)); }
    IpAddress source() const noexcept { return load_address(at(8)); }
    IpAddress destination() const noexcept { return load_address(at(24)); }

    /// Look at this before protocol() and payload(): they are true only of an unbroken chain.
    Ipv6Chain chain() const noexcept { return found_.chain; }
    /// Behind the extension headers.
    IpProtocol protocol() const noexcept { return found_.protocol; }
    std::span<const std::byte> payload() const noexcept { return bytes_.subspan(found_.payload_at); }
    bool has_extensions() const noexcept { return found_.payload_at != fixed_size || found_.chain != Ipv6Chain::ok; }
    /// Atomic or not: neighbor discovery is never believed behind one (RFC 6980).
    bool has_fragment_header() const noexcept { return found_.has_fragment_header; }
    /// Up to the total length.
    std::span<const std::byte> packet() const noexcept { return bytes_; }

private:
    struct Checked {
        explicit Checked() = default;  // nobody else can say {}
    };
    struct Found {
        uint32_t payload_at = fixed_size;
        IpProtocol protocol = IpProtocol::tcp;
        Ipv6Chain chain = Ipv6Chain::ok;
        bool has_fragment_header = false;
    };
    static Found walk(std::span<const std::byte> packet) noexcept;

public:
    /// For parse() alone, which makes the header where it stays: a copy would be read wider than it was written, and
    /// that stalls.
    Ipv6Header(Checked, std::span<const std::byte> checked) noexcept : bytes_(checked) {
        if (load_u8(at(6)) != uint8_t(IpProtocol::tcp)) found_ = walk(checked);
    }

private:
    const std::byte* at(size_t offset) const noexcept { return bytes_.data() + offset; }
    static size_t length_at(std::span<const std::byte> bytes) noexcept {
        return fixed_size + load_be16(bytes.data() + 4);
    }

    std::span<const std::byte> bytes_;
    Found found_;
};

/// What a header that we send says. The flow label is 0: routers that spread flows see ports and addresses.
struct Ipv6Fields {
    IpAddress source{}, destination{};
    uint16_t payload_length = 0;
    IpProtocol next_header = IpProtocol::tcp;
    uint8_t hop_limit = 64;
    uint8_t dscp = 0;
    Ecn ecn = Ecn::not_ect;
};

/// Writes 40 bytes. The caller has made sure that there is room.
inline void write_ipv6(std::byte* out, const Ipv6Fields& fields) noexcept {
    store_be32(out, 0x6000'0000u | uint32_t{fields.dscp} << 22 | uint32_t(fields.ecn) << 20);
    store_be32(out + 4, uint32_t{fields.payload_length} << 16 | uint32_t(fields.next_header) << 8 | fields.hop_limit);
    store_address(out + 8, fields.source);
    store_address(out + 24, fields.destination);
}

}  // namespace pollux::tcp::wire
