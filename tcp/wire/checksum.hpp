// The Internet checksum (RFC 1071): the one's complement sum of 16-bit words, over one buffer, over several pieces of
// any length, with a pseudo-header in front, and its incremental change (RFC 1624).
//
// A partial sum here is a plain number in host order. Partial sums of byte strings and host-order words add freely in
// 64 bits, because 2^16 and 2^32 count as 1; a 32-bit word counts as its two halves. fold() comes once, at the end.
// The exception is a piece that begins at an odd offset: its sum has its bytes exchanged (ChecksumSum knows).
#pragma once

#include <cstdint>
#include <span>

#include "tcp/address.hpp"
#include "tcp/wire/bytes.hpp"

namespace pollux::tcp::wire {

/// The sum of a byte string as if it began at an even offset, folded to 16 bits. An odd last byte counts as if
/// followed by a zero.
uint32_t sum_of(std::span<const std::byte> bytes) noexcept;

/// Copies `from` to `to` and returns sum_of(from): one pass over the data. The two do not overlap.
uint32_t copy_and_sum(std::byte* to, std::span<const std::byte> from) noexcept;

constexpr uint16_t fold(uint64_t sum) noexcept {
    sum = (sum >> 32) + (sum & 0xffff'ffff);  // < 2^33
    sum = (sum >> 16) + (sum & 0xffff);       // < 2^18
    sum = (sum >> 16) + (sum & 0xffff);       // <= 2^16 + 2
    sum = (sum >> 16) + (sum & 0xffff);
    return static_cast<uint16_t>(sum);
}

/// What goes into the header field.
constexpr uint16_t checksum_of(uint64_t sum) noexcept { return static_cast<uint16_t>(~fold(sum)); }

/// Whether a sum over everything, the checksum field included, says that the bytes arrived as they were sent.
constexpr bool checks_out(uint64_t sum) noexcept { return fold(sum) == 0xffff; }

/// The sum of a 20-byte IPv4 header without options.
inline uint64_t sum_of_20(const std::byte* at) noexcept {
    uint64_t sum = 0;
    for (size_t i = 0; i < 20; i += 4) sum += load_be32(at + i);
    return sum;
}

/// The sum of the 16 bytes of an address.
constexpr uint64_t address_sum(const IpAddress& address) noexcept {
    uint64_t sum = 0;
    for (const uint32_t word : address.words) sum += word;
    return sum;
}

/// RFC 9293 section 3.1: source, destination, protocol and TCP length, for either family. The IPv6 form (RFC 8200
/// section 8.1) has the same fields in wider words, so its sum has the same form.
constexpr uint64_t pseudo_header_sum(const IpAddress& source, const IpAddress& destination, uint8_t protocol,
                                     uint32_t length) noexcept {
    const uint64_t sum = uint64_t{protocol} + length;
    if (source.is_v4() && destination.is_v4()) return sum + source.v4() + destination.v4();
    return sum + address_sum(source) + address_sum(destination);
}

/// RFC 1624 (eqn. 3): the checksum after one 16-bit word that it covers has changed.
constexpr uint16_t updated_checksum(uint16_t checksum, uint16_t old_word, uint16_t new_word) noexcept {
    return checksum_of(uint64_t{uint16_t(~checksum)} + uint16_t(~old_word) + new_word);
}

/// Sums pieces one behind the other, wherever the odd bytes fall.
class ChecksumSum {
public:
    constexpr explicit ChecksumSum(uint64_t begin = 0) noexcept : sum_(begin) {}

    void add(std::span<const std::byte> piece) noexcept { append(sum_of(piece), piece.size()); }
    /// Copies the piece as well.
    void add_copy(std::byte* to, std::span<const std::byte> piece) noexcept {
        append(copy_and_sum(to, piece), piece.size());
    }
    /// Adds the sum of a piece of `size` bytes that was summed before.
    constexpr void append(uint32_t piece_sum, size_t size) noexcept {
        const auto folded = static_cast<uint16_t>(piece_sum);
        sum_ += odd_ ? __builtin_bswap16(folded) : folded;
        odd_ ^= (size & 1) != 0;
    }

    constexpr uint64_t sum() const noexcept { return sum_; }

private:
    uint64_t sum_;
    bool odd_ = false;
};

}  // namespace pollux::tcp::wire
