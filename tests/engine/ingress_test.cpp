// What becomes of each kind of frame: its verdict, and that nothing wrong is ever answered.
#include <gtest/gtest.h>

#include <ostream>

#include "tests/engine/refused.hpp"
#include "tests/engine/rig.hpp"

namespace pollux::testing {
namespace {

using MemoryRig = Rig<MemoryWire>;
using tcp::wire::ArpOperation;
using tcp::wire::ArpPacket;
using tcp::wire::EthernetFrame;
using tcp::wire::EtherType;

constexpr uint32_t broadcast_v4 = 0xc000'02ff;

Segment syn_from(uint32_t source, uint32_t destination = our_v4) {
    Segment segment;
    segment.flow = peer_flow(40000, source, destination);
    segment.flags = Flags::syn;
    segment.window = 1000;
    return segment;
}

Bytes syn(const FrameOptions& options = {}) { return tcp_frame(syn_from(peer_v4), options); }

/// A frame with IP options between header and TCP.
Bytes with_ip_options(std::initializer_list<uint8_t> options) {
    Bytes frame = syn();
    Bytes inserted;
    for (const uint8_t byte : options) inserted.push_back(std::byte{byte});
    frame.insert(frame.begin() + 34, inserted.begin(), inserted.end());
    const size_t header = 20 + inserted.size();
    frame[14] = static_cast<std::byte>(0x40 | header / 4);
    tcp::wire::store_be16(frame.data() + 16, static_cast<uint16_t>(frame.size() - 14));
    fix_ip_checksum(frame, header);
    return frame;
}

Bytes changed(Bytes frame, size_t at, uint8_t value, bool fix_ip = false) {
    frame[at] = std::byte{value};
    if (fix_ip) fix_ip_checksum(frame);
    return frame;
}

std::vector<Refused> refused_frames() {
    using V = Verdict;
    const Bytes tcp = syn();
    Segment bad_option = syn_from(peer_v4);
    bad_option.present = tcp::Present::mss;
    bad_option.mss = 1460;
    Bytes bad_length = tcp_frame(bad_option);  // an MSS option of length 1
    bad_length[14 + 20 + 21] = std::byte{1};
    tcp::wire::store_be16(&bad_length[50], 0);
    const uint64_t pseudo = uint64_t{peer_v4} + our_v4 + 6 + (bad_length.size() - 34);
    const uint64_t sum = pseudo + tcp::wire::sum_of(std::span{bad_length}.subspan(34));
    tcp::wire::store_be16(&bad_length[50], tcp::wire::checksum_of(sum));

    return {
        {"AnEmptyFrame", V::frame_too_short, {}},
        {"HalfAnEthernetHeader", V::frame_too_short, Bytes(tcp.begin(), tcp.begin() + 7)},
        {"AnotherStationsFrame", V::not_our_frame, syn({.to = gateway_mac, .from = peer_mac})},
        {"AFrameFromAGroup", V::not_our_frame, syn({.to = our_mac, .from = {{0x03, 0, 0, 0, 0, 9}}})},
        {"AnUnknownEtherType", V::unknown_ethertype, ethernet({}, EtherType{0x88b5}, as_bytes("whatever"))},
        {"AnIpHeaderCutShort", V::bad_ip_header, Bytes(tcp.begin(), tcp.begin() + 30)},
        {"IpVersion5", V::bad_ip_header, changed(tcp, 14, 0x55, true)},
        {"ABadIpChecksum", V::bad_ip_checksum, changed(tcp, 24, 0x5a), "MUST-3"},
        {"ABadTcpChecksum", V::bad_tcp_checksum, changed(tcp, 50, 0x5a), "C4 MUST-3"},
        {"ADataOffsetBelow5", V::bad_tcp_header, changed(tcp, 46, 0x40), "C4"},
        {"AnOptionOfLength1", V::bad_options, bad_length, "C4 MUST-7"},
        {"ABroadcastFrame", V::to_broadcast, syn({.to = MacAddress::broadcast(), .from = peer_mac}), "MUST-57"},
        {"AMulticastFrame", V::to_broadcast, syn({.to = {{0x01, 0, 0x5e, 0, 0, 1}}, .from = peer_mac}), "MUST-57"},
        {"ToTheLimitedBroadcast", V::to_broadcast, tcp_frame(syn_from(peer_v4, 0xffff'ffff)), "MUST-57"},
        {"ToTheNetworksBroadcast", V::to_broadcast, tcp_frame(syn_from(peer_v4, broadcast_v4)), "MUST-57"},
        {"ToTheNetworksAddress", V::to_broadcast, tcp_frame(syn_from(peer_v4, 0xc000'0200)), "MUST-57"},
        {"ToAGroup", V::to_broadcast, tcp_frame(syn_from(peer_v4, 0xe000'0001)), "MUST-57"},
        {"FromNobody", V::martian, tcp_frame(syn_from(0)), "MUST-63"},
        {"FromThisNetwork", V::martian, tcp_frame(syn_from(0x0001'0203)), "MUST-63"},
        {"FromLoopback", V::martian, tcp_frame(syn_from(0x7f00'0001)), "MUST-63"},
        {"FromAGroup", V::martian, tcp_frame(syn_from(0xe000'0001)), "MUST-63"},
        {"FromTheLimitedBroadcast", V::martian, tcp_frame(syn_from(0xffff'ffff)), "MUST-63"},
        {"FromTheNetworksBroadcast", V::martian, tcp_frame(syn_from(broadcast_v4)), "MUST-63"},
        {"FromAReservedAddress", V::martian, tcp_frame(syn_from(0xf000'0001)), "MUST-63"},
        {"FromOurselves", V::land, tcp_frame(syn_from(our_v4)), "MUST-63"},
        {"ToAnotherHost", V::not_our_address, tcp_frame(syn_from(peer_v4, 0xc000'0209))},
        {"AFirstFragment", V::fragment, changed(tcp, 20, 0x20, true)},
        {"ALaterFragment", V::fragment, changed(changed(tcp, 20, 0x00), 21, 0x10, true)},
        {"ALooseSourceRoute", V::source_routed, with_ip_options({131, 7, 4, 192, 0, 2, 9, 0}), "MUST-51 MUST-52"},
        {"AStrictSourceRoute", V::source_routed, with_ip_options({137, 7, 4, 192, 0, 2, 9, 0}), "MUST-53"},
        {"ABrokenIpOption", V::bad_ip_header, with_ip_options({7, 9, 4, 0})},
        {"Udp", V::unknown_protocol, changed(tcp, 23, 17, true)},
        {"ABadIcmpChecksum", V::bad_icmp, changed(icmp_frame(8, 0, 1, as_bytes("ping")), 42, 'P')},
        {"AnEchoReply", V::icmp_ignored, icmp_frame(0, 0, 1, as_bytes("pong"))},
        {"ASourceQuench", V::icmp_ignored, icmp_frame(4, 0, 0, std::span{tcp}.subspan(14)), "MUST-55"},
        {"APingToEverybody", V::to_broadcast, icmp_frame(8, 0, 1, {}, {}, peer_v4, broadcast_v4)},
        {"AShortArp", V::bad_arp, ethernet({}, EtherType::arp, as_bytes("short"))},
        {"ArpFromOurAddress", V::bad_arp, arp_frame(ArpOperation::reply, our_v4, peer_v4)},
        {"ArpFromAnotherNetwork", V::bad_arp, arp_frame(ArpOperation::request, far_v4, our_v4)},
        {"ArpForAnotherHost", V::arp, arp_frame(ArpOperation::request, peer_v4, gateway_v4)},
        {"AnUnaskedArpReply", V::arp, arp_frame(ArpOperation::reply, peer_v4, our_v4)},
    };
}

class RefusedFrame : public ::testing::TestWithParam<Refused> {};

TEST_P(RefusedFrame, IsCountedByNameAndNotAnswered) {
    RecordProperty("row", GetParam().rows);
    MemoryRig rig;
    EXPECT_TRUE(rig.exchange(GetParam().frame).empty());
    EXPECT_EQ(rig.count(GetParam().verdict), 1u);
    EXPECT_EQ(rig.count(tcp::Tally::segments_received), 0u) << "the stack has not seen it";
    EXPECT_EQ(rig.stack().pool_use(), tcp::PoolUse{});
}

INSTANTIATE_TEST_SUITE_P(Ingress, RefusedFrame, ::testing::ValuesIn(refused_frames()),
                         [](const auto& refused) { return std::string{refused.param.name}; });

TEST(Ingress, UnknownIpOptionsAreIgnored) {
    RecordProperty("row", "MUST-50");
    MemoryRig rig;
    EXPECT_EQ(rig.exchange(with_ip_options({68, 8, 5, 0, 0, 0, 0, 0, 1, 1, 1, 0})).size(), 1u);
    EXPECT_EQ(rig.count(Verdict::syn_answered), 1u);
}

TEST(Ingress, ADevicesGoodIsBelievedAndItsBadIsChecked) {
    constexpr uint64_t good = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
    constexpr uint64_t bad = RTE_MBUF_F_RX_IP_CKSUM_BAD | RTE_MBUF_F_RX_L4_CKSUM_BAD;
    MemoryRig rig;
    rig.deliver(changed(changed(syn(), 24, 0), 50, 0), good);  // both sums are wrong, and nobody looks
    rig.turn();
    EXPECT_EQ(rig.count(Verdict::syn_answered), 1u);
    Caller other{rig, 40009};
    rig.deliver(other.frame(Flags::syn), bad);  // nothing is wrong with it
    rig.turn();
    EXPECT_EQ(rig.count(Verdict::syn_answered), 2u);
    rig.deliver(changed(syn(), 50, 0x5a), bad);
    rig.turn();
    EXPECT_EQ(rig.count(Verdict::bad_tcp_checksum), 1u);
}

TEST(Ingress, ThePaddingOfShortFramesIsNoPayload) {
    MemoryRig rig;
    Caller caller{rig};
    caller.open();
    Bytes ack = caller.frame(Flags::ack);
    ack.resize(60, std::byte{0xee});
    EXPECT_TRUE(rig.exchange(ack).empty());
    EXPECT_EQ(rig.app().answers, 0u);
    EXPECT_EQ(rig.count(tcp::Tally::payload_bytes_received), 0u);
}

TEST(Ingress, AFrameInSeveralPiecesIsReadAsOne) {
    MemoryRig rig;
    Caller caller{rig};
    caller.open();
    const Bytes frame = caller.frame(Flags::ack | Flags::psh, request);
    rte_mbuf* head = nullptr;
    for (size_t at = 0; at < frame.size(); at += 25) {
        rte_mbuf* part = rte_pktmbuf_alloc(&rig.pool());
        const auto bytes = std::span{frame}.subspan(at, std::min<size_t>(25, frame.size() - at));
        std::copy(bytes.begin(), bytes.end(), engine::room_of(*part).begin());
        engine::set_size(*part, bytes.size());
        if (!head) {
            head = part;
        } else {
            ASSERT_EQ(rte_pktmbuf_chain(head, part), 0);
        }
    }
    rig.wire().arrive(head);
    rig.turn();
    EXPECT_EQ(rig.app().answers, 1u);
}

TEST(Arp, ARequestIsAnsweredToItsSenderOnItsVlan) {
    MemoryRig rig;
    for (const uint16_t vlan : {tcp::wire::no_vlan, uint16_t{7}}) {
        const auto frames = rig.exchange(arp_frame(ArpOperation::request, peer_v4, our_v4,
                                                   {.to = MacAddress::broadcast(), .from = peer_mac, .vlan = vlan}));
        ASSERT_EQ(frames.size(), 1u);
        const auto ethernet = EthernetFrame::parse(frames[0]);
        EXPECT_EQ(ethernet->destination(), peer_mac);
        EXPECT_EQ(ethernet->source(), our_mac);
        EXPECT_EQ(ethernet->vlan_id(), vlan);
        const auto arp = ArpPacket::parse(ethernet->payload());
        ASSERT_TRUE(arp);
        EXPECT_FALSE(arp->is_request());
        EXPECT_EQ(arp->sender_mac(), our_mac);
        EXPECT_EQ(arp->sender_v4(), our_v4);
        EXPECT_EQ(arp->target_mac(), peer_mac);
        EXPECT_EQ(arp->target_v4(), peer_v4);
    }
}

TEST(Arp, AProbeFromNobodyIsAnswered) {  // RFC 5227: somebody wants to take our address
    MemoryRig rig;
    EXPECT_EQ(rig.exchange(arp_frame(ArpOperation::request, 0, our_v4)).size(), 1u);
}

TEST(Icmp, APingComesBackAsItWas) {
    MemoryRig rig;
    Bytes ping = icmp_frame(8, 0, 0x1234'0001, as_bytes("abcdefghijklmnopqrstuvw"));  // an odd number of bytes
    ping.resize(ping.size() + 5, std::byte{0xee});                                    // and padding
    const auto frames = rig.exchange(ping);
    ASSERT_EQ(frames.size(), 1u);
    EXPECT_EQ(frames[0].size(), ping.size() - 5);
    const auto ethernet = EthernetFrame::parse(frames[0]);
    EXPECT_EQ(ethernet->destination(), peer_mac);
    EXPECT_EQ(ethernet->source(), our_mac);
    const auto ip = tcp::wire::Ipv4Header::parse(ethernet->payload());
    ASSERT_TRUE(ip && ip->checksum_ok());
    EXPECT_EQ(ip->source_v4(), our_v4);
    EXPECT_EQ(ip->destination_v4(), peer_v4);
    const auto icmp = tcp::wire::IcmpMessage::parse(ip->payload());
    ASSERT_TRUE(icmp && icmp->checksum_ok());
    EXPECT_EQ(icmp->type(), tcp::wire::IcmpType::echo_reply);
    EXPECT_EQ(icmp->identifier(), 0x1234);
    EXPECT_EQ(as_text(icmp->body()), "abcdefghijklmnopqrstuvw");
}

TEST(Icmp, RepliesAreLimitedPerSecond) {
    engine::WorkerSettings settings = MemoryRig::quiet();
    settings.icmp.replies_per_second = 40;
    MemoryRig rig{small_stack(), settings};
    const Bytes ping = icmp_frame(8, 0, 1, as_bytes("flood"));
    size_t answered = 0;
    for (int i = 0; i < 100; ++i) answered += rig.exchange(ping).size();
    EXPECT_GE(answered, 30u);  // jitter: three quarters at least
    EXPECT_LE(answered, 40u);
    EXPECT_EQ(rig.count(Verdict::icmp_limited), 100 - answered);
    rig.jump(1s);
    EXPECT_EQ(rig.exchange(ping).size(), 1u);
}

TEST(Icmp, AnErrorReachesTheConnectionThatItQuotesAndNoOther) {
    RecordProperty("row", "MUST-54");
    MemoryRig rig;
    Caller caller{rig};
    caller.open();
    const auto frames = rig.exchange(caller.frame(Flags::ack | Flags::psh, request));  // unacknowledged: outstanding
    ASSERT_EQ(frames.size(), 1u);
    const auto quote = std::span{frames[0]}.subspan(14, 28);
    EXPECT_TRUE(rig.exchange(icmp_frame(3, 1, 0, quote)).empty());
    EXPECT_EQ(rig.count(Verdict::path_notice), 1u);
    Bytes other(quote.begin(), quote.end());
    other[22] ^= std::byte{1};  // another port of the peer
    EXPECT_TRUE(rig.exchange(icmp_frame(3, 1, 0, other)).empty());
    Bytes foreign(quote.begin(), quote.end());
    tcp::wire::store_be32(&foreign[12], far_v4);  // a packet that we never sent
    EXPECT_TRUE(rig.exchange(icmp_frame(3, 1, 0, foreign)).empty());
    EXPECT_EQ(rig.count(Verdict::path_notice), 1u);
    EXPECT_EQ(rig.count(Verdict::icmp_ignored), 2u);
    EXPECT_EQ(rig.stack().pool_use().connections, 1u);
}

}  // namespace
}  // namespace pollux::testing
