// How a worker ends: draining, its limit, and the second request.
#include "engine/drain.hpp"

#include <gtest/gtest.h>

#include "tests/engine/rig.hpp"

namespace pollux::testing {
namespace {

using MemoryRig = Rig<MemoryWire>;

TEST(Drain, WithoutARequestItNeverEnds) {
    MemoryRig rig;
    engine::Drain drain{10s};
    EXPECT_FALSE(drain.is_over(rig.worker(), 0, rig.now()));
    EXPECT_FALSE(drain.has_begun());
}

TEST(Drain, WithoutConnectionsItEndsAtOnce) {
    MemoryRig rig;
    engine::Drain drain{10s};
    EXPECT_TRUE(drain.is_over(rig.worker(), 1, rig.now()));
}

TEST(Drain, IdleConnectionsGetFinAndNewOnesAreNotAccepted) {
    MemoryRig rig;
    engine::Drain drain{10s};
    Caller caller{rig};
    caller.open();
    EXPECT_FALSE(drain.is_over(rig.worker(), 1, rig.now()));
    rig.turn();
    const auto frames = rig.take_frames();
    ASSERT_EQ(frames.size(), 1u);
    const Segment fin = read_segment(frames[0]);
    EXPECT_TRUE(fin.has(Flags::fin));

    Caller late{rig, 40007};
    EXPECT_TRUE(rig.exchange(late.frame(Flags::syn)).empty());
    EXPECT_EQ(rig.count(Verdict::draining), 1u);

    EXPECT_FALSE(drain.is_over(rig.worker(), 1, rig.now()));
    caller.acknowledges(fin);
    rig.exchange(caller.frame(Flags::ack | Flags::fin));
    rig.turn();
    EXPECT_TRUE(drain.is_over(rig.worker(), 1, rig.now())) << "a TIME-WAIT record keeps nobody";
}

TEST(Drain, AtTheLimitTheRestGetsRst) {
    MemoryRig rig;
    engine::Drain drain{10s};
    rig.app().lets_go = false;
    Caller caller{rig};
    caller.open();
    EXPECT_FALSE(drain.is_over(rig.worker(), 1, rig.now()));
    rig.time_passes(9s);
    EXPECT_TRUE(rig.take_frames().empty());
    EXPECT_FALSE(drain.is_over(rig.worker(), 1, rig.now()));
    rig.jump(1s);
    EXPECT_FALSE(drain.is_over(rig.worker(), 1, rig.now())) << "the RST has to leave first";
    rig.turn();
    const auto frames = rig.take_frames();
    ASSERT_EQ(frames.size(), 1u);
    EXPECT_TRUE(read_segment(frames[0]).has(Flags::rst));
    EXPECT_TRUE(drain.is_over(rig.worker(), 1, rig.now()));
}

TEST(Drain, ADeviceThatTakesNothingDoesNotHoldItUp) {
    MemoryRig rig;
    engine::Drain drain{10s};
    Caller caller{rig};
    caller.open();
    rig.wire().queue().take_only(0);
    EXPECT_FALSE(drain.is_over(rig.worker(), 1, rig.now()));
    rig.jump(10s);
    EXPECT_FALSE(drain.is_over(rig.worker(), 1, rig.now()));
    rig.turn();
    EXPECT_FALSE(drain.is_over(rig.worker(), 1, rig.now()));
    rig.jump(1s);
    EXPECT_TRUE(drain.is_over(rig.worker(), 1, rig.now()));
}

TEST(Drain, TheSecondRequestEndsItAtOnce) {
    MemoryRig rig;
    engine::Drain drain{10s};
    Caller caller{rig};
    caller.open();
    EXPECT_FALSE(drain.is_over(rig.worker(), 1, rig.now()));
    EXPECT_TRUE(drain.is_over(rig.worker(), 2, rig.now()));
}

}  // namespace
}  // namespace pollux::testing
