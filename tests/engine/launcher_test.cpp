// A whole engine from settings to exit, on two cores where there are two, without privileges: net_ring hands every
// frame back to its sender, so it talks to nobody. EAL starts once per process, so this program has one engine.
#include "engine/launcher.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

namespace pollux::testing {
namespace {

struct Counting {
    // The first worker, which is the one that asks for our addresses, is slow to start.
    explicit Counting(const engine::WorkerContext& context) : index(context.index), workers(context.workers) {
        if (index == 0) std::this_thread::sleep_for(std::chrono::milliseconds{200});
        ++made;
    }
    struct Report {
        uint64_t turns = 0, workers = 0, drains = 0;
        Report& operator+=(const Report& other) {
            turns += other.turns;
            workers += other.workers;
            drains += other.drains;
            return *this;
        }
    };
    void on_turn(std::span<const tcp::Event>, tcp::Stack&, tcp::Instant) {
        ++turns;
        if (made < workers) ++early;
    }
    std::optional<tcp::Instant> next_due() const { return {}; }
    void drain(tcp::Stack&, tcp::Instant) { ++drains; }
    Report report() const { return {turns, 1, drains}; }

    static inline std::atomic<uint32_t> made{0}, early{0};
    uint32_t index, workers;
    uint64_t turns = 0, drains = 0;
};

// The first bytes of what the control socket answers, which is all for a short answer.
std::string ask(const std::string& path, const std::string& request) {
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    char answer[512];
    ssize_t got = -1;
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
        send(fd, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size())) {
        got = recv(fd, answer, sizeof answer, 0);
    }
    close(fd);
    return got < 0 ? std::string{} : std::string(answer, static_cast<size_t>(got));
}

TEST(Launcher, RunsAWorkerOnEachCoreUntilTheSignalAndLeavesNothingBehind) {
    const auto workers = static_cast<uint16_t>(std::min(2u, std::thread::hardware_concurrency()));
    config::Settings settings;
    settings.eal.huge_pages = false;
    settings.eal.cores.clear();
    for (uint16_t core = 0; core < workers; ++core) settings.eal.cores.push_back(core);
    settings.engine.packet_buffers = 4096;
    settings.engine.control_socket = "/tmp/pollux-test-" + std::to_string(getpid()) + ".sock";
    settings.tcp.capacity.connections = 64;
    settings.ports.resize(1);
    settings.ports[0].device = "net_ring0";
    settings.ports[0].addresses = {{tcp::IpAddress::from_v4(0xc000'0201), 24}};
    settings.listens.resize(1);
    settings.listens[0].port = 80;

    engine::Options<Counting> options;
    options.interval = std::chrono::milliseconds{50};
    int started = 0;
    std::vector<engine::Status<Counting>> seen;
    std::string answer;
    options.on_started = [&] {
        ++started;
        answer = ask(settings.engine.control_socket, "{\"command\":\"conns\",\"summary\":true}\n");
    };
    options.on_status = [&](const engine::Status<Counting>& status) {
        seen.push_back(status);
        if (seen.size() == 4) raise(SIGTERM);
    };
    engine::run<Counting>(
        settings, [](const engine::WorkerContext& context) { return Counting{context}; }, options);

    EXPECT_EQ(started, 1);
    EXPECT_EQ(Counting::early, 0u) << "turns were taken before all workers were there";
    EXPECT_EQ(answer, "{\"end\":\"conns\",\"rows\":0,\"cut\":false,\"workers\":" + std::to_string(workers) +
                          ",\"pid\":" + std::to_string(getpid()) + "}\n");
    EXPECT_NE(access(settings.engine.control_socket.c_str(), F_OK), 0) << "the control socket is still there";
    ASSERT_GE(seen.size(), 5u) << "the last status comes after the workers have ended";
    const auto& last = seen.back();
    EXPECT_TRUE(last.draining);
    EXPECT_EQ(last.report.workers, workers);
    EXPECT_EQ(last.report.drains, workers) << "each application was told once";
    EXPECT_GT(last.report.turns, workers);
    EXPECT_GE(last.counters[tcp::Verdict::bad_arp], 1u) << "our own announcement came back";
    EXPECT_FALSE(std::ifstream{"/var/run/dpdk/pollux-" + std::to_string(getpid()) + "/config"}.is_open());
    struct sigaction now {};
    sigaction(SIGTERM, nullptr, &now);
    EXPECT_EQ(now.sa_handler, SIG_DFL) << "the handler is the old one again";
}

}  // namespace
}  // namespace pollux::testing
