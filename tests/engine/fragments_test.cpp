// IP fragments: dropped by name unless the settings want them put together, and then within bounds. ATK-08.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/engine/rig.hpp"

namespace pollux::testing {
namespace {

using tcp::Tally;

class BothFamilies : public MemoryWire {
public:
    using MemoryWire::MemoryWire;
    engine::Interface interface() {
        engine::Interface made = MemoryWire::interface();
        made.networks_v6 = {{our_v6, 64}};
        made.detects_duplicates = false;
        return made;
    }
};
using MemoryRig = Rig<BothFamilies>;

/// Packets that the worker keeps, apart from those that it has ready to send.
uint64_t kept(MemoryRig& rig) {
    return rte_mempool_in_use_count(&rig.pool()) - rig.worker().egress().ready();
}

constexpr size_t ip_at = 14;

engine::WorkerSettings reassembling(uint32_t datagrams = 16, uint32_t per_source = 64) {
    engine::WorkerSettings settings = MemoryRig::quiet();
    settings.fragments = {.reassembles = true, .datagrams = datagrams, .per_source = per_source, .timeout = 1s};
    return settings;
}

/// A SYN with 20 bytes of options and data, which is not processed but has to come: 20 + 20 + 20 + `data` bytes of IP.
Bytes syn(bool v6, size_t data = 40, uint16_t port = 40'000) {
    static const std::string text(1'400, 'x');
    Segment s;
    s.flow = v6 ? tcp::FourTuple{peer_v6, our_v6, port, 80} : peer_flow(port);
    s.seq = tcp::SeqNum{1'000};
    s.flags = Flags::syn;
    s.window = 1'000;
    s.present = tcp::Present::mss;
    s.mss = 1'460;
    s.payload = as_bytes(std::string_view{text}.substr(0, data));
    return tcp_frame(s);
}

/// [from, to) of the frame's TCP segment as a fragment.
Bytes piece(const Bytes& whole, size_t from, size_t to, uint16_t id = 7) {
    const bool v6 = whole[12] == std::byte{0x86};
    const size_t header = v6 ? 40 : 20, tcp_at = ip_at + header;
    const bool more = tcp_at + to < whole.size();
    Bytes frame(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(tcp_at));
    if (v6) {
        frame.resize(tcp_at + 8);
        frame[ip_at + 6] = std::byte{44};
        frame[tcp_at] = std::byte{6};
        tcp::wire::store_be16(&frame[tcp_at + 2], static_cast<uint16_t>(from | (more ? 1 : 0)));
        tcp::wire::store_be32(&frame[tcp_at + 4], id);
        tcp::wire::store_be16(&frame[ip_at + 4], static_cast<uint16_t>(8 + to - from));
    } else {
        tcp::wire::store_be16(&frame[ip_at + 2], static_cast<uint16_t>(20 + to - from));
        tcp::wire::store_be16(&frame[ip_at + 4], id);
        tcp::wire::store_be16(&frame[ip_at + 6], static_cast<uint16_t>(from / 8 | (more ? 0x2000 : 0)));
    }
    frame.insert(frame.end(), whole.begin() + static_cast<ptrdiff_t>(tcp_at + from),
                 whole.begin() + static_cast<ptrdiff_t>(tcp_at + to));
    if (!v6) fix_ip_checksum(frame);
    return frame;
}
size_t tcp_size(const Bytes& whole) { return whole.size() - ip_at - (whole[12] == std::byte{0x86} ? 40 : 20); }

class Fragments : public ::testing::TestWithParam<bool> {
protected:
    void SetUp() override { RecordProperty("row", "ATK-08"); }
    bool v6() const { return GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(Engine, Fragments, ::testing::Bool(),
                         [](const auto& family) { return std::string(family.param ? "Ipv6" : "Ipv4"); });

TEST_P(Fragments, AreDroppedByNameUnlessTheSettingsSayOtherwise) {
    MemoryRig rig;
    const Bytes whole = syn(v6());
    EXPECT_TRUE(rig.exchange({piece(whole, 0, 24), piece(whole, 24, tcp_size(whole))}).empty());
    EXPECT_EQ(rig.count(Verdict::fragment), 2u);
}

TEST_P(Fragments, InAnyOrderBecomeThePacketTheyWere) {
    const Bytes whole = syn(v6());
    std::vector<Bytes> pieces{piece(whole, 0, 24), piece(whole, 24, 40), piece(whole, 40, 48),
                              piece(whole, 48, tcp_size(whole))};
    std::vector<size_t> order{0, 1, 2, 3};
    uint32_t orders = 0;
    do {
        MemoryRig rig{small_stack(), reassembling()};
        std::vector<Bytes> answers;
        for (const size_t i : order) {
            for (Bytes& frame : rig.exchange({pieces[i]})) answers.push_back(std::move(frame));
        }
        ASSERT_EQ(answers.size(), 1u);
        EXPECT_EQ(rig.count(Verdict::syn_answered), 1u);
        EXPECT_EQ(rig.count(Verdict::fragment_kept), 4u);
        EXPECT_EQ(rig.count(Tally::datagrams_reassembled), 1u);
        ++orders;
    } while (std::next_permutation(order.begin(), order.end()));
    EXPECT_EQ(orders, 24u);
}

TEST_P(Fragments, ADamagedPieceIsFoundByTheChecksumOfTheWhole) {
    MemoryRig rig{small_stack(), reassembling()};
    const Bytes whole = syn(v6());
    Bytes damaged = piece(whole, 24, tcp_size(whole));
    damaged.back() ^= std::byte{0x20};
    rig.deliver(piece(whole, 0, 24), RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD);
    rig.deliver(damaged, RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD);  // no device can know
    rig.turn();
    EXPECT_TRUE(rig.take_frames().empty());
    EXPECT_EQ(rig.count(Verdict::bad_tcp_checksum), 1u);
}

TEST_P(Fragments, ThatOverlapDropTheWholeDatagram) {
    const Bytes whole = syn(v6());
    const size_t end = tcp_size(whole);
    // RFC 5722, and what teardrop and its kin do: left, right, inside, around, the same twice, and a gap beside it.
    const std::vector<std::vector<std::pair<size_t, size_t>>> shapes{
        {{0, 32}, {24, end}},           {{0, 24}, {16, end}},          {{0, 40}, {24, 32}, {40, end}},
        {{0, 24}, {0, 40}, {40, end}},  {{0, 24}, {0, 24}, {24, end}}, {{0, 32}, {24, 40}, {48, end}},
        {{0, 24}, {24, end}, {24, end}}};
    for (const auto& shape : shapes) {
        if (&shape == &shapes.back()) continue;  // complete after two: what comes then is a datagram of its own
        MemoryRig rig{small_stack(), reassembling()};
        for (const auto& [from, to] : shape) EXPECT_TRUE(rig.exchange({piece(whole, from, to)}).empty());
        EXPECT_EQ(rig.count(Verdict::syn_answered), 0u);
        rig.time_passes(3s);
        EXPECT_EQ(rig.count(Tally::fragments_discarded), shape.size());
    }
    MemoryRig rig{small_stack(), reassembling()};
    size_t answers = 0;
    for (const auto& [from, to] : shapes.back()) answers += rig.exchange({piece(whole, from, to)}).size();
    EXPECT_EQ(answers, 1u);
    rig.time_passes(3s);
    EXPECT_EQ(rig.count(Tally::fragments_discarded), 1u);
}

TEST_P(Fragments, WhatNoTcpSenderMakesIsRefused) {
    MemoryRig rig{small_stack(), reassembling()};
    const Bytes whole = syn(v6(), 1'400);
    auto refused = [&, n = uint64_t{0}](const Bytes& frame) mutable {
        EXPECT_TRUE(rig.exchange({frame}).empty());
        EXPECT_EQ(rig.count(Verdict::bad_fragment), ++n);
    };
    refused(piece(whole, 0, 16));   // RFC 1858: flags in the second piece
    refused(piece(whole, 24, 31));  // not the last, and no whole units
    Bytes far = piece(whole, 24, 48);
    const size_t place = v6() ? ip_at + 42 : ip_at + 6;
    tcp::wire::store_be16(&far[place], static_cast<uint16_t>(v6() ? 65'528 : 8'191));  // ping of death
    if (!v6()) fix_ip_checksum(far);
    refused(far);
    tcp::wire::store_be16(&far[place], static_cast<uint16_t>(v6() ? 1'504 : 188));  // larger than a packet of ours
    if (!v6()) fix_ip_checksum(far);
    refused(far);
}

TEST_P(Fragments, ThatWaitInVainAreGivenUpAndReturned) {
    MemoryRig rig{small_stack(), reassembling()};
    const Bytes whole = syn(v6());
    for (uint16_t id = 1; id <= 10; ++id) rig.exchange({piece(whole, 0, 24, id)});
    EXPECT_EQ(kept(rig), 10u);
    EXPECT_TRUE(rig.worker().next_due(rig.now()).has_value()) << "a sleep must not outlast them";
    rig.time_passes(1'300ms);
    EXPECT_EQ(kept(rig), 0u);
    EXPECT_EQ(rig.count(Tally::fragments_discarded), 10u);
    EXPECT_EQ(rig.exchange({piece(whole, 24, tcp_size(whole), 3)}).size(), 0u) << "too late";
}

TEST_P(Fragments, OfOneSourceAndOfAllAreBounded) {
    constexpr uint32_t datagrams = 16, per_source = 12;
    MemoryRig rig{small_stack(), reassembling(datagrams, per_source)};
    const Bytes whole = syn(v6());
    for (uint16_t id = 1; id <= 100; ++id) rig.exchange({piece(whole, 0, 24, id)});
    EXPECT_EQ(rig.count(Verdict::fragment_kept), per_source);
    EXPECT_EQ(rig.count(Verdict::fragment_limited), 100 - per_source);
    EXPECT_EQ(kept(rig), per_source);
    // Many sources: what all of them may hold.
    for (uint16_t host = 0; host < 500; ++host) {
        Bytes frame = piece(whole, 0, 24);
        frame[ip_at + (v6() ? 23 : 15)] = static_cast<std::byte>(3 + host % 200);
        if (v6()) frame[ip_at + 22] = static_cast<std::byte>(host / 200);
        if (!v6()) fix_ip_checksum(frame);
        rig.exchange({frame});
    }
    EXPECT_LE(kept(rig), datagrams);
    rig.time_passes(2s);
    EXPECT_EQ(kept(rig), 0u);
    // And then there is room again.
    EXPECT_EQ(rig.exchange({piece(whole, 0, 24, 999), piece(whole, 24, tcp_size(whole), 999)}).size(), 1u);
}

TEST_P(Fragments, NinePiecesAreTooMany) {
    MemoryRig rig{small_stack(), reassembling()};
    const Bytes whole = syn(v6(), 80);
    const size_t end = tcp_size(whole);
    EXPECT_TRUE(rig.exchange({piece(whole, 0, 24)}).empty());
    size_t from = 24;
    for (; from + 8 < end; from += 8) EXPECT_TRUE(rig.exchange({piece(whole, from, from + 8)}).empty());
    EXPECT_TRUE(rig.exchange({piece(whole, from, end)}).empty());
    rig.time_passes(2s);
    EXPECT_EQ(rig.count(Verdict::syn_answered), 0u);
    EXPECT_GT(rig.count(Tally::fragments_discarded), 8u);
}

}  // namespace
}  // namespace pollux::testing
