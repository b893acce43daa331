// Ports, EAL arguments and the other things of start-up.
#include "engine/port.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>

#include "engine/clock.hpp"
#include "engine/machine.hpp"
#include "engine/published.hpp"
#include "tests/engine/ring_wire.hpp"

#include <rte_bus_vdev.h>

namespace pollux::testing {
namespace {

using engine::HugePages;

bool has(const std::vector<std::string>& args, const std::string& wanted) {
    return std::find(args.begin(), args.end(), wanted) != args.end();
}

std::string message_of(const std::function<void()>& action) {
    try {
        action();
    } catch (const std::exception& error) {
        return error.what();
    }
    return {};
}

TEST(EalArguments, NoPciDeviceIsProbedUnlessOneIsConfigured) {
    config::Settings settings;
    settings.ports.resize(1);
    settings.ports[0].device = "net_tap0,iface=pollux0";
    auto args = engine::eal_arguments(settings, HugePages::mounted, 0);
    EXPECT_TRUE(has(args, "--no-pci"));
    EXPECT_TRUE(has(args, "--vdev"));
    settings.ports[0].device = "0000:3b:00.0";
    args = engine::eal_arguments(settings, HugePages::mounted, 0);
    EXPECT_FALSE(has(args, "--no-pci"));
    EXPECT_TRUE(has(args, "-a"));
}

TEST(EalArguments, HugePagesAreUsedWhereThereAreSomeAndUnlinkedAtOnce) {
    config::Settings settings;
    auto args = engine::eal_arguments(settings, HugePages::mounted, 100 << 20);
    EXPECT_TRUE(has(args, "--huge-unlink=always"));
    EXPECT_FALSE(has(args, "-m")) << "EAL decides";
    args = engine::eal_arguments(settings, HugePages::unmounted, 100 << 20);
    EXPECT_TRUE(has(args, "--in-memory"));
    args = engine::eal_arguments(settings, HugePages::none, 100 << 20);
    EXPECT_TRUE(has(args, "--no-huge"));
    EXPECT_FALSE(has(args, "--in-memory"));
    const auto memory = std::find(args.begin(), args.end(), "-m");
    ASSERT_NE(memory, args.end());
    EXPECT_GE(std::stoul(*(memory + 1)), 100u);
}

TEST(EalArguments, WhatTheUserPassesThroughComesLast) {
    config::Settings settings;
    settings.eal.args = {"--telemetry", "--log-level=debug"};
    const auto args = engine::eal_arguments(settings, HugePages::mounted, 0);
    EXPECT_EQ(args.back(), "--log-level=debug");
    EXPECT_FALSE(has(args, "--no-telemetry"));
    EXPECT_FALSE(has(args, "--log-level=error"));
}

TEST(EalArguments, EachProcessHasItsOwnFilePrefix) {
    const auto args = engine::eal_arguments({}, HugePages::mounted, 0);
    const auto prefix = std::find(args.begin(), args.end(), "--file-prefix");
    ASSERT_NE(prefix, args.end());
    EXPECT_EQ(*(prefix + 1), "pollux-" + std::to_string(getpid()));
}

class StartUp : public ::testing::Test {
protected:
    StartUp() : pool_(make_test_pool()) {
        settings_.addresses = {{tcp::IpAddress::from_v4(our_v4), 24}};
        settings_.source = {"demo.toml", 12};
    }
    std::string failure(std::string device, size_t queues = 1) {
        settings_.device = std::move(device);
        const std::vector<rte_mempool*> pools(queues, pool_.get());
        return message_of([&] { engine::Port port{settings_, 0, pools}; });
    }

    engine::PacketPool pool_;
    config::Port settings_;
};

TEST_F(StartUp, AMissingDeviceIsNamedWithItsLine) {
    const std::string said = failure("net_nothing0");
    EXPECT_NE(said.find("port net_nothing0: DPDK has made no such device"), said.npos) << said;
    EXPECT_NE(said.find("(demo.toml:12)"), said.npos) << said;
    EXPECT_NE(failure("0000:3b:00.0").find("vfio-pci"), said.npos);
}

TEST_F(StartUp, TooManyQueuesAreOneSentence) {
    ASSERT_EQ(rte_vdev_init("net_null5", "no-rx=1"), 0);
    rte_eth_dev_info device{};
    uint16_t id = 0;
    ASSERT_EQ(rte_eth_dev_get_port_by_name("net_null5", &id), 0);
    ASSERT_EQ(rte_eth_dev_info_get(id, &device), 0);
    const size_t too_many = size_t{device.max_rx_queues} + 1;
    EXPECT_EQ(failure("net_null5", too_many), "port net_null5: asked for " + std::to_string(too_many) +
                                                  " RX queues, the device has " +
                                                  std::to_string(device.max_rx_queues) + " (demo.toml:12)");
}

TEST_F(StartUp, ANullPortStartsRunsAndStops) {
    ASSERT_EQ(rte_vdev_init("net_null6", nullptr), 0);  // frames of zeros, as many as one asks for
    settings_.device = "net_null6";
    rte_mempool* pools[] = {pool_.get()};
    const unsigned full = rte_mempool_avail_count(pool_.get());
    {
        engine::Port port{settings_, 0, pools};
        EXPECT_FALSE(port.interface().mac.is_unspecified());
        tcp::Counters counters;
        tcp::Stack stack{small_stack(), test_secrets(), counters};
        CannedApp app;
        const std::vector<engine::Interface> interfaces{port.interface()};
        engine::Worker<engine::NicQueue, CannedApp> worker{
            {{port.id(), 0}}, interfaces, stack, app, counters, *pool_, Rig<MemoryWire>::quiet()};
        for (int i = 0; i < 10; ++i) EXPECT_TRUE(worker.turn(tcp::Instant{1s}));
        EXPECT_EQ(counters[Verdict::not_our_frame], 10u * engine::receive_burst);
    }
    EXPECT_EQ(rte_mempool_avail_count(pool_.get()), full);
}

TEST(Interface, RoutesOnLinkDirectlyAndTheRestThroughTheGateway) {
    const auto interface = test_interface();
    const auto v4 = [](uint32_t address) { return tcp::IpAddress::from_v4(address); };
    EXPECT_EQ(interface.next_hop(v4(peer_v4)), v4(peer_v4));
    EXPECT_EQ(interface.next_hop(v4(far_v4)), v4(gateway_v4));
    EXPECT_TRUE(interface.is_broadcast(0xc000'02ff));
    EXPECT_TRUE(interface.is_broadcast(0xffff'ffff));
    EXPECT_FALSE(interface.is_broadcast(our_v4));
    engine::Interface point_to_point = interface;
    point_to_point.networks = {{our_v4, 0xffff'fffe}};  // RFC 3021
    EXPECT_FALSE(point_to_point.is_broadcast(our_v4 - 1));
}

TEST(Clock, RunsForwardAtTheRateOfTheCounter) {
    const engine::Clock clock;
    const tcp::Instant before = clock.now();
    const auto wall = std::chrono::steady_clock::now();
    std::this_thread::sleep_for(50ms);
    const tcp::Duration passed = clock.now() - before;
    const auto wall_passed = std::chrono::steady_clock::now() - wall;
    EXPECT_GE(passed, 49ms);
    EXPECT_LE(passed, wall_passed * 1.02 + 1ms);
    EXPECT_GT(clock.wall_at_zero_us(), 1'700'000'000'000'000u);
}

TEST(Secrets, AreFreshEachTime) {
    const tcp::Secrets a = engine::make_secrets(""), b = engine::make_secrets("");
    EXPECT_NE(a.table, b.table);
    EXPECT_NE(a.isn, b.isn);
    EXPECT_NE(a.cookies, b.cookies);
    EXPECT_NE(a.timestamps, a.isn);
}

TEST(Secrets, OfHandshakesAreSharedByTheFileAndTheOthersAreNot) {
    const std::string path = ::testing::TempDir() + "pollux-shared-secret-" + std::to_string(getpid());
    std::ofstream{path} << "00112233445566778899aabbccddeeff\n";
    std::filesystem::permissions(path, std::filesystem::perms::owner_read);
    const tcp::Secrets a = engine::make_secrets(path), b = engine::make_secrets(path);
    std::filesystem::remove(path);
    EXPECT_EQ(a.cookies, b.cookies);
    EXPECT_EQ(a.timestamps, b.timestamps);
    EXPECT_NE(a.cookies, a.timestamps);
    EXPECT_NE(a.table, b.table);
    EXPECT_NE(a.isn, b.isn);
    EXPECT_NE(a.random_seed, b.random_seed);
}

TEST(Published, AReaderNeverSeesHalfOfAValue) {
    struct Value {
        std::array<uint64_t, 40> words{};
    };
    engine::Published<Value> published;
    Value value;
    EXPECT_FALSE(published.read(value));
    std::atomic<bool> stop{false};
    std::thread writer{[&] {
        for (uint64_t i = 1; !stop; ++i) {
            Value next;
            next.words.fill(i);
            published.write(next);
        }
    }};
    uint64_t last = 0;
    for (int reads = 0; reads < 20'000;) {
        if (!published.read(value)) continue;
        ++reads;
        for (const uint64_t word : value.words) ASSERT_EQ(word, value.words[0]);
        ASSERT_GE(value.words[0], last);
        last = value.words[0];
    }
    stop = true;
    writer.join();
}

}  // namespace
}  // namespace pollux::testing
