#include "engine/inspection.hpp"

#include <algorithm>
#include <thread>

namespace pollux::engine {
namespace {

// Copies the rows that stand in [from, from + scanned) until the slice is full; the next slice begins behind the last
// place that was looked at. `row_at(index)` is a row or nothing.
template <class Row, class RowAt>
void copy_rows(Slice& slice, std::array<Row, Slice::rows>& rows, uint32_t from, uint32_t end, RowAt&& row_at) {
    uint32_t index = from;
    const uint32_t last = from < end ? from + std::min(end - from, Slice::scanned) : from;
    while (index < last && slice.count < Slice::rows) {
        if (const std::optional<Row> row = row_at(index++)) rows[slice.count++] = *row;
    }
    if (index < end) slice.next = index;
}

EnginePools pools_of(const Subject& subject) {
    EnginePools pools;
    pools.neighbors = subject.neighbors.in_use();
    pools.neighbors_capacity = subject.neighbors.capacity();
    pools.paths = static_cast<uint32_t>(subject.paths.size());
    pools.paths_capacity = subject.paths.capacity();
    pools.backlog = static_cast<uint32_t>(subject.egress.backlog());
    return pools;
}

}  // namespace

void fill(Slice& slice, const Question& question, const Subject& subject, tcp::Instant now) {
    slice.count = 0;
    slice.next.reset();
    const tcp::Stack& stack = subject.stack;
    const tcp::Stack::Extents extents = stack.extents();
    const uint32_t from = question.from;
    switch (question.topic) {
        case Topic::counters: slice.counters = subject.counters; break;
        case Topic::pools:
            slice.use = stack.pool_use();
            slice.capacity = stack.pool_capacity();
            slice.engine = pools_of(subject);
            break;
        case Topic::half_open:
            copy_rows(slice, slice.half_open, from, extents.half_open,
                      [&](uint32_t index) { return stack.half_open_at(index, now); });
            break;
        case Topic::connections:
            copy_rows(slice, slice.connections, from, extents.connections,
                      [&](uint32_t index) { return stack.conn_at(index, now); });
            break;
        case Topic::time_wait:
            copy_rows(slice, slice.time_wait, from, extents.time_wait,
                      [&](uint32_t index) { return stack.time_wait_at(index, now); });
            break;
        case Topic::neighbors:
            copy_rows(slice, slice.neighbors, from, subject.neighbors.in_use(),
                      [&](uint32_t index) { return subject.neighbors.info(index, now); });
            break;
        case Topic::rules: {
            const Gate::Orders* const orders = subject.gate ? subject.gate->current() : nullptr;
            slice.orders = orders ? orders->serial : 0;
            const bool judges = orders && orders->rulebook;
            copy_rows(slice, slice.hits, from,
                      judges ? static_cast<uint32_t>(orders->rulebook->rules().size() + 1) : 0,
                      [&](uint32_t index) { return std::optional{orders->hits[index]}; });
            break;
        }
    }
}

void Inspection::answer(const Subject& subject, tcp::Instant now) {
    State expected = State::asked;
    if (!state_.compare_exchange_strong(expected, State::answering, std::memory_order_acquire,
                                        std::memory_order_relaxed)) {
        return;  // withdrawn
    }
    fill(slice_, question_, subject, now);
    state_.store(State::answered, std::memory_order_release);
}

// Only a vacant mailbox may be written to. What the worker has begun to answer is waited for; an answer that came too
// late for its question goes unread.
bool Inspection::post(const Question& question) {
    State seen = state_.load(std::memory_order_acquire);
    if (seen == State::answered) {
        if (!state_.compare_exchange_strong(seen, State::vacant, std::memory_order_acquire)) return false;
        seen = State::vacant;
    }
    if (seen != State::vacant) return false;
    question_ = question;
    return state_.compare_exchange_strong(seen, State::asked, std::memory_order_release, std::memory_order_relaxed);
}

void Inspection::withdraw() {
    State expected = State::asked;
    state_.compare_exchange_strong(expected, State::vacant, std::memory_order_acquire, std::memory_order_relaxed);
}

const Slice* Inspection::ask(const Question& question, Waker& waker, std::chrono::milliseconds patience) {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point limit = Clock::now() + patience;
    bool posted = false;
    // A busy worker answers within a turn, a sleeping one as soon as it runs: short looks first.
    for (std::chrono::microseconds pause{5};; pause = std::min(pause * 2, std::chrono::microseconds{1'000})) {
        const State state = state_.load(std::memory_order_acquire);
        if (state == State::absent) {
            outcome_ = Outcome::absent;
            return nullptr;
        }
        if (posted && state == State::answered) {
            outcome_ = Outcome::answered;
            return &slice_;
        }
        if (!posted) {
            posted = post(question);
            if (posted) waker.wake();
        }
        if (Clock::now() >= limit) break;
        std::this_thread::sleep_for(pause);
    }
    if (posted) withdraw();
    outcome_ = Outcome::silent;
    return nullptr;
}

}  // namespace pollux::engine
