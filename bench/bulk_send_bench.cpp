// What a long answer costs the sender's core, and what losses add to it.
//
// BM_BulkSend: one connection sends without end to a peer that acknowledges every second segment, reports what came
// beyond a gap, and loses every n-th of the packets; 20 ms of virtual time pass between a segment and its ACK, and the
// peer's window holds cwnd at 256 segments when nothing is lost. Only the stack's own work is counted: input, timers,
// transmit; not the peer, and no packet is written. `cycles_per_kb` is the gate's figure: best decile of the rounds.
//
// BM_SackedAck: a flight of n segments whose first is lost; each ACK reports one more. `holes`: every second one is
// missing, so that each ACK names the three newest islands. Cycles per ACK, for scoreboards of any size.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <memory>
#include <stdexcept>
#include <vector>

#include "bench/cycles.hpp"
#include "tcp/stack.hpp"

namespace {

using namespace pollux::tcp;
using pollux::bench::Xorshift;

constexpr uint32_t mss = 1448;
constexpr FourTuple flow{IpAddress::from_v4(0x0a63'0001), IpAddress::from_v4(0x0a63'0100), 80, 10'000};
constexpr Secrets secrets{{1, 2}, {3, 4}, {5, 6}, 7};

/// The peer as segments: what it has, and what it says of that.
class Peer {
public:
    SeqNum next() const { return next_; }
    void begins(SeqNum at) { next_ = at; }
    /// Whether an ACK is owed at once.
    bool takes(SeqNum first, SeqNum end) {
        if (end.at_or_before(next_)) return true;
        if (first == next_) {
            const bool fills = !islands_.empty();
            advances(end);
            while (!islands_.empty() && islands_.begin()->second.first.at_or_before(next_)) {
                advances(later(next_, islands_.begin()->second.end));
                islands_.erase(islands_.begin());
            }
            return fills || (++in_order_ & 1) == 0;
        }
        uint64_t at = place(first);
        SackBlock block{first, end};
        if (const auto before = islands_.find(last_); before != islands_.end() && before->second.end == first) {
            block.first = before->second.first;  // mostly the newest island grows
            at = before->first;
        }
        islands_[at] = block;
        last_ = at;
        return true;
    }
    Segment says(uint32_t window, uint32_t clock, uint32_t echo) const {
        Segment s;
        s.flow = flow;
        s.seq = SeqNum{1001};
        s.ack = next_;
        s.flags = Flags::ack;
        s.window = window;
        s.present = Present::timestamps;
        s.timestamps = {clock, echo};
        if (islands_.empty()) return s;
        const auto newest = islands_.find(last_);
        if (newest != islands_.end()) s.sack_blocks[s.sack_count++] = newest->second;
        for (auto i = islands_.rbegin(); i != islands_.rend() && s.sack_count < 3; ++i) {
            if (i->first != last_) s.sack_blocks[s.sack_count++] = i->second;
        }
        return s;
    }

private:
    uint64_t place(SeqNum seq) const { return at_ + seq.since(next_); }
    void advances(SeqNum to) {
        at_ += to.since(next_);
        next_ = to;
    }

    SeqNum next_;
    uint64_t at_ = 0;  // next_, counted on across the wrap
    uint32_t in_order_ = 0;
    uint64_t last_ = 0;
    std::map<uint64_t, SackBlock> islands_;  // by place()
};

/// One stack with one connection and endless data.
class Sender {
public:
    explicit Sender(uint32_t window_segments, bool hystart)
        : stack_(settings(hystart), secrets, counters), piece_(size_t{1} << 20), window_(window_segments * mss >> 10) {
        stack_.listen({{}, 80});
        Segment syn;
        syn.flow = flow;
        syn.seq = SeqNum{1000};
        syn.flags = Flags::syn;
        syn.window = 65'535;
        syn.present = Present::mss | Present::window_scale | Present::sack_permitted | Present::timestamps;
        syn.mss = 1460;
        syn.window_scale = 10;
        syn.timestamps = {1, 0};
        stack_.input(syn, now, out);
        const Segment answer = out.segments()[0].segment;
        echo = answer.timestamps.value;
        peer.begins(answer.seq + 1);
        turn({&(last = peer.says(window_, 2, echo)), 1});
        conn_ = stack_.find_conn(flow);
        if (!conn_) throw std::runtime_error("the handshake failed");
        pin_ = stack_.pins().reserve();
    }

    /// Input, timers, transmit; cycles.
    uint64_t turn(std::span<const Segment> acks) {
        out.reset();
        const uint64_t start = __rdtsc();
        stack_.input(acks, now, out);
        while (stack_.advance_timers(now, 64)) {
        }
        stack_.transmit(now, out);
        const uint64_t cycles = __rdtsc() - start;
        for (const TxSegment& s : out.segments()) echo = s.segment.timestamps.value;
        return cycles;
    }
    void offers(uint64_t bytes) {
        while (stack_.unacknowledged(conn_) < bytes) {
            if (!stack_.send(conn_, Pinned{piece_, pin_})) throw std::runtime_error("the send queue is full");
        }
    }
    ConnInfo info() const { return *stack_.info(conn_); }
    Segment ack() const { return peer.says(window_, static_cast<uint32_t>(now.time_since_epoch() / 1ms), echo); }
    uint32_t window() const { return window_; }

    Instant now = Instant{1s};
    Counters counters;
    TxBatch out{4096};
    Peer peer;
    uint32_t echo = 0;
    Segment last;

private:
    static StackSettings settings(bool hystart) {
        StackSettings made;
        made.capacity = {.connections = 4, .half_open = 4, .time_wait = 4, .send_entries = 256, .chunks = 16,
                         .receive_stores = 4, .recoveries = 4, .segment_records = 1u << 16, .events = 256, .pins = 4};
        made.hystart = hystart;
        made.transmit_quantum = 1024;
        return made;
    }

    Stack stack_;
    std::vector<std::byte> piece_;
    uint32_t window_;
    ConnId conn_;
    uint32_t pin_ = 0;
};

void BM_BulkSend(benchmark::State& state) {
    const auto lose_one_of = static_cast<uint32_t>(state.range(0));
    Sender sender{256, true};
    Xorshift random;
    struct Flying {
        Instant arrives;
        SeqNum first, end;
    };
    std::deque<Flying> flying;
    std::vector<double> rounds;  // cycles per kB
    uint64_t all_cycles = 0, all_bytes = 0;
    std::vector<Segment> acks;
    for (auto _ : state) {
        uint64_t cycles = 0;
        const SeqNum before = sender.peer.next();
        // A round: about a thousand segments.
        while (sender.peer.next().since(before) < 1000 * mss) {
            sender.offers(2u << 20);
            acks.clear();
            if (flying.empty()) {
                sender.now += 1ms;
                acks.push_back(sender.ack());  // what a delayed ACK would say soon
            } else {
                sender.now = std::max(sender.now, flying.front().arrives);
            }
            while (!flying.empty() && flying.front().arrives <= sender.now && acks.size() < 32) {
                if (sender.peer.takes(flying.front().first, flying.front().end)) acks.push_back(sender.ack());
                flying.pop_front();
            }
            cycles += sender.turn(acks);
            uint32_t place = 0;
            for (const TxSegment& s : sender.out.segments()) {
                if (s.payload_size == 0) continue;
                if (lose_one_of != 0 && random.below(lose_one_of) == 0) continue;
                flying.push_back({sender.now + 20ms + Duration{++place}, s.segment.seq, s.segment.seq + s.payload_size});
            }
        }
        const double kilobytes = sender.peer.next().since(before) / 1024.0;
        rounds.push_back(static_cast<double>(cycles) / kilobytes);
        all_cycles += cycles;
        all_bytes += sender.peer.next().since(before);
    }
    std::ranges::sort(rounds);
    state.counters["cycles_per_kb"] = rounds[rounds.size() / 10];
    state.counters["cycles_per_kb_median"] = rounds[rounds.size() / 2];
    state.counters["cycles_per_kb_mean"] = static_cast<double>(all_cycles) * 1024 / static_cast<double>(all_bytes);
    state.counters["retransmitted_share"] =
        static_cast<double>(sender.counters[Tally::retransmitted_segments]) /
        static_cast<double>(sender.counters[Tally::segments_sent]);
    state.counters["timeouts"] = static_cast<double>(sender.counters[Tally::retransmission_timeouts]);
    state.counters["cwnd_segments"] = sender.info().cwnd / mss;
}
BENCHMARK(BM_BulkSend)->ArgName("lose_one_of")->Arg(0)->Arg(1000)->Arg(100)->Arg(20)->Unit(benchmark::kMicrosecond);

/// A flight of `segments`, cwnd grown to hold it, and nothing more to send.
std::unique_ptr<Sender> with_flight(uint32_t segments) {
    auto sender = std::make_unique<Sender>(2 * segments, false);
    while (sender->info().cwnd < segments * mss) {
        sender->offers(uint64_t{segments} * mss);
        sender->now += 1ms;
        sender->turn({});
        for (const TxSegment& s : sender->out.segments()) {
            if (s.payload_size > 0) sender->peer.takes(s.segment.seq, s.segment.seq + s.payload_size);
        }
        sender->now += 1ms;
        const Segment ack = sender->ack();
        sender->turn({&ack, 1});
        for (const TxSegment& s : sender->out.segments()) {
            if (s.payload_size > 0) sender->peer.takes(s.segment.seq, s.segment.seq + s.payload_size);
        }
    }
    return sender;
}

void BM_SackedAck(benchmark::State& state) {
    const auto segments = static_cast<uint32_t>(state.range(0));
    const bool holes = state.range(1) != 0;
    std::vector<uint32_t> costs;
    for (auto _ : state) {
        state.PauseTiming();
        auto sender = with_flight(segments);
        const ConnInfo info = sender->info();
        SeqNum una = info.snd_una;
        std::vector<Segment> acks;
        for (uint32_t i = 1; una + (i + 1) * mss != info.snd_nxt && i < segments; ++i) {
            if (holes && i % 2 == 0) continue;
            Segment s = sender->ack();
            s.ack = una;
            s.sack_count = 0;
            const auto block = [&](uint32_t first, uint32_t end) {
                s.sack_blocks[s.sack_count++] = {una + first * mss, una + end * mss};
            };
            if (holes) {
                for (uint32_t j = 0; j < 3 && i >= 1 + 2 * j; ++j) block(i - 2 * j, i - 2 * j + 1);
            } else {
                block(1, i + 1);
            }
            acks.push_back(s);
        }
        state.ResumeTiming();
        for (const Segment& ack : acks) {
            sender->now += 10us;
            costs.push_back(static_cast<uint32_t>(sender->turn({&ack, 1})));
        }
    }
    std::ranges::sort(costs);
    state.counters["cycles_median"] = costs[costs.size() / 2];
    state.counters["cycles_p99"] = costs[costs.size() * 99 / 100];
    double sum = 0;
    for (const uint32_t cost : costs) sum += cost;
    state.counters["cycles_mean"] = sum / static_cast<double>(costs.size());
}
BENCHMARK(BM_SackedAck)
    ->ArgNames({"segments", "holes"})
    ->ArgsProduct({{10, 100, 1000, 4000}, {0, 1}})
    ->Unit(benchmark::kMicrosecond)
    ->Iterations(20);

}  // namespace

BENCHMARK_MAIN();
