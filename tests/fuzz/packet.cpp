// Frames of any bytes, at every layer: no view leaves the bytes it was made of, what is accepted can be written again
// and means the same, and what a device says of checksums changes nothing but what is trusted.
#include "tcp/wire/packet.hpp"

#include <array>
#include <vector>

#include "tcp/wire/arp.hpp"
#include "tcp/wire/ethernet.hpp"
#include "tcp/wire/icmp.hpp"
#include "tcp/wire/icmpv6.hpp"
#include "tcp/wire/nd.hpp"
#include "tests/fuzz/repair.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/support/guard_page.hpp"

namespace pollux::fuzz {
namespace {

using namespace tcp;
using namespace tcp::wire;

using View = std::span<const std::byte>;
constexpr size_t longest = 2'048;

bool is_inside(View part, View whole) {
    return part.empty() || (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

bool same_bytes(View a, View b) { return std::ranges::equal(a, b); }

// All that a sender can say. Options that we do not know are not said again.
bool same_segment(const Segment& a, const Segment& b) {
    const auto blocks = sack_blocks_written(a);
    const auto scale = [](const Segment& s) { return s.has(Present::window_scale) ? s.window_scale : 0; };
    const auto mss = [](const Segment& s) { return s.has(Present::mss) ? s.mss : 0; };
    const auto stamps = [](const Segment& s) { return s.has(Present::timestamps) ? s.timestamps : Timestamps{}; };
    return a.flow == b.flow && a.seq == b.seq && a.ack == b.ack && a.window == b.window && a.flags == b.flags &&
           a.present == b.present && scale(a) == scale(b) && mss(a) == mss(b) && stamps(a) == stamps(b) &&
           blocks == sack_blocks_written(b) &&
           std::equal(a.sack_blocks.begin(), a.sack_blocks.begin() + blocks, b.sack_blocks.begin()) &&
           same_bytes(a.payload, b.payload) && a.ecn == b.ecn && a.ttl == b.ttl && a.traffic_class == b.traffic_class;
}

Segment turned_round(Segment segment) {
    std::swap(segment.flow.local_addr, segment.flow.remote_addr);
    std::swap(segment.flow.local_port, segment.flow.remote_port);
    return segment;
}

// The segment leaves as its sender would send it, in one piece and in several, and arrives as it was.
void writes_again(const Segment& segment) {
    const Segment said = turned_round(segment);
    const size_t size = headers_size(said) + said.payload.size();
    std::vector<std::byte> packet(size), pieces(size), short_of(size - 1);
    const Emitted emitted = emit(said, packet);
    demand(emitted.status == EmitStatus::ok && emitted.size == size, "what was read can be written");
    const ParsedPacket again = parse(packet, ChecksumTrust::verify_all);
    demand(again.result == ParseResult::ok && same_segment(again.segment, segment), "and read again as it was");
    demand(emit(said, short_of).status == EmitStatus::no_room, "what does not fit is not written");

    const size_t cut = said.payload.size() / 3;
    const std::array<View, 3> three{said.payload.first(cut), View{}, said.payload.subspan(cut)};
    demand(emit(said, three, pieces, ChecksumMode::software).size == size && same_bytes(pieces, packet),
           "pieces make the same packet");
    std::vector<std::byte> headers(headers_size(said));
    demand(emit_headers(said, said.payload.size(), sum_of(said.payload), headers, ChecksumMode::software).size ==
                   headers.size() &&
               same_bytes(headers, View{packet}.first(headers.size())),
           "headers alone are the packet's");
    for (const ChecksumMode mode : {ChecksumMode::device, ChecksumMode::device_segmentation}) {
        demand(emit(said, three, pieces, mode).size == size, "a device's packet is as long");
        const ParsedPacket trusted = parse(pieces, ChecksumTrust::all_verified);
        demand(trusted.result == ParseResult::ok && same_segment(trusted.segment, segment), "and says the same");
    }
    Segment mixed = said;
    mixed.flow.remote_addr = said.flow.local_addr.is_v4() ? IpAddress{{0x2001'0db8, 0, 0, 9}} : IpAddress::from_v4(9);
    demand(emit(mixed, packet).status == EmitStatus::mixed_families, "no packet is of two families");
    demand(emit_headers(said, 70'000, 0, headers, ChecksumMode::software).status == EmitStatus::too_long,
           "no packet is longer than its length field");
}

void reads_tcp(View packet) {
    std::array<ParsedPacket, 4> parsed;
    for (size_t trust = 0; trust < 4; ++trust) parsed[trust] = parse(packet, ChecksumTrust(trust));
    const auto& strict = parsed[0];
    demand(!to_string(strict.result).starts_with('?'), "every end has a name");
    for (const auto& [result, segment] : parsed) {
        if (result != ParseResult::ok) continue;
        demand(is_inside(segment.payload, packet), "a payload is a part of its packet");
        demand(segment.sack_count <= segment.sack_blocks.size(), "at most four blocks");
        if (strict.result == ParseResult::ok)
            demand(same_segment(segment, strict.segment), "trust changes nothing that is said");
        else
            demand(strict.result == ParseResult::bad_ip_checksum || strict.result == ParseResult::bad_tcp_checksum,
                   "trust forgives checksums alone");
    }
    if (strict.result != ParseResult::ok) return;
    for (const auto& [result, segment] : parsed) demand(result == ParseResult::ok, "what checks out is trusted");
    writes_again(strict.segment);
}

void reads_icmp(const Ipv4Header& ip) {
    const auto message = IcmpMessage::parse(ip.payload());
    if (!message) return;
    const auto error = parse_icmp_error(*message);
    if (error) {
        const auto notice = path_notice(*error);
        demand(!notice || notice->flow == error->flow, "a notice is about the packet that was quoted");
        demand(!notice || notice->kind == PathNotice::Kind::too_big || notice->mtu == 0, "only too-big names a size");
    }
    std::vector<std::byte> copy(ip.packet().begin(), ip.packet().end());
    const bool turned = turn_into_echo_reply(copy, 77);
    demand(turned == (message->is_echo_request() && !ip.has_options() && !ip.is_fragment()),
           "an echo request is answered, and nothing else");
    if (!turned) {
        demand(same_bytes(copy, ip.packet()), "what is not answered stays as it was");
        return;
    }
    const auto reply = Ipv4Header::parse(copy);
    demand(reply && reply->checksum_ok() && reply->source_v4() == ip.destination_v4() &&
               reply->destination_v4() == ip.source_v4() && reply->ttl() == 77,
           "a reply goes back");
    const auto said = IcmpMessage::parse(reply->payload());
    demand(said && said->type() == IcmpType::echo_reply && same_bytes(said->body(), message->body()) &&
               said->identifier() == message->identifier() && said->sequence() == message->sequence(),
           "a reply says what was asked");
    demand(said->checksum_ok() == message->checksum_ok(), "a right checksum stays right, a wrong one wrong");
}

void reads_discovery(const Ipv6Header& ip, const Icmpv6Message& message) {
    std::array<std::byte, neighbor_message_size> out;
    if (const auto asked = NeighborSolicitation::parse(ip, message)) {
        demand(!asked->target().is_multicast() && ip.hop_limit() == 255, "nobody asks for a group, or from afar");
        demand(!asked->is_probe() || !asked->source_mac(), "a probe comes from nobody");
        const size_t size =
            write_neighbor_solicitation(out, ip.source(), ip.destination(), asked->target(), asked->source_mac());
        const auto written = Ipv6Header::parse(View{out}.first(size));
        const auto again = NeighborSolicitation::parse(*written, *Icmpv6Message::parse(written->payload()));
        demand(again && again->target() == asked->target() && again->source_mac() == asked->source_mac(),
               "a question is asked again as it was");
    }
    if (const auto said = NeighborAdvertisement::parse(ip, message)) {
        demand(!said->target().is_multicast() && ip.hop_limit() == 255, "nobody is a group, or speaks from afar");
        if (!said->target_mac()) return;
        const size_t size =
            write_neighbor_advertisement(out, ip.source(), ip.destination(), said->target(), *said->target_mac(),
                                         said->is_solicited(), said->is_override());
        const auto written = Ipv6Header::parse(View{out}.first(size));
        const auto again = NeighborAdvertisement::parse(*written, *Icmpv6Message::parse(written->payload()));
        demand(again && again->target() == said->target() && again->target_mac() == said->target_mac() &&
                   again->is_override() == said->is_override() && again->is_solicited() == said->is_solicited(),
               "an answer is given again as it was");
    }
}

void reads_icmpv6(const Ipv6Header& ip) {
    const auto message = Icmpv6Message::parse(ip.payload());
    if (!message) return;
    const auto notice = path_notice(*message);
    demand(!notice || (!notice->flow.local_addr.is_v4() && !notice->flow.remote_addr.is_v4()),
           "an IPv6 error is about IPv6");
    demand(!notice || message->is_error(), "a notice comes of an error");
    reads_discovery(ip, *message);
    std::vector<std::byte> copy(ip.packet().begin(), ip.packet().end());
    const IpAddress us{{0x2001'0db8, 0, 0, 1}};
    const bool turned = turn_into_echo_reply_v6(copy, 77, us);
    demand(turned == (message->is_echo_request() && !ip.has_extensions()), "an echo request is answered");
    if (!turned) {
        demand(same_bytes(copy, ip.packet()), "what is not answered stays as it was");
        return;
    }
    const auto reply = Ipv6Header::parse(copy);
    demand(reply && reply->source() == us && reply->destination() == ip.source(), "a reply goes back");
    const auto said = Icmpv6Message::parse(reply->payload());
    demand(said && said->type() == Icmpv6Type::echo_reply && same_bytes(said->body(), message->body()),
           "a reply says what was asked");
    // The pseudo-header takes two mapped addresses for IPv4's: ingress drops such packets before.
    if (ip.source().is_v4() || ip.destination().is_v4()) return;
    demand(said->checksum_ok(us, ip.source()) == message->checksum_ok(ip.source(), ip.destination()),
           "a right checksum stays right, a wrong one wrong");
}

void reads_v4(View packet) {
    const auto ip = Ipv4Header::parse(packet);
    demand((Ipv4Header::check(packet) == ParseResult::ok) == ip.has_value(), "parse() refuses what check() does");
    const auto quoted = Ipv4Header::parse_quoted(packet);
    demand(!ip || quoted, "a whole packet can be quoted");
    if (quoted) demand(is_inside(quoted->payload(), packet), "a quotation is a part of its message");
    if (!ip) return;
    demand(is_inside(ip->packet(), packet) && is_inside(ip->options(), ip->packet()) &&
               is_inside(ip->payload(), ip->packet()),
           "a header's parts are parts of the packet");
    demand(ip->size() + ip->payload().size() == ip->total_length(), "header and payload are the packet");
    demand(ip->has_source_route() == (ip->scan_options() == IpOptions::source_route), "a source route is an option");
    if (ip->protocol() == IpProtocol::icmp) reads_icmp(*ip);
}

void reads_v6(View packet) {
    const auto ip = Ipv6Header::parse(packet);
    demand((Ipv6Header::check(packet) == ParseResult::ok) == ip.has_value(), "parse() refuses what check() does");
    if (const auto quoted = Ipv6Header::parse_quoted(packet)) {
        demand(is_inside(quoted->payload(), packet), "a quotation is a part of its message");
    } else {
        demand(!ip, "a whole packet can be quoted");
    }
    if (!ip) return;
    demand(is_inside(ip->packet(), packet) && is_inside(ip->payload(), ip->packet()), "a payload is in the packet");
    demand(ip->packet().size() == ip->total_length() && ip->flow_label() <= 0xf'ffff,
           "fields are as wide as they are");
    if (ip->chain() == Ipv6Chain::ok && ip->protocol() == IpProtocol::icmpv6) reads_icmpv6(*ip);
}

void reads_arp(View payload) {
    const auto arp = ArpPacket::parse(payload);
    if (!arp) return;
    std::array<std::byte, ArpPacket::wire_size> out;
    const size_t size =
        write_arp(out, arp->operation(), arp->sender_mac(), arp->sender_v4(), arp->target_mac(), arp->target_v4());
    demand(size == out.size() && same_bytes(out, payload.first(size)), "ARP is written as it was read");
    write_arp_reply(out, MacAddress{{2, 0, 0, 0, 0, 1}}, 0xc000'0201, *arp);
    const auto reply = ArpPacket::parse(out);
    demand(reply && !reply->is_request() && reply->target_v4() == arp->sender_v4() &&
               reply->target_mac() == arp->sender_mac(),
           "an ARP reply goes to who asked");
}

}  // namespace

void packet(Bytes bytes) {
    static const tests::GuardPage page{longest};
    Input in{bytes};
    const uint8_t mode = in.byte();
    const auto rest = std::as_bytes(in.take(longest));
    const std::span<std::byte> frame = page.hold(rest);
    repair(frame, {.checksums = (mode & 1) != 0, .lengths = (mode & 2) != 0});

    // Without Ethernet: the bytes behind where it would stand, whatever they are.
    const auto ethernet = EthernetFrame::parse(frame);
    if (!ethernet) {
        reads_tcp(frame);
        return;
    }
    const View payload = ethernet->payload();
    demand(is_inside(payload, frame) && ethernet->vlan_id() <= 0x0fff, "a frame's parts are parts of it");
    demand(ethernet->is_multicast() || !ethernet->is_broadcast(), "everybody is a group");
    std::array<std::byte, EthernetFrame::header_size + EthernetFrame::vlan_tag_size> header;
    const size_t written = write_ethernet(header, ethernet->destination(), ethernet->source(), ethernet->ether_type(),
                                          ethernet->vlan_id());
    const auto again = EthernetFrame::parse(View{header}.first(written));
    const bool tags = ethernet->ether_type() == EtherType::vlan || ethernet->ether_type() == EtherType::service_vlan;
    demand(tags || (again && again->source() == ethernet->source() && again->vlan_id() == ethernet->vlan_id() &&
                    again->ether_type() == ethernet->ether_type()),
           "a header is written as it was read");
    reads_arp(payload);
    reads_v4(payload);
    reads_v6(payload);
    reads_tcp(payload);
}

}  // namespace pollux::fuzz
