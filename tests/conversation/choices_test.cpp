// What the application may choose while a connection runs: holding back what is not full, and Nagle (RFC 9293 section
// 3.7.4); and a receive buffer that grows with the peer.
#include "tests/support/conversation.hpp"

namespace pollux::test {
namespace {

class Choices : public Conversation {
protected:
    void sends_part(std::string_view text) {
        app.does("sends " + std::string(text) + ", more to come", [text](tcp::Stack& stack, tcp::ConnId conn, auto) {
            EXPECT_TRUE(stack.send_copy(conn, std::as_bytes(std::span(text)), tcp::Stack::More::to_come));
        });
    }
};

// ---- Holding back. ----------------------------------------------------------------------------------------------

TEST_F(Choices, WhatIsNotFullWaitsForTheRest) {
    peer.connects();
    sends_part("head ");
    sends_part("and ");
    peer.expects_nothing();
    app.sends("body");
    peer.expects({.flags = ack, .seq = 1, .text = "head and body", .push = true});
    peer.expects_nothing();
    EXPECT_EQ(world.info().timer, tcp::ConnInfo::Timer::retransmission);
    EXPECT_TRUE(about(peer.waits(), world.info().rto)) << "the wait for more is over and has left no timer behind";
    peer.forgets();
}

TEST_F(Choices, FullSegmentsDoNotWait) {
    peer.connects();
    sends_part("head ");
    peer.expects_nothing();
    const std::string long_part(1'460, 'x');
    sends_part(long_part);
    peer.expects({.flags = ack, .seq = 1, .bytes = 1'460});
    peer.expects_nothing();  // five bytes are left
    EXPECT_EQ(world.info().timer, tcp::ConnInfo::Timer::retransmission);
    peer.sends({.flags = ack});
    peer.expects_nothing();
    app.shuts_down();
    peer.expects({.flags = fin | ack, .seq = 1'461, .bytes = 5});
}

TEST_F(Choices, NothingIsHeldBackForEver) {
    proves("MUST-60");
    peer.connects();
    sends_part("alone");
    peer.expects_nothing();
    EXPECT_EQ(world.info().timer, tcp::ConnInfo::Timer::hold);
    EXPECT_TRUE(about(peer.waits(), 200ms));
    peer.expects({.flags = ack, .seq = 1, .text = "alone"});
    // Behind data in flight the ACK starts the clock.
    sends_part("again");
    peer.expects_nothing();
    peer.sends({.flags = ack});
    peer.expects_nothing();
    EXPECT_TRUE(about(peer.waits(), 200ms));
    peer.expects({.flags = ack, .seq = 6, .text = "again"});
    // And the next that is sent without it leaves at once.
    app.sends("free");
    peer.expects({.flags = ack, .seq = 11, .text = "free"});
}

TEST_F(Choices, ClosingEndsTheHoldingBack) {
    for (const bool full : {false, true}) {
        SCOPED_TRACE(full);
        starts_with(small_settings());
        peer.connects();
        sends_part("last");
        peer.expects_nothing();
        if (full)
            app.closes();
        else
            app.shuts_down();
        peer.expects({.flags = fin | ack, .seq = 1, .text = "last"});
        peer.sends({.flags = fin | ack, .ack = 6});
        peer.expects({.flags = ack, .ack = 2});
        EXPECT_EQ(peer.state(), State::time_wait);
    }
}

// ---- For one connection. ----------------------------------------------------------------------------------------

TEST_F(Choices, NagleIsSwitchedForOneConnection) {
    proves("MUST-17");
    starts_with(settings_with([](auto& s) { s.nagle = true; }));
    peer.connects();
    app.sends("a");
    peer.expects({.text = "a"});
    app.sends("b");
    peer.expects_nothing();
    app.does("wants no delay", [](tcp::Stack& stack, tcp::ConnId conn, auto) { stack.set_no_delay(conn, true); });
    peer.expects({.text = "b"});
    app.sends("c");
    peer.expects({.text = "c"});
    app.does("allows it", [](tcp::Stack& stack, tcp::ConnId conn, auto) { stack.set_no_delay(conn, false); });
    app.sends("d");
    peer.expects_nothing();
}

// ---- A receive buffer that grows. -------------------------------------------------------------------------------

class GrowingBuffer : public Choices {
protected:
    void starts(uint32_t most) {
        starts_with(settings_with([most](auto& s) {
            s.receive_buffer = 64 << 10;
            s.receive_buffer_max = most;
            s.capacity.chunks = 2'048;
        }));
        peer.connects({.ws = 7, .rtt = 20ms});
    }
    /// Fills the window and hears its ACKs, as a bulk sender would, once each `round`; how far the window goes then.
    int64_t fills(Duration round) {
        const int64_t until = peer.edge();
        while (peer.nxt < until) {
            const auto left = static_cast<size_t>(until - peer.nxt);
            peer.sends({.flags = ack, .bytes = std::min<size_t>(1'460, left)});
        }
        time.passes(round);
        peer.forgets();
        return peer.edge() - peer.nxt;
    }
};

TEST_F(GrowingBuffer, DoublesWhileThePeerFillsItWithinARoundTrip) {
    starts(1 << 20);
    int64_t window = fills(20ms);
    for (int i = 0; i < 8; ++i) {
        const int64_t next = fills(20ms);
        EXPECT_GE(next, window - 3 * 1'460);
        EXPECT_LE(next, 2 * window + 6 * 1'460) << "at most twice in each round";
        window = next;
    }
    EXPECT_GE(window, (1 << 20) - 3 * 1'460);
    EXPECT_LE(window, (1 << 20) + 128);
    EXPECT_EQ(world.count(Tally::receive_buffers_grown), 4u);
    EXPECT_TRUE(same(app.received(), pattern(0, app.received().size())));
}

TEST_F(GrowingBuffer, StaysForAPeerThatDoesNotNeedIt) {
    starts(1 << 20);
    for (int i = 0; i < 6; ++i) EXPECT_LE(fills(500ms), 66'000);
    EXPECT_EQ(world.count(Tally::receive_buffers_grown), 0u);
}

TEST_F(GrowingBuffer, StaysWhileTheApplicationLeavesDataUnread) {
    starts(1 << 20);
    app.consumes = false;
    for (int i = 0; i < 4; ++i) fills(20ms);
    EXPECT_EQ(world.count(Tally::receive_buffers_grown), 0u);
}

TEST_F(GrowingBuffer, IsOffByDefault) {
    starts(0);
    for (int i = 0; i < 6; ++i) EXPECT_LE(fills(20ms), 66'000);
    EXPECT_EQ(world.count(Tally::receive_buffers_grown), 0u);
}

}  // namespace
}  // namespace pollux::test
