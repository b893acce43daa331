#include "tests/simulation/both_ways.hpp"

#include <algorithm>
#include <limits>

#include "tests/support/stack_view.hpp"

namespace pollux::simulation {

using namespace tcp;

namespace {

constexpr uint64_t none = std::numeric_limits<uint64_t>::max();

struct Mark {
    uint64_t frames, stack;
    bool operator==(const Mark&) const = default;
};

Mark mark_of(const Turn& turn) {
    return {turn.frames, test::digest_of(turn.station.stack(), turn.station.counters(), turn.at)};
}

// One turn in detail: what led to it and what the stack said after it.
struct Portrait {
    Record record;
    test::Numbers numbers;
    Instant at{};
    Side side = Side::a;
};

Portrait portrait(const Scenario& scenario, uint64_t turn) {
    Portrait seen;
    const Outcome outcome = run(scenario, &seen.record, [&](const Turn& t) {
        seen.at = std::max(seen.at, t.number <= turn ? t.at : seen.at);
        if (t.number != turn) return;
        seen.side = t.side;
        seen.numbers = test::numbers_of(t.station.stack(), t.station.counters(), t.at);
    });
    if (!outcome.ok()) seen.record.events.push_back("complaint: " + outcome.complaint);
    return seen;
}

std::string in_words(uint64_t turn, const Scenario& scenario, const Portrait& was, const Portrait& is) {
    const auto [line_was, line_is] = std::ranges::mismatch(was.record.events, is.record.events);
    const std::string numbers = test::difference(was.numbers, is.numbers);
    char where[80];
    std::snprintf(
        where, sizeof where, "differs in turn %llu, of %c after %.6f s: ", static_cast<unsigned long long>(turn),
        static_cast<char>('A' + number(was.side)), static_cast<double>((was.at - scenario.start).count()) / 1e6);
    std::string text = where + (numbers.empty() ? "only in what has left" : numbers);
    if (line_was != was.record.events.end() || line_is != is.record.events.end()) {
        text += "\n  the first line of the logs that differs\n    was " +
                (line_was == was.record.events.end() ? "(the end)" : *line_was) + "\n    is  " +
                (line_is == is.record.events.end() ? "(the end)" : *line_is);
    }
    return text;
}

}  // namespace

Scenario with_other_paths(Scenario scenario) {
    for (HostPlan& host : scenario.hosts) host.settings.fast_path = !host.settings.fast_path;
    return scenario;
}

Outcome compare(const Scenario& scenario, const Scenario& other, Record* record) {
    std::vector<Mark> marks;
    Outcome outcome = run(scenario, record, [&](const Turn& turn) { marks.push_back(mark_of(turn)); });
    if (!outcome.ok()) return outcome;
    uint64_t turns = 0, different = none;
    const Outcome again = run(other, nullptr, [&](const Turn& turn) {
        ++turns;
        if (different != none) return;
        if (turn.number >= marks.size() || marks[turn.number] != mark_of(turn)) different = turn.number;
    });
    if (different == none && turns < marks.size()) different = turns;
    if (different != none) {
        const Portrait was = portrait(scenario, different), is = portrait(other, different);
        outcome.complaint = in_words(different, scenario, was, is);
        outcome.at = was.at - scenario.start;
    } else if (!again.ok() || again.hash != outcome.hash) {
        outcome.complaint = again.ok() ? "differs after the last turn" : again.complaint;
        outcome.at = again.at;
    }
    return outcome;
}

Outcome run_both_ways(const Scenario& scenario, Record* record) {
    Outcome outcome = compare(scenario, with_other_paths(scenario), record);
    const bool differs = outcome.complaint.starts_with("differs");
    if (differs) outcome.complaint = "with each host's fast path the other way, the run " + outcome.complaint;
    return outcome;
}

}  // namespace pollux::simulation
