// What each side may hold back and for how long: the sender small segments, but never for ever (RFC 9293 MUST-38,
// MUST-60, SHLD-27); the receiver small steps of its window (MUST-39), and the whole window for as long as it likes
// (MAY-8).
#include <algorithm>

#include "tests/support/conversation.hpp"

namespace pollux::test {
namespace {

class HeldBack : public Conversation {
protected:
    void fills_the_window(size_t step) {
        while (peer.nxt < peer.edge()) {
            const auto left = static_cast<size_t>(peer.edge() - peer.nxt);
            peer.sends({.flags = ack, .bytes = std::min(step, left)});
        }
        time.passes(50ms);
        ASSERT_FALSE(peer.heard_nothing());
        EXPECT_EQ(peer.takes_all().back().segment.window, 0u);
    }
    /// The steps by which the right edge moved in what has been heard; none is smaller than `least`, unless it opens
    /// all of the buffer.
    void watches_steps(int64_t& edge, int64_t least, Here here = Here::current()) {
        for (const Heard& h : peer.takes_all()) {
            const int64_t now = h.ack + h.segment.window;
            if (now != edge && h.segment.window < world.stack().settings().receive_buffer) {
                EXPECT_GE(now - edge, least) << "in line " << here.line;
            }
            edge = now;
        }
    }
};

// ---- The sender. -------------------------------------------------------------------------------------------------

TEST_F(HeldBack, TheSenderFillsSegmentsNotCracksOfTheWindow) {
    proves("MUST-38 G6 SHLD-28");
    // The peer reads byte by byte and, against the rules, says so every time.
    peer.window = 4'380;
    peer.connects();
    app.sends_pattern(60'000);
    int64_t read = 0, acked = 1;
    for (int i = 0; i < 2'000; ++i) {
        for (const Heard& h : peer.takes_all()) {
            EXPECT_EQ(h.bytes(), 1'460u);
            acked = h.end();
        }
        read = std::min(read + 11, acked - 1);
        const auto window = static_cast<uint32_t>(4'380 - (acked - 1 - read));
        peer.sends({.flags = ack, .ack = acked, .win = window});
    }
    EXPECT_GT(acked, 20'000);
    peer.forgets();
}

TEST_F(HeldBack, AWindowThatStaysSmallIsUsedInTheEnd) {
    proves("MUST-38 MUST-60");
    // Never a full segment, never half of the largest window: the override timeout (section 3.8.6.2.1).
    peer.connects();
    app.sends_pattern(14'600);
    peer.expects_exactly(10);
    peer.sends({.flags = ack, .ack = 14'601, .win = 300});
    app.sends_pattern(1'000);
    peer.expects_nothing();
    for (int64_t seq = 14'601; seq < 15'501; seq += 300) {
        const Duration wait = peer.waits(5s);
        EXPECT_GE(wait, 100ms);  // 0.1 to 1 s, or the timer of a probe
        EXPECT_LE(wait, 1'500ms);
        peer.expects({.flags = ack, .seq = seq, .bytes = 300});
        peer.expects_nothing();
        peer.sends({.flags = ack, .ack = seq + 300, .win = 300});
    }
    // All that is left, with nothing in flight, need not wait.
    peer.expects({.flags = ack, .seq = 15'501, .bytes = 100});
    EXPECT_TRUE(same(peer.stream(), pattern(0, 15'600)));
}

TEST_F(HeldBack, NothingQueuedWaitsForEver) {
    proves("MUST-60");
    for (const bool nagle : {false, true}) {
        SCOPED_TRACE(nagle);
        starts_with(settings_with([&](auto& s) { s.nagle = nagle; }));
        peer.connects();
        app.sends("first");
        app.sends("second");  // with Nagle it waits for the ACK of the first, even if that is lost once
        time.passes(3s);
        peer.forgets();
        peer.sends({.flags = ack, .ack = 6});
        time.passes(3s);
        EXPECT_EQ(peer.stream(), "firstsecond");
        peer.forgets();
        peer.sends({.flags = ack, .ack = 12});
        time.passes(10min);
        peer.expects_nothing();
    }
}

TEST_F(HeldBack, WhatSeveralCallsQueuedLeavesAsOneSegmentWithOnePush) {
    proves("SHLD-27 SHLD-28 MUST-61");
    // Behind a closed window, and behind a full one.
    peer.window = 0;
    peer.connects();
    for (const std::string_view text : {"one ", "two ", "three ", "four"}) app.sends(text);
    peer.expects_nothing();
    peer.sends({.flags = ack, .win = 65'535});
    peer.expects({.flags = ack, .seq = 1, .text = "one two three four", .push = true});
    peer.expects_nothing();
    peer.sends({.flags = ack, .win = 14'600});
    app.sends_pattern(14'600);
    peer.expects_exactly(10);
    const std::string all = pattern(14'600, 1'600);
    for (size_t at = 0; at < all.size(); at += 200) app.sends(std::string_view(all).substr(at, 200));
    peer.expects_nothing();
    peer.sends({.flags = ack, .win = 65'535});
    peer.expects({.flags = ack, .text = all.substr(0, 1'460), .push = false});
    peer.expects({.flags = ack, .text = all.substr(1'460), .push = true});
    peer.expects_nothing();
}

TEST_F(HeldBack, CallsOfOneTurnAreCollapsed) {
    proves("SHLD-27");
    peer.connects();
    app.does("sends three times", [](tcp::Stack& stack, tcp::ConnId conn, Instant) {
        for (const std::string_view text : {"a", "b", "c"}) {
            EXPECT_TRUE(stack.send_copy(conn, std::as_bytes(std::span(text))));
        }
    });
    peer.expects({.flags = ack, .seq = 1, .text = "abc", .push = true});
    peer.expects_nothing();
}

// ---- The receiver. -----------------------------------------------------------------------------------------------

TEST_F(HeldBack, TheReceiverOpensAFullWindowInStepsWorthSending) {
    proves("MUST-39 E10");
    struct Case {
        uint32_t buffer;
        int64_t least;  // min(half the buffer, the MSS)
    };
    for (const Case& c : {Case{8'192, 1'460}, Case{4'096, 1'460}, Case{2'000, 1'000}, Case{500, 250}}) {
        SCOPED_TRACE(c.buffer);
        starts_with(settings_with([&](auto& s) { s.receive_buffer = c.buffer; }));
        app.consumes = false;
        peer.connects();
        fills_the_window(1'460);
        int64_t edge = peer.nxt;
        for (uint32_t read = 0; read < c.buffer; read += 50) {
            app.reads(50);
            watches_steps(edge, c.least);
            if (read % 500 == 0) {  // an answer to a probe opens it no sooner
                time.passes(1s);
                peer.sends({.flags = ack, .seq = peer.nxt - 1});
                watches_steps(edge, c.least);
            }
        }
        time.passes(1s);
        peer.sends({.flags = ack, .seq = peer.nxt - 1});
        watches_steps(edge, c.least);
        EXPECT_GE(edge, peer.nxt + c.buffer - c.least) << "nothing is withheld once it is worth saying";
    }
}

TEST_F(HeldBack, MemoryThatAnotherConnectionHasTakenMovesNoEdge) {
    // The size of a buffer cannot be changed while the stack runs; the memory behind it can be gone.
    proves("X10 E9 SHLD-14");
    starts_with(settings_with([](auto& s) { s.receive_buffer = 32'768, s.capacity.chunks = 8; }));
    app.consumes = false;
    peer.connects();
    const tcp::ConnId first = app.conn();
    Peer other(world, {peer_endpoint.address, 41'000});
    other.connects();
    for (int i = 0; i < 100; ++i) other.sends({.flags = ack, .bytes = 256});
    ASSERT_EQ(world.stack().pool_use().chunks, 8u);
    // The Peer sees to it that the edge never moves left, whatever becomes of the octets.
    for (int i = 0; i < 50; ++i) peer.sends({.flags = ack, .seq = 1 + i, .bytes = 1});
    for (int i = 0; i < 50; ++i) peer.sends({.flags = ack, .seq = 101 + 2 * i, .bytes = 1});
    time.passes(50ms);
    peer.forgets();
    app.reads(32'768);
    app.does("reads the first connection",
             [&](tcp::Stack& stack, tcp::ConnId, Instant) { app.read(stack, first, 32'768); });
    app.takes();
    other.forgets();
    peer.forgets();
    // There is memory again: all that was sent in vain is taken when it is sent again.
    app.consumes = true;
    for (int64_t seq = 1; seq < 2'001; seq += 500) peer.sends({.flags = ack, .seq = seq, .bytes = 500});
    time.passes(50ms);
    EXPECT_EQ(peer.takes_all().back().ack, 2'001);
    other.forgets();
}

TEST_F(HeldBack, TheReceiverMayKeepItsWindowClosedForEver) {
    proves("MAY-8 G10");
    starts_with(settings_with([](auto& s) { s.receive_buffer = 4'096; }));
    app.consumes = false;
    peer.connects();
    fills_the_window(1'460);
    const int64_t full = peer.nxt;
    for (int hour = 0; hour < 48; ++hour) {
        time.passes(1h);
        peer.expects_nothing();
        peer.sends({.flags = ack, .seq = full, .bytes = 1});
        peer.expects({.flags = ack, .seq = 1, .ack = full, .win = 0, .bytes = 0});
        ASSERT_EQ(peer.state(), State::established);
    }
    app.reads(10'000);
    peer.expects({.flags = ack, .ack = full, .win = 4'096});
    peer.sends({.flags = ack, .seq = full, .bytes = 1'000});
    app.reads(10'000);
    EXPECT_TRUE(same(app.received(), pattern(0, static_cast<size_t>(full - 1 + 1'000))));
    peer.forgets();
}

}  // namespace
}  // namespace pollux::test
