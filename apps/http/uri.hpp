// Request targets and authorities (RFC 3986): which characters they may hold, what a Host is, and the normal form of
// a path. A path is decoded once and its dot segments are removed; what would leave the root, or hides a control
// character, a backslash or broken UTF-8 behind an escape, is refused rather than repaired.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace pollux::http::uri {

/// What the characters of a target are marked with.
inline constexpr uint8_t refused = 1;   // may not stand in a request-target
inline constexpr uint8_t question = 2;  // "?"
inline constexpr uint8_t odd = 4;       // "%" or "\": the path needs a closer look
inline constexpr uint8_t dot = 8;       // "."
inline constexpr uint8_t hex_digit = 16;
inline constexpr uint8_t digit = 32;

inline constexpr std::array<uint8_t, 256> marks = [] {
    std::array<uint8_t, 256> table{};
    for (unsigned c = 0; c < 256; ++c) {
        uint8_t m = 0;
        const bool is_digit = c >= '0' && c <= '9';
        // RFC 3986 forbids more; browsers send { | } ^ ` in queries, so those pass.
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '#' || c == '<' || c == '>') m |= refused;
        if (c == '?') m |= question;
        if (c == '%' || c == '\\') m |= odd;
        if (c == '.') m |= dot;
        if (is_digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')) m |= hex_digit;
        if (is_digit) m |= digit;
        table[c] = m;
    }
    return table;
}();

inline uint8_t marks_of(char c) { return marks[static_cast<unsigned char>(c)]; }

/// The union of the characters' marks.
inline uint8_t marks_of(std::string_view text) {
    uint8_t all = 0;
    for (const char c : text) all |= marks_of(c);
    return all;
}

/// Whether a "/" is followed by ".": a segment that may be "." or "..".
inline bool has_dot_segment(std::string_view path) { return path.find("/.") != std::string_view::npos; }

/// Size of "http://" or "https://" (any case) at the beginning of a target, else 0.
std::size_t scheme_size(std::string_view target);

/// uri-host [ ":" port ] with a non-empty host (RFC 9110 section 4.2.1) and no userinfo (section 4.2.4).
/// `readable`: how many bytes may be looked at from its beginning, at least its size.
bool is_host_and_port(std::string_view text, std::size_t readable);
inline bool is_host_and_port(std::string_view text) { return is_host_and_port(text, text.size()); }

/// Decodes `path` once and removes its dot segments, into `room`, which is at least as large. Nothing, where the path
/// is not a valid one or leaves the root.
std::optional<std::string_view> normalise(std::string_view path, std::span<char> room);

}  // namespace pollux::http::uri
