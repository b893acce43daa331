// What a stack says of itself, whole, as numbers with names: every field of every connection, of the half-open and
// the TIME-WAIT records, its pools, its counters, its next wake. Two runs that must be equal are compared by it: the
// digest after each turn, and the numbers in words where the digests differ.
//
// `Tally::fast_path` alone is left out: with and without the fast path everything else must be the same.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tcp/stack.hpp"

namespace pollux::test {

/// Of the stack after a turn.
uint64_t digest_of(const tcp::Stack& stack, const tcp::Counters& counters, tcp::Instant now);

/// The same for people, without what is 0.
struct Number {
    std::string_view of, name;  // "connection", "cwnd"
    uint32_t index;             // which of these
    uint64_t value;
    bool has_name_of(const Number& other) const {
        return of == other.of && name == other.name && index == other.index;
    }
};
using Numbers = std::vector<Number>;
Numbers numbers_of(const tcp::Stack& stack, const tcp::Counters& counters, tcp::Instant now);
/// "connection 0 cwnd is 2920, was 1460; ...": at most `most` of them; empty if there is none.
std::string difference(const Numbers& was, const Numbers& is, size_t most = 8);

}  // namespace pollux::test
