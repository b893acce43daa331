// What a benchmark of whole turns stands on when its device is memory: EAL, a packet pool, a queue and an interface.
#pragma once

#include <sched.h>

#include <span>
#include <utility>
#include <vector>

#include "bench/keep_alive_rig.hpp"
#include "engine/eal.hpp"

namespace pollux::bench {

inline constexpr uint32_t queue_packets = 4096;
inline constexpr std::string_view server_v6 = "2001:db8:99::1";

/// The worker holds it, the generator fills and empties it.
struct QueueHandle {
    engine::MemoryQueue* queue;
    uint16_t receive(std::span<rte_mbuf*> into) { return queue->receive(into); }
    uint16_t send(std::span<rte_mbuf*> packets) { return queue->send(packets); }
    void arrive(rte_mbuf* packet) { queue->arrive(packet); }
    void take_sent(std::vector<rte_mbuf*>& into) { std::swap(into, queue->sent()); }
};

inline std::vector<engine::Interface> server_interfaces() {
    engine::Interface made;
    made.name = "memory0";
    made.mac = server_mac;
    made.networks = {{server_v4, 0xffff'0000}};
    made.networks_v6 = {{*tcp::IpAddress::parse(server_v6), 64}};
    made.detects_duplicates = false;
    return {made};
}

/// EAL and the pool, once per process.
struct Ground {
    Ground() : eal(settings(), engine::packet_pool_bytes(queue_packets, 1500)) {
        pool = engine::make_packet_pool("bench", queue_packets, 1500, SOCKET_ID_ANY);
    }
    static config::Settings settings() {
        config::Settings made;
        made.eal.huge_pages = engine::free_huge_pages() != engine::HugePages::none;
        made.eal.cores = {static_cast<uint16_t>(sched_getcpu())};
        return made;
    }
    engine::Eal eal;
    engine::PacketPool pool;
};

}  // namespace pollux::bench
