#include "tcp/timer_wheel.hpp"

namespace pollux::tcp {
namespace {

constexpr uint32_t words = WheelCalendar::slots_per_level / 64;

// The first set bit at or after `from` among the 256 at `level_bits`, or 256.
uint32_t first_set(const uint64_t* level_bits, uint32_t from) {
    uint32_t word = from / 64;
    if (word >= words) return WheelCalendar::slots_per_level;
    uint64_t bits = level_bits[word] & ~uint64_t{0} << from % 64;
    while (bits == 0) {
        if (++word == words) return WheelCalendar::slots_per_level;
        bits = level_bits[word];
    }
    return word * 64 + static_cast<uint32_t>(std::countr_zero(bits));
}

}  // namespace

std::optional<uint32_t> WheelCalendar::next_work() const {
    if (has_work_now()) return current_;
    for (uint32_t level = 0; level < levels; ++level) {
        // Entries of a level agree with the current tick in all bytes above it and lie after it in their own: the
        // lower levels come first, and only the highest goes round.
        const uint32_t shift = 8 * level;
        const uint64_t* const bits = &occupied_[level * words];
        const uint32_t above = level + 1 < levels ? current_ >> (shift + 8) << (shift + 8) : 0;
        const uint32_t slot = first_set(bits, (current_ >> shift) % slots_per_level + 1);
        if (slot < slots_per_level) return above | slot << shift;
        if (level + 1 < levels) continue;
        const uint32_t wrapped = first_set(bits, 0);
        if (wrapped < slots_per_level) return wrapped << shift;
    }
    return {};
}

}  // namespace pollux::tcp
