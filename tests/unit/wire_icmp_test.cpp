// ICMP: the echo reply, and what an error says about one of our connections.
#include "tcp/wire/icmp.hpp"

#include <gtest/gtest.h>

#include <array>
#include <random>
#include <vector>

#include "tcp/wire/packet.hpp"
#include "tests/support/guard_page.hpp"

namespace pollux::tcp::wire {
namespace {

constexpr uint32_t our_v4 = 0xc000'0201, their_v4 = 0xc000'0202;

void fill_checksum(std::span<std::byte> message) {
    store_be16(message.data() + 2, 0);
    store_be16(message.data() + 2, checksum_of(sum_of(message)));
}

std::vector<std::byte> echo_request(size_t data) {
    std::vector<std::byte> message(8 + data);
    message[0] = std::byte{8};
    store_be16(message.data() + 4, 0x1234);
    store_be16(message.data() + 6, 7);
    for (size_t i = 0; i < data; ++i) message[8 + i] = std::byte(i);
    fill_checksum(message);
    return message;
}

std::vector<std::byte> in_ipv4(std::span<const std::byte> message) {
    std::vector<std::byte> packet(20 + message.size());
    write_ipv4(packet.data(), {.source = their_v4,
                               .destination = our_v4,
                               .total_length = static_cast<uint16_t>(packet.size()),
                               .protocol = IpProtocol::icmp,
                               .ttl = 3});
    std::copy(message.begin(), message.end(), packet.begin() + 20);
    return packet;
}

// A segment of ours, as it left.
const Segment sent = [] {
    Segment segment{.flow = {IpAddress::from_v4(our_v4), IpAddress::from_v4(their_v4), 80, 40000},
                    .seq = SeqNum{0xffff'fff0},
                    .ack = SeqNum{1}};
    segment.flags = Flags::ack;
    return segment;
}();

// An error that quotes the first `quoted` bytes of `sent`.
std::vector<std::byte> error(unsigned type, unsigned code, uint16_t mtu = 0, size_t quoted = 28) {
    std::array<std::byte, 128> packet{};
    const size_t size = emit(sent, packet);
    std::vector<std::byte> message(8 + std::min(size, quoted));
    message[0] = std::byte(type);
    message[1] = std::byte(code);
    store_be16(message.data() + 6, mtu);
    std::copy_n(packet.begin(), message.size() - 8, message.begin() + 8);
    fill_checksum(message);
    return message;
}

std::optional<IcmpError> read(std::span<const std::byte> bytes) {
    const auto message = IcmpMessage::parse(bytes);
    return message ? parse_icmp_error(*message) : std::nullopt;
}

TEST(Icmp, AnEchoOfNothingButZerosIsGood) {
    std::vector<std::byte> message(8 + 56);
    message[0] = std::byte{8};
    fill_checksum(message);
    ASSERT_EQ(write_echo_reply(message, *IcmpMessage::parse(message)), message.size());
    EXPECT_TRUE(IcmpMessage::parse(message)->checksum_ok());
}

TEST(Icmp, EchoReplyReturnsTheSameBytes) {
    for (const size_t data : {0u, 1u, 56u, 1473u}) {
        const auto request = echo_request(data);
        const auto view = IcmpMessage::parse(request);
        ASSERT_TRUE(view && view->is_echo_request() && view->checksum_ok());
        std::vector<std::byte> reply(request.size());
        ASSERT_EQ(write_echo_reply(reply, *view), reply.size());
        const auto answer = IcmpMessage::parse(reply);
        EXPECT_EQ(answer->type(), IcmpType::echo_reply);
        EXPECT_TRUE(answer->checksum_ok());
        EXPECT_EQ(answer->identifier(), 0x1234);
        EXPECT_EQ(answer->sequence(), 7);
        EXPECT_TRUE(
            std::equal(answer->body().begin(), answer->body().end(), view->body().begin(), view->body().end()));
        EXPECT_EQ(write_echo_reply(std::span(reply).first(reply.size() - 1), *view), 0u);
    }
}

TEST(Icmp, EchoReplyChecksumIsRightForEveryRequestChecksum) {
    auto request = echo_request(2);
    for (uint32_t value = 0; value < 0x1'0000; ++value) {
        store_be16(request.data() + 8, static_cast<uint16_t>(value));
        fill_checksum(request);
        std::array<std::byte, 10> reply{};
        write_echo_reply(reply, *IcmpMessage::parse(request));
        ASSERT_TRUE(IcmpMessage::parse(reply)->checksum_ok()) << value;
    }
}

TEST(Icmp, EchoRequestBecomesItsReplyInPlace) {
    auto packet = in_ipv4(echo_request(33));
    packet.resize(packet.size() + 5);  // Ethernet padding
    ASSERT_TRUE(turn_into_echo_reply(packet, 64));
    const auto ip = Ipv4Header::parse(packet);
    ASSERT_TRUE(ip && ip->checksum_ok());
    EXPECT_EQ(ip->source_v4(), our_v4);
    EXPECT_EQ(ip->destination_v4(), their_v4);
    EXPECT_EQ(ip->ttl(), 64);
    EXPECT_EQ(ip->total_length(), 61u);
    const auto reply = IcmpMessage::parse(ip->payload());
    EXPECT_EQ(reply->type(), IcmpType::echo_reply);
    EXPECT_TRUE(reply->checksum_ok());
}

TEST(Icmp, NothingButAnEchoRequestIsTurned) {
    const auto good = in_ipv4(echo_request(8));
    const auto refused = [&good](auto change) {
        auto packet = good;
        change(packet);
        const auto before = packet;
        return !turn_into_echo_reply(packet, 64) && packet == before;
    };
    EXPECT_TRUE(refused([](auto& packet) { packet[20] = std::byte{0}; }));         // a reply
    EXPECT_TRUE(refused([](auto& packet) { packet[21] = std::byte{1}; }));         // another code
    EXPECT_TRUE(refused([](auto& packet) { packet[6] = std::byte{0x20}; }));       // a fragment
    EXPECT_TRUE(refused([](auto& packet) { packet[9] = std::byte{6}; }));          // TCP
    EXPECT_TRUE(refused([](auto& packet) { packet[0] = std::byte{0x46}; }));       // IP options
    EXPECT_TRUE(refused([](auto& packet) { packet.resize(packet.size() - 1); }));  // truncated
    EXPECT_FALSE(refused([](auto&) {}));
}

TEST(Icmp, ErrorNamesTheConnectionAndTheSegment) {
    const auto bytes = error(3, 4, 1400);
    const auto found = read(bytes);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->flow, sent.flow);
    EXPECT_EQ(found->seq, sent.seq);
    EXPECT_EQ(found->next_hop_mtu, 1400u);
    EXPECT_EQ(found->type, IcmpType::destination_unreachable);
    EXPECT_EQ(found->code, 4);
    EXPECT_EQ(found->quoted_length, load_be16(bytes.data() + 8 + 2));  // of the quoted IP header
    EXPECT_EQ(path_notice(*found)->quoted_length, found->quoted_length);
    EXPECT_TRUE(IcmpMessage::parse(bytes)->checksum_ok());
}

TEST(Icmp, ErrorsBecomeNoticesOfTheRightWeight) {
    using enum PathNotice::Kind;
    const auto kind = [](unsigned type, unsigned code) {
        const auto found = read(error(type, code, 1400));
        const auto notice = found ? path_notice(*found) : std::nullopt;
        return notice ? std::optional(notice->kind) : std::nullopt;
    };
    for (const unsigned code : {0u, 1u, 5u, 6u, 7u, 11u, 12u, 200u})
        EXPECT_EQ(kind(3, code), unreachable_soft) << code;
    for (const unsigned code : {2u, 3u, 9u, 10u, 13u}) EXPECT_EQ(kind(3, code), unreachable_hard) << code;
    EXPECT_EQ(kind(3, 4), too_big);
    EXPECT_EQ(kind(11, 0), unreachable_soft);
    EXPECT_EQ(kind(12, 1), unreachable_soft);
    EXPECT_EQ(path_notice(*read(error(3, 4, 1400)))->mtu, 1400u);
    EXPECT_EQ(path_notice(*read(error(3, 3, 1400)))->mtu, 0u);
    EXPECT_EQ(path_notice(*read(error(3, 3)))->flow, sent.flow);
    EXPECT_EQ(path_notice(*read(error(3, 3)))->quoted_seq, sent.seq);
}

TEST(Icmp, SourceQuenchIsReadAndMeansNothing) {
    RecordProperty("row", "MUST-55");
    const auto quench = read(error(4, 0));
    ASSERT_TRUE(quench);
    EXPECT_FALSE(path_notice(*quench));
}

TEST(Icmp, RedirectsAndRepliesAreNoErrors) {
    for (unsigned type = 0; type < 256; ++type) {
        const bool is_error = type == 3 || type == 4 || type == 11 || type == 12;
        EXPECT_EQ(read(error(type, 0)).has_value(), is_error) << type;
    }
}

TEST(Icmp, ErrorNeedsTheWholeHeaderAndEightBytesOfTcp) {
    const tests::GuardPage guard{128};
    for (size_t quoted = 0; quoted < 28; ++quoted) {
        EXPECT_FALSE(read(guard.hold(error(3, 3, 0, quoted)))) << quoted;
    }
    EXPECT_TRUE(read(guard.hold(error(3, 3, 0, 28))));
    EXPECT_TRUE(read(guard.hold(error(3, 3, 0, 40))));
    for (size_t size = 0; size < 8; ++size) EXPECT_FALSE(IcmpMessage::parse(guard.bytes(size)));
}

TEST(Icmp, ErrorAboutSomethingElseIsNotOurs) {
    const auto refused = [](auto change) {
        auto bytes = error(3, 3, 0, 40);
        change(bytes);
        return !read(bytes);
    };
    EXPECT_TRUE(refused([](auto& bytes) { bytes[8 + 9] = std::byte{17}; }));  // UDP
    EXPECT_TRUE(refused([](auto& bytes) { bytes[8 + 7] = std::byte{1}; }));   // a later fragment
    EXPECT_TRUE(refused([](auto& bytes) { bytes[8] = std::byte{0x65}; }));    // IPv6
    EXPECT_TRUE(refused([](auto& bytes) { bytes[8] = std::byte{0x44}; }));    // header length
    EXPECT_TRUE(refused([](auto& bytes) { bytes[8] = std::byte{0x4f}; }));
    EXPECT_FALSE(refused([](auto&) {}));
}

TEST(Icmp, NoBytesAreReadOutside) {
    std::mt19937 random{792};
    const tests::GuardPage guard{128};
    for (int i = 0; i < 100'000; ++i) {
        auto bytes = error(3, 4, 1400, random() % 41);
        for (int flips = 0; flips < 3; ++flips) bytes[random() % bytes.size()] = std::byte(random());
        const auto view = IcmpMessage::parse(guard.hold(bytes));
        ASSERT_TRUE(view);
        const auto found = parse_icmp_error(*view);
        EXPECT_TRUE(!found || bytes.size() >= 8 + 28);
    }
}

}  // namespace
}  // namespace pollux::tcp::wire
