// Looking at many bytes at once: where the control characters of a head are, and how far a token reaches. Both are
// exact: they read no byte beyond the range they are given. AVX2 is part of the project's baseline (x86-64-v3).
#pragma once

#include <immintrin.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace pollux::http::scan {

/// RFC 9110 section 5.6.2: tchar.
constexpr bool is_token_char(unsigned char c) {
    if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')) return true;
    switch (c) {
        case '!':
        case '#':
        case '$':
        case '%':
        case '&':
        case '\'':
        case '*':
        case '+':
        case '-':
        case '.':
        case '^':
        case '_':
        case '`':
        case '|':
        case '~': return true;
        default: return false;
    }
}

/// RFC 3986 sections 2.2 and 2.3: unreserved and sub-delims.
constexpr bool is_host_char(unsigned char c) {
    if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')) return true;
    switch (c) {
        case '-':
        case '.':
        case '_':
        case '~':
        case '!':
        case '$':
        case '&':
        case '\'':
        case '(':
        case ')':
        case '*':
        case '+':
        case ',':
        case ';':
        case '=': return true;
        default: return false;
    }
}

/// CTL but HTAB: what may stand neither in a request line nor in a field line, CR and LF of its end included.
constexpr bool is_control(unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7f; }

namespace detail {

inline uint32_t controls_of_32(const char* bytes) {
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
    const __m256i low = _mm256_cmpeq_epi8(_mm256_min_epu8(v, _mm256_set1_epi8(0x1f)), v);
    const __m256i tab = _mm256_cmpeq_epi8(v, _mm256_set1_epi8('\t'));
    const __m256i del = _mm256_cmpeq_epi8(v, _mm256_set1_epi8(0x7f));
    return static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_or_si256(_mm256_andnot_si256(tab, low), del)));
}

inline uint32_t controls_of_16(const char* bytes) {
    const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
    const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
    const __m128i tab = _mm_cmpeq_epi8(v, _mm_set1_epi8('\t'));
    const __m128i del = _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f));
    return static_cast<uint32_t>(_mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, low), del)));
}

/// A set of ASCII characters, arranged for looking up one, or 16 at a time: bit r of rows[n] is the character 16 r +
/// n.
struct CharSet {
    std::array<char, 16> rows{};
    std::array<bool, 256> belongs{};

    template <class Belongs>
    constexpr explicit CharSet(Belongs is_member) {
        for (unsigned c = 0x20; c < 0x80; ++c) {
            belongs[c] = is_member(static_cast<unsigned char>(c));
            if (belongs[c]) rows[c & 15] = static_cast<char>(rows[c & 15] | (1 << (c >> 4)));
        }
    }
};

/// Bit i: bytes[i] does not belong to the set, of 16 bytes.
inline uint32_t outsiders_of_16(const char* bytes, const CharSet& set) {
    const __m128i nibble = _mm_set1_epi8(0x0f);
    const __m128i row_bits = _mm_setr_epi8(0, 0, 4, 8, 16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m128i rows = _mm_loadu_si128(reinterpret_cast<const __m128i*>(set.rows.data()));
    const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
    const __m128i low = _mm_shuffle_epi8(rows, _mm_and_si128(v, nibble));
    const __m128i high = _mm_shuffle_epi8(row_bits, _mm_and_si128(_mm_srli_epi16(v, 4), nibble));
    const __m128i outside = _mm_cmpeq_epi8(_mm_and_si128(low, high), _mm_setzero_si128());
    return static_cast<uint32_t>(_mm_movemask_epi8(outside));
}

}  // namespace detail

/// Bit i: bytes[i] is a control character. `size` is at most 64. Short ranges are read as two overlapping loads.
inline uint64_t controls(const char* bytes, std::size_t size) {
    if (size >= 64) {
        return detail::controls_of_32(bytes) | uint64_t{detail::controls_of_32(bytes + 32)} << 32;
    }
    if (size >= 32) {
        return detail::controls_of_32(bytes) | uint64_t{detail::controls_of_32(bytes + size - 32)} << (size - 32);
    }
    if (size >= 16) {
        return detail::controls_of_16(bytes) | uint64_t{detail::controls_of_16(bytes + size - 16)} << (size - 16);
    }
    uint64_t mask = 0;
    for (std::size_t i = 0; i < size; ++i) {
        mask |= uint64_t{is_control(static_cast<unsigned char>(bytes[i]))} << i;
    }
    return mask;
}

/// How many characters of a set the range begins with.
template <bool (*Belongs)(unsigned char)>
inline std::size_t run_length(const char* bytes, std::size_t size) {
    static constexpr detail::CharSet set{Belongs};
    std::size_t i = 0;
    for (; size - i >= 16; i += 16) {
        const uint32_t outsiders = detail::outsiders_of_16(bytes + i, set);
        if (outsiders != 0) return i + static_cast<std::size_t>(std::countr_zero(outsiders));
    }
    while (i < size && set.belongs[static_cast<unsigned char>(bytes[i])]) ++i;
    return i;
}

inline std::size_t token_length(const char* bytes, std::size_t size) {
    return run_length<is_token_char>(bytes, size);
}

/// RFC 3986 section 3.2.2: what a reg-name is made of, escapes apart.
inline std::size_t host_length(const char* bytes, std::size_t size) { return run_length<is_host_char>(bytes, size); }

}  // namespace pollux::http::scan
