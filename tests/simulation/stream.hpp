// Streams: what each side of each connection sends, by position. All of them are pieces of one long pattern in memory
// that never changes, which is what pinned memory asks for; each begins at a place of its own, so that a byte of
// another connection, of the other direction or of another position shows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "tests/simulation/scenario.hpp"
#include "tests/support/pattern.hpp"

namespace pollux::simulation {

class Stream {
public:
    static constexpr size_t longest = 1 << 20;

    Stream(size_t connection, Side sender) : at_((connection * 2 + number(sender)) % 64 * 10'007) {}

    /// The bytes [position, position + size) of this stream.
    std::span<const std::byte> bytes(uint64_t position, size_t size) const {
        return std::span(whole()).subspan(at_ + position, size);
    }
    /// Where `got` first differs from the bytes at `position`; `got.size()` if it does not.
    size_t first_difference(uint64_t position, std::span<const std::byte> got) const {
        const auto wanted = bytes(position, got.size());
        return static_cast<size_t>(std::mismatch(got.begin(), got.end(), wanted.begin()).first - got.begin());
    }

private:
    static const std::vector<std::byte>& whole() {
        static const std::vector<std::byte> all = [] {
            std::vector<std::byte> bytes(longest + 64 * 10'007 + 65'536);
            for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(test::pattern_at(i));
            return bytes;
        }();
        return all;
    }
    size_t at_;
};

}  // namespace pollux::simulation
