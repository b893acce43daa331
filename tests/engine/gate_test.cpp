// Filtering at the gate: who is let in, what is counted, and that rules are replaced between two turns of a worker
// without a packet noticing more than that.
#include "engine/gate.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "engine/reload.hpp"
#include "tests/engine/crew.hpp"

namespace pollux::testing {
namespace {

using config::Filter;
using config::FilterAction;
using config::Prefix;
using engine::Gate;
using engine::Reloader;
using engine::Rulebook;
using ::testing::HasSubstr;
using tcp::IpAddress;
using MemoryRig = Rig<MemoryWire>;

constexpr uint32_t other_v4 = 0xc000'0207;

Filter rule(FilterAction action, const IpAddress& from, uint8_t length) {
    Filter made;
    made.action = action;
    made.from = Prefix{from, length};
    return made;
}
Filter deny(uint32_t v4) { return rule(FilterAction::deny, IpAddress::from_v4(v4), 32); }
Filter deny_port(uint16_t port) {
    Filter made;
    made.action = FilterAction::deny;
    made.ports = config::PortRange{port, port};
    return made;
}

std::shared_ptr<const Rulebook> book(std::vector<Filter> rules) {
    return std::make_shared<const Rulebook>(std::move(rules));
}

Bytes syn_from(const IpAddress& from, uint16_t to_port = 80, const FrameOptions& options = {}) {
    Segment segment;
    segment.flow = {from, from.is_v4() ? IpAddress::from_v4(our_v4) : our_v6, 40'000, to_port};
    segment.flags = Flags::syn;
    segment.window = 1'000;
    return tcp_frame(segment, options);
}
Bytes syn_from(uint32_t v4, uint16_t to_port = 80, const FrameOptions& options = {}) {
    return syn_from(IpAddress::from_v4(v4), to_port, options);
}

engine::WorkerSettings behind(Gate& gate) {
    engine::WorkerSettings settings = MemoryRig::quiet();
    settings.gate = &gate.post_of(0);
    return settings;
}

uint64_t hits(Gate& gate, size_t rule) { return gate.post_of(0).current()->hits.at(rule); }

class AtTheGate : public ::testing::Test {
protected:
    void judges_by(std::vector<Filter> rules) {
        gate_.post(rules.empty() ? nullptr : book(std::move(rules)));
        rig_.turn();
        rig_.take_frames();
    }
    Gate gate_{1};
    MemoryRig rig_{small_stack(), behind(gate_)};
};

TEST_F(AtTheGate, ADeniedSynDrawsNothingAndTouchesNoTcp) {
    judges_by({deny(peer_v4)});
    EXPECT_TRUE(rig_.exchange(syn_from(peer_v4)).empty());
    EXPECT_TRUE(rig_.exchange(syn_from(peer_v4, 80, {.vlan = 7})).empty());
    EXPECT_EQ(rig_.count(Verdict::filtered), 2u);
    EXPECT_EQ(rig_.count(tcp::Tally::segments_received), 0u);
    EXPECT_EQ(rig_.exchange(syn_from(other_v4)).size(), 1u);
    EXPECT_EQ(hits(gate_, 0), 2u);
    EXPECT_EQ(hits(gate_, 1), 1u) << "what no rule fits";
}

TEST_F(AtTheGate, RulesOfPortsSpareTheOthersAndPings) {
    judges_by({deny_port(80)});
    ASSERT_TRUE(rig_.stack().listen({{}, 81}));
    EXPECT_TRUE(rig_.exchange(syn_from(peer_v4, 80)).empty());
    EXPECT_EQ(rig_.exchange(syn_from(peer_v4, 81)).size(), 1u);
    EXPECT_EQ(rig_.exchange(icmp_frame(8, 0, 0, as_bytes("ping"))).size(), 1u);
    judges_by({deny(peer_v4)});
    EXPECT_TRUE(rig_.exchange(icmp_frame(8, 0, 0, as_bytes("ping"))).empty());
    EXPECT_EQ(rig_.exchange(icmp_frame(8, 0, 0, as_bytes("ping"), {}, other_v4)).size(), 1u);
    EXPECT_EQ(rig_.count(Verdict::filtered), 2u);
}

TEST_F(AtTheGate, TheLinkGoesOnWithDeniedNeighbours) {
    judges_by({deny(peer_v4)});
    EXPECT_EQ(rig_.exchange(arp_frame(tcp::wire::ArpOperation::request, peer_v4, our_v4)).size(), 1u);
    EXPECT_EQ(rig_.count(Verdict::filtered), 0u);
}

TEST_F(AtTheGate, ABadHeaderIsABadHeaderWhateverTheRulesSay) {
    judges_by({deny(peer_v4)});
    Bytes damaged = syn_from(peer_v4);
    damaged[24] ^= std::byte{0xff};
    rig_.exchange(damaged);
    EXPECT_EQ(rig_.count(Verdict::bad_ip_checksum), 1u);
    EXPECT_EQ(rig_.count(Verdict::filtered), 0u);
}

TEST_F(AtTheGate, NewRulesHoldFromTheNextTurnOnForConnectionsThatExistToo) {
    judges_by({deny(other_v4)});
    Caller caller{rig_};
    caller.open();
    ASSERT_EQ(rig_.exchange(caller.frame(Flags::ack | Flags::psh, request)).size(), 1u);
    caller.sent(static_cast<uint32_t>(request.size()));
    gate_.post(book({deny(peer_v4)}));
    EXPECT_TRUE(rig_.exchange(caller.frame(Flags::ack | Flags::psh, request)).empty());
    EXPECT_EQ(rig_.count(Verdict::filtered), 1u);
    EXPECT_EQ(rig_.stack().pool_use().connections, 1u) << "it exists, and hears nothing";
    EXPECT_EQ(hits(gate_, 0), 1u) << "counted anew";
    judges_by({});
    EXPECT_FALSE(rig_.exchange(caller.frame(Flags::ack | Flags::psh, request)).empty());
    EXPECT_EQ(rig_.app().answers, 2u);
}

TEST(Gate, OldRulesAreFreedWhenEveryWorkerHasLetThemGo) {
    Gate gate{2};
    auto first = book({deny(peer_v4)});
    const std::weak_ptr<const Rulebook> old = first;
    const uint64_t serial = gate.post(std::move(first));
    EXPECT_FALSE(gate.all_have(serial));
    gate.post_of(0).take();
    gate.post_of(1).take();
    EXPECT_TRUE(gate.all_have(serial));
    gate.post(nullptr);
    EXPECT_TRUE(gate.post_of(0).has_news());
    gate.post_of(0).take();
    EXPECT_FALSE(gate.post_of(0).has_news());
    gate.collect();
    EXPECT_FALSE(old.expired()) << "the second worker may be reading it";
    gate.post_of(1).take();
    EXPECT_EQ(gate.collect(), 1u);
    EXPECT_TRUE(old.expired());
}

TEST(Gate, AWorkerThatHasMissedSomeTakesTheLatest) {
    Gate gate{1};
    for (int i = 0; i < 5; ++i) gate.post(book({deny(static_cast<uint32_t>(0x0a00'0000 + i))}));
    EXPECT_EQ(gate.post_of(0).take()->rulebook->rules()[0].from->address.v4(), 0x0a00'0004u);
    EXPECT_EQ(gate.collect(), 1u);
}

TEST(Gate, WhatIsHandedOverIsJudgedOnceByWhoReceivesIt) {
    Crew crew{2};
    crew.gate().post(book({deny(peer_v4)}));
    crew.turn();
    CrewClient allowed{peer_flow(40'000, other_v4)};
    const uint32_t elsewhere = 1 - crew.owner_of(allowed);
    crew.deliver(elsewhere, allowed.frame(Flags::syn));
    crew.deliver(elsewhere, syn_from(peer_v4));
    crew.turn(3);
    EXPECT_EQ(crew.take_frames().size(), 1u);
    EXPECT_EQ(crew.count(Verdict::filtered), 1u);
    EXPECT_EQ(crew.count(tcp::Tally::handed_over), 1u) << "the denied one cost no ring";
    EXPECT_EQ(crew.gate().post_of(elsewhere).current()->hits[1], 1u);
    EXPECT_EQ(crew.gate().post_of(1 - elsewhere).current()->hits[1], 0u);
}

// Two threads judge while a third replaces the rules as fast as it can. One rule is in all of them.
TEST(Gate, RulesAreReplacedUnderLoadAndNoPacketIsJudgedByHalfOfThem) {
    Crew crew{2};
    const auto rules = [](uint32_t others) {
        std::vector<Filter> made{deny(peer_v4)};
        for (uint32_t i = 0; i < others; ++i) made.push_back(deny(0x0b00'0000 + i));
        return made;
    };
    crew.gate().post(book(rules(1)));
    crew.turn();
    crew.run();
    std::atomic<bool> ends{false};
    uint64_t posted = 0;
    std::thread replaces{[&] {
        while (!ends.load()) {
            const uint64_t serial = crew.gate().post(book(rules(static_cast<uint32_t>(posted++ % 300))));
            crew.wake_all();
            while (!crew.gate().all_have(serial)) std::this_thread::yield();
            EXPECT_LE(crew.gate().collect(), 1u);
        }
    }};
    uint32_t answers = 0;
    constexpr uint32_t asked = 3'000;
    for (uint32_t i = 0; i < asked; ++i) {
        crew.deliver(i % 2, syn_from(peer_v4));
        CrewClient client{peer_flow(static_cast<uint16_t>(10'000 + i % 800), other_v4)};
        crew.deliver(i % 2, client.frame(Flags::syn));
        answers += static_cast<uint32_t>(crew.take_frames().size());
    }
    ends.store(true);
    replaces.join();
    for (int i = 0; i < 2'000 && answers < asked; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds{1});
        answers += static_cast<uint32_t>(crew.take_frames().size());
    }
    crew.stop();
    EXPECT_GE(posted, 3u);
    EXPECT_EQ(crew.count(Verdict::filtered), asked);
    EXPECT_EQ(crew.count(tcp::Tally::segments_received), asked);
}

// ---- Reading the settings again. -----------------------------------------------------------------------------------

class Reload : public ::testing::Test {
protected:
    static config::Settings with_one_rule() {
        config::Settings settings;
        settings.filters = {deny(peer_v4)};
        return settings;
    }
    /// A worker that takes whatever is posted.
    Reloader::Outcome reload() {
        ends_.store(false);
        std::thread worker{[this] {
            while (!ends_.load()) {
                if (gate_.post_of(0).has_news()) gate_.post_of(0).take();
                std::this_thread::yield();
            }
        }};
        const Reloader::Outcome outcome = reloader_.reload();
        ends_.store(true);
        worker.join();
        return outcome;
    }
    size_t rules_in_force() {
        const auto rulebook = gate_.in_force().rulebook;
        return rulebook ? rulebook->rules().size() : 0;
    }
    config::Settings settings_ = with_one_rule();
    std::function<config::Settings()> reread_ = [this] { return settings_; };
    Gate gate_{1};
    uint32_t woken_ = 0;
    std::atomic<bool> ends_{false};
    const config::Settings started_with_ = settings_;
    Reloader reloader_{started_with_, gate_, [this] { return reread_(); }, [this] { ++woken_; }};
};

TEST_F(Reload, TheRulesOfTheStartAreInForceFromTheStart) {
    EXPECT_EQ(rules_in_force(), 1u);
    EXPECT_EQ(gate_.post_of(0).take()->hits.size() >= 2, true);
}

TEST_F(Reload, NewRulesAreInForceWhenItComesBack) {
    settings_.filters = {deny(peer_v4), deny(other_v4)};
    const auto outcome = reload();
    EXPECT_TRUE(outcome.done);
    EXPECT_EQ(outcome.sentence, "2 rules of [[filter]] in force");
    EXPECT_EQ(gate_.post_of(0).current()->rulebook->rules(), settings_.filters);
    EXPECT_EQ(woken_, 1u);
    settings_.filters.clear();
    EXPECT_EQ(reload().sentence, "0 rules of [[filter]] in force");
    EXPECT_EQ(gate_.post_of(0).current()->rulebook, nullptr);
}

TEST_F(Reload, WhatIsFaultyChangesNothingAndSaysWhat) {
    reread_ = []() -> config::Settings { throw std::runtime_error("a.toml:7: found this, expected that"); };
    const auto outcome = reload();
    EXPECT_FALSE(outcome.done);
    EXPECT_EQ(outcome.sentence, "a.toml:7: found this, expected that; the rules stay as they were");
    EXPECT_EQ(rules_in_force(), 1u);
    EXPECT_EQ(woken_, 0u);
}

TEST_F(Reload, WhatNeedsARestartIsNamed) {
    settings_.tcp.ttl = 12;
    settings_.http.idle_timeout = 1s;
    settings_.listens.resize(1);
    EXPECT_EQ(reload().sentence,
              "1 rule of [[filter]] in force; needs a restart, and stays as it was: [[listen]], tcp.ttl, "
              "http.idle_timeout");
}

TEST_F(Reload, AWorkerThatTakesNoTurnHoldsNobodyUpForLong) {
    const auto before = std::chrono::steady_clock::now();
    const auto outcome = reloader_.reload();
    EXPECT_GE(std::chrono::steady_clock::now() - before, Reloader::patience);
    EXPECT_TRUE(outcome.done);
    EXPECT_THAT(outcome.sentence, HasSubstr("as soon as every worker takes its next turn"));
}

}  // namespace
}  // namespace pollux::testing
