#include "tests/interop/link/way.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace pollux::test {

namespace {

// The finalizer of SplitMix64: near seeds give unrelated streams.
uint64_t mix(uint64_t seed, uint64_t number) {
    uint64_t mixed = seed * 0x9e37'79b9'7f4a'7c15 + number * 0xd1b5'4a32'd192'ed03;
    mixed = (mixed ^ mixed >> 30) * 0xbf58'476d'1ce4'e5b9;
    mixed = (mixed ^ mixed >> 27) * 0x94d0'49bb'1331'11eb;
    return mixed ^ mixed >> 31;
}

}  // namespace

Way::Way(const WaySettings& settings, uint64_t seed)
    : settings_(settings), loss_(mix(seed, 1)), reordering_(mix(seed, 2)), jitter_(mix(seed, 3)) {}

void Way::admit(Frame frame, Moment arrived, bool spared) {
    ++counts_.arrived;
    Moment due = arrived;
    bool held_back = false;
    if (!spared) {
        held_back = happens(reordering_, settings_.reordering_ppm);
        const Nanos jitter{static_cast<int64_t>(jitter_.below(1'000'001)) * settings_.jitter.count() / 1'000'000};
        if (happens(loss_, settings_.loss_ppm)) {
            ++counts_.lost;
            return;
        }
        const auto departure = pass_queue(frame.bytes.size(), arrived);
        if (!departure) {
            ++counts_.queue_full;
            return;
        }
        due = *departure + jitter;
    }
    due = std::max(due + settings_.delay, last_due_);
    if (held_back) {
        ++counts_.reordered;
        due += settings_.reorder_by;
    } else {
        last_due_ = due;
    }
    held_.push_back({due, counts_.arrived, std::move(frame)});
    std::push_heap(held_.begin(), held_.end(), later);
}

// When the last bit has left; nothing if there was no place.
std::optional<Moment> Way::pass_queue(size_t size, Moment arrived) {
    if (settings_.megabits <= 0) return arrived;
    while (!departures_.empty() && departures_.front() <= arrived) departures_.pop_front();
    if (departures_.size() >= settings_.queue) return {};
    const Moment begins = departures_.empty() ? arrived : departures_.back();
    const Nanos takes{std::llround(static_cast<double>(size) * 8'000.0 / settings_.megabits)};
    departures_.push_back(begins + takes);
    counts_.queue_peak = std::max<uint64_t>(counts_.queue_peak, departures_.size());
    return departures_.back();
}

std::optional<Moment> Way::next_due() const {
    return held_.empty() ? std::nullopt : std::optional{held_.front().due};
}

std::optional<Way::Due> Way::take(Moment now) {
    if (held_.empty() || held_.front().due > now) return {};
    std::pop_heap(held_.begin(), held_.end(), later);
    Due taken{std::move(held_.back().frame), held_.back().due};
    held_.pop_back();
    ++counts_.left;
    counts_.bytes_left += taken.frame.bytes.size();
    return taken;
}

}  // namespace pollux::test
