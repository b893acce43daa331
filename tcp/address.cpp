#include "tcp/address.hpp"

#include <charconv>

namespace pollux::tcp {
namespace {

std::optional<uint32_t> parse_v4(std::string_view text) {
    uint32_t value = 0;
    for (int part = 0; part < 4; ++part) {
        if (part > 0) {
            if (text.empty() || text.front() != '.') return {};
            text.remove_prefix(1);
        }
        unsigned octet = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), octet);
        const auto digits = static_cast<size_t>(end - text.data());
        // A leading zero is refused: some readers take it for octal.
        if (error != std::errc{} || octet > 255 || (digits > 1 && text.front() == '0')) return {};
        value = value << 8 | octet;
        text.remove_prefix(digits);
    }
    if (!text.empty()) return {};
    return value;
}

// Reads groups of up to four hex digits separated by ':' until `text` ends; the last may be a dotted IPv4 address.
// Appends 16-bit groups to `groups` and returns how many, or nothing when the text is malformed.
std::optional<size_t> parse_groups(std::string_view text, std::array<uint16_t, 8>& groups) {
    size_t count = 0;
    while (!text.empty()) {
        if (text.find('.') != text.npos && text.find(':') == text.npos) {
            const auto v4 = parse_v4(text);
            if (!v4 || count > 6) return {};
            groups[count++] = static_cast<uint16_t>(*v4 >> 16);
            groups[count++] = static_cast<uint16_t>(*v4);
            return count;
        }
        unsigned group = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), group, 16);
        const auto digits = static_cast<size_t>(end - text.data());
        if (error != std::errc{} || digits > 4 || count == 8) return {};
        groups[count++] = static_cast<uint16_t>(group);
        text.remove_prefix(digits);
        if (text.empty()) break;
        if (text.front() != ':' || text.size() == 1) return {};
        text.remove_prefix(1);
    }
    return count;
}

std::optional<IpAddress> parse_v6(std::string_view text) {
    std::array<uint16_t, 8> groups{};
    const auto gap = text.find("::");
    if (gap == text.npos) {
        if (parse_groups(text, groups) != 8) return {};
    } else {
        std::array<uint16_t, 8> tail{};
        const auto head_count = parse_groups(text.substr(0, gap), groups);
        const auto tail_count = parse_groups(text.substr(gap + 2), tail);
        // RFC 4291 section 2.2: a dotted part stands only at the very end.
        if (text.substr(0, gap).find('.') != text.npos) return {};
        if (!head_count || !tail_count || *head_count + *tail_count > 7) return {};
        for (size_t i = 0; i < *tail_count; ++i) groups[8 - *tail_count + i] = tail[i];
    }
    IpAddress address;
    for (size_t i = 0; i < 8; ++i) address.words[i / 2] = address.words[i / 2] << 16 | groups[i];
    return address;
}

std::string v6_to_string(const IpAddress& address) {
    std::array<uint16_t, 8> groups{};
    for (size_t i = 0; i < 8; ++i) groups[i] = static_cast<uint16_t>(address.words[i / 2] >> (i % 2 == 0 ? 16 : 0));
    // RFC 5952 section 4.2: "::" replaces the longest run of at least two zero groups, the first of equal ones.
    size_t best = 8, best_length = 1;
    for (size_t i = 0; i < 8; ++i) {
        size_t length = 0;
        while (i + length < 8 && groups[i + length] == 0) ++length;
        if (length > best_length) best = i, best_length = length;
    }
    std::string text;
    for (size_t i = 0; i < 8;) {
        if (i == best) {
            text += "::";
            i += best_length;
            continue;
        }
        if (!text.empty() && text.back() != ':') text += ':';
        char digits[4];
        text.append(digits, std::to_chars(digits, digits + 4, groups[i], 16).ptr);
        ++i;
    }
    return text;
}

}  // namespace

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
    if (text.find(':') != text.npos) return parse_v6(text);
    if (const auto v4 = parse_v4(text)) return from_v4(*v4);
    return {};
}

std::string IpAddress::to_string() const {
    if (!is_v4()) return v6_to_string(*this);
    std::string text;
    for (int shift = 24; shift >= 0; shift -= 8) {
        if (!text.empty()) text += '.';
        text += std::to_string(v4() >> shift & 0xff);
    }
    return text;
}

std::string Endpoint::to_string() const {
    const auto text = address.to_string();
    return (address.is_v4() ? text : "[" + text + "]") + ":" + std::to_string(port);
}

}  // namespace pollux::tcp
