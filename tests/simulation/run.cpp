#include "tests/simulation/run.hpp"

#include <algorithm>
#include <fstream>
#include <optional>

#include "tcp/wire/packet.hpp"
#include "tests/simulation/ending.hpp"
#include "tests/simulation/hostile_peer.hpp"
#include "tests/simulation/network.hpp"
#include "tests/support/digest.hpp"

namespace pollux::simulation {

using namespace tcp;

namespace {

std::string in_words(const Packet& packet) {
    const auto parsed = wire::parse(packet, wire::ChecksumTrust::verify_all);
    if (parsed.result == wire::ParseResult::ok) {
        return std::to_string(parsed.segment.flow.remote_port) + ">" +
               std::to_string(parsed.segment.flow.local_port) + " " + to_string(parsed.segment);
    }
    return "(" + std::to_string(packet.size()) + " bytes: " + std::string(to_string(parsed.result)) + ")";
}

class Run {
public:
    Run(const Scenario& scenario, Record* record, const Onlooker& onlooker)
        : scenario_(scenario),
          record_(record),
          onlooker_(onlooker),
          a_(scenario, Side::a, judge_),
          ways_{Network{scenario, Side::a, record == nullptr ? nullptr : &notes_},
                Network{scenario, Side::b, record == nullptr ? nullptr : &notes_}},
          now_(scenario.start) {
        stations_[0] = &a_;
        if (scenario.hostile) {
            hostile_.emplace(scenario);
        } else {
            b_.emplace(scenario, Side::b, judge_);
            stations_[1] = &*b_;
        }
        for (Station* station : stations_) {
            if (station != nullptr) station->application().takes_notes = record != nullptr;
        }
    }

    Outcome plays() {
        std::array<Instant, 2> wakes{now_, now_};
        while (!judge_.has_complaint()) {
            for (const Side side : {Side::a, Side::b}) {
                if (wakes[number(side)] <= now_) works(side);
            }
            const auto next = next_event(wakes);
            if (is_over()) break;
            if (!next) {
                judge_.complains(now_, "nothing will ever happen again, and something is left: " + left());
                break;
            }
            now_ = *next;
            if (now_ > limit()) judge_.complains(now_, "something is left long after the end: " + left());
        }
        for (size_t i = 0; i < scenario_.connections.size(); ++i) judges_ending(i);
        Outcome outcome;
        outcome.complaint = judge_.complaint();
        if (judge_.has_complaint()) outcome.at = judge_.at() - scenario_.start;
        outcome.hash = hash_.value();
        outcome.packets = packets_;
        outcome.duration = now_ - scenario_.start;
        return outcome;
    }

private:
    Network& way_from(Side side) { return ways_[number(side)]; }

    void judges_ending(size_t i) {
        const Story& a = a_.application().story(i);
        const auto wrong = hostile_ ? judge_ending(scenario_, i, a, hostile_->farewell(i))
                                    : judge_ending(scenario_, i, a, b_->application().story(i));
        if (wrong) judge_.complains(now_, *wrong);
    }

    // All turns of one side at this instant.
    void works(Side side) {
        Station* const station = stations_[number(side)];
        Network& arriving = way_from(other(side));
        const auto has_arrived = [&] {
            const auto next = arriving.next_arrival();
            return next && takes_at(side, *next) <= now_;
        };
        for (int turns = 0; !judge_.has_complaint(); ++turns) {
            burst_.clear();
            sent_.clear();
            if (has_arrived()) arriving.arrivals(now_, station == nullptr ? 32 : station->burst(), burst_);
            for (const Packet& packet : burst_) arrives(side, packet);
            if (station == nullptr)
                hostile_->turn(now_, burst_, sent_);
            else
                station->turn(now_, burst_, sent_);
            for (Packet& packet : sent_) leaves(side, std::move(packet));
            if (station != nullptr) tells(station->application().notes);
            if (station != nullptr && onlooker_) onlooker_({turns_++, now_, side, *station, hash_.value()});
            if (!(station != nullptr && station->is_busy()) && !has_arrived()) break;
            if (turns > 100'000) judge_.complains(now_, "a host turns for ever");
        }
    }

    Instant takes_at(Side side, Instant arrival) const {
        const Station* const station = stations_[number(side)];
        return station == nullptr ? arrival : station->takes_at(arrival);
    }

    void arrives(Side side, const Packet& packet) {
        hash_.add(static_cast<uint64_t>(now_.time_since_epoch().count()) * 4 + number(side));
        hash_.add(packet);
        if (record_ != nullptr) note(std::string("to ") + letter(side) + ": " + in_words(packet));
    }

    void leaves(Side side, Packet packet) {
        ++packets_;
        hash_.add(static_cast<uint64_t>(now_.time_since_epoch().count()) * 4 + 2 + number(side));
        hash_.add(packet);
        if (record_ != nullptr) {
            const std::string text = in_words(packet);
            const auto direction = side == Side::a ? test::Direction::to_peer : test::Direction::to_host;
            record_->packets.add(now_, direction, packet, text);
            note(std::string("from ") + letter(side) + ": " + text);
        }
        Network& way = way_from(side);
        way.sends(now_, std::move(packet));
        for (Packet& error : way.take_errors()) way_from(other(side)).sends(now_, std::move(error));
        tells(notes_);
    }

    void tells(std::vector<std::string>& notes) {
        if (record_ != nullptr) {
            for (const std::string& text : notes) {
                note("    " + text);
                record_->packets.note(now_, text);
            }
        }
        notes.clear();
    }

    void note(const std::string& text) {
        char time[32];
        std::snprintf(time, sizeof time, "%14.6f  ", static_cast<double>((now_ - scenario_.start).count()) / 1e6);
        record_->events.push_back(time + text);
    }

    // When each side works next, and the earliest of both.
    std::optional<Instant> next_event(std::array<Instant, 2>& wakes) {
        std::optional<Instant> earliest;
        for (const Side side : {Side::a, Side::b}) {
            const Station* const station = stations_[number(side)];
            std::optional<Instant> next = station == nullptr ? hostile_->next_due() : station->next_due(now_);
            if (const auto arrival = way_from(other(side)).next_arrival()) {
                const Instant at = std::max(takes_at(side, *arrival), now_);
                if (!next || at < *next) next = at;
            }
            wakes[number(side)] = next.value_or(Instant::max());
            if (next && (!earliest || *next < *earliest)) earliest = next;
        }
        return earliest;
    }

    // Everything has been asked for, every application is through, nothing travels and nothing is kept.
    bool is_over() {
        const bool quiet = std::ranges::all_of(stations_, [](const Station* station) {
            return station == nullptr ||
                   (!station->application().next_due() && !station->application().anything_open());
        });
        if (hostile_ && !hostile_->has_begun()) return false;
        if (!quiet || !ways_[0].empty() || !ways_[1].empty()) {  // a late copy may still begin TIME-WAIT anew
            through_at_.reset();
            return false;
        }
        through_at_ = through_at_.value_or(now_);
        return std::ranges::all_of(stations_, [](const Station* station) {
            return station == nullptr || station->stack().pool_use() == PoolUse{};
        });
    }

    // How long what nobody waits for may stay: the retries of an orphan, FIN-WAIT-2, half-open records, then 2 MSL.
    Instant limit() const {
        if (!through_at_) return scenario_.start + scenario_.heals_after + 2 * Application::patience;
        Duration longest{};
        for (const HostPlan& host : scenario_.hosts) {
            const StackSettings& s = host.settings;
            const int retries = std::max({s.orphan_retries, s.syn_ack_retries, s.data_retries}) + 2;
            longest = std::max(longest, retries * s.max_rto + s.fin_wait_2 + 2 * s.msl + 10s);
        }
        return std::max(*through_at_, scenario_.start + scenario_.heals_after) + longest;
    }

    std::string left() const {
        std::string text;
        for (const Side side : {Side::a, Side::b}) {
            if (stations_[number(side)] == nullptr) continue;
            const PoolUse use = stations_[number(side)]->stack().pool_use();
            text += std::string(text.empty() ? "" : "; ") + letter(side) + " has " + std::to_string(use.connections) +
                    " connections, " + std::to_string(use.half_open) + " half-open, " +
                    std::to_string(use.time_wait) + " in TIME-WAIT, " + std::to_string(use.chunks) + " chunks, " +
                    std::to_string(use.pins) + " pins, " + std::to_string(use.send_entries) + " pieces, " +
                    std::to_string(use.receive_stores) + " stores";
        }
        return text;
    }

    const Scenario& scenario_;
    Record* record_;
    const Onlooker& onlooker_;
    Judge judge_;
    std::vector<std::string> notes_;
    Station a_;
    std::optional<Station> b_;
    std::optional<HostilePeer> hostile_;
    std::array<Station*, 2> stations_{};
    std::array<Network, 2> ways_;
    Instant now_;
    std::optional<Instant> through_at_;
    test::Digest hash_;
    uint64_t packets_ = 0, turns_ = 0;
    std::vector<Packet> burst_, sent_;
};

}  // namespace

Outcome run(const Scenario& scenario, Record* record, const Onlooker& onlooker) {
    return Run(scenario, record, onlooker).plays();
}

std::string replay_command(uint64_t seed, std::span<const std::string> without, bool both_ways) {
    std::string command = "build/checked/tests/simulation/pollux-simulate --replay " + std::to_string(seed);
    for (size_t i = 0; i < without.size(); ++i) command += (i == 0 ? " --without " : ",") + without[i];
    return command + (both_ways ? " --both-ways" : "");
}

std::string Record::write(const std::filesystem::path& folder, const Scenario& scenario,
                          const Outcome& outcome) const {
    std::filesystem::create_directories(folder);
    const std::filesystem::path stem = folder / ("seed-" + std::to_string(scenario.seed));
    packets.write_pcap(stem.string() + ".pcap");
    std::ofstream(stem.string() + ".ladder") << packets.ladder();
    std::ofstream log(stem.string() + ".log");
    log << scenario.describe() << "\n";
    for (const std::string& event : events) log << event << "\n";
    if (!outcome.ok()) {
        log << "\ncomplaint after " << static_cast<double>(outcome.at.count()) / 1e6 << " s: " << outcome.complaint
            << "\n";
    }
    return stem.string() + ".pcap, .ladder and .log";
}

}  // namespace pollux::simulation
