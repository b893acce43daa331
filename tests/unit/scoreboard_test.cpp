// The scoreboard against the simplest thing that could be right: a vector of segments that is searched from end to
// end.
#include "tcp/scoreboard.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace pollux::tcp {
namespace {

using Kind = SentRecord::Kind;
constexpr SeqNum start{0xffff'f000};  // crosses the wrap

struct Plain {
    SeqNum first, end;
    uint32_t sent_at_us;
    Kind kind = Kind::in_flight;
    uint32_t size() const { return end.since(first); }
};

// The reference, and the same calls to both.
class Both {
public:
    explicit Both(SentRecords& arena) : arena_(arena) { EXPECT_TRUE(board.begin(arena_, start)); }
    ~Both() { board.end(arena_); }

    bool sends(uint32_t size, uint32_t now) {
        if (!board.make_room(arena_)) return false;
        SentRecord record;
        record.end = nxt() + size;
        record.sent_at_us = now;
        plain.push_back({nxt(), record.end, now});
        board.append(record);
        return true;
    }
    void acknowledges(SeqNum to) {
        uint32_t mine = 0, theirs = 0;
        while (!plain.empty() && plain.front().first.before(to)) {
            Plain& p = plain.front();
            const SeqNum end = earlier(p.end, to);
            if (p.kind != Kind::sacked) mine += end.since(p.first);
            p.first = end;
            if (p.first == p.end) plain.erase(plain.begin());
        }
        una_ = to;
        board.acknowledge(to, [&](const SentRecord&, uint32_t size) { theirs += size; });
        EXPECT_EQ(mine, theirs);
    }
    void sacks(SackBlock block) {
        std::vector<SeqNum> mine, theirs;
        for (Plain& p : plain) {
            if (p.kind == Kind::sacked || p.first.before(block.first) || p.end.after(block.end)) continue;
            p.kind = Kind::sacked;
            mine.push_back(p.end);
        }
        board.mark_sacked(block, [&](const SentRecord& record, uint32_t) { theirs.push_back(record.end); });
        EXPECT_EQ(mine, theirs);
    }
    void loses(size_t index) {
        if (plain[index].kind == Kind::sacked) return;
        plain[index].kind = Kind::lost;
        board.mark_lost(position(index));
    }
    void resends_first_lost(uint32_t now) {
        const auto lost = std::ranges::find(plain, Kind::lost, &Plain::kind);
        if (lost == plain.end()) {
            EXPECT_EQ(board.first_lost(), Scoreboard::none);
            return;
        }
        ASSERT_EQ(board.first_of(board.first_lost()), lost->first);
        lost->kind = Kind::in_flight;
        lost->sent_at_us = now;
        board.resent(board.first_lost(), now);
    }
    void compares() const {
        ASSERT_STREQ(board.check(), nullptr);
        uint32_t bytes[3] = {};
        for (size_t i = 0; i < plain.size(); ++i) {
            const Plain& p = plain[i];
            ASSERT_EQ(board.first_of(position(i)), p.first);
            ASSERT_EQ(board.record(position(i)).end, p.end);
            ASSERT_EQ(board.record(position(i)).kind, p.kind) << "of " << i;
            ASSERT_EQ(board.record(position(i)).sent_at_us, p.sent_at_us);
            ASSERT_EQ(board.starting_at(p.first), position(i));
            bytes[static_cast<size_t>(p.kind)] += p.size();
        }
        ASSERT_EQ(board.size(), plain.size());
        EXPECT_EQ(board.pipe(), bytes[0]);
        EXPECT_EQ(board.lost(), bytes[1]);
        EXPECT_EQ(board.sacked(), bytes[2]);
        uint32_t oldest = ~0u;
        for (const Plain& p : plain) {
            if (p.kind == Kind::in_flight) oldest = std::min(oldest, p.sent_at_us);
        }
        ASSERT_EQ(board.oldest() == Scoreboard::none, oldest == ~0u);
        if (oldest != ~0u) {
            EXPECT_EQ(board.record(board.oldest()).sent_at_us, oldest);
        }
    }
    uint32_t position(size_t index) const { return (board.head() + static_cast<uint32_t>(index)) & 0x7fff'ffff; }
    SeqNum una() const { return una_; }
    SeqNum nxt() const { return plain.empty() ? una_ : plain.back().end; }

    Scoreboard board;
    std::vector<Plain> plain;

private:
    SentRecords& arena_;
    SeqNum una_ = start;
};

class ScoreboardTest : public testing::Test {
protected:
    SentRecords arena{4096, "a test"};
};

TEST_F(ScoreboardTest, AnyCourseOfEventsIsTheSameAsInAPlainList) {
    for (uint32_t seed = 1; seed <= 200; ++seed) {
        std::mt19937 random(seed);
        const auto below = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
        Both both(arena);
        uint32_t now = 0xffff'0000;  // of the clock too
        for (int step = 0; step < 400; ++step) {
            ++now;
            const uint32_t flight = both.nxt().since(both.una());
            switch (below(7)) {
                case 0:
                case 1:
                case 2:
                    if (both.plain.size() < 300) both.sends(1 + below(1460), now);
                    break;
                case 3:
                    if (flight > 0) both.acknowledges(both.una() + below(std::min(flight, 4000u) + 1));
                    break;
                case 4:
                    if (flight > 0) {
                        const SeqNum first = both.una() + below(flight);
                        both.sacks({first, first + 1 + below(both.nxt().since(first))});
                    }
                    break;
                case 5:
                    for (uint32_t n = below(5); n > 0 && !both.plain.empty(); --n) {
                        both.loses(below(static_cast<uint32_t>(both.plain.size())));
                    }
                    break;
                case 6: both.resends_first_lost(now); break;
            }
            // Numbers that wrap have no order: the reference compares times as they are.
            if (now < 0xffff'0000) break;
            ASSERT_NO_FATAL_FAILURE(both.compares()) << "seed " << seed << ", step " << step;
        }
    }
    EXPECT_EQ(arena.in_use(), 0u);
}

TEST_F(ScoreboardTest, UnmarkingPutsLossesBackInOrderOfTime) {
    for (uint32_t seed = 1; seed <= 100; ++seed) {
        std::mt19937 random(seed);
        Both both(arena);
        for (uint32_t i = 0; i < 60; ++i) both.sends(100, i);
        for (uint32_t now = 100; now < 140; ++now) {
            both.loses(random() % 60);
            if (random() % 2 == 0) both.resends_first_lost(now);
        }
        for (Plain& p : both.plain) p.kind = Kind::in_flight;
        both.board.unmark_lost();
        ASSERT_NO_FATAL_FAILURE(both.compares());
    }
}

TEST_F(ScoreboardTest, WhatAPeerReportedAndDroppedIsLost) {
    Both both(arena);
    for (uint32_t i = 0; i < 10; ++i) both.sends(100, i);
    both.sacks({start + 200, start + 500});
    both.loses(0);
    both.board.forget_sacks();
    for (size_t i : {2u, 3u, 4u}) both.plain[i].kind = Kind::lost;
    both.compares();
    EXPECT_EQ(both.board.sacked_segments(), 0u);
}

TEST_F(ScoreboardTest, PartOfASegmentIsNotReportedAsDelivered) {
    testing::Test::RecordProperty("row", "K5");
    Both both(arena);
    both.sends(1000, 1);
    both.sends(1000, 2);
    both.sacks({start + 1000, start + 1999});
    both.sacks({start + 1001, start + 2000});
    EXPECT_EQ(both.board.sacked(), 0u);
    both.sacks({start + 1000, start + 2000});
    EXPECT_EQ(both.board.sacked(), 1000u);
}

TEST_F(ScoreboardTest, CuttingKeepsWhatIsKnownAndLosesWhatWasTooLarge) {
    Both both(arena);
    for (uint32_t i = 0; i < 6; ++i) both.sends(i == 3 ? 300 : 1460, i);
    both.sacks({start + 1460, start + 2920});
    both.loses(5);
    ASSERT_TRUE(both.board.recut(arena, 1024));
    ASSERT_STREQ(both.board.check(), nullptr);
    EXPECT_EQ(both.board.sacked(), 1460u);
    EXPECT_EQ(both.board.pipe(), 300u);
    EXPECT_EQ(both.board.lost(), 4u * 1460);
    std::vector<uint32_t> sizes;
    for (uint32_t p = both.board.first_lost(); p != Scoreboard::none; p = both.board.next_in_list(p)) {
        sizes.push_back(both.board.size_of(p));
    }
    EXPECT_EQ(sizes, (std::vector<uint32_t>{1024, 436, 1024, 436, 1024, 436, 1024, 436}));
}

TEST_F(ScoreboardTest, ARingThatCannotGrowSaysSo) {
    SentRecords small(24, "a test");
    Scoreboard a, b;
    ASSERT_TRUE(a.begin(small, start));
    for (uint32_t i = 1; i <= 8; ++i) {
        ASSERT_TRUE(a.make_room(small));
        a.append({.end = start + i * 10});
    }
    ASSERT_TRUE(a.make_room(small));  // 16, and 8 are left
    for (uint32_t i = 9; i <= 16; ++i) a.append({.end = start + i * 10});
    EXPECT_FALSE(a.make_room(small));
    EXPECT_EQ(a.size(), 16u);
    ASSERT_TRUE(b.begin(small, start));
    Scoreboard c;
    EXPECT_FALSE(c.begin(small, start));
    a.end(small);
    b.end(small);
    EXPECT_EQ(small.in_use(), 0u);
}

TEST(RecordArena, BlocksNeverOverlapAndComeBackTogether) {
    for (uint32_t seed = 1; seed <= 50; ++seed) {
        std::mt19937 random(seed);
        SentRecords arena(1000, "a test");
        struct Block {
            uint32_t at, order;
        };
        std::vector<Block> taken;
        std::vector<bool> used(arena.capacity());
        for (int step = 0; step < 2000; ++step) {
            if (random() % 2 == 0) {
                const uint32_t order = 3 + static_cast<uint32_t>(random() % 5);
                const uint32_t at = arena.take(order);
                if (at == SentRecords::none) continue;
                ASSERT_EQ(at % (1u << order), 0u);
                for (uint32_t i = at; i < at + (1u << order); ++i) {
                    ASSERT_FALSE(used[i]);
                    used[i] = true;
                }
                taken.push_back({at, order});
            } else if (!taken.empty()) {
                std::swap(taken[random() % taken.size()], taken.back());
                const auto [at, order] = taken.back();
                taken.pop_back();
                std::fill_n(used.begin() + at, 1u << order, false);
                arena.give(at, order);
            }
        }
        for (const auto& [at, order] : taken) arena.give(at, order);
        EXPECT_EQ(arena.in_use(), 0u);
        EXPECT_NE(arena.take(9), SentRecords::none) << "the largest block is whole again";
    }
}

}  // namespace
}  // namespace pollux::tcp
