// Station: one host of a run: a Stack, its Application, and the Checks of what passes between it and the network,
// driven one turn at a time as a worker drives it. It is what tests/support/host.hpp is to conversations, for two
// hosts with addresses and secrets of their own, a transmit ring that can be full, and failures as values.
#pragma once

#include <optional>
#include <vector>

#include "tcp/stack.hpp"
#include "tests/simulation/application.hpp"
#include "tests/simulation/checks.hpp"
#include "tests/support/packet_log.hpp"

namespace pollux::simulation {

using test::Packet;

class Station {
public:
    Station(const Scenario& scenario, Side side, Judge& judge);

    /// One turn with at most one burst. What leaves is appended to `sent`.
    void turn(tcp::Instant now, std::vector<Packet>& burst, std::vector<Packet>& sent);
    /// Whether another turn at the same time would do something.
    bool is_busy() const { return busy_; }
    /// When it wants a turn of its own accord; nothing: never.
    std::optional<tcp::Instant> next_due(tcp::Instant now) const;
    /// When it looks at a packet that arrives at `arrival`.
    tcp::Instant takes_at(tcp::Instant arrival) const;
    uint32_t burst() const { return plan_.burst; }

    tcp::Stack& stack() { return stack_; }
    const tcp::Stack& stack() const { return stack_; }
    const tcp::Counters& counters() const { return counters_; }
    Application& application() { return application_; }
    const Application& application() const { return application_; }
    const Checks& checks() const { return checks_; }

private:
    void hears(std::vector<Packet>& burst, tcp::Instant now);
    void sends(tcp::Instant now, std::vector<Packet>& sent);
    /// How much may leave now, and until when that holds.
    uint32_t room(tcp::Instant now) const;
    tcp::Instant ring_changes_at(tcp::Instant now) const;

    const Scenario& scenario_;
    const HostPlan& plan_;
    Judge& judge_;
    tcp::Counters counters_;
    tcp::Stack stack_;
    Application application_;
    Checks checks_;
    tcp::TxBatch out_;
    std::vector<tcp::Segment> segments_;
    const Fault* full_ring_;
    const Fault* coalescing_;
    bool busy_ = false, waits_for_ring_ = false;
};

}  // namespace pollux::simulation
