// What libFuzzer calls: one target, POLLUX_FUZZ_TARGET.
#include "tests/fuzz/targets.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    pollux::fuzz::POLLUX_FUZZ_TARGET({data, size});
    return 0;
}
