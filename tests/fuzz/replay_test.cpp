// The corpora of the targets that need no device.
#include "tests/fuzz/replay.hpp"

namespace pollux::fuzz {
namespace {

TEST_P(Corpus, HoldsNothingThatBreaksAPromise) { replays(); }

INSTANTIATE_TEST_SUITE_P(Fuzz, Corpus,
                         testing::Values(Target{"options", options}, Target{"packet", packet},
                                         Target{"receive_store", receive_store}, Target{"scoreboard", scoreboard},
                                         Target{"cookies", cookies}, Target{"state_machine", state_machine},
                                         Target{"http_request", http_request},
                                         Target{"http_connection", http_connection}, Target{"settings", settings}),
                         name_of);

TEST(Demand, IsHeardWhenItDoesNotHold) {
    EXPECT_NO_THROW(demand(true, "nothing is wrong"));
    EXPECT_THROW(demand(false, "something is wrong"), Found);
}

TEST(Input, GoesOnWithZerosAndStaysBelowItsBound) {
    const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7};
    Input in{bytes};
    EXPECT_EQ(in.two(), 0x0102);
    EXPECT_EQ(in.four(), 0x03040506u);
    EXPECT_EQ(in.below(4), 3u);
    EXPECT_TRUE(in.empty());
    EXPECT_EQ(in.eight(), 0u);
    EXPECT_TRUE(in.take(3).empty());
}

}  // namespace
}  // namespace pollux::fuzz
