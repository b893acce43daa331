// Whole streams through bad networks: what goes in at one end comes out at the other, byte for byte, whatever the
// link does to the packets; and afterwards nothing is left behind.
#include <algorithm>
#include <tuple>

#include "tests/support/conversation.hpp"
#include "tests/support/simulation.hpp"
#include "tests/support/stream_app.hpp"

namespace pollux::test {
namespace {

struct Network {
    const char* name;
    Impairments impairments;
};

const Network networks[] = {
    {"Clean", {}},
    {"Loss", {.loss = 0.05}},
    {"Duplication", {.duplication = 0.2}},
    {"Reordering", {.reordering = 0.2}},
    {"BitFlips", {.bit_flips = 0.05}},
    {"Everything", {.loss = 0.04, .duplication = 0.04, .reordering = 0.1, .bit_flips = 0.02, .jitter = 3ms}},
    {"HeavyLoss", {.loss = 0.2, .delay = 1ms}},
};

class Streams : public testing::TestWithParam<std::tuple<size_t, uint64_t>> {
protected:
    const Network& network() const { return networks[std::get<0>(GetParam())]; }
    uint64_t seed() const { return std::get<1>(GetParam()); }
    ReferenceClient::Options client_options() const {
        ReferenceClient::Options options;
        options.timestamps = seed() % 2 == 0;
        options.sack_permitted = seed() % 3 == 0;
        if (seed() % 4 == 1) options.window_scale.reset();
        options.mss = seed() % 5 == 4 ? 536 : 1460;
        options.isn = tcp::SeqNum{static_cast<uint32_t>(-20'000 * static_cast<int64_t>(seed() % 3))};
        return options;
    }
    /// Runs to the end and checks both streams of the one client.
    void runs(const StreamApp::Options& app_options, const ReferenceClient::Options& options) {
        StreamApp app(app_options, seed());
        Simulation simulation(small_settings(), app, network().impairments, seed());
        const tcp::PoolUse before = simulation.host().stack().pool_use();
        ReferenceClient& client = simulation.adds_client(40'000, options);
        EXPECT_TRUE(simulation.runs(1h)) << simulation.describe();
        simulation.settles(20min);  // TIME-WAIT, orphans and stragglers included
        EXPECT_TRUE(same(client.received(), pattern(0, app_options.download)));
        EXPECT_TRUE(same(app.received(0), pattern(0, options.upload)));
        EXPECT_EQ(app.opened(), 1u);
        EXPECT_EQ(app.resets() + app.time_outs(), 0u);
        EXPECT_EQ(simulation.host().stack().pool_use(), before);
        EXPECT_EQ(simulation.host().refused(), simulation.to_host().damaged()) << "every flipped bit was noticed";
        simulation.log().write_files_if_test_failed();
    }
};

TEST_P(Streams, DownloadArrivesWhole) {
    RecordProperty("row", "E1 K11 K12 L1 G1 MUST-3");
    runs({.download = 300'000, .pinned = seed() % 2 == 0}, client_options());
}

TEST_P(Streams, UploadArrivesWhole) {
    RecordProperty("row", "E1 E4 E5 E6 SHLD-31 MUST-3");
    ReferenceClient::Options options = client_options();
    options.upload = 300'000;
    runs({.laziness = seed() % 3 == 1 ? 0.5 : 0}, options);
}

TEST_P(Streams, BothWaysAtOnceArriveWhole) {
    RecordProperty("row", "E1 E4 E5 E6 F3 F5 G1");
    ReferenceClient::Options options = client_options();
    options.upload = 150'000;
    const bool we_close_first = seed() % 2 == 0;
    runs({.download = 150'000,
          .closing = we_close_first ? StreamApp::Closing::when_sent : StreamApp::Closing::full_after_peer,
          .piece = 777,
          .laziness = seed() % 3 == 0 ? 0.3 : 0},
         options);
}

TEST_P(Streams, SlowReaderGetsEverythingThroughAClosingWindow) {
    RecordProperty("row", "G1 G8 MUST-35 MUST-36");
    ReferenceClient::Options options = client_options();
    options.receive_buffer = 6'000;
    options.reads_per_ms = 40;
    runs({.download = 60'000}, options);
}

INSTANTIATE_TEST_SUITE_P(Conversation, Streams,
                         testing::Combine(testing::Range<size_t>(0, std::size(networks)),
                                          testing::Range<uint64_t>(0, 11)),
                         [](const auto& test) {
                             return std::string(networks[std::get<0>(test.param)].name) +
                                    std::to_string(std::get<1>(test.param));
                         });

TEST(StreamsTogether, ManyConnectionsShareABadNetwork) {
    RecordProperty("row", "E1 E4 K11 G1 MUST-42");
    const Impairments impairments{
        .loss = 0.03, .duplication = 0.03, .reordering = 0.1, .bit_flips = 0.01, .jitter = 2ms};
    StreamApp app({.download = 30'000, .laziness = 0.2}, 7);
    Simulation simulation(small_settings(), app, impairments, 7);
    const tcp::PoolUse before = simulation.host().stack().pool_use();
    std::vector<ReferenceClient*> clients;
    for (uint16_t i = 0; i < 30; ++i) {
        ReferenceClient::Options options;
        options.upload = 20'000u + i;
        options.timestamps = i % 2 == 0;
        options.isn = tcp::SeqNum{0xffff'0000u + i * 3'000u};
        clients.push_back(&simulation.adds_client(static_cast<uint16_t>(40'000 + i), options));
    }
    EXPECT_TRUE(simulation.runs(1h)) << simulation.describe();
    simulation.settles(20min);
    for (const ReferenceClient* client : clients) EXPECT_TRUE(same(client->received(), pattern(0, 30'000)));
    ASSERT_EQ(app.opened(), 30u);
    std::vector<size_t> sizes;
    for (size_t i = 0; i < 30; ++i) {
        const std::string received = app.received(i);
        EXPECT_TRUE(same(received, pattern(0, received.size())));
        sizes.push_back(received.size());
    }
    std::sort(sizes.begin(), sizes.end());
    for (size_t i = 0; i < 30; ++i) EXPECT_EQ(sizes[i], 20'000u + i);
    EXPECT_EQ(simulation.host().stack().pool_use(), before);
    simulation.log().write_files_if_test_failed();
}

}  // namespace
}  // namespace pollux::test
