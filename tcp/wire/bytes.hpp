// Big-endian loads and stores: the only place that swaps bytes. Beyond tcp/wire every number is in host order.
//
// None of these functions checks a bound: the views have done that before, once for a whole header. memcpy makes each
// of them one unaligned mov and one bswap (or a movbe).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace pollux::tcp::wire {

static_assert(std::endian::native == std::endian::little || std::endian::native == std::endian::big);

/// A number as it stands in memory to its value and back.
constexpr uint16_t network_order(uint16_t value) noexcept {
    return std::endian::native == std::endian::big ? value : __builtin_bswap16(value);
}
constexpr uint32_t network_order(uint32_t value) noexcept {
    return std::endian::native == std::endian::big ? value : __builtin_bswap32(value);
}

inline uint8_t load_u8(const std::byte* at) noexcept { return static_cast<uint8_t>(*at); }

inline uint16_t load_be16(const std::byte* at) noexcept {
    uint16_t value;
    std::memcpy(&value, at, sizeof value);
    return network_order(value);
}

inline uint32_t load_be32(const std::byte* at) noexcept {
    uint32_t value;
    std::memcpy(&value, at, sizeof value);
    return network_order(value);
}

inline void store_u8(std::byte* at, uint8_t value) noexcept { *at = std::byte{value}; }

inline void store_be16(std::byte* at, uint16_t value) noexcept {
    value = network_order(value);
    std::memcpy(at, &value, sizeof value);
}

inline void store_be32(std::byte* at, uint32_t value) noexcept {
    value = network_order(value);
    std::memcpy(at, &value, sizeof value);
}

}  // namespace pollux::tcp::wire
