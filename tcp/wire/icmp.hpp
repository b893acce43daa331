// ICMP (RFC 792): a view that has been checked, the echo reply, and what an error says about one of our connections.
//
// An error quotes the IP header and at least 8 bytes of the packet that caused it; for TCP these hold the ports and
// the sequence number. That is all the proof of origin there is (RFC 5927 section 4): the stack compares the sequence
// number with what is outstanding before it believes anything.
#pragma once

#include <optional>
#include <span>

#include "tcp/path_notice.hpp"
#include "tcp/segment.hpp"
#include "tcp/wire/bytes.hpp"
#include "tcp/wire/checksum.hpp"
#include "tcp/wire/ipv4.hpp"

namespace pollux::tcp::wire {

enum class IcmpType : uint8_t {
    echo_reply = 0,
    destination_unreachable = 3,
    source_quench = 4,
    redirect = 5,
    echo_request = 8,
    time_exceeded = 11,
    parameter_problem = 12,
};

class IcmpMessage {
public:
    static constexpr size_t header_size = 8;

    /// `bytes` are the IP payload. Nothing if the header does not fit. The checksum is a question of its own.
    static std::optional<IcmpMessage> parse(std::span<const std::byte> bytes) noexcept {
        if (bytes.size() < header_size) return {};
        return IcmpMessage{bytes};
    }

    IcmpType type() const noexcept { return IcmpType{load_u8(bytes_.data())}; }
    uint8_t code() const noexcept { return load_u8(bytes_.data() + 1); }
    uint16_t checksum() const noexcept { return load_be16(bytes_.data() + 2); }
    bool checksum_ok() const noexcept { return checks_out(sum_of(bytes_)); }
    uint16_t identifier() const noexcept { return load_be16(bytes_.data() + 4); }
    uint16_t sequence() const noexcept { return load_be16(bytes_.data() + 6); }
    /// RFC 1191 section 4; 0 from routers that predate it.
    uint16_t next_hop_mtu() const noexcept { return load_be16(bytes_.data() + 6); }
    /// Echo data, or the packet that an error quotes.
    std::span<const std::byte> body() const noexcept { return bytes_.subspan(header_size); }
    std::span<const std::byte> bytes() const noexcept { return bytes_; }

    bool is_echo_request() const noexcept { return type() == IcmpType::echo_request && code() == 0; }

private:
    explicit IcmpMessage(std::span<const std::byte> checked) noexcept : bytes_(checked) {}
    std::span<const std::byte> bytes_;
};

/// Writes the reply to `request` (the ICMP message alone) and returns its size; 0 if `out` is too small. The same
/// bytes come back (RFC 1122 section 3.2.2.6), and a wrong checksum stays wrong: check it first.
inline size_t write_echo_reply(std::span<std::byte> out, const IcmpMessage& request) noexcept {
    const auto bytes = request.bytes();
    if (out.size() < bytes.size()) return 0;
    if (out.data() != bytes.data()) std::memcpy(out.data(), bytes.data(), bytes.size());
    const uint16_t old_word = load_be16(out.data());
    store_be16(out.data(), 0);
    const uint16_t checksum = updated_checksum(load_be16(out.data() + 2), old_word, 0);
    // Of a message that is all zeros now, 0 would be wrong: 0xffff is always as good (RFC 1624 section 3).
    store_be16(out.data() + 2, checksum == 0 ? 0xffff : checksum);
    return bytes.size();
}

/// Turns the IPv4 packet of an echo request into its reply where it stands: addresses change places, the TTL starts
/// again. False, and nothing is changed, if it is not an unfragmented echo request without IP options.
inline bool turn_into_echo_reply(std::span<std::byte> ip_packet, uint8_t ttl) noexcept {
    const auto ip = Ipv4Header::parse(ip_packet);
    if (!ip || ip->has_options() || ip->is_fragment() || ip->protocol() != IpProtocol::icmp) return false;
    const auto request = IcmpMessage::parse(ip->payload());
    if (!request || !request->is_echo_request()) return false;
    const size_t size = write_echo_reply(ip_packet.subspan(Ipv4Header::min_size), *request);
    write_ipv4(ip_packet.data(), {.source = ip->destination_v4(),
                                  .destination = ip->source_v4(),
                                  .total_length = static_cast<uint16_t>(Ipv4Header::min_size + size),
                                  .protocol = IpProtocol::icmp,
                                  .ttl = ttl,
                                  .dscp = ip->dscp()});
    return true;
}

struct IcmpError {
    FourTuple flow{};            // of the quoted packet: we are its source
    SeqNum seq{};                // of the quoted segment
    uint32_t next_hop_mtu = 0;   // of "fragmentation needed", else 0
    uint16_t quoted_length = 0;  // of the whole quoted packet, as its header says
    IcmpType type{};
    uint8_t code = 0;
};

/// The error and the TCP packet that it quotes. Nothing if it is no error, quotes no TCP over IPv4, quotes a later
/// fragment, or too little. The caller has checked the checksum.
inline std::optional<IcmpError> parse_icmp_error(const IcmpMessage& message) noexcept {
    IcmpError error{.type = message.type(), .code = message.code()};
    switch (error.type) {
        case IcmpType::destination_unreachable:
            if (error.code == 4) error.next_hop_mtu = message.next_hop_mtu();
            break;
        case IcmpType::source_quench:
        case IcmpType::time_exceeded:
        case IcmpType::parameter_problem: break;
        default: return {};  // any number may arrive; the others are no errors
    }
    constexpr size_t quoted_tcp = 8;  // RFC 792: ports and sequence number
    const auto ip = Ipv4Header::parse_quoted(message.body());
    if (!ip || ip->protocol() != IpProtocol::tcp || ip->fragment_offset() != 0) return {};
    const auto tcp = ip->payload();
    if (tcp.size() < quoted_tcp) return {};
    error.flow = {ip->source(), ip->destination(), load_be16(tcp.data()), load_be16(tcp.data() + 2)};
    error.seq = SeqNum{load_be32(tcp.data() + 4)};
    error.quoted_length = static_cast<uint16_t>(ip->total_length());
    return error;
}

/// What the error means to the connection. Nothing for a source quench (RFC 9293 MUST-55, RFC 6633).
constexpr std::optional<PathNotice> path_notice(const IcmpError& error) noexcept {
    using enum PathNotice::Kind;
    PathNotice notice{.kind = unreachable_soft, .flow = error.flow, .quoted_seq = error.seq, .mtu = 0};
    if (error.type == IcmpType::source_quench) return {};
    if (error.type != IcmpType::destination_unreachable) return notice;
    switch (error.code) {
        case 4:
            notice.kind = too_big;
            notice.mtu = error.next_hop_mtu;
            notice.quoted_length = error.quoted_length;
            break;
        case 2:  // protocol unreachable
        case 3:  // port unreachable
        case 9:  // network, host, communication administratively prohibited (RFC 1122 section 3.2.2.1, RFC 1812)
        case 10:
        case 13: notice.kind = unreachable_hard; break;
        default: break;
    }
    return notice;
}

}  // namespace pollux::tcp::wire
