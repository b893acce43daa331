#include "engine/control_rows.hpp"

#include <functional>
#include <string>

#include "engine/conn_filter.hpp"

namespace pollux::engine {
namespace {

using tcp::Duration;

Json milliseconds(const std::optional<Duration>& time) {
    return time ? Json(*time / std::chrono::milliseconds{1}) : Json(nullptr);
}

Json row_of(uint32_t worker, tcp::State state, const tcp::FourTuple& flow) {
    return {{"row", "conn"},
            {"worker", worker},
            {"state", lower_name(state)},
            {"local", tcp::Endpoint{flow.local_addr, flow.local_port}.to_string()},
            {"peer", tcp::Endpoint{flow.remote_addr, flow.remote_port}.to_string()}};
}

std::string_view name_of(tcp::ConnInfo::Timer timer) {
    switch (timer) {
        case tcp::ConnInfo::Timer::none: return "none";
        case tcp::ConnInfo::Timer::retransmission: return "retransmission";
        case tcp::ConnInfo::Timer::persist: return "persist";
        case tcp::ConnInfo::Timer::fin_wait_2: return "fin-wait-2";
        case tcp::ConnInfo::Timer::keep_alive: return "keep-alive";
        case tcp::ConnInfo::Timer::hold: return "hold";
    }
    return "none";
}

std::string_view name_of(tcp::Tone tone) {
    switch (tone) {
        case tcp::Tone::normal: return "normal";
        case tcp::Tone::peer: return "peer";
        case tcp::Tone::attack: return "attack";
        case tcp::Tone::foreign: return "foreign";
        case tcp::Tone::ours: return "ours";
    }
    return "normal";
}

Json counter_row(std::string_view kind, std::string_view name, std::string_view sentence,
                 std::span<const tcp::Counters> workers, const std::function<uint64_t(const tcp::Counters&)>& value) {
    uint64_t total = 0;
    Json each = Json::array();
    for (const tcp::Counters& counters : workers) {
        each.push_back(value(counters));
        total += value(counters);
    }
    return {{"row", "counter"},     {"kind", kind},   {"name", name},
            {"sentence", sentence}, {"total", total}, {"workers", std::move(each)}};
}

std::string_view name_of(tcp::Phase phase) {
    switch (phase) {
        case tcp::Phase::open: return "open";
        case tcp::Phase::reduced: return "reduced";
        case tcp::Phase::recovery: return "recovery";
        case tcp::Phase::loss: return "loss";
    }
    return "?";
}

std::string_view name_of(tcp::CongestionControl control) {
    switch (control) {
        case tcp::CongestionControl::new_reno: return "new_reno";
        case tcp::CongestionControl::cubic: return "cubic";
    }
    return "?";
}

/// Bytes a second.
uint64_t delivery_rate(const tcp::ConnInfo& c) {
    return uint64_t{c.delivery_bytes} * 1'000'000 / static_cast<uint64_t>(c.delivery_time.count());
}

}  // namespace

Json connection_row(const tcp::ConnInfo& c, uint32_t worker) {
    Json row = row_of(worker, c.state, c.flow);
    row["unread"] = c.unread;
    row["queued"] = c.queued;
    row["out_of_order"] = c.out_of_order;
    row["in_flight"] = c.in_flight;
    row["rto_us"] = c.rto.count();
    row["srtt_us"] = c.srtt.count();
    row["rttvar_us"] = c.rttvar.count();
    row["mss"] = c.mss;
    row["cwnd"] = c.cwnd;
    row["ssthresh"] = c.ssthresh == ~0u ? Json(nullptr) : Json(c.ssthresh);
    row["snd_wnd"] = c.snd_wnd;
    row["rcv_wnd"] = c.rcv_wnd;
    row["snd_scale"] = c.snd_scale;
    row["rcv_scale"] = c.rcv_scale;
    row["timestamps"] = c.timestamps;
    row["sack"] = c.sack;
    row["ecn"] = c.ecn;
    row["timer"] = name_of(c.timer);
    row["timer_left_ms"] = milliseconds(c.timer_left);
    row["ack_left_ms"] = milliseconds(c.ack_left);
    row["deadline_left_ms"] = milliseconds(c.deadline_left);
    row["backoff"] = c.backoff;
    row["unanswered"] = c.unanswered;
    row["dup_acks"] = c.dup_acks;
    row["in_recovery"] = c.in_recovery;
    row["phase"] = name_of(c.phase);
    row["congestion"] = name_of(c.congestion);
    row["scoreboard"] = c.scoreboard;
    row["pipe"] = c.pipe;
    row["sacked"] = c.sacked;
    row["lost"] = c.lost;
    row["min_rtt_us"] = c.min_rtt.count();
    row["delivery_rate"] = c.delivery_time.count() == 0 ? Json(nullptr) : Json(delivery_rate(c));
    row["fin_queued"] = c.fin_queued;
    row["wants_writable"] = c.wants_writable;
    row["released"] = c.released;
    row["snd_una"] = c.snd_una.raw();
    row["snd_nxt"] = c.snd_nxt.raw();
    row["rcv_nxt"] = c.rcv_nxt.raw();
    return row;
}

Json half_open_row(const tcp::HalfOpenInfo& h, uint32_t worker) {
    Json row = row_of(worker, tcp::State::syn_received, h.flow);
    row["age_ms"] = milliseconds(h.age);
    row["timer"] = "syn-ack";
    row["timer_left_ms"] = milliseconds(h.due_in);
    row["retransmissions"] = h.retransmissions;
    row["syn_repeated"] = h.syn_repeated;
    row["peer_mss"] = h.peer_mss == 0 ? Json(nullptr) : Json(h.peer_mss);
    row["snd_scale"] = h.window_scale ? Json(h.snd_scale) : Json(nullptr);
    row["timestamps"] = h.timestamps;
    row["sack"] = h.sack;
    row["ecn"] = h.ecn;
    return row;
}

Json time_wait_row(const tcp::TimeWaitInfo& t, uint32_t worker) {
    Json row = row_of(worker, tcp::State::time_wait, t.flow);
    row["timer"] = "2msl";
    row["timer_left_ms"] = milliseconds(t.left);
    row["timestamps"] = t.timestamps;
    row["snd_nxt"] = t.snd_nxt.raw();
    row["rcv_nxt"] = t.rcv_nxt.raw();
    return row;
}

Json neighbor_row(const NeighborInfo& n, uint32_t worker) {
    return {{"row", "neighbor"},
            {"worker", worker},
            {"port", n.interface},
            {"address", n.address.to_string()},
            {"mac", n.mac.is_unspecified() ? Json(nullptr) : Json(n.mac.to_string())},
            {"state", n.state},
            {"age_ms", milliseconds(n.age)},
            {"unused_ms", milliseconds(n.unused)},
            {"waiting", n.waiting}};
}

Json port_row(const PortInfo& p) {
    Json addresses = Json::array();
    for (const config::Prefix& prefix : p.addresses) addresses.push_back(prefix.to_string());
    return {{"row", "port"},
            {"port", p.interface.index},
            {"name", p.interface.name},
            {"device", p.device},
            {"driver", p.driver},
            {"mac", p.interface.mac.to_string()},
            {"addresses", std::move(addresses)},
            {"gateway", p.gateway ? Json(p.gateway->to_string()) : Json(nullptr)},
            {"gateway_v6", p.gateway_v6 ? Json(p.gateway_v6->to_string()) : Json(nullptr)},
            {"mtu", p.interface.mtu},
            {"link", p.link_up ? "up" : "down"},
            {"speed_mbps", p.speed_mbps == 0 ? Json(nullptr) : Json(p.speed_mbps)},
            {"full_duplex", p.full_duplex},
            {"numa_node", p.numa_node < 0 ? Json(nullptr) : Json(p.numa_node)},
            {"queues", p.queues},
            {"rx_descriptors", p.rx_descriptors},
            {"tx_descriptors", p.tx_descriptors},
            {"verifies_checksums", p.verifies_checksums},
            {"makes_tcp_checksums", p.makes_tcp_checksums},
            {"receive_interrupts", p.receive_interrupts},
            {"ownership", p.ownership},
            {"received_packets", p.received_packets},
            {"sent_packets", p.sent_packets},
            {"received_bytes", p.received_bytes},
            {"sent_bytes", p.sent_bytes},
            {"missed_packets", p.missed_packets},
            {"receive_errors", p.receive_errors},
            {"send_errors", p.send_errors},
            {"no_buffer", p.no_buffer}};
}

Json pool_row(uint32_t worker, std::string_view name, uint64_t used, uint64_t capacity) {
    return {{"row", "pool"},
            {"worker", worker},
            {"name", name},
            {"used", used},
            {"capacity", capacity == 0 ? Json(nullptr) : Json(capacity)}};
}

void pool_rows(const Slice& s, uint32_t worker, const std::function<void(const Json&)>& add) {
    const auto pool = [&](std::string_view name, uint64_t used, uint64_t capacity) {
        add(pool_row(worker, name, used, capacity));
    };
    pool("connections", s.use.connections, s.capacity.connections);
    pool("half_open", s.use.half_open, s.capacity.half_open);
    pool("time_wait", s.use.time_wait, s.capacity.time_wait);
    pool("send_entries", s.use.send_entries, s.capacity.send_entries);
    pool("chunks", s.use.chunks, s.capacity.chunks);
    pool("receive_stores", s.use.receive_stores, s.capacity.receive_stores);
    pool("recoveries", s.use.recoveries, s.capacity.recoveries);
    pool("segment_records", s.use.segment_records, s.capacity.segment_records);
    pool("table_entries", s.use.table_entries, s.capacity.table_entries);
    pool("timers", s.use.timers, s.capacity.timers);
    pool("pins", s.use.pins, s.capacity.pins);
    pool("neighbors", s.engine.neighbors, s.engine.neighbors_capacity);
    pool("paths", s.engine.paths, s.engine.paths_capacity);
    pool("backlog", s.engine.backlog, 0);
}

void counter_rows(std::span<const tcp::Counters> workers, const std::function<void(const Json&)>& add) {
    for (const tcp::VerdictInfo& info : tcp::verdicts) {
        Json row = counter_row("verdict", info.name, info.sentence, workers,
                               [&](const tcp::Counters& counters) { return counters[info.verdict]; });
        row["tone"] = name_of(info.tone);
        add(row);
    }
    for (const tcp::TallyInfo& info : tcp::tallies) {
        add(counter_row("tally", info.name, info.sentence, workers,
                        [&](const tcp::Counters& counters) { return counters[info.tally]; }));
    }
}

void rule_rows(std::span<const config::Filter> rules, std::span<const std::vector<uint64_t>> hits,
               const std::function<void(const Json&)>& add) {
    const auto text = [](const auto& part) { return part ? Json(part->to_string()) : Json(nullptr); };
    for (size_t i = 0; i <= rules.size(); ++i) {
        const config::Filter rule = i < rules.size() ? rules[i] : config::Filter{};  // behind the last: all others
        uint64_t total = 0;
        Json each = Json::array();
        for (const auto& worker : hits) {
            each.push_back(worker.at(i));
            total += worker.at(i);
        }
        const std::string where = rule.source.to_string();
        add({{"row", "rule"},
             {"rule", i < rules.size() ? Json(i + 1) : Json(nullptr)},
             {"action", config::to_string(rule.action.value_or(config::FilterAction::allow))},
             {"source", text(rule.from)},
             {"ports", text(rule.ports)},
             {"destination", text(rule.to)},
             {"where", where.empty() ? Json(nullptr) : Json(where)},
             {"hits", total},
             {"workers", std::move(each)}});
    }
}

}  // namespace pollux::engine
