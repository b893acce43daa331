// A worker's sleep and how other threads end it: at once, and without losing a call.
#include "engine/waker.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <thread>

#include "engine/clock.hpp"
#include "engine/idle.hpp"

namespace pollux::testing {
namespace {

using engine::Idle;
using engine::Waker;
using namespace std::chrono_literals;
using SteadyClock = std::chrono::steady_clock;

constexpr auto never = [](tcp::Instant) { return std::optional<tcp::Instant>{}; };
constexpr auto nothing = [] { return false; };

// Rests until it has slept once more.
template <class Pending>
void sleep_once(Idle& idle, Pending pending) {
    const uint64_t before = idle.sleeps();
    while (idle.sleeps() == before) idle.rest(tcp::Instant{1s}, never, pending);
}

TEST(Waker, AWakerSignalsOnlyASleeper) {
    Waker waker;
    uint64_t signals = 0;
    waker.wake();
    EXPECT_LT(read(waker.fd(), &signals, sizeof signals), 0) << "the worker was awake";
    waker.about_to_sleep();
    EXPECT_TRUE(waker.asleep());
    waker.wake();
    waker.wake();
    EXPECT_FALSE(waker.asleep());
    EXPECT_EQ(read(waker.fd(), &signals, sizeof signals), ssize_t{sizeof signals});
    EXPECT_EQ(signals, 1u) << "the second call found it called";
}

TEST(Waker, ASignalIsGoneAfterTheSleepThatItEnded) {
    Waker waker;
    waker.about_to_sleep();
    waker.wake();
    waker.awake();
    uint64_t signals = 0;
    EXPECT_LT(read(waker.fd(), &signals, sizeof signals), 0);
    EXPECT_FALSE(waker.asleep());
}

TEST(Waker, WhatWaitsAlreadyKeepsTheWorkerFromSleeping) {
    Waker waker;
    Idle idle{Idle::Kind::adaptive, waker};
    idle.watch({});
    for (int i = 0; i < 2'000; ++i) idle.rest(tcp::Instant{1s}, never, [] { return true; });
    EXPECT_EQ(idle.sleeps(), 0u);
    sleep_once(idle, nothing);
    EXPECT_EQ(idle.sleeps(), 1u);
}

// A thousand messages, each sent when the one before has been seen. A worker that missed a call would sleep for 20 s.
TEST(Waker, NoCallIsLost) {
    Waker waker;
    std::atomic<uint32_t> sent{0}, seen{0};
    std::atomic<bool> end{false};
    std::thread worker{[&] {
        const auto waits = [&] {
            return sent.load(std::memory_order_acquire) != seen.load(std::memory_order_relaxed);
        };
        while (!end.load(std::memory_order_relaxed)) {
            waker.about_to_sleep();
            if (!waits()) {
                pollfd wakes{waker.fd(), POLLIN, 0};
                poll(&wakes, 1, 20'000);
            }
            waker.awake();
            if (waits()) seen.store(sent.load(std::memory_order_acquire), std::memory_order_release);
        }
    }};
    const auto limit = SteadyClock::now() + 15s;
    for (uint32_t message = 1; message <= 1'000; ++message) {
        sent.store(message, std::memory_order_release);
        waker.wake();
        while (seen.load(std::memory_order_acquire) != message && SteadyClock::now() < limit)
            std::this_thread::yield();
    }
    EXPECT_EQ(seen.load(), 1'000u);
    end.store(true);
    waker.wake();
    worker.join();
    EXPECT_LT(SteadyClock::now(), limit);
}

TEST(Waker, NoSleepOutlastsWhatIsDue) {
    Waker waker;
    Idle idle{Idle::Kind::adaptive, waker};
    idle.watch({});
    const engine::Clock clock;
    for (int i = 0; i < 2'000; ++i) {
        const tcp::Instant now = clock.now();
        idle.rest(
            now, [&](tcp::Instant at) { return std::optional{at}; }, nothing);
    }
    EXPECT_EQ(idle.sleeps(), 0u) << "work is due now";
}

}  // namespace
}  // namespace pollux::testing
