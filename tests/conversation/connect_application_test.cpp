// What the application may do while an open of its own is under way, and what of it lasts once it is open: deadlines,
// keep-alive, a closed window, another attempt from within the event that ended the last one.
#include "tests/support/opening.hpp"

namespace pollux::test {
namespace {

using ConnectingApplication = Opening;

TEST_F(ConnectingApplication, HasADeadlineOfItsOwn) {
    proves("B2 B8");
    const tcp::ConnId conn = asks_and_is_heard();
    world.stack().set_deadline(conn, world.now() + 1'500ms);
    time.passes(1'490ms);
    EXPECT_EQ(app.takes_events(), Events{});
    time.passes(20ms);
    EXPECT_EQ(app.takes_events(), Events{Kind::deadline});
    peer.expects({.flags = syn, .seq = 0});  // after a second, as ever
    EXPECT_EQ(peer.state(), State::syn_sent);
    world.stack().close(conn, world.now());
    world.delivers({});
    time.passes(10min);
    peer.expects_nothing();
    expects_all_returned();
}

TEST_F(ConnectingApplication, ADeadlineSetInSynSentLastsIntoTheConnection) {
    const tcp::ConnId conn = asks_and_is_heard();
    world.stack().set_deadline(conn, world.now() + 5s);
    peer.sends({.flags = syn | ack, .seq = 0, .ack = 1});
    peer.expects({.flags = ack});
    app.takes_events();
    time.passes(4'990ms);
    EXPECT_EQ(app.takes_events(), Events{});
    time.passes(20ms);
    EXPECT_EQ(app.takes_events(), Events{Kind::deadline});
    EXPECT_EQ(peer.state(), State::established);
}

TEST_F(ConnectingApplication, KeepAliveBeginsWithTheConnection) {
    proves("G12");
    for (const bool by_setting : {false, true}) {
        SCOPED_TRACE(by_setting);
        starts_with(settings_with([&](auto& s) { s.keep_alive = by_setting, s.keep_alive_idle = 10s; }));
        const tcp::ConnId conn = asks_and_is_heard();
        if (!by_setting) world.stack().set_keep_alive(conn, true);
        time.passes(500ms);
        peer.sends({.flags = syn | ack, .seq = 0, .ack = 1});
        peer.expects({.flags = ack, .seq = 1});
        EXPECT_TRUE(about(peer.waits(1min), 10s, 5ms));
        peer.expects({.flags = ack, .seq = 0, .ack = 1, .bytes = 0});
        peer.sends({.flags = ack});
        EXPECT_EQ(world.count(Tally::keep_alive_probes), 1u);
    }
}

TEST_F(ConnectingApplication, KeepAliveDoesNotProbeAnAttempt) {
    proves("MUST-26");
    starts_with(
        settings_with([](auto& s) { s.keep_alive = true, s.keep_alive_idle = 1s, s.keep_alive_interval = 1s; }));
    asks();
    time.passes(10min);
    for (const Heard& h : peer.takes_all()) EXPECT_EQ(h.segment.flags, syn);
    EXPECT_EQ(world.count(Tally::keep_alive_probes), 0u);
    EXPECT_EQ(app.takes_events(), Events({Kind::unanswered, Kind::timed_out}));
}

TEST_F(ConnectingApplication, AClosedWindowInTheSynAckIsProbed) {
    proves("B3 MUST-35 SHLD-29");
    const tcp::ConnId conn = asks_and_is_heard();
    EXPECT_TRUE(queues(conn, "hello"));
    time.passes(10ms);
    peer.sends({.flags = syn | ack, .seq = 0, .ack = 1, .win = 0});
    peer.expects({.flags = ack, .seq = 1, .ack = 1, .bytes = 0});
    peer.expects_nothing();
    EXPECT_TRUE(about(peer.waits(), world.info().rto, 300ms));
    peer.expects({.flags = ack, .seq = 1, .text = "h"});
    peer.sends({.flags = ack, .ack = 1, .win = 100});
    peer.takes_all();
    EXPECT_EQ(peer.stream(), "hello");
}

TEST_F(ConnectingApplication, ADoneConnectionFreesItsTupleForTheNext) {
    proves("B5");
    // Refused and asked again at once, on the same tuple: each attempt is a new one with a new ISN.
    tcp::SeqNum last;
    for (int i = 0; i < 5; ++i) {
        peer.starts_over(Peer::default_isn);
        asks();
        const Heard h = peer.expects({.flags = syn, .seq = 0});
        if (i > 0) {
            EXPECT_TRUE(last.before(h.raw_seq)) << "the clock behind the ISN (RFC 6528) goes on";
        }
        last = h.raw_seq;
        peer.sends({.flags = rst | ack, .seq = 0, .ack = 1});
        EXPECT_EQ(app.takes_events(), Events{Kind::refused});
        time.passes(1ms);
    }
    expects_all_returned();
}

TEST_F(ConnectingApplication, DrainingStopsAcceptingAndNotAsking) {
    world.stack().set_accepting(false);
    opens();
    peer.sends({.flags = ack, .text = "hello"});
    EXPECT_EQ(app.received(), "hello");
    peer.takes_all();
}

TEST_F(ConnectingApplication, AbortedAfterOpeningItSaysSo) {
    proves("F7");
    const tcp::ConnId conn = opens();
    app.sends("data");
    peer.forgets();
    app.aborts();
    peer.expects_reset(5);
    EXPECT_FALSE(world.stack().is_open(conn));
    expects_all_returned();
}

TEST_F(ConnectingApplication, TheSideThatAskedClosesAsAnyOther) {
    proves("F1 F2");
    for (const bool peer_first : {false, true}) {
        SCOPED_TRACE(peer_first);
        starts_with(small_settings());
        opens();
        if (peer_first) {
            peer.sends({.flags = fin | ack});
            peer.expects({.flags = ack, .ack = 2});
        }
        app.closes();
        peer.expects({.flags = fin | ack, .seq = 1});
        if (peer_first) {
            peer.sends({.flags = ack});
        } else {
            peer.sends({.flags = fin | ack});
            peer.expects({.flags = ack, .seq = 2, .ack = 2});
            EXPECT_EQ(peer.state(), State::time_wait);
            time.passes(2min);
        }
        EXPECT_EQ(peer.state(), State::closed);
        expects_all_returned();
    }
}

}  // namespace
}  // namespace pollux::test
