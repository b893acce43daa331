#include "engine/paths.hpp"

#include <algorithm>
#include <bit>

namespace pollux::engine {

using tcp::wire::EtherType;

Path make_path(const Interface& interface, uint16_t vlan, const tcp::wire::MacAddress& mac) {
    Path path;
    path.interface = interface.index;
    path.header_size =
        static_cast<uint8_t>(tcp::wire::write_ethernet(path.header, mac, interface.mac, EtherType::ipv4, vlan));
    return path;
}

Paths::Paths(uint32_t capacity, uint64_t seed)
    : capacity_(std::min<uint32_t>(capacity, tcp::unresolved_path)), multiplier_(seed | 1) {
    paths_.reserve(capacity_);
    const uint32_t slots = std::max<uint32_t>(std::bit_ceil(capacity_ * 2), probes * 2);
    slots_.resize(slots);
    shift_ = 64 - static_cast<uint32_t>(std::countr_zero(slots));
}

tcp::PathId Paths::find_or_add(uint64_t key, const Interface& interface, uint16_t vlan,
                               const tcp::wire::MacAddress& mac) {
    const auto mask = static_cast<uint32_t>(slots_.size() - 1);
    const auto home = static_cast<uint32_t>((key ^ key >> 31) * multiplier_ >> shift_);
    for (uint32_t i = 0; i < probes; ++i) {
        Slot& slot = slots_[(home + i) & mask];
        if (slot.id == tcp::unresolved_path) {
            if (paths_.size() == capacity_) return tcp::unresolved_path;
            slot = {key, static_cast<tcp::PathId>(paths_.size())};
            paths_.push_back(make_path(interface, vlan, mac));
        } else if (slot.key != key) {
            continue;
        }
        last_key_ = key;
        last_id_ = slot.id;
        return slot.id;
    }
    return tcp::unresolved_path;
}

}  // namespace pollux::engine
