// What the receiver says about data that arrives twice: RFC 2883 section 4. The first block of an ACK names the
// duplicate and nothing but the duplicate; where that lies above the acknowledgment, the second names the block of
// kept data that holds it; the blocks of RFC 2018 follow, as far as there is room.
#include <algorithm>

#include "tests/support/conversation.hpp"

namespace pollux::test {
namespace {

class DuplicateSack : public Conversation {
protected:
    using Block = std::pair<int64_t, int64_t>;
    using Blocks = std::vector<Block>;

    Blocks blocks(const Heard& h) const {
        Blocks all;
        for (const tcp::SackBlock& b : h.segment.sack()) all.emplace_back(b.first - peer.isn(), b.end - peer.isn());
        return all;
    }
    /// Sends [first, end); what the next ACK, delayed or not, says beyond `acked`.
    Blocks answer(int64_t first, int64_t end, int64_t acked, Here here = Here::current()) {
        peer.sends({.flags = ack, .seq = first, .bytes = static_cast<size_t>(end - first)});
        if (peer.heard_nothing()) peer.waits(500ms, here);
        const Blocks all = blocks(peer.expects({.flags = ack, .seq = 1, .ack = acked, .bytes = 0}, here));
        peer.expects_nothing(here);
        return all;
    }
    /// What a sender of RFC 2883 section 4 takes the first block for: old, or part of what the second one reports.
    static bool names_a_duplicate(const Blocks& all, int64_t acked) {
        if (all.empty()) return false;
        if (all[0].first < acked) return true;
        return all.size() > 1 && all[1].first <= all[0].first && all[0].second <= all[1].second;
    }
    void opens(bool timestamps = false) {
        starts_with(small_settings());
        peer.connects({.sack_ok = true, .ts = timestamps});
    }
};

// ---- Below the acknowledgment. -----------------------------------------------------------------------------------

TEST_F(DuplicateSack, AWholeDuplicateIsReportedOnceAndAlone) {
    proves("J3");
    for (const bool timestamps : {false, true}) {
        SCOPED_TRACE(timestamps);
        opens(timestamps);
        EXPECT_EQ(answer(1, 101, 101), Blocks{});
        EXPECT_EQ(answer(1, 101, 101), Blocks({{1, 101}}));
        // It is about the packet that this ACK answers, not about the past (section 4: "the most recent packet").
        EXPECT_EQ(answer(101, 201, 201), Blocks{});
        EXPECT_EQ(answer(41, 61, 201), Blocks({{41, 61}}));
        EXPECT_EQ(answer(81, 121, 201), Blocks({{81, 121}}));
        EXPECT_EQ(answer(1, 201, 201), Blocks({{1, 201}}));
        EXPECT_TRUE(same(app.received(), pattern(0, 200)));
    }
}

TEST_F(DuplicateSack, OfASegmentWithNewDataOnlyTheOldPartIsReported) {
    proves("J3");
    opens();
    EXPECT_EQ(answer(1, 101, 101), Blocks{});
    EXPECT_EQ(answer(51, 151, 151), Blocks({{51, 101}}));
    EXPECT_EQ(answer(1, 301, 301), Blocks({{1, 151}}));
    EXPECT_EQ(answer(301, 401, 401), Blocks{});
    EXPECT_TRUE(same(app.received(), pattern(0, 400)));
}

TEST_F(DuplicateSack, KeptDataIsReportedBehindAnOldDuplicate) {
    proves("J3");
    opens();
    EXPECT_EQ(answer(1, 101, 101), Blocks{});
    EXPECT_EQ(answer(201, 301, 101), Blocks({{201, 301}}));
    EXPECT_EQ(answer(401, 501, 101), Blocks({{401, 501}, {201, 301}}));
    EXPECT_EQ(answer(1, 101, 101), Blocks({{1, 101}, {401, 501}, {201, 301}}));
    EXPECT_EQ(answer(101, 201, 301), Blocks({{401, 501}}));
    EXPECT_EQ(answer(101, 201, 301), Blocks({{101, 201}, {401, 501}}));
}

TEST_F(DuplicateSack, WhatOurOwnAckHasOvertakenIsReportedAcrossTheWrap) {
    proves("J3 D10");
    peer.starts_over(tcp::SeqNum{0xffff'ffff - 100});
    peer.connects({.sack_ok = true});
    EXPECT_EQ(answer(1, 201, 201), Blocks{});
    EXPECT_EQ(answer(91, 111, 201), Blocks({{91, 111}}));    // from before the wrap to behind it
    EXPECT_EQ(answer(100, 101, 201), Blocks({{100, 101}}));  // ends at 0
    EXPECT_EQ(answer(101, 102, 201), Blocks({{101, 102}}));  // begins at 0
}

// ---- Above the acknowledgment. -----------------------------------------------------------------------------------

TEST_F(DuplicateSack, ADuplicateOfKeptDataIsFollowedByTheBlockThatHoldsIt) {
    proves("J3");
    for (const bool timestamps : {false, true}) {
        SCOPED_TRACE(timestamps);
        opens(timestamps);
        EXPECT_EQ(answer(101, 201, 1), Blocks({{101, 201}}));
        // The same block twice, or nobody could tell it from a report of new data.
        EXPECT_EQ(answer(101, 201, 1), Blocks({{101, 201}, {101, 201}}));
        EXPECT_EQ(answer(131, 151, 1), Blocks({{131, 151}, {101, 201}}));
        EXPECT_EQ(answer(201, 301, 1), Blocks({{101, 301}}));
        EXPECT_EQ(answer(201, 301, 1), Blocks({{201, 301}, {101, 301}}));
    }
}

TEST_F(DuplicateSack, APartlyNewSegmentIsReportedByItsOldPartAndTheGrownBlock) {
    proves("J3");
    opens();
    EXPECT_EQ(answer(101, 201, 1), Blocks({{101, 201}}));
    EXPECT_EQ(answer(151, 251, 1), Blocks({{151, 201}, {101, 251}}));  // grows to the right
    EXPECT_EQ(answer(51, 151, 1), Blocks({{101, 151}, {51, 251}}));    // to the left
    EXPECT_EQ(answer(21, 301, 1), Blocks({{51, 251}, {21, 301}}));     // both
    EXPECT_EQ(answer(1, 21, 301), Blocks{});
    EXPECT_TRUE(same(app.received(), pattern(0, 300)));
}

TEST_F(DuplicateSack, OfTwoDuplicatesInOneSegmentOneIsReportedAndNotWhatLiesBetween) {
    proves("J3");
    opens();
    EXPECT_EQ(answer(101, 151, 1), Blocks({{101, 151}}));
    EXPECT_EQ(answer(201, 251, 1), Blocks({{201, 251}, {101, 151}}));
    const Blocks all = answer(51, 301, 1);
    ASSERT_EQ(all.size(), 2u);
    EXPECT_TRUE(all[0] == Block(101, 151) || all[0] == Block(201, 251));
    EXPECT_EQ(all[1], Block(51, 301));
}

TEST_F(DuplicateSack, ASegmentThatFillsAGapReportsWhatHadArrivedBefore) {
    proves("J3");
    opens();
    EXPECT_EQ(answer(101, 201, 1), Blocks({{101, 201}}));
    EXPECT_EQ(answer(1, 151, 201), Blocks({{101, 151}}));
    // Old on both sides of the gap: one of the two.
    EXPECT_EQ(answer(301, 351, 201), Blocks({{301, 351}}));
    const Blocks all = answer(151, 351, 351);
    ASSERT_EQ(all.size(), 1u);
    EXPECT_TRUE(all[0] == Block(151, 201) || all[0] == Block(301, 351));
    EXPECT_TRUE(same(app.received(), pattern(0, 350)));
}

// ---- Room, bursts, and what is no duplicate. ----------------------------------------------------------------------

TEST_F(DuplicateSack, TheReportDisplacesTheOldestBlocks) {
    proves("J3");
    for (const bool timestamps : {false, true}) {
        SCOPED_TRACE(timestamps);
        opens(timestamps);
        const auto fits = [&](Blocks all) {
            all.resize(std::min<size_t>(all.size(), timestamps ? 3 : 4));
            return all;
        };
        for (const int64_t first : {101, 301, 501, 701}) answer(first, first + 50, 1);
        EXPECT_EQ(answer(501, 551, 1), fits({{501, 551}, {501, 551}, {701, 751}, {301, 351}}));
    }
}

TEST_F(DuplicateSack, EveryDuplicateOfABurstIsReported) {
    proves("J3");
    opens();
    answer(1, 301, 301);
    answer(401, 501, 301);
    peer.sends_burst({{.flags = ack, .seq = 1, .bytes = 100},
                      {.flags = ack, .seq = 201, .bytes = 50},
                      {.flags = ack, .seq = 401, .bytes = 20}});
    Blocks reported;
    for (const Heard& h : peer.takes_all()) {
        EXPECT_EQ(h.ack, 301);
        const Blocks all = blocks(h);
        if (names_a_duplicate(all, 301)) reported.push_back(all[0]);
    }
    EXPECT_EQ(reported, Blocks({{1, 101}, {201, 251}, {401, 421}}));
}

TEST_F(DuplicateSack, WhatCarriesNoOldDataReportsNone) {
    proves("J3");
    opens();
    EXPECT_EQ(answer(1, 101, 101), Blocks{});
    EXPECT_EQ(answer(100, 100, 101), Blocks{});  // a keep-alive probe
    EXPECT_EQ(answer(50, 50, 101), Blocks{});    // an old ACK
    const int64_t edge = peer.edge();
    EXPECT_EQ(answer(edge, edge + 10, 101), Blocks{});  // beyond the window: not kept, so no duplicate the next time
    EXPECT_EQ(answer(edge, edge + 10, 101), Blocks{});
    peer.nxt = 101;
    EXPECT_EQ(answer(edge - 10, edge + 10, 101), Blocks({{edge - 10, edge}}));
    EXPECT_EQ(answer(edge - 10, edge + 10, 101), Blocks({{edge - 10, edge}, {edge - 10, edge}}));
}

TEST_F(DuplicateSack, WithoutConsentNothingIsReported) {
    proves("J1 J3");
    for (const bool ours : {true, false}) {
        SCOPED_TRACE(ours);
        starts_with(settings_with([&](auto& s) { s.sack = ours; }));
        peer.connects({.sack_ok = !ours});
        EXPECT_EQ(answer(1, 101, 101), Blocks{});
        EXPECT_EQ(answer(1, 101, 101), Blocks{});
        EXPECT_EQ(answer(201, 301, 101), Blocks{});
        EXPECT_EQ(answer(201, 301, 101), Blocks{});
    }
}

}  // namespace
}  // namespace pollux::test
