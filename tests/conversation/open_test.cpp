// Opening, seen from the passive side: LISTEN and SYN-RECEIVED of RFC 9293 sections 3.5, 3.10.7.2 and 3.10.7.4, the
// SYN-ACK timer of RFC 6298, resets of RFC 5961 and the initial sequence numbers of RFC 6528.
#include <set>

#include "tests/support/conversation.hpp"

namespace pollux::test {
namespace {

using tcp::SeqNum;
using Open = Conversation;

TEST_F(Open, SynAckAcknowledgesTheSynAndCarriesOnlyOptionsThatThePeerOffered) {
    proves("A1 MUST-14 MAY-3");
    for (int offered = 0; offered < 8; ++offered) {
        SCOPED_TRACE("offered options " + std::to_string(offered));
        starts_with(small_settings());
        const bool ws = offered & 1, sack_ok = offered & 2, ts = offered & 4;
        peer.sends({.flags = syn,
                    .mss = 1460,
                    .ws = ws ? std::optional<uint8_t>(7) : std::nullopt,
                    .sack_ok = sack_ok,
                    .ts = ts ? std::optional(tcp::Timestamps{peer.ts_now(), 0}) : std::nullopt});
        const Heard h = peer.expects(
            {.flags = syn | ack, .seq = 0, .ack = 1, .bytes = 0, .mss = 1460, .sack_ok = sack_ok, .has_ts = ts});
        EXPECT_EQ(h.segment.has(tcp::Present::window_scale), ws);
        EXPECT_LE(h.segment.window_scale, 14);
        EXPECT_EQ(h.segment.timestamps.echo, ts ? peer.ts_now() : 0);
        EXPECT_EQ(peer.state(), State::syn_received);
        EXPECT_EQ(app.takes_events(), Events{});
        peer.sends({.flags = ack});
        EXPECT_EQ(peer.state(), State::established);
        EXPECT_EQ(app.takes_events(), Events{Kind::opened});
        peer.expects_nothing();
    }
}

TEST_F(Open, SynWithoutAnyOptionIsAnsweredWithMssAlone) {
    proves("A1 MUST-5 MAY-3");
    peer.sends({.flags = syn});
    peer.expects({.flags = syn | ack, .ack = 1, .mss = 1460, .ws = -1, .sack_ok = false, .has_ts = false});
}

TEST_F(Open, OurFirstSequenceNumberStandsNearTheWrap) {
    // Every conversation relies on it: our ISN follows a clock of 4 us, and the fixture has set the clock.
    proves("MUST-8");
    peer.connects();
    EXPECT_EQ(peer.host_isn(), near_wrap);
}

TEST_F(Open, DataOnASynIsNotAcknowledged) {
    proves("A2");
    peer.sends({.flags = syn, .text = "GET / HTTP/1.1", .mss = 1460});
    peer.expects({.flags = syn | ack, .seq = 0, .ack = 1});
    EXPECT_EQ(app.received(), "");
    peer.sends({.flags = ack, .seq = 1});
    EXPECT_EQ(app.takes_events(), Events{Kind::opened});
    peer.sends({.flags = ack, .seq = 1, .text = "GET / HTTP/1.1"});
    EXPECT_EQ(app.received(), "GET / HTTP/1.1");
    time.passes(50ms);
    peer.expects({.flags = ack, .seq = 1, .ack = 15});
}

TEST_F(Open, SegmentsWithAckToAListenerAreAnsweredByReset) {
    proves("A3");
    for (const Flags flags : {ack, fin | ack, syn | ack, psh | ack, urg | ack}) {
        for (const std::string_view text : {"", "data"}) {
            SCOPED_TRACE(tcp::to_string(flags) + " with " + std::string(text));
            EXPECT_EQ(peer.sends({.flags = flags, .seq = 10, .ack = 5'000, .text = text}), Verdict::no_connection);
            peer.expects({.flags = rst, .seq = 5'000, .win = 0, .bytes = 0});
        }
    }
    EXPECT_EQ(peer.state(), State::closed);
    peer.starts_over(Peer::default_isn);
    peer.connects();
}

TEST_F(Open, ResetsToAListenerAreDroppedSilently) {
    proves("A4");
    for (const Flags flags : {rst, rst | ack, syn | rst, syn | rst | ack, rst | fin, rst | psh}) {
        SCOPED_TRACE(tcp::to_string(flags));
        EXPECT_EQ(peer.sends({.flags = flags, .seq = 10}), Verdict::reset_ignored);
        peer.expects_nothing();
        EXPECT_EQ(peer.state(), State::closed);
    }
    peer.starts_over(Peer::default_isn);
    peer.connects();
}

TEST_F(Open, SegmentsThatOpenNothingAreDroppedSilently) {
    proves("A5");
    for (const Flags flags : {none, fin, psh, urg, fin | psh | urg}) {
        for (const std::string_view text : {"", "data"}) {
            SCOPED_TRACE(tcp::to_string(flags) + " with " + std::string(text));
            EXPECT_EQ(peer.sends({.flags = flags, .seq = 10, .text = text}), Verdict::nonsense_flags);
            peer.expects_nothing();
            EXPECT_EQ(peer.state(), State::closed);
        }
    }
    peer.starts_over(Peer::default_isn);
    peer.connects();
}

TEST_F(Open, SynWithFinToAListenerIsDroppedSilently) {
    proves("A6");
    EXPECT_EQ(peer.sends({.flags = syn | fin, .seq = 0, .mss = 1460}), Verdict::nonsense_flags);
    peer.expects_nothing();
    EXPECT_EQ(peer.state(), State::closed);
    expects_all_returned();
}

TEST_F(Open, SynAckIsRepeatedWithBackoffAndThenGivenUp) {
    proves("A7");
    peer.sends({.flags = syn, .mss = 1460});
    const Heard first = peer.expects({.flags = syn | ack, .seq = 0, .ack = 1});
    for (const Duration wait : {1s, 2s, 4s, 8s, 16s}) {
        EXPECT_TRUE(about(peer.waits(), wait, 5ms));
        const Heard again = peer.expects({.flags = syn | ack, .seq = 0, .ack = 1, .mss = 1460});
        EXPECT_EQ(again.raw_seq, first.raw_seq);
        ASSERT_EQ(peer.state(), State::syn_received);
    }
    time.passes(40s);
    peer.expects_nothing();
    EXPECT_EQ(peer.state(), State::closed);
    EXPECT_EQ(world.count(Tally::syn_acks_retransmitted), 5u);
    EXPECT_EQ(world.count(Tally::half_open_expired), 1u);
    expects_all_returned();
    EXPECT_EQ(app.takes_events(), Events{});
    peer.sends({.flags = ack, .seq = 1, .ack = 1});
    peer.expects({.flags = rst, .seq = 1});
}

TEST_F(Open, HalfOpenTimeoutEndsTheRecordSoLongAfterItsSyn) {
    proves("A7");
    struct Case {
        Duration timeout;
        std::vector<Duration> repeated_after;
    };
    for (const Case& c : {Case{400ms, {}}, Case{1s, {}}, Case{2s, {1s}}, Case{5s, {1s, 2s}},
                          Case{2min, {1s, 2s, 4s, 8s, 16s}}}) {
        SCOPED_TRACE(c.timeout.count());
        tcp::StackSettings settings = small_settings();
        settings.half_open_timeout = c.timeout;
        starts_with(settings);
        peer.sends({.flags = syn, .mss = 1460});
        peer.expects({.flags = syn | ack, .seq = 0, .ack = 1});
        Duration passed{};
        for (const Duration wait : c.repeated_after) {
            EXPECT_TRUE(about(peer.waits(), wait, 5ms));
            peer.expects({.flags = syn | ack, .seq = 0, .ack = 1});
            passed += wait;
        }
        const Duration end = c.timeout < 63s ? c.timeout : Duration{63s};  // 63 s: as the backoff says
        time.passes(end - passed - 50ms);
        EXPECT_EQ(peer.state(), State::syn_received);
        time.passes(100ms);
        EXPECT_EQ(peer.state(), State::closed);
        peer.expects_nothing();
        EXPECT_EQ(world.count(Tally::syn_acks_retransmitted), c.repeated_after.size());
        EXPECT_EQ(world.count(Tally::half_open_expired), 1u);
        expects_all_returned();
    }
}

TEST_F(Open, RepeatedSynGetsTheSameSynAckAndNoSecondConnection) {
    proves("A7");
    peer.sends({.flags = syn, .mss = 1460});
    const Heard first = peer.expects({.flags = syn | ack, .seq = 0, .ack = 1});
    const tcp::PoolUse use = world.stack().pool_use();
    for (int i = 0; i < 3; ++i) {
        time.passes(300ms);
        EXPECT_EQ(peer.sends({.flags = syn, .seq = 0, .mss = 1460}), Verdict::syn_repeated);
        const Heard again = peer.expects({.flags = syn | ack, .seq = 0, .ack = 1, .mss = 1460});
        EXPECT_EQ(again.raw_seq, first.raw_seq);
        EXPECT_EQ(world.stack().pool_use(), use);
    }
    peer.sends({.flags = ack});
    EXPECT_EQ(peer.state(), State::established);
    EXPECT_EQ(app.takes_events(), Events{Kind::opened});
    EXPECT_EQ(world.stack().pool_use().half_open, 0u);
}

TEST_F(Open, ExactResetRemovesTheEmbryonicConnection) {
    proves("A8 MUST-11");
    peer.sends({.flags = syn, .mss = 1460});
    peer.expects({.flags = syn | ack});
    EXPECT_EQ(peer.sends({.flags = rst, .seq = 1}), Verdict::reset_by_peer);
    EXPECT_EQ(peer.state(), State::closed);
    EXPECT_EQ(app.takes_events(), Events{});
    expects_all_returned();
    time.passes(2min);
    peer.expects_nothing();
    peer.starts_over(SeqNum{77});
    peer.connects();  // the listener goes on
}

TEST_F(Open, InexactResetIsChallengedAndTheHandshakeStillEndsWell) {
    proves("A9");
    peer.sends({.flags = syn, .mss = 1460});
    peer.expects({.flags = syn | ack});
    const int64_t edge = peer.edge();
    EXPECT_EQ(peer.sends({.flags = rst, .seq = 2}), Verdict::reset_in_window);
    peer.expects({.flags = ack, .seq = 1, .ack = 1, .bytes = 0});
    time.passes(500ms);
    peer.forgets();
    for (const int64_t outside : {int64_t{0}, int64_t{-5'000}, edge, edge + 5'000}) {
        SCOPED_TRACE(outside);
        EXPECT_EQ(peer.sends({.flags = rst, .seq = outside}), Verdict::reset_ignored);
        peer.expects_nothing();
        EXPECT_EQ(peer.state(), State::syn_received);
    }
    peer.sends({.flags = ack, .seq = 1, .ack = 1});
    EXPECT_EQ(peer.state(), State::established);
}

TEST_F(Open, UnacceptableAckInSynReceivedIsAnsweredByResetAndTheStateIsKept) {
    proves("A10");
    peer.sends({.flags = syn, .mss = 1460});
    peer.expects({.flags = syn | ack});
    for (const int64_t wrong : {int64_t{0}, int64_t{-1'000}, int64_t{2}, int64_t{100'000}}) {
        SCOPED_TRACE(wrong);
        EXPECT_EQ(peer.sends({.flags = ack, .seq = 1, .ack = wrong, .text = "data"}), Verdict::half_open_ack);
        peer.expects({.flags = rst, .seq = wrong, .win = 0, .bytes = 0});
        EXPECT_EQ(peer.state(), State::syn_received);
    }
    EXPECT_EQ(app.received(), "");
    peer.sends({.flags = ack, .seq = 1, .ack = 1});
    EXPECT_EQ(peer.state(), State::established);
    EXPECT_EQ(app.takes_events(), Events{Kind::opened});
}

TEST_F(Open, CompletingAckMayCarryData) {
    proves("A11");
    peer.sends({.flags = syn, .mss = 1460});
    peer.expects({.flags = syn | ack});
    peer.sends({.flags = ack | psh, .text = "GET / HTTP/1.1\r\n\r\n"});
    EXPECT_EQ(app.takes_events(), (Events{Kind::opened, Kind::data}));
    EXPECT_EQ(app.received(), "GET / HTTP/1.1\r\n\r\n");
    time.passes(50ms);
    peer.expects({.flags = ack, .seq = 1, .ack = 19});
}

TEST_F(Open, CompletingAckMayCarryFin) {
    proves("A11");
    peer.sends({.flags = syn, .mss = 1460});
    peer.expects({.flags = syn | ack});
    peer.sends({.flags = fin | ack});
    peer.expects({.flags = ack, .seq = 1, .ack = 2});
    EXPECT_EQ(app.takes_events(), (Events{Kind::opened, Kind::peer_closed}));
    EXPECT_EQ(peer.state(), State::close_wait);
}

TEST_F(Open, CompletingAckMayCarryDataAndFin) {
    proves("A11");
    peer.sends({.flags = syn, .mss = 1460});
    peer.expects({.flags = syn | ack});
    peer.sends({.flags = fin | ack, .text = "last words"});
    peer.expects({.flags = ack, .seq = 1, .ack = 12});
    EXPECT_EQ(app.takes_events(), (Events{Kind::opened, Kind::data, Kind::peer_closed}));
    EXPECT_EQ(app.received(), "last words");
    EXPECT_EQ(peer.state(), State::close_wait);
}

TEST_F(Open, WindowOfASynIsNeverScaled) {
    proves("A12");
    starts_with(settings_with([](auto& s) { s.receive_buffer = 1 << 20; }));
    peer.sends({.flags = syn, .win = 65'535, .mss = 1460, .ws = 7});
    const Heard h = peer.expects({.flags = syn | ack});
    EXPECT_EQ(h.segment.window, 65'535u);   // a megabyte, but 16 bits without a scale
    peer.sends({.flags = ack, .win = 23});  // 23 << 7 = 2944, two segments of 1460
    app.sends_pattern(20'000);
    size_t bytes = 0;
    for (const Heard& data : peer.takes_all()) bytes += data.bytes();
    EXPECT_GE(bytes, 2'920u);
    EXPECT_LE(bytes, 2'944u);
}

TEST_F(Open, SynWindowOfZeroIsReplacedByTheWindowOfTheCompletingAck) {
    proves("A12");
    peer.sends({.flags = syn, .win = 0, .mss = 1460, .ws = 7});
    peer.expects({.flags = syn | ack});
    peer.sends({.flags = ack, .win = 500});
    app.sends("hello");
    peer.expects({.flags = ack, .seq = 1, .text = "hello"});
}

TEST_F(Open, AckInSynReceivedHasAScaledWindow) {
    // RFC 7323 section 2.2: only segments with SYN have windows as they are. A bare window of 65535 on the challenge
    // ACK would promise eight times what the SYN-ACK did, and take it back later.
    proves("A9 A12 SHLD-14");
    peer.sends({.flags = syn, .mss = 1460, .ws = 3});
    const Heard h = peer.expects({.flags = syn | ack, .win = 65'535});
    const uint8_t scale = h.segment.window_scale;
    ASSERT_GT(scale, 0);
    peer.sends({.flags = rst, .seq = 2});
    const Heard challenge = peer.expects({.flags = ack, .seq = 1, .ack = 1});
    EXPECT_LE(challenge.segment.window << scale, 256u * 1024);
    peer.sends({.flags = ack, .seq = 900'000, .text = "outside"});
    peer.nxt = 1;
    const Heard answer = peer.expects({.flags = ack, .seq = 1, .ack = 1});
    EXPECT_LE(answer.segment.window << scale, 256u * 1024);
    peer.sends({.flags = ack, .seq = 1, .ack = 1});
    peer.sends({.flags = ack, .seq = 11, .text = "ahead"});
    peer.expects({.flags = ack, .ack = 1});
}

// ---- Why three ways. --------------------------------------------------------------------------------------------

TEST_F(Open, StaleSynOpensNothingBecauseThePeerResetsTheAnswer) {
    // RFC 9293 figure 8: the peer never meant this SYN; it resets the SYN-ACK with the number that the ACK field asks
    // for, and its real SYN then opens the connection.
    proves("A8");
    peer.sends({.flags = syn, .seq = 0, .mss = 1460});
    const Heard answer = peer.expects({.flags = syn | ack, .ack = 1});
    peer.sends({.flags = rst, .seq = answer.ack});
    EXPECT_EQ(peer.state(), State::closed);
    EXPECT_EQ(app.takes_events(), Events{});
    peer.starts_over(SeqNum{1'000'000});
    peer.connects();
    EXPECT_EQ(app.takes_events(), Events{Kind::opened});
}

TEST_F(Open, NewSynBehindAStaleOneGetsThroughAfterTheResetOfThePeer) {
    proves("A8 D6");
    peer.sends({.flags = syn, .seq = 0, .mss = 1460});  // stale
    peer.expects({.flags = syn | ack, .ack = 1});
    // The real SYN lies outside the window of the stale one: it is acknowledged with the stale number (RFC 9293
    // section 3.10.7.4), and the peer in SYN-SENT answers that with a reset.
    peer.sends({.flags = syn, .seq = -500'000, .mss = 1460});
    peer.expects({.flags = ack, .seq = 1, .ack = 1});
    peer.sends({.flags = rst, .seq = 1});
    EXPECT_EQ(peer.state(), State::closed);
    peer.starts_over(Peer::default_isn + static_cast<uint32_t>(-500'000));
    peer.connects();
}

// ---- Initial sequence numbers. ------------------------------------------------------------------------------------

TEST_F(Open, InitialSequenceNumberOfATupleGrowsWithAClockOfFourMicroseconds) {
    proves("MUST-8");
    peer.sends({.flags = syn});
    const SeqNum first = peer.expects({.flags = syn | ack}).raw_seq;
    peer.sends({.flags = rst, .seq = 1});
    for (const Duration wait : {Duration{4}, Duration{400}, Duration{1'000'000}, Duration{3'600'000'000}}) {
        const Instant before = world.now();
        time.passes(wait);
        const int64_t passed = (world.now() - before).count();
        peer.starts_over(Peer::default_isn);
        peer.sends({.flags = syn});
        const SeqNum next = peer.expects({.flags = syn | ack}).raw_seq;
        peer.sends({.flags = rst, .seq = 1});
        static SeqNum last;
        if (wait == Duration{4}) last = first;
        EXPECT_EQ(next.raw() - last.raw(), static_cast<uint32_t>(passed / 4));
        last = next;
    }
}

TEST_F(Open, InitialSequenceNumbersOfDifferentTuplesAreUnrelated) {
    proves("SHLD-1");
    // At one instant the clock is the same: what differs is the keyed function of the tuple. Neighbouring ports have
    // neither equal distances nor small ones.
    std::vector<uint32_t> isns;
    for (uint16_t port = 50'000; port < 50'064; ++port) {
        Peer other(world, {peer_endpoint.address, port});
        other.sends({.flags = syn});
        isns.push_back(other.expects({.flags = syn | ack}).raw_seq.raw());
        other.sends({.flags = rst, .seq = 1});
    }
    std::set<uint32_t> distances;
    int in_upper_half = 0;
    for (size_t i = 1; i < isns.size(); ++i) {
        distances.insert(isns[i] - isns[i - 1]);
        if (isns[i] >= 1u << 31) ++in_upper_half;
    }
    EXPECT_EQ(distances.size(), isns.size() - 1);
    EXPECT_GT(in_upper_half, 12);
    EXPECT_LT(in_upper_half, 51);
}

TEST_F(Open, InitialSequenceNumberDependsOnTheSecret) {
    proves("SHLD-1 MUST-9");
    const auto isn_under = [&](tcp::SipKey key) {
        tcp::Counters counters;
        tcp::Secrets secrets = test_secrets();
        secrets.isn = key;
        tcp::Stack stack(small_settings(), secrets, counters);
        stack.listen(host_endpoint);
        tcp::TxBatch out;
        tcp::Segment s;
        s.flow = peer.flow();
        s.flags = syn;
        stack.input(s, world.now(), out);
        stack.advance_timers(world.now(), 10);
        stack.transmit(world.now(), out);
        EXPECT_EQ(out.size(), 1u);
        return out.empty() ? 0u : out.segments().front().segment.seq.raw();
    };
    std::set<uint32_t> isns;
    for (uint64_t bit = 0; bit < 64; ++bit) {
        isns.insert(isn_under({uint64_t{1} << bit, 0}));
        isns.insert(isn_under({0, uint64_t{1} << bit}));
    }
    EXPECT_EQ(isns.size(), 128u);
    EXPECT_EQ(isn_under({1, 2}), isn_under({1, 2}));
}

// ---- Several at once.
// ----------------------------------------------------------------------------------------------

TEST_F(Open, ManyConnectionsToOnePortDoNotDisturbEachOther) {
    proves("MUST-41 MUST-42");
    std::vector<std::unique_ptr<Peer>> peers;
    for (uint16_t i = 0; i < 30; ++i) {
        peers.push_back(std::make_unique<Peer>(
            world, tcp::Endpoint{peer_endpoint.address, static_cast<uint16_t>(1'000 + i)}, SeqNum{i * 0x0876'5432u}));
        peers.back()->sends({.flags = syn, .mss = 1460});
    }
    for (auto& p : peers) p->expects({.flags = syn | ack, .seq = 0, .ack = 1});
    for (auto& p : peers) p->sends({.flags = ack});
    for (auto& p : peers) p->sends({.flags = ack, .text = p->endpoint().to_string()});
    time.passes(50ms);
    std::string all;
    for (auto& p : peers) {
        EXPECT_EQ(p->state(), State::established);
        p->expects({.flags = ack, .ack = 1 + static_cast<int64_t>(p->endpoint().to_string().size())});
        all += p->endpoint().to_string();
    }
    EXPECT_EQ(app.received(), all);
}

}  // namespace
}  // namespace pollux::test
