// Whole workers, one or two, on wires of memory: frames of any bytes, in any number of pieces, alone and in bursts.
// Each frame's story ends with one name, every packet buffer comes back, and what is answered is right.
#include "engine/ingress.hpp"

#if __has_include(<sanitizer/asan_interface.h>)
#include <sanitizer/asan_interface.h>
#endif

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "engine/eal.hpp"
#include "engine/mbuf.hpp"
#include "engine/nic_queue.hpp"
#include "engine/worker.hpp"
#include "tcp/wire/arp.hpp"
#include "tcp/wire/nd.hpp"
#include "tests/fuzz/repair.hpp"
#include "tests/fuzz/targets.hpp"

#ifndef ASAN_POISON_MEMORY_REGION
#define ASAN_POISON_MEMORY_REGION(at, size) static_cast<void>(0)
#define ASAN_UNPOISON_MEMORY_REGION(at, size) static_cast<void>(0)
#endif

namespace pollux::fuzz {
namespace {

using namespace std::chrono_literals;
using namespace tcp;
using namespace tcp::wire;
using engine::bytes_of;

constexpr uint32_t buffers = 1'023;
constexpr size_t longest = 1'514;
constexpr MacAddress our_mac{{2, 0, 0, 0, 0, 1}};
constexpr uint32_t our_v4 = 0xc000'0201;             // 192.0.2.1
constexpr IpAddress our_v6{{0x2001'0db8, 0, 0, 1}};  // 2001:db8::1
constexpr IpAddress gateway_v6{{0xfe80'0000, 0, 0, 0xfe}};

// EAL and its memory: once for the process.
struct Machine {
    static config::Settings settings() {
        config::Settings made;
        made.eal.huge_pages = false;
        made.eal.memory_mb = 128;
        return made;
    }
    engine::Eal eal{settings(), 0};
    engine::PacketPool pool = engine::make_packet_pool("fuzz", buffers, 1500, SOCKET_ID_ANY);
    std::array<engine::Waker, 2> wakers;
    std::array<engine::Waker*, 2> waker_pointers{&wakers[0], &wakers[1]};
    engine::Exchange exchange{waker_pointers};
};
Machine& machine() {
    static Machine made;
    return made;
}

// Answers what it reads, closes what the peer closes.
class App {
public:
    void on_turn(std::span<const Event> events, Stack& stack, Instant now) {
        for (const Event& event : events) {
            if (event.kind == Event::Kind::data) {
                const auto unread = stack.unread(event.conn);
                stack.consume(event.conn, static_cast<uint32_t>(unread.size()));
                static constexpr std::array<std::byte, 90> answer{};
                if (!stack.send_copy(event.conn, answer)) stack.abort(event.conn, now);
            }
            if (event.kind == Event::Kind::peer_closed) stack.close(event.conn, now);
        }
    }
    std::optional<Instant> next_due() const { return {}; }
};

struct Wire {
    engine::MemoryQueue* queue;
    uint16_t receive(std::span<rte_mbuf*> into) { return queue->receive(into); }
    uint16_t send(std::span<rte_mbuf*> packets) { return queue->send(packets); }
    bool has_link() const { return true; }
};

StackSettings small_stack() {
    StackSettings settings;
    settings.capacity = {.connections = 8,
                         .half_open = 8,
                         .time_wait = 8,
                         .send_entries = 32,
                         .chunks = 16,
                         .receive_stores = 8,
                         .recoveries = 8,
                         .segment_records = 64,
                         .spent_cookies = 15,
                         .events = 512,
                         .pins = 8};
    return settings;
}

struct Member {
    Member(const engine::Interface& interface, std::span<const engine::Interface> interfaces,
           const engine::Crossing& crossing)
        : stack(small_stack(), {{1, 2}, {3, 4}, {5, 6}, 7, {8, 9}}, counters),
          worker({Wire{&queue}}, interfaces, stack, app, counters, *machine().pool, settings_for(crossing)) {
        demand(stack.listen({{}, 80}) && interface.index == 0, "a stack listens");
    }
    static engine::WorkerSettings settings_for(const engine::Crossing& crossing) {
        engine::WorkerSettings settings;
        settings.neighbors = 8;
        settings.paths = 8;
        settings.icmp.replies_per_second = 4;
        settings.announces = !crossing.side || crossing.side->worker() == 0;
        settings.crossing = crossing;
        return settings;
    }
    Counters counters;
    Stack stack;
    App app;
    engine::MemoryQueue queue;
    engine::Worker<Wire, App> worker;
};

class Rig {
public:
    Rig(bool two, bool probes, bool device_sums) {
        interface_.name = "fuzz0";
        interface_.mac = our_mac;
        interface_.networks = {{our_v4, 0xffff'ff00}};
        interface_.networks_v6 = {{our_v6, 64}};
        interface_.gateway = 0xc000'02fe;
        interface_.gateway_v6 = gateway_v6;
        interface_.detects_duplicates = probes;
        interface_.device_sums_tcp = device_sums;
        const SipKey key{1, 2};
        owners_[0] = two ? engine::Ownership::software(2, key) : engine::Ownership{};
        for (uint32_t i = 0; i < (two ? 2u : 1u); ++i) {
            engine::Crossing crossing;
            if (two) crossing = {&machine().exchange.side(i), owners_};
            members_.push_back(std::make_unique<Member>(interface_, interfaces(), crossing));
        }
    }
    ~Rig() {
        for (const auto& [at, size] : poisoned_) ASAN_UNPOISON_MEMORY_REGION(at, size);
    }

    std::span<const engine::Interface> interfaces() const { return {&interface_, 1}; }
    void arrives(Input& in, const Repair& how);
    void turns();
    void passes(Duration time) { now_ += time; }
    void ends();

private:
    void numbers(std::span<std::byte> frame, uint8_t how) const;
    rte_mbuf* packet_of(std::span<const std::byte> frame, uint8_t pieces);
    void hears(Member& member);
    void judges(std::span<const std::byte> frame);
    void poison(void* at, size_t size) {
        ASAN_POISON_MEMORY_REGION(at, size);
        poisoned_.emplace_back(at, size);
    }

    engine::Interface interface_;
    std::array<engine::Ownership, 1> owners_;
    std::vector<std::unique_ptr<Member>> members_;
    std::vector<std::pair<void*, size_t>> poisoned_;
    Instant now_{1s};
    uint64_t delivered_ = 0;
    SeqNum said_{}, heard_{};  // of the last segment that came back: what would come next, and what it acknowledged
};

// Puts numbers into a TCP header that fit what came back last: connections open, and then go on.
void Rig::numbers(std::span<std::byte> frame, uint8_t how) const {
    const auto ethernet = EthernetFrame::parse(frame);
    if (!ethernet || ethernet->payload().size() < 60) return;
    const bool v6 = load_u8(ethernet->payload().data()) >> 4 == 6;
    const auto tcp = frame.subspan(ethernet->size() + (v6 ? 40 : 20));
    if ((how & 1) != 0) store_be32(&tcp[4], heard_.raw());
    if ((how & 2) != 0) store_be32(&tcp[8], said_.raw());
}

// In up to four pieces, as devices with small buffers give it; what lies behind the bytes may not be looked at.
rte_mbuf* Rig::packet_of(std::span<const std::byte> frame, uint8_t pieces) {
    constexpr size_t written_in_place = 96;  // by the longest answer to a shorter question
    rte_mbuf* head = nullptr;
    for (size_t left = pieces + size_t{1}; left > 0; --left) {
        const auto part = frame.first(frame.size() / left);
        frame = frame.subspan(part.size());
        rte_mbuf* packet = rte_pktmbuf_alloc(machine().pool.get());
        demand(packet != nullptr, "there is a buffer for every frame");
        std::ranges::copy(part, engine::room_of(*packet).begin());
        engine::set_size(*packet, part.size());
        if (head == nullptr)
            head = packet;
        else
            demand(rte_pktmbuf_chain(head, packet) == 0, "a few pieces make a packet");
    }
    const auto room = engine::room_of(*head);
    const size_t used = std::max<size_t>(head->pkt_len, written_in_place);
    poison(room.data() + used, room.size() - used);
    return head;
}

void Rig::arrives(Input& in, const Repair& how) {
    static constexpr uint64_t said_by_device[] = {0, 0, RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD,
                                                  RTE_MBUF_F_RX_IP_CKSUM_BAD | RTE_MBUF_F_RX_L4_CKSUM_BAD};
    const uint8_t what = in.byte();
    const uint16_t size = in.two();
    const auto taken = std::as_bytes(in.take(std::min<size_t>(size, longest)));
    std::vector<std::byte> frame(taken.begin(), taken.end());
    if (const uint8_t fit = what >> 4 & 3; fit != 0) numbers(frame, fit);
    repair(frame, how);
    rte_mbuf* const packet = packet_of(frame, what & 3);
    packet->ol_flags |= said_by_device[what >> 2 & 3];
    members_[(what >> 6 & 1) % members_.size()]->queue.arrive(packet);
    ++delivered_;
}

void Rig::judges(std::span<const std::byte> frame) {
    demand(frame.size() <= longest + 4, "a frame fits the device");
    const auto ethernet = EthernetFrame::parse(frame);
    demand(ethernet && ethernet->source() == our_mac, "a frame of ours says so");
    const auto payload = ethernet->payload();
    if (ethernet->ether_type() == EtherType::arp) {
        const auto arp = ArpPacket::parse(payload);
        demand(arp && arp->sender_v4() == our_v4 && arp->sender_mac() == our_mac, "ARP says where we are");
        return;
    }
    const ChecksumTrust trust = interface_.device_sums_tcp ? ChecksumTrust::tcp_verified : ChecksumTrust::verify_all;
    if (const auto ip = Ipv4Header::parse(payload)) {
        demand(ip->source_v4() == our_v4 && ip->checksum_ok(), "an IPv4 packet is ours");
        demand(!ethernet->is_multicast() && !interface_.is_broadcast(ip->destination_v4()), "and goes to one host");
        if (ip->protocol() == IpProtocol::icmp) {
            const auto message = IcmpMessage::parse(ip->payload());
            demand(message && message->type() == IcmpType::echo_reply && message->checksum_ok(), "a good echo");
            return;
        }
    } else {
        const auto v6 = Ipv6Header::parse(payload);
        demand(v6.has_value(), "whatever is sent can be read");
        const bool from_nobody = v6->source().is_unspecified();  // a probe
        demand(from_nobody || v6->source() == our_v6, "an IPv6 packet is ours");
        if (v6->protocol() == IpProtocol::icmpv6) {
            const auto message = Icmpv6Message::parse(v6->payload());
            demand(message && message->checksum_ok(v6->source(), v6->destination()), "good ICMPv6");
            const bool discovery =
                NeighborSolicitation::parse(*v6, *message) || NeighborAdvertisement::parse(*v6, *message);
            demand(discovery || message->type() == Icmpv6Type::echo_reply,
                   "discovery that others believe, or an echo");
            demand(discovery || !ethernet->is_multicast(), "an echo goes to one host");
            return;
        }
        demand(!ethernet->is_multicast() && !v6->destination().is_multicast(), "TCP goes to one host");
    }
    const ParsedPacket parsed = parse(payload, trust);
    demand(parsed.result == ParseResult::ok, "TCP is good");
    said_ = parsed.segment.seq + parsed.segment.seq_length();
    heard_ = parsed.segment.ack;
}

void Rig::hears(Member& member) {
    for (rte_mbuf* packet : std::exchange(member.queue.sent(), {})) {
        judges(bytes_of(*packet));
        rte_pktmbuf_free(packet);
    }
}

// As many as a hand-over there and back takes.
void Rig::turns() {
    for (int i = 0; i < 3; ++i) {
        for (const auto& member : members_) {
            member->worker.turn(now_);
            const std::string wrong = member->stack.check_invariants();
            demand(wrong.empty(), wrong);
            hears(*member);
        }
    }
    for (const auto& [at, size] : std::exchange(poisoned_, {})) ASAN_UNPOISON_MEMORY_REGION(at, size);
    uint64_t named = 0;
    for (const auto& member : members_) {
        demand(member->queue.waiting() == 0, "a turn takes what has come");
        for (size_t v = 0; v < verdict_count; ++v) named += member->counters[Verdict(v)];
        demand(member->counters[Tally::events_lost] == 0, "no event is lost");
    }
    demand(named == delivered_, "every frame's story ends with one name");
}

void Rig::ends() {
    for (const Duration pause : {1s, 3s, 10s, 60s, 120s, 600s}) {
        now_ += pause;
        turns();
    }
    for (const auto& member : members_) {
        member->worker.abort_all();
        turns();
        const PoolUse use = member->stack.pool_use();
        demand(use.connections == 0 && use.chunks == 0 && use.pins == 0, "aborted connections leave nothing behind");
    }
    members_.clear();
    demand(rte_mempool_avail_count(machine().pool.get()) == buffers, "every packet buffer comes back");
}

}  // namespace

void ingress(Bytes bytes) {
    machine();
    Input in{bytes};
    const uint8_t mode = in.byte();
    const Repair how{.checksums = (mode & 1) != 0, .lengths = (mode & 2) != 0};
    Rig rig{(mode & 4) != 0, (mode & 8) != 0, (mode & 16) != 0};
    rig.turns();
    if ((mode & 32) != 0) {  // addresses that were asked for are usable
        rig.passes(2s);
        rig.turns();
    }
    for (int frames = 0; frames < 24 && !in.empty(); ++frames) {
        const uint8_t pause = in.byte();
        rig.arrives(in, how);
        if ((pause & 1) != 0) continue;  // a burst
        rig.passes(Duration{int64_t{pause} * pause * 100});
        rig.turns();
    }
    rig.turns();
    rig.ends();
}

}  // namespace pollux::fuzz
