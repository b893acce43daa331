// Digest: 64 bits over words and packets, fast. Equal runs have equal ones, and that is all it must tell.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace pollux::test {

class Digest {
public:
    void add(uint64_t word) { state_ = std::rotl(state_ ^ word, 27) * 0x9e37'79b9'7f4a'7c15 + 1; }
    void add(std::span<const std::byte> bytes) {
        size_t at = 0;
        for (; at + 8 <= bytes.size(); at += 8) {
            uint64_t word;
            std::memcpy(&word, bytes.data() + at, 8);
            add(word);
        }
        uint64_t rest = bytes.size();
        for (; at < bytes.size(); ++at) rest = rest << 8 | std::to_integer<uint64_t>(bytes[at]);
        add(rest);
    }
    uint64_t value() const { return state_ ^ state_ >> 32; }

private:
    uint64_t state_ = 0x5eed;
};

}  // namespace pollux::test
