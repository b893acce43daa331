#include "engine/eal.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string_view>

#include "engine/caught_log.hpp"
#include "engine/dpdk.hpp"
#include "engine/sentence.hpp"

namespace pollux::engine {
namespace {

namespace fs = std::filesystem;

bool has_argument(const std::vector<std::string>& args, std::string_view name) {
    return std::any_of(args.begin(), args.end(), [&](const std::string& arg) {
        return arg == name || (arg.starts_with(name) && arg.size() > name.size() && arg[name.size()] == '=');
    });
}

std::string core_list(const std::vector<uint16_t>& cores) {
    std::string list;
    for (const uint16_t core : cores) list += (list.empty() ? "" : ",") + std::to_string(core);
    return list;
}

// Where EAL keeps its files, as it decides itself.
fs::path runtime_folder(const std::string& prefix) {
    if (geteuid() == 0) return fs::path{"/var/run/dpdk"} / prefix;
    const char* user = std::getenv("XDG_RUNTIME_DIR");
    return fs::path{user ? user : "/tmp"} / "dpdk" / prefix;
}

// EAL prints two screens of usage when it does not like an argument. They go nowhere.
class NoUsage {
public:
    NoUsage() {
        std::fflush(stdout);
        stdout_ = dup(STDOUT_FILENO);
        const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        if (stdout_ >= 0 && null >= 0) dup2(null, STDOUT_FILENO);
        if (null >= 0) close(null);
    }
    ~NoUsage() {
        std::fflush(stdout);
        if (stdout_ < 0) return;
        dup2(stdout_, STDOUT_FILENO);
        close(stdout_);
    }
    NoUsage(const NoUsage&) = delete;
    NoUsage& operator=(const NoUsage&) = delete;

private:
    int stdout_ = -1;
};

void check_cores(const std::vector<uint16_t>& cores) {
    for (const uint16_t core : cores) {
        if (fs::exists("/sys/devices/system/cpu/cpu" + std::to_string(core))) continue;
        throw std::runtime_error("eal.cores names core " + std::to_string(core) +
                                 ", which this machine does not have");
    }
}

// What to do about a start that failed.
std::string advice(const std::string& log, const config::Settings& settings) {
    const auto says = [&](std::string_view words) { return log.find(words) != std::string::npos; };
    const std::string cores = core_list(settings.eal.cores);
    if (says("Cannot create lock on") || says("Is another primary process running")) {
        return "another process uses the file prefix " + prefix_of(settings.eal) +
               ": give each its own eal.file_prefix, or leave it out";
    }
    if (says("invalid core list") || says("lcore") || says("is not present") || says("not available")) {
        return "the machine does not have all of the cores " + cores +
               ": choose among those that `nproc --all` counts";
    }
    if (says("failed to probe") || says("vdev_probe") || says("Failed to create") ||
        says("Bus (vdev) probe failed") || says("Unable to parse device")) {
        return "a device could not be made: check [[port]] device; net_tap needs root and /dev/net/tun";
    }
    if (says("Cannot get hugepage information") || says("hugepage") || says("memory")) {
        return "it got too little memory: reserve huge pages (echo 512 > /proc/sys/vm/nr_hugepages), lower "
               "eal.memory, "
               "or set eal.huge_pages = false";
    }
    if (says("Permission denied") || geteuid() != 0) {
        return "it may need privileges: start it as root, or with eal.huge_pages = false and devices that need none";
    }
    return "check eal.args, or add --log-level=lib.eal:debug to them to see more";
}

}  // namespace

std::string prefix_of(const config::Eal& eal) {
    return eal.file_prefix.empty() ? "pollux-" + std::to_string(getpid()) : eal.file_prefix;
}

bool wants_log(const config::Eal& eal) { return has_argument(eal.args, "--log-level"); }

HugePages free_huge_pages() {
    uint64_t pages = 0;
    std::error_code error;
    for (const auto& folder : fs::directory_iterator{"/sys/kernel/mm/hugepages", error}) {
        std::ifstream file{folder.path() / "free_hugepages"};
        uint64_t count = 0;
        if (file >> count) pages += count;
    }
    if (pages == 0) return HugePages::none;
    std::ifstream mounts{"/proc/mounts"};
    for (std::string line; std::getline(mounts, line);) {
        if (line.find(" hugetlbfs ") != line.npos) return HugePages::mounted;
    }
    return HugePages::unmounted;
}

std::vector<std::string> eal_arguments(const config::Settings& settings, HugePages pages, size_t bytes) {
    const config::Eal& eal = settings.eal;
    std::vector<std::string> args{"pollux", "-l", core_list(eal.cores)};
    if (!eal.cores.empty()) args.insert(args.end(), {"--main-lcore", std::to_string(eal.cores.front())});
    args.insert(args.end(), {"--file-prefix", prefix_of(eal), "--no-shconf"});
    if (!has_argument(eal.args, "--telemetry")) args.push_back("--no-telemetry");
    if (!wants_log(eal)) args.push_back("--log-level=error");

    const bool huge = eal.huge_pages && pages != HugePages::none;
    if (!huge) {
        args.push_back("--no-huge");  // excludes --in-memory and --socket-mem
    } else if (pages == HugePages::mounted) {
        args.push_back("--huge-unlink=always");
    } else {
        args.push_back("--in-memory");  // huge pages without a file
    }
    if (eal.memory_mb != 0 || !huge) {
        // Rings and queues of the devices come on top of the packets.
        const size_t needed = (bytes >> 20) + (bytes >> 22) + 32;
        const size_t mb = eal.memory_mb != 0 ? eal.memory_mb : std::max<size_t>(needed, 64);
        args.insert(args.end(), {"-m", std::to_string(mb)});
    }

    bool pci = false;
    for (const config::Port& port : settings.ports) {
        args.insert(args.end(), {port.is_pci() ? "-a" : "--vdev", port.device});
        pci = pci || port.is_pci();
    }
    if (!pci) args.push_back("--no-pci");
    args.insert(args.end(), eal.args.begin(), eal.args.end());
    return args;
}

Eal::Eal(const config::Settings& settings, size_t bytes) {
    check_cores(settings.eal.cores);
    const HugePages pages = free_huge_pages();
    if (settings.eal.huge_pages && pages == HugePages::none) {
        notice_ =
            "no huge pages are free, so ordinary memory serves (slower; echo 512 > /proc/sys/vm/nr_hugepages "
            "reserves "
            "some)";
    }
    std::vector<std::string> args = eal_arguments(settings, pages, bytes);
    std::vector<char*> argv;
    for (std::string& arg : args) argv.push_back(arg.data());
    argv.push_back(nullptr);

    const CaughtLog log{!wants_log(settings.eal)};
    const int used = [&] {
        const NoUsage quiet;
        return rte_eal_init(static_cast<int>(args.size()), argv.data());
    }();
    const int error = rte_errno;
    last_words_ = log.last_line();
    // Empty, or only of use to secondary processes, which there are none of without a shared configuration.
    std::error_code ignored;
    if (!has_argument(settings.eal.args, "--telemetry"))
        fs::remove_all(runtime_folder(prefix_of(settings.eal)), ignored);
    if (used >= 0) return;
    throw std::runtime_error("DPDK does not start: " + advice(log.text(), settings) +
                             (last_words_.empty() ? " (" + errno_text(error) + ")" : " (" + last_words_ + ")"));
}

Eal::~Eal() { rte_eal_cleanup(); }

}  // namespace pollux::engine
