// What the worker needs of a queue, and the two that there are: one queue pair of a DPDK port, and one in memory that
// tests and benches fill and look into. Workers are templates over the queue: no indirect call but the driver's own.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/dpdk.hpp"
#include "engine/thread_sanitizer.hpp"

namespace pollux::engine {

template <class Q>
concept PacketQueue = requires(Q queue, std::span<rte_mbuf*> packets) {
    // Fills `packets` from the front and returns how many came; they are the caller's then.
    { queue.receive(packets) } -> std::same_as<uint16_t>;
    // Takes packets from the front and returns how many; the others stay the caller's.
    { queue.send(packets) } -> std::same_as<uint16_t>;
};

class NicQueue {
public:
    /// `wakes`: the device raises receive interrupts. `may_lack_peer`: as lacks_peer() has it; look() finds out.
    NicQueue(uint16_t port, uint16_t queue, bool wakes = false, bool may_lack_peer = false)
        : port_(port), queue_(queue), wakes_(wakes), may_lack_peer_(may_lack_peer) {}

    uint16_t receive(std::span<rte_mbuf*> into) {
        if (lacks_peer_) return 0;
        const uint16_t count = rte_eth_rx_burst(port_, queue_, into.data(), static_cast<uint16_t>(into.size()));
        for (uint16_t i = 0; i < count; ++i) packet_comes(into[i]);
        if (may_lack_peer_) moved(count);
        return count;
    }
    uint16_t send(std::span<rte_mbuf*> packets) {
        if (lacks_peer_) return 0;
        for (rte_mbuf* packet : packets) packet_leaves(packet);
        const uint16_t count = rte_eth_tx_burst(port_, queue_, packets.data(), static_cast<uint16_t>(packets.size()));
        if (may_lack_peer_) moved(count);
        return count;
    }
    /// Asks the device, which may take its time.
    bool has_link() const {
        if (lacks_peer_) return false;
        rte_eth_link link{};
        return rte_eth_link_get_nowait(port_, &link) != 0 || link.link_status == RTE_ETH_LINK_UP;
    }

    /// The peer of a memif may have asked for fewer queue pairs than we have. The driver does not refuse the others:
    /// they read and write the first one's ring, to nobody's good. Such a queue has no link, and moves nothing.
    bool lacks_peer() const { return lacks_peer_; }
    /// Now and then, since peers come and go. The driver's statistics are of the queues that the peer has asked for:
    /// one that has moved packets and is not among them is nobody's.
    void look() {
        if (!has_moved_) return;
        lacks_peer_ = false;
        if (!has_link()) return;
        rte_eth_stats stats{};
        lacks_peer_ =
            rte_eth_stats_get(port_, &stats) == 0 && stats.q_ipackets[queue_] + stats.q_opackets[queue_] == 0;
    }
    static constexpr uint16_t most_told_apart = RTE_ETHDEV_QUEUE_STAT_CNTRS;  // queues in those statistics

    uint16_t port() const { return port_; }
    uint16_t queue() const { return queue_; }
    bool wakes() const { return wakes_; }

private:
    void moved(uint16_t count) {
        if (count == 0 || has_moved_) return;
        has_moved_ = true;
        look();
    }

    uint16_t port_, queue_;
    bool wakes_, may_lack_peer_;
    bool has_moved_ = false, lacks_peer_ = false;
};

/// Packets in, packets out, all in memory. Does not own them.
class MemoryQueue {
public:
    uint16_t receive(std::span<rte_mbuf*> into) {
        const size_t n = std::min(into.size(), arrived_.size() - next_);
        std::copy_n(arrived_.begin() + static_cast<ptrdiff_t>(next_), n, into.begin());
        next_ += n;
        if (next_ == arrived_.size()) {
            arrived_.clear();
            next_ = 0;
        }
        return static_cast<uint16_t>(n);
    }
    uint16_t send(std::span<rte_mbuf*> packets) {
        const size_t n = std::min({packets.size(), size_t{takes_}, size_t{UINT16_MAX}});
        sent_.insert(sent_.end(), packets.begin(), packets.begin() + static_cast<ptrdiff_t>(n));
        if (takes_ != unlimited) takes_ -= static_cast<uint32_t>(n);
        return static_cast<uint16_t>(n);
    }

    void arrive(rte_mbuf* packet) { arrived_.push_back(packet); }
    std::vector<rte_mbuf*>& sent() { return sent_; }
    size_t waiting() const { return arrived_.size() - next_; }
    /// Takes only `n` more packets.
    void take_only(uint32_t n) { takes_ = n; }
    void take_all() { takes_ = unlimited; }

private:
    static constexpr uint32_t unlimited = ~0u;
    std::vector<rte_mbuf*> arrived_, sent_;
    size_t next_ = 0;
    uint32_t takes_ = unlimited;
};

static_assert(PacketQueue<NicQueue> && PacketQueue<MemoryQueue>);

}  // namespace pollux::engine
