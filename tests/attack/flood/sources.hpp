// Where the n-th packet of a flood claims to come from: a different host and port for each of 2^24 packets in a row, in
// no order that a table could profit from, and such that an answer tells which packet it answers.
//
//     IPv4   16.0.0.0/4: the 24 bits of the scrambled number, then 4 bits of noise
//     IPv6   2001:db8:f000::/36 in the documentation range: the same, then 64 bits of noise
#pragma once

#include <bit>
#include <cstdint>
#include <optional>

#include "tcp/segment.hpp"

namespace pollux::test {

/// splitmix64: noise that depends on its argument alone.
constexpr uint64_t noise(uint64_t n) {
    n += 0x9e37'79b9'7f4a'7c15;
    n = (n ^ n >> 30) * 0xbf58'476d'1ce4'e5b9;
    n = (n ^ n >> 27) * 0x94d0'49bb'1331'11eb;
    return n ^ n >> 31;
}

namespace sources {

inline constexpr uint32_t count = 1u << 24;  // packets that are told apart
inline constexpr uint32_t factor = 0x9e'37'79 | 1, mask = count - 1;

/// The inverse of `factor` modulo 2^24, by Newton's iteration.
consteval uint32_t inverse() {
    uint32_t x = factor;
    for (int i = 0; i < 5; ++i) x *= 2 - factor * x;
    return x & mask;
}
static_assert((factor * inverse() & mask) == 1);

constexpr uint32_t scrambled(uint64_t n) { return static_cast<uint32_t>(n) * factor & mask; }

constexpr tcp::Endpoint of(uint64_t n, bool v6) {
    const uint32_t place = scrambled(n);
    const uint64_t more = noise(n & mask);
    const auto port = static_cast<uint16_t>(1'024 + (more >> 48) % 64'512);
    const auto low = static_cast<uint32_t>(more);
    if (!v6) return {tcp::IpAddress::from_v4(0x1000'0000 | place << 4 | (low & 15)), port};
    return {{{0x2001'0db8, 0xf000'0000 | place, low, low ^ static_cast<uint32_t>(more >> 32)}}, port};
}

/// Which packet, modulo 2^24, has come from `address`; nothing: none of ours.
constexpr std::optional<uint32_t> number_of(const tcp::IpAddress& address) {
    if (address.is_v4()) {
        if (address.v4() >> 28 != 1) return {};
        return (address.v4() >> 4 & mask) * inverse() & mask;
    }
    if (address.words[0] != 0x2001'0db8 || address.words[1] >> 24 != 0xf0) return {};
    return (address.words[1] & mask) * inverse() & mask;
}
static_assert(number_of(of(4'711, false).address) == 4'711 && number_of(of(16'000'000, true).address) == 16'000'000);

}  // namespace sources
}  // namespace pollux::test
