// Time that is handed in.
//
// Protocol code gets every Instant as an argument: EngineTime has no now(), so asking for the time in tcp/ does not
// compile. An Instant counts microseconds from an origin of the caller's choice (engine/clock.hpp: process start).
// Timers live on ticks of one millisecond; tick 0 is reserved to mean "no deadline".
#pragma once

#include <chrono>
#include <cstdint>

namespace pollux::tcp {

using namespace std::chrono_literals;

/// Meets what std::chrono::time_point needs and deliberately lacks now().
struct EngineTime {
    using duration = std::chrono::microseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<EngineTime>;
    static constexpr bool is_steady = true;
};
using Duration = EngineTime::duration;
using Instant = EngineTime::time_point;

/// A point on the millisecond circle of the timer wheel; wraps after 49.7 days. `none` marks "no deadline".
class Tick {
public:
    constexpr Tick() = default;
    constexpr explicit Tick(uint32_t raw) : raw_(raw) {}
    constexpr uint32_t raw() const { return raw_; }
    constexpr bool is_set() const { return raw_ != 0; }
    constexpr bool operator==(const Tick&) const = default;
    constexpr bool before(Tick other) const { return static_cast<int32_t>(raw_ - other.raw_) < 0; }
    constexpr bool at_or_before(Tick other) const { return static_cast<int32_t>(raw_ - other.raw_) <= 0; }
    /// Milliseconds from `other` to this tick, signed.
    constexpr int32_t operator-(Tick other) const { return static_cast<int32_t>(raw_ - other.raw_); }

private:
    uint32_t raw_ = 0;
};

/// The tick that has begun at `t`. Never the reserved 0.
constexpr Tick tick_at(Instant t) {
    const auto ms = static_cast<uint32_t>(t.time_since_epoch().count() / 1000);
    return Tick{ms == 0 ? 1u : ms};
}
/// The first tick at or after `t`: a deadline never fires early.
constexpr Tick deadline_at(Instant t) { return tick_at(t + Duration{999}); }

/// The earlier of two deadlines, either of which may be unset.
constexpr Tick earliest(Tick a, Tick b) {
    if (!a.is_set()) return b;
    if (!b.is_set()) return a;
    return a.before(b) ? a : b;
}

}  // namespace pollux::tcp
