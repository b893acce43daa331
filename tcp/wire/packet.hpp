// Whole IP packets to Segments and back, on plain bytes: tests and tools drive the stack with it, and the engine uses
// the same functions on mbuf memory. What parse() accepts has been checked from the IP version to the last option;
// what it refuses has a name. emit() writes headers, options, payload and checksums. Both serve IPv4 and IPv6, by the
// packet's version and the tuple's addresses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <span>
#include <string_view>

#include "tcp/segment.hpp"
#include "tcp/wire/ipv4.hpp"
#include "tcp/wire/ipv6.hpp"
#include "tcp/wire/parse_result.hpp"
#include "tcp/wire/tcp_header.hpp"
#include "tcp/wire/tcp_options.hpp"

namespace pollux::tcp::wire {

/// Which checksums the device has found good already (RFC 9293 MUST-3: somebody always checks). An IPv6 header has
/// none, whatever the device says of it.
enum class ChecksumTrust : uint8_t { verify_all = 0, ip_verified = 1, tcp_verified = 2, all_verified = 3 };
constexpr ChecksumTrust operator|(ChecksumTrust a, ChecksumTrust b) noexcept {
    return ChecksumTrust(uint8_t(a) | uint8_t(b));
}
constexpr bool trusts(ChecksumTrust trust, ChecksumTrust what) noexcept {
    return (uint8_t(trust) & uint8_t(what)) == uint8_t(what);
}

struct ParsedPacket {
    ParseResult result = ParseResult::truncated;
    Segment segment{};  // meaningful only when ok
};

/// Reads an IP packet that should hold TCP. On ok every field of `segment` but `path` is set (our side is the
/// destination) and its payload borrows from `ip_packet`; otherwise `segment` holds anything.
[[nodiscard]] ParseResult parse_into(std::span<const std::byte> ip_packet, ChecksumTrust trust,
                                     Segment& segment) noexcept;
/// The same behind an IP header that was checked already.
[[nodiscard]] ParseResult parse_into(const Ipv4Header& ip, ChecksumTrust trust, Segment& segment) noexcept;
[[nodiscard]] ParseResult parse_into(const Ipv6Header& ip, ChecksumTrust trust, Segment& segment) noexcept;
[[nodiscard]] ParsedPacket parse(std::span<const std::byte> ip_packet, ChecksumTrust trust) noexcept;

/// Who fills the checksums in (RFC 9293 MUST-2: somebody always does).
enum class ChecksumMode : uint8_t {
    software,             // both are complete
    device,               // TCP's holds the pseudo-header sum only; the IPv4 header's is complete (cheap, and not
                          // every device that sums TCP sums IP)
    device_segmentation,  // as a device wants it that cuts the payload into segments: IPv4's is 0, TCP's the
                          // pseudo-header sum without the length
};

enum class EmitStatus : uint8_t { ok, no_room, too_long, mixed_families };
std::string_view to_string(EmitStatus status) noexcept;
std::ostream& operator<<(std::ostream& out, EmitStatus status);

/// How much was written; 0 unless ok.
struct Emitted {
    size_t size = 0;
    EmitStatus status = EmitStatus::ok;
    constexpr operator size_t() const noexcept { return size; }
};

using Pieces = std::span<const std::span<const std::byte>>;

/// Bytes before the payload: IP header, TCP header, options.
size_t headers_size(const Segment& segment) noexcept;

/// Writes a whole packet: our side is the source, the payload is what `pieces` hold one behind the other, and
/// segment.payload is ignored.
[[nodiscard]] Emitted emit(const Segment& segment, Pieces pieces, std::span<std::byte> out,
                           ChecksumMode mode) noexcept;
/// The same with segment.payload as the payload.
[[nodiscard]] Emitted emit(const Segment& segment, std::span<std::byte> out,
                           ChecksumMode mode = ChecksumMode::software) noexcept;

/// The headers alone, for a payload of `payload_size` bytes that lies elsewhere. `payload_sum` is its partial
/// checksum (checksum.hpp); only ChecksumMode::software uses it.
[[nodiscard]] Emitted emit_headers(const Segment& segment, size_t payload_size, uint64_t payload_sum,
                                   std::span<std::byte> out, ChecksumMode mode) noexcept;

}  // namespace pollux::tcp::wire
