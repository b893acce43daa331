// Several workers: each flow has one owner, whatever queue its packets come by, and nothing is lost on the way there.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "tcp/wire/nd.hpp"
#include "tests/engine/crew.hpp"

namespace pollux::testing {
namespace {

using engine::Ownership;
using tcp::IpAddress;

std::vector<CrewClient> make_clients(uint32_t count, bool v6 = false) {
    std::vector<CrewClient> clients(count);
    for (uint32_t i = 0; i < count; ++i) {
        const auto port = static_cast<uint16_t>(10'000 + i);
        clients[i].flow = v6 ? tcp::FourTuple{peer_v6, our_v6, port, 80} : peer_flow(port);
    }
    return clients;
}

/// Hands what came back to the clients.
void hear_all(Crew& crew, std::vector<CrewClient>& clients) {
    for (const Bytes& frame : crew.take_frames()) {
        const Segment segment = read_segment(frame);
        clients[segment.flow.local_port - 10'000u].hears(segment);
    }
}

// ---- Who owns what. ---------------------------------------------------------------------------------------------

TEST(OwnershipOfFlows, TheSoftwareSpreadsThemEvenlyAndAlwaysTheSameWay) {
    const auto ownership = Ownership::software(4, {1, 2});
    EXPECT_TRUE(ownership.must_be_computed());
    std::map<uint32_t, int> flows;
    for (uint16_t port = 0; port < 4'000; ++port) {
        const auto flow = peer_flow(port);
        const uint32_t owner = ownership.owner_of(flow, port % 4);
        ASSERT_LT(owner, 4u);
        EXPECT_EQ(ownership.owner_of(flow, (port + 1) % 4), owner) << "whoever receives it";
        ++flows[owner];
    }
    for (uint32_t worker = 0; worker < 4; ++worker) EXPECT_NEAR(flows[worker], 1'000, 150);
}

TEST(OwnershipOfFlows, NobodyWithoutTheKeyCanAimAtAWorker) {
    const auto one = Ownership::software(2, {1, 2}), other = Ownership::software(2, {1, 3});
    int same = 0;
    for (uint16_t port = 0; port < 1'000; ++port) {
        same += one.owner_of(peer_flow(port), 0) == other.owner_of(peer_flow(port), 0);
    }
    EXPECT_NEAR(same, 500, 100);
}

TEST(OwnershipOfFlows, TheOwnerSaysNothingAboutThePlaceInItsTable) {
    const auto ownership = Ownership::software(4, {1, 2});
    int flows = 0, low = 0, high_tag = 0;  // of one owner: bits that the table reads (flow_table.hpp)
    for (uint16_t port = 0; port < 16'000; ++port) {
        const uint64_t hash = ownership.hash_of(peer_flow(port));
        if (ownership.owner_of_hash(hash) != 3) continue;
        ++flows;
        low += (hash & 0xffff'ffff) < 0x8000'0000;
        high_tag += hash >> 63 == 1;
    }
    EXPECT_NEAR(low, flows / 2, flows / 10);
    EXPECT_NEAR(high_tag, flows / 2, flows / 10);
}

TEST(OwnershipOfFlows, OneWorkerOwnsEverythingUncomputed) {
    EXPECT_EQ(Ownership::software(1, {1, 2}).kind(), Ownership::Kind::single);
    EXPECT_EQ(Ownership::device(1, {}, {}).kind(), Ownership::Kind::single);
    EXPECT_EQ(Ownership{}.owner_of(peer_flow(), 0), 0u);
}

TEST(OwnershipOfFlows, DriversAreKnownByTheNamesThatDpdkGivesThem) {
    for (const char* driver : {"net_i40e", "net_ice", "net_iavf", "net_ixgbe", "mlx5_pci", "net_bnxt"})
        EXPECT_TRUE(Ownership::is_trusted_driver(driver)) << driver;
    for (const char* driver : {"net_tap", "net_ring", "net_virtio", ""})
        EXPECT_FALSE(Ownership::is_trusted_driver(driver)) << driver;
}

/// The verification suite that Microsoft publishes with the hash: key, and tuples with their hash values.
constexpr std::array<uint8_t, 40> published_key{0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
                                                0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
                                                0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
                                                0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

TEST(OwnershipOfFlows, TheDevicesHashIsToeplitzOverTheReceivedTuple) {
    std::vector<uint16_t> table(128);
    for (uint16_t i = 0; i < 128; ++i) table[i] = i;  // so the owner is the hash modulo 128
    const auto ownership = Ownership::device(128, published_key, table);
    EXPECT_FALSE(ownership.must_be_computed());
    struct Known {
        const char *source, *destination;
        uint16_t source_port, destination_port;
        uint32_t hash;
    };
    for (const Known& known : {
             Known{"66.9.149.187", "161.142.100.80", 2794, 1766, 0x51cc'c178},
             Known{"199.92.111.2", "65.69.140.83", 14230, 4739, 0xc626'b0ea},
             Known{"3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1", 2794, 1766, 0x4020'7d3d},
             Known{"3ffe:501:8::260:97ff:fe40:efab", "ff02::1", 14230, 4739, 0xdde5'1bbf},
         }) {
        const tcp::FourTuple flow{*IpAddress::parse(known.destination), *IpAddress::parse(known.source),
                                  known.destination_port, known.source_port};
        EXPECT_EQ(ownership.owner_of(flow, 0), known.hash % 128) << flow.to_string();
    }
}

TEST(OwnershipOfFlows, WithoutTheDevicesKeyNothingIsHandedOver) {
    const auto ownership = Ownership::device(4, {}, {});
    for (uint32_t receiver = 0; receiver < 4; ++receiver)
        EXPECT_EQ(ownership.owner_of(peer_flow(), receiver), receiver);
    EXPECT_EQ(Ownership::device(2, published_key, {0, 1, 2}).owner_of(peer_flow(), 1), 1u)
        << "a table of other queues";
}

TEST(OwnershipOfFlows, OfADeviceThatKeepsItsKeyToItselfItIsNotForeseen) {
    EXPECT_TRUE(Ownership{}.is_foreseen());
    EXPECT_TRUE(Ownership::software(4, {1, 2}).is_foreseen());
    EXPECT_TRUE(Ownership::device(2, published_key, {0, 1}).is_foreseen());
    EXPECT_FALSE(Ownership::device(2, {}, {0, 1}).is_foreseen());
    EXPECT_FALSE(Ownership::device(2, published_key, {0, 1, 2}).is_foreseen());
}

// ---- Handing over, turn by turn.
// ------------------------------------------------------------------------------------

class HandOver : public ::testing::TestWithParam<bool> {};  // over IPv6?

TEST_P(HandOver, AWrongQueueForEveryPacketLosesNoConnection) {
    constexpr uint32_t workers = 4, rounds = 3;
    Crew crew{workers};
    EXPECT_EQ(crew.port().ownership({11, 22}).kind(), Ownership::Kind::software);
    auto clients = make_clients(200, GetParam());
    uint64_t sent = 0;
    const auto wrong_queue = [&](const CrewClient& client) -> uint32_t {
        ++sent;
        return (crew.owner_of(client) + 1 + static_cast<uint32_t>(sent) % (workers - 1)) % workers;
    };
    const auto all_send = [&](Flags flags, std::string_view text) {
        for (auto& client : clients) crew.deliver(wrong_queue(client), client.frame(flags, text));
        crew.turn(20);
        hear_all(crew, clients);
    };
    all_send(Flags::syn, {});
    all_send(Flags::ack, {});
    for (uint32_t i = 0; i < rounds; ++i) all_send(Flags::ack | Flags::psh, request);

    for (const CrewClient& client : clients) {
        EXPECT_TRUE(client.open);
        EXPECT_EQ(client.answers, rounds);
        EXPECT_EQ(client.resets, 0u);
    }
    const auto connections = crew.connections();
    EXPECT_EQ(connections.size(), clients.size());
    std::map<uint32_t, int> of_worker;
    for (const auto& [flow, worker] : connections) ++of_worker[worker];
    for (uint32_t worker = 0; worker < workers; ++worker) EXPECT_GT(of_worker[worker], 20) << "an idle worker";
    EXPECT_EQ(crew.count(tcp::Tally::handed_over), sent) << "each packet once";
    EXPECT_EQ(crew.count(tcp::Tally::taken_over), sent);
    EXPECT_EQ(crew.count(Verdict::handover_full), 0u);
    EXPECT_EQ(crew.count(tcp::Tally::resets_sent), 0u);
    EXPECT_EQ(crew.count(Verdict::no_connection), 0u);
}

TEST_P(HandOver, TheRightQueueNeedsNone) {
    Crew crew{3};
    auto clients = make_clients(30, GetParam());
    for (const Flags flags : {Flags::syn, Flags::ack}) {
        for (auto& client : clients) crew.deliver(crew.owner_of(client), client.frame(flags));
        crew.turn(3);
        hear_all(crew, clients);
    }
    EXPECT_EQ(crew.connections().size(), clients.size());
    EXPECT_EQ(crew.count(tcp::Tally::handed_over), 0u);
}

TEST_P(HandOver, ASegmentOfNoConnectionIsResetByItsOwnerAlone) {
    Crew crew{4};
    auto clients = make_clients(20, GetParam());
    for (auto& client : clients) {
        for (uint32_t queue = 0; queue < 4; ++queue) {
            CrewClient stranger = client;
            crew.deliver(queue, stranger.frame(Flags::ack));
            crew.turn(2);
            for (const Bytes& frame : crew.take_frames()) stranger.hears(read_segment(frame));
            EXPECT_EQ(stranger.resets, 1u);
        }
        const uint32_t owner = crew.owner_of(client);
        EXPECT_GE(crew[owner].counters[Verdict::no_connection], 4u);
    }
    EXPECT_EQ(crew.count(Verdict::no_connection), 80u);
}

INSTANTIATE_TEST_SUITE_P(Workers, HandOver, ::testing::Bool(),
                         [](const auto& family) { return std::string{family.param ? "OverIpv6" : "OverIpv4"}; });

TEST(HandingOver, AnIcmpErrorReachesTheOwnerOfTheFlowThatItQuotes) {
    RecordProperty("row", "MUST-54");
    Crew crew{4};
    auto clients = make_clients(12);
    for (const Flags flags : {Flags::syn, Flags::ack}) {
        for (auto& client : clients) crew.deliver(0, client.frame(flags));
        crew.turn(2);
        hear_all(crew, clients);
    }
    for (auto& client : clients) crew.deliver(0, client.frame(Flags::ack | Flags::psh, request));
    crew.turn(2);
    const auto answers = crew.take_frames();
    ASSERT_EQ(answers.size(), clients.size());
    for (const Bytes& answer : answers) {
        for (uint32_t queue = 0; queue < 4; ++queue) {
            crew.deliver(queue, icmp_frame(3, 1, 0, std::span{answer}.subspan(14, 28)));
            crew.turn(2);
        }
    }
    EXPECT_EQ(crew.count(Verdict::path_notice), answers.size() * 4);
    EXPECT_EQ(crew.count(Verdict::icmp_ignored), 0u);
}

TEST(HandingOver, WhatIsNotTcpEndsWhereItCameIn) {
    Crew crew{4};
    for (auto& client : make_clients(16)) {
        Bytes udp = client.frame(Flags::none);
        udp[14 + 9] = std::byte{17};
        fix_ip_checksum(udp);
        crew.deliver(0, udp);
    }
    crew.turn();
    EXPECT_EQ(crew[0].counters[Verdict::unknown_protocol], 16u);
    EXPECT_EQ(crew.count(tcp::Tally::handed_over), 0u);
}

TEST(HandingOver, AFullRingDropsByNameAndTheConnectionsGoOn) {
    Crew crew{2};
    auto clients = make_clients(1);
    CrewClient& client = clients[0];
    const uint32_t owner = crew.owner_of(client), other = 1 - owner;
    for (const Flags flags : {Flags::syn, Flags::ack}) {
        crew.deliver(other, client.frame(flags));
        crew.turn(2);
        hear_all(crew, clients);
    }
    ASSERT_TRUE(client.open);
    // The owner is busy elsewhere: only the other worker takes turns.
    const Bytes repeated = client.frame(Flags::ack | Flags::psh, request);
    constexpr uint32_t many = engine::Exchange::ring_packets + 88;
    for (uint32_t i = 0; i < many; ++i) {
        crew.deliver(other, repeated);
        crew[other].worker.turn(tcp::Instant{1s});
    }
    EXPECT_EQ(crew[other].counters[Verdict::handover_full], 88u);
    crew.turn(60);
    hear_all(crew, clients);
    EXPECT_EQ(client.answers, 1u);
    EXPECT_EQ(crew.connections().size(), 1u);
}

TEST(HandingOver, PacketsOnTheirWayAtTheEndGoBackToTheirPools) {
    Crew crew{2};
    auto clients = make_clients(8);
    for (auto& client : clients) crew.deliver(1 - crew.owner_of(client), client.frame(Flags::syn));
    for (uint32_t worker = 0; worker < 2; ++worker) {
        // One turn each, the first without seeing what the second hands it.
        crew[worker].worker.turn(tcp::Instant{1s});
    }
}

TEST(HandingOver, FortyWorkersFindRoomForTheirRings) {
    std::vector<engine::Waker> wakers(40);
    std::vector<engine::Waker*> pointers;
    for (engine::Waker& waker : wakers) pointers.push_back(&waker);
    const engine::Exchange exchange{pointers};
}

// ---- News of the link.
// ------------------------------------------------------------------------------------------------

TEST(LinkNewsOfWorkers, AnAnswerThatOneHearsAllHear) {
    Crew crew{3};
    const Bytes answer = arp_frame(tcp::wire::ArpOperation::reply, peer_v4, our_v4);
    crew.deliver(0, answer);
    crew[0].worker.turn(tcp::Instant{1s});
    // Each of the others has it in its ring now; their next turn believes it by its own rules.
    EXPECT_TRUE(crew[1].worker.has_pending());
    EXPECT_TRUE(crew[2].worker.has_pending());
    crew.turn();
    EXPECT_FALSE(crew[1].worker.has_pending());
    EXPECT_EQ(crew.count(tcp::Tally::link_news_lost), 0u);
}

TEST(LinkNewsOfWorkers, AStormOfAnswersIsBoundedAndCounted) {
    Crew crew{2};
    const Bytes answer = arp_frame(tcp::wire::ArpOperation::reply, peer_v4, our_v4);
    for (int i = 0; i < 200; ++i) {
        crew.deliver(0, answer);
        crew[0].worker.turn(tcp::Instant{1s});
    }
    EXPECT_EQ(crew.count(tcp::Tally::link_news_lost), 200u - engine::Exchange::ring_news);
    crew.turn(5);
    EXPECT_FALSE(crew[1].worker.has_pending());
}

TEST(LinkNewsOfWorkers, OneThatHearsMuchDoesNotShutTheOthersOut) {
    engine::Waker wakers[3];
    engine::Waker* const pointers[]{&wakers[0], &wakers[1], &wakers[2]};
    engine::Exchange exchange{pointers};
    tcp::Counters counters;
    std::vector<rte_mbuf*> packets(32);
    bool heard = false;
    exchange.side(1).tell({.address = peer_v6}, counters);
    for (int turn = 0; turn < 4; ++turn) {
        for (uint32_t i = 0; i < engine::Exchange::ring_news; ++i) exchange.side(0).tell({.address = our_v6}, counters);
        exchange.side(2).hear([&](const engine::LinkNews& news) { heard |= news.address == peer_v6; });
        exchange.side(2).take(packets);
    }
    EXPECT_TRUE(heard);
}

// Somebody who has our address says so, to one queue of ours: no worker uses it, not even one whose own wait was over
// before the news came.
TEST(LinkNewsOfWorkers, AnAddressThatSomebodyHasIsUsedByNoWorker) {
    Crew crew{3, true};
    crew[2].worker.turn(tcp::Instant{1s});
    crew[0].worker.turn(tcp::Instant{1'001ms});
    crew[1].worker.turn(tcp::Instant{1'001ms});
    Bytes objection(tcp::wire::neighbor_message_size);
    tcp::wire::write_neighbor_advertisement(objection, our_v6, tcp::wire::all_nodes, our_v6, peer_mac, false, true);
    crew.deliver(1, ethernet({.to = tcp::wire::multicast_mac(tcp::wire::all_nodes)}, tcp::wire::EtherType::ipv6,
                             objection));
    crew[2].worker.turn(tcp::Instant{2s});
    crew[1].worker.turn(tcp::Instant{2s});
    crew.time_passes(2s);
    crew.turn();
    EXPECT_EQ(crew.count(tcp::Tally::duplicate_addresses), 1u);
    for (uint32_t worker = 0; worker < 3; ++worker) EXPECT_EQ(crew[worker].worker.addresses().duplicates(), 1u);
    crew.take_frames();
    auto clients = make_clients(12, true);
    for (uint32_t i = 0; i < clients.size(); ++i) crew.deliver(i % 3, clients[i].frame(Flags::syn));
    crew.turn(2);
    EXPECT_TRUE(crew.take_frames().empty());
    EXPECT_EQ(crew.count(Verdict::not_our_address), clients.size());
}

// ---- With threads.
// ------------------------------------------------------------------------------------------------------

TEST(WorkersInThreads, FourServeManyConnectionsWhateverQueueTheirPacketsComeBy) {
    constexpr uint32_t requests = 30;
    Crew crew{4};
    auto clients = make_clients(200);
    for (uint32_t i = 100; i < 200; ++i) clients[i].flow.local_addr = peer_v6, clients[i].flow.remote_addr = our_v6;
    std::mt19937 random{1};
    const auto deliver = [&](CrewClient& client, Flags flags, std::string_view text = {}) {
        crew.deliver(random() % 4, client.frame(flags, text));
    };
    crew.run();
    for (auto& client : clients) deliver(client, Flags::syn);
    const auto end = std::chrono::steady_clock::now() + 120s;
    for (uint64_t answered = 0; answered < clients.size() * requests;) {
        ASSERT_LT(std::chrono::steady_clock::now(), end) << answered << " answers";
        const auto frames = crew.take_frames();
        if (frames.empty()) std::this_thread::sleep_for(200us);
        for (const Bytes& frame : frames) {
            const Segment segment = read_segment(frame);
            CrewClient& client = clients[segment.flow.local_port - 10'000u];
            const uint32_t before = client.answers;
            client.hears(segment);
            answered += client.answers - before;
            ASSERT_EQ(client.resets, 0u);
            if (segment.has(Flags::syn) || (client.answers != before && client.answers < requests)) {
                deliver(client, Flags::ack | Flags::psh, request);
            }
        }
    }
    crew.stop();
    EXPECT_EQ(crew.connections().size(), clients.size());
    EXPECT_GT(crew.count(tcp::Tally::handed_over), clients.size() * requests / 2);
    EXPECT_EQ(crew.count(tcp::Tally::handed_over), crew.count(tcp::Tally::taken_over));
    EXPECT_EQ(crew.count(Verdict::handover_full), 0u);
    for (uint32_t worker = 0; worker < 4; ++worker) EXPECT_GT(crew[worker].app.answers, 0u);
}

}  // namespace
}  // namespace pollux::testing
