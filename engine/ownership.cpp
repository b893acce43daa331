#include "engine/ownership.hpp"

#include <rte_thash.h>

#include <algorithm>

namespace pollux::engine {

Ownership Ownership::software(uint32_t workers, const tcp::SipKey& key) {
    Ownership made;
    if (workers <= 1) return made;
    made.kind_ = Kind::software;
    made.workers_ = workers;
    made.key_ = key;
    return made;
}

Ownership Ownership::device(uint32_t workers, std::span<const uint8_t> key, std::vector<uint16_t> table) {
    Ownership made;
    if (workers <= 1) return made;
    made.kind_ = Kind::device;
    made.workers_ = workers;
    const bool in_range = std::all_of(table.begin(), table.end(), [&](uint16_t queue) { return queue < workers; });
    made.hash_known_ = key.size() >= device_key_size && !table.empty() && in_range;
    if (made.hash_known_) {
        std::copy_n(key.begin(), device_key_size, made.device_key_.begin());
        made.table_ = std::move(table);
    }
    return made;
}

// The Toeplitz hash over source address, destination address, source port, destination port of the received packet,
// each in network order: host-order words, the first byte of the wire in the high bits, are what rte_softrss() takes.
uint32_t Ownership::owner_by_device(const tcp::FourTuple& flow, uint32_t receiver) const {
    if (!hash_known_) return receiver;
    const uint32_t ports = uint32_t{flow.remote_port} << 16 | flow.local_port;
    const auto& remote = flow.remote_addr.words;
    const auto& local = flow.local_addr.words;
    uint32_t hash = 0;
    if (flow.local_addr.is_v4()) {
        std::array<uint32_t, 3> tuple{remote[3], local[3], ports};
        hash = rte_softrss(tuple.data(), tuple.size(), device_key_.data());
    } else {
        std::array<uint32_t, 9> tuple{remote[0], remote[1], remote[2], remote[3], local[0],
                                      local[1],  local[2],  local[3],  ports};
        hash = rte_softrss(tuple.data(), tuple.size(), device_key_.data());
    }
    return table_[hash % table_.size()];
}

bool Ownership::is_trusted_driver(std::string_view driver) {
    constexpr std::array<std::string_view, 6> trusted{"net_i40e",  "net_ice",  "net_iavf",
                                                      "net_ixgbe", "mlx5_pci", "net_bnxt"};
    return std::find(trusted.begin(), trusted.end(), driver) != trusted.end();
}

std::string_view to_string(Ownership::Kind kind) {
    switch (kind) {
        case Ownership::Kind::single: return "one worker";
        case Ownership::Kind::device: return "device";
        case Ownership::Kind::software: return "software";
    }
    return "?";
}

}  // namespace pollux::engine
