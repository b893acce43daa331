// Flight: a Conversation about segments in flight that get lost, late or twice. Segments of full size are called by
// number, the first is 1; the peer is a receiver that keeps what comes out of order and says so as RFC 2018 and
// RFC 2883 ask: the newest block first, a duplicate before all others.
//
//     opens({.rtt = 40ms});        // SACK agreed; RACK.min_RTT is 40 ms
//     flies(10);                   // ten segments leave and are heard
//     time.passes(rtt);
//     arrives(2);                  // the peer gets the second and acknowledges
//     hears(1);                    // the host sends the first again
//
// What the host has sent and the test does not let arrive is on its way, or lost. arrives() delivers a segment as it
// was sent first (its TSval is echoed); gets() delivers what has been heard, a repetition for example.
#pragma once

#include <string>
#include <vector>

#include "tests/support/conversation.hpp"

namespace pollux::test {

class Flight : public Conversation {
protected:
    struct Manner {
        bool sack = true;
        bool ts = false;
        Duration rtt = 40ms;
        uint16_t mss = 1460;             // announced by the peer
        std::optional<uint8_t> ws = {};  // of the peer's window
    };

    /// The handshake, and one byte back and forth: the round trip is known exactly.
    void opens(const Manner& manner, Here here = Here::current());
    void opens(Here here = Here::current()) { opens(Manner{}, here); }
    void opens_with(const tcp::StackSettings& settings, const Manner& manner, Here here = Here::current()) {
        starts_with(settings);
        opens(manner, here);
    }
    void opens_with(const tcp::StackSettings& settings, Here here = Here::current()) {
        opens_with(settings, Manner{}, here);
    }
    /// `count` segments leave at once and are heard; `queued` more wait behind them, held back by cwnd.
    void flies(int64_t count, int64_t queued = 0, Here here = Here::current());
    /// Slow start to a window of `segments`, 10 times a power of 2; everything is acknowledged in the end.
    void grows_to(int64_t segments, Here here = Here::current());

    /// First sequence number of a segment, and the number behind its last.
    int64_t first(int64_t segment) const { return base_ + (segment - 1) * size_; }
    int64_t end(int64_t segment) const { return first(segment + 1); }
    /// Of the segments from `from` to `to`, as a SACK block names them.
    Block block(int64_t from, int64_t to) const { return {first(from), end(to)}; }
    int64_t size() const { return size_; }
    uint32_t bytes(int64_t segments) const { return static_cast<uint32_t>(segments * size_); }
    /// Whether so many bytes are so many segments, to a thousandth: factors like 0.7 are fractions of powers of 2.
    testing::AssertionResult near(uint32_t got, double segments) const;
    /// The number of the next segment to be sent.
    int64_t next() const { return flown_ + 1; }
    /// Hears exactly this segment next.
    Heard hears(int64_t segment, Here here = Here::current());
    /// Where what has been heard, and not taken, begins; -1: nothing has been heard.
    int64_t heard_at() const { return peer.heard_nothing() ? -1 : peer.inbox().front().seq; }
    /// Hears this segment, and nothing behind it.
    Heard hears_only(int64_t segment, Here here = Here::current());

    /// The peer gets segment `n`, as it was sent first, and acknowledges.
    Verdict arrives(int64_t n) { return arrives(n, n); }
    /// The peer gets all of these, in order of their numbers, and acknowledges once.
    Verdict arrives(int64_t from, int64_t to);
    /// The peer gets what it has heard, and acknowledges.
    Verdict gets(const Heard& h);
    /// The peer gets each of these, with an ACK of its own.
    void gets_all(const std::vector<Heard>& all);
    /// The peer gets these bytes and says nothing.
    void keeps(int64_t from, int64_t to, uint32_t ts_value = 0);
    /// The peer says what it has.
    Verdict acknowledges(std::optional<uint32_t> win = {});
    /// What that ACK would be.
    Send report() const;
    /// The peer throws away what is out of order: RFC 2018 section 8 lets it.
    void reneges() { kept_.clear(); }
    /// All that it has in order.
    int64_t acked() const { return acked_; }

    /// Answers everything, a round trip later each time, until nothing is in flight; gives up after `most` rounds.
    void finishes(int most = 200, Here here = Here::current());
    /// One round: time passes, and what has been heard is acknowledged, each `per_ack` segments.
    void round(Duration length, int64_t per_ack = 1);
    void round() { round(rtt); }

    uint32_t cwnd() { return world.info().cwnd; }
    using Phase = tcp::ConnInfo::Phase;
    Phase phase() { return world.info().phase; }

    Duration rtt = 40ms;  // of the connection

private:
    bool sack_ = true;
    int64_t base_ = 1, size_ = 1460, flown_ = 0;
    int64_t acked_ = 1;
    uint32_t echo_ = 0;
    Blocks kept_;                     // newest first
    std::optional<Block> duplicate_;  // what the next ACK reports as such
};

}  // namespace pollux::test
