// Data in ESTABLISHED: in order, acknowledged in time, sent in segments of the right size (RFC 9293
// sections 3.7, 3.8.6 and 3.9.1; RFC 5681 section 4.2).
#include "tests/support/conversation.hpp"

namespace pollux::test {
namespace {

using Data = Conversation;

// ---- Receiving.
// ------------------------------------------------------------------------------------------------------

TEST_F(Data, InOrderDataIsDeliveredOnceAndEverySecondFullSegmentIsAcknowledged) {
    proves("E1 SHLD-19 SHLD-18");
    peer.connects();
    for (int64_t i = 0; i < 10; ++i) {
        EXPECT_EQ(peer.sends({.flags = ack, .bytes = 1460}), Verdict::delivered);
        if (i % 2 == 0)
            peer.expects_nothing();
        else
            peer.expects({.flags = ack, .seq = 1, .ack = 1 + (i + 1) * 1460, .bytes = 0});
    }
    EXPECT_TRUE(same(app.received(), pattern(0, 14'600)));
    peer.sends({.flags = ack, .bytes = 1460});
    EXPECT_TRUE(about(peer.waits(), 40ms));
    peer.expects({.flags = ack, .ack = 1 + 11 * 1460});
}

TEST_F(Data, EverySecondFullSegmentIsAcknowledgedWithTimestampsToo) {
    proves("E1 SHLD-19");
    peer.connects({.ts = true});
    for (int64_t i = 0; i < 10; ++i) {
        peer.sends({.flags = ack, .bytes = 1448});  // the announced MSS less the option
        if (i % 2 == 1) peer.expects({.flags = ack, .ack = 1 + (i + 1) * 1448});
        peer.expects_nothing();
    }
    EXPECT_TRUE(same(app.received(), pattern(0, 14'480)));
}

TEST_F(Data, AckOfALoneSmallSegmentIsDelayed) {
    proves("E2 SHLD-18 MUST-40");
    peer.connects();
    peer.sends({.flags = ack | psh, .text = "GET"});
    EXPECT_EQ(app.received(), "GET");
    peer.expects_nothing();
    EXPECT_TRUE(about(peer.waits(500ms), 40ms));
    peer.expects({.flags = ack, .seq = 1, .ack = 4, .bytes = 0});
    time.passes(10s);
    peer.expects_nothing();
}

TEST_F(Data, DelayOfTheAckStartsWithTheFirstUnacknowledgedSegment) {
    proves("E2 MUST-40");
    peer.connects();
    const Instant first = world.now();
    for (int i = 0; i < 10 && peer.heard_nothing(); ++i) {
        peer.sends({.flags = ack, .text = "x"});
        if (peer.heard_nothing()) time.passes(30ms);
    }
    ASSERT_FALSE(peer.heard_nothing());
    EXPECT_LE(peer.takes_all().front().at - first, 42ms);
    time.passes(100ms);
    peer.forgets();
}

TEST_F(Data, AnswerInTheSameTurnCarriesTheAck) {
    proves("E2");
    peer.connects();
    app.on_data = [](tcp::Stack& stack, tcp::ConnId conn, Instant) {
        EXPECT_TRUE(stack.send_copy(conn, std::as_bytes(std::span(std::string_view("pong")))));
    };
    peer.sends({.flags = ack | psh, .text = "ping"});
    peer.expects({.flags = ack, .seq = 1, .ack = 5, .text = "pong"});
    time.passes(100ms);  // less than the RTO
    peer.expects_nothing();
    peer.sends({.flags = ack | psh, .text = "ping"});
    peer.expects({.flags = ack, .seq = 5, .ack = 9, .text = "pong"});
    peer.sends({.flags = ack});
    time.passes(10s);
    peer.expects_nothing();
    EXPECT_EQ(app.received(), "pingping");
}

TEST_F(Data, LaterAnswerCarriesTheDelayedAck) {
    proves("E2");
    peer.connects();
    peer.sends({.flags = ack | psh, .text = "ping"});
    time.passes(20ms);
    app.sends("pong");
    peer.expects({.flags = ack, .seq = 1, .ack = 5, .text = "pong"});
    peer.sends({.flags = ack});
    time.passes(10s);
    peer.expects_nothing();
}

TEST_F(Data, BurstIsProcessedWholeBeforeOneAckLeaves) {
    proves("MUST-58 MUST-59");
    peer.connects();
    peer.sends_burst({{.bytes = 1460}, {.bytes = 1460}, {.bytes = 1460}, {.bytes = 1460}});
    peer.expects({.flags = ack, .ack = 1 + 4 * 1460});
    peer.expects_nothing();
    peer.sends_burst({{.bytes = 1460}, {.bytes = 1460}, {.flags = fin | ack, .bytes = 100}});
    peer.expects({.flags = ack, .ack = 1 + 6 * 1460 + 101});
    peer.expects_nothing();
    EXPECT_TRUE(same(app.received(), pattern(0, 6 * 1460 + 100)));
}

TEST_F(Data, PushAndUrgentDoNotChangeTheStream) {
    peer.connects();
    peer.sends({.flags = ack, .text = "one "});
    peer.sends({.flags = ack | psh, .text = "two "});
    peer.sends({.flags = ack | psh | urg, .text = "three"});
    EXPECT_EQ(app.received(), "one two three");
    time.passes(50ms);
    peer.forgets();
}

// ---- Sending.
// --------------------------------------------------------------------------------------------------------

TEST_F(Data, SentDataStaysUntilItIsAcknowledged) {
    peer.connects();
    EXPECT_TRUE(app.sends("hello"));
    EXPECT_TRUE(app.sends_pattern(3));
    peer.expects({.flags = ack, .seq = 1, .ack = 1, .text = "hello"});
    peer.expects({.flags = ack, .seq = 6, .text = pattern(0, 3)});
    EXPECT_EQ(world.stack().unacknowledged(app.conn()), 8u);
    EXPECT_EQ(world.stack().pool_use().pins, 1u);
    peer.sends({.flags = ack, .ack = 4});
    EXPECT_EQ(world.stack().unacknowledged(app.conn()), 5u);
    peer.sends({.flags = ack, .ack = 8});
    EXPECT_EQ(world.stack().unacknowledged(app.conn()), 1u);
    EXPECT_EQ(world.stack().pool_use().pins, 1u);
    peer.sends({.flags = ack, .ack = 9});
    EXPECT_EQ(world.stack().unacknowledged(app.conn()), 0u);
    EXPECT_EQ(world.stack().pool_use().pins, 0u);
    EXPECT_EQ(world.stack().pool_use().chunks, 0u);
    time.passes(1min);
    peer.expects_nothing();
}

TEST_F(Data, SegmentsAreFullAndTheLastOneIsPushed) {
    proves("MUST-61 SHLD-28");
    peer.connects();
    app.sends_pattern(4'000);
    peer.expects({.flags = ack, .seq = 1, .bytes = 1460, .push = false});
    peer.expects({.flags = ack, .seq = 1461, .bytes = 1460, .push = false});
    peer.expects({.flags = ack, .seq = 2921, .bytes = 1080, .push = true});
    peer.expects_nothing();
    EXPECT_TRUE(same(peer.stream(), pattern(0, 4'000)));
}

TEST_F(Data, PiecesOfOneSendShareSegments) {
    proves("SHLD-28");
    peer.connects();
    static const std::string head = "HTTP/1.1 200 OK\r\n\r\n", body = pattern(0, 1'500);
    app.does("application sends head and body", [](tcp::Stack& stack, tcp::ConnId conn, Instant) {
        const tcp::Pinned pieces[] = {{std::as_bytes(std::span(head)), 0}, {std::as_bytes(std::span(body)), 0}};
        EXPECT_TRUE(stack.send(conn, pieces));
    });
    peer.expects({.flags = ack, .seq = 1, .bytes = 1460, .push = false});
    peer.expects({.flags = ack, .seq = 1461, .bytes = 59, .push = true});
    EXPECT_EQ(peer.stream(), head + body);
}

TEST_F(Data, SegmentSizeFollowsThePeersMssAndTheMtu) {
    proves("H2 MUST-14 MUST-16");
    struct Case {
        uint16_t mtu, peer_mss;
        bool ts;
        size_t size;
    };
    for (const Case& c : {Case{1500, 1460, false, 1460}, Case{1500, 1000, false, 1000}, Case{1500, 8960, false, 1460},
                          Case{1500, 1460, true, 1448}, Case{1500, 536, true, 524}, Case{1500, 9000, true, 1448},
                          Case{9000, 8960, false, 8960}, Case{9000, 1460, true, 1448}, Case{576, 1460, false, 536}}) {
        SCOPED_TRACE(std::to_string(c.mtu) + " " + std::to_string(c.peer_mss));
        starts_with(settings_with([&](auto& s) { s.mtu = mtu_like(c.mtu); }));
        peer.connects({.mss = c.peer_mss, .ts = c.ts});
        app.sends_pattern(c.size + 10);
        peer.expects({.flags = ack, .seq = 1, .bytes = c.size});
        peer.expects({.flags = ack, .bytes = 10});
    }
}

TEST_F(Data, OptionsOfEverySegmentAreTakenOffItsPayload) {
    // Whatever options a segment carries (timestamps, SACK blocks for what came out of order), it fits the MTU: the
    // Host checks it on every packet.
    proves("H2 MUST-16");
    peer.connects({.ws = 7, .sack_ok = true, .ts = true});
    for (int64_t i = 1; i <= 4; ++i) {
        peer.sends({.flags = ack, .seq = i * 1'000, .bytes = 500});
        peer.forgets();
    }
    app.sends_pattern(10'000);
    EXPECT_GE(peer.takes_all().size(), 7u);
    EXPECT_TRUE(same(peer.stream(), pattern(0, 10'000)));
    peer.sends({.flags = ack});
    peer.forgets();
}

TEST_F(Data, PeerWithoutMssGetsTheDefaultOfItsFamily) {
    proves("H2 MUST-15");
    const size_t size = by_family<size_t>(536, 1'220);
    peer.connects({.mss = std::nullopt});
    app.sends_pattern(size + 464);
    peer.expects({.flags = ack, .seq = 1, .bytes = size});
    peer.expects({.flags = ack, .seq = static_cast<int64_t>(size) + 1, .bytes = 464});
}

TEST_F(Data, AbsurdMssOfThePeerCountsAs48) {
    for (const uint16_t mss : {uint16_t{0}, uint16_t{1}, uint16_t{10}, uint16_t{47}, uint16_t{48}}) {
        for (const bool ts : {false, true}) {
            SCOPED_TRACE(mss);
            starts_with(small_settings());
            peer.connects({.mss = mss, .ts = ts});
            app.sends_pattern(200);
            const size_t size = ts ? 36 : 48;
            for (int64_t got = 0; got < 200;) {
                const auto all = peer.takes_all();
                ASSERT_FALSE(all.empty());
                for (const Heard& h : all) {
                    EXPECT_LE(h.bytes(), size);
                    EXPECT_GT(h.bytes(), 0u);
                    got = h.end() - 1;
                }
                peer.sends({.flags = ack});
            }
            EXPECT_TRUE(same(peer.stream(), pattern(0, 200)));
        }
    }
}

TEST_F(Data, AnnouncedMssIsTheMtuLessTheFixedHeaders) {
    proves("H1 MUST-67 MUST-14");
    struct Case {
        uint16_t mtu, mss;
    };
    const std::vector<Case> ipv4{{72, 32}, {576, 536}, {1280, 1240}, {1500, 1460}, {9000, 8960}, {65'535, 65'495}};
    // RFC 8200 section 5: no link has less than 1280.
    const std::vector<Case> ipv6{{1280, 1220}, {1500, 1440}, {9000, 8940}, {65'535, 65'475}};
    for (const auto& [mtu, mss] : by_family(ipv4, ipv6)) {
        SCOPED_TRACE(mtu);
        starts_with(settings_with([m = mtu](auto& s) { s.mtu = m; }));
        for (const bool ts : {false, true}) {
            const auto value = ts ? std::optional(tcp::Timestamps{1, 0}) : std::nullopt;
            peer.starts_over(Peer::default_isn);
            peer.sends({.flags = syn, .mss = 1460, .ts = value});
            peer.expects({.flags = syn | ack, .mss = mss, .has_ts = ts});
            peer.sends({.flags = rst, .seq = 1});
        }
    }
    starts_with(settings_with([](auto& s) { s.max_mss = 1'200; }));
    peer.sends({.flags = syn, .mss = 1460});
    peer.expects({.flags = syn | ack, .mss = 1'200});
}

TEST_F(Data, DeadConnectionIsANoOp) {
    peer.connects();
    app.sends("x");
    peer.expects({.text = "x"});
    peer.sends({.flags = rst, .seq = 1});
    const tcp::ConnId dead = app.conn();
    EXPECT_FALSE(world.stack().is_open(dead));
    EXPECT_FALSE(app.sends("more"));
    EXPECT_FALSE(app.sends_pattern(10));
    EXPECT_TRUE(world.stack().unread(dead).empty());
    EXPECT_EQ(world.stack().unacknowledged(dead), 0u);
    app.shuts_down();
    app.closes();
    app.aborts();
    world.stack().set_deadline(dead, world.now() + 1s);
    time.passes(2s);
    peer.expects_nothing();
    expects_all_returned();
    // The place is used again: the old name must not reach the new connection.
    Peer other(world, {peer_endpoint.address, 41'000});
    other.connects();
    EXPECT_NE(app.conn(), dead);
    world.stack().abort(dead, world.now());
    world.stack().close(dead, world.now());
    time.passes(10ms);
    EXPECT_EQ(other.state(), State::established);
}

TEST_F(Data, DeadlineOfTheApplicationIsRaisedOnceAtItsTime) {
    peer.connects();
    app.takes_events();
    const Instant start = world.now();
    world.stack().set_deadline(app.conn(), start + 5s);
    world.stack().set_deadline(app.conn(), start + 250ms);  // earlier
    Events got;
    ASSERT_TRUE(world.passes_until([&] { return !(got = app.takes_events()).empty(); }, 10s));
    EXPECT_EQ(got, Events{Kind::deadline});
    EXPECT_TRUE(about(world.now() - start, 250ms));
    time.passes(10s);
    EXPECT_EQ(app.takes_events(), Events{});
    world.stack().set_deadline(app.conn(), world.now() + 100ms);
    world.stack().set_deadline(app.conn(), world.now() + 3s);  // later
    time.passes(2s);
    EXPECT_EQ(app.takes_events(), Events{});
    time.passes(1s + 2ms);
    EXPECT_EQ(app.takes_events(), Events{Kind::deadline});
    world.stack().set_deadline(app.conn(), world.now() + 1s);
    world.stack().clear_deadline(app.conn());
    time.passes(2s);
    EXPECT_EQ(app.takes_events(), Events{});
}

}  // namespace
}  // namespace pollux::test
