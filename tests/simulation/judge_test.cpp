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
