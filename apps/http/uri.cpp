#include "apps/http/uri.hpp"

#include <algorithm>

#include "apps/http/scan.hpp"

namespace pollux::http::uri {
namespace {

bool is_hex(char c) { return (marks_of(c) & hex_digit) != 0; }

unsigned hex_value(char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10); }

bool is_port(std::string_view text) {
    unsigned port = 0;
    for (const char c : text) {
        if ((marks_of(c) & digit) == 0) return false;
        port = port * 10 + static_cast<unsigned>(c - '0');
        if (port > 65535) return false;
    }
    return true;  // RFC 3986 section 3.2.3: may be empty
}

/// Length of the well-formed UTF-8 sequence at the beginning of `text` (RFC 3629 section 4), 0 if there is none.
std::size_t utf8_length(std::string_view text) {
    const auto at = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
    const auto continues = [&](std::size_t i) { return (at(i) & 0xc0u) == 0x80u; };
    const unsigned first = at(0), second = at(1);
    if (first < 0x80) return 1;
    if (first < 0xc2) return 0;  // a continuation, or an overlong form of ASCII
    if (first < 0xe0) return continues(1) ? 2 : 0;
    if (first < 0xf0) {
        const bool overlong = first == 0xe0 && second < 0xa0, surrogate = first == 0xed && second >= 0xa0;
        return continues(1) && continues(2) && !overlong && !surrogate ? 3 : 0;
    }
    const bool overlong = first == 0xf0 && second < 0x90, beyond = first == 0xf4 && second >= 0x90;
    return first < 0xf5 && continues(1) && continues(2) && continues(3) && !overlong && !beyond ? 4 : 0;
}

bool is_utf8(std::string_view text) {
    while (!text.empty()) {
        const std::size_t length = utf8_length(text);
        if (length == 0) return false;
        text.remove_prefix(length);
    }
    return true;
}

}  // namespace

std::size_t scheme_size(std::string_view target) {
    for (const std::string_view scheme : {std::string_view{"http://"}, std::string_view{"https://"}}) {
        const std::string_view start = target.substr(0, scheme.size());
        const bool same = std::equal(start.begin(), start.end(), scheme.begin(), scheme.end(), [](char a, char b) {
            return (a >= 'A' && a <= 'Z' ? static_cast<char>(a | 0x20) : a) == b;
        });
        if (same) return scheme.size();
    }
    return 0;
}

bool is_host_and_port(std::string_view text, std::size_t readable) {
    if (text.empty()) return false;
    std::size_t i = 0;
    if (text[0] == '[') {  // RFC 3986 section 3.2.2: IPv6address; IPvFuture has no users
        const std::size_t end = text.find(']');
        if (end == std::string_view::npos || end < 3) return false;
        const std::string_view address = text.substr(1, end - 1);
        if (address.find(':') == std::string_view::npos) return false;
        if (!std::all_of(address.begin(), address.end(), [](char c) { return is_hex(c) || c == ':' || c == '.'; })) {
            return false;
        }
        i = end + 1;
    } else {
        i = scan::host_length(text.data(), readable);
        while (i < text.size() && text[i] == '%') {
            if (text.size() - i < 3 || !is_hex(text[i + 1]) || !is_hex(text[i + 2])) return false;
            i += 3;
            i += scan::host_length(text.data() + i, readable - i);
        }
        if (i > text.size()) return false;
        if (i == 0) return false;
    }
    if (i == text.size()) return true;
    return text[i] == ':' && is_port(text.substr(i + 1));
}

std::optional<std::string_view> normalise(std::string_view path, std::span<char> room) {
    if (path.size() > room.size() || !path.starts_with('/')) return std::nullopt;
    // RFC 3986 section 2.4: decode once. A decoded "/" would move the segments' borders, so it is refused, too.
    std::size_t size = 0;
    for (std::size_t i = 0; i < path.size(); ++i) {
        char c = path[i];
        if (c == '%') {
            if (path.size() - i < 3 || !is_hex(path[i + 1]) || !is_hex(path[i + 2])) return std::nullopt;
            c = static_cast<char>(hex_value(path[i + 1]) << 4 | hex_value(path[i + 2]));
            if (c == '/') return std::nullopt;
            i += 2;
        }
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7f || c == '\\') return std::nullopt;
        room[size++] = c;
    }
    const std::string_view decoded{room.data(), size};
    if (!is_utf8(decoded)) return std::nullopt;
    // RFC 3986 section 5.2.4, in place: the output never overtakes the input.
    std::size_t in = 0, out = 0;
    while (in < size) {
        const std::size_t end = std::min(decoded.find('/', in + 1), size);
        const std::string_view segment = decoded.substr(in + 1, end - in - 1);
        const bool last = end == size;
        if (segment == "..") {
            if (out == 0) return std::nullopt;  // above the root
            do --out;
            while (room[out] != '/');
            if (last) room[out++] = '/';
        } else if (segment == ".") {
            if (last) room[out++] = '/';
        } else {
            out = static_cast<std::size_t>(std::copy(room.data() + in, room.data() + end, room.data() + out) -
                                           room.data());
        }
        in = end;
    }
    return std::string_view{room.data(), out};
}

}  // namespace pollux::http::uri
