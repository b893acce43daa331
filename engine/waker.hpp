// Waker: how other threads end a worker's sleep. They leave something where the worker looks (a ring, a mailbox) and
// call wake(), which costs one atomic exchange while the worker is awake and a write to an eventfd when it sleeps.
//
// No wake-up is lost. Sleeper and waker both exchange the one flag, so one of them comes first:
//
//     worker: about_to_sleep(), looks once more, sleeps on fd()       others: leave something, wake()
//
// If the worker's exchange comes first, the other sees that it sleeps and writes. If it comes second, it has
// read from the other's exchange and sees on its last look what was left. (A fence and a load would do as well;
// exchanges are what ThreadSanitizer can follow.)
#pragma once

#include <atomic>

namespace pollux::engine {

class Waker {
public:
    /// Throws one sentence when the process has no file descriptor left.
    Waker();
    ~Waker();
    Waker(const Waker&) = delete;
    Waker& operator=(const Waker&) = delete;

    /// By anybody, after leaving what the worker shall see.
    void wake() {
        if (asleep_.exchange(false, std::memory_order_acq_rel)) signal();
    }

    /// By the worker: before its last look around, and after its sleep.
    void about_to_sleep() { asleep_.exchange(true, std::memory_order_acq_rel); }
    void awake();

    bool asleep() const { return asleep_.load(std::memory_order_relaxed); }
    /// Readable from a wake() on until awake().
    int fd() const { return fd_; }

private:
    void signal();

    alignas(64) std::atomic<bool> asleep_{false};
    int fd_;
};

}  // namespace pollux::engine
