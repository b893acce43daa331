// What the network says about an open of ours: only a hard error that quotes exactly the SYN that is outstanding ends
// the attempt (RFC 5461 section 4, RFC 5927 section 4, RFC 9293 SHLD-26); all others leave it, and hard ones are soft
// once the connection is open.
#include "tests/support/opening.hpp"
#include "tests/support/router.hpp"

namespace pollux::test {
namespace {

using NoticeKind = tcp::PathNotice::Kind;

class OpeningErrors : public Opening {
protected:
    void delivers(const Packet& packet) { world.delivers({&packet, 1}); }
    /// The SYN of a new attempt, as it went over the wire.
    Packet syn_on_the_wire() {
        EXPECT_TRUE(world.stack().connect(peer.flow(), world.now()));
        std::vector<Packet> sent;
        world.host().turn(world.now(), {}, sent);
        EXPECT_EQ(sent.size(), 1u);
        peer.hears(sent.at(0));
        peer.expects({.flags = syn, .seq = 0});
        return sent.at(0);
    }
    void opens_after_all() {
        EXPECT_EQ(peer.state(), State::syn_sent);
        EXPECT_EQ(peer.sends({.flags = syn | ack, .seq = 0, .ack = 1}), Verdict::opened);
        peer.expects({.flags = ack, .seq = 1, .ack = 1});
        EXPECT_EQ(app.takes_events().back(), Kind::opened);
    }
    struct Error {
        uint8_t type, code;
        bool hard;
    };
    /// RFC 1122 section 3.2.2.1 and 4.2.3.9; RFC 4443 section 3.
    static std::vector<Error> errors() {
        return over_ipv6() ? std::vector<Error>{{1, 4, true},    // port
                                                {1, 0, false},   // no route
                                                {1, 3, false},   // address
                                                {3, 0, false},   // hop limit exceeded
                                                {4, 0, false}}   // erroneous header field
                           : std::vector<Error>{{3, 2, true},    // protocol
                                                {3, 3, true},    // port
                                                {3, 0, false},   // net
                                                {3, 1, false},   // host
                                                {3, 5, false},   // source route failed
                                                {11, 0, false},  // time exceeded
                                                {12, 0, false},  // parameter problem
                                                {4, 0, false}};  // source quench
    }
};

TEST_F(OpeningErrors, AHardErrorAboutOurSynEndsTheAttemptAndASoftOneDoesNot) {
    proves("B10 B11 SHLD-26 MUST-56");
    for (const Error& error : errors()) {
        SCOPED_TRACE(testing::Message() << "type " << int{error.type} << " code " << int{error.code});
        starts_with(small_settings());
        const Packet asked = syn_on_the_wire();
        delivers(icmp_error_about(asked, error.type, error.code));
        peer.expects_nothing();
        if (error.hard) {
            EXPECT_EQ(app.takes_events(), Events{Kind::unreachable});
            EXPECT_EQ(world.count(Tally::connects_unreachable), 1u);
            EXPECT_EQ(peer.state(), State::closed);
            expects_all_returned();
            time.passes(10min);
            peer.expects_nothing();
        } else {
            EXPECT_TRUE(about(peer.waits(), 1s, 5ms));
            peer.expects({.flags = syn, .seq = 0});
            opens_after_all();
        }
    }
}

TEST_F(OpeningErrors, AWrongQuoteIsIgnored) {
    proves("B10 D11 MUST-54");
    asks_and_is_heard();
    for (const int64_t seq :
         {int64_t{1}, int64_t{-1}, int64_t{2}, int64_t{1'000'000}, int64_t{-1'000'000}, int64_t{0x7fff'ffff}}) {
        EXPECT_EQ(icmp(NoticeKind::unreachable_hard, seq), Verdict::icmp_ignored) << seq;
        EXPECT_EQ(icmp(NoticeKind::unreachable_soft, seq), Verdict::icmp_ignored) << seq;
    }
    opens_after_all();
}

TEST_F(OpeningErrors, ARepeatedSynIsOutstandingStill) {
    proves("B10");
    asks_and_is_heard();
    peer.waits();
    peer.expects({.flags = syn, .seq = 0});
    EXPECT_EQ(icmp(NoticeKind::unreachable_hard, 0), Verdict::path_notice);
    EXPECT_EQ(app.takes_events(), Events{Kind::unreachable});
    expects_all_returned();
}

TEST_F(OpeningErrors, WhatIsQueuedFailsWithTheAttempt) {
    proves("B10 X18");
    const tcp::ConnId conn = asks_and_is_heard();
    EXPECT_TRUE(queues(conn, "never"));
    icmp(NoticeKind::unreachable_hard, 0);
    EXPECT_EQ(app.takes_events(), Events{Kind::unreachable});
    EXPECT_FALSE(queues(conn, "never"));
    expects_all_returned();
}

TEST_F(OpeningErrors, AnotherTuplesErrorIsIgnored) {
    proves("MUST-54");
    asks_and_is_heard();
    tcp::FourTuple other = peer.flow();
    ++other.remote_port;
    const auto verdict = world.stack().notify(
        {.kind = NoticeKind::unreachable_hard, .flow = other, .quoted_seq = peer.host_isn()}, world.now());
    EXPECT_EQ(verdict, Verdict::icmp_ignored);
    world.delivers({});
    opens_after_all();
}

TEST_F(OpeningErrors, ANextHopThatDoesNotAnswerEndsTheAttempt) {
    proves("B10");
    asks_and_is_heard();
    EXPECT_EQ(icmp(NoticeKind::neighbor_unreachable, 0), Verdict::path_notice);
    EXPECT_EQ(app.takes_events(), Events{Kind::unreachable});
    expects_all_returned();
}

TEST_F(OpeningErrors, TooBigInSynSentOnlyMakesSegmentsSmaller) {
    proves("B11 H4");
    const tcp::ConnId conn = asks_and_is_heard();
    EXPECT_TRUE(queues(conn, pattern(0, 3'000)));
    icmp(NoticeKind::too_big, 1, mtu_like(1'000));  // not ours
    icmp(NoticeKind::too_big, 0, mtu_like(1'300));
    peer.takes_all();
    EXPECT_EQ(peer.state(), State::syn_sent);
    peer.sends({.flags = syn | ack, .seq = 0, .ack = 1, .mss = 1460});
    EXPECT_GE(peer.expects({.flags = ack, .seq = 1}).bytes(), 1'260u) << "what quotes no SYN of ours changes nothing";
    peer.forgets();
    EXPECT_TRUE(same(peer.stream(), pattern(0, 3'000)));
}

TEST_F(OpeningErrors, HardErrorsAreSoftOnceEstablished) {
    proves("B11 MUST-56");
    opens();
    app.takes_events();
    app.sends("data");
    peer.expects({.flags = ack, .seq = 1, .text = "data"});
    for (const int64_t seq : {0, 1, 3, 5}) {  // acknowledged, outstanding, outstanding, not sent
        for (const NoticeKind kind :
             {NoticeKind::unreachable_hard, NoticeKind::unreachable_soft, NoticeKind::neighbor_unreachable}) {
            icmp(kind, seq);
            EXPECT_EQ(peer.state(), State::established);
        }
    }
    for (const Kind kind : app.takes_events()) {
        EXPECT_NE(kind, Kind::unreachable);
        EXPECT_NE(kind, Kind::reset);
        EXPECT_NE(kind, Kind::closed);
    }
    peer.expects_nothing();
    EXPECT_TRUE(about(peer.waits(), world.info().rto, 5ms)) << "the timer goes on as before";
    peer.expects({.flags = ack, .seq = 1, .text = "data"});
    peer.sends({.flags = ack, .text = "answer"});
    EXPECT_EQ(app.takes(), "answer");
    peer.forgets();
}

TEST_F(OpeningErrors, HardErrorsAreSoftInEverySynchronizedState) {
    proves("B11 MUST-56");
    for (const bool passive : {false, true}) {
        starts_with(small_settings());
        if (passive)
            peer.connects();
        else
            opens();
        app.shuts_down();
        peer.expects({.flags = fin | ack, .seq = 1});
        icmp(NoticeKind::unreachable_hard, 1);
        EXPECT_EQ(peer.state(), State::fin_wait_1);
        peer.sends({.flags = fin | ack, .seq = 1, .ack = 1});
        peer.expects({.flags = ack, .ack = 2});
        icmp(NoticeKind::unreachable_hard, 1);
        EXPECT_EQ(peer.state(), State::closing);
        peer.sends({.flags = ack, .ack = 2});
        icmp(NoticeKind::unreachable_hard, 1);
        EXPECT_EQ(peer.state(), State::time_wait);
    }
}

}  // namespace
}  // namespace pollux::test
