// SYN cookies: of all numbers, only those that were made open a connection, while they are good; what they bring back
// is never more than the peer has said. And the memory of spent cookies against a list.
#include <deque>
#include <map>
#include <set>

#include "tcp/syn_cookies.hpp"
#include "tests/fuzz/targets.hpp"

namespace pollux::fuzz {
namespace {

using namespace tcp;
using Judgement = SynCookies::Judgement;

constexpr uint64_t skew_us = 1'000'000;

FourTuple read_flow(Input& in) {
    FourTuple flow;
    if (in.flag()) {
        flow.local_addr = IpAddress::from_v4(0xc000'0200u + in.byte());
        flow.remote_addr = IpAddress::from_v4(in.four());
    } else {
        flow.local_addr = {{0x2001'0db8, 0, 0, in.byte()}};
        flow.remote_addr = {{0x2001'0db8, in.four(), 0, 1}};
    }
    flow.local_port = in.two();
    flow.remote_port = in.two();
    return flow;
}

// What a judge at `wall_us` takes for good, and what it remembers to have been so: by making all that there is.
struct Right {
    std::map<uint32_t, uint16_t> good;  // the size that each brings back
    std::set<uint32_t> stale;
};
Right all_right(const SipKey& secret, Duration length, const FourTuple& flow, SeqNum peer_isn, uint64_t wall_us) {
    const auto period = static_cast<uint64_t>(length.count());
    const uint64_t began = wall_us / period * period;
    Right right;
    SynCookies maker{secret, length};
    const auto made_at = [&](uint64_t when, auto&& note) {
        for (const uint16_t size : SynCookies::sizes) note(maker.make(flow, peer_isn, size, when).raw(), size);
    };
    const auto good = [&](uint32_t cookie, uint16_t size) { right.good.emplace(cookie, size); };
    made_at(began, good);
    if (began >= period) made_at(began - period, good);
    if (began + period - wall_us <= skew_us) made_at(began + period, good);
    if (began >= 2 * period) made_at(began - 2 * period, [&](uint32_t c, uint16_t) { right.stale.insert(c); });
    return right;
}

void judges(Input& in) {
    const SipKey secret{in.eight(), in.eight()};
    const Duration length{1'000'000 + static_cast<int64_t>(in.four() % 3'599'000'001u)};
    const auto period = static_cast<uint64_t>(length.count());
    SynCookies cookies{secret, length};
    FourTuple flow = read_flow(in);
    SeqNum peer_isn{in.four()};
    uint64_t wall_us = in.eight() >> 12;
    std::deque<SeqNum> made;
    for (int steps = 0; steps < 12 && !in.empty(); ++steps) {
        switch (in.below(6)) {
            case 0: {
                const uint16_t mss = in.two();
                const SeqNum cookie = cookies.make(flow, peer_isn, mss, wall_us);
                const auto judged = cookies.judge(flow, peer_isn, cookie, wall_us);
                demand(judged.judgement == Judgement::good, "a cookie is good when it is made");
                demand(judged.mss <= std::max(mss, SynCookies::sizes.front()), "no size above the peer's");
                demand(judged.tag != 0, "a good cookie has a name");
                made.push_front(cookie);
                break;
            }
            case 1: wall_us += in.four() % (2 * period); break;
            case 2:
                wall_us -= std::min<uint64_t>(wall_us, in.four() % (2 * period));
                break;  // another machine's clock
            case 3: flow = read_flow(in); break;
            case 4: peer_isn = SeqNum{in.four()}; break;
            case 5: {
                // A guess near what was made here once, for whichever flow and time, or anywhere.
                const bool near = in.flag() && !made.empty();
                const SeqNum guess =
                    near ? made[in.below(static_cast<uint32_t>(made.size()))] + (in.byte() - 8u) : SeqNum{in.four()};
                const auto judged = cookies.judge(flow, peer_isn, guess, wall_us);
                const Right right = all_right(secret, length, flow, peer_isn, wall_us);
                const auto known = right.good.find(guess.raw());
                demand((judged.judgement == Judgement::good) == (known != right.good.end()),
                       "good is what was made in this period or the one before, and nothing else");
                demand(judged.judgement != Judgement::good || judged.mss == known->second || right.good.size() < 16,
                       "a cookie brings back the size that it was made of");
                demand(
                    judged.judgement != Judgement::stale || right.stale.contains(guess.raw()) || wall_us < 2 * period,
                    "stale is what was good before");
                break;
            }
        }
    }
}

void stamps(Input& in) {
    CookieOptions options;
    if (in.flag()) options.window_scale = static_cast<uint8_t>(in.below(15));
    options.sack = in.flag();
    options.ecn = in.flag();
    const uint32_t clock = in.four(), stamp = SynCookies::stamp(clock, options);
    demand(clock - stamp < 64, "a stamp is the clock's latest value, never one to come");
    demand(SynCookies::read_stamp(stamp) == options, "a stamp brings back what it was made of");
    const CookieOptions any = SynCookies::read_stamp(in.four());
    demand(!any.window_scale || *any.window_scale <= 14, "whatever comes back, no scale above 14");
}

void remembers(Input& in) {
    const uint32_t capacity = in.below(61);
    SpentCookies spent{capacity};
    constexpr size_t line = 15;
    const size_t lines = spent.memory_bytes() / 64;
    demand(lines * line >= capacity, "there is a place for each");
    std::map<uint64_t, std::deque<uint32_t>> model;
    for (int steps = 0; steps < 200 && !in.empty(); ++steps) {
        const uint64_t hash = uint64_t{in.byte()} << 32 | 0xffff'ffff;
        const uint32_t tag = 1 + in.byte();
        auto& known = model[(hash >> 32) % lines];
        const bool is_known = std::ranges::find(known, tag) != known.end();
        demand(spent.contains(hash, tag) == is_known, "the fifteen latest of a line are remembered, and no others");
        if (is_known) continue;
        spent.add(hash, tag);
        known.push_back(tag);
        if (known.size() > line) known.pop_front();
    }
}

}  // namespace

void cookies(Bytes bytes) {
    Input in{bytes};
    switch (in.below(4)) {
        case 0: stamps(in); break;
        case 1: remembers(in); break;
        default: judges(in); break;
    }
}

}  // namespace pollux::fuzz
