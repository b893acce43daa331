#include "apps/ctl/format.hpp"

#include <algorithm>
#include <cstdio>
#include <vector>

namespace pollux::ctl {
namespace {

// Lines of cells in aligned columns; numbers stand to the right, the last column is not filled up.
class Table {
public:
    enum class Align : uint8_t { left, right };
    explicit Table(std::vector<Align> columns) : columns_(std::move(columns)) {}

    void add(std::vector<std::string> cells) { lines_.push_back(std::move(cells)); }
    std::string text() const {
        std::vector<size_t> widths(columns_.size(), 0);
        for (const auto& line : lines_) {
            for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
        }
        std::string out;
        for (const auto& line : lines_) {
            for (size_t i = 0; i < line.size(); ++i) {
                const std::string fill(widths[i] - line[i].size(), ' ');
                const bool last = i + 1 == line.size();
                out += columns_[i] == Align::right ? fill + line[i] : line[i] + (last ? "" : fill);
                out += last ? "\n" : "  ";
            }
        }
        return out;
    }

private:
    std::vector<Align> columns_;
    std::vector<std::vector<std::string>> lines_;
};
constexpr auto left = Table::Align::left, right = Table::Align::right;

// What a field says: text as it is, numbers in digits, null as "-".
std::string cell(const Json& row, const char* key) {
    const auto found = row.find(key);
    if (found == row.end() || found->is_null()) return "-";
    if (found->is_string()) return found->get<std::string>();
    if (found->is_boolean()) return found->get<bool>() ? "yes" : "no";
    return found->dump();
}
bool says(const Json& row, const char* key) {
    return row.contains(key) && row[key].is_boolean() && row[key].get<bool>();
}
bool has(const Json& row, const char* key) { return row.contains(key) && !row[key].is_null(); }
int64_t number(const Json& row, const char* key) {
    return row.contains(key) && row[key].is_number() ? row[key].get<int64_t>() : 0;
}

std::string ms_text(const Json& row, const char* key) { return time_text(number(row, key) * 1'000); }

}  // namespace

std::string time_text(int64_t us) {
    char text[32];
    const auto value = static_cast<double>(us);
    if (us > -1'000 && us < 1'000) {
        std::snprintf(text, sizeof text, "%lldus", static_cast<long long>(us));
    } else if (us < 1'000'000) {
        std::snprintf(text, sizeof text, us % 1'000 == 0 ? "%.0fms" : "%.1fms", value / 1e3);
    } else if (us < 600'000'000) {
        std::snprintf(text, sizeof text, "%.1fs", value / 1e6);
    } else {
        std::snprintf(text, sizeof text, "%.0fmin", value / 60e6);
    }
    return text;
}

std::string counters_text(std::span<const Json> rows, bool per_core, bool all) {
    const size_t workers = rows.empty() ? 0 : rows.front().at("workers").size();
    std::vector<Table::Align> columns{right};
    std::vector<std::string> heading{"Total"};
    for (size_t i = 0; per_core && i < workers; ++i) {
        columns.push_back(right);
        heading.push_back("Worker " + std::to_string(i));
    }
    columns.insert(columns.end(), {left, left});
    heading.insert(heading.end(), {"Name", "What it counts"});
    Table table{columns};
    table.add(heading);
    for (const Json& row : rows) {
        if (!all && number(row, "total") == 0) continue;
        std::vector<std::string> line{cell(row, "total")};
        if (per_core) {
            for (const Json& each : row.at("workers")) line.push_back(each.dump());
        }
        line.insert(line.end(), {cell(row, "name"), cell(row, "sentence")});
        table.add(std::move(line));
    }
    return table.text();
}

std::string connection_heading() {
    char line[128];
    std::snprintf(line, sizeof line, "%-12s %8s %8s  %-24s %s\n", "State", "Unread", "Queued", "Local", "Peer");
    return line;
}

std::string connection_text(const Json& row) {
    char first[256];
    std::snprintf(first, sizeof first, "%-12s %8s %8s  %-24s %s\n", cell(row, "state").c_str(),
                  cell(row, "unread").c_str(), cell(row, "queued").c_str(), cell(row, "local").c_str(),
                  cell(row, "peer").c_str());
    std::string details = "\t";
    const auto add = [&](const std::string& text) { details += (details.size() > 1 ? " " : "") + text; };
    const auto count = [&](const char* label, const char* key) {
        if (number(row, key) != 0) add(std::string{label} + ":" + cell(row, key));
    };
    add("worker:" + cell(row, "worker"));
    if (row.contains("rto_us")) {
        add("rto:" + time_text(number(row, "rto_us")));
        if (number(row, "srtt_us") != 0) {
            add("rtt:" + time_text(number(row, "srtt_us")) + "/" + time_text(number(row, "rttvar_us")));
        }
        add("mss:" + cell(row, "mss"));
        add("cwnd:" + cell(row, "cwnd"));
        if (has(row, "ssthresh")) add("ssthresh:" + cell(row, "ssthresh"));
        add("snd_wnd:" + cell(row, "snd_wnd"));
        add("rcv_wnd:" + cell(row, "rcv_wnd"));
        if (number(row, "snd_scale") != 0 || number(row, "rcv_scale") != 0) {
            add("wscale:" + cell(row, "snd_scale") + "," + cell(row, "rcv_scale"));
        }
        count("in_flight", "in_flight");
        count("out_of_order", "out_of_order");
        count("backoff", "backoff");
        count("unanswered", "unanswered");
        count("dup_acks", "dup_acks");
        if (has(row, "congestion")) add(cell(row, "congestion"));
        count("sacked", "sacked");
        count("lost", "lost");
        if (has(row, "delivery_rate")) add("delivery_rate:" + cell(row, "delivery_rate"));
        if (says(row, "in_recovery")) add("phase:" + cell(row, "phase"));
    }
    if (row.contains("age_ms")) {  // a half-open record
        add("age:" + ms_text(row, "age_ms"));
        add("retransmissions:" + cell(row, "retransmissions"));
        if (has(row, "peer_mss")) add("peer_mss:" + cell(row, "peer_mss"));
        if (has(row, "snd_scale")) add("peer_wscale:" + cell(row, "snd_scale"));
    }
    if (has(row, "timer_left_ms")) add("timer:(" + cell(row, "timer") + "," + ms_text(row, "timer_left_ms") + ")");
    if (has(row, "ack_left_ms")) add("ack:(" + ms_text(row, "ack_left_ms") + ")");
    if (has(row, "deadline_left_ms")) add("deadline:(" + ms_text(row, "deadline_left_ms") + ")");
    for (const char* flag :
         {"timestamps", "sack", "ecn", "fin_queued", "wants_writable", "released", "syn_repeated"}) {
        if (says(row, flag)) add(flag);
    }
    return first + details + "\n";
}

std::string states_text(std::span<const Json> rows) {
    Table table{{left, right}};
    table.add({"State", "Connections"});
    uint64_t total = 0;
    for (const Json& row : rows) {
        table.add({cell(row, "state"), cell(row, "count")});
        total += static_cast<uint64_t>(number(row, "count"));
    }
    table.add({"total", std::to_string(total)});
    return table.text();
}

std::string ports_text(std::span<const Json> rows) {
    std::string out;
    for (const Json& row : rows) {
        out += out.empty() ? "" : "\n";
        std::string addresses;
        for (const Json& address : row.value("addresses", Json::array())) {
            addresses += (addresses.empty() ? "" : ", ") + address.get<std::string>();
        }
        const std::string speed = has(row, "speed_mbps") ? ", " + cell(row, "speed_mbps") + " Mbit/s" : "";
        const auto errors = [&](const char* what, const char* key) { return cell(row, key) + " " + what; };
        Table table{{left, left}};
        table.add({"port " + cell(row, "port"), cell(row, "name")});
        table.add({"  device", cell(row, "device") + " (" + cell(row, "driver") + ")"});
        table.add({"  MAC", cell(row, "mac")});
        table.add({"  addresses", addresses});
        table.add({"  gateway", cell(row, "gateway")});
        table.add({"  gateway of IPv6", cell(row, "gateway_v6")});
        table.add({"  MTU", cell(row, "mtu") + " bytes"});
        table.add({"  link", cell(row, "link") + speed});
        table.add({"  NUMA node", cell(row, "numa_node")});
        table.add({"  queue pairs", cell(row, "queues") + ", " + cell(row, "rx_descriptors") + " RX and " +
                                        cell(row, "tx_descriptors") + " TX descriptors each"});
        table.add({"  flows find their owner by", cell(row, "ownership")});
        table.add({"  device verifies checksums", cell(row, "verifies_checksums")});
        table.add({"  device makes TCP checksums", cell(row, "makes_tcp_checksums")});
        table.add({"  receive interrupts", cell(row, "receive_interrupts")});
        table.add(
            {"  received", cell(row, "received_packets") + " packets, " + cell(row, "received_bytes") + " bytes"});
        table.add({"  sent", cell(row, "sent_packets") + " packets, " + cell(row, "sent_bytes") + " bytes"});
        table.add({"  lost", errors("missed", "missed_packets") + ", " + errors("receive errors", "receive_errors") +
                                 ", " + errors("send errors", "send_errors") + ", " +
                                 errors("without a buffer", "no_buffer")});
        out += table.text();
    }
    return out;
}

std::string neighbors_text(std::span<const Json> rows) {
    Table table{{right, right, left, left, left, right, right, right}};
    table.add({"Worker", "Port", "Address", "MAC", "State", "Age", "Unused", "Waiting"});
    for (const Json& row : rows) {
        table.add({cell(row, "worker"), cell(row, "port"), cell(row, "address"), cell(row, "mac"), cell(row, "state"),
                   has(row, "mac") ? ms_text(row, "age_ms") : "-", ms_text(row, "unused_ms"), cell(row, "waiting")});
    }
    return table.text();
}

std::string rules_text(std::span<const Json> rows) {
    if (rows.empty()) return "no rules: every packet is allowed\n";
    Table table{{right, right, left, left, left, left, left}};
    table.add({"Rule", "Hits", "Action", "Source", "Ports", "Destination", "Where"});
    for (const Json& row : rows) {
        table.add({cell(row, "rule"), cell(row, "hits"), cell(row, "action"), cell(row, "source"), cell(row, "ports"),
                   cell(row, "destination"), has(row, "rule") ? cell(row, "where") : "what no rule fits"});
    }
    return table.text();
}

std::string sentences_text(std::span<const Json> rows) {
    std::string text;
    for (const Json& row : rows) text += cell(row, "sentence") + "\n";
    return text;
}

std::string pools_text(std::span<const Json> rows) {
    Table table{{right, left, right, right, right}};
    table.add({"Worker", "Pool", "Used", "Capacity", "Used %"});
    for (const Json& row : rows) {
        char percent[32] = "-";
        if (has(row, "capacity") && number(row, "capacity") > 0) {
            std::snprintf(
                percent, sizeof percent, "%.1f",
                100.0 * static_cast<double>(number(row, "used")) / static_cast<double>(number(row, "capacity")));
        }
        table.add({cell(row, "worker"), cell(row, "name"), cell(row, "used"), cell(row, "capacity"), percent});
    }
    return table.text();
}

}  // namespace pollux::ctl
