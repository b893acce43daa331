// Dumbbell: flows from one stack to another through one bottleneck, in virtual time and without wire formats, for
// questions of speed: how much arrives, how it is shared, how cwnd moves. Whether what arrives is right, the seeds
// ask.
//
//     sender ──> [ drop-tail queue │ rate ] ──> loss ──> half an RTT ──> receiver
//        ^                                                                  │
//        └────────────────────── half an RTT, nothing lost ─────────────────┘
//
// All bytes are zero: the receiver is shown zeros of the size that was sent.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "tcp/stack.hpp"
#include "tests/simulation/random.hpp"

namespace pollux::simulation {

class Dumbbell {
public:
    struct Plan {
        tcp::StackSettings settings;            // of the sender; the receiver has the same options
        std::vector<tcp::Duration> starts{{}};  // one flow each
        uint64_t rate = 0;                      // bytes a second; 0: no limit, and no queue
        tcp::Duration rtt{};
        uint32_t queue = 0;                 // bytes
        double loss = 0;                    // of packets with data, beyond the queue
        uint64_t seed = 1;                  // of that
        std::vector<tcp::Duration> losses;  // and at each of these times the next packet with data
    };

    explicit Dumbbell(const Plan& plan);

    /// Runs until so long after the start.
    void runs_until(tcp::Duration end);
    tcp::Duration now() const { return now_ - start; }

    uint64_t received(size_t flow) const { return flows_[flow].received; }
    std::vector<uint64_t> received() const;
    /// Of the sender's connection, once it is there.
    std::optional<tcp::ConnInfo> info(size_t flow) const { return sender_.info(flows_[flow].conn); }
    const tcp::Counters& counters() const { return sender_counters_; }
    uint64_t dropped() const { return dropped_; }

private:
    static constexpr tcp::Instant start{std::chrono::seconds{1}};
    struct Travelling {
        tcp::Instant arrives;
        tcp::Segment segment;
        uint32_t size = 0;
    };
    struct Flow {
        tcp::Instant begins;
        tcp::ConnId conn;
        bool asked = false;
        uint64_t received = 0;
    };

    tcp::FourTuple tuple(size_t flow) const;
    void opens();
    void sender_turn();
    void receiver_turn();
    void take(std::deque<Travelling>& way, std::vector<tcp::Segment>& burst);
    void to_receiver(const tcp::TxSegment& sent);
    void to_sender(const tcp::TxSegment& sent);
    bool is_lost();
    std::optional<tcp::Instant> next_event() const;

    const Plan plan_;
    tcp::Counters sender_counters_, receiver_counters_;
    tcp::Stack sender_, receiver_;
    std::vector<Flow> flows_;
    std::deque<Travelling> forth_, back_;
    std::vector<tcp::Segment> burst_;
    tcp::TxBatch out_{256};
    Random random_;
    size_t next_loss_ = 0;
    tcp::Instant now_ = start, free_at_ = start;
    tcp::PinId pin_ = 0;
    uint64_t dropped_ = 0;
};

/// Jain, Chiu, Hawe 1984: 1 when all have the same, 1/n when one has everything.
double jain_index(const std::vector<uint64_t>& shares);

}  // namespace pollux::simulation
