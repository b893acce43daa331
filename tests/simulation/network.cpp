#include "tests/simulation/network.hpp"

#include <algorithm>
#include <cmath>

#include "tests/support/router.hpp"

namespace pollux::simulation {

using namespace tcp;

namespace {

// The earliest arrival first; among equals the one sent first.
constexpr auto later_first = [](const auto& a, const auto& b) {
    return a.arrives != b.arrives ? a.arrives > b.arrives : a.order > b.order;
};

}  // namespace

Network::Active Network::find(FaultKind kind) const {
    // Options are stripped both ways by one fault.
    const Side at = kind == FaultKind::option_stripping ? Side::a : side_;
    return {scenario_.find(kind, at), Random(scenario_.seed, name(kind), number(side_))};
}

Network::Network(const Scenario& scenario, Side side, Notes* notes)
    : scenario_(scenario),
      side_(side),
      notes_(notes),
      jitter_(find(FaultKind::jitter)),
      bandwidth_(find(FaultKind::bandwidth)),
      ce_marks_(find(FaultKind::ce_marks)),
      loss_(find(FaultKind::loss)),
      burst_loss_(find(FaultKind::burst_loss)),
      chosen_loss_(find(FaultKind::chosen_loss)),
      reordering_(find(FaultKind::reordering)),
      duplication_(find(FaultKind::duplication)),
      late_(find(FaultKind::late_duplicates)),
      bit_flips_(find(FaultKind::bit_flips)),
      truncation_(find(FaultKind::truncation)),
      narrow_(find(FaultKind::narrow_mtu)),
      narrow_silent_(find(FaultKind::narrow_mtu_silent)),
      black_hole_(find(FaultKind::black_hole)),
      thinning_(find(FaultKind::ack_thinning)),
      compression_(find(FaultKind::ack_compression)),
      sack_stripping_(find(FaultKind::sack_stripping)),
      option_stripping_(find(FaultKind::option_stripping)),
      heals_at_(scenario.start + scenario.heals_after) {}

bool Network::drops(const char* why) {
    ++lost_;
    if (notes_ != nullptr) notes_->push_back(std::string("lost: ") + why + "-" + letter(side_));
    return true;
}

void Network::sends(Instant now, Packet packet) {
    const bool healed = now >= heals_at_;
    Glance seen = glance(packet);
    if (option_stripping_ && seen.has(Flags::syn)) strip_syn_options(packet, seen, option_stripping_->count);
    if (!fits(packet, healed)) return;
    Instant leaves = now;
    if (healed) {
        if (!passes_queue(leaves, packet)) return;
        last_arrival_ = std::max(leaves + scenario_.delay[number(side_)], last_arrival_);
        return travel(last_arrival_, std::move(packet));
    }
    if (sack_stripping_ && seen.is_tcp) strip_sack_blocks(packet, seen);
    if (is_lost(now, seen) || !passes_queue(leaves, packet)) return;
    if (ce_marks_.happens()) mark_congestion(packet);
    Packet copy, late_copy;
    if (duplication_.happens()) copy = packet;
    if (late_.happens()) late_copy = packet;
    damage(packet);
    Instant arrives = std::max(leaves + scenario_.delay[number(side_)] + extra_delay(), last_arrival_);
    if (seen.pure_ack()) arrives = held_ack(arrives, seen);
    if (reordering_.happens()) {
        arrives += reordering_.random.between(Duration{0}, reordering_->time);
    } else {
        last_arrival_ = arrives;
    }
    travel(arrives, std::move(packet));
    if (!copy.empty())
        travel(arrives + duplication_.random.between(Duration{0}, duplication_->time), std::move(copy));
    if (!late_copy.empty()) {
        // RFC 9293 section 3.4.3: the network forgets a segment within one MSL. The shorter of both sides' counts.
        const Duration msl = std::min(scenario_.hosts[0].settings.msl, scenario_.hosts[1].settings.msl);
        const Duration least = std::min<Duration>(1s, msl / 2);
        const Instant late = now + late_.random.between(least, std::max(least, msl - 1s));
        travel(std::max(late, arrives), std::move(late_copy));
    }
}

// ---- Loss. --------------------------------------------------------------------------------------------------------

bool Network::is_lost(Instant now, const Glance& seen) {
    if (chosen_loss_ && seen.is_tcp && is_chosen(seen)) return drops("chosen-loss");
    if (black_hole_ && now >= scenario_.start + black_hole_->from && now < scenario_.start + black_hole_->until) {
        return drops("black-hole");
    }
    if (burst_loss_) {
        bad_state_ = bad_state_ ? !burst_loss_.random.chance(burst_loss_->second) : burst_loss_.happens();
        if (bad_state_ && burst_loss_.random.chance(0.8)) return drops("burst-loss");
    }
    return loss_.happens() && drops("loss");
}

bool Network::is_chosen(const Glance& seen) {
    const auto is = [&] {
        switch (chosen_loss_->chosen) {
            case Chosen::syn: return seen.has(Flags::syn) && !seen.has(Flags::ack);
            case Chosen::syn_ack: return seen.has(Flags::syn) && seen.has(Flags::ack);
            case Chosen::fin: return seen.has(Flags::fin);
            case Chosen::rst: return seen.has(Flags::rst);
            case Chosen::pure_ack: return seen.pure_ack();
            case Chosen::data: return seen.payload > 0;
            case Chosen::window_update: {
                uint32_t& last = last_ack_[seen.ports];
                return std::exchange(last, seen.ack) == seen.ack && seen.pure_ack();
            }
        }
        return false;
    };
    if (!is()) return false;
    const uint32_t nth = ++chosen_loss_.seen;
    return nth >= chosen_loss_->nth && nth < chosen_loss_->nth + chosen_loss_->count;
}

// ---- The link: its MTU, its speed, its queue.
// -----------------------------------------------------------------------

bool Network::fits(const Packet& packet, bool healed) {
    if (narrow_silent_ && !healed && packet.size() > narrow_silent_->count) return !drops("narrow-mtu-silent");
    if (!narrow_ || packet.size() <= narrow_->count) return true;
    // A router too old to name its MTU (RFC 1191 section 5) speaks IPv4.
    const bool names_it = narrow_->nth != 0 || scenario_.ipv6;
    errors_.push_back(test::too_big_about(packet, names_it ? narrow_->count : 0));
    return !drops("narrow-mtu");
}

bool Network::passes_queue(Instant& leaves, Packet& packet) {
    if (!bandwidth_) return true;
    const auto needs = [this](size_t bytes) {
        return Duration{static_cast<int64_t>(bytes) * 1'000'000 / bandwidth_->count + 1};
    };
    const Duration waits = std::max(free_at_ - leaves, Duration{0});
    // Healed, the link stays slow but its queue takes everything.
    if (leaves < heals_at_ && waits > needs(bandwidth_->nth)) return !drops("bandwidth");
    free_at_ = leaves + waits + needs(packet.size());
    leaves = free_at_;
    return true;
}

void Network::damage(Packet& packet) {
    if (bit_flips_.happens()) {
        flip_bits(packet, bit_flips_.random);
        if (notes_ != nullptr) notes_->push_back(std::string("damaged: bit-flips-") + letter(side_));
    }
    if (truncation_.happens()) {
        packet.resize(1 + truncation_.random.below(packet.size() - 1));
        if (notes_ != nullptr) notes_->push_back(std::string("damaged: truncation-") + letter(side_));
    }
}

// ---- Time. --------------------------------------------------------------------------------------------------------

Duration Network::extra_delay() {
    if (!jitter_) return Duration{0};
    const auto mean = static_cast<double>(jitter_->time.count());
    const double u = std::max(jitter_.random.unit(), 1e-4);
    switch (jitter_->count) {
        case 0: return Duration{static_cast<int64_t>(2 * mean * u)};
        case 1: return Duration{static_cast<int64_t>(-mean * std::log(u))};
        default: return Duration{static_cast<int64_t>(mean / 3 * std::pow(u, -0.667))};  // Pareto: 1 in 10^4 is 154 x
    }
}

// Pure ACKs wait for the next tick of a coarse clock. Compressed, they arrive together; thinned, the latest arrives.
Instant Network::held_ack(Instant arrives, const Glance& seen) {
    const auto next_tick = [&](const Active& fault) {
        const auto us = arrives.time_since_epoch().count(), every = fault->time.count();
        return Instant{Duration{(us / every + 1) * every}};
    };
    if (compression_) arrives = next_tick(compression_);
    if (!thinning_) return arrives;
    arrives = next_tick(thinning_);
    auto& [when, order] = held_[seen.ports];
    if (when == arrives) {
        const auto held = std::ranges::find_if(heap_, [&](const Travelling& t) { return t.order == order; });
        if (held != heap_.end()) {
            heap_.erase(held);
            std::ranges::make_heap(heap_, later_first);
            drops("ack-thinning");
        }
    }
    when = arrives;
    order = order_ + 1;  // travel() is about to give it this number
    return arrives;
}

void Network::travel(Instant arrives, Packet packet) {
    heap_.push_back({arrives, ++order_, std::move(packet)});
    std::ranges::push_heap(heap_, later_first);
}

std::optional<Instant> Network::next_arrival() const {
    if (heap_.empty()) return {};
    return heap_.front().arrives;
}

void Network::arrivals(Instant now, size_t most, std::vector<Packet>& arrived) {
    for (; most > 0 && !heap_.empty() && heap_.front().arrives <= now; --most) {
        std::ranges::pop_heap(heap_, later_first);
        arrived.push_back(std::move(heap_.back().packet));
        heap_.pop_back();
    }
}

}  // namespace pollux::simulation
