// Fragments: IP datagrams in pieces, put together again within bounds (RFC 791, RFC 8200 section 4.5), by DPDK's
// rte_ip_frag. Off unless the settings ask for it: TCP that knows its path's MTU sends none.
//
// What is bounded: how many datagrams of all peers wait at a time, how many pieces of one source, how long they wait, how
// large they may become (no larger than a packet of ours, so that it fits one buffer), how many pieces one has (8, by
// DPDK's build). Pieces that overlap drop their whole datagram (RFC 5722), as does a first piece that ends before the TCP
// header does (RFC 1858). Only TCP is put together: a ping or discovery in pieces is dropped as ever (RFC 6980).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "engine/dpdk.hpp"
#include "tcp/address.hpp"
#include "tcp/counters.hpp"
#include "tcp/siphash.hpp"
#include "tcp/time.hpp"

struct rte_ip_frag_tbl;

namespace pollux::engine {

struct FragmentPolicy {
    bool reassembles = false;
    uint32_t datagrams = 128;   // incomplete ones of all sources
    uint32_t per_source = 64;   // pieces of one source that may wait; sources share 256 counts by a keyed hash
    tcp::Duration timeout = std::chrono::seconds{30};
    uint64_t seed = 1;
};

class Fragments {
public:
    /// Throws std::runtime_error if DPDK has no memory for the table. Refers to `counters`.
    Fragments(const FragmentPolicy& policy, tcp::Counters& counters);
    ~Fragments();
    Fragments(const Fragments&) = delete;
    Fragments& operator=(const Fragments&) = delete;

    bool reassembles() const { return table_ != nullptr; }

    /// A piece as its header tells it. Offset and sizes in bytes.
    struct Piece {
        tcp::IpAddress source{};
        size_t ip_at = 0;      // of the IP header in the packet
        size_t ip_header = 0;  // its size; with the fragment header, of IPv6
        size_t offset = 0, size = 0;
        bool more = false;
    };
    enum class Outcome : uint8_t { kept, refused, over_limit, whole };
    struct Taken {
        Outcome outcome;
        rte_mbuf* datagram = nullptr;  // `whole`: it, in one buffer; the caller's
    };
    /// Unless refused or over the limit, `packet` is not the caller's any more. `largest`: IP packet, bytes.
    Taken take_v4(rte_mbuf& packet, const Piece& piece, size_t largest, tcp::Instant now);
    Taken take_v6(rte_mbuf& packet, const Piece& piece, size_t largest, tcp::Instant now);

    /// Gives up what has waited too long. Once a turn; cheap when nothing waits.
    void expire(tcp::Instant now) {
        if (now >= expires_at_) [[unlikely]] give_up(now);
    }
    std::optional<tcp::Instant> next_due() const {
        return expires_at_ == tcp::Instant::max() ? std::nullopt : std::optional{expires_at_};
    }

private:
    struct DeathRow;
    struct FreeTable {
        void operator()(rte_ip_frag_tbl* table) const;
    };
    static constexpr size_t slots = 256;

    std::optional<Outcome> objects_to(const Piece& piece, size_t largest) const;
    uint32_t& waiting_of(const tcp::IpAddress& source);
    Taken finish(rte_mbuf* whole, uint32_t& waiting, tcp::Instant now);
    void discard();
    void give_up(tcp::Instant now);

    FragmentPolicy policy_;
    tcp::Counters& counters_;
    std::unique_ptr<rte_ip_frag_tbl, FreeTable> table_;
    std::unique_ptr<DeathRow> dead_;
    std::array<uint32_t, slots> waiting_{};  // pieces, by source; what DPDK drops counts until all are forgotten
    tcp::Instant forgotten_at_{};
    tcp::Instant newest_{};  // piece that was kept
    tcp::Instant expires_at_ = tcp::Instant::max();
};

}  // namespace pollux::engine
