// Egress: Segments to frames, and the frames to the queues in order.
//
// A segment's frame is written in one pass: the Ethernet header of its path, the IP and TCP headers, the payload
// gathered from its pieces (copied, and summed on the way when the device does not sum). A segment whose path is
// unresolved goes through the neighbour cache. What a queue refuses stays in that port's backlog, in order; room()
// tells the next turn's TxBatch how much may come, so that nothing encoded is ever dropped for lack of room. The
// packets for that are taken from the pool before the turn begins.
//
// A device without a link (memif before its peer has come, and after it has gone) takes nothing, and keeping frames
// for it would keep the worker awake and the drain waiting: they are lost, and counted, as on a cable that is not
// plugged in.
//
// Control frames (ARP, neighbour discovery, ICMP) share the backlog but never its last half.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/dpdk.hpp"
#include "engine/interface.hpp"
#include "engine/local_addresses.hpp"
#include "engine/neighbors.hpp"
#include "engine/nic_queue.hpp"
#include "engine/paths.hpp"
#include "tcp/counters.hpp"
#include "tcp/path_notice.hpp"
#include "tcp/tx_batch.hpp"

namespace pollux::engine {

class Egress {
public:
    /// Refers to all of its arguments. `capacity`: frames that one turn can encode.
    Egress(std::span<const Interface> interfaces, Paths& paths, Neighbors& neighbors, const LocalAddresses& addresses,
           tcp::Counters& counters, rte_mempool& pool, uint32_t capacity);
    ~Egress();
    Egress(const Egress&) = delete;
    Egress& operator=(const Egress&) = delete;

    /// Takes packets from the pool for this turn and returns how many segments may be encoded in it.
    uint32_t reserve();
    /// Appends the batch's frames to the backlogs.
    void encode(const tcp::TxBatch& batch, tcp::Instant now);
    /// Asks what the neighbour cache wants asked and sends what it releases. Comes after encode().
    void serve_neighbors(tcp::Instant now);
    /// Whom no neighbour answered for, since clear_notices().
    std::span<const tcp::PathNotice> notices() const { return notices_; }
    void clear_notices() { notices_.clear(); }
    /// Announces every IPv4 address of `interface` (RFC 5227 section 3).
    void announce(const Interface& interface);
    /// Announces every usable IPv6 address of `interface` (RFC 4861 section 7.2.6).
    void announce_v6(const Interface& interface);
    /// Asks the link whether somebody has the tentative addresses of `interface` (RFC 4862 section 5.4.2).
    void probe(const Interface& interface);
    /// A received packet that has been turned into its answer. False: no room; it stays the caller's.
    bool send_control(const Interface& interface, rte_mbuf* packet);

    /// Hands `queue` what it takes of the backlog of `interface`; returns how many.
    template <PacketQueue Queue>
    uint32_t flush(size_t interface, Queue& queue) {
        Backlog& backlog = backlogs_[interface];
        if (backlog.frames.empty()) return 0;
        const uint16_t taken = queue.send(backlog.frames);
        backlog.frames.erase(backlog.frames.begin(), backlog.frames.begin() + taken);
        backlog.refusals = taken != 0 ? 0 : backlog.refusals + 1;
        if constexpr (requires { queue.has_link(); }) {
            // A full ring is the usual reason; the device is asked only when it lasts.
            if (backlog.refusals == refusals_of_a_dead_link) {
                backlog.refusals = 0;
                if (!queue.has_link()) drop(backlog);
            }
        }
        return taken;
    }
    /// Frames that wait for their queue.
    size_t backlog() const;
    /// Empty packets kept ready for the next turn.
    size_t ready() const { return stash_.size(); }
    uint64_t frames_encoded() const { return encoded_; }

private:
    struct Backlog {
        std::vector<rte_mbuf*> frames;  // reserved at start; its erase() is the one place that moves frames
        uint32_t refusals = 0;          // in a row, of all frames
    };
    static constexpr uint32_t refusals_of_a_dead_link = 1'000;  // turns; well below a millisecond of them

    rte_mbuf* take();
    void drop(Backlog& backlog);
    void encode_one(const tcp::TxBatch& batch, const tcp::TxSegment& segment, tcp::Instant now);
    void give_up(rte_mbuf* packet, const tcp::FourTuple& flow);
    void encode_unresolved(const tcp::Segment& segment, rte_mbuf* packet, tcp::Instant now);
    void write_frame(rte_mbuf& packet, const Path& path, const tcp::TxBatch& batch, const tcp::TxSegment& segment);
    void ask(const Neighbors::Question& question);
    void send_arp(const Interface& interface, const tcp::wire::MacAddress& to, uint32_t sender, uint32_t target);
    template <class Write>
    void send_discovery(const Interface& interface, const tcp::wire::MacAddress& to, Write&& write);
    const Interface* interface_of(const tcp::IpAddress& local) const;

    std::span<const Interface> interfaces_;
    Paths& paths_;
    Neighbors& neighbors_;
    const LocalAddresses& addresses_;
    tcp::Counters& counters_;
    rte_mempool& pool_;
    uint32_t capacity_;
    std::vector<Backlog> backlogs_;         // one of each interface
    std::vector<rte_mbuf*> stash_;          // packets taken from the pool ahead of need; used from the back
    std::vector<tcp::PathNotice> notices_;  // bounded: one lost is repeated with the next packet
    uint64_t encoded_ = 0;
};

}  // namespace pollux::engine
