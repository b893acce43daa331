// What is heard, and the checks of what is said. Positions are those of watch.hpp.
#include <algorithm>
#include <cstdio>

#include "tcp/wire/packet.hpp"
#include "tests/simulation/checks.hpp"
#include "tests/simulation/stream.hpp"

namespace pollux::simulation {

using namespace tcp;

namespace {

constexpr Duration tick = 1ms;
constexpr size_t offers_kept = 8;
constexpr State receiving_states = State::established | State::fin_wait_1 | State::fin_wait_2;

Offer offer_of(const Segment& s) {
    return {.seq = s.seq,
            .scale = s.has(Present::window_scale) ? std::min<int>(s.window_scale, 14) : -1,
            .mss = s.has(Present::mss) ? s.mss : uint16_t{0},
            .clock = s.timestamps.value,
            .timestamps = s.has(Present::timestamps),
            .sack = s.has(Present::sack_permitted)};
}

std::string in_ms(Duration time) { return std::to_string(time.count() / 1000) + " ms"; }

}  // namespace

Checks::Checks(const Scenario& scenario, Side side, const Application& application, const Counters& counters,
               Judge& judge)
    : scenario_(scenario),
      side_(side),
      settings_(scenario.hosts[number(side)].settings),
      application_(application),
      counters_(counters),
      judge_(judge) {
    // Who may not send when it wants cannot be blamed for when it sends.
    // Nor can it be known which of a hostile peer's ACKs count.
    if (scenario.find(FaultKind::full_ring, side) != nullptr || scenario.hostile) forgives_timing();
}

void Checks::begin(Watch& w) {
    w.existed = false;
    w.heard_now = w.resets_heard_now = w.said_now = w.resets_said_now = 0;
    w.beyond_gap_now = w.new_now = w.timer_now = false;
    w.same_acks_now = 0;
    w.said_before = w.said_end;
    w.needless_now.clear();
}

Watch& Checks::watch_of(const FourTuple& flow) {
    for (Watch& w : watches_) {
        if (w.flow == flow) return w;
    }
    Watch& w = watches_.emplace_back();
    w.flow = flow;
    w.connection = connection_of(flow);
    if (w.connection >= scenario_.connections.size()) w.connection = SIZE_MAX;
    return w;
}

const Watch* Checks::watch(size_t connection) const {
    const FourTuple& flow = application_.story(connection).flow;
    for (const Watch& w : watches_) {
        if (w.connection == connection && (flow.remote_port == 0 || flow.local_port == 0 || w.flow == flow))
            return &w;
    }
    return nullptr;
}

void Checks::complain(Instant now, const Watch& w, const std::string& what) {
    judge_.complains(
        now, std::string(1, static_cast<char>('A' + number(side_))) + ", " + w.flow.to_string() + ": " + what);
}

// ---- Heard. -------------------------------------------------------------------------------------------------------

void Checks::hears(const Segment& s, const Stack& stack, Instant now) {
    Watch& w = watch_of(s.flow);
    if (w.heard_now++ == 0) {
        w.existed = stack.find_conn(s.flow) || stack.state_of(s.flow) == State::syn_received;
    }
    if (s.has(Flags::rst)) {
        ++w.resets_heard_now;
        w.heard_since = true;
        return;
    }
    if (s.has(Flags::syn)) hears_syn(w, s);
    if (!w.iss_known) return;
    hears_ack(w, s, now);
    // RFC 9293 section 3.10.7.4: text without ACK, or on a repeated SYN, is not processed.
    if (w.irs_known && s.has(Flags::ack) && !s.has(Flags::syn)) hears_text(w, s);
}

void Checks::hears_syn(Watch& w, const Segment& s) {
    if (w.offers.size() == offers_kept) w.offers.erase(w.offers.begin());
    w.offers.push_back(offer_of(s));
    const bool answers = s.has(Flags::ack) && w.iss_known && s.ack == w.iss + 1;
    if (w.asks && !w.irs_known && (answers || !s.has(Flags::ack))) {
        w.irs_known = true;
        w.irs = s.seq;
        w.heard = offer_of(s);
    }
    if (w.irs_known) hears_clock(w, s);
}

void Checks::hears_clock(Watch& w, const Segment& s) {
    if (!s.has(Present::timestamps)) return;
    const bool newer = !w.clock_heard || static_cast<int32_t>(s.timestamps.value - w.heard_clock) > 0;
    if (newer) w.heard_clock = s.timestamps.value;
    w.clock_heard = true;
}

void Checks::hears_ack(Watch& w, const Segment& s, Instant now) {
    w.heard_since = true;
    const int64_t ack = s.has(Flags::ack) ? w.position(s.ack) : -1;
    if (ack < 0 || ack > w.said_end) return;
    w.sacks_heard |= s.sack_count > 0;
    const uint32_t window = s.window << (w.scaled() && !s.has(Flags::syn) ? w.heard.scale : 0);
    if (ack >= w.heard_ack) {
        // RFC 9293 section 3.10.7.4, first: of a segment that lies outside the window, the ACK does not count either.
        const int64_t first = w.irs_known ? w.peer_position(s.seq) : 0;
        const int64_t last = first + s.seq_length() - (s.seq_length() > 0 ? 1 : 0);
        const int64_t next = w.ranges.contiguous();
        const bool counts = s.has(Flags::syn) || (last >= next && (first < w.said_edge || first == next));
        const bool settles = counts && std::exchange(w.doubtful, false);
        const bool advances = ack > w.heard_ack;
        if (advances || settles) {
            // What is outstanding has its timer started anew (RFC 6298 (5.3)); or had already, if the one in doubt
            // did.
            w.heard_ack = ack;
            w.doubtful = !counts;
            w.base = now;
            w.measured = counts && advances;
            w.waits = 0;
            w.repetitions = 0;
        } else if (s.payload.empty()) {
            ++w.same_acks, ++w.same_acks_now;
        }
        if (counts && !w.outdated) hears_sacks(w, s);
    }
    w.heard_edge = std::max(w.heard_edge, ack + window);
    w.most_window = std::max(w.most_window, window);
    w.least_window = std::min(w.least_window, window);
}

void Checks::hears_sacks(Watch& w, const Segment& s) {
    for (const SackBlock& block : s.sack()) {
        const int64_t first = w.position(block.first), end = w.position(block.end);
        if (first >= w.heard_ack && end <= w.said_end) w.sacked.add(first, end);
    }
}

void Checks::hears_text(Watch& w, const Segment& s) {
    const bool is_old = w.clock_heard && static_cast<int32_t>(s.timestamps.value - w.heard_clock) < 0;
    if (w.timestamps() && is_old) w.outdated = true;  // RFC 7323 section 5: perhaps refused
    if (w.position(s.ack) < w.heard_ack - int64_t{w.most_window}) w.outdated = true;  // RFC 5961 section 5.2
    hears_clock(w, s);
    const int64_t first = w.peer_position(s.seq);
    if (first < -int64_t{1} || first > (1 << 30)) return;
    const auto size = static_cast<int64_t>(s.payload.size());
    // An outdated one may draw a challenge ACK, of which there are few.
    if (size > 0 && first > w.ranges.contiguous() && !w.outdated) w.beyond_gap_now = true;
    w.ranges.add(first, first + size);
    if (w.state) w.accepted.add(first, std::min(first + size, w.said_edge));
    if (s.has(Flags::fin)) {
        w.heard_fin = first + size;
        w.ranges.add(first + size, first + size + 1);
    }
}

void Checks::hears_error(const FourTuple& flow) {
    Watch& w = watch_of(flow);
    w.heard_error = w.heard_since = true;
}

// ---- Said. --------------------------------------------------------------------------------------------------------

void Checks::says(const Segment& s, size_t packet_size, Instant now) {
    Watch& w = watch_of(s.flow);
    ++w.said_now;
    if (packet_size > settings_.mtu) complain(now, w, "a packet larger than the MTU");
    if (s.has(Flags::rst)) {
        ++w.resets_said_now;
        ++w.resets_said;
        return;
    }
    if (w.connection == SIZE_MAX) return complain(now, w, "says something on a tuple of nobody's: " + to_string(s));
    // A hostile peer may open an ended connection's tuple again, and the answer may not have left.
    const Story::End end = application_.story(w.connection).end;
    if (scenario_.hostile && end != Story::End::none && end != Story::End::let_go) return;
    if (s.has(Flags::syn)) return says_syn(w, s, now);
    // The application has let go: the end that followed may have found no room to leave either.
    const bool of_another = w.iss_known && (w.position(s.seq) < -1 || w.position(s.seq) > w.said_end);
    if (scenario_.hostile && end == Story::End::let_go && of_another) return;
    if (!w.iss_known || !w.irs_known) return complain(now, w, "says more than SYN before both SYNs: " + to_string(s));
    if (!s.has(Flags::ack)) return complain(now, w, "a segment without ACK: " + to_string(s));
    check_ack(w, s, now);
    check_edge(w, s, now);
    check_clock(w, s, now);
    check_text(w, s, now);
    check_size(w, s, packet_size, now);
}

void Checks::says_syn(Watch& w, const Segment& s, Instant now) {
    const bool again = w.iss_known && w.iss == s.seq;
    if (!again) {  // a new incarnation
        Watch fresh;
        fresh.flow = w.flow;
        fresh.connection = w.connection;
        fresh.offers = w.offers;
        fresh.existed = w.existed;
        fresh.heard_now = w.heard_now;
        fresh.resets_heard_now = w.resets_heard_now;
        fresh.said_now = w.said_now;
        w = fresh;
        w.iss_known = true;
        w.iss = s.seq;
        w.asks = !s.has(Flags::ack);
        w.base = now;
        // The first SYN-ACK may have found no room, its timer runs all the same.
        w.measured = w.asks;
    } else if (w.heard_now == 0) {
        check_timing(w, -1, 0, now);
    } else {
        w.measured = false;  // the answer to a repeated SYN; the timer goes on
    }
    w.said = offer_of(s);
    if (!w.said.mss) complain(now, w, "a SYN without MSS");
    if (!s.has(Flags::ack)) return;
    if (!w.irs_known) {
        w.irs_known = true;
        w.irs = s.ack.back(1);
        // The latest: an earlier one may have found no record.
        const auto heard =
            std::find_if(w.offers.rbegin(), w.offers.rend(), [&](const Offer& o) { return o.seq == w.irs; });
        if (heard == w.offers.rend()) return complain(now, w, "acknowledges a SYN that never came: " + to_string(s));
        w.heard = *heard;
        w.heard_clock = heard->clock;
        w.clock_heard = heard->timestamps;
    }
    if (s.ack != w.irs + 1) complain(now, w, "SYN-ACK acknowledges more than the SYN: " + to_string(s));
    const bool unasked = (w.said.scale >= 0 && w.heard.scale < 0) || (w.said.timestamps && !w.heard.timestamps) ||
                         (w.said.sack && !w.heard.sack);
    if (unasked) complain(now, w, "SYN-ACK with an option that was not offered: " + to_string(s));
    w.said_ack = std::max<int64_t>(w.said_ack, 0);
    w.said_edge = std::max<int64_t>(w.said_edge, s.window);
}

void Checks::check_ack(Watch& w, const Segment& s, Instant now) {
    const int64_t ack = w.peer_position(s.ack);
    if (ack < w.said_ack) return complain(now, w, "the acknowledgment moves back: " + to_string(s));
    if (ack > w.ranges.contiguous()) {
        return complain(now, w,
                        "acknowledges " + std::to_string(ack) + ", has heard all up to " +
                            std::to_string(w.ranges.contiguous()) + ": " + to_string(s));
    }
    w.said_ack = ack;
    w.accepted.add(0, ack);
    // RFC 2018 section 3: who has agreed says what it has beyond the gap.
    const bool keeps = w.accepted.furthest() > w.accepted.contiguous() && w.taken_all() && !starves();
    if (keeps && w.sack() && s.payload.empty() && s.sack_count == 0 && w.state && in(*w.state, receiving_states)) {
        complain(now, w, "an ACK without a SACK block beside a gap: " + to_string(s));
    }
    for (const SackBlock& block : s.sack()) {
        const int64_t first = w.peer_position(block.first), end = w.peer_position(block.end);
        const bool known = w.heard.sack && w.said.sack && first < end && w.ranges.has(first, end);
        if (!known) complain(now, w, "a SACK block of what was never heard: " + to_string(s));
    }
}

// RFC 7323 section 2.4 lets the edge retreat by less than one unit of the scale.
void Checks::check_edge(Watch& w, const Segment& s, Instant now) {
    const int scale = w.scaled() ? w.said.scale : 0;
    const int64_t edge = w.peer_position(s.ack) + (int64_t{s.window} << scale);
    if (edge + (1 << scale) - 1 < w.said_edge) {
        complain(now, w,
                 "the right edge of the window moves left from " + std::to_string(w.said_edge) + " to " +
                     std::to_string(edge) + ": " + to_string(s));
    }
    if (int64_t{s.window} << scale >=
        int64_t{std::max(settings_.receive_buffer, settings_.receive_buffer_max)} + (1 << scale)) {
        complain(now, w, "promises more than its buffer: " + to_string(s));
    }
    w.said_edge = std::max(w.said_edge, edge);
}

void Checks::check_text(Watch& w, const Segment& s, Instant now) {
    const int64_t first = w.position(s.seq);
    const auto size = static_cast<int64_t>(s.payload.size());
    const bool fin = s.has(Flags::fin);
    const int64_t end = first + size + (fin ? 1 : 0);
    if (first < -1 || first > w.said_end) return complain(now, w, "a sequence number out of place: " + to_string(s));
    if (size == 0 && !fin) return;
    const Story& story = application_.story(w.connection);
    if (first < 0 || first + size > static_cast<int64_t>(story.sent)) {
        return complain(now, w, "says more than the application has written: " + to_string(s));
    }
    const size_t same = Stream(w.connection, side_).first_difference(static_cast<uint64_t>(first), s.payload);
    if (same < s.payload.size()) {
        return complain(
            now, w,
            "says another byte at " + std::to_string(first + static_cast<int64_t>(same)) + ": " + to_string(s));
    }
    if (fin) {
        if (!story.shut || first + size != static_cast<int64_t>(story.sent)) {
            return complain(now, w, "FIN before the end of the stream: " + to_string(s));
        }
        w.said_fin = first + size;
    }
    // A probe is one byte beyond, or what there is room for; a FIN may ride on it.
    const bool probe = (size <= 1 && first == w.heard_edge) || (fin && first + size == w.heard_edge);
    if (end > w.heard_edge && !probe) {
        return complain(
            now, w, "beyond the peer's window, which ends at " + std::to_string(w.heard_edge) + ": " + to_string(s));
    }
    if (end > w.said_end) w.new_now = true;
    if (end <= w.said_end && w.needless_now.empty() && w.sacked.has(first, end)) w.needless_now = to_string(s);
    check_timing(w, first, end, now);
    w.said_end = std::max(w.said_end, end);
}

// RFC 6691: the peer's MSS counts options that are on the wire.
void Checks::check_size(Watch& w, const Segment& s, size_t, Instant now) {
    const size_t assumed = s.flow.remote_addr.is_v4() ? 536 : 1220;
    const size_t mss = std::max<size_t>(w.heard.mss == 0 ? assumed : w.heard.mss, 48);
    if (s.payload.size() > 1 && s.payload.size() + wire::options_size(s) > mss) {
        complain(now, w, "more than the peer's MSS of " + std::to_string(mss) + ": " + to_string(s));
    }
}

// RFC 7323 section 3.2: once agreed, on every segment; the value runs with the clock, the echo was heard.
void Checks::check_clock(Watch& w, const Segment& s, Instant now) {
    if (w.timestamps() != s.has(Present::timestamps)) {
        return complain(now, w, "timestamps against the agreement: " + to_string(s));
    }
    if (!w.timestamps()) return;
    const auto passed = static_cast<int64_t>(s.timestamps.value - w.said_clock);
    const int64_t ms = (now - w.said_clock_at) / 1ms;
    if (w.clock_said && (passed < ms - 1 || passed > ms + 1)) {
        complain(now, w, "the timestamp clock is wrong by " + std::to_string(passed - ms) + " ms: " + to_string(s));
    }
    w.clock_said = true;
    w.said_clock = s.timestamps.value;
    w.said_clock_at = now;
    if (w.clock_heard && static_cast<int32_t>(s.timestamps.echo - w.heard_clock) > 0) {
        complain(now, w, "echoes a timestamp that was never heard: " + to_string(s));
    }
}

// RFC 6298: what has been said and not answered is said again after the RTO, then after twice that, and so on. Only
// the timer repeats something when nothing has been heard since it was said last; a repetition after something was
// heard may be a fast one, which leaves the timer as it is.
void Checks::check_timing(Watch& w, int64_t first, int64_t end, Instant now) {
    const int64_t una = w.heard_ack;
    // RFC 8985 section 7.3: a probe, the last segment or the next one, is earlier than the timer, which starts anew.
    if (end >= w.said_end && una < w.said_end && w.sack() && counted(Tally::tail_loss_probes)) {
        w.base = now;
        w.measured = false;
        return;
    }
    if (first > una || una >= end) return;  // another segment than the one that the timer is about
    const bool by_timer = !std::exchange(w.heard_since, false);
    if (una >= w.said_end) {  // for the first time
        w.base = now;
        w.measured = !w.doubtful;
        w.waits = 0;
        return;
    }
    if (now == w.base) return;
    ++w.repetitions;
    const Duration gap = now - w.base;
    constexpr Duration slack = 6 * tick;  // half-open records count in 4 ms
    const Duration least = std::min(settings_.min_rto_variance, settings_.max_rto);
    if (!by_timer || w.doubtful) {
        // RFC 5681 section 3.2: before the timer only after the third duplicate ACK; or SACK blocks, a router or a
        // window said so (RFC 8985).
        const uint32_t small = 4u * std::max<uint32_t>(w.heard.mss, 1'460);
        const bool may = w.same_acks >= 3 || w.sacks_heard || first < w.timed_out_until || w.heard_error ||
                         w.least_window < small || !w.measured || w.doubtful;
        if (!may && timing_ && first >= 0 && gap + slack < least) {
            complain(now, w, "says something again after " + std::to_string(w.same_acks) + " duplicate ACKs");
        }
        w.measured = false;
        w.waits = 0;
        return;
    }
    w.timer_now = true;
    if (w.measured && timing_) {
        if (gap + slack < least) complain(now, w, "says something again after " + in_ms(gap));
        // Twice the wait before, which may itself have been late by a slack.
        if (w.waits > 0 && gap + 3 * slack < std::min(2 * w.gap, settings_.max_rto)) {
            complain(now, w, "does not back off: " + in_ms(gap) + " after " + in_ms(w.gap));
        }
        if (gap > settings_.max_rto + slack) complain(now, w, "waits for " + in_ms(gap));
        ++w.waits;
        w.gap = gap;
    }
    w.base = now;
    w.measured = true;
}

}  // namespace pollux::simulation
