// Port: one device, set up for one queue pair per worker and started; stopped and closed with the object. Every
// refusal of the device is one sentence that says what was asked, what the device can do and where it was asked:
//
//     port net_tap0: asked for 8 RX queues, the device has 4 (demo.toml:12)
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/settings.hpp"
#include "engine/dpdk.hpp"
#include "engine/interface.hpp"
#include "engine/ownership.hpp"

namespace pollux::engine {

/// A copy of what tools may know of one port.
struct PortInfo {
    Interface interface;
    std::vector<config::Prefix> addresses;
    std::optional<tcp::IpAddress> gateway, gateway_v6;
    std::string device, driver;  // as in the settings; as DPDK calls it
    bool link_up = false, full_duplex = false;
    uint32_t speed_mbps = 0;  // 0: unknown
    int numa_node = -1;       // -1: none
    uint16_t queues = 0, rx_descriptors = 0, tx_descriptors = 0;
    bool verifies_checksums = false, makes_tcp_checksums = false, receive_interrupts = false;
    std::string_view ownership;  // how packets find their worker, as ownership.hpp says it
    uint64_t received_packets = 0, sent_packets = 0, received_bytes = 0, sent_bytes = 0;
    uint64_t missed_packets = 0, receive_errors = 0, send_errors = 0, no_buffer = 0;
};

class Port {
public:
    /// `pools`: one for each worker, which gets the queue pair of its number. `eal_words`: what EAL said
    /// last, the reason if the device is missing. `shows_log`: the driver's words are printed as they come; otherwise
    /// the last of them end the sentence of a failure.
    Port(const config::Port& settings, size_t index, std::span<rte_mempool* const> pools,
         const std::string& eal_words = {}, bool shows_log = false);
    ~Port();
    Port(const Port&) = delete;
    Port& operator=(const Port&) = delete;

    /// Waits until the link is up, at most so long; whether it is.
    bool wait_for_link(std::chrono::milliseconds limit) const;

    uint16_t id() const { return id_; }
    const Interface& interface() const { return interface_; }
    uint16_t queues() const { return queues_; }
    uint16_t rx_descriptors() const { return rx_descriptors_; }
    uint16_t tx_descriptors() const { return tx_descriptors_; }
    bool verifies_checksums() const { return verifies_; }
    /// How its packets find the worker that owns their flow. `key`: of the workers' connection tables.
    Ownership ownership(const tcp::SipKey& key) const;
    Ownership::Kind ownership_kind() const;
    /// An application opens connections, so it must be known where answers come: a device that spreads flows by a
    /// hash that nobody can read is not trusted with it. Before ownership() is asked for.
    void must_foresee_owners();
    const std::string& driver() const { return driver_; }
    /// Whether its queues raise receive interrupts.
    bool wakes() const { return wakes_; }
    /// Whether its peer decides if this queue has an other end (nic_queue.hpp).
    bool may_lack_peer(uint16_t queue) const;
    rte_eth_stats stats() const;
    /// By any thread.
    PortInfo info() const;
    int socket() const { return rte_eth_dev_socket_id(id_); }

private:
    void set_up(std::span<rte_mempool* const> pools);
    uint16_t find_device(const std::string& eal_words) const;
    void check_queues(const rte_eth_dev_info& device) const;
    void configure(const rte_eth_dev_info& device);
    void set_up_queues(const rte_eth_dev_info& device, std::span<rte_mempool* const> pools);
    void set_mtu(const rte_eth_dev_info& device);
    void set_mac();
    void join_groups();
    bool is_trusted_to_spread(const rte_eth_dev_info& device) const;
    [[noreturn]] void complain(const std::string& what) const;
    void check(int result, const std::string& what) const;

    const config::Port& settings_;
    bool shows_log_;
    Interface interface_;
    uint16_t id_ = 0;
    uint16_t queues_;
    uint16_t rx_descriptors_, tx_descriptors_;
    std::string driver_;
    bool spreads_ = false;  // by the setting or by its driver, whole flows come to one queue
    bool verifies_ = false;
    bool wakes_ = false;
};

}  // namespace pollux::engine
