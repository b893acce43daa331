#include "engine/conn_filter.hpp"

#include <array>
#include <charconv>
#include <utility>

namespace pollux::engine {
namespace {

using tcp::State;

constexpr std::array all_states{State::syn_sent,   State::syn_received, State::established,
                                State::fin_wait_1, State::fin_wait_2,   State::close_wait,
                                State::closing,    State::last_ack,     State::time_wait};

template <class N>
std::optional<N> number(std::string_view text, N most) {
    uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size() || value > most) return {};
    return static_cast<N>(value);
}

// "ADDRESS" and the rest behind it, brackets taken off.
std::optional<std::pair<std::string_view, std::string_view>> split_address(std::string_view text) {
    if (text.starts_with('[')) {
        const size_t end = text.find(']');
        if (end == text.npos || text.substr(1, end).find(':') == text.npos) return {};
        return std::pair{text.substr(1, end - 1), text.substr(end + 1)};
    }
    // With two colons it is an IPv6 address without a port.
    const bool v6 = text.find(':') != text.rfind(':');
    const size_t end = std::min(text.find_first_of(v6 ? "/" : "/:"), text.size());
    return std::pair{text.substr(0, end), text.substr(end)};
}

}  // namespace

std::string lower_name(State state) {
    std::string text{tcp::name(state)};
    for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return text;
}

std::optional<State> states_named(std::string_view name) {
    if (name == "synchronized") {
        State states = State::closed;
        for (const State state : all_states) {
            if (!tcp::in(state, State::syn_sent | State::syn_received)) states = states | state;
        }
        return states;
    }
    for (const State state : all_states) {
        if (lower_name(state) == name) return state;
    }
    return {};
}

std::string state_names() {
    std::string names;
    for (const State state : all_states) names += lower_name(state) + ", ";
    return names + "synchronized";
}

std::optional<EndFilter> EndFilter::parse(std::string_view text) {
    const auto parts = split_address(text);
    if (!parts) return {};
    auto [address_text, rest] = *parts;
    EndFilter filter;
    const bool any = address_text == "*" || address_text.empty();
    if (!any) {
        const auto address = tcp::IpAddress::parse(address_text);
        if (!address) return {};
        filter.network = config::Prefix{*address, uint8_t(address->is_v4() ? 32 : 128)};
    }
    if (rest.starts_with('/')) {
        const size_t end = std::min(rest.find(':'), rest.size());
        const auto length = any ? std::nullopt : number<uint8_t>(rest.substr(1, end - 1), filter.network->length);
        if (!length) return {};
        filter.network->length = *length;
        rest.remove_prefix(end);
    }
    if (rest.starts_with(':')) {
        filter.port = number<uint16_t>(rest.substr(1), 65'535);
        if (!filter.port) return {};
        rest = {};
    }
    return rest.empty() && (filter.network || filter.port) ? std::optional{filter} : std::nullopt;
}

}  // namespace pollux::engine
