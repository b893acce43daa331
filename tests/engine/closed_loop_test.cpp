// The small closed-loop client against a worker that answers: over net_ring, through a bad network, and against
// a server that does not answer as it should. The clock moves 20 us a turn.
#include <gtest/gtest.h>

#include "engine/impaired_queue.hpp"
#include "tests/engine/rig.hpp"
#include "tests/engine/ring_wire.hpp"
#include "tests/support/client/closed_loop_client.hpp"

namespace pollux::testing {
namespace {

using test::ClosedLoopClient;

/// The client at the other end of a rig's wire.
struct Loop {
    explicit Loop(ClosedLoopClient::Options options = {}) : client(with_addresses(std::move(options))) {}

    static ClosedLoopClient::Options with_addresses(ClosedLoopClient::Options options) {
        options.address = tcp::IpAddress::from_v4(peer_v4);
        options.server = tcp::IpAddress::from_v4(our_v4);
        options.mac = peer_mac;
        return options;
    }
    /// Turns of both sides, until all is answered and closed or `limit` is over.
    template <class R>
    void run(R& rig, tcp::Duration limit) {
        const tcp::Instant end = rig.now() + limit;
        while (!client.is_finished() && rig.now() < end) turn(rig, 20us);
    }
    /// The client only answers what the server repeats, until the server has forgotten its connections.
    template <class R>
    void settle(R& rig) {
        for (int i = 0; i < 100'000 && rig.stack().pool_use() != tcp::PoolUse{}; ++i) turn(rig, 1ms);
    }
    template <class R>
    void turn(R& rig, tcp::Duration step) {
        Bytes room(1514);
        for (int i = 0; i < 64; ++i) {
            const size_t size = client.next_frame(room, rig.now());
            if (size == 0) break;
            rig.deliver(std::span{room}.first(size));
        }
        rig.turn();
        for (const Bytes& frame : rig.take_frames()) client.receives(frame, rig.now());
        rig.jump(step);
    }
    ClosedLoopClient client;
};

TEST(ClosedLoop, EveryRequestIsAnsweredOverNetRingAndTheConnectionsClose) {
    Rig<RingWire> rig;
    Loop loop{{.connections = 40, .requests = 2'000, .body_bytes = 16}};
    loop.run(rig, 10s);
    EXPECT_TRUE(loop.client.is_finished());
    EXPECT_EQ(loop.client.counts(),
              (ClosedLoopClient::Counts{.requests = 2'000, .opened = 40, .body_bytes = 2'000 * 16}));
    EXPECT_EQ(rig.app().answers, 2'000u);
    EXPECT_EQ(rig.stack().pool_use(), tcp::PoolUse{});
}

TEST(ClosedLoop, AConnectionForEachRequestIsOpenedAndClosed) {
    Rig<RingWire> rig;
    Loop loop{{.connections = 20, .requests = 500, .connection_per_request = true}};
    loop.run(rig, 10s);
    EXPECT_TRUE(loop.client.is_finished());
    EXPECT_EQ(loop.client.counts().requests, 500u);
    EXPECT_EQ(loop.client.counts().errors, 0u);
    EXPECT_GE(loop.client.counts().opened, 500u);
    EXPECT_EQ(rig.stack().pool_use(), tcp::PoolUse{}) << "the last ACK of each connection has arrived";
}

TEST(ClosedLoop, ABadNetworkCostsRetransmissionsAndNoRequest) {
    struct BadWire : MemoryWire {
        using MemoryWire::MemoryWire;
        engine::ImpairedQueue<Handle> handle() {
            config::Test test;
            test.receive = test.send = {.loss_ppm = 50'000,
                                        .duplication_ppm = 20'000,
                                        .reordering_ppm = 20'000,
                                        .corruption_ppm = 5'000,
                                        .delay = 1ms};
            return {MemoryWire::handle(), test, 0, 0, impaired};
        }
        tcp::Counters impaired;
    };
    Rig<BadWire> rig;
    // The link address is given: ARP has no checksum.
    Loop loop{{.server_mac = our_mac, .connections = 32, .requests = 5'000, .body_bytes = 16, .retries = 30}};
    loop.run(rig, 10min);
    EXPECT_TRUE(loop.client.is_finished());
    EXPECT_EQ(loop.client.counts().requests, 5'000u);
    EXPECT_EQ(loop.client.counts().errors, 0u);
    EXPECT_GT(loop.client.counts().retransmissions, 300u);
    EXPECT_GT(rig.count(Verdict::bad_tcp_checksum), 5u);
    loop.settle(rig);
    EXPECT_EQ(rig.stack().pool_use(), tcp::PoolUse{});
}

TEST(ClosedLoop, AnAnswerOfAnotherLengthOrStatusIsAnError) {
    for (const ClosedLoopClient::Options& options :
         {ClosedLoopClient::Options{.connections = 2, .requests = 10, .body_bytes = 17},
          ClosedLoopClient::Options{.connections = 2, .requests = 10, .status = 404}}) {
        Rig<MemoryWire> rig;
        Loop loop{options};
        loop.run(rig, 10s);
        EXPECT_TRUE(loop.client.is_finished());
        EXPECT_EQ(loop.client.counts().requests, 0u);
        EXPECT_EQ(loop.client.counts().errors, 10u);
    }
}

TEST(ClosedLoop, AResetIsAnErrorAndTheNextRequestTakesANewConnection) {
    Rig<MemoryWire> rig;
    Loop loop{{.connections = 4, .requests = 100}};
    loop.run(rig, 400us);
    rig.stack().abort_all();
    loop.run(rig, 10s);
    EXPECT_TRUE(loop.client.is_finished());
    EXPECT_EQ(loop.client.counts().resets, 4u);
    EXPECT_EQ(loop.client.counts().errors, 4u);
    EXPECT_EQ(loop.client.counts().requests, 96u);
}

TEST(ClosedLoop, AServerThatStillKnowsOurPortsFromBeforeIsToldAndServes) {
    Rig<MemoryWire> rig;
    Loop gone{{.connections = 8, .requests = 0}};
    gone.run(rig, 1ms);  // and then it is not heard of again
    Loop next{{.connections = 8, .requests = 100, .seed = 99}};
    next.run(rig, 10s);
    EXPECT_TRUE(next.client.is_finished());
    EXPECT_EQ(next.client.counts().requests, 100u);
    EXPECT_EQ(next.client.counts().errors, 0u);
}

TEST(ClosedLoop, ASilentServerIsGivenUp) {
    ClosedLoopClient client{
        Loop::with_addresses({.server_mac = our_mac, .connections = 1, .requests = 1, .retries = 3})};
    Bytes room(1514);
    uint32_t frames = 0;
    for (tcp::Instant now{1s}; !client.is_finished(); now += 10ms) {
        ASSERT_LT(now, tcp::Instant{60s});
        while (client.next_frame(room, now) != 0) ++frames;
    }
    EXPECT_EQ(frames, 4u + 1u) << "SYN four times, and an RST";
    EXPECT_EQ(client.counts().errors, 1u);
    EXPECT_EQ(client.counts().retransmissions, 3u);
}

TEST(ClosedLoop, LinkAddressesAreAskedForAndGiven) {
    ClosedLoopClient client{Loop::with_addresses({.connections = 1})};
    Bytes room(1514);
    const auto next = [&](tcp::Instant now) {
        return std::span<const std::byte>{room}.first(client.next_frame(room, now));
    };
    const auto question = tcp::wire::EthernetFrame::parse(next(tcp::Instant{1s}));
    ASSERT_TRUE(question && question->is_broadcast());
    EXPECT_EQ(question->ether_type(), tcp::wire::EtherType::arp);
    EXPECT_TRUE(next(tcp::Instant{1s + 99ms}).empty()) << "not before it had time to answer";
    EXPECT_FALSE(next(tcp::Instant{1s + 100ms}).empty());

    client.receives(arp_frame(tcp::wire::ArpOperation::request, our_v4, peer_v4, {.to = peer_mac, .from = our_mac}),
                    tcp::Instant{2s});
    const auto answer = tcp::wire::EthernetFrame::parse(next(tcp::Instant{2s}));
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->destination(), our_mac);
    EXPECT_FALSE(tcp::wire::ArpPacket::parse(answer->payload())->is_request());
    const auto syn = tcp::wire::EthernetFrame::parse(next(tcp::Instant{2s}));
    ASSERT_TRUE(syn);
    EXPECT_EQ(syn->destination(), our_mac) << "learned from the question";
    EXPECT_EQ(syn->ether_type(), tcp::wire::EtherType::ipv4);
}

}  // namespace
}  // namespace pollux::testing
