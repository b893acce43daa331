#include "tests/support/link.hpp"

#include <algorithm>
#include <cstddef>

#include "tests/support/family.hpp"

namespace pollux::test {

using namespace tcp;

Duration Link::up_to(Duration most) {
    return Duration{std::uniform_int_distribution<int64_t>(0, std::max<int64_t>(most.count(), 0))(random_)};
}

void Link::travel(Instant now, Packet packet) {
    if (happens(impairments_.bit_flips)) {
        size_t bit;
        do {
            bit = std::uniform_int_distribution<size_t>(0, packet.size() * 8 - 1)(random_);
        } while (!checksum_covers(bit));
        packet[bit / 8] ^= std::byte{1} << bit % 8;
        ++damaged_;
    }
    Instant arrives = std::max(now + impairments_.delay + up_to(impairments_.jitter), last_arrival_);
    if (happens(impairments_.reordering)) {
        arrives += up_to(impairments_.overtaken_by);
    } else {
        last_arrival_ = arrives;
    }
    travelling_.push({arrives, order_++, std::move(packet)});
}

void Link::sends(Instant now, const Packet& packet) {
    if (happens(impairments_.loss)) {
        ++lost_;
        return;
    }
    travel(now, packet);
    if (happens(impairments_.duplication)) travel(now, packet);
}

std::optional<Instant> Link::next_arrival() const {
    if (travelling_.empty()) return {};
    return travelling_.top().arrives;
}

std::vector<Packet> Link::arrivals(Instant now, size_t most) {
    std::vector<Packet> arrived;
    while (arrived.size() < most && !travelling_.empty() && travelling_.top().arrives <= now) {
        arrived.push_back(travelling_.top().packet);
        travelling_.pop();
    }
    return arrived;
}

}  // namespace pollux::test
