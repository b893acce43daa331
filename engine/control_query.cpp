#include "engine/control_query.hpp"

#include <unistd.h>

#include <algorithm>
#include <utility>

namespace pollux::engine {
namespace {

using namespace std::string_view_literals;

constexpr std::array command_names{"stat"sv,  "conns"sv,  "ports"sv, "neigh"sv,
                                   "pools"sv, "filter"sv, "reload"sv};  // in Command's order
constexpr std::array filter_keys{"states"sv, "local"sv, "peer"sv, "port"sv, "summary"sv, "limit"sv};

std::string line_of(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"; }

// What was found, short enough for a sentence.
std::string shown(const Json& json) {
    std::string text = json.dump(-1, ' ', true, Json::error_handler_t::replace);
    if (text.size() > 60) text = text.substr(0, 57) + "...";
    return text;
}

[[noreturn]] void complain(std::string_view key, const Json& found, const std::string& expected) {
    throw BadRequest("found " + shown(found) + " for " + std::string{key} + ", expected " + expected);
}

Json parsed(std::string_view line) {
    const Json request = Json::parse(line, nullptr, false);
    if (request.is_discarded() || !request.is_object()) {
        throw BadRequest("found no JSON object in the line, expected a request such as {\"command\": \"stat\"}");
    }
    return request;
}

EndFilter end_filter(const Json& value, std::string_view key) {
    const auto filter = value.is_string() ? EndFilter::parse(value.get_ref<const std::string&>()) : std::nullopt;
    if (!filter) complain(key, value, R"(ADDRESS, ADDRESS/BITS, ADDRESS:PORT or *:PORT)");
    return *filter;
}

}  // namespace

std::string error_line(std::string_view kind, std::string_view sentence) {
    return line_of({{"error", sentence}, {"kind", kind}});
}

ControlQuery::ControlQuery(ControlView& view, std::string_view line) : view_(view) {
    const Json request = parsed(line);
    const Json command = request.value("command", Json(nullptr));
    const std::string name = command.is_string() ? command.get<std::string>() : "";
    const auto* const place = std::find(command_names.begin(), command_names.end(), name);
    if (place == command_names.end()) {
        complain("command", command, "stat, conns, ports, neigh, pools, filter or reload");
    }
    command_ = static_cast<Command>(place - command_names.begin());
    read_filter(request);
    plan();
}

void ControlQuery::read_filter(const Json& request) {
    for (const auto& [key, value] : request.items()) {
        if (key == "command") continue;
        const bool known = std::find(filter_keys.begin(), filter_keys.end(), key) != filter_keys.end();
        if (!known || command_ != Command::conns) {
            throw BadRequest("found the unknown key " + shown(key) + ", " +
                             (command_ == Command::conns ? "expected states, local, peer, port, summary or limit"
                                                         : "only conns has filters"));
        }
        if (key == "states") {
            if (!value.is_array()) complain(key, value, "a list of states");
            tcp::State states = tcp::State::closed;
            for (const Json& name : value) {
                const auto named = name.is_string() ? states_named(name.get_ref<const std::string&>()) : std::nullopt;
                if (!named) complain("a state", name, "one of " + state_names());
                states = states | *named;
            }
            if (!value.empty()) filter_.states = states;
        } else if (key == "summary") {
            if (!value.is_boolean()) complain(key, value, "true or false");
            summary_ = value.get<bool>();
        } else if (key == "local") {
            filter_.local = end_filter(value, key);
        } else if (key == "peer") {
            filter_.peer = end_filter(value, key);
        } else if (key == "port") {
            if (!value.is_number_unsigned() || value.get<uint64_t>() > 65'535) complain(key, value, "0 to 65535");
            filter_.port = value.get<uint16_t>();
        } else {
            if (!value.is_number_unsigned()) complain(key, value, "a number of rows");
            limit_ = value.get<uint64_t>();
        }
    }
}

void ControlQuery::plan() {
    std::vector<Topic> topics;
    switch (command_) {
        case Command::stat: topics = {Topic::counters}; break;
        case Command::neigh: topics = {Topic::neighbors}; break;
        case Command::pools: topics = {Topic::pools}; break;
        case Command::ports:
        case Command::reload: break;
        case Command::filter:
            if (view_.rules) rules_ = view_.rules();
            hits_.resize(view_.workers.size());
            if (rules_.rulebook) topics = {Topic::rules};
            break;
        case Command::conns:  // in the order of a connection's life: none that moves on is missed
            if (filter_.wants(tcp::State::syn_received)) topics.push_back(Topic::half_open);
            if (!filter_.states || *filter_.states != tcp::State::time_wait) topics.push_back(Topic::connections);
            if (filter_.wants(tcp::State::time_wait)) topics.push_back(Topic::time_wait);
            break;
    }
    for (const Topic topic : topics) {
        for (uint32_t worker = 0; worker < view_.workers.size(); ++worker) legs_.push_back({topic, worker});
    }
}

bool ControlQuery::step(std::string& out) {
    if (leg_ < legs_.size() && !cut_) return ask(out);
    return finish(out);
}

bool ControlQuery::ask(std::string& out) {
    const Leg& leg = legs_[leg_];
    const ControlView::Worker& worker = view_.workers[leg.worker];
    const Slice* slice = worker.inspection->ask({leg.topic, from_}, *worker.waker, view_.patience);
    if (slice == nullptr) {
        const bool absent = worker.inspection->outcome() == Inspection::Outcome::absent;
        out += error_line(
            "failed", "worker " + std::to_string(leg.worker) +
                          (absent ? " does not run: the engine is starting or ending"
                                  : " has not answered within " + std::to_string(view_.patience.count()) + " ms"));
        return false;
    }
    if (leg.topic == Topic::rules && slice->orders != rules_.serial) {
        out += error_line("failed", "the rules are being replaced: ask again");
        return false;
    }
    take(out, leg, *slice);
    if (slice->next) {
        from_ = *slice->next;
    } else {
        from_ = 0;
        ++leg_;
    }
    return true;
}

void ControlQuery::add(std::string& out, const Json& row) {
    if (rows_ == limit_) {
        cut_ = true;
        return;
    }
    ++rows_;
    out += line_of(row);
}

void ControlQuery::add_connection(std::string& out, tcp::State state, const tcp::FourTuple& flow,
                                  const std::function<Json()>& row) {
    if (!filter_.matches(state, flow)) return;
    if (summary_)
        ++states_[state];
    else
        add(out, row());
}

void ControlQuery::take(std::string& out, const Leg& leg, const Slice& slice) {
    switch (leg.topic) {
        case Topic::counters: counters_.push_back(slice.counters); break;
        case Topic::pools:
            if (const rte_mempool* packets = view_.workers[leg.worker].packets) {
                add(out, pool_row(leg.worker, "packets", rte_mempool_in_use_count(packets), packets->size));
            }
            pool_rows(slice, leg.worker, [&](const Json& row) { add(out, row); });
            break;
        case Topic::half_open:
            for (uint32_t i = 0; i < slice.count; ++i) {
                const tcp::HalfOpenInfo& info = slice.half_open[i];
                add_connection(out, tcp::State::syn_received, info.flow,
                               [&] { return half_open_row(info, leg.worker); });
            }
            break;
        case Topic::connections:
            for (uint32_t i = 0; i < slice.count; ++i) {
                const tcp::ConnInfo& info = slice.connections[i];
                add_connection(out, info.state, info.flow, [&] { return connection_row(info, leg.worker); });
            }
            break;
        case Topic::time_wait:
            for (uint32_t i = 0; i < slice.count; ++i) {
                const tcp::TimeWaitInfo& info = slice.time_wait[i];
                add_connection(out, tcp::State::time_wait, info.flow,
                               [&] { return time_wait_row(info, leg.worker); });
            }
            break;
        case Topic::neighbors:
            for (uint32_t i = 0; i < slice.count; ++i) add(out, neighbor_row(slice.neighbors[i], leg.worker));
            break;
        case Topic::rules:
            for (uint32_t i = 0; i < slice.count; ++i) hits_[leg.worker].push_back(slice.hits[i]);
            break;
    }
}

bool ControlQuery::finish(std::string& out) {
    if (command_ == Command::stat) counter_rows(counters_, [&](const Json& row) { add(out, row); });
    if (command_ == Command::ports) {
        for (const PortInfo& info : view_.ports()) add(out, port_row(info));
    }
    if (command_ == Command::filter && rules_.rulebook) {
        rule_rows(rules_.rulebook->rules(), hits_, [&](const Json& row) { add(out, row); });
    }
    if (command_ == Command::reload) {
        const Reloader::Outcome outcome = view_.reload();
        if (!outcome.done) {
            out += error_line("failed", outcome.sentence);
            return false;
        }
        add(out, {{"row", "reload"}, {"sentence", outcome.sentence}});
    }
    for (const auto& [state, count] : states_) {
        add(out, {{"row", "state"}, {"state", lower_name(state)}, {"count", count}});
    }
    out += line_of({{"end", command_names[static_cast<size_t>(command_)]},
                    {"rows", rows_},
                    {"cut", cut_},
                    {"workers", view_.workers.size()},
                    {"pid", getpid()}});
    return false;
}

}  // namespace pollux::engine
