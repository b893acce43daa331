// Silly windows in the strict reading of RFC 9293 section 3.8.6.2.2: the right edge moves by min(half the buffer, the
// MSS) or not at all, also while every octet is consumed as it comes. Without that, a sender without rules of its own
// and a receiver that always reads everything chop a stream into crumbs, and the crumbs never end.
#include <algorithm>
#include <deque>

#include "tests/support/conversation.hpp"

namespace pollux::test {
namespace {

class SillyWindow : public Conversation {
protected:
    void watches_steps(int64_t& edge, int64_t least) {
        for (const Heard& h : peer.takes_all()) {
            const int64_t now = h.ack + h.segment.window;
            if (now != edge) {
                EXPECT_GE(now - edge, least);
            }
            edge = now;
        }
    }
};

TEST_F(SillyWindow, TheRightEdgeStandsStillWhileSmallSegmentsAreReadAtOnce) {
    proves("MUST-39");
    starts_with(settings_with([](auto& s) { s.receive_buffer = 4'096; }));
    peer.connects();
    int64_t edge = peer.edge();
    for (int i = 0; i < 500; ++i) {
        peer.sends({.flags = ack, .bytes = 20});
        if (i % 3 == 0) time.passes(50ms);
        watches_steps(edge, 1'460);
    }
    time.passes(50ms);
    watches_steps(edge, 1'460);
    EXPECT_TRUE(same(app.received(), pattern(0, 10'000)));
    EXPECT_GE(edge, peer.nxt + 4'096 - 1'460);
}

TEST_F(SillyWindow, ASenderThatFillsEveryCrackDoesNotCrumbleTheStream) {
    proves("MUST-39");
    starts_with(settings_with([](auto& s) { s.receive_buffer = 2'000; }));
    peer.connects();
    // Fills what is open at once, in segments of 1460 at most. The edge moves by 1000 at least, so what a full segment
    // leaves over is 540.
    while (peer.nxt < 100'000) {
        if (peer.nxt == peer.edge()) time.passes(50ms);
        const auto open = static_cast<size_t>(std::min<int64_t>(peer.edge() - peer.nxt, 1'460));
        if (open == 0) continue;
        EXPECT_GE(open, 540u);
        peer.sends({.flags = ack, .bytes = open});
        peer.forgets();
    }
    peer.forgets();
}

}  // namespace
}  // namespace pollux::test
