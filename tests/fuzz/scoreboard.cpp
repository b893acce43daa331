// The scoreboard against a plain list of segments that is searched from end to end; and its arena, from which several
// take their rings.
#include "tcp/scoreboard.hpp"

#include <algorithm>
#include <bit>
#include <vector>

#include "tests/fuzz/targets.hpp"

namespace pollux::fuzz {
namespace {

using namespace tcp;
using Kind = SentRecord::Kind;

struct Plain {
    SeqNum first, end;
    uint32_t sent_at_us = 0;
    Kind kind = Kind::in_flight;
    uint8_t times_sent = 1;
    uint32_t size() const { return end.since(first); }
};

bool sent_before(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) < 0; }

// The same calls to both, and what each says of it.
class Both {
public:
    Both(SentRecords& arena, SeqNum una) : arena_(arena), una_(una) { begun_ = board_.begin(arena, una); }
    ~Both() { board_.end(arena_); }

    bool begun() const { return begun_; }
    SeqNum una() const { return una_; }
    SeqNum nxt() const { return plain_.empty() ? una_ : plain_.back().end; }
    uint32_t flight() const { return nxt().since(una_); }
    uint32_t count() const { return static_cast<uint32_t>(plain_.size()); }

    void sends(uint32_t size, uint32_t now);
    void acknowledges(SeqNum to);
    void sacks(SackBlock block);
    void loses(uint32_t index);
    void repeats(uint32_t now);
    void was_wrong();
    void forgets_sacks();
    void is_cut(uint32_t mss);
    void compares() const;

private:
    uint32_t position(size_t index) const { return (board_.head() + static_cast<uint32_t>(index)) & 0x7fff'ffff; }
    // What leaves in the same microsecond as something behind it, or by a clock that stands, leaves later.
    uint32_t time_behind_all(uint32_t now, SeqNum end) const;

    SentRecords& arena_;
    SeqNum una_;
    Scoreboard board_;
    bool begun_ = false;
    std::vector<Plain> plain_;
};

uint32_t Both::time_behind_all(uint32_t now, SeqNum end) const {
    const Plain* newest = nullptr;
    for (const Plain& p : plain_) {
        if (p.kind != Kind::in_flight) continue;
        const bool later = newest == nullptr || sent_before(newest->sent_at_us, p.sent_at_us) ||
                           (newest->sent_at_us == p.sent_at_us && newest->end.before(p.end));
        if (later) newest = &p;
    }
    if (newest == nullptr) return now;
    if (sent_before(now, newest->sent_at_us)) now = newest->sent_at_us;
    return now == newest->sent_at_us && newest->end.after(end) ? now + 1 : now;
}

void Both::sends(uint32_t size, uint32_t now) {
    const uint32_t free = arena_.capacity() - arena_.in_use();
    if (!board_.make_room(arena_)) {
        demand(std::has_single_bit(count()) && free < 4 * count(), "there is room while the arena has some");
        return;
    }
    SentRecord record;
    record.end = nxt() + size;
    record.sent_at_us = now;
    const uint32_t at = time_behind_all(now, record.end);
    plain_.push_back({nxt(), record.end, at});
    board_.append(record);
}

void Both::acknowledges(SeqNum to) {
    std::vector<uint32_t> mine, theirs;
    while (!plain_.empty() && plain_.front().first.before(to)) {
        Plain& p = plain_.front();
        const SeqNum end = earlier(p.end, to);
        if (p.kind != Kind::sacked) mine.push_back(end.since(p.first));
        p.first = end;
        if (p.first == p.end) plain_.erase(plain_.begin());
    }
    una_ = later(una_, to);
    board_.acknowledge(to, [&](const SentRecord&, uint32_t size) { theirs.push_back(size); });
    demand(mine == theirs, "an ACK delivers what no SACK has delivered");
}

void Both::sacks(SackBlock block) {
    std::vector<SeqNum> mine, theirs;
    for (Plain& p : plain_) {
        if (p.kind == Kind::sacked || p.first.before(block.first) || p.end.after(block.end)) continue;
        p.kind = Kind::sacked;
        mine.push_back(p.end);
    }
    board_.mark_sacked(block, [&](const SentRecord& record, uint32_t) { theirs.push_back(record.end); });
    demand(mine == theirs, "a block delivers the segments that lie wholly inside");
}

void Both::loses(uint32_t index) {
    if (plain_[index].kind == Kind::sacked) return;
    plain_[index].kind = Kind::lost;
    board_.mark_lost(position(index));
}

void Both::repeats(uint32_t now) {
    const auto lost = std::ranges::find(plain_, Kind::lost, &Plain::kind);
    demand((lost == plain_.end()) == (board_.first_lost() == Scoreboard::none), "the lowest hole is known");
    if (lost == plain_.end()) return;
    demand(board_.first_of(board_.first_lost()) == lost->first, "the lowest hole comes first");
    lost->sent_at_us = time_behind_all(now, lost->end);
    lost->kind = Kind::in_flight;
    if (lost->times_sent < 255) ++lost->times_sent;
    board_.resent(board_.first_lost(), now);
}

void Both::was_wrong() {
    for (Plain& p : plain_) {
        if (p.kind == Kind::lost) p.kind = Kind::in_flight;
    }
    board_.unmark_lost();
}

void Both::forgets_sacks() {
    for (Plain& p : plain_) {
        if (p.kind == Kind::sacked) p.kind = Kind::lost;
    }
    board_.forget_sacks();
}

void Both::is_cut(uint32_t mss) {
    std::vector<Plain> cut;
    for (const Plain& p : plain_) {
        const bool too_large = p.size() > mss;
        for (SeqNum first = p.first; first != p.end;) {
            Plain piece = p;
            piece.first = first;
            if (p.kind != Kind::sacked && p.end.since(first) > mss) piece.end = first + mss;
            if (too_large && p.kind == Kind::in_flight) piece.kind = Kind::lost;
            first = piece.end;
            cut.push_back(piece);
        }
    }
    const bool done = board_.recut(arena_, mss);
    demand(done || arena_.capacity() - arena_.in_use() < 4 * cut.size() + 16 || cut.size() > Scoreboard::most_records,
           "segments are cut while the arena has room");
    if (!done) return;
    // The cutting sets the times of pieces as sending them would: the board's own are taken.
    demand(board_.size() == cut.size(), "as many pieces as that takes");
    for (size_t i = 0; i < cut.size(); ++i) cut[i].sent_at_us = board_.record(position(i)).sent_at_us;
    plain_ = std::move(cut);
}

void Both::compares() const {
    const char* const wrong = board_.check();
    demand(wrong == nullptr, wrong == nullptr ? "" : wrong);
    demand(board_.size() == count() && board_.una() == una_ && board_.nxt() == nxt(), "both know the same segments");
    uint32_t bytes[3] = {}, sacked = 0;
    const Plain *oldest = nullptr, *unsacked = nullptr;
    for (uint32_t i = 0; i < count(); ++i) {
        const Plain& p = plain_[i];
        const SentRecord& record = board_.record(position(i));
        demand(board_.first_of(position(i)) == p.first && record.end == p.end, "a record stands for its segment");
        demand(record.kind == p.kind, "a segment is of one kind");
        demand(record.sent_at_us == p.sent_at_us && record.times_sent == p.times_sent, "times are kept");
        demand(board_.size_of(position(i)) == p.size(), "a segment has its size");
        demand(board_.starting_at(p.first) == position(i), "a segment is found by where it begins");
        demand(p.size() < 2 || board_.starting_at(p.first + 1) == Scoreboard::none, "and only by that");
        bytes[static_cast<size_t>(p.kind)] += p.size();
        if (p.kind == Kind::sacked) ++sacked;
        if (p.kind != Kind::sacked) unsacked = &p;
        const bool older = oldest == nullptr || sent_before(p.sent_at_us, oldest->sent_at_us);
        if (p.kind == Kind::in_flight && older) oldest = &p;
    }
    demand(board_.pipe() == bytes[0] && board_.lost() == bytes[1] && board_.sacked() == bytes[2],
           "bytes are counted");
    demand(board_.sacked_segments() == sacked, "SACKed segments are counted");
    demand((board_.oldest() == Scoreboard::none) == (oldest == nullptr), "the oldest in flight is known");
    demand(oldest == nullptr || board_.record(board_.oldest()).sent_at_us == oldest->sent_at_us,
           "the oldest in flight is the one sent first");
    const uint32_t highest = board_.highest_unsacked();
    demand((highest == Scoreboard::none) == (unsacked == nullptr) &&
               (unsacked == nullptr || board_.record(highest).end == unsacked->end),
           "the highest that is not SACKed is known");
    demand(board_.last() == (plain_.empty() ? Scoreboard::none : position(count() - 1)), "the last is known");
    demand(board_.starting_at(nxt()) == Scoreboard::none, "nothing begins where nothing was sent");
}

}  // namespace

void scoreboard(Bytes bytes) {
    Input in{bytes};
    SentRecords arena{64u + 8 * in.below(32), "a fuzzer"};
    const SeqNum start{in.four()};
    uint32_t now = in.four();
    {
        Both both{arena, start}, other{arena, start};
        demand(both.begun() && other.begun(), "two small rings fit");
        for (int steps = 0; steps < 100 && !in.empty(); ++steps) {
            const uint8_t what = in.byte();
            Both& it = (what & 0x80) != 0 ? other : both;
            now += (what & 0x40) != 0 ? in.byte() : 0;
            switch (what % 10) {
                case 0:
                case 1: it.sends(1 + ((what & 0x20) != 0 ? in.below(3'000) : in.below(16)), now); break;
                case 2:
                    for (uint32_t n = in.below(40); n > 0; --n) it.sends(10, now);
                    break;
                case 3: it.acknowledges(it.una() + in.below(it.flight() + 1)); break;
                case 4:
                case 5: {
                    const SeqNum first = it.una() + in.below(it.flight() + 1);
                    it.sacks({first, first + in.below(it.nxt().since(first) + 1)});
                    break;
                }
                case 6:
                    for (uint32_t n = in.below(6); n > 0 && it.count() > 0; --n) it.loses(in.below(it.count()));
                    break;
                case 7: it.repeats(now); break;
                case 8:
                    if ((what & 0x20) != 0)
                        it.was_wrong();
                    else
                        it.forgets_sacks();
                    break;
                case 9: it.is_cut(1 + in.below(1'500)); break;
            }
            it.compares();
        }
    }
    demand(arena.in_use() == 0, "both rings come back");
    uint32_t largest = SentRecords::least_order;
    while (2u << largest <= arena.capacity()) ++largest;
    demand(arena.take(largest) != SentRecords::none, "the arena is whole again");
}

}  // namespace pollux::fuzz
