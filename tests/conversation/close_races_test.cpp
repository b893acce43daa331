// Both ends close at once, or nearly (X20): every order in which two FINs, their data and their ACKs can cross, and
// the duplicates that follow. RFC 9293 sections 3.6 and 3.10.7.4, RFC 1337, RFC 6191.
#include <algorithm>
#include <memory>

#include "tests/support/states.hpp"

namespace pollux::test {
namespace {

class CloseRaces : public InEveryState {
protected:
    void sends_and_shuts_down(std::string_view text) {
        app.does("application sends and shuts down", [&](tcp::Stack& stack, tcp::ConnId conn, Instant now) {
            EXPECT_TRUE(stack.send_copy(conn, std::as_bytes(std::span(text))));
            stack.shutdown(conn, now);
        });
    }
    /// FINs with data have crossed: ours is [1, 5] with FIN, the peer's [1, 7]. CLOSING.
    void fins_cross() {
        starts_with(small_settings());
        peer.connects();
        app.takes_events();
        sends_and_shuts_down("ours");
        peer.expects({.flags = fin | ack, .seq = 1, .ack = 1, .text = "ours"});
        peer.sends({.flags = fin | ack, .seq = 1, .ack = 1, .text = "theirs"});
        peer.expects({.flags = ack, .seq = 6, .ack = 8, .bytes = 0});
        peer.expects_nothing();
        ASSERT_EQ(peer.state(), State::closing);
        EXPECT_EQ(app.takes(), "theirs");
        EXPECT_EQ(app.takes_events(), (Events{Kind::data, Kind::peer_closed}));
    }
};

TEST_F(CloseRaces, FinsWithDataCross) {
    proves("X20 F3");
    fins_cross();
    peer.sends({.flags = ack, .seq = 8, .ack = 6});
    peer.expects_nothing();
    EXPECT_EQ(peer.state(), State::time_wait);
    EXPECT_EQ(app.takes_events(), Events{Kind::closed});
}

TEST_F(CloseRaces, DataAcknowledgedWithoutTheFinStaysInClosing) {
    proves("X20 F8");
    fins_cross();
    peer.sends({.flags = ack, .seq = 8, .ack = 5});
    EXPECT_EQ(peer.state(), State::closing);
    EXPECT_EQ(app.takes_events(), Events{});
    peer.waits(2s);
    peer.expects({.flags = fin | ack, .seq = 5, .ack = 8, .bytes = 0});  // the FIN alone is left
    peer.sends({.flags = ack, .seq = 8, .ack = 6});
    EXPECT_EQ(peer.state(), State::time_wait);
}

TEST_F(CloseRaces, ThePeersFinRepeatedInClosingIsAcknowledgedAgain) {
    proves("X20 F3");
    fins_cross();
    peer.sends({.flags = fin | ack, .seq = 1, .ack = 1, .text = "theirs"});  // our ACK was lost
    peer.expects({.flags = ack, .seq = 6, .ack = 8});
    EXPECT_EQ(peer.state(), State::closing);
    EXPECT_EQ(app.takes(), "");
    // Repeated with the acknowledgment of our FIN: nothing of it is in the window, and RFC 9293 drops it with an ACK.
    peer.sends({.flags = fin | ack, .seq = 7, .ack = 6});
    peer.expects({.flags = ack, .seq = 6, .ack = 8});
    EXPECT_TRUE(tcp::in(peer.state(), State::closing | State::time_wait));
    peer.sends({.flags = ack, .seq = 8, .ack = 6});
    EXPECT_EQ(peer.state(), State::time_wait);
    peer.forgets();
}

TEST_F(CloseRaces, FinWithTheAcknowledgmentOfOursGoesStraightToTimeWait) {
    proves("X20 F1");
    for (const std::string_view text : {"", "theirs"}) {
        SCOPED_TRACE(text);
        starts_with(small_settings());
        peer.connects();
        sends_and_shuts_down("ours");
        peer.expects({.flags = fin | ack, .seq = 1, .text = "ours"});
        peer.sends({.flags = fin | ack, .seq = 1, .ack = 6, .text = text});
        peer.expects({.flags = ack, .seq = 6, .ack = 2 + static_cast<int64_t>(text.size()), .bytes = 0});
        peer.expects_nothing();
        EXPECT_EQ(peer.state(), State::time_wait);
        EXPECT_EQ(app.received(), text);
        EXPECT_EQ(app.takes_events().back(), Kind::closed);
    }
}

TEST_F(CloseRaces, TheFinsDataAcknowledgedWithTheirFinIsNotTheFin) {
    proves("X20 F3");
    peer.connects();
    sends_and_shuts_down("ours");
    peer.expects({.flags = fin | ack, .seq = 1, .text = "ours"});
    peer.sends({.flags = fin | ack, .seq = 1, .ack = 5});  // the data, not the FIN
    peer.expects({.flags = ack, .seq = 6, .ack = 2});
    EXPECT_EQ(peer.state(), State::closing);
    peer.sends({.flags = ack, .ack = 6});
    EXPECT_EQ(peer.state(), State::time_wait);
}

TEST_F(CloseRaces, TheAckBeforeTheFinThatItOvertookEndsTheSame) {
    proves("X20 E8");
    peer.connects();
    app.shuts_down();
    peer.expects({.flags = fin | ack, .seq = 1});
    // The peer's FIN is late; its ACK of ours, sent after it, comes first.
    peer.sends({.flags = ack, .seq = 2, .ack = 2});
    peer.forgets();
    EXPECT_EQ(peer.state(), State::fin_wait_2);
    peer.sends({.flags = fin | ack, .seq = 1, .ack = 1});
    peer.expects({.flags = ack, .seq = 2, .ack = 2});
    EXPECT_EQ(peer.state(), State::time_wait);
}

TEST_F(CloseRaces, DuplicatesInLastAckAreAnsweredWithinTheLimitAndEndNothing) {
    proves("X20 D5");
    brings_to(State::last_ack);
    for (int i = 0; i < 20; ++i) peer.sends({.flags = ack, .seq = peer.nxt - 1, .ack = 1});  // from before its FIN
    const auto answers = peer.takes_all();
    EXPECT_GE(answers.size(), 1u);
    EXPECT_LE(answers.size(), 4u);
    for (const Heard& h : answers) {
        EXPECT_EQ(h.segment.flags, ack);
        EXPECT_EQ(h.seq, 2);
        EXPECT_EQ(h.ack, 2);
    }
    EXPECT_EQ(peer.state(), State::last_ack);
    peer.sends({.flags = ack, .ack = 1});  // acknowledges nothing new
    peer.expects_nothing();
    EXPECT_EQ(peer.state(), State::last_ack);
    peer.sends({.flags = ack, .ack = 2});
    EXPECT_EQ(peer.state(), State::closed);
    EXPECT_EQ(app.takes_events(), Events{Kind::closed});
    expects_all_returned();
}

TEST_F(CloseRaces, ADuplicateFinInTimeWaitProlongsItByAFullPeriod) {
    proves("X20 F10");
    starts_with(settings_with([](auto& s) { s.msl = 10s; }));
    for (const Duration later : {Duration{0s}, Duration{5s}, Duration{19'900ms}}) {
        SCOPED_TRACE(later.count());
        brings_to(State::time_wait);
        time.passes(later);
        ASSERT_EQ(peer.state(), State::time_wait);
        peer.sends({.flags = fin | ack, .seq = 1, .ack = 2});
        peer.expects({.flags = ack, .seq = 2, .ack = 2});
        const Instant start = world.now();
        time.passes_until([&] { return peer.state() == State::closed; }, 1min);
        EXPECT_TRUE(about(world.now() - start, 20s, 20ms));
        expects_all_returned();
    }
}

TEST_F(CloseRaces, NothingElseProlongsTimeWait) {
    proves("X20 F11 F12");
    starts_with(settings_with([](auto& s) { s.msl = 10s; }));
    brings_to(State::time_wait);
    const Instant start = world.now();
    for (int i = 0; i < 9; ++i) {
        time.passes(2s);
        peer.sends({.flags = rst, .seq = 2});
        peer.sends({.flags = ack, .seq = 2, .ack = 2});
        peer.sends({.flags = ack, .seq = 500'000, .ack = 2, .text = "outside"});
        peer.sends({.flags = syn, .seq = -100});
        peer.forgets();
        ASSERT_EQ(peer.state(), State::time_wait);
    }
    time.passes_until([&] { return peer.state() == State::closed; }, 1min);
    EXPECT_TRUE(about(world.now() - start, 20s, 20ms));
}

TEST_F(CloseRaces, AnOldSynInTimeWaitIsRefusedAndANewOneAccepted) {
    proves("X20 F13");
    for (const int64_t seq : {int64_t{-1}, int64_t{0}, int64_t{1}, int64_t{-100'000}}) {
        SCOPED_TRACE(seq);
        brings_to(State::time_wait);
        peer.sends({.flags = syn, .seq = seq, .mss = 1460});
        peer.expects({.flags = ack, .seq = 2, .ack = 2, .bytes = 0});
        peer.expects_nothing();
        EXPECT_EQ(peer.state(), State::time_wait);
    }
    for (const int64_t seq : {int64_t{3}, int64_t{100'000}}) {
        SCOPED_TRACE(seq);
        brings_to(State::time_wait);
        peer.sends({.flags = syn, .seq = seq, .mss = 1460});
        const Heard h = peer.expects({.flags = syn | ack, .ack = seq + 1});
        EXPECT_GT(h.seq, 2) << "above the old connection's numbers";
        EXPECT_EQ(peer.state(), State::syn_received);
        peer.sends({.flags = ack, .seq = seq + 1, .ack = h.seq + 1, .text = "again"});
        EXPECT_EQ(peer.state(), State::established);
        EXPECT_EQ(app.received(), "again");
    }
}

TEST_F(CloseRaces, WithTimestampsTheNewerOfTwoSynsDecides) {
    proves("X20 F13");
    for (const bool newer : {false, true}) {
        SCOPED_TRACE(newer);
        brings_to(State::time_wait, {.ts = true});
        const uint32_t now = peer.ts_now();
        // The number says the opposite: with timestamps it is they that count (RFC 6191 section 2).
        peer.sends({.flags = syn,
                    .seq = newer ? -5'000 : 5'000,
                    .mss = 1460,
                    .ts = tcp::Timestamps{newer ? now + 5 : now - 1'000, 0}});
        const Heard h = peer.expects({});
        peer.expects_nothing();
        EXPECT_EQ(h.segment.flags, newer ? syn | ack : ack);
        EXPECT_EQ(peer.state(), newer ? State::syn_received : State::time_wait);
    }
}

}  // namespace
}  // namespace pollux::test
