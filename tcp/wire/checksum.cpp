// The sum is taken over 16-bit words as they stand in memory and its bytes are exchanged once at the end: RFC 1071
// section 1(B) shows that this gives the same result. 32-bit words go into 64-bit accumulators, so no carry is lost
// before 2^32 words; the vector loop compiles to AVX2 where -march has it.
#include "tcp/wire/checksum.hpp"

namespace pollux::tcp::wire {
namespace {

using Lanes = uint64_t __attribute__((vector_size(32)));
constexpr size_t lanes_size = sizeof(Lanes);

template <typename Word>
inline Word take(const std::byte*& from) noexcept {
    Word word;
    std::memcpy(&word, from, sizeof word);
    from += sizeof word;
    return word;
}

// Sums and, when `Copy`, writes what it has just read to `to`.
template <bool Copy>
inline uint32_t run(std::byte* to, const std::byte* from, size_t size) noexcept {
    const auto put = [&](const auto& word) {
        if constexpr (Copy) {
            std::memcpy(to, &word, sizeof word);
            to += sizeof word;
        }
    };
    uint64_t low = 0, high = 0;
    if (size >= 2 * lanes_size) {
        Lanes low_a{}, low_b{}, high_a{}, high_b{};
        for (; size >= 2 * lanes_size; size -= 2 * lanes_size) {
            const Lanes a = take<Lanes>(from), b = take<Lanes>(from);
            put(a);
            put(b);
            low_a += a & 0xffff'ffff;
            low_b += b & 0xffff'ffff;
            high_a += a >> 32;
            high_b += b >> 32;
        }
        const Lanes sum = low_a + low_b + high_a + high_b;
        low = sum[0] + sum[1];
        high = sum[2] + sum[3];
    }
    for (; size >= 8; size -= 8) {
        const auto word = take<uint64_t>(from);
        put(word);
        low += word & 0xffff'ffff;
        high += word >> 32;
    }
    if ((size & 4) != 0) {
        const auto word = take<uint32_t>(from);
        put(word);
        low += word;
    }
    if ((size & 2) != 0) {
        const auto word = take<uint16_t>(from);
        put(word);
        high += word;
    }
    if ((size & 1) != 0) {
        const std::byte last = *from;
        put(last);
        // The first byte of a word whose second byte is zero.
        low += network_order(static_cast<uint16_t>(uint16_t(last) << 8));
    }
    return network_order(fold(low + high));
}

}  // namespace

uint32_t sum_of(std::span<const std::byte> bytes) noexcept { return run<false>(nullptr, bytes.data(), bytes.size()); }

uint32_t copy_and_sum(std::byte* to, std::span<const std::byte> from) noexcept {
    return run<true>(to, from.data(), from.size());
}

}  // namespace pollux::tcp::wire
