// Way: one direction of a link that is as bad as asked. Frames go in with the time of their arrival and come out when
// they are due; the caller has the clock.
//
//     arrived ──> lost? ──> drop-tail queue ──> sent at the rate ──> delay + jitter ──> due
//                                                                  └─ held back longer: others overtake
//
// A frame's times follow from its arrival alone, not from when somebody looked: a caller that wakes up late sends
// late, but the next frame is not later for it. Every kind of damage draws from a generator of its own, once per
// frame, so that the n-th frame has the same fate in every run with the same seed.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "tcp/rate_limit.hpp"

namespace pollux::test {

using Nanos = std::chrono::nanoseconds;
using Moment = std::chrono::time_point<std::chrono::steady_clock, Nanos>;

/// Shares in parts per million.
struct WaySettings {
    uint32_t loss_ppm = 0, reordering_ppm = 0;
    Nanos delay{0};
    Nanos jitter{0};              // added to the delay, from 0 to this; nobody overtakes by it
    Nanos reorder_by{5'000'000};  // how long a reordered frame is held back beyond the others
    double megabits = 0;          // a second; 0: no limit, and no queue
    uint32_t queue = 1'000;       // frames that wait for the rate or are being sent
};

struct WayCounts {
    uint64_t arrived = 0, lost = 0, queue_full = 0, reordered = 0, left = 0, bytes_left = 0, queue_peak = 0;
};

struct Frame {
    std::vector<std::byte> bytes;
    size_t from = 0;  // the number of the wire that it came by
};

class Way {
public:
    Way(const WaySettings& settings, uint64_t seed);

    /// `spared`: neither lost, queued nor held back, only delayed. Frames come in the order of their arrival.
    void admit(Frame frame, Moment arrived, bool spared);
    std::optional<Moment> next_due() const;
    struct Due {
        Frame frame;
        Moment due;
    };
    /// The first that is due by `now`.
    std::optional<Due> take(Moment now);
    const WayCounts& counts() const { return counts_; }
    size_t held() const { return held_.size(); }

private:
    struct Held {
        Moment due;
        uint64_t order;  // of arrival: equals stay in order
        Frame frame;
    };
    static bool later(const Held& a, const Held& b) { return a.due != b.due ? a.due > b.due : a.order > b.order; }
    static bool happens(tcp::Jitter& random, uint32_t ppm) { return random.below(1'000'000) < ppm; }
    std::optional<Moment> pass_queue(size_t size, Moment arrived);

    WaySettings settings_;
    tcp::Jitter loss_, reordering_, jitter_;
    std::deque<Moment> departures_;  // of the queue
    std::vector<Held> held_;         // a heap, the earliest first
    Moment last_due_{};              // of those that nobody overtakes
    WayCounts counts_;
};

}  // namespace pollux::test
