#include "tests/support/simulation.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/router.hpp"

namespace pollux::test {

using namespace tcp;

Simulation::Simulation(const StackSettings& settings, Application& application, const Impairments& both_ways,
                       uint64_t seed)
    : host_(settings, application),
      to_host_(both_ways, seed * 2 + 1),
      to_clients_(both_ways, seed * 2 + 2),
      now_(start_for_isn(settings, SeqNum{0xffff'8000})) {}

ReferenceClient& Simulation::adds_client(uint16_t port, const ReferenceClient::Options& options) {
    const Endpoint endpoint{peer_endpoint.address, port};
    const FourTuple flow{host_endpoint.address, endpoint.address, host_endpoint.port, endpoint.port};
    clients_.emplace_back(endpoint, std::make_unique<ReferenceClient>(flow, options));
    clients_.back().second->opens(now_);
    return *clients_.back().second;
}

void Simulation::travels_to_clients(const Packet& packet) {
    if (packet.size() <= narrowest_) return to_clients_.sends(now_, packet);
    ++too_big_;
    log_.note(now_, "too big for the link of " + std::to_string(narrowest_));
    to_host_.sends(now_, too_big_about(packet, names_mtu_ ? narrowest_ : 0));
}

void Simulation::step() {
    std::vector<Packet> sent;
    if (meddler_) meddler_();
    for (auto& [endpoint, client] : clients_) {
        sent.clear();
        client->works(now_, sent);
        for (const Packet& packet : sent) {
            const auto parsed = wire::parse(packet, wire::ChecksumTrust::verify_all);
            log_.add(now_, Direction::to_host, packet, to_string(parsed.segment));
            to_host_.sends(now_, packet);
        }
    }
    for (bool busy = true; busy;) {
        sent.clear();
        busy = host_.turn(now_, to_host_.arrivals(now_), sent);
        for (const Packet& packet : sent) {
            const auto parsed = wire::parse(packet, wire::ChecksumTrust::verify_all);
            ASSERT_EQ(parsed.result, wire::ParseResult::ok) << "the host has sent a bad packet";
            log_.add(now_, Direction::to_peer, packet, to_string(parsed.segment));
            travels_to_clients(packet);
        }
        const auto next = to_host_.next_arrival();
        busy = busy || (next && *next <= now_);
    }
    for (const Packet& packet : to_clients_.arrivals(now_, 1'000)) {
        const auto parsed = wire::parse(packet, wire::ChecksumTrust::verify_all);
        if (parsed.result != wire::ParseResult::ok) continue;
        const Endpoint to{parsed.segment.flow.local_addr, parsed.segment.flow.local_port};
        const auto client = std::ranges::find_if(clients_, [&](const auto& c) { return c.first == to; });
        if (client != clients_.end()) client->second->receives(parsed.segment, now_);
    }
    for (auto& [endpoint, client] : clients_) {
        sent.clear();
        client->works(now_, sent);
        for (const Packet& packet : sent) {
            const auto parsed = wire::parse(packet, wire::ChecksumTrust::verify_all);
            log_.add(now_, Direction::to_host, packet, to_string(parsed.segment));
            to_host_.sends(now_, packet);
        }
    }
}

bool Simulation::moves_time(Instant end) {
    Instant next = end;
    const auto consider = [&next](std::optional<Instant> due) {
        if (due && *due < next) next = *due;
    };
    consider(to_host_.next_arrival());
    consider(to_clients_.next_arrival());
    consider(host_.stack().next_due(now_));
    for (const auto& [endpoint, client] : clients_) consider(client->next_due());
    if (next >= end) return false;
    // At least one microsecond: what is due now has had its turn.
    now_ = std::max(next, now_ + Duration{1});
    return true;
}

bool Simulation::runs(Duration longest) {
    const Instant end = now_ + longest;
    do {
        step();
        if (testing::Test::HasFatalFailure()) return false;
        const bool reset = std::ranges::any_of(clients_, [](const auto& c) { return c.second->was_reset(); });
        if (reset) return false;
        if (std::ranges::all_of(clients_, [](const auto& c) { return c.second->is_done(); })) return true;
    } while (moves_time(end));
    return false;
}

void Simulation::settles(Duration time) {
    const Instant end = now_ + time;
    do {
        step();
    } while (!testing::Test::HasFatalFailure() && moves_time(end));
    now_ = end;
    step();
}

std::string Simulation::describe() const {
    std::string text = "after " + std::to_string(now_.time_since_epoch().count()) + " us:";
    for (const auto& [endpoint, client] : clients_) text += "\n  " + endpoint.to_string() + " " + client->describe();
    return text;
}

}  // namespace pollux::test
