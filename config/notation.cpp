// Reading and writing of each spelling. See notation.hpp.
#include "config/notation.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <iterator>

namespace pollux::config {
namespace {

struct Unit {
    std::string_view name;
    uint64_t factor;
};
constexpr std::array<Unit, 5> time_units{
    {{"h", 3'600'000'000}, {"min", 60'000'000}, {"s", 1'000'000}, {"ms", 1'000}, {"us", 1}}};
constexpr std::array<Unit, 4> size_units{{{"GiB", 1ull << 30}, {"MiB", 1ull << 20}, {"KiB", 1ull << 10}, {"B", 1}}};

/// A whole decimal number and nothing else.
std::optional<uint64_t> number(std::string_view text) {
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

/// "40ms": a whole number, at most one blank, a unit.
std::optional<uint64_t> number_with_unit(std::string_view text, const Unit* units, size_t count) {
    const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    const auto value = number(text.substr(0, digits));
    if (!value) return std::nullopt;
    std::string_view name = text.substr(digits);
    if (name.starts_with(' ')) name.remove_prefix(1);
    for (size_t i = 0; i < count; ++i) {
        if (units[i].name != name) continue;
        if (*value > UINT64_MAX / units[i].factor) return std::nullopt;
        return *value * units[i].factor;
    }
    return std::nullopt;
}

std::string with_unit(uint64_t value, const Unit* units, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        if (value != 0 && value % units[i].factor == 0)
            return std::to_string(value / units[i].factor) + std::string{units[i].name};
    }
    return "0";
}

constexpr uint32_t ppm_per_percent = 10'000;

/// "0.5%": digits, at most four more behind a point, the sign.
std::optional<uint32_t> read_percent(std::string_view text) {
    if (!text.ends_with('%')) return std::nullopt;
    text.remove_suffix(1);
    const size_t point = std::min(text.find('.'), text.size());
    const auto whole = number(text.substr(0, point));
    if (!whole || *whole > 100) return std::nullopt;
    uint64_t ppm = *whole * ppm_per_percent;
    if (point != text.size()) {
        std::string decimals{text.substr(point + 1)};
        if (decimals.empty() || decimals.size() > 4) return std::nullopt;
        decimals.resize(4, '0');
        const auto fraction = number(decimals);
        if (!fraction) return std::nullopt;
        ppm += *fraction;
    }
    return ppm <= 100 * ppm_per_percent ? std::optional{static_cast<uint32_t>(ppm)} : std::nullopt;
}

std::optional<std::vector<uint16_t>> read_cores(std::string_view text) {
    constexpr uint64_t most = 127;  // DPDK's RTE_MAX_LCORE - 1
    std::vector<uint16_t> cores;
    while (true) {
        const size_t comma = std::min(text.find(','), text.size());
        const std::string_view item = text.substr(0, comma);
        const size_t dash = std::min(item.find('-'), item.size());
        const auto first = number(item.substr(0, dash));
        const auto last = dash == item.size() ? first : number(item.substr(dash + 1));
        if (!first || !last || *first > *last || *last > most) return std::nullopt;
        for (uint64_t core = *first; core <= *last; ++core) {
            if (std::ranges::find(cores, core) != cores.end()) return std::nullopt;
            cores.push_back(static_cast<uint16_t>(core));
        }
        if (comma == text.size()) return cores;
        text.remove_prefix(comma + 1);
    }
}

std::string write_cores(const std::vector<uint16_t>& cores) {
    std::string out;
    for (size_t i = 0; i < cores.size();) {
        size_t last = i;
        while (last + 1 < cores.size() && cores[last + 1] == cores[last] + 1) ++last;
        out += (out.empty() ? "" : ",") + std::to_string(cores[i]);
        if (last != i) out += "-" + std::to_string(cores[last]);
        i = last + 1;
    }
    return out;
}

std::optional<Prefix> read_prefix(std::string_view text) {
    const size_t slash = text.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    const auto address = tcp::IpAddress::parse(text.substr(0, slash));
    const auto length = number(text.substr(slash + 1));
    if (!address || !length || *length < 1 || *length > (address->is_v4() ? 32 : 128)) return std::nullopt;
    if (address->is_v4() && text.find(':') != std::string_view::npos) return std::nullopt;  // v4-mapped notation
    return Prefix{*address, static_cast<uint8_t>(*length)};
}

/// Whether nothing of the address is set behind the prefix.
bool is_whole_network(const Prefix& prefix) {
    uint32_t bit = prefix.length + (prefix.address.is_v4() ? 96u : 0u);
    for (; bit < 128; ++bit) {
        if ((prefix.address.words[bit / 32] >> (31 - bit % 32) & 1) != 0) return false;
    }
    return true;
}

std::optional<Prefix> read_network(std::string_view text) {
    const size_t slash = std::min(text.find('/'), text.size());
    const auto address = tcp::IpAddress::parse(text.substr(0, slash));
    if (!address || (address->is_v4() && text.find(':') != std::string_view::npos)) return std::nullopt;
    const uint64_t longest = address->is_v4() ? 32 : 128;
    const auto length = slash == text.size() ? longest : number(text.substr(slash + 1));
    if (!length || *length > longest) return std::nullopt;
    const Prefix network{*address, static_cast<uint8_t>(*length)};
    return is_whole_network(network) ? std::optional{network} : std::nullopt;
}

std::optional<PortRange> read_port_range(std::string_view text) {
    const size_t dash = std::min(text.find('-'), text.size());
    const auto first = number(text.substr(0, dash));
    const auto last = dash == text.size() ? first : number(text.substr(dash + 1));
    if (!first || !last || *first < 1 || *first > *last || *last > 65'535) return std::nullopt;
    return PortRange{static_cast<uint16_t>(*first), static_cast<uint16_t>(*last)};
}

std::optional<MacAddress> read_mac(std::string_view text) {
    const auto mac = MacAddress::parse(text);
    return mac && !mac->is_multicast() && !mac->is_unspecified() ? mac : std::nullopt;
}

Notation<tcp::IpAddress> address_that(std::string expected, bool (*fits)(const tcp::IpAddress&)) {
    return {std::move(expected),
            [fits](std::string_view text) {
                const auto parsed = tcp::IpAddress::parse(text);
                // "::ffff:192.0.2.1" means an IPv4 address and is not how one is written here.
                const bool mapped = parsed && parsed->is_v4() && text.find(':') != std::string_view::npos;
                return parsed && !mapped && fits(*parsed) ? parsed : std::nullopt;
            },
            [](const tcp::IpAddress& value) { return value.to_string(); }};
}

bool has_control(std::string_view text) {
    return std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

bool is_pci_address(std::string_view text) {
    // [DDDD:]BB:DD.F
    std::string_view shape = "xxxx:xx:xx.x";
    if (text.size() == 7) shape.remove_prefix(5);
    if (text.size() != shape.size()) return false;
    for (size_t i = 0; i < shape.size(); ++i) {
        const bool hex = std::isxdigit(static_cast<unsigned char>(text[i])) != 0;
        if (shape[i] == 'x' ? !hex : text[i] != shape[i]) return false;
    }
    return true;
}

/// Values of an enum by name.
template <class E, size_t N>
Notation<E> one_of(std::array<std::pair<std::string_view, E>, N> names) {
    std::string expected = "one of ";
    for (size_t i = 0; i < N; ++i) expected += (i == 0 ? "" : ", ") + in_quotes(names[i].first);
    return {expected,
            [names](std::string_view text) -> std::optional<E> {
                for (const auto& [name, value] : names)
                    if (name == text) return value;
                return std::nullopt;
            },
            [names](const E& wanted) {
                for (const auto& [name, value] : names)
                    if (value == wanted) return std::string{name};
                return std::string{};
            }};
}

}  // namespace

bool Prefix::contains(const tcp::IpAddress& other) const {
    if (address.is_v4() != other.is_v4()) return false;
    uint32_t bits = length + (address.is_v4() ? 96u : 0u);
    for (size_t i = 0; i < 4 && bits > 0; ++i) {
        const uint32_t here = std::min(bits, 32u);
        if ((address.words[i] ^ other.words[i]) >> (32 - here) != 0) return false;
        bits -= here;
    }
    return true;
}

std::string PortRange::to_string() const {
    return std::to_string(first) + (first == last ? "" : "-" + std::to_string(last));
}

std::string_view to_string(FilterAction action) { return action == FilterAction::allow ? "allow" : "deny"; }

std::string Prefix::to_string() const { return address.to_string() + "/" + std::to_string(length); }

bool Port::is_pci() const {
    const std::string_view name = device;
    return is_pci_address(name.substr(0, name.find(',')));
}

std::string in_quotes(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
            char escape[8];
            std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
            out += escape;
        } else {
            out += c;
        }
    }
    return out + '"';
}

std::string to_string(tcp::Duration value) {
    const std::string text = with_unit(static_cast<uint64_t>(value.count()), time_units.data(), time_units.size());
    return text == "0" ? "0s" : text;
}

std::string size_to_string(uint64_t bytes) {
    const std::string text = with_unit(bytes, size_units.data(), size_units.size());
    return text == "0" ? "0B" : text;
}

std::string percent_to_string(uint32_t ppm) {
    std::string text = std::to_string(ppm / ppm_per_percent);
    if (const uint32_t rest = ppm % ppm_per_percent; rest != 0) {
        const std::string digits = std::to_string(ppm_per_percent + rest).substr(1);  // leading zeros kept
        text += "." + digits.substr(0, digits.find_last_not_of('0') + 1);
    }
    return text + "%";
}

Notation<tcp::Duration> duration(tcp::Duration low, tcp::Duration high) {
    return {"a duration from " + in_quotes(to_string(low)) + " to " + in_quotes(to_string(high)) +
                " in us, ms, s, min or h",
            [low, high](std::string_view text) -> std::optional<tcp::Duration> {
                const auto us = number_with_unit(text, time_units.data(), time_units.size());
                if (!us || *us > static_cast<uint64_t>(high.count())) return std::nullopt;
                const tcp::Duration value{static_cast<int64_t>(*us)};
                return value < low ? std::nullopt : std::optional{value};
            },
            [](const tcp::Duration& value) { return to_string(value); }};
}

Notation<uint32_t> size(uint64_t low, uint64_t high) {
    return {"a size from " + in_quotes(size_to_string(low)) + " to " + in_quotes(size_to_string(high)) +
                " in B, KiB, MiB or GiB",
            [low, high](std::string_view text) -> std::optional<uint32_t> {
                const auto bytes = number_with_unit(text, size_units.data(), size_units.size());
                if (!bytes || *bytes < low || *bytes > high) return std::nullopt;
                return static_cast<uint32_t>(*bytes);
            },
            [](const uint32_t& bytes) { return size_to_string(bytes); }};
}

Notation<uint32_t> memory_mb(uint32_t high) {
    return {"whole MiB up to " + in_quotes(size_to_string(uint64_t{high} << 20)) + ", such as \"512MiB\"",
            [high](std::string_view text) -> std::optional<uint32_t> {
                const auto bytes = number_with_unit(text, size_units.data(), size_units.size());
                if (!bytes || *bytes % (1u << 20) != 0 || *bytes >> 20 > high) return std::nullopt;
                return static_cast<uint32_t>(*bytes >> 20);
            },
            [](const uint32_t& mb) { return size_to_string(uint64_t{mb} << 20); }};
}

Notation<uint32_t> percent() {
    return {R"(a share from "0%" to "100%" with at most four decimals, such as "0.5%")", read_percent,
            [](const uint32_t& ppm) { return percent_to_string(ppm); }};
}

Notation<std::string> device() {
    return {R"(a PCI address such as "0000:3b:00.0" or a virtual device such as "net_tap0,iface=pollux0")",
            [](std::string_view text) -> std::optional<std::string> {
                const std::string_view name = text.substr(0, text.find(','));
                const bool is_virtual = name.starts_with("net_") || name.starts_with("virtio_user");
                if (has_control(text) || (!is_virtual && !is_pci_address(name))) return std::nullopt;
                return std::string{text};
            },
            [](const std::string& text) { return text; }};
}

Notation<std::vector<uint16_t>> core_list() {
    return {R"(each core once, from 0 to 127, such as "0", "0-3" or "1,3")", read_cores, write_cores};
}

Notation<Prefix> prefix() {
    return {R"(an address with its prefix, such as "192.0.2.1/24" or "2001:db8::1/64")", read_prefix,
            [](const Prefix& value) { return value.to_string(); }};
}

Notation<Prefix> network() {
    return {R"(a network such as "192.0.2.0/24" or "2001:db8::/32", with nothing set behind its prefix, or an address)",
            read_network, [](const Prefix& value) { return value.to_string(); }};
}

Notation<PortRange> port_range() {
    return {R"(a port or a range of ports from 1 to 65535, such as "80" or "8000-8099")", read_port_range,
            [](const PortRange& value) { return value.to_string(); }};
}

Notation<FilterAction> filter_action() {
    return one_of<FilterAction, 2>({{{"allow", FilterAction::allow}, {"deny", FilterAction::deny}}});
}

Notation<tcp::IpAddress> address() {
    return address_that(R"(an address such as "192.0.2.1" or "2001:db8::1")",
                        [](const tcp::IpAddress&) { return true; });
}

Notation<tcp::IpAddress> address_v4() {
    return address_that(R"(an IPv4 address such as "192.0.2.1")", [](const tcp::IpAddress& a) { return a.is_v4(); });
}

Notation<tcp::IpAddress> address_v6() {
    return address_that(R"(an IPv6 address such as "fe80::1")", [](const tcp::IpAddress& a) { return !a.is_v4(); });
}

Notation<MacAddress> mac_address() {
    return {R"(a unicast MAC address such as "02:00:00:00:00:01")", read_mac,
            [](const MacAddress& value) { return value.to_string(); }};
}

Notation<Idle> idle() {
    return one_of<Idle, 3>({{{"auto", Idle::automatic}, {"spin", Idle::spin}, {"adaptive", Idle::adaptive}}});
}

Notation<ChecksumOffload> checksum_offload() {
    return one_of<ChecksumOffload, 2>({{{"auto", ChecksumOffload::automatic}, {"off", ChecksumOffload::off}}});
}

Notation<Rss> rss() {
    return one_of<Rss, 3>({{{"auto", Rss::automatic}, {"device", Rss::device}, {"software", Rss::software}}});
}

Notation<tcp::CongestionControl> congestion() {
    using tcp::CongestionControl;
    return one_of<CongestionControl, 2>({{{"cubic", CongestionControl::cubic}, {"new_reno", CongestionControl::new_reno}}});
}

Notation<std::optional<tcp::CongestionControl>> congestion_or_default() {
    using Choice = std::optional<tcp::CongestionControl>;
    return one_of<Choice, 3>({{{"default", Choice{}},
                               {"cubic", Choice{tcp::CongestionControl::cubic}},
                               {"new_reno", Choice{tcp::CongestionControl::new_reno}}}});
}

Notation<tcp::SynCookieMode> syn_cookie_mode() {
    using tcp::SynCookieMode;
    return one_of<SynCookieMode, 3>({{{"adaptive", SynCookieMode::adaptive},
                                      {"always", SynCookieMode::always},
                                      {"never", SynCookieMode::never}}});
}

Notation<std::string> plain_text(std::string what, size_t shortest) {
    return {std::move(what),
            [shortest](std::string_view text) {
                return has_control(text) || text.size() < shortest ? std::nullopt : std::optional{std::string{text}};
            },
            [](const std::string& text) { return text; }};
}

Notation<std::string> any_text(std::string what) {
    return {std::move(what), [](std::string_view text) { return std::optional{std::string{text}}; },
            [](const std::string& text) { return text; }};
}

Notation<std::string> control_socket() {
    return {R"("auto", "off" or a path from the root such as "/run/pollux/a.sock", of at most 107 bytes)",
            [](std::string_view text) {
                const bool path = text.starts_with('/') && text.size() > 1 && text.size() < 108 && !has_control(text);
                return path || text == "auto" || text == "off" ? std::optional{std::string{text}} : std::nullopt;
            },
            [](const std::string& text) { return text; }};
}

Notation<std::string> url_path() {
    return {R"(a path such as "/index.html", without blanks, "?" and "#")",
            [](std::string_view text) {
                const bool good = text.starts_with('/') && !has_control(text) &&
                                  text.find_first_of(" ?#") == std::string_view::npos;
                return good ? std::optional{std::string{text}} : std::nullopt;
            },
            [](const std::string& text) { return text; }};
}

}  // namespace pollux::config
