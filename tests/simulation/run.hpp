// One run: a Scenario played from its first SYN until nothing is left, event by event under virtual time. The verdict
// is a value. The hash is over every packet that was sent and every packet that arrived, with its time: a replay is
// the same run if and only if the hashes are the same.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tests/simulation/scenario.hpp"
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

Outcome run(const Scenario& scenario, Record* record = nullptr);

/// The command that plays this scenario again.
std::string replay_command(uint64_t seed, std::span<const std::string> without);

}  // namespace pollux::simulation
