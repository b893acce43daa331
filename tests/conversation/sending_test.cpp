// When the sender speaks and when it waits: Nagle, silly windows, PSH, closed windows, closing with a long queue
// (RFC 9293 sections 3.7.4, 3.8.6, 3.9.1, 3.10.4).
#include "tests/support/conversation.hpp"

namespace pollux::test {
namespace {

using Sending = Conversation;

TEST_F(Sending, NagleKeepsOneSmallSegmentOutstanding) {
    proves("G5 SHLD-7");
    starts_with(settings_with([](auto& s) { s.nagle = true; }));
    peer.connects();
    app.sends("a");
    peer.expects({.flags = ack, .seq = 1, .text = "a"});
    app.sends("b");
    app.sends("c");
    peer.expects_nothing();
    peer.sends({.flags = ack});
    peer.expects({.flags = ack, .seq = 2, .text = "bc"});
    peer.expects_nothing();
    // What is full need not wait; the rest of it does.
    app.sends(std::string(1'460 + 40, 'd'));
    peer.expects({.flags = ack, .seq = 4, .bytes = 1'460});
    peer.expects_nothing();
    peer.sends({.flags = ack});
    peer.expects({.flags = ack, .seq = 1'464, .bytes = 40});
    app.sends("last");
    peer.expects_nothing();
    peer.sends({.flags = ack});
    peer.expects({.flags = ack, .text = "last"});
}

TEST_F(Sending, WithoutNagleEverySmallSegmentLeavesAtOnce) {
    proves("G5 MUST-17");
    starts_with(settings_with([](auto& s) { s.nagle = false; }));
    peer.connects();
    for (const std::string_view text : {"a", "b", "c"}) {
        app.sends(text);
        peer.expects({.flags = ack, .text = text});
        peer.expects_nothing();
    }
}

TEST_F(Sending, ASmallUsableWindowIsNotFilledWithSillySegments) {
    proves("G6");
    peer.window = 5'000;
    peer.connects();
    app.sends_pattern(30'000);
    for (int64_t seq = 1; seq < 4'381; seq += 1'460) peer.expects({.flags = ack, .seq = seq, .bytes = 1'460});
    peer.expects_nothing();  // 620 bytes would fit
    peer.sends({.flags = ack, .ack = 1'461});
    peer.expects({.flags = ack, .seq = 4'381, .bytes = 1'460});
    peer.expects_nothing();  // and still would
    // Byte by byte the window creeps open: nothing leaves before a segment fits.
    for (uint32_t more = 5'000; more < 5'000 + 839; more += 60) {
        peer.sends({.flags = ack, .ack = 1'461, .win = more});
        peer.expects_nothing();
    }
    peer.sends({.flags = ack, .ack = 1'461, .win = 5'000 + 840});
    peer.expects({.flags = ack, .seq = 5'841, .bytes = 1'460});
}

TEST_F(Sending, HalfOfTheLargestWindowSeenIsNotSilly) {
    proves("G6");
    peer.window = 1'000;  // never a full segment
    peer.connects();
    app.sends_pattern(3'000);
    peer.expects({.flags = ack, .seq = 1, .bytes = 1'000});
    peer.expects_nothing();
    peer.sends({.flags = ack, .ack = 1'001, .win = 500});
    peer.expects({.flags = ack, .seq = 1'001, .bytes = 500});
    peer.sends({.flags = ack, .ack = 1'501, .win = 499});
    peer.expects_nothing();
    // Nothing is in flight, so no ACK will come: the override timeout sends what fits (section 3.8.6.2.1).
    EXPECT_TRUE(about(peer.waits(), world.info().rto, 300ms));
    peer.expects({.flags = ack, .seq = 1'501, .bytes = 499});
}

TEST_F(Sending, PushMarksTheEndOfWhatIsQueued) {
    proves("G7");
    peer.connects();
    app.sends_pattern(5'000);
    for (int64_t seq = 1; seq < 4'381; seq += 1'460) {
        peer.expects({.flags = ack, .seq = seq, .bytes = 1'460, .push = false});
    }
    peer.expects({.flags = ack, .seq = 4'381, .bytes = 620, .push = true});
    peer.sends({.flags = ack});
    app.sends_pattern(1'460);
    peer.expects({.flags = ack, .bytes = 1'460, .push = true});
    // Behind a window that ends within the queue nothing is marked.
    peer.sends({.flags = ack, .win = 1'460});
    app.sends_pattern(2'000);
    peer.expects({.flags = ack, .bytes = 1'460, .push = false});
    peer.sends({.flags = ack, .win = 1'460});
    peer.expects({.flags = ack, .bytes = 540, .push = true});
    peer.waits();  // and a repetition says the same
    peer.expects({.flags = ack, .bytes = 540, .push = true});
}

TEST_F(Sending, AFullCongestionWindowDoesNotHoldProbesBack) {
    proves("X8");
    peer.connects();
    app.sends_pattern(40'000);
    peer.expects_exactly(10);
    EXPECT_EQ(world.info().in_flight, world.info().cwnd);
    peer.sends({.flags = ack, .ack = 1, .win = 0});
    for (int i = 0; i < 4; ++i) {
        peer.waits(10s);
        const Heard probe = peer.expects({.flags = ack, .seq = 1});
        EXPECT_GT(probe.bytes(), 0u);
        peer.expects_nothing();
        EXPECT_GE(world.info().in_flight, world.info().cwnd);
        peer.sends({.flags = ack, .ack = 1, .win = 0});
    }
    peer.sends({.flags = ack, .ack = 14'601, .win = 0});
    peer.waits(10s);
    peer.expects({.flags = ack, .seq = 14'601, .bytes = 1});
}

TEST_F(Sending, ProbesThatNothingAnswersEndTheConnection) {
    proves("G9");
    starts_with(settings_with([](auto& s) { s.data_retries = 6; }));
    peer.window = 0;
    peer.connects();
    app.sends("waiting");
    for (int i = 0; i < 6; ++i) {
        peer.waits();
        peer.expects({.flags = ack, .seq = 1, .bytes = 1});
    }
    app.takes_events();
    time.passes(10min);
    peer.expects_nothing();
    EXPECT_EQ(peer.state(), State::closed);
    EXPECT_EQ(app.takes_events(), Events{Kind::timed_out});
    expects_all_returned();
}

TEST_F(Sending, CloseWithALongQueueSendsAllOfItAndThenTheFin) {
    proves("X17");
    peer.connects();
    app.sends_pattern(60'000);
    app.closes();
    bool ended = false;
    for (int i = 0; i < 60 && !ended; ++i) {
        for (const Heard& h : peer.takes_all()) {
            EXPECT_FALSE(h.has(rst));
            if (h.has(fin)) {
                EXPECT_EQ(h.end(), 60'002);
            }
            ended |= h.has(fin);
        }
        time.passes(5ms);
        peer.sends({.flags = ack});
    }
    EXPECT_TRUE(ended);
    EXPECT_TRUE(same(peer.stream(), pattern(0, 60'000)));
    EXPECT_EQ(peer.state(), State::fin_wait_2);
    peer.sends({.flags = fin | ack});
    peer.expects({.flags = ack, .ack = 2});
}

TEST_F(Sending, CloseWithUnreadDataAfterOurFinResetsBehindIt) {
    proves("X17");
    for (const bool fin_acknowledged : {true, false}) {
        SCOPED_TRACE(fin_acknowledged);
        starts_with(small_settings());
        app.consumes = false;
        peer.connects();
        app.shuts_down();
        peer.expects({.flags = fin | ack, .seq = 1});
        peer.sends({.flags = ack, .ack = fin_acknowledged ? 2 : 1, .text = "unread"});
        app.closes();
        peer.expects_reset(2);
        EXPECT_EQ(peer.state(), State::closed);
        expects_all_returned();
    }
}

}  // namespace
}  // namespace pollux::test
