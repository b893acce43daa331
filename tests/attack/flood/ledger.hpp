// Ledger: what a flood was answered with. Every packet that comes back to one of the flood's sources is of a kind, and
// counts for the packet that it answers: nobody unverified may be sent more than one (a SYN-ACK's repetitions apart).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "tests/attack/flood/sources.hpp"

namespace pollux::test {

class Ledger {
public:
    enum class Reply : uint8_t { syn_ack, rst, ack, icmp, link, other, count };
    static constexpr std::array<std::string_view, 6> names{"syn_ack", "rst", "ack", "icmp", "link", "other"};
    static constexpr size_t most_told_apart = 8;  // replies to one packet; more count as so many

    Ledger() : answers_(sources::count), sent_(sources::count) {}

    /// The n-th packet leaves. What its predecessor from this source was answered with is history.
    void leaves(uint64_t n) {
        const auto place = n & sources::mask;
        settle(place);
        sent_[place] = 1;
    }
    /// A frame that is not for this station; `v6` has more to say of a SYN-ACK's size.
    void comes(std::span<const std::byte> frame);
    void comes(Reply reply) { ++replies_[static_cast<size_t>(reply)]; }

    uint64_t replies(Reply reply) const { return replies_[static_cast<size_t>(reply)]; }
    /// IP bytes of the longest SYN-ACK.
    uint32_t longest_syn_ack(bool v6) const { return longest_syn_ack_[v6 ? 1 : 0]; }
    /// How many packets got 0, 1, 2, ... replies.
    std::array<uint64_t, most_told_apart + 1> replies_per_packet();
    /// Replies to a source that no packet had left from.
    uint64_t unasked() const { return unasked_; }

private:
    void settle(uint64_t place) {
        if (sent_[place] != 0) ++settled_[answers_[place]];
        answers_[place] = 0;
        sent_[place] = 0;
    }
    void note(Reply reply, const tcp::IpAddress& to);

    std::array<uint64_t, static_cast<size_t>(Reply::count)> replies_{};
    std::array<uint64_t, most_told_apart + 1> settled_{};
    std::array<uint32_t, 2> longest_syn_ack_{};
    uint64_t unasked_ = 0;
    std::vector<uint8_t> answers_, sent_;  // by the number of the packet
};

}  // namespace pollux::test
