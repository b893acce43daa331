// pollux-httpd: the command line around HttpServer. Exit status 0: ended as asked; 1: could not start, or failed;
// 2: the command line or the settings are wrong. Every failure is one sentence on stderr.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "apps/httpd/from_settings.hpp"
#include "apps/httpd/http_server.hpp"
#include "apps/httpd/status_line.hpp"
#include "config/load.hpp"
#include "engine/launcher.hpp"

namespace {

using namespace pollux;

constexpr int success = 0, failure = 1, bad_usage = 2;

struct CommandLine {
    std::string settings_file;
    bool test = false, status = false;
    std::vector<std::string> eal_args;
};

int complain(const std::string& sentence, int exit_status) {
    std::fprintf(stderr, "pollux-httpd: %s\n", sentence.c_str());
    return exit_status;
}

void say_where(const config::Settings& settings) {
    for (const config::Listen& listen : settings.listens) {
        for (const config::Port& port : settings.ports) {
            for (const config::Prefix& prefix : port.addresses) {
                if (!listen.address.is_unspecified() && listen.address != prefix.address) continue;
                const std::string where = tcp::Endpoint{prefix.address, listen.port}.to_string();
                std::printf("pollux-httpd: serving %s on %s\n", where.c_str(), port.device.c_str());
            }
        }
    }
    std::fflush(stdout);
}

config::Settings settings_of(const CommandLine& command) {
    config::Settings settings = config::load_file(command.settings_file);
    settings.eal.args.insert(settings.eal.args.end(), command.eal_args.begin(), command.eal_args.end());
    return settings;
}

void serve(const config::Settings& settings, const std::vector<http::Route>& routes, const CommandLine& command) {
    engine::Options<httpd::HttpServer> options;
    options.reread = [&command] { return settings_of(command); };
    options.on_notice = [](const std::string& notice) { complain(notice, success); };
    options.on_started = [&] { say_where(settings); };
    httpd::StatusLine line;
    engine::Status<httpd::HttpServer> last;
    if (command.status) {
        options.on_status = [&](const engine::Status<httpd::HttpServer>& now) {
            std::printf("%s\n", line.next(now.seconds, now.draining, now.pools, now.counters, now.report).c_str());
            std::fflush(stdout);
            last = now;
        };
    }
    const auto make_server = [&](const engine::WorkerContext& context) {
        return httpd::HttpServer{context.stack, routes, httpd::server_settings_of(settings, context.wall_at_zero_us)};
    };
    engine::run<httpd::HttpServer>(settings, make_server, std::move(options));
    if (!command.status) return;
    std::fputs(httpd::StatusLine::summary(last.counters).c_str(), stdout);
    std::fputs(httpd::StatusLine::summary(last.pools, last.packets).c_str(), stdout);
}

int run(const CommandLine& command) {
    config::Settings settings;
    std::vector<http::Route> routes;
    try {
        settings = settings_of(command);
        routes = httpd::routes_of(settings);
        httpd::reserve_pins(settings, routes);
    } catch (const std::exception& error) {
        return complain(error.what(), bad_usage);
    }
    if (command.test) {
        std::fputs(config::to_toml(settings).c_str(), stdout);
        return success;
    }
    try {
        serve(settings, routes, command);
    } catch (const std::exception& error) {
        return complain(error.what(), failure);
    }
    return success;
}

}  // namespace

int main(int argc, char** argv) {
    CommandLine command;
    CLI::App app{"An HTTP/1.1 server with a TCP of its own, on DPDK."};
    app.name("pollux-httpd");
    app.footer(
        "What follows -- goes to DPDK's EAL untouched.\n"
        "SIGTERM or SIGINT: answers what is in hand and ends; a second one ends at once.\n"
        "SIGHUP: reads the rules of [[filter]] again.");
    app.add_option("-c,--config", command.settings_file, "the settings, a TOML file")->required()->type_name("FILE");
    app.add_flag("-t,--test", command.test, "check the settings, print all that are in effect, and exit");
    app.add_flag("--status", command.status, "print one line a second, and every counter at the end");
    app.set_version_flag("--version", "pollux-httpd " POLLUX_VERSION);

    char** const end = argv + argc;
    char** const separator = std::find_if(argv, end, [](const char* arg) { return std::string_view{arg} == "--"; });
    if (separator != end) command.eal_args.assign(separator + 1, end);
    try {
        app.parse(static_cast<int>(separator - argv), argv);
    } catch (const CLI::Success& wanted) {  // --help, --version
        return app.exit(wanted);
    } catch (const CLI::ParseError& error) {
        return complain(std::string{error.what()} + "; pollux-httpd --help says how it is called", bad_usage);
    }
    return run(command);
}
