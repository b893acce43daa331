// The bad network between a queue and its worker: what it does to packets, how often, in which order, and that it
// keeps none. Packets here are numbered frames that say their number in every byte pair.
#include "engine/impaired_queue.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <map>
#include <set>

#include "tests/engine/rig.hpp"

namespace pollux::testing {
namespace {

using config::Impairment;
using engine::ImpairedDirection;
using tcp::Instant;
using tcp::Tally;

constexpr size_t frame_size = 64;

/// A device of vectors, an impaired queue on it, and the pool that all packets come from.
class ImpairedQueue : public ::testing::Test {
protected:
    using Queue = engine::ImpairedQueue<MemoryWire::Handle>;

    ImpairedQueue() : pool_(make_test_pool(4'095)), wire_(*pool_), full_(available()) {}
    ~ImpairedQueue() override {
        queue_.reset();
        engine::release(wire_.take_sent());
        EXPECT_EQ(available(), full_) << "packets were lost or kept";
    }

    Queue& impair(const Impairment& receive, const Impairment& send = {}, uint32_t seed = 1) {
        config::Test test;
        test.enabled = true;
        test.seed = seed;
        test.receive = receive;
        test.send = send;
        queue_.reset();
        counters_ = {};
        queue_.emplace(wire_.handle(), test, 0u, 0u, counters_);
        queue_->set_time(now_);
        return *queue_;
    }
    unsigned available() const { return rte_mempool_avail_count(pool_.get()); }

    rte_mbuf* packet(uint16_t number) {
        rte_mbuf* made = rte_pktmbuf_alloc(pool_.get());
        EXPECT_NE(made, nullptr);
        for (size_t i = 0; i < frame_size; i += 2) {
            tcp::wire::store_be16(rte_pktmbuf_mtod(made, std::byte*) + i, number);
        }
        engine::set_size(*made, frame_size);
        made->ol_flags = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
        return made;
    }
    /// The number that most of its bytes say, and how many bits say something else.
    static std::pair<uint16_t, int> read(rte_mbuf& packet) {
        std::map<uint16_t, size_t> votes;
        const std::byte* at = rte_pktmbuf_mtod(&packet, const std::byte*);
        for (size_t i = 0; i < frame_size; i += 2) ++votes[tcp::wire::load_be16(at + i)];
        const uint16_t number =
            std::ranges::max_element(votes, {}, [](const auto& vote) { return vote.second; })->first;
        int flipped = 0;
        for (size_t i = 0; i < frame_size; i += 2) {
            flipped += std::popcount(static_cast<unsigned>(tcp::wire::load_be16(at + i) ^ number));
        }
        return {number, flipped};
    }
    /// Numbers of what the worker receives at this moment.
    std::vector<uint16_t> receive(size_t most = 4'096) {
        std::vector<rte_mbuf*> packets(most);
        packets.resize(queue_->receive(packets));
        return numbers(packets);
    }
    std::vector<uint16_t> take_sent() { return numbers(wire_.take_sent()); }
    static std::vector<uint16_t> numbers(const std::vector<rte_mbuf*>& packets) {
        std::vector<uint16_t> read_numbers;
        for (rte_mbuf* packet : packets) read_numbers.push_back(read(*packet).first);
        engine::release(packets);
        return read_numbers;
    }
    /// `count` packets arrive one after another, 10 us apart; what the worker receives of them, in its order.
    std::vector<uint16_t> stream(uint16_t count) {
        std::vector<uint16_t> received;
        for (uint16_t i = 0; i < count; ++i) {
            wire_.arrive(packet(i));
            time_passes(10us);
            const auto some = receive(32);
            received.insert(received.end(), some.begin(), some.end());
        }
        time_passes(1s);
        const auto rest = receive();
        received.insert(received.end(), rest.begin(), rest.end());
        return received;
    }
    void time_passes(tcp::Duration duration) {
        now_ += duration;
        queue_->set_time(now_);
    }
    uint64_t count(Tally tally) const { return counters_[tally]; }

    engine::PacketPool pool_;
    MemoryWire wire_;
    unsigned full_;
    tcp::Counters counters_;
    std::optional<Queue> queue_;
    Instant now_{1s};
};

std::vector<uint16_t> up_to(uint16_t count) {
    std::vector<uint16_t> numbers(count);
    for (uint16_t i = 0; i < count; ++i) numbers[i] = i;
    return numbers;
}

TEST_F(ImpairedQueue, WithoutImpairmentsEverythingPassesAtOnceInOrderAndUntouched) {
    impair({});
    for (uint16_t i = 0; i < 40; ++i) wire_.arrive(packet(i));
    EXPECT_EQ(receive(32), (std::vector<uint16_t>(up_to(32))));
    EXPECT_EQ(receive(32), (std::vector<uint16_t>{32, 33, 34, 35, 36, 37, 38, 39}));
    std::vector<rte_mbuf*> packets{packet(5), packet(6), packet(7)};
    EXPECT_EQ(queue_->send(packets), 3u);
    EXPECT_EQ(take_sent(), (std::vector<uint16_t>{5, 6, 7}));
    EXPECT_EQ(queue_->next_due(), std::nullopt);
}

TEST_F(ImpairedQueue, EachKindOfDamageHappensAsOftenAsItsShareSays) {
    constexpr uint16_t packets = 20'000;
    for (const uint32_t seed : {1u, 2u, 77u}) {
        SCOPED_TRACE(seed);
        impair({.loss_ppm = 50'000, .duplication_ppm = 20'000, .reordering_ppm = 20'000, .corruption_ppm = 5'000}, {},
               seed);
        const auto received = stream(packets);
        // Five standard deviations of the binomial distribution.
        EXPECT_NEAR(static_cast<double>(count(Tally::impaired_received_lost)), 1'000, 155);
        EXPECT_NEAR(static_cast<double>(count(Tally::impaired_received_duplicated)), 380, 97);
        EXPECT_NEAR(static_cast<double>(count(Tally::impaired_received_reordered)), 388, 98);
        EXPECT_NEAR(static_cast<double>(count(Tally::impaired_received_corrupted)), 97, 50);
        EXPECT_EQ(received.size(),
                  packets - count(Tally::impaired_received_lost) + count(Tally::impaired_received_duplicated));
        EXPECT_EQ(count(Tally::impaired_received_overflowed), 0u);
    }
}

TEST_F(ImpairedQueue, TheSameSeedGivesTheSameDamageAndAnotherSeedAnother) {
    const Impairment bad{.loss_ppm = 100'000, .duplication_ppm = 100'000, .reordering_ppm = 100'000, .jitter = 500us};
    const auto run = [&](uint32_t seed) {
        now_ = Instant{1s};
        impair(bad, {}, seed);
        return stream(2'000);
    };
    const auto first = run(5);
    EXPECT_EQ(run(5), first);
    EXPECT_NE(run(6), first);
}

TEST(ImpairmentSeed, EachQueueAndDirectionHasAGeneratorOfItsOwn) {
    std::set<uint64_t> seeds;
    for (uint64_t seed = 0; seed < 4; ++seed) {
        for (uint32_t worker = 0; worker < 4; ++worker) {
            for (uint32_t port = 0; port < 4; ++port) {
                for (const bool receiving : {false, true}) {
                    seeds.insert(engine::impairment_seed(seed, worker, port, receiving) | 1);
                }
            }
        }
    }
    EXPECT_EQ(seeds.size(), 4u * 4 * 4 * 2);
}

TEST_F(ImpairedQueue, DamageIsOneBitAndTakesTheDevicesWordAway) {
    impair({.corruption_ppm = 1'000'000});
    std::set<size_t> places;
    for (uint16_t i = 0; i < 1'000; ++i) {
        wire_.arrive(packet(0));
        rte_mbuf* received[1];
        ASSERT_EQ(queue_->receive(received), 1u);
        EXPECT_EQ(read(*received[0]).second, 1);
        EXPECT_EQ(received[0]->ol_flags, 0u) << "the device's \"good\" is not true any more";
        const auto bytes = engine::bytes_of(*received[0]);
        places.insert(static_cast<size_t>(
            std::ranges::find_if(bytes, [](std::byte byte) { return byte != std::byte{0}; }) - bytes.begin()));
        rte_pktmbuf_free(received[0]);
    }
    EXPECT_EQ(places.size(), frame_size) << "anywhere in the frame";
}

TEST_F(ImpairedQueue, ADuplicateIsAPacketOfItsOwn) {
    impair({.duplication_ppm = 1'000'000});
    wire_.arrive(packet(9));
    std::vector<rte_mbuf*> received(8);
    received.resize(queue_->receive(received));
    ASSERT_EQ(received.size(), 2u);
    std::fill_n(engine::bytes_of(*received[0]).begin(), frame_size, std::byte{0xff});  // answered in place
    EXPECT_EQ(read(*received[1]), (std::pair<uint16_t, int>{9, 0}));
    EXPECT_EQ(received[1]->ol_flags, RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD);
    engine::release(received);
}

TEST_F(ImpairedQueue, WithoutAFreePacketThereIsNoDuplicate) {
    impair({.duplication_ppm = 1'000'000});
    wire_.arrive(packet(9));
    std::vector<rte_mbuf*> all;
    while (rte_mbuf* one = rte_pktmbuf_alloc(pool_.get())) all.push_back(one);
    EXPECT_EQ(receive(), (std::vector<uint16_t>{9}));
    EXPECT_EQ(count(Tally::impaired_received_duplicated), 0u);
    engine::release(all);
}

TEST_F(ImpairedQueue, AReorderedPacketIsOvertakenAndTheOthersKeepTheirOrder) {
    impair({.reordering_ppm = 50'000, .reorder_by = 100us});
    const auto received = stream(2'000);
    ASSERT_EQ(received.size(), 2'000u) << "nothing is lost by it";
    std::vector<uint16_t> in_place;
    size_t overtaken = 0;
    for (const uint16_t number : received) {
        if (!in_place.empty() && number < in_place.back()) {
            ++overtaken;
            EXPECT_LE(in_place.back() - number, 11) << "held back for 100 us, ten packets";
        } else {
            in_place.push_back(number);
        }
    }
    EXPECT_GT(overtaken, 50u);
    EXPECT_LE(overtaken, count(Tally::impaired_received_reordered));
}

TEST_F(ImpairedQueue, DelayHoldsEachPacketForItsTimeAndKeepsTheOrder) {
    impair({.delay = 10ms});
    for (uint16_t i = 0; i < 5; ++i) {
        wire_.arrive(packet(i));
        EXPECT_TRUE(receive().empty());
        EXPECT_EQ(queue_->next_due(), Instant{1s} + 10ms) << "the first";
        time_passes(1ms);
    }
    time_passes(5ms - 1us);
    EXPECT_TRUE(receive().empty());
    time_passes(1us);
    EXPECT_EQ(receive(), (std::vector<uint16_t>{0}));
    EXPECT_EQ(queue_->next_due(), Instant{1s} + 11ms);
    time_passes(1h);
    EXPECT_EQ(receive(2), (std::vector<uint16_t>{1, 2})) << "no more than there is room for";
    EXPECT_LE(queue_->next_due(), now_) << "the rest is due already";
    EXPECT_EQ(receive(), (std::vector<uint16_t>{3, 4}));
    EXPECT_EQ(queue_->next_due(), std::nullopt);
}

TEST_F(ImpairedQueue, JitterDelaysButNobodyOvertakes) {
    impair({.delay = 1ms, .jitter = 5ms});
    EXPECT_EQ(stream(2'000), up_to(2'000));
}

TEST_F(ImpairedQueue, WhatIsSentLeavesByTheClockAlone) {
    impair({}, {.delay = 10ms});
    std::vector<rte_mbuf*> packets{packet(1), packet(2)};
    EXPECT_EQ(queue_->send(packets), 2u);
    EXPECT_EQ(queue_->unsent(), 2u);
    EXPECT_EQ(queue_->next_due(), now_ + 10ms);
    time_passes(10ms - 1us);
    EXPECT_TRUE(take_sent().empty());
    time_passes(1us);  // no call to send()
    EXPECT_EQ(take_sent(), (std::vector<uint16_t>{1, 2}));
    EXPECT_EQ(queue_->unsent(), 0u);
}

TEST_F(ImpairedQueue, WhatTheDeviceRefusesIsKeptInOrderAndNoMoreIsTaken) {
    impair({}, {});
    wire_.queue().take_only(3);
    std::vector<rte_mbuf*> packets;
    for (uint16_t i = 0; i < 100; ++i) packets.push_back(packet(i));
    EXPECT_EQ(queue_->send(packets), 100u);
    EXPECT_EQ(queue_->unsent(), 97u);
    std::vector<rte_mbuf*> more{packet(100)};
    EXPECT_EQ(queue_->send(more), 0u) << "the device is full";
    EXPECT_EQ(queue_->next_due(), now_) << "try again at once";
    wire_.queue().take_only(50);
    time_passes(1us);
    wire_.queue().take_all();
    EXPECT_EQ(queue_->send(more), 1u);
    EXPECT_EQ(take_sent(), up_to(101));
}

TEST_F(ImpairedQueue, WhatDoesNotFitTheDelayLineIsDroppedAndCounted) {
    impair({.delay = 1s});
    constexpr uint16_t more = 10;
    for (uint16_t i = 0; i < ImpairedDirection::capacity + more; ++i) {
        wire_.arrive(packet(i));
        EXPECT_TRUE(receive(32).empty());
    }
    EXPECT_EQ(count(Tally::impaired_received_overflowed), more);
    time_passes(1s);
    EXPECT_EQ(receive(), up_to(ImpairedDirection::capacity));
}

TEST_F(ImpairedQueue, WhatIsHeldGoesBackToThePoolAtTheEnd) {
    impair({.delay = 1s}, {.delay = 1s});
    for (uint16_t i = 0; i < 20; ++i) wire_.arrive(packet(i));
    EXPECT_TRUE(receive().empty());
    std::vector<rte_mbuf*> packets{packet(1), packet(2)};
    EXPECT_EQ(queue_->send(packets), 2u);
    Queue moved = std::move(*queue_);
    queue_.reset();
    EXPECT_EQ(available(), full_ - 22);
    moved.set_time(now_ + 1s);
    wire_.queue().take_only(0);
}  // the fixture counts

TEST(ImpairedWorker, SleepsUntilWhatIsHeldBackIsDueAndDrainsItFirst) {
    struct DelayedWire : MemoryWire {
        using MemoryWire::MemoryWire;
        engine::ImpairedQueue<Handle> handle() {
            config::Test test;
            test.receive.delay = 5ms;
            test.send.delay = 5ms;
            return {MemoryWire::handle(), test, 0, 0, counters};
        }
        tcp::Counters counters;
    };
    Rig<DelayedWire> rig;
    Caller caller{rig};
    rig.deliver(caller.frame(Flags::syn));
    EXPECT_FALSE(rig.turn()) << "it has not arrived yet";
    EXPECT_EQ(rig.worker().next_due(rig.now()), rig.now() + 5ms);
    rig.jump(5ms);
    EXPECT_TRUE(rig.turn());
    EXPECT_TRUE(rig.take_frames().empty());
    EXPECT_EQ(rig.worker().next_due(rig.now()), rig.now() + 5ms);
    rig.stack().abort_all();
    EXPECT_FALSE(rig.worker().is_drained()) << "the SYN-ACK is still on its way";
    rig.jump(5ms);
    rig.turn();
    EXPECT_EQ(rig.take_frames().size(), 1u);
}

}  // namespace
}  // namespace pollux::testing
