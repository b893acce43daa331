// A stream whose every byte follows from its position, so that what arrives can be compared by position: a byte that
// is lost, doubled, moved or changed shows at the place where it happened.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

namespace pollux::test {

/// The byte at `position`. Neighbours differ, and so do places that lie 2^8, 2^16 or an MSS apart.
constexpr char pattern_at(uint64_t position) {
    uint64_t x = position + 0x9e37'79b9'7f4a'7c15;
    x = (x ^ (x >> 30)) * 0xbf58'476d'1ce4'e5b9;
    x = (x ^ (x >> 27)) * 0x94d0'49bb'1331'11eb;
    return static_cast<char>(x ^ (x >> 31));
}

/// The `size` bytes from `position` on.
inline std::string pattern(uint64_t position, size_t size) {
    std::string text(size, '\0');
    for (size_t i = 0; i < size; ++i) text[i] = pattern_at(position + i);
    return text;
}

/// Whether two streams are the same; says where they part.
inline testing::AssertionResult same(const std::string& got, const std::string& wanted) {
    if (got == wanted) return testing::AssertionSuccess();
    const size_t common = std::min(got.size(), wanted.size());
    const auto differs = std::mismatch(got.begin(), got.begin() + static_cast<ptrdiff_t>(common), wanted.begin());
    return testing::AssertionFailure() << got.size() << " bytes instead of " << wanted.size() << ", the same up to "
                                       << differs.first - got.begin();
}

}  // namespace pollux::test
