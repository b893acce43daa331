// The server's side of one HTTP/1.x connection, without the connection: bytes and deadlines come in, Answers and
// wishes go out. It owns no socket and no clock; the glue (apps/httpd) binds it to a tcp::Stack.
//
//     on_data(state, bytes, sink)  ->  Step{consumed, close, deadline}
//
// Requests are taken in order from the bytes as they lie there. Only a request that is not complete yet is copied,
// into a buffer of a pool sized at start; a connection between requests owns 16 bytes and nothing else. An answer
// that the sink cannot take is remembered, and everything behind it waits. After an error, or after the last answer,
// what comes is read and thrown away: it is never run.
//
// RFC 9112 sections 6.3 (framing), 9.3 (persistence, pipelining), 9.6 (closing).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "apps/http/request.hpp"
#include "apps/http/response.hpp"

namespace pollux::http {

/// What one worker has seen. One writer; readers on other cores may see it torn by a turn.
struct HttpCounters {
    uint64_t requests = 0;   // answered with whatever status
    uint64_t pipelined = 0;  // of these, found behind another one in the same bytes
    uint64_t answers_2xx = 0, answers_4xx = 0, answers_5xx = 0;
    uint64_t answer_bytes = 0;  // handed to the sink
    uint64_t body_bytes = 0;    // of requests, thrown away
    uint64_t parse_errors = 0;
    uint64_t header_timeouts = 0;
    uint64_t idle_timeouts = 0;
    uint64_t sink_full = 0;        // answers that had to wait for room
    uint64_t copied_heads = 0;     // no slot was free for a new Date
    uint64_t buffers_missing = 0;  // incomplete requests that found no buffer
    uint64_t discarded_bytes = 0;  // behind an error or a last answer

    HttpCounters& operator+=(const HttpCounters& other);
};

/// What a connection remembers between calls.
struct ConnectionState {
    static constexpr uint32_t none = ~0u;

    uint32_t buffer = none;      // holds the beginning of an incomplete request
    uint32_t body_left = 0;      // bytes of a request body still to be skipped
    uint32_t page = none;        // the answer that waits for room
    uint16_t requests = 0;       // answered; counted only where the number is limited
    bool closing : 1 = false;    // the last answer has been given
    bool receiving : 1 = false;  // a request has begun: the header deadline runs
    bool peer_closed : 1 = false;
    bool head_only : 1 = false;  // of the waiting answer, as the following
    bool rest_only : 1 = false;  // its head has been taken already
    Persistence persistence : 2 = Persistence::keep;

    /// An answer waits for room; what is unread waits behind it.
    bool is_waiting() const { return page != none; }
    /// Between requests, with nothing to say.
    bool is_idle() const { return buffer == none && body_left == 0 && page == none && !receiving; }
};
static_assert(sizeof(ConnectionState) == 16);

/// Which deadline the connection is to have from now on.
enum class Deadline : uint8_t {
    unchanged,
    none,
    idle,    // from now: idle_timeout
    header,  // from now: header_timeout
};

struct Step {
    uint32_t consumed = 0;  // of the bytes given
    bool close = false;     // nothing more will be said: half-close, drain, close
    Deadline deadline = Deadline::unchanged;
};

/// What a sink did with an answer.
enum class Taken : uint8_t { all, none, copied_head };

/// Buffers for incomplete requests, with the Progress of each. All memory is taken at start.
class RequestBuffers {
public:
    struct Buffer {
        Progress progress{};
        uint32_t size = 0;
        uint32_t next_free = ConnectionState::none;
    };
    RequestBuffers(uint32_t count, uint32_t capacity);

    uint32_t take();  // ConnectionState::none if there is none
    void give_back(uint32_t index);
    Buffer& operator[](uint32_t index) { return buffers_[index]; }
    std::string_view view(uint32_t index) const { return {bytes_at(index), buffers_[index].size}; }
    /// Copies what fits; returns how much that was.
    uint32_t append(uint32_t index, std::string_view bytes);
    uint32_t in_use() const { return in_use_; }

private:
    char* bytes_at(uint32_t index) const { return bytes_.get() + std::size_t{index} * capacity_; }

    uint32_t capacity_;
    uint32_t first_free_ = ConnectionState::none;
    uint32_t in_use_ = 0;
    std::vector<Buffer> buffers_;
    std::unique_ptr<char[]> bytes_;  // not initialised: pages are touched when they are needed
};

struct ServerLimits {
    Limits head{};
    uint32_t body = 64 * 1024;  // bytes of a request body that are skipped; beyond: 413
    uint16_t max_requests = 0;  // of one connection; 0: unlimited
    bool idle_timeout = false;  // whether there is one: the glue knows how long
    bool header_timeout = true;
    uint32_t request_buffers = 1024;  // incomplete requests at the same time
};

/// The rules; one object serves all connections of a worker.
///
/// A Sink has `Taken operator()(const Answer&)` and `bool in_use(PinId)`.
class ServerLogic {
public:
    ServerLogic(Content& content, const ServerLimits& limits)
        : content_(content), limits_(limits), buffers_(limits.request_buffers, limits.head.max_head()) {}

    /// From now on every answer is the last of its connection.
    void drain() { draining_ = true; }

    Step on_open(ConnectionState&) const {
        return {0, false, limits_.idle_timeout ? Deadline::idle : Deadline::none};
    }
    /// `bytes`: all that has arrived and was not consumed.
    template <class Sink>
    Step on_data(ConnectionState& state, std::string_view bytes, Sink&& sink);
    /// The sink has room again. `bytes` as for on_data().
    template <class Sink>
    Step on_writable(ConnectionState& state, std::string_view bytes, Sink&& sink) {
        return on_data(state, bytes, std::forward<Sink>(sink));
    }
    /// The peer will send nothing after `bytes`: they must be the last ones.
    template <class Sink>
    Step on_peer_closed(ConnectionState& state, std::string_view bytes, Sink&& sink) {
        state.peer_closed = true;
        return on_data(state, bytes, std::forward<Sink>(sink));
    }
    /// The deadline asked for last has come.
    template <class Sink>
    Step on_deadline(ConnectionState& state, Sink&& sink);
    /// The connection is gone, however that came.
    void on_gone(ConnectionState& state) {
        release(state);
        state = ConnectionState{};
    }

    const HttpCounters& counters() const { return counters_; }
    const RequestBuffers& buffers() const { return buffers_; }
    Content& content() { return content_; }

private:
    enum class Head : uint8_t { answered, incomplete, no_buffer };

    /// Looks at the next request: consumes its head, or all bytes, and sets the answer up.
    Head take_head(ConnectionState& state, std::string_view bytes, uint32_t& consumed);
    void on_request(ConnectionState& state, const Request& request);
    PageId page_for(const Request& request) const;
    PageId page_of_odd_path(std::string_view path) const;
    static void prepare(ConnectionState& state, PageId page, Persistence persistence, bool head_only) {
        state.page = page;
        state.persistence = persistence;
        state.head_only = head_only;
        state.rest_only = false;
    }
    /// Gives the waiting answer to the sink; whether it has gone.
    template <class Sink>
    bool offer(ConnectionState& state, Sink& sink);
    void count(const Answer& answer);
    void release(ConnectionState& state);
    uint32_t discard(std::size_t bytes) {
        counters_.discarded_bytes += bytes;
        return static_cast<uint32_t>(bytes);
    }

    Content& content_;
    ServerLimits limits_;
    RequestBuffers buffers_;
    HttpCounters counters_;
    bool draining_ = false;
};

template <class Sink>
Step ServerLogic::on_data(ConnectionState& state, std::string_view bytes, Sink&& sink) {
    Step step;
    uint32_t answered = 0;
    const auto size = static_cast<uint32_t>(bytes.size());
    while (!state.closing) {
        if (state.page != ConnectionState::none) {
            if (!offer(state, sink)) {
                step.deadline = Deadline::none;  // the peer has to read, not to write
                return step;
            }
            if (answered++ != 0) ++counters_.pipelined;
            step.deadline = limits_.idle_timeout ? Deadline::idle : Deadline::none;
            continue;
        }
        if (state.body_left != 0) {
            const uint32_t skipped = std::min(state.body_left, size - step.consumed);
            state.body_left -= skipped;
            step.consumed += skipped;
            counters_.body_bytes += skipped;
        }
        if (step.consumed == size) break;
        const bool had_begun = state.receiving;
        if (take_head(state, bytes.substr(step.consumed), step.consumed) != Head::answered) {
            if (!had_begun) step.deadline = limits_.header_timeout ? Deadline::header : Deadline::none;
            break;
        }
    }
    if (state.closing) {
        step.consumed += discard(size - step.consumed);
        step.close = true;
        step.deadline = Deadline::none;
    } else if (state.peer_closed) {  // what is incomplete now will never be complete
        release(state);
        state.closing = true;
        step.close = true;
        step.consumed += discard(size - step.consumed);
        step.deadline = Deadline::none;
    }
    return step;
}

template <class Sink>
Step ServerLogic::on_deadline(ConnectionState& state, Sink&& sink) {
    if (state.closing || !state.receiving) {
        if (!state.closing) ++counters_.idle_timeouts;
        state.closing = true;
        return {0, true, Deadline::none};
    }
    ++counters_.header_timeouts;
    release(state);
    prepare(state, content_.page_of(408), Persistence::close, false);
    return on_data(state, {}, sink);
}

template <class Sink>
bool ServerLogic::offer(ConnectionState& state, Sink& sink) {
    const bool last = limits_.max_requests != 0 && state.requests + 1 >= limits_.max_requests;
    Persistence persistence = state.persistence;
    if (last || (draining_ && !state.rest_only)) persistence = Persistence::close;
    const uint32_t further = limits_.max_requests == 0 ? 0 : limits_.max_requests - 1u - state.requests;
    const auto in_use = [&](PinId pin) { return sink.in_use(pin); };
    const Answer answer = state.rest_only
                              ? content_.rest(state.page, persistence, state.head_only, further)
                              : content_.answer(state.page, persistence, state.head_only, further, in_use);
    const Taken taken = sink(answer);
    if (taken != Taken::all) {
        ++counters_.sink_full;
        if (taken == Taken::copied_head) {
            state.rest_only = true;
            state.persistence = persistence;  // as the head has said
            counters_.answer_bytes += answer.pieces[0].bytes.size();
            ++counters_.copied_heads;
        }
        return false;
    }
    counters_.copied_heads += answer.copy_head;
    count(answer);
    if (limits_.max_requests != 0) ++state.requests;
    state.page = ConnectionState::none;
    state.rest_only = false;
    state.closing = answer.close_after;
    return true;
}

}  // namespace pollux::http
