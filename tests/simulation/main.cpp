// pollux-simulate: runs seeds of the simulator, replays one, or minimises one.
//
//     pollux-simulate --seeds 200000 --from 1 --jobs 2
//     pollux-simulate --seeds 200000 --both-ways             each with and without the fast path, and compared
//     pollux-simulate --replay 4711 --without loss-a,jitter-b
//     pollux-simulate --minimise 4711
//
// Exit status 0: everything held; 1: something did not; 2: the command line is wrong.
#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>

#include "tests/simulation/both_ways.hpp"
#include "tests/simulation/campaign.hpp"
#include "tests/simulation/minimiser.hpp"

namespace {

using namespace pollux::simulation;

struct Manner {
    bool both_ways = false;
    std::filesystem::path folder;
    Play play() const { return both_ways ? Play(run_both_ways) : Play(run_once); }
};

int show(const Scenario& scenario, const std::vector<std::string>& without, const Manner& manner) {
    Record record;
    const Outcome outcome = manner.play()(scenario, &record);
    std::printf("%s%llu packets in %.3f s of virtual time, frame hash %016llx\n", scenario.describe().c_str(),
                static_cast<unsigned long long>(outcome.packets), static_cast<double>(outcome.duration.count()) / 1e6,
                static_cast<unsigned long long>(outcome.hash));
    std::printf("wrote %s\n", record.write(manner.folder, scenario, outcome).c_str());
    if (outcome.ok()) {
        std::puts("everything held");
        return 0;
    }
    std::printf("FAILED after %.6f s: %s\nreplay: %s\n", static_cast<double>(outcome.at.count()) / 1e6,
                outcome.complaint.c_str(), replay_command(scenario.seed, without, manner.both_ways).c_str());
    return 1;
}

int minimise_and_show(uint64_t seed, const Manner& manner) {
    const Minimum least = minimise(make_scenario(seed), manner.play());
    if (least.outcome.ok()) {
        std::printf("seed %llu does not fail\n", static_cast<unsigned long long>(seed));
        return 0;
    }
    std::printf("dropped %zu faults, needed %zu\n", least.without.size(), least.scenario.faults.size());
    return show(least.scenario, least.without, manner);
}

int run_many(uint64_t from, uint64_t seeds, unsigned jobs, const Manner& manner) {
    const auto begin = std::chrono::steady_clock::now();
    const auto seconds = [&] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
    const CampaignResult result = run_campaign(from, seeds, jobs, manner.play(), 10, [&](uint64_t done) {
        if (done % 10'000 == 0) {
            std::printf("%llu seeds, %.0f a second\n", static_cast<unsigned long long>(done),
                        static_cast<double>(done) / seconds());
            std::fflush(stdout);
        }
    });
    for (const Failure& failure : result.failures) {
        const Scenario scenario = make_scenario(failure.seed);
        Record record;
        const Outcome again = manner.play()(scenario, &record);
        std::printf("seed %llu FAILED: %s\n  wrote %s\n  replay: %s\n", static_cast<unsigned long long>(failure.seed),
                    failure.complaint.c_str(), record.write(manner.folder, scenario, again).c_str(),
                    replay_command(failure.seed, {}, manner.both_ways).c_str());
    }
    std::printf("%llu seeds from %llu, %llu packets, %.1f s, %.0f seeds a second: %zu failed\n",
                static_cast<unsigned long long>(result.runs), static_cast<unsigned long long>(from),
                static_cast<unsigned long long>(result.packets), seconds(),
                static_cast<double>(result.runs) / seconds(), result.failures.size());
    return result.failures.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App options("Runs seeds of the simulator, replays one, or minimises one.");
    uint64_t seeds = 1'000, from = 1, replay = 0, minimise = 0;
    unsigned jobs = 1;
    std::vector<std::string> without;
    Manner manner{.folder = std::filesystem::temp_directory_path() / "pollux-simulation"};
    if (const char* artifacts = std::getenv("POLLUX_TEST_ARTIFACTS"); artifacts != nullptr && *artifacts != '\0') {
        manner.folder = artifacts;
    }
    options.add_option("--seeds", seeds, "how many seeds to run")->capture_default_str();
    options.add_option("--from", from, "the first of them")->capture_default_str();
    options.add_option("--jobs", jobs, "how many at a time")->capture_default_str()->check(CLI::Range(1, 256));
    auto* const replayed =
        options.add_option("--replay", replay, "play this seed again and write pcap, ladder and log");
    options.add_option("--without", without, "of --replay: without these faults, \"loss-a,jitter-b\"")
        ->delimiter(',')
        ->needs(replayed);
    auto* const minimised =
        options.add_option("--minimise", minimise, "drop the faults that this failing seed does not need")
            ->excludes(replayed);
    options.add_flag("--both-ways", manner.both_ways,
                     "each seed with and without the fast path, compared turn by turn");
    options.add_option("--folder", manner.folder, "where failures leave their files")->capture_default_str();
    try {
        options.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return options.exit(error) == 0 ? 0 : 2;
    }
    if (*minimised) return minimise_and_show(minimise, manner);
    if (!*replayed) return run_many(from, seeds, jobs, manner);
    std::string unknown;
    const Scenario scenario = pollux::simulation::without(make_scenario(replay), without, &unknown);
    if (!unknown.empty()) {
        std::fprintf(stderr, "--without: seed %llu has no fault \"%s\"; it has:\n%s",
                     static_cast<unsigned long long>(replay), unknown.c_str(),
                     make_scenario(replay).describe().c_str());
        return 2;
    }
    return show(scenario, without, manner);
}
