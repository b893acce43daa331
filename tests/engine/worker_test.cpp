// The whole turn: over a real port (net_ring) and over memory, with times of our own.
#include <gtest/gtest.h>

#include "tests/engine/rig.hpp"
#include "tests/engine/ring_wire.hpp"

namespace pollux::testing {
namespace {

using RingRig = Rig<RingWire>;
using MemoryRig = Rig<MemoryWire>;

TEST(WorkerOverNetRing, ARequestIsAnsweredWithCorrectChecksums) {
    RecordProperty("row", "MUST-2 MUST-3");
    RingRig rig;
    Caller caller{rig};
    caller.open();
    for (int i = 0; i < 3; ++i) {
        const auto frames = rig.exchange(caller.frame(Flags::ack | Flags::psh, request));
        ASSERT_EQ(frames.size(), 1u);
        const Segment answer = read_segment(frames[0]);  // checks both checksums
        EXPECT_EQ(as_text(answer.payload), CannedApp::answer);
        caller.sent(static_cast<uint32_t>(request.size()));
        caller.acknowledges(answer);
    }
    EXPECT_EQ(rig.app().answers, 3u);
}

TEST(WorkerOverNetRing, AQuietTurnReportsNoWorkAndABusyOneDoes) {
    RingRig rig;
    EXPECT_FALSE(rig.turn());
    Caller caller{rig};
    rig.deliver(caller.frame(Flags::syn));
    EXPECT_TRUE(rig.turn());
    EXPECT_FALSE(rig.turn());
    EXPECT_EQ(rig.app().turns, 3u) << "the application has every turn";
}

TEST(WorkerOverNetRing, ArpAndPingAreAnswered) {
    RingRig rig;
    const auto arp = rig.exchange(arp_frame(tcp::wire::ArpOperation::request, peer_v4, our_v4,
                                            {.to = MacAddress::broadcast(), .from = peer_mac}));
    ASSERT_EQ(arp.size(), 1u);
    EXPECT_EQ(rig.count(Verdict::arp), 1u);
    const auto ping = rig.exchange(icmp_frame(8, 0, 0x0001'0002, as_bytes("are you there?")));
    ASSERT_EQ(ping.size(), 1u);
    EXPECT_EQ(rig.count(Verdict::icmp_echo), 1u);
}

TEST(Worker, AnswersOnThePathThatTheQuestionCameBy) {
    MemoryRig rig;
    const MacAddress router{{0x02, 0, 0, 0, 0, 0x77}};  // not the gateway of the settings: nobody is asked
    Caller caller{rig, 40001, {.to = our_mac, .from = router, .vlan = 42}};
    caller.open();
    const auto frames = rig.exchange(caller.frame(Flags::ack | Flags::psh, request));
    ASSERT_EQ(frames.size(), 1u);
    EXPECT_EQ(tcp::wire::EthernetFrame::parse(frames[0])->vlan_id(), 42);
    EXPECT_EQ(as_text(read_segment(frames[0], router).payload), CannedApp::answer);
}

TEST(Worker, ABurstIsProcessedBeforeAnythingIsAcknowledged) {
    RecordProperty("row", "MUST-59");
    MemoryRig rig;
    Caller caller{rig};
    caller.open();
    std::vector<Bytes> burst;
    for (int i = 0; i < 8; ++i) {
        burst.push_back(caller.frame(Flags::ack | Flags::psh, request));
        caller.sent(static_cast<uint32_t>(request.size()));
    }
    for (const Bytes& frame : burst) rig.deliver(frame);
    rig.turn();
    const auto frames = rig.take_frames();
    size_t answered = 0;
    for (const Bytes& frame : frames) {
        const Segment segment = read_segment(frame);
        EXPECT_GT(segment.payload.size(), 0u) << "an ACK went out that an answer could have carried";
        answered += segment.payload.size();
    }
    EXPECT_EQ(answered, 8 * CannedApp::answer.size());
}

TEST(Worker, WhatTheDeviceRefusesStaysInOrderAndIsNotLost) {
    MemoryRig rig;
    std::vector<Caller<MemoryRig>> callers;
    for (uint16_t i = 0; i < 20; ++i) callers.emplace_back(rig, static_cast<uint16_t>(41000 + i)).open();

    auto& queue = rig.wire().queue();
    queue.take_only(3);
    for (auto& caller : callers) rig.deliver(caller.frame(Flags::ack | Flags::psh, request));
    EXPECT_TRUE(rig.turn());
    EXPECT_EQ(queue.sent().size(), 3u);
    EXPECT_EQ(rig.worker().egress().backlog(), 17u);
    EXPECT_TRUE(rig.turn()) << "refused frames are work";
    EXPECT_EQ(queue.sent().size(), 3u);
    queue.take_only(7);
    rig.turn();
    EXPECT_EQ(queue.sent().size(), 10u);
    queue.take_all();
    rig.turn();

    const auto frames = rig.take_frames();
    ASSERT_EQ(frames.size(), 20u);
    for (uint16_t i = 0; i < 20; ++i) EXPECT_EQ(read_segment(frames[i]).flow.local_port, 41000 + i);
    EXPECT_EQ(rig.worker().egress().backlog(), 0u);
}

TEST(Worker, AStuckDeviceBoundsTheBacklogAndEverythingArrivesLater) {
    tcp::StackSettings settings = small_stack();
    settings.capacity.send_entries = 4096;
    MemoryRig rig{settings};
    Caller caller{rig};
    caller.open();
    auto& queue = rig.wire().queue();
    queue.take_only(0);
    // More answers than a batch has room for, acknowledged by nobody: cwnd bounds what is sent, the backlog the rest.
    for (int i = 0; i < 300; ++i) {
        rig.deliver(caller.frame(Flags::ack | Flags::psh, request));
        caller.sent(static_cast<uint32_t>(request.size()));
        rig.turn();
    }
    for (int i = 0; i < 400; ++i) {
        rig.deliver(arp_frame(tcp::wire::ArpOperation::request, peer_v4, our_v4));
        rig.turn();
    }
    EXPECT_LE(rig.worker().egress().backlog(), engine::transmit_batch);
    EXPECT_GT(rig.count(Verdict::no_room_to_answer), 0u) << "control frames leave half of the room to connections";
    queue.take_all();
    rig.turn();
    EXPECT_EQ(rig.worker().egress().backlog(), 0u);
    tcp::SeqNum expected{};
    bool first = true;
    for (const Bytes& frame : rig.take_frames()) {
        if (tcp::wire::EthernetFrame::parse(frame)->ether_type() != tcp::wire::EtherType::ipv4) continue;
        const Segment segment = read_segment(frame);
        if (segment.payload.empty()) continue;
        EXPECT_TRUE(first || segment.seq == expected) << "a hole before " << segment;
        first = false;
        expected = segment.seq + static_cast<uint32_t>(segment.payload.size());
    }
    EXPECT_FALSE(first);
}

TEST(Worker, ADryPoolDelaysAndLosesNothing) {
    MemoryRig rig;
    Caller caller{rig};
    caller.open();
    rig.deliver(caller.frame(Flags::ack | Flags::psh, request));
    std::vector<rte_mbuf*> taken;  // everything but what the worker holds already
    while (rte_mbuf* packet = rte_pktmbuf_alloc(&rig.pool())) taken.push_back(packet);
    rig.turn();
    rig.turn();
    engine::release(taken);
    rig.time_passes(5ms);
    size_t answered = 0;
    for (const Bytes& frame : rig.take_frames()) answered += read_segment(frame).payload.size();
    EXPECT_EQ(answered, CannedApp::answer.size());
}

TEST(Worker, AnnouncesItsAddressTwiceAtStart) {
    engine::WorkerSettings settings;
    settings.announces = true;
    MemoryRig rig{small_stack(), settings};
    const auto is_announcement = [](const Bytes& frame) {
        const auto ethernet = tcp::wire::EthernetFrame::parse(frame);
        const auto arp = tcp::wire::ArpPacket::parse(ethernet->payload());
        return ethernet->is_broadcast() && arp && arp->is_request() && arp->sender_v4() == our_v4 &&
               arp->target_v4() == our_v4 && arp->sender_mac() == our_mac;
    };
    rig.turn();
    auto frames = rig.take_frames();
    ASSERT_EQ(frames.size(), 1u);
    EXPECT_TRUE(is_announcement(frames[0]));
    EXPECT_EQ(rig.worker().next_due(rig.now()), rig.now() + 2s);
    rig.time_passes(1999ms);
    EXPECT_TRUE(rig.take_frames().empty());
    rig.time_passes(10s);
    frames = rig.take_frames();
    ASSERT_EQ(frames.size(), 1u);
    EXPECT_TRUE(is_announcement(frames[0]));
}

// RFC 1122 section 3.3.1.4: after R1 the next hop may be dead. No checksum covers a frame's source address, so one
// flipped bit in the last ACK leads everything after it astray; a peer that only waits will not correct it.
TEST(Worker, APathThatLeadsNowhereIsGivenUpForTheNeighbourCache) {
    MemoryRig rig;
    Caller caller{rig};
    caller.open();
    const MacAddress flipped{{0x02, 0, 0, 0x10, 0, 2}};
    Caller damaged = caller;
    damaged.comes_from(flipped);
    auto frames = rig.exchange(damaged.frame(Flags::ack | Flags::psh, request));
    ASSERT_EQ(frames.size(), 1u);
    read_segment(frames[0], flipped);

    rig.time_passes(10s);
    bool asked = false, straight = false;
    for (const Bytes& frame : rig.take_frames()) {
        const auto ethernet = tcp::wire::EthernetFrame::parse(frame);
        asked = asked || ethernet->ether_type() == tcp::wire::EtherType::arp;
    }
    ASSERT_TRUE(asked) << "the neighbour cache was never asked";
    for (int i = 0; i < 60 && !straight; ++i) {
        for (const Bytes& frame : rig.take_frames()) {
            const auto ethernet = tcp::wire::EthernetFrame::parse(frame);
            if (ethernet->ether_type() == tcp::wire::EtherType::arp) {
                rig.deliver(arp_frame(tcp::wire::ArpOperation::reply, peer_v4, our_v4));
            } else {
                straight = straight || ethernet->destination() == peer_mac;
            }
        }
        rig.time_passes(1s);
    }
    EXPECT_TRUE(straight) << "the answer never reached the peer";
}

TEST(Worker, ADeviceWithoutALinkLosesFramesAndKeepsNobodyAwake) {
    MemoryRig rig;
    Caller caller{rig};
    caller.open();
    rig.wire().queue().take_only(0);
    rig.wire().unplug();
    rig.deliver(caller.frame(Flags::ack | Flags::psh, request));
    uint32_t turns = 0;
    while (rig.turn()) ASSERT_LT(++turns, 2'000u) << "the worker never rests";
    EXPECT_GT(turns, 500u) << "a ring that is full for a moment has a link";
    EXPECT_EQ(rig.worker().egress().backlog(), 0u);
    EXPECT_EQ(rig.count(tcp::Tally::sent_without_link), 1u);

    rig.wire().queue().take_all();  // the link is back: the retransmission repairs the loss
    rig.wire().unplug(false);
    rig.time_passes(2s);
    const auto frames = rig.take_frames();
    ASSERT_FALSE(frames.empty());
    EXPECT_EQ(as_text(read_segment(frames[0]).payload), CannedApp::answer);
}

TEST(Worker, NextDueIsTheEarliestOfAllClocks) {
    MemoryRig rig;
    EXPECT_EQ(rig.worker().next_due(rig.now()), std::nullopt);
    rig.app().due = rig.now() + 700ms;
    EXPECT_EQ(rig.worker().next_due(rig.now()), rig.now() + 700ms);
    Caller caller{rig};
    rig.deliver(caller.frame(Flags::syn));  // a SYN-ACK that will have to be repeated in a second
    rig.turn();
    rig.app().due = rig.now() + 5s;
    const auto due = rig.worker().next_due(rig.now());
    ASSERT_TRUE(due);
    EXPECT_LE(*due, rig.now() + 1001ms);
}

}  // namespace
}  // namespace pollux::testing
