// Ownership: which worker a flow belongs to. Each flow has one owner; nobody else ever looks it up.
//
//   single     there is one worker
//   device     the device's receive-side scaling spreads whole flows, and the queue is the owner. Its hash is known
//   in
//              software too (Toeplitz, with the device's key and table) for packets that it cannot hash by our tuple:
//              ICMP errors, which quote it
//   software   the device spreads packets as it likes (or not at all); the worker that receives one computes the
//   owner,
//              a keyed function of the tuple, and hands the packet over
//
// The owner is decided before anything is looked up, so before any RST is considered. Which kind serves a port is the
// setting `rss`; "auto" believes only drivers that are known to hash both addresses and both ports of TCP.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "tcp/segment.hpp"
#include "tcp/siphash.hpp"

namespace pollux::engine {

class Ownership {
public:
    enum class Kind : uint8_t { single, device, software };

    /// One worker owns everything.
    Ownership() = default;
    /// `key`: that of the workers' connection tables, so that a packet's flow is hashed once for both.
    static Ownership software(uint32_t workers, const tcp::SipKey& key);
    /// `key`: 40 bytes or more of the device's hash key. `table`: the queue of each hash value modulo its size. With
    /// either empty the device's hash is not known, and what needs it stays where it came in.
    static Ownership device(uint32_t workers, std::span<const uint8_t> key, std::vector<uint16_t> table);

    Kind kind() const { return kind_; }
    uint32_t workers() const { return workers_; }
    /// Whether a worker may receive segments of other workers' flows.
    bool must_be_computed() const { return kind_ == Kind::software; }
    /// Whether owner_of() says where a flow's packets will come, before there are any.
    bool is_foreseen() const { return kind_ != Kind::device || hash_known_; }

    /// The owner of `flow`, seen from our side. `receiver`: who has it now, the answer if nobody can tell.
    uint32_t owner_of(const tcp::FourTuple& flow, uint32_t receiver) const {
        if (kind_ == Kind::software) return owner_of_hash(hash_of(flow));
        return kind_ == Kind::single ? 0 : owner_by_device(flow, receiver);
    }
    /// The two steps of owner_of() where owners are computed. The hash is also what finds the flow in its owner's
    /// connection table, which reads other bits of it (flow_table.hpp): owner and place say nothing about each other.
    uint64_t hash_of(const tcp::FourTuple& flow) const { return tcp::siphash_1_3(key_, flow); }
    uint32_t owner_of_hash(uint64_t hash) const {
        return static_cast<uint32_t>((hash >> 32 & 0xffff) * workers_ >> 16);
    }

    /// Whether packets of this driver come to the queue of their whole tuple, as its documentation says.
    static bool is_trusted_driver(std::string_view driver);

    static constexpr size_t device_key_size = 40;  // what a tuple of IPv6 needs

private:
    uint32_t owner_by_device(const tcp::FourTuple& flow, uint32_t receiver) const;

    Kind kind_ = Kind::single;
    uint32_t workers_ = 1;
    tcp::SipKey key_{};
    bool hash_known_ = false;
    alignas(4) std::array<uint8_t, device_key_size> device_key_{};  // read in words
    std::vector<uint16_t> table_;
};

/// "one worker", "device", "software".
std::string_view to_string(Ownership::Kind kind);

}  // namespace pollux::engine
