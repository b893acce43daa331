// World: the virtual clock, one Host with a ScriptedApp, and the peers. Conversation: the test fixture around it.
//
//     TEST_F(Close, FinIsAcknowledgedAtOnce) {
//         peer.connects();
//         peer.sends({.flags = fin | ack});
//         peer.expects({.flags = ack, .ack = 2});
//     }
//
// Time stands still while segments are exchanged and moves only by passes(), which stops at every tick at which a
// timer of the stack is due. A conversation that hears more than it expects has failed; so has one after which the
// stack's invariants do not hold. Failures leave a ladder and a pcap (packet_log.hpp).
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/pattern.hpp"
#include "tests/support/peer.hpp"
#include "tests/support/scripted_app.hpp"

namespace pollux::test {

/// Our ISS in a conversation of the default peer, if the stack's ISN follows the clock.
inline constexpr tcp::SeqNum near_wrap{0xffff'fffb};

class World {
public:
    explicit World(const tcp::StackSettings& settings = small_settings());
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    /// A new host with other settings; nothing has been said yet.
    void starts_over(const tcp::StackSettings& settings);

    Instant now() const { return now_; }
    /// Lets time pass; timers run at their ticks.
    void passes(Duration time);
    /// Lets time pass until something is so, at most `longest`; whether it came to be.
    bool passes_until(const std::function<bool()>& is_so, Duration longest);
    /// One burst of packets and as many turns as the host wants at this time.
    void delivers(std::span<const Packet> burst);

    Host& host() { return *host_; }
    tcp::Stack& stack() { return host_->stack(); }
    ScriptedApp& app() { return app_; }
    PacketLog& log() { return log_; }

    /// Of the connection that opened last.
    tcp::ConnInfo info();
    uint64_t count(Tally tally) const { return host_->counters()[tally]; }
    uint64_t count(Verdict verdict) const { return host_->counters()[verdict]; }

    void enters(Peer& peer) { peers_.push_back(&peer); }
    void leaves(Peer& peer) { std::erase(peers_, &peer); }

private:
    void give_to_peers(const std::vector<Packet>& sent);

    Instant now_;
    ScriptedApp app_;
    std::unique_ptr<Host> host_;
    PacketLog log_;
    std::vector<Peer*> peers_;
};

class Conversation : public testing::Test {
protected:
    explicit Conversation(const tcp::StackSettings& settings = small_settings());

    /// Begins again with other settings, for tests that want them.
    void starts_with(const tcp::StackSettings& settings);
    void TearDown() override;

    /// Records the rows of the conformance table that this test proves.
    void proves(const std::string& rows) { RecordProperty("row", rows); }
    /// Nothing is held any more: every pool is as it was before the first packet.
    void expects_all_returned(Here here = Here::current());

    World world;
    World& time = world;
    Peer peer{world, peer_endpoint};
    ScriptedApp& app = world.app();

private:
    tcp::PoolUse at_start_;
};

/// small_settings() with a change.
template <class Change>
tcp::StackSettings settings_with(Change&& change) {
    tcp::StackSettings settings = small_settings();
    change(settings);
    return settings;
}

}  // namespace pollux::test
