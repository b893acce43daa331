// The addresses and ports of our own opens: who may be asked (RFC 9293 MUST-43 to MUST-46), which port is taken
// (RFC 6056), when one may be taken again (RFC 6191), and what happens when there is none (ATK-15).
#include <algorithm>
#include <set>

#include "tests/support/opening.hpp"

namespace pollux::test {
namespace {

using tcp::ConnId;
using tcp::Endpoint;
using tcp::IpAddress;
using tcp::Present;
using tcp::Segment;
using tcp::Stack;

/// The stack asked directly, Segment by Segment, for what concerns many addresses.
class LocalPort : public testing::Test {
protected:
    LocalPort() { starts_with(small_settings()); }
    void starts_with(const tcp::StackSettings& settings) {
        counters_ = {};
        stack_ = std::make_unique<Stack>(settings, test_secrets(), counters_);
    }
    ConnId connects(const Endpoint& to, const IpAddress& from = test_address(1)) {
        return stack_->connect(from, to, now_);
    }
    /// The port of the last open; 0: there was none.
    uint16_t port_to(const Endpoint& to) {
        const ConnId conn = connects(to);
        return conn ? stack_->info(conn)->flow.local_port : uint16_t{0};
    }
    /// What leaves now.
    std::vector<Segment> heard() {
        std::vector<Segment> all;
        for (;;) {
            stack_->advance_timers(now_, 64);
            out_.reset();
            stack_->transmit(now_, out_);
            EXPECT_EQ(stack_->check_invariants(), "");
            if (out_.segments().empty()) return all;
            for (const auto& s : out_.segments()) all.push_back(s.segment);
        }
    }
    /// One segment of whoever is the remote end of `flow`; what it is answered with.
    std::vector<Segment> hears(const tcp::FourTuple& flow, Segment s) {
        s.flow = flow;
        s.window = 65'535;
        out_.reset();
        last_ = stack_->input(s, now_, out_);
        std::vector<Segment> all;
        for (const auto& sent : out_.segments()) all.push_back(sent.segment);
        for (const Segment& sent : heard()) all.push_back(sent);
        return all;
    }
    /// Handshake of an open of ours, then our close and the peer's: it ends in TIME-WAIT. Our next sequence number.
    tcp::SeqNum opens_and_closes(const Endpoint& to, std::optional<uint32_t> stamp, tcp::SeqNum theirs) {
        const ConnId conn = connects(to);
        EXPECT_TRUE(conn);
        const auto asked = heard();
        EXPECT_EQ(asked.size(), 1u);
        const tcp::FourTuple flow = stack_->info(conn)->flow;
        const Present with = stamp ? Present::timestamps : Present::none;
        const tcp::Timestamps ts{stamp.value_or(0), asked.at(0).timestamps.value};
        const tcp::SeqNum una = asked.at(0).seq + 1;
        hears(flow, {.seq = theirs, .ack = una, .timestamps = ts, .flags = syn | ack, .present = with});
        EXPECT_EQ(last_, Verdict::opened);
        stack_->close(conn, now_);
        EXPECT_EQ(heard().size(), 1u);
        hears(flow, {.seq = theirs + 1, .ack = una + 1, .timestamps = ts, .flags = fin | ack, .present = with});
        EXPECT_EQ(stack_->state_of(flow), State::time_wait);
        return una + 1;
    }
    uint64_t count(Tally tally) const { return counters_[tally]; }

    tcp::Counters counters_;
    std::unique_ptr<Stack> stack_;
    tcp::TxBatch out_{64};
    Instant now_{1'000s};
    Verdict last_ = Verdict::count;
};

const Endpoint somewhere{test_address(2), 443};

// ---- Addresses. --------------------------------------------------------------------------------------------------

TEST_F(LocalPort, OpensToOrFromWhatIsNoSingleHostAreRefused) {
    RecordProperty("row", "MUST-46");
    const IpAddress here = test_address(1), there = test_address(2);
    std::vector<IpAddress> impossible{IpAddress{}};
    if (over_ipv6()) {
        impossible.push_back({{0xff02'0000, 0, 0, 1}});
        impossible.push_back({{0xff0e'0000, 0, 0, 0x1234}});
    } else {
        for (const uint32_t address : {0u, 0xe000'0001u, 0xefff'ffffu, 0xffff'ffffu}) {
            impossible.push_back(IpAddress::from_v4(address));
        }
    }
    uint64_t refused = 0;
    for (const IpAddress& address : impossible) {
        SCOPED_TRACE(testing::Message() << address);
        EXPECT_FALSE(connects({address, 80}, here));
        EXPECT_FALSE(connects({there, 80}, address));
        EXPECT_FALSE(stack_->connect({here, address, 4'000, 80}, now_));
        EXPECT_FALSE(stack_->connect({address, there, 4'000, 80}, now_));
        refused += 4;
        EXPECT_EQ(count(Tally::connects_forbidden), refused);
    }
    EXPECT_FALSE(stack_->connect({here, here, 4'000, 4'000}, now_)) << "to ourselves";
    EXPECT_FALSE(stack_->connect(
        {here, by_family(IpAddress{{0x2001'0db8, 0, 0, 9}}, IpAddress::from_v4(0xc000'0209u)), 4'000, 80}, now_))
        << "of two families";
    EXPECT_FALSE(connects({there, 0})) << "port 0";
    EXPECT_TRUE(heard().empty());
    EXPECT_EQ(stack_->pool_use().connections, 0u);
    EXPECT_EQ(count(Tally::connects_started), 0u);
}

TEST_F(LocalPort, AConnectionKeepsTheLocalAddressThatItWasGiven) {
    RecordProperty("row", "MUST-43 MUST-45");
    const IpAddress ours = test_address(9);
    const ConnId conn = connects(somewhere, ours);
    const tcp::FourTuple flow = stack_->info(conn)->flow;
    std::vector<Segment> all = heard();
    const auto keeps = [&](const std::vector<Segment>& more) { all.insert(all.end(), more.begin(), more.end()); };
    now_ += 1'001ms;
    keeps(heard());  // the SYN again
    EXPECT_EQ(all.size(), 2u);
    keeps(hears(flow, {.seq = tcp::SeqNum{99}, .ack = all[0].seq + 1, .flags = syn | ack}));
    EXPECT_TRUE(stack_->send_copy(conn, std::as_bytes(std::span("data", 4))));
    keeps(heard());
    now_ += 5s;
    keeps(heard());                                                                           // the data again
    keeps(hears(flow, {.seq = tcp::SeqNum{99}, .ack = all[0].seq + 5, .flags = syn | ack}));  // challenge ACK
    stack_->shutdown(conn, now_);
    keeps(heard());
    stack_->abort(conn, now_);
    keeps(heard());
    EXPECT_GE(all.size(), 8u);
    for (const Segment& s : all) EXPECT_EQ(s.flow, flow) << s;
    EXPECT_EQ(flow.local_addr, ours);
}

TEST_F(LocalPort, AListenerMayNameItsAddressOrTakeAll) {
    RecordProperty("row", "MUST-43");
    EXPECT_TRUE(stack_->listen({test_address(1), 80}));
    EXPECT_TRUE(stack_->listen({IpAddress{}, 81}));
    const auto answer = [&](uint8_t address, uint16_t port) {
        const auto all =
            hears({test_address(address), test_address(2), port, 4'000}, {.seq = tcp::SeqNum{1}, .flags = syn});
        return all.size() == 1 ? all[0].flags : none;
    };
    EXPECT_EQ(answer(1, 80), syn | ack);
    EXPECT_EQ(answer(9, 80), rst | ack);
    EXPECT_EQ(answer(1, 81), syn | ack);
    EXPECT_EQ(answer(9, 81), syn | ack);
}

// ---- The choice of a port. ----------------------------------------------------------------------------------------

TEST_F(LocalPort, PortsComeFromTheRangeAndAreNobodysElse) {
    RecordProperty("row", "ATK-15");
    starts_with(settings_with([](auto& s) { s.first_local_port = 50'000, s.last_local_port = 50'009; }));
    EXPECT_TRUE(stack_->listen({test_address(1), 50'003}));
    EXPECT_TRUE(stack_->listen({IpAddress{}, 50'006}));
    std::set<uint16_t> ports;
    for (int i = 0; i < 8; ++i) ports.insert(port_to(somewhere));
    EXPECT_EQ(ports, (std::set<uint16_t>{50'000, 50'001, 50'002, 50'004, 50'005, 50'007, 50'008, 50'009}));
    // The range is used up for this destination: a name for it, and no harm done.
    EXPECT_EQ(port_to(somewhere), 0);
    EXPECT_EQ(count(Tally::connects_without_port), 1u);
    EXPECT_EQ(count(Tally::connects_started), 8u);
    // But not for others: the tuple is what must be unique.
    EXPECT_NE(port_to({test_address(3), 443}), 0);
    EXPECT_NE(port_to({test_address(2), 444}), 0);
    EXPECT_EQ(heard().size(), 10u);
}

TEST_F(LocalPort, APortThatIsGivenBackServesAgain) {
    RecordProperty("row", "ATK-15");
    starts_with(settings_with([](auto& s) { s.first_local_port = 50'000, s.last_local_port = 50'003; }));
    std::vector<ConnId> all;
    for (int i = 0; i < 4; ++i) all.push_back(connects(somewhere));
    EXPECT_FALSE(connects(somewhere));
    const uint16_t port = stack_->info(all[2])->flow.local_port;
    stack_->abort(all[2], now_);
    EXPECT_EQ(port_to(somewhere), port);
    EXPECT_FALSE(connects(somewhere));
}

TEST_F(LocalPort, AWholeRangeOpensToOneDestination) {
    RecordProperty("row", "ATK-15");
    starts_with(settings_with([](auto& s) { s.capacity.connections = 40'000; }));
    std::set<uint16_t> ports;
    for (int i = 32'768; i <= 60'999; ++i) {
        const uint16_t port = port_to(somewhere);
        ASSERT_GE(port, 32'768);
        ASSERT_LE(port, 60'999);
        ASSERT_TRUE(ports.insert(port).second) << port << " twice";
    }
    for (int i = 0; i < 100; ++i) EXPECT_FALSE(connects(somewhere));
    EXPECT_EQ(count(Tally::connects_without_port), 100u);
    EXPECT_NE(port_to({test_address(3), 443}), 0);
    EXPECT_EQ(stack_->check_invariants(), "");
}

TEST_F(LocalPort, NobodyCanTellThePortOfOneDestinationFromAnothers) {
    RecordProperty("row", "ATK-15");
    starts_with(settings_with([](auto& s) { s.capacity.connections = 4'000; }));
    std::vector<int> first, steps;
    for (uint16_t i = 0; i < 200; ++i) first.push_back(port_to({test_address(2), static_cast<uint16_t>(1'000 + i)}));
    for (size_t i = 1; i < first.size(); ++i) steps.push_back(first[i] - first[i - 1]);
    EXPECT_GE((std::set<int>(first.begin(), first.end()).size()), 190u);
    EXPECT_GE((std::set<int>(steps.begin(), steps.end()).size()), 190u) << "the steps follow a rule";
    const auto ups = std::ranges::count_if(steps, [](int step) { return step > 0; });
    EXPECT_GT(ups, 70);
    EXPECT_LT(ups, 130);
    // Nor from another address, nor after a start with other secrets.
    int same_steps = 0;
    for (uint8_t i = 3; i < 53; ++i) {
        const int a = port_to({test_address(i), 443}), b = port_to({test_address(i), 444});
        same_steps += std::abs(a - b) <= 1 ? 1 : 0;
    }
    EXPECT_LE(same_steps, 2);
    tcp::Secrets others = test_secrets();
    others.isn.k0 ^= 1;
    tcp::Counters counters;
    Stack other(small_settings(), others, counters);
    int equal = 0;
    for (uint16_t i = 0; i < 50; ++i) {
        const ConnId conn = other.connect(test_address(1), {test_address(2), static_cast<uint16_t>(1'000 + i)}, now_);
        equal += other.info(conn)->flow.local_port == first[i] ? 1 : 0;
    }
    EXPECT_LE(equal, 2);
}

TEST_F(LocalPort, TheCallersFilterIsObeyed) {
    RecordProperty("row", "ATK-15");
    for (int i = 0; i < 20; ++i) {
        const ConnId conn = stack_->connect(test_address(1), somewhere, now_,
                                            [](const tcp::FourTuple& flow) { return flow.local_port % 4 == 3; });
        ASSERT_TRUE(conn);
        EXPECT_EQ(stack_->info(conn)->flow.local_port % 4, 3);
    }
    EXPECT_FALSE(stack_->connect(test_address(1), somewhere, now_, [](const tcp::FourTuple&) { return false; }));
    EXPECT_EQ(count(Tally::connects_without_port), 1u);
}

TEST_F(LocalPort, ATupleInUseAndAFullTableAreNamed) {
    RecordProperty("row", "ATK-15");
    starts_with(settings_with([](auto& s) { s.capacity.connections = 2; }));
    const tcp::FourTuple flow{test_address(1), test_address(2), 4'000, 80};
    EXPECT_TRUE(stack_->connect(flow, now_));
    EXPECT_FALSE(stack_->connect(flow, now_));
    EXPECT_EQ(count(Tally::connects_in_use), 1u);
    const ConnId second = connects(somewhere);
    EXPECT_TRUE(second);
    for (int i = 0; i < 10; ++i) EXPECT_FALSE(connects(somewhere));
    EXPECT_EQ(count(Tally::connects_without_room), 10u);
    EXPECT_EQ(heard().size(), 2u);
    stack_->abort(second, now_);
    EXPECT_TRUE(connects(somewhere));
}

// ---- TIME-WAIT. --------------------------------------------------------------------------------------------------

class OnePort : public LocalPort {
protected:
    OnePort() {
        starts_with(settings_with([](auto& s) { s.first_local_port = s.last_local_port = 50'000; }));
    }
};

TEST_F(OnePort, InTimeWaitIsNotTakenWithoutTimestamps) {
    RecordProperty("row", "ATK-15");
    opens_and_closes(somewhere, {}, tcp::SeqNum{5'000});
    for (const Duration later : {Duration{0s}, Duration{1s}, Duration{30s}, Duration{28'900ms}}) {
        now_ += later;
        heard();
        EXPECT_FALSE(connects(somewhere));
        EXPECT_FALSE(stack_->connect({test_address(1), somewhere.address, 50'000, somewhere.port}, now_));
    }
    EXPECT_EQ(count(Tally::connects_without_port), 4u);
    EXPECT_EQ(count(Tally::connects_in_use), 4u);
    now_ += 200ms;  // 2 MSL have passed
    heard();
    EXPECT_TRUE(connects(somewhere));
}

TEST_F(OnePort, InTimeWaitIsTakenAfterASecondIfTimestampsTellTheConnectionsApart) {
    RecordProperty("row", "ATK-15");
    const tcp::SeqNum old_end = opens_and_closes(somewhere, 7'000, tcp::SeqNum{5'000});
    for (const Duration later : {Duration{0ms}, Duration{500ms}, Duration{400ms}}) {
        now_ += later;
        heard();
        EXPECT_FALSE(connects(somewhere))
            << "RFC 6191 asks for a newer timestamp, and the peer may tick once a second";
    }
    EXPECT_EQ(stack_->pool_use().time_wait, 1u);
    now_ += 1'200ms;
    heard();
    const ConnId conn = connects(somewhere);
    ASSERT_TRUE(conn);
    EXPECT_EQ(stack_->pool_use().time_wait, 0u);
    const auto asked = heard();
    ASSERT_EQ(asked.size(), 1u);
    EXPECT_TRUE(asked[0].has(Present::timestamps));
    EXPECT_TRUE(old_end.before(asked[0].seq)) << "the ISN lies above the old connection's numbers";
    // The peer, whose number circle goes on, opens; an old segment of the last connection is not its data.
    const tcp::FourTuple flow = stack_->info(conn)->flow;
    const tcp::Timestamps ts{9'000, asked[0].timestamps.value};
    hears(flow, {.seq = tcp::SeqNum{900'000},
                 .ack = asked[0].seq + 1,
                 .timestamps = ts,
                 .flags = syn | ack,
                 .present = Present::timestamps});
    EXPECT_EQ(last_, Verdict::opened);
    const auto answer = hears(flow, {.seq = tcp::SeqNum{5'001},
                                     .ack = old_end,
                                     .timestamps = {6'999, 0},
                                     .payload = std::as_bytes(std::span("old", 3)),
                                     .flags = ack,
                                     .present = Present::timestamps});
    EXPECT_EQ(stack_->info(conn)->rcv_nxt, tcp::SeqNum{900'001});
    for (const Segment& s : answer) EXPECT_FALSE(s.has(rst));
}

TEST_F(OnePort, TheTimestampsOfTheNextConnectionAreLater) {
    RecordProperty("row", "ATK-15");
    connects(somewhere);
    const uint32_t stamp = heard().at(0).timestamps.value;
    now_ += 1'500ms;
    heard();
    stack_->abort_all();
    heard();
    now_ += 10ms;
    ASSERT_TRUE(connects(somewhere));
    EXPECT_GT(static_cast<int32_t>(heard().at(0).timestamps.value - stamp), 0);
}

TEST_F(OnePort, OfADestinationThatRefusedIsFreeAtOnce) {
    RecordProperty("row", "ATK-15");
    for (int i = 0; i < 5; ++i) {
        const ConnId conn = connects(somewhere);
        ASSERT_TRUE(conn);
        const auto asked = heard();
        hears(stack_->info(conn)->flow, {.ack = asked.at(0).seq + 1, .flags = rst | ack});
        EXPECT_EQ(last_, Verdict::reset_by_peer);
        now_ += 1ms;
    }
}

}  // namespace
}  // namespace pollux::test
