// TIME-WAIT: how long it lasts, what does not end it, and how a tuple is used again (RFC 9293 sections 3.6.1 and
// 3.10.7.4, RFC 1337, RFC 6191).
#include "tests/support/states.hpp"

namespace pollux::test {
namespace {

class TimeWait : public InEveryState {
protected:
    /// A connection that we closed first; peer.nxt (RCV.NXT) is 2 and our SND.NXT is 2.
    void waits(const Connect& how = {}) {
        brings_to(State::time_wait, how);
        entered_ = world.now();
    }
    /// TIME-WAIT ends 2 MSL after `since`, not before and not later.
    void ends_at(Instant when) {
        time.passes(when - world.now() - 10ms);
        EXPECT_EQ(peer.state(), State::time_wait);
        time.passes(1s);
        EXPECT_EQ(peer.state(), State::closed);
        peer.expects_nothing();
        expects_all_returned();
    }
    Instant entered_;
};

TEST_F(TimeWait, LastsTwiceTheMaximumSegmentLifetime) {
    proves("MUST-13");
    for (const Duration msl : {500ms, 1'000ms, 30'000ms, 120'000ms}) {
        SCOPED_TRACE(msl.count());
        starts_with(settings_with([&](auto& s) { s.msl = msl; }));
        waits();
        ends_at(entered_ + 2 * msl);
        EXPECT_EQ(world.count(Tally::time_wait_expired), 1u);
    }
}

TEST_F(TimeWait, RepeatedFinIsAcknowledgedAndTheWaitBeginsAgain) {
    proves("F10");
    waits();
    time.passes(50s);
    EXPECT_EQ(peer.sends({.flags = fin | ack, .seq = 1, .ack = 2}), Verdict::time_wait);
    peer.expects({.flags = ack, .seq = 2, .ack = 2, .bytes = 0});
    ends_at(world.now() + 60s);
}

TEST_F(TimeWait, SegmentsOutsideTheWindowAreAcknowledgedAndChangeNothing) {
    proves("F11");
    waits();
    time.passes(40s);
    for (const int64_t seq : {int64_t{-100'000}, peer.edge() + 100'000}) {
        for (const std::string_view text : {"", "data"}) {
            SCOPED_TRACE(std::to_string(seq) + " " + std::string(text));
            peer.sends({.flags = ack, .seq = seq, .ack = 2, .text = text});
            peer.nxt = 2;
            peer.expects({.flags = ack, .seq = 2, .ack = 2, .bytes = 0});
            peer.expects_nothing();
            EXPECT_EQ(peer.state(), State::time_wait);
            time.passes(1s);
        }
    }
    ends_at(entered_ + 60s);
}

TEST_F(TimeWait, ResetDoesNotEndTheWait) {
    proves("F12");
    waits();
    time.passes(10s);
    for (const int64_t seq : {int64_t{2}, int64_t{1}, int64_t{3}, int64_t{0}, peer.edge()}) {
        for (const Flags flags : {rst, rst | ack}) {
            EXPECT_EQ(peer.sends({.flags = flags, .seq = seq, .ack = 2}), Verdict::reset_ignored);
            peer.expects_nothing();
            EXPECT_EQ(peer.state(), State::time_wait);
        }
    }
    ends_at(entered_ + 60s);
}

TEST_F(TimeWait, OldSynGetsOnlyAnAck) {
    proves("F13");
    waits();
    for (const int64_t seq : {int64_t{0}, int64_t{1}, int64_t{-1}, int64_t{-500'000}}) {
        SCOPED_TRACE(seq);
        peer.sends({.flags = syn, .seq = seq, .mss = 1460});
        peer.nxt = 2;
        peer.expects({.flags = ack, .seq = 2, .ack = 2, .bytes = 0});
        peer.expects_nothing();
        EXPECT_EQ(peer.state(), State::time_wait);
        time.passes(1s);
    }
}

TEST_F(TimeWait, NewerSynReopensTheTupleAboveTheOldNumbers) {
    proves("F13 MAY-2");
    for (const int64_t seq : {int64_t{3}, int64_t{70'000}, int64_t{500'000'000}}) {
        SCOPED_TRACE(seq);
        waits();
        time.passes(1s);
        app.takes_events();
        EXPECT_EQ(peer.sends({.flags = syn, .seq = seq, .mss = 1460}), Verdict::time_wait_reopened);
        const Heard h = peer.expects({.flags = syn | ack, .ack = seq + 1});
        EXPECT_GT(h.seq, 2) << "our new ISN must lie above the old SND.NXT";
        EXPECT_EQ(peer.state(), State::syn_received);
        EXPECT_EQ(world.stack().pool_use().time_wait, 0u);
        peer.sends({.flags = ack, .seq = seq + 1, .ack = h.seq + 1, .text = "again"});
        EXPECT_EQ(peer.state(), State::established);
        EXPECT_EQ(app.takes_events(), (Events{Kind::opened, Kind::data}));
        EXPECT_EQ(app.takes(), "again");
        app.aborts();
        peer.forgets();
        expects_all_returned();
    }
}

TEST_F(TimeWait, NewIsnLiesAboveTheOldNumbersEvenAfterAFastLongTransfer) {
    proves("F13");
    // A megabyte in no time: the 4 us clock of the ISN lags far behind SND.NXT.
    peer.connects();
    app.sends_pattern(1'000'000);
    app.shuts_down();
    for (int i = 0; i < 2'000 && peer.heard < 1'000'002; ++i) {
        peer.sends({.flags = ack});
        peer.forgets();
    }
    ASSERT_EQ(peer.heard, 1'000'002);
    peer.sends({.flags = fin | ack});
    peer.expects({.flags = ack, .seq = 1'000'002, .ack = 2});
    ASSERT_EQ(peer.state(), State::time_wait);
    peer.sends({.flags = syn, .seq = 70'000, .mss = 1460});
    const Heard h = peer.expects({.flags = syn | ack, .ack = 70'001});
    EXPECT_GT(h.seq, 1'000'002);
    EXPECT_LT(h.seq, 1'000'002 + (1 << 20));
}

TEST_F(TimeWait, SynWithNewerTimestampReopensWhateverItsNumber) {
    proves("F13 MAY-2 SHLD-4");
    waits({.ts = true});
    time.passes(2s);
    const uint32_t newer = peer.ts_now();
    EXPECT_EQ(peer.sends({.flags = syn, .seq = -400'000, .mss = 1460, .ts = tcp::Timestamps{newer, 0}}),
              Verdict::time_wait_reopened);
    const Heard h = peer.expects({.flags = syn | ack, .ack = -399'999, .has_ts = true, .ts_echo = newer});
    EXPECT_GT(h.seq, 2);
}

TEST_F(TimeWait, SynWithOlderTimestampGetsOnlyAnAck) {
    proves("F13");
    time.passes(10s);
    waits({.ts = true});
    const uint32_t older = peer.ts_now() - 5'000;
    peer.sends({.flags = syn, .seq = -400'000, .mss = 1460, .ts = tcp::Timestamps{older, 0}});
    peer.expects({.flags = ack, .seq = 2, .ack = 2, .has_ts = true});
    EXPECT_EQ(peer.state(), State::time_wait);
    peer.nxt = 2;
}

TEST_F(TimeWait, TupleIsNotUsedAgainByAStaleSynAndIsFreeAfterTheWait) {
    proves("F13 MUST-13");
    waits();
    peer.sends({.flags = syn, .seq = 0, .mss = 1460});  // the old SYN, duplicated on its way
    peer.expects({.flags = ack, .seq = 2, .ack = 2});
    EXPECT_EQ(peer.state(), State::time_wait);
    time.passes(61s);
    EXPECT_EQ(peer.state(), State::closed);
    peer.starts_over(Peer::default_isn);
    peer.connects();
}

TEST_F(TimeWait, ReopenedTupleThatIsResetIsGone) {
    waits();
    peer.sends({.flags = syn, .seq = 70'000, .mss = 1460});
    peer.expects({.flags = syn | ack, .ack = 70'001});
    peer.sends({.flags = rst, .seq = 70'001});
    EXPECT_EQ(peer.state(), State::closed);
    expects_all_returned();
}

TEST_F(TimeWait, PassiveCloserHasNone) {
    proves("F2");
    brings_to(State::last_ack);
    peer.sends({.flags = ack, .ack = 2});
    EXPECT_EQ(peer.state(), State::closed);
    EXPECT_EQ(world.stack().pool_use().time_wait, 0u);
}

TEST_F(TimeWait, TimestampsStayOnTheAnswers) {
    proves("I1");
    waits({.ts = true});
    time.passes(5s);
    peer.sends({.flags = fin | ack, .seq = 1, .ack = 2});
    peer.expects({.flags = ack, .seq = 2, .ack = 2, .has_ts = true});
}

}  // namespace
}  // namespace pollux::test
