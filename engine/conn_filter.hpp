// ConnFilter: which connections a tool wants to see, by state, address and port. It is applied where the answers are
// written, never by a worker. No DPDK in here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "config/settings.hpp"
#include "tcp/segment.hpp"
#include "tcp/state.hpp"

namespace pollux::engine {

/// "syn-received": the RFC's name in lower case, as tools write it.
std::string lower_name(tcp::State state);
/// The states behind such a name; "synchronized" stands for all but syn-sent and syn-received.
std::optional<tcp::State> states_named(std::string_view name);
/// All that states_named() reads, with commas.
std::string state_names();

/// One end: a network, a port, both or nothing.
struct EndFilter {
    std::optional<config::Prefix> network;
    std::optional<uint16_t> port;

    /// "192.0.2.1", "192.0.2.0/24", "192.0.2.1:80", "*:80", "2001:db8::/32", "[2001:db8::1]:80",
    /// "[2001:db8::]/32:80".
    static std::optional<EndFilter> parse(std::string_view text);
    bool matches(const tcp::IpAddress& address, uint16_t at_port) const {
        return (!network || network->contains(address)) && (!port || *port == at_port);
    }
};

struct ConnFilter {
    std::optional<tcp::State> states;  // nothing: any
    EndFilter local, peer;
    std::optional<uint16_t> port;  // of either end

    bool wants(tcp::State state) const { return !states || tcp::in(state, *states); }
    bool matches(tcp::State state, const tcp::FourTuple& flow) const {
        return wants(state) && local.matches(flow.local_addr, flow.local_port) &&
               peer.matches(flow.remote_addr, flow.remote_port) &&
               (!port || *port == flow.local_port || *port == flow.remote_port);
    }
};

}  // namespace pollux::engine
