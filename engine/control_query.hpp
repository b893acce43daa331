// ControlQuery: one request on the control socket and its answer, a slice at a time, so that several clients share
// the control thread. apps/ctl/README.md is the protocol: a request is a JSON object in one line, an answer is a line
// for each row, then a line with "end" or "error".
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "engine/conn_filter.hpp"
#include "engine/control_rows.hpp"
#include "engine/inspection.hpp"
#include "engine/port.hpp"
#include "engine/reload.hpp"
#include "engine/waker.hpp"

namespace pollux::engine {

/// What the control thread may look at. It outlives the thread.
struct ControlView {
    struct Worker {
        Inspection* inspection;
        Waker* waker;
        const rte_mempool* packets;  // nullptr: none to tell of
    };
    std::vector<Worker> workers;
    std::function<std::vector<PortInfo>()> ports;
    std::function<Gate::InForce()> rules;
    std::function<Reloader::Outcome()> reload;
    std::chrono::milliseconds patience{2'000};  // for the answer of one worker
};

/// A request that asks for nothing we have; the message is a sentence for the client.
struct BadRequest : std::runtime_error {
    using std::runtime_error::runtime_error;
};

class ControlQuery {
public:
    /// Throws BadRequest.
    ControlQuery(ControlView& view, std::string_view line);

    /// Appends the next lines to `out`. False: that was the last one.
    bool step(std::string& out);

private:
    enum class Command : uint8_t { stat, conns, ports, neigh, pools, filter, reload };
    struct Leg {
        Topic topic;
        uint32_t worker;
    };

    void read_filter(const Json& request);
    void plan();
    bool ask(std::string& out);
    void take(std::string& out, const Leg& leg, const Slice& slice);
    void add(std::string& out, const Json& row);
    void add_connection(std::string& out, tcp::State state, const tcp::FourTuple& flow,
                        const std::function<Json()>& row);
    bool finish(std::string& out);

    ControlView& view_;
    Command command_ = Command::stat;
    ConnFilter filter_;
    bool summary_ = false;
    uint64_t limit_ = UINT64_MAX;

    std::vector<Leg> legs_;  // what has to be walked, in order
    size_t leg_ = 0;
    uint32_t from_ = 0;
    uint64_t rows_ = 0;
    bool cut_ = false;  // by the limit
    std::vector<tcp::Counters> counters_;
    std::map<tcp::State, uint64_t> states_;
    Gate::InForce rules_;
    std::vector<std::vector<uint64_t>> hits_;  // of each worker
};

/// "{"error": SENTENCE, "kind": KIND}" as a line. `kind` is "bad_request" or "failed".
std::string error_line(std::string_view kind, std::string_view sentence);

}  // namespace pollux::engine
