// The window that we announce: how much the peer may send beyond what we have.
//
//          rcv.nxt                    rcv.edge      The edge is a promise. It never moves left (RFC 9293 SHLD-14), and
//   ----------|---------------------------|-----    it moves right in steps worth a segment (section 3.8.6.2.2), so
//    received   the peer may send this far          that nobody is tempted to send crumbs.
//
// What the application has not read takes room; what came out of order does not, because it lies inside the promise.
// The buffer is an allowance, not memory: that is in chunks (receive_store.hpp), taken when something must be kept.
#include <algorithm>
#include <bit>

#include "tcp/stack.hpp"

namespace pollux::tcp {

uint32_t Stack::receive_buffer(const Conn& c) const {
    return c.has(ConnFlags::grown_buffer) ? receive_buffer(extras_[index_of(c)].doublings) : settings_.receive_buffer;
}

uint32_t Stack::receive_buffer(uint8_t doublings) const {
    if (doublings == 0) return settings_.receive_buffer;
    return static_cast<uint32_t>(
        std::min<uint64_t>(uint64_t{settings_.receive_buffer} << doublings, settings_.receive_buffer_max));
}

uint32_t Stack::receive_space(const Conn& c) const {
    const uint32_t unread = c.has(ConnFlags::has_store) ? stores_[c.store].unread_bytes : 0;
    const uint32_t buffer = receive_buffer(c);
    return std::min(buffer > unread ? buffer - unread : 0, 65'535u << c.rcv_scale);
}

// An opening window is told when that is worth two segments or half the buffer.
bool Stack::may_announce_more(const Conn& c) const {
    const SeqNum edge = c.rcv.nxt + receive_space(c);
    return edge.after(c.rcv.edge) &&
           edge.since(c.rcv.edge) >= std::min(2u * receive_mss(c.flow), receive_buffer(c) / 2);
}

[[gnu::noinline]] bool Stack::is_worth_a_step(const Conn& c, SeqNum edge) const {
    return edge.since(c.rcv.edge) >= std::min<uint32_t>(receive_mss(c.flow), receive_buffer(c) / 2);
}

// The window field.
uint16_t Stack::announce_window(Conn& c, Instant now) {
    if (settings_.receive_buffer_max > settings_.receive_buffer) measure_round(c, now);
    const uint32_t space = receive_space(c);
    const uint32_t buffer = receive_buffer(c);
    const bool reduced = space < std::min(buffer, 65'535u << c.rcv_scale);
    SeqNum edge = c.rcv.nxt + space;
    // The first comparison spares nearly every segment the second.
    const bool may_move = edge.after(c.rcv.edge) && edge.since(c.rcv.edge) >= least_window_step_;
    if (!may_move || !is_worth_a_step(c, edge)) edge = c.rcv.edge;
    if (reduced)
        c.set(ConnFlags::reduced_window);
    else if (c.has(ConnFlags::reduced_window))
        c.clear(ConnFlags::reduced_window);
    uint32_t field = later(edge, c.rcv.edge).since(c.rcv.nxt) >> c.rcv_scale;
    // Rounding up keeps the edge where it is; at a full buffer it would push it on for ever, so there the retreat by
    // less than one unit of the scale is taken that RFC 7323 section 2.4 allows.
    if (space > 0 && (c.rcv.nxt + (field << c.rcv_scale)).before(c.rcv.edge)) ++field;
    field = std::min(field, 65'535u);
    c.rcv.edge = later(c.rcv.edge, c.rcv.nxt + (field << c.rcv_scale));
    return static_cast<uint16_t>(field);
}

// A peer that sends a whole window within a round trip could send more, if it were let: then the buffer doubles, up to
// its limit. Not while the application leaves data unread, which more room would only add to, and not when chunks get
// scarce.
void Stack::measure_round(Conn& c, Instant now) {
    ConnExtras& extras = extras_[index_of(c)];
    if (c.rcv.nxt.before(extras.round_end)) return;
    const auto now_us = static_cast<uint32_t>(now.time_since_epoch().count());
    const uint32_t took = now_us - extras.round_start_us;
    extras.round_end = c.rcv.edge;
    extras.round_start_us = now_us;
    // The window that was announced when the round began has come within two: what we know of the RTT is often the
    // handshake's.
    const uint32_t round_trip = std::max(c.srtt_us, 1'000u);
    if (took > 2 * round_trip || c.has(ConnFlags::reduced_window)) return;
    if (receive_buffer(c) >= settings_.receive_buffer_max || extras.doublings == 15) return;
    if (chunks_.free() < chunks_.capacity() / 2) return;
    ++extras.doublings;
    c.set(ConnFlags::grown_buffer);
    counters_.add(Tally::receive_buffers_grown);
}

// ---- In the handshake. ------------------------------------------------------------------------------------------

// The least shift that lets the window field express the whole buffer (RFC 7323 section 2.3).
uint8_t Stack::receive_scale() const {
    const auto bits = std::bit_width(std::max(settings_.receive_buffer, settings_.receive_buffer_max) >> 16);
    return static_cast<uint8_t>(std::min<uint32_t>(static_cast<uint32_t>(bits), 14));
}

uint32_t Stack::initial_window() const { return std::min(settings_.receive_buffer, 65'535u); }

}  // namespace pollux::tcp
