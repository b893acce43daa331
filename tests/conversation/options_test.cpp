// Timestamps and the other options in conversation (RFC 7323; RFC 9293 section 3.1).
#include "tests/support/states.hpp"

namespace pollux::test {
namespace {

using Options = InEveryState;

TEST_F(Options, TimestampsAreOnEverySegmentOnceBothSynsHadThem) {
    proves("I1");
    peer.connects({.ts = true});
    EXPECT_TRUE(world.info().timestamps);
    peer.sends({.flags = ack, .text = "ping"});
    time.passes(50ms);
    peer.expects({.flags = ack, .ack = 5, .has_ts = true});
    app.sends("pong");
    peer.expects({.flags = ack, .text = "pong", .has_ts = true});
    peer.waits();
    peer.expects({.flags = ack, .text = "pong", .has_ts = true});  // retransmission
    peer.sends({.flags = ack});
    peer.sends({.flags = ack, .seq = 100, .text = "later"});
    peer.expects({.flags = ack, .ack = 5, .has_ts = true});  // duplicate ACK
    peer.sends({.flags = rst, .seq = 50});
    peer.expects({.flags = ack, .ack = 5, .has_ts = true});  // challenge ACK
    app.shuts_down();
    peer.expects({.flags = fin | ack, .has_ts = true});
    peer.sends({.flags = ack});
    peer.sends({.flags = fin | ack, .seq = 5});
    peer.expects({.flags = ack, .has_ts = true});
}

TEST_F(Options, TimestampsAreOnNoSegmentUnlessBothSynsHadThem) {
    proves("I1");
    for (const bool offered : {false, true}) {
        SCOPED_TRACE(offered ? "offered but off by setting" : "not offered");
        starts_with(settings_with([&](auto& s) { s.timestamps = !offered; }));
        const auto value = offered ? std::optional(tcp::Timestamps{peer.ts_now(), 0}) : std::nullopt;
        peer.sends({.flags = syn, .mss = 1460, .ts = value});
        peer.expects({.flags = syn | ack, .has_ts = false});
        peer.sends({.flags = ack});
        // Not agreed: whatever stands in the option later means nothing.
        EXPECT_EQ(peer.sends({.flags = ack, .text = "ping", .ts = tcp::Timestamps{5, 5}}), Verdict::delivered);
        EXPECT_EQ(peer.sends({.flags = ack, .text = "ping", .ts = tcp::Timestamps{1, 5}}), Verdict::delivered);
        EXPECT_EQ(app.takes(), "pingping");
        time.passes(50ms);
        for (const Heard& h : peer.takes_all()) EXPECT_FALSE(h.segment.has(tcp::Present::timestamps));
        app.sends("pong");
        peer.expects({.flags = ack, .text = "pong", .has_ts = false});
        app.shuts_down();
        peer.expects({.flags = fin | ack, .has_ts = false});
    }
}

TEST_F(Options, TimestampValueIsFreshOnFinAndResetAlsoAfterIdle) {
    proves("I1");
    for (const bool abort : {false, true}) {
        SCOPED_TRACE(abort ? "RST" : "FIN");
        starts_with(small_settings());
        peer.connects({.ts = true});
        app.sends("x");
        const Heard before = peer.expects({.text = "x", .has_ts = true});
        peer.sends({.flags = ack});
        for (const Duration idle : {Duration{1s}, Duration{30min}}) time.passes(idle);
        if (abort)
            app.aborts();
        else
            app.shuts_down();
        const Heard h = peer.expects({.has_ts = true});
        EXPECT_TRUE(h.has(abort ? rst : fin));
        const auto passed = static_cast<uint32_t>((h.at - before.at).count() / 1000);
        EXPECT_NEAR(h.segment.timestamps.value - before.segment.timestamps.value, passed, 1);
    }
}

TEST_F(Options, TimestampClockRunsInMillisecondsAndStartsElsewhereForEachTuple) {
    proves("I1");
    Peer other(world, {peer_endpoint.address, 41'000});
    peer.connects({.ts = true});
    other.connects({.ts = true});
    const auto value_of = [&](Peer& p) {
        p.sends({.flags = ack, .seq = 0, .text = "x"});  // an old byte, answered at once
        return p.takes_all().at(0).segment.timestamps.value;
    };
    const uint32_t first = value_of(peer), first_of_other = value_of(other);
    EXPECT_GT(std::abs(static_cast<int32_t>(first - first_of_other)), 100'000);
    time.passes(2'500ms);
    EXPECT_EQ(value_of(peer) - first, 2'500u);
    EXPECT_EQ(value_of(other) - first_of_other, 2'500u);
    time.passes(3h);
    EXPECT_EQ(value_of(peer) - first, 2'500u + 3 * 3'600'000u);
}

TEST_F(Options, EchoIsOfTheSegmentAtTheLeftEdge) {
    proves("I2");
    peer.connects({.ts = true});
    // With a delayed ACK: the first segment that it acknowledges.
    const uint32_t first = peer.ts_now();
    peer.sends({.flags = ack, .bytes = 1'448});
    time.passes(10ms);
    peer.sends({.flags = ack, .bytes = 1'448});
    peer.expects({.flags = ack, .ack = 2'897, .ts_echo = first});
    // Out of order: the last segment that was in order.
    const uint32_t in_order = peer.ts_now();
    peer.sends({.flags = ack, .text = "x"});
    time.passes(50ms);
    peer.expects({.flags = ack, .ts_echo = in_order});
    peer.sends({.flags = ack, .seq = peer.nxt + 10, .text = "later"});
    peer.expects({.flags = ack, .ts_echo = in_order});
    // The segment that fills the gap.
    time.passes(20ms);
    const uint32_t filling = peer.ts_now();
    peer.sends({.flags = ack, .seq = 2'898, .bytes = 10});
    peer.expects({.flags = ack, .ack = 2'913, .ts_echo = filling});
}

TEST_F(Options, OlderTimestampIsDroppedAndAcknowledged) {
    proves("I4");
    peer.connects({.ts = true});
    time.passes(1s);
    peer.sends({.flags = ack, .text = "new"});
    const uint32_t recent = peer.ts_now();
    time.passes(50ms);
    peer.expects({.flags = ack, .ack = 4});
    EXPECT_EQ(peer.sends({.flags = ack, .text = "old", .ts = tcp::Timestamps{recent - 100, 0}}), Verdict::paws);
    peer.nxt = 4;
    peer.expects({.flags = ack, .seq = 1, .ack = 4, .ts_echo = recent});
    EXPECT_EQ(app.takes(), "new");
    // A reset is not subject to the test.
    EXPECT_EQ(peer.sends({.flags = rst, .seq = 4, .ts = tcp::Timestamps{recent - 100, 0}}), Verdict::reset_by_peer);
    EXPECT_EQ(peer.state(), State::closed);
}

TEST_F(Options, TimestampOlderThan24IdleDaysProvesNothing) {
    proves("I4");
    peer.connects({.ts = true});
    const uint32_t value = peer.ts_now();
    time.passes(std::chrono::hours(24 * 25));
    EXPECT_EQ(peer.sends({.flags = ack, .text = "awake", .ts = tcp::Timestamps{value - 1, 0}}), Verdict::delivered);
    EXPECT_EQ(app.received(), "awake");
    time.passes(50ms);
    peer.forgets();
}

TEST_F(Options, SegmentWithoutTimestampsOnATimestampConnectionIsDropped) {
    proves("I5");
    peer.connects({.ts = true});
    EXPECT_EQ(peer.sends({.flags = ack, .text = "bare", .no_ts = true}), Verdict::missing_timestamp);
    EXPECT_EQ(app.received(), "");
    peer.nxt = 1;
    EXPECT_EQ(peer.sends({.flags = rst, .seq = 1, .no_ts = true}), Verdict::reset_by_peer);
}

TEST_F(Options, TimestampOfADroppedSegmentIsNotRemembered) {
    proves("I3");
    peer.connects({.ts = true});
    time.passes(1s);
    const uint32_t before = peer.ts_now() - 1'000;  // of the handshake
    peer.sends({.flags = ack, .seq = peer.edge() + 10, .text = "outside", .ts = tcp::Timestamps{peer.ts_now(), 0}});
    peer.nxt = 1;
    peer.expects({.flags = ack, .ack = 1, .ts_echo = before});
    peer.sends({.flags = ack, .ack = 100, .text = "acknowledges too much"});
    peer.nxt = 1;
    peer.expects({.flags = ack, .ack = 1, .ts_echo = before});
}

TEST_F(Options, UnknownOptionsAreSkippedAndNeedNoAlignment) {
    proves("E12 MUST-5 MUST-6 MUST-64");
    peer.connects();
    // 12 bytes of options, written by hand into a segment that had timestamps.
    struct Case {
        const char* what;
        std::array<uint8_t, 12> bytes;
    };
    for (const Case& c : {Case{"unknown kind", {253, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
                          Case{"odd lengths", {200, 3, 9, 1, 201, 5, 1, 1, 1, 1, 1, 1}},
                          Case{"end of list, then noise", {1, 0, 99, 0, 99, 0, 2, 1, 77, 77, 0, 1}},
                          Case{"only NOPs", {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
                          Case{"MSS outside a SYN", {2, 4, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1}}}) {
        SCOPED_TRACE(c.what);
        Packet packet = peer.packet_of({.flags = ack, .text = "data", .ts = tcp::Timestamps{1, 2}});
        const size_t tcp_at = ip_header_size(), options_at = tcp_at + 20;
        uint64_t sum = 0;
        for (size_t i = 0; i < c.bytes.size(); ++i) packet[options_at + i] = std::byte{c.bytes[i]};
        packet[tcp_at + 16] = packet[tcp_at + 17] = std::byte{0};
        for (size_t i = tcp_at; i < packet.size(); ++i) sum += uint64_t(packet[i]) << (i % 2 ? 0 : 8);
        for (size_t i = by_family(12, 8); i < tcp_at; ++i) sum += uint64_t(packet[i]) << (i % 2 ? 0 : 8);
        sum += 6 + packet.size() - tcp_at;
        while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
        packet[tcp_at + 16] = static_cast<std::byte>(~sum >> 8);
        packet[tcp_at + 17] = static_cast<std::byte>(~sum);
        peer.sends_packet(packet);
        EXPECT_EQ(world.host().last_parse(), tcp::wire::ParseResult::ok);
        EXPECT_EQ(app.takes(), "data");
    }
    time.passes(50ms);
    peer.forgets();
    app.sends_pattern(2'000);
    EXPECT_EQ(peer.takes_all().at(0).bytes(), 1'460u);  // MSS counts on SYNs only
}

}  // namespace
}  // namespace pollux::test
