// SipHash-c-d (Aumasson and Bernstein, 2012): the keyed pseudo-random function behind the connection table, SYN
// cookies, timestamp offsets (1-3) and initial sequence numbers (2-4). Nobody without the key can predict or steer
// what comes out.
//
// Our messages are short and of known shape, so they go in as 64-bit words. The last word holds the message length in
// its top byte, which keeps messages of different length apart. An IPv4 tuple is hashed as its 12 significant bytes,
// any other as all 36: the lengths differ, so the two kinds cannot be confused.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tcp/segment.hpp"

namespace pollux::tcp {

/// 128 secret bits, handed in at start.
struct SipKey {
    uint64_t k0 = 0, k1 = 0;
    constexpr bool operator==(const SipKey&) const = default;
};

template <int CRounds, int DRounds>
class SipHash {
public:
    constexpr explicit SipHash(SipKey key) noexcept
        : v0_(key.k0 ^ 0x736f6d6570736575),
          v1_(key.k1 ^ 0x646f72616e646f6d),
          v2_(key.k0 ^ 0x6c7967656e657261),
          v3_(key.k1 ^ 0x7465646279746573) {}

    /// The next 8 message bytes, the first in the low bits.
    constexpr void word(uint64_t m) noexcept {
        v3_ ^= m;
        for (int i = 0; i < CRounds; ++i) round();
        v0_ ^= m;
    }

    /// `tail` holds the last size % 8 message bytes; `size` counts all of them.
    constexpr uint64_t finish(uint64_t tail, size_t size) noexcept {
        word(tail | uint64_t{size & 0xff} << 56);
        v2_ ^= 0xff;
        for (int i = 0; i < DRounds; ++i) round();
        return v0_ ^ v1_ ^ v2_ ^ v3_;
    }

private:
    constexpr void round() noexcept {
        v0_ += v1_;
        v2_ += v3_;
        v1_ = std::rotl(v1_, 13) ^ v0_;
        v3_ = std::rotl(v3_, 16) ^ v2_;
        v0_ = std::rotl(v0_, 32);
        v2_ += v1_;
        v0_ += v3_;
        v1_ = std::rotl(v1_, 17) ^ v2_;
        v3_ = std::rotl(v3_, 21) ^ v0_;
        v2_ = std::rotl(v2_, 32);
    }

    uint64_t v0_, v1_, v2_, v3_;
};

/// Any message, byte by byte: for tests and for what is hashed once.
template <int CRounds, int DRounds>
constexpr uint64_t siphash(SipKey key, std::span<const std::byte> message) noexcept {
    SipHash<CRounds, DRounds> hash{key};
    uint64_t word = 0;
    for (size_t i = 0; i < message.size(); ++i) {
        word |= uint64_t(message[i]) << 8 * (i % 8);
        if (i % 8 == 7) hash.word(word), word = 0;
    }
    return hash.finish(word, message.size());
}

namespace detail {

constexpr uint64_t pair(uint32_t low, uint32_t high) noexcept { return low | uint64_t{high} << 32; }

/// Feeds the tuple's whole words and returns what is left: the ports, 4 bytes of tail. `size` becomes the length.
template <int CRounds, int DRounds>
constexpr uint32_t feed(SipHash<CRounds, DRounds>& hash, const FourTuple& flow, size_t& size) noexcept {
    const auto& local = flow.local_addr.words;
    const auto& remote = flow.remote_addr.words;
    if (flow.local_addr.is_v4() && flow.remote_addr.is_v4()) {
        hash.word(pair(local[3], remote[3]));
        size = 12;
    } else {
        hash.word(pair(local[0], local[1]));
        hash.word(pair(local[2], local[3]));
        hash.word(pair(remote[0], remote[1]));
        hash.word(pair(remote[2], remote[3]));
        size = 36;
    }
    return flow.local_port | uint32_t{flow.remote_port} << 16;
}

}  // namespace detail

/// A connection's name.
template <int CRounds, int DRounds>
constexpr uint64_t siphash(SipKey key, const FourTuple& flow) noexcept {
    SipHash<CRounds, DRounds> hash{key};
    size_t size = 0;
    const uint32_t ports = detail::feed(hash, flow, size);
    return hash.finish(ports, size);
}

/// A connection's name and 64 bits more (a peer's ISN and a period, for cookies).
template <int CRounds, int DRounds>
constexpr uint64_t siphash(SipKey key, const FourTuple& flow, uint64_t salt) noexcept {
    SipHash<CRounds, DRounds> hash{key};
    size_t size = 0;
    const uint32_t ports = detail::feed(hash, flow, size);
    hash.word(detail::pair(ports, static_cast<uint32_t>(salt)));
    return hash.finish(salt >> 32, size + 8);
}

template <typename... Message>
constexpr uint64_t siphash_1_3(SipKey key, const Message&... message) noexcept {
    return siphash<1, 3>(key, message...);
}
template <typename... Message>
constexpr uint64_t siphash_2_4(SipKey key, const Message&... message) noexcept {
    return siphash<2, 4>(key, message...);
}

}  // namespace pollux::tcp
