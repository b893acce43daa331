// One -march for all targets: mixed ones block inlining and LTO between tcp/ and engine/, and DPDK's own flags would
// bring a second one. POLLUX_MARCH is the build option's value; what the compiler was really told shows in its
// macros.
#include <string_view>

namespace pollux::engine {
namespace {

constexpr std::string_view march = POLLUX_MARCH;

#if defined(__SSE4_2__) && defined(__POPCNT__)
constexpr bool has_v2 = true;
#else
constexpr bool has_v2 = false;
#endif
#if defined(__AVX2__) && defined(__BMI2__) && defined(__FMA__) && defined(__MOVBE__)
constexpr bool has_v3 = true;
#else
constexpr bool has_v3 = false;
#endif
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
constexpr bool has_v4 = true;
#else
constexpr bool has_v4 = false;
#endif

static_assert(has_v2, "DPDK's headers need SSE4.2: -Dmarch must name x86-64-v2 or better");
static_assert(march != "x86-64-v2" || !has_v3, "a second -march widens the one of -Dmarch");
static_assert(march != "x86-64-v3" || (has_v3 && !has_v4), "a second -march replaces the one of -Dmarch");
static_assert(march != "x86-64-v4" || has_v4, "a second -march narrows the one of -Dmarch");

}  // namespace
}  // namespace pollux::engine
