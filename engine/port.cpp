#include "engine/port.hpp"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <thread>

#include "engine/caught_log.hpp"
#include "engine/nic_queue.hpp"
#include "engine/sentence.hpp"
#include "tcp/wire/nd.hpp"

namespace pollux::engine {
namespace {

constexpr uint32_t around_ip = 14 + 4 + 4;  // Ethernet header, one VLAN tag, frame check sequence

std::string count_of(uint32_t n, const char* what) { return std::to_string(n) + " " + what + (n == 1 ? "" : "s"); }

std::string said(const std::string& words) { return words.empty() ? words : "; DPDK says: " + words; }

}  // namespace

Port::Port(const config::Port& settings, size_t index, std::span<rte_mempool* const> pools,
           const std::string& eal_words, bool shows_log)
    : settings_(settings),
      shows_log_(shows_log),
      interface_(make_interface(settings, index)),
      queues_(static_cast<uint16_t>(pools.size())),
      rx_descriptors_(settings.rx_descriptors),
      tx_descriptors_(settings.tx_descriptors) {
    id_ = find_device(eal_words);
    const CaughtLog log{!shows_log_};
    try {
        set_up(pools);
    } catch (const std::exception& error) {
        const std::string words = log.last_line();
        rte_eth_dev_close(id_);
        throw std::runtime_error(error.what() + said(words));
    }
}

Port::~Port() {
    const CaughtLog log{!shows_log_};
    rte_eth_dev_stop(id_);
    rte_eth_dev_close(id_);
}

void Port::set_up(std::span<rte_mempool* const> pools) {
    rte_eth_dev_info device{};
    check(rte_eth_dev_info_get(id_, &device), "does not describe itself");
    driver_ = device.driver_name ? device.driver_name : "";
    check_queues(device);
    spreads_ = is_trusted_to_spread(device);
    configure(device);
    set_up_queues(device, pools);
    set_mtu(device);
    set_mac();
    check(rte_eth_dev_start(id_), "does not start");
    wakes_ = rte_eth_dev_rx_intr_ctl_q_get_fd(id_, 0) >= 0;
    // Frames for other stations are of no use; not every virtual device can tell.
    rte_eth_promiscuous_disable(id_);
    join_groups();
}

void Port::complain(const std::string& what) const {
    const std::string source = settings_.source.to_string();
    throw std::runtime_error("port " + interface_.name + ": " + what + (source.empty() ? "" : " (" + source + ")"));
}

void Port::check(int result, const std::string& what) const {
    if (result < 0) complain(what + ": " + errno_text(result));
}

uint16_t Port::find_device(const std::string& eal_words) const {
    uint16_t id = 0;
    if (rte_eth_dev_get_port_by_name(interface_.name.c_str(), &id) == 0) return id;
    if (settings_.is_pci()) {
        complain("DPDK finds no such device; bind it to vfio-pci (dpdk-devbind.py --bind=vfio-pci " +
                 interface_.name + ") and have its driver's package installed; the kernel then loses it" +
                 said(eal_words));
    }
    const bool memif = interface_.name.starts_with("net_memif");
    complain("DPDK has made no such device; check the name, and the arguments behind its first comma" +
             std::string{memif ? "; a socket file that a killed process left behind has to be removed" : ""} +
             said(eal_words));
}

void Port::check_queues(const rte_eth_dev_info& device) const {
    if (queues_ > device.max_rx_queues) {
        complain("asked for " + count_of(queues_, "RX queue") + ", the device has " +
                 std::to_string(device.max_rx_queues));
    }
    if (queues_ > device.max_tx_queues) {
        complain("asked for " + count_of(queues_, "TX queue") + ", the device has " +
                 std::to_string(device.max_tx_queues));
    }
}

void Port::configure(const rte_eth_dev_info& device) {
    rte_eth_conf conf{};
    if (queues_ > 1 && device.flow_type_rss_offloads != 0) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        // Addresses and ports of TCP, addresses of the rest; the driver's own key.
        constexpr uint64_t wanted =
            RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_NONFRAG_IPV6_TCP;
        conf.rx_adv_conf.rss_conf.rss_hf = wanted & device.flow_type_rss_offloads;
    }
    if (settings_.checksum_offload == config::ChecksumOffload::automatic) {
        constexpr uint64_t verify = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
        conf.rxmode.offloads |= device.rx_offload_capa & verify;
        verifies_ = (device.rx_offload_capa & verify) == verify;
        if ((device.tx_offload_capa & RTE_ETH_TX_OFFLOAD_TCP_CKSUM) != 0) {
            conf.txmode.offloads |= RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
            interface_.device_sums_tcp = true;
        }
    }
    // No fast free: a received packet may leave as its own answer, and memory may come from several pools.
    conf.intr_conf.rxq = 1;
    if (rte_eth_dev_configure(id_, queues_, queues_, &conf) != 0) {  // not every device has receive interrupts
        conf.intr_conf.rxq = 0;
        check(rte_eth_dev_configure(id_, queues_, queues_, &conf), "refuses " + count_of(queues_, "queue pair"));
    }
}

void Port::set_up_queues(const rte_eth_dev_info& device, std::span<rte_mempool* const> pools) {
    check(rte_eth_dev_adjust_nb_rx_tx_desc(id_, &rx_descriptors_, &tx_descriptors_),
          "refuses " + std::to_string(settings_.rx_descriptors) + " RX and " +
              std::to_string(settings_.tx_descriptors) + " TX descriptors");
    const auto socket = static_cast<unsigned>(std::max(rte_eth_dev_socket_id(id_), 0));
    for (uint16_t queue = 0; queue < queues_; ++queue) {
        rte_eth_rxconf rx = device.default_rxconf;
        rx.offloads = 0;
        check(rte_eth_rx_queue_setup(id_, queue, rx_descriptors_, socket, &rx, pools[queue]),
              "RX queue " + std::to_string(queue) + " with " + std::to_string(rx_descriptors_) + " descriptors");
    }
    for (uint16_t queue = 0; queue < queues_; ++queue) {
        rte_eth_txconf tx = device.default_txconf;
        tx.offloads = 0;
        check(rte_eth_tx_queue_setup(id_, queue, tx_descriptors_, socket, &tx),
              "TX queue " + std::to_string(queue) + " with " + std::to_string(tx_descriptors_) + " descriptors");
    }
}

// IPv6 neighbours ask in groups: those of our addresses and that of all nodes must come through the device's filter.
// A device that cannot filter groups lets all through, or none and says so.
void Port::join_groups() {
    if (interface_.networks_v6.empty()) return;
    std::vector<rte_ether_addr> groups;
    const auto join = [&](const tcp::IpAddress& group) {
        rte_ether_addr address{};
        std::copy_n(tcp::wire::multicast_mac(group).octets.begin(), 6, address.addr_bytes);
        groups.push_back(address);
    };
    join(tcp::wire::all_nodes);
    for (const config::Prefix& network : interface_.networks_v6) join(tcp::wire::solicited_node(network.address));
    if (rte_eth_dev_set_mc_addr_list(id_, groups.data(), static_cast<uint32_t>(groups.size())) == 0) return;
    rte_eth_allmulticast_enable(id_);
}

bool Port::is_trusted_to_spread(const rte_eth_dev_info& device) const {
    switch (settings_.rss) {
        case config::Rss::software: return false;
        case config::Rss::automatic: return Ownership::is_trusted_driver(driver_);
        case config::Rss::device: break;
    }
    if (queues_ > 1 && device.flow_type_rss_offloads == 0) {
        complain("asked for rss = \"device\", the driver " + driver_ +
                 " has no receive-side scaling; \"software\" serves it");
    }
    return true;
}

bool Port::may_lack_peer(uint16_t queue) const {
    return driver_ == "net_memif" && queue > 0 && queue < NicQueue::most_told_apart;
}

Ownership::Kind Port::ownership_kind() const {
    if (queues_ == 1) return Ownership::Kind::single;
    return spreads_ ? Ownership::Kind::device : Ownership::Kind::software;
}

Ownership Port::ownership(const tcp::SipKey& key) const {
    if (!spreads_) return Ownership::software(queues_, key);
    rte_eth_dev_info device{};
    rte_eth_dev_info_get(id_, &device);
    std::vector<uint8_t> device_key(std::max<size_t>(device.hash_key_size, Ownership::device_key_size));
    rte_eth_rss_conf hash{};
    hash.rss_key = device_key.data();
    hash.rss_key_len = static_cast<uint8_t>(device_key.size());
    if (rte_eth_dev_rss_hash_conf_get(id_, &hash) != 0) device_key.clear();
    std::vector<rte_eth_rss_reta_entry64> groups((device.reta_size + RTE_ETH_RETA_GROUP_SIZE - 1u) /
                                                 RTE_ETH_RETA_GROUP_SIZE);
    for (rte_eth_rss_reta_entry64& group : groups) group.mask = ~uint64_t{0};
    std::vector<uint16_t> table;
    if (!groups.empty() && rte_eth_dev_rss_reta_query(id_, groups.data(), device.reta_size) == 0) {
        for (uint16_t i = 0; i < device.reta_size; ++i) {
            table.push_back(groups[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE]);
        }
    }
    return Ownership::device(queues_, device_key, std::move(table));
}

void Port::must_foresee_owners() {
    if (!ownership({}).is_foreseen()) spreads_ = false;
}

void Port::set_mtu(const rte_eth_dev_info& device) {
    const uint16_t mtu = settings_.mtu_bytes;
    if (device.max_mtu != 0 && mtu > device.max_mtu) {
        complain("asked for an MTU of " + std::to_string(mtu) + " bytes, the device has at most " +
                 std::to_string(device.max_mtu));
    }
    if (device.max_rx_pktlen != 0 && mtu + around_ip > uint64_t{device.max_rx_pktlen} + 4) {
        complain("asked for an MTU of " + std::to_string(mtu) + " bytes, the device takes frames of at most " +
                 std::to_string(device.max_rx_pktlen) + " bytes");
    }
    uint16_t now = 0;
    if (rte_eth_dev_get_mtu(id_, &now) == 0 && now == mtu) return;
    const int result = rte_eth_dev_set_mtu(id_, mtu);
    if (result != -ENOTSUP) check(result, "refuses an MTU of " + std::to_string(mtu) + " bytes");
}

void Port::set_mac() {
    rte_ether_addr address{};
    if (settings_.mac) {
        std::copy_n(settings_.mac->octets.begin(), 6, address.addr_bytes);
        const int result = rte_eth_dev_default_mac_addr_set(id_, &address);
        // A device without a filter takes any address: ours is then what we say it is.
        if (result != -ENOTSUP) check(result, "refuses the MAC address " + settings_.mac->to_string());
    } else {
        check(rte_eth_macaddr_get(id_, &address), "has no MAC address");
        std::copy_n(address.addr_bytes, 6, interface_.mac.octets.begin());
    }
    // net_ring and net_null come with an address of zeros, which would be nobody's.
    if (interface_.mac.is_unspecified()) interface_.mac.octets = {0x02, 0, 0, 0, 0, uint8_t(interface_.index + 1)};
}

bool Port::wait_for_link(std::chrono::milliseconds limit) const {
    const auto until = std::chrono::steady_clock::now() + limit;
    while (true) {
        rte_eth_link link{};
        if (rte_eth_link_get_nowait(id_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP) return true;
        if (std::chrono::steady_clock::now() >= until) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds{10});
    }
}

rte_eth_stats Port::stats() const {
    rte_eth_stats stats{};
    rte_eth_stats_get(id_, &stats);
    return stats;
}

PortInfo Port::info() const {
    PortInfo info;
    info.interface = interface_;
    info.addresses = settings_.addresses;
    info.gateway = settings_.gateway;
    info.gateway_v6 = settings_.gateway_v6;
    info.device = settings_.device;
    rte_eth_dev_info device{};
    if (rte_eth_dev_info_get(id_, &device) == 0) info.driver = device.driver_name;
    rte_eth_link link{};
    if (rte_eth_link_get_nowait(id_, &link) == 0) {
        info.link_up = link.link_status == RTE_ETH_LINK_UP;
        info.full_duplex = link.link_duplex == RTE_ETH_LINK_FULL_DUPLEX;
        if (link.link_speed != RTE_ETH_SPEED_NUM_UNKNOWN) info.speed_mbps = link.link_speed;
    }
    info.numa_node = socket();
    info.queues = queues_;
    info.rx_descriptors = rx_descriptors_;
    info.tx_descriptors = tx_descriptors_;
    info.verifies_checksums = verifies_;
    info.makes_tcp_checksums = interface_.device_sums_tcp;
    info.receive_interrupts = wakes_;
    info.ownership = to_string(ownership_kind());
    const rte_eth_stats counts = stats();
    info.received_packets = counts.ipackets;
    info.sent_packets = counts.opackets;
    info.received_bytes = counts.ibytes;
    info.sent_bytes = counts.obytes;
    info.missed_packets = counts.imissed;
    info.receive_errors = counts.ierrors;
    info.send_errors = counts.oerrors;
    info.no_buffer = counts.rx_nombuf;
    return info;
}

}  // namespace pollux::engine
