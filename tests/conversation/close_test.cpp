// Closing: four ways, combined, at once, half, in full and by force (RFC 9293 sections 3.6, 3.10.4, 3.10.5; RFC 2525
// section 2.17 for data that nobody will read).
#include "tests/support/states.hpp"

namespace pollux::test {
namespace {

using Close = InEveryState;

// ---- We close first.
// -----------------------------------------------------------------------------------------------------

TEST_F(Close, FourSegmentsApart) {
    proves("F1");
    peer.connects();
    app.takes_events();
    app.shuts_down();
    peer.expects({.flags = fin | ack, .seq = 1, .ack = 1, .bytes = 0});
    EXPECT_EQ(peer.state(), State::fin_wait_1);
    peer.sends({.flags = ack, .ack = 2});
    peer.expects_nothing();
    EXPECT_EQ(peer.state(), State::fin_wait_2);
    EXPECT_EQ(app.takes_events(), Events{});
    EXPECT_EQ(peer.sends({.flags = fin | ack}), Verdict::fin);
    peer.expects({.flags = ack, .seq = 2, .ack = 2, .bytes = 0});
    EXPECT_EQ(peer.state(), State::time_wait);
    EXPECT_EQ(app.takes_events(), (Events{Kind::peer_closed, Kind::closed}));
    EXPECT_FALSE(world.stack().is_open(app.conn()));
    EXPECT_EQ(world.count(Tally::time_wait_made), 1u);
    EXPECT_EQ(world.stack().pool_use().connections, 0u);
    time.passes(2min);
    EXPECT_EQ(peer.state(), State::closed);
    expects_all_returned();
}

TEST_F(Close, FinAndAckInOneSegmentGoStraightToTimeWait) {
    proves("F1");
    peer.connects();
    app.shuts_down();
    peer.expects({.flags = fin | ack, .seq = 1});
    peer.sends({.flags = fin | ack, .ack = 2});
    peer.expects({.flags = ack, .seq = 2, .ack = 2, .bytes = 0});
    EXPECT_EQ(peer.state(), State::time_wait);
    time.passes(2min);
    expects_all_returned();
}

TEST_F(Close, FinOfThePeerMayCarryDataInFinWait1And2) {
    proves("F1 F5");
    for (const State state : {State::fin_wait_1, State::fin_wait_2}) {
        SCOPED_TRACE(tcp::name(state));
        brings_to(state);
        peer.sends({.flags = fin | ack, .ack = 2, .text = "last words"});
        peer.expects({.flags = ack, .seq = 2, .ack = 12});
        EXPECT_EQ(peer.state(), State::time_wait);
        EXPECT_EQ(app.takes(), "last words");
        EXPECT_EQ(app.takes_events(), (Events{Kind::data, Kind::peer_closed, Kind::closed}));
    }
}

// ---- The peer closes first.
// ------------------------------------------------------------------------------------------------

TEST_F(Close, PeerFirstThenUsAndNoTimeWait) {
    proves("F2");
    peer.connects();
    app.takes_events();
    peer.sends({.flags = fin | ack, .text = "bye"});
    peer.expects({.flags = ack, .seq = 1, .ack = 5});
    EXPECT_EQ(app.takes(), "bye");
    EXPECT_EQ(app.takes_events(), (Events{Kind::data, Kind::peer_closed}));
    EXPECT_EQ(peer.state(), State::close_wait);
    time.passes(10s);
    peer.expects_nothing();
    app.sends("an answer");  // we may still send
    peer.expects({.flags = ack, .seq = 1, .text = "an answer"});
    peer.sends({.flags = ack});
    app.shuts_down();
    peer.expects({.flags = fin | ack, .seq = 10, .ack = 5});
    EXPECT_EQ(peer.state(), State::last_ack);
    peer.sends({.flags = ack, .ack = 11});
    peer.expects_nothing();
    EXPECT_EQ(peer.state(), State::closed);
    EXPECT_EQ(app.takes_events(), Events{Kind::closed});
    EXPECT_EQ(world.count(Tally::time_wait_made), 0u);
    expects_all_returned();
}

TEST_F(Close, FinOfThePeerIsAnsweredInTheSameTurnByAckAndFin) {
    proves("F2");
    peer.connects();
    app.on_peer_closed = [](tcp::Stack& stack, tcp::ConnId conn, Instant now) { stack.shutdown(conn, now); };
    peer.sends({.flags = fin | ack});
    peer.expects({.flags = fin | ack, .seq = 1, .ack = 2});
    peer.expects_nothing();
    EXPECT_EQ(peer.state(), State::last_ack);
    peer.sends({.flags = ack});
    EXPECT_EQ(peer.state(), State::closed);
    expects_all_returned();
}

TEST_F(Close, RepeatedFinIsAcknowledgedAgainInCloseWaitAndLastAck) {
    proves("F2 D6");
    for (const State state : {State::close_wait, State::last_ack}) {
        SCOPED_TRACE(tcp::name(state));
        brings_to(state);
        peer.sends({.flags = fin | ack, .seq = 1, .ack = 1});
        peer.expects({.flags = ack, .seq = snd_nxt(state), .ack = 2});
        peer.expects_nothing();
        EXPECT_EQ(peer.state(), state);
        EXPECT_EQ(app.takes_events(), Events{});
    }
}

TEST_F(Close, FinWithAnOlderAckThanAlreadySeenIsStillAcknowledged) {
    proves("F9");
    peer.connects();
    app.sends("0123456789");
    peer.expects({.text = "0123456789"});
    peer.sends({.flags = ack, .ack = 11});
    peer.sends({.flags = fin | ack, .ack = 5});
    peer.expects({.flags = ack, .seq = 11, .ack = 2});
    EXPECT_EQ(peer.state(), State::close_wait);
    EXPECT_EQ(world.stack().unacknowledged(app.conn()), 0u);
}

// ---- Both at once.
// ---------------------------------------------------------------------------------------------------------

TEST_F(Close, SimultaneousClose) {
    proves("F3");
    peer.connects();
    app.takes_events();
    app.shuts_down();
    peer.expects({.flags = fin | ack, .seq = 1, .ack = 1});
    peer.sends({.flags = fin | ack, .seq = 1, .ack = 1});  // crossed ours
    peer.expects({.flags = ack, .seq = 2, .ack = 2, .bytes = 0});
    EXPECT_EQ(peer.state(), State::closing);
    EXPECT_EQ(app.takes_events(), Events{Kind::peer_closed});
    peer.sends({.flags = ack, .seq = 2, .ack = 2});
    peer.expects_nothing();
    EXPECT_EQ(peer.state(), State::time_wait);
    EXPECT_EQ(app.takes_events(), Events{Kind::closed});
    time.passes(2min);
    expects_all_returned();
}

TEST_F(Close, SimultaneousCloseWithDataOnBothFins) {
    proves("F3 F4");
    peer.connects();
    app.does("application sends and shuts down", [](tcp::Stack& stack, tcp::ConnId conn, Instant now) {
        EXPECT_TRUE(stack.send_copy(conn, std::as_bytes(std::span(std::string_view("ours")))));
        stack.shutdown(conn, now);
    });
    peer.expects({.flags = fin | ack, .seq = 1, .text = "ours"});
    peer.sends({.flags = fin | ack, .seq = 1, .ack = 1, .text = "theirs"});
    peer.expects({.flags = ack, .seq = 6, .ack = 8});
    EXPECT_EQ(peer.state(), State::closing);
    EXPECT_EQ(app.received(), "theirs");
    peer.sends({.flags = ack, .seq = 8, .ack = 6});
    EXPECT_EQ(peer.state(), State::time_wait);
}

// ---- The FIN in line.
// --------------------------------------------------------------------------------------------------------

TEST_F(Close, FinSharesTheLastSegment) {
    proves("F4");
    peer.connects();
    app.does("application sends and shuts down", [](tcp::Stack& stack, tcp::ConnId conn, Instant now) {
        EXPECT_TRUE(stack.send_copy(conn, std::as_bytes(std::span(std::string_view("all of it")))));
        stack.shutdown(conn, now);
    });
    peer.expects({.flags = fin | ack, .seq = 1, .text = "all of it", .push = true});
    peer.expects_nothing();
}

// RFC 9293 section 3.7.4: Nagle's algorithm holds small data back, and a FIN is no data.
TEST_F(Close, FinFollowsDataThatIsStillUnacknowledged) {
    proves("F4");
    peer.connects();
    app.sends("last words");
    peer.expects({.flags = ack, .seq = 1, .text = "last words"});
    app.shuts_down();
    peer.expects({.flags = fin | ack, .seq = 11, .bytes = 0});
}

TEST_F(Close, FinWaitsBehindDataThatTheWindowHoldsBack) {
    proves("F4");
    for (const bool full : {false, true}) {
        SCOPED_TRACE(full ? "full close" : "half-close");
        starts_with(small_settings());
        peer.window = 2'920;
        peer.connects();
        app.sends_pattern(6'000);
        if (full)
            app.closes();
        else
            app.shuts_down();
        for (const Heard& h : peer.expects_exactly(2)) EXPECT_FALSE(h.has(fin));
        peer.sends({.flags = ack});
        for (const Heard& h : peer.expects_exactly(2)) EXPECT_FALSE(h.has(fin));
        peer.sends({.flags = ack});
        peer.expects({.flags = fin | ack, .seq = 5'841, .bytes = 160});
        EXPECT_TRUE(same(peer.stream(), pattern(0, 6'000)));
        EXPECT_EQ(peer.state(), State::fin_wait_1);
    }
}

TEST_F(Close, FinWaitsBehindDataThatTheCongestionWindowHoldsBack) {
    proves("F4");
    peer.connects();
    app.sends_pattern(30'000);
    app.closes();
    for (const Heard& h : peer.expects_exactly(10)) EXPECT_FALSE(h.has(fin));
    peer.sends({.flags = ack});
    const auto rest = peer.expects_exactly(11);
    EXPECT_TRUE(rest.back().has(fin));
    EXPECT_EQ(rest.back().end(), 30'002);
    EXPECT_TRUE(same(peer.stream(), pattern(0, 30'000)));
    peer.sends({.flags = ack});
    EXPECT_EQ(peer.state(), State::fin_wait_2);
}

TEST_F(Close, FinOccupiesANumberBehindAFullWindow) {
    proves("F4");
    peer.window = 100;
    peer.connects();
    const std::string text = pattern(0, 100);
    app.does("application sends and shuts down", [&text](tcp::Stack& stack, tcp::ConnId conn, Instant now) {
        EXPECT_TRUE(stack.send_copy(conn, std::as_bytes(std::span(text))));
        stack.shutdown(conn, now);
    });
    // The data fills the window; the FIN rides along or follows, but the data must not wait.
    const auto first = peer.takes_all();
    ASSERT_FALSE(first.empty());
    EXPECT_EQ(first.front().bytes(), 100u);
    peer.sends({.flags = ack, .ack = 101});
    const bool rode_along = first.back().has(fin);
    if (!rode_along) peer.expects({.flags = fin | ack, .seq = 101});
    EXPECT_EQ(peer.state(), State::fin_wait_1);
    peer.sends({.flags = ack, .ack = 102});
    EXPECT_EQ(peer.state(), State::fin_wait_2);
}

TEST_F(Close, NothingCanBeSentAfterShutdown) {
    proves("F4");
    peer.connects();
    app.shuts_down();
    peer.expects({.flags = fin | ack, .seq = 1});
    EXPECT_FALSE(app.sends("too late"));
    app.shuts_down();  // again: nothing more happens
    time.passes(100ms);
    peer.expects_nothing();
    EXPECT_EQ(peer.state(), State::fin_wait_1);
}

// ---- Half-close.
// -------------------------------------------------------------------------------------------------------------

TEST_F(Close, AfterOurFinDataOfThePeerIsStillDeliveredAndAcknowledged) {
    proves("F5");
    for (const State state : {State::fin_wait_1, State::fin_wait_2}) {
        SCOPED_TRACE(tcp::name(state));
        brings_to(state);
        for (int64_t i = 1; i <= 4; ++i) {
            peer.sends({.flags = ack, .ack = snd_una(state), .bytes = 1'460});
            if (i % 2 == 0) peer.expects({.flags = ack, .seq = 2, .ack = 1 + i * 1'460});
        }
        peer.expects_nothing();
        EXPECT_TRUE(same(app.takes(), pattern(0, 4 * 1'460)));
        EXPECT_EQ(peer.state(), state);
        // Out of order too.
        peer.sends({.flags = ack, .seq = peer.nxt + 10, .ack = snd_una(state), .text = "second"});
        peer.expects({.flags = ack, .ack = 5'841});
        peer.sends({.flags = ack, .seq = 5'841, .ack = snd_una(state), .text = "first half"});
        peer.expects({.flags = ack, .ack = 5'857});
        EXPECT_EQ(app.takes(), "first halfsecond");
    }
}

TEST_F(Close, HalfCloseLastsAsLongAsThePeerWants) {
    proves("F5");
    brings_to(State::fin_wait_2);
    for (int i = 0; i < 10; ++i) {
        time.passes(10min);  // the application has not closed: no limit
        EXPECT_EQ(peer.state(), State::fin_wait_2);
        peer.sends({.flags = ack, .text = "tick"});
        time.passes(50ms);
        peer.expects({.flags = ack, .ack = peer.nxt});
    }
    EXPECT_EQ(app.takes().size(), 40u);
}

// ---- Full close, with and without data that nobody reads.
// ----------------------------------------------------------------------

TEST_F(Close, FullCloseWithEverythingReadIsAFinAndNoReset) {
    proves("F6");
    peer.connects();
    peer.sends({.flags = ack, .text = "request"});
    EXPECT_EQ(app.received(), "request");
    app.closes();
    peer.expects({.flags = fin | ack, .seq = 1, .ack = 8});
    peer.sends({.flags = fin | ack});
    peer.expects({.flags = ack, .seq = 2, .ack = 9});
    EXPECT_EQ(peer.state(), State::time_wait);
    time.passes(2min);
    expects_all_returned();
}

TEST_F(Close, ConnIdIsDeadAtOnceAfterFullCloseAndRaisesNoMoreEvents) {
    proves("F6");
    peer.connects();
    app.takes_events();
    const tcp::ConnId conn = app.conn();
    app.closes();
    EXPECT_FALSE(world.stack().is_open(conn));
    EXPECT_FALSE(world.stack().send_copy(conn, {}));
    peer.expects({.flags = fin | ack});
    peer.sends({.flags = ack, .ack = 2});
    peer.sends({.flags = fin | ack});
    peer.expects({.flags = ack});
    EXPECT_EQ(app.takes_events(), Events{});
}

TEST_F(Close, FullCloseWithUnreadDataIsAReset) {
    proves("F6 SHLD-3");
    for (const bool out_of_order_too : {false, true}) {
        starts_with(small_settings());
        app.consumes = false;
        peer.connects();
        peer.sends({.flags = ack, .text = "never read"});
        if (out_of_order_too) {
            peer.sends({.flags = ack, .seq = 100, .text = "nor this"});
            peer.forgets();
        }
        app.closes();
        peer.expects_reset(1);
        peer.expects_nothing();
        EXPECT_EQ(peer.state(), State::closed);
        EXPECT_EQ(world.count(Tally::connections_aborted), 1u);
        expects_all_returned();
    }
}

TEST_F(Close, DataAfterFullCloseIsAnsweredByReset) {
    proves("F6 SHLD-3");
    for (const bool fin_acked : {false, true}) {
        SCOPED_TRACE(fin_acked);
        starts_with(small_settings());
        peer.connects();
        app.closes();
        peer.expects({.flags = fin | ack, .seq = 1});
        if (fin_acked) peer.sends({.flags = ack, .ack = 2});
        EXPECT_EQ(peer.sends({.flags = ack, .ack = fin_acked ? 2 : 1, .text = "too late"}),
                  Verdict::data_after_close);
        const Heard h = peer.takes_all().at(0);
        EXPECT_TRUE(h.has(rst));
        EXPECT_EQ(h.seq, 2);  // SND.NXT: acceptable to the peer whatever it has acknowledged
        EXPECT_EQ(peer.state(), State::closed);
        expects_all_returned();
    }
}

TEST_F(Close, FullCloseSendsWhatIsQueuedBeforeTheFin) {
    proves("F4 F6");
    peer.connects();
    const std::string text = pattern(0, 20'000);
    app.does("application sends and closes", [&text](tcp::Stack& stack, tcp::ConnId conn, Instant now) {
        EXPECT_TRUE(stack.send_copy(conn, std::as_bytes(std::span(text))));
        stack.close(conn, now);
    });
    for (int i = 0; i < 20 && peer.heard < 20'002; ++i) {
        peer.sends({.flags = ack});
        time.passes(10ms);
        peer.forgets();
    }
    EXPECT_EQ(peer.heard, 20'002);
    EXPECT_TRUE(same(peer.stream(), pattern(0, 20'000)));
    peer.sends({.flags = ack});
    EXPECT_EQ(peer.state(), State::fin_wait_2);
    EXPECT_EQ(world.stack().pool_use().chunks, 0u);
}

TEST_F(Close, FullCloseAfterHalfCloseGoesOnFromWhereItStands) {
    proves("F6");
    brings_to(State::fin_wait_2);
    app.closes();
    peer.expects_nothing();
    peer.sends({.flags = fin | ack});
    peer.expects({.flags = ack, .seq = 2, .ack = 2});
    EXPECT_EQ(peer.state(), State::time_wait);
    brings_to(State::close_wait);
    app.closes();
    peer.expects({.flags = fin | ack, .seq = 1, .ack = 2});
    peer.sends({.flags = ack});
    EXPECT_EQ(peer.state(), State::closed);
    expects_all_returned();
}

TEST_F(Close, FullCloseWithUnreadDataAfterOurFinIsAResetOneAboveTheFin) {
    proves("F6");
    app.consumes = false;
    peer.connects();
    app.shuts_down();
    peer.expects({.flags = fin | ack, .seq = 1});
    peer.sends({.flags = ack, .ack = 2, .text = "unread"});
    app.closes();
    peer.expects_reset(2);
    EXPECT_EQ(peer.state(), State::closed);
    expects_all_returned();
}

// ---- Abort.
// --------------------------------------------------------------------------------------------------------------------

TEST_F(Close, AbortSendsAResetAtSndNxtAndDropsTheQueue) {
    proves("F7");
    for (const State state : synchronized_states) {
        SCOPED_TRACE(tcp::name(state));
        brings_to(state);
        app.aborts();
        peer.expects_reset(snd_nxt(state));
        peer.expects_nothing();
        EXPECT_EQ(peer.state(), State::closed);
        EXPECT_EQ(app.takes_events(), Events{});
        EXPECT_FALSE(world.stack().is_open(app.conn()));
        expects_all_returned();
    }
}

TEST_F(Close, AbortWithDataInFlightAndQueuedResetsAtSndNxt) {
    proves("F7");
    peer.window = 2'920;
    peer.connects();
    app.sends_pattern(10'000);
    app.sends("and a copy");
    peer.expects_exactly(2);
    peer.sends({.flags = ack, .seq = 100, .ack = 1, .text = "out of order"});
    peer.expects({.flags = ack, .ack = 1});
    app.aborts();
    peer.expects_reset(2'921);
    expects_all_returned();
    time.passes(10min);
    peer.expects_nothing();
    peer.sends({.flags = ack, .seq = 1, .ack = 2'921});
    peer.expects({.flags = rst, .seq = 2'921});
}

// ---- Lost FINs.
// ------------------------------------------------------------------------------------------------------------------

TEST_F(Close, FinIsRetransmittedUntilAcknowledged) {
    proves("F8 MUST-19");
    for (const State state : {State::fin_wait_1, State::closing, State::last_ack}) {
        SCOPED_TRACE(tcp::name(state));
        brings_to(state);
        const int64_t rcv_nxt = peer.nxt;
        Duration expected = world.info().rto;
        for (int i = 0; i < 4; ++i) {
            EXPECT_TRUE(about(peer.waits(), expected));
            expected *= 2;
            peer.expects({.flags = fin | ack, .seq = 1, .ack = rcv_nxt, .bytes = 0});
            peer.expects_nothing();
            EXPECT_EQ(peer.state(), state);
        }
        peer.sends({.flags = ack, .ack = 2});
        peer.expects_nothing();
        const State next = state == State::fin_wait_1 ? State::fin_wait_2
                           : state == State::closing  ? State::time_wait
                                                      : State::closed;
        EXPECT_EQ(peer.state(), next);
        time.passes(30s);
        peer.expects_nothing();
    }
}

TEST_F(Close, FinWithDataIsRetransmittedWithItsData) {
    proves("F8");
    peer.connects();
    app.does("application sends and shuts down", [](tcp::Stack& stack, tcp::ConnId conn, Instant now) {
        EXPECT_TRUE(stack.send_copy(conn, std::as_bytes(std::span(std::string_view("bye")))));
        stack.shutdown(conn, now);
    });
    peer.expects({.flags = fin | ack, .seq = 1, .text = "bye"});
    peer.waits();
    peer.expects({.flags = fin | ack, .seq = 1, .text = "bye"});
    peer.sends({.flags = ack, .ack = 4});  // the data, but not the FIN
    EXPECT_EQ(peer.state(), State::fin_wait_1);
    peer.waits();
    peer.expects({.flags = fin | ack, .seq = 4, .bytes = 0});
    peer.sends({.flags = ack, .ack = 5});
    EXPECT_EQ(peer.state(), State::fin_wait_2);
}

TEST_F(Close, OrphanGivesUpAndLaterSegmentsGetReset) {
    proves("F8 K16");
    peer.connects();
    app.closes();
    peer.expects({.flags = fin | ack, .seq = 1});
    ASSERT_TRUE(world.passes_until([&] { return peer.state() == State::closed; }, 1h));
    size_t fins = 0;
    for (const Heard& h : peer.takes_all()) fins += h.has(fin) ? 1 : 0;
    EXPECT_EQ(fins, 8u);
    expects_all_returned();
    peer.sends({.flags = ack, .ack = 2});
    peer.expects({.flags = rst, .seq = 2, .win = 0});
    EXPECT_EQ(app.takes_events(), Events{Kind::opened});
}

TEST_F(Close, FinWait2OfAClosedApplicationEndsAfterItsLimit) {
    proves("F14");
    peer.connects();
    app.closes();
    peer.expects({.flags = fin | ack, .seq = 1});
    peer.sends({.flags = ack, .ack = 2});
    EXPECT_EQ(peer.state(), State::fin_wait_2);
    time.passes(59s);
    EXPECT_EQ(peer.state(), State::fin_wait_2);
    time.passes(2s);
    EXPECT_EQ(peer.state(), State::closed);
    peer.forgets();  // whether it says so is its own affair
    expects_all_returned();
    peer.sends({.flags = fin | ack});
    peer.expects({.flags = rst, .seq = 2, .win = 0});
}

TEST_F(Close, FinWait2LimitStartsWhenTheApplicationCloses) {
    proves("F14");
    brings_to(State::fin_wait_2);
    time.passes(5min);
    EXPECT_EQ(peer.state(), State::fin_wait_2);
    app.closes();
    time.passes(59s);
    EXPECT_EQ(peer.state(), State::fin_wait_2);
    time.passes(2s);
    EXPECT_EQ(peer.state(), State::closed);
    peer.forgets();
}

// ---- The listener.
// -----------------------------------------------------------------------------------------------------------------

TEST_F(Close, ClosedListenerEndsHalfOpenRecordsSilentlyAndKeepsConnections) {
    proves("F15");
    peer.connects();
    Peer embryo(world, {peer_endpoint.address, 41'000}), late(world, {peer_endpoint.address, 42'000});
    embryo.sends({.flags = syn, .mss = 1460});
    embryo.expects({.flags = syn | ack});
    world.stack().stop_listening(host_endpoint);
    time.passes(2min);
    embryo.expects_nothing();
    EXPECT_EQ(embryo.state(), State::closed);
    EXPECT_EQ(world.stack().pool_use().half_open, 0u);
    peer.sends({.flags = ack, .text = "still here?"});
    EXPECT_EQ(app.received(), "still here?");
    time.passes(50ms);
    peer.expects({.flags = ack, .ack = 12});
    embryo.sends({.flags = ack, .seq = 1, .ack = 1});
    embryo.expects({.flags = rst, .seq = 1});
    late.sends({.flags = syn});
    late.expects({.flags = rst | ack, .seq = 0, .ack = 1});
    EXPECT_TRUE(world.stack().listen(host_endpoint));
    late.connects();
}

TEST_F(Close, DrainingStackDropsNewSynsAndServesTheRest) {
    peer.connects();
    Peer late(world, {peer_endpoint.address, 42'000});
    world.stack().set_accepting(false);
    EXPECT_EQ(late.sends({.flags = syn}), Verdict::draining);
    late.expects_nothing();
    peer.sends({.flags = ack, .text = "served"});
    EXPECT_EQ(app.received(), "served");
    world.stack().set_accepting(true);
    late.connects();
    time.passes(50ms);
    peer.forgets();
}

}  // namespace
}  // namespace pollux::test
