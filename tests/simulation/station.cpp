#include "tests/simulation/station.hpp"

#include <algorithm>

#include "tcp/wire/packet.hpp"
#include "tests/support/router.hpp"

namespace pollux::simulation {

using namespace tcp;

namespace {

constexpr uint32_t timer_budget = 64;
constexpr PathId the_path = 7;

}  // namespace

Station::Station(const Scenario& scenario, Side side, Judge& judge)
    : scenario_(scenario),
      plan_(scenario.hosts[number(side)]),
      judge_(judge),
      stack_(plan_.settings, plan_.secrets, counters_),
      application_(scenario, side, judge),
      checks_(scenario, side, application_, counters_, judge),
      out_(plan_.batch),
      full_ring_(scenario.find(FaultKind::full_ring, side)),
      coalescing_(scenario.find(FaultKind::coalescing, side)) {
    application_.reserves_pins(stack_);
    for (size_t i = 0; i < scenario.connections.size(); ++i) {
        using Opening = ConnectionPlan::Opening;
        const Opening opening = scenario.connections[i].opening;
        const bool listens = opening == (side == Side::a ? Opening::from_b : Opening::from_a);
        if (listens) stack_.listen({scenario.address(side), scenario.flow(i, side).local_port});
    }
}

// ---- Time. --------------------------------------------------------------------------------------------------------

Instant Station::takes_at(Instant arrival) const {
    if (coalescing_ == nullptr || arrival >= scenario_.start + scenario_.heals_after) return arrival;
    const auto us = arrival.time_since_epoch().count(), every = coalescing_->time.count();
    return Instant{Duration{(us + every - 1) / every * every}};
}

// The ring is open for `from`, then full for `time`, and so on until healing.
uint32_t Station::room(Instant now) const {
    if (full_ring_ == nullptr || now >= scenario_.start + scenario_.heals_after) return plan_.batch;
    const Duration phase = (now - scenario_.start) % (full_ring_->from + full_ring_->time);
    return phase < full_ring_->from ? plan_.batch : std::min(full_ring_->count, plan_.batch);
}

Instant Station::ring_changes_at(Instant now) const {
    const Duration cycle = full_ring_->from + full_ring_->time;
    const Instant opens = now + (cycle - (now - scenario_.start) % cycle);
    // What little room there is comes anew with every millisecond.
    const Instant next = full_ring_->count > 0 ? std::min(opens, now + Duration{1ms}) : opens;
    return std::min(next, scenario_.start + scenario_.heals_after);
}

std::optional<Instant> Station::next_due(Instant now) const {
    std::optional<Instant> next = stack_.next_due(now);
    // What was due now has had its turn; what could not leave waits for the ring.
    if (next && *next <= now) next = waits_for_ring_ ? ring_changes_at(now) : now + Duration{1};
    const auto consider = [&next](std::optional<Instant> due) {
        if (due && (!next || *due < *next)) next = due;
    };
    consider(application_.next_due());
    if (waits_for_ring_) consider(ring_changes_at(now));
    return next;
}

// ---- The turn. ----------------------------------------------------------------------------------------------------

void Station::turn(Instant now, std::vector<Packet>& burst, std::vector<Packet>& sent) {
    checks_.begins_turn();
    out_.reset(room(now));
    segments_.clear();
    hears(burst, now);
    if (!segments_.empty()) stack_.input(segments_, now, out_);
    const bool timers_remain = stack_.advance_timers(now, timer_budget);
    application_.on_turn(stack_.events(), stack_, now);
    stack_.transmit(now, out_);
    // A received packet is not touched after its turn.
    for (Packet& packet : burst) std::fill(packet.begin(), packet.end(), std::byte{0xdd});
    sends(now, sent);
    const bool is_full = room(now) < plan_.batch;
    busy_ = timers_remain || !stack_.events().empty() || (stack_.has_work() && !is_full);
    waits_for_ring_ = is_full && (stack_.has_work() || stack_.next_due(now).value_or(now + 1s) <= now);
    checks_.ends_turn(stack_, now, !is_full && !timers_remain);
    if (counters_[Tally::events_lost] != 0) judge_.complains(now, "events were lost");
}

void Station::hears(std::vector<Packet>& burst, Instant now) {
    for (const Packet& packet : burst) {
        Segment segment;
        const wire::ParseResult result = wire::parse_into(packet, wire::ChecksumTrust::verify_all, segment);
        if (result == wire::ParseResult::ok) {
            segment.path = the_path;
            checks_.hears(segment, stack_, now);
            segments_.push_back(segment);
        } else if (result == wire::ParseResult::not_tcp) {
            const auto notice = test::notice_in(packet);
            if (!notice) continue;
            checks_.hears_error(notice->flow);
            stack_.notify(*notice, now);
        }
    }
}

void Station::sends(Instant now, std::vector<Packet>& sent) {
    for (const TxSegment& segment : out_.segments()) {
        Packet packet(wire::headers_size(segment.segment) + segment.payload_size);
        const auto emitted = wire::emit(segment.segment, out_.pieces(segment), packet, wire::ChecksumMode::software);
        if (emitted.size != packet.size()) return judge_.complains(now, "a segment that emit() does not write");
        Segment read;
        if (wire::parse_into(packet, wire::ChecksumTrust::verify_all, read) != wire::ParseResult::ok) {
            return judge_.complains(now, "a packet has left that parse() refuses");
        }
        // A packet's reader is its receiver: to the checks it is the sender's.
        std::swap(read.flow.local_addr, read.flow.remote_addr);
        std::swap(read.flow.local_port, read.flow.remote_port);
        checks_.says(read, packet.size(), now);
        sent.push_back(std::move(packet));
    }
}

}  // namespace pollux::simulation
