// ICMPv6: the echo reply, and what an error says about one of our connections.
#include "tcp/wire/icmpv6.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <vector>

#include "tcp/wire/packet.hpp"
#include "tests/support/guard_page.hpp"

namespace pollux::tcp::wire {
namespace {

using Bytes = std::vector<std::byte>;

const IpAddress ours = IpAddress::parse("2001:db8::1").value();
const IpAddress theirs = IpAddress::parse("2001:db8::2").value();
const IpAddress all_nodes_group = IpAddress::parse("ff02::1").value();

void fill_checksum(Bytes& packet) {
    const auto ip = Ipv6Header::parse(packet).value();
    const auto message = std::span(packet).subspan(40);
    store_be16(message.data() + 2, 0);
    const uint64_t pseudo = pseudo_header_sum(ip.source(), ip.destination(), 58, uint32_t(message.size()));
    store_be16(message.data() + 2, checksum_of(pseudo + sum_of(message)));
}

Bytes packet_of(const IpAddress& destination, std::span<const std::byte> message) {
    Bytes packet(40 + message.size());
    write_ipv6(packet.data(), {.source = theirs,
                               .destination = destination,
                               .payload_length = static_cast<uint16_t>(message.size()),
                               .next_header = IpProtocol::icmpv6,
                               .hop_limit = 3,
                               .dscp = 10});
    std::copy(message.begin(), message.end(), packet.begin() + 40);
    fill_checksum(packet);
    return packet;
}

Bytes echo_request(size_t data, const IpAddress& destination = ours) {
    Bytes message(8 + data);
    message[0] = std::byte{128};
    store_be32(message.data() + 4, 0x1234'0007);
    for (size_t i = 0; i < data; ++i) message[8 + i] = std::byte(i);
    return packet_of(destination, message);
}

// A segment of ours, as it left.
const Segment sent = [] {
    Segment segment{.flow = {ours, theirs, 80, 40000}, .seq = SeqNum{0xffff'fff0}, .ack = SeqNum{1}};
    segment.flags = Flags::ack;
    return segment;
}();

// The message alone: an error that quotes the first `quoted` bytes of `segment`.
Bytes error(unsigned type, unsigned code, uint32_t mtu = 0, size_t quoted = 60, const Segment& segment = sent) {
    std::array<std::byte, 128> packet{};
    const size_t size = emit(segment, packet);
    Bytes message(8 + std::min(size, quoted));
    message[0] = std::byte(type);
    message[1] = std::byte(code);
    store_be32(message.data() + 4, mtu);
    std::copy_n(packet.begin(), message.size() - 8, message.begin() + 8);
    return message;
}

std::optional<PathNotice> read(std::span<const std::byte> bytes) {
    const auto message = Icmpv6Message::parse(bytes);
    return message ? path_notice(*message) : std::nullopt;
}

TEST(Icmpv6, ChecksumMatchesAPacketSummedByHand) {
    // fe80::1 to fe80::2: echo request 1, 1 with the data "ab". The words of the message are 8000 0000 0001 0001
    // 6162, those of the pseudo-header 2 * fe80 + 1 + 2 + 000a + 003a: 2deab in all, folded dead, so the field is
    // 2152.
    const std::array<unsigned, 10> wire{0x80, 0, 0x21, 0x52, 0, 1, 0, 1, 0x61, 0x62};
    Bytes bytes(wire.size());
    std::transform(wire.begin(), wire.end(), bytes.begin(), [](unsigned byte) { return std::byte(byte); });
    const auto from = IpAddress::parse("fe80::1").value(), to = IpAddress::parse("fe80::2").value();
    EXPECT_TRUE(Icmpv6Message::parse(bytes)->checksum_ok(from, to));
    EXPECT_FALSE(Icmpv6Message::parse(bytes)->checksum_ok(from, from));
    for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
        Bytes flipped = bytes;
        flipped[bit / 8] ^= std::byte(1u << bit % 8);
        EXPECT_FALSE(Icmpv6Message::parse(flipped)->checksum_ok(from, to)) << bit;
    }
}

TEST(Icmpv6, EchoRequestBecomesItsReplyInPlace) {
    for (const IpAddress& asked : {ours, all_nodes_group}) {
        for (const size_t data : {0u, 1u, 33u, 1400u}) {
            const Bytes request = echo_request(data, asked);
            Bytes packet = request;
            packet.resize(packet.size() + 5);  // Ethernet padding
            ASSERT_TRUE(turn_into_echo_reply_v6(packet, 64, ours));
            const auto ip = Ipv6Header::parse(packet);
            ASSERT_TRUE(ip);
            EXPECT_EQ(ip->source(), ours);
            EXPECT_EQ(ip->destination(), theirs);
            EXPECT_EQ(ip->hop_limit(), 64);
            EXPECT_EQ(ip->dscp(), 10);
            EXPECT_EQ(ip->total_length(), request.size());
            const auto reply = Icmpv6Message::parse(ip->payload());
            EXPECT_EQ(reply->type(), Icmpv6Type::echo_reply);
            EXPECT_EQ(reply->code(), 0);
            EXPECT_TRUE(reply->checksum_ok(ours, theirs)) << data;
            // RFC 4443 section 4.2: identifier, sequence number and data come back unchanged.
            EXPECT_TRUE(std::equal(request.begin() + 44, request.end(), packet.begin() + 44));
        }
    }
}

TEST(Icmpv6, EchoReplyChecksumIsRightForEveryRequestChecksum) {
    const Bytes request = echo_request(2);
    for (uint32_t value = 0; value < 0x1'0000; ++value) {
        Bytes packet = request;
        store_be16(packet.data() + 48, static_cast<uint16_t>(value));
        fill_checksum(packet);
        ASSERT_TRUE(turn_into_echo_reply_v6(packet, 64, ours));
        ASSERT_TRUE(Icmpv6Message::parse(std::span(packet).subspan(40))->checksum_ok(ours, theirs)) << value;
    }
}

TEST(Icmpv6, NothingButAPlainEchoRequestIsTurned) {
    const Bytes good = echo_request(8);
    const auto refused = [&good](auto change) {
        Bytes packet = good;
        change(packet);
        const Bytes before = packet;
        return !turn_into_echo_reply_v6(packet, 64, ours) && packet == before;
    };
    EXPECT_TRUE(refused([](Bytes& packet) { packet[40] = std::byte{129}; }));       // a reply
    EXPECT_TRUE(refused([](Bytes& packet) { packet[41] = std::byte{1}; }));         // another code
    EXPECT_TRUE(refused([](Bytes& packet) { packet[6] = std::byte{6}; }));          // TCP
    EXPECT_TRUE(refused([](Bytes& packet) { packet[6] = std::byte{0}; }));          // a broken extension header
    EXPECT_TRUE(refused([](Bytes& packet) { packet[0] = std::byte{0x45}; }));       // IPv4
    EXPECT_TRUE(refused([](Bytes& packet) { packet.resize(packet.size() - 1); }));  // truncated
    EXPECT_TRUE(refused([](Bytes& packet) { packet.resize(47), packet[5] = std::byte{7}; }));
    EXPECT_TRUE(refused([](Bytes& packet) {  // a sound extension header
        packet[6] = std::byte{60};
        const unsigned options[] = {58, 0, 1, 4, 0, 0, 0, 0};
        for (size_t i = 0; i < 8; ++i) packet.insert(packet.begin() + 40 + long(i), std::byte(options[i]));
        packet[5] = std::byte{24};
    }));
    EXPECT_FALSE(refused([](Bytes&) {}));
}

TEST(Icmpv6, ErrorNamesTheConnectionAndTheSegment) {
    const auto notice = read(error(2, 0, 1400));
    ASSERT_TRUE(notice);
    EXPECT_EQ(notice->kind, PathNotice::Kind::too_big);
    EXPECT_EQ(notice->flow, sent.flow);
    EXPECT_EQ(notice->quoted_seq, sent.seq);
    EXPECT_EQ(notice->mtu, 1400u);
    EXPECT_EQ(read(error(2, 7, 0xffff'ffff))->mtu, 0xffff'ffffu);  // 32 bits; its code is ignored
    EXPECT_EQ(read(error(1, 0, 1400))->mtu, 0u);
}

TEST(Icmpv6, ErrorsBecomeNoticesOfTheRightWeight) {
    using enum PathNotice::Kind;
    const auto kind = [](unsigned type, unsigned code) { return read(error(type, code))->kind; };
    for (const unsigned code : {0u, 2u, 3u, 7u, 200u}) EXPECT_EQ(kind(1, code), unreachable_soft) << code;
    for (const unsigned code : {1u, 4u, 5u, 6u}) EXPECT_EQ(kind(1, code), unreachable_hard) << code;
    for (const unsigned code : {0u, 1u}) EXPECT_EQ(kind(3, code), unreachable_soft) << code;
    for (const unsigned code : {0u, 2u, 3u}) EXPECT_EQ(kind(4, code), unreachable_soft) << code;
    EXPECT_EQ(kind(4, 1), unreachable_hard);
    EXPECT_EQ(kind(100, 1), unreachable_soft);  // RFC 4443 section 2.4 (a)
}

TEST(Icmpv6, InformationIsNoError) {
    for (unsigned type = 0; type < 256; ++type) EXPECT_EQ(read(error(type, 0)).has_value(), type < 128) << type;
}

TEST(Icmpv6, ErrorNeedsTheWholeHeaderAndEightBytesOfTcp) {
    const tests::GuardPage guard{128};
    for (size_t quoted = 0; quoted < 48; ++quoted) {
        EXPECT_FALSE(read(guard.hold(error(1, 4, 0, quoted)))) << quoted;
    }
    EXPECT_TRUE(read(guard.hold(error(1, 4, 0, 48))));
    EXPECT_TRUE(read(guard.hold(error(1, 4, 0, 60))));
    for (size_t size = 0; size < 8; ++size) EXPECT_FALSE(Icmpv6Message::parse(guard.bytes(size)));
}

TEST(Icmpv6, ErrorAboutSomethingElseIsNotOurs) {
    const auto refused = [](auto change) {
        Bytes bytes = error(1, 4);
        change(bytes);
        return !read(bytes);
    };
    EXPECT_TRUE(refused([](Bytes& bytes) { bytes[8 + 6] = std::byte{17}; }));  // UDP
    EXPECT_TRUE(refused([](Bytes& bytes) { bytes[8 + 6] = std::byte{44}; }));  // a fragment: we send none
    EXPECT_TRUE(refused([](Bytes& bytes) { bytes[8 + 6] = std::byte{60}; }));  // a broken chain
    EXPECT_TRUE(refused([](Bytes& bytes) { bytes[8] = std::byte{0x45}; }));    // IPv4
    EXPECT_FALSE(refused([](Bytes&) {}));
}

TEST(Icmpv6, ErrorNeverNamesAConnectionOverIpv4) {
    const IpAddress mapped = IpAddress::from_v4(0xc000'0201);
    for (const size_t at : {8u, 24u}) {
        Bytes bytes = error(1, 4);
        store_address(bytes.data() + 8 + at, mapped);
        EXPECT_FALSE(read(bytes)) << at;
    }
    Segment v4 = sent;
    v4.flow.local_addr = v4.flow.remote_addr = mapped;
    EXPECT_FALSE(read(error(1, 4, 0, 60, v4)));
}

TEST(Icmpv6, NoBytesAreReadOutside) {
    std::mt19937 random{4443};
    const tests::GuardPage guard{128};
    for (int i = 0; i < 100'000; ++i) {
        Bytes bytes = error(2, 0, 1400, random() % 61);
        for (int flips = 0; flips < 3; ++flips) bytes[random() % bytes.size()] = std::byte(random());
        const auto view = Icmpv6Message::parse(guard.hold(bytes));
        ASSERT_TRUE(view);
        EXPECT_TRUE(!path_notice(*view) || bytes.size() >= 8 + 48);
        view->checksum_ok(ours, theirs);
    }
}

}  // namespace
}  // namespace pollux::tcp::wire
