// pollux-test-link: a bad link between network devices, for machines whose kernel has no netem. It forwards Ethernet
// frames between the devices of side A and the one of side B, and does to each direction what it is told:
//
//     pollux-test-link --a one/dev0 --a two/dev0 --b three/dev0 --to-b delay=10ms,loss=1%,rate=20Mb/s,queue=66
//
// All devices of side A share the direction to B, its rate and its queue; what comes back goes where its destination
// was last heard, or to all. ARP is delayed but spared all else: it is not what is measured, and its answers carry no
// checksum or repetition to speak of. It runs until SIGTERM or SIGINT, then prints one line of JSON: what happened to
// the frames, and how late they were sent, beyond when they were due. Exit status 0; 1: could not start; 2: the
// command line is wrong.
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "config/notation.hpp"
#include "tcp/wire/ethernet.hpp"
#include "tests/interop/link/way.hpp"
#include "tests/interop/link/wire.hpp"

namespace {

using namespace pollux;
using namespace std::chrono_literals;
using nlohmann::json;
using test::Moment;
using test::Nanos;

// ---- The command line. ------------------------------------------------------------------------------------------

struct CommandLine {
    std::vector<std::string> side_a;
    std::string side_b, to_a, to_b;
    uint64_t seed = 1;
};

constexpr std::string_view known_keys =
    "delay=10ms, jitter=1ms, loss=1%, reordering=1%, reorder-by=5ms, rate=20Mb/s or queue=66";

template <class T>
bool take(std::optional<T> read, T& into) {
    if (read) into = *read;
    return read.has_value();
}

bool take_time(std::string_view text, Nanos& into) {
    const auto read = config::duration(tcp::Duration{0}, 10s).read(text);
    return take(read ? std::optional<Nanos>{*read} : std::nullopt, into);
}

template <class Number>
bool take_number(std::string_view text, Number low, Number high, Number& into) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), into);
    return error == std::errc{} && end == text.data() + text.size() && into >= low && into <= high;
}

bool take_rate(std::string_view text, double& into) {
    constexpr std::string_view unit = "Mb/s";
    return text.ends_with(unit) && take_number(text.substr(0, text.size() - unit.size()), 0.001, 100'000.0, into);
}

bool set(test::WaySettings& settings, std::string_view key, std::string_view value) {
    if (key == "delay") return take_time(value, settings.delay);
    if (key == "jitter") return take_time(value, settings.jitter);
    if (key == "reorder-by") return take_time(value, settings.reorder_by);
    if (key == "loss") return take(config::percent().read(value), settings.loss_ppm);
    if (key == "reordering") return take(config::percent().read(value), settings.reordering_ppm);
    if (key == "rate") return take_rate(value, settings.megabits);
    return key == "queue" && take_number(value, 1u, 1'000'000u, settings.queue);
}

/// "delay=10ms,loss=1%".
test::WaySettings settings_of(const std::string& option, std::string_view text) {
    test::WaySettings settings;
    while (!text.empty()) {
        const std::string_view part = text.substr(0, text.find(','));
        text.remove_prefix(std::min(part.size() + 1, text.size()));
        const size_t equals = std::min(part.find('='), part.size());
        if (!set(settings, part.substr(0, equals), part.substr(std::min(equals + 1, part.size())))) {
            throw std::invalid_argument(option + ": found \"" + std::string{part} + "\", expected one of " +
                                        std::string{known_keys});
        }
    }
    return settings;
}

// ---- Forwarding. ------------------------------------------------------------------------------------------------

volatile sig_atomic_t interrupted = 0;

Moment now() { return std::chrono::time_point_cast<Nanos>(std::chrono::steady_clock::now()); }

/// How late frames were sent: a count for each microsecond.
class Lateness {
public:
    void note(Nanos late) {
        const auto us = static_cast<size_t>(std::max<int64_t>(late / 1us, 0));
        ++counts_[std::min(us, counts_.size() - 1)];
        ++all_;
        longest_ = std::max(longest_, late);
    }
    json summary() const {
        return {
            {"median", quantile(0.5)}, {"p99", quantile(0.99)}, {"p999", quantile(0.999)}, {"max", longest_ / 1us}};
    }

private:
    size_t quantile(double share) const {
        const auto wanted = static_cast<uint64_t>(share * static_cast<double>(all_));
        uint64_t seen = 0;
        size_t us = 0;
        while (us < counts_.size() - 1 && (seen += counts_[us]) <= wanted) ++us;
        return us;
    }
    std::vector<uint64_t> counts_ = std::vector<uint64_t>(100'000);
    uint64_t all_ = 0;
    Nanos longest_{0};
};

class Link {
public:
    explicit Link(const CommandLine& command)
        : to_b_(settings_of("--to-b", command.to_b), 2 * command.seed),
          to_a_(settings_of("--to-a", command.to_a), 2 * command.seed + 1) {
        for (const std::string& name : command.side_a) wires_.emplace_back(name);
        wires_.emplace_back(command.side_b);
        for (const test::Wire& wire : wires_) polled_.push_back({wire.descriptor(), POLLIN, 0});
    }

    /// Until a signal.
    void run() {
        sigset_t open_mask;
        sigprocmask(SIG_SETMASK, nullptr, &open_mask);
        sigdelset(&open_mask, SIGTERM);
        sigdelset(&open_mask, SIGINT);
        while (interrupted == 0) {
            sleep(open_mask);
            receive();
            send_due(to_b_);
            send_due(to_a_);
        }
    }

    std::string report() {
        json line{{"to_b", json_of(to_b_)}, {"to_a", json_of(to_a_)}, {"lateness_us", lateness_.summary()}};
        for (test::Wire& wire : wires_) {
            const test::WireCounts counts = wire.counts();
            line["devices"].push_back({{"device", wire.name()},
                                       {"received", counts.received},
                                       {"sent", counts.sent},
                                       {"oversized", counts.oversized},
                                       {"refused", counts.refused},
                                       {"missed", counts.missed}});
        }
        return line.dump();
    }

private:
    struct Arrival {
        size_t from;
        test::Wire::Arrival what;
    };

    size_t b() const { return wires_.size() - 1; }

    void sleep(const sigset_t& mask) {
        std::optional<Moment> due = to_b_.next_due();
        if (const auto other = to_a_.next_due(); other && (!due || *other < *due)) due = other;
        timespec patience{};
        if (due) {
            const Nanos left = std::max(*due - now(), Nanos::zero());
            patience = {left / 1s, (left % 1s).count()};
        }
        ppoll(polled_.data(), polled_.size(), due ? &patience : nullptr, &mask);
    }

    // What came to side A by several devices is put in the order of its arrival: a queue that they share must not
    // prefer the one that is read first.
    void receive() {
        arrivals_.clear();
        for (size_t i = 0; i < wires_.size(); ++i) {
            if ((polled_[i].revents & (POLLIN | POLLERR)) == 0) continue;
            burst_.clear();
            wires_[i].receive(burst_);
            for (test::Wire::Arrival& arrival : burst_) arrivals_.push_back({i, std::move(arrival)});
        }
        std::stable_sort(arrivals_.begin(), arrivals_.end(),
                         [](const Arrival& x, const Arrival& y) { return x.what.arrived < y.what.arrived; });
        for (Arrival& arrival : arrivals_) {
            const auto ethernet = tcp::wire::EthernetFrame::parse(arrival.what.bytes);
            if (!ethernet) continue;
            if (arrival.from != b()) heard_[ethernet->source().octets] = arrival.from;
            const bool spared = ethernet->ether_type() == tcp::wire::EtherType::arp;
            test::Way& way = arrival.from == b() ? to_a_ : to_b_;
            way.admit({std::move(arrival.what.bytes), arrival.from}, arrival.what.arrived, spared);
        }
    }

    void send_due(test::Way& way) {
        for (Moment time = now(); auto taken = way.take(time); time = now()) {
            lateness_.note(time - taken->due);
            const auto& bytes = taken->frame.bytes;
            if (taken->frame.from != b()) {
                wires_[b()].send(bytes);
                continue;
            }
            const auto known = heard_.find(tcp::wire::EthernetFrame::parse(bytes)->destination().octets);
            for (size_t i = 0; i < b(); ++i) {
                if (known == heard_.end() || known->second == i) wires_[i].send(bytes);
            }
        }
    }

    static json json_of(const test::Way& way) {
        const test::WayCounts& counts = way.counts();
        return {{"arrived", counts.arrived},       {"lost", counts.lost},     {"queue_full", counts.queue_full},
                {"reordered", counts.reordered},   {"left", counts.left},     {"bytes_left", counts.bytes_left},
                {"queue_peak", counts.queue_peak}, {"on_the_way", way.held()}};
    }

    std::vector<test::Wire> wires_;  // side A's, then side B's
    std::vector<pollfd> polled_;
    test::Way to_b_, to_a_;
    std::map<std::array<uint8_t, 6>, size_t> heard_;  // which address was heard on which wire of side A
    std::vector<test::Wire::Arrival> burst_;
    std::vector<Arrival> arrivals_;
    Lateness lateness_;
};

int complain(const std::string& sentence, int exit_status) {
    std::fprintf(stderr, "pollux-test-link: %s\n", sentence.c_str());
    return exit_status;
}

// It sleeps most of the time, and is the clock of a measurement when it does not: it goes first where that is
// allowed.
void take_precedence() {
    prctl(PR_SET_TIMERSLACK, 1);  // ns; by default sleeps are 50 us too long
    const sched_param lowest{.sched_priority = 1};
    sched_setscheduler(0, SCHED_FIFO, &lowest);
}

// Signals come while we sleep and at no other time.
void catch_signals() {
    struct sigaction action {};
    action.sa_handler = [](int) { interrupted = 1; };
    sigaction(SIGTERM, &action, nullptr);
    sigaction(SIGINT, &action, nullptr);
    sigset_t both;
    sigemptyset(&both);
    sigaddset(&both, SIGTERM);
    sigaddset(&both, SIGINT);
    sigprocmask(SIG_BLOCK, &both, nullptr);
}

}  // namespace

int main(int argc, char** argv) {
    CommandLine command;
    CLI::App app{"A bad link between network devices, for tests."};
    app.name("pollux-test-link");
    app.add_option("--a", command.side_a, "DEVICE or NAMESPACE/DEVICE; several share the way to B")->required();
    app.add_option("--b", command.side_b, "DEVICE or NAMESPACE/DEVICE")->required();
    app.add_option("--to-b", command.to_b, "what happens on the way to B: " + std::string{known_keys});
    app.add_option("--to-a", command.to_a, "the same of the way back");
    app.add_option("--seed", command.seed, "the same seed, the same fate for the n-th frame")->capture_default_str();
    catch_signals();
    take_precedence();
    try {
        app.parse(argc, argv);
        Link link{command};
        std::puts("pollux-test-link: forwarding");
        std::fflush(stdout);
        link.run();
        std::printf("%s\n", link.report().c_str());
        return 0;
    } catch (const CLI::Success& wanted) {  // --help
        return app.exit(wanted);
    } catch (const CLI::ParseError& error) {
        return complain(error.what(), 2);
    } catch (const std::invalid_argument& mistake) {
        return complain(mistake.what(), 2);
    } catch (const std::exception& error) {
        return complain(error.what(), 1);
    }
}
