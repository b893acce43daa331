// Keep-alive probes (RFC 9293 section 3.8.4): silence that somebody asked to have looked into.
#include "tests/support/conversation.hpp"

namespace pollux::test {
namespace {

class KeepAlive : public Conversation {
protected:
    void app_asks(bool on = true) {
        app.does(on ? "asks for keep-alive probes" : "wants no more probes",
                 [on](tcp::Stack& stack, tcp::ConnId conn, Instant) { stack.set_keep_alive(conn, on); });
    }
    void expects_probe(int64_t seq, int64_t acked, Here here = Here::current()) {
        peer.expects({.flags = ack, .seq = seq, .ack = acked, .bytes = 0}, here);
        peer.expects_nothing(here);
    }
};

TEST_F(KeepAlive, IsOffByDefault) {
    proves("MUST-25 MUST-28 G12");
    const tcp::StackSettings defaults;
    EXPECT_FALSE(defaults.keep_alive);
    EXPECT_GE(defaults.keep_alive_idle, 2h);
    peer.connects();
    peer.sends({.flags = ack, .text = "hello"});
    time.passes(1s);
    peer.forgets();
    time.passes(72h);
    peer.expects_nothing();
    EXPECT_EQ(peer.state(), State::established);
    EXPECT_EQ(world.stack().pool_use().timers, 0u);
}

TEST_F(KeepAlive, IdlePeerIsProbedWithoutDataWhenTheApplicationAsks) {
    proves("MUST-24 MAY-5 SHLD-12 G12");
    peer.connects();
    app.sends("hi");
    peer.expects({.flags = ack, .seq = 1, .text = "hi"});
    app_asks();
    peer.sends({.flags = ack, .ack = 3});
    for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(about(peer.waits(3h), 2h)) << "an answer starts the idle time anew";
        expects_probe(2, 1);  // SND.NXT - 1
        peer.sends({.flags = ack});
        peer.expects_nothing();
    }
    EXPECT_EQ(world.count(Tally::keep_alive_probes), 3u);
    EXPECT_EQ(peer.state(), State::established);
    EXPECT_EQ(app.takes_events(), Events{Kind::opened});
}

TEST_F(KeepAlive, DeadPeerEndsAfterTheCount) {
    proves("G12");
    peer.connects();
    app_asks();
    EXPECT_TRUE(about(peer.waits(3h), 2h));
    expects_probe(0, 1);
    for (int probe = 2; probe <= 9; ++probe) {
        EXPECT_TRUE(about(peer.waits(3h), 75s)) << "probe " << probe;
        expects_probe(0, 1);
    }
    app.takes_events();
    time.passes(74s);
    EXPECT_EQ(peer.state(), State::established);
    time.passes(2s);
    peer.expects_nothing();
    EXPECT_EQ(peer.state(), State::closed);
    EXPECT_EQ(app.takes_events(), Events{Kind::timed_out});
    EXPECT_EQ(world.count(Tally::connections_timed_out), 1u);
    expects_all_returned();
}

TEST_F(KeepAlive, LostProbesEndNothing) {
    proves("MUST-29 G12");
    peer.connects();
    app_asks();
    for (const int lost : {1, 8, 1}) {
        EXPECT_TRUE(about(peer.waits(3h), 2h));
        expects_probe(0, 1);
        for (int i = 1; i <= lost; ++i) {
            EXPECT_TRUE(about(peer.waits(3h), 75s));
            expects_probe(0, 1);
        }
        peer.sends({.flags = ack});
        EXPECT_EQ(peer.state(), State::established);
    }
}

TEST_F(KeepAlive, TimesAndCountAreSettable) {
    proves("MUST-27 G12");
    starts_with(settings_with([](auto& s) {
        s.keep_alive = true;  // for every connection
        s.keep_alive_idle = 60s;
        s.keep_alive_interval = 10s;
        s.keep_alive_probes = 3;
    }));
    peer.connects();
    EXPECT_TRUE(about(peer.waits(3h), 60s));
    expects_probe(0, 1);
    EXPECT_TRUE(about(peer.waits(3h), 10s));
    expects_probe(0, 1);
    EXPECT_TRUE(about(peer.waits(3h), 10s));
    expects_probe(0, 1);
    time.passes(11s);
    peer.expects_nothing();
    EXPECT_EQ(peer.state(), State::closed);
    EXPECT_EQ(app.takes_events(), (Events{Kind::opened, Kind::timed_out}));
}

TEST_F(KeepAlive, NobodyProbesAPeerThatSpeaks) {
    proves("MUST-26 G12");
    for (const bool timestamps : {false, true}) {  // by the numbered steps and by the fast path
        SCOPED_TRACE(timestamps);
        starts_with(small_settings());
        peer.connects({.ts = timestamps});
        app_asks();
        for (int i = 0; i < 4; ++i) {
            time.passes(119min);
            peer.sends({.flags = ack, .text = "still here"});
            time.passes(1s);
            peer.expects({.flags = ack, .bytes = 0});
            time.passes(118min);
            peer.expects_nothing();
            peer.sends({.flags = ack});  // an acknowledgment is a word too
        }
        EXPECT_EQ(world.count(Tally::keep_alive_probes), 0u);
        EXPECT_TRUE(about(peer.waits(3h), 2h));
        peer.forgets();
    }
}

TEST_F(KeepAlive, NobodyProbesWhileAnAnswerIsOwedAnyway) {
    proves("MUST-26 G12");
    starts_with(settings_with([](auto& s) {
        s.keep_alive = true;
        s.keep_alive_idle = 5s;
        s.keep_alive_interval = 5s;
        s.keep_alive_probes = 2;
    }));
    peer.connects();
    app.sends("anybody?");
    for (int i = 0; i < 6; ++i) {  // for a minute and a half, retransmissions alone
        peer.expects({.flags = ack, .seq = 1, .text = "anybody?"});
        peer.waits(60s);
    }
    peer.expects({.flags = ack, .seq = 1, .text = "anybody?"});
    EXPECT_EQ(world.count(Tally::keep_alive_probes), 0u);
    peer.sends({.flags = ack});
    EXPECT_TRUE(about(peer.waits(10s), 5s));
    expects_probe(8, 1);
    peer.sends({.flags = ack});
    // Behind a closed window the window probes ask.
    peer.sends({.flags = ack, .win = 0});
    app.sends("more");
    for (int i = 0; i < 8; ++i) {
        peer.waits();
        peer.expects({.flags = ack, .seq = 9, .text = "m"});
        peer.sends({.flags = ack, .ack = 9, .win = 0});
    }
    EXPECT_EQ(world.count(Tally::keep_alive_probes), 1u);
    EXPECT_EQ(peer.state(), State::established);
}

TEST_F(KeepAlive, DataAmongUnansweredProbesHasAllItsRetransmissions) {
    proves("G12");
    starts_with(settings_with([](auto& s) { s.data_retries = 5; }));
    peer.connects();
    app_asks();
    time.passes(2h + 4 * 75s + 1s);
    peer.expects_exactly(5);
    app.sends("now then");
    for (int i = 0; i <= 5; ++i) {
        peer.expects({.flags = ack, .seq = 1, .text = "now then"});
        if (i < 5) peer.waits(60s);
    }
    time.passes(60s);
    peer.expects_nothing();
    EXPECT_EQ(peer.state(), State::closed);
    expects_all_returned();
}

TEST_F(KeepAlive, CanBeSwitchedOffAgain) {
    proves("MUST-24");
    peer.connects();
    app_asks();
    time.passes(2h + 1s);
    peer.expects_exactly(1);
    app_asks(false);
    time.passes(72h);
    peer.expects_nothing();
    EXPECT_EQ(peer.state(), State::established);
}

TEST_F(KeepAlive, HalfClosedConnectionsAreProbedInEitherDirection) {
    peer.connects();
    app_asks();
    app.shuts_down();
    peer.expects({.flags = fin | ack, .seq = 1});
    peer.sends({.flags = ack});
    EXPECT_EQ(peer.state(), State::fin_wait_2);
    EXPECT_TRUE(about(peer.waits(3h), 2h));
    expects_probe(1, 1);
    peer.sends({.flags = ack});
    // Once the application has let go, the end of FIN-WAIT-2 is what counts.
    app.closes();
    time.passes(61s);
    peer.expects_nothing();
    EXPECT_EQ(peer.state(), State::closed);

    starts_with(small_settings());
    peer.connects();
    app_asks();
    peer.sends({.flags = fin | ack});
    peer.expects({.flags = ack, .ack = 2});
    EXPECT_EQ(peer.state(), State::close_wait);
    EXPECT_TRUE(about(peer.waits(3h), 2h));
    expects_probe(0, 2);
    peer.sends({.flags = ack});
    app.closes();
    peer.expects({.flags = fin | ack, .seq = 1});
    peer.sends({.flags = ack});
    expects_all_returned();
}

TEST_F(KeepAlive, APromisedWritableEventIsNotForgotten) {
    starts_with(settings_with([](auto& s) {
        s.capacity.chunks = 4;
        s.keep_alive = true;
        s.keep_alive_idle = 1min;
    }));
    Peer other{world, {peer_endpoint.address, 40'001}};
    peer.connects();
    const tcp::ConnId first = app.conn();
    other.connects();
    const std::string all(3 * 1024, 'x');
    while (app.sends(all.substr(0, 1'000))) {  // the second connection takes every chunk
    }
    other.forgets();
    app.does("finds no room", [&](tcp::Stack& stack, tcp::ConnId, Instant) {
        EXPECT_FALSE(stack.send_copy(first, std::as_bytes(std::span(all))));
    });
    other.sends({.flags = ack, .ack = other.heard});
    app.takes_events();
    time.passes(1s);
    EXPECT_EQ(app.takes_events(), Events{Kind::writable});
    other.forgets();
    EXPECT_TRUE(about(peer.waits(2min) + 1s, 1min, 100ms)) << "and afterwards the connection is idle";
    expects_probe(0, 1);
    other.forgets();
}

}  // namespace
}  // namespace pollux::test
