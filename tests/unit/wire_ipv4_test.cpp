// The IPv4 header: what is accepted, what is recognised, what is written.
#include "tcp/wire/ipv4.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <vector>

#include "tests/support/guard_page.hpp"

namespace pollux::tcp::wire {
namespace {

constexpr Ipv4Fields fields{.source = 0xc000'0202,
                            .destination = 0xc000'0201,
                            .total_length = 28,
                            .protocol = IpProtocol::udp,
                            .ttl = 63,
                            .dscp = 46,
                            .ecn = Ecn::ect0};

// A header with `options`, padded to whole words, and 8 bytes of payload.
std::vector<std::byte> with_options(std::vector<unsigned> options) {
    while (options.size() % 4 != 0) options.push_back(0);
    std::vector<std::byte> bytes(28 + options.size());
    Ipv4Fields longer = fields;
    longer.total_length = static_cast<uint16_t>(bytes.size());
    write_ipv4(bytes.data(), longer);
    bytes[0] = std::byte(0x45 + options.size() / 4);
    for (size_t i = 0; i < options.size(); ++i) bytes[20 + i] = std::byte(options[i]);
    store_be16(bytes.data() + 10, 0);
    store_be16(bytes.data() + 10, checksum_of(sum_of(std::span(bytes).first(20 + options.size()))));
    return bytes;
}

TEST(Ipv4, ReadsWhatItWrites) {
    const auto bytes = with_options({});
    const auto ip = Ipv4Header::parse(bytes);
    ASSERT_TRUE(ip);
    EXPECT_EQ(ip->size(), 20u);
    EXPECT_EQ(ip->total_length(), 28u);
    EXPECT_EQ(ip->source(), IpAddress::from_v4(0xc000'0202));
    EXPECT_EQ(ip->destination_v4(), 0xc000'0201u);
    EXPECT_EQ(ip->protocol(), IpProtocol::udp);
    EXPECT_EQ(ip->ttl(), 63);
    EXPECT_EQ(ip->dscp(), 46);
    EXPECT_EQ(ip->ecn(), Ecn::ect0);
    EXPECT_EQ(ip->identification(), 0);
    EXPECT_TRUE(ip->dont_fragment());
    EXPECT_FALSE(ip->is_fragment());
    EXPECT_FALSE(ip->has_options());
    EXPECT_TRUE(ip->checksum_ok());
    EXPECT_EQ(ip->payload().size(), 8u);
}

TEST(Ipv4, ChecksumMatchesAKnownHeader) {
    // 4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7: a header often used as an example; its sum was checked by
    // hand.
    std::array<std::byte, 20> bytes{};
    write_ipv4(bytes.data(), {.source = 0xc0a8'0001,
                              .destination = 0xc0a8'00c7,
                              .total_length = 0x73,
                              .protocol = IpProtocol::udp,
                              .ttl = 64});
    EXPECT_EQ(load_be16(bytes.data() + 10), 0xb861);
}

TEST(Ipv4, ChecksumCanBeLeftToTheDevice) {
    std::array<std::byte, 20> bytes;
    bytes.fill(std::byte{0xaa});
    Ipv4Fields left = fields;
    left.fill_checksum = false;
    write_ipv4(bytes.data(), left);
    EXPECT_EQ(load_be16(bytes.data() + 10), 0);
}

TEST(Ipv4, CutsOffWhatEthernetPadded) {
    auto bytes = with_options({});
    bytes.resize(46, std::byte{0xee});
    const auto ip = Ipv4Header::parse(bytes);
    ASSERT_TRUE(ip);
    EXPECT_EQ(ip->payload().size(), 8u);
    EXPECT_EQ(ip->packet().size(), 28u);
}

TEST(Ipv4, RefusesWrongVersionAndLengths) {
    const auto good = with_options({});
    for (unsigned version = 0; version < 16; ++version) {
        for (unsigned words = 0; words < 16; ++words) {
            auto bytes = good;
            bytes[0] = std::byte(version << 4 | words);
            const bool fits = version == 4 && words >= 5 && words <= 7;
            EXPECT_EQ(Ipv4Header::parse(bytes).has_value(), fits) << version << ' ' << words;
        }
    }
    auto bytes = good;
    store_be16(bytes.data() + 2, 19);
    EXPECT_EQ(Ipv4Header::check(bytes), ParseResult::bad_ip_header);
    store_be16(bytes.data() + 2, 29);
    EXPECT_EQ(Ipv4Header::check(bytes), ParseResult::truncated);
    store_be16(bytes.data() + 2, 20);
    EXPECT_EQ(Ipv4Header::check(bytes), ParseResult::ok);
}

TEST(Ipv4, NeverReadsBeyondItsEnd) {
    const tests::GuardPage guard{128};
    const auto whole = with_options({1, 1, 1, 7, 7, 4, 0, 0});
    for (size_t size = 0; size < whole.size(); ++size) {
        EXPECT_FALSE(Ipv4Header::parse(guard.hold(std::span(whole).first(size)))) << size;
    }
    EXPECT_TRUE(Ipv4Header::parse(guard.hold(whole))->checksum_ok());
}

TEST(Ipv4, ChecksumNoticesEverySingleBit) {
    for (const auto& good : {with_options({}), with_options({1, 1, 1, 0})}) {
        const size_t header = Ipv4Header::parse(good)->size();
        for (size_t bit = 0; bit < header * 8; ++bit) {
            auto bytes = good;
            bytes[bit / 8] ^= std::byte(1u << bit % 8);
            const auto ip = Ipv4Header::parse(bytes);
            EXPECT_FALSE(ip && ip->checksum_ok()) << bit;
        }
    }
}

TEST(Ipv4, NamesFragments) {
    auto bytes = with_options({});
    const auto fragment = [&bytes](uint16_t field) {
        store_be16(bytes.data() + 6, field);
        return Ipv4Header::parse(bytes)->is_fragment();
    };
    EXPECT_TRUE(fragment(0x2000));  // more fragments
    EXPECT_TRUE(fragment(0x0001));  // a later one
    EXPECT_TRUE(fragment(0x1fff));
    EXPECT_FALSE(fragment(0x4000));
    EXPECT_FALSE(fragment(0x0000));
}

TEST(Ipv4, UnknownOptionsAreSkippedAndSourceRoutesRecognised) {
    RecordProperty("row", "MUST-50");
    const auto scan = [](std::vector<unsigned> options) {
        const auto bytes = with_options(std::move(options));
        return Ipv4Header::parse(bytes)->scan_options();
    };
    EXPECT_EQ(scan({}), IpOptions::none);
    EXPECT_EQ(scan({1, 1, 1, 1}), IpOptions::harmless);
    EXPECT_EQ(scan({0x94, 4, 0, 0}), IpOptions::harmless);                   // router alert
    EXPECT_EQ(scan({7, 7, 4, 0, 0, 0, 0}), IpOptions::harmless);             // record route
    EXPECT_EQ(scan({0xde, 5, 1, 2, 3, 0}), IpOptions::harmless);             // unknown
    EXPECT_EQ(scan({0, 131, 7, 4}), IpOptions::harmless);                    // behind the end
    EXPECT_EQ(scan({131, 7, 4, 192, 0, 2, 9}), IpOptions::source_route);     // loose
    EXPECT_EQ(scan({1, 137, 7, 4, 192, 0, 2, 9}), IpOptions::source_route);  // strict
    EXPECT_EQ(scan({0x94, 4, 0, 0, 131, 3, 4}), IpOptions::source_route);
    EXPECT_EQ(scan({7, 0, 1, 1}), IpOptions::malformed);
    EXPECT_EQ(scan({7, 1, 1, 1}), IpOptions::malformed);
    EXPECT_EQ(scan({7, 5, 1, 1}), IpOptions::malformed);
    EXPECT_EQ(scan({1, 1, 1, 7}), IpOptions::malformed);
}

TEST(Ipv4, AnyOptionBytesAreWalkedToAnEnd) {
    std::mt19937 random{791};
    const tests::GuardPage guard{128};
    for (int i = 0; i < 200'000; ++i) {
        std::vector<unsigned> options(4 * (1 + random() % 10));
        for (auto& byte : options) byte = random() % 4 == 0 ? random() % 256 : random() % 8;
        // No payload, so that the options touch the guard page.
        auto bytes = with_options(options);
        const auto header = std::span(bytes).first(bytes.size() - 8);
        store_be16(header.data() + 2, static_cast<uint16_t>(header.size()));
        const auto ip = Ipv4Header::parse(guard.hold(header));
        ASSERT_TRUE(ip);
        EXPECT_NE(ip->scan_options(), IpOptions::none);
    }
}

TEST(Ipv4, QuotedHeaderMayHaveLostItsEnd) {
    const auto bytes = with_options({});
    const auto quoted = Ipv4Header::parse_quoted(std::span(bytes).first(24));
    ASSERT_TRUE(quoted);
    EXPECT_EQ(quoted->payload().size(), 4u);
    EXPECT_FALSE(Ipv4Header::parse_quoted(std::span(bytes).first(19)));
    const tests::GuardPage guard{128};
    const auto longer = with_options({1, 1, 1, 1});
    EXPECT_FALSE(Ipv4Header::parse_quoted(guard.hold(std::span(longer).first(23))));
    EXPECT_TRUE(Ipv4Header::parse_quoted(guard.hold(std::span(longer).first(24))));
}

}  // namespace
}  // namespace pollux::tcp::wire
