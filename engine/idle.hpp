// Idle: what a worker does when a turn found no work. `spin` does nothing, so the next packet is seen at once and the
// core is always busy. `adaptive` looks again some thousand times, then pauses between looks, then sleeps: on the
// receive interrupts of its queues where the devices have them, else for a moment. No sleep outlasts next_due(), and
// the worker's Waker ends any.
#pragma once

#include <rte_epoll.h>

#include <cstdint>
#include <optional>
#include <span>

#include "engine/nic_queue.hpp"
#include "engine/waker.hpp"
#include "tcp/time.hpp"

namespace pollux::engine {

class Idle {
public:
    enum class Kind : uint8_t { spin, adaptive };

    /// `waker`: the worker's own, which outlives this.
    Idle(Kind kind, Waker& waker) : kind_(kind), waker_(waker) {}
    ~Idle();
    Idle(const Idle&) = delete;
    Idle& operator=(const Idle&) = delete;

    /// To be called on the worker's own thread, once: interrupts arrive where they were asked for. This object ends
    /// on that thread too.
    void watch(std::span<const NicQueue> queues);

    void worked() { empty_turns_ = 0; }
    /// After a turn without work. `due(now)` says when there is work next without a packet; `pending()` whether
    /// another thread has left something, as every wake() announces.
    template <class Due, class Pending>
    void rest(tcp::Instant now, Due&& due, Pending&& pending) {
        if (kind_ == Kind::spin) return;
        if (++empty_turns_ < spin_turns) return;
        if (empty_turns_ < pause_turns) {
            for (int i = 0; i < pauses; ++i) rte_pause();
            return;
        }
        const std::optional<tcp::Instant> next = due(now);
        const tcp::Duration longest = next && *next - now < longest_sleep ? *next - now : longest_sleep;
        if (longest <= tcp::Duration::zero()) return;
        waker_.about_to_sleep();
        if (!pending()) sleep(longest);
        waker_.awake();
    }

    bool has_interrupts() const { return interrupts_; }
    uint64_t sleeps() const { return sleeps_; }

    /// Bounds how late a worker sees a signal or publishes its counts.
    static constexpr tcp::Duration longest_sleep = std::chrono::milliseconds{50};

private:
    static constexpr uint32_t spin_turns = 500;         // about 50 us
    static constexpr uint32_t pause_turns = 500 + 200;  // and 200 us more
    static constexpr int pauses = 16;                   // about 1 us
    static constexpr tcp::Duration blind_sleep = std::chrono::microseconds{100};

    void sleep(tcp::Duration longest);
    bool arm(bool on);

    Kind kind_;
    Waker& waker_;
    bool interrupts_ = false;
    rte_epoll_event wake_event_{};  // the waker among the interrupts of this thread
    uint32_t empty_turns_ = 0;
    uint64_t sleeps_ = 0;
    std::span<const NicQueue> queues_{};
};

}  // namespace pollux::engine
