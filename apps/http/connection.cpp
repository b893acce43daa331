#include "apps/http/connection.hpp"

#include <array>
#include <cassert>

#include "apps/http/uri.hpp"

namespace pollux::http {

HttpCounters& HttpCounters::operator+=(const HttpCounters& other) {
    requests += other.requests;
    pipelined += other.pipelined;
    answers_2xx += other.answers_2xx;
    answers_4xx += other.answers_4xx;
    answers_5xx += other.answers_5xx;
    answer_bytes += other.answer_bytes;
    body_bytes += other.body_bytes;
    parse_errors += other.parse_errors;
    header_timeouts += other.header_timeouts;
    idle_timeouts += other.idle_timeouts;
    sink_full += other.sink_full;
    copied_heads += other.copied_heads;
    buffers_missing += other.buffers_missing;
    discarded_bytes += other.discarded_bytes;
    return *this;
}

RequestBuffers::RequestBuffers(uint32_t count, uint32_t capacity)
    : capacity_(capacity), buffers_(count), bytes_(new char[std::size_t{count} * capacity]) {
    for (uint32_t i = count; i > 0; --i) {
        buffers_[i - 1].next_free = first_free_;
        first_free_ = i - 1;
    }
}

uint32_t RequestBuffers::take() {
    const uint32_t index = first_free_;
    if (index == ConnectionState::none) return index;
    first_free_ = buffers_[index].next_free;
    buffers_[index] = {};
    ++in_use_;
    return index;
}

void RequestBuffers::give_back(uint32_t index) {
    buffers_[index].next_free = first_free_;
    first_free_ = index;
    --in_use_;
}

uint32_t RequestBuffers::append(uint32_t index, std::string_view bytes) {
    Buffer& buffer = buffers_[index];
    const uint32_t size = static_cast<uint32_t>(std::min<std::size_t>(bytes.size(), capacity_ - buffer.size));
    std::memcpy(bytes_at(index) + buffer.size, bytes.data(), size);
    buffer.size += size;
    return size;
}

void ServerLogic::release(ConnectionState& state) {
    if (state.buffer != ConnectionState::none) buffers_.give_back(state.buffer);
    state.buffer = ConnectionState::none;
    state.receiving = false;
}

ServerLogic::Head ServerLogic::take_head(ConnectionState& state, std::string_view bytes, uint32_t& consumed) {
    Request request;
    Parsed parsed;
    if (state.buffer == ConnectionState::none) {
        Progress progress;
        parsed = parse(bytes, progress, limits_.head, request);
        if (parsed.outcome == Outcome::need_more) {
            state.receiving = true;
            state.buffer = buffers_.take();
            if (state.buffer == ConnectionState::none) {
                ++counters_.buffers_missing;
                return Head::no_buffer;
            }
            // No head that asks for more is longer than a buffer.
            consumed += buffers_.append(state.buffer, bytes);
            buffers_[state.buffer].progress = progress;
            return Head::incomplete;
        }
        consumed += parsed.consumed;
    } else {
        const uint32_t before = buffers_[state.buffer].size;
        const uint32_t appended = buffers_.append(state.buffer, bytes);
        parsed = parse(buffers_.view(state.buffer), buffers_[state.buffer].progress, limits_.head, request);
        if (parsed.outcome == Outcome::need_more) {
            assert(appended == bytes.size());
            consumed += appended;
            return Head::incomplete;
        }
        if (parsed.outcome == Outcome::done) consumed += parsed.consumed - before;
    }
    if (parsed.outcome == Outcome::done) {
        on_request(state, request);
    } else {
        ++counters_.parse_errors;
        prepare(state, content_.page_of(parsed.status), Persistence::close, false);
    }
    release(state);
    return Head::answered;
}

/// Chooses the answer and finds the end of the request. Refusals that leave the end in doubt close.
void ServerLogic::on_request(ConnectionState& state, const Request& request) {
    const auto refuse = [&](uint16_t status) {
        prepare(state, content_.page_of(status), Persistence::close, request.method == Method::head);
    };
    if (request.chunked) return refuse(501);
    // RFC 9110 section 10.1.1: HTTP/1.0 does not know 100-continue, so there it is ignored.
    if (request.expect_unknown || (request.expect_continue && request.minor >= 1)) return refuse(417);
    if (request.has_content_length() && request.content_length > limits_.body) return refuse(413);
    if (request.has_content_length()) state.body_left = static_cast<uint32_t>(request.content_length);
    Persistence persistence = Persistence::close;
    if (request.keep_alive) persistence = request.minor == 0 ? Persistence::keep_1_0 : Persistence::keep;
    prepare(state, page_for(request), persistence, request.method == Method::head);
}

PageId ServerLogic::page_of_odd_path(std::string_view path) const {
    std::array<char, 8192> room;  // a longer path, where the limits allow it, counts as invalid
    const auto normal = uri::normalise(path, room);
    return normal ? content_.find(*normal) : content_.page_of(400);
}

PageId ServerLogic::page_for(const Request& request) const {
    if (request.method == Method::options && request.path == "*") return content_.page_of(204);
    const PageId page = request.plain_path ? content_.find(request.path) : page_of_odd_path(request.path);
    if (!content_.is_route(page) || request.method == Method::get || request.method == Method::head) return page;
    return content_.page_of(request.method == Method::options ? 204 : 405);
}

void ServerLogic::count(const Answer& answer) {
    ++counters_.requests;
    counters_.answer_bytes += answer.size();
    if (answer.status < 300)
        ++counters_.answers_2xx;
    else if (answer.status < 500)
        ++counters_.answers_4xx;
    else
        ++counters_.answers_5xx;
}

}  // namespace pollux::http
