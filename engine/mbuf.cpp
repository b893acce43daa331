#include "engine/mbuf.hpp"

#include <algorithm>
#include <stdexcept>

#include "engine/sentence.hpp"

namespace pollux::engine {
namespace {

constexpr uint32_t cache_size = 256;  // of each lcore: allocation and release rarely touch the shared ring

// A frame with two VLAN tags and what some devices add behind it; never less than DPDK's usual 2 KiB.
uint16_t data_room(uint16_t mtu) {
    constexpr uint32_t around_ip = 14 + 2 * 4 + 4;
    const uint32_t room = std::max<uint32_t>(2048, (mtu + around_ip + 63) / 64 * 64) + RTE_PKTMBUF_HEADROOM;
    return static_cast<uint16_t>(std::min<uint32_t>(room, UINT16_MAX));
}

}  // namespace

PacketPool make_packet_pool(const std::string& name, uint32_t count, uint16_t mtu, int socket) {
    const uint32_t cache = std::min(cache_size, count * 2 / 3);
    PacketPool pool{rte_pktmbuf_pool_create(name.c_str(), count, cache, 0, data_room(mtu), socket)};
    if (!pool) {
        throw std::runtime_error("no memory for " + std::to_string(count) + " packet buffers (" +
                                 std::to_string(packet_pool_bytes(count, mtu) >> 20) +
                                 " MB): " + errno_text(rte_errno) +
                                 "; raise eal.memory, reserve more huge pages or lower engine.packet_buffers");
    }
    return pool;
}

// Without huge pages no packet may cross a 4 KiB page, so one of the usual size has a page to itself.
size_t packet_pool_bytes(uint32_t count, uint16_t mtu) {
    constexpr size_t page = 4096, header = 128 /* object header and alignment */, of_ring = 16;
    const size_t packet = sizeof(rte_mbuf) + data_room(mtu) + header;
    const size_t per_page = page / packet;
    const size_t pages = per_page != 0 ? (count + per_page - 1) / per_page : count * ((packet + page - 1) / page);
    return pages * page + size_t{count} * of_ring;
}

}  // namespace pollux::engine
