// One run: a Scenario played from its first SYN until nothing is left, event by event under virtual time. The verdict
// is a value. The hash is over every packet that was sent and every packet that arrived, with its time: a replay is
// the same run if and only if the hashes are the same.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "tests/simulation/scenario.hpp"
#include "tests/simulation/station.hpp"
#include "tests/support/packet_log.hpp"

namespace pollux::simulation {

struct Outcome {
    std::string complaint;  // empty: everything held
    tcp::Duration at{};     // of the complaint, since the start
    uint64_t hash = 0;
    uint64_t packets = 0;
    tcp::Duration duration{};  // virtual
    bool ok() const { return complaint.empty(); }
};

/// What a failure leaves for people; runs without it are faster.
struct Record {
    test::PacketLog packets;
    std::vector<std::string> events;

    /// Writes seed-N.pcap, seed-N.ladder and seed-N.log into `folder`; returns where.
    std::string write(const std::filesystem::path& folder, const Scenario& scenario, const Outcome& outcome) const;
};

/// What a run looks like just after a turn of a station, with all that left in it.
struct Turn {
    uint64_t number;  // of this run
    tcp::Instant at;
    Side side;
    const Station& station;
    uint64_t frames;  // the hash so far
};
using Onlooker = std::function<void(const Turn&)>;

Outcome run(const Scenario& scenario, Record* record = nullptr, const Onlooker& onlooker = {});

/// How a scenario is played: run(), or run_both_ways() of both_ways.hpp.
using Play = std::function<Outcome(const Scenario&, Record*)>;
inline Outcome run_once(const Scenario& scenario, Record* record) { return run(scenario, record); }

/// The command that plays this scenario again.
std::string replay_command(uint64_t seed, std::span<const std::string> without, bool both_ways = false);

}  // namespace pollux::simulation
