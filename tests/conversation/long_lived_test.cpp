// Connections that carry more than the sequence circle holds. Gigabytes are too much for packets, so here the stack is
// asked directly, Segment by Segment.
#include <gtest/gtest.h>

#include <vector>

#include "tests/support/host.hpp"

namespace pollux::test {
namespace {

using namespace tcp;

class LongLived : public testing::Test {
protected:
    LongLived() : stack_(settings(), test_secrets(), counters_) { stack_.listen(host_endpoint); }

    static StackSettings settings() {
        StackSettings s = small_settings();
        s.mtu = 65'535;
        return s;
    }
    void says(Segment s) {
        s.flow = {host_endpoint.address, peer_endpoint.address, host_endpoint.port, peer_endpoint.port};
        s.window = 65'535;
        out_.reset();
        stack_.input(s, now_, out_);
        stack_.advance_timers(now_, 64);
        for (const Event& event : stack_.events()) {
            if (event.kind == Event::Kind::opened) conn_ = event.conn;
        }
        stack_.transmit(now_, out_);
    }
    void acknowledges(SeqNum number) { says({.seq = SeqNum{1}, .ack = number, .flags = Flags::ack}); }
    void opens() {
        says({.seq = SeqNum{0},
              .flags = Flags::syn,
              .present = Present::mss | Present::window_scale,
              .window_scale = 8,
              .mss = by_family<uint16_t>(65'495, 65'475)});
        acknowledges(out_.segments()[0].segment.seq + 1);
    }
    /// Sends `bytes` and has them acknowledged.
    void carries(uint64_t bytes) {
        while (bytes > 0) {
            const auto part = std::min<uint64_t>(bytes, memory_.size());
            ASSERT_TRUE(stack_.send(conn_, Pinned{Piece(memory_).first(part)}));
            out_.reset();
            stack_.transmit(now_, out_);
            while (stack_.unacknowledged(conn_) > 0) acknowledges(stack_.info(conn_)->snd_nxt);
            bytes -= part;
            now_ += 1ms;
        }
    }

    Counters counters_;
    Stack stack_;
    TxBatch out_;
    Instant now_{1'000s};
    ConnId conn_;
    std::vector<std::byte> memory_ = std::vector<std::byte>(1 << 20);
};

TEST_F(LongLived, LossIsRepairedAtOnceHoweverMuchWasCarriedSinceTheLastOne) {
    for (const uint64_t carried : {uint64_t{1} << 20, uint64_t{2'200} << 20, uint64_t{4'200} << 20}) {
        SCOPED_TRACE(carried);
        opens();
        carries(carried);
        ASSERT_TRUE(stack_.send(conn_, Pinned{Piece(memory_)}));
        out_.reset();
        stack_.transmit(now_, out_);
        const SeqNum lost = out_.segments()[0].segment.seq;
        const uint64_t before = counters_[Tally::fast_retransmits];
        for (int i = 0; i < 3; ++i) acknowledges(lost);
        EXPECT_EQ(counters_[Tally::fast_retransmits], before + 1);
        EXPECT_EQ(out_.segments()[0].segment.seq, lost);
        EXPECT_EQ(stack_.check_invariants(), "");
        stack_.abort(conn_, now_);
        out_.reset();
        stack_.transmit(now_, out_);
    }
}

}  // namespace
}  // namespace pollux::test
