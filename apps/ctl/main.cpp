// pollux-ctl: looks at a running engine over its control socket. It needs neither DPDK nor its rights: all that it
// knows comes as JSON lines (README.md of this folder). Exit status 0: answered; 1: no engine, or one that failed to
// answer; 2: the command line asks for what there is not. Every failure is one sentence on stderr.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "apps/ctl/client.hpp"
#include "apps/ctl/format.hpp"

namespace {

using namespace pollux;
using ctl::Json;

constexpr int success = 0, failure = 1, bad_usage = 2;

struct CommandLine {
    std::string socket;
    bool json = false;
    std::string command;
    // stat
    bool per_core = false, all = false;
    // conns
    std::vector<std::string> states;
    std::string local, peer;
    int port = -1;
    long long limit = -1;
    bool summary = false;
};

int complain(const std::string& sentence, int exit_status) {
    std::fprintf(stderr, "pollux-ctl: %s\n", sentence.c_str());
    return exit_status;
}

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

Json request_of(const CommandLine& line) {
    Json request{{"command", line.command}};
    if (!line.states.empty()) request["states"] = line.states;
    if (!line.local.empty()) request["local"] = line.local;
    if (!line.peer.empty()) request["peer"] = line.peer;
    if (line.port >= 0) request["port"] = line.port;
    if (line.limit >= 0) request["limit"] = line.limit;
    if (line.summary) request["summary"] = true;
    return request;
}

void print_all(const CommandLine& line, const std::vector<Json>& rows) {
    if (line.command == "stat") print(ctl::counters_text(rows, line.per_core, line.all));
    if (line.command == "conns" && line.summary) print(ctl::states_text(rows));
    if (line.command == "ports") print(ctl::ports_text(rows));
    if (line.command == "neigh") print(ctl::neighbors_text(rows));
    if (line.command == "pools") print(ctl::pools_text(rows));
    if (line.command == "filter") print(ctl::rules_text(rows));
    if (line.command == "reload") print(ctl::sentences_text(rows));
}

int run(const CommandLine& line) {
    ctl::Client client{line.socket.empty() ? ctl::find_socket(ctl::socket_folders()) : line.socket};
    client.send(request_of(line).dump(-1, ' ', true, Json::error_handler_t::replace));
    // Connections may be millions: they are printed as they come. The rest is aligned when all of it is here.
    const bool streams = line.command == "conns" && !line.summary;
    bool headed = !streams || line.json;
    const auto head = [&] {
        if (!headed) print(ctl::connection_heading());
        headed = true;
    };
    std::vector<Json> rows;
    int status = failure;
    client.receive([&](std::string_view text) {
        const Json row = Json::parse(text, nullptr, false);
        if (!row.is_object()) throw ctl::Unreachable("the engine's answer is not understood: " + std::string{text});
        if (row.contains("error")) {
            status = complain(row["error"].get<std::string>(),
                              row.value("kind", "failed") == "bad_request" ? bad_usage : failure);
            return false;
        }
        if (row.contains("end")) {
            head();
            if (row.value("cut", false)) complain("there are more; --limit cut them off", success);
            status = success;
            return false;
        }
        if (line.json) {
            print(std::string{text} + "\n");
        } else if (streams) {
            head();
            print(ctl::connection_text(row));
        } else {
            rows.push_back(row);
        }
        return true;
    });
    if (status == success && !line.json) print_all(line, rows);
    return status;
}

void describe(CLI::App& app, CommandLine& line) {
    app.name("pollux-ctl");
    app.footer(
        "Without --socket it asks the one engine that runs on this machine.\n"
        "Exit status 0: answered; 1: no engine, or it failed to answer; 2: wrong usage.");
    app.add_option("--socket", line.socket, "the engine's control socket")->type_name("PATH");
    app.add_flag("--json", line.json, "print the rows as JSON lines, as they come");
    app.set_version_flag("--version", "pollux-ctl " POLLUX_VERSION);
    app.require_subcommand(1);
    const auto command = [&](const char* name, const char* what) {
        CLI::App* made = app.add_subcommand(name, what);
        made->fallthrough();  // --socket and --json may stand behind the command too
        made->callback([&line, name] { line.command = name; });
        return made;
    };
    CLI::App* stat = command("stat", "what became of packets and connections: every counter that is not 0");
    stat->add_flag("--per-core", line.per_core, "a column for each worker besides the sum");
    stat->add_flag("--all", line.all, "counters that are 0 too");
    CLI::App* conns = command("conns", "connections, half-open ones and those in TIME-WAIT included");
    conns
        ->add_option("--state", line.states,
                     "syn-received, established, fin-wait-1, ..., time-wait, synchronized; may be repeated")
        ->type_name("NAME")
        ->allow_extra_args(false);
    conns->add_option("--local", line.local, "our end: ADDRESS[/BITS][:PORT], *:PORT, [V6][/BITS]:PORT")
        ->type_name("END");
    conns->add_option("--peer", line.peer, "the other end, written likewise")->type_name("END");
    conns->add_option("--port", line.port, "the port of either end")->check(CLI::Range(0, 65'535))->type_name("N");
    conns->add_option("--limit", line.limit, "at most so many")->check(CLI::NonNegativeNumber)->type_name("N");
    conns->add_flag("--summary", line.summary, "only how many there are in each state");
    command("ports", "devices, addresses, offloads, packets");
    command("neigh", "whom the workers know on their links");
    command("pools", "what was sized at start, and how much of it is used");
    command("filter", "the rules of [[filter]] in their order, and how many packets each has decided");
    command("reload", "read the rules of [[filter]] again, as SIGHUP does");
}

}  // namespace

int main(int argc, char** argv) {
    CommandLine line;
    CLI::App app{"Looks at a running Pollux engine."};
    describe(app, line);
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& wanted) {  // --help, --version
        return app.exit(wanted);
    } catch (const CLI::ParseError& error) {
        return complain(std::string{error.what()} + "; pollux-ctl --help says how it is called", bad_usage);
    }
    try {
        return run(line);
    } catch (const std::exception& error) {
        return complain(error.what(), failure);
    }
}
