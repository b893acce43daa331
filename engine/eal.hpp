// Eal: DPDK's environment, started from the settings and ended with the object. One per process: EAL cannot be
// started twice.
//
// What is decided here: no PCI device is probed unless one is configured (or the machine's own NIC would be); each
// process has a file prefix of its own; huge pages are unlinked as soon as they are mapped, and where there are none
// ordinary memory serves; nothing of DPDK is left in the file system, even after a kill -9: no shared configuration,
// no telemetry socket, and the runtime directory goes at once. What the user passes through comes last and wins.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "config/settings.hpp"

namespace pollux::engine {

/// Huge pages that are free on this machine, and whether a hugetlbfs is mounted to get them from.
enum class HugePages : uint8_t { none, mounted, unmounted };
HugePages free_huge_pages();

/// The arguments that Eal starts with, program name first. `bytes` is what the packet pools will need, for when EAL
/// is not left to decide.
std::vector<std::string> eal_arguments(const config::Settings& settings, HugePages pages, size_t bytes);

/// The name of this process among the files of EAL and ours.
std::string prefix_of(const config::Eal& eal);

/// Whether the user asked for DPDK's log; otherwise it stays quiet.
bool wants_log(const config::Eal& eal);

class Eal {
public:
    /// Throws one sentence that says what to do. `bytes` as above.
    Eal(const config::Settings& settings, size_t bytes);
    ~Eal();
    Eal(const Eal&) = delete;
    Eal& operator=(const Eal&) = delete;

    /// What the user should know though it works; empty: nothing.
    const std::string& notice() const { return notice_; }
    /// The last line that EAL logged while it started: why a device is missing, if one is.
    const std::string& last_words() const { return last_words_; }

private:
    std::string notice_, last_words_;
};

}  // namespace pollux::engine
