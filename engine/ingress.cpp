#include "engine/ingress.hpp"

#include <cstring>

#include "engine/ingress_common.hpp"
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

// RFC 1122 section 3.2.1.3: what can never be the source of a packet that reaches us.
bool is_martian(uint32_t source, const Interface& interface) {
    const auto address = tcp::IpAddress::from_v4(source);
    return source >> 24 == 0 || address.is_loopback() || address.is_multicast() || address.is_reserved() ||
           interface.is_broadcast(source) || interface.is_ours(source);
}

}  // namespace

Ingress::Ingress(Paths& paths, Neighbors& neighbors, LocalAddresses& addresses, Egress& egress,
                 tcp::Counters& counters, const IcmpPolicy& icmp, const Crossing& crossing, uint32_t capacity)
    : paths_(paths),
      neighbors_(neighbors),
      addresses_(addresses),
      egress_(egress),
      counters_(counters),
      crossing_(crossing),
      echo_limit_(icmp.replies_per_second, icmp.seed),
      ttl_(icmp.ttl),
      segments_(capacity),
      hashes_(crossing.side ? capacity : 0) {
    notices_.reserve(capacity);
}

void Ingress::read(std::span<rte_mbuf*> burst, const Interface& interface, Instant now) {
    handed_over_ = false;
    read_all(
        burst, [&](const rte_mbuf&) -> const Interface& { return interface; }, now);
}

void Ingress::read_handed_over(std::span<rte_mbuf*> burst, std::span<const Interface> interfaces, Instant now) {
    counters_.add(tcp::Tally::taken_over, burst.size());
    handed_over_ = true;
    read_all(
        burst, [&](const rte_mbuf& packet) -> const Interface& { return interfaces[packet.port]; }, now);
}

template <class InterfaceOf>
void Ingress::read_all(std::span<rte_mbuf*> burst, InterfaceOf&& interface_of, Instant now) {
    const auto prefetch = [&](size_t i) {
        if (i >= burst.size()) return;
        rte_prefetch0(rte_pktmbuf_mtod(burst[i], const std::byte*));
        rte_prefetch0(rte_pktmbuf_mtod(burst[i], const std::byte*) + 64);
    };
    for (size_t i = 0; i < prefetch_ahead; ++i) prefetch(i);
    for (size_t i = 0; i < burst.size(); ++i) {
        prefetch(i + prefetch_ahead);
        if (rules_ != nullptr) prefetch_rules(burst, i);
        switch (frame_arrives(*burst[i], interface_of(*burst[i]), now)) {
            case End::counted: break;
            case End::segment: ++segment_count_; break;
            case End::gone: burst[i] = nullptr; break;
        }
    }
}

// What the rules read of the packets behind this one, whose headers have come near by now.
void Ingress::prefetch_rules(std::span<rte_mbuf*> burst, size_t i) const {
    constexpr size_t type_at = 12, source_at = 26, read = 30;  // IPv4 without a tag: others do without
    const auto source_of = [&](size_t at) -> std::optional<uint32_t> {
        if (at >= burst.size() || rte_pktmbuf_data_len(burst[at]) < read) return {};
        const auto* frame = rte_pktmbuf_mtod(burst[at], const std::byte*);
        if (tcp::wire::load_be16(frame + type_at) != uint16_t(EtherType::ipv4)) return {};
        return tcp::wire::load_be32(frame + source_at);
    };
    if (const auto source = source_of(i + 2)) rules_->prefetch_v4(*source);
    if (const auto source = source_of(i + 1)) rules_->prefetch_v4_further(*source);
}

void Ingress::hear(const LinkNews& news, std::span<const Interface> interfaces, Instant now) {
    switch (news.kind) {
        case LinkNews::Kind::neighbor:
            neighbors_.learn(news.interface, news.address, news.mac, news.overrides, now, news.confirms);
            break;
        case LinkNews::Kind::confirmation: neighbors_.confirm(news.interface, news.address, now); break;
        case LinkNews::Kind::duplicate_address: addresses_.give_up(interfaces[news.interface], news.address); break;
    }
}

/// False: it contradicts what is known. The other workers may have asked: they are told what may be their answer.
bool Ingress::learn(const LinkNews& news, bool is_answer, Instant now) {
    if (!neighbors_.learn(news.interface, news.address, news.mac, news.overrides, now, news.confirms)) return false;
    if (is_answer && crossing_.side) crossing_.side->tell(news, counters_);
    return true;
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
        case EtherType::ipv6: return ipv6_arrives(packet, *frame, interface, now);
        case EtherType::arp: return arp_arrives(packet, *frame, interface, now);
        default: return count(Verdict::unknown_ethertype);  // any number may arrive
    }
}

// The packet, whose frame has become its own answer of `size` bytes, goes back where it came from.
Ingress::End Ingress::answer_in_place(rte_mbuf& packet, const Interface& interface, size_t size, Verdict verdict) {
    reuse_for_sending(packet, size);
    if (!egress_.send_control(interface, &packet)) return End::counted;
    counters_.add(verdict);
    return End::gone;
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
    const LinkNews news{LinkNews::Kind::neighbor, interface.index, true, arp->sender_mac(),
                        tcp::IpAddress::from_v4(sender)};
    const bool is_answer = !arp->is_request() || sender == arp->target_v4();  // or an announcement
    if (sender != 0 && !learn(news, is_answer, now)) return count(Verdict::bad_arp);
    if (!arp->is_request() || !interface.is_ours(arp->target_v4())) return count(Verdict::arp);

    const auto bytes = bytes_of(packet);
    std::byte body[ArpPacket::wire_size];
    const size_t size =
        tcp::wire::write_arp(body, ArpOperation::reply, interface.mac, arp->target_v4(), arp->sender_mac(), sender);
    return_frame(bytes, interface);
    std::memcpy(bytes.data() + frame.size(), body, size);
    return answer_in_place(packet, interface, frame.size() + size, Verdict::arp);
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
    if (denies(*ip, local_port(ip->protocol(), ip->payload()))) return count(Verdict::filtered);

    uint64_t flow_hash = 0;
    if (may_be_anothers(interface, ip->protocol(), ip->payload().size())) {
        const Ownership& ownership = crossing_.owners[interface.index];
        flow_hash = ownership.hash_of(flow_of(ip->destination(), ip->source(), ip->payload()));
        const uint32_t owner = ownership.owner_of_hash(flow_hash);
        if (owner != crossing_.side->worker()) return hand_over(packet, interface, owner);
    }
    tcp::Segment& segment = segments_[segment_count_];
    const ParseResult result = tcp::wire::parse_into(*ip, trust | ChecksumTrust::ip_verified, segment);
    if (result != ParseResult::ok) return count(verdict_of(result));
    segment.path = paths_.intern(interface, frame.vlan_id(), frame.source());
    if (!hashes_.empty()) hashes_[segment_count_] = flow_hash;
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
        const auto error = tcp::wire::parse_icmp_error(*message);
        return notice_arrives(packet, interface, ip.destination(),
                              error ? tcp::wire::path_notice(*error) : std::nullopt);
    }
    if (denies(ip, no_port)) return count(Verdict::filtered);
    if (ip.has_options()) return count(Verdict::icmp_ignored);
    if (!echo_limit_.allow(now)) return count(Verdict::icmp_limited);
    const size_t size = frame.size() + ip.total_length();  // without the padding of short frames
    const auto bytes = bytes_of(packet);
    tcp::wire::turn_into_echo_reply(bytes.first(size).subspan(frame.size()), ttl_);
    return_frame(bytes, interface);
    return answer_in_place(packet, interface, size, Verdict::icmp_echo);
}

// RFC 9293 section 3.9.2.2. What the stack makes of a notice is its own decision; whose stack, the quoted tuple says.
Ingress::End Ingress::notice_arrives(rte_mbuf& packet, const Interface& interface, const tcp::IpAddress& destination,
                                     const std::optional<PathNotice>& notice) {
    // The quoted packet was ours if it came from where this one goes.
    if (!notice || notice->flow.local_addr != destination) return count(Verdict::icmp_ignored);
    if (crossing_.side && !handed_over_) {
        const uint32_t self = crossing_.side->worker();
        const uint32_t owner = crossing_.owners[interface.index].owner_of(notice->flow, self);
        if (owner != self) return hand_over(packet, interface, owner);
    }
    if (notices_.size() == notices_.capacity()) return count(Verdict::icmp_ignored);
    notices_.push_back(*notice);
    return End::counted;
}

}  // namespace pollux::engine
