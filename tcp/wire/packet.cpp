#include "tcp/wire/packet.hpp"

#include <algorithm>
#include <ostream>

#include "tcp/wire/checksum.hpp"

namespace pollux::tcp::wire {
namespace {

constexpr size_t max_length = 65535;  // of an IPv4 packet, of an IPv6 payload
// Both addresses v4-mapped, the rest as a Segment begins.
constexpr Segment blank_v4{.flow = {IpAddress::from_v4(0), IpAddress::from_v4(0)}};
constexpr Segment blank_v6{};

// IpAddress::is_v4() in one test: here it stands before every packet.
constexpr bool is_v4(const IpAddress& address) noexcept {
    return (address.words[0] | address.words[1] | (address.words[2] ^ 0x0000'ffff)) == 0;
}

size_t headers_size(const Segment& segment, bool v4) noexcept {
    return (v4 ? Ipv4Header::min_size : Ipv6Header::fixed_size) + TcpHeader::min_size + options_size(segment);
}

// Writes the fixed part of the TCP header (RFC 9293 section 3.1) but for the checksum, and returns its sum. Reserved
// bits and the urgent pointer are zero.
uint64_t write_tcp_fixed(std::byte* out, const Segment& segment, size_t header_size) noexcept {
    const uint32_t window = std::min<uint32_t>(segment.window, 0xffff);
    const uint32_t ports = uint32_t{segment.flow.local_port} << 16 | segment.flow.remote_port;
    const uint32_t control = static_cast<uint32_t>(header_size / 4) << 28 | uint32_t(segment.flags) << 16 | window;
    store_be32(out, ports);
    store_be32(out + 4, segment.seq.raw());
    store_be32(out + 8, segment.ack.raw());
    store_be32(out + 12, control);
    return uint64_t{ports} + segment.seq.raw() + segment.ack.raw() + control;
}

// `v4`: whether our address is.
EmitStatus check_emit(const Segment& segment, bool v4, size_t packet_size, size_t room) noexcept {
    if (v4 != is_v4(segment.flow.remote_addr)) return EmitStatus::mixed_families;
    const size_t longest = v4 ? max_length : max_length + Ipv6Header::fixed_size;
    if (packet_size > longest) return EmitStatus::too_long;
    return packet_size <= room ? EmitStatus::ok : EmitStatus::no_room;
}

// The TCP header with its options behind an IP header whose addresses sum up to `addresses`.
[[gnu::always_inline]] inline void write_tcp(const Segment& segment, size_t header_size, size_t payload_size,
                                             uint64_t addresses, uint64_t payload_sum, std::byte* tcp,
                                             ChecksumMode mode) noexcept {
    uint64_t sum = write_tcp_fixed(tcp, segment, header_size);
    sum += write_options(tcp + TcpHeader::min_size, segment);

    const size_t pseudo_length = mode == ChecksumMode::device_segmentation ? 0 : header_size + payload_size;
    const uint64_t pseudo = addresses + uint8_t(IpProtocol::tcp) + pseudo_length;
    // A device continues from the pseudo-header sum and complements the result itself.
    const uint16_t checksum = mode == ChecksumMode::software ? checksum_of(sum + pseudo + payload_sum) : fold(pseudo);
    store_be32(tcp + 16, uint32_t{checksum} << 16);  // urgent pointer 0
}

// All headers. There is room, and the size is known to fit. Each family has a function of its own: in one, the
// registers of the wide addresses would be saved and restored for IPv4 too.
void write_headers_v4(const Segment& segment, size_t payload_size, uint64_t payload_sum, std::byte* out,
                      ChecksumMode mode) noexcept {
    const uint32_t source = segment.flow.local_addr.v4(), destination = segment.flow.remote_addr.v4();
    const size_t header_size = TcpHeader::min_size + options_size(segment);
    write_ipv4(out, {.source = source,
                     .destination = destination,
                     .total_length = static_cast<uint16_t>(Ipv4Header::min_size + header_size + payload_size),
                     .protocol = IpProtocol::tcp,
                     .ttl = segment.ttl,
                     .dscp = segment.traffic_class,
                     .ecn = segment.ecn,
                     .fill_checksum = mode != ChecksumMode::device_segmentation});
    write_tcp(segment, header_size, payload_size, uint64_t{source} + destination, payload_sum,
              out + Ipv4Header::min_size, mode);
}

[[gnu::noinline]] void write_headers_v6(const Segment& segment, size_t payload_size, uint64_t payload_sum,
                                        std::byte* out, ChecksumMode mode) noexcept {
    const IpAddress &source = segment.flow.local_addr, &destination = segment.flow.remote_addr;
    const size_t header_size = TcpHeader::min_size + options_size(segment);
    write_ipv6(out, {.source = source,
                     .destination = destination,
                     .payload_length = static_cast<uint16_t>(header_size + payload_size),
                     .next_header = IpProtocol::tcp,
                     .hop_limit = segment.ttl,
                     .dscp = segment.traffic_class,
                     .ecn = segment.ecn});
    write_tcp(segment, header_size, payload_size, address_sum(source) + address_sum(destination), payload_sum,
              out + Ipv6Header::fixed_size, mode);
}

void write_headers(const Segment& segment, bool v4, size_t payload_size, uint64_t payload_sum, std::byte* out,
                   ChecksumMode mode) noexcept {
    if (v4) return write_headers_v4(segment, payload_size, payload_sum, out, mode);
    write_headers_v6(segment, payload_size, payload_sum, out, mode);
}

// What both families share: the TCP behind a checked IP header, whose addresses sum up to `addresses`. `blank` holds
// the family's part of the tuple; `fill` puts the addresses in.
template <class Header, class Fill>
[[gnu::always_inline]] inline ParseResult tcp_into(const Header& ip, uint64_t addresses, uint8_t ttl,
                                                   const Segment& blank, Fill&& fill, ChecksumTrust trust,
                                                   Segment& segment) noexcept {
    const auto bytes = ip.payload();
    const auto tcp = TcpHeader::parse(bytes);
    if (!tcp) return bytes.size() < TcpHeader::min_size ? ParseResult::truncated : ParseResult::bad_tcp_header;
    if (!trusts(trust, ChecksumTrust::tcp_verified)) {
        const uint64_t pseudo = addresses + uint8_t(IpProtocol::tcp) + bytes.size();
        if (!checks_out(pseudo + sum_of(bytes))) return ParseResult::bad_tcp_checksum;
    }
    // A copy of a constant, then single fields: a temporary Segment or tuple would be written in narrow stores and
    // read back in wide loads, which stalls.
    segment = blank;
    fill();
    segment.flow.local_port = tcp->destination_port();
    segment.flow.remote_port = tcp->source_port();
    segment.seq = tcp->seq();
    segment.ack = tcp->ack();
    segment.window = tcp->window();
    segment.flags = tcp->flags();
    segment.payload = tcp->payload();
    segment.ecn = ip.ecn();
    segment.ttl = ttl;
    segment.traffic_class = ip.dscp();
    return parse_options(tcp->options(), segment) == OptionsResult::ok ? ParseResult::ok : ParseResult::bad_options;
}

}  // namespace

std::string_view to_string(ParseResult result) noexcept {
    switch (result) {
        case ParseResult::ok: return "ok";
        case ParseResult::truncated: return "truncated";
        case ParseResult::bad_ip_header: return "bad_ip_header";
        case ParseResult::bad_ip_checksum: return "bad_ip_checksum";
        case ParseResult::fragment: return "fragment";
        case ParseResult::source_routed: return "source_routed";
        case ParseResult::mapped_address: return "mapped_address";
        case ParseResult::not_tcp: return "not_tcp";
        case ParseResult::bad_tcp_header: return "bad_tcp_header";
        case ParseResult::bad_tcp_checksum: return "bad_tcp_checksum";
        case ParseResult::bad_options: return "bad_options";
    }
    return "?";
}
std::ostream& operator<<(std::ostream& out, ParseResult result) { return out << to_string(result); }

std::string_view to_string(EmitStatus status) noexcept {
    switch (status) {
        case EmitStatus::ok: return "ok";
        case EmitStatus::no_room: return "no_room";
        case EmitStatus::too_long: return "too_long";
        case EmitStatus::mixed_families: return "mixed_families";
    }
    return "?";
}
std::ostream& operator<<(std::ostream& out, EmitStatus status) { return out << to_string(status); }

ParseResult parse_into(const Ipv4Header& ip, ChecksumTrust trust, Segment& segment) noexcept {
    if (!trusts(trust, ChecksumTrust::ip_verified) && !ip.checksum_ok()) return ParseResult::bad_ip_checksum;
    if (ip.is_fragment()) return ParseResult::fragment;
    if (ip.has_options()) {
        const IpOptions options = ip.scan_options();
        if (options == IpOptions::source_route) return ParseResult::source_routed;
        if (options == IpOptions::malformed) return ParseResult::bad_ip_header;
    }
    if (ip.protocol() != IpProtocol::tcp) return ParseResult::not_tcp;

    const uint32_t source = ip.source_v4(), destination = ip.destination_v4();
    const auto fill = [&] {
        segment.flow.local_addr.words[3] = destination;
        segment.flow.remote_addr.words[3] = source;
    };
    return tcp_into(ip, uint64_t{source} + destination, ip.ttl(), blank_v4, fill, trust, segment);
}

ParseResult parse_into(const Ipv6Header& ip, ChecksumTrust trust, Segment& segment) noexcept {
    switch (ip.chain()) {
        case Ipv6Chain::ok: break;
        case Ipv6Chain::fragment: return ParseResult::fragment;
        case Ipv6Chain::source_route: return ParseResult::source_routed;
        case Ipv6Chain::malformed: return ParseResult::bad_ip_header;
    }
    const IpAddress source = ip.source(), destination = ip.destination();
    if (source.is_v4() || destination.is_v4()) return ParseResult::mapped_address;
    if (ip.protocol() != IpProtocol::tcp) return ParseResult::not_tcp;

    const uint64_t addresses = address_sum(source) + address_sum(destination);
    const auto fill = [&] {
        segment.flow.local_addr = destination;
        segment.flow.remote_addr = source;
    };
    return tcp_into(ip, addresses, ip.hop_limit(), blank_v6, fill, trust, segment);
}

[[gnu::noinline]] static ParseResult parse_v6_into(std::span<const std::byte> ip_packet, ChecksumTrust trust,
                                                   Segment& segment) noexcept {
    if (const auto ip = Ipv6Header::parse(ip_packet)) return parse_into(*ip, trust, segment);
    return Ipv6Header::check(ip_packet);
}

ParseResult parse_into(std::span<const std::byte> ip_packet, ChecksumTrust trust, Segment& segment) noexcept {
    if (!ip_packet.empty() && load_u8(ip_packet.data()) >> 4 == 6) return parse_v6_into(ip_packet, trust, segment);
    if (const auto ip = Ipv4Header::parse(ip_packet)) return parse_into(*ip, trust, segment);
    return Ipv4Header::check(ip_packet);
}

ParsedPacket parse(std::span<const std::byte> ip_packet, ChecksumTrust trust) noexcept {
    ParsedPacket packet;
    packet.result = parse_into(ip_packet, trust, packet.segment);
    return packet;
}

size_t headers_size(const Segment& segment) noexcept { return headers_size(segment, is_v4(segment.flow.local_addr)); }

Emitted emit(const Segment& segment, Pieces pieces, std::span<std::byte> out, ChecksumMode mode) noexcept {
    size_t payload_size = 0;
    for (const auto piece : pieces) payload_size += piece.size();
    const bool v4 = is_v4(segment.flow.local_addr);
    const size_t headers = headers_size(segment, v4);
    const EmitStatus status = check_emit(segment, v4, headers + payload_size, out.size());
    if (status != EmitStatus::ok) return {0, status};

    ChecksumSum payload_sum;
    std::byte* at = out.data() + headers;
    for (const auto piece : pieces) {
        if (piece.empty()) continue;
        if (mode == ChecksumMode::software) {
            payload_sum.add_copy(at, piece);
        } else {
            std::memcpy(at, piece.data(), piece.size());
        }
        at += piece.size();
    }
    write_headers(segment, v4, payload_size, payload_sum.sum(), out.data(), mode);
    return {headers + payload_size, EmitStatus::ok};
}

Emitted emit(const Segment& segment, std::span<std::byte> out, ChecksumMode mode) noexcept {
    return emit(segment, Pieces{&segment.payload, 1}, out, mode);
}

Emitted emit_headers(const Segment& segment, size_t payload_size, uint64_t payload_sum, std::span<std::byte> out,
                     ChecksumMode mode) noexcept {
    const bool v4 = is_v4(segment.flow.local_addr);
    const size_t headers = headers_size(segment, v4);
    EmitStatus status = check_emit(segment, v4, headers + payload_size, SIZE_MAX);
    if (status == EmitStatus::ok && headers > out.size()) status = EmitStatus::no_room;
    if (status != EmitStatus::ok) return {0, status};
    write_headers(segment, v4, payload_size, payload_sum, out.data(), mode);
    return {headers, EmitStatus::ok};
}

}  // namespace pollux::tcp::wire
