// A worker on a wire that the test holds in its hands: one interface, the canned application, a clock that moves when
// told to, and a peer whose frames are made and read with tcp/wire.
//
//     peer 192.0.2.2, 02:00:00:00:00:02  <---->  us 192.0.2.1/24, 02:00:00:00:00:01, gateway 192.0.2.254
//
// The wire is a template argument: MemoryWire (vectors) or RingWire (a real port over net_ring).
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/mbuf.hpp"
#include "engine/nic_queue.hpp"
#include "engine/worker.hpp"
#include "tcp/stack.hpp"
#include "tcp/wire/arp.hpp"
#include "tcp/wire/ethernet.hpp"
#include "tcp/wire/icmp.hpp"
#include "tcp/wire/packet.hpp"
#include "tests/engine/environment.hpp"

namespace pollux::testing {

using tcp::Flags;
using tcp::Segment;
using tcp::Verdict;
using tcp::wire::MacAddress;
using namespace std::chrono_literals;

using Bytes = std::vector<std::byte>;

inline constexpr MacAddress our_mac{{0x02, 0, 0, 0, 0, 1}};
inline constexpr MacAddress peer_mac{{0x02, 0, 0, 0, 0, 2}};
inline constexpr MacAddress gateway_mac{{0x02, 0, 0, 0, 0, 0xfe}};
inline constexpr uint32_t our_v4 = 0xc000'0201;
inline constexpr uint32_t peer_v4 = 0xc000'0202;
inline constexpr uint32_t gateway_v4 = 0xc000'02fe;
inline constexpr uint32_t far_v4 = 0xc633'6407;                   // 198.51.100.7
inline constexpr tcp::IpAddress our_v6{{0x2001'0db8, 0, 0, 1}};   // 2001:db8::1
inline constexpr tcp::IpAddress peer_v6{{0x2001'0db8, 0, 0, 2}};  // 2001:db8::2
inline constexpr tcp::IpAddress gateway_v6{{0xfe80'0000, 0, 0, 0xfe}};

inline engine::Interface test_interface() {
    engine::Interface made;
    made.name = "wire0";
    made.mac = our_mac;
    made.networks = {{our_v4, 0xffff'ff00}};
    made.gateway = gateway_v4;
    return made;
}

inline std::span<const std::byte> as_bytes(std::string_view text) { return std::as_bytes(std::span{text}); }
inline std::string as_text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Answers every whole request with the same 118 bytes; says goodbye when drained.
class CannedApp {
public:
    static constexpr std::string_view answer =
        "HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 00:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: "
        "16\r\n\r\nHello, world!..\n";

    void on_turn(std::span<const tcp::Event> events, tcp::Stack& stack, tcp::Instant now) {
        ++turns;
        for (const tcp::Event& event : events) {
            if (event.kind != tcp::Event::Kind::data && records) seen.push_back(event);
            if (event.kind == tcp::Event::Kind::data) serve(event.conn, stack);
            if (event.kind == tcp::Event::Kind::peer_closed) stack.close(event.conn, now);
        }
    }
    std::optional<tcp::Instant> next_due() const { return due; }
    void start(engine::Opener& given) { opener = &given; }
    void drain(tcp::Stack& stack, tcp::Instant now) {
        if (!lets_go) return;
        stack.for_each_conn(0, ~0u, [&](tcp::ConnId conn) { stack.close(conn, now); });
    }

    static_assert(answer.size() == 118);

    uint64_t turns = 0, answers = 0;
    engine::Opener* opener = nullptr;
    bool records = false;
    std::vector<tcp::Event> seen;  // all but data, if it records
    std::optional<tcp::Instant> due;
    bool lets_go = true;

private:
    void serve(tcp::ConnId conn, tcp::Stack& stack) {
        for (auto text = as_text(stack.unread(conn)); text.ends_with("\r\n\r\n");
             text = as_text(stack.unread(conn))) {
            for (size_t at = 0; (at = text.find("\r\n\r\n", at)) != text.npos; at += 4) {
                ASSERT_TRUE(stack.send(conn, {as_bytes(answer), 0}));
                ++answers;
            }
            stack.consume(conn, static_cast<uint32_t>(text.size()));
        }
    }
};

/// What an IPv4 frame to us says; everything can be wrong.
struct FrameOptions {
    MacAddress to = our_mac, from = peer_mac;
    uint16_t vlan = tcp::wire::no_vlan;
};

inline Bytes ethernet(const FrameOptions& options, tcp::wire::EtherType type, std::span<const std::byte> payload) {
    Bytes frame(tcp::wire::ethernet_size(options.vlan));
    tcp::wire::write_ethernet(frame, options.to, options.from, type, options.vlan);
    frame.insert(frame.end(), payload.begin(), payload.end());
    return frame;
}

/// `segment` as the peer sends it: its local side is the peer.
inline Bytes tcp_frame(const Segment& segment, const FrameOptions& options = {}) {
    Bytes packet(tcp::wire::headers_size(segment) + segment.payload.size());
    const auto emitted = tcp::wire::emit(segment, packet);
    EXPECT_EQ(emitted.status, tcp::wire::EmitStatus::ok);
    const bool v4 = segment.flow.local_addr.is_v4();
    return ethernet(options, v4 ? tcp::wire::EtherType::ipv4 : tcp::wire::EtherType::ipv6, packet);
}

inline tcp::FourTuple peer_flow(uint16_t port = 40000, uint32_t from = peer_v4, uint32_t to = our_v4) {
    return {tcp::IpAddress::from_v4(from), tcp::IpAddress::from_v4(to), port, 80};
}

inline Bytes arp_frame(tcp::wire::ArpOperation operation, uint32_t sender, uint32_t target,
                       const FrameOptions& options = {}, std::optional<MacAddress> sender_mac = {}) {
    Bytes body(tcp::wire::ArpPacket::wire_size);
    tcp::wire::write_arp(body, operation, sender_mac.value_or(options.from), sender, MacAddress{}, target);
    return ethernet(options, tcp::wire::EtherType::arp, body);
}

/// An ICMP message from `source` to `destination` with a good checksum.
inline Bytes icmp_frame(uint8_t type, uint8_t code, uint32_t rest, std::span<const std::byte> body,
                        const FrameOptions& options = {}, uint32_t source = peer_v4, uint32_t destination = our_v4) {
    Bytes packet(20 + 8 + body.size());
    tcp::wire::write_ipv4(packet.data(), {.source = source,
                                          .destination = destination,
                                          .total_length = static_cast<uint16_t>(packet.size()),
                                          .protocol = tcp::wire::IpProtocol::icmp});
    std::byte* icmp = packet.data() + 20;
    tcp::wire::store_u8(icmp, type);
    tcp::wire::store_u8(icmp + 1, code);
    tcp::wire::store_be16(icmp + 2, 0);
    tcp::wire::store_be32(icmp + 4, rest);
    std::copy(body.begin(), body.end(), icmp + 8);
    const auto sum = tcp::wire::sum_of(std::span{packet}.subspan(20));
    tcp::wire::store_be16(icmp + 2, tcp::wire::checksum_of(sum));
    return ethernet(options, tcp::wire::EtherType::ipv4, packet);
}

/// Puts IPv4 header checksums right after a test has changed the header of a whole frame.
inline void fix_ip_checksum(Bytes& frame, size_t header = 20, size_t at = 14) {
    tcp::wire::store_be16(frame.data() + at + 10, 0);
    const auto sum = tcp::wire::sum_of(std::span{frame}.subspan(at, header));
    tcp::wire::store_be16(frame.data() + at + 10, tcp::wire::checksum_of(sum));
}

class MemoryWire {
public:
    explicit MemoryWire(rte_mempool&) {}

    /// A queue by reference: the worker owns the handle, the test the wire.
    struct Handle {
        engine::MemoryQueue* queue;
        uint16_t receive(std::span<rte_mbuf*> into) { return queue->receive(into); }
        uint16_t send(std::span<rte_mbuf*> packets) { return queue->send(packets); }
        bool has_link() const { return *link; }
        const bool* link;
    };
    Handle handle() { return {&queue_, &link_}; }
    void unplug(bool unplugged = true) { link_ = !unplugged; }
    engine::Interface interface() const { return test_interface(); }
    void arrive(rte_mbuf* packet) { queue_.arrive(packet); }
    std::vector<rte_mbuf*> take_sent() { return std::exchange(queue_.sent(), {}); }
    engine::MemoryQueue& queue() { return queue_; }

private:
    engine::MemoryQueue queue_;
    bool link_ = true;
};

/// `conns` kept small: the tests make many stacks.
inline tcp::StackSettings small_stack() {
    tcp::StackSettings settings;
    settings.capacity.connections = 64;
    settings.capacity.half_open = 64;
    settings.capacity.time_wait = 64;
    settings.capacity.send_entries = 256;
    settings.capacity.chunks = 64;
    settings.capacity.receive_stores = 64;
    settings.capacity.events = 512;
    settings.capacity.pins = 16;
    return settings;
}

inline tcp::Secrets test_secrets() { return {{1, 2}, {3, 4}, {5, 6}, 7}; }

template <class Wire>
class Rig {
public:
    using Handle = decltype(std::declval<Wire&>().handle());

    explicit Rig(const tcp::StackSettings& settings = small_stack(), engine::WorkerSettings worker = quiet())
        : pool_(make_test_pool()),
          wire_(*pool_),
          interfaces_{wire_.interface()},
          stack_(settings, test_secrets(), counters_),
          full_(rte_mempool_avail_count(pool_.get())) {
        EXPECT_TRUE(stack_.listen({{}, 80}));
        std::vector<Handle> queues;  // not by an initializer list, which copies
        queues.push_back(wire_.handle());
        worker_.emplace(std::move(queues), interfaces_, stack_, app_, counters_, *pool_, worker);
    }
    ~Rig() {
        worker_.reset();
        take_frames();
        EXPECT_EQ(rte_mempool_avail_count(pool_.get()), full_) << "packets were lost or kept";
    }
    Rig(const Rig&) = delete;
    Rig& operator=(const Rig&) = delete;

    static engine::WorkerSettings quiet() {
        engine::WorkerSettings settings;
        settings.announces = false;
        return settings;
    }

    void deliver(std::span<const std::byte> frame, uint64_t offload_flags = 0) {
        rte_mbuf* packet = rte_pktmbuf_alloc(pool_.get());
        ASSERT_NE(packet, nullptr);
        std::copy(frame.begin(), frame.end(), engine::room_of(*packet).begin());
        engine::set_size(*packet, frame.size());
        packet->ol_flags = offload_flags;
        wire_.arrive(packet);
    }
    /// One turn, at the time it is.
    bool turn() { return worker_->turn(now_); }
    /// Delivers, turns and returns what was sent.
    std::vector<Bytes> exchange(std::span<const std::byte> frame) {
        deliver(frame);
        turn();
        return take_frames();
    }
    std::vector<Bytes> exchange(std::initializer_list<Bytes> frames) {
        for (const Bytes& frame : frames) deliver(frame);
        turn();
        return take_frames();
    }
    /// Moves the clock on in steps of a millisecond, a turn each.
    void time_passes(tcp::Duration duration) {
        for (const tcp::Instant end = now_ + duration; now_ < end;) {
            now_ += 1ms;
            turn();
        }
    }
    void jump(tcp::Duration duration) { now_ += duration; }

    std::vector<Bytes> take_frames() {
        std::vector<Bytes> frames;
        for (rte_mbuf* packet : wire_.take_sent()) {
            const auto bytes = engine::bytes_of(*packet);
            frames.emplace_back(bytes.begin(), bytes.end());
            rte_pktmbuf_free(packet);
        }
        return frames;
    }

    uint64_t count(Verdict verdict) const { return counters_[verdict]; }
    uint64_t count(tcp::Tally tally) const { return counters_[tally]; }
    tcp::Instant now() const { return now_; }
    tcp::Stack& stack() { return stack_; }
    CannedApp& app() { return app_; }
    auto& worker() { return *worker_; }
    Wire& wire() { return wire_; }
    rte_mempool& pool() { return *pool_; }

private:
    engine::PacketPool pool_;
    tcp::Counters counters_;
    Wire wire_;
    std::vector<engine::Interface> interfaces_;
    tcp::Stack stack_;
    CannedApp app_;
    unsigned full_;
    std::optional<engine::Worker<Handle, CannedApp>> worker_;
    tcp::Instant now_{1s};
};

/// The segment of a frame that came back, which must be a whole, correct TCP packet for the peer. Its payload borrows
/// from the frame.
inline Segment read_segment(const Bytes& frame, const MacAddress& to = peer_mac) {
    const auto ethernet = tcp::wire::EthernetFrame::parse(frame);
    if (!ethernet) {
        ADD_FAILURE() << "no Ethernet frame";
        return {};
    }
    EXPECT_EQ(ethernet->destination(), to);
    EXPECT_EQ(ethernet->source(), our_mac);
    const auto parsed = tcp::wire::parse(ethernet->payload(), tcp::wire::ChecksumTrust::verify_all);
    EXPECT_EQ(parsed.result, tcp::wire::ParseResult::ok);
    return parsed.segment;
}

inline const std::string request = "GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n";

/// The peer's side of one connection: it sends what it is told and keeps the numbers.
template <class R>
class Caller {
public:
    explicit Caller(R& rig, uint16_t port = 40000, FrameOptions options = {})
        : rig_(rig), flow_(peer_flow(port)), options_(options) {}

    Bytes frame(Flags flags, std::string_view payload = {}) const {
        Segment segment;
        segment.flow = flow_;
        segment.seq = seq_;
        segment.ack = ack_;
        segment.flags = flags;
        segment.window = 65535;
        segment.payload = as_bytes(payload);
        return tcp_frame(segment, options_);
    }
    /// The handshake; leaves the connection established.
    void open() {
        const auto answer = rig_.exchange(frame(Flags::syn));
        ASSERT_EQ(answer.size(), 1u);
        const Segment syn_ack = read_segment(answer[0], options_.from);
        ASSERT_EQ(syn_ack.flags, Flags::syn | Flags::ack);
        EXPECT_EQ(syn_ack.ack, seq_ + 1);
        seq_ = seq_ + 1;
        ack_ = syn_ack.seq + 1;
        EXPECT_TRUE(rig_.exchange(frame(Flags::ack)).empty());
    }
    void comes_from(const MacAddress& mac) { options_.from = mac; }
    void sent(uint32_t bytes) { seq_ = seq_ + bytes; }
    void acknowledges(const Segment& segment) { ack_ = segment.seq + segment.seq_length(); }

private:
    R& rig_;
    tcp::FourTuple flow_;
    FrameOptions options_;
    tcp::SeqNum seq_{0xffff'ffe0}, ack_{0};
};

}  // namespace pollux::testing
