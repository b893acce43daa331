#include "tests/support/flight.hpp"

#include <algorithm>
#include <cmath>

namespace pollux::test {

void Flight::opens(const Manner& manner, Here here) {
    rtt = manner.rtt;
    sack_ = manner.sack;
    size_ = manner.mss - (manner.ts ? 12 : 0);
    flown_ = 0;
    kept_.clear();
    duplicate_.reset();
    // The half-open record keeps its time in steps of 4 ms; what follows is measured exactly, and shorter.
    peer.connects({.mss = manner.mss,
                   .ws = manner.ws,
                   .sack_ok = manner.sack,
                   .ts = manner.ts,
                   .rtt = manner.rtt * 3 / 2 + 8ms},
                  here);
    acked_ = 1;
    app.sends_pattern(1);
    const Heard h = peer.expects({.flags = ack, .seq = 1, .bytes = 1}, here);
    time.passes(manner.rtt);
    gets(h);
    peer.expects_nothing(here);
    base_ = 2;
}

void Flight::flies(int64_t count, int64_t queued, Here here) {
    app.sends_pattern(static_cast<size_t>((count + queued) * size_));
    for (int64_t i = 1; i <= count; ++i) hears(flown_ + i, here);
    flown_ += count + queued;
    peer.expects_nothing(here);
}

void Flight::grows_to(int64_t segments, Here here) {
    for (int64_t now = 10; now < segments; now *= 2) {
        const int64_t before = flown_;
        flies(now, 0, here);
        time.passes(rtt);
        for (int64_t i = 1; i <= now; ++i) arrives(before + i);
    }
    if (cwnd() != bytes(segments)) {
        GTEST_MESSAGE_AT_(here.file, here.line, "slow start", testing::TestPartResult::kNonFatalFailure)
            << ": cwnd " << cwnd() << " instead of " << bytes(segments);
    }
}

testing::AssertionResult Flight::near(uint32_t got, double segments) const {
    const double wanted = segments * static_cast<double>(size_);
    if (std::abs(got - wanted) <= wanted / 1000) return testing::AssertionSuccess();
    return testing::AssertionFailure() << got << " instead of " << wanted;
}

Heard Flight::hears(int64_t segment, Here here) {
    return peer.expects({.flags = ack, .seq = first(segment), .bytes = static_cast<size_t>(size_)}, here);
}

Heard Flight::hears_only(int64_t segment, Here here) {
    Heard h = hears(segment, here);
    peer.expects_nothing(here);
    return h;
}

Verdict Flight::arrives(int64_t from, int64_t to) {
    for (int64_t n = from; n <= to; ++n) keeps(first(n), end(n), peer.first_ts(first(n)));
    return acknowledges();
}

Verdict Flight::gets(const Heard& h) {
    keeps(h.seq, h.end(), h.segment.timestamps.value);
    return acknowledges();
}

void Flight::gets_all(const std::vector<Heard>& all) {
    for (const Heard& h : all) {
        gets(h);
        time.passes(10us);  // what leaves in different turns leaves at different times
    }
}

void Flight::keeps(int64_t from, int64_t to, uint32_t ts_value) {
    if (from <= acked_ && to > acked_) echo_ = ts_value;  // RFC 7323 section 4.3
    duplicate_.reset();
    Block grown{std::max(from, acked_), to};
    if (to <= acked_) {
        duplicate_ = {from, to};
        return;
    }
    for (const Block& b : kept_) {
        if (b.first <= from && to <= b.second) duplicate_ = {from, to};
        if (b.first <= grown.second && grown.first <= b.second) {
            grown = {std::min(b.first, grown.first), std::max(b.second, grown.second)};
        }
    }
    std::erase_if(kept_, [&](const Block& b) { return grown.first <= b.first && b.second <= grown.second; });
    if (grown.first <= acked_)
        acked_ = grown.second;
    else
        kept_.insert(kept_.begin(), grown);
}

Send Flight::report() const {
    Send s{.flags = ack, .ack = acked_};
    if (sack_) {
        if (duplicate_) s.sack.push_back(*duplicate_);
        s.sack.insert(s.sack.end(), kept_.begin(), kept_.end());
        s.sack.resize(std::min<size_t>(s.sack.size(), 3));
    }
    return s;
}

Verdict Flight::acknowledges(std::optional<uint32_t> win) {
    Send s = report();
    s.win = win;
    if (peer.agreed_timestamps()) s.ts = tcp::Timestamps{peer.ts_now(), echo_};
    duplicate_.reset();
    return peer.sends(s);
}

void Flight::finishes(int most, Here here) {
    for (int i = 0; i < most && world.info().in_flight > 0; ++i) {
        if (peer.heard_nothing()) peer.waits(130s, here);
        time.passes(rtt);
        gets_all(peer.takes_all());
    }
    EXPECT_EQ(world.info().in_flight, 0u) << here.file << ":" << here.line;
}

void Flight::round(Duration length, int64_t per_ack) {
    time.passes(length);
    int64_t unsaid = 0;
    const auto all = peer.takes_all();
    for (const Heard& h : all) {
        keeps(h.seq, h.end(), h.segment.timestamps.value);
        if (++unsaid == per_ack || &h == &all.back()) {
            acknowledges();
            unsaid = 0;
        }
    }
}

}  // namespace pollux::test
