// Each program that meson makes of the conversations runs what its name says. Without its variable it would run the
// ordinary ones once more, and prove nothing.
#include <errno.h>

#include <string_view>

#include "tests/support/both_ways.hpp"
#include "tests/support/conversation.hpp"

namespace pollux::test {
namespace {

using Program = Conversation;

bool is_named(std::string_view what) {
    return std::string_view(program_invocation_short_name).find(what) != std::string_view::npos;
}

TEST_F(Program, SpeaksTheFamilyOfItsName) {
    const Packet packet = peer.packet_of({.flags = syn, .mss = 1460});
    std::vector<Packet> sent;
    world.host().turn(world.now(), {&packet, 1}, sent);
    ASSERT_EQ(sent.size(), 1u);
    const int family = is_named("over_ipv6") ? 6 : 4;
    EXPECT_EQ(int(packet[0]) >> 4, family);
    EXPECT_EQ(int(sent[0][0]) >> 4, family);
}

TEST_F(Program, TakesTheFastPathUnlessItsNameSaysOtherwise) {
    peer.connects({.ts = true});
    peer.sends({.flags = ack, .text = "expected"});
    EXPECT_EQ(world.count(Tally::fast_path), without_fast_path() ? 0u : 1u);
    EXPECT_EQ(compares_both_ways(), is_named("without_fast_path"));
    peer.forgets();
}

}  // namespace
}  // namespace pollux::test
