#include "tests/support/host.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/allocations.hpp"
#include "tests/support/both_ways.hpp"
#include "tests/support/router.hpp"

namespace pollux::test {

using namespace tcp;

StackSettings small_settings() {
    StackSettings settings;
    settings.capacity = {.connections = 64,
                         .half_open = 32,
                         .time_wait = 32,
                         .send_entries = 256,
                         .chunks = 512,
                         .receive_stores = 64,
                         .events = 1024};
    settings.mtu = mtu_like(1500);
    return settings;
}

Secrets test_secrets() {
    return {.table = {0x0706'0504'0302'0100, 0x0f0e'0d0c'0b0a'0908},
            .isn = {0x1716'1514'1312'1110, 0x1f1e'1d1c'1b1a'1918},
            .timestamps = {0x2726'2524'2322'2120, 0x2f2e'2d2c'2b2a'2928},
            .random_seed = 42,
            .cookies = {0x3736'3534'3332'3130, 0x3f3e'3d3c'3b3a'3938}};
}

namespace {

StackSettings as_asked(StackSettings settings) {
    if (without_fast_path()) settings.fast_path = false;
    return settings;
}

}  // namespace

Host::Host(const StackSettings& settings, Application& application)
    : stack_(as_asked(settings), test_secrets(), counters_), application_(application) {
    EXPECT_TRUE(stack_.listen(host_endpoint));
}

bool Host::turn(Instant now, std::span<const Packet> arrived, std::vector<Packet>& sent) {
    const size_t sent_before = sent.size();
    burst_.assign(arrived.begin(), arrived.end());
    segments_.clear();
    for (const Packet& packet : burst_) {
        auto parsed = wire::parse(packet, wire::ChecksumTrust::verify_all);
        last_parse_ = parsed.result;
        if (parsed.result != wire::ParseResult::ok) {
            const auto notice = parsed.result == wire::ParseResult::not_tcp ? notice_in(packet) : std::nullopt;
            if (notice)
                stack_.notify(*notice, now);
            else
                ++refused_;
            continue;
        }
        parsed.segment.path = test_path;
        segments_.push_back(parsed.segment);
    }
    verdicts_.assign(segments_.size(), Verdict::count);
    if (!segments_.empty()) {
        AllocationMeter meter(allocations_);
        stack_.input(segments_, now, out_, verdicts_.data());
    }
    for (const Verdict verdict : verdicts_) {
        EXPECT_LT(static_cast<size_t>(verdict), verdict_count) << "a packet's story ended without a name";
        last_verdict_ = verdict;
    }
    bool timers_remain = false;
    {
        AllocationMeter meter(allocations_);
        timers_remain = stack_.advance_timers(now, 64);
    }
    application_.on_turn(stack_.events(), stack_, now);
    {
        AllocationMeter meter(allocations_);
        stack_.transmit(now, out_);
    }
    encode(sent);
    for (Packet& packet : burst_) std::fill(packet.begin(), packet.end(), std::byte{0xdd});
    check();
    compare_turn(stack_, counters_, now, std::span(sent).subspan(sent_before));
    return timers_remain || stack_.has_work();
}

void Host::encode(std::vector<Packet>& sent) {
    for (const TxSegment& segment : out_.segments()) {
        Packet packet(wire::headers_size(segment.segment) + segment.payload_size);
        const auto emitted = wire::emit(segment.segment, out_.pieces(segment), packet, wire::ChecksumMode::software);
        EXPECT_EQ(emitted.status, wire::EmitStatus::ok);
        EXPECT_EQ(emitted.size, packet.size());
        EXPECT_LE(packet.size(), stack_.settings().mtu);
        // Only of a connection that has tried three times in vain (R1), or that ends with this RST.
        const auto info = stack_.info(stack_.find_conn(segment.segment.flow));
        const bool path_in_doubt = info ? info->unanswered >= 3 : segment.segment.has(Flags::rst);
        const bool opens = segment.segment.has(Flags::syn) && !segment.segment.has(Flags::ack);
        if ((path_in_doubt || opens) && segment.segment.path == tcp::unresolved_path) {
            ++look_ups_;
        } else {
            EXPECT_EQ(segment.segment.path, test_path) << "answers leave on the path that the packets came by";
        }
        EXPECT_EQ(segment.segment.ttl, stack_.settings().ttl);
        sent.push_back(std::move(packet));
    }
    out_.reset();
}

void Host::check() {
    EXPECT_EQ(stack_.check_invariants(), "");
    EXPECT_EQ(allocations_, 0u) << "the packet path allocated";
    EXPECT_EQ(counters_[Tally::events_lost], 0u);
}

Instant start_for_isn(const StackSettings& settings, SeqNum wanted) {
    struct Nobody final : Application {
        void on_turn(std::span<const Event>, Stack&, Instant) override {}
    } nobody;
    StackSettings by_clock = settings;
    by_clock.syn_cookies = SynCookieMode::never;  // an ISN that is a cookie follows no clock
    Host probe(by_clock, nobody);
    const Instant first{1s};
    Segment syn;
    syn.flow = {peer_endpoint.address, host_endpoint.address, peer_endpoint.port, host_endpoint.port};
    syn.flags = Flags::syn;
    Packet packet(wire::headers_size(syn));
    if (!wire::emit(syn, packet)) return first;
    std::vector<Packet> sent;
    probe.turn(first, {&packet, 1}, sent);
    if (sent.empty()) return first;
    const auto answer = wire::parse(sent.front(), wire::ChecksumTrust::verify_all);
    return first + Duration{int64_t{wanted.raw() - answer.segment.seq.raw()} * 4};
}

}  // namespace pollux::test
