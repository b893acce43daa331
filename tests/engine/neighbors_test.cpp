// Whom the neighbour cache asks, believes and gives up on; and packets that wait for it, through Egress.
#include "engine/neighbors.hpp"

#include <gtest/gtest.h>

#include "tests/engine/rig.hpp"

namespace pollux::testing {
namespace {

using engine::Neighbors;
using tcp::wire::ArpOperation;
using tcp::wire::ArpPacket;
using Lookup = Neighbors::Lookup;

constexpr MacAddress other_mac{{0x02, 0, 0, 0, 0, 0x33}};

class Cache : public ::testing::Test {
protected:
    bool says(uint32_t v4, const MacAddress& mac, bool overrides = true) {
        return neighbors_.learn(0, tcp::IpAddress::from_v4(v4), mac, overrides, now_);
    }
    Neighbors::Answer resolve(uint32_t v4) { return neighbors_.resolve(0, tcp::IpAddress::from_v4(v4), now_); }
    size_t questions() {
        const size_t count = neighbors_.questions().size();
        neighbors_.clear_output();
        return count;
    }
    void time_passes(tcp::Duration duration) {
        now_ += duration;
        neighbors_.advance(now_);
    }

    Neighbors neighbors_{4};
    tcp::Instant now_{1s};
};

TEST_F(Cache, AsksOnceAndLearnsTheAnswer) {
    EXPECT_EQ(resolve(peer_v4).what, Lookup::asking);
    EXPECT_EQ(resolve(peer_v4).what, Lookup::asking);
    ASSERT_EQ(neighbors_.questions().size(), 1u);
    EXPECT_EQ(neighbors_.questions()[0].to, std::nullopt) << "to everybody";
    EXPECT_EQ(neighbors_.questions()[0].target, tcp::IpAddress::from_v4(peer_v4));
    EXPECT_TRUE(says(peer_v4, peer_mac));
    EXPECT_EQ(resolve(peer_v4).what, Lookup::known);
    EXPECT_EQ(resolve(peer_v4).mac, peer_mac);
}

TEST_F(Cache, AnAnswerThatNobodyAskedForTeachesNothing) {
    EXPECT_TRUE(says(peer_v4, other_mac));
    EXPECT_EQ(resolve(peer_v4).what, Lookup::asking);
}

TEST_F(Cache, ALiveEntryMayMoveButNotTwiceInASecond) {
    resolve(peer_v4);
    says(peer_v4, peer_mac);
    EXPECT_FALSE(says(peer_v4, other_mac)) << "a second answer at once is a contradiction";
    EXPECT_EQ(resolve(peer_v4).mac, peer_mac);
    time_passes(1s);
    EXPECT_TRUE(says(peer_v4, other_mac));
    EXPECT_EQ(resolve(peer_v4).mac, other_mac);
}

TEST_F(Cache, AnAdvertisementThatDoesNotOverrideMovesNobodyButAnswersAQuestion) {  // RFC 4861 section 7.2.5
    resolve(peer_v4);
    EXPECT_TRUE(says(peer_v4, peer_mac, false));
    EXPECT_EQ(resolve(peer_v4).mac, peer_mac);
    time_passes(2s);
    EXPECT_FALSE(says(peer_v4, other_mac, false));
    EXPECT_EQ(resolve(peer_v4).mac, peer_mac);
    EXPECT_TRUE(says(peer_v4, other_mac, true));
    EXPECT_EQ(resolve(peer_v4).mac, other_mac);
}

TEST_F(Cache, AConfirmationKeepsAnAddressThatIsKnownAndTeachesNoOther) {
    const auto peer = tcp::IpAddress::from_v4(peer_v4);
    resolve(peer_v4);
    neighbors_.confirm(0, peer, now_);
    EXPECT_EQ(resolve(peer_v4).what, Lookup::asking);
    says(peer_v4, peer_mac);
    neighbors_.clear_output();
    time_passes(60s);
    resolve(peer_v4);  // old and in use: asked directly
    EXPECT_EQ(questions(), 1u);
    neighbors_.confirm(0, peer, now_);
    time_passes(59s);
    EXPECT_EQ(resolve(peer_v4).mac, peer_mac);
    EXPECT_EQ(questions(), 0u) << "fresh again";
}

TEST_F(Cache, OnlyAnAnswerShowsThatTheNeighbourHearsUs) {  // RFC 4861 section 7.3.1
    const auto peer = *tcp::IpAddress::parse("fe80::2");
    const auto says_unasked = [&](const MacAddress& mac) {
        EXPECT_TRUE(neighbors_.learn(0, peer, mac, true, now_, false));
    };
    const auto resolved = [&] { return neighbors_.resolve(0, peer, now_).mac; };
    resolved();
    questions();
    says_unasked(peer_mac);  // it serves, but has to prove itself
    EXPECT_EQ(resolved(), peer_mac);
    ASSERT_EQ(neighbors_.questions().size(), 1u);
    EXPECT_EQ(neighbors_.questions()[0].to, peer_mac);
    says_unasked(peer_mac);
    time_passes(1s);
    EXPECT_EQ(questions(), 2u) << "still asked";
    neighbors_.learn(0, peer, peer_mac, true, now_);
    time_passes(59s);
    resolved();
    EXPECT_EQ(questions(), 0u);
    says_unasked(peer_mac);
    time_passes(1s);
    resolved();
    EXPECT_EQ(questions(), 1u) << "as old as if nothing had been said";
    says_unasked(other_mac);
    EXPECT_EQ(resolved(), other_mac);
    EXPECT_EQ(questions(), 1u) << "moved, and asked there";
}

TEST_F(Cache, TheFamiliesDoNotMeet) {
    const auto v6 = *tcp::IpAddress::parse("fe80::c000:202");
    resolve(peer_v4);
    EXPECT_EQ(neighbors_.resolve(0, v6, now_).what, Lookup::asking);
    EXPECT_TRUE(neighbors_.learn(0, v6, other_mac, true, now_));
    EXPECT_EQ(resolve(peer_v4).what, Lookup::asking);
    EXPECT_EQ(neighbors_.resolve(0, v6, now_).mac, other_mac);
}

TEST_F(Cache, AGroupAddressIsNobodys) {
    resolve(peer_v4);
    EXPECT_FALSE(says(peer_v4, MacAddress::broadcast()));
    EXPECT_FALSE(says(peer_v4, MacAddress{}));
    EXPECT_EQ(resolve(peer_v4).what, Lookup::asking);
}

TEST_F(Cache, AsksThreeTimesWithBackoffThenRefusesForAWhile) {
    resolve(peer_v4);
    EXPECT_EQ(questions(), 1u);
    time_passes(999ms);
    EXPECT_EQ(questions(), 0u);
    time_passes(1ms);
    EXPECT_EQ(questions(), 1u);
    time_passes(1999ms);
    EXPECT_EQ(questions(), 0u);
    EXPECT_EQ(neighbors_.next_due(), now_ + 1ms);
    time_passes(1ms);
    EXPECT_EQ(questions(), 1u);
    time_passes(4s);
    EXPECT_EQ(questions(), 0u);
    EXPECT_EQ(resolve(peer_v4).what, Lookup::unreachable);
    EXPECT_EQ(neighbors_.next_due(), std::nullopt);
    time_passes(9999ms);
    EXPECT_EQ(resolve(peer_v4).what, Lookup::unreachable);
    time_passes(1ms);
    EXPECT_EQ(resolve(peer_v4).what, Lookup::asking);
    EXPECT_EQ(questions(), 1u);
}

TEST_F(Cache, AnOldEntryInUseIsAskedDirectlyAndServesOn) {
    resolve(peer_v4);
    says(peer_v4, peer_mac);
    neighbors_.clear_output();
    time_passes(60s);
    EXPECT_EQ(resolve(peer_v4).what, Lookup::known);
    ASSERT_EQ(neighbors_.questions().size(), 1u);
    EXPECT_EQ(neighbors_.questions()[0].to, peer_mac);
    EXPECT_TRUE(says(peer_v4, peer_mac));
    neighbors_.clear_output();
    time_passes(30s);
    EXPECT_EQ(resolve(peer_v4).what, Lookup::known);
    EXPECT_EQ(questions(), 0u);
}

TEST_F(Cache, TheTableIsBoundedAndTheLongestIdleGivesWay) {
    for (uint32_t i = 0; i < 4; ++i) {
        resolve(peer_v4 + i);
        says(peer_v4 + i, peer_mac);
        time_passes(1ms);
    }
    resolve(peer_v4);  // the first is now the youngest
    EXPECT_EQ(resolve(peer_v4 + 9).what, Lookup::asking);
    EXPECT_EQ(resolve(peer_v4).what, Lookup::known);
    EXPECT_EQ(resolve(peer_v4 + 1).what, Lookup::asking);
}

TEST_F(Cache, QuestionsInFlightDoNotGiveWay) {
    for (uint32_t i = 0; i < 4; ++i) EXPECT_EQ(resolve(peer_v4 + i).what, Lookup::asking);
    EXPECT_EQ(resolve(peer_v4 + 9).what, Lookup::unreachable);
}

TEST_F(Cache, WhoIsSpokenToIsNotDrivenOutByQuestions) {  // RFC 6583 section 7.1
    resolve(peer_v4);
    says(peer_v4, peer_mac);
    for (uint32_t i = 1; i < 1'000; ++i) {
        resolve(peer_v4 + i);
        EXPECT_EQ(resolve(peer_v4).what, Lookup::known) << i;
        time_passes(1ms);
    }
}

TEST_F(Cache, AddressesWithoutNumberTakeNoMoreThanTheTableAndNobodysPlaceForLong) {
    // RFC 6583: a /64 has more addresses than any table.
    RecordProperty("row", "ATK-23");
    const auto host = [](uint32_t i) { return tcp::IpAddress{{0x2001'0db8, 0, i >> 16, 0x1000 + i}}; };
    const auto neighbor = [&](uint32_t i) { return neighbors_.resolve(0, host(i), now_).what; };
    for (uint32_t i = 0; i < 100'000; ++i) {
        neighbors_.learn(0, host(i), other_mac, true, now_);  // nobody has asked: teaches nothing
        ASSERT_LE(neighbors_.in_use(), i / 64 + 1) << "claims alone take no place";
        if (i % 64 != 63) continue;
        EXPECT_EQ(neighbor(i), i < 4 * 64 ? Lookup::asking : Lookup::unreachable);
        ASSERT_LE(neighbors_.in_use(), 4u);
    }
    EXPECT_EQ(neighbors_.questions().size(), 4u);
    neighbors_.clear_output();
    for (int i = 0; i < 7; ++i) time_passes(1s);  // their questions have had no answer
    EXPECT_EQ(neighbor(200'000), Lookup::asking);
    EXPECT_TRUE(neighbors_.learn(0, host(200'000), peer_mac, true, now_));
    EXPECT_EQ(neighbor(200'000), Lookup::known);
}

/// Egress with everything it needs, and segments without a path.
class UnresolvedPath : public ::testing::Test {
protected:
    UnresolvedPath()
        : pool_(make_test_pool()),
          egress_(std::make_unique<engine::Egress>(interfaces_, paths_, neighbors_, addresses_, counters_, *pool_,
                                                   64)) {}
    ~UnresolvedPath() override {
        frames();
        egress_.reset();
        EXPECT_EQ(rte_mempool_avail_count(pool_.get()), 1023u);
    }

    void send(uint32_t to, uint16_t port) {
        batch_.reset(egress_->reserve());
        tcp::TxSegment& tx = batch_.add();
        tx.segment.flow = {tcp::IpAddress::from_v4(our_v4), tcp::IpAddress::from_v4(to), 80, port};
        tx.segment.flags = Flags::ack;
        batch_.add_piece(as_bytes("payload"));
        egress_->encode(batch_, now_);
        egress_->serve_neighbors(now_);
    }
    void time_passes(tcp::Duration duration) {
        now_ += duration;
        egress_->reserve();
        egress_->serve_neighbors(now_);
    }
    void answers(uint32_t v4, const MacAddress& mac) {
        neighbors_.learn(0, tcp::IpAddress::from_v4(v4), mac, true, now_);
        egress_->serve_neighbors(now_);
    }
    std::vector<Bytes> frames() {
        egress_->flush(0, queue_);
        std::vector<Bytes> taken;
        for (rte_mbuf* packet : queue_.sent()) {
            const auto bytes = engine::bytes_of(*packet);
            taken.emplace_back(bytes.begin(), bytes.end());
            rte_pktmbuf_free(packet);
        }
        queue_.sent().clear();
        return taken;
    }

    std::vector<engine::Interface> interfaces_{test_interface()};
    engine::Paths paths_{16, 1};
    Neighbors neighbors_{16};
    engine::LocalAddresses addresses_{interfaces_};
    tcp::Counters counters_;
    engine::PacketPool pool_;
    std::unique_ptr<engine::Egress> egress_;
    engine::MemoryQueue queue_;
    tcp::TxBatch batch_{64};
    tcp::Instant now_{1s};
};

TEST_F(UnresolvedPath, AsksWhoHasTheNextHopAndSendsWhenItAnswers) {
    send(peer_v4, 1000);
    auto sent = frames();
    ASSERT_EQ(sent.size(), 1u);
    const auto ethernet = tcp::wire::EthernetFrame::parse(sent[0]);
    EXPECT_TRUE(ethernet->is_broadcast());
    const auto question = ArpPacket::parse(ethernet->payload());
    ASSERT_TRUE(question && question->is_request());
    EXPECT_EQ(question->target_v4(), peer_v4);
    EXPECT_EQ(question->sender_v4(), our_v4);
    answers(peer_v4, peer_mac);
    sent = frames();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(as_text(read_segment(sent[0]).payload), "payload");
    send(peer_v4, 1001);
    EXPECT_EQ(frames().size(), 1u) << "known now";
}

TEST_F(UnresolvedPath, OffLinkDestinationsGoThroughTheGateway) {
    send(far_v4, 1000);
    auto sent = frames();
    ASSERT_EQ(sent.size(), 1u);
    const auto question = ArpPacket::parse(tcp::wire::EthernetFrame::parse(sent[0])->payload());
    EXPECT_EQ(question->target_v4(), gateway_v4);
    answers(gateway_v4, gateway_mac);
    sent = frames();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(read_segment(sent[0], gateway_mac).flow.local_addr, tcp::IpAddress::from_v4(far_v4));
}

TEST_F(UnresolvedPath, ThreePacketsWaitInOrderAndNoMore) {
    for (uint16_t port = 1000; port < 1005; ++port) send(peer_v4, port);
    EXPECT_EQ(frames().size(), 1u) << "one question";
    answers(peer_v4, peer_mac);
    const auto sent = frames();
    ASSERT_EQ(sent.size(), 3u);
    for (uint16_t i = 0; i < 3; ++i) EXPECT_EQ(read_segment(sent[i]).flow.local_port, 1000 + i);
}

TEST_F(UnresolvedPath, ANeighbourThatNeverAnswersIsReported) {
    send(peer_v4, 1000);
    for (int i = 0; i < 7; ++i) time_passes(1s);
    ASSERT_EQ(egress_->notices().size(), 1u);
    EXPECT_EQ(egress_->notices()[0].kind, tcp::PathNotice::Kind::neighbor_unreachable);
    EXPECT_EQ(egress_->notices()[0].flow.remote_port, 1000);
    EXPECT_EQ(frames().size(), 3u) << "three questions, and the packet is gone";
    egress_->clear_notices();
    send(peer_v4, 1001);
    EXPECT_EQ(egress_->notices().size(), 1u) << "for a while, nobody asks again";
}

TEST_F(UnresolvedPath, WithoutAGatewayAnOffLinkDestinationIsUnreachable) {
    interfaces_[0].gateway.reset();
    send(far_v4, 1000);
    EXPECT_TRUE(frames().empty());
    EXPECT_EQ(egress_->notices().size(), 1u);
}

TEST_F(UnresolvedPath, PacketsThatStillWaitAtTheEndGoBackToThePool) { send(peer_v4, 1000); }

TEST_F(UnresolvedPath, ADeviceThatSumsGetsThePseudoHeaderAndTheFlags) {
    interfaces_[0].device_sums_tcp = true;
    const tcp::PathId path = paths_.intern(interfaces_[0], tcp::wire::no_vlan, peer_mac);
    batch_.reset(egress_->reserve());
    tcp::TxSegment& tx = batch_.add();
    tx.segment.flow = {tcp::IpAddress::from_v4(our_v4), tcp::IpAddress::from_v4(peer_v4), 80, 1000};
    tx.segment.flags = Flags::ack;
    tx.segment.present = tcp::Present::timestamps;
    tx.segment.path = path;
    batch_.add_piece(as_bytes("payload"));
    egress_->encode(batch_, now_);
    egress_->flush(0, queue_);
    ASSERT_EQ(queue_.sent().size(), 1u);
    const rte_mbuf& packet = *queue_.sent()[0];
    EXPECT_NE(packet.ol_flags & RTE_MBUF_F_TX_TCP_CKSUM, 0u);
    EXPECT_NE(packet.ol_flags & RTE_MBUF_F_TX_IPV4, 0u);
    EXPECT_EQ(packet.l2_len, 14u);
    EXPECT_EQ(packet.l3_len, 20u);
    EXPECT_EQ(packet.l4_len, 32u);
    // Finish as the device would: its sum over header, pseudo-header sum included, and payload.
    auto frame = frames().at(0);
    const uint16_t device = tcp::wire::checksum_of(tcp::wire::sum_of(std::span{frame}.subspan(34)));
    tcp::wire::store_be16(&frame[50], device);
    EXPECT_EQ(as_text(read_segment(frame).payload), "payload");
}

TEST(Paths, TheSameWayHasOneNumber) {
    engine::Paths paths{16, 99};
    const auto interface = test_interface();
    const auto first = paths.intern(interface, 0, peer_mac);
    const auto second = paths.intern(interface, 5, peer_mac);
    const auto third = paths.intern(interface, 0, gateway_mac);
    EXPECT_NE(first, second);
    EXPECT_NE(first, third);
    EXPECT_EQ(paths.intern(interface, 0, peer_mac), first);
    EXPECT_EQ(paths.intern(interface, 5, peer_mac), second);
    EXPECT_EQ(paths[first].header_size, 14);
    EXPECT_EQ(paths[second].header_size, 18);
    EXPECT_FALSE(paths.knows(tcp::unresolved_path));
}

TEST(Paths, AFullTableLeavesNewPeersUnresolvedAndKeepsTheOld) {
    engine::Paths paths{8, 99};
    const auto interface = test_interface();
    std::vector<tcp::PathId> ids;
    for (uint8_t i = 0; i < 200; ++i) ids.push_back(paths.intern(interface, 0, {{2, 0, 0, 0, 1, i}}));
    EXPECT_EQ(paths.size(), 8u);
    EXPECT_EQ(std::count(ids.begin(), ids.end(), tcp::unresolved_path), 192);
    for (uint8_t i = 0; i < 200; ++i) {
        EXPECT_EQ(paths.intern(interface, 0, {{2, 0, 0, 0, 1, i}}), ids[i]);
    }
}

}  // namespace
}  // namespace pollux::testing
