// Opener: how the application of one worker asks peers for connections. The stack knows neither which addresses are
// ours nor where answers come in; this does. It chooses
//
//   the port      on whose link the peer is, else one with a gateway of the peer's family
//   the address   of ours on it that may be used, on the network of the next hop if there is one
//   the local     among those that RFC 6056 offers (tcp/port_chooser.hpp), one with which the answer comes home: to
//   port number   the worker that asked. With `software` owners the flow's hash must name this worker, so that
//   whoever
//                 receives the answer hands it here; with `device` the device's own hash must lead to our queue
//
// The SYN leaves like everything that has no path yet: egress asks the neighbour cache for the next hop, and one that
// does not answer ends the attempt as `unreachable`. With the SYN-ACK the connection has its path.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "engine/ingress.hpp"
#include "engine/interface.hpp"
#include "engine/local_addresses.hpp"
#include "tcp/counters.hpp"
#include "tcp/stack.hpp"

namespace pollux::engine {

class Opener {
public:
    /// Refers to all of its arguments but the crossing, one worker's way to the others.
    Opener(tcp::Stack& stack, tcp::Counters& counters, std::span<const Interface> interfaces,
           const LocalAddresses& addresses, const Crossing& crossing);
    Opener(const Opener&) = delete;
    Opener& operator=(const Opener&) = delete;

    /// As Stack::connect(), from an address and a port number of ours that lead to `remote` and back. An empty
    /// ConnId: not begun, and a Tally says why.
    tcp::ConnId connect(const tcp::Endpoint& remote, tcp::Instant now);
    /// The same from an address of ours (RFC 9293 MUST-43).
    tcp::ConnId connect(const tcp::IpAddress& local, const tcp::Endpoint& remote, tcp::Instant now);

    /// The address of ours from which `remote` would be asked now; nothing: none leads there, or none yet (an IPv6
    /// address that the link is still being asked about).
    std::optional<tcp::IpAddress> source_for(const tcp::IpAddress& remote) const;

private:
    struct Way {
        const Interface* interface;
        tcp::IpAddress source;
    };

    std::optional<Way> way_to(const tcp::IpAddress& remote) const;
    std::optional<tcp::IpAddress> source_on(const Interface& interface, const tcp::IpAddress& hop,
                                            const tcp::IpAddress& remote) const;
    bool may_use(const Interface& interface, const tcp::IpAddress& local) const;
    bool is_another_host(const tcp::IpAddress& remote) const;
    tcp::ConnId refuse(tcp::Tally why);
    tcp::ConnId open(const Way& way, const tcp::Endpoint& remote, tcp::Instant now);

    tcp::Stack& stack_;
    tcp::Counters& counters_;
    std::span<const Interface> interfaces_;
    const LocalAddresses& addresses_;
    std::span<const Ownership> owners_;  // of each interface; none: one worker owns everything
    uint32_t worker_;
};

}  // namespace pollux::engine
