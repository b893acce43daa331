// Conversations both ways. POLLUX_FAST_PATH=off sends every segment through the numbered steps; whatever a test
// expects must hold then too. With POLLUX_FAST_PATH=compared and --gtest_repeat=2 every test of the program is played
// with the fast path, which is noted turn by turn, and then without it: each turn of each host must be what it was,
// in every packet, every field of every connection and every counter but the fast path's own.
#pragma once

#include <span>

#include "tcp/stack.hpp"
#include "tests/support/packet_log.hpp"

namespace pollux::test {

/// Whether this program compares.
bool compares_both_ways();
/// Whether this time every segment takes the numbered steps, by the environment's wish.
bool without_fast_path();

/// For each host, after each turn: what has left in it and what the stack is now.
void compare_turn(const tcp::Stack& stack, const tcp::Counters& counters, tcp::Instant now,
                  std::span<const Packet> sent);

}  // namespace pollux::test
