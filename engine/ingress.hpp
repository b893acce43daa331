// Ingress: a burst of frames becomes Segments and PathNotices. ARP, neighbour discovery and echo requests end here,
// answered in the packet that asked; everything else that is not TCP for us ends here with a Verdict. Segments are
// only collected: the worker hands them to the stack together, so that its passes over the burst see the whole of it.
//
// What is believed: a checksum that the device calls good is good; anything else is summed in software. A packet is
// looked at in the order frame, IP header, destination (RFC 9293 MUST-57), source (MUST-63), fragment, options and
// extension headers, protocol, [[filter]], and the first thing that is wrong names the verdict. Nothing that is wrong is
// answered.
//
// The rules of [[filter]] judge TCP and pings, before anything is handed over, looked up or kept. ICMP errors, which
// come from routers and act only if they quote what is in flight, and ARP and neighbour discovery, without which there
// is no link, are not judged.
//
// With several workers, a segment or an ICMP error of a flow that is another's leaves for its owner as soon as its
// tuple is known: before its checksum is looked at, and long before anybody could think of a RST (ownership.hpp).
//
// ingress.cpp holds the frames, ARP and IPv4; ingress_v6.cpp holds IPv6.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/dpdk.hpp"
#include "engine/egress.hpp"
#include "engine/exchange.hpp"
#include "engine/interface.hpp"
#include "engine/local_addresses.hpp"
#include "engine/neighbors.hpp"
#include "engine/ownership.hpp"
#include "engine/packet_filter.hpp"
#include "engine/paths.hpp"
#include "tcp/counters.hpp"
#include "tcp/path_notice.hpp"
#include "tcp/rate_limit.hpp"
#include "tcp/segment.hpp"
#include "tcp/wire/ethernet.hpp"
#include "tcp/wire/icmp.hpp"
#include "tcp/wire/icmpv6.hpp"
#include "tcp/wire/ipv4.hpp"
#include "tcp/wire/ipv6.hpp"
#include "tcp/wire/packet.hpp"

namespace pollux::engine {

struct IcmpPolicy {
    uint32_t replies_per_second = 1'000;
    uint8_t ttl = 64;
    uint64_t seed = 1;  // jitter of the limit
};

/// One worker's way to the others; without a side there are none.
struct Crossing {
    Exchange::Side* side = nullptr;
    std::span<const Ownership> owners{};  // of each interface
};

class Ingress {
public:
    /// Refers to all of its arguments. `capacity`: packets of one turn.
    Ingress(Paths& paths, Neighbors& neighbors, LocalAddresses& addresses, Egress& egress, tcp::Counters& counters,
            const IcmpPolicy& icmp, const Crossing& crossing, uint32_t capacity);

    /// The rules from here on, or null for none, and where to count what each of them has decided: a place for each and
    /// one for packets that none fits.
    void judge_by(const Rulebook* rules, uint64_t* hits) {
        rules_ = rules;
        hits_ = hits;
    }
    /// Forgets the last turn's segments and notices.
    void begin() {
        segment_count_ = 0;
        notices_.clear();
    }
    /// Reads `burst`, which `interface` received. A packet that is sent back as its own answer, or handed over, is
    /// replaced by null; all others stay the caller's and must live until the segments are done with.
    void read(std::span<rte_mbuf*> burst, const Interface& interface, tcp::Instant now);
    /// The same for packets that other workers handed over; each names its interface in mbuf.port.
    void read_handed_over(std::span<rte_mbuf*> burst, std::span<const Interface> interfaces, tcp::Instant now);
    /// What another worker has heard on its link.
    void hear(const LinkNews& news, std::span<const Interface> interfaces, tcp::Instant now);

    std::span<const tcp::Segment> segments() const { return {segments_.data(), segment_count_}; }
    /// Of each segment's flow, 0 where it has not been computed; empty if none ever is.
    std::span<const uint64_t> hashes() const { return {hashes_.data(), hashes_.empty() ? 0 : segment_count_}; }
    std::span<const tcp::PathNotice> notices() const { return notices_; }

private:
    /// What became of a frame; `segment`: it is the next of segments_; `gone`: it is not the caller's any more.
    enum class End : uint8_t { counted, segment, gone };
    using EthernetFrame = tcp::wire::EthernetFrame;
    using Ipv6Header = tcp::wire::Ipv6Header;
    using Icmpv6Message = tcp::wire::Icmpv6Message;

    template <class InterfaceOf>
    void read_all(std::span<rte_mbuf*> burst, InterfaceOf&& interface_of, tcp::Instant now);
    End frame_arrives(rte_mbuf& packet, const Interface& interface, tcp::Instant now);
    End arp_arrives(rte_mbuf& packet, const EthernetFrame& frame, const Interface& interface, tcp::Instant now);
    End ipv4_arrives(rte_mbuf& packet, const EthernetFrame& frame, const Interface& interface, tcp::Instant now);
    End icmp_arrives(rte_mbuf& packet, const EthernetFrame& frame, const tcp::wire::Ipv4Header& ip,
                     const Interface& interface, tcp::Instant now);
    End notice_arrives(rte_mbuf& packet, const Interface& interface, const tcp::IpAddress& destination,
                       const std::optional<tcp::PathNotice>& notice);

    // ingress_v6.cpp
    End ipv6_arrives(rte_mbuf& packet, const EthernetFrame& frame, const Interface& interface, tcp::Instant now);
    End icmpv6_arrives(rte_mbuf& packet, const EthernetFrame& frame, const Ipv6Header& ip, const Interface& interface,
                       tcp::Instant now);
    End solicitation_arrives(rte_mbuf& packet, const EthernetFrame& frame, const Ipv6Header& ip,
                             const Icmpv6Message& message, const Interface& interface, tcp::Instant now);
    End advertisement_arrives(const EthernetFrame& frame, const Ipv6Header& ip, const Icmpv6Message& message,
                              const Interface& interface, tcp::Instant now);
    void object(const Interface& interface, const tcp::IpAddress& address, const tcp::wire::MacAddress& by);

    bool learn(const LinkNews& news, bool is_answer, tcp::Instant now);
    void prefetch_rules(std::span<rte_mbuf*> burst, size_t i) const;
    /// Whether the rules deny it. What was handed over has been judged by who received it.
    bool denies(const tcp::wire::Ipv4Header& ip, uint16_t port) {
        return rules_ != nullptr && !handed_over_ &&
               is_denied(rules_->judge_v4(ip.source_v4(), ip.destination_v4(), port));
    }
    bool denies(const Ipv6Header& ip, uint16_t port) {
        return rules_ != nullptr && !handed_over_ && is_denied(rules_->judge_v6(ip.source(), ip.destination(), port));
    }
    bool is_denied(const Judgement& judgement) {
        ++hits_[judgement.rule];
        return judgement.denied;
    }
    static constexpr uint16_t no_port = 0;  // of a ping
    /// Whether the owner of a TCP packet with this payload must be computed before anything else.
    bool may_be_anothers(const Interface& interface, tcp::wire::IpProtocol protocol, size_t payload_size) const {
        return crossing_.side && !handed_over_ && crossing_.owners[interface.index].must_be_computed() &&
               protocol == tcp::wire::IpProtocol::tcp && payload_size >= ports_size;
    }
    static constexpr size_t ports_size = 4;  // what the tuple needs of a TCP header
    End hand_over(rte_mbuf& packet, const Interface& interface, uint32_t owner) {
        crossing_.side->give(packet, interface.index, owner);
        return End::gone;
    }
    End answer_in_place(rte_mbuf& packet, const Interface& interface, size_t size, tcp::Verdict verdict);
    End count(tcp::Verdict verdict) {
        counters_.add(verdict);
        return End::counted;
    }

    Paths& paths_;
    Neighbors& neighbors_;
    LocalAddresses& addresses_;
    Egress& egress_;
    tcp::Counters& counters_;
    Crossing crossing_;
    const Rulebook* rules_ = nullptr;
    uint64_t* hits_ = nullptr;
    bool handed_over_ = false;  // what is being read has found its owner
    tcp::RateLimit echo_limit_;
    uint8_t ttl_;
    std::vector<tcp::Segment> segments_;
    std::vector<uint64_t> hashes_;  // with other workers only
    std::vector<tcp::PathNotice> notices_;
    uint32_t segment_count_ = 0;
};

}  // namespace pollux::engine
