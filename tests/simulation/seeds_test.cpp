// The simulator's part of every test run: 5,000 seeds, each with and without the fast path, a sample replayed with
// equal frame hashes, and the minimiser.
// More seeds: scripts/soak.sh.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/simulation/both_ways.hpp"
#include "tests/simulation/campaign.hpp"
#include "tests/simulation/minimiser.hpp"

namespace pollux::simulation {
namespace {

using namespace std::chrono_literals;

constexpr uint64_t seeds_per_block = 500, blocks = 10;

std::filesystem::path artifact_folder() {
    const char* const wanted = std::getenv("POLLUX_TEST_ARTIFACTS");
    return wanted != nullptr && *wanted != '\0' ? std::filesystem::path(wanted)
                                                : std::filesystem::temp_directory_path() / "pollux-simulation";
}

class Seeds : public testing::TestWithParam<uint64_t> {};

TEST_P(Seeds, KeepEveryPromiseAndAreTheSameWithoutTheFastPath) {
    const uint64_t first = GetParam() * seeds_per_block + 1;
    const CampaignResult result = run_campaign(first, seeds_per_block, 1, run_both_ways, 3);
    for (const Failure& failure : result.failures) {
        const Minimum least = minimise(make_scenario(failure.seed), run_both_ways);
        Record record;
        const Outcome outcome = run_both_ways(least.scenario, &record);
        ADD_FAILURE() << "seed " << failure.seed << ": " << failure.complaint
                      << "\nreplay: " << replay_command(failure.seed, {}, true)
                      << "\nminimal: " << replay_command(failure.seed, least.without, true) << "\nwrote "
                      << record.write(artifact_folder(), least.scenario, outcome);
    }
    EXPECT_GT(result.packets, 20 * result.runs) << "runs in which nothing happens prove nothing";
    EXPECT_GT(result.faults, 2 * result.runs);
}

INSTANTIATE_TEST_SUITE_P(Simulation, Seeds, testing::Range<uint64_t>(0, blocks));

// Beyond those above: "too big" during a recovery and during F-RTO, which reduced the window twice and sent beyond it;
// and a record of several segments of many small pieces, of which a repetition held only some, for ever.
TEST(SeedsThatFoundSomething, FindItNoMore) {
    for (const uint64_t seed : {5'930, 7'191, 10'330, 31'079, 32'315, 52'912, 65'400, 71'145, 80'152, 95'920,
                                96'666}) {
        const CampaignResult result = run_campaign(seed, 1, 1, run_both_ways, 1);
        EXPECT_EQ(result.runs, 1u);
        for (const Failure& failure : result.failures) ADD_FAILURE() << "seed " << seed << ": " << failure.complaint;
    }
}

TEST(Replay, PlaysTheSamePacketsAtTheSameTimes) {
    constexpr uint64_t sample = 200;
    std::set<uint64_t> hashes;
    for (uint64_t i = 0; i < sample; ++i) {
        const uint64_t seed = 1 + i * (blocks * seeds_per_block / sample);
        const Outcome once = run(make_scenario(seed));
        Record record;
        const Outcome again = run(make_scenario(seed), i % 20 == 0 ? &record : nullptr);
        ASSERT_EQ(once.hash, again.hash) << "seed " << seed;
        ASSERT_EQ(once.packets, again.packets);
        hashes.insert(once.hash);
    }
    EXPECT_EQ(hashes.size(), sample) << "each seed is a run of its own";
}

// The comparison itself must notice: an ACK that comes later on one host alone.
TEST(BothWays, NamesTheFirstTurnThatDiffers) {
    Scenario late = make_scenario(3);
    late.hosts[0].settings.ack_delay += 1ms;
    const Outcome outcome = compare(make_scenario(3), late);
    EXPECT_NE(outcome.complaint.find("differs in turn "), std::string::npos) << outcome.complaint;
    EXPECT_NE(outcome.complaint.find("ack_left is 42000, was 41000"), std::string::npos) << outcome.complaint;
    EXPECT_GT(outcome.at, 0ms);
}

TEST(BothWays, NoticesARunThatEndsEarlier) {
    Scenario shorter = make_scenario(3);
    for (HostPlan& host : shorter.hosts) host.settings.msl /= 2;
    const Outcome outcome = compare(make_scenario(3), shorter);
    EXPECT_NE(outcome.complaint.find("differs in turn "), std::string::npos) << outcome.complaint;
}

TEST(BothWays, TakeTheFastPathOneWayAndNotTheOther) {
    uint64_t taken = 0;
    const Scenario scenario = make_scenario(1), other = with_other_paths(scenario);
    for (const Side side : {Side::a, Side::b}) {
        EXPECT_NE(scenario.hosts[number(side)].settings.fast_path, other.hosts[number(side)].settings.fast_path);
    }
    for (uint64_t seed = 1; seed <= 20; ++seed) {
        run(make_scenario(seed), nullptr,
            [&](const Turn& turn) { taken = std::max(taken, turn.station.counters()[tcp::Tally::fast_path]); });
    }
    EXPECT_GT(taken, 5u) << "without a segment that takes it there is nothing to compare";
}

TEST(Scenarios, HaveEveryFaultNowAndThen) {
    std::set<std::string> seen;
    for (uint64_t seed = 1; seed <= 500; ++seed) {
        for (const Fault& fault : make_scenario(seed).faults) seen.insert(std::string(name(fault.kind)));
    }
    EXPECT_EQ(seen.size(), fault_kinds);
}

TEST(Scenarios, LoseNothingElseWithAFault) {
    for (uint64_t seed = 1; seed <= 50; ++seed) {
        const Scenario whole = make_scenario(seed);
        for (const Fault& fault : whole.faults) {
            const std::string name = fault.name();
            std::vector<Fault> wanted = whole.faults;
            std::erase_if(wanted, [&](const Fault& other) { return other.name() == name; });
            const Scenario less = without(whole, {&name, 1});
            EXPECT_EQ(less.faults, wanted);
            EXPECT_EQ(less.connections.size(), whole.connections.size());
        }
    }
}

TEST(Scenarios, DoNotKnowAFaultThatTheyDoNotHave) {
    const std::string name = "gravity-a";
    std::string unknown;
    without(make_scenario(1), {&name, 1}, &unknown);
    EXPECT_EQ(unknown, name);
}

TEST(Minimiser, EndsWithTheFaultsThatAreNeeded) {
    const auto has = [](const Scenario& s, FaultKind kind) {
        return std::ranges::any_of(s.faults, [kind](const Fault& f) { return f.kind == kind; });
    };
    // The first seed with more faults than the planted failure needs.
    uint64_t seed = 1;
    const auto fits = [&](const Scenario& s) {
        return s.faults.size() >= 5 && has(s, FaultKind::loss) && has(s, FaultKind::jitter);
    };
    while (!fits(make_scenario(seed))) ++seed;
    const auto fails_with_both = [&](const Scenario& s, Record*) {
        Outcome outcome;
        if (has(s, FaultKind::loss) && has(s, FaultKind::jitter)) outcome.complaint = "planted";
        return outcome;
    };
    const Minimum least = minimise(make_scenario(seed), fails_with_both);
    ASSERT_EQ(least.scenario.faults.size(), 2u);
    EXPECT_TRUE(has(least.scenario, FaultKind::loss) && has(least.scenario, FaultKind::jitter));
    EXPECT_EQ(least.outcome.complaint, "planted");
    // What was dropped, dropped from the whole at once, is the same scenario: the printed command is enough.
    EXPECT_EQ(without(make_scenario(seed), least.without).faults, least.scenario.faults);
}

TEST(Minimiser, LeavesARunAloneThatDoesNotFail) {
    const Scenario scenario = make_scenario(2);
    const Minimum least = minimise(scenario, [](const Scenario&, Record*) { return Outcome{}; });
    EXPECT_EQ(least.scenario.faults, scenario.faults);
    EXPECT_TRUE(least.outcome.ok());
}

}  // namespace
}  // namespace pollux::simulation
