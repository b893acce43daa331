// Watch: what one side has said and heard on one tuple since its SYN, in positions of both streams: 0 is the first
// byte after the SYN. It knows only what passed on the wire, whole, and so is independent of what the stack believes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tcp/recovery.hpp"
#include "tcp/segment.hpp"
#include "tcp/state.hpp"
#include "tcp/time.hpp"

namespace pollux::simulation {

/// Ranges [first, end) of one stream that have been heard: sorted, disjoint, never touching.
class Heard {
public:
    struct Range {
        int64_t first, end;
    };
    void add(int64_t first, int64_t end) {
        if (first >= end) return;
        auto at = std::ranges::find_if(ranges_, [&](const Range& r) { return r.end >= first; });
        if (at == ranges_.end() || at->first > end) {
            ranges_.insert(at, {first, end});
            return;
        }
        at->first = std::min(at->first, first);
        at->end = std::max(at->end, end);
        const auto next = at + 1;
        auto last = next;
        for (; last != ranges_.end() && last->first <= at->end; ++last) at->end = std::max(at->end, last->end);
        ranges_.erase(next, last);
    }
    /// Up to where everything from 0 on has been heard.
    int64_t contiguous() const { return ranges_.empty() || ranges_[0].first > 0 ? 0 : ranges_[0].end; }
    int64_t furthest() const { return ranges_.empty() ? 0 : ranges_.back().end; }
    bool has(int64_t first, int64_t end) const {
        return std::ranges::any_of(ranges_, [&](const Range& r) { return r.first <= first && end <= r.end; });
    }

private:
    std::vector<Range> ranges_;
};

/// What a SYN offers.
struct Offer {
    tcp::SeqNum seq;
    int scale = -1;  // -1: none
    uint16_t mss = 0;
    uint32_t clock = 0;
    bool timestamps = false, sack = false;
};

struct Watch {
    tcp::FourTuple flow;
    size_t connection = SIZE_MAX;

    // ---- The two SYNs. ----
    bool asks = false;  // our SYN was the first
    bool iss_known = false, irs_known = false;
    tcp::SeqNum iss, irs;
    Offer said, heard;
    std::vector<Offer> offers;  // the latest SYNs heard: our SYN-ACK says which counts

    // ---- Our stream, in positions. ----
    int64_t said_end = 0;      // of what was said, FIN included
    int64_t said_fin = -1;     // where our FIN stands
    int64_t heard_ack = -1;    // the highest one; -1: not even our SYN
    int64_t heard_edge = 0;    // the peer's right edge, the furthest it was
    uint32_t most_window = 0;  // the largest window heard
    uint32_t same_acks = 0;    // ACKs heard that taught nothing: any of them may have been a duplicate
    uint32_t least_window = ~0u;
    bool heard_error = false;  // of a router
    bool sacks_heard = false;  // SACK blocks, which may or may not have counted
    Heard sacked;              // what SACK blocks that counted have reported

    // ---- The peer's stream. ----
    Heard ranges;
    Heard accepted;         // the part of it that had to be taken: inside the window, not outdated
    bool outdated = false;  // something was heard that timestamps may refuse
    int64_t heard_fin = -1;
    int64_t said_ack = -1;
    int64_t said_edge = -1;
    uint32_t heard_clock = 0, said_clock = 0;  // the latest timestamps
    tcp::Instant said_clock_at{};
    bool clock_heard = false, clock_said = false;

    // ---- Time. ----
    tcp::Instant base{};       // when the retransmission timer can have started last for what stands at heard_ack
    bool measured = false;     // it has: the next wait can be measured
    bool heard_since = false;  // something was heard since what stands at heard_ack was said last
    bool doubtful = false;     // the stack may not have taken the ACK at heard_ack
    tcp::Duration gap{};       // the last wait for the timer, if `waits`
    uint32_t waits = 0;        // in a row
    uint32_t repetitions = 0;  // of what stands at heard_ack, since it stands there
    std::optional<tcp::Instant> owes_ack_since;

    uint32_t resets_said = 0;

    // ---- This turn. ----
    bool existed = false;  // before the turn the stack knew the tuple: connection or half-open record
    uint32_t heard_now = 0, resets_heard_now = 0, said_now = 0, resets_said_now = 0;
    bool beyond_gap_now = false;  // data was heard that has a gap before it
    bool new_now = false;         // something was said for the first time
    bool timer_now = false;       // the timer has repeated something
    uint32_t same_acks_now = 0;
    int64_t said_before = 0;   // where what was said ended before it
    std::string needless_now;  // the first repetition of what SACK blocks had reported

    // ---- What the stack said of itself after the last turn. ----
    std::optional<tcp::State> state;
    uint32_t cwnd = 0, ssthresh = ~0u, in_flight = 0, pipe = 0, sacked_bytes = 0, reductions = 0;
    tcp::SeqNum una;
    tcp::Phase phase = tcp::Phase::open;
    bool scoreboard = false;
    int64_t reduced_until = 0;      // one reduction for all that was in flight: until this is acknowledged
    int64_t timed_out_until = 0;    // what was in flight at the last timeout
    uint64_t before_reduction = 0;  // cwnd, which an undo brings back
    std::optional<tcp::Instant> time_wait_from;  // a TIME-WAIT record has stood there since
    bool time_wait_now = false;

    bool scaled() const { return said.scale >= 0 && heard.scale >= 0; }
    bool sack() const { return said.sack && heard.sack; }
    /// Nothing of what was heard gave the stack a reason not to keep what is in `accepted`.
    bool taken_all() const { return !outdated; }
    bool timestamps() const { return said.timestamps && heard.timestamps; }
    int64_t position(tcp::SeqNum seq) const { return seq - (iss + 1); }
    int64_t peer_position(tcp::SeqNum seq) const { return seq - (irs + 1); }
};

}  // namespace pollux::simulation
