// Data out of order, twice and overlapping: RFC 9293 section 3.10.7.4 (seventh), RFC 5681 section 4.2.
#include <algorithm>
#include <numeric>
#include <random>

#include "tests/support/conversation.hpp"

namespace pollux::test {
namespace {

using Reassembly = Conversation;

TEST_F(Reassembly, OutOfOrderDataIsAcknowledgedAtOnceAndKept) {
    proves("E3 SHLD-31 MAY-13");
    peer.connects();
    for (int64_t i = 1; i <= 3; ++i) {
        EXPECT_EQ(peer.sends({.flags = ack, .seq = 1 + i * 100, .bytes = 100}), Verdict::out_of_order);
        peer.expects({.flags = ack, .seq = 1, .ack = 1, .bytes = 0});
        peer.expects_nothing();
    }
    EXPECT_EQ(app.received(), "");
    peer.sends({.flags = ack, .seq = 1, .bytes = 100});
    peer.expects({.flags = ack, .seq = 1, .ack = 401});
    EXPECT_TRUE(same(app.received(), pattern(0, 400)));
    EXPECT_EQ(world.stack().pool_use().chunks, 0u);
    EXPECT_EQ(world.stack().pool_use().receive_stores, 0u);
}

TEST_F(Reassembly, SegmentThatFillsPartOfAGapIsAcknowledgedAtOnce) {
    proves("E3");
    peer.connects();
    peer.sends({.flags = ack, .seq = 301, .bytes = 100});
    peer.expects({.flags = ack, .ack = 1});
    peer.sends({.flags = ack, .seq = 1, .bytes = 100});  // the left part of the gap
    peer.expects({.flags = ack, .ack = 101});
    peer.sends({.flags = ack, .seq = 201, .bytes = 100});  // its right part
    peer.expects({.flags = ack, .ack = 101});
    peer.sends({.flags = ack, .seq = 101, .bytes = 100});
    peer.expects({.flags = ack, .ack = 401});
    EXPECT_TRUE(same(app.received(), pattern(0, 400)));
}

// Every order in which five segments can arrive, the FIN on the last of them or alone behind it.
class ArrivalOrders : public Conversation, public testing::WithParamInterface<bool> {};

TEST_P(ArrivalOrders, GiveTheSameStreamAndTheRightAckAtEachStep) {
    proves("E4 E3 SHLD-31");
    const bool fin_alone = GetParam();
    constexpr int64_t sizes[] = {3, 1, 7, 2, 5};
    constexpr int64_t starts[] = {1, 4, 5, 12, 14};
    constexpr int64_t end = 19;
    std::array order{0, 1, 2, 3, 4};
    std::sort(order.begin(), order.end());
    int orders = 0;
    do {
        ++orders;
        // The FIN alone goes ahead of the segment at this place.
        for (int fin_ahead_of = fin_alone ? 0 : 5; fin_ahead_of <= (fin_alone ? 4 : 5); ++fin_ahead_of) {
            std::string trace;
            for (const int i : order) trace += std::to_string(i);
            SCOPED_TRACE(trace + " FIN ahead of " + std::to_string(fin_ahead_of));
            peer.starts_over(Peer::default_isn + static_cast<uint32_t>(orders));  // each crosses the wrap elsewhere
            peer.connects();
            app.takes();
            app.takes_events();
            std::array<bool, 5> here{};
            const auto next = [&] {
                for (size_t i = 0; i < 5; ++i) {
                    if (!here[i]) return starts[i];
                }
                return end + 1;  // with the FIN
            };
            int64_t acked = 1;
            for (int step = 0; step < 5; ++step) {
                if (step == fin_ahead_of) {
                    peer.sends({.flags = fin | ack, .seq = end});
                    peer.expects({.flags = ack, .seq = 1, .ack = next()});
                    acked = next();
                }
                const auto i = static_cast<size_t>(order[static_cast<size_t>(step)]);
                const bool hole = std::ranges::any_of(
                    here, [&](const bool& h) { return h && static_cast<size_t>(&h - here.data()) >= i; });
                const int64_t before = next();
                here[i] = true;
                const bool with_fin = !fin_alone && i == 4;
                peer.sends(
                    {.flags = with_fin ? fin | ack : ack, .seq = starts[i], .bytes = static_cast<size_t>(sizes[i])});
                const bool in_order = starts[i] == before;
                const bool at_once = !in_order || hole || next() > end || (fin_alone && step >= fin_ahead_of);
                // In order without a hole the ACK may wait; if it comes, it says the truth.
                if (at_once || !peer.heard_nothing()) {
                    peer.expects({.flags = ack, .seq = 1, .ack = next(), .bytes = 0});
                    acked = next();
                }
                peer.expects_nothing();
                EXPECT_TRUE(same(app.received(), pattern(0, static_cast<size_t>(std::min(next(), end) - 1))));
            }
            EXPECT_EQ(acked, end + 1);
            EXPECT_EQ(peer.state(), State::close_wait);
            const Events events = app.takes_events();
            EXPECT_EQ(std::ranges::count(events, Kind::peer_closed), 1);
            EXPECT_EQ(events.empty() ? Kind::reset : events.back(), Kind::peer_closed);
            app.aborts();
            peer.expects_reset(1);
            expects_all_returned();
            if (HasFailure()) return;
        }
    } while (std::next_permutation(order.begin(), order.end()));
    EXPECT_EQ(orders, 120);
}

INSTANTIATE_TEST_SUITE_P(Reassembly, ArrivalOrders, testing::Values(false, true), [](const auto& test) {
    return std::string(test.param ? "FinAlone" : "FinOnTheLastSegment");
});

TEST_F(Reassembly, FinAheadOfDataIsRememberedAndActsAfterIt) {
    proves("E4 E8");
    peer.connects();
    peer.sends({.flags = fin | ack, .seq = 11});
    peer.expects({.flags = ack, .ack = 1});
    EXPECT_EQ(peer.state(), State::established);
    EXPECT_EQ(app.takes_events(), Events{Kind::opened});
    peer.sends({.flags = ack, .seq = 1, .bytes = 10});
    peer.expects({.flags = ack, .ack = 12});
    EXPECT_EQ(app.takes_events(), (Events{Kind::data, Kind::peer_closed}));
    EXPECT_TRUE(same(app.received(), pattern(0, 10)));
    EXPECT_EQ(peer.state(), State::close_wait);
}

TEST_F(Reassembly, DataKeptFromBehindTheFinIsForgotten) {
    // RFC 9293 section 3.10.7.4, seventh, CLOSE-WAIT: "should not occur since a FIN has been received [...] ignore
    // the segment text". A broken peer sends it before the FIN.
    proves("E4 E8");
    for (const size_t size : {1u, 1'460u}) {
        starts_with(small_settings());
        peer.connects();
        peer.sends({.flags = ack, .seq = 12, .bytes = size});
        peer.expects({.flags = ack, .ack = 1});
        peer.sends({.flags = fin | ack, .seq = 1, .bytes = 10});
        peer.expects({.flags = ack, .ack = 12});
        EXPECT_EQ(peer.state(), State::close_wait);
        EXPECT_TRUE(same(app.received(), pattern(0, 10)));
        app.shuts_down();
        peer.expects({.flags = fin | ack, .ack = 12});
        peer.nxt = 12;
        peer.sends({.flags = ack});
        EXPECT_EQ(peer.state(), State::closed);
        expects_all_returned();
    }
}

TEST_F(Reassembly, OverlapsOfEveryShapeMergeAndEveryByteIsDeliveredOnce) {
    proves("E5");
    struct Range {
        int64_t first, end;
    };
    const std::vector<std::vector<Range>> shapes = {
        {{10, 20}, {15, 25}},                      // right
        {{10, 20}, {5, 15}},                       // left
        {{10, 20}, {5, 25}},                       // covering
        {{10, 20}, {12, 18}},                      // covered
        {{10, 20}, {10, 20}},                      // equal
        {{10, 20}, {20, 30}},                      // touching
        {{10, 20}, {5, 10}},                       // touching on the left
        {{10, 20}, {30, 40}, {15, 35}},            // joining two
        {{10, 20}, {30, 40}, {50, 60}, {5, 65}},   // covering three
        {{10, 20}, {30, 40}, {20, 30}},            // filling exactly
        {{10, 20}, {30, 40}, {50, 60}, {18, 52}},  // joining three
        {{10, 20}, {10, 25}, {5, 20}},             // growing at both ends
    };
    for (size_t i = 0; i < shapes.size(); ++i) {
        SCOPED_TRACE("shape " + std::to_string(i));
        peer.starts_over(tcp::SeqNum{0xffff'fff0});
        peer.connects();
        app.takes();
        for (const Range& range : shapes[i]) {
            peer.sends({.flags = ack, .seq = 1 + range.first, .bytes = static_cast<size_t>(range.end - range.first)});
            peer.expects({.flags = ack, .seq = 1, .ack = 1});
            EXPECT_EQ(app.received(), "");
        }
        peer.sends({.flags = ack, .seq = 1, .bytes = 70});  // the first byte of all, over everything
        peer.expects({.flags = ack, .ack = 71});
        EXPECT_TRUE(same(app.received(), pattern(0, 70)));
        app.aborts();
        peer.expects_reset(1);
        expects_all_returned();
    }
}

TEST_F(Reassembly, GapIsFilledByASegmentThatEndsInsideKeptData) {
    proves("E5 E6");
    peer.connects();
    peer.sends({.flags = ack, .seq = 11, .bytes = 10});
    peer.expects({.ack = 1});
    peer.sends({.flags = ack, .seq = 1, .bytes = 15});
    peer.expects({.flags = ack, .ack = 21});
    EXPECT_TRUE(same(app.received(), pattern(0, 20)));
}

TEST_F(Reassembly, FullDuplicateIsDroppedAndAcknowledgedAtOnce) {
    proves("E6");
    peer.connects();
    peer.sends({.flags = ack, .seq = 1, .bytes = 100});
    time.passes(50ms);
    peer.expects({.flags = ack, .ack = 101});
    for (int i = 0; i < 20; ++i) {  // never limited: the peer's retransmissions need their answers
        EXPECT_EQ(peer.sends({.flags = ack, .seq = 1, .bytes = 100}), Verdict::old_data);
        peer.expects({.flags = ack, .seq = 1, .ack = 101});
    }
    peer.sends({.flags = ack, .seq = 51, .bytes = 50});
    peer.expects({.flags = ack, .ack = 101});
    EXPECT_TRUE(same(app.received(), pattern(0, 100)));
}

TEST_F(Reassembly, OldPartOfASegmentIsTrimmed) {
    proves("E6");
    peer.connects();
    peer.sends({.flags = ack, .seq = 1, .bytes = 100});
    peer.sends({.flags = ack, .seq = 51, .bytes = 100});
    EXPECT_TRUE(same(app.received(), pattern(0, 150)));
    time.passes(50ms);
    ASSERT_FALSE(peer.heard_nothing());
    EXPECT_EQ(peer.takes_all().back().ack, 151);
}

TEST_F(Reassembly, RetransmissionThatGrewATailAndFinDeliversTheTailAndCloses) {
    proves("E6 E8");
    peer.connects();
    peer.sends({.flags = ack, .seq = 1, .bytes = 10});
    peer.sends({.flags = fin | ack, .seq = 1, .bytes = 25});
    peer.expects({.flags = ack, .ack = 27});
    EXPECT_TRUE(same(app.received(), pattern(0, 25)));
    EXPECT_EQ(peer.state(), State::close_wait);
}

TEST_F(Reassembly, DataBeyondTheRightEdgeIsTrimmed) {
    proves("E7");
    starts_with(settings_with([](auto& s) { s.receive_buffer = 4'096; }));
    peer.connects();
    const int64_t edge = peer.edge();
    const auto fits = static_cast<size_t>(edge - 1);
    for (int64_t seq = 1001; seq < edge + 500; seq += 1'000) {
        peer.sends({.flags = ack, .seq = seq, .bytes = 1'000});
        peer.expects({.flags = ack, .ack = 1});
    }
    peer.sends({.flags = ack, .seq = 1, .bytes = 1'000});
    peer.expects({.flags = ack, .ack = edge});
    EXPECT_TRUE(same(app.received(), pattern(0, fits)));
}

TEST_F(Reassembly, SegmentInOrderThatIsLargerThanTheWindowIsTrimmed) {
    proves("E7");
    for (const bool ts : {false, true}) {  // the expected segment, as the fast path sees it, has timestamps
        SCOPED_TRACE(ts ? "with timestamps" : "without");
        starts_with(settings_with([](auto& s) { s.receive_buffer = 1'000; }));
        peer.connects({.ts = ts});
        peer.sends({.flags = ack, .seq = 1, .bytes = 1'001});
        peer.expects({.flags = ack, .ack = 1'001});
        EXPECT_TRUE(same(app.takes(), pattern(0, 1'000)));
    }
}

TEST_F(Reassembly, SameOutOfOrderSegmentAHundredTimesHoldsItsMemoryOnce) {
    proves("E3 E6");
    peer.connects();
    tcp::PoolUse use;
    for (int i = 0; i < 100; ++i) {
        peer.sends({.flags = ack, .seq = 201, .bytes = 100});
        peer.expects({.flags = ack, .ack = 1});
        if (i == 0) use = world.stack().pool_use();
        EXPECT_EQ(world.stack().pool_use(), use);
    }
    peer.sends({.flags = ack, .seq = 101, .bytes = 100});
    peer.expects({.flags = ack, .ack = 1});
    peer.sends({.flags = ack, .seq = 1, .bytes = 100});
    peer.expects({.flags = ack, .ack = 301});
    EXPECT_TRUE(same(app.received(), pattern(0, 300)));
}

// Against a byte map: random pieces of one stream, with the application reading in its own rhythm.
TEST_F(Reassembly, RandomPiecesGiveTheStreamThatAByteMapGives) {
    proves("E4 E5 E6");
    constexpr int64_t total = 6'000;
    for (uint64_t seed = 1; seed <= 40; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        std::mt19937_64 random(seed);
        const auto pick = [&](int64_t n) { return static_cast<int64_t>(random() % static_cast<uint64_t>(n)); };
        starts_with(settings_with([&](auto& s) { s.receive_buffer = seed % 2 ? 65'536 : 8'192; }));
        peer.starts_over(tcp::SeqNum{static_cast<uint32_t>(-pick(total))});
        peer.connects({.ts = seed % 3 == 0});
        app.consumes = seed % 4 != 0;
        std::vector<bool> map(total);
        int64_t next = 0;
        for (int i = 0; i < 4'000 && next < total; ++i) {
            const int64_t around = pick(4) ? next : pick(next + 1);
            const int64_t ahead = pick(6) ? pick(seed % 2 ? 3'000 : 1'500) : 0;
            const int64_t first = std::min<int64_t>(total - 1, around + ahead);
            const int64_t end = std::min<int64_t>(total, first + 1 + pick(600));
            peer.sends({.flags = ack, .seq = 1 + first, .bytes = static_cast<size_t>(end - first)});
            // What lies beyond the window is not kept; all tests stay inside it when the application reads.
            const int64_t kept_end = std::min(end, peer.edge() - 1);
            for (int64_t at = first; at < kept_end; ++at) map[static_cast<size_t>(at)] = true;
            while (next < total && map[static_cast<size_t>(next)]) ++next;
            if (!peer.heard_nothing()) {
                for (const Heard& h : peer.takes_all()) {
                    EXPECT_TRUE(h.has(ack));
                    EXPECT_LE(h.ack, 1 + next);
                    EXPECT_EQ(h.seq, 1);
                }
            }
            if (!app.consumes)
                app.reads(static_cast<size_t>(pick(500)));
            else
                EXPECT_EQ(app.received().size(), static_cast<size_t>(next));
            ASSERT_EQ(world.info().rcv_nxt, peer.isn() + 1 + static_cast<uint32_t>(next));
        }
        app.reads(total);
        EXPECT_EQ(next, total);
        EXPECT_TRUE(same(app.received(), pattern(0, total)));
        time.passes(100ms);
        peer.forgets();
        EXPECT_EQ(world.stack().pool_use().chunks, 0u);
        EXPECT_EQ(world.stack().pool_use().receive_stores, 0u);
        if (HasFailure()) return;
    }
}

}  // namespace
}  // namespace pollux::test
