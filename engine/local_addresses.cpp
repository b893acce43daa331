#include "engine/local_addresses.hpp"

#include <algorithm>

namespace pollux::engine {

LocalAddresses::LocalAddresses(std::span<const Interface> interfaces) : interfaces_(interfaces) {
    for (const Interface& interface : interfaces) {
        const State first = interface.detects_duplicates ? State::tentative : State::usable;
        states_.emplace_back(interface.networks_v6.size(), first);
    }
}

bool LocalAddresses::begin(tcp::Instant now) {
    if (begun_) return false;
    begun_ = true;
    const bool any = std::any_of(interfaces_.begin(), interfaces_.end(),
                                 [](const Interface& interface) { return !interface.networks_v6.empty(); });
    if (any) due_ = now + wait;
    return any;
}

bool LocalAddresses::advance(tcp::Instant now) {
    if (!due_ || now < *due_) return false;
    due_.reset();
    for (auto& states : states_) std::replace(states.begin(), states.end(), State::tentative, State::usable);
    return true;
}

std::optional<tcp::IpAddress> LocalAddresses::source_for(const Interface& interface, const tcp::IpAddress& v6) const {
    std::optional<tcp::IpAddress> any;
    for (const config::Prefix& network : interface.networks_v6) {
        if (!is_usable(interface, network.address)) continue;
        if (network.contains(v6)) return network.address;
        if (!any) any = network.address;
    }
    return any;
}

bool LocalAddresses::object(const Interface& interface, const tcp::IpAddress& v6) {
    const auto place = interface.index_of(v6);
    if (!place || states_[interface.index][*place] != State::tentative) return false;
    states_[interface.index][*place] = State::duplicate;
    return true;
}

void LocalAddresses::give_up(const Interface& interface, const tcp::IpAddress& v6) {
    if (const auto place = interface.index_of(v6)) states_[interface.index][*place] = State::duplicate;
}

uint64_t LocalAddresses::duplicates() const {
    uint64_t bits = 0, bit = 1;
    for (const auto& states : states_) {
        for (const State state : states) {
            if (state == State::duplicate) bits |= bit;
            bit <<= 1;
        }
    }
    return bits;
}

}  // namespace pollux::engine
