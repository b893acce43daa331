// pollux-test-flood: what an attacker sends, as fast as one core can, and what an honest client sees meanwhile through
// the same port. It prints one line of JSON: packets sent and answered by kind, and how the honest connections fared.
//
//     pollux-test-flood --kind syn --seconds 3 --rate 1000000 --kept 4
//
// It drives virtual devices only, whose other end is a process of this machine, so that nothing of this ever reaches
// a wire. Exit status: 0 done, 1 could not start, 2 wrong command line.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "config/settings.hpp"
#include "engine/machine.hpp"
#include "engine/mbuf.hpp"
#include "engine/worker.hpp"
#include "tests/attack/flood/frames.hpp"
#include "tests/attack/flood/honest.hpp"
#include "tests/attack/flood/ledger.hpp"

namespace {

using namespace pollux;
using namespace std::chrono_literals;
using nlohmann::json;

struct CommandLine {
    std::string device = "net_memif0,role=client,socket=pollux-memif,rsize=11";
    std::string address = "192.0.2.2", address_v6 = "2001:db8::2";
    std::string server = "192.0.2.1", server_v6 = "2001:db8::1", server_mac = "02:00:00:00:00:01";
    std::vector<std::string> kinds;
    uint16_t core = 1, port = 80;
    double seconds = 1, linger = 0.2;
    uint64_t rate = 0, count = 0;
    uint32_t tuples = 0, at_once = 4, kept = 0, pause_ms = 10, patience_ms = 5'000;
    bool v6 = false, idle = false;
};

int complain(const std::string& sentence, int exit_status) {
    std::fprintf(stderr, "pollux-test-flood: %s\n", sentence.c_str());
    return exit_status;
}

void say(const char* what) {
    std::puts(what);
    std::fflush(stdout);
}

/// The honest client's queue: what comes back to the flood's sources goes to the ledger, the rest to the worker.
class SortingQueue {
public:
    SortingQueue(engine::NicQueue queue, const engine::Interface& interface, test::Ledger& ledger)
        : queue_(queue), interface_(interface), ledger_(ledger) {}

    uint16_t receive(std::span<rte_mbuf*> into) {
        const uint16_t came = queue_.receive(into);
        uint16_t ours = 0;
        for (uint16_t i = 0; i < came; ++i) {
            if (is_ours(engine::bytes_of(*into[i]))) {
                into[ours++] = into[i];
                continue;
            }
            ledger_.comes(engine::bytes_of(*into[i]));
            engine::release(into[i]);
        }
        return ours;
    }
    uint16_t send(std::span<rte_mbuf*> packets) { return queue_.send(packets); }

private:
    bool is_ours(std::span<const std::byte> bytes) const {
        const auto frame = tcp::wire::EthernetFrame::parse(bytes);
        if (!frame || frame->is_multicast()) return true;
        if (frame->destination() != interface_.mac) return false;
        const auto ip = frame->payload();
        switch (frame->ether_type()) {
            case tcp::wire::EtherType::ipv4: {
                const auto header = tcp::wire::Ipv4Header::parse(ip);
                return header && interface_.is_ours(header->destination());
            }
            case tcp::wire::EtherType::ipv6: {
                const auto header = tcp::wire::Ipv6Header::parse(ip);
                return header && interface_.is_ours(header->destination());
            }
            default: return true;
        }
    }

    engine::NicQueue queue_;
    const engine::Interface& interface_;
    test::Ledger& ledger_;
};
static_assert(engine::PacketQueue<SortingQueue>);

/// Sends the frames of a flood, at a rate or as fast as the queue takes them. What the queue refuses waits.
class Sender {
public:
    Sender(engine::NicQueue queue, rte_mempool& pool, const test::FrameMaker& frames, std::vector<test::Kind> kinds,
           test::Ledger& ledger, uint64_t rate, uint64_t count)
        : queue_(queue), pool_(pool), frames_(frames), kinds_(std::move(kinds)), ledger_(ledger), rate_(rate),
          count_(count) {}
    ~Sender() { engine::release(std::span{waiting_}.first(held_)); }
    Sender(const Sender&) = delete;
    Sender& operator=(const Sender&) = delete;

    void turn(tcp::Duration elapsed) {
        if (held_ == 0) make(elapsed);
        if (held_ == 0) return;
        const uint16_t taken = queue_.send(std::span{waiting_}.first(held_));
        std::copy(waiting_.begin() + taken, waiting_.begin() + held_, waiting_.begin());
        held_ -= taken;
        sent_ += taken;
        refused_ += taken == 0 ? 1 : 0;
    }
    uint64_t sent() const { return sent_; }
    uint64_t refused() const { return refused_; }
    bool is_done() const { return count_ != 0 && sent_ >= count_; }

private:
    static constexpr uint32_t burst = 64;

    void make(tcp::Duration elapsed) {
        uint64_t wanted = burst;
        if (rate_ != 0) {
            const auto due = static_cast<uint64_t>(static_cast<double>(elapsed.count()) / 1e6 *
                                                   static_cast<double>(rate_));
            wanted = std::min<uint64_t>(wanted, due - std::min(due, made_));
        }
        if (count_ != 0) wanted = std::min(wanted, count_ - made_);
        const auto number = static_cast<uint32_t>(wanted);
        if (number == 0 || rte_pktmbuf_alloc_bulk(&pool_, waiting_.data(), number) != 0) return;
        for (uint32_t i = 0; i < number; ++i) {
            const test::Kind kind = kinds_[made_ % kinds_.size()];
            const uint64_t n = made_ / kinds_.size();
            engine::set_size(*waiting_[i], frames_.write(kind, n, engine::room_of(*waiting_[i])));
            ledger_.leaves(n);
            ++made_;
        }
        held_ = number;
    }

    engine::NicQueue queue_;
    rte_mempool& pool_;
    const test::FrameMaker& frames_;
    std::vector<test::Kind> kinds_;
    test::Ledger& ledger_;
    uint64_t rate_, count_, made_ = 0, sent_ = 0, refused_ = 0;
    std::array<rte_mbuf*, burst> waiting_{};
    uint32_t held_ = 0;
};

std::vector<test::Kind> kinds_of(const std::vector<std::string>& names) {
    std::vector<test::Kind> kinds;
    for (const std::string& name : names) {
        auto kind = test::Kind{};
        while (kind < test::Kind::count && to_string(kind) != name) kind = test::Kind(uint8_t(kind) + 1);
        if (kind == test::Kind::count) throw std::invalid_argument("found the kind \"" + name + "\", see --help");
        kinds.push_back(kind);
    }
    return kinds;
}

/// Everything else reaches further than to a process of this machine, or may.
void refuse_what_reaches_a_wire(const std::string& device) {
    for (const std::string_view driver : {"net_memif", "net_ring", "net_null", "net_tap"}) {
        if (device.starts_with(driver)) return;
    }
    throw std::invalid_argument("found the device \"" + device +
                                "\", expected net_memif, net_ring, net_null or net_tap: a flood stays on this machine");
}

config::Settings settings_of(const CommandLine& command) {
    config::Settings settings;
    settings.eal.huge_pages = false;
    settings.eal.cores = {command.core};
    settings.ports.resize(1);
    config::Port& port = settings.ports[0];
    port.device = command.device;
    port.addresses = {{*tcp::IpAddress::parse(command.address), 24}, {*tcp::IpAddress::parse(command.address_v6), 64}};
    port.duplicate_address_detection = false;
    settings.tcp.msl = 500ms;
    settings.tcp.capacity.connections = 4'096;
    return settings;
}

/// The q-th part of sorted times, in microseconds; 0 without any.
uint32_t part(const std::vector<uint32_t>& sorted, double q) {
    if (sorted.empty()) return 0;
    return sorted[std::min(sorted.size() - 1, static_cast<size_t>(q * static_cast<double>(sorted.size())))];
}

json report_of(const test::Honest::Report& report) {
    std::vector<uint32_t> took = report.took_us;
    std::sort(took.begin(), took.end());
    return {{"started", report.started},
            {"answered", report.answered},
            {"wrong", report.wrong},
            {"reset", report.reset},
            {"timed_out", report.timed_out},
            {"not_begun", report.not_begun},
            {"scaled", report.scaled},
            {"sacked", report.sacked},
            {"stamped", report.stamped},
            {"kept", report.kept},
            {"p50_us", part(took, 0.5)},
            {"p99_us", part(took, 0.99)},
            {"most_us", took.empty() ? 0 : took.back()}};
}

json report_of(test::Ledger& ledger) {
    json replies = json::object();
    for (size_t i = 0; i < test::Ledger::names.size(); ++i) {
        replies[std::string{test::Ledger::names[i]}] = ledger.replies(static_cast<test::Ledger::Reply>(i));
    }
    return {{"replies", replies},
            {"replies_per_packet", ledger.replies_per_packet()},
            {"unasked", ledger.unasked()},
            {"longest_syn_ack", {ledger.longest_syn_ack(false), ledger.longest_syn_ack(true)}}};
}

class Run {
public:
    Run(const CommandLine& command, const engine::Machine& machine)
        : command_(command),
          clock_(machine.clock()),
          queue_(machine.queues(0).front()),
          stack_(machine.stack_settings(), machine.secrets(0), counters_),
          honest_(plan_of(command)),
          worker_({SortingQueue{queue_, machine.interfaces()[0], ledger_}}, machine.interfaces(), stack_, honest_,
                  counters_, machine.pool(0), machine.worker_settings(0)),
          frames_({machine.interfaces()[0].mac, *tcp::wire::MacAddress::parse(command.server_mac),
                   *tcp::IpAddress::parse(command.server), *tcp::IpAddress::parse(command.server_v6), command.port},
                  command.v6, command.tuples),
          sender_(queue_, machine.pool(0), frames_, kinds_of(command.kinds), ledger_, command.rate, command.count) {}

    int operator()() {
        const tcp::Instant patience = clock_.now() + 10s;
        while (!queue_.has_link()) {
            if (clock_.now() > patience) {
                return complain("nobody is at the other end of " + command_.device, 1);
            }
            std::this_thread::sleep_for(10ms);
        }
        warm_up();
        say("flooding");
        const tcp::Instant began = clock_.now();
        honest_.set_active(command_.at_once + command_.kept != 0);
        const auto limit = tcp::Duration{static_cast<int64_t>(command_.seconds * 1e6)};
        tcp::Instant now = began, sent_all{};
        while (now < began + limit) {
            if (!command_.idle && !sender_.is_done()) {
                sender_.turn(now - began);
                sent_all = now;
            }
            turn(now = clock_.now());
        }
        honest_.set_active(false);
        say("flooded");
        while (!honest_.is_idle()) turn(clock_.now());
        honest_.let_go_of_kept();
        pass(tcp::Duration{static_cast<int64_t>(command_.linger * 1e6)});

        json line = report_of(ledger_);
        const double took = std::chrono::duration<double>(sent_all - began).count();
        line["sent"] = sender_.sent();
        line["rate"] = took > 0 ? static_cast<uint64_t>(static_cast<double>(sender_.sent()) / took) : 0;
        line["seconds"] = took;
        line["refused"] = sender_.refused();
        line["honest"] = report_of(honest_.report());
        say(line.dump().c_str());
        return 0;
    }

private:
    static test::Honest::Plan plan_of(const CommandLine& command) {
        test::Honest::Plan plan;
        plan.servers = {{*tcp::IpAddress::parse(command.server), command.port},
                        {*tcp::IpAddress::parse(command.server_v6), command.port}};
        plan.at_once = command.at_once;
        plan.kept = command.kept;
        plan.pause = tcp::Duration{int64_t{command.pause_ms} * 1'000};
        plan.patience = tcp::Duration{int64_t{command.patience_ms} * 1'000};
        return plan;
    }
    static bool interrupted() { return engine::Signals::requests() != 0; }

    bool turn(tcp::Instant now) {
        if (interrupted()) throw std::runtime_error("ended by a signal");
        return worker_.turn(now);
    }
    // Without hurry.
    void pass(tcp::Duration time) {
        for (const tcp::Instant until = clock_.now() + time; clock_.now() < until;) {
            if (!turn(clock_.now())) std::this_thread::sleep_for(50us);
        }
    }
    // Neighbours get to know each other, and caches what they are for.
    void warm_up() {
        if (command_.at_once == 0) return pass(50ms);
        honest_.set_active(true, false);
        pass(300ms);
        honest_.set_active(false);
        while (!honest_.is_idle()) turn(clock_.now());
        honest_.forget_the_past();
    }

    const CommandLine& command_;
    engine::Clock clock_;
    engine::NicQueue queue_;
    test::Ledger ledger_;
    tcp::Counters counters_;
    tcp::Stack stack_;
    test::Honest honest_;
    engine::Worker<SortingQueue, test::Honest> worker_;
    test::FrameMaker frames_;
    Sender sender_;
};

}  // namespace

int main(int argc, char** argv) {
    CommandLine command;
    CLI::App app{"Floods a server of this machine, and tells how honest clients fare."};
    app.name("pollux-test-flood");
    std::string kinds;
    for (auto kind = test::Kind{}; kind < test::Kind::count; kind = test::Kind(uint8_t(kind) + 1)) {
        kinds += (kinds.empty() ? "" : ", ") + std::string{to_string(kind)};
    }
    const auto of_family = [](bool v6) {
        return [v6](const std::string& text) {
            const auto read = tcp::IpAddress::parse(text);
            return read && read->is_v4() != v6 ? std::string{} : "\"" + text + "\" is no such address";
        };
    };
    const auto mac = [](const std::string& text) {
        return tcp::wire::MacAddress::parse(text) ? std::string{} : "\"" + text + "\" is no link address";
    };
    app.add_option("--kind", command.kinds, "what is sent, in turn: " + kinds);
    app.add_flag("--idle", command.idle, "send nothing but the honest connections");
    app.add_option("--vdev", command.device, "the DPDK device; virtual ones only")->capture_default_str();
    app.add_option("--address", command.address, "of the honest client")->check(of_family(false))->capture_default_str();
    app.add_option("--address-v6", command.address_v6, "the same")->check(of_family(true))->capture_default_str();
    app.add_option("--server", command.server, "the victim's")->check(of_family(false))->capture_default_str();
    app.add_option("--server-v6", command.server_v6, "the same")->check(of_family(true))->capture_default_str();
    app.add_option("--server-mac", command.server_mac, "the same")->check(mac)->capture_default_str();
    app.add_option("--port", command.port, "the victim's")->capture_default_str();
    app.add_flag("--v6", command.v6, "flood over IPv6; honest connections use both");
    app.add_option("--core", command.core, "the core to run on")->capture_default_str();
    app.add_option("--seconds", command.seconds, "for how long")->capture_default_str();
    app.add_option("--linger", command.linger, "how long answers are waited for afterwards")->capture_default_str();
    app.add_option("--rate", command.rate, "packets a second; 0: as many as the victim takes")->capture_default_str();
    app.add_option("--count", command.count, "packets in all; 0: no limit")->capture_default_str();
    app.add_option("--tuples", command.tuples, "so many different sources; 0: 2^24")->capture_default_str();
    app.add_option("--honest", command.at_once, "honest connections at a time")->capture_default_str();
    app.add_option("--kept", command.kept, "honest connections that stay")->capture_default_str();
    app.add_option("--pause-ms", command.pause_ms, "between two of one client")->capture_default_str();
    app.add_option("--patience-ms", command.patience_ms, "for an honest answer")->capture_default_str();
    try {
        app.parse(argc, argv);
        if (command.kinds.empty() == !command.idle) {
            throw CLI::ValidationError("either --kind or --idle has to be there");
        }
        kinds_of(command.kinds);
        refuse_what_reaches_a_wire(command.device);
    } catch (const CLI::Success& wanted) {  // --help
        return app.exit(wanted);
    } catch (const std::exception& error) {
        return complain(error.what(), 2);
    }
    try {
        const config::Settings settings = settings_of(command);
        const engine::Machine machine{settings, {}, true, false};
        return Run{command, machine}();
    } catch (const std::exception& error) {
        return complain(error.what(), 1);
    }
}
