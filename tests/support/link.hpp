// Link: one direction of a bad network. Packets are lost, doubled, delayed, overtaken and damaged, as a seed says:
// the same seed gives the same network. Damage is one bit flipped anywhere in the packet; the checksums must catch
// it.
#pragma once

#include <optional>
#include <queue>
#include <random>
#include <vector>

#include "tcp/time.hpp"
#include "tests/support/packet_log.hpp"

namespace pollux::test {

struct Impairments {
    double loss = 0, duplication = 0, reordering = 0, bit_flips = 0;  // of packets, 0 to 1
    tcp::Duration delay{5'000};
    tcp::Duration jitter{0};             // added to every packet, 0 to this, without overtaking
    tcp::Duration overtaken_by{20'000};  // what a reordered packet waits beyond the others, at most
};

class Link {
public:
    Link(const Impairments& impairments, uint64_t seed) : impairments_(impairments), random_(seed) {}

    void sends(tcp::Instant now, const Packet& packet);
    /// When the next packet arrives.
    std::optional<tcp::Instant> next_arrival() const;
    /// The packets that have arrived by now, in order of arrival, at most `most`.
    std::vector<Packet> arrivals(tcp::Instant now, size_t most = 32);

    uint64_t lost() const { return lost_; }
    uint64_t damaged() const { return damaged_; }

private:
    struct Travelling {
        tcp::Instant arrives;
        uint64_t order;
        Packet packet;
        bool operator>(const Travelling& other) const {
            return arrives != other.arrives ? arrives > other.arrives : order > other.order;
        }
    };
    bool happens(double probability) { return std::uniform_real_distribution<>(0, 1)(random_) < probability; }
    tcp::Duration up_to(tcp::Duration most);
    void travel(tcp::Instant now, Packet packet);

    Impairments impairments_;
    std::mt19937_64 random_;
    std::priority_queue<Travelling, std::vector<Travelling>, std::greater<>> travelling_;
    tcp::Instant last_arrival_{};
    uint64_t order_ = 0, lost_ = 0, damaged_ = 0;
};

}  // namespace pollux::test
