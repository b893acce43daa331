// A buffer whose last byte touches a page without access: reading or writing one byte beyond it stops the program,
// with or without a sanitizer.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <system_error>

namespace pollux::tests {

class GuardPage {
public:
    /// Room for up to `capacity` bytes; bytes(n) gives the last n of them.
    explicit GuardPage(size_t capacity) {
        const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
        usable_ = (std::max<size_t>(capacity, 1) + page - 1) / page * page;
        mapped_ = usable_ + page;
        void* memory = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap of a guard page");
        begin_ = static_cast<std::byte*>(memory);
        if (mprotect(begin_ + usable_, page, PROT_NONE) != 0) {
            munmap(begin_, mapped_);
            throw std::system_error(errno, std::generic_category(), "mprotect of a guard page");
        }
    }
    GuardPage(const GuardPage&) = delete;
    GuardPage& operator=(const GuardPage&) = delete;
    ~GuardPage() { munmap(begin_, mapped_); }

    size_t capacity() const { return usable_; }
    /// `size` bytes that end where the access ends; `size` is at most capacity().
    std::span<std::byte> bytes(size_t size) const { return {begin_ + usable_ - size, size}; }
    /// A copy of `source` that ends where the access ends.
    std::span<std::byte> hold(std::span<const std::byte> source) const {
        const auto place = bytes(source.size());
        if (!source.empty()) std::memcpy(place.data(), source.data(), source.size());
        return place;
    }

private:
    std::byte* begin_ = nullptr;
    size_t usable_ = 0;
    size_t mapped_ = 0;
};

}  // namespace pollux::tests
