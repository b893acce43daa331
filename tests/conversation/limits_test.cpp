// Everything is sized at start, and running out is a named verdict: no allocation, no crash, no leak, and whoever was
// turned away succeeds when there is room again.
#include <memory>
#include <vector>

#include "tests/support/allocations.hpp"
#include "tests/support/conversation.hpp"

namespace pollux::test {
namespace {

class Limits : public Conversation {
protected:
    /// `count` peers on ports from 50000 on.
    void invites(uint16_t count) {
        peers.clear();
        for (uint16_t i = 0; i < count; ++i) {
            const auto port = static_cast<uint16_t>(50'000 + i);
            peers.push_back(std::make_unique<Peer>(world, tcp::Endpoint{peer_endpoint.address, port},
                                                   tcp::SeqNum{0xffff'fff0u + i * 1'000'003u}));
        }
    }
    std::vector<std::unique_ptr<Peer>> peers;
};

TEST_F(Limits, TheMeterSeesAllocations) {
    uint64_t allocated = 0;
    {
        AllocationMeter meter(allocated);
        auto memory = std::make_unique<std::vector<int>>(1'000);
        EXPECT_EQ(memory->size(), 1'000u);
    }
    EXPECT_GE(allocated, 2u);
}

TEST_F(Limits, ThePacketPathAllocatesNothing) {
    // Every Host asserts it in every turn; here is the whole life of a connection, so that nobody has to know that.
    const uint64_t pool = world.stack().memory_bytes();
    for (int i = 0; i < 20; ++i) {
        peer.starts_over(tcp::SeqNum{0xffff'fff0u + static_cast<uint32_t>(i) * 100'000});
        peer.connects({.ws = 7, .sack_ok = true, .ts = true});
        peer.sends({.flags = ack, .seq = 101, .bytes = 100});
        peer.sends({.flags = ack, .seq = 1, .bytes = 100});
        app.sends("an answer");
        peer.forgets();
        peer.waits();
        peer.forgets();
        peer.sends({.flags = fin | ack});
        app.shuts_down();
        peer.forgets();
        peer.sends({.flags = ack});
        EXPECT_EQ(peer.state(), State::closed);
    }
    EXPECT_EQ(world.stack().memory_bytes(), pool);
    expects_all_returned();
}

TEST_F(Limits, FullHalfOpenStoreDropsSynsByName) {
    starts_with(settings_with([](auto& s) {
        s.capacity.half_open = 4;
        s.syn_cookies = tcp::SynCookieMode::never;
    }));
    invites(8);
    size_t answered = 0;
    for (auto& p : peers) {
        const Verdict verdict = p->sends({.flags = syn, .mss = 1460});
        EXPECT_EQ(verdict, p->heard_nothing() ? Verdict::half_open_full : Verdict::syn_answered);
        answered += p->heard_nothing() ? 0 : 1;
    }
    EXPECT_EQ(answered, 4u);
    EXPECT_EQ(world.count(Verdict::half_open_full), 4u);
    EXPECT_EQ(world.stack().pool_use().half_open, 4u);
    // The first completes and gives its record back.
    peers[0]->expects({.flags = syn | ack});
    peers[0]->sends({.flags = ack});
    EXPECT_EQ(peers[0]->state(), State::established);
    peers[7]->sends({.flags = syn, .seq = 0, .mss = 1460});
    peers[7]->expects({.flags = syn | ack});
    peers[7]->sends({.flags = ack});
    EXPECT_EQ(peers[7]->state(), State::established);
    peers[0]->sends({.flags = rst});
    peers[7]->sends({.flags = rst});
    time.passes(2min);
    expects_all_returned();
}

TEST_F(Limits, FullConnectionPoolDropsTheCompletingAckAndRepeatsTheSynAck) {
    proves("N4 X4");
    starts_with(settings_with([](auto& s) { s.capacity.connections = 2; }));
    invites(3);
    peers[0]->connects();
    peers[1]->connects();
    peers[2]->sends({.flags = syn, .mss = 1460});
    peers[2]->expects({.flags = syn | ack});
    EXPECT_EQ(peers[2]->sends({.flags = ack, .text = "request"}), Verdict::table_full);
    peers[2]->expects_nothing();  // above all no reset
    EXPECT_EQ(peers[2]->state(), State::syn_received);
    EXPECT_EQ(app.received(), "");
    EXPECT_LE(peers[2]->waits(), 2s);
    peers[2]->expects({.flags = syn | ack, .seq = 0, .ack = 1});
    EXPECT_EQ(peers[2]->sends({.flags = ack, .seq = 1}), Verdict::table_full);
    // Room: the peer's retransmission completes, and its data is there.
    peers[0]->sends({.flags = rst});
    EXPECT_LE(peers[2]->waits(), 3s);
    peers[2]->expects({.flags = syn | ack, .seq = 0});
    EXPECT_EQ(peers[2]->sends({.flags = ack, .seq = 1, .text = "request"}), Verdict::opened);
    EXPECT_EQ(peers[2]->state(), State::established);
    EXPECT_EQ(app.received(), "request");
    for (auto& p : peers) p->forgets();
    peers[1]->sends({.flags = rst});
    peers[2]->sends({.flags = rst});
    expects_all_returned();
}

TEST_F(Limits, FullTimeWaitStoreRecyclesTheOldest) {
    starts_with(settings_with([](auto& s) { s.capacity.time_wait = 3; }));
    invites(5);
    for (auto& p : peers) {
        p->connects();
        app.closes();
        p->expects({.flags = fin | ack});
        p->sends({.flags = fin | ack});
        p->expects({.flags = ack});
        EXPECT_EQ(p->state(), State::time_wait);
        time.passes(1s);
    }
    EXPECT_EQ(world.stack().pool_use().time_wait, 3u);
    EXPECT_EQ(world.count(Tally::time_wait_recycled), 2u);
    EXPECT_EQ(peers[0]->state(), State::closed);
    EXPECT_EQ(peers[1]->state(), State::closed);
    for (size_t i = 2; i < 5; ++i) EXPECT_EQ(peers[i]->state(), State::time_wait);
    time.passes(2min);
    expects_all_returned();
}

TEST_F(Limits, OutOfOrderDataWithoutAChunkIsDroppedByNameAndTheWindowKeepsItsEdge) {
    starts_with(settings_with([](auto& s) { s.capacity.chunks = 4; }));
    peer.connects();
    bool refused = false;
    for (int64_t i = 1; i < 20; ++i) {
        const Verdict verdict = peer.sends({.flags = ack, .seq = 1 + i * 2'000, .bytes = 1'400});
        EXPECT_TRUE(verdict == Verdict::out_of_order || verdict == Verdict::no_buffer) << verdict;
        refused = refused || verdict == Verdict::no_buffer;
        peer.expects({.flags = ack, .ack = 1});
    }
    EXPECT_TRUE(refused);
    EXPECT_LE(world.stack().pool_use().chunks, 4u);
    // Data in order goes through all the same, and what was refused comes again.
    for (int64_t seq = 1; seq < 41'001; seq += 1'000) peer.sends({.flags = ack, .seq = seq, .bytes = 1'000});
    EXPECT_TRUE(same(app.received(), pattern(0, 41'000)));
    time.passes(50ms);
    peer.forgets();
    peer.sends({.flags = rst});
    expects_all_returned();
}

TEST_F(Limits, UnreadDataWithoutAChunkIsNotAcknowledged) {
    starts_with(settings_with([](auto& s) { s.capacity.chunks = 4; }));
    app.consumes = false;
    peer.connects();
    int64_t acked = 1;
    for (int i = 0; i < 20; ++i) {
        peer.sends({.flags = ack, .seq = acked, .bytes = 1'000});
        time.passes(50ms);
        for (const Heard& h : peer.takes_all()) acked = std::max(acked, h.ack);
    }
    EXPECT_GT(acked, 1);
    EXPECT_LE(acked, 1 + 4 * 2'048);
    EXPECT_GT(world.count(Verdict::no_buffer) + world.count(Tally::unread_bytes_rolled_back), 0u);
    app.reads(100'000);
    EXPECT_TRUE(same(app.takes(), pattern(0, static_cast<size_t>(acked - 1))));
    // With room again, the repetition is taken.
    peer.sends({.flags = ack, .seq = acked, .text = "again"});
    app.reads(100);
    EXPECT_EQ(app.takes(), "again");
    time.passes(50ms);
    peer.forgets();
    peer.nxt = acked + 5;
    peer.sends({.flags = rst, .seq = peer.nxt});
    EXPECT_EQ(peer.state(), State::closed);
    expects_all_returned();
}

// RCV.NXT has passed the segment before the application's turn; what that leaves unread and nothing can keep must not
// be acknowledged.
TEST_F(Limits, UnreadDataThatFindsNoStoreIsGivenBackToThePeer) {
    starts_with(settings_with([](auto& s) { s.capacity.receive_stores = 1; }));
    app.consumes = false;
    invites(2);
    for (auto& p : peers) p->connects();
    peers[0]->sends({.flags = ack, .text = "kept"});
    peers[1]->sends({.flags = ack, .text = "given back"});
    peers[1]->expects({.flags = ack, .seq = 1, .ack = 1});
    EXPECT_EQ(world.count(Tally::unread_bytes_rolled_back), 10u);
    app.consumes = true;
    peers[1]->sends({.flags = ack, .seq = 1, .text = "given back"});
    EXPECT_EQ(app.received(), "given back");
    time.passes(50ms);
    peers[1]->expects({.flags = ack, .ack = 11});
    for (auto& p : peers) {
        p->forgets();
        p->sends({.flags = rst});
    }
    expects_all_returned();
}

TEST_F(Limits, ReceiveStoresRunOutWithoutHarmToData) {
    starts_with(settings_with([](auto& s) { s.capacity.receive_stores = 2; }));
    invites(5);
    for (auto& p : peers) p->connects();
    for (auto& p : peers) {
        p->sends({.flags = ack, .seq = 101, .bytes = 100});
        p->expects({.flags = ack, .ack = 1});
    }
    EXPECT_LE(world.stack().pool_use().receive_stores, 2u);
    std::string all;
    for (auto& p : peers) {
        p->sends({.flags = ack, .seq = 1, .bytes = 100});
        p->sends({.flags = ack, .seq = 101, .bytes = 100});
        all += pattern(0, 200);
    }
    EXPECT_TRUE(same(app.received(), all));
    for (auto& p : peers) {
        p->forgets();
        p->sends({.flags = rst});
    }
    expects_all_returned();
}

TEST_F(Limits, SendWithoutRoomIsRefusedWholeAndPromisesAnEvent) {
    starts_with(settings_with([](auto& s) { s.capacity.chunks = 4; }));
    peer.connects();
    EXPECT_FALSE(app.sends(pattern(0, 100'000)));  // more than there will ever be
    EXPECT_EQ(world.stack().unacknowledged(app.conn()), 0u);
    peer.expects_nothing();
    EXPECT_TRUE(app.sends(pattern(0, 8'000)));
    EXPECT_FALSE(app.sends(pattern(8'000, 2'000)));
    EXPECT_EQ(world.stack().unacknowledged(app.conn()), 8'000u);
    app.takes_events();
    peer.forgets();
    peer.sends({.flags = ack});
    EXPECT_EQ(app.takes_events(), Events{Kind::writable});
    EXPECT_TRUE(app.sends(pattern(8'000, 2'000)));
    peer.forgets();
    EXPECT_TRUE(same(peer.stream(), pattern(0, 10'000)));
    peer.sends({.flags = rst});
    expects_all_returned();
}

TEST_F(Limits, SendEntriesRunOutAndComeBack) {
    starts_with(settings_with([](auto& s) { s.capacity.send_entries = 3; }));
    peer.window = 0;
    peer.connects();
    size_t taken = 0;
    while (taken < 10 && app.sends_pattern(10)) ++taken;
    EXPECT_EQ(taken, 4u);  // one inline, three behind it
    app.takes_events();
    peer.sends({.flags = ack, .win = 65'535});
    peer.forgets();
    peer.sends({.flags = ack, .win = 65'535});
    EXPECT_EQ(app.takes_events(), Events{Kind::writable});
    EXPECT_TRUE(app.sends_pattern(10));
    peer.forgets();
    EXPECT_TRUE(same(peer.stream(), pattern(0, 50)));
    peer.sends({.flags = ack});
    peer.sends({.flags = rst});
    expects_all_returned();
}

TEST_F(Limits, QueueLimitOfOneConnectionIsObeyed) {
    starts_with(settings_with([](auto& s) { s.send_queue_limit = 5'000; }));
    peer.window = 0;
    peer.connects();
    EXPECT_TRUE(app.sends_pattern(5'000));
    EXPECT_FALSE(app.sends_pattern(1));
    EXPECT_EQ(world.stack().unacknowledged(app.conn()), 5'000u);
}

TEST_F(Limits, ReassemblyRangesAreBoundedAndTheStreamStillArrives) {
    starts_with(settings_with([](auto& s) { s.reassembly_ranges = 8; }));
    peer.connects();
    for (int64_t i = 50; i > 0; --i) {
        peer.sends({.flags = ack, .seq = 1 + i * 4, .bytes = 2});
        peer.expects({.flags = ack, .ack = 1});
    }
    EXPECT_LE(world.stack().pool_use().chunks, 9u);
    for (int64_t seq = 1; seq < 301; seq += 10) peer.sends({.flags = ack, .seq = seq, .bytes = 10});
    EXPECT_TRUE(same(app.received(), pattern(0, 300)));
    time.passes(50ms);
    peer.forgets();
    peer.sends({.flags = rst});
    expects_all_returned();
}

TEST_F(Limits, ManyConnectionsThatDieInEveryWayLeaveNothingBehind) {
    invites(60);
    for (int round = 0; round < 5; ++round) {
        for (size_t i = 0; i < peers.size(); ++i) {
            Peer& p = *peers[i];
            p.starts_over(tcp::SeqNum{0xffff'ff00u + static_cast<uint32_t>(round) * 1'000'000});
            p.connects({.ts = i % 2 == 0});
            p.sends({.flags = ack, .text = "request"});
            if (i % 3 == 0) p.sends({.flags = ack, .seq = 1'000, .text = "ahead"}), p.nxt = 8;
            app.sends_pattern(100);
            p.forgets();
            switch (i % 6) {
                case 0: p.sends({.flags = rst}); break;
                case 1: app.aborts(); break;
                case 2:
                    app.closes();
                    p.sends({.flags = fin | ack});
                    break;
                case 3:
                    p.sends({.flags = fin | ack});
                    app.closes();
                    p.sends({.flags = ack});
                    break;
                case 4: app.closes(); break;  // the peer has vanished
                default:
                    app.closes();
                    p.sends({.flags = ack});
                    p.sends({.flags = ack, .text = "too late"});
                    break;
            }
            p.forgets();
        }
        time.passes(1h);
        for (auto& p : peers) {
            EXPECT_EQ(p->state(), State::closed);
            p->forgets();
        }
        expects_all_returned();
        if (HasFailure()) return;
    }
}

}  // namespace
}  // namespace pollux::test
