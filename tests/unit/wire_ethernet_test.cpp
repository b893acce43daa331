// Link-layer addresses, Ethernet frames with and without VLAN tags, and ARP.
#include "tcp/wire/ethernet.hpp"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "tcp/wire/arp.hpp"
#include "tests/support/guard_page.hpp"

namespace pollux::tcp::wire {
namespace {

constexpr MacAddress ours{{0x02, 0, 0, 0, 0, 0x01}};
constexpr MacAddress theirs{{0x02, 0, 0, 0, 0, 0xfe}};

std::vector<std::byte> frame(std::initializer_list<unsigned> bytes) {
    std::vector<std::byte> result;
    for (const unsigned byte : bytes) result.push_back(std::byte(byte));
    return result;
}

TEST(MacAddress, ReadsAndPrintsItsNotation) {
    EXPECT_EQ(MacAddress::parse("02:00:00:00:00:fe"), theirs);
    EXPECT_EQ(MacAddress::parse("02-00-00-00-00-FE"), theirs);
    EXPECT_EQ(theirs.to_string(), "02:00:00:00:00:fe");
    for (const auto* text : {"", "02:00:00:00:00", "02:00:00:00:00:fe:", "02:00:00:00:00:fg", "02:00:00:00-00:fe",
                             "2:00:00:00:00:0fe", "020000:00:00:00:fe", "02 00 00 00 00 fe", "-2:00:00:00:00:01"}) {
        EXPECT_FALSE(MacAddress::parse(text)) << '"' << text << '"';
    }
}

TEST(MacAddress, KnowsGroups) {
    EXPECT_TRUE(MacAddress::broadcast().is_broadcast());
    EXPECT_TRUE(MacAddress::broadcast().is_multicast());
    const MacAddress group{{0x01, 0, 0x5e, 0, 0, 1}};
    EXPECT_TRUE(group.is_multicast());
    EXPECT_FALSE(group.is_broadcast());
    EXPECT_FALSE(ours.is_multicast());
    EXPECT_TRUE(MacAddress{}.is_unspecified());
}

TEST(Ethernet, ReadsWhatItWrites) {
    for (const uint16_t vlan : {no_vlan, uint16_t{1}, uint16_t{4094}}) {
        std::array<std::byte, 64> bytes{};
        const size_t size = write_ethernet(bytes, theirs, ours, EtherType::ipv4, vlan);
        ASSERT_EQ(size, ethernet_size(vlan));
        const auto view = EthernetFrame::parse(bytes);
        ASSERT_TRUE(view);
        EXPECT_EQ(view->destination(), theirs);
        EXPECT_EQ(view->source(), ours);
        EXPECT_EQ(view->ether_type(), EtherType::ipv4);
        EXPECT_EQ(view->vlan_id(), vlan);
        EXPECT_EQ(view->size(), size);
        EXPECT_EQ(view->payload().data(), bytes.data() + size);
        EXPECT_EQ(view->payload().size(), bytes.size() - size);
    }
}

TEST(Ethernet, WritesNothingWhereThereIsNoRoom) {
    std::array<std::byte, 18> bytes{};
    EXPECT_EQ(write_ethernet(std::span(bytes).first(13), theirs, ours, EtherType::ipv4), 0u);
    EXPECT_EQ(write_ethernet(std::span(bytes).first(17), theirs, ours, EtherType::ipv4, 5), 0u);
    EXPECT_EQ(bytes, (std::array<std::byte, 18>{}));
}

TEST(Ethernet, SkipsTwoTagsAndReportsTheOuterVlan) {
    auto bytes =
        frame({2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xa8, 0xe0, 0x64, 0x81, 0x00, 0x00, 0x07, 0x08, 0x00, 0x45});
    auto view = EthernetFrame::parse(bytes);
    ASSERT_TRUE(view);
    EXPECT_EQ(view->ether_type(), EtherType::ipv4);
    EXPECT_EQ(view->vlan_id(), 100);
    EXPECT_EQ(view->size(), 22u);
    // A third tag is a protocol that nobody knows.
    bytes = frame({2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0, 0, 1, 0x81, 0, 0, 2, 0x81, 0, 0, 3, 0x08, 0x00});
    view = EthernetFrame::parse(bytes);
    ASSERT_TRUE(view);
    EXPECT_EQ(view->ether_type(), EtherType::vlan);
    EXPECT_EQ(view->vlan_id(), 1);
}

TEST(Ethernet, RefusesEveryFrameThatEndsInItsHeaderOrTags) {
    const auto whole = frame({2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0, 0, 1, 0x81, 0, 0, 2, 0x08, 0x00});
    const tests::GuardPage guard{64};
    for (size_t size = 0; size < whole.size(); ++size) {
        EXPECT_FALSE(EthernetFrame::parse(guard.hold(std::span(whole).first(size)))) << size;
    }
    const auto view = EthernetFrame::parse(guard.hold(whole));
    ASSERT_TRUE(view);
    EXPECT_TRUE(view->payload().empty());
}

TEST(Ethernet, ReportsGroupDestinations) {
    std::array<std::byte, 14> bytes{};
    write_ethernet(bytes, MacAddress::broadcast(), ours, EtherType::arp);
    EXPECT_TRUE(EthernetFrame::parse(bytes)->is_broadcast());
    EXPECT_TRUE(EthernetFrame::parse(bytes)->is_multicast());
    write_ethernet(bytes, MacAddress{{0x33, 0x33, 0, 0, 0, 1}}, ours, EtherType::ipv6);
    EXPECT_FALSE(EthernetFrame::parse(bytes)->is_broadcast());
    EXPECT_TRUE(EthernetFrame::parse(bytes)->is_multicast());
    write_ethernet(bytes, theirs, ours, EtherType::ipv4);
    EXPECT_FALSE(EthernetFrame::parse(bytes)->is_multicast());
}

constexpr uint32_t our_v4 = 0xc000'0201, their_v4 = 0xc000'0202;

TEST(Arp, ReplyAnswersTheRequest) {
    std::array<std::byte, ArpPacket::wire_size> question{}, answer{};
    ASSERT_EQ(write_arp_request(question, theirs, their_v4, our_v4), ArpPacket::wire_size);
    const auto request = ArpPacket::parse(question);
    ASSERT_TRUE(request);
    EXPECT_TRUE(request->is_request());
    EXPECT_EQ(request->sender_mac(), theirs);
    EXPECT_EQ(request->sender_v4(), their_v4);
    EXPECT_TRUE(request->target_mac().is_unspecified());
    EXPECT_EQ(request->target_v4(), our_v4);

    ASSERT_EQ(write_arp_reply(answer, ours, our_v4, *request), ArpPacket::wire_size);
    const auto reply = ArpPacket::parse(answer);
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->operation(), ArpOperation::reply);
    EXPECT_EQ(reply->sender_mac(), ours);
    EXPECT_EQ(reply->sender_v4(), our_v4);
    EXPECT_EQ(reply->target_mac(), theirs);
    EXPECT_EQ(reply->target_v4(), their_v4);
}

TEST(Arp, RequestLooksLikeRfc826OnTheWire) {
    std::array<std::byte, ArpPacket::wire_size> bytes{};
    write_gratuitous_arp(bytes, ours, our_v4);
    const auto expected =
        frame({0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 1});
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), bytes.begin(), bytes.end()));
}

TEST(Arp, RefusesWhatIsNotEthernetAndIpv4) {
    std::array<std::byte, ArpPacket::wire_size> good{};
    write_arp_request(good, ours, our_v4, their_v4);
    for (size_t at = 0; at < 8; ++at) {
        for (unsigned bit = 0; bit < 8; ++bit) {
            auto bad = good;
            bad[at] ^= std::byte(1u << bit);
            // The operation is 1; what makes it 2 takes two bits, so that any single one makes it unknown.
            EXPECT_FALSE(ArpPacket::parse(bad)) << at << " bit " << bit;
        }
    }
    const tests::GuardPage guard{64};
    for (size_t size = 0; size < good.size(); ++size) {
        EXPECT_FALSE(ArpPacket::parse(guard.hold(std::span(good).first(size))));
    }
    EXPECT_EQ(write_arp_request(std::span(good).first(27), ours, our_v4, their_v4), 0u);
}

}  // namespace
}  // namespace pollux::tcp::wire
