// The user timeout (RFC 5482 section 3, without its option): how long somebody is willing to wait for an ACK.
#include "tests/support/conversation.hpp"

namespace pollux::test {
namespace {

class UserTimeout : public Conversation {
protected:
    void app_waits(Duration limit) {
        app.does("sets its user timeout",
                 [limit](tcp::Stack& stack, tcp::ConnId conn, Instant) { stack.set_user_timeout(conn, limit); });
    }
    /// How long the connection lives on, whatever is heard meanwhile.
    Duration lives(Duration longest, bool answers_probes = false) {
        const Instant start = world.now();
        while (peer.state() != State::closed && world.now() - start < longest) {
            world.passes_until([this] { return !peer.heard_nothing() || peer.state() == State::closed; }, longest);
            if (!peer.heard_nothing() && answers_probes) peer.sends({.flags = ack, .ack = 1, .win = 0});
            peer.forgets();
        }
        return world.now() - start;
    }
};

TEST_F(UserTimeout, EndsAConnectionWithOldUnacknowledgedData) {
    proves("G11");
    peer.connects();
    app_waits(20s);
    app.sends("anybody?");
    app.takes_events();
    EXPECT_TRUE(about(lives(5min), 20s, 100ms));
    EXPECT_EQ(app.takes_events(), Events({Kind::unanswered, Kind::timed_out}));
    expects_all_returned();
}

TEST_F(UserTimeout, EndsAConnectionWithAnOldUnacknowledgedFin) {
    proves("G11");
    peer.connects();
    app_waits(20s);
    app.shuts_down();
    EXPECT_TRUE(about(lives(5min), 20s, 100ms));
    expects_all_returned();
}

TEST_F(UserTimeout, MayBeLongerThanR2) {
    proves("G11");
    starts_with(settings_with([](auto& s) {
        s.data_retries = 3;
        s.user_timeout = 10min;
    }));
    peer.connects();
    app.sends("anybody?");
    EXPECT_TRUE(about(lives(1h), 10min, 100ms));
}

TEST_F(UserTimeout, IsOffByDefault) {
    proves("G11");
    EXPECT_EQ(tcp::StackSettings{}.user_timeout, 0s);
    starts_with(settings_with([](auto& s) { s.data_retries = 3; }));
    peer.connects();
    app.sends("anybody?");
    EXPECT_LE(lives(1h), 10s);  // R2
}

TEST_F(UserTimeout, CountsFromTheLastProgress) {
    proves("G11");
    peer.connects();
    app_waits(20s);
    app.sends("abcdef");
    for (int64_t acked = 2; acked <= 5; ++acked) {
        time.passes(18s);
        EXPECT_EQ(peer.state(), State::established);
        peer.sends({.flags = ack, .ack = acked});
    }
    peer.forgets();
    const Duration left = lives(5min);
    EXPECT_GE(left, 20s);
    EXPECT_LE(left, 27s);  // the timer is backed off until the next sample (Karn), and the timeout is seen with it
}

TEST_F(UserTimeout, DoesNotCountWhileNothingIsOutstanding) {
    proves("G11");
    peer.connects();
    app_waits(20s);
    app.sends("x");
    time.passes(10s);
    peer.sends({.flags = ack});
    peer.forgets();
    time.passes(24h);
    peer.expects_nothing();
    app.sends("y");
    time.passes(15s);
    EXPECT_EQ(peer.state(), State::established);
    peer.sends({.flags = ack, .ack = 3});
    peer.forgets();
    EXPECT_EQ(peer.state(), State::established);
}

TEST_F(UserTimeout, AnsweredProbesOfAClosedWindowDoNotKeepTheConnection) {
    proves("G9 G11");
    peer.window = 0;
    peer.connects();
    app_waits(5min);
    app.sends("waiting");
    app.takes_events();
    EXPECT_TRUE(about(lives(1h, true), 5min, 100ms));
    EXPECT_EQ(app.takes_events(), Events{Kind::timed_out});
    expects_all_returned();
}

}  // namespace
}  // namespace pollux::test
