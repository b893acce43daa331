// How much arrives, and how flows share: tables of a simulated link, checked in as goodput.txt. Everything in them
// follows from the stack and the seeds, so they change only with the stack's behaviour; then somebody has to look,
// and to write them anew by POLLUX_UPDATE_GOODPUT=1.
#include <gtest/gtest.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/simulation/dumbbell.hpp"

namespace pollux::simulation {
namespace {

using namespace tcp;
using namespace std::chrono_literals;

constexpr uint64_t megabit = 125'000;  // bytes
const std::filesystem::path table_file = POLLUX_SOURCE "/tests/simulation/goodput.txt";

struct Control {
    CongestionControl control;
    const char* name;
};
constexpr Control controls[] = {{CongestionControl::new_reno, "new_reno"}, {CongestionControl::cubic, "cubic"}};

__attribute__((format(printf, 1, 2))) std::string line(const char* format, ...) {
    char text[200];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return std::string(text) + "\n";
}

StackSettings settings_of(const Control& control, bool sack) {
    StackSettings s;
    s.congestion = control.control;
    s.sack = sack;
    return s;
}

uint32_t bandwidth_delay(uint64_t rate, Duration rtt) {
    return static_cast<uint32_t>(rate * static_cast<uint64_t>(rtt.count()) / 1'000'000);
}

double megabits(uint64_t bytes, Duration time) {
    return static_cast<double>(bytes) * 8 / static_cast<double>(time.count());
}

// ---- One flow. ----------------------------------------------------------------------------------------------------

constexpr uint64_t rate = 100 * megabit;

Duration time_for(Duration rtt) { return rtt < 5ms ? 1s : rtt < 50ms ? 3s : 10s; }

std::string row_of_loss(const Control& control, bool sack, Duration rtt, double loss) {
    Dumbbell::Plan plan;
    plan.settings = settings_of(control, sack);
    plan.rate = rate;
    plan.rtt = rtt;
    plan.queue = std::max(bandwidth_delay(rate, rtt), 30'000u);
    plan.loss = loss;
    Dumbbell link(plan);
    const Duration time = time_for(rtt);
    link.runs_until(time);
    const Counters& counters = link.counters();
    const auto repeated = static_cast<double>(counters[Tally::retransmitted_segments]);
    return line("%-10s %-5s %7lld %7.1f %10.2f %11.2f %10llu %9llu", control.name, sack ? "on" : "off",
                static_cast<long long>(rtt / 1ms), loss * 100, megabits(link.received(0), time),
                repeated * 100 / static_cast<double>(counters[Tally::segments_sent]),
                static_cast<unsigned long long>(counters[Tally::fast_retransmits]),
                static_cast<unsigned long long>(counters[Tally::retransmission_timeouts]));
}

std::string table_of_loss() {
    std::string text =
        "One flow over 100 Mb/s with a drop-tail queue of one bandwidth-delay product, 30 kB at least. Loss is "
        "random,\n"
        "of packets with data. 1 s at an RTT of 1 ms, 3 s at 10 ms, 10 s at 100 ms, slow start included.\n\n"
        "congestion sack  rtt[ms] loss[%] good[Mb/s] repeated[%] recoveries  timeouts\n";
    for (const Control& control : controls) {
        for (const bool sack : {true, false}) {
            for (const Duration rtt : {1ms, 10ms, 100ms}) {
                for (const double loss : {0.0, 0.001, 0.01, 0.02, 0.05, 0.1}) {
                    text += row_of_loss(control, sack, rtt, loss);
                }
            }
        }
    }
    return text;
}

// ---- Many flows. --------------------------------------------------------------------------------------------------

std::string row_of_sharing(const Control& control, bool sack, size_t flows) {
    Dumbbell::Plan plan;
    plan.settings = settings_of(control, sack);
    plan.starts.clear();
    for (size_t i = 0; i < flows; ++i) plan.starts.push_back(static_cast<int64_t>(i) * 13ms);
    plan.rate = 50 * megabit;
    plan.rtt = 40ms;
    plan.queue = bandwidth_delay(plan.rate, plan.rtt);
    Dumbbell link(plan);
    const Duration settled = 3s, end = 10s;
    link.runs_until(settled);
    const std::vector<uint64_t> before = link.received();
    link.runs_until(end);
    std::vector<uint64_t> shares = link.received();
    uint64_t sum = 0;
    for (size_t i = 0; i < flows; ++i) sum += shares[i] -= before[i];
    return line("%-10s %-5s %7zu %10.2f %7.3f %10llu %9llu", control.name, sack ? "on" : "off", flows,
                megabits(sum, end - settled), jain_index(shares),
                static_cast<unsigned long long>(link.counters()[Tally::fast_retransmits]),
                static_cast<unsigned long long>(link.counters()[Tally::retransmission_timeouts]));
}

std::string table_of_sharing() {
    std::string text =
        "Flows that share 50 Mb/s and a drop-tail queue of one bandwidth-delay product (250 kB), RTT 40 ms, begun 13 "
        "ms\n"
        "apart; the sum and Jain's index of seconds 3 to 10.\n\n"
        "congestion sack    flows good[Mb/s]    jain recoveries  timeouts\n";
    for (const Control& control : controls) {
        for (const bool sack : {true, false}) {
            for (const size_t flows : {2, 4, 8, 16, 32, 64}) text += row_of_sharing(control, sack, flows);
        }
    }
    return text;
}

// ---- The file. ----------------------------------------------------------------------------------------------------

std::string stored() {
    std::ifstream in(table_file);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream in(text);
    for (std::string one; std::getline(in, one);) lines.push_back(one);
    return lines;
}

// Line by line: rows keep their places.
std::string difference(const std::string& was, const std::string& is) {
    const auto old_lines = lines_of(was), new_lines = lines_of(is);
    std::string text;
    for (size_t i = 0; i < std::max(old_lines.size(), new_lines.size()); ++i) {
        const std::string before = i < old_lines.size() ? old_lines[i] : "",
                          now = i < new_lines.size() ? new_lines[i] : "";
        if (before != now) text += "  - " + before + "\n  + " + now + "\n";
    }
    return text;
}

TEST(Goodput, IsWhatTheTablesSay) {
    const std::string is = table_of_loss() + "\n" + table_of_sharing();
    const char* const asked = std::getenv("POLLUX_UPDATE_GOODPUT");
    if (asked != nullptr && std::string_view(asked) == "1") std::ofstream(table_file) << is;
    EXPECT_EQ(difference(stored(), is), "")
        << "If this is for the better, write the tables anew: POLLUX_UPDATE_GOODPUT=1 "
           "build/asan/tests/simulation/goodput";
}

TEST(Goodput, DifferencesNameTheRow) {
    EXPECT_EQ(difference("a\nb\nc\n", "a\nB\nc\nd\n"), "  - b\n  + B\n  - \n  + d\n");
    EXPECT_EQ(difference("a\nb\n", "a\nb\n"), "");
}

TEST(Goodput, IsTheSameEachTime) {
    const auto row = [] { return row_of_loss(controls[1], true, 10ms, 0.02); };
    EXPECT_EQ(row(), row());
}

}  // namespace
}  // namespace pollux::simulation
