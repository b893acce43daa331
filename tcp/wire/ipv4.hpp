// The IPv4 header (RFC 791): a view that has been checked, and a writer. What lies behind the total length (the
// padding of short Ethernet frames) is cut off. Fragments and source routes are recognised, not handled; other
// options are skipped (RFC 9293 MUST-50). The checksum is checked by whoever does not trust the device's verdict.
#pragma once

#include <optional>
#include <span>

#include "tcp/address.hpp"
#include "tcp/segment.hpp"
#include "tcp/wire/bytes.hpp"
#include "tcp/wire/checksum.hpp"
#include "tcp/wire/ip_protocol.hpp"
#include "tcp/wire/parse_result.hpp"

namespace pollux::tcp::wire {

/// What a walk over the IP options finds.
enum class IpOptions : uint8_t { none, harmless, source_route, malformed };

class Ipv4Header {
public:
    static constexpr size_t min_size = 20;
    static constexpr size_t max_size = 60;

    /// Why parse() would refuse: ok, truncated or bad_ip_header.
    static ParseResult check(std::span<const std::byte> bytes) noexcept {
        if (bytes.size() < min_size) return ParseResult::truncated;
        const uint8_t first = load_u8(bytes.data());
        const size_t header = size_t{first & 0x0fu} * 4;
        const size_t total = load_be16(bytes.data() + 2);
        if (first >> 4 != 4 || header < min_size || total < header) return ParseResult::bad_ip_header;
        return total <= bytes.size() ? ParseResult::ok : ParseResult::truncated;
    }
    static std::optional<Ipv4Header> parse(std::span<const std::byte> bytes) noexcept {
        if (check(bytes) != ParseResult::ok) return {};
        return Ipv4Header{bytes.first(load_be16(bytes.data() + 2))};
    }
    /// A header quoted by an ICMP error: as parse(), but the packet may have been cut behind the header.
    static std::optional<Ipv4Header> parse_quoted(std::span<const std::byte> bytes) noexcept {
        if (bytes.size() < min_size) return {};
        const uint8_t first = load_u8(bytes.data());
        const size_t header = size_t{first & 0x0fu} * 4;
        const size_t total = load_be16(bytes.data() + 2);
        if (first >> 4 != 4 || header < min_size || total < header || bytes.size() < header) return {};
        return Ipv4Header{bytes.first(total < bytes.size() ? total : bytes.size())};
    }

    size_t size() const noexcept { return size_t{load_u8(at(0)) & 0x0fu} * 4; }
    size_t total_length() const noexcept { return load_be16(at(2)); }
    uint8_t dscp() const noexcept { return static_cast<uint8_t>(load_u8(at(1)) >> 2); }
    Ecn ecn() const noexcept { return Ecn(load_u8(at(1)) & 3); }
    uint16_t identification() const noexcept { return load_be16(at(4)); }
    bool dont_fragment() const noexcept { return (load_be16(at(6)) & 0x4000) != 0; }
    /// More fragments follow, or this is not the first.
    bool is_fragment() const noexcept { return (load_be16(at(6)) & 0x3fff) != 0; }
    bool more_fragments() const noexcept { return (load_be16(at(6)) & 0x2000) != 0; }
    uint16_t fragment_offset() const noexcept { return (load_be16(at(6)) & 0x1fff); }  // in units of 8 bytes
    uint8_t ttl() const noexcept { return load_u8(at(8)); }
    IpProtocol protocol() const noexcept { return IpProtocol{load_u8(at(9))}; }
    uint16_t checksum() const noexcept { return load_be16(at(10)); }
    uint32_t source_v4() const noexcept { return load_be32(at(12)); }
    uint32_t destination_v4() const noexcept { return load_be32(at(16)); }
    IpAddress source() const noexcept { return IpAddress::from_v4(source_v4()); }
    IpAddress destination() const noexcept { return IpAddress::from_v4(destination_v4()); }
    std::span<const std::byte> options() const noexcept { return bytes_.subspan(min_size, size() - min_size); }
    /// Up to the total length.
    std::span<const std::byte> payload() const noexcept { return bytes_.subspan(size()); }
    std::span<const std::byte> packet() const noexcept { return bytes_; }

    bool checksum_ok() const noexcept {
        return checks_out(size() == min_size ? sum_of_20(at(0)) : sum_of(bytes_.first(size())));
    }
    bool has_options() const noexcept { return size() > min_size; }
    bool has_source_route() const noexcept { return scan_options() == IpOptions::source_route; }
    IpOptions scan_options() const noexcept { return has_options() ? scan(options()) : IpOptions::none; }

private:
    explicit Ipv4Header(std::span<const std::byte> checked) noexcept : bytes_(checked) {}
    const std::byte* at(size_t offset) const noexcept { return bytes_.data() + offset; }

    static IpOptions scan(std::span<const std::byte> options) noexcept {
        constexpr uint8_t end = 0, no_operation = 1, loose_source_route = 131, strict_source_route = 137;
        for (size_t i = 0; i < options.size();) {
            const uint8_t kind = load_u8(&options[i]);
            if (kind == end) break;
            if (kind == no_operation) {
                ++i;
                continue;
            }
            if (kind == loose_source_route || kind == strict_source_route) return IpOptions::source_route;
            if (i + 1 >= options.size()) return IpOptions::malformed;
            const size_t length = load_u8(&options[i + 1]);
            if (length < 2 || length > options.size() - i) return IpOptions::malformed;
            i += length;
        }
        return IpOptions::harmless;
    }

    std::span<const std::byte> bytes_;
};

/// What a header that we send says; identification is 0 and Don't Fragment is set (RFC 6864: an atomic datagram).
struct Ipv4Fields {
    uint32_t source = 0, destination = 0;  // host order
    uint16_t total_length = 0;
    IpProtocol protocol = IpProtocol::tcp;
    uint8_t ttl = 64;
    uint8_t dscp = 0;
    Ecn ecn = Ecn::not_ect;
    bool fill_checksum = true;  // false: the field is 0, for devices that segment
};

/// Writes 20 bytes without options. The caller has made sure that there is room.
inline void write_ipv4(std::byte* out, const Ipv4Fields& fields) noexcept {
    const uint32_t first =
        0x4500'0000u | uint32_t{fields.dscp} << 18 | uint32_t(fields.ecn) << 16 | fields.total_length;
    const uint32_t second = 0x0000'4000u;
    const uint32_t third = uint32_t{fields.ttl} << 24 | uint32_t(fields.protocol) << 16;
    // The sum comes from the registers: reading narrow stores back in wide loads would stall.
    const uint64_t sum = uint64_t{first} + second + third + fields.source + fields.destination;
    store_be32(out, first);
    store_be32(out + 4, second);
    store_be32(out + 8, fields.fill_checksum ? third | checksum_of(sum) : third);
    store_be32(out + 12, fields.source);
    store_be32(out + 16, fields.destination);
}

}  // namespace pollux::tcp::wire
