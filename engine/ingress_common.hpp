// What both halves of ingress use: ingress.cpp and ingress_v6.cpp.
#pragma once

#include <cstring>
#include <span>

#include "engine/dpdk.hpp"
#include "engine/interface.hpp"
#include "tcp/segment.hpp"
#include "tcp/verdict.hpp"
#include "tcp/wire/bytes.hpp"
#include "tcp/wire/packet.hpp"

namespace pollux::engine {

// A device's "bad" is not believed either: the software says the same of a packet that is bad.
inline tcp::wire::ChecksumTrust trust_of(const rte_mbuf& packet) {
    using tcp::wire::ChecksumTrust;
    ChecksumTrust trust = ChecksumTrust::verify_all;
    if ((packet.ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) == RTE_MBUF_F_RX_IP_CKSUM_GOOD) {
        trust = trust | ChecksumTrust::ip_verified;
    }
    if ((packet.ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD) {
        trust = trust | ChecksumTrust::tcp_verified;
    }
    return trust;
}

// Of what parse_into() refuses behind a checked IP header.
inline tcp::Verdict verdict_of(tcp::wire::ParseResult result) {
    using tcp::Verdict;
    using tcp::wire::ParseResult;
    switch (result) {
        case ParseResult::bad_tcp_checksum: return Verdict::bad_tcp_checksum;
        case ParseResult::bad_options: return Verdict::bad_options;
        case ParseResult::truncated:
        case ParseResult::bad_tcp_header: return Verdict::bad_tcp_header;
        case ParseResult::bad_ip_header: return Verdict::bad_ip_header;
        case ParseResult::mapped_address: return Verdict::martian;
        case ParseResult::bad_ip_checksum: return Verdict::bad_ip_checksum;
        case ParseResult::fragment: return Verdict::fragment;
        case ParseResult::source_routed: return Verdict::source_routed;
        case ParseResult::not_tcp: return Verdict::unknown_protocol;
        case ParseResult::ok: break;
    }
    return Verdict::bad_tcp_header;
}

// The frame goes back where it came from; the tags stay.
inline void return_frame(std::span<std::byte> bytes, const Interface& interface) {
    std::memcpy(bytes.data(), bytes.data() + 6, 6);
    std::memcpy(bytes.data() + 6, interface.mac.octets.data(), 6);
}

/// The tuple that a packet from `remote` to us names at the front of its TCP header.
inline tcp::FourTuple flow_of(const tcp::IpAddress& local, const tcp::IpAddress& remote,
                              std::span<const std::byte> ports) {
    return {local, remote, tcp::wire::load_be16(ports.data() + 2), tcp::wire::load_be16(ports.data())};
}

/// Ours, of what has a TCP header; 0 of anything else.
inline uint16_t local_port(tcp::wire::IpProtocol protocol, std::span<const std::byte> payload) {
    const bool has_ports = protocol == tcp::wire::IpProtocol::tcp && payload.size() >= 4;
    return has_ports ? tcp::wire::load_be16(payload.data() + 2) : uint16_t{0};
}

}  // namespace pollux::engine
