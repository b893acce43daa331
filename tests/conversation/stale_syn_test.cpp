// SYNs that are late, or come twice: an old one must never open a connection, end one, or reach the application. Why
// a handshake takes three segments (RFC 9293 section 3.5, figures 7 and 8; RFC 6191).
#include "tests/support/states.hpp"

namespace pollux::test {
namespace {

// With and without timestamps, and with records and cookies: a SYN tells nothing of its age either way.
struct Way {
    bool ts;
    tcp::SynCookieMode cookies;
};

class StaleSyn : public InEveryState {
protected:
    template <class Ask>
    void each_way(Ask&& ask) {
        for (const bool ts : {false, true}) {
            for (const auto cookies : {tcp::SynCookieMode::never, tcp::SynCookieMode::always}) {
                SCOPED_TRACE(std::string(ts ? "timestamps" : "plain") +
                             (cookies == tcp::SynCookieMode::always ? ", cookies" : ", records"));
                way_ = {ts, cookies};
                starts_with(settings_with([&](auto& s) { s.syn_cookies = cookies; }));
                ask();
            }
        }
    }
    Connect how() const { return {.ts = way_.ts}; }
    /// A copy of the first SYN of this peer, as the network may deliver it whenever it likes.
    Packet copy_of_syn() {
        Send copy{.flags = syn, .seq = 0, .mss = 1460};
        if (way_.ts) copy.ts = tcp::Timestamps{peer.ts_now(), 0};
        return peer.packet_of(copy);
    }
    bool cookies() const { return way_.cookies == tcp::SynCookieMode::always; }
    void connection_is_over() {
        peer.sends({.flags = fin | ack});
        peer.expects({.flags = ack});
        app.shuts_down();
        peer.expects({.flags = fin | ack});
        peer.sends({.flags = ack});
        ASSERT_EQ(peer.state(), State::closed);
        app.takes_events();
    }

    Way way_{};
};

TEST_F(StaleSyn, AfterCloseItDrawsASynAckWhoseOwnerAnswersWithAReset) {
    each_way([&] {
        const Packet old = copy_of_syn();
        peer.connects(how());
        connection_is_over();
        time.passes(5s);
        peer.sends_packet(old);
        peer.expects({.flags = syn | ack, .ack = 1});
        EXPECT_EQ(peer.state(), cookies() ? State::closed : State::syn_received);
        EXPECT_EQ(app.takes_events(), Events{});
        // Whoever has no such connection says so (RFC 9293 section 3.10.7.1).
        peer.sends({.flags = rst, .seq = 1, .no_ts = true});
        EXPECT_EQ(peer.state(), State::closed);
        EXPECT_EQ(app.takes_events(), Events{});
        EXPECT_EQ(world.count(Tally::connections_opened), 1u);
        time.passes(2min);
        peer.expects_nothing();
    });
}

TEST_F(StaleSyn, WhoseOwnerIsGoneExpiresUnseen) {
    each_way([&] {
        const Packet old = copy_of_syn();
        peer.connects(how());
        connection_is_over();
        peer.sends_packet(old);
        peer.expects({.flags = syn | ack});
        time.passes(5min);
        for (const Heard& h : peer.takes_all()) EXPECT_TRUE(h.has(syn) && h.has(ack)) << "only its SYN-ACK, again";
        EXPECT_EQ(peer.state(), State::closed);
        EXPECT_EQ(app.takes_events(), Events{});
        EXPECT_EQ(world.count(Tally::half_open_expired), cookies() ? 0u : 1u);
        EXPECT_EQ(world.count(Tally::syn_acks_retransmitted), cookies() ? 0u : 5u);
        expects_all_returned();
    });
}

TEST_F(StaleSyn, InTimeWaitDrawsAnAckAndChangesNothing) {
    proves("F13");
    each_way([&] {
        const Packet old = copy_of_syn();
        peer.connects(how());
        app.shuts_down();
        peer.expects({.flags = fin | ack});
        peer.sends({.flags = fin | ack});
        peer.expects({.flags = ack});
        ASSERT_EQ(peer.state(), State::time_wait);
        app.takes_events();
        for (int i = 0; i < 3; ++i) {
            time.passes(3s);
            peer.sends_packet(old);
            peer.expects({.flags = ack, .seq = 2, .ack = 2, .bytes = 0});
            peer.expects_nothing();
            EXPECT_EQ(peer.state(), State::time_wait);
            EXPECT_EQ(app.takes_events(), Events{});
        }
        time.passes(60s);
        EXPECT_EQ(peer.state(), State::closed);
        EXPECT_EQ(world.count(Tally::connections_opened), 1u);
    });
}

TEST_F(StaleSyn, WhileANewConnectionIsUpDrawsAChallengeAckAndNothingElse) {
    proves("D4");
    each_way([&] {
        const Packet old = copy_of_syn();
        peer.connects(how());
        connection_is_over();
        time.passes(1s);
        peer.starts_over(Peer::default_isn + 500'000u);  // the same tuple, its next connection
        peer.connects(how());
        app.takes_events();
        peer.sends_packet(old);
        peer.expects({.flags = ack, .seq = 1, .ack = 1, .bytes = 0});
        peer.expects_nothing();
        EXPECT_EQ(peer.state(), State::established);
        EXPECT_EQ(app.takes_events(), Events{});
        peer.sends({.flags = ack, .seq = 1, .ack = 1, .text = "goes on"});
        EXPECT_EQ(app.takes(), "goes on");
    });
}

TEST_F(StaleSyn, BeforeTheNewOneDoesNotKeepThatFromOpening) {
    // RFC 9293 figure 8: the old duplicate comes first. Its record is in the way until its owner says RST.
    each_way([&] {
        const Packet old = copy_of_syn();
        peer.sends_packet(old);
        peer.expects({.flags = syn | ack, .ack = 1});
        peer.sends({.flags = rst, .seq = 1, .no_ts = true});
        peer.starts_over(Peer::default_isn + 500'000u);
        peer.connects(how());
        EXPECT_EQ(app.takes_events(), Events{Kind::opened});
        EXPECT_EQ(world.count(Tally::connections_opened), 1u);
    });
}

TEST_F(StaleSyn, DuringTheHandshakeOfANewOneDoesNotDisturbIt) {
    each_way([&] {
        const Packet old = copy_of_syn();
        peer.starts_over(Peer::default_isn + 500'000u);
        Send fresh{.flags = syn, .seq = 0, .mss = 1460};
        if (way_.ts) fresh.ts = tcp::Timestamps{peer.ts_now(), 0};
        peer.sends(fresh);
        peer.expects({.flags = syn | ack, .seq = 0, .ack = 1});
        peer.sends_packet(old);
        // A record answers with what it expects; a cookie is one more, for a SYN that nobody sent just now.
        peer.takes_all();
        Send completing{.flags = ack, .seq = 1, .ack = 1};
        peer.sends(completing);
        EXPECT_EQ(peer.state(), State::established);
        EXPECT_EQ(app.takes_events(), Events{Kind::opened});
        EXPECT_EQ(world.count(Tally::connections_opened), 1u);
    });
}

TEST_F(StaleSyn, ADuplicateOfTheCurrentOneOpensNoSecondConnection) {
    proves("A7");
    each_way([&] {
        const Packet same = copy_of_syn();
        peer.connects(how());
        EXPECT_EQ(app.takes_events(), Events{Kind::opened});
        peer.sends_packet(same);
        peer.expects({.flags = ack, .seq = 1, .ack = 1, .bytes = 0});
        EXPECT_EQ(peer.state(), State::established);
        EXPECT_EQ(app.takes_events(), Events{});
        EXPECT_EQ(world.count(Tally::connections_opened), 1u);
    });
}

}  // namespace
}  // namespace pollux::test
