#include "engine/impaired_queue.hpp"

#include <cstdio>

namespace pollux::engine {

using tcp::Duration;
using tcp::Instant;

ImpairedDirection::ImpairedDirection(const config::Impairment& impairment, uint64_t seed,
                                     const ImpairmentTallies& tallies, tcp::Counters& counters)
    : impairment_(impairment), tallies_(tallies), counters_(&counters), random_(seed) {
    held_.reserve(capacity);
}

ImpairedDirection::~ImpairedDirection() {
    for (const Held& held : held_) rte_pktmbuf_free(held.packet);
}

void ImpairedDirection::admit(rte_mbuf* packet, Instant now) {
    if (happens(impairment_.loss_ppm)) {
        counters_->add(tallies_.lost);
        rte_pktmbuf_free(packet);
        return;
    }
    rte_mbuf* duplicate = nullptr;
    if (happens(impairment_.duplication_ppm)) {
        duplicate = rte_pktmbuf_copy(packet, packet->pool, 0, UINT32_MAX);
        if (duplicate) counters_->add(tallies_.duplicated);
    }
    travel(packet, now);
    if (duplicate) travel(duplicate, now);
}

// Each of two duplicates is damaged and held back by itself.
void ImpairedDirection::travel(rte_mbuf* packet, Instant now) {
    if (held_.size() == capacity) {
        counters_->add(tallies_.overflowed);
        rte_pktmbuf_free(packet);
        return;
    }
    if (happens(impairment_.corruption_ppm)) corrupt(*packet);
    Duration jitter{0};
    if (impairment_.jitter > Duration::zero()) {
        jitter = Duration{random_.below(static_cast<uint32_t>(impairment_.jitter.count()) + 1)};
    }
    Instant due = std::max(now + impairment_.delay + jitter, last_due_);
    if (happens(impairment_.reordering_ppm)) {
        counters_->add(tallies_.reordered);
        due += impairment_.reorder_by;
    } else {
        last_due_ = due;
    }
    held_.push_back({due, admitted_++, packet});
    std::push_heap(held_.begin(), held_.end(), later);
}

void ImpairedDirection::corrupt(rte_mbuf& packet) {
    const auto bytes = bytes_of(packet);
    if (bytes.empty()) return;
    const uint32_t bit = random_.below(static_cast<uint32_t>(bytes.size()) * 8);
    bytes[bit / 8] ^= std::byte(1u << bit % 8);
    // The device has judged what it received, not what we make of it.
    packet.ol_flags &= ~(RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK);
    counters_->add(tallies_.corrupted);
}

uint16_t ImpairedDirection::take_due(std::span<rte_mbuf*> into, Instant now) {
    uint16_t count = 0;
    while (count < into.size() && !held_.empty() && held_.front().due <= now) {
        into[count++] = held_.front().packet;
        std::pop_heap(held_.begin(), held_.end(), later);
        held_.pop_back();
    }
    return count;
}

namespace {

std::string describe(const config::Impairment& impairment) {
    std::string text;
    const auto add = [&](const char* format, double value) {
        char part[64];
        std::snprintf(part, sizeof part, format, value);
        text += (text.empty() ? "" : ", ") + std::string{part};
    };
    const auto percent = [](uint32_t ppm) { return ppm / 10'000.0; };
    const auto ms = [](Duration duration) { return static_cast<double>(duration.count()) / 1'000; };
    if (impairment.loss_ppm != 0) add("%g%% lost", percent(impairment.loss_ppm));
    if (impairment.duplication_ppm != 0) add("%g%% doubled", percent(impairment.duplication_ppm));
    if (impairment.reordering_ppm != 0) add("%g%% overtaken", percent(impairment.reordering_ppm));
    if (impairment.corruption_ppm != 0) add("%g%% damaged", percent(impairment.corruption_ppm));
    if (impairment.delay != Duration::zero()) add("delayed by %g ms", ms(impairment.delay));
    if (impairment.jitter != Duration::zero()) add("jitter of %g ms", ms(impairment.jitter));
    return text.empty() ? "untouched" : text;
}

}  // namespace

std::string describe(const config::Test& test) {
    return "THE [test] SETTINGS DAMAGE PACKETS ON PURPOSE, seed " + std::to_string(test.seed) +
           "; received: " + describe(test.receive) + "; sent: " + describe(test.send) +
           "; all checksums are left to the software";
}

}  // namespace pollux::engine
