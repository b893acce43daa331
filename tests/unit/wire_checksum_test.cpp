// The Internet checksum against its definition, two bytes at a time.
#include "tcp/wire/checksum.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <vector>

#include "tests/support/guard_page.hpp"

namespace pollux::tcp::wire {
namespace {

// RFC 1071 section 1, word by word.
uint16_t defined_sum(std::span<const std::byte> bytes) {
    uint32_t sum = 0;
    for (size_t i = 0; i < bytes.size(); ++i) {
        sum += i % 2 == 0 ? uint32_t(bytes[i]) << 8 : uint32_t(bytes[i]);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return static_cast<uint16_t>(sum);
}

std::vector<std::byte> random_bytes(std::mt19937& random, size_t size) {
    std::vector<std::byte> bytes(size);
    for (auto& byte : bytes) byte = std::byte(random());
    return bytes;
}

TEST(Checksum, FollowsTheExampleOfRfc1071) {
    const std::array<std::byte, 8> bytes{std::byte{0x00}, std::byte{0x01}, std::byte{0xf2}, std::byte{0x03},
                                         std::byte{0xf4}, std::byte{0xf5}, std::byte{0xf6}, std::byte{0xf7}};
    EXPECT_EQ(sum_of(bytes), 0xddf2u);
    EXPECT_EQ(checksum_of(sum_of(bytes)), 0x220d);
}

TEST(Checksum, EqualsItsDefinitionForEveryLengthAndAlignment) {
    std::mt19937 random{1071};
    const tests::GuardPage guard{4096};
    const auto bytes = random_bytes(random, 700);
    std::vector<std::byte> target(704);
    for (size_t size = 0; size <= bytes.size(); ++size) {
        const auto piece = guard.hold(std::span(bytes).last(size));
        EXPECT_EQ(sum_of(piece), defined_sum(piece)) << size;
        const size_t shift = size % 4;
        EXPECT_EQ(copy_and_sum(target.data() + shift, piece), defined_sum(piece)) << size;
        EXPECT_TRUE(std::equal(piece.begin(), piece.end(), target.begin() + static_cast<ptrdiff_t>(shift))) << size;
    }
}

TEST(Checksum, CopyWritesNothingBeyondItsEnd) {
    std::mt19937 random{3};
    const tests::GuardPage guard{4096};
    const auto bytes = random_bytes(random, 300);
    for (size_t size = 0; size <= bytes.size(); ++size) {
        const auto target = guard.bytes(size);
        EXPECT_EQ(copy_and_sum(target.data(), std::span(bytes).first(size)),
                  defined_sum(std::span(bytes).first(size)));
    }
}

TEST(Checksum, LosesNoCarryOverTheLongestPacket) {
    const std::vector<std::byte> ones(65535, std::byte{0xff});
    EXPECT_EQ(sum_of(ones), defined_sum(ones));
    const std::vector<std::byte> zeros(65535);
    EXPECT_EQ(sum_of(zeros), 0u);
}

TEST(Checksum, PiecesOfAnyLengthSumLikeTheWhole) {
    std::mt19937 random{1624};
    for (int i = 0; i < 2000; ++i) {
        const auto whole = random_bytes(random, random() % 200);
        std::vector<std::byte> copy(whole.size());
        ChecksumSum summed, copied;
        for (size_t at = 0; at < whole.size();) {
            const size_t size = std::min<size_t>(random() % 20, whole.size() - at);
            const auto piece = std::span(whole).subspan(at, size);
            summed.add(piece);
            copied.add_copy(copy.data() + at, piece);
            at += size;
        }
        EXPECT_EQ(fold(summed.sum()), defined_sum(whole));
        EXPECT_EQ(fold(copied.sum()), defined_sum(whole));
        EXPECT_EQ(copy, whole);
    }
}

TEST(Checksum, FoldKeepsWhatItMeansForAnySum) {
    EXPECT_EQ(fold(0), 0);
    EXPECT_EQ(fold(0xffff), 0xffff);
    EXPECT_EQ(fold(0x1'0000), 1);
    EXPECT_EQ(fold(UINT64_MAX), 0xffff);
    std::mt19937_64 random{5};
    for (int i = 0; i < 100'000; ++i) {
        const uint64_t sum = random() >> random() % 64;
        EXPECT_EQ(fold(sum) % 0xffff, sum % 0xffff);
        EXPECT_EQ(fold(sum) == 0, sum == 0);
    }
}

TEST(Checksum, IncrementalUpdateEqualsSummingAgain) {
    std::mt19937 random{1624};
    for (int i = 0; i < 100'000; ++i) {
        auto bytes = random_bytes(random, 20);
        bytes[0] = std::byte{0x45};  // a header is never all zero
        const uint16_t before = checksum_of(sum_of(bytes));
        const uint16_t old_word = load_be16(bytes.data() + 8);
        const uint16_t new_word = i % 3 == 0 ? uint16_t(~old_word) : static_cast<uint16_t>(random());
        store_be16(bytes.data() + 8, new_word);
        EXPECT_EQ(updated_checksum(before, old_word, new_word), checksum_of(sum_of(bytes)));
    }
}

TEST(Checksum, FollowsTheExampleOfRfc1624) {
    // Section 4: 0xdd2f with 0x5555 changed to 0x3285 gives 0, not 0xffff.
    EXPECT_EQ(updated_checksum(0xdd2f, 0x5555, 0x3285), 0x0000);
}

TEST(Checksum, PseudoHeaderSumsTheBytesThatTheRfcLists) {
    const auto check = [](const char* from, const char* to, uint32_t length) {
        const auto source = IpAddress::parse(from).value(), destination = IpAddress::parse(to).value();
        std::array<std::byte, 40> header{};
        const size_t first = source.is_v4() ? 3 : 0;
        size_t at = 0;
        for (const auto& address : {source, destination}) {
            for (size_t i = first; i < 4; ++i, at += 4) store_be32(header.data() + at, address.words[i]);
        }
        store_be32(header.data() + at, length);
        store_be32(header.data() + at + 4, 6);
        EXPECT_EQ(fold(pseudo_header_sum(source, destination, 6, length)),
                  defined_sum(std::span(header).first(at + 8)));
    };
    check("192.0.2.1", "198.51.100.200", 1480);
    check("255.255.255.254", "255.255.255.253", 65515);
    check("2001:db8::1", "2001:db8:ffff:ffff:ffff:ffff:ffff:2", 20);
    check("fe80::1", "fe80::ffff", 100'000);
}

}  // namespace
}  // namespace pollux::tcp::wire
