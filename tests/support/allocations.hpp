// Counts what operator new hands out, so that a test can claim "the packet path allocates nothing". The operators are
// replaced in allocations.cpp; an executable that uses this header gets them, others do not.
#pragma once

#include <cstdint>

namespace pollux::test {

/// Allocations of the whole program so far.
uint64_t allocations_so_far() noexcept;

/// Adds to `sum` what is allocated while it lives.
class AllocationMeter {
public:
    explicit AllocationMeter(uint64_t& sum) noexcept : sum_(sum), before_(allocations_so_far()) {}
    ~AllocationMeter() { sum_ += allocations_so_far() - before_; }
    AllocationMeter(const AllocationMeter&) = delete;
    AllocationMeter& operator=(const AllocationMeter&) = delete;

private:
    uint64_t& sum_;
    uint64_t before_;
};

}  // namespace pollux::test
