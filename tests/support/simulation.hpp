// Simulation: one Host and reference clients with a Link in each direction, driven by events. Time jumps to the next
// arrival or deadline; nothing in it is random but what the seed says.
#pragma once

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
    bool moves_time(tcp::Instant end);

    Host host_;
    Link to_host_, to_clients_;
    std::vector<std::pair<tcp::Endpoint, std::unique_ptr<ReferenceClient>>> clients_;
    tcp::Instant now_;
    PacketLog log_;
};

}  // namespace pollux::test
