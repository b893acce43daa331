// A 48-bit link-layer address, as the six bytes on the wire.
#pragma once

#include <array>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>

namespace pollux::tcp::wire {

struct MacAddress {
    std::array<uint8_t, 6> octets{};

    constexpr bool operator==(const MacAddress&) const = default;

    static constexpr MacAddress broadcast() noexcept { return {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}; }
    /// Reads "02:00:5e:00:00:01" (also with '-'); nothing else.
    static std::optional<MacAddress> parse(std::string_view text);

    constexpr bool is_unspecified() const noexcept { return *this == MacAddress{}; }
    constexpr bool is_broadcast() const noexcept { return *this == broadcast(); }
    /// The group bit: broadcast is a multicast address too.
    constexpr bool is_multicast() const noexcept { return (octets[0] & 1) != 0; }

    /// "02:00:5e:00:00:01".
    std::string to_string() const;
};
static_assert(sizeof(MacAddress) == 6);

std::ostream& operator<<(std::ostream& out, const MacAddress& address);

}  // namespace pollux::tcp::wire
