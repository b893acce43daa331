// Peers that announce an absurd MSS (RFC 9293 section 3.7.1; SACK panic, CVE-2019-11479): below 48 counts as 48, less
// the options that every segment carries, and the transfer goes on.
#include "tests/support/opening.hpp"

namespace pollux::test {
namespace {

class SmallMss : public Opening {
protected:
    /// Answers all that comes until `bytes` have come; every segment has between 1 and `most` bytes.
    void must_carry(size_t bytes, size_t most) {
        ASSERT_TRUE(app.sends_pattern(bytes));
        for (int round = 0; round < 2'000 && peer.stream().size() < bytes; ++round) {
            if (peer.heard_nothing()) peer.waits(10s);
            for (const Heard& h : peer.takes_all()) {
                EXPECT_GE(h.bytes(), 1u) << "a segment that carries nothing";
                EXPECT_LE(h.bytes(), most);
            }
            if (HasFailure()) return;
            peer.sends({.flags = ack});
        }
        EXPECT_TRUE(same(peer.stream(), pattern(0, bytes)));
        peer.forgets();
    }
};

constexpr size_t timestamps = 12;

TEST_F(SmallMss, OnASynMakesProgress) {
    proves("X13");
    for (const bool ts : {false, true}) {
        for (const uint16_t mss : std::initializer_list<uint16_t>{0, 1, 10, 11, 12, 13, 47, 48, 49, 88}) {
            SCOPED_TRACE(testing::Message() << "MSS " << mss << ", timestamps " << ts);
            starts_with(small_settings());
            peer.connects({.mss = mss, .ts = ts});
            const size_t counted = std::max<size_t>(mss, 48);
            must_carry(3'000, counted - (ts ? timestamps : 0));
        }
    }
}

TEST_F(SmallMss, OnASynAckMakesProgress) {
    proves("X13");
    for (const bool ts : {false, true}) {
        for (const uint16_t mss : std::initializer_list<uint16_t>{0, 1, 10, 47, 48, 49}) {
            SCOPED_TRACE(testing::Message() << "MSS " << mss << ", timestamps " << ts);
            starts_with(small_settings());
            asks();
            const Heard asked = peer.expects({.flags = syn});
            const tcp::Timestamps now{peer.ts_now(), asked.segment.timestamps.value};
            peer.sends({.flags = syn | ack, .mss = mss, .ts = ts ? std::optional(now) : std::nullopt});
            peer.expects({.flags = ack, .seq = 1, .ack = 1, .has_ts = ts});
            const size_t counted = std::max<size_t>(mss, 48);
            must_carry(3'000, counted - (ts ? timestamps : 0));
        }
    }
}

TEST_F(SmallMss, OnACrossingSynMakesProgress) {
    proves("X13");
    asks();
    peer.expects({.flags = syn});
    peer.sends({.flags = syn, .seq = 0, .mss = uint16_t{1}});
    peer.expects({.flags = syn | ack, .mss = 1460});
    peer.sends({.flags = ack, .seq = 1});
    must_carry(3'000, 48);
}

TEST_F(SmallMss, LossesAndTimeoutsAreRepairedInTheSameSizes) {
    proves("X13");
    peer.connects({.mss = uint16_t{1}, .ts = true});
    app.sends_pattern(720);
    const auto first = peer.takes_all();
    ASSERT_GE(first.size(), 4u);
    for (const Heard& h : first) EXPECT_EQ(h.bytes(), 36u);
    for (int i = 0; i < 2; ++i) peer.sends({.flags = ack, .ack = 1});
    for (const Heard& h : peer.takes_all()) EXPECT_EQ(h.bytes(), 36u);  // limited transmit
    peer.sends({.flags = ack, .ack = 1});
    EXPECT_EQ(peer.expects({.flags = ack, .seq = 1}).bytes(), 36u);
    peer.forgets();
    peer.waits();
    EXPECT_EQ(peer.expects({.flags = ack, .seq = 1}).bytes(), 36u);
    for (int round = 0; round < 200 && peer.stream().size() < 720; ++round) {
        peer.sends({.flags = ack});
        if (peer.heard_nothing()) peer.waits(10s);
        for (const Heard& h : peer.takes_all()) EXPECT_EQ(h.bytes(), 36u);
    }
    peer.sends({.flags = ack});
    EXPECT_TRUE(same(peer.stream(), pattern(0, 720)));
    peer.forgets();
}

TEST_F(SmallMss, ATinyWindowOfATinyPeerMakesProgressToo) {
    proves("X13");
    peer.window = 1;
    peer.connects({.mss = uint16_t{0}});
    app.sends_pattern(20);
    for (int i = 0; i < 20; ++i) {
        if (peer.heard_nothing()) peer.waits(130s);
        peer.expects({.flags = ack, .seq = 1 + i, .bytes = 1});
        peer.sends({.flags = ack});
    }
    EXPECT_TRUE(same(peer.stream(), pattern(0, 20)));
}

}  // namespace
}  // namespace pollux::test
