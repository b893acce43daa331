#include "tcp/wire/ipv6.hpp"

namespace pollux::tcp::wire {
namespace {

enum class Extension : uint8_t { hop_by_hop = 0, routing = 43, fragment = 44, destination_options = 60 };

constexpr int max_extensions = 8;  // the recommended order of RFC 8200 section 4.1 has seven
// RFC 8504 section 5.3: alignment to 8 bytes never takes more padding, and the number of options may be limited.
constexpr size_t max_padding = 7;
constexpr int max_options = 8;

// RFC 8200 section 4.2: whether all options of a header may be skipped by one who knows only padding. `options` lie
// behind the next header and length bytes.
bool options_allow(std::span<const std::byte> options) noexcept {
    constexpr uint8_t pad_1 = 0, pad_n = 1, action_bits = 0xc0;
    size_t padding = 0;
    int count = 0;
    for (size_t i = 0; i < options.size();) {
        const uint8_t type = load_u8(&options[i]);
        size_t size = 1;
        if (type != pad_1) {
            if (i + 1 >= options.size()) return false;
            size = size_t{2} + load_u8(&options[i + 1]);
            if (size > options.size() - i) return false;
        }
        if (type == pad_1 || type == pad_n) {
            padding += size;
            if (padding > max_padding) return false;
        } else {
            padding = 0;
            if ((type & action_bits) != 0 || ++count > max_options) return false;
        }
        i += size;
    }
    return true;
}

}  // namespace

Ipv6Header::Found Ipv6Header::walk(std::span<const std::byte> packet) noexcept {
    Found found{.protocol = IpProtocol{load_u8(packet.data() + 6)}};
    const auto end_with = [&found](Ipv6Chain chain) {
        found.chain = chain;
        return found;
    };
    for (int steps = 0;; ++steps) {
        const auto kind = Extension{uint8_t(found.protocol)};
        const bool is_options = kind == Extension::hop_by_hop || kind == Extension::destination_options;
        if (!is_options && kind != Extension::routing && kind != Extension::fragment) return found;

        if (kind == Extension::hop_by_hop && steps > 0) return end_with(Ipv6Chain::malformed);
        if (steps == max_extensions) return end_with(Ipv6Chain::malformed);
        const auto left = packet.subspan(found.payload_at);
        if (left.size() < 8) return end_with(Ipv6Chain::malformed);
        // Section 4.5: the fragment header is 8 bytes long, and where the others have their length it has a zero.
        const size_t size = kind == Extension::fragment ? 8 : 8 * (size_t{load_u8(&left[1])} + 1);
        if (size > left.size()) return end_with(Ipv6Chain::malformed);

        if (is_options && !options_allow(left.subspan(2, size - 2))) return end_with(Ipv6Chain::malformed);
        // Segments left. What is behind a source route is not ours to read.
        if (kind == Extension::routing && load_u8(&left[3]) != 0) return end_with(Ipv6Chain::source_route);
        if (kind == Extension::fragment) {
            found.has_fragment_header = true;
            // Offset and "more fragments"; the two bits between them are reserved.
            if ((load_be16(&left[2]) & 0xfff9) != 0) return end_with(Ipv6Chain::fragment);
        }
        found.protocol = IpProtocol{load_u8(left.data())};
        found.payload_at += static_cast<uint32_t>(size);
    }
}

}  // namespace pollux::tcp::wire
