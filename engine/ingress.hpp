// Ingress: a burst of frames becomes Segments and PathNotices. ARP and ICMP echo end here, answered in the packet
// that asked; everything else that is not TCP for us ends here with a Verdict. Segments are only collected: the
// worker hands them to the stack together, so that its passes over the burst see the whole of it.
//
// What is believed: a checksum that the device calls good is good; anything else is summed in software. A packet is
// looked at in the order frame, IP header, destination (RFC 9293 MUST-57), source (MUST-63), fragment and options,
// protocol, and the first thing that is wrong names the verdict. Nothing that is wrong is answered.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/dpdk.hpp"
#include "engine/egress.hpp"
#include "engine/interface.hpp"
#include "engine/neighbors.hpp"
#include "engine/paths.hpp"
#include "tcp/counters.hpp"
#include "tcp/path_notice.hpp"
#include "tcp/rate_limit.hpp"
#include "tcp/segment.hpp"
#include "tcp/wire/ethernet.hpp"
#include "tcp/wire/icmp.hpp"
#include "tcp/wire/ipv4.hpp"
#include "tcp/wire/packet.hpp"

namespace pollux::engine {

struct IcmpPolicy {
    uint32_t replies_per_second = 1'000;
    uint8_t ttl = 64;
    uint64_t seed = 1;  // jitter of the limit
};

class Ingress {
public:
    /// Refers to all of its arguments. `capacity`: packets of one turn.
    Ingress(Paths& paths, Neighbors& neighbors, Egress& egress, tcp::Counters& counters, const IcmpPolicy& icmp,
            uint32_t capacity);

    /// Forgets the last turn's segments and notices.
    void begin() {
        segment_count_ = 0;
        notices_.clear();
    }
    /// Reads `burst`, which `interface` received. A packet that is sent back as its own answer is replaced by null;
    /// all others stay the caller's and must live until the segments are done with.
    void read(std::span<rte_mbuf*> burst, const Interface& interface, tcp::Instant now);

    std::span<const tcp::Segment> segments() const { return {segments_.data(), segment_count_}; }
    std::span<const tcp::PathNotice> notices() const { return notices_; }

private:
    /// What became of a frame; `segment`: it is the next of segments_.
    enum class End : uint8_t { counted, segment, sent_back };

    End frame_arrives(rte_mbuf& packet, const Interface& interface, tcp::Instant now);
    End arp_arrives(rte_mbuf& packet, const tcp::wire::EthernetFrame& frame, const Interface& interface,
                    tcp::Instant now);
    End ipv4_arrives(rte_mbuf& packet, const tcp::wire::EthernetFrame& frame, const Interface& interface,
                     tcp::Instant now);
    End icmp_arrives(rte_mbuf& packet, const tcp::wire::EthernetFrame& frame, const tcp::wire::Ipv4Header& ip,
                     const Interface& interface, tcp::Instant now);
    void icmp_error_arrives(const tcp::wire::Ipv4Header& ip, const tcp::wire::IcmpMessage& message);
    End count(tcp::Verdict verdict) {
        counters_.add(verdict);
        return End::counted;
    }

    Paths& paths_;
    Neighbors& neighbors_;
    Egress& egress_;
    tcp::Counters& counters_;
    tcp::RateLimit echo_limit_;
    uint8_t ttl_;
    std::vector<tcp::Segment> segments_;
    std::vector<tcp::PathNotice> notices_;
    uint32_t segment_count_ = 0;
};

}  // namespace pollux::engine
