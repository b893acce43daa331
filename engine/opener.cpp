#include "engine/opener.hpp"

#include <algorithm>

namespace pollux::engine {

using tcp::ConnId;
using tcp::Endpoint;
using tcp::FourTuple;
using tcp::Instant;
using tcp::IpAddress;
using tcp::Tally;

Opener::Opener(tcp::Stack& stack, tcp::Counters& counters, std::span<const Interface> interfaces,
               const LocalAddresses& addresses, const Crossing& crossing)
    : stack_(stack),
      counters_(counters),
      interfaces_(interfaces),
      addresses_(addresses),
      owners_(crossing.side ? crossing.owners : std::span<const Ownership>{}),
      worker_(crossing.side ? crossing.side->worker() : 0) {}

ConnId Opener::connect(const Endpoint& remote, Instant now) {
    if (!is_another_host(remote.address)) return refuse(Tally::connects_forbidden);
    const auto way = way_to(remote.address);
    return way ? open(*way, remote, now) : refuse(Tally::connects_unroutable);
}

ConnId Opener::connect(const IpAddress& local, const Endpoint& remote, Instant now) {
    if (!is_another_host(remote.address)) return refuse(Tally::connects_forbidden);
    for (const Interface& interface : interfaces_) {
        if (may_use(interface, local) && interface.next_hop(remote.address))
            return open({&interface, local}, remote, now);
    }
    return refuse(Tally::connects_unroutable);
}

std::optional<IpAddress> Opener::source_for(const IpAddress& remote) const {
    const auto way = way_to(remote);
    return way ? std::optional{way->source} : std::nullopt;
}

// A link of ours before any gateway.
std::optional<Opener::Way> Opener::way_to(const IpAddress& remote) const {
    for (const bool on_link : {true, false}) {
        for (const Interface& interface : interfaces_) {
            if (interface.is_on_link(remote) != on_link) continue;
            const auto hop = interface.next_hop(remote);
            const auto source = hop ? source_on(interface, *hop, remote) : std::nullopt;
            if (source) return Way{&interface, *source};
        }
    }
    return {};
}

// RFC 6724 section 5, as far as one link and a handful of addresses need it: rule 2, an address that means something
// where the peer is; rule 8, one of the same network.
std::optional<IpAddress> Opener::source_on(const Interface& interface, const IpAddress& hop,
                                           const IpAddress& remote) const {
    if (hop.is_v4()) {
        const auto source = interface.source_for(hop.v4());
        return source ? std::optional{IpAddress::from_v4(*source)} : std::nullopt;
    }
    std::optional<IpAddress> chosen;
    for (const config::Prefix& network : interface.networks_v6) {
        if (!may_use(interface, network.address)) continue;
        if (network.address.is_link_local() && !remote.is_link_local()) continue;
        if (network.contains(hop) && network.contains(remote)) return network.address;
        if (!chosen) chosen = network.address;
    }
    return chosen;
}

bool Opener::may_use(const Interface& interface, const IpAddress& local) const {
    return local.is_v4() ? interface.is_ours(local) : addresses_.is_usable(interface, local);
}

// RFC 9293 MUST-46; and neither loopback (RFC 1122 section 3.2.1.3) nor what we would have to tell ourselves: nothing
// of ours turns frames around.
bool Opener::is_another_host(const IpAddress& remote) const {
    return !remote.is_loopback() &&
           std::none_of(interfaces_.begin(), interfaces_.end(), [&](const Interface& interface) {
               return interface.is_ours(remote) || (remote.is_v4() && interface.is_broadcast(remote.v4()));
           });
}

ConnId Opener::refuse(Tally why) {
    counters_.add(why);
    return {};
}

ConnId Opener::open(const Way& way, const Endpoint& remote, Instant now) {
    if (owners_.empty()) return stack_.connect(way.source, remote, now);
    const Ownership& ownership = owners_[way.interface->index];
    return stack_.connect(way.source, remote, now,
                          [&](const FourTuple& flow) { return ownership.owner_of(flow, worker_) == worker_; });
}

}  // namespace pollux::engine
