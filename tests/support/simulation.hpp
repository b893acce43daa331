// Simulation: one Host and reference clients with a Link in each direction, driven by events. Time jumps to the next
// arrival or deadline; nothing in it is random but what the seed says.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/host.hpp"
#include "tests/support/link.hpp"
#include "tests/support/reference_client.hpp"

namespace pollux::test {

class Simulation {
public:
    Simulation(const tcp::StackSettings& settings, Application& application, const Impairments& both_ways,
               uint64_t seed);

    ReferenceClient& adds_client(uint16_t port, const ReferenceClient::Options& options);
    /// On the way to the clients there is a link further on that takes no packet larger than `mtu`: those are
    /// dropped, and the router before it says so, by the same bad network. Not `named`: it predates RFC 1191.
    void narrows(uint32_t mtu, bool named = true) { narrowest_ = mtu, names_mtu_ = named; }
    /// Called in each step.
    void meddles(std::function<void()> meddler) { meddler_ = std::move(meddler); }
    uint64_t too_big() const { return too_big_; }
    /// Runs until every client is done (true), or one was reset or the time is over (false).
    bool runs(tcp::Duration longest);
    /// Runs on, clients answering, until the time is over.
    void settles(tcp::Duration time);

    tcp::Instant now() const { return now_; }
    Host& host() { return host_; }
    const Link& to_host() const { return to_host_; }
    const Link& to_clients() const { return to_clients_; }
    PacketLog& log() { return log_; }
    std::string describe() const;

private:
    void step();
    void travels_to_clients(const Packet& packet);
    bool moves_time(tcp::Instant end);

    Host host_;
    Link to_host_, to_clients_;
    std::vector<std::pair<tcp::Endpoint, std::unique_ptr<ReferenceClient>>> clients_;
    tcp::Instant now_;
    PacketLog log_;
    uint32_t narrowest_ = ~0u;
    bool names_mtu_ = true;
    uint64_t too_big_ = 0;
    std::function<void()> meddler_;
};

}  // namespace pollux::test
