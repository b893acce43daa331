#include "tcp/syn_cookies.hpp"

#include <algorithm>
#include <bit>
#include <span>

namespace pollux::tcp {
namespace {

constexpr uint64_t clock_skew_us = 1'000'000;  // by which machines that share a secret may differ
constexpr uint32_t stamp_mask = 0x3f;
constexpr uint32_t no_scale = 0xf, sack_bit = 0x10, ecn_bit = 0x20;

// The key of one period: nobody who learns it knows the secret, or the key of another.
SipKey key_of(const SipKey& secret, uint64_t period) {
    const auto half = [&](uint64_t which) {
        const std::array<uint64_t, 2> message{period, which};
        return siphash_2_4(secret, std::as_bytes(std::span{message}));
    };
    return {half(0), half(1)};
}

uint64_t code_of(const SipKey& key, const FourTuple& flow, SeqNum peer_isn) {
    return siphash_1_3(key, flow, uint64_t{peer_isn.raw()});
}

uint32_t index_of_size(uint16_t peer_mss) {
    const auto above = std::ranges::upper_bound(SynCookies::sizes, peer_mss);
    return above == SynCookies::sizes.begin() ? 0 : static_cast<uint32_t>(above - SynCookies::sizes.begin() - 1);
}

}  // namespace

SynCookies::SynCookies(const SipKey& secret, Duration period)
    : secret_(secret), period_us_(static_cast<uint64_t>(period.count())) {
    roll(0);
}

void SynCookies::roll(uint64_t wall_us) {
    const uint64_t period = wall_us / period_us_;
    began_us_ = period * period_us_;
    for (size_t age = 0; age < keys_.size(); ++age) keys_[age] = key_of(secret_, period + 1 - age);
}

SeqNum SynCookies::make(const FourTuple& flow, SeqNum peer_isn, uint16_t peer_mss, uint64_t wall_us) {
    set_time(wall_us);
    return SeqNum{static_cast<uint32_t>(code_of(keys_[current], flow, peer_isn))} + index_of_size(peer_mss);
}

SynCookies::Judged SynCookies::judge(const FourTuple& flow, SeqNum peer_isn, SeqNum cookie, uint64_t wall_us) {
    set_time(wall_us);
    const auto judged = [&](Age age, Judgement judgement) -> std::optional<Judged> {
        const uint64_t code = code_of(keys_[age], flow, peer_isn);
        const uint32_t index = cookie.raw() - static_cast<uint32_t>(code);
        if (index >= sizes.size()) return {};
        return Judged{judgement, sizes[index], static_cast<uint32_t>(code >> 32) | 1};
    };
    if (const auto j = judged(current, Judgement::good)) return *j;
    if (const auto j = judged(previous, Judgement::good)) return *j;
    // Made by a machine whose clock is ahead of ours.
    if (wall_us - began_us_ + clock_skew_us >= period_us_) {
        if (const auto j = judged(next, Judgement::good)) return *j;
    }
    return judged(expired, Judgement::stale).value_or(Judged{});
}

uint32_t SynCookies::stamp(uint32_t clock, const CookieOptions& options) {
    const uint32_t bits = options.window_scale.value_or(no_scale) | (options.sack ? sack_bit : 0) |
                          (options.ecn ? ecn_bit : 0);
    const uint32_t stamp = (clock & ~stamp_mask) | bits;
    return bits > (clock & stamp_mask) ? stamp - (stamp_mask + 1) : stamp;
}

CookieOptions SynCookies::read_stamp(uint32_t echo) {
    CookieOptions options;
    const uint32_t scale = echo & no_scale;
    if (scale != no_scale) options.window_scale = static_cast<uint8_t>(scale);
    options.sack = (echo & sack_bit) != 0;
    options.ecn = (echo & ecn_bit) != 0;
    return options;
}

SpentCookies::SpentCookies(uint32_t capacity)
    : lines_(std::bit_ceil(std::max<size_t>(1, (capacity + 14) / 15))), mask_(lines_.size() - 1) {}

bool SpentCookies::contains(uint64_t hash, uint32_t tag) const {
    return std::ranges::find(line(hash).tags, tag) != line(hash).tags.end();
}

void SpentCookies::add(uint64_t hash, uint32_t tag) {
    Line& l = const_cast<Line&>(line(hash));
    l.tags[l.oldest] = tag;
    l.oldest = l.oldest + 1 == l.tags.size() ? 0 : l.oldest + 1;
}

}  // namespace pollux::tcp
