#include "tcp/wire/mac_address.hpp"

#include <charconv>
#include <ostream>

namespace pollux::tcp::wire {

std::optional<MacAddress> MacAddress::parse(std::string_view text) {
    if (text.size() != 17) return {};
    const char separator = text[2];
    if (separator != ':' && separator != '-') return {};
    MacAddress address;
    for (size_t i = 0; i < 6; ++i) {
        const char* at = text.data() + 3 * i;
        if (i > 0 && at[-1] != separator) return {};
        const auto [end, error] = std::from_chars(at, at + 2, address.octets[i], 16);
        if (error != std::errc{} || end != at + 2) return {};
    }
    return address;
}

std::string MacAddress::to_string() const {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (const uint8_t octet : octets) {
        if (!text.empty()) text += ':';
        text += digits[octet >> 4];
        text += digits[octet & 15];
    }
    return text;
}

std::ostream& operator<<(std::ostream& out, const MacAddress& address) { return out << address.to_string(); }

}  // namespace pollux::tcp::wire
