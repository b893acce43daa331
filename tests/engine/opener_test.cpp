// Opening connections from a worker: the way there, over real ports, and the answer coming home to the worker that
// asked.
#include "engine/opener.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tcp/wire/icmpv6.hpp"
#include "tcp/wire/ipv6.hpp"
#include "tcp/wire/nd.hpp"
#include "tests/engine/crew.hpp"

namespace pollux::testing {
namespace {

using engine::Ownership;
using tcp::ConnId;
using tcp::Endpoint;
using tcp::Event;
using tcp::IpAddress;
using tcp::Tally;
using tcp::wire::EthernetFrame;
using tcp::wire::EtherType;

constexpr IpAddress far_v6{{0x2001'0db8, 0x00ff, 0, 9}};

/// Whom a frame asks for; nothing: it is no question of ARP or neighbour discovery.
std::optional<IpAddress> asked_for(const Bytes& frame) {
    const auto ethernet = EthernetFrame::parse(frame);
    if (ethernet->ether_type() == EtherType::arp) {
        const auto arp = tcp::wire::ArpPacket::parse(ethernet->payload());
        EXPECT_TRUE(arp && arp->is_request());
        return IpAddress::from_v4(arp->target_v4());
    }
    if (ethernet->ether_type() != EtherType::ipv6) return {};
    const auto ip = tcp::wire::Ipv6Header::parse(ethernet->payload());
    if (!ip || ip->protocol() != tcp::wire::IpProtocol::icmpv6) return {};
    const auto message = tcp::wire::Icmpv6Message::parse(ip->payload());
    const auto question = tcp::wire::NeighborSolicitation::parse(*ip, *message);
    EXPECT_TRUE(question);
    return question ? std::optional{question->target()} : std::nullopt;
}

/// Whoever has `address` says so to us.
Bytes answer_of(const IpAddress& address, const MacAddress& mac) {
    if (address.is_v4()) {
        return arp_frame(tcp::wire::ArpOperation::reply, address.v4(), our_v4, {.from = mac});
    }
    Bytes packet(tcp::wire::neighbor_message_size);
    tcp::wire::write_neighbor_advertisement(packet, address, our_v6, address, mac, true, true);
    return ethernet({.from = mac}, EtherType::ipv6, packet);
}

class Opening : public ::testing::TestWithParam<bool> {  // over IPv6?
protected:
    static IpAddress us() { return GetParam() ? our_v6 : IpAddress::from_v4(our_v4); }
    static Endpoint peer() { return {GetParam() ? peer_v6 : IpAddress::from_v4(peer_v4), 443}; }
    static Endpoint far_peer() { return {GetParam() ? far_v6 : IpAddress::from_v4(far_v4), 443}; }
    static IpAddress gateway() { return GetParam() ? gateway_v6 : IpAddress::from_v4(gateway_v4); }

    static ConnId connect(Crew& crew, const Endpoint& remote, uint32_t worker = 0) {
        crew[worker].app.records = true;
        return crew[worker].app.opener->connect(remote, crew.now());
    }
    /// What has happened; that nobody answers is told meanwhile, and is not asked about here.
    static std::vector<Event::Kind> events(Crew& crew, uint32_t worker = 0) {
        std::vector<Event::Kind> kinds;
        for (const Event& event : std::exchange(crew[worker].app.seen, {})) {
            if (event.kind != Event::Kind::unanswered) kinds.push_back(event.kind);
        }
        return kinds;
    }
    /// The one frame that was sent.
    static Bytes sent(Crew& crew) {
        auto frames = crew.take_frames();
        EXPECT_EQ(frames.size(), 1u);
        return frames.empty() ? Bytes{} : frames[0];
    }
    static Bytes syn_ack_to(const Segment& heard) {
        Segment answer;
        answer.flow = heard.flow;  // as the peer sees it
        answer.seq = tcp::SeqNum{5000};
        answer.ack = heard.seq + 1;
        answer.flags = Flags::syn | Flags::ack;
        answer.window = 65535;
        return tcp_frame(answer);
    }
    /// Every worker knows where the peer is, from a connection that is given up again.
    static void meet_peer(Crew& crew) {
        for (uint32_t worker = 0; worker < crew.workers(); ++worker) {
            const ConnId conn = connect(crew, peer(), worker);
            crew.turn();
            crew.deliver(worker, answer_of(peer().address, peer_mac));
            crew.turn(2);
            crew[worker].stack.abort(conn, crew.now());
        }
        crew.turn();
        crew.take_frames();
    }
    static void expect_answers_to_come_home(Crew& crew);
};

// ---- The way there. ---------------------------------------------------------------------------------------------

TEST_P(Opening, TheNextHopIsAskedForAndTheSynFollowsItsAnswer) {
    RecordProperty("row", "MUST-44 MUST-45");
    Crew crew{1};
    ASSERT_TRUE(connect(crew, peer()));
    crew.turn();
    EXPECT_EQ(asked_for(sent(crew)), peer().address);
    crew.deliver(0, answer_of(peer().address, peer_mac));
    crew.turn();
    const Bytes frame = sent(crew);
    const Segment syn = read_segment(frame);
    EXPECT_EQ(syn.flags, Flags::syn);
    EXPECT_EQ(syn.flow.remote_addr, us());
    EXPECT_EQ(syn.flow.local_addr, peer().address);
    EXPECT_EQ(syn.flow.local_port, 443);
    crew.deliver(0, syn_ack_to(syn));
    crew.turn();
    const Bytes acknowledges = sent(crew);
    EXPECT_EQ(read_segment(acknowledges).flags, Flags::ack);
    EXPECT_EQ(read_segment(acknowledges).flow, syn.flow);
    EXPECT_EQ(events(crew), std::vector{Event::Kind::opened});
}

TEST_P(Opening, APeerBeyondTheLinkIsReachedThroughTheGatewayOfItsFamily) {
    Crew crew{1};
    ASSERT_TRUE(connect(crew, far_peer()));
    crew.turn();
    EXPECT_EQ(asked_for(sent(crew)), gateway());
    crew.deliver(0, answer_of(gateway(), gateway_mac));
    crew.turn();
    const Bytes frame = sent(crew);
    const Segment syn = read_segment(frame, gateway_mac);
    EXPECT_EQ(syn.flags, Flags::syn);
    EXPECT_EQ(syn.flow.local_addr, far_peer().address);
    EXPECT_EQ(syn.flow.remote_addr, us());
}

TEST_P(Opening, ANextHopThatDoesNotAnswerEndsTheAttempt) {
    for (const Endpoint& remote : {peer(), far_peer()}) {
        Crew crew{1};
        ASSERT_TRUE(connect(crew, remote));
        for (int ms = 0; ms < 6'990; ++ms) {
            crew.turn();
            crew.time_passes(1ms);
        }
        EXPECT_EQ(crew.count(Tally::connects_unreachable), 0u) << "three questions, after 1, 2 and 4 s";
        EXPECT_EQ(events(crew), std::vector<Event::Kind>{});
        for (int ms = 0; ms < 20; ++ms) {
            crew.turn();
            crew.time_passes(1ms);
        }
        EXPECT_EQ(events(crew), std::vector{Event::Kind::unreachable});
        EXPECT_EQ(crew.count(Tally::connects_unreachable), 1u);
        EXPECT_EQ(crew.connections().size(), 0u);
        const auto frames = crew.take_frames();
        EXPECT_EQ(frames.size(), 3u);
        for (const Bytes& frame : frames) EXPECT_TRUE(asked_for(frame));

        ASSERT_TRUE(connect(crew, remote));
        crew.turn(2);
        EXPECT_EQ(events(crew), std::vector{Event::Kind::unreachable}) << "for a while, without a question";
        EXPECT_EQ(crew.take_frames().size(), 0u);
        crew.time_passes(10s);
        ASSERT_TRUE(connect(crew, remote));
        crew.turn();
        EXPECT_TRUE(asked_for(sent(crew)));
    }
}

TEST_P(Opening, EveryAttemptToASilentNeighbourEndsThoughFewSynsCanWaitForItsAnswer) {
    Crew crew{1};
    const auto passes = [&](int ms) {
        for (; ms > 0; --ms) {
            crew.turn();
            crew.time_passes(1ms);
        }
    };
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(connect(crew, peer()));
    passes(250);
    for (int i = 0; i < 13; ++i) {
        ASSERT_TRUE(connect(crew, peer()));
        passes(500);
    }
    passes(252);
    EXPECT_EQ(events(crew), (std::vector<Event::Kind>(20, Event::Kind::unreachable))) << "those of the beginning";
    passes(8'000);
    EXPECT_EQ(events(crew), (std::vector<Event::Kind>(13, Event::Kind::unreachable))) << "at their next SYN";
    EXPECT_EQ(crew.connections().size(), 0u);
    EXPECT_EQ(crew.take_frames().size(), 3u) << "questions";
}

TEST_P(Opening, WhoIsNoOtherHostIsNotAsked) {
    RecordProperty("row", "MUST-46");
    Crew crew{1};
    const std::vector<const char*> v4{"192.0.2.1", "192.0.2.255", "192.0.2.0", "255.255.255.255",
                                      "0.0.0.0",   "127.0.0.1",   "224.0.0.1", "240.0.0.1"};
    const std::vector<const char*> v6{"2001:db8::1", "::", "::1", "ff02::1"};
    const auto& nobody = GetParam() ? v6 : v4;
    for (const char* address : nobody) {
        EXPECT_FALSE(connect(crew, {*IpAddress::parse(address), 443})) << address;
    }
    EXPECT_FALSE(connect(crew, {peer().address, 0})) << "no port";
    EXPECT_EQ(crew.count(Tally::connects_forbidden), nobody.size() + 1);
    crew.turn(2);
    EXPECT_EQ(crew.take_frames().size(), 0u);
}

TEST_P(Opening, TheLocalAddressMayBeGivenIfItIsOurs) {
    RecordProperty("row", "MUST-43");
    Crew crew{1};
    const auto from = [&](const IpAddress& local) { return crew[0].app.opener->connect(local, peer(), crew.now()); };
    EXPECT_FALSE(from(GetParam() ? far_v6 : IpAddress::from_v4(far_v4)));
    EXPECT_FALSE(from(GetParam() ? IpAddress::from_v4(our_v4) : our_v6)) << "of the other family";
    EXPECT_EQ(crew.count(Tally::connects_unroutable) + crew.count(Tally::connects_forbidden), 2u);
    const ConnId conn = from(us());
    ASSERT_TRUE(conn);
    EXPECT_EQ(crew[0].stack.info(conn)->flow.local_addr, us());
}

// ---- The answer comes home. -------------------------------------------------------------------------------------

/// Each answer comes by the queue to which a device brings its flow; nobody but the worker that asked has to do with
/// it.
void Opening::expect_answers_to_come_home(Crew& crew) {
    constexpr uint32_t each = 60;
    meet_peer(crew);
    std::vector<std::set<uint16_t>> ports(crew.workers());
    for (uint32_t worker = 0; worker < crew.workers(); ++worker) {
        for (uint32_t i = 0; i < each; ++i) {
            const ConnId conn = connect(crew, peer(), worker);
            ASSERT_TRUE(conn);
            ports[worker].insert(crew[worker].stack.info(conn)->flow.local_port);
        }
        EXPECT_EQ(ports[worker].size(), each);
    }
    crew.turn();
    const auto syns = crew.take_frames();
    ASSERT_EQ(syns.size(), each * crew.workers());
    for (const Bytes& frame : syns) {
        const Segment syn = read_segment(frame);
        const tcp::FourTuple ours{syn.flow.remote_addr, syn.flow.local_addr, syn.flow.remote_port,
                                  syn.flow.local_port};
        crew.deliver(crew.owner_of(ours), syn_ack_to(syn));
    }
    crew.turn(4);
    EXPECT_EQ(crew.take_frames().size(), syns.size()) << "ACKs";
    for (uint32_t worker = 0; worker < crew.workers(); ++worker) {
        EXPECT_EQ(events(crew, worker), (std::vector<Event::Kind>(each, Event::Kind::opened)));
        EXPECT_EQ(crew[worker].counters[Tally::connections_opened], each);
    }
    EXPECT_EQ(crew.connections().size(), syns.size());
    EXPECT_EQ(crew.count(Tally::handed_over), 0u);
    EXPECT_EQ(crew.count(Tally::resets_sent), 0u);
}

TEST_P(Opening, OwnersOfTheSoftwaresChoosing) {
    Crew crew{2};
    ASSERT_EQ(crew.port().ownership_kind(), Ownership::Kind::software);
    expect_answers_to_come_home(crew);
}

TEST_P(Opening, OwnersOfTheDevicesChoosing) {
    // Microsoft's verification suite; a table as drivers set it.
    constexpr std::array<uint8_t, 40> key{0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
                                          0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
                                          0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
                                          0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};
    for (const uint32_t workers : {2u, 3u}) {
        std::vector<uint16_t> table(128);
        for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<uint16_t>(i % workers);
        Crew crew{workers, false, Ownership::device(workers, key, table)};
        expect_answers_to_come_home(crew);
    }
}

TEST_P(Opening, AnAnswerThatComesByAnotherQueueIsHandedOver) {
    Crew crew{3};
    meet_peer(crew);
    for (uint32_t worker = 0; worker < 3; ++worker) ASSERT_TRUE(connect(crew, peer(), worker));
    crew.turn();
    const auto syns = crew.take_frames();
    ASSERT_EQ(syns.size(), 3u);
    for (const Bytes& frame : syns) {
        const Segment syn = read_segment(frame);
        const tcp::FourTuple ours{syn.flow.remote_addr, syn.flow.local_addr, syn.flow.remote_port,
                                  syn.flow.local_port};
        crew.deliver((crew.owner_of(ours) + 1) % 3, syn_ack_to(syn));
    }
    crew.turn(3);
    for (uint32_t worker = 0; worker < 3; ++worker) {
        EXPECT_EQ(events(crew, worker), std::vector{Event::Kind::opened});
    }
    EXPECT_EQ(crew.count(Tally::handed_over), 3u);
}

INSTANTIATE_TEST_SUITE_P(Workers, Opening, ::testing::Bool(),
                         [](const auto& family) { return std::string{family.param ? "OverIpv6" : "OverIpv4"}; });

// ---- Addresses of ours. -----------------------------------------------------------------------------------------

TEST(OpeningFrom, AnAddressThatTheLinkIsStillAskedAboutIsNotUsed) {  // RFC 4862 section 5.4
    Crew crew{1, true};
    crew.turn();
    const auto connect = [&] { return crew[0].app.opener->connect({peer_v6, 443}, crew.now()); };
    EXPECT_FALSE(connect());
    EXPECT_EQ(crew[0].app.opener->source_for(peer_v6), std::nullopt);
    EXPECT_FALSE(crew[0].app.opener->connect(our_v6, {peer_v6, 443}, crew.now()));
    EXPECT_EQ(crew.count(Tally::connects_unroutable), 2u);
    crew.time_passes(1s);
    crew.turn();
    EXPECT_EQ(crew[0].app.opener->source_for(peer_v6), our_v6);
    EXPECT_TRUE(connect());
}

/// An Opener beside two ports of several networks.
class OpeningFromMany : public ::testing::Test {
protected:
    static std::vector<engine::Interface> two_ports() {
        std::vector<engine::Interface> ports(2);
        ports[0].networks = {{our_v4, 0xffff'ff00}, {0xcb00'7101, 0xffff'ff00}};  // 203.0.113.1
        ports[0].networks_v6 = {{*IpAddress::parse("fe80::1"), 64}, {our_v6, 64}};
        ports[0].gateway = gateway_v4;
        ports[1].index = 1;
        ports[1].networks = {{0x0a00'0001, 0xff00'0000}};  // 10.0.0.1/8
        ports[1].networks_v6 = {{*IpAddress::parse("2001:db8:1::1"), 64}};
        ports[1].gateway_v6 = *IpAddress::parse("fe80::99");
        for (auto& port : ports) port.detects_duplicates = false;
        return ports;
    }
    std::string source_for(const char* remote) const {
        const auto source = opener_.source_for(*IpAddress::parse(remote));
        return source ? source->to_string() : "none";
    }

    std::vector<engine::Interface> ports_ = two_ports();
    engine::LocalAddresses addresses_{ports_};
    tcp::Counters counters_;
    tcp::Stack stack_{small_stack(), test_secrets(), counters_};
    engine::Opener opener_{stack_, counters_, ports_, addresses_, {}};
};

TEST_F(OpeningFromMany, TheOneOnThePeersNetworkIsTaken) {
    EXPECT_EQ(source_for("192.0.2.7"), "192.0.2.1");
    EXPECT_EQ(source_for("203.0.113.7"), "203.0.113.1");
    EXPECT_EQ(source_for("10.1.2.3"), "10.0.0.1");
    EXPECT_EQ(source_for("2001:db8::7"), "2001:db8::1");
    EXPECT_EQ(source_for("2001:db8:1::7"), "2001:db8:1::1");
}

TEST_F(OpeningFromMany, BeyondTheLinksTheOneBesideTheGatewayIsTaken) {
    EXPECT_EQ(source_for("198.51.100.7"), "192.0.2.1");
    EXPECT_EQ(source_for("2001:db8:ff::9"), "2001:db8:1::1") << "the port that has a gateway for IPv6";
    ports_[0].gateway.reset();
    EXPECT_EQ(source_for("198.51.100.7"), "none");
    EXPECT_FALSE(opener_.connect({*IpAddress::parse("198.51.100.7"), 80}, tcp::Instant{1s}));
    EXPECT_EQ(counters_[Tally::connects_unroutable], 1u);
}

TEST_F(OpeningFromMany, ALinkLocalAddressSpeaksToLinkLocalPeersAlone) {  // RFC 6724 section 5, rule 2
    EXPECT_EQ(source_for("fe80::7"), "fe80::1");
    ports_[0].gateway_v6 = *IpAddress::parse("fe80::99");
    EXPECT_EQ(source_for("2001:db8:ff::9"), "2001:db8::1");
    ports_[0].networks_v6.resize(1);
    ports_[1].networks_v6.clear();
    EXPECT_EQ(source_for("2001:db8:ff::9"), "none");
}

}  // namespace
}  // namespace pollux::testing
