// The corpora of the targets that need DPDK, without privileges, huge pages and devices.
#include "tests/fuzz/replay.hpp"

namespace pollux::fuzz {
namespace {

TEST_P(Corpus, HoldsNothingThatBreaksAPromise) { replays(); }

INSTANTIATE_TEST_SUITE_P(Fuzz, Corpus, testing::Values(Target{"ingress", ingress}), name_of);

}  // namespace
}  // namespace pollux::fuzz
