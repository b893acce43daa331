// TCP options: the bounded reader and the writer of MSS (RFC 9293 section 3.7.1), window scale and timestamps
// (RFC 7323), SACK-permitted and SACK (RFC 2018).
//
// Reading: EOL ends the list, NOP is one byte, every other kind is skipped by its length (RFC 9293 MUST-4, MUST-6,
// MUST-68). A length of 0 or 1, one that reaches beyond the header, or the wrong one for a kind that we know makes
// the whole segment bad (MUST-7). MSS, window scale and SACK-permitted count only on SYN segments (MUST-65).
//
// Writing: the layout that most stacks use, in whole 32-bit words, so that any subset stays padded with NOPs:
//
//     SYN      MSS | SACK-permitted, TS (either one alone behind two NOPs) | NOP, window scale
//     others   NOP NOP TS | NOP NOP SACK with up to 3 blocks beside timestamps, 4 without
#pragma once

#include <algorithm>
#include <span>

#include "tcp/segment.hpp"
#include "tcp/wire/bytes.hpp"

namespace pollux::tcp::wire {

inline constexpr size_t max_options_size = 40;
inline constexpr uint8_t max_window_scale = 14;  // RFC 7323 section 2.3

enum class OptionsResult : uint8_t { ok, bad };

/// The general reader behind parse_options().
OptionsResult parse_options_one_by_one(std::span<const std::byte> options, Segment& segment) noexcept;

/// Reads into the option fields of `segment`, whose flags are already set. After `bad` they hold anything.
[[nodiscard]] inline OptionsResult parse_options(std::span<const std::byte> options, Segment& segment) noexcept {
    if (options.empty()) return OptionsResult::ok;
    // RFC 7323 appendix A: what nearly every segment of an open connection carries.
    if (options.size() == 12 && load_be32(options.data()) == 0x0101'080a) {
        segment.present |= Present::timestamps;
        segment.timestamps = {load_be32(options.data() + 4), load_be32(options.data() + 8)};
        return OptionsResult::ok;
    }
    return parse_options_one_by_one(options, segment);
}

/// How many of the segment's SACK blocks go on the wire: none on a SYN, 3 beside timestamps, 4 without.
constexpr uint8_t sack_blocks_written(const Segment& segment) noexcept {
    if (segment.has(Flags::syn)) return 0;
    return std::min<uint8_t>(segment.sack_count, segment.has(Present::timestamps) ? 3 : 4);
}

/// What write_options() will write: a multiple of 4, at most 40.
constexpr size_t options_size(const Segment& segment) noexcept {
    size_t size = segment.has(Present::timestamps) ? 12 : 0;
    if (segment.has(Flags::syn)) {
        if (segment.has(Present::mss)) size += 4;
        if (segment.has(Present::sack_permitted) && !segment.has(Present::timestamps)) size += 4;
        if (segment.has(Present::window_scale)) size += 4;
    } else if (const size_t blocks = sack_blocks_written(segment); blocks > 0) {
        size += 4 + 8 * blocks;
    }
    return size;
}

/// Writes options_size(segment) bytes, for which the caller has made room, and returns their partial checksum.
uint64_t write_options(std::byte* out, const Segment& segment) noexcept;

}  // namespace pollux::tcp::wire
