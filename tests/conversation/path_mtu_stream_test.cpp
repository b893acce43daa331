// Whole streams over paths that are narrower than they look: the messages of routers come as bytes, by the same bad
// network, late, twice or never; and forged ones come at any time. What arrives is the stream, and nothing else.
#include <random>

#include "tests/support/conversation.hpp"
#include "tests/support/simulation.hpp"
#include "tests/support/stream_app.hpp"

namespace pollux::test {
namespace {

const Impairments clean{};
const Impairments bad{.loss = 0.04, .duplication = 0.04, .reordering = 0.1, .bit_flips = 0.02, .jitter = 3ms};

class NarrowPaths : public testing::TestWithParam<uint64_t> {
protected:
    uint64_t seed() const { return GetParam(); }
    const tcp::FourTuple flow{host_endpoint.address, peer_endpoint.address, host_endpoint.port, 40'000};
    ReferenceClient::Options client_options() const {
        ReferenceClient::Options options;
        options.timestamps = seed() % 2 == 0;
        options.sack_permitted = seed() % 3 == 0;
        options.isn = tcp::SeqNum{static_cast<uint32_t>(-20'000 * static_cast<int64_t>(seed() % 3))};
        return options;
    }
    void expects_whole(Simulation& simulation, const StreamApp& app, const ReferenceClient& client, uint64_t download,
                       uint64_t upload, const tcp::PoolUse& before) {
        EXPECT_TRUE(simulation.runs(1h)) << simulation.describe();
        simulation.settles(20min);
        EXPECT_TRUE(same(client.received(), pattern(0, download)));
        EXPECT_TRUE(same(app.received(0), pattern(0, upload)));
        EXPECT_EQ(app.resets() + app.time_outs(), 0u);
        EXPECT_EQ(simulation.host().stack().pool_use(), before);
        EXPECT_EQ(simulation.host().refused(), simulation.to_host().damaged()) << "every flipped bit was noticed";
        simulation.log().write_files_if_test_failed();
    }
};

TEST_P(NarrowPaths, StreamsArriveWholeThoughRoutersCutThemTwice) {
    RecordProperty("row", "H2 H3 SHLD-6");
    ReferenceClient::Options options = client_options();
    options.upload = 60'000;  // its segments are out of order now and then: SACK blocks ride on ours
    StreamApp app({.download = 150'000, .pinned = seed() % 2 == 0}, seed());
    Simulation simulation(small_settings(), app, seed() < 4 ? clean : bad, seed());
    const tcp::PoolUse before = simulation.host().stack().pool_use();
    const ReferenceClient& client = simulation.adds_client(40'000, options);
    simulation.narrows(mtu_like(1'400));
    const tcp::Instant second = simulation.now() + 100ms;
    simulation.meddles([&] {
        if (simulation.now() >= second) simulation.narrows(1'280);
    });
    expects_whole(simulation, app, client, 150'000, 60'000, before);
    EXPECT_GT(simulation.too_big(), 0u);
    if (seed() < 4) {
        // Where nothing else is lost, nothing waits for a timeout.
        EXPECT_EQ(simulation.host().counters()[tcp::Tally::retransmission_timeouts], 0u);
    }
}

TEST_P(NarrowPaths, ForgedMessagesAtAnyTimeCostNoByte) {
    RecordProperty("row", "H3 H4 D11");
    std::mt19937_64 random(seed());
    ReferenceClient::Options options = client_options();
    options.upload = 30'000;
    if (seed() % 4 == 1) options.receive_buffer = 6'000, options.reads_per_ms = 60;
    StreamApp app({.download = 100'000,
                   .closing = seed() % 2 == 0 ? StreamApp::Closing::when_sent : StreamApp::Closing::after_peer},
                  seed());
    Simulation simulation(small_settings(), app, bad, seed());
    tcp::Stack& stack = simulation.host().stack();
    const tcp::PoolUse before = stack.pool_use();
    const ReferenceClient& client = simulation.adds_client(40'000, options);
    uint64_t believed = 0;
    simulation.meddles([&] {
        if (random() % 3 != 0) return;
        const auto info = stack.info(stack.find_conn(flow));
        if (!info) return;
        constexpr uint32_t mtus[] = {0, 1, 68, 551, 552, 600, 1'279, 1'280, 1'281, 1'380, 1'400, 1'499, 9'000};
        const uint32_t spread = info->in_flight + 2;
        const tcp::PathNotice notice{.kind = tcp::PathNotice::Kind::too_big,
                                     .flow = flow,
                                     .quoted_seq = info->snd_una.back(1) + static_cast<uint32_t>(random() % spread),
                                     .mtu = mtus[random() % std::size(mtus)],
                                     .quoted_length = static_cast<uint32_t>(random() % 2'000)};
        for (int copies = random() % 3 == 0 ? 2 : 1; copies > 0; --copies) {
            believed += stack.notify(notice, simulation.now()) == tcp::Verdict::path_notice;
        }
    });
    expects_whole(simulation, app, client, 100'000, 30'000, before);
    EXPECT_GT(believed, 0u);
}

TEST_P(NarrowPaths, AWindowOfSegmentsThatDidNotFitCostsOneStep) {
    // RFC 1191 section 5: a window of segments that did not fit draws as many messages, all about the same size. Over
    // IPv6 every router names it.
    RecordProperty("row", "H3 H4");
    ReferenceClient::Options options = client_options();
    options.mss = 8'960;
    tcp::StackSettings settings = small_settings();
    settings.mtu = mtu_like(9'000);
    StreamApp app({.download = 300'000, .piece = 20'000}, seed());
    Simulation simulation(settings, app, clean, seed());
    const tcp::PoolUse before = simulation.host().stack().pool_use();
    const ReferenceClient& client = simulation.adds_client(40'000, options);
    uint32_t least = 9'000;
    const tcp::Instant later = simulation.now() + 50ms;  // when many segments are in flight
    simulation.meddles([&] {
        if (simulation.now() >= later) simulation.narrows(5'000, over_ipv6());
        const tcp::Stack& stack = simulation.host().stack();
        const auto info = stack.info(stack.find_conn(flow));
        if (info) least = std::min(least, info->mss);
    });
    expects_whole(simulation, app, client, 300'000, 0, before);
    EXPECT_EQ(least, by_family(4'352u - 40, 5'000u - 60) - (options.timestamps ? 12 : 0));
}

INSTANTIATE_TEST_SUITE_P(Conversation, NarrowPaths, testing::Range<uint64_t>(0, 12));

}  // namespace
}  // namespace pollux::test
