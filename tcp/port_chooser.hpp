// PortChooser: which local port an active open takes, by the double hash of RFC 6056 section 3.3.4 (algorithm 4).
//
// Ports that a peer can guess make blind attacks on connections cheap; ports at random come back too early, while the
// peer still holds the last connection in TIME-WAIT. So each destination has a starting place of its own that nobody
// can compute without the secret, and goes up from there: the same port comes again only after all others have. The
// counters are shared by destinations that fall together in a second, equally secret hash, so that one destination
// cannot count what is opened to another.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <utility>

#include "tcp/segment.hpp"
#include "tcp/siphash.hpp"

namespace pollux::tcp {

class PortChooser {
public:
    /// A range that is full, or a filter that wants nothing, ends the search here: one open must not hold up a turn.
    static constexpr uint32_t most_tries = 1'024;

    /// Ports from `first` to `last`, both included; `first` is at most `last`.
    PortChooser(SipKey key, uint16_t first, uint16_t last)
        : key_(key), first_(first), count_(uint32_t{last} - first + 1) {}

    /// The next port for this destination with which `accepts(flow)` holds, or nothing. The local port of `flow` is
    /// not read.
    template <class Accepts>
    std::optional<uint16_t> choose(FourTuple flow, Accepts&& accepts) {
        flow.local_port = 0;
        // With the salt the message is longer than that of an ISN, so one key serves both.
        const uint64_t hash = siphash_2_4(key_, flow, uint64_t{0});
        const auto offset = static_cast<uint32_t>(hash);
        uint32_t& next = next_[(hash >> 32) % next_.size()];
        for (uint32_t tries = std::min(count_, most_tries); tries > 0; --tries) {
            flow.local_port = static_cast<uint16_t>(first_ + (uint64_t{offset} + next++) % count_);
            if (accepts(std::as_const(flow))) return flow.local_port;
        }
        return {};
    }

private:
    SipKey key_;
    uint32_t first_, count_;
    std::array<uint32_t, 64> next_{};
};

}  // namespace pollux::tcp
