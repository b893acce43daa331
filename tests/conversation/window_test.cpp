// Flow control, both ways: the window we announce, the window we obey, and what happens when it is zero (RFC 9293
// section 3.8.6, RFC 7323 section 2).
#include "tests/support/conversation.hpp"

namespace pollux::test {
namespace {

// Bytes of the stream that have been heard, retransmissions counted once.
int64_t furthest(const std::vector<Heard>& all) {
    int64_t end = 1;
    for (const Heard& h : all) end = std::max(end, h.end());
    return end - 1;
}

class Window : public Conversation {
protected:
    /// All that a window of two segments takes is in flight, and SND.WL1 is 11.
    void fills_a_small_window() {
        peer.window = 2'920;
        peer.connects();
        app.sends_pattern(20'000);
        EXPECT_EQ(furthest(peer.takes_all()), 2'920);
        peer.sends({.flags = ack, .seq = 11, .ack = 1, .bytes = 10});
        peer.expects({.flags = ack, .ack = 1});
    }
};

// ---- The window that we announce.
// --------------------------------------------------------------------------------------

TEST_F(Window, UnreadBytesLowerTheWindowToZeroAndReadingRaisesIt) {
    proves("E9 SHLD-14");
    starts_with(settings_with([](auto& s) { s.receive_buffer = 8'192; }));
    app.consumes = false;
    peer.connects();
    const int64_t edge = peer.edge();
    EXPECT_LE(edge, 1 + 8'192);
    while (peer.nxt < edge) {
        peer.sends({.flags = ack, .bytes = static_cast<size_t>(std::min<int64_t>(1'460, edge - peer.nxt))});
    }
    time.passes(50ms);
    // The Peer checks after every segment that the right edge has not moved left.
    const Heard last = peer.takes_all().back();
    EXPECT_EQ(last.ack, edge);
    EXPECT_EQ(last.segment.window, 0u);
    app.reads(8'192);
    const Heard update = peer.expects({.flags = ack, .seq = 1, .ack = edge, .bytes = 0});
    EXPECT_GE(update.segment.window, 1'460u);
    EXPECT_TRUE(same(app.received(), pattern(0, static_cast<size_t>(edge - 1))));
}

TEST_F(Window, OutOfOrderBytesDoNotLowerTheWindow) {
    proves("E9 SHLD-14");
    starts_with(settings_with([](auto& s) { s.receive_buffer = 8'192; }));
    peer.connects();
    const int64_t edge = peer.edge();
    for (int64_t seq = 2'001; seq + 500 <= edge; seq += 500) {
        peer.sends({.flags = ack, .seq = seq, .bytes = 500});
        const Heard h = peer.expects({.flags = ack, .ack = 1});
        EXPECT_EQ(h.ack + h.segment.window, edge);
    }
}

TEST_F(Window, TinyReadsDoNotOpenATinyWindow) {
    proves("E10");
    starts_with(settings_with([](auto& s) { s.receive_buffer = 8'192; }));
    app.consumes = false;
    peer.connects();
    while (peer.nxt < peer.edge()) {
        peer.sends({.flags = ack, .bytes = static_cast<size_t>(std::min<int64_t>(1'460, peer.edge() - peer.nxt))});
    }
    time.passes(50ms);
    peer.forgets();
    size_t read = 0;
    while (peer.heard_nothing() && read < 8'192) {
        app.reads(100);
        read += 100;
    }
    EXPECT_GE(read, 1'400u);  // about min(MSS, half the buffer)
    const Heard update = peer.expects({.flags = ack});
    EXPECT_GE(update.segment.window, 1'460u);
}

TEST_F(Window, TinyReadsDoNotMoveTheEdgeOfAnAckThatLeavesAnyway) {
    proves("E10 MUST-39");
    starts_with(settings_with([](auto& s) { s.receive_buffer = 8'192; }));
    app.consumes = false;
    peer.connects();
    const int64_t edge = peer.edge();
    peer.sends({.flags = ack, .bytes = 1'460});
    for (int i = 0; i < 14; ++i) {
        app.reads(100);
        app.sends("x");
        const Heard h = peer.expects({.text = "x"});
        EXPECT_EQ(h.ack + h.segment.window, edge);
        peer.sends({.flags = ack});
    }
    app.reads(60);
    app.sends("x");
    const Heard h = peer.expects({.text = "x"});
    EXPECT_EQ(h.ack + h.segment.window, edge + 1'460);
}

TEST_F(Window, WhatTheScaleCutsOffIsNotTakenBack) {
    proves("E9 SHLD-14");
    starts_with(settings_with([](auto& s) { s.receive_buffer = 1 << 20; }));
    app.consumes = false;
    peer.connects({.ws = 0});
    peer.sends({.flags = ack, .bytes = 1'000});
    time.passes(50ms);
    const int scale = world.info().rcv_scale;
    ASSERT_GT(scale, 0);
    int64_t edge = peer.edge();
    peer.forgets();
    for (int i = 0; i < 2 << scale; ++i) {
        peer.sends({.flags = ack, .bytes = 1});
        time.passes(50ms);
        const Heard h = peer.expects({.flags = ack, .ack = peer.nxt});
        const int64_t now = h.ack + (int64_t{h.segment.window} << scale);
        EXPECT_GE(now, edge);
        edge = now;
    }
}

TEST_F(Window, ProbeOfOurZeroWindowIsAcknowledgedAtOnce) {
    proves("G10");
    starts_with(settings_with([](auto& s) { s.receive_buffer = 4'096; }));
    app.consumes = false;
    peer.connects();
    while (peer.nxt < peer.edge()) {
        peer.sends({.flags = ack, .bytes = static_cast<size_t>(std::min<int64_t>(1'460, peer.edge() - peer.nxt))});
    }
    time.passes(50ms);
    const int64_t full = peer.nxt;
    EXPECT_EQ(peer.takes_all().back().segment.window, 0u);
    for (int i = 0; i < 10; ++i) {
        peer.sends({.flags = ack, .seq = full, .bytes = 1});
        peer.nxt = full;
        peer.expects({.flags = ack, .seq = 1, .ack = full, .win = 0, .bytes = 0});
        time.passes(200ms);
        peer.expects_nothing();
    }
    app.reads(4'096);
    peer.expects({.flags = ack, .ack = full});
    EXPECT_TRUE(same(app.received(), pattern(0, static_cast<size_t>(full - 1))));
    peer.sends({.flags = ack, .bytes = 1});
    app.reads(1);
    EXPECT_TRUE(same(app.received(), pattern(0, static_cast<size_t>(full))));
    time.passes(50ms);
    peer.forgets();
}

TEST_F(Window, KeepaliveProbeIsAcknowledgedAtOnce) {
    proves("G10");
    peer.connects();
    peer.sends({.flags = ack, .text = "hello"});
    time.passes(50ms);
    peer.forgets();
    for (const std::string_view garbage : {"", "x"}) {
        time.passes(2h);
        peer.sends({.flags = ack, .seq = 5, .text = garbage});
        peer.expects({.flags = ack, .seq = 1, .ack = 6, .bytes = 0});
        peer.expects_nothing();
    }
    EXPECT_EQ(app.received(), "hello");
    EXPECT_EQ(peer.state(), State::established);
}

// ---- The window that we obey.
// ------------------------------------------------------------------------------------------

TEST_F(Window, InFlightNeverExceedsThePeersWindow) {
    proves("G1");
    for (const uint32_t window : {1'460u, 2'920u, 3'000u, 5'840u, 8'000u}) {
        SCOPED_TRACE(window);
        starts_with(small_settings());
        peer.window = window;
        peer.connects();
        app.sends_pattern(100'000);
        int64_t acked = 0;
        while (acked < 100'000) {
            const int64_t end = furthest(peer.takes_all());
            ASSERT_GT(end, acked) << "nothing leaves although the window is open";
            EXPECT_LE(end - acked, window);
            EXPECT_GE(end - acked, std::min<int64_t>(window / 1'460 * 1'460, 100'000 - acked));
            acked = end;
            time.passes(1ms);
            peer.sends({.flags = ack});
        }
        EXPECT_TRUE(same(peer.stream(), pattern(0, 100'000)));
        EXPECT_EQ(world.stack().unacknowledged(app.conn()), 0u);
    }
}

TEST_F(Window, InFlightNeverExceedsTheScaledWindow) {
    proves("G1");
    peer.window = 1'000;  // 8000 bytes
    peer.connects({.ws = 3});
    app.sends_pattern(50'000);
    EXPECT_EQ(furthest(peer.takes_all()), 7'300);  // five segments fit
    peer.sends({.flags = ack, .ack = 1 + 1'460});
    EXPECT_EQ(furthest(peer.takes_all()), 8'760);
}

TEST_F(Window, InFlightNeverExceedsTheCongestionWindow) {
    proves("G1");
    peer.connects();
    app.sends_pattern(100'000);
    peer.expects_exactly(10);
    time.passes(100ms);
    peer.expects_nothing();
    const tcp::ConnInfo info = world.info();
    EXPECT_EQ(info.in_flight, 14'600u);
    EXPECT_EQ(info.cwnd, 14'600u);
    EXPECT_EQ(info.snd_wnd, 65'535u);
}

TEST_F(Window, ScaleAbove14CountsAs14) {
    proves("G2");
    starts_with(settings_with([](auto& s) { s.initial_window_segments = 40; }));
    peer.window = 1;
    peer.connects({.ws = 20});
    app.sends_pattern(60'000);
    const int64_t sent = furthest(peer.takes_all());
    EXPECT_LE(sent, 1 << 14);
    EXPECT_GE(sent, (1 << 14) - 1'460);
}

TEST_F(Window, WithoutThePeersScaleNeitherSideScales) {
    proves("G2");
    starts_with(settings_with([](auto& s) { s.receive_buffer = 1 << 20; }));
    peer.window = 4'380;
    peer.connects();
    app.sends_pattern(20'000);
    const Heard first = peer.expects({.flags = ack, .seq = 1});
    EXPECT_EQ(first.segment.window, 65'535u);  // all that 16 bits can say of a megabyte
    EXPECT_EQ(furthest(peer.takes_all()), 4'380);
}

TEST_F(Window, WithoutOurScaleNeitherSideScales) {
    proves("G2");
    starts_with(settings_with([](auto& s) { s.window_scaling = false; }));
    peer.window = 4'380;
    peer.sends({.flags = syn, .mss = 1460, .ws = 7});
    peer.expects({.flags = syn | ack, .ws = -1});
    peer.sends({.flags = ack});
    app.sends_pattern(20'000);
    EXPECT_EQ(furthest(peer.takes_all()), 4'380);
}

TEST_F(Window, OurAnnouncedWindowIsScaledAsOurSynSaid) {
    proves("G2");
    starts_with(settings_with([](auto& s) { s.receive_buffer = 1 << 20; }));
    peer.sends({.flags = syn, .mss = 1460, .ws = 0});
    const Heard h = peer.expects({.flags = syn | ack});
    ASSERT_TRUE(h.segment.has(tcp::Present::window_scale));
    peer.sends({.flags = ack});
    app.sends("x");
    const Heard data = peer.expects({.flags = ack, .text = "x"});
    const uint32_t window = data.segment.window << h.segment.window_scale;
    EXPECT_GT(window, 65'535u);
    EXPECT_LE(window, 1u << 20);
}

TEST_F(Window, WindowIsTakenOnlyFromNewerSegments) {
    proves("G3");
    fills_a_small_window();
    peer.sends({.flags = ack, .seq = 1, .ack = 1, .win = 60'000, .bytes = 10});  // older, and late
    for (const Heard& h : peer.takes_all()) EXPECT_EQ(h.bytes(), 0u) << "an old window let data out";
    EXPECT_EQ(world.info().snd_wnd, 2'920u);
    peer.sends({.flags = ack, .seq = 21, .ack = 1, .win = 5'840});  // newer
    EXPECT_EQ(furthest(peer.takes_all()), 5'840);
    // The same SEG.SEQ with an older ACK does not count (SND.WL2), with a newer one it does.
    peer.sends({.flags = ack, .ack = 2'921, .win = 2'920});
    peer.expects_nothing();
    peer.sends({.flags = ack, .ack = 1'461, .win = 60'000});
    peer.expects_nothing();
    EXPECT_EQ(world.info().snd_wnd, 2'920u);
}

TEST_F(Window, AnAckThatAdvancesBringsItsWindowOnRepeatedDataToo) {
    proves("G1 G3");
    fills_a_small_window();
    // What fills the gap has an older SEG.SEQ and is newer all the same: the right edge moves from 2,920 to 2,930 bytes.
    peer.sends({.flags = ack, .seq = 1, .ack = 1'461, .win = 1'470, .bytes = 10});
    for (const Heard& h : peer.takes_all()) EXPECT_EQ(h.bytes(), 0u) << "data beyond the edge that the peer gave";
    EXPECT_EQ(world.info().snd_wnd, 1'470u);
    // An older window comes late and counts no more.
    peer.sends({.flags = ack, .seq = 11, .ack = 1, .win = 60'000});
    for (const Heard& h : peer.takes_all()) EXPECT_EQ(h.bytes(), 0u) << "an old window let data out";
}

TEST_F(Window, ShrunkWindowStopsNewDataAndOutstandingDataIsRepeatedInsideIt) {
    proves("G4 MUST-34 SHLD-15 SHLD-16");
    peer.window = 5'840;
    peer.connects();
    app.sends_pattern(20'000);
    EXPECT_EQ(furthest(peer.takes_all()), 5'840);
    // One segment is acknowledged and the right edge moves left from 5841 to 2921.
    peer.window = 1'460;
    peer.sends({.flags = ack, .ack = 1'461});
    peer.expects_nothing();
    peer.waits();
    for (const Heard& h : peer.takes_all()) {  // the retransmission
        EXPECT_EQ(h.seq, 1'461);
        EXPECT_GT(h.bytes(), 0u);
        EXPECT_LE(h.end(), 2'921);
    }
    peer.window = 65'535;
    peer.sends({.flags = ack, .ack = 5'841});
    for (int i = 0; i < 30 && furthest(peer.takes_all()) < 20'000 && peer.heard < 20'001; ++i) {
        peer.sends({.flags = ack});
        time.passes(10ms);
    }
    EXPECT_TRUE(same(peer.stream(), pattern(0, 20'000)));
}

TEST_F(Window, ShrunkToZeroWithDataOutstandingIsSurvivedForHours) {
    proves("G4 MUST-34 SHLD-17 MUST-37");
    peer.window = 5'840;
    peer.connects();
    app.sends_pattern(20'000);
    EXPECT_EQ(furthest(peer.takes_all()), 5'840);
    peer.window = 0;
    peer.sends({.flags = ack, .ack = 1'461});
    const Instant start = world.now();
    while (world.now() - start < 3h) {
        peer.waits(10min);
        if (HasFailure()) return;
        for (const Heard& h : peer.takes_all()) EXPECT_LE(h.end(), 5'842);  // nothing new but a probe byte
        peer.sends({.flags = ack, .ack = 1'461});
        EXPECT_EQ(peer.state(), State::established);
    }
    peer.window = 65'535;
    for (int i = 0; i < 60 && peer.heard < 20'001; ++i) {
        peer.sends({.flags = ack, .ack = std::max<int64_t>(1'461, i == 0 ? 1'461 : peer.heard)});
        time.passes(1s);
        peer.forgets();
    }
    EXPECT_TRUE(same(peer.stream(), pattern(0, 20'000)));
}

// ---- The zero window.
// --------------------------------------------------------------------------------------------------

TEST_F(Window, ZeroWindowIsProbedAfterAboutTheRtoWithBackoff) {
    proves("G8 MUST-35 MUST-36 SHLD-29 SHLD-30 X6");
    peer.window = 0;
    peer.connects();
    app.sends_pattern(3'000);
    peer.expects_nothing();
    Duration expected = world.info().rto;
    EXPECT_GE(expected, 200ms);
    EXPECT_LE(expected, 215ms);
    for (int i = 0; i < 6; ++i) {
        EXPECT_TRUE(about(peer.waits(), expected)) << "probe " << i;
        const Heard probe = peer.expects({.flags = ack, .seq = 1});
        EXPECT_EQ(probe.bytes(), 1u);
        peer.expects_nothing();
        peer.sends({.flags = ack, .ack = 1});  // still closed
        peer.expects_nothing();
        expected *= 2;
    }
    EXPECT_EQ(world.count(Tally::window_probes), 6u);
    // An ACK that opens the window restarts output at once.
    peer.sends({.flags = ack, .ack = 1, .win = 65'535});
    EXPECT_EQ(furthest(peer.takes_all()), 3'000);
    peer.sends({.flags = ack, .ack = 3'001});
    EXPECT_TRUE(same(peer.stream(), pattern(0, 3'000)));
    time.passes(10min);
    peer.expects_nothing();
}

TEST_F(Window, ClosedWindowWithNothingToSendIsNotProbed) {
    proves("G8 X6");
    peer.window = 0;
    peer.connects();
    time.passes(1h);
    peer.expects_nothing();
    EXPECT_EQ(peer.state(), State::established);
}

TEST_F(Window, WindowThatClosesInTheMiddleIsProbedToo) {
    proves("G8 MUST-35");
    peer.connects();
    app.sends_pattern(30'000);
    EXPECT_EQ(furthest(peer.takes_all()), 14'600);
    peer.window = 0;
    peer.sends({.flags = ack, .ack = 14'601});
    peer.expects_nothing();
    EXPECT_GE(peer.waits(), 200ms);
    const Heard probe = peer.expects({.flags = ack, .seq = 14'601, .bytes = 1});
    peer.window = 65'535;
    peer.sends({.flags = ack, .ack = probe.seq});
    EXPECT_FALSE(peer.takes_all().empty()) << "output restarts at once";
    for (int i = 0; i < 30 && peer.heard < 30'001; ++i) {
        peer.sends({.flags = ack});
        peer.forgets();
    }
    EXPECT_TRUE(same(peer.stream(), pattern(0, 30'000)));
}

TEST_F(Window, AcknowledgedProbeByteMovesTheNextProbeOn) {
    proves("G8 MUST-36 X7");
    peer.window = 0;
    peer.connects();
    app.sends_pattern(10);
    for (int64_t byte = 0; byte < 3; ++byte) {
        EXPECT_TRUE(about(peer.waits(), 200ms, 40ms)) << "the backoff starts again after a byte got through";
        peer.expects({.flags = ack, .seq = 1 + byte, .text = pattern(static_cast<uint64_t>(byte), 1)});
        peer.sends({.flags = ack, .ack = 2 + byte});
    }
    peer.window = 1'000;
    peer.sends({.flags = ack, .ack = 4});
    peer.expects({.flags = ack, .seq = 4, .bytes = 7});
}

TEST_F(Window, AnsweredProbesKeepTheConnectionForHours) {
    proves("MUST-37 G8 G9");
    peer.window = 0;
    peer.connects();
    app.sends("waiting");
    const Instant start = world.now();
    Duration longest{0};
    while (world.now() - start < 6h) {
        longest = std::max(longest, peer.waits(10min));
        if (HasFailure()) return;
        peer.expects({.flags = ack, .seq = 1, .bytes = 1});
        peer.sends({.flags = ack, .ack = 1});
        ASSERT_EQ(peer.state(), State::established);
    }
    EXPECT_LE(longest, 121s);
    EXPECT_GE(longest, 60s);
    peer.sends({.flags = ack, .ack = 1, .win = 1'000});
    peer.takes_all();
    EXPECT_EQ(peer.stream(), "waiting");
}

TEST_F(Window, FinWaitsBehindAZeroWindowAndFollowsTheData) {
    proves("F4 G8");
    peer.window = 0;
    peer.connects();
    app.sends("last words");
    app.shuts_down();
    peer.expects_nothing();
    peer.waits();
    peer.expects({.flags = ack, .seq = 1, .bytes = 1});  // a probe, no FIN
    peer.sends({.flags = ack, .ack = 1, .win = 1'000});
    EXPECT_TRUE(peer.takes_all().back().has(fin));
    EXPECT_EQ(peer.stream(), "last words");
    EXPECT_EQ(peer.heard, 12);
}

}  // namespace
}  // namespace pollux::test
