// What the receiver owes its peer beyond plain delivery: a closed window that still hears, SACK blocks in their
// order, odd retransmissions (RFC 9293 sections 3.8.6 and 3.10.7.4, RFC 2018, RFC 7323 section 5).
#include "tests/support/conversation.hpp"

namespace pollux::test {
namespace {

class Receiving : public Conversation {
protected:
    using Block = std::pair<int64_t, int64_t>;
    /// The SACK blocks of a segment, relative as everything else.
    std::vector<Block> blocks(const Heard& h) const {
        std::vector<Block> all;
        for (const tcp::SackBlock& b : h.segment.sack()) all.emplace_back(b.first - peer.isn(), b.end - peer.isn());
        return all;
    }
    /// Sends [seq, seq + bytes) and hears the blocks of the answer.
    std::vector<Block> sacked(int64_t seq, size_t bytes) {
        peer.sends({.flags = ack, .seq = seq, .bytes = bytes});
        return blocks(peer.expects({.flags = ack, .seq = 1, .bytes = 0}));
    }
    void fills_the_window(size_t step) {
        while (peer.nxt < peer.edge()) {
            const auto left = static_cast<size_t>(peer.edge() - peer.nxt);
            peer.sends({.flags = ack, .bytes = std::min(step, left)});
        }
        time.passes(50ms);
        EXPECT_EQ(peer.takes_all().back().segment.window, 0u);
    }
    void has_a_closed_window() {
        starts_with(settings_with([](auto& s) { s.receive_buffer = 4'096; }));
        app.consumes = false;
        peer.connects();
        fills_the_window(1'460);
    }
    using Blocks = std::vector<Block>;
};

// ---- A closed window. --------------------------------------------------------------------------------------------

TEST_F(Receiving, AnAckIsProcessedAtAClosedWindow) {
    proves("E11");
    has_a_closed_window();
    app.sends("answer");
    peer.expects({.flags = ack, .seq = 1, .text = "answer"});
    EXPECT_EQ(world.stack().unacknowledged(app.conn()), 6u);
    peer.sends({.flags = ack});
    EXPECT_EQ(world.stack().unacknowledged(app.conn()), 0u);
    peer.expects_nothing();
}

TEST_F(Receiving, AFinIsProcessedAtAClosedWindow) {
    proves("E11");
    has_a_closed_window();
    const int64_t full = peer.nxt;
    peer.sends({.flags = fin | ack});
    peer.expects({.flags = ack, .ack = full + 1});
    EXPECT_EQ(peer.state(), State::close_wait);
    app.reads(4'096);
    EXPECT_TRUE(same(app.received(), pattern(0, static_cast<size_t>(full - 1))));
    peer.forgets();
}

TEST_F(Receiving, ARstIsProcessedAtAClosedWindow) {
    proves("E11");
    has_a_closed_window();
    peer.sends({.flags = rst});
    peer.expects_nothing();
    EXPECT_EQ(peer.state(), State::closed);
    EXPECT_EQ(app.takes_events().back(), Kind::reset);
    expects_all_returned();
}

// The size of a buffer does not change while the stack runs; what may run short is the memory behind it.
TEST_F(Receiving, TinySegmentsCloseTheWindowAndReadingOpensIt) {
    proves("X10");
    starts_with(settings_with([](auto& s) { s.receive_buffer = 4'096; }));
    app.consumes = false;
    peer.connects();
    for (int round = 0; round < 3; ++round) {
        fills_the_window(1);  // the Peer watches that the right edge does not move left
        const int64_t full = peer.nxt;
        app.reads(8'192);
        const Heard update = peer.expects({.flags = ack, .ack = full});
        EXPECT_GE(update.segment.window, 1'460u);
    }
    EXPECT_TRUE(same(app.received(), pattern(0, static_cast<size_t>(peer.nxt - 1))));
}

// ---- Odd retransmissions.
// ------------------------------------------------------------------------------------------

TEST_F(Receiving, OneSegmentOutOfOrderAHundredTimesIsKeptOnce) {
    proves("X15");
    peer.connects();
    uint32_t chunks = 0;
    for (int i = 0; i < 100; ++i) {
        peer.sends({.flags = ack, .seq = 201, .bytes = 100});
        peer.expects({.flags = ack, .seq = 1, .ack = 1, .bytes = 0});
        peer.expects_nothing();
        if (i == 0) chunks = world.stack().pool_use().chunks;
        EXPECT_EQ(world.stack().pool_use().chunks, chunks);
    }
    peer.sends({.flags = ack, .seq = 1, .bytes = 100});
    peer.expects({.flags = ack, .ack = 101});
    peer.sends({.flags = ack, .seq = 101, .bytes = 100});
    peer.expects({.flags = ack, .ack = 301});
    peer.expects_nothing();
    EXPECT_TRUE(same(app.received(), pattern(0, 300)));
    EXPECT_EQ(world.stack().pool_use().chunks, 0u);
    EXPECT_EQ(world.stack().pool_use().receive_stores, 0u);
}

TEST_F(Receiving, ARetransmissionThatHasGrownATailAndAFinIsTaken) {
    proves("X16");
    peer.connects();
    peer.sends({.flags = ack, .text = "abcde"});
    time.passes(50ms);
    peer.expects({.flags = ack, .ack = 6});
    peer.sends({.flags = fin | ack, .seq = 1, .text = "abcdefgh"});
    peer.expects({.flags = ack, .ack = 10});
    EXPECT_EQ(app.received(), "abcdefgh");
    EXPECT_EQ(peer.state(), State::close_wait);
    EXPECT_EQ(app.takes_events().back(), Kind::peer_closed);
}

TEST_F(Receiving, AnOldTimestampIsNotDeliveredAndDrawsTheNewestEcho) {
    proves("X5");
    peer.connects({.ts = true});
    time.passes(1s);
    const uint32_t newest = peer.ts_now();
    peer.sends({.flags = ack, .seq = 1, .text = "one"});
    time.passes(50ms);
    peer.expects({.flags = ack, .ack = 4, .ts_echo = newest});
    EXPECT_EQ(peer.sends({.flags = ack, .seq = 4, .text = "old", .ts = tcp::Timestamps{newest - 100, 0}}),
              Verdict::paws);
    peer.expects({.flags = ack, .seq = 1, .ack = 4, .bytes = 0, .ts_echo = newest});
    EXPECT_EQ(app.received(), "one");
    peer.sends({.flags = ack, .seq = 4, .text = "new"});
    EXPECT_EQ(app.received(), "onenew");
    time.passes(50ms);
    peer.expects({.flags = ack, .ack = 7});
}

// ---- SACK blocks.
// --------------------------------------------------------------------------------------------------

TEST_F(Receiving, SackBlocksNeedBothSyns) {
    proves("J1");
    for (const bool ours : {true, false}) {
        for (const bool theirs : {true, false}) {
            SCOPED_TRACE(testing::Message() << "ours " << ours << ", theirs " << theirs);
            starts_with(settings_with([&](auto& s) { s.sack = ours; }));
            peer.sends({.flags = syn, .mss = 1460, .sack_ok = theirs});
            peer.expects({.flags = syn | ack, .sack_ok = ours && theirs});
            peer.sends({.flags = ack});
            EXPECT_EQ(sacked(101, 50), ours && theirs ? Blocks({{101, 151}}) : Blocks{});
        }
    }
}

TEST_F(Receiving, TheNewestBlockComesFirst) {
    proves("J2");
    for (const bool timestamps : {false, true}) {
        SCOPED_TRACE(timestamps);
        starts_with(small_settings());
        peer.connects({.sack_ok = true, .ts = timestamps});
        const auto most = [&](Blocks all) {
            if (timestamps && all.size() > 3) all.resize(3);  // what the options have room for
            return all;
        };
        EXPECT_EQ(sacked(301, 50), Blocks({{301, 351}}));
        EXPECT_EQ(sacked(101, 50), Blocks({{101, 151}, {301, 351}}));
        EXPECT_EQ(sacked(501, 50), Blocks({{501, 551}, {101, 151}, {301, 351}}));
        EXPECT_EQ(sacked(701, 50), most({{701, 751}, {501, 551}, {101, 151}, {301, 351}}));
        EXPECT_EQ(sacked(901, 50), most({{901, 951}, {701, 751}, {501, 551}, {101, 151}}));
        // The block that holds the newest segment, wherever that stands in it; touching blocks are one.
        EXPECT_EQ(sacked(151, 50), most({{101, 201}, {901, 951}, {701, 751}, {501, 551}}));
        EXPECT_EQ(sacked(551, 150), most({{501, 751}, {101, 201}, {901, 951}, {301, 351}}));
        // What is acknowledged is no block any more.
        EXPECT_EQ(sacked(1, 100), most({{501, 751}, {901, 951}, {301, 351}}));
        EXPECT_EQ(sacked(201, 100), Blocks({{501, 751}, {901, 951}}));
        EXPECT_EQ(sacked(351, 150), Blocks({{901, 951}}));
        EXPECT_EQ(sacked(751, 150), Blocks{});
        EXPECT_TRUE(same(app.takes(), pattern(0, 950)));
    }
}

TEST_F(Receiving, SackBlocksHoldJustBeforeTheWrap) {
    proves("X14");
    peer.starts_over(tcp::SeqNum{0xffff'fffb});  // RCV.NXT is 4 before 2^32
    peer.connects({.sack_ok = true});
    EXPECT_EQ(sacked(3, 1), Blocks({{3, 4}}));          // before the wrap
    EXPECT_EQ(sacked(7, 2), Blocks({{7, 9}, {3, 4}}));  // behind it
    EXPECT_EQ(sacked(4, 2), Blocks({{3, 6}, {7, 9}}));  // across it
    EXPECT_EQ(sacked(11, 5), Blocks({{11, 16}, {3, 6}, {7, 9}}));
    EXPECT_EQ(sacked(6, 1), Blocks({{3, 9}, {11, 16}}));
    EXPECT_EQ(sacked(1, 2), Blocks({{11, 16}}));
    EXPECT_EQ(sacked(9, 2), Blocks{});
    EXPECT_TRUE(same(app.received(), pattern(0, 15)));
}

}  // namespace
}  // namespace pollux::test
