// Published: a copy of a value that one thread replaces now and then and others may read at any time (a sequence lock
// over atomic words). The writer never waits; a reader tries again when it caught a replacement half way.
//
// Each word is released and acquired, which costs nothing on x86: who reads a word of a replacement also sees that its
// version is odd. Fences would do the same, but ThreadSanitizer does not follow them.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace pollux::engine {

template <class T>
class Published {
    static_assert(std::is_trivially_copyable_v<T>);
    static constexpr size_t words = (sizeof(T) + 7) / 8;

public:
    /// By the one writer.
    void write(const T& value) {
        std::array<uint64_t, words> raw{};
        std::memcpy(raw.data(), &value, sizeof(T));
        const uint32_t version = version_.load(std::memory_order_relaxed);
        version_.store(version + 1, std::memory_order_relaxed);  // odd: being replaced
        for (size_t i = 0; i < words; ++i) words_[i].store(raw[i], std::memory_order_release);
        version_.store(version + 2, std::memory_order_release);
    }
    /// By anybody. False: nothing has been written yet.
    bool read(T& value) const {
        std::array<uint64_t, words> raw;
        while (true) {
            const uint32_t before = version_.load(std::memory_order_acquire);
            if (before == 0) return false;
            for (size_t i = 0; i < words; ++i) raw[i] = words_[i].load(std::memory_order_acquire);
            if ((before & 1) == 0 && version_.load(std::memory_order_relaxed) == before) break;
        }
        std::memcpy(static_cast<void*>(&value), raw.data(), sizeof(T));
        return true;
    }

private:
    alignas(64) std::atomic<uint32_t> version_{0};
    std::array<std::atomic<uint64_t>, words> words_{};
};

}  // namespace pollux::engine
