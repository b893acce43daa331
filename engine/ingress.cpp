#include "engine/ingress.hpp"

#include <cstring>

#include "engine/mbuf.hpp"
#include "tcp/wire/arp.hpp"

namespace pollux::engine {

using tcp::Instant;
using tcp::PathNotice;
using tcp::Verdict;
using tcp::wire::ArpOperation;
using tcp::wire::ArpPacket;
using tcp::wire::ChecksumTrust;
using tcp::wire::EthernetFrame;
using tcp::wire::EtherType;
using tcp::wire::IcmpMessage;
using tcp::wire::IpOptions;
using tcp::wire::IpProtocol;
using tcp::wire::Ipv4Header;
using tcp::wire::ParseResult;

namespace {

constexpr size_t prefetch_ahead = 4;  // packets; bench/keep_alive_turn_bench

// A device's "bad" is not believed either: the software says the same of a packet that is bad.
ChecksumTrust trust_of(const rte_mbuf& packet) {
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
Verdict verdict_of(ParseResult result) {
    switch (result) {
        case ParseResult::bad_tcp_checksum: return Verdict::bad_tcp_checksum;
        case ParseResult::bad_options: return Verdict::bad_options;
        case ParseResult::truncated:
        case ParseResult::bad_tcp_header: return Verdict::bad_tcp_header;
        case ParseResult::bad_ip_header:
        case ParseResult::mapped_address: return Verdict::bad_ip_header;
        case ParseResult::bad_ip_checksum: return Verdict::bad_ip_checksum;
        case ParseResult::fragment: return Verdict::fragment;
        case ParseResult::source_routed: return Verdict::source_routed;
        case ParseResult::not_tcp: return Verdict::unknown_protocol;
        case ParseResult::ok: break;
    }
    return Verdict::bad_tcp_header;
}

// RFC 1122 section 3.2.1.3: what can never be the source of a packet that reaches us.
bool is_martian(uint32_t source, const Interface& interface) {
    const auto address = tcp::IpAddress::from_v4(source);
    return source >> 24 == 0 || address.is_loopback() || address.is_multicast() || address.is_reserved() ||
           interface.is_broadcast(source) || interface.is_ours(source);
}

// The frame goes back where it came from; the tags stay.
void return_frame(std::span<std::byte> bytes, const Interface& interface) {
    std::memcpy(bytes.data(), bytes.data() + 6, 6);
    std::memcpy(bytes.data() + 6, interface.mac.octets.data(), 6);
}

}  // namespace

Ingress::Ingress(Paths& paths, Neighbors& neighbors, Egress& egress, tcp::Counters& counters, const IcmpPolicy& icmp,
                 uint32_t capacity)
    : paths_(paths),
      neighbors_(neighbors),
      egress_(egress),
      counters_(counters),
      echo_limit_(icmp.replies_per_second, icmp.seed),
      ttl_(icmp.ttl),
      segments_(capacity) {
    notices_.reserve(capacity);
}

void Ingress::read(std::span<rte_mbuf*> burst, const Interface& interface, Instant now) {
    const auto prefetch = [&](size_t i) {
        if (i >= burst.size()) return;
        rte_prefetch0(rte_pktmbuf_mtod(burst[i], const std::byte*));
        rte_prefetch0(rte_pktmbuf_mtod(burst[i], const std::byte*) + 64);
    };
    for (size_t i = 0; i < prefetch_ahead; ++i) prefetch(i);
    for (size_t i = 0; i < burst.size(); ++i) {
        prefetch(i + prefetch_ahead);
        switch (frame_arrives(*burst[i], interface, now)) {
            case End::counted: break;
            case End::segment: ++segment_count_; break;
            case End::sent_back: burst[i] = nullptr; break;
        }
    }
}

Ingress::End Ingress::frame_arrives(rte_mbuf& packet, const Interface& interface, Instant now) {
    // Frames larger than our packets come in several segments; with our pools only foreign buffers do (memif).
    if (packet.nb_segs > 1 && rte_pktmbuf_linearize(&packet) != 0) return count(Verdict::no_buffer);
    const auto frame = EthernetFrame::parse(bytes_of(packet));
    if (!frame) return count(Verdict::frame_too_short);
    if (!frame->is_multicast() && frame->destination() != interface.mac) return count(Verdict::not_our_frame);
    if ((uint8_t(frame->source().octets[0]) & 1) != 0) return count(Verdict::not_our_frame);  // a group sends nothing
    switch (frame->ether_type()) {
        case EtherType::ipv4: return ipv4_arrives(packet, *frame, interface, now);
        case EtherType::arp: return arp_arrives(packet, *frame, interface, now);
        default: return count(Verdict::unknown_ethertype);  // any number may arrive
    }
}

Ingress::End Ingress::arp_arrives(rte_mbuf& packet, const EthernetFrame& frame, const Interface& interface,
                                  Instant now) {
    const auto arp = ArpPacket::parse(frame.payload());
    if (!arp) return count(Verdict::bad_arp);
    const uint32_t sender = arp->sender_v4();
    // RFC 5227 section 2.1: a probe asks from address 0. Otherwise the sender is a host of this link, and not us.
    const bool sender_is_host = interface.is_on_link(sender) && !interface.is_broadcast(sender);
    if (interface.is_ours(sender) || arp->sender_mac().is_multicast() || (sender != 0 && !sender_is_host)) {
        return count(Verdict::bad_arp);
    }
    if (sender != 0 && !neighbors_.learn(interface.index, *arp, now)) return count(Verdict::bad_arp);
    if (!arp->is_request() || !interface.is_ours(arp->target_v4())) return count(Verdict::arp);

    const auto bytes = bytes_of(packet);
    std::byte body[ArpPacket::wire_size];
    const size_t size =
        tcp::wire::write_arp(body, ArpOperation::reply, interface.mac, arp->target_v4(), arp->sender_mac(), sender);
    return_frame(bytes, interface);
    std::memcpy(bytes.data() + frame.size(), body, size);
    reuse_for_sending(packet, frame.size() + size);
    if (!egress_.send_control(interface, &packet)) return End::counted;
    counters_.add(Verdict::arp);
    return End::sent_back;
}

Ingress::End Ingress::ipv4_arrives(rte_mbuf& packet, const EthernetFrame& frame, const Interface& interface,
                                   Instant now) {
    const auto ip = Ipv4Header::parse(frame.payload());
    if (!ip) return count(Verdict::bad_ip_header);
    const ChecksumTrust trust = trust_of(packet);
    if (!trusts(trust, ChecksumTrust::ip_verified) && !ip->checksum_ok()) return count(Verdict::bad_ip_checksum);

    const uint32_t source = ip->source_v4(), destination = ip->destination_v4();
    if (frame.is_multicast() || destination >> 28 == 0xe || interface.is_broadcast(destination)) {
        return count(Verdict::to_broadcast);
    }
    if (!interface.is_ours(destination)) return count(Verdict::not_our_address);
    if (source == destination) return count(Verdict::land);
    if (is_martian(source, interface)) return count(Verdict::martian);
    if (ip->is_fragment()) return count(Verdict::fragment);
    if (ip->protocol() == IpProtocol::icmp) return icmp_arrives(packet, frame, *ip, interface, now);

    tcp::Segment& segment = segments_[segment_count_];
    const ParseResult result = tcp::wire::parse_into(*ip, trust | ChecksumTrust::ip_verified, segment);
    if (result != ParseResult::ok) return count(verdict_of(result));
    segment.path = paths_.intern(interface, frame.vlan_id(), frame.source());
    return End::segment;
}

Ingress::End Ingress::icmp_arrives(rte_mbuf& packet, const EthernetFrame& frame, const Ipv4Header& ip,
                                   const Interface& interface, Instant now) {
    switch (ip.scan_options()) {
        case IpOptions::source_route: return count(Verdict::source_routed);
        case IpOptions::malformed: return count(Verdict::bad_ip_header);
        case IpOptions::none:
        case IpOptions::harmless: break;
    }
    const auto message = IcmpMessage::parse(ip.payload());
    if (!message || !message->checksum_ok()) return count(Verdict::bad_icmp);
    if (!message->is_echo_request()) {
        icmp_error_arrives(ip, *message);
        return End::counted;
    }
    if (ip.has_options()) return count(Verdict::icmp_ignored);
    if (!echo_limit_.allow(now)) return count(Verdict::icmp_limited);
    const size_t size = frame.size() + ip.total_length();  // without the padding of short frames
    const auto bytes = bytes_of(packet);
    tcp::wire::turn_into_echo_reply(bytes.first(size).subspan(frame.size()), ttl_);
    return_frame(bytes, interface);
    reuse_for_sending(packet, size);
    if (!egress_.send_control(interface, &packet)) return End::counted;
    counters_.add(Verdict::icmp_echo);
    return End::sent_back;
}

// RFC 9293 section 3.9.2.2. What the stack makes of a notice is its own decision.
void Ingress::icmp_error_arrives(const Ipv4Header& ip, const IcmpMessage& message) {
    const auto error = tcp::wire::parse_icmp_error(message);
    // The quoted packet was ours if it came from where this one goes.
    const bool ours = error && error->flow.local_addr == ip.destination();
    const auto notice = ours ? tcp::wire::path_notice(*error) : std::nullopt;
    if (!notice || notices_.size() == notices_.capacity()) {
        counters_.add(Verdict::icmp_ignored);
        return;
    }
    notices_.push_back(*notice);
}

}  // namespace pollux::engine
