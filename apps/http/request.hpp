// The request parser: HTTP/1.x request heads (RFC 9112 sections 2 to 3 and 5 to 7, RFC 9110 section 5) out of bytes
// that may arrive in any pieces.
//
//     leading CRLF (at most 2) | request line CRLF | field line CRLF ... | CRLF | body (the caller's)
//
// `parse` is given all bytes of the head that have arrived so far and says `done`, `need_more` or `bad` with the
// status to answer. It keeps nothing but the Progress that the caller owns, never allocates, and never reads beyond
// the bytes it was given. A line is judged once, when it is complete, and the search for its end resumes where it
// stopped: the work is linear in the bytes whatever their segmentation, and so is the verdict independent of it.
//
// It is strict where leniency has been used to smuggle requests: bare CR or LF, blanks before the colon, folded
// lines, control characters, doubtful framing and doubtful Hosts are all refused. Fields that do not matter to the
// server are checked for form and left in the raw block (`Request::fields`, `for_each_field`).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace pollux::http {

enum class Method : uint8_t { get, head, post, put, delete_, options, trace, patch };
std::string_view to_string(Method method);

/// Bounds of a request head. RFC 9112 section 3 recommends at least 8000 octets for the request line.
struct Limits {
    uint32_t request_line = 8192;  // bytes without CRLF; beyond: 414
    uint32_t fields_size = 16384;  // bytes of all field lines with their CRLF; beyond: 431
    uint32_t fields = 100;         // field lines; beyond: 431

    /// The longest head that `parse` can ask more bytes for, leading and final CRLF included.
    constexpr uint32_t max_head() const { return max_blank_lines * 2 + request_line + 2 + fields_size + 2; }
    static constexpr uint32_t max_blank_lines = 2;  // RFC 9112 section 2.2: at least one
};

/// What a server needs to know of a request. The views point into the bytes that `parse` was given.
struct Request {
    static constexpr uint64_t no_length = ~uint64_t{0};

    Method method = Method::get;
    uint8_t minor = 1;             // of HTTP/1.x; above 1 it counts as 1
    bool keep_alive = false;       // RFC 9112 section 9.3, from the version and the Connection options
    bool plain_path = true;        // no escape, dot segment or backslash: `path` is its own normal form
    bool chunked = false;          // Transfer-Encoding: chunked, the only coding that passes `parse`
    bool expect_continue = false;  // Expect: 100-continue
    bool expect_unknown = false;   // any other expectation
    uint16_t field_count = 0;
    std::string_view target;     // as received
    std::string_view path;       // absolute path without query; "*" for the asterisk-form
    std::string_view query;      // without "?"
    std::string_view authority;  // of an absolute-form target, else the Host field; may be empty in HTTP/1.0
    std::string_view fields;     // the field lines, each with its CRLF
    uint64_t content_length = no_length;

    bool has_content_length() const { return content_length != no_length; }
};

enum class Outcome : uint8_t { need_more, done, bad };

struct Parsed {
    Outcome outcome = Outcome::need_more;
    uint16_t status = 0;    // with `bad`: 400, 414, 431, 501 or 505
    uint32_t consumed = 0;  // with `done`: bytes up to the end of the head
};

/// Where an unfinished head stands. Holds offsets only, so that the bytes may move between calls.
struct Progress {
    struct Range {
        uint32_t first = 0, size = 0;
    };
    uint32_t line = 0;          // where the current line begins
    uint32_t scanned = 0;       // bytes before it are known to hold no end of the current line
    uint32_t fields_begin = 0;  // 0: still in the request line
    uint16_t field_count = 0;
    uint16_t seen = 0;  // bits of `Seen` in request.cpp
    Range target{}, path{}, query{}, authority{};
    uint64_t content_length = Request::no_length;
    Method method = Method::get;
    uint8_t minor = 1;
    uint8_t blank_lines = 0;
    bool plain_path = true;
    uint32_t work = 0;  // bytes looked at so far: tests assert that it stays linear
};

/// Continues with `bytes`, which begin with all bytes given before. Fills `request` when the outcome is `done`.
[[nodiscard]] Parsed parse(std::string_view bytes, Progress& progress, const Limits& limits, Request& request);

/// Calls visit(name, value) for each line of a checked block `Request::fields`; blanks around values are removed.
template <class Visit>
void for_each_field(std::string_view fields, Visit&& visit) {
    while (!fields.empty()) {
        const std::size_t end = fields.find("\r\n");
        const std::string_view line = fields.substr(0, end);
        const std::size_t colon = line.find(':');
        std::string_view value = line.substr(colon + 1);
        while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
        while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
        visit(line.substr(0, colon), value);
        fields.remove_prefix(end + 2);
    }
}

}  // namespace pollux::http
