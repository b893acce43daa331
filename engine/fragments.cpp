#define ALLOW_EXPERIMENTAL_API  // rte_ip_frag_table_del_expired_entries, experimental since 18.08
#include "engine/fragments.hpp"

#include <rte_ip_frag.h>

#include <algorithm>
#include <bit>
#include <span>
#include <stdexcept>

namespace pollux::engine {

using tcp::Instant;
using tcp::Tally;

namespace {

constexpr uint32_t bucket_entries = 4;
constexpr size_t least_tcp_header = 20;  // RFC 1858: the first piece has ports and flags

// DPDK asks for a clock of any kind.
uint64_t ticks_of(tcp::Duration time) {
    return static_cast<uint64_t>(time.count());
}

constexpr uint32_t prefetch = 4;  // of what is freed
constexpr tcp::Duration look_again = std::chrono::milliseconds{100};

}  // namespace

struct Fragments::DeathRow {
    rte_ip_frag_death_row row{};
};

void Fragments::FreeTable::operator()(rte_ip_frag_tbl* table) const { rte_ip_frag_table_destroy(table); }

Fragments::Fragments(const FragmentPolicy& policy, tcp::Counters& counters) : policy_(policy), counters_(counters) {
    if (!policy.reassembles) return;
    const uint32_t buckets = std::bit_ceil(std::max(policy.datagrams / bucket_entries, 1u));
    table_.reset(rte_ip_frag_table_create(buckets, bucket_entries, policy.datagrams, ticks_of(policy.timeout),
                                          static_cast<int>(rte_socket_id())));
    if (!table_) {
        throw std::runtime_error("no memory for " + std::to_string(policy.datagrams) +
                                 " datagrams in reassembly; lower security.fragment_datagrams or raise eal.memory");
    }
    dead_ = std::make_unique<DeathRow>();
}

Fragments::~Fragments() {
    if (dead_) discard();
}

// What DPDK would take although it means no good, or only waste.
std::optional<Fragments::Outcome> Fragments::objects_to(const Piece& piece, size_t largest) const {
    const size_t end = piece.offset + piece.size;
    const bool fits = piece.size > 0 && piece.ip_header + end <= largest;
    const bool whole_units = !piece.more || piece.size % 8 == 0;
    const bool tiny = piece.offset == 0 && piece.size < least_tcp_header;
    if (!fits || !whole_units || tiny) return Outcome::refused;
    return {};
}

uint32_t& Fragments::waiting_of(const tcp::IpAddress& source) {
    const uint64_t hash = tcp::siphash<1, 3>(tcp::SipKey{policy_.seed, ~policy_.seed},
                                             std::as_bytes(std::span{source.words}));
    return waiting_[hash % slots];
}

Fragments::Taken Fragments::take_v4(rte_mbuf& packet, const Piece& piece, size_t largest, Instant now) {
    if (const auto objection = objects_to(piece, largest)) return {*objection};
    uint32_t& waiting = waiting_of(piece.source);
    if (waiting >= policy_.per_source) return {Outcome::over_limit};
    packet.l2_len = piece.ip_at & 0x7f;
    packet.l3_len = piece.ip_header & 0x1ff;
    auto* const ip = rte_pktmbuf_mtod_offset(&packet, rte_ipv4_hdr*, piece.ip_at);
    ++waiting;
    const uint64_t ticks = ticks_of(now.time_since_epoch());
    return finish(rte_ipv4_frag_reassemble_packet(table_.get(), &dead_->row, &packet, ticks, ip), waiting, now);
}

Fragments::Taken Fragments::take_v6(rte_mbuf& packet, const Piece& piece, size_t largest, Instant now) {
    if (const auto objection = objects_to(piece, largest)) return {*objection};
    uint32_t& waiting = waiting_of(piece.source);
    if (waiting >= policy_.per_source) return {Outcome::over_limit};
    packet.l2_len = piece.ip_at & 0x7f;
    packet.l3_len = piece.ip_header & 0x1ff;
    auto* const ip = rte_pktmbuf_mtod_offset(&packet, rte_ipv6_hdr*, piece.ip_at);
    auto* const fragment = rte_pktmbuf_mtod_offset(&packet, rte_ipv6_fragment_ext*, piece.ip_at + sizeof(rte_ipv6_hdr));
    ++waiting;
    const uint64_t ticks = ticks_of(now.time_since_epoch());
    return finish(rte_ipv6_frag_reassemble_packet(table_.get(), &dead_->row, &packet, ticks, ip, fragment), waiting,
                  now);
}

Fragments::Taken Fragments::finish(rte_mbuf* whole, uint32_t& waiting, Instant now) {
    discard();
    if (whole == nullptr) {
        newest_ = now;
        if (expires_at_ == Instant::max()) {
            expires_at_ = now + policy_.timeout + look_again;
            forgotten_at_ = expires_at_;
        }
        return {Outcome::kept};
    }
    waiting -= std::min<uint32_t>(waiting, whole->nb_segs);
    if (rte_pktmbuf_linearize(whole) != 0) {
        counters_.add(Tally::fragments_discarded, whole->nb_segs);
        rte_pktmbuf_free(whole);
        return {Outcome::kept};
    }
    // The header's checksum was that of the first piece, and each piece's has been checked. The sum over TCP has not.
    whole->ol_flags &= ~(RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK);
    whole->ol_flags |= RTE_MBUF_F_RX_IP_CKSUM_GOOD;
    counters_.add(Tally::datagrams_reassembled);
    return {Outcome::whole, whole};
}

void Fragments::discard() {
    if (dead_->row.cnt == 0) return;
    counters_.add(Tally::fragments_discarded, dead_->row.cnt);
    rte_ip_frag_free_death_row(&dead_->row, prefetch);
}

// At most a death row in one turn; the next goes on. Nobody says when the oldest of the rest came.
void Fragments::give_up(Instant now) {
    rte_ip_frag_table_del_expired_entries(table_.get(), &dead_->row, ticks_of(now.time_since_epoch()));
    const bool more = dead_->row.cnt != 0;
    discard();
    if (more) return;
    if (now >= forgotten_at_) {
        waiting_.fill(0);
        forgotten_at_ = now + policy_.timeout;
    }
    expires_at_ = now > newest_ + policy_.timeout ? Instant::max() : now + look_again;
}

}  // namespace pollux::engine
