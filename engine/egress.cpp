#include "engine/egress.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "engine/mbuf.hpp"
#include "tcp/wire/arp.hpp"
#include "tcp/wire/ipv6.hpp"
#include "tcp/wire/nd.hpp"
#include "tcp/wire/packet.hpp"

namespace pollux::engine {

using tcp::Instant;
using tcp::IpAddress;
using tcp::PathNotice;
using tcp::Segment;
using tcp::TxBatch;
using tcp::TxSegment;
using tcp::Verdict;
using tcp::wire::ArpOperation;
using tcp::wire::ArpPacket;
using tcp::wire::ChecksumMode;
using tcp::wire::EtherType;
using tcp::wire::MacAddress;

namespace {

constexpr uint32_t control_reserve = 32;  // packets beyond the batch, for ARP questions of our own

}  // namespace

Egress::Egress(std::span<const Interface> interfaces, Paths& paths, Neighbors& neighbors,
               const LocalAddresses& addresses, tcp::Counters& counters, rte_mempool& pool, uint32_t capacity)
    : interfaces_(interfaces),
      paths_(paths),
      neighbors_(neighbors),
      addresses_(addresses),
      counters_(counters),
      pool_(pool),
      capacity_(capacity),
      backlogs_(interfaces.size()) {
    for (Backlog& backlog : backlogs_) backlog.frames.reserve(size_t{capacity} * 4);
    stash_.reserve(size_t{capacity} + control_reserve);
    notices_.reserve(64);
}

Egress::~Egress() {
    for (Backlog& backlog : backlogs_) release(backlog.frames);
    neighbors_.release_all();
    for (const Neighbors::Released& waited : neighbors_.released()) release(waited.packet);
    neighbors_.clear_output();
    for (rte_mbuf* packet : stash_) rte_mbuf_raw_free(packet);
}

uint32_t Egress::reserve() {
    const size_t wanted = size_t{capacity_} + control_reserve;
    if (stash_.size() < wanted) {
        // All or nothing, so a pool that runs dry is tried again with what a small batch needs.
        const size_t held = stash_.size();
        for (size_t ask = wanted - held; ask > 0; ask /= 2) {
            stash_.resize(held + ask);
            if (rte_mempool_get_bulk(&pool_, reinterpret_cast<void**>(stash_.data() + held),
                                     static_cast<unsigned>(ask)) == 0)
                break;
            stash_.resize(held);
        }
    }
    size_t room = stash_.size() > control_reserve ? stash_.size() - control_reserve : 0;
    for (const Backlog& backlog : backlogs_) {
        const size_t waiting = backlog.frames.size();
        room = std::min(room, waiting < capacity_ ? capacity_ - waiting : 0);
    }
    return static_cast<uint32_t>(room);
}

// An empty packet, or null when the pool is dry.
rte_mbuf* Egress::take() {
    if (stash_.empty()) return nullptr;
    rte_mbuf* packet = stash_.back();
    stash_.pop_back();
    packet_comes(packet);
    rte_pktmbuf_reset(packet);
    return packet;
}

void Egress::drop(Backlog& backlog) {
    counters_.add(tcp::Tally::sent_without_link, backlog.frames.size());
    release(backlog.frames);
    backlog.frames.clear();
}

size_t Egress::backlog() const {
    size_t waiting = 0;
    for (const Backlog& backlog : backlogs_) waiting += backlog.frames.size();
    return waiting;
}

void Egress::encode(const TxBatch& batch, Instant now) {
    neighbors_.advance(now);  // a SYN repeated now may be of one age with the question that ends now
    for (const TxSegment& segment : batch.segments()) encode_one(batch, segment, now);
}

void Egress::encode_one(const TxBatch& batch, const TxSegment& tx, Instant now) {
    rte_mbuf* packet = take();
    assert(packet && "reserve() has bounded the batch");
    if (!packet) return;
    const Segment& segment = tx.segment;
    if (paths_.knows(segment.path)) {
        const Path& path = paths_[segment.path];
        write_frame(*packet, path, batch, tx);
        backlogs_[path.interface].frames.push_back(packet);
        return;
    }
    const Interface* interface = interface_of(segment.flow.local_addr);
    if (!interface) interface = &interfaces_.front();
    write_frame(*packet, make_path(*interface, tcp::wire::no_vlan, MacAddress{}), batch, tx);
    encode_unresolved(segment, packet, now);
}

// The frame is complete but for the address that it goes to.
void Egress::encode_unresolved(const Segment& segment, rte_mbuf* packet, Instant now) {
    const Interface* interface = interface_of(segment.flow.local_addr);
    const auto hop = interface ? interface->next_hop(segment.flow.remote_addr) : std::nullopt;
    const auto answer =
        hop ? neighbors_.resolve(interface->index, *hop, now) : Neighbors::Answer{Neighbors::Lookup::unreachable, {}};
    switch (answer.what) {
        case Neighbors::Lookup::known:
            std::memcpy(rte_pktmbuf_mtod(packet, std::byte*), answer.mac.octets.data(), 6);
            backlogs_[interface->index].frames.push_back(packet);
            return;
        case Neighbors::Lookup::asking:
            if (!neighbors_.hold(interface->index, *hop, packet, segment.flow)) release(packet);
            return;
        case Neighbors::Lookup::unreachable: give_up(packet, segment.flow); return;
    }
}

void Egress::write_frame(rte_mbuf& packet, const Path& path, const TxBatch& batch, const TxSegment& tx) {
    const Interface& interface = interfaces_[path.interface];
    const auto room = room_of(packet);
    std::memcpy(room.data(), path.header.data(), path.header.size());  // all 18: what follows overwrites the rest
    const bool v4 = tx.segment.flow.local_addr.is_v4();
    if (!v4) tcp::wire::store_be16(room.data() + path.header_size - 2, uint16_t(EtherType::ipv6));
    const ChecksumMode mode = interface.device_sums_tcp ? ChecksumMode::device : ChecksumMode::software;
    const auto emitted = tcp::wire::emit(tx.segment, batch.pieces(tx), room.subspan(path.header_size), mode);
    assert(emitted.status == tcp::wire::EmitStatus::ok);
    set_size(packet, path.header_size + emitted.size);
    if (mode == ChecksumMode::device) {
        packet.ol_flags = (v4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6) | RTE_MBUF_F_TX_TCP_CKSUM;
        packet.tx_offload = rte_mbuf_tx_offload(
            path.header_size, v4 ? tcp::wire::Ipv4Header::min_size : tcp::wire::Ipv6Header::fixed_size,
            tcp::wire::TcpHeader::min_size + tcp::wire::options_size(tx.segment), 0, 0, 0, 0);
    }
    ++encoded_;
}

void Egress::give_up(rte_mbuf* packet, const tcp::FourTuple& flow) {
    release(packet);
    if (notices_.size() < notices_.capacity()) {
        notices_.push_back({PathNotice::Kind::neighbor_unreachable, flow, tcp::SeqNum{}, 0});
    }
}

void Egress::serve_neighbors(Instant now) {
    neighbors_.advance(now);
    if (!neighbors_.has_output()) return;
    for (const Neighbors::Question& question : neighbors_.questions()) ask(question);
    for (const Neighbors::Released& waited : neighbors_.released()) {
        if (waited.mac.is_unspecified()) {
            give_up(waited.packet, waited.flow);
        } else {
            std::memcpy(rte_pktmbuf_mtod(waited.packet, std::byte*), waited.mac.octets.data(), 6);
            backlogs_[waited.interface].frames.push_back(waited.packet);
        }
    }
    neighbors_.clear_output();
}

void Egress::ask(const Neighbors::Question& question) {
    const Interface& interface = interfaces_[question.interface];
    if (question.target.is_v4()) {
        const auto source = interface.source_for(question.target.v4());
        if (!source) return;  // no address that could ask
        return send_arp(interface, question.to.value_or(MacAddress::broadcast()), *source, question.target.v4());
    }
    // A question names its sender's link address: from an address that is not ours it would take it from its owner.
    const auto source = addresses_.source_for(interface, question.target);
    if (!source) return;
    // RFC 4861 section 7.2.2: to the group of all who may have the address, or to the one who had it.
    const IpAddress group = tcp::wire::solicited_node(question.target);
    send_discovery(interface, question.to.value_or(tcp::wire::multicast_mac(group)), [&](std::span<std::byte> room) {
        return tcp::wire::write_neighbor_solicitation(room, *source, question.to ? question.target : group,
                                                      question.target, interface.mac);
    });
}

void Egress::probe(const Interface& interface) {
    for (const config::Prefix& network : interface.networks_v6) {
        if (addresses_.state_of(interface, network.address) != LocalAddresses::State::tentative) continue;
        const IpAddress group = tcp::wire::solicited_node(network.address);
        send_discovery(interface, tcp::wire::multicast_mac(group), [&](std::span<std::byte> room) {
            return tcp::wire::write_neighbor_solicitation(room, IpAddress{}, group, network.address, std::nullopt);
        });
    }
}

void Egress::announce_v6(const Interface& interface) {
    for (const config::Prefix& network : interface.networks_v6) {
        if (!addresses_.is_usable(interface, network.address)) continue;
        send_discovery(interface, tcp::wire::multicast_mac(tcp::wire::all_nodes), [&](std::span<std::byte> room) {
            return tcp::wire::write_neighbor_advertisement(room, network.address, tcp::wire::all_nodes,
                                                           network.address, interface.mac, false, true);
        });
    }
}

/// `write` fills in the IPv6 packet and returns its size.
template <class Write>
void Egress::send_discovery(const Interface& interface, const MacAddress& to, Write&& write) {
    rte_mbuf* packet = take();
    if (!packet) return counters_.add(Verdict::no_room_to_answer);
    const auto room = room_of(*packet);
    const size_t header = tcp::wire::write_ethernet(room, to, interface.mac, EtherType::ipv6);
    set_size(*packet, header + write(room.subspan(header)));
    if (!send_control(interface, packet)) release(packet);
}

void Egress::announce(const Interface& interface) {
    for (const Ipv4Network& network : interface.networks) {
        send_arp(interface, MacAddress::broadcast(), network.address, network.address);
    }
}

void Egress::send_arp(const Interface& interface, const MacAddress& to, uint32_t sender, uint32_t target) {
    rte_mbuf* packet = take();
    if (!packet) {
        counters_.add(Verdict::no_room_to_answer);
        return;
    }
    const auto room = room_of(*packet);
    const size_t header = tcp::wire::write_ethernet(room, to, interface.mac, EtherType::arp);
    const size_t body = tcp::wire::write_arp(room.subspan(header), ArpOperation::request, interface.mac, sender,
                                             MacAddress{}, target);
    set_size(*packet, header + body);
    if (!send_control(interface, packet)) release(packet);
}

bool Egress::send_control(const Interface& interface, rte_mbuf* packet) {
    auto& frames = backlogs_[interface.index].frames;
    if (frames.size() >= capacity_ / 2) {
        counters_.add(Verdict::no_room_to_answer);
        return false;
    }
    frames.push_back(packet);
    return true;
}

const Interface* Egress::interface_of(const tcp::IpAddress& local) const {
    for (const Interface& interface : interfaces_) {
        if (interface.is_ours(local)) return &interface;
    }
    return nullptr;
}

}  // namespace pollux::engine
