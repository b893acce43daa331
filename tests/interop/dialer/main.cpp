// pollux-test-dialer: opens connections to the kernel's servers in the interoperation tests, and prints one line of
// JSON at the end: what became of them, every counter that is not 0, and what is in use of the pools. It waits for
// orders: each byte on standard input begins a batch, its end ends the program when all is done. Exit status 0: every
// connection reached an end; 1: could not start; 2: the command line or the settings are wrong.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "config/load.hpp"
#include "engine/launcher.hpp"
#include "tests/interop/dialer/dialer.hpp"

namespace {

using namespace pollux;
using nlohmann::json;

struct CommandLine {
    std::string settings_file, content_file;
    std::vector<std::string> targets, eal_args;
};

int complain(const std::string& sentence, int exit_status) {
    std::fprintf(stderr, "pollux-test-dialer: %s\n", sentence.c_str());
    return exit_status;
}

/// "download,peer,192.0.2.2:5001", "upload,us,[2001:db8::2]:5002".
test::Target target_of(const std::string& text) {
    const std::invalid_argument mistake{"found the target \"" + text +
                                        "\", expected (download|upload),(us|peer),ADDRESS:PORT"};
    const size_t first = text.find(','), second = text.find(',', first + 1), colon = text.rfind(':');
    if (first == std::string::npos || second == std::string::npos || colon < second) throw mistake;
    const std::string what = text.substr(0, first), closer = text.substr(first + 1, second - first - 1);
    std::string address = text.substr(second + 1, colon - second - 1);
    if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
    const auto parsed = tcp::IpAddress::parse(address);
    const int port = std::atoi(text.c_str() + colon + 1);
    const bool known = (what == "download" || what == "upload") && (closer == "us" || closer == "peer");
    if (!known || !parsed || port < 1 || port > 65'535) throw mistake;
    return {what == "upload", closer == "us", {*parsed, static_cast<uint16_t>(port)}};
}

std::vector<std::byte> contents_of(const std::string& name) {
    std::ifstream in{name, std::ios::binary};
    if (!in) throw std::invalid_argument("found no readable file \"" + name + "\"");
    const std::string text{std::istreambuf_iterator<char>{in}, {}};
    const auto bytes = std::as_bytes(std::span{text});
    return {bytes.begin(), bytes.end()};
}

std::string line_of(const engine::Status<test::Dialer>& status) {
    const test::DialerReport& r = status.report;
    json line{{"opened", r.opened},
              {"refused", r.refused},
              {"timed_out", r.timed_out},
              {"unreachable", r.unreachable},
              {"closed", r.closed},
              {"reset", r.reset},
              {"not_begun", r.not_begun},
              {"accepted", r.accepted},
              {"bytes_received", r.bytes_received},
              {"downloaded", r.downloaded},
              {"refused_sends", r.refused_sends},
              {"tuples", r.tuples},
              {"reused", r.reused},
              {"reused_in_time_wait", r.reused_in_time_wait},
              {"time_wait_peak", r.time_wait_peak}};
    line["in_use"] = {{"connections", status.pools.connections},
                      {"half_open", status.pools.half_open},
                      {"time_wait", status.pools.time_wait},
                      {"table_entries", status.pools.table_entries},
                      {"chunks", status.pools.chunks},
                      {"receive_stores", status.pools.receive_stores},
                      {"pins", status.pools.pins}};
    line["tallies"] = line["verdicts"] = json::object();
    for (const tcp::TallyInfo& info : tcp::tallies) {
        if (const uint64_t count = status.counters[info.tally]) line["tallies"][std::string{info.name}] = count;
    }
    for (const tcp::VerdictInfo& info : tcp::verdicts) {
        if (const uint64_t count = status.counters[info.verdict]) line["verdicts"][std::string{info.name}] = count;
    }
    return line.dump();
}

int run(const CommandLine& command, test::Plan& plan) {
    config::Settings settings;
    try {
        settings = config::load_file(command.settings_file);
        settings.eal.args.insert(settings.eal.args.end(), command.eal_args.begin(), command.eal_args.end());
        for (const std::string& text : command.targets) plan.targets.push_back(target_of(text));
        if (!command.content_file.empty()) plan.content = contents_of(command.content_file);
    } catch (const std::exception& error) {
        return complain(error.what(), 2);
    }
    engine::Status<test::Dialer> last;
    engine::Options<test::Dialer> options;
    options.interval = std::chrono::milliseconds{50};
    options.on_notice = [](const std::string& notice) { complain(notice, 0); };
    options.on_started = [] {
        std::puts("pollux-test-dialer: waiting for orders");
        std::fflush(stdout);
    };
    options.on_status = [&](const engine::Status<test::Dialer>& now) { last = now; };
    try {
        engine::run<test::Dialer>(
            settings,
            [&](const engine::WorkerContext& context) {
                return test::Dialer{context.stack, plan, context.index, context.workers};
            },
            std::move(options));
    } catch (const std::exception& error) {
        return complain(error.what(), 1);
    }
    std::printf("%s\n", line_of(last).c_str());
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    CommandLine command;
    test::Plan plan;
    CLI::App app{"Opens connections, for tests."};
    app.name("pollux-test-dialer");
    app.add_option("-c,--config", command.settings_file, "the settings, a TOML file")->required();
    app.add_option("--to", command.targets, "(download|upload),(us|peer),ADDRESS:PORT: what, and who closes first")
        ->required();
    app.add_option("--content", command.content_file, "the file that is moved; none: nothing is");
    app.add_option("--times", plan.times, "how often an upload sends the content")->capture_default_str();
    app.add_option("--connections", plan.connections, "of one batch, to the targets in turn")->capture_default_str();
    app.add_option("--at-once", plan.at_once, "of each worker")->capture_default_str();
    app.add_flag("--settle", plan.settles, "wait at the end until no TIME-WAIT is left");
    char** const end = argv + argc;
    char** const separator = std::find_if(argv, end, [](const char* arg) { return std::string_view{arg} == "--"; });
    if (separator != end) command.eal_args.assign(separator + 1, end);
    try {
        app.parse(static_cast<int>(separator - argv), argv);
    } catch (const CLI::Success& wanted) {  // --help
        return app.exit(wanted);
    } catch (const CLI::ParseError& error) {
        return complain(error.what(), 2);
    }
    return run(command, plan);
}
