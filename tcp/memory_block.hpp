// One block of zeroed memory, reserved at start and given back at the end: what pools and tables are made of.
//
// The kernel hands pages out when they are first touched, so a pool sized for ten million connections costs only
// what is used. Blocks above 2 MB are aligned to 2 MB and ask for huge pages: at that size nearly every random
// access would otherwise miss the TLB as well.
#pragma once

#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <system_error>

namespace pollux::tcp {

class MemoryBlock {
public:
    static constexpr size_t huge_page = size_t{2} << 20;
    static constexpr size_t small_page = 4096;

    /// `purpose` ends the sentence of a failure: "cannot reserve 640 MB for the connection table: ...".
    MemoryBlock(size_t bytes, const char* purpose) {
        const bool huge = bytes >= huge_page;
        const size_t unit = huge ? huge_page : small_page;
        size_ = (bytes + unit - 1) / unit * unit;
        if (size_ == 0) return;
        // A mapping starts on a small page: reserve one unit more and give back what stands out on either side.
        const size_t slack = huge ? huge_page : 0;
        void* const mapped = mmap(nullptr, size_ + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (mapped == MAP_FAILED) {
            throw std::runtime_error("cannot reserve " + std::to_string(size_ >> 20) + " MB for " + purpose + ": " +
                                     std::generic_category().message(errno));
        }
        std::byte* const first = static_cast<std::byte*>(mapped);
        const size_t before = (unit - reinterpret_cast<uintptr_t>(first) % unit) % unit;
        data_ = first + before;
        if (before > 0) munmap(first, before);
        if (slack > before) munmap(data_ + size_, slack - before);
        if (huge) madvise(data_, size_, MADV_HUGEPAGE);  // A hint: without huge pages everything works, slower.
    }
    ~MemoryBlock() {
        if (data_ != nullptr) munmap(data_, size_);
    }
    MemoryBlock(const MemoryBlock&) = delete;
    MemoryBlock& operator=(const MemoryBlock&) = delete;

    std::byte* data() const { return data_; }
    size_t size() const { return size_; }

private:
    std::byte* data_ = nullptr;
    size_t size_ = 0;
};

}  // namespace pollux::tcp
