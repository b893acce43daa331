#include "tests/support/conversation.hpp"

#include <algorithm>

namespace pollux::test {

using namespace tcp;

World::World(const StackSettings& settings) {
    app_.takes_turns_by([this](std::string_view what) {
        log_.note(now_, std::string(what));
        delivers({});
    });
    starts_over(settings);
}

void World::starts_over(const StackSettings& settings) {
    app_.starts_over();
    now_ = start_for_isn(settings, near_wrap);
    host_ = std::make_unique<Host>(settings, app_);
    log_ = PacketLog{};
    delivers({});
}

void World::delivers(std::span<const Packet> burst) {
    constexpr int most_turns = 10'000;
    std::vector<Packet> sent;
    bool busy = host_->turn(now_, burst, sent);
    give_to_peers(sent);
    for (int turns = 0; busy; ++turns) {
        if (turns == most_turns) {
            ADD_FAILURE() << "the host does not come to rest: a connection stays ready or a timer stays due";
            return;
        }
        sent.clear();
        busy = host_->turn(now_, {}, sent);
        give_to_peers(sent);
    }
}

void World::give_to_peers(const std::vector<Packet>& sent) {
    for (const Packet& packet : sent) {
        const auto parsed = wire::parse(packet, wire::ChecksumTrust::verify_all);
        ASSERT_EQ(parsed.result, wire::ParseResult::ok) << "the host has sent a bad packet";
        const Endpoint to{parsed.segment.flow.local_addr, parsed.segment.flow.local_port};
        const auto peer = std::ranges::find_if(peers_, [&](const Peer* p) { return p->endpoint() == to; });
        if (peer == peers_.end()) {
            log_.add(now_, Direction::to_peer, packet, to_string(parsed.segment));
            ADD_FAILURE() << "the host talks to nobody: " << parsed.segment;
            continue;
        }
        (*peer)->hears(packet);
    }
}

void World::passes(Duration time) {
    passes_until([] { return false; }, time);
}

bool World::passes_until(const std::function<bool()>& is_so, Duration longest) {
    constexpr int most_stops = 1'000'000;
    const Instant end = now_ + longest;
    for (int stops = 0; !is_so(); ++stops) {
        if (now_ == end) return false;
        if (stops == most_stops) {
            ADD_FAILURE() << "next_due() does not move on";
            return false;
        }
        const auto due = stack().next_due(now_);
        // A due time that has passed already has had its turn: go on by the least step.
        now_ = std::min(end, due ? std::max(now_ + Duration{1}, *due) : end);
        delivers({});
    }
    return true;
}

ConnInfo World::info() {
    const auto info = stack().info(app_.conn());
    EXPECT_TRUE(info.has_value()) << "the connection is dead";
    return info.value_or(ConnInfo{});
}

Conversation::Conversation(const StackSettings& settings) : world(settings) { at_start_ = world.stack().pool_use(); }

void Conversation::starts_with(const StackSettings& settings) {
    world.starts_over(settings);
    peer.starts_over(Peer::default_isn);
    at_start_ = world.stack().pool_use();
}

void Conversation::TearDown() {
    for (const Heard& left : peer.inbox()) ADD_FAILURE() << "heard and not expected: " << left.segment;
    world.log().write_files_if_test_failed();
}

void Conversation::expects_all_returned(Here here) {
    const PoolUse use = world.stack().pool_use();
    const auto report = [&](const char* what, uint64_t now, uint64_t before) {
        if (now != before) {
            GTEST_MESSAGE_AT_(here.file, here.line, "not returned", testing::TestPartResult::kNonFatalFailure)
                << ": " << what << " in use " << now << ", at the start " << before;
        }
    };
    report("connections", use.connections, at_start_.connections);
    report("half-open records", use.half_open, at_start_.half_open);
    report("TIME-WAIT records", use.time_wait, at_start_.time_wait);
    report("send entries", use.send_entries, at_start_.send_entries);
    report("chunks", use.chunks, at_start_.chunks);
    report("receive stores", use.receive_stores, at_start_.receive_stores);
    report("recovery records", use.recoveries, at_start_.recoveries);
    report("segment records", use.segment_records, at_start_.segment_records);
    report("table entries", use.table_entries, at_start_.table_entries);
    report("timers", use.timers, at_start_.timers);
    report("pins", use.pins, at_start_.pins);
}

}  // namespace pollux::test
