// Input: the bytes of a fuzzer, read as small numbers. An empty input goes on giving zeros, so that every input means
// something, and a target ends when empty() says so. And demand(): how a target says what must hold.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

namespace pollux::fuzz {

using Bytes = std::span<const uint8_t>;

/// What a target has found. Nothing in a fuzzer catches it: the program stops where it was thrown. The replay does.
class Found : public std::logic_error {
public:
    using std::logic_error::logic_error;
};

/// `promise` is a sentence that says what should have been.
inline void demand(bool holds, std::string_view promise) {
    if (!holds) throw Found(std::string{promise});
}

class Input {
public:
    explicit Input(Bytes bytes) : bytes_(bytes) {}

    bool empty() const { return bytes_.empty(); }
    uint8_t byte() {
        if (bytes_.empty()) return 0;
        const uint8_t value = bytes_[0];
        bytes_ = bytes_.subspan(1);
        return value;
    }
    bool flag() { return (byte() & 1) != 0; }
    uint16_t two() {
        const auto high = static_cast<uint16_t>(byte() << 8);
        return static_cast<uint16_t>(high | byte());
    }
    uint32_t four() {
        const uint32_t high = uint32_t{two()} << 16;
        return high | two();
    }
    uint64_t eight() {
        const uint64_t high = uint64_t{four()} << 32;
        return high | four();
    }
    /// From 0 to `bound` - 1; as few bytes as that takes.
    uint32_t below(uint32_t bound) {
        if (bound <= 1) return 0;
        return (bound <= 0x100 ? byte() : bound <= 0x10000 ? two() : four()) % bound;
    }
    template <class T, size_t N>
    const T& one_of(const T (&choices)[N]) {
        return choices[below(N)];
    }
    /// The next `size` bytes, or what is left.
    Bytes take(size_t size) {
        const Bytes taken = bytes_.first(std::min(size, bytes_.size()));
        bytes_ = bytes_.subspan(taken.size());
        return taken;
    }
    Bytes rest() { return take(bytes_.size()); }

private:
    Bytes bytes_;
};

inline std::string_view as_text(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

}  // namespace pollux::fuzz
