// Whole packets: Segment to bytes and back, damage of every kind, and what is left to the device.
#include "tcp/wire/packet.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <type_traits>
#include <vector>

#include "tests/support/guard_page.hpp"

namespace pollux::tcp::wire {
namespace {

using Bytes = std::vector<std::byte>;

Segment request() {
    Segment segment{.flow = {IpAddress::from_v4(0xc000'0202), IpAddress::from_v4(0xc000'0201), 40000, 80},
                    .seq = SeqNum{0xffff'fff0},
                    .ack = SeqNum{0x1234'5678},
                    .window = 65535,
                    .timestamps = {5, 9},
                    .flags = Flags::psh | Flags::ack,
                    .present = Present::timestamps};
    return segment;
}

// The same request over IPv6.
Segment request_v6() {
    Segment segment = request();
    segment.flow.local_addr = IpAddress::parse("2001:db8::2").value();
    segment.flow.remote_addr = IpAddress::parse("2001:db8::1").value();
    return segment;
}

size_t ip_header_of(std::span<const std::byte> packet) { return packet[0] >> 4 == std::byte{6} ? 40 : 20; }

Bytes packet_of(const Segment& segment) {
    Bytes bytes(headers_size(segment) + segment.payload.size());
    const Emitted emitted = emit(segment, bytes);
    EXPECT_EQ(emitted.status, EmitStatus::ok);
    EXPECT_EQ(emitted.size, bytes.size());
    return bytes;
}

// Makes the checksums right again after a change.
void repair(Bytes& packet) {
    const bool v6 = packet[0] >> 4 == std::byte{6};
    const size_t header = v6 ? 40 : size_t(packet[0] & std::byte{15}) * 4;
    if (!v6) {
        store_be16(packet.data() + 10, 0);
        store_be16(packet.data() + 10, checksum_of(sum_of(std::span(packet).first(header))));
    }
    const auto tcp = std::span(packet).subspan(header);
    const auto addresses = v6 ? std::span(packet).subspan(8, 32) : std::span(packet).subspan(12, 8);
    store_be16(tcp.data() + 16, 0);
    store_be16(tcp.data() + 16, checksum_of(uint64_t{6} + tcp.size() + sum_of(addresses) + sum_of(tcp)));
}

ParseResult result_of(std::span<const std::byte> packet, ChecksumTrust trust = ChecksumTrust::verify_all) {
    return parse(packet, trust).result;
}

// A segment of either family with anything that may be sent; its payload borrows from `payload`.
Segment random_segment(std::mt19937& random, std::span<const std::byte> payload) {
    const auto u32 = [&random] { return static_cast<uint32_t>(random()); };
    Segment segment{.flow = {IpAddress::from_v4(u32()), IpAddress::from_v4(u32()), static_cast<uint16_t>(u32()),
                             static_cast<uint16_t>(u32())},
                    .seq = SeqNum{u32()},
                    .ack = SeqNum{u32()},
                    .window = u32() & 0xffff,
                    .payload = payload.first(random() % (payload.size() + 1)),
                    .flags = Flags(u32() & 0xff)};
    if (u32() % 2 == 0) {
        segment.flow.local_addr = {{0x2001'0db8 | u32(), u32(), u32(), u32()}};
        segment.flow.remote_addr = {{0xfe80'0000 | u32(), u32(), u32(), u32()}};
    }
    segment.ecn = Ecn(u32() & 3);
    segment.ttl = static_cast<uint8_t>(u32());
    segment.traffic_class = static_cast<uint8_t>(u32() & 63);
    if (u32() % 2 == 0) {
        segment.present |= Present::timestamps;
        segment.timestamps = {u32(), u32()};
    }
    if (segment.has(Flags::syn)) {
        segment.present |= Present(u32() & 7);
        if (segment.has(Present::mss)) segment.mss = static_cast<uint16_t>(u32());
        if (segment.has(Present::window_scale)) segment.window_scale = static_cast<uint8_t>(u32() % 15);
    } else {
        segment.sack_count = static_cast<uint8_t>(u32() % (segment.has(Present::timestamps) ? 4 : 5));
        for (size_t i = 0; i < segment.sack_count; ++i) segment.sack_blocks[i] = {SeqNum{u32()}, SeqNum{u32()}};
    }
    return segment;
}

// `received` is `sent` seen from the other side.
void expect_same(const Segment& sent, const Segment& received) {
    EXPECT_EQ(received.flow,
              (FourTuple{sent.flow.remote_addr, sent.flow.local_addr, sent.flow.remote_port, sent.flow.local_port}));
    EXPECT_EQ(received.seq, sent.seq);
    EXPECT_EQ(received.ack, sent.ack);
    EXPECT_EQ(received.window, sent.window);
    EXPECT_EQ(received.flags, sent.flags);
    EXPECT_EQ(received.present, sent.present);
    EXPECT_EQ(received.timestamps, sent.timestamps);
    EXPECT_EQ(received.mss, sent.mss);
    EXPECT_EQ(received.window_scale, sent.window_scale);
    EXPECT_EQ(received.sack_count, sent.sack_count);
    EXPECT_EQ(received.sack_blocks, sent.sack_blocks);
    EXPECT_EQ(received.ecn, sent.ecn);
    EXPECT_EQ(received.ttl, sent.ttl);
    EXPECT_EQ(received.traffic_class, sent.traffic_class);
    EXPECT_TRUE(
        std::equal(sent.payload.begin(), sent.payload.end(), received.payload.begin(), received.payload.end()));
}

Bytes random_bytes(std::mt19937& random, size_t size) {
    Bytes bytes(size);
    for (auto& byte : bytes) byte = std::byte(random());
    return bytes;
}

TEST(Packet, EverySegmentSurvivesTheWire) {
    RecordProperty("row", "MUST-2 MUST-3");
    std::mt19937 random{9293};
    const Bytes payload = random_bytes(random, 1500);
    const tests::GuardPage guard{4096};
    for (int i = 0; i < 20'000; ++i) {
        const Segment sent = random_segment(random, payload);
        const size_t size = headers_size(sent) + sent.payload.size();
        // The packet ends at the guard page, so that neither side can pass its end.
        const auto packet = guard.bytes(size);
        std::fill(packet.begin(), packet.end(), std::byte{0xa5});
        ASSERT_EQ(emit(sent, packet).size, size);
        const ParsedPacket received = parse(packet, ChecksumTrust::verify_all);
        ASSERT_EQ(received.result, ParseResult::ok);
        expect_same(sent, received.segment);
        EXPECT_EQ(received.segment.path, unresolved_path);
        if (HasFailure()) FAIL() << "segment " << i << ": " << sent;
    }
}

TEST(Packet, PayloadInPiecesEqualsPayloadInOne) {
    std::mt19937 random{5};
    const Bytes payload = random_bytes(random, 600);
    for (int i = 0; i < 2000; ++i) {
        const Segment sent = random_segment(random, payload);
        std::vector<std::span<const std::byte>> pieces;
        for (size_t at = 0; at < sent.payload.size();) {
            const size_t size = std::min<size_t>(random() % 100, sent.payload.size() - at);
            pieces.push_back(sent.payload.subspan(at, size));
            at += size;
        }
        const Bytes whole = packet_of(sent);
        Bytes gathered(whole.size());
        ASSERT_EQ(emit(sent, pieces, gathered, ChecksumMode::software).size, whole.size());
        EXPECT_EQ(gathered, whole);

        // Headers here, payload elsewhere, summed beforehand.
        Bytes headers(headers_size(sent));
        ASSERT_EQ(emit_headers(sent, sent.payload.size(), sum_of(sent.payload), headers, ChecksumMode::software).size,
                  headers.size());
        EXPECT_TRUE(std::equal(headers.begin(), headers.end(), whole.begin()));
    }
}

TEST(Packet, HeaderLooksLikeRfc9293OnTheWire) {
    RecordProperty("row", "MUST-69");
    Segment segment = request();
    segment.present = Present::none;
    segment.flags = Flags::ack;
    const Bytes packet = packet_of(segment);
    ASSERT_EQ(packet.size(), 40u);
    const std::array<unsigned, 40> expected{0x45, 0x00, 0x00, 0x28, 0x00, 0x00, 0x40, 0x00, 0x40, 0x06,
                                            0xb6, 0xcc, 192,  0,    2,    2,    192,  0,    2,    1,
                                            0x9c, 0x40, 0x00, 0x50, 0xff, 0xff, 0xff, 0xf0, 0x12, 0x34,
                                            0x56, 0x78, 0x50, 0x10, 0xff, 0xff, 0x26, 0xa3, 0x00, 0x00};
    for (size_t i = 0; i < expected.size(); ++i) {
        EXPECT_EQ(unsigned(packet[i]), expected[i]) << "byte " << i;
    }
    // Reserved bits and the urgent pointer are zero whatever is sent.
    std::mt19937 random{69};
    const Bytes payload = random_bytes(random, 10);
    for (int i = 0; i < 1000; ++i) {
        const Bytes bytes = packet_of(random_segment(random, payload));
        const size_t ip = ip_header_of(bytes);
        EXPECT_EQ(bytes[ip + 12] & std::byte{0x0f}, std::byte{0});
        EXPECT_EQ(load_be16(bytes.data() + ip + 18), 0);
        if (ip == 40) continue;
        EXPECT_EQ(load_be32(bytes.data() + 4), 0x4000u);  // identification 0, Don't Fragment
    }
}

TEST(Packet, HeaderLooksLikeRfc8200OnTheWire) {
    Segment segment = request_v6();
    segment.present = Present::none;
    segment.timestamps = {};
    segment.flags = Flags::ack;
    segment.ttl = 63;
    segment.traffic_class = 10;
    segment.ecn = Ecn::ect0;
    const Bytes packet = packet_of(segment);
    ASSERT_EQ(packet.size(), 60u);
    // The checksum: 2 * (2001 + 0db8) + 2 + 1 of the addresses, 0014 + 0006, then 9c40 + 0050 + ffff + fff0 + 1234 +
    // 5678 + 5010 + ffff: 4b0c9 in all, folded b0cd.
    const std::array<unsigned, 60> expected{
        0x62, 0xa0, 0x00, 0x00, 0x00, 0x14, 0x06, 63,                                                 //
        0x20, 0x01, 0x0d, 0xb8, 0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    2,  //
        0x20, 0x01, 0x0d, 0xb8, 0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    1,  //
        0x9c, 0x40, 0x00, 0x50, 0xff, 0xff, 0xff, 0xf0, 0x12, 0x34, 0x56, 0x78, 0x50, 0x10, 0xff, 0xff,
        0x4f, 0x32, 0x00, 0x00};
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(unsigned(packet[i]), expected[i]) << "byte " << i;
    const auto received = parse(packet, ChecksumTrust::verify_all);
    ASSERT_EQ(received.result, ParseResult::ok);
    expect_same(segment, received.segment);
}

TEST(Packet, WindowIsUnsignedAndNeverWraps) {
    RecordProperty("row", "MUST-1 REC-1");
    static_assert(std::is_same_v<decltype(Segment::window), uint32_t>, "REC-1");
    for (const uint32_t window : {0u, 1u, 0x7fffu, 0x8000u, 0xffffu}) {
        Segment segment = request();
        segment.window = window;
        EXPECT_EQ(parse(packet_of(segment), ChecksumTrust::verify_all).segment.window, window);
    }
    Segment segment = request();
    segment.window = 0x1'0000;
    EXPECT_EQ(parse(packet_of(segment), ChecksumTrust::verify_all).segment.window, 0xffffu);
}

TEST(Packet, EveryTruncationIsRefusedWithoutReadingBeyondIt) {
    RecordProperty("row", "C4");
    std::mt19937 random{4};
    const Bytes payload = random_bytes(random, 40);
    const tests::GuardPage guard{4096};
    for (int i = 0; i < 200; ++i) {
        const Bytes whole = packet_of(random_segment(random, payload));
        for (size_t size = 0; size < whole.size(); ++size) {
            const auto cut = guard.hold(std::span(whole).first(size));
            for (const auto trust : {ChecksumTrust::verify_all, ChecksumTrust::all_verified}) {
                EXPECT_EQ(result_of(cut, trust), ParseResult::truncated) << size;
            }
            // The same cut with an IP length that fits: TCP has to notice.
            const size_t ip = ip_header_of(whole);
            if (size < ip) continue;
            Bytes shorter(cut.begin(), cut.end());
            store_be16(shorter.data() + (ip == 20 ? 2 : 4), static_cast<uint16_t>(ip == 20 ? size : size - ip));
            const auto placed = guard.hold(shorter);
            EXPECT_NE(result_of(placed), ParseResult::ok) << size;
            const auto trusting = parse(placed, ChecksumTrust::all_verified);
            const size_t tcp_header = size_t(whole[ip + 12]) >> 4 << 2;
            if (size < ip + 20) {
                EXPECT_EQ(trusting.result, ParseResult::truncated);
            } else if (size < ip + tcp_header) {
                EXPECT_EQ(trusting.result, ParseResult::bad_tcp_header);
            } else {
                EXPECT_EQ(trusting.result, ParseResult::ok);
            }
        }
    }
}

TEST(Packet, EverySingleBitFlipIsRefused) {
    RecordProperty("row", "C4 MUST-3");
    std::mt19937 random{3};
    const Bytes payload = random_bytes(random, 101);
    for (int i = 0; i < 50; ++i) {
        const Bytes whole = packet_of(random_segment(random, payload));
        const bool v6 = ip_header_of(whole) == 40;
        for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
            // No checksum covers IPv6's traffic class, flow label and hop limit.
            if (v6 && (bit / 8 == 7 || (bit / 8 < 4 && bit / 4 != 1))) continue;
            Bytes flipped = whole;
            flipped[bit / 8] ^= std::byte(1u << bit % 8);
            EXPECT_NE(result_of(flipped), ParseResult::ok) << bit;
        }
    }
}

TEST(Packet, WrongTcpChecksumIsRefusedUnlessTheDeviceVouches) {
    RecordProperty("row", "C4 MUST-3");
    Bytes packet = packet_of(request());
    packet[37] ^= std::byte{1};
    EXPECT_EQ(result_of(packet), ParseResult::bad_tcp_checksum);
    EXPECT_EQ(result_of(packet, ChecksumTrust::ip_verified), ParseResult::bad_tcp_checksum);
    EXPECT_EQ(result_of(packet, ChecksumTrust::tcp_verified), ParseResult::ok);
    packet[37] ^= std::byte{1};
    packet[10] ^= std::byte{1};
    EXPECT_EQ(result_of(packet), ParseResult::bad_ip_checksum);
    EXPECT_EQ(result_of(packet, ChecksumTrust::tcp_verified), ParseResult::bad_ip_checksum);
    EXPECT_EQ(result_of(packet, ChecksumTrust::ip_verified), ParseResult::ok);
}

TEST(Packet, EveryDataOffsetIsCheckedAgainstTheSegment) {
    RecordProperty("row", "C4");
    Segment segment = request();
    segment.present = Present::none;
    const Bytes payload(16, std::byte{1});  // NOPs, should they be read as options
    segment.payload = payload;
    const Bytes good = packet_of(segment);
    for (unsigned words = 0; words < 16; ++words) {
        Bytes packet = good;
        packet[32] = std::byte(words << 4);
        repair(packet);
        EXPECT_EQ(result_of(packet), words >= 5 && words <= 9 ? ParseResult::ok : ParseResult::bad_tcp_header)
            << words;
    }
}

TEST(Packet, TruncatedOptionMakesThePacketBad) {
    RecordProperty("row", "C4 MUST-7");
    Bytes packet = packet_of(request());
    packet[43] = std::byte{11};  // the length of the timestamps
    repair(packet);
    EXPECT_EQ(result_of(packet), ParseResult::bad_options);
    packet[43] = std::byte{0};
    repair(packet);
    EXPECT_EQ(result_of(packet), ParseResult::bad_options);
}

TEST(Packet, ReservedBitsAndUrgentPointerAreIgnored) {
    Bytes packet = packet_of(request());
    packet[32] |= std::byte{0x0f};
    store_be16(packet.data() + 38, 0xbeef);
    repair(packet);
    const auto received = parse(packet, ChecksumTrust::verify_all);
    ASSERT_EQ(received.result, ParseResult::ok);
    expect_same(request(), received.segment);
    EXPECT_EQ(TcpHeader::parse(std::span(packet).subspan(20))->urgent_pointer(), 0xbeef);
}

TEST(Packet, EachRefusalHasItsName) {
    const Bytes good = packet_of(request());
    const auto after = [&good](auto change) {
        Bytes packet = good;
        change(packet);
        repair(packet);
        return result_of(packet);
    };
    EXPECT_EQ(after([](Bytes& packet) { packet[6] = std::byte{0x20}; }), ParseResult::fragment);
    EXPECT_EQ(after([](Bytes& packet) { packet[7] = std::byte{2}; }), ParseResult::fragment);
    EXPECT_EQ(after([](Bytes& packet) { packet[9] = std::byte{17}; }), ParseResult::not_tcp);
    EXPECT_EQ(result_of(Bytes{}), ParseResult::truncated);

    Bytes packet = good;
    packet[0] = std::byte{0x55};
    EXPECT_EQ(result_of(packet), ParseResult::bad_ip_header);
    packet[0] = std::byte{0x44};
    EXPECT_EQ(result_of(packet), ParseResult::bad_ip_header);
}

TEST(Packet, EachRefusalOverIpv6HasItsName) {
    const Bytes good = packet_of(request_v6());
    // `extension` goes between the headers as the extension header of type `type`.
    const auto behind = [&good](unsigned type, std::array<unsigned, 8> extension) {
        Bytes packet = good;
        packet[6] = std::byte(type);
        for (size_t i = 0; i < 8; ++i) packet.insert(packet.begin() + 40 + long(i), std::byte(extension[i]));
        store_be16(packet.data() + 4, static_cast<uint16_t>(packet.size() - 40));
        return packet;
    };
    // Extension headers are no part of what the checksum covers (RFC 8200 section 8.1).
    const auto passed = behind(60, {6, 0, 1, 4, 0, 0, 0, 0});
    const auto received = parse(passed, ChecksumTrust::verify_all);
    ASSERT_EQ(received.result, ParseResult::ok);
    expect_same(request_v6(), received.segment);
    EXPECT_EQ(result_of(behind(44, {6, 0, 0, 0, 1, 2, 3, 4})), ParseResult::ok);  // atomic
    EXPECT_EQ(result_of(behind(44, {6, 0, 0, 1, 1, 2, 3, 4})), ParseResult::fragment);
    EXPECT_EQ(result_of(behind(43, {6, 0, 0, 1, 0, 0, 0, 0})), ParseResult::source_routed);
    EXPECT_EQ(result_of(behind(60, {6, 0, 0xc2, 4, 0, 0, 0, 0})), ParseResult::bad_ip_header);
    EXPECT_EQ(result_of(behind(60, {17, 0, 1, 4, 0, 0, 0, 0})), ParseResult::not_tcp);
    EXPECT_EQ(result_of(behind(60, {59, 0, 1, 4, 0, 0, 0, 0})), ParseResult::not_tcp);
    for (const size_t at : {size_t{8}, size_t{24}}) {
        Bytes packet = good;
        store_address(packet.data() + at, IpAddress::from_v4(0xc000'0201));
        repair(packet);
        EXPECT_EQ(result_of(packet), ParseResult::mapped_address);
    }
    Bytes packet = good;
    packet[57] ^= std::byte{1};
    EXPECT_EQ(result_of(packet), ParseResult::bad_tcp_checksum);
    EXPECT_EQ(result_of(packet, ChecksumTrust::ip_verified), ParseResult::bad_tcp_checksum);
    EXPECT_EQ(result_of(packet, ChecksumTrust::tcp_verified), ParseResult::ok);
}

// The good packet with IP options in front of TCP.
Bytes with_ip_options(std::initializer_list<unsigned> options) {
    const Bytes good = packet_of(request());
    Bytes packet(good.begin(), good.begin() + 20);
    for (const unsigned option : options) packet.push_back(std::byte(option));
    packet.insert(packet.end(), good.begin() + 20, good.end());
    packet[0] = std::byte(0x45 + options.size() / 4);
    store_be16(packet.data() + 2, static_cast<uint16_t>(packet.size()));
    repair(packet);
    return packet;
}

TEST(Packet, IpOptionsAreSkippedAndSourceRoutesRefused) {
    RecordProperty("row", "MUST-50");
    const Bytes packet = with_ip_options({0x94, 4, 0, 0, 1, 0xde, 2, 0});
    const auto received = parse(packet, ChecksumTrust::verify_all);
    ASSERT_EQ(received.result, ParseResult::ok);
    expect_same(request(), received.segment);
    EXPECT_EQ(result_of(with_ip_options({131, 7, 4, 192, 0, 2, 9, 0})), ParseResult::source_routed);
    EXPECT_EQ(result_of(with_ip_options({1, 137, 7, 4, 192, 0, 2, 9})), ParseResult::source_routed);
    EXPECT_EQ(result_of(with_ip_options({7, 0, 0, 0})), ParseResult::bad_ip_header);
}

TEST(Packet, EthernetPaddingIsNotPayload) {
    Segment segment = request();
    segment.present = Present::none;
    Bytes packet = packet_of(segment);
    packet.resize(46, std::byte{0xee});
    const auto received = parse(packet, ChecksumTrust::verify_all);
    ASSERT_EQ(received.result, ParseResult::ok);
    EXPECT_TRUE(received.segment.payload.empty());
}

TEST(Packet, DeviceGetsThePseudoHeaderSum) {
    RecordProperty("row", "MUST-2");
    std::mt19937 random{2};
    const Bytes payload = random_bytes(random, 333);
    for (int i = 0; i < 500; ++i) {
        const Segment segment = random_segment(random, payload);
        const Bytes software = packet_of(segment);
        Bytes packet(software.size());
        ASSERT_EQ(emit(segment, packet, ChecksumMode::device).size, packet.size());
        // What the device does: sum TCP from its first byte, the field included, and complement.
        const size_t ip = ip_header_of(packet);
        const auto tcp = std::span(packet).subspan(ip);
        store_be16(tcp.data() + 16, checksum_of(sum_of(tcp)));
        EXPECT_EQ(result_of(packet), ParseResult::ok);

        ASSERT_EQ(emit(segment, packet, ChecksumMode::device_segmentation).size, packet.size());
        EXPECT_TRUE(ip == 40 || load_be16(packet.data() + 10) == 0);
        const auto addresses = ip == 20 ? std::span(packet).subspan(12, 8) : std::span(packet).subspan(8, 32);
        EXPECT_EQ(load_be16(tcp.data() + 16), fold(uint64_t{sum_of(addresses)} + 6));
    }
}

TEST(Packet, EmitNamesWhatItCannotDo) {
    Segment segment = request();
    Bytes room(70'000);
    const Bytes payload(65'536 - 32);
    segment.payload = std::span(payload).first(65'536 - 52);
    EXPECT_EQ(emit(segment, room).status, EmitStatus::too_long);
    EXPECT_EQ(emit_headers(segment, segment.payload.size(), 0, room, ChecksumMode::device).status,
              EmitStatus::too_long);
    segment.payload = std::span(payload).first(65'535 - 52);
    EXPECT_EQ(emit(segment, room).size, 65'535u);
    segment.payload = std::span(payload).first(10);
    Bytes small(61, std::byte{0xa5});
    const Bytes untouched = small;
    EXPECT_EQ(emit(segment, small).status, EmitStatus::no_room);
    EXPECT_EQ(emit(segment, small).size, 0u);
    EXPECT_EQ(emit_headers(segment, 10, 0, std::span(small).first(51), ChecksumMode::device).status,
              EmitStatus::no_room);
    EXPECT_EQ(small, untouched);
    segment.flow.local_addr = IpAddress::parse("2001:db8::1").value();
    EXPECT_EQ(emit(segment, room).status, EmitStatus::mixed_families);
    EXPECT_EQ(emit_headers(segment, 10, 0, room, ChecksumMode::device).status, EmitStatus::mixed_families);
    segment.flow.remote_addr = IpAddress::parse("2001:db8::2").value();
    // Over IPv6 the length is the payload's (RFC 8200 section 3).
    segment.payload = std::span(payload).first(65'535 - 32);
    EXPECT_EQ(emit(segment, room).size, 65'575u);
    segment.payload = payload;
    EXPECT_EQ(emit(segment, room).status, EmitStatus::too_long);
}

TEST(Packet, RandomBytesAreReadToAnEndAndNeverOutside) {
    RecordProperty("row", "C4");
    std::mt19937 random{21};
    const tests::GuardPage guard{4096};
    const Bytes payload = random_bytes(random, 20);
    uint32_t accepted = 0;
    for (int i = 0; i < 300'000; ++i) {
        // A good packet with a few bytes replaced, most often in its headers; the device claims that the sums are
        // right.
        Bytes packet = packet_of(random_segment(random, payload));
        for (uint32_t changes = random() % 4; changes > 0; --changes) {
            packet[random() % std::min<size_t>(packet.size(), 80)] = std::byte(random());
        }
        const auto received = parse(guard.hold(packet), ChecksumTrust::all_verified);
        if (received.result != ParseResult::ok) continue;
        ++accepted;
        const auto held = guard.bytes(packet.size());
        const auto text = received.segment.payload;
        if (text.data() < held.data() + 40 || text.data() + text.size() > held.data() + held.size()) FAIL() << i;
        if (received.segment.sack_count > 4) FAIL() << i;
    }
    EXPECT_GT(accepted, 1000u);
}

TEST(Packet, EcnFieldStandsBesideTheDscpAndOnlyTheIpv4HeaderSumCoversIt) {
    RecordProperty("row", "M2 M3");
    for (Segment segment : {request(), request_v6()}) {
        const bool v6 = !segment.flow.local_addr.is_v4();
        for (const ChecksumMode mode : {ChecksumMode::software, ChecksumMode::device}) {
            for (unsigned field = 0; field < 256; ++field) {
                segment.ecn = Ecn(field & 3);
                segment.traffic_class = static_cast<uint8_t>(field >> 2);
                Bytes packet(headers_size(segment));
                ASSERT_TRUE(emit(segment, packet, mode));
                EXPECT_EQ(load_be16(packet.data()) >> (v6 ? 4 : 0) & 0xffu, field);
                const auto trust = mode == ChecksumMode::device ? ChecksumTrust::tcp_verified : ChecksumTrust::verify_all;
                const auto received = parse(packet, trust);
                ASSERT_EQ(received.result, ParseResult::ok);
                EXPECT_EQ(received.segment.ecn, segment.ecn);
                EXPECT_EQ(received.segment.traffic_class, segment.traffic_class);
                // A router marks it, and puts the one sum right that knows of it.
                packet[1] |= v6 ? std::byte{0x30} : std::byte{0x03};
                if (!v6) {
                    store_be16(packet.data() + 10, 0);
                    store_be16(packet.data() + 10, checksum_of(sum_of(std::span(packet).first(20))));
                }
                const auto marked = parse(packet, trust);
                ASSERT_EQ(marked.result, ParseResult::ok);
                EXPECT_EQ(marked.segment.ecn, Ecn::ce);
                EXPECT_EQ(marked.segment.traffic_class, segment.traffic_class);
            }
        }
    }
}

TEST(Packet, ResultsPrintTheirNames) {
    EXPECT_EQ(to_string(ParseResult::bad_tcp_checksum), "bad_tcp_checksum");
    EXPECT_EQ(to_string(EmitStatus::no_room), "no_room");
    for (uint8_t i = 0; i <= uint8_t(ParseResult::bad_options); ++i) EXPECT_NE(to_string(ParseResult{i}), "?");
}

}  // namespace
}  // namespace pollux::tcp::wire
