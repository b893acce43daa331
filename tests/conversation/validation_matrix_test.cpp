// The edges of what is acceptable, number by number: sequence and acknowledgment 0, 1 and 2 beyond each edge, in five
// states, each with its exact answer (X12); the same around the wrap of the numbers (D10); and which of these answers
// a limit on challenge ACKs must not touch (X11). RFC 9293 section 3.10.7.4, RFC 5961 sections 5 and 7.
#include <string>

#include "tests/support/states.hpp"

namespace pollux::test {
namespace {

struct Place {
    const char* name;
    int64_t number;
    bool acceptable;
};

class Matrix : public InEveryState {
protected:
    /// SEG.SEQ of a segment without data: RCV.NXT =< SEG.SEQ < RCV.NXT + RCV.WND (section 3.4).
    std::vector<Place> sequences() const {
        const int64_t nxt = peer.nxt, edge = peer.edge();
        return {{"RCV.NXT", nxt, true},
                {"RCV.NXT - 1", nxt - 1, false},
                {"RCV.NXT - 2", nxt - 2, false},
                {"last in window", edge - 1, true},
                {"right edge", edge, false},
                {"right edge + 1", edge + 1, false},
                {"right edge + 2", edge + 2, false}};
    }
    /// SEG.ACK: SND.UNA - MAX.SND.WND =< SEG.ACK =< SND.NXT (RFC 5961 section 5.2).
    static std::vector<Place> acknowledgments(int64_t una, int64_t nxt) {
        constexpr int64_t max_window = 65'535;
        return {{"SND.NXT", nxt, true},
                {"SND.NXT + 1", nxt + 1, false},
                {"SND.NXT + 2", nxt + 2, false},
                {"SND.UNA", una, true},
                {"SND.UNA - 1", una - 1, true},
                {"SND.UNA - MAX.SND.WND", una - max_window, true},
                {"SND.UNA - MAX.SND.WND - 1", una - max_window - 1, false},
                {"SND.UNA - MAX.SND.WND - 2", una - max_window - 2, false}};
    }
    void expects_an_ack(int64_t seq, int64_t acked) {
        peer.expects({.flags = ack, .seq = seq, .ack = acked, .bytes = 0});
        peer.expects_nothing();
    }
};

constexpr std::array matrix_states{State::established, State::close_wait, State::fin_wait_2, State::closing,
                                   State::time_wait};

TEST_F(Matrix, SegmentsWithoutDataAreAnsweredExactlyInFiveStates) {
    proves("X12 D6 D7 D8");
    for (const State state : matrix_states) {
        brings_to(state);
        for (const Place& seq : sequences()) {
            // A TIME-WAIT record expects nothing, so that it has no window to speak of.
            if (state == State::time_wait && seq.acceptable && seq.number != peer.nxt) continue;
            for (const Place& acked : acknowledgments(snd_una(state), snd_nxt(state))) {
                // Nor does it know how large the peer's window was.
                if (state == State::time_wait && !acked.acceptable && acked.number < 0) continue;
                SCOPED_TRACE(std::string(tcp::name(state)) + ": SEQ " + seq.name + ", ACK " + acked.name);
                brings_to(state);
                const int64_t rcv_nxt = peer.nxt;
                peer.sends({.flags = ack, .seq = seq.number, .ack = acked.number});
                peer.nxt = rcv_nxt;
                if (!seq.acceptable || !acked.acceptable) expects_an_ack(snd_nxt(state), rcv_nxt);
                peer.expects_nothing();
                const bool ends_closing = state == State::closing && seq.acceptable && acked.number == snd_nxt(state);
                EXPECT_EQ(peer.state(), ends_closing ? State::time_wait : state);
                time.passes(60ms);  // nor is an ACK owed
                peer.expects_nothing();
            }
        }
    }
}

TEST_F(Matrix, DataBeyondTheEdgesIsAcknowledgedAndNotDelivered) {
    proves("X12 D6 E7");
    for (const State state : matrix_states) {
        brings_to(state);
        for (const Place& seq : sequences()) {
            if (seq.acceptable) continue;
            for (const Place& acked : acknowledgments(snd_una(state), snd_nxt(state))) {
                SCOPED_TRACE(std::string(tcp::name(state)) + ": SEQ " + seq.name + ", ACK " + acked.name);
                brings_to(state);
                const int64_t rcv_nxt = peer.nxt;
                const size_t bytes = seq.number == rcv_nxt - 2 ? 2 : 1;  // up to the edge
                peer.sends({.flags = ack, .seq = seq.number, .ack = acked.number, .text = std::string(bytes, 'x')});
                peer.nxt = rcv_nxt;
                expects_an_ack(snd_nxt(state), rcv_nxt);
                EXPECT_EQ(peer.state(), state);
                EXPECT_EQ(app.received(), "");
                EXPECT_EQ(app.takes_events(), Events{});
            }
        }
    }
}

TEST_F(Matrix, DataInsideTheEdgesIsDeliveredIfItsAcknowledgmentIsGood) {
    proves("X12 D7 D8 MAY-12");
    for (const State state : {State::established, State::fin_wait_2}) {
        for (const bool last : {false, true}) {  // in the window; else at RCV.NXT
            for (const Place& acked : acknowledgments(snd_una(state), snd_nxt(state))) {
                SCOPED_TRACE(std::string(tcp::name(state)) + (last ? ", last byte: " : ": ") + acked.name);
                brings_to(state);
                const int64_t rcv_nxt = peer.nxt;
                peer.sends({.flags = ack, .seq = last ? peer.edge() - 1 : rcv_nxt, .ack = acked.number, .text = "x"});
                peer.nxt = rcv_nxt;
                if (last || !acked.acceptable) expects_an_ack(snd_nxt(state), rcv_nxt);
                peer.expects_nothing();
                const bool delivered = !last && acked.acceptable;
                EXPECT_EQ(app.received(), delivered ? "x" : "");
                EXPECT_EQ(world.info().out_of_order, last && acked.acceptable ? 1u : 0u);
                time.passes(60ms);
                if (delivered) expects_an_ack(snd_nxt(state), rcv_nxt + 1);
                peer.expects_nothing();
            }
        }
    }
}

// ---- The wrap. ---------------------------------------------------------------------------------------------------

class AroundTheWrap : public Matrix {
protected:
    /// ESTABLISHED, with SND.UNA = SND.NXT at 2^32 + `ours` and RCV.NXT at 2^32 + `theirs`.
    void opens_at(int64_t ours, int64_t theirs) {
        starts_with(small_settings());
        peer.starts_over(tcp::SeqNum{static_cast<uint32_t>(theirs - 20 - 1)});
        peer.connects();
        ASSERT_EQ(peer.host_isn(), near_wrap);
        const auto to_send = static_cast<size_t>(ours + 4);  // ISS + 1 is 2^32 - 4
        if (to_send > 0) app.sends_pattern(to_send);
        peer.sends({.flags = ack, .bytes = 20});
        time.passes(50ms);
        peer.forgets();
        app.takes();
        const tcp::ConnInfo info = world.info();
        ASSERT_EQ(info.snd_una, tcp::SeqNum{static_cast<uint32_t>(ours)});
        ASSERT_EQ(info.snd_nxt, info.snd_una);
        ASSERT_EQ(info.rcv_nxt, tcp::SeqNum{static_cast<uint32_t>(theirs)});
    }
    void asks_all() {
        const int64_t una = peer.heard;
        for (const Place& seq : sequences()) {
            for (const Place& acked : acknowledgments(una, una)) cases_.push_back({seq, acked});
        }
    }
    std::vector<std::pair<Place, Place>> cases_;
};

TEST_F(AroundTheWrap, TheEdgesOfAcceptanceHold) {
    proves("D10 X12");
    for (const int64_t ours : {-4, -2, -1, 0, 1, 3}) {
        // RCV.NXT near the wrap, and the right edge near it.
        for (const int64_t theirs : {-2, -1, 0, 1, 2, -65'537, -65'536, -65'535, -65'534, -65'533}) {
            opens_at(ours, theirs);
            if (HasFatalFailure()) return;
            cases_.clear();
            asks_all();
            for (const auto& [seq, acked] : cases_) {
                SCOPED_TRACE(testing::Message() << "SND.NXT " << ours << ", RCV.NXT " << theirs << ": SEQ "
                                                << seq.name << ", ACK " << acked.name);
                time.passes(2s);  // challenge ACKs have a limit
                const int64_t rcv_nxt = peer.nxt, snd_nxt = peer.heard;
                peer.sends({.flags = ack, .seq = seq.number, .ack = acked.number});
                peer.nxt = rcv_nxt;
                if (!seq.acceptable || !acked.acceptable) expects_an_ack(snd_nxt, rcv_nxt);
                peer.expects_nothing();
            }
            EXPECT_EQ(peer.state(), State::established);
        }
    }
}

TEST_F(AroundTheWrap, ResetsAreExactNearOrFar) {
    proves("D10 D1 D2 D3");
    for (const int64_t theirs : {-2, -1, 0, 1, -65'536, -65'535, -65'534}) {
        SCOPED_TRACE(theirs);
        opens_at(-1, theirs);
        if (HasFatalFailure()) return;
        const int64_t nxt = peer.nxt, edge = peer.edge(), snd_nxt = peer.heard;
        for (const int64_t seq : {nxt - 2, nxt - 1, edge, edge + 1}) {
            EXPECT_EQ(peer.sends({.flags = rst, .seq = seq}), Verdict::reset_ignored) << seq - nxt;
            peer.expects_nothing();
        }
        for (const int64_t seq : {nxt + 1, nxt + 2, edge - 1}) {
            EXPECT_EQ(peer.sends({.flags = rst, .seq = seq}), Verdict::reset_in_window) << seq - nxt;
            expects_an_ack(snd_nxt, nxt);
            time.passes(2s);
        }
        EXPECT_EQ(peer.sends({.flags = rst, .seq = nxt}), Verdict::reset_by_peer);
        EXPECT_EQ(peer.state(), State::closed);
    }
}

TEST_F(AroundTheWrap, DataFlowsAcrossItBothWays) {
    proves("D10");
    for (const int64_t at : {-4, -3, -1, 0}) {
        SCOPED_TRACE(at);
        opens_at(at, at);
        if (HasFatalFailure()) return;
        const int64_t first = peer.heard, nxt = peer.nxt;
        for (int i = 0; i < 6; ++i) {  // byte by byte, each acknowledged alone
            app.sends(std::string(1, static_cast<char>('a' + i)));
            peer.expects({.flags = ack, .seq = first + i, .bytes = 1});
            peer.sends({.flags = ack, .ack = first + i + 1});
            EXPECT_EQ(world.info().in_flight, 0u);
        }
        app.sends_pattern(4'000);  // and across it with ACKs of half a segment
        peer.forgets();
        for (int64_t acked = first + 6; acked <= first + 4'006; acked += 700)
            peer.sends({.flags = ack, .ack = acked});
        peer.sends({.flags = ack, .ack = first + 4'006});
        EXPECT_EQ(world.info().in_flight, 0u);
        peer.sends({.flags = ack, .seq = nxt + 3, .text = "def"});  // a gap up to the wrap, and its filling
        expects_an_ack(first + 4'006, nxt);
        peer.sends({.flags = ack, .seq = nxt, .text = "abcd"});
        expects_an_ack(first + 4'006, nxt + 6);
        EXPECT_EQ(app.takes(), "abcdef");
    }
}

// ---- Limits. -----------------------------------------------------------------------------------------------------

using AckLimits = Matrix;

TEST_F(AckLimits, OldDataIsAcknowledgedEveryTime) {
    proves("X11");
    for (const State state : {State::established, State::fin_wait_2, State::close_wait}) {
        SCOPED_TRACE(tcp::name(state));
        brings_to(state);
        int64_t rcv_nxt = peer.nxt;
        const bool open = state != State::close_wait;
        if (open) {
            peer.sends({.flags = ack, .text = "data"});
            time.passes(50ms);
            rcv_nxt += 4;
            expects_an_ack(snd_nxt(state), rcv_nxt);
        }
        for (int i = 0; i < 50; ++i) {
            const auto again = open ? Send{.flags = ack, .seq = rcv_nxt - 4, .text = "data"}
                                    : Send{.flags = fin | ack, .seq = rcv_nxt - 1};
            peer.sends(again);
            expects_an_ack(snd_nxt(state), rcv_nxt);
        }
        EXPECT_EQ(world.count(Tally::challenge_acks_limited), 0u);
    }
}

TEST_F(AckLimits, DataSentIntoOurClosedWindowIsAcknowledgedEveryTime) {
    proves("X11 G10");
    starts_with(settings_with([](auto& s) { s.receive_buffer = 4'096; }));
    app.consumes = false;
    peer.connects();
    while (peer.nxt < peer.edge()) {
        peer.sends({.flags = ack, .bytes = static_cast<size_t>(std::min<int64_t>(1'024, peer.edge() - peer.nxt))});
    }
    time.passes(50ms);
    ASSERT_FALSE(peer.heard_nothing());
    ASSERT_EQ(peer.takes_all().back().segment.window, 0u);
    const int64_t full = peer.nxt;
    for (int i = 0; i < 50; ++i) {
        peer.sends({.flags = ack, .seq = full, .bytes = i % 2 == 0 ? size_t{1} : size_t{1'000}});
        const Heard h = peer.expects({.flags = ack, .seq = 1, .ack = full, .win = 0, .bytes = 0});
        peer.expects_nothing();
    }
    EXPECT_EQ(world.count(Tally::challenge_acks_limited), 0u);
}

TEST_F(AckLimits, KeepAliveProbesAreAcknowledgedEveryTime) {
    proves("G10");
    peer.connects();
    for (int i = 0; i < 20; ++i) {  // with and without the octet of garbage; a peer's probes are seconds apart
        time.passes(1s);
        peer.sends({.flags = ack, .seq = 0, .text = i % 2 == 0 ? "" : "?"});
        expects_an_ack(1, 1);
    }
}

TEST_F(AckLimits, SynsWithDataOutsideTheWindowAreLimited) {
    proves("X11 D5");
    for (const std::string_view text : {"", "data"}) {
        SCOPED_TRACE(text);
        starts_with(small_settings());
        peer.connects();
        peer.sends({.flags = ack, .text = "data"});
        time.passes(50ms);
        peer.forgets();
        for (int i = 0; i < 50; ++i) {
            peer.sends({.flags = syn, .seq = peer.edge() + 10'000 + i, .text = text});
            peer.sends({.flags = syn, .seq = -10'000 - i, .text = text});
        }
        peer.nxt = 5;
        const size_t answers = peer.takes_all().size();
        EXPECT_GE(answers, 1u);
        EXPECT_LE(answers, 4u);  // two a second, randomised
        // The limit is on these alone.
        peer.sends({.flags = ack, .seq = 1, .text = "data"});
        expects_an_ack(1, 5);
    }
}

TEST_F(AckLimits, AcksOutsideTheWindowAreLimited) {
    proves("X11");  // an ACK that answers an ACK has no end (ATK-19)
    for (const State state : {State::established, State::close_wait, State::fin_wait_2, State::closing}) {
        SCOPED_TRACE(tcp::name(state));
        brings_to(state);
        for (int i = 0; i < 50; ++i) {
            peer.sends({.flags = ack, .seq = peer.edge() + 1, .ack = snd_una(state)});
            peer.sends({.flags = ack, .seq = peer.nxt, .ack = snd_nxt(state) + 1});
            peer.sends({.flags = ack, .seq = peer.nxt - 2, .ack = snd_una(state)});
        }
        const size_t answers = peer.takes_all().size();
        EXPECT_GE(answers, 1u);
        EXPECT_LE(answers, 4u);
        EXPECT_EQ(peer.state(), state);
    }
}

}  // namespace
}  // namespace pollux::test
