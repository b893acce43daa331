// What the application is told short of the end: a peer that no longer answers (R1, RFC 9293 section 3.8.3) and a
// network that says so (soft ICMP errors, section 3.9.2.2). A report changes nothing about the connection.
#include "tests/support/states.hpp"

namespace pollux::test {
namespace {

using NoticeKind = tcp::PathNotice::Kind;

class Reports : public InEveryState {
protected:
    Verdict notice(NoticeKind kind, int64_t seq) {
        const tcp::SeqNum quoted = peer.host_isn() + static_cast<uint32_t>(seq);
        const Verdict verdict =
            world.stack().notify({.kind = kind, .flow = peer.flow(), .quoted_seq = quoted}, world.now());
        world.delivers({});
        return verdict;
    }
    /// Waits for the next segment, which repeats what begins at `seq`.
    void expects_repetition(int64_t seq, Here here = Here::current()) {
        peer.waits(130s, here);
        peer.expects({.seq = seq}, here);
        peer.expects_nothing(here);
    }
};

// ---- R1. ---------------------------------------------------------------------------------------------------------

TEST_F(Reports, TheThirdRetransmissionInVainIsReportedOnce) {
    proves("SHLD-9 SHLD-10 MUST-20 MUST-47");
    peer.connects();
    app.sends("anybody?");
    peer.expects({.flags = ack, .text = "anybody?"});
    app.takes_events();
    for (int i = 0; i < 2; ++i) expects_repetition(1);
    EXPECT_EQ(app.takes_events(), Events{});
    expects_repetition(1);
    EXPECT_EQ(app.takes_events(), Events{Kind::unanswered});
    for (int i = 0; i < 4; ++i) expects_repetition(1);
    EXPECT_EQ(app.takes_events(), Events{});
    EXPECT_EQ(peer.state(), State::established);
    time.passes(1h);
    EXPECT_EQ(app.takes_events(), Events{Kind::timed_out});
    peer.forgets();
}

TEST_F(Reports, AfterProgressANewSilenceIsReportedAgain) {
    proves("SHLD-9");
    peer.connects();
    for (const int64_t seq : {1, 5}) {
        SCOPED_TRACE(seq);
        app.sends("data");
        peer.expects({.flags = ack, .seq = seq});
        app.takes_events();
        for (int i = 0; i < 3; ++i) expects_repetition(seq);
        EXPECT_EQ(app.takes_events(), Events{Kind::unanswered});
        peer.sends({.flags = ack, .ack = seq + 4});
        EXPECT_EQ(app.takes_events(), Events{});
    }
}

TEST_F(Reports, AFinWithoutAnswerIsReportedToAHalfClosedApplicationOnly) {
    proves("SHLD-9");
    for (const bool released : {false, true}) {
        SCOPED_TRACE(released);
        starts_with(small_settings());
        peer.connects();
        if (released)
            app.closes();
        else
            app.shuts_down();
        peer.expects({.flags = fin | ack, .seq = 1});
        app.takes_events();
        for (int i = 0; i < 3; ++i) expects_repetition(1);
        EXPECT_EQ(app.takes_events(), released ? Events{} : Events{Kind::unanswered});
    }
}

TEST_F(Reports, AnsweredWindowProbesAreNoSilence) {
    proves("SHLD-10");
    peer.window = 0;
    peer.connects();
    app.sends("waiting");
    app.takes_events();
    for (int i = 0; i < 6; ++i) {
        expects_repetition(1);
        peer.sends({.flags = ack, .ack = 1, .win = 0});
    }
    EXPECT_EQ(app.takes_events(), Events{});
}

TEST_F(Reports, ASynWithoutAnswerIsReportedToo) {
    proves("MUST-22 SHLD-9");
    world.stack().connect(peer.flow(), world.now());
    world.delivers({});
    peer.expects({.flags = syn});
    for (int i = 0; i < 2; ++i) expects_repetition(0);
    EXPECT_EQ(app.takes_events(), Events{});
    expects_repetition(0);
    EXPECT_EQ(app.takes_events(), Events{Kind::unanswered});
    peer.sends({.flags = syn | ack, .seq = 0, .ack = 1});
    EXPECT_EQ(app.takes_events(), Events{Kind::opened});
    peer.forgets();
}

// ---- ICMP. -------------------------------------------------------------------------------------------------------

TEST_F(Reports, ASoftErrorAboutWhatIsInFlightIsReported) {
    proves("SHLD-25 MUST-47 MUST-56");
    for (const NoticeKind kind : {NoticeKind::unreachable_soft, NoticeKind::unreachable_hard}) {
        starts_with(small_settings());
        peer.connects();
        app.sends("data");
        peer.expects({.flags = ack, .text = "data"});
        app.takes_events();
        EXPECT_EQ(notice(kind, 0), Verdict::icmp_ignored);  // acknowledged long ago
        EXPECT_EQ(notice(kind, 5), Verdict::icmp_ignored);  // not sent yet
        EXPECT_EQ(app.takes_events(), Events{});
        EXPECT_EQ(notice(kind, 1), Verdict::path_notice);
        EXPECT_EQ(app.takes_events(), Events{Kind::path_error});  // a hard one is soft once established (RFC 5927)
        EXPECT_EQ(peer.state(), State::established);
        peer.expects_nothing();
        peer.sends({.flags = ack, .text = "more"});
        EXPECT_EQ(app.takes(), "more");
        peer.forgets();
    }
}

TEST_F(Reports, ASoftErrorAboutOurSynIsReportedAndTheAttemptGoesOn) {
    proves("SHLD-25 B11");
    world.stack().connect(peer.flow(), world.now());
    world.delivers({});
    peer.expects({.flags = syn});
    EXPECT_EQ(notice(NoticeKind::unreachable_soft, 0), Verdict::path_notice);
    EXPECT_EQ(app.takes_events(), Events{Kind::path_error});
    peer.sends({.flags = syn | ack, .seq = 0, .ack = 1});
    EXPECT_EQ(app.takes_events(), Events{Kind::opened});
    peer.forgets();
}

TEST_F(Reports, AFloodOfSoftErrorsInOneTurnIsOneReport) {
    proves("SHLD-25");
    peer.connects();
    app.sends("data");
    peer.forgets();
    app.takes_events();
    for (int i = 0; i < 2'000; ++i) {  // more than the event list holds
        world.stack().notify(
            {.kind = NoticeKind::unreachable_soft, .flow = peer.flow(), .quoted_seq = peer.host_isn() + 1},
            world.now());
    }
    world.delivers({});
    EXPECT_EQ(app.takes_events(), Events{Kind::path_error});
    EXPECT_EQ(world.count(Tally::events_lost), 0u);
}

}  // namespace
}  // namespace pollux::test
