// The judge itself must notice: each test lets a host say one wrong thing, segment by segment, after a conversation
// in which everything was right.
#include <gtest/gtest.h>

#include "tcp/wire/packet.hpp"
#include "tests/simulation/checks.hpp"
#include "tests/simulation/ending.hpp"
#include "tests/simulation/few_of_each.hpp"
#include "tests/simulation/stream.hpp"

namespace pollux::simulation {
namespace {

using namespace tcp;

constexpr Flags syn = Flags::syn, ack = Flags::ack, fin = Flags::fin, rst = Flags::rst;
constexpr uint64_t total = 10'000;

// A opens and has 10,000 bytes and a FIN to send; so has B.
Scenario plain() {
    Scenario s;
    s.start = Instant{10s};
    s.heals_after = 1s;
    ConnectionPlan plan;
    for (AppPlan& app : plan.apps) app.total = app.piece = total;
    s.connections = {plan};
    for (HostPlan& host : s.hosts) host.settings.capacity = few_of_each;
    return s;
}

class JudgeOf : public testing::Test {
protected:
    JudgeOf() {
        application.reserves_pins(stack);
        application.on_turn({}, stack, now);  // writes all and half-closes, so all may be said
    }

    Segment segment(Flags flags, int64_t position, size_t size, int64_t acknowledged) {
        Segment s;
        s.flow = scenario.flow(0, Side::a);
        s.flags = flags;
        s.seq = iss + 1 + static_cast<uint32_t>(position);
        if (s.has(ack)) s.ack = irs + 1 + static_cast<uint32_t>(acknowledged);
        s.window = 10'000;
        s.payload = Stream(0, Side::a).bytes(static_cast<uint64_t>(std::max<int64_t>(position, 0)), size);
        return s;
    }
    void says(Segment s) {
        if (s.has(syn)) s.present = Present::mss, s.mss = 1'460;
        checks.begins_turn();
        checks.says(s, std::min<size_t>(40 + s.payload.size(), 1'500), now);
    }
    /// `position` in B's stream, `acknowledged` in A's.
    Segment heard(Flags flags, int64_t position, size_t size, int64_t acknowledged, uint32_t window = 5'000) {
        Segment s = segment(flags, 0, 0, 0);
        s.seq = irs + 1 + static_cast<uint32_t>(position);
        s.ack = iss + 1 + static_cast<uint32_t>(acknowledged);
        s.window = window;
        if (s.has(syn)) s.present = Present::mss, s.mss = 1'460;
        s.payload = Stream(0, Side::b).bytes(static_cast<uint64_t>(std::max<int64_t>(position, 0)), size);
        return s;
    }
    void hears(const Segment& s) { checks.hears(s, stack, now); }
    void opens() {
        says(segment(syn, -1, 0, 0));
        now += 20ms;
        hears(heard(syn | ack, -1, 0, 0));
        says(segment(ack, 0, 0, 0));
    }
    testing::AssertionResult complains_of(const std::string& what) {
        if (judge.complaint().find(what) != std::string::npos) return testing::AssertionSuccess();
        return testing::AssertionFailure() << "complaint: \"" << judge.complaint() << "\", wanted: " << what;
    }

    const Scenario scenario = plain();
    const SeqNum iss{0xffff'fff0}, irs{0xffff'ff00};
    Instant now = scenario.start;
    Judge judge;
    Counters counters;
    Stack stack{scenario.hosts[0].settings, scenario.hosts[0].secrets, counters};
    Application application{scenario, Side::a, judge};
    Checks checks{scenario, Side::a, application, counters, judge};
};

TEST_F(JudgeOf, AConversationInWhichAllIsRightSaysNothing) {
    opens();
    says(segment(ack, 0, 1'460, 0));
    says(segment(ack, 1'460, 1'460, 0));
    now += 20ms;
    hears(heard(ack, 0, 1'000, 1'460, 10'000));
    says(segment(ack, 2'920, 1'460, 1'000));
    now += 210ms;
    says(segment(ack, 1'460, 1'460, 1'000));  // its timer: 210 ms after the last ACK
    now += 420ms;
    says(segment(ack, 1'460, 1'460, 1'000));
    now += 20ms;
    hears(heard(ack, 1'000, 0, 4'380, 10'000));
    EXPECT_EQ(judge.complaint(), "");
}

TEST_F(JudgeOf, NoticesAByteThatIsNotTheStreams) {
    opens();
    Segment s = segment(ack, 1'000, 500, 0);
    s.payload = Stream(0, Side::a).bytes(1'001, 500);
    says(segment(ack, 0, 1'000, 0));
    EXPECT_EQ(judge.complaint(), "");
    says(s);
    EXPECT_TRUE(complains_of("says another byte at 1000"));
}

TEST_F(JudgeOf, NoticesOneWrongByteAmongThousands) {
    opens();
    std::vector<std::byte> bytes(1'460);
    const auto right = Stream(0, Side::a).bytes(0, bytes.size());
    std::copy(right.begin(), right.end(), bytes.begin());
    bytes[1'459] ^= std::byte{1};
    Segment s = segment(ack, 0, 0, 0);
    s.payload = bytes;
    says(s);
    EXPECT_TRUE(complains_of("says another byte at 1459"));
}

TEST_F(JudgeOf, NoticesARightEdgeThatMovesLeft) {
    opens();
    Segment s = segment(ack, 0, 0, 0);
    s.window = 9'999;
    says(s);
    EXPECT_TRUE(complains_of("moves left from 10000 to 9999"));
}

TEST_F(JudgeOf, NoticesAPacketBeyondTheWindow) {
    opens();
    for (int64_t at = 0; at < 4'380; at += 1'460) says(segment(ack, at, 1'460, 0));
    says(segment(ack, 4'380, 620, 0));
    EXPECT_EQ(judge.complaint(), "") << "5,000 bytes are allowed";
    says(segment(ack, 5'000, 2, 0));
    EXPECT_TRUE(complains_of("beyond the peer's window, which ends at 5000"));
}

TEST_F(JudgeOf, AllowsAProbeOfOneByteAtAClosedWindow) {
    opens();
    for (int64_t at = 0; at < 4'380; at += 1'460) says(segment(ack, at, 1'460, 0));
    says(segment(ack, 4'380, 620, 0));
    says(segment(ack, 5'000, 1, 0));
    EXPECT_EQ(judge.complaint(), "");
}

TEST_F(JudgeOf, NoticesAReplyToARst) {
    opens();
    checks.begins_turn();
    hears(heard(rst, 100, 0, 0));
    checks.says(segment(rst, 0, 0, 0), 40, now);
    checks.ends_turn(stack, now, true);
    EXPECT_TRUE(complains_of("a RST is answered"));
}

TEST_F(JudgeOf, NoticesAnAckOfWhatWasNeverHeard) {
    opens();
    hears(heard(ack, 0, 1'000, 0));
    hears(heard(ack, 1'500, 1'000, 0));  // behind a gap
    says(segment(ack, 0, 0, 1'000));
    EXPECT_EQ(judge.complaint(), "");
    says(segment(ack, 0, 0, 1'001));
    EXPECT_TRUE(complains_of("acknowledges 1001, has heard all up to 1000"));
}

TEST_F(JudgeOf, NoticesAnAckThatMovesBack) {
    opens();
    hears(heard(ack, 0, 1'000, 0));
    says(segment(ack, 0, 0, 1'000));
    says(segment(ack, 0, 0, 999));
    EXPECT_TRUE(complains_of("moves back"));
}

TEST_F(JudgeOf, NoticesARetransmissionBeforeItsTimer) {
    opens();
    says(segment(ack, 0, 1'460, 0));
    now += 100ms;
    says(segment(ack, 0, 1'460, 0));
    EXPECT_TRUE(complains_of("says something again after 100 ms"));
}

TEST_F(JudgeOf, NoticesATimerThatDoesNotBackOff) {
    opens();
    says(segment(ack, 0, 1'460, 0));
    now += 250ms;
    says(segment(ack, 0, 1'460, 0));
    now += 250ms;
    says(segment(ack, 0, 1'460, 0));
    EXPECT_TRUE(complains_of("does not back off"));
}

TEST_F(JudgeOf, NoticesAFinBeforeTheEndOfTheStream) {
    opens();
    says(segment(ack | fin, 0, 1'460, 0));
    EXPECT_TRUE(complains_of("FIN before the end"));
}

TEST_F(JudgeOf, NoticesASegmentAboveThePeersMss) {
    opens();
    says(segment(ack, 0, 1'461, 0));
    EXPECT_TRUE(complains_of("more than the peer's MSS"));
}

TEST_F(JudgeOf, NoticesASackBlockWithoutAgreement) {
    opens();
    hears(heard(ack, 1'000, 1'000, 0));
    Segment s = segment(ack, 0, 0, 0);
    s.sack_count = 1;
    s.sack_blocks[0] = {irs + 1'001, irs + 2'001};
    says(s);
    EXPECT_TRUE(complains_of("SACK block"));
}

TEST_F(JudgeOf, NoticesATimerThatTheStackDoesNotHave) {
    // A connection of the stack's whose SYN has left, but, for the judge, never on the wire.
    TxBatch out;
    stack.transmit(now, out);
    checks.ends_turn(stack, now, true);
    EXPECT_FALSE(judge.has_complaint()) << "in SYN-SENT nothing else is on the wire";
    says(segment(syn, -1, 0, 0));
    says(segment(ack, 0, 0, 0));
    EXPECT_TRUE(complains_of("before both SYNs"));
}

// ---- Loss recovery. -----------------------------------------------------------------------------------------------

// Four segments are in flight, of a connection with SACK and a scoreboard.
class JudgeOfRecovery : public JudgeOf {
protected:
    JudgeOfRecovery() {
        Segment s = segment(syn, -1, 0, 0);
        s.present = Present::mss | Present::sack_permitted;
        s.mss = 1'460;
        checks.begins_turn();
        checks.says(s, 44, now);
        s = heard(syn | ack, -1, 0, 0, 20'000);
        s.present = s.present | Present::sack_permitted;
        hears(s);
        says(segment(ack, 0, 0, 0));
        for (int64_t at = 0; at < 5'840; at += 1'460) says(segment(ack, at, 1'460, 0));
        judges();
        judges();  // the window of a connection that is there
    }
    static constexpr uint32_t sent = 5'840;

    // What the stack might say; nothing wrong yet.
    ConnInfo info() const {
        ConnInfo i;
        i.flow = scenario.flow(0, Side::a);
        i.state = State::established;
        i.cwnd = 7'300;
        i.mss = 1'460;
        i.snd_wnd = 20'000;
        i.snd_una = iss + 1 + una;
        i.snd_nxt = iss + 1 + sent;
        i.in_flight = i.pipe = sent - una;
        i.scoreboard = i.sack = true;
        return i;
    }
    void judges(void (*change)(ConnInfo&) = [](ConnInfo&) {}) {
        ConnInfo i = info();
        change(i);
        checks.judges_recovery(i, now);
        checks.begins_turn();
    }
    // [first, end) of A's stream has arrived.
    void reports(int64_t first, int64_t end) {
        Segment s = heard(ack, 0, 0, una, 20'000);
        s.sack_count = 1;
        s.sack_blocks[0] = {iss + 1 + static_cast<uint32_t>(first), iss + 1 + static_cast<uint32_t>(end)};
        hears(s);
    }
    void acknowledges(uint32_t position) {
        una = position;
        hears(heard(ack, 0, 0, position, 20'000));
    }
    uint32_t una = 0;
};

TEST_F(JudgeOfRecovery, SaysNothingOfARecoveryInWhichAllIsRight) {
    reports(1'460, 5'840);
    checks.says(segment(ack, 0, 1'460, 0), 1'500, now);
    judges([](ConnInfo& i) {
        i.phase = Phase::recovery, i.reductions = 1, i.cwnd = i.ssthresh = 4'088;
        i.pipe = 1'460, i.sacked = 4'380;
    });
    acknowledges(5'840);
    judges([](ConnInfo& i) { i.reductions = 1, i.cwnd = i.ssthresh = 4'088; });
    EXPECT_EQ(judge.complaint(), "");
}

TEST_F(JudgeOfRecovery, NoticesARepetitionOfWhatWasReported) {
    reports(1'460, 4'380);
    checks.says(segment(ack, 2'920, 1'460, 0), 1'500, now);
    judges([](ConnInfo& i) { i.pipe = 2'920, i.sacked = 2'920; });
    EXPECT_TRUE(complains_of("says again what the peer has reported"));
}

TEST_F(JudgeOfRecovery, AllowsThatRepetitionWithoutAScoreboard) {
    reports(1'460, 4'380);
    checks.says(segment(ack, 2'920, 1'460, 0), 1'500, now);
    judges([](ConnInfo& i) { i.scoreboard = false; });
    EXPECT_EQ(judge.complaint(), "");
}

TEST_F(JudgeOfRecovery, NoticesBytesThatAreNowhere) {
    judges([](ConnInfo& i) { i.pipe -= 1, i.lost = 0; });
    EXPECT_TRUE(complains_of("of 5840 in flight 5839 are in the network, 0 have arrived, 0 are lost"));
}

TEST_F(JudgeOfRecovery, NoticesASecondReductionForOneFlight) {
    judges([](ConnInfo& i) { i.reductions = 1, i.phase = Phase::recovery, i.cwnd = 4'380; });
    acknowledges(2'920);
    judges([](ConnInfo& i) { i.reductions = 2, i.phase = Phase::recovery, i.cwnd = 2'920; });
    EXPECT_TRUE(complains_of("a second reduction at 2920, the first one was for all up to 5840"));
}

TEST_F(JudgeOfRecovery, NoticesTheBeliefThatSomebodyReneged) {
    counters.add(Tally::sacks_reneged);
    judges();
    EXPECT_TRUE(complains_of("believes that the peer has dropped what it had reported"));
}

TEST_F(JudgeOfRecovery, NoticesAWindowThatGrowsByMoreThanArrived) {
    acknowledges(1'460);
    judges([](ConnInfo& i) { i.cwnd = 7'300 + 1'460 + 4 * 1'460 + 1; });
    EXPECT_TRUE(complains_of("cwnd grows from 7300 to 14601"));
}

TEST_F(JudgeOfRecovery, AllowsAnUndoToBringTheWindowBackAndNoMore) {
    judges([](ConnInfo& i) { i.reductions = 1, i.phase = Phase::loss, i.cwnd = 1'460; });
    acknowledges(1'460);
    counters.add(Tally::timeouts_undone);
    judges([](ConnInfo& i) { i.cwnd = 7'300 + 1'460; });
    EXPECT_EQ(judge.complaint(), "");
    counters.add(Tally::timeouts_undone);
    judges([](ConnInfo& i) { i.cwnd = 40'000; });
    EXPECT_TRUE(complains_of("cwnd grows from"));
}

TEST_F(JudgeOfRecovery, NoticesMoreInTheNetworkThanTheWindow) {
    checks.says(segment(ack, 5'840, 1'460, 0), 1'500, now);
    judges([](ConnInfo& i) { i.in_flight = i.pipe = 7'300, i.cwnd = 7'299, i.snd_nxt = i.snd_nxt + 1'460; });
    EXPECT_TRUE(complains_of("more in flight than cwnd: 7300 of 7299"));
}

TEST_F(JudgeOfRecovery, NoticesATimeoutThatLeavesTheWindow) {
    now += 300ms;
    checks.says(segment(ack, 0, 1'460, 0), 1'500, now);
    counters.add(Tally::retransmission_timeouts);
    judges([](ConnInfo& i) { i.timer = ConnInfo::Timer::retransmission, i.phase = Phase::loss, i.ssthresh = 4'000; });
    EXPECT_TRUE(complains_of("after a timeout cwnd is 7300"));
}

// ---- Endings. -----------------------------------------------------------------------------------------------------

Story story(Story::End end, uint64_t received = total) {
    Story s;
    s.opened = s.shut = s.peer_closed = true;
    s.sent = total;
    s.received = received;
    s.end = end;
    return s;
}

TEST(JudgeOfEndings, NoticesMissingBytesResetsAndStalls) {
    const Scenario scenario = plain();
    const Story good = story(Story::End::closed);
    EXPECT_EQ(judge_ending(scenario, 0, good, good), std::nullopt);
    EXPECT_NE(judge_ending(scenario, 0, good, story(Story::End::closed, total - 1)), std::nullopt);
    EXPECT_NE(judge_ending(scenario, 0, good, story(Story::End::reset)), std::nullopt);
    EXPECT_EQ(judge_ending(scenario, 0, story(Story::End::aborted), story(Story::End::reset)), std::nullopt);
    Story stalled = story(Story::End::aborted);
    stalled.lost_patience = true;
    EXPECT_NE(judge_ending(scenario, 0, stalled, stalled), std::nullopt);
}

}  // namespace
}  // namespace pollux::simulation
