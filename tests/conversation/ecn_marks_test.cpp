// What the marks of routers do on a connection with ECN: the receiver echoes them until the sender has heard (RFC
// 3168 section 6.1.3), and the sender reduces its window once for a window of them (section 6.1.2, RFC 8511).
#include "tests/support/conversation.hpp"

namespace pollux::test {
namespace {

constexpr tcp::Ecn not_ect = tcp::Ecn::not_ect, ect1 = tcp::Ecn::ect1, ect0 = tcp::Ecn::ect0, ce = tcp::Ecn::ce;
constexpr uint32_t mss = 1'460;

// ---- The receiver. ----------------------------------------------------------------------------------------------

class EcnEcho : public Conversation {
protected:
    /// Whether the next ACK carries ECE.
    void echoes(bool wanted, Here here = Here::current()) {
        app.sends("?");
        const Heard h = peer.expects({.text = "?"}, here);
        EXPECT_EQ(h.has(ece), wanted) << here.line;
        peer.sends({.flags = ack});
    }
    void is_marked() {
        peer.sends({.flags = ack, .text = "marked", .ecn = ce});
        peer.expects({.flags = ack | ece});
    }
};

TEST_F(EcnEcho, AMarkIsEchoedAtOnceAndOnEveryAckUntilCwr) {
    proves("M3");
    for (const bool ts : {false, true}) {
        SCOPED_TRACE(ts);
        starts_with(small_settings());
        peer.connects({.ts = ts, .ecn = true});
        peer.sends({.flags = ack, .text = "one", .ecn = ect0});
        peer.expects_nothing();  // the ACK is delayed
        peer.sends({.flags = ack, .text = "two", .ecn = ce});
        peer.expects({.flags = ack | ece, .ack = 7, .ecn = not_ect});
        peer.sends({.flags = ack, .text = "three", .ecn = ect0});
        peer.expects_nothing();
        EXPECT_TRUE(about(peer.waits(), 40ms));
        peer.expects({.flags = ack | ece, .ack = 12});  // a delayed one
        app.sends("data");
        peer.expects({.flags = ack | ece, .seq = 1, .text = "data", .ecn = ect0});
        peer.waits();
        peer.expects({.flags = ack | ece, .seq = 1, .text = "data", .ecn = not_ect});  // repeated
        peer.sends({.flags = ack, .seq = 50, .text = "ahead"});
        peer.expects({.flags = ack | ece, .ack = 12});  // a duplicate
        peer.sends({.flags = syn, .seq = 12, .ts = tcp::Timestamps{peer.ts_now(), 0}});
        peer.nxt = 12;
        peer.expects({.flags = ack | ece, .ack = 12});  // a challenge
        peer.sends({.flags = ack | cwr, .text = "heard", .ecn = ect0});
        peer.expects({.flags = ack, .ack = 17});  // at once
        peer.sends({.flags = ack, .text = "more", .ecn = ect0});
        time.passes(100ms);
        peer.expects({.flags = ack, .ack = 21});
        echoes(false);
        EXPECT_EQ(app.takes(), "onetwothreeheardmore");
        EXPECT_EQ(world.count(Tally::ce_received), 1u);
    }
}

TEST_F(EcnEcho, AMarkOnTheSegmentThatSaysCwrBeginsAnew) {
    proves("M3");
    peer.connects({.ecn = true});
    is_marked();
    peer.sends({.flags = ack | cwr, .text = "x", .ecn = ce});
    peer.expects({.flags = ack | ece, .ack = 8});
    echoes(true);
    peer.sends({.flags = ack | cwr, .text = "y", .ecn = ect0});
    peer.expects({.flags = ack, .ack = 9});
    echoes(false);
}

TEST_F(EcnEcho, FurtherMarksChangeNothingUntilCwr) {
    proves("M3");
    peer.connects({.ecn = true});
    is_marked();
    peer.sends({.flags = ack, .text = "x", .ecn = ce});
    peer.expects_nothing();  // the ACK is delayed as ever
    EXPECT_TRUE(about(peer.waits(), 40ms));
    peer.expects({.flags = ack | ece});
    peer.sends({.flags = ack | cwr, .text = "y"});
    peer.expects({.flags = ack});
    echoes(false);
    EXPECT_EQ(world.count(Tally::ce_received), 2u);
}

TEST_F(EcnEcho, OneMarkInABurstIsEchoedByItsAck) {
    proves("M3");
    peer.connects({.ecn = true});
    peer.sends_burst({{.flags = ack, .seq = 1, .bytes = 1'460, .ecn = ect0},
                      {.flags = ack, .seq = 1'461, .bytes = 1'460, .ecn = ce},
                      {.flags = ack, .seq = 2'921, .bytes = 1'460, .ecn = ect0}});
    peer.expects({.flags = ack | ece, .ack = 4'381});
    echoes(true);
}

TEST_F(EcnEcho, DataAheadOfAGapCountsToo) {
    proves("M3");
    peer.connects({.ecn = true});
    peer.sends({.flags = ack, .seq = 101, .bytes = 100, .ecn = ce});
    peer.expects({.flags = ack | ece, .ack = 1});
    peer.sends({.flags = ack | cwr, .seq = 301, .bytes = 100, .ecn = ect0});
    peer.expects({.flags = ack, .ack = 1});
    peer.sends({.flags = ack, .seq = 1, .bytes = 100, .ecn = ce});  // fills the gap
    peer.expects({.flags = ack | ece, .ack = 201});
    echoes(true);
}

TEST_F(EcnEcho, DataOfTheThirdSegmentCountsToo) {
    proves("M3");
    peer.sends({.flags = syn | ece | cwr, .seq = 0, .mss = 1460});
    peer.expects({.flags = syn | ack | ece});
    peer.sends({.flags = ack, .text = "early", .ecn = ce});
    peer.expects({.flags = ack | ece, .ack = 6});
}

TEST_F(EcnEcho, WithoutAMarkThereIsNoEcho) {
    proves("M3");
    peer.connects({.ecn = true});
    for (const tcp::Ecn field : {not_ect, ect0, ect1}) {
        peer.sends({.flags = ack, .text = "x", .ecn = field});
        time.passes(100ms);
        peer.expects({.flags = ack});
        peer.sends({.flags = ack | cwr, .text = "x", .ecn = field});  // of a loss, say
        time.passes(100ms);
        peer.expects({.flags = ack});
    }
    echoes(false);
}

TEST_F(EcnEcho, AMarkOnWhatIsNotAcceptedCountsNothing) {
    // Section 6.1.5, and a pure ACK is never ECT: its mark is a lie.
    proves("M3");
    peer.connects({.ts = true, .ecn = true});
    peer.sends({.flags = ack, .text = "first"});
    time.passes(100ms);
    peer.expects({.flags = ack, .ack = 6});
    const std::vector<Send> lies{
        {.flags = ack, .ecn = ce},                                                              // no data
        {.flags = ack, .seq = 1, .text = "first", .ecn = ce},                                   // old data
        {.flags = ack, .seq = peer.edge(), .text = "beyond", .ecn = ce},                        // beyond the window
        {.flags = psh, .seq = 6, .text = "no ACK", .ecn = ce},                                  // no ACK
        {.flags = ack, .seq = 6, .ack = 77, .text = "unsent", .ecn = ce},                       // ACK of the unsent
        {.flags = ack, .seq = 6, .text = "older", .ts = tcp::Timestamps{1, 0}, .ecn = ce},      // PAWS
        {.flags = ack, .seq = 6, .text = "no timestamp", .no_ts = true, .ecn = ce},             //
        {.flags = rst, .seq = 100, .ecn = ce},                                                  // inexact RST
        {.flags = syn, .seq = 6, .ts = tcp::Timestamps{peer.ts_now() + 1'000, 0}, .ecn = ce}};  // SYN
    for (size_t i = 0; i < lies.size(); ++i) {
        SCOPED_TRACE(i);
        peer.sends(lies[i]);
        peer.nxt = 6;
        time.passes(100ms);
        for (const Heard& h : peer.takes_all()) EXPECT_FALSE(h.has(ece));
        echoes(false);
        time.passes(2s);  // more challenge ACKs
    }
    EXPECT_EQ(world.count(Tally::ce_received), 0u);
    EXPECT_EQ(app.takes(), "first");
}

TEST_F(EcnEcho, CwrOnWhatIsNotAcceptedEndsNothing) {
    proves("M3");
    peer.connects({.ecn = true});
    is_marked();
    const std::vector<Send> lies{{.flags = ack | cwr},
                                 {.flags = ack | cwr, .seq = 1, .text = "marked"},
                                 {.flags = ack | cwr, .seq = peer.edge(), .text = "beyond"},
                                 {.flags = ack | cwr, .ack = 77, .text = "unsent"}};
    for (const Send& lie : lies) {
        peer.sends(lie);
        peer.nxt = 7;
        time.passes(2s);
        for (const Heard& h : peer.takes_all()) EXPECT_TRUE(h.has(ece));
        echoes(true);
    }
}

TEST_F(EcnEcho, LastsThroughTheClose) {
    proves("M3");
    peer.connects({.ecn = true});
    is_marked();
    peer.sends({.flags = fin | ack});
    peer.expects({.flags = ack | ece, .ack = 8});
    app.shuts_down();
    peer.expects({.flags = fin | ack | ece, .seq = 1});
}

// ---- The sender. ------------------------------------------------------------------------------------------------

class EcnReduction : public Conversation {
protected:
    // NewReno's numbers: 0.8 for a mark, 0.5 for a loss (RFC 8511).
    EcnReduction() : Conversation(settings_with([](auto& s) { s.congestion = tcp::CongestionControl::new_reno; })) {}

    /// Ten segments are in flight, and more are queued.
    void fills_the_window(const Connect& how = {.ecn = true}) {
        peer.connects(how);
        app.sends_pattern(200'000);
        peer.expects_exactly(10);
        ASSERT_EQ(world.info().cwnd, 10 * world.info().mss);
    }
    /// What a mark leaves of a window (RFC 8511).
    static constexpr uint32_t reduced(uint32_t cwnd) { return cwnd * 4 / 5; }
    uint64_t reductions() const { return world.count(Tally::ecn_reductions); }
    uint64_t repeated() const { return world.count(Tally::retransmitted_segments); }
    uint32_t cwnd() { return world.info().cwnd; }
    uint32_t ssthresh() { return world.info().ssthresh; }
};

TEST_F(EcnReduction, OneForAWindowOfMarksAndNothingIsRepeated) {
    proves("M4 SHLD-8");
    fills_the_window();
    for (int64_t segments = 2; segments <= 10; ++segments) {
        peer.sends({.flags = ack | ece, .ack = 1 + segments * mss});
        EXPECT_EQ(ssthresh(), reduced(10 * mss)) << segments;
        EXPECT_LE(cwnd(), 10 * mss);
    }
    EXPECT_EQ(cwnd(), reduced(10 * mss));
    EXPECT_EQ(reductions(), 1u);
    EXPECT_EQ(world.info().in_flight, reduced(10 * mss));
    const auto sent = peer.takes_all();
    ASSERT_FALSE(sent.empty());
    for (size_t i = 0; i < sent.size(); ++i) {
        EXPECT_EQ(sent[i].seq, static_cast<int64_t>(1 + (10 + i) * mss)) << "new data only";
        EXPECT_EQ(sent[i].segment.ecn, ect0);
        EXPECT_EQ(sent[i].segment.flags & ~psh, i == 0 ? ack | cwr : ack) << i;
    }
    // The peer has heard CWR: a mark from now on is a new one.
    peer.sends({.flags = ack, .ack = 1 + 11 * mss});
    const uint32_t before = cwnd();
    EXPECT_GE(before, reduced(10 * mss));
    peer.sends({.flags = ack | ece, .ack = 1 + 12 * mss});
    EXPECT_EQ(ssthresh(), reduced(before));
    EXPECT_EQ(reductions(), 2u);
    EXPECT_EQ(repeated(), 0u);
    peer.forgets();
}

TEST_F(EcnReduction, AnotherComesWithTheFirstAckOfWhatLeftAfterwards) {
    // And with no earlier one: the ACK of all that was outstanding still reports marks from before.
    proves("M4");
    fills_the_window();
    peer.sends({.flags = ack | ece, .ack = 1 + 10 * mss});
    EXPECT_TRUE(peer.takes_all().front().has(cwr));
    peer.sends({.flags = ack | ece, .ack = 1 + 10 * mss, .text = "again"});
    EXPECT_EQ(ssthresh(), reduced(10 * mss));
    EXPECT_EQ(reductions(), 1u);
    peer.forgets();
    peer.sends({.flags = ack | ece, .ack = 1 + 11 * mss});
    EXPECT_EQ(reductions(), 2u);
    EXPECT_LT(ssthresh(), reduced(10 * mss));
    peer.sends({.flags = ack | ece, .ack = peer.heard});
    EXPECT_TRUE(peer.takes_all().front().has(cwr));
    EXPECT_EQ(reductions(), 2u);
}

TEST_F(EcnReduction, AnAckThatReportsCongestionOpensNoWindow) {
    proves("M4");
    fills_the_window({.ts = true, .ecn = true});
    const uint32_t before = cwnd();
    peer.sends({.flags = ack, .ack = 2'000});
    const uint32_t grown = cwnd();
    EXPECT_GT(grown, before);
    for (const int64_t acknowledged : {4'000, 9'000, 12'000}) {
        peer.sends({.flags = ack | ece, .ack = acknowledged});
        EXPECT_EQ(ssthresh(), reduced(grown));
        EXPECT_LE(cwnd(), grown);
    }
    peer.forgets();
}

TEST_F(EcnReduction, ADuplicateAckReportsToo) {
    proves("M4");
    fills_the_window();
    peer.sends({.flags = ack | ece, .ack = 1});
    EXPECT_EQ(ssthresh(), reduced(10 * mss));
    EXPECT_EQ(reductions(), 1u);
    EXPECT_EQ(repeated(), 0u);
    peer.forgets();
}

TEST_F(EcnReduction, AnAckWithDataReportsToo) {
    proves("M4");
    fills_the_window();
    peer.sends({.flags = ack | ece, .ack = 1 + mss, .text = "data"});
    EXPECT_EQ(ssthresh(), reduced(10 * mss));
    peer.forgets();
}

TEST_F(EcnReduction, AnAckThatIsNotAcceptedReportsNothing) {
    proves("M4");
    fills_the_window();
    peer.sends({.flags = ack, .ack = 1 + mss});
    const uint32_t before = cwnd();
    peer.forgets();
    peer.sends({.flags = ack | ece, .ack = 1'000'000});                // of what was never sent
    peer.sends({.flags = ack | ece, .seq = peer.edge() + 10});         // beyond the window
    peer.sends({.flags = ack | ece, .ack = 1});                        // reordered: older than what is known
    peer.sends({.flags = syn | ack | ece, .seq = 0, .ack = 1 + mss});  // an old SYN-ACK
    EXPECT_EQ(cwnd(), before);
    EXPECT_EQ(reductions(), 0u);
    peer.forgets();
}

TEST_F(EcnReduction, CwrWaitsForNewData) {
    proves("M4");
    peer.connects({.ecn = true});
    app.sends("first");
    peer.expects({.flags = ack, .text = "first", .ecn = ect0});
    peer.sends({.flags = ack | ece, .ack = 1});  // of a duplicate, say
    EXPECT_EQ(reductions(), 1u);
    peer.waits();
    peer.expects({.flags = ack, .seq = 1, .text = "first", .ecn = not_ect});
    peer.sends({.flags = ack | ece, .text = "request"});
    time.passes(100ms);
    peer.expects({.flags = ack, .bytes = 0});
    app.sends("second");
    peer.expects({.flags = ack | cwr, .seq = 6, .text = "second", .ecn = ect0});
    peer.waits();
    peer.expects({.flags = ack, .seq = 6, .text = "second", .ecn = not_ect});  // its repetition does not say it
    peer.sends({.flags = ack});
    app.sends("third");
    peer.expects({.flags = ack | cwr, .text = "third", .ecn = ect0});  // but new data after that loss does
    peer.sends({.flags = ack});
    app.sends("fourth");
    peer.expects({.flags = ack, .text = "fourth", .ecn = ect0});
}

TEST_F(EcnReduction, APeerThatGoesOnWhileNothingNewIsSentReducesOnce) {
    proves("M4");
    fills_the_window();
    peer.sends({.flags = ack | ece, .ack = 1 + 5 * mss});
    peer.forgets();
    for (int i = 0; i < 5; ++i) {
        peer.sends({.flags = ack | ece, .ack = 1 + 5 * mss, .text = "data"});
        time.passes(1ms);
    }
    EXPECT_EQ(ssthresh(), reduced(10 * mss));
    EXPECT_EQ(reductions(), 1u);
    peer.forgets();
}

TEST_F(EcnReduction, ALossInTheSameWindowIsRepairedAndReducesNoFurther) {
    // Section 6.1.2: once for a series of dropped and marked packets of one window.
    proves("M4 K2");
    fills_the_window();
    peer.sends({.flags = ack | ece, .ack = 1 + mss});
    ASSERT_EQ(reductions(), 1u);
    peer.forgets();
    for (int i = 0; i < 3; ++i) peer.sends({.flags = ack | ece, .ack = 1 + mss});
    bool repairs = false;
    for (const Heard& h : peer.takes_all()) repairs |= h.seq == 1 + mss && h.segment.ecn == not_ect;
    EXPECT_TRUE(repairs);
    peer.sends({.flags = ack, .ack = 1 + 10 * mss});
    EXPECT_EQ(ssthresh(), reduced(10 * mss));
    EXPECT_EQ(reductions(), 1u);
    peer.forgets();
}

TEST_F(EcnReduction, AMarkInTheWindowOfALossReducesNoFurther) {
    proves("M4");
    fills_the_window();
    for (int i = 0; i < 3; ++i) peer.sends({.flags = ack, .ack = 1});
    EXPECT_TRUE(world.info().in_recovery);
    const uint32_t of_the_loss = ssthresh();
    peer.sends({.flags = ack | ece, .ack = 1 + 4 * mss});
    peer.sends({.flags = ack | ece, .ack = 1 + 10 * mss});
    EXPECT_EQ(ssthresh(), of_the_loss);
    EXPECT_EQ(reductions(), 0u);
    peer.forgets();
}

TEST_F(EcnReduction, ALossIsToldByCwrToo) {
    // Section 6.1.2: whatever the reason for the reduction.
    proves("M4");
    fills_the_window();
    for (int i = 0; i < 3; ++i) peer.sends({.flags = ack, .ack = 1});
    for (const Heard& h : peer.takes_all()) EXPECT_FALSE(h.has(cwr)) << h.seq;  // limited transmit: it came before
    peer.sends({.flags = ack, .ack = 1 + 12 * mss});
    size_t told = 0;
    for (const Heard& h : peer.takes_all()) {
        told += h.has(cwr) ? 1 : 0;
        EXPECT_TRUE(!h.has(cwr) || h.seq == 1 + 12 * mss) << h.seq;
    }
    EXPECT_EQ(told, 1u);
}

TEST_F(EcnReduction, LeavesTwoSegmentsAndMakesNoWindowLarger) {
    proves("M4");
    for (const uint32_t initial : {1u, 2u}) {
        SCOPED_TRACE(initial);
        starts_with(settings_with([&](auto& s) {
            s.congestion = tcp::CongestionControl::new_reno;
            s.initial_window_segments = initial;
        }));
        peer.connects({.ecn = true});
        app.sends_pattern(100'000);
        peer.expects_exactly(initial);
        peer.sends({.flags = ack | ece, .ack = 1 + mss});
        EXPECT_EQ(cwnd(), initial * mss);
        EXPECT_EQ(ssthresh(), 2 * mss);
        peer.forgets();
    }
}

}  // namespace
}  // namespace pollux::test
