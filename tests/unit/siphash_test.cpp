// SipHash-2-4 against the vectors of its authors, and the shapes of message that we hash against the plain form.
#include "tcp/siphash.hpp"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <random>
#include <set>
#include <vector>

namespace pollux::tcp {
namespace {

// Key 00 01 .. 0f as two little-endian words.
constexpr SipKey reference_key{0x0706050403020100, 0x0f0e0d0c0b0a0908};

std::vector<std::byte> counting(size_t size) {
    std::vector<std::byte> bytes(size);
    for (size_t i = 0; i < size; ++i) bytes[i] = std::byte(i);
    return bytes;
}

void append(std::vector<std::byte>& message, uint64_t value, size_t size) {
    for (size_t i = 0; i < size; ++i) message.push_back(std::byte(value >> 8 * i));
}

// The tuple as the bytes that siphash.hpp says it is hashed as.
std::vector<std::byte> bytes_of(const FourTuple& flow) {
    std::vector<std::byte> message;
    if (flow.local_addr.is_v4() && flow.remote_addr.is_v4()) {
        append(message, flow.local_addr.v4(), 4);
        append(message, flow.remote_addr.v4(), 4);
    } else {
        for (const uint32_t word : flow.local_addr.words) append(message, word, 4);
        for (const uint32_t word : flow.remote_addr.words) append(message, word, 4);
    }
    append(message, flow.local_port, 2);
    append(message, flow.remote_port, 2);
    return message;
}

TEST(SipHash, MatchesThePublishedVectors) {
    // "SipHash: a fast short-input PRF", appendix A and the table of its reference implementation.
    const std::span<const std::byte> none;
    EXPECT_EQ(siphash_2_4(reference_key, none), 0x726fdb47dd0e0e31u);
    EXPECT_EQ(siphash_2_4(reference_key, std::span<const std::byte>(counting(1))), 0x74f839c593dc67fdu);
    EXPECT_EQ(siphash_2_4(reference_key, std::span<const std::byte>(counting(8))), 0x93f5f5799a932462u);
    EXPECT_EQ(siphash_2_4(reference_key, std::span<const std::byte>(counting(15))), 0xa129ca6149be45e5u);
}

TEST(SipHash, TheTupleFormEqualsTheFormForBytes) {
    std::mt19937_64 random{1};
    for (int i = 0; i < 1000; ++i) {
        const SipKey key{random(), random()};
        FourTuple flow{IpAddress::from_v4(static_cast<uint32_t>(random())),
                       IpAddress::from_v4(static_cast<uint32_t>(random())), static_cast<uint16_t>(random()),
                       static_cast<uint16_t>(random())};
        if (i % 2 == 1) {
            for (auto& word : flow.local_addr.words) word = static_cast<uint32_t>(random());
            for (auto& word : flow.remote_addr.words) word = static_cast<uint32_t>(random());
        }
        auto message = bytes_of(flow);
        ASSERT_EQ(message.size(), i % 2 == 1 ? 36u : 12u);
        EXPECT_EQ(siphash_1_3(key, flow), siphash_1_3(key, std::span<const std::byte>(message)));
        EXPECT_EQ(siphash_2_4(key, flow), siphash_2_4(key, std::span<const std::byte>(message)));
        const uint64_t salt = random();
        append(message, salt, 8);
        EXPECT_EQ((siphash<1, 3>(key, flow, salt)), (siphash<1, 3>(key, std::span<const std::byte>(message))));
    }
}

TEST(SipHash, EveryPartOfTheTupleAndTheKeyCounts) {
    const FourTuple flow{IpAddress::from_v4(0xc000'0201), IpAddress::from_v4(0xc000'0202), 80, 40000};
    std::set<uint64_t> seen{siphash_1_3(reference_key, flow)};
    for (int bit = 0; bit < 128; ++bit) {
        SipKey key = reference_key;
        (bit < 64 ? key.k0 : key.k1) ^= uint64_t{1} << bit % 64;
        EXPECT_TRUE(seen.insert(siphash_1_3(key, flow)).second);
        FourTuple other = flow;
        auto& address = bit < 64 ? other.local_addr : other.remote_addr;
        address.words[static_cast<size_t>(bit / 32 % 2) + 2] ^= uint32_t{1} << bit % 32;
        EXPECT_TRUE(seen.insert(siphash_1_3(reference_key, other)).second);
    }
    for (int bit = 0; bit < 16; ++bit) {
        FourTuple other = flow;
        other.local_port = static_cast<uint16_t>(other.local_port ^ 1 << bit);
        EXPECT_TRUE(seen.insert(siphash_1_3(reference_key, other)).second);
        other = flow;
        other.remote_port = static_cast<uint16_t>(other.remote_port ^ 1 << bit);
        EXPECT_TRUE(seen.insert(siphash_1_3(reference_key, other)).second);
    }
}

TEST(SipHash, OneInputBitChangesAboutHalfOfTheOutput) {
    std::mt19937_64 random{2};
    int changed = 0;
    constexpr int rounds = 4000;
    for (int i = 0; i < rounds; ++i) {
        FourTuple flow{IpAddress::from_v4(static_cast<uint32_t>(random())), IpAddress::from_v4(0xc000'0202), 80,
                       40000};
        const uint64_t before = siphash_1_3(reference_key, flow);
        flow.remote_port ^= 1;
        changed += std::popcount(before ^ siphash_1_3(reference_key, flow));
    }
    EXPECT_NEAR(double(changed) / rounds, 32.0, 0.5);
}

}  // namespace
}  // namespace pollux::tcp
