// pollux-test-client: the ClosedLoopClient on a DPDK device of its own, by default the memif that config/memif.toml
// serves. Prints one line, and exits with 0 when every request was answered as expected, 1 when not, 2 for a wrong
// command line. It measures the server, so it polls without rest: give it a core that the server does not use.
//
// Over memif a worker of the server reaches the peer through the queue pair of its own number alone: --queues has to
// be the number of the server's workers. One thread polls all of them, and answers where it was spoken to.
#include <signal.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "config/settings.hpp"
#include "engine/clock.hpp"
#include "engine/eal.hpp"
#include "engine/mbuf.hpp"
#include "engine/port.hpp"
#include "tests/support/client/closed_loop_client.hpp"
#include "tests/support/client/drive.hpp"

namespace {

using namespace pollux;
using namespace std::chrono_literals;

struct CommandLine {
    std::string device = "net_memif0,role=client,socket=pollux-memif,rsize=11";
    std::string address = "192.0.2.2", server = "192.0.2.1", path = "/";
    uint16_t port = 80, core = 1, queues = 1;
    uint32_t connections = 64;
    uint64_t requests = 0;
    double seconds = 0;
    bool connection_each = false;
};

volatile sig_atomic_t interrupted = 0;

constexpr uint32_t packets = 8'192;

config::Settings settings_of(const CommandLine& command) {
    config::Settings settings;
    settings.eal.huge_pages = false;
    settings.eal.cores = {command.core};
    settings.ports.resize(1);
    settings.ports[0].device = command.device;
    settings.ports[0].addresses = {{*tcp::IpAddress::parse(command.address), 24}};
    return settings;
}

test::ClosedLoopClient::Options options_of(const CommandLine& command, const engine::Interface& interface,
                                           uint64_t wall_us) {
    test::ClosedLoopClient::Options options;
    options.address = *tcp::IpAddress::parse(command.address);
    options.server = *tcp::IpAddress::parse(command.server);
    options.mac = interface.mac;
    options.server_port = command.port;
    options.seed = static_cast<uint32_t>(wall_us);
    options.timestamp_at_zero = static_cast<uint32_t>(wall_us / 1'000);
    options.connections = command.connections;
    options.requests = command.requests;
    options.connection_per_request = command.connection_each;
    options.request = "GET " + command.path + " HTTP/1.1\r\nHost: " + command.server + "\r\n\r\n";
    return options;
}

int run(const CommandLine& command) {
    const config::Settings settings = settings_of(command);
    const engine::Eal eal{settings, engine::packet_pool_bytes(packets, 1500)};
    const engine::PacketPool pool = engine::make_packet_pool("client", packets, 1500, SOCKET_ID_ANY);
    const std::vector<rte_mempool*> pools(command.queues, pool.get());
    const engine::Port port{settings.ports[0], 0, pools, eal.last_words()};
    if (!port.wait_for_link(10s)) throw std::runtime_error("nobody is at the other end of " + command.device);

    const engine::Clock clock;
    test::ClosedLoopClient client{options_of(command, port.interface(), clock.wall_at_zero_us())};
    using Driver = test::ClientDriver<engine::NicQueue>;
    std::vector<std::unique_ptr<Driver>> drivers;  // one of each queue
    for (uint16_t queue = 0; queue < command.queues; ++queue) {
        drivers.push_back(std::make_unique<Driver>(client, engine::NicQueue{port.id(), queue}, *pool));
    }
    const auto turn = [&](tcp::Instant now) {
        bool moved = false;
        for (const auto& driver : drivers) moved |= driver->turn(now);
        return moved;
    };
    const tcp::Instant began = clock.now();
    const auto limit = tcp::Duration{static_cast<int64_t>(command.seconds * 1e6)};
    tcp::Instant finished_at{};
    uint64_t requests_in_time = 0;
    const auto finish = [&](tcp::Instant now) {
        client.finish();
        finished_at = now;
        requests_in_time = client.counts().requests;
    };
    constexpr uint32_t patience = 10'000;  // turns without a frame; then the machine may have the core for a moment
    for (uint32_t quiet = 0; !client.is_finished();) {
        const tcp::Instant now = clock.now();
        quiet = turn(now) ? 0 : quiet + 1;
        if (quiet > patience) std::this_thread::sleep_for(100us);
        if (finished_at != tcp::Instant{}) continue;
        const bool all =
            command.requests != 0 && client.counts().requests + client.counts().errors >= command.requests;
        if (all || interrupted != 0 || (command.seconds != 0 && now - began >= limit)) finish(now);
    }
    const tcp::Instant ended = clock.now();
    while (clock.now() < ended + 10ms) turn(clock.now());  // last ACKs
    if (finished_at == tcp::Instant{}) finish(ended);

    const auto& counts = client.counts();
    const double took = std::chrono::duration<double>(finished_at - began).count();
    std::printf("requests %llu errors %llu requests/s %.0f (connections %llu, resets %llu, retransmissions %llu)\n",
                static_cast<unsigned long long>(counts.requests), static_cast<unsigned long long>(counts.errors),
                static_cast<double>(requests_in_time) / took, static_cast<unsigned long long>(counts.opened),
                static_cast<unsigned long long>(counts.resets),
                static_cast<unsigned long long>(counts.retransmissions));
    return counts.errors == 0 && counts.requests != 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    CommandLine command;
    CLI::App app{"A small closed-loop HTTP client on raw frames, for tests and figures."};
    app.name("pollux-test-client");
    const auto address = [](const std::string& text) {
        const auto read = tcp::IpAddress::parse(text);  // nobody here asks for a link address but by ARP
        return read && read->is_v4() ? std::string{} : "\"" + text + "\" is no IPv4 address";
    };
    app.add_option("--vdev", command.device, "the DPDK device")->capture_default_str();
    app.add_option("--address", command.address, "ours")->capture_default_str()->check(address);
    app.add_option("--server", command.server, "the server's")->capture_default_str()->check(address);
    app.add_option("--port", command.port, "the server's")->capture_default_str();
    app.add_option("--path", command.path, "what is asked for")->capture_default_str();
    app.add_option("--connections", command.connections, "how many at a time")
        ->capture_default_str()
        ->check(CLI::Range(1, 50'000));
    app.add_option("--requests", command.requests, "how many in all; 0: without end")->capture_default_str();
    app.add_option("--seconds", command.seconds, "for how long; 0: without end")->capture_default_str();
    app.add_flag("--connection-per-request", command.connection_each, "a new connection for each request");
    app.add_option("--queues", command.queues, "queue pairs: as many as the server has workers")
        ->capture_default_str()
        ->check(CLI::Range(1, 16));
    app.add_option("--core", command.core, "the core to run on")->capture_default_str();
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& wanted) {  // --help
        return app.exit(wanted);
    } catch (const CLI::ParseError& error) {
        std::fprintf(stderr, "pollux-test-client: %s\n", error.what());
        return 2;
    }
    struct sigaction action {};
    action.sa_handler = [](int) { interrupted = 1; };
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    try {
        return run(command);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "pollux-test-client: %s\n", error.what());
        return 1;
    }
}
