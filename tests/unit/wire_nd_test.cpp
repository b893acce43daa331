// Neighbor discovery: packets written by hand, and every validity check of RFC 4861 sections 7.1.1 and 7.1.2.
#include "tcp/wire/nd.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "tests/support/guard_page.hpp"

namespace pollux::tcp::wire {
namespace {

using Bytes = std::vector<std::byte>;

IpAddress address(const char* text) { return IpAddress::parse(text).value(); }

const IpAddress ours = address("2001:db8::1:2a03:4567"), theirs = address("fe80::2");
const MacAddress our_mac = MacAddress::parse("02:00:5e:00:00:01").value();

Bytes solicitation(const std::optional<MacAddress>& mac = our_mac, const IpAddress& from = theirs) {
    Bytes bytes(mac ? neighbor_message_size : neighbor_probe_size);
    EXPECT_EQ(write_neighbor_solicitation(bytes, from, solicited_node(ours), ours, mac), bytes.size());
    return bytes;
}

Bytes advertisement(const IpAddress& to = theirs, bool solicited = true) {
    Bytes bytes(neighbor_message_size);
    EXPECT_EQ(write_neighbor_advertisement(bytes, ours, to, ours, our_mac, solicited, true), bytes.size());
    return bytes;
}

template <class Message>
std::optional<Message> read(std::span<const std::byte> packet) {
    const auto ip = Ipv6Header::parse(packet);
    if (!ip) return {};
    const auto message = Icmpv6Message::parse(ip->payload());
    return message ? Message::parse(*ip, *message) : std::nullopt;
}
std::optional<NeighborSolicitation> read_ns(std::span<const std::byte> p) { return read<NeighborSolicitation>(p); }
std::optional<NeighborAdvertisement> read_na(std::span<const std::byte> p) { return read<NeighborAdvertisement>(p); }

bool checksum_ok(std::span<const std::byte> packet) {
    const auto ip = Ipv6Header::parse(packet).value();
    return Icmpv6Message::parse(ip.payload())->checksum_ok(ip.source(), ip.destination());
}

// Appends to the message and makes the payload length right again.
void append(Bytes& packet, std::initializer_list<unsigned> bytes) {
    for (const unsigned byte : bytes) packet.push_back(std::byte(byte));
    store_be16(packet.data() + 4, static_cast<uint16_t>(packet.size() - 40));
}
void cut_to(Bytes& packet, size_t message_size) {
    packet.resize(40 + message_size);
    store_be16(packet.data() + 4, static_cast<uint16_t>(message_size));
}
// Puts an extension header of 8 bytes in front of the message.
void insert_extension(Bytes& packet, unsigned type, std::initializer_list<unsigned> bytes) {
    auto at = packet.begin() + 40;
    for (const unsigned byte : bytes) at = packet.insert(at, std::byte(byte)) + 1;
    packet[6] = std::byte(type);
    store_be16(packet.data() + 4, static_cast<uint16_t>(packet.size() - 40));
}

TEST(NeighborDiscovery, SolicitationLooksLikeRfc4861OnTheWire) {
    Bytes bytes(neighbor_message_size, std::byte{0xa5});
    ASSERT_EQ(write_neighbor_solicitation(bytes, address("fe80::1"), address("ff02::1:ff00:2"), address("fe80::2"),
                                          MacAddress{{2, 0, 0, 0, 0, 1}}),
              72u);
    const unsigned expected[72] = {
        0x60, 0,    0,    0,    0, 32, 58, 255,                             // hop limit 255
        0xfe, 0x80, 0,    0,    0, 0,  0,  0,   0, 0, 0, 0, 0,    0, 0, 1,  // from
        0xff, 0x02, 0,    0,    0, 0,  0,  0,   0, 0, 0, 1, 0xff, 0, 0, 2,  // to the solicited-node group
        135,  0,    0x7a, 0x97, 0, 0,  0,  0,                               // the checksum: see below
        0xfe, 0x80, 0,    0,    0, 0,  0,  0,   0, 0, 0, 0, 0,    0, 0, 2,  // target
        1,    1,    2,    0,    0, 0,  0,  1};                              // source link-layer address
    // The sum: addresses and target 2 * fe80 + 1 + 2 + ff02 + 1 + ff00 + 2, then 8700, 0101 + 0200 + 0001, 0020 +
    // 003a: 48564 in all, folded 8568.
    for (size_t i = 0; i < 72; ++i) EXPECT_EQ(unsigned(bytes[i]), expected[i]) << "byte " << i;
    EXPECT_TRUE(checksum_ok(bytes));
}

TEST(NeighborDiscovery, AdvertisementLooksLikeRfc4861OnTheWire) {
    const Bytes bytes = advertisement();
    EXPECT_EQ(unsigned(bytes[7]), 255u);
    EXPECT_EQ(unsigned(bytes[40]), 136u);
    EXPECT_EQ(load_be32(bytes.data() + 44), 0x6000'0000u);  // solicited, override, no router
    EXPECT_EQ(load_address(bytes.data() + 48), ours);
    EXPECT_EQ(load_be16(bytes.data() + 64), 0x0201);  // target link-layer address, 8 bytes
    EXPECT_TRUE(checksum_ok(bytes));
}

TEST(NeighborDiscovery, WhatIsWrittenIsRead) {
    const Bytes asks = solicitation();
    const auto question = read_ns(asks);
    ASSERT_TRUE(question);
    EXPECT_EQ(question->target(), ours);
    EXPECT_EQ(question->source_mac(), our_mac);
    EXPECT_FALSE(question->is_probe());

    const Bytes probes = solicitation(std::nullopt, IpAddress{});
    const auto probe = read_ns(probes);
    ASSERT_TRUE(probe);
    EXPECT_TRUE(probe->is_probe());
    EXPECT_FALSE(probe->source_mac());

    const Bytes refresh = solicitation(std::nullopt);  // section 7.2.2: unicast, the option may be left out
    ASSERT_TRUE(read_ns(refresh));
    EXPECT_FALSE(read_ns(refresh)->is_probe());

    for (const bool solicited : {false, true}) {
        for (const bool overrides : {false, true}) {
            Bytes bytes(neighbor_message_size);
            ASSERT_EQ(write_neighbor_advertisement(bytes, ours, theirs, ours, our_mac, solicited, overrides), 72u);
            const auto answer = read_na(bytes);
            ASSERT_TRUE(answer && checksum_ok(bytes));
            EXPECT_EQ(answer->target(), ours);
            EXPECT_EQ(answer->target_mac(), our_mac);
            EXPECT_EQ(answer->is_solicited(), solicited);
            EXPECT_EQ(answer->is_override(), overrides);
            EXPECT_FALSE(answer->is_router());
            bytes[44] |= std::byte{0x80};
            EXPECT_TRUE(read_na(bytes)->is_router());
        }
    }
}

TEST(NeighborDiscovery, MessagesThatBreakARuleAreRefused) {
    struct Rule {
        const char* broken;
        std::function<void(Bytes&)> breaks;
    };
    const Rule rules[] = {
        {"hop limit 254: a router has forwarded it", [](Bytes& p) { p[7] = std::byte{254}; }},
        {"hop limit 0", [](Bytes& p) { p[7] = std::byte{0}; }},
        {"code 1", [](Bytes& p) { p[41] = std::byte{1}; }},
        {"another type", [](Bytes& p) { p[40] = std::byte{133}; }},
        {"23 bytes", [](Bytes& p) { cut_to(p, 23); }},
        {"8 bytes", [](Bytes& p) { cut_to(p, 8); }},
        {"the target is a group", [](Bytes& p) { store_address(p.data() + 48, all_nodes); }},
        {"an option of length 0", [](Bytes& p) { p[65] = std::byte{0}; }},
        {"an option beyond the end", [](Bytes& p) { p[65] = std::byte{2}; }},
        {"a cut option", [](Bytes& p) { cut_to(p, 31); }},
        {"half an option behind a good one",
         [](Bytes& p) {
             append(p, {14, 1, 0, 0});
         }},
        {"length 0 behind a good one",
         [](Bytes& p) {
             append(p, {14, 0, 0, 0, 0, 0, 0, 0});
         }},
        {"a link-layer address of 14 bytes",
         [](Bytes& p) {
             p[65] = std::byte{2}, append(p, {0, 0, 0, 0, 0, 0, 0, 0});
         }},
        {"an atomic fragment (RFC 6980)",
         [](Bytes& p) {
             insert_extension(p, 44, {58, 0, 0, 0, 0, 0, 0, 1});
         }},
        {"a fragment",
         [](Bytes& p) {
             insert_extension(p, 44, {58, 0, 0, 1, 0, 0, 0, 1});
         }},
        {"a source route",
         [](Bytes& p) {
             insert_extension(p, 43, {58, 0, 0, 1, 0, 0, 0, 0});
         }},
        {"a broken extension header",
         [](Bytes& p) {
             insert_extension(p, 60, {58, 9, 1, 4, 0, 0, 0, 0});
         }},
    };
    for (const Rule& rule : rules) {
        Bytes question = solicitation(), answer = advertisement();
        ASSERT_TRUE(read_ns(question) && read_na(answer));
        rule.breaks(question);
        rule.breaks(answer);
        EXPECT_FALSE(read_ns(question)) << rule.broken;
        EXPECT_FALSE(read_na(answer)) << rule.broken;
    }
    EXPECT_FALSE(read_na(solicitation()));
    EXPECT_FALSE(read_ns(advertisement()));
}

TEST(NeighborDiscovery, ProbesGoToTheSolicitedNodeGroupWithoutALinkLayerAddress) {
    EXPECT_FALSE(read_ns(solicitation(our_mac, IpAddress{})));
    Bytes probe = solicitation(std::nullopt, IpAddress{});
    for (const IpAddress& to : {ours, all_nodes, address("ff02::1:fe00:2"), address("ff05::1:ff03:4567")}) {
        store_address(probe.data() + 24, to);
        EXPECT_FALSE(read_ns(probe)) << to.to_string();
    }
}

TEST(NeighborDiscovery, AdvertisementsToGroupsAreNotSolicited) {
    EXPECT_FALSE(read_na(advertisement(all_nodes, true)));
    EXPECT_TRUE(read_na(advertisement(all_nodes, false)));
}

TEST(NeighborDiscovery, UnknownOptionsAreSkipped) {
    for (const unsigned type : {0u, 3u, 5u, 14u, 253u}) {
        Bytes question = solicitation(std::nullopt), answer = advertisement();
        append(question, {type, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14});
        append(question, {1, 1, 2, 0, 0x5e, 0, 0, 1});
        append(answer, {type, 1, 1, 2, 3, 4, 5, 6});
        ASSERT_TRUE(read_ns(question) && read_na(answer)) << type;
        EXPECT_EQ(read_ns(question)->source_mac(), our_mac);
        EXPECT_EQ(read_na(answer)->target_mac(), our_mac);
    }
    // The other message's address is not this one's; of two, the first counts.
    Bytes question = solicitation(std::nullopt);
    append(question, {2, 1, 2, 0, 0x5e, 0, 0, 1});
    EXPECT_FALSE(read_ns(question)->source_mac());
    append(question, {1, 1, 2, 0, 0x5e, 0, 0, 1, 1, 1, 2, 0, 0x5e, 0, 0, 2});
    EXPECT_EQ(read_ns(question)->source_mac(), our_mac);
    // Sound extension headers do not matter.
    insert_extension(question, 60, {58, 0, 1, 4, 0, 0, 0, 0});
    EXPECT_TRUE(read_ns(question));
}

TEST(NeighborDiscovery, WritersKeepToTheirRoom) {
    const tests::GuardPage guard{neighbor_message_size};
    for (size_t room = 0; room < neighbor_message_size; ++room) {
        const auto out = guard.bytes(room);
        EXPECT_EQ(write_neighbor_solicitation(out, theirs, ours, ours, our_mac), 0u);
        EXPECT_EQ(write_neighbor_advertisement(out, ours, theirs, ours, our_mac, true, true), 0u);
        EXPECT_EQ(write_neighbor_solicitation(out, theirs, ours, ours, {}), room < 64 ? 0u : 64u);
    }
    EXPECT_EQ(write_neighbor_solicitation(guard.bytes(72), theirs, ours, ours, our_mac), 72u);
}

TEST(NeighborDiscovery, GroupsFollowTheAddress) {
    EXPECT_EQ(solicited_node(ours).to_string(), "ff02::1:ff03:4567");
    EXPECT_TRUE(solicited_node(ours).is_solicited_node());
    EXPECT_FALSE(all_nodes.is_solicited_node());
    EXPECT_EQ(multicast_mac(solicited_node(ours)).to_string(), "33:33:ff:03:45:67");
    EXPECT_EQ(multicast_mac(all_nodes).to_string(), "33:33:00:00:00:01");
    EXPECT_EQ(all_nodes.to_string(), "ff02::1");
}

TEST(NeighborDiscovery, NoBytesAreReadOutside) {
    std::mt19937 random{4861};
    const tests::GuardPage guard{256};
    int accepted = 0;
    for (int i = 0; i < 100'000; ++i) {
        Bytes bytes = random() % 2 == 0 ? solicitation() : advertisement();
        cut_to(bytes, 1 + random() % 100);
        for (auto changes = random() % 3; changes > 0; --changes) {
            bytes[40 + random() % (bytes.size() - 40)] = std::byte(random() % 4);
        }
        const auto held = guard.hold(bytes);
        if (read_ns(held) || read_na(held)) ++accepted;
    }
    EXPECT_GT(accepted, 100);
}

}  // namespace
}  // namespace pollux::tcp::wire
