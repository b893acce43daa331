#include "apps/http/request.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "apps/http/scan.hpp"
#include "apps/http/uri.hpp"

namespace pollux::http {
namespace {

/// What the lines so far have said, as bits of Progress::seen.
namespace Seen {
constexpr uint16_t host = 1, content_length = 2, transfer_encoding = 4, chunked = 8, unknown_coding = 16;
constexpr uint16_t misplaced_chunked = 32, close = 64, keep_alive = 128, expect_continue = 256;
constexpr uint16_t expect_unknown = 512, absolute_form = 1024;
}  // namespace Seen

constexpr uint16_t ok = 0;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_blank(char c) { return c == ' ' || c == '\t'; }

std::string_view trimmed(std::string_view value) {
    while (!value.empty() && is_blank(value.front())) value.remove_prefix(1);
    while (!value.empty() && is_blank(value.back())) value.remove_suffix(1);
    return value;
}

/// Case-insensitive comparison of a checked token with a lower-case name of the same size. Setting the case bit maps
/// no tchar but a letter to a letter, and "-" to itself.
template <std::size_t N>
bool is_name(const char* token, const char (&name)[N]) {
    constexpr std::size_t size = N - 1;
    const auto differs = [&]<class Word>(Word case_bits, std::size_t at) {
        Word a, b;
        std::memcpy(&a, token + at, sizeof a);
        std::memcpy(&b, name + at, sizeof b);
        return ((a | case_bits) ^ b) != 0;
    };
    constexpr uint64_t eight = 0x2020'2020'2020'2020;
    constexpr uint32_t four = 0x2020'2020;
    static_assert(size >= 4);
    if constexpr (size < 8) return !differs(four, 0) && !differs(four, size - 4);
    if constexpr (size >= 8) {
        for (std::size_t at = 0; at + 8 < size; at += 8) {
            if (differs(eight, at)) return false;
        }
        return !differs(eight, size - 8);
    }
}

template <std::size_t N>
bool is_name(std::string_view token, const char (&name)[N]) {
    return token.size() == N - 1 && is_name(token.data(), name);
}

/// Calls visit(element) for each element of a comma list (RFC 9110 section 5.6.1); empty elements count for nothing.
template <class Visit>
void for_each_element(std::string_view list, Visit&& visit) {
    while (!list.empty()) {
        const std::size_t comma = std::min(list.find(','), list.size());
        if (const std::string_view element = trimmed(list.substr(0, comma)); !element.empty()) visit(element);
        list.remove_prefix(std::min(comma + 1, list.size()));
    }
}

struct MethodName {
    std::string_view name;
    Method method;
};
constexpr std::array methods{
    MethodName{"GET", Method::get},     MethodName{"HEAD", Method::head},      MethodName{"POST", Method::post},
    MethodName{"PUT", Method::put},     MethodName{"DELETE", Method::delete_}, MethodName{"OPTIONS", Method::options},
    MethodName{"TRACE", Method::trace}, MethodName{"PATCH", Method::patch},
};

/// One call of `parse`: the bytes, and what the lines add to the Progress. Line functions return a status or `ok`.
class HeadParser {
public:
    HeadParser(std::string_view bytes, Progress& progress, const Limits& limits)
        : data_(bytes.data()),
          size_(static_cast<uint32_t>(std::min<std::size_t>(bytes.size(), ~0u))),
          p_(progress),
          limits_(limits) {}

    Parsed run(Request& request);

private:
    static Parsed bad(uint16_t status) { return {Outcome::bad, status, 0}; }
    Progress::Range range_of(std::string_view view) const {
        return {static_cast<uint32_t>(view.data() - data_), static_cast<uint32_t>(view.size())};
    }
    std::string_view view_of(Progress::Range range) const { return {data_ + range.first, range.size}; }
    bool exceeds_limit(uint32_t end) const;
    uint16_t limit_status() const { return p_.fields_begin == 0 ? 414 : 431; }

    uint16_t on_request_line(std::string_view line);
    uint16_t on_target(std::string_view target);
    uint16_t on_field_line(std::string_view line);
    uint16_t on_host(std::string_view value);
    uint16_t on_content_length(std::string_view value);
    uint16_t on_transfer_encoding(std::string_view value);
    void on_connection(std::string_view value);
    uint16_t on_end() const;
    void fill(Request& request, uint32_t fields_end) const;

    const char* data_;
    uint32_t size_;
    Progress& p_;
    const Limits& limits_;
};

/// Whether the current, non-empty line is too long if it ends at `end` or later.
bool HeadParser::exceeds_limit(uint32_t end) const {
    if (p_.fields_begin == 0) return end - p_.line > limits_.request_line;
    return end > p_.line && end + 2 - p_.fields_begin > limits_.fields_size;
}

Parsed HeadParser::run(Request& request) {
    uint32_t base = p_.scanned;  // the block in which controls are being looked for, as a mask of those still ahead
    uint32_t block = std::min(size_ - base, 64u);
    uint64_t mask = scan::controls(data_ + base, block);
    p_.work += block;
    for (;;) {
        while (mask == 0) {
            base += block;
            if (base == size_) {
                p_.scanned = size_;
                if (exceeds_limit(size_)) return bad(limit_status());
                return {};
            }
            block = std::min(size_ - base, 64u);
            mask = scan::controls(data_ + base, block);
            p_.work += block;
        }
        const uint32_t end = base + static_cast<uint32_t>(std::countr_zero(mask));
        if (exceeds_limit(end)) return bad(limit_status());
        if (data_[end] != '\r') return bad(400);  // bare LF, NUL or another control character
        if (end + 1 == size_) {
            p_.scanned = end;
            return {};
        }
        if (data_[end + 1] != '\n') return bad(400);  // bare CR
        const std::string_view line{data_ + p_.line, end - p_.line};
        p_.line = end + 2;
        p_.work += static_cast<uint32_t>(line.size());
        uint16_t status = ok;
        if (p_.fields_begin != 0) {
            if (line.empty()) {
                status = on_end();
                if (status != ok) return bad(status);
                fill(request, end);
                return {Outcome::done, ok, end + 2};
            }
            status = on_field_line(line);
        } else if (line.empty()) {
            if (p_.blank_lines++ == Limits::max_blank_lines) status = 400;
        } else {
            status = on_request_line(line);
            p_.fields_begin = end + 2;
        }
        if (status != ok) return bad(status);
        if (end + 2 - base <= block) {
            mask &= mask - 1;  // the CR
            mask &= mask - 1;  // the LF
        } else {
            base = end + 2;  // the LF stands in the next block
            block = std::min(size_ - base, 64u);
            mask = scan::controls(data_ + base, block);
            p_.work += block;
        }
    }
}

/// RFC 9112 section 3: method SP request-target SP HTTP-version, with single blanks.
uint16_t HeadParser::on_request_line(std::string_view line) {
    constexpr std::size_t version_size = 9;  // " HTTP/1.1"
    bool known = true;
    std::size_t method_size = 3;
    if (line.starts_with("GET ")) {
        p_.method = Method::get;
    } else {
        method_size = scan::token_length(line.data(), line.size());
        if (method_size == 0 || method_size == line.size() || line[method_size] != ' ') return 400;
        const auto* found = std::find_if(methods.begin(), methods.end(),
                                         [&](const MethodName& m) { return m.name == line.substr(0, method_size); });
        known = found != methods.end();
        if (known) p_.method = found->method;
    }
    if (line.size() < method_size + 1 + 1 + version_size) return 400;
    const std::string_view target = line.substr(method_size + 1, line.size() - method_size - 1 - version_size);
    const char* const version = line.data() + line.size() - version_size;
    const bool one_point = std::memcmp(version, " HTTP/1.", 8) == 0;
    if (!one_point && (std::memcmp(version, " HTTP/", 6) != 0 || !is_digit(version[6]) || version[7] != '.'))
        return 400;
    if (!is_digit(version[8])) return 400;
    p_.target = range_of(target);
    const uint8_t marks = uri::marks_of(target);
    if ((marks & uri::refused) != 0) return 400;
    if (!one_point) return 505;
    p_.minor = version[8] == '0' ? 0 : 1;
    if (!known) return 501;  // CONNECT, too: there is no tunnel here
    if (target[0] == '/' && (marks & uri::question) == 0) {
        p_.path = p_.target;
        p_.plain_path = (marks & uri::odd) == 0 && ((marks & uri::dot) == 0 || !uri::has_dot_segment(target));
        return ok;
    }
    return on_target(target);
}

/// RFC 9112 section 3.2: origin-form, absolute-form, asterisk-form; the authority-form belongs to CONNECT.
uint16_t HeadParser::on_target(std::string_view target) {
    std::string_view rest = target;  // path and query
    if (target == "*") {
        if (p_.method != Method::options) return 400;
    } else if (target[0] != '/') {
        const std::size_t scheme = uri::scheme_size(target);
        if (scheme == 0) return 400;
        rest = target.substr(scheme);
        const std::string_view authority = rest.substr(0, rest.find_first_of("/?"));
        if (!uri::is_host_and_port(authority)) return 400;
        p_.authority = range_of(authority);
        p_.seen |= Seen::absolute_form;
        rest = rest.substr(authority.size());
    }
    const std::size_t path_size = std::min(rest.find('?'), rest.size());
    const std::string_view path = rest.substr(0, path_size);
    p_.path = range_of(path);
    if (path_size < rest.size()) p_.query = range_of(rest.substr(path_size + 1));
    p_.plain_path = (uri::marks_of(path) & uri::odd) == 0 && !uri::has_dot_segment(path);
    return ok;
}

/// RFC 9112 section 5: field-name ":" OWS field-value OWS. A folded line begins with a blank, which is no tchar.
uint16_t HeadParser::on_field_line(std::string_view line) {
    if (p_.field_count++ == limits_.fields) return 431;
    // The search for the end of the name may look behind the line, never behind the bytes: CR ends a token.
    const auto readable = static_cast<std::size_t>(data_ + size_ - line.data());
    const std::size_t name_size = scan::token_length(line.data(), readable);
    if (name_size == 0 || name_size >= line.size() || line[name_size] != ':') return 400;
    const char* const name = line.data();
    const auto value = [&] { return trimmed(line.substr(name_size + 1)); };
    switch (name_size) {
        case 4:
            if (is_name(name, "host")) return on_host(value());
            return ok;
        case 6:
            if (is_name(name, "expect")) {
                p_.seen |= is_name(value(), "100-continue") ? Seen::expect_continue : Seen::expect_unknown;
            }
            return ok;
        case 10:
            if (is_name(name, "connection")) on_connection(value());
            return ok;
        case 14:
            if (is_name(name, "content-length")) return on_content_length(value());
            return ok;
        case 17:
            if (is_name(name, "transfer-encoding")) return on_transfer_encoding(value());
            return ok;
        default: return ok;
    }
}

uint16_t HeadParser::on_host(std::string_view value) {
    const auto readable = static_cast<std::size_t>(data_ + size_ - value.data());
    if ((p_.seen & Seen::host) != 0 || !uri::is_host_and_port(value, readable)) return 400;
    p_.seen |= Seen::host;
    // RFC 9112 section 3.2.2: the authority of an absolute-form target wins.
    if ((p_.seen & Seen::absolute_form) == 0) p_.authority = range_of(value);
    return ok;
}

/// RFC 9112 section 6.3 allows equal repetitions; we do not: nobody sends them but who tries to smuggle.
uint16_t HeadParser::on_content_length(std::string_view value) {
    constexpr uint64_t limit = uint64_t{1} << 63;
    if ((p_.seen & Seen::content_length) != 0 || value.empty()) return 400;
    p_.seen |= Seen::content_length;
    uint64_t length = 0;
    for (const char c : value) {
        if (!is_digit(c)) return 400;
        const auto digit = static_cast<uint64_t>(c - '0');
        if (length > (limit - digit) / 10) return 400;
        length = length * 10 + digit;
    }
    p_.content_length = length;
    return ok;
}

/// RFC 9112 sections 6.1 and 7: chunked once and last. The verdict waits for the end, because lines add up.
uint16_t HeadParser::on_transfer_encoding(std::string_view value) {
    p_.seen |= Seen::transfer_encoding;
    bool any = false, malformed = false;
    for_each_element(value, [&](std::string_view coding) {
        any = true;
        if ((p_.seen & Seen::chunked) != 0) p_.seen |= Seen::misplaced_chunked;
        if (is_name(coding, "chunked")) {
            p_.seen |= Seen::chunked;
            return;
        }
        const std::size_t name_size = scan::token_length(coding.data(), coding.size());
        const std::string_view parameters = trimmed(coding.substr(name_size));
        if (name_size == 0 || (!parameters.empty() && parameters[0] != ';')) malformed = true;
        if (is_name(coding.substr(0, name_size), "chunked")) malformed = true;  // it has no parameters
        p_.seen |= Seen::unknown_coding;
    });
    return any && !malformed ? ok : uint16_t{400};
}

/// RFC 9110 section 7.6.1. Options other than these two are none of the server's business.
void HeadParser::on_connection(std::string_view value) {
    for_each_element(value, [&](std::string_view option) {
        if (is_name(option, "close")) p_.seen |= Seen::close;
        if (is_name(option, "keep-alive")) p_.seen |= Seen::keep_alive;
    });
}

uint16_t HeadParser::on_end() const {
    if (p_.minor >= 1 && (p_.seen & Seen::host) == 0) return 400;  // RFC 9112 section 3.2
    if ((p_.seen & Seen::transfer_encoding) == 0) return ok;
    if (p_.minor == 0) return 400;                          // RFC 9112 section 6.1: faulty framing
    if ((p_.seen & Seen::content_length) != 0) return 400;  // RFC 9112 section 11.2: smuggling
    if ((p_.seen & Seen::misplaced_chunked) != 0) return 400;
    if ((p_.seen & Seen::unknown_coding) != 0) return 501;
    return ok;
}

void HeadParser::fill(Request& request, uint32_t fields_end) const {
    const bool close = (p_.seen & Seen::close) != 0;
    request.method = p_.method;
    request.minor = p_.minor;
    request.keep_alive = !close && (p_.minor >= 1 || (p_.seen & Seen::keep_alive) != 0);
    request.plain_path = p_.plain_path;
    request.chunked = (p_.seen & Seen::chunked) != 0;
    request.expect_continue = (p_.seen & Seen::expect_continue) != 0;
    request.expect_unknown = (p_.seen & Seen::expect_unknown) != 0;
    request.field_count = p_.field_count;
    request.target = view_of(p_.target);
    request.path = view_of(p_.path);
    if (request.path.empty()) request.path = p_.method == Method::options ? "*" : "/";  // RFC 9112 section 3.2.4
    request.query = view_of(p_.query);
    request.authority = view_of(p_.authority);
    request.fields = {data_ + p_.fields_begin, fields_end - p_.fields_begin};
    request.content_length = p_.content_length;
}

}  // namespace

std::string_view to_string(Method method) {
    for (const MethodName& m : methods) {
        if (m.method == method) return m.name;
    }
    return "?";
}

Parsed parse(std::string_view bytes, Progress& progress, const Limits& limits, Request& request) {
    return HeadParser{bytes, progress, limits}.run(request);
}

}  // namespace pollux::http
