// Many small calls make few large segments, however many pieces of memory they come from (RFC 9293 section 3.9.1.2,
// SHLD-27, SHLD-28).
#include "tests/support/conversation.hpp"

namespace pollux::test {
namespace {

using CollapsedCalls = Conversation;

TEST_F(CollapsedCalls, FullSegmentsAreMadeOfAnyNumberOfCalls) {
    proves("SHLD-27 SHLD-28");
    peer.window = 0;
    peer.connects();
    std::string all;
    for (int i = 0; i < 200; ++i) {  // of which 146 make a full segment
        const std::string part = pattern(all.size(), 10);
        ASSERT_TRUE(app.sends(part));
        all += part;
    }
    peer.expects_nothing();
    peer.sends({.flags = ack, .win = 65'535});
    peer.expects({.flags = ack, .seq = 1, .text = all.substr(0, 1'460), .push = false});
    peer.expects({.flags = ack, .seq = 1'461, .text = all.substr(1'460), .push = true});
    peer.expects_nothing();
}

}  // namespace
}  // namespace pollux::test
