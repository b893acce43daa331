// Sequence numbers (RFC 9293 section 3.4): points on a circle of 2^32.
//
// Two types share the sequence space: a SeqNum is a point, a uint32_t is a length. Point + length is a point,
// point - point is a signed length, point + point does not compile. There is no operator<: "before" holds only
// between points less than half the circle apart and is not transitive, so a circle cannot be sorted.
#pragma once

#include <cstdint>

namespace pollux::tcp {

class SeqNum {
public:
    constexpr SeqNum() = default;
    constexpr explicit SeqNum(uint32_t raw) : raw_(raw) {}

    constexpr uint32_t raw() const { return raw_; }

    constexpr SeqNum operator+(uint32_t bytes) const { return SeqNum{raw_ + bytes}; }
    constexpr SeqNum& operator+=(uint32_t bytes) { return *this = *this + bytes; }
    /// The point `bytes` before this one.
    constexpr SeqNum back(uint32_t bytes) const { return SeqNum{raw_ - bytes}; }
    /// Signed distance from `other` to this point.
    constexpr int32_t operator-(SeqNum other) const { return static_cast<int32_t>(raw_ - other.raw_); }
    /// Length from `first` up to this point; the caller knows that `first` is not after it.
    constexpr uint32_t since(SeqNum first) const { return raw_ - first.raw_; }

    constexpr bool operator==(const SeqNum&) const = default;
    constexpr bool before(SeqNum other) const { return *this - other < 0; }
    constexpr bool at_or_before(SeqNum other) const { return *this - other <= 0; }
    constexpr bool after(SeqNum other) const { return *this - other > 0; }
    constexpr bool at_or_after(SeqNum other) const { return *this - other >= 0; }
    /// Whether the point lies in [first, first + size).
    constexpr bool in_window(SeqNum first, uint32_t size) const { return raw_ - first.raw_ < size; }

private:
    uint32_t raw_ = 0;
};

/// The later of two points less than half the circle apart.
constexpr SeqNum later(SeqNum a, SeqNum b) { return a.before(b) ? b : a; }
/// The earlier of two points less than half the circle apart.
constexpr SeqNum earlier(SeqNum a, SeqNum b) { return a.before(b) ? a : b; }

static_assert(SeqNum{0xffff'fff0}.before(SeqNum{5}) && SeqNum{5}.in_window(SeqNum{0xffff'fff0}, 32));
static_assert(SeqNum{5} - SeqNum{0xffff'fff0} == 21);

}  // namespace pollux::tcp
