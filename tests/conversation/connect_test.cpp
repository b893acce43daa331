// Opening, seen from the side that asks: SYN-SENT of RFC 9293 section 3.10.7.3. What the SYN says and how often, what
// answers it, and what does not. Crossing SYNs, errors of the network and the choice of a port have files of their
// own.
#include <algorithm>

#include "tests/support/opening.hpp"

namespace pollux::test {
namespace {

using Connecting = Opening;

// ---- The SYN. ----------------------------------------------------------------------------------------------------

/// Kinds of the options of a packet in order, NOP left out; fails if the block is not clean.
std::vector<int> option_kinds(const Packet& packet) {
    const size_t tcp = ip_header_size();
    const auto at = [&](size_t i) { return std::to_integer<int>(packet.at(tcp + i)); };
    const auto end = static_cast<size_t>(at(12) >> 4) * 4;
    std::vector<int> kinds;
    for (size_t i = 20; i < end;) {
        if (at(i) == 0) {  // the end of the list: the rest is padding, of zeros (MUST-69)
            for (; i < end; ++i) EXPECT_EQ(at(i), 0);
            break;
        }
        if (at(i) == 1) {
            ++i;
            continue;
        }
        kinds.push_back(at(i));
        EXPECT_GE(at(i + 1), 2);
        i += static_cast<size_t>(std::max(at(i + 1), 2));
        EXPECT_LE(i, end) << "an option that is longer than the header";
    }
    EXPECT_EQ(packet.size(), tcp + end) << "a SYN of ours carries no data";
    return kinds;
}

TEST_F(Connecting, SynCarriesEveryOptionThatIsWantedInACleanBlock) {
    proves("B1 MUST-14 MUST-69 SHLD-5 MAY-3");
    for (int wanted = 0; wanted < 8; ++wanted) {
        SCOPED_TRACE(wanted);
        const bool ws = wanted & 1, sack = wanted & 2, ts = wanted & 4;
        starts_with(settings_with([&](auto& s) { s.window_scaling = ws, s.sack = sack, s.timestamps = ts; }));
        ASSERT_TRUE(world.stack().connect(peer.flow(), world.now()));
        std::vector<Packet> sent;
        world.host().turn(world.now(), {}, sent);
        ASSERT_EQ(sent.size(), 1u);
        std::vector<int> kinds = option_kinds(sent[0]);
        std::ranges::sort(kinds);
        std::vector<int> expected = {2};
        if (ws) expected.push_back(3);
        if (sack) expected.push_back(4);
        if (ts) expected.push_back(8);
        EXPECT_EQ(kinds, expected);
        peer.hears(sent[0]);
        const Heard h =
            peer.expects({.flags = syn, .seq = 0, .bytes = 0, .mss = 1460, .sack_ok = sack, .has_ts = ts});
        EXPECT_EQ(h.segment.has(tcp::Present::window_scale), ws);
        EXPECT_GT(h.segment.window, 0u);
        EXPECT_EQ(h.segment.timestamps.echo, 0u) << "nothing to echo yet (RFC 7323 section 3.2)";
    }
}

TEST_F(Connecting, SynAnnouncesWhatCanBeReceived) {
    proves("B1 SHLD-5 MUST-67");
    for (const uint16_t mtu : {uint16_t{576}, uint16_t{1'500}, uint16_t{9'000}}) {
        starts_with(settings_with([&](auto& s) { s.mtu = mtu_like(mtu), s.receive_buffer = 4 << 20; }));
        asks();
        const Heard h = peer.expects({.flags = syn, .mss = static_cast<uint16_t>(mtu - 40)});
        EXPECT_EQ(h.segment.window, 65'535u) << "not scaled in a SYN (RFC 7323 section 2.2)";
        EXPECT_LE(h.segment.window_scale, 14);
        EXPECT_GE(65'535u << h.segment.window_scale, 4u << 20);
    }
    starts_with(settings_with([](auto& s) { s.max_mss = 1'000, s.receive_buffer = 5'000; }));
    asks();
    peer.expects({.flags = syn, .win = 5'000, .mss = 1'000});
}

TEST_F(Connecting, SynIsRepeatedWithBackoffAndGivenUpAfterThreeMinutesAtTheEarliest) {
    proves("B2 MUST-22 MUST-23");
    const tcp::ConnId conn = asks();
    const Heard first = peer.expects({.flags = syn, .seq = 0});
    Duration passed{0};
    for (const Duration wait : {1s, 2s, 4s, 8s, 16s, 32s, 64s}) {
        EXPECT_TRUE(about(peer.waits(), wait, 5ms));
        const Heard again = peer.expects({.flags = syn, .seq = 0, .win = first.segment.window, .mss = 1460});
        peer.expects_nothing();
        EXPECT_EQ(again.segment.present, first.segment.present);
        EXPECT_EQ(again.segment.window_scale, first.segment.window_scale);
        passed += wait;
    }
    EXPECT_EQ(world.count(Tally::syns_retransmitted), 7u);
    time.passes(180s - passed);
    EXPECT_EQ(app.takes_events(), Events{Kind::unanswered});
    EXPECT_TRUE(world.stack().is_open(conn));
    time.passes(120s);
    peer.expects_nothing();
    EXPECT_EQ(app.takes_events(), Events{Kind::timed_out});
    EXPECT_EQ(world.count(Tally::connections_timed_out), 1u);
    EXPECT_FALSE(world.stack().is_open(conn));
    expects_all_returned();
    // Who answers now, is answered as anybody without a connection.
    peer.sends({.flags = syn | ack, .seq = 0, .ack = 1});
    peer.expects({.flags = rst, .seq = 1});
}

TEST_F(Connecting, BackoffIsCappedAndTheNumberOfSynsIsSettable) {
    proves("B2 MUST-22");
    starts_with(settings_with([](auto& s) { s.syn_retries = 5, s.initial_rto = 500ms, s.max_rto = 4s; }));
    asks_and_is_heard();
    for (const Duration wait : {500ms, 1'000ms, 2'000ms, 4'000ms, 4'000ms}) {
        EXPECT_TRUE(about(peer.waits(), wait, 5ms));
        peer.expects({.flags = syn, .seq = 0});
    }
    time.passes(3'990ms);
    EXPECT_EQ(app.takes_events(), Events{Kind::unanswered});
    time.passes(20ms);
    EXPECT_EQ(app.takes_events(), Events{Kind::timed_out});
    peer.expects_nothing();
}

TEST_F(Connecting, ARepeatedSynMakesTheStartCareful) {
    proves("B2 L1");
    asks_and_is_heard();
    peer.waits();
    peer.expects({.flags = syn, .seq = 0});
    time.passes(10ms);
    peer.sends({.flags = syn | ack, .seq = 0, .ack = 1, .mss = 1460});
    peer.expects({.flags = ack, .ack = 1});
    EXPECT_EQ(world.info().srtt, 0us) << "Karn: which SYN was answered?";
    EXPECT_EQ(world.info().cwnd, 1'460u) << "RFC 5681 section 3.1";
    app.sends("data");
    peer.expects({.flags = ack, .text = "data"});
    EXPECT_TRUE(about(peer.waits(), 3s, 5ms)) << "RFC 6298 (5.7)";
    peer.expects({.flags = ack, .text = "data"});
}

// ---- The answer. -------------------------------------------------------------------------------------------------

TEST_F(Connecting, SynAckIsAcknowledgedAtOnceAndOpens) {
    proves("B3");
    const tcp::ConnId conn = asks_and_is_heard();
    EXPECT_EQ(world.stack().state_of(peer.flow()), State::syn_sent);
    EXPECT_EQ(app.takes_events(), Events{});
    time.passes(40ms);
    EXPECT_EQ(peer.sends({.flags = syn | ack, .seq = 0, .ack = 1, .mss = 1460}), Verdict::opened);
    peer.expects({.flags = ack, .seq = 1, .ack = 1, .bytes = 0});
    peer.expects_nothing();
    EXPECT_EQ(peer.state(), State::established);
    EXPECT_EQ(app.takes_events(), Events{Kind::opened});
    EXPECT_EQ(app.conn(), conn);
    EXPECT_EQ(world.info().srtt, 40ms);
    EXPECT_EQ(world.info().cwnd, 14'600u);
    time.passes(10min);  // and no SYN timer is left
    peer.expects_nothing();
    peer.sends({.flags = ack, .text = "hello"});
    EXPECT_EQ(app.takes(), "hello");
    time.passes(50ms);
    peer.expects({.flags = ack, .seq = 1, .ack = 6});
}

TEST_F(Connecting, OnlyOptionsOfBothSynsAreUsed) {
    proves("B3 I1 J1 G2");
    for (int ours = 0; ours < 8; ++ours) {
        for (int theirs = 0; theirs < 8; ++theirs) {
            SCOPED_TRACE(testing::Message() << "ours " << ours << ", theirs " << theirs);
            const int both = ours & theirs;
            starts_with(settings_with([&](auto& s) {
                s.window_scaling = ours & 1, s.sack = ours & 2, s.timestamps = ours & 4;
                s.receive_buffer = 1 << 20;
            }));
            asks();
            const Heard asked = peer.expects({.flags = syn});
            const auto ws = theirs & 1 ? std::optional<uint8_t>(2) : std::nullopt;
            const tcp::Timestamps now{peer.ts_now(), asked.segment.timestamps.value};
            const auto ts = theirs & 4 ? std::optional(now) : std::nullopt;
            peer.window = 1'000;
            peer.sends({.flags = syn | ack, .mss = 1460, .ws = ws, .sack_ok = (theirs & 2) != 0, .ts = ts});
            const Heard h = peer.expects({.flags = ack, .seq = 1, .ack = 1, .has_ts = (both & 4) != 0});
            if (both & 4) {
                EXPECT_EQ(h.segment.timestamps.echo, now.value);
            }
            const uint32_t announced = h.segment.window << (both & 1 ? asked.segment.window_scale : 0);
            if (both & 1) {
                EXPECT_GT(announced, 65'535u);
            }
            peer.sends({.flags = ack, .seq = 101, .bytes = 10});
            EXPECT_EQ(peer.expects({.flags = ack, .ack = 1}).segment.sack_count, both & 2 ? 1 : 0);
            // The SYN-ACK's window was not scaled; that of any later segment is.
            app.sends_pattern(6'000);
            peer.takes_all();
            EXPECT_EQ(peer.heard > 1'001, (both & 1) != 0);
            EXPECT_LE(peer.heard, 4'001);
        }
    }
}

TEST_F(Connecting, TheWindowOfASynAckIsNotScaled) {
    proves("B3 A12");
    asks_and_is_heard();
    queues(world.stack().find_conn(peer.flow()), pattern(0, 6'000));
    peer.sends({.flags = syn | ack, .win = 1'000, .mss = 1460, .ws = uint8_t{7}});
    peer.takes_all();
    EXPECT_EQ(peer.heard, 1'001);
    peer.sends({.flags = ack, .win = 10});
    peer.takes_all();
    EXPECT_EQ(peer.heard, 2'281);
}

TEST_F(Connecting, WithoutMssOptionTheDefaultCounts) {
    proves("B3 MUST-15");
    asks_and_is_heard();
    queues(world.stack().find_conn(peer.flow()), pattern(0, 3'000));
    peer.sends({.flags = syn | ack});
    EXPECT_EQ(peer.expects({.flags = ack, .seq = 1}).bytes(), by_family(536u, 1'220u));
    peer.forgets();
}

TEST_F(Connecting, DataOnASynAckIsNotLost) {
    proves("B3");
    asks_and_is_heard();
    peer.sends({.flags = syn | ack, .seq = 0, .ack = 1, .text = "early"});
    const Heard h = peer.expects({.flags = ack, .seq = 1});
    EXPECT_TRUE(h.ack == 1 || h.ack == 6);
    EXPECT_EQ(app.received(), h.ack == 6 ? "early" : "");
    EXPECT_EQ(peer.state(), State::established);
    peer.sends({.flags = ack, .seq = 1, .text = "early"});
    peer.sends({.flags = ack, .seq = 6, .text = "bird"});
    EXPECT_EQ(app.received(), "earlybird");
    time.passes(50ms);
    EXPECT_EQ(peer.takes_all().back().ack, 10);
}

TEST_F(Connecting, ARepeatedSynAckIsAcknowledgedAgain) {
    proves("B3 D4");
    opens();
    app.takes_events();
    peer.sends({.flags = syn | ack, .seq = 0, .ack = 1, .mss = 1460});  // our ACK was lost
    peer.expects({.flags = ack, .seq = 1, .ack = 1, .bytes = 0});
    EXPECT_EQ(peer.state(), State::established);
    EXPECT_EQ(app.takes_events(), Events{});
}

// ---- What waits in SYN-SENT. --------------------------------------------------------------------------------------

TEST_F(Connecting, QueuedDataRidesOnTheAck) {
    proves("B3 X18");
    const tcp::ConnId conn = asks_and_is_heard();
    EXPECT_TRUE(queues(conn, "GET "));
    EXPECT_TRUE(queues(conn, "/"));
    EXPECT_TRUE(world.stack().unread(conn).empty()) << "a receive in SYN-SENT waits";
    peer.expects_nothing();
    peer.sends({.flags = syn | ack, .mss = 1460});
    peer.expects({.flags = ack, .seq = 1, .ack = 1, .text = "GET /", .push = true});
    peer.expects_nothing();
    EXPECT_EQ(app.takes_events(), Events{Kind::opened});
    peer.sends({.flags = ack, .text = "200"});
    EXPECT_EQ(app.takes(), "200");
    peer.forgets();
}

TEST_F(Connecting, ALongQueueLeavesByTheInitialWindow) {
    proves("X18 L1");
    const tcp::ConnId conn = asks_and_is_heard();
    const std::string text = pattern(0, 40'000);
    EXPECT_TRUE(queues(conn, text));
    EXPECT_EQ(world.stack().unacknowledged(conn), 40'000u);
    peer.sends({.flags = syn | ack, .mss = 1460});
    EXPECT_EQ(peer.expects_exactly(10).back().end(), 14'601);
    for (int i = 0; i < 20 && peer.heard < 40'001; ++i) {
        peer.sends({.flags = ack});
        peer.forgets();
    }
    EXPECT_TRUE(same(peer.stream(), text));
}

TEST_F(Connecting, AHalfCloseInSynSentFollowsTheQueuedData) {
    proves("X18");
    for (const std::string_view text : {"", "bye"}) {
        SCOPED_TRACE(text);
        starts_with(small_settings());
        const tcp::ConnId conn = asks_and_is_heard();
        if (!text.empty()) {
            EXPECT_TRUE(queues(conn, text));
        }
        world.stack().shutdown(conn, world.now());
        world.delivers({});
        peer.expects_nothing();
        EXPECT_FALSE(queues(conn, "too late")) << "nothing follows a FIN";
        peer.sends({.flags = syn | ack, .mss = 1460});
        const auto heard = peer.takes_all();
        ASSERT_FALSE(heard.empty());
        EXPECT_TRUE(heard.back().has(fin));
        EXPECT_EQ(heard.back().end(), 2 + static_cast<int64_t>(text.size()));
        EXPECT_EQ(peer.stream(), text);
        EXPECT_EQ(peer.state(), State::fin_wait_1);
        peer.sends({.flags = ack});
        EXPECT_EQ(peer.state(), State::fin_wait_2);
    }
}

TEST_F(Connecting, ResetInsteadFailsWhatIsQueued) {
    proves("B5 X18");
    const tcp::ConnId conn = asks_and_is_heard();
    EXPECT_TRUE(queues(conn, "never"));
    EXPECT_EQ(peer.sends({.flags = rst | ack, .seq = 0, .ack = 1}), Verdict::reset_by_peer);
    EXPECT_EQ(app.takes_events(), Events{Kind::refused});
    EXPECT_EQ(world.count(Tally::connects_refused), 1u);
    EXPECT_FALSE(queues(conn, "never"));
    time.passes(10min);
    peer.expects_nothing();
    expects_all_returned();
}

// ---- What does not open. ------------------------------------------------------------------------------------------

TEST_F(Connecting, WrongAcknowledgmentDrawsAResetAndTheAttemptGoesOn) {
    proves("B4");
    asks_and_is_heard();
    for (const Flags flags : {ack, syn | ack, fin | ack, ack | psh}) {
        for (const int64_t number : {int64_t{0}, int64_t{2}, int64_t{-1}, int64_t{100'000}, int64_t{0x7000'0000}}) {
            SCOPED_TRACE(tcp::to_string(flags) + " " + std::to_string(number));
            for (const std::string_view text : {"", "data"}) {
                EXPECT_EQ(peer.sends({.flags = flags, .seq = 50, .ack = number, .text = text}),
                          Verdict::wrong_syn_ack);
                const Heard h = peer.expects({.flags = rst, .seq = number, .win = 0, .bytes = 0});
                EXPECT_EQ(h.segment.ack, tcp::SeqNum{});
                peer.expects_nothing();
            }
        }
    }
    EXPECT_EQ(peer.state(), State::syn_sent);
    EXPECT_EQ(app.takes_events(), Events{});
    EXPECT_TRUE(about(peer.waits(), 1s, 5ms)) << "the SYN timer was not touched";
    peer.expects({.flags = syn, .seq = 0});
    EXPECT_EQ(peer.sends({.flags = syn | ack, .seq = 0}), Verdict::opened);
    peer.expects({.flags = ack, .seq = 1, .ack = 1});
    EXPECT_EQ(app.received(), "");
}

TEST_F(Connecting, ResetCountsOnlyIfItAcknowledgesOurSyn) {
    proves("B5");
    const tcp::ConnId conn = asks_and_is_heard();
    EXPECT_EQ(peer.sends({.flags = rst, .seq = 0}), Verdict::reset_ignored);
    EXPECT_EQ(peer.sends({.flags = rst | syn, .seq = 0}), Verdict::reset_ignored);
    for (const int64_t number : {int64_t{0}, int64_t{2}, int64_t{-1}, int64_t{0x7000'0000}}) {
        for (const Flags flags : {rst | ack, rst | ack | syn, rst | ack | fin}) {
            EXPECT_EQ(peer.sends({.flags = flags, .seq = 0, .ack = number}), Verdict::reset_ignored);
            peer.expects_nothing();
        }
    }
    EXPECT_EQ(peer.state(), State::syn_sent);
    EXPECT_EQ(app.takes_events(), Events{});
    // Its own sequence number says nothing: there is no RCV.NXT yet. Data on it explains the reset (RFC 1122).
    EXPECT_EQ(peer.sends({.flags = rst | ack, .seq = 7'654'321, .ack = 1, .text = "go away"}),
              Verdict::reset_by_peer);
    peer.expects_nothing();
    EXPECT_EQ(app.takes_events(), Events{Kind::refused});
    EXPECT_FALSE(world.stack().is_open(conn));
    expects_all_returned();
}

TEST_F(Connecting, NeitherAckNorFinOpens) {
    proves("B6");
    asks_and_is_heard();
    time.passes(500ms);
    for (const Flags flags : {ack, fin | ack, psh | ack, fin, none, psh, fin | psh | urg}) {
        SCOPED_TRACE(tcp::to_string(flags));
        EXPECT_EQ(peer.sends({.flags = flags, .seq = 0, .ack = 1, .text = "data"}), Verdict::not_open_yet);
        peer.expects_nothing();
        EXPECT_EQ(peer.state(), State::syn_sent);
    }
    EXPECT_TRUE(about(peer.waits(), 500ms, 5ms)) << "the SYN timer goes on";
    peer.expects({.flags = syn, .seq = 0});
    EXPECT_EQ(app.takes_events(), Events{});
}

TEST_F(Connecting, ClosingInSynSentSaysNothingAndALateSynAckDrawsAReset) {
    proves("B8");
    for (const bool aborted : {false, true}) {
        for (const bool queued : {false, true}) {
            SCOPED_TRACE(testing::Message() << "aborted " << aborted << ", queued " << queued);
            starts_with(small_settings());
            const tcp::ConnId conn = asks_and_is_heard();
            if (queued) {
                EXPECT_TRUE(queues(conn, "data"));
            }
            if (aborted)
                world.stack().abort(conn, world.now());
            else
                world.stack().close(conn, world.now());
            world.delivers({});
            EXPECT_FALSE(world.stack().is_open(conn));
            expects_all_returned();
            time.passes(10min);
            peer.expects_nothing();
            EXPECT_EQ(app.takes_events(), Events{});
            EXPECT_EQ(world.count(Tally::connects_abandoned), 1u);
            peer.sends({.flags = syn | ack, .seq = 0, .ack = 1});
            peer.expects({.flags = rst, .seq = 1});
        }
    }
}

TEST_F(Connecting, ClosingBeforeTheSynHasLeftSaysNothing) {
    proves("B8");
    const tcp::ConnId conn = world.stack().connect(peer.flow(), world.now());
    world.stack().close(conn, world.now());
    world.delivers({});
    time.passes(10s);
    peer.expects_nothing();
    expects_all_returned();
}

}  // namespace
}  // namespace pollux::test
