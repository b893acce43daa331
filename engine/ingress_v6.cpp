// The IPv6 half of ingress: RFC 8200 packets, ICMPv6 (RFC 4443), neighbour discovery (RFC 4861), duplicate address
// detection (RFC 4862). Router advertisements and redirects are ignored: addresses and gateways come from the
// settings.
#include "engine/ingress.hpp"
#include "engine/ingress_common.hpp"
#include "engine/mbuf.hpp"
#include "tcp/wire/nd.hpp"

namespace pollux::engine {

using tcp::Instant;
using tcp::IpAddress;
using tcp::Verdict;
using tcp::wire::ChecksumTrust;
using tcp::wire::Icmpv6Type;
using tcp::wire::IpProtocol;
using tcp::wire::Ipv6Chain;
using tcp::wire::NeighborAdvertisement;
using tcp::wire::NeighborSolicitation;
using tcp::wire::ParseResult;

namespace {

// RFC 4291 section 2.5: what can never be the source of a packet that reaches us. A v4-mapped address inside an IPv6
// packet would pass for an IPv4 peer.
bool is_martian(const IpAddress& source, bool is_ours) {
    return source.is_v4() || source.is_unspecified() || source.is_loopback() || source.is_multicast() || is_ours;
}

/// The groups that we listen to: all nodes, and those of our addresses (RFC 4861 section 7.2.1).
bool is_our_group(const IpAddress& group, const Interface& interface) {
    if (group == tcp::wire::all_nodes) return true;
    for (const config::Prefix& network : interface.networks_v6) {
        if (group == tcp::wire::solicited_node(network.address)) return true;
    }
    return false;
}

}  // namespace

Ingress::End Ingress::ipv6_arrives(rte_mbuf& packet, const EthernetFrame& frame, const Interface& interface,
                                   Instant now) {
    const auto ip = Ipv6Header::parse(frame.payload());
    if (!ip) return count(Verdict::bad_ip_header);
    const IpAddress source = ip->source(), destination = ip->destination();
    const bool discovery = ip->chain() == Ipv6Chain::ok && ip->protocol() == IpProtocol::icmpv6;
    if (frame.is_multicast() || destination.is_multicast()) {
        if (!discovery || !destination.is_multicast()) return count(Verdict::to_broadcast);
        if (!is_our_group(destination, interface)) return count(Verdict::not_our_address);
    } else {
        if (destination.is_v4()) return count(Verdict::martian);
        if (!addresses_.is_usable(interface, destination)) return count(Verdict::not_our_address);
        if (source == destination) return count(Verdict::land);
    }
    // Discovery has rules of its own for two of these: a probe for an address comes from nobody, and an objection to
    // ours from that very address.
    const bool from_us = addresses_.is_ours(interface, source);
    const bool own_rules = discovery && !source.is_v4() && (source.is_unspecified() || from_us);
    if (is_martian(source, from_us) && !own_rules) return count(Verdict::martian);
    switch (ip->chain()) {
        case Ipv6Chain::ok: break;
        case Ipv6Chain::fragment: return count(Verdict::fragment);
        case Ipv6Chain::source_route: return count(Verdict::source_routed);
        case Ipv6Chain::malformed: return count(Verdict::bad_extension_header);
    }
    if (ip->protocol() == IpProtocol::icmpv6) return icmpv6_arrives(packet, frame, *ip, interface, now);
    if (denies(*ip, local_port(ip->protocol(), ip->payload()))) return count(Verdict::filtered);

    uint64_t flow_hash = 0;
    if (may_be_anothers(interface, ip->protocol(), ip->payload().size())) {
        const Ownership& ownership = crossing_.owners[interface.index];
        flow_hash = ownership.hash_of(flow_of(destination, source, ip->payload()));
        const uint32_t owner = ownership.owner_of_hash(flow_hash);
        if (owner != crossing_.side->worker()) return hand_over(packet, interface, owner);
    }
    tcp::Segment& segment = segments_[segment_count_];
    const ParseResult result = tcp::wire::parse_into(*ip, trust_of(packet), segment);
    if (result != ParseResult::ok) return count(verdict_of(result));
    segment.path = paths_.intern(interface, frame.vlan_id(), frame.source());
    if (!hashes_.empty()) hashes_[segment_count_] = flow_hash;
    return End::segment;
}

Ingress::End Ingress::icmpv6_arrives(rte_mbuf& packet, const EthernetFrame& frame, const Ipv6Header& ip,
                                     const Interface& interface, Instant now) {
    const auto message = Icmpv6Message::parse(ip.payload());
    if (!message || !message->checksum_ok(ip.source(), ip.destination())) return count(Verdict::bad_icmp);
    switch (message->type()) {
        case Icmpv6Type::neighbor_solicitation:
            return solicitation_arrives(packet, frame, ip, *message, interface, now);
        case Icmpv6Type::neighbor_advertisement: return advertisement_arrives(frame, ip, *message, interface, now);
        default: break;  // any number may arrive
    }
    if (is_martian(ip.source(), addresses_.is_ours(interface, ip.source()))) return count(Verdict::martian);
    if (ip.destination().is_multicast()) return count(Verdict::icmp_ignored);  // router advertisements among them
    if (!message->is_echo_request()) {
        return notice_arrives(packet, interface, ip.destination(),
                              message->is_error() ? tcp::wire::path_notice(*message) : std::nullopt);
    }
    if (denies(ip, no_port)) return count(Verdict::filtered);
    if (ip.has_extensions()) return count(Verdict::icmp_ignored);
    if (!echo_limit_.allow(now)) return count(Verdict::icmp_limited);
    const size_t size = frame.size() + ip.total_length();
    const auto bytes = bytes_of(packet);
    tcp::wire::turn_into_echo_reply_v6(bytes.first(size).subspan(frame.size()), ttl_, ip.destination());
    return_frame(bytes, interface);
    return answer_in_place(packet, interface, size, Verdict::icmp_echo);
}

// RFC 4861 section 7.2.3, RFC 4862 section 5.4.3.
Ingress::End Ingress::solicitation_arrives(rte_mbuf& packet, const EthernetFrame& frame, const Ipv6Header& ip,
                                           const Icmpv6Message& message, const Interface& interface, Instant now) {
    const auto asked = NeighborSolicitation::parse(ip, message);
    const IpAddress source = ip.source(), target = asked ? asked->target() : IpAddress{};
    const bool from_link = source.is_unspecified() || interface.is_on_link(source);
    if (!asked || !from_link || addresses_.is_ours(interface, source)) return count(Verdict::bad_neighbor_discovery);
    if (const auto mac = asked->source_mac()) {
        const LinkNews news{LinkNews::Kind::neighbor, interface.index, true, *mac, source, false};
        if (mac->is_multicast() || !learn(news, false, now)) return count(Verdict::bad_neighbor_discovery);
    }
    const auto state = addresses_.state_of(interface, target);
    if (state == LocalAddresses::State::tentative && asked->is_probe() && frame.source() != interface.mac) {
        object(interface, target, frame.source());  // two of us want it: neither takes it
    }
    if (state != LocalAddresses::State::usable) return count(Verdict::neighbor_discovery);

    // RFC 4861 section 7.2.4: who asks from nowhere is told by telling everybody.
    const bool probe = asked->is_probe();
    const IpAddress to = probe ? tcp::wire::all_nodes : source;
    const auto bytes = bytes_of(packet);
    return_frame(bytes, interface);
    if (probe) std::memcpy(bytes.data(), tcp::wire::multicast_mac(to).octets.data(), 6);
    const size_t size = tcp::wire::write_neighbor_advertisement(room_of(packet).subspan(frame.size()), target, to,
                                                                target, interface.mac, !probe, true);
    return answer_in_place(packet, interface, frame.size() + size, Verdict::neighbor_discovery);
}

// RFC 4861 section 7.2.5, RFC 4862 section 5.4.4.
Ingress::End Ingress::advertisement_arrives(const EthernetFrame& frame, const Ipv6Header& ip,
                                            const Icmpv6Message& message, const Interface& interface, Instant now) {
    const auto said = NeighborAdvertisement::parse(ip, message);
    if (!said || said->target().is_v4() || ip.source().is_unspecified() || !interface.is_on_link(ip.source())) {
        return count(Verdict::bad_neighbor_discovery);  // the neighbour cache knows IPv4 neighbours by mapped addresses
    }
    if (addresses_.is_ours(interface, said->target())) {
        if (addresses_.is_usable(interface, said->target())) return count(Verdict::bad_neighbor_discovery);
        object(interface, said->target(), frame.source());
        return count(Verdict::neighbor_discovery);
    }
    if (interface.is_ours(ip.source())) return count(Verdict::bad_neighbor_discovery);
    LinkNews news{LinkNews::Kind::neighbor, interface.index, said->is_override(), {}, said->target(),
                  said->is_solicited()};
    if (!said->target_mac()) {  // the answer to a question to the neighbour itself need not say where it is
        if (!said->is_solicited()) return count(Verdict::neighbor_discovery);
        news.kind = LinkNews::Kind::confirmation;
        neighbors_.confirm(news.interface, news.address, now);
        if (crossing_.side) crossing_.side->tell(news, counters_);
        return count(Verdict::neighbor_discovery);
    }
    news.mac = *said->target_mac();
    return count(learn(news, true, now) ? Verdict::neighbor_discovery : Verdict::bad_neighbor_discovery);
}

void Ingress::object(const Interface& interface, const IpAddress& address, const tcp::wire::MacAddress& by) {
    if (!addresses_.object(interface, address)) return;
    counters_.add(tcp::Tally::duplicate_addresses);
    if (!crossing_.side) return;
    crossing_.side->tell({LinkNews::Kind::duplicate_address, interface.index, true, by, address}, counters_);
}

}  // namespace pollux::engine
