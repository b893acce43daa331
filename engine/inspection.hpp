// Inspection: how tools read a worker's state without stopping it. Between the control thread and each worker there
// is one mailbox for one question and its answer:
//
//     control thread   ask(): vacant or answered -> asked, and wakes the worker
//     worker           serve(), once a turn: asked -> answering -> answered
//
// A question is for one slice of one table; the worker copies at most `rows` of it, or looks at `scanned` places,
// then goes on with its turn. It reads one word when nothing is asked, never waits, never allocates. The control
// thread waits for it, and gives up after a while: a question that nobody took is withdrawn. Outside of Attendance
// (before a worker runs and after it has ended) nothing is asked at all.
//
// What changes between two slices is seen before or after its change. Records never move, so what exists all the
// while is seen, once; and who walks half-open records, then connections, then TIME-WAIT records, in the order
// of their lives, misses none that goes from one to the next, but may see it twice.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>

#include "engine/egress.hpp"
#include "engine/gate.hpp"
#include "engine/neighbors.hpp"
#include "engine/paths.hpp"
#include "engine/waker.hpp"
#include "tcp/counters.hpp"
#include "tcp/stack.hpp"

namespace pollux::engine {

enum class Topic : uint8_t { counters, pools, half_open, connections, time_wait, neighbors, rules };

/// Where a walk over one topic goes on.
struct Question {
    Topic topic = Topic::counters;
    uint32_t from = 0;
};

/// What a worker stands on, for the answers.
struct Subject {
    const tcp::Stack& stack;
    const tcp::Counters& counters;
    const Neighbors& neighbors;
    const Paths& paths;
    const Egress& egress;
    const Gate::Post* gate = nullptr;
};

/// What is no pool of the stack's. (Packet pools may be looked at by anybody.)
struct EnginePools {
    uint32_t neighbors = 0, neighbors_capacity = 0;
    uint32_t paths = 0, paths_capacity = 0;
    uint32_t backlog = 0;  // frames that the devices have not taken yet
};

/// One answer: `count` entries of the array of its topic, or the values of its topic.
struct Slice {
    static constexpr uint32_t rows = 32;      // about 6 us of a turn when every line misses
    static constexpr uint32_t scanned = 128;  // places looked at, free ones included

    uint32_t count = 0;
    std::optional<uint32_t> next;  // where the next slice begins; nothing: this was the last
    tcp::Counters counters{};
    tcp::PoolUse use{}, capacity{};
    EnginePools engine{};
    std::array<tcp::HalfOpenInfo, rows> half_open{};
    std::array<tcp::ConnInfo, rows> connections{};
    std::array<tcp::TimeWaitInfo, rows> time_wait{};
    std::array<NeighborInfo, rows> neighbors{};
    uint64_t orders = 0;  // the number of the rules that `hits` belong to; 0: of none
    std::array<uint64_t, rows> hits{};
};

class Inspection {
public:
    Inspection() = default;
    Inspection(const Inspection&) = delete;
    Inspection& operator=(const Inspection&) = delete;

    // ---- The worker's. -----------------------------------------------------------------------------------------
    /// While it lives, questions are answered.
    class Attendance {
    public:
        explicit Attendance(Inspection& inspection) : inspection_(inspection) {
            inspection_.state_.store(State::vacant, std::memory_order_release);
        }
        ~Attendance() { inspection_.state_.store(State::absent, std::memory_order_release); }
        Attendance(const Attendance&) = delete;
        Attendance& operator=(const Attendance&) = delete;

    private:
        Inspection& inspection_;
    };

    bool is_asked() const { return state_.load(std::memory_order_relaxed) == State::asked; }
    /// Once a turn: answers what is asked.
    void serve(const Subject& subject, tcp::Instant now) {
        if (is_asked()) answer(subject, now);
    }

    // ---- The control thread's. ---------------------------------------------------------------------------------
    enum class Outcome : uint8_t { answered, absent, silent };
    /// The answer, valid until the next question; nullptr: `absent`, not running, or `silent`, in `patience`.
    const Slice* ask(const Question& question, Waker& waker, std::chrono::milliseconds patience);
    Outcome outcome() const { return outcome_; }

private:
    enum class State : uint8_t { absent, vacant, asked, answering, answered };

    void answer(const Subject& subject, tcp::Instant now);
    bool post(const Question& question);
    void withdraw();

    alignas(64) std::atomic<State> state_{State::absent};
    Question question_{};
    Slice slice_{};
    Outcome outcome_ = Outcome::absent;  // the control thread's
};

/// Fills `slice` with the part of `subject` that is asked for. In bounded time, without allocating.
void fill(Slice& slice, const Question& question, const Subject& subject, tcp::Instant now);

}  // namespace pollux::engine
