// The control socket from a client's side: what it answers, whom it lets in, and that no client can hold up others.
#include "engine/control.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/engine/rig.hpp"

namespace pollux::testing {
namespace {

namespace fs = std::filesystem;
using engine::ControlServer;
using engine::ControlSocket;
using engine::ControlView;
using engine::Inspection;
using engine::Json;
using engine::Waker;
using ::testing::HasSubstr;

class Folder {
public:
    Folder() {
        char name[] = "/tmp/pollux-test.XXXXXX";
        path_ = mkdtemp(name);
    }
    ~Folder() { fs::remove_all(path_); }
    std::string operator/(const std::string& name) const { return path_ + "/" + name; }

private:
    std::string path_;
};

/// A client that speaks raw lines.
class Asker {
public:
    explicit Asker(const std::string& path) : fd_(socket(AF_UNIX, SOCK_STREAM, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        connected_ = connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
        const timeval limit{20, 0};
        setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    }
    ~Asker() { close(fd_); }
    Asker(const Asker&) = delete;
    Asker& operator=(const Asker&) = delete;

    bool connected() const { return connected_; }
    void send(const std::string& bytes) const { ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
    void ends_sending() const { shutdown(fd_, SHUT_WR); }
    /// The next line; empty at the end of the stream.
    std::string line() {
        while (true) {
            if (const size_t end = waiting_.find('\n'); end != std::string::npos) {
                std::string found = waiting_.substr(0, end);
                waiting_.erase(0, end + 1);
                return found;
            }
            char bytes[4'096];
            const ssize_t n = recv(fd_, bytes, sizeof bytes, 0);
            if (n <= 0) return {};
            waiting_.append(bytes, static_cast<size_t>(n));
        }
    }
    /// The rows of one answer, its last line ("end" or "error") included.
    std::vector<Json> answer() {
        std::vector<Json> rows;
        do {
            const std::string text = line();
            if (text.empty()) {
                ADD_FAILURE() << "the answer broke off";
                rows.emplace_back(Json::object());
                break;
            }
            rows.push_back(Json::parse(text));
        } while (!rows.back().contains("end") && !rows.back().contains("error"));
        return rows;
    }
    std::vector<Json> ask(const Json& request) {
        send(request.dump() + "\n");
        return answer();
    }

private:
    int fd_;
    bool connected_;
    std::string waiting_;
};

cpu_set_t own_cpus() {
    cpu_set_t cpus;
    pthread_getaffinity_np(pthread_self(), sizeof cpus, &cpus);
    return cpus;
}

tcp::StackSettings large_stack() {
    tcp::StackSettings settings = small_stack();
    settings.capacity.connections = 4'096;
    settings.capacity.half_open = 4'096;
    return settings;
}

/// A worker in a thread of its own with `established` connections from port 10000 on and three half-open ones from
/// port 500 on, and a server that tells of it.
class Control : public ::testing::Test {
protected:
    void start(uint16_t established = 10, bool answers = true) {
        std::atomic<bool> ready{false};
        worker_ = std::thread{[this, &ready, established, answers] {
            Rig<MemoryWire> rig{large_stack()};
            for (uint16_t i = 0; i < established; ++i) Caller{rig, uint16_t(10'000 + i)}.open();
            for (uint16_t port = 500; port < 503; ++port) rig.exchange(Caller{rig, port}.frame(Flags::syn));
            const Inspection::Attendance attendance{inspection_};
            ready.store(true);
            while (!end_.load()) {
                if (answers) {
                    if (gate_.post_of(0).has_news()) gate_.post_of(0).take()->hits[1] = 5;
                    inspection_.serve({rig.stack(), rig.stack().counters(), rig.worker().neighbors(),
                                       rig.worker().paths(), rig.worker().egress(), &gate_.post_of(0)},
                                      rig.now());
                }
                std::this_thread::yield();
            }
        }};
        while (!ready.load()) std::this_thread::yield();
        serve();
    }
    void serve() {
        ControlView view;
        view.workers = {{&inspection_, &waker_, nullptr}};
        view.ports = [] {
            engine::PortInfo port;
            port.interface = test_interface();
            port.driver = "net_test";
            port.received_packets = 17;
            return std::vector{port};
        };
        view.rules = [this] { return gate_.in_force(); };
        view.reload = [this] { return reloaded_; };
        view.patience = std::chrono::milliseconds{worker_.joinable() ? 5'000 : 50};
        server_.emplace(path_, std::move(view), own_cpus());
    }
    void TearDown() override {
        server_.reset();
        end_.store(true);
        if (worker_.joinable()) worker_.join();
    }

    Folder folder_;
    const std::string path_ = folder_ / "a.sock";
    Inspection inspection_;
    engine::Gate gate_{1};
    engine::Reloader::Outcome reloaded_;
    Waker waker_;
    std::atomic<bool> end_{false};
    std::thread worker_;
    std::optional<ControlServer> server_;
};

Json conns(Json more = Json::object()) {
    more["command"] = "conns";
    return more;
}

TEST_F(Control, StatGivesEveryCounterWithItsSentencePerWorkerAndSummed) {
    start();
    const auto rows = Asker{path_}.ask({{"command", "stat"}});
    ASSERT_EQ(rows.size(), tcp::verdict_count + tcp::tally_count + 1);
    bool seen = false;
    for (const Json& row : rows) {
        if (row.contains("end")) continue;
        EXPECT_GT(row.at("sentence").get<std::string>().size(), 5u) << row;
        EXPECT_EQ(row.at("workers").size(), 1u);
        if (row.at("name") != "opened") continue;
        seen = true;
        EXPECT_EQ(row.at("total"), 10);
        EXPECT_EQ(row.at("workers")[0], 10);
        EXPECT_EQ(row.at("kind"), "verdict");
        EXPECT_EQ(row.at("tone"), "normal");
    }
    EXPECT_TRUE(seen);
    EXPECT_EQ(rows.back().at("pid"), getpid());
}

TEST_F(Control, ConnsGivesAllStatesAndFiltersThem) {
    start();
    Asker asker{path_};
    EXPECT_EQ(asker.ask(conns()).size(), 14u) << "ten established, three half-open, the end";
    const auto half_open = asker.ask(conns({{"states", {"syn-received"}}}));
    ASSERT_EQ(half_open.size(), 4u);
    EXPECT_EQ(half_open[0].at("state"), "syn-received");
    EXPECT_EQ(half_open[0].at("retransmissions"), 0);
    const auto one = asker.ask(conns({{"port", 10'003}}));
    ASSERT_EQ(one.size(), 2u);
    EXPECT_EQ(one[0].at("peer"), "192.0.2.2:10003");
    EXPECT_EQ(one[0].at("local"), "192.0.2.1:80");
    EXPECT_EQ(asker.ask(conns({{"peer", "192.0.2.2:501"}})).size(), 2u);
    EXPECT_EQ(asker.ask(conns({{"local", "192.0.2.0/24:80"}, {"states", {"established"}}})).size(), 11u);
    EXPECT_EQ(asker.ask(conns({{"local", "192.0.3.0/24"}})).size(), 1u);
    const auto cut = asker.ask(conns({{"limit", 4}}));
    EXPECT_EQ(cut.size(), 5u);
    EXPECT_EQ(cut.back().at("cut"), true);
    const auto exact = asker.ask(conns({{"limit", 13}}));
    EXPECT_EQ(exact.back().at("cut"), false) << "13 are all that there are";
}

TEST_F(Control, TheSummaryCountsByState) {
    start();
    const auto rows = Asker{path_}.ask(conns({{"summary", true}}));
    ASSERT_EQ(rows.size(), 3u);
    EXPECT_EQ(rows[0], Json({{"row", "state"}, {"state", "syn-received"}, {"count", 3}}));
    EXPECT_EQ(rows[1], Json({{"row", "state"}, {"state", "established"}, {"count", 10}}));
}

TEST_F(Control, PoolsAndPortsAndNeighboursAreTold) {
    start();
    Asker asker{path_};
    const auto pools = asker.ask({{"command", "pools"}});
    EXPECT_EQ(pools[0],
              Json({{"row", "pool"}, {"worker", 0}, {"name", "connections"}, {"used", 10}, {"capacity", 4'096}}));
    const auto ports = asker.ask({{"command", "ports"}});
    ASSERT_EQ(ports.size(), 2u);
    EXPECT_EQ(ports[0].at("mac"), our_mac.to_string());
    EXPECT_EQ(ports[0].at("received_packets"), 17);
    EXPECT_EQ(asker.ask({{"command", "neigh"}}).back().at("end"), "neigh");
}

TEST_F(Control, RulesAreToldWithTheirHitsAndWithWhatNoneFits) {
    start();
    Asker asker{path_};
    EXPECT_EQ(asker.ask({{"command", "filter"}}).size(), 1u) << "no rules";
    std::vector<config::Filter> rules(40);  // more than a slice
    for (config::Filter& rule : rules) rule.action = config::FilterAction::deny;
    rules[1].from = config::Prefix{tcp::IpAddress::from_v4(0x0a00'0000), 8};
    rules[1].ports = config::PortRange{8'000, 8'099};
    rules[1].source = {"a.toml", 12};
    const uint64_t serial = gate_.post(std::make_shared<const engine::Rulebook>(rules));
    while (!gate_.all_have(serial)) std::this_thread::yield();
    const auto rows = asker.ask({{"command", "filter"}});
    ASSERT_EQ(rows.size(), 42u);
    EXPECT_EQ(rows[1], Json({{"row", "rule"},
                             {"rule", 2},
                             {"action", "deny"},
                             {"source", "10.0.0.0/8"},
                             {"ports", "8000-8099"},
                             {"destination", nullptr},
                             {"where", "a.toml:12"},
                             {"hits", 5},
                             {"workers", {5}}}));
    EXPECT_EQ(rows[2].at("hits"), 0);
    EXPECT_EQ(rows[40].at("rule"), nullptr);
    EXPECT_EQ(rows[40].at("action"), "allow");
}

TEST_F(Control, AReloadIsAnsweredWithItsSentence) {
    start();
    Asker asker{path_};
    reloaded_ = {true, "7 rules of [[filter]] in force"};
    const auto done = asker.ask({{"command", "reload"}});
    ASSERT_EQ(done.size(), 2u);
    EXPECT_EQ(done[0], Json({{"row", "reload"}, {"sentence", "7 rules of [[filter]] in force"}}));
    reloaded_ = {false, "a.toml:7: found this; the rules stay as they were"};
    const auto failed = asker.ask({{"command", "reload"}});
    ASSERT_EQ(failed.size(), 1u);
    EXPECT_EQ(failed[0].at("kind"), "failed");
    EXPECT_EQ(failed[0].at("error"), reloaded_.sentence);
}

TEST_F(Control, WhatIsWrongIsOneSentenceAndTheConnectionGoesOn) {
    start();
    Asker asker{path_};
    const auto complains = [&](const std::string& line, const std::string& words) {
        asker.send(line + "\n");
        const auto rows = asker.answer();
        ASSERT_EQ(rows.size(), 1u) << line;
        EXPECT_EQ(rows[0].value("kind", ""), "bad_request") << rows[0];
        EXPECT_THAT(rows[0].value("error", ""), HasSubstr(words)) << line;
        EXPECT_THAT(rows[0].value("error", ""), HasSubstr("found")) << line;
    };
    complains("GET / HTTP/1.1", "no JSON object");
    complains("[1]", "no JSON object");
    complains("\x80\xff", "no JSON object");
    complains("{}", "expected stat, conns");
    complains(R"({"command":"dance"})", "\"dance\"");
    complains(R"({"command":7})", "expected stat, conns");
    complains(R"({"command":"conns","stat":"x"})", "\"stat\"");
    complains(R"({"command":"stat","port":80})", "only conns has filters");
    complains(R"({"command":"conns","states":["open"]})", "syn-received");
    complains(R"({"command":"conns","states":"established"})", "a list of states");
    complains(R"({"command":"conns","local":"192.0.2.1/33"})", "192.0.2.1/33");
    complains(R"({"command":"conns","peer":80})", "ADDRESS");
    complains(R"({"command":"conns","port":65536})", "65535");
    complains(R"({"command":"conns","port":-1})", "65535");
    complains(R"({"command":"conns","limit":"all"})", "a number");
    complains(R"({"command":"conns","summary":1})", "true or false");
    EXPECT_EQ(asker.ask({{"command", "ports"}}).size(), 2u) << "and still it answers";
}

TEST_F(Control, ALineThatIsTooLongEndsTheConnectionWithASentence) {
    start();
    for (const std::string& line : {std::string(10'000, 'x'), std::string(5'000, ' ') + "\n"}) {
        Asker asker{path_};
        asker.send(line);
        const Json said = Json::parse(asker.line());
        EXPECT_THAT(said.value("error", ""), HasSubstr("4096")) << said;
        EXPECT_EQ(asker.line(), "");
    }
    EXPECT_EQ(Asker{path_}.ask({{"command", "ports"}}).size(), 2u);
}

TEST_F(Control, RequestsMayBeSentTogetherAndTheLastLineMayEndWithTheStream) {
    start();
    Asker asker{path_};
    asker.send("{\"command\":\"ports\"}\n\n{\"command\":\"neigh\"}\n{\"command\":\"pools\"}");
    asker.ends_sending();
    EXPECT_EQ(asker.answer().back().at("end"), "ports");
    EXPECT_EQ(asker.answer().back().at("end"), "neigh");
    EXPECT_EQ(asker.answer().back().at("end"), "pools");
    const auto before = std::chrono::steady_clock::now();
    EXPECT_EQ(asker.line(), "") << "nothing more is said, and the connection is closed";
    EXPECT_LT(std::chrono::steady_clock::now() - before, 500ms);
}

TEST_F(Control, AClientThatDoesNotReadHoldsNobodyUp) {
    start(2'000);
    std::vector<std::unique_ptr<Asker>> lazy;
    for (int i = 0; i < 8; ++i) {
        lazy.push_back(std::make_unique<Asker>(path_));
        lazy.back()->send(conns().dump() + "\n");  // about a megabyte that nobody fetches
    }
    const auto before = std::chrono::steady_clock::now();
    EXPECT_EQ(Asker{path_}.ask(conns({{"summary", true}})).size(), 3u);
    EXPECT_LT(std::chrono::steady_clock::now() - before, 10s);
    EXPECT_EQ(lazy[3]->answer().size(), 2'004u) << "who reads at last gets it all";
}

TEST_F(Control, MoreClientsThanPlacesAreToldSo) {
    start();
    std::vector<std::unique_ptr<Asker>> others;
    for (size_t i = 0; i < ControlServer::clients_limit; ++i) {
        others.push_back(std::make_unique<Asker>(path_));
        EXPECT_EQ(others.back()->ask({{"command", "ports"}}).size(), 2u);
    }
    Asker late{path_};
    EXPECT_THAT(Json::parse(late.line()).value("error", ""), HasSubstr("places"));
    EXPECT_EQ(late.line(), "");
    others.pop_back();
    // The server sees that a place is free as soon as it looks.
    size_t answered = 0;
    for (int i = 0; i < 100 && answered == 0; ++i) {
        Asker next{path_};
        const auto rows = next.ask({{"command", "ports"}});
        if (rows.size() == 2) answered = rows.size();
    }
    EXPECT_EQ(answered, 2u);
}

TEST_F(Control, AWorkerThatDoesNotRunOrDoesNotAnswerIsASentenceAndNoHang) {
    serve();
    const auto absent = Asker{path_}.ask({{"command", "stat"}});
    ASSERT_EQ(absent.size(), 1u);
    EXPECT_EQ(absent[0].at("kind"), "failed");
    EXPECT_THAT(absent[0].value("error", ""), HasSubstr("worker 0 does not run"));
    const Inspection::Attendance attendance{inspection_};  // it runs, but turns no more
    const auto silent = Asker{path_}.ask({{"command", "stat"}});
    EXPECT_THAT(silent.at(0).value("error", ""), HasSubstr("worker 0 has not answered"));
}

// ---- The file.
// ------------------------------------------------------------------------------------------------------

TEST(ControlSocketFile, IsItsOwnersAloneAndGoneAtTheEnd) {
    const Folder folder;
    const std::string path = folder / "made/a.sock";
    {
        const ControlSocket socket{path};
        struct stat found {};
        ASSERT_EQ(stat(path.c_str(), &found), 0);
        EXPECT_TRUE(S_ISSOCK(found.st_mode));
        EXPECT_EQ(found.st_mode & 07777, 0600u);
        EXPECT_TRUE(Asker{path}.connected());
    }
    EXPECT_FALSE(fs::exists(folder / "made")) << "the folder was ours too";
}

TEST(ControlSocketFile, WhatAKilledEngineLeftIsReplacedAndALivingOneIsNot) {
    const Folder folder;
    const std::string path = folder / "a.sock";
    {
        const int dead = socket(AF_UNIX, SOCK_STREAM, 0);
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        ASSERT_EQ(bind(dead, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
        close(dead);
    }
    ASSERT_TRUE(fs::exists(path));
    const ControlSocket living{path};
    EXPECT_TRUE(Asker{path}.connected());
    try {
        const ControlSocket second{path};
        ADD_FAILURE() << "two engines have one socket";
    } catch (const std::runtime_error& error) {
        EXPECT_THAT(error.what(), HasSubstr(path + ": another engine answers there"));
    }
    EXPECT_TRUE(Asker{path}.connected()) << "the second did it no harm";
}

TEST(ControlSocketFile, WhatCannotBeMadeIsASentenceAndNothingOfOthersIsTouched) {
    const Folder folder;
    const auto complains = [&](const std::string& path, const std::string& words) {
        try {
            const ControlSocket socket{path};
            ADD_FAILURE() << path;
        } catch (const std::runtime_error& error) {
            EXPECT_THAT(error.what(), HasSubstr(path + ": "));
            EXPECT_THAT(error.what(), HasSubstr(words));
        }
    };
    std::ofstream{folder / "file"} << "precious";
    complains(folder / "file", "no socket");
    EXPECT_EQ(fs::file_size(folder / "file"), 8u);
    complains(folder / "a/b/c.sock", "No such file or directory");
    complains(folder / std::string(120, 'x'), "107");
}

TEST(ControlSocketFile, AnExplicitPathThatFailsEndsTheStartAndAnAutomaticOneIsANotice) {
    config::Settings settings;
    std::string notice;
    const auto start = [&] {
        return engine::start_control(settings, {}, own_cpus(), [&](const std::string& text) { notice = text; });
    };
    settings.engine.control_socket = "off";
    EXPECT_EQ(start(), nullptr);
    settings.engine.control_socket = "/proc/nothing/a.sock";
    EXPECT_THROW(start(), std::runtime_error);
    EXPECT_EQ(notice, "");
    settings.engine.control_socket = "auto";
    setenv("RUNTIME_DIRECTORY", "/proc/nothing", 1);
    EXPECT_EQ(start(), nullptr);
    EXPECT_THAT(notice, HasSubstr("/proc/nothing/pollux-" + std::to_string(getpid()) + ".sock"));
    const Folder folder;
    setenv("RUNTIME_DIRECTORY", (folder / "x").c_str(), 1);
    settings.eal.file_prefix = "mine";
    const auto server = start();
    unsetenv("RUNTIME_DIRECTORY");
    ASSERT_NE(server, nullptr);
    EXPECT_TRUE(Asker{folder / "x/mine.sock"}.connected());
}

}  // namespace
}  // namespace pollux::testing
