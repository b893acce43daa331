// What becomes of each kind of IPv6 frame; neighbour discovery and duplicate address detection as the link sees them.
#include <gtest/gtest.h>

#include <functional>
#include <ostream>

#include "tcp/wire/icmpv6.hpp"
#include "tcp/wire/ipv6.hpp"
#include "tcp/wire/nd.hpp"
#include "tests/engine/refused.hpp"
#include "tests/engine/rig.hpp"

namespace pollux::testing {
namespace {

using tcp::IpAddress;
using tcp::wire::EthernetFrame;
using tcp::wire::EtherType;
using tcp::wire::Icmpv6Message;
using tcp::wire::Icmpv6Type;
using tcp::wire::IpProtocol;
using tcp::wire::Ipv6Header;
using tcp::wire::NeighborAdvertisement;
using tcp::wire::NeighborSolicitation;

constexpr IpAddress far_v6{{0x2001'0db8, 0x00ff, 0, 9}};
constexpr IpAddress link_local_peer{{0xfe80'0000, 0, 0, 2}};
const IpAddress our_group = tcp::wire::solicited_node(our_v6);

/// A wire whose port has an IPv6 address beside the IPv4 one; `Probes`: the address is asked for before it is used.
template <bool Probes>
class WireV6 : public MemoryWire {
public:
    using MemoryWire::MemoryWire;
    engine::Interface interface() const {
        engine::Interface made = test_interface();
        made.networks_v6 = {{our_v6, 64}};
        made.gateway_v6 = gateway_v6;
        made.detects_duplicates = Probes;
        return made;
    }
};
using RigV6 = Rig<WireV6<false>>;
using ProbingRig = Rig<WireV6<true>>;

Segment syn_from(const IpAddress& source, const IpAddress& destination = our_v6) {
    Segment segment;
    segment.flow = {source, destination, 40000, 80};
    segment.flags = Flags::syn;
    segment.window = 1000;
    return segment;
}

Bytes changed(Bytes frame, size_t at, uint8_t value) {
    frame[at] = std::byte{value};
    return frame;
}

/// A whole ICMPv6 message with a good checksum.
Bytes icmpv6_frame(uint8_t type, uint8_t code, uint32_t rest, std::span<const std::byte> body,
                   const IpAddress& source = peer_v6, const IpAddress& destination = our_v6, uint8_t hop_limit = 64,
                   const FrameOptions& options = {}) {
    Bytes packet(Ipv6Header::fixed_size + 8 + body.size());
    tcp::wire::write_ipv6(packet.data(), {.source = source,
                                          .destination = destination,
                                          .payload_length = static_cast<uint16_t>(8 + body.size()),
                                          .next_header = IpProtocol::icmpv6,
                                          .hop_limit = hop_limit});
    std::byte* icmp = packet.data() + Ipv6Header::fixed_size;
    tcp::wire::store_u8(icmp, type);
    tcp::wire::store_u8(icmp + 1, code);
    tcp::wire::store_be32(icmp + 4, rest);
    std::copy(body.begin(), body.end(), icmp + 8);
    const uint64_t pseudo = tcp::wire::pseudo_header_sum(source, destination, uint8_t(IpProtocol::icmpv6),
                                                         static_cast<uint32_t>(8 + body.size()));
    const auto sum = pseudo + tcp::wire::sum_of(std::span{packet}.subspan(Ipv6Header::fixed_size));
    tcp::wire::store_be16(icmp + 2, tcp::wire::checksum_of(sum));
    return ethernet(options, EtherType::ipv6, packet);
}

/// What a neighbour sends: a solicitation for `target`.
Bytes solicitation(const IpAddress& target, const IpAddress& source = peer_v6,
                   std::optional<IpAddress> destination = {}, const MacAddress& from = peer_mac) {
    const IpAddress to = destination.value_or(tcp::wire::solicited_node(target));
    Bytes packet(tcp::wire::neighbor_message_size);
    const bool probe = source.is_unspecified();
    packet.resize(tcp::wire::write_neighbor_solicitation(packet, source, to, target,
                                                         probe ? std::nullopt : std::optional{from}));
    return ethernet({.to = to.is_multicast() ? tcp::wire::multicast_mac(to) : our_mac, .from = from}, EtherType::ipv6,
                    packet);
}

Bytes advertisement(const IpAddress& target, const MacAddress& mac, bool solicited = true, bool overrides = true,
                    const IpAddress& destination = our_v6, std::optional<IpAddress> source = {}) {
    Bytes packet(tcp::wire::neighbor_message_size);
    packet.resize(tcp::wire::write_neighbor_advertisement(packet, source.value_or(target), destination, target, mac,
                                                          solicited, overrides));
    const bool group = destination.is_multicast();
    return ethernet({.to = group ? tcp::wire::multicast_mac(destination) : our_mac, .from = mac}, EtherType::ipv6,
                    packet);
}

/// An extension header of 8 bytes put between IPv6 header and what follows. The TCP checksum stays right: it does not
/// cover extension headers.
Bytes with_extension(Bytes frame, uint8_t kind, std::array<uint8_t, 7> rest, int times = 1) {
    for (int i = 0; i < times; ++i) {
        Bytes header(8);
        header[0] = frame[14 + 6];
        for (size_t k = 0; k < rest.size(); ++k) header[1 + k] = std::byte{rest[k]};
        frame[14 + 6] = std::byte{kind};
        frame.insert(frame.begin() + 14 + 40, header.begin(), header.end());
        tcp::wire::store_be16(&frame[18], static_cast<uint16_t>(frame.size() - 54));
    }
    return frame;
}

constexpr uint8_t hop_by_hop = 0, routing = 43, fragment_header = 44, destination_options = 60;
constexpr std::array<uint8_t, 7> padding{0, 1, 4, 0, 0, 0, 0};  // PadN over the rest

struct Message {
    std::optional<EthernetFrame> frame;
    std::optional<Ipv6Header> ip;
    std::optional<Icmpv6Message> icmp;
};
/// Of an ICMPv6 frame of ours, which must be right to the last checksum.
Message read_icmpv6(const Bytes& frame) {
    Message read;
    read.frame = EthernetFrame::parse(frame);
    EXPECT_EQ(read.frame->source(), our_mac);
    EXPECT_EQ(read.frame->ether_type(), EtherType::ipv6);
    read.ip = Ipv6Header::parse(read.frame->payload());
    EXPECT_TRUE(read.ip);
    read.icmp = Icmpv6Message::parse(read.ip->payload());
    EXPECT_TRUE(read.icmp && read.icmp->checksum_ok(read.ip->source(), read.ip->destination()));
    return read;
}

// ---- Frames that end by name. -----------------------------------------------------------------------------------

std::vector<Refused> refused_frames() {
    using V = Verdict;
    const Bytes tcp = tcp_frame(syn_from(peer_v6));
    const MacAddress group_mac = tcp::wire::multicast_mac(our_group);
    const IpAddress mapped_peer = *IpAddress::parse("::ffff:192.0.2.2"), loopback{{0, 0, 0, 1}}, nobody{};
    // tcp_frame() cannot make what no stack would send: the addresses are put into a good frame.
    const auto with_source = [](Bytes frame, const IpAddress& source) {
        for (size_t i = 0; i < 4; ++i) tcp::wire::store_be32(&frame[14 + 8 + 4 * i], source.words[i]);
        return frame;
    };
    const auto with_destination = [](Bytes frame, const IpAddress& destination) {
        for (size_t i = 0; i < 4; ++i) tcp::wire::store_be32(&frame[14 + 24 + 4 * i], destination.words[i]);
        return frame;
    };
    Bytes far_hop = solicitation(our_v6);
    far_hop[14 + 7] = std::byte{254};  // the checksum does not cover it
    Bytes far_answer = advertisement(peer_v6, peer_mac);
    far_answer[14 + 7] = std::byte{254};
    Bytes zero_option = solicitation(our_v6);
    zero_option[14 + 40 + 25] = std::byte{0};
    return {
        {"AHeaderCutShort", V::bad_ip_header, Bytes(tcp.begin(), tcp.begin() + 50)},
        {"Version7", V::bad_ip_header, changed(tcp, 14, 0x70)},
        {"ALengthBeyondTheFrame", V::bad_ip_header, changed(tcp, 18, 0x10)},
        {"ABadTcpChecksum", V::bad_tcp_checksum, changed(tcp, 14 + 40 + 16, 0x5a), "C4 MUST-3"},
        {"ToAnotherHost", V::not_our_address, tcp_frame(syn_from(peer_v6, far_v6))},
        {"FromAV4MappedAddress", V::martian, with_source(tcp, mapped_peer), "ATK-23 MUST-63"},
        {"ToAV4MappedAddress", V::martian, with_destination(tcp, *IpAddress::parse("::ffff:192.0.2.1")), "ATK-23"},
        {"FromLoopback", V::martian, with_source(tcp, loopback), "ATK-23 MUST-63"},
        {"FromNobody", V::martian, with_source(tcp, nobody), "ATK-23 MUST-63"},
        {"FromAGroup", V::martian, with_source(tcp, our_group), "ATK-23 MUST-63"},
        {"FromOurselves", V::land, tcp_frame(syn_from(our_v6)), "MUST-63"},
        {"ToAGroup", V::to_broadcast, tcp_frame(syn_from(peer_v6, our_group), {.to = group_mac}), "ATK-23 MUST-57"},
        {"ToAllNodes", V::to_broadcast, tcp_frame(syn_from(peer_v6, tcp::wire::all_nodes), {.to = group_mac}),
         "MUST-57"},
        {"OursInAMulticastFrame", V::to_broadcast, tcp_frame(syn_from(peer_v6), {.to = group_mac}), "MUST-57"},
        {"AFragment", V::fragment, with_extension(tcp, fragment_header, {0, 0, 1, 0, 0, 0, 7}), "ATK-23"},
        {"AFirstFragmentOfDiscovery", V::fragment,
         with_extension(solicitation(our_v6, peer_v6, our_v6), fragment_header, {0, 0, 1, 0, 0, 0, 7}), "ATK-23"},
        {"ARoutingHeaderOfType0", V::source_routed, with_extension(tcp, routing, {0, 0, 1, 0, 0, 0, 0}), "ATK-23"},
        {"EndlessExtensionHeaders", V::bad_extension_header, with_extension(tcp, destination_options, padding, 60),
         "ATK-23"},
        {"AnOptionThatDemandsTheDrop", V::bad_extension_header,
         with_extension(tcp, destination_options, {0, 0x5e, 4, 0, 0, 0, 0}), "ATK-23"},
        {"AnExtensionBeyondThePacket", V::bad_extension_header,
         with_extension(tcp, destination_options, {0xff, 1, 4, 0, 0, 0, 0}), "ATK-23"},
        {"Udp", V::unknown_protocol, changed(tcp, 14 + 6, 17)},
        {"ABadIcmpChecksum", V::bad_icmp, changed(icmpv6_frame(128, 0, 1, as_bytes("ping")), 14 + 48, 'P')},
        {"AnEchoReply", V::icmp_ignored, icmpv6_frame(129, 0, 1, as_bytes("pong"))},
        {"APingToAllNodes", V::icmp_ignored,
         icmpv6_frame(128, 0, 1, as_bytes("ping"), peer_v6, tcp::wire::all_nodes, 64,
                      {.to = tcp::wire::multicast_mac(tcp::wire::all_nodes)})},
        {"ARogueRouterAdvertisement", V::icmp_ignored,
         icmpv6_frame(134, 0, 0x4000'0708, as_bytes("12345678"), link_local_peer, tcp::wire::all_nodes, 255,
                      {.to = tcp::wire::multicast_mac(tcp::wire::all_nodes)}),
         "ATK-23"},
        {"ARouterAdvertisementToUs", V::icmp_ignored,
         icmpv6_frame(134, 0, 0x4000'0708, as_bytes("12345678"), link_local_peer, our_v6, 255), "ATK-23"},
        {"ARedirect", V::icmp_ignored,
         icmpv6_frame(137, 0, 0, as_bytes("a target and a destination: ...."), link_local_peer, our_v6, 255)},
        {"HopByHopOptionsBehindOthers", V::bad_extension_header,
         with_extension(with_extension(tcp, hop_by_hop, padding), destination_options, padding), "ATK-23"},
        {"ASolicitationFromBeyondTheLink", V::bad_neighbor_discovery, far_hop, "ATK-23"},
        {"AnAdvertisementFromBeyondTheLink", V::bad_neighbor_discovery, far_answer, "ATK-23"},
        {"ASolicitationBehindAnAtomicFragment", V::bad_neighbor_discovery,
         with_extension(solicitation(our_v6, peer_v6, our_v6), fragment_header, {0, 0, 0, 0, 0, 0, 7}), "ATK-23"},
        {"AnAdvertisementBehindAnAtomicFragment", V::bad_neighbor_discovery,
         with_extension(advertisement(peer_v6, peer_mac), fragment_header, {0, 0, 0, 0, 0, 0, 7}), "ATK-23"},
        {"ASolicitationWithAnEmptyOption", V::bad_icmp, zero_option, "ATK-23"},
        {"ASolicitationFromAnotherNetwork", V::bad_neighbor_discovery, solicitation(our_v6, far_v6, our_v6),
         "ATK-23"},
        {"ASolicitationFromOurAddress", V::bad_neighbor_discovery, solicitation(peer_v6, our_v6, our_group),
         "ATK-23"},
        {"APingFromOurAddressToOurGroup", V::martian,
         icmpv6_frame(128, 0, 1, as_bytes("ping"), our_v6, our_group, 64, {.to = group_mac})},
        {"ASolicitationForAnother", V::neighbor_discovery, solicitation(peer_v6, link_local_peer, our_v6)},
        {"AnotherGroup", V::not_our_address, solicitation(far_v6)},
        {"AnAdvertisementOfOurAddress", V::bad_neighbor_discovery,
         advertisement(our_v6, peer_mac, true, true, our_v6, peer_v6), "ATK-23"},
        {"AnUnaskedAdvertisement", V::neighbor_discovery, advertisement(peer_v6, peer_mac), "ATK-23"},
        {"AnAdvertisementOfAnIpv4Neighbour", V::bad_neighbor_discovery,
         advertisement(mapped_peer, peer_mac, true, true, our_v6, peer_v6), "ATK-23"},
        {"AnAdvertisementFromOurIpv4Address", V::martian,
         advertisement(peer_v6, peer_mac, true, true, our_v6, *IpAddress::parse("::ffff:192.0.2.1")), "ATK-23"},
        {"AnAdvertisementOfAnotherFromOurAddress", V::bad_neighbor_discovery,
         advertisement(peer_v6, peer_mac, false, true, tcp::wire::all_nodes, our_v6), "ATK-23"},
        {"ASolicitedAdvertisementToAGroup", V::bad_neighbor_discovery,
         advertisement(peer_v6, peer_mac, true, true, tcp::wire::all_nodes), "ATK-23"},
    };
}

class RefusedFrameV6 : public ::testing::TestWithParam<Refused> {};

TEST_P(RefusedFrameV6, IsCountedByNameAndNotAnswered) {
    RecordProperty("row", GetParam().rows);
    RigV6 rig;
    rig.turn();
    EXPECT_TRUE(rig.exchange(GetParam().frame).empty());
    EXPECT_EQ(rig.count(GetParam().verdict), 1u);
    EXPECT_EQ(rig.count(tcp::Tally::segments_received), 0u) << "the stack has not seen it";
    EXPECT_EQ(rig.stack().pool_use(), tcp::PoolUse{});
}

INSTANTIATE_TEST_SUITE_P(IngressV6, RefusedFrameV6, ::testing::ValuesIn(refused_frames()),
                         [](const auto& refused) { return std::string{refused.param.name}; });

// ---- Frames that are served. --------------------------------------------------------------------------------------

TEST(IngressV6, ARequestIsAnsweredOverTheSameFamilyPathAndVlan) {
    RigV6 rig;
    for (const uint16_t vlan : {tcp::wire::no_vlan, uint16_t{42}}) {
        const FrameOptions options{.to = our_mac, .from = peer_mac, .vlan = vlan};
        Segment s = syn_from(peer_v6);
        s.flow.local_port = static_cast<uint16_t>(40'000 + vlan);
        auto frames = rig.exchange(tcp_frame(s, options));
        ASSERT_EQ(frames.size(), 1u);
        EXPECT_EQ(EthernetFrame::parse(frames[0])->ether_type(), EtherType::ipv6);
        const Segment syn_ack = read_segment(frames[0]);
        EXPECT_EQ(syn_ack.flow.remote_addr, our_v6);  // read as its receiver
        EXPECT_EQ(syn_ack.flow.local_addr, peer_v6);
        EXPECT_EQ(syn_ack.mss, 1440) << "MTU - 60";
        s.flags = Flags::ack | Flags::psh;
        s.seq = s.seq + 1;
        s.ack = syn_ack.seq + 1;
        s.payload = as_bytes(request);
        frames = rig.exchange(tcp_frame(s, options));
        ASSERT_EQ(frames.size(), 1u);
        EXPECT_EQ(EthernetFrame::parse(frames[0])->vlan_id(), vlan);
        EXPECT_EQ(as_text(read_segment(frames[0]).payload), CannedApp::answer);
    }
}

TEST(IngressV6, HarmlessExtensionHeadersArePassedOver) {
    RecordProperty("row", "ATK-23");
    RigV6 rig;
    uint16_t port = 41'000;
    for (const auto& [kind, rest] : {std::pair{hop_by_hop, padding}, std::pair{destination_options, padding},
                                     std::pair{routing, std::array<uint8_t, 7>{0, 4, 0, 0, 0, 0, 0}},
                                     std::pair{fragment_header, std::array<uint8_t, 7>{0, 0, 0, 0, 0, 0, 9}}}) {
        Segment s = syn_from(peer_v6);
        s.flow.local_port = port++;
        EXPECT_EQ(rig.exchange(with_extension(tcp_frame(s), kind, rest)).size(), 1u) << int{kind};
    }
    EXPECT_EQ(rig.count(Verdict::syn_answered), 4u);
}

TEST(IngressV6, APingComesBackAsItWas) {
    RigV6 rig;
    Bytes ping = icmpv6_frame(128, 0, 0x1234'0001, as_bytes("abcdefghijklmnopqrstuvw"));
    ping.resize(ping.size() + 3, std::byte{0xee});
    const auto frames = rig.exchange(ping);
    ASSERT_EQ(frames.size(), 1u);
    EXPECT_EQ(frames[0].size(), ping.size() - 3);
    const Message pong = read_icmpv6(frames[0]);
    EXPECT_EQ(pong.frame->destination(), peer_mac);
    EXPECT_EQ(pong.ip->source(), our_v6);
    EXPECT_EQ(pong.ip->destination(), peer_v6);
    EXPECT_EQ(pong.icmp->type(), Icmpv6Type::echo_reply);
    EXPECT_EQ(as_text(pong.icmp->body()), "abcdefghijklmnopqrstuvw");
}

TEST(IngressV6, AnErrorReachesTheConnectionThatItQuotes) {
    RecordProperty("row", "MUST-54");
    RigV6 rig;
    Segment s = syn_from(peer_v6);
    const Segment syn_ack = read_segment(rig.exchange(tcp_frame(s)).at(0));
    s.flags = Flags::ack | Flags::psh;
    s.seq = s.seq + 1;
    s.ack = syn_ack.seq + 1;
    s.payload = as_bytes(request);
    const auto answer = rig.exchange(tcp_frame(s)).at(0);
    const auto quote = std::span{answer}.subspan(14, 48);
    EXPECT_TRUE(rig.exchange(icmpv6_frame(1, 0, 0, quote, far_v6)).empty());
    EXPECT_EQ(rig.count(Verdict::path_notice), 1u);
    Bytes other(quote.begin(), quote.end());
    other[42] ^= std::byte{1};  // another port of the peer
    rig.exchange(icmpv6_frame(1, 0, 0, other, far_v6));
    EXPECT_EQ(rig.count(Verdict::path_notice), 1u);
    EXPECT_EQ(rig.count(Verdict::icmp_ignored), 1u);
}

// ---- Neighbour discovery.
// -------------------------------------------------------------------------------------------

TEST(NeighborDiscovery, ASolicitationForOurAddressIsAnsweredToItsSender) {
    RigV6 rig;
    for (const IpAddress& destination : {our_group, our_v6}) {  // a question to all, and one to ourselves
        for (const IpAddress& source : {peer_v6, link_local_peer}) {
            const auto frames = rig.exchange(solicitation(our_v6, source, destination));
            ASSERT_EQ(frames.size(), 1u);
            const Message reply = read_icmpv6(frames[0]);
            EXPECT_EQ(reply.frame->destination(), peer_mac);
            EXPECT_EQ(reply.ip->hop_limit(), 255);
            EXPECT_EQ(reply.ip->source(), our_v6);
            EXPECT_EQ(reply.ip->destination(), source);
            const auto said = NeighborAdvertisement::parse(*reply.ip, *reply.icmp);
            ASSERT_TRUE(said);
            EXPECT_EQ(said->target(), our_v6);
            EXPECT_EQ(said->target_mac(), our_mac);
            EXPECT_TRUE(said->is_solicited() && said->is_override() && !said->is_router());
        }
    }
    EXPECT_EQ(rig.count(Verdict::neighbor_discovery), 4u);
}

TEST(NeighborDiscovery, AFloodFromInventedNeighboursFillsNoCacheAndStopsNobody) {  // RFC 6583
    RecordProperty("row", "ATK-23");
    engine::WorkerSettings settings = RigV6::quiet();
    settings.seed = 0x9e37'79b9'7f4a'7c15;  // link addresses one behind the other then spread over the table of paths
    RigV6 rig{small_stack(), settings};
    const uint32_t capacity = settings.neighbors;
    const auto known = [&rig] { return rig.worker().neighbors().in_use(); };
    uint32_t before_paths_are_full = 0;
    for (uint32_t i = 0; i < settings.paths + 2 * capacity; ++i) {
        const IpAddress invented{{0x2001'0db8, 0, 0xbad0'0000, i}};
        const MacAddress mac{{2, 0xba, 0xd0, 0, static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)}};
        const FrameOptions from{.to = our_mac, .from = mac};
        Segment reset = syn_from(invented);
        reset.seq = reset.seq + 1;
        reset.flags = Flags::rst;  // makes room for the next SYN
        rig.exchange({solicitation(our_v6, invented, {}, mac), advertisement(invented, mac),
                      advertisement(invented, mac, false, true, tcp::wire::all_nodes),
                      tcp_frame(syn_from(invented), from), tcp_frame(reset, from)});
        ASSERT_LE(known(), capacity);
        if (i == settings.paths / 2) before_paths_are_full = known();
    }
    EXPECT_EQ(before_paths_are_full, 0u) << "whoever speaks to us is answered where it is: no question, no entry";
    EXPECT_EQ(known(), capacity) << "then answers ask for their way, and the cache is full of questions";
    rig.time_passes(7s);  // nobody has answered those
    rig.take_frames();
    EXPECT_EQ(rig.exchange(solicitation(our_v6)).size(), 1u);
    auto frames = rig.exchange(tcp_frame(syn_from(peer_v6)));
    ASSERT_EQ(frames.size(), 1u);
    EXPECT_EQ(read_icmpv6(frames[0]).icmp->type(), Icmpv6Type::neighbor_solicitation);
    frames = rig.exchange(advertisement(peer_v6, peer_mac));
    ASSERT_EQ(frames.size(), 1u);
    EXPECT_TRUE(read_segment(frames[0]).has(Flags::syn));
}

TEST(NeighborDiscovery, AProbeForOurAddressIsToldToEverybody) {  // RFC 4861 section 7.2.4
    RigV6 rig;
    const auto frames = rig.exchange(solicitation(our_v6, IpAddress{}));
    ASSERT_EQ(frames.size(), 1u);
    const Message reply = read_icmpv6(frames[0]);
    EXPECT_EQ(reply.frame->destination(), tcp::wire::multicast_mac(tcp::wire::all_nodes));
    EXPECT_EQ(reply.ip->destination(), tcp::wire::all_nodes);
    const auto said = NeighborAdvertisement::parse(*reply.ip, *reply.icmp);
    ASSERT_TRUE(said);
    EXPECT_FALSE(said->is_solicited());
    EXPECT_EQ(said->target(), our_v6);
}

TEST(NeighborDiscovery, AnAddressIsAskedForBeforeItIsUsed) {  // RFC 4862 section 5.4
    engine::WorkerSettings speaking;
    ProbingRig rig{small_stack(), speaking};
    rig.turn();
    size_t probes = 0;
    for (const Bytes& frame : rig.take_frames()) {
        if (EthernetFrame::parse(frame)->ether_type() != EtherType::ipv6) continue;
        const Message probe = read_icmpv6(frame);
        EXPECT_EQ(probe.frame->destination(), tcp::wire::multicast_mac(our_group));
        EXPECT_TRUE(probe.ip->source().is_unspecified());
        EXPECT_EQ(probe.ip->destination(), our_group);
        const auto asked = NeighborSolicitation::parse(*probe.ip, *probe.icmp);
        ASSERT_TRUE(asked);
        EXPECT_EQ(asked->target(), our_v6);
        EXPECT_FALSE(asked->source_mac());
        ++probes;
    }
    EXPECT_EQ(probes, 1u);
    // Until then nobody is answered under it.
    EXPECT_TRUE(rig.exchange(solicitation(our_v6)).empty());
    EXPECT_TRUE(rig.exchange(tcp_frame(syn_from(peer_v6))).empty());
    EXPECT_EQ(rig.count(Verdict::not_our_address), 1u);
    EXPECT_EQ(rig.worker().next_due(rig.now()), rig.now() + 1s);
    rig.time_passes(999ms);
    EXPECT_TRUE(rig.exchange(solicitation(our_v6)).empty());
    rig.time_passes(1ms);
    const auto announced = rig.take_frames();
    ASSERT_EQ(announced.size(), 1u) << "now it is ours, and everybody is told";
    const Message said = read_icmpv6(announced[0]);
    EXPECT_EQ(said.ip->destination(), tcp::wire::all_nodes);
    EXPECT_TRUE(NeighborAdvertisement::parse(*said.ip, *said.icmp)->is_override());
    EXPECT_EQ(rig.exchange(solicitation(our_v6)).size(), 1u);
    EXPECT_EQ(rig.exchange(tcp_frame(syn_from(peer_v6))).size(), 1u);
    EXPECT_EQ(rig.count(tcp::Tally::duplicate_addresses), 0u);
}

TEST(NeighborDiscovery, AnAddressThatSomebodyHasIsNeverUsed) {
    for (const Bytes& objection : {advertisement(our_v6, peer_mac, false, true, tcp::wire::all_nodes),
                                   solicitation(our_v6, IpAddress{})}) {  // who has it, and who wants it too
        ProbingRig rig;
        rig.turn();
        EXPECT_TRUE(rig.exchange(objection).empty());
        EXPECT_EQ(rig.count(tcp::Tally::duplicate_addresses), 1u);
        rig.time_passes(3s);
        EXPECT_TRUE(rig.take_frames().empty());
        EXPECT_TRUE(rig.exchange(solicitation(our_v6)).empty());
        EXPECT_TRUE(rig.exchange(tcp_frame(syn_from(peer_v6))).empty());
        Caller over_v4{rig};
        over_v4.open();  // the other addresses serve
    }
}

/// A port with a second address.
class TwoAddresses : public WireV6<true> {
public:
    using WireV6::WireV6;
    static constexpr IpAddress second{{0x2001'0db8, 0, 0, 0x99}};
    engine::Interface interface() const {
        engine::Interface made = WireV6::interface();
        made.networks_v6.push_back({second, 64});
        return made;
    }
};

TEST(NeighborDiscovery, AStationThatHasOurAddressIsServedByTheOthers) {  // to us it is a neighbour like any other
    Rig<TwoAddresses> rig;
    rig.turn();
    rig.exchange(advertisement(our_v6, peer_mac, false, true, tcp::wire::all_nodes));
    rig.time_passes(1s);
    rig.take_frames();
    EXPECT_EQ(rig.exchange(solicitation(TwoAddresses::second, our_v6)).size(), 1u);
    EXPECT_EQ(rig.exchange(tcp_frame(syn_from(our_v6, TwoAddresses::second))).size(), 1u);
    EXPECT_EQ(rig.count(tcp::Verdict::martian) + rig.count(tcp::Verdict::bad_neighbor_discovery), 0u);
}

TEST(NeighborDiscovery, OurOwnProbeThatComesBackIsNoObjection) {
    ProbingRig rig;
    rig.turn();
    rig.exchange(solicitation(our_v6, IpAddress{}, {}, our_mac));
    rig.time_passes(1s);
    EXPECT_EQ(rig.count(tcp::Tally::duplicate_addresses), 0u);
    EXPECT_EQ(rig.exchange(solicitation(our_v6)).size(), 1u);
}

// ---- Who speaks first: egress.
// ----------------------------------------------------------------------------------------

// Two addresses of ours; somebody else has the first, so whatever is sent comes from the second.
class UnresolvedV6 : public ::testing::Test {
protected:
    static constexpr IpAddress lost_v6{{0x2001'0db8, 0, 0, 0x10}};

    UnresolvedV6() {
        interfaces_[0].networks_v6 = {{lost_v6, 64}, {our_v6, 64}};
        interfaces_[0].gateway_v6 = gateway_v6;
        addresses_ = std::make_unique<engine::LocalAddresses>(interfaces_);
        addresses_->begin(now_);
        addresses_->object(interfaces_[0], lost_v6);
        egress_ = std::make_unique<engine::Egress>(interfaces_, paths_, neighbors_, *addresses_, counters_, *pool_, 64);
        addresses_->advance(now_ += 1s);
    }
    ~UnresolvedV6() override {
        frames();
        egress_.reset();
        EXPECT_EQ(rte_mempool_avail_count(pool_.get()), 1023u);
    }
    void send(const IpAddress& to) {
        batch_.reset(egress_->reserve());
        tcp::TxSegment& tx = batch_.add();
        tx.segment.flow = {our_v6, to, 80, 1000};
        tx.segment.flags = Flags::ack;
        batch_.add_piece(as_bytes("payload"));
        egress_->encode(batch_, now_);
        egress_->serve_neighbors(now_);
    }
    std::vector<Bytes> frames() {
        egress_->flush(0, queue_);
        std::vector<Bytes> taken;
        for (rte_mbuf* packet : queue_.sent()) {
            const auto bytes = engine::bytes_of(*packet);
            taken.emplace_back(bytes.begin(), bytes.end());
            engine::release(packet);
        }
        queue_.sent().clear();
        return taken;
    }
    void expect_question_for(const IpAddress& hop, bool direct = false) {
        const auto sent = frames();
        ASSERT_EQ(sent.size(), 1u);
        const Message question = read_icmpv6(sent[0]);
        const IpAddress group = tcp::wire::solicited_node(hop);
        EXPECT_EQ(question.frame->destination(), direct ? peer_mac : tcp::wire::multicast_mac(group));
        EXPECT_EQ(question.ip->destination(), direct ? hop : group);
        EXPECT_EQ(question.ip->source(), our_v6);
        const auto asked = NeighborSolicitation::parse(*question.ip, *question.icmp);
        ASSERT_TRUE(asked);
        EXPECT_EQ(asked->target(), hop);
        EXPECT_EQ(asked->source_mac(), our_mac);
    }
    void answers(const IpAddress& hop, const MacAddress& mac) {
        neighbors_.learn(0, hop, mac, true, now_);
        egress_->serve_neighbors(now_);
    }

    std::vector<engine::Interface> interfaces_{test_interface()};
    engine::Paths paths_{16, 1};
    engine::Neighbors neighbors_{16};
    std::unique_ptr<engine::LocalAddresses> addresses_;
    tcp::Counters counters_;
    engine::PacketPool pool_ = make_test_pool();
    std::unique_ptr<engine::Egress> egress_;
    engine::MemoryQueue queue_;
    tcp::TxBatch batch_{64};
    tcp::Instant now_{1s};
};

TEST_F(UnresolvedV6, AsksTheGroupOfTheNextHopAndSendsWhenItAnswers) {
    send(peer_v6);
    expect_question_for(peer_v6);
    answers(peer_v6, peer_mac);
    const auto sent = frames();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(as_text(read_segment(sent[0]).payload), "payload");
}

TEST_F(UnresolvedV6, WithoutAnAddressThatMayBeUsedNobodyIsAsked) {  // RFC 4862 section 5.4
    addresses_->give_up(interfaces_[0], our_v6);
    send(peer_v6);
    EXPECT_TRUE(frames().empty());
}

TEST_F(UnresolvedV6, OffLinkDestinationsGoThroughTheGatewayOfTheirFamily) {
    send(far_v6);
    expect_question_for(gateway_v6);
    answers(gateway_v6, gateway_mac);
    const auto sent = frames();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(read_segment(sent[0], gateway_mac).flow.local_addr, far_v6);
}

TEST_F(UnresolvedV6, AnOldNeighbourIsAskedItself) {
    send(peer_v6);
    frames();
    answers(peer_v6, peer_mac);
    frames();
    now_ += 61s;
    send(peer_v6);
    auto sent = frames();
    ASSERT_EQ(sent.size(), 2u) << "the packet, and the question";
    const Message question = read_icmpv6(sent[1]);
    EXPECT_EQ(question.frame->destination(), peer_mac);
    EXPECT_EQ(question.ip->destination(), peer_v6);
}

TEST_F(UnresolvedV6, ADeviceThatSumsGetsThePseudoHeaderAndTheFlags) {
    interfaces_[0].device_sums_tcp = true;
    const tcp::PathId path = paths_.intern(interfaces_[0], tcp::wire::no_vlan, peer_mac);
    batch_.reset(egress_->reserve());
    tcp::TxSegment& tx = batch_.add();
    tx.segment.flow = {our_v6, peer_v6, 80, 1000};
    tx.segment.flags = Flags::ack;
    tx.segment.path = path;
    batch_.add_piece(as_bytes("payload"));
    egress_->encode(batch_, now_);
    egress_->flush(0, queue_);
    ASSERT_EQ(queue_.sent().size(), 1u);
    const rte_mbuf& packet = *queue_.sent()[0];
    EXPECT_NE(packet.ol_flags & RTE_MBUF_F_TX_TCP_CKSUM, 0u);
    EXPECT_NE(packet.ol_flags & RTE_MBUF_F_TX_IPV6, 0u);
    EXPECT_EQ(packet.ol_flags & RTE_MBUF_F_TX_IPV4, 0u);
    EXPECT_EQ(packet.l2_len, 14u);
    EXPECT_EQ(packet.l3_len, 40u);
    EXPECT_EQ(packet.l4_len, 20u);
    auto frame = frames().at(0);
    tcp::wire::store_be16(&frame[70], tcp::wire::checksum_of(tcp::wire::sum_of(std::span{frame}.subspan(54))));
    EXPECT_EQ(as_text(read_segment(frame).payload), "payload");
}

}  // namespace
}  // namespace pollux::testing
