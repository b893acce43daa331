// Byte views over mbufs, and the few ways in which one begins and ends. A packet of ours is one segment; what a
// device hands us in several is made one at ingress.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "engine/dpdk.hpp"
#include "engine/thread_sanitizer.hpp"

namespace pollux::engine {

/// The bytes of a packet in one segment.
inline std::span<std::byte> bytes_of(rte_mbuf& packet) {
    return {rte_pktmbuf_mtod(&packet, std::byte*), packet.data_len};
}

/// All the room behind the headroom of an empty packet.
inline std::span<std::byte> room_of(rte_mbuf& packet) {
    return {rte_pktmbuf_mtod(&packet, std::byte*), size_t{packet.buf_len} - packet.data_off};
}

inline void set_size(rte_mbuf& packet, size_t size) {
    packet.data_len = static_cast<uint16_t>(size);
    packet.pkt_len = static_cast<uint32_t>(size);
}

/// Packets that received bytes in place become packets to send: what the device said of them is forgotten.
inline void reuse_for_sending(rte_mbuf& packet, size_t size) {
    packet.ol_flags = 0;
    packet.tx_offload = 0;
    set_size(packet, size);
}

inline void release(std::span<rte_mbuf* const> packets) {
    for (rte_mbuf* packet : packets) packet_leaves(packet);
    // The cast drops a const that DPDK's signature does not know.
    rte_pktmbuf_free_bulk(const_cast<rte_mbuf**>(packets.data()), static_cast<unsigned>(packets.size()));
}

inline void release(rte_mbuf* packet) {
    packet_leaves(packet);
    rte_pktmbuf_free(packet);
}

struct FreePool {
    void operator()(rte_mempool* pool) const { rte_mempool_free(pool); }
};
using PacketPool = std::unique_ptr<rte_mempool, FreePool>;

/// `count` packets with room for a frame of `mtu` bytes; throws one sentence. A negative `socket` means any.
PacketPool make_packet_pool(const std::string& name, uint32_t count, uint16_t mtu, int socket);
/// The memory that such a pool takes at most, for sizing.
size_t packet_pool_bytes(uint32_t count, uint16_t mtu);

}  // namespace pollux::engine
