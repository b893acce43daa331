// What tools read of a worker: slices of every table, complete for what exists all the while, in bounded pieces, and
// never a wait on either side without an end.
#include "engine/inspection.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <set>
#include <thread>

#include "tests/engine/rig.hpp"

namespace pollux::testing {
namespace {

using engine::Inspection;
using engine::Question;
using engine::Slice;
using engine::Topic;
using engine::Waker;
using namespace std::chrono_literals;

template <class R>
engine::Subject subject_of(R& rig) {
    return {rig.stack(), rig.stack().counters(), rig.worker().neighbors(), rig.worker().paths(),
            rig.worker().egress()};
}

// Everything of one topic; `between` runs after each slice.
template <class R, class Between>
std::vector<Slice> walk(R& rig, Topic topic, Between between) {
    std::vector<Slice> slices;
    Question question{topic, 0};
    do {
        slices.emplace_back();
        engine::fill(slices.back(), question, subject_of(rig), rig.now());
        question.from = slices.back().next.value_or(0);
        between();
    } while (slices.back().next && slices.size() < 1'000);
    return slices;
}
template <class R>
std::vector<Slice> walk(R& rig, Topic topic) {
    return walk(rig, topic, [] {});
}

std::multiset<uint16_t> peer_ports(const std::vector<Slice>& slices, Topic topic) {
    std::multiset<uint16_t> ports;
    for (const Slice& slice : slices) {
        for (uint32_t i = 0; i < slice.count; ++i) {
            ports.insert(topic == Topic::connections ? slice.connections[i].flow.remote_port
                         : topic == Topic::half_open ? slice.half_open[i].flow.remote_port
                                                     : slice.time_wait[i].flow.remote_port);
        }
    }
    return ports;
}

tcp::StackSettings roomy() {
    tcp::StackSettings settings = small_stack();
    settings.capacity.connections = settings.capacity.half_open = settings.capacity.time_wait = 512;
    return settings;
}

TEST(Inspection, EveryConnectionIsSeenOnceInSlicesThatAreBounded) {
    Rig<MemoryWire> rig{roomy()};
    for (uint16_t port = 1000; port < 1200; ++port) Caller{rig, port}.open();
    const auto slices = walk(rig, Topic::connections);
    EXPECT_GE(slices.size(), 200u / Slice::rows);
    for (const Slice& slice : slices) EXPECT_LE(slice.count, Slice::rows);
    const auto ports = peer_ports(slices, Topic::connections);
    EXPECT_EQ(ports.size(), 200u);
    EXPECT_EQ(std::set<uint16_t>(ports.begin(), ports.end()).size(), 200u);
    EXPECT_EQ(slices[0].connections[0].state, tcp::State::established);
}

TEST(Inspection, WhatExistsAllTheWhileIsSeenOnceThoughOthersComeAndGo) {
    Rig<MemoryWire> rig{roomy()};
    std::vector<Caller<Rig<MemoryWire>>> passing;
    for (uint16_t port = 1000; port < 1300; ++port) {
        Caller caller{rig, port};
        caller.open();
        if (port % 3 == 0) passing.push_back(caller);
    }
    uint16_t newcomer = 2000;
    const auto slices = walk(rig, Topic::connections, [&] {
        for (int i = 0; i < 8 && !passing.empty(); ++i) {
            rig.exchange(passing.back().frame(Flags::rst));
            passing.pop_back();
            Caller{rig, newcomer++}.open();
        }
    });
    const auto ports = peer_ports(slices, Topic::connections);
    for (uint16_t port = 1000; port < 1300; ++port) {
        if (port % 3 != 0) {
            EXPECT_EQ(ports.count(port), 1u) << port;
        }
    }
}

TEST(Inspection, HalfOpenRecordsTellTheirAgeAndWhatThePeerOffered) {
    Rig<MemoryWire> rig{roomy()};
    ASSERT_EQ(rig.exchange(Caller{rig, 1000}.frame(Flags::syn)).size(), 1u);
    rig.time_passes(300ms);
    auto slices = walk(rig, Topic::half_open);
    ASSERT_EQ(slices.size(), 1u);
    ASSERT_EQ(slices[0].count, 1u);
    const tcp::HalfOpenInfo young = slices[0].half_open[0];
    EXPECT_EQ(young.flow.remote_port, 1000);
    EXPECT_NEAR(double(young.age / 1ms), 300, 8);
    EXPECT_NEAR(double(young.due_in / 1ms), 700, 8);
    EXPECT_EQ(young.retransmissions, 0);
    EXPECT_FALSE(young.timestamps || young.sack || young.window_scale);
    rig.time_passes(1s);  // the first repetition came after 1 s, the next is due after 2 s more
    rig.take_frames();
    slices = walk(rig, Topic::half_open);
    EXPECT_NEAR(double(slices[0].half_open[0].age / 1ms), 1'300, 16);
    EXPECT_NEAR(double(slices[0].half_open[0].due_in / 1ms), 1'700, 16);
    EXPECT_EQ(slices[0].half_open[0].retransmissions, 1);
}

TEST(Inspection, AConnectionTellsItsRetransmissionTimer) {
    Rig<MemoryWire> rig{roomy()};
    Caller caller{rig, 1000};
    caller.open();
    ASSERT_EQ(rig.exchange(caller.frame(Flags::ack | Flags::psh, request)).size(), 1u);
    const auto slices = walk(rig, Topic::connections);
    ASSERT_EQ(slices[0].count, 1u);
    const tcp::ConnInfo& info = slices[0].connections[0];
    EXPECT_EQ(info.timer, tcp::ConnInfo::Timer::retransmission);
    ASSERT_TRUE(info.timer_left.has_value());
    EXPECT_GT(*info.timer_left, 0ms);
    EXPECT_LE(*info.timer_left, info.rto + 2ms);
    EXPECT_GT(info.in_flight, 0u);
    EXPECT_FALSE(info.released);
}

TEST(Inspection, NeighboursAndPoolsAreToldWithTheirBounds) {
    Rig<MemoryWire> rig{roomy()};
    Caller{rig, 1000}.open();
    const Slice pools = walk(rig, Topic::pools)[0];
    EXPECT_EQ(pools.use.connections, 1u);
    EXPECT_EQ(pools.capacity.connections, 512u);
    EXPECT_EQ(pools.capacity.chunks, 64u);
    EXPECT_EQ(pools.engine.paths, 1u);
    EXPECT_GE(pools.engine.paths_capacity, 1u);
    EXPECT_EQ(pools.engine.neighbors_capacity, Rig<MemoryWire>::quiet().neighbors);
    const Slice counters = walk(rig, Topic::counters)[0];
    EXPECT_EQ(counters.counters[Verdict::opened], 1u);
    EXPECT_EQ(walk(rig, Topic::neighbors)[0].count, 0u) << "who answers on the path of a packet asks nobody";
}

TEST(Inspection, ANeighbourTellsItsStateAndHowOldThatIs) {
    engine::Neighbors neighbors{4};
    const auto known = tcp::IpAddress::from_v4(0xc000'0202);
    const tcp::Instant start{10s};
    neighbors.resolve(0, known, start);
    ASSERT_EQ(neighbors.in_use(), 1u);
    const auto asked = neighbors.info(0, start + 2s);
    ASSERT_TRUE(asked.has_value());
    EXPECT_EQ(asked->address, known);
    EXPECT_EQ(asked->state, "incomplete");
    EXPECT_TRUE(asked->mac.is_unspecified());
    EXPECT_EQ(asked->age, 0s);
    EXPECT_EQ(asked->unused, 2s);
    EXPECT_EQ(asked->waiting, 0);
}

// ---- The mailbox. -------------------------------------------------------------------------------------------------

TEST(Inspection, WhoDoesNotRunIsAbsentAtOnce) {
    Inspection inspection;
    Waker waker;
    const auto before = std::chrono::steady_clock::now();
    EXPECT_EQ(inspection.ask({}, waker, 10s), nullptr);
    EXPECT_EQ(inspection.outcome(), Inspection::Outcome::absent);
    { const Inspection::Attendance attendance{inspection}; }
    EXPECT_EQ(inspection.ask({}, waker, 10s), nullptr);
    EXPECT_EQ(inspection.outcome(), Inspection::Outcome::absent);
    EXPECT_LT(std::chrono::steady_clock::now() - before, 5s);
}

TEST(Inspection, AQuestionThatNobodyTakesIsWithdrawnAndTheNextOneIsAnswered) {
    Rig<MemoryWire> rig;
    Inspection inspection;
    Waker waker;
    const Inspection::Attendance attendance{inspection};
    EXPECT_EQ(inspection.ask({Topic::connections, 0}, waker, 20ms), nullptr);
    EXPECT_EQ(inspection.outcome(), Inspection::Outcome::silent);
    EXPECT_FALSE(inspection.is_asked()) << "it was taken back";
    std::thread worker{[&] {
        while (!inspection.is_asked()) std::this_thread::yield();
        inspection.serve(subject_of(rig), rig.now());
    }};
    const Slice* slice = inspection.ask({Topic::pools, 0}, waker, 10s);
    ASSERT_NE(slice, nullptr);
    EXPECT_EQ(slice->capacity.connections, 64u);
    worker.join();
}

// A worker that turns, opens and resets connections while another thread walks its tables. What exists all the while
// is in every walk; ThreadSanitizer finds nothing.
TEST(Inspection, AThreadReadsTheTablesOfAWorkerUnderChurn) {
    Inspection inspection;
    Waker waker;
    std::atomic<bool> ready{false}, end{false};
    std::thread worker{[&] {
        Rig<MemoryWire> rig{roomy()};
        const Inspection::Attendance attendance{inspection};
        for (uint16_t port = 1000; port < 1100; ++port) Caller{rig, port}.open();
        ready.store(true);
        uint16_t port = 2000;
        while (!end.load()) {
            Caller caller{rig, port = port < 60000 ? uint16_t(port + 1) : uint16_t(2000)};
            caller.open();
            inspection.serve(subject_of(rig), rig.now());
            rig.exchange(caller.frame(Flags::rst));
            inspection.serve(subject_of(rig), rig.now());
        }
    }};
    while (!ready.load()) std::this_thread::yield();
    for (int round = 0; round < 50; ++round) {
        std::map<uint16_t, int> seen;
        Question question{Topic::connections, 0};
        do {
            const Slice* slice = inspection.ask(question, waker, 10s);
            ASSERT_NE(slice, nullptr);
            for (uint32_t i = 0; i < slice->count; ++i) ++seen[slice->connections[i].flow.remote_port];
            if (!slice->next) break;
            question.from = *slice->next;
        } while (true);
        for (uint16_t port = 1000; port < 1100; ++port) EXPECT_EQ(seen[port], 1) << port;
    }
    end.store(true);
    worker.join();
}

}  // namespace
}  // namespace pollux::testing
