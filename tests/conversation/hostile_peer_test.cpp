// Peers that lie, or that are merely unlucky: each conversation is the smallest that shows a fault which the stack
// once had.
#include <memory>
#include <vector>

#include "tests/support/states.hpp"

namespace pollux::test {
namespace {

class HostilePeer : public InEveryState {};

TEST_F(HostilePeer, OvertakenDataSurvivesTheSegmentThatCompletedTheHandshake) {
    // ACK lost, the second data segment first: its timestamp must not make the first one look old.
    peer.sends({.flags = syn, .mss = 1460, .ts = tcp::Timestamps{1'000, 0}});
    const Heard syn_ack = peer.expects({.flags = syn | ack, .has_ts = true});
    const uint32_t echo = syn_ack.segment.timestamps.value;
    peer.sends({.flags = ack, .seq = 6, .ack = 1, .text = "world", .ts = tcp::Timestamps{1'002, echo}});
    peer.sends({.flags = ack, .seq = 1, .ack = 1, .text = "hello", .ts = tcp::Timestamps{1'001, echo}});
    EXPECT_EQ(app.received(), "helloworld");
    peer.forgets();
}

TEST_F(HostilePeer, AClosedConnectionDoesNotLiveOnAnsweredProbes) {
    starts_with(settings_with([](auto& s) { s.orphan_retries = 4; }));
    peer.connects();
    peer.sends({.flags = ack, .win = 0});
    app.sends("never to be taken");
    app.closes();
    for (int probe = 0; probe < 10 && peer.state() != State::closed; ++probe) {
        if (!time.passes_until([&] { return !peer.heard_nothing() || peer.state() == State::closed; }, 200s)) break;
        peer.forgets();
        peer.sends({.flags = ack, .ack = 1, .win = 0});
        peer.forgets();
    }
    EXPECT_EQ(peer.state(), State::closed);
    peer.forgets();
    expects_all_returned();
}

TEST_F(HostilePeer, AcksOfDataStayInOrderWhileAProbeIsRefused) {
    // The peer's window is closed: it takes only what begins at its RCV.NXT, an ACK as well.
    peer.connects();
    peer.sends({.flags = ack, .win = 0});
    app.sends("x");
    peer.waits();
    peer.forgets();  // the probe, refused
    peer.sends({.flags = ack, .ack = 1, .win = 0, .text = "data from a peer that reads later"});
    time.passes(50ms);
    const Heard acknowledged = peer.expects({.flags = ack, .seq = 1, .bytes = 0});
    EXPECT_GT(acknowledged.ack, 1);
    peer.forgets();
}

TEST_F(HostilePeer, SpoofedDuplicateAcksDoNotInflateTheWindow) {
    peer.connects();
    app.sends_pattern(100'000);
    peer.forgets();
    for (int i = 0; i < 1'000; ++i) peer.sends({.flags = ack, .ack = 1});
    // RFC 5681 section 3.2: at most what was outstanding can have left the network.
    // It was the initial window and the two segments of limited transmit.
    EXPECT_LE(world.info().cwnd, world.info().ssthresh + 3 * 1'460u + 13 * 1'460u);
    peer.forgets();
}

TEST_F(HostilePeer, EverySegmentOutOfOrderEarnsAnAckWithoutSack) {
    peer.connects();
    peer.sends_burst({{.flags = ack, .seq = 101, .bytes = 10},
                      {.flags = ack, .seq = 201, .bytes = 10},
                      {.flags = ack, .seq = 301, .bytes = 10}});
    for (const Heard& h : peer.expects_exactly(3)) EXPECT_EQ(h.ack, 1);
}

TEST_F(HostilePeer, OneAckTellsOfAllRangesWithSack) {
    peer.connects({.sack_ok = true});
    peer.sends_burst({{.flags = ack, .seq = 101, .bytes = 10},
                      {.flags = ack, .seq = 301, .bytes = 10},
                      {.flags = ack, .seq = 201, .bytes = 10}});
    const Heard h = peer.expects({.flags = ack, .ack = 1});
    peer.expects_nothing();
    ASSERT_EQ(h.segment.sack_count, 3);
    // RFC 2018 section 4: the range that grew last comes first.
    const uint32_t base = Peer::default_isn.raw();
    EXPECT_EQ(h.segment.sack_blocks[0], (tcp::SackBlock{tcp::SeqNum{base + 201}, tcp::SeqNum{base + 211}}));
    EXPECT_EQ(h.segment.sack_blocks[1], (tcp::SackBlock{tcp::SeqNum{base + 301}, tcp::SeqNum{base + 311}}));
    EXPECT_EQ(h.segment.sack_blocks[2], (tcp::SackBlock{tcp::SeqNum{base + 101}, tcp::SeqNum{base + 111}}));
}

TEST_F(HostilePeer, TimeWaitOutlastsANewerSynThatFindsNoRecord) {
    starts_with(settings_with([](auto& s) { s.capacity.half_open = 1; }));
    brings_to(State::time_wait);
    Peer other{world, tcp::Endpoint{peer_endpoint.address, 50'001}};
    other.sends({.flags = syn});
    other.forgets();
    EXPECT_EQ(peer.sends({.flags = syn, .seq = 1'000'000}), Verdict::half_open_full);
    EXPECT_EQ(peer.state(), State::time_wait);
    peer.forgets();
}

TEST_F(HostilePeer, OldTimestampsWithoutDataAreAnsweredWithinALimit) {
    peer.connects({.ts = true});
    peer.forgets();
    time.passes(10s);
    for (int i = 0; i < 100; ++i) peer.sends({.flags = ack, .ts = tcp::Timestamps{1, 0}});
    EXPECT_LE(peer.takes_all().size(), 3u);
}

TEST_F(HostilePeer, ChallengeAcksAreLimitedInEverySecondOfTheDay) {
    peer.connects();
    // The seconds at which a 16-bit count of them begins again, too.
    for (const Duration second : {65'534s, 65'535s, 65'536s, 131'070s, 131'072s}) {
        time.passes(Instant{second} - world.now());
        for (int i = 0; i < 100; ++i) peer.sends({.flags = syn, .seq = 1});
        const size_t answers = peer.takes_all().size();
        EXPECT_GE(answers, 1u) << second.count();
        EXPECT_LE(answers, 3u) << second.count();
    }
}

TEST_F(HostilePeer, SendRefusedByAnEmptyPoolIsPromisedAndTold) {
    starts_with(settings_with([](auto& s) { s.capacity.chunks = 2; }));
    peer.connects();
    const tcp::ConnId first = app.conn();
    ASSERT_TRUE(app.sends(std::string(4'000, 'a')));
    Peer other{world, tcp::Endpoint{peer_endpoint.address, 50'001}};
    other.connects();
    bool sent = false;
    app.on_writable = [&](tcp::Stack& stack, tcp::ConnId conn, Instant) {
        if (conn != first && !sent) sent = stack.send_copy(conn, std::as_bytes(std::span("late", 4)));
    };
    EXPECT_FALSE(app.sends("late"));
    peer.takes_all();
    peer.sends({.flags = ack, .ack = 4'001});
    time.passes(20ms);
    EXPECT_TRUE(sent);
    EXPECT_EQ(other.stream(), "late");
    other.forgets();
    peer.forgets();
}

TEST_F(HostilePeer, ARepeatedSynMakesTheStartCareful) {
    // Whether our SYN-ACK or its answer was lost: IW is one segment (RFC 5681 section 3.1), and nothing is sampled.
    peer.sends({.flags = syn, .mss = 1460});
    peer.sends({.flags = syn, .seq = 0, .mss = 1460});
    peer.forgets();
    peer.nxt = 1;
    peer.sends({.flags = ack, .ack = 1});
    EXPECT_EQ(world.info().cwnd, 1'460u);
    EXPECT_EQ(world.info().srtt, 0us);
}

TEST_F(HostilePeer, DataBeyondItsOwnFinIsForgotten) {
    peer.connects();
    peer.sends({.flags = ack, .seq = 101, .bytes = 50});
    peer.forgets();
    EXPECT_EQ(peer.sends({.flags = fin | ack, .seq = 1}), Verdict::fin);
    peer.expects({.flags = ack, .ack = 2});
    EXPECT_EQ(world.stack().pool_use().receive_stores, 0u);
    EXPECT_EQ(world.stack().pool_use().chunks, 0u);
}

}  // namespace
}  // namespace pollux::test
