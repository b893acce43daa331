// Is this segment for this connection? The first checks of RFC 9293 section 3.10.7.4, with the resets, SYNs and
// challenge ACKs of RFC 5961; and a table of all flag combinations in all states.
#include <random>

#include "tests/support/states.hpp"

namespace pollux::test {
namespace {

using Validation = InEveryState;

// ---- RST.
// ------------------------------------------------------------------------------------------------------------

TEST_F(Validation, ExactResetEndsTheConnectionAtOnceInEverySynchronizedState) {
    proves("D1 MUST-12");
    for (const State state : synchronized_states) {
        for (const Flags flags : {rst, rst | ack}) {
            SCOPED_TRACE(tcp::name(state));
            brings_to(state);
            EXPECT_EQ(peer.sends({.flags = flags, .seq = peer.nxt, .ack = snd_una(state)}), Verdict::reset_by_peer);
            peer.expects_nothing();
            EXPECT_EQ(peer.state(), State::closed);
            EXPECT_EQ(app.takes_events(), Events{Kind::reset});
            EXPECT_FALSE(world.stack().is_open(app.conn()));
            expects_all_returned();
            time.passes(10s);
            peer.expects_nothing();
        }
    }
}

TEST_F(Validation, ResetMayCarryItsReasonAsData) {
    proves("SHLD-2 D1 D2 D3");
    for (const State state : synchronized_states) {
        SCOPED_TRACE(tcp::name(state));
        brings_to(state);
        const int64_t nxt = peer.nxt;
        EXPECT_EQ(peer.sends({.flags = rst, .seq = nxt - 4, .text = "old"}), Verdict::reset_ignored);
        peer.expects_nothing();
        EXPECT_EQ(peer.sends({.flags = rst, .seq = nxt + 1, .text = "near"}), Verdict::reset_in_window);
        peer.expects({.flags = ack, .seq = snd_nxt(state), .ack = nxt});
        EXPECT_EQ(peer.sends({.flags = rst | ack, .seq = nxt, .ack = snd_una(state), .text = "port closed by peer"}),
                  Verdict::reset_by_peer);
        peer.expects_nothing();
        EXPECT_EQ(peer.state(), State::closed);
        EXPECT_EQ(app.received(), "");
        EXPECT_EQ(app.takes_events(), Events{Kind::reset});
        expects_all_returned();
    }
}

TEST_F(Validation, ResetInTheWindowIsChallengedAndChangesNothing) {
    proves("D2");
    for (const State state : synchronized_states) {
        SCOPED_TRACE(tcp::name(state));
        brings_to(state);
        const int64_t rcv_nxt = peer.nxt;
        for (const int64_t seq : {rcv_nxt + 1, peer.edge() - 1}) {
            SCOPED_TRACE(seq);
            EXPECT_EQ(peer.sends({.flags = rst, .seq = seq}), Verdict::reset_in_window);
            peer.expects({.flags = ack, .seq = snd_nxt(state), .ack = rcv_nxt, .bytes = 0});
            peer.expects_nothing();
            EXPECT_EQ(peer.state(), state);
            EXPECT_EQ(app.takes_events(), Events{});
        }
    }
}

TEST_F(Validation, ResetOutsideTheWindowIsDroppedSilently) {
    proves("D3");
    for (const State state : synchronized_states) {
        SCOPED_TRACE(tcp::name(state));
        brings_to(state);
        for (const int64_t seq : {peer.nxt - 1, peer.nxt - 100'000, peer.edge(), peer.edge() + 1'000,
                                  peer.nxt + 0x7fff'0000, peer.nxt - 0x7fff'0000}) {
            SCOPED_TRACE(seq);
            EXPECT_EQ(peer.sends({.flags = rst, .seq = seq}), Verdict::reset_ignored);
            peer.expects_nothing();
            EXPECT_EQ(peer.state(), state);
            EXPECT_EQ(app.takes_events(), Events{});
        }
    }
}

TEST_F(Validation, ResetBehindBufferedDataIsStillInexact) {
    proves("D2");
    peer.connects();
    peer.sends({.flags = ack, .seq = 11, .text = "held back"});
    peer.expects({.flags = ack, .ack = 1});
    peer.sends({.flags = rst, .seq = 20});
    peer.expects({.flags = ack, .ack = 1});
    EXPECT_EQ(peer.state(), State::established);
    peer.sends({.flags = rst, .seq = 1});
    EXPECT_EQ(peer.state(), State::closed);
    EXPECT_EQ(app.takes_events(), (Events{Kind::opened, Kind::reset}));
    expects_all_returned();
}

TEST_F(Validation, ResetIsObeyedAndAcksAreReadWhileOurWindowIsZero) {
    proves("MUST-66");
    starts_with(settings_with([](auto& s) { s.receive_buffer = 4'096; }));
    app.consumes = false;
    peer.connects();
    app.sends("unacknowledged");
    peer.expects({.flags = ack, .text = "unacknowledged"});
    for (int64_t seq = 1; seq <= 3'073; seq += 1'024)
        peer.sends({.flags = ack, .seq = seq, .ack = 1, .bytes = 1'024});
    time.passes(50ms);
    ASSERT_FALSE(peer.heard_nothing());
    EXPECT_EQ(peer.takes_all().back().segment.window, 0u);
    // The ACK field counts, although there is no room for data.
    peer.sends({.flags = ack, .ack = 15});
    EXPECT_EQ(world.stack().unacknowledged(app.conn()), 0u);
    peer.forgets();
    EXPECT_EQ(peer.sends({.flags = rst, .seq = 4'097}), Verdict::reset_by_peer);
    EXPECT_EQ(peer.state(), State::closed);
    peer.expects_nothing();
    expects_all_returned();
}

// ---- SYN, ACK, window.
// -----------------------------------------------------------------------------------------------

TEST_F(Validation, SynInASynchronizedStateIsChallengedWhateverItsNumber) {
    proves("D4");
    for (const State state : synchronized_states) {
        SCOPED_TRACE(tcp::name(state));
        for (const int64_t seq :
             {int64_t{0}, int64_t{1}, int64_t{2}, int64_t{30'000}, int64_t{-5'000'000}, int64_t{90'000'000}}) {
            for (const Flags flags : {syn, syn | ack}) {
                SCOPED_TRACE(tcp::to_string(flags) + " " + std::to_string(seq));
                brings_to(state);
                const int64_t rcv_nxt = peer.nxt;
                peer.sends({.flags = flags, .seq = seq, .ack = snd_una(state), .mss = 1460});
                peer.expects({.flags = ack, .seq = snd_nxt(state), .ack = rcv_nxt, .bytes = 0});
                peer.expects_nothing();
                EXPECT_EQ(peer.state(), state);
                EXPECT_EQ(app.takes_events(), Events{});
            }
        }
    }
}

TEST_F(Validation, ChallengeAcksAreLimitedPerConnection) {
    proves("D5");
    peer.connects();
    Peer other(world, {peer_endpoint.address, 41'000});
    other.connects();
    size_t answers = 0;
    for (int i = 0; i < 100; ++i) {
        peer.sends({.flags = rst, .seq = 100});
        answers += peer.takes_all().size();
    }
    EXPECT_GE(answers, 1u);
    EXPECT_LE(answers, 4u);  // two a second, randomised
    EXPECT_EQ(world.count(Tally::challenge_acks_sent), answers);
    EXPECT_EQ(world.count(Tally::challenge_acks_limited), 100 - answers);
    // The other connection's share is its own (CVE-2016-5696).
    other.sends({.flags = rst, .seq = 100});
    other.expects({.flags = ack, .seq = 1, .ack = 1});
    time.passes(3s);
    peer.sends({.flags = rst, .seq = 100});
    peer.expects({.flags = ack, .seq = 1, .ack = 1});
}

TEST_F(Validation, SegmentWhollyOutsideTheWindowIsDroppedAndAcknowledged) {
    proves("D6");
    for (const State state : synchronized_states) {
        SCOPED_TRACE(tcp::name(state));
        brings_to(state);
        const int64_t rcv_nxt = peer.nxt;
        for (const int64_t seq : {peer.edge(), peer.edge() + 1'000, int64_t{-10'000}}) {
            SCOPED_TRACE(seq);
            peer.sends({.flags = ack, .seq = seq, .ack = snd_una(state), .text = "outside"});
            peer.nxt = rcv_nxt;
            peer.expects({.flags = ack, .seq = snd_nxt(state), .ack = rcv_nxt, .bytes = 0});
            peer.expects_nothing();
            EXPECT_EQ(peer.state(), state);
            EXPECT_EQ(app.takes_events(), Events{});
            time.passes(1ms);
        }
    }
    EXPECT_EQ(app.received(), "");
}

TEST_F(Validation, FinOutsideTheWindowDoesNotClose) {
    proves("D6");
    peer.connects();
    for (const int64_t seq : {peer.edge(), int64_t{-10'000}}) {
        peer.sends({.flags = fin | ack, .seq = seq});
        peer.nxt = 1;
        peer.expects({.flags = ack, .seq = 1, .ack = 1});
        EXPECT_EQ(peer.state(), State::established);
    }
}

TEST_F(Validation, AckOfWhatWasNeverSentDropsTheSegmentAndIsAcknowledged) {
    proves("D7");
    for (const State state : synchronized_states) {
        SCOPED_TRACE(tcp::name(state));
        brings_to(state);
        const int64_t rcv_nxt = peer.nxt;
        for (const int64_t beyond : {int64_t{1}, int64_t{2'000'000}}) {
            SCOPED_TRACE(beyond);
            const bool may_send = tcp::in(state, tcp::can_receive_states);
            EXPECT_EQ(peer.sends({.flags = may_send ? fin | ack : ack,
                                  .seq = rcv_nxt,
                                  .ack = snd_nxt(state) + beyond,
                                  .text = may_send ? "data" : ""}),
                      Verdict::ack_of_unsent);
            peer.nxt = rcv_nxt;
            peer.expects({.flags = ack, .seq = snd_nxt(state), .ack = rcv_nxt, .bytes = 0});
            peer.expects_nothing();
            EXPECT_EQ(peer.state(), state);
            EXPECT_EQ(app.takes_events(), Events{});
            time.passes(1ms);
        }
    }
    EXPECT_EQ(app.received(), "");
}

TEST_F(Validation, AckOfUnsentDataTakesNothingOffTheQueue) {
    proves("D7");
    for (const bool ts : {false, true}) {  // the expected segment, as the fast path sees it, has timestamps
        SCOPED_TRACE(ts ? "with timestamps" : "without");
        starts_with(small_settings());
        peer.connects({.ts = ts});
        app.sends("hello");
        peer.expects({.flags = ack, .text = "hello"});
        peer.sends({.flags = ack, .ack = 7});
        peer.expects({.flags = ack, .seq = 6, .ack = 1});
        EXPECT_EQ(world.stack().unacknowledged(app.conn()), 5u);
        peer.sends({.flags = ack, .ack = 6});
        EXPECT_EQ(world.stack().unacknowledged(app.conn()), 0u);
    }
}

TEST_F(Validation, AckFarOlderThanTheWindowIsChallengedAndItsDataIsNotDelivered) {
    proves("D8 MAY-12");
    peer.connects();
    app.sends("hello");
    peer.expects({.flags = ack, .text = "hello"});
    peer.sends({.flags = ack, .ack = 6});
    // SND.UNA is 6 and the largest window ever seen is 65535.
    EXPECT_EQ(peer.sends({.flags = ack, .ack = 6 - 65'535 - 1, .text = "injected"}), Verdict::old_ack);
    peer.expects({.flags = ack, .seq = 6, .ack = 1, .bytes = 0});
    EXPECT_EQ(app.received(), "");
    peer.nxt = 1;
    peer.sends({.flags = ack, .ack = 6 - 65'535, .text = "late"});
    EXPECT_EQ(app.received(), "late");
    time.passes(50ms);
    peer.expects({.flags = ack, .ack = 5});
}

TEST_F(Validation, SegmentWithoutAckIsDroppedInASynchronizedState) {
    proves("D9");
    for (const State state : synchronized_states) {
        for (const Flags flags : {none, fin, psh, fin | psh | urg}) {
            SCOPED_TRACE(std::string(tcp::name(state)) + " " + tcp::to_string(flags));
            brings_to(state);
            EXPECT_EQ(peer.sends({.flags = flags, .seq = peer.nxt, .text = "data"}), Verdict::no_ack);
            peer.expects_nothing();
            EXPECT_EQ(peer.state(), state);
            EXPECT_EQ(app.takes_events(), Events{});
        }
    }
    EXPECT_EQ(app.received(), "");
}

// ---- All flags in all states.
// ------------------------------------------------------------------------------------------

// What a segment with SEG.SEQ = RCV.NXT and, where an ACK is carried, SEG.ACK = SND.UNA deserves. There is no data.
struct Deserves {
    enum class Answer : uint8_t { silence, ack, reset, syn_ack, syn_ack_above, ack_or_silence } answer;
    State then;
};

Deserves deserves(State state, Flags flags) {
    using A = Deserves::Answer;
    const auto with = [flags](Flags f) { return tcp::any(flags & f); };
    if (state == State::closed) return {with(rst) ? A::silence : A::reset, State::closed};
    if (state == State::listen) {
        if (with(rst)) return {A::silence, State::closed};
        if (with(ack)) return {A::reset, State::closed};
        if (with(syn) && !with(fin)) return {A::syn_ack, State::syn_received};
        return {A::silence, State::closed};  // SYN+FIN by policy, the others because they open nothing
    }
    if (state == State::time_wait) {
        if (with(rst)) return {A::silence, state};  // RFC 1337
        if (with(syn)) return {A::ack, state};
        if (!with(ack)) return {A::silence, state};
        return {A::ack_or_silence, state};
    }
    if (with(rst)) return {A::silence, State::closed};
    if (with(syn)) return {A::ack, state};
    if (!with(ack)) return {A::silence, state};
    if (state == State::syn_received) {
        // SND.UNA is not acceptable here; the table sends SND.NXT.
        return with(fin) ? Deserves{A::ack, State::close_wait} : Deserves{A::silence, State::established};
    }
    if (!with(fin)) return {A::silence, state};
    switch (state) {
        case State::established: return {A::ack, State::close_wait};
        case State::fin_wait_1: return {A::ack, State::closing};
        case State::fin_wait_2: return {A::ack, State::time_wait};
        // A second FIN, behind the first: the RFC says "remain".
        default: return {A::ack_or_silence, state};
    }
}

class AllFlags : public InEveryState, public testing::WithParamInterface<State> {};

TEST_P(AllFlags, AreAnsweredAsTheRfcSays) {
    const State state = GetParam();
    if (state == State::closed)
        proves("C1 C2 C3");
    else if (state == State::listen)
        proves("A3 A4 A5 A6");
    else if (state == State::syn_received)
        proves("A8 A11");
    else if (state == State::time_wait)
        proves("F12");
    else
        proves("D1 D4 D9");
    for (unsigned bits = 0; bits < 64; ++bits) {
        const auto flags = static_cast<Flags>(bits);
        SCOPED_TRACE(std::string(tcp::name(state)) + " [" + tcp::to_string(flags) + "]");
        brings_to(state);
        const int64_t acked = state == State::syn_received ? 1 : snd_una(state);
        peer.sends({.flags = flags, .seq = peer.nxt, .ack = acked});
        Deserves what = deserves(state, flags);
        using A = Deserves::Answer;
        if (state == State::syn_received && !tcp::any(flags & rst) && tcp::any(flags & syn)) {
            // RFC 9293 returns to LISTEN, RFC 5961 would challenge: never a reset, and no connection either way.
            for (const Heard& h : peer.takes_all()) EXPECT_FALSE(h.has(rst));
            EXPECT_TRUE(tcp::in(peer.state(), State::syn_received) || peer.state() == State::closed);
            EXPECT_EQ(app.takes_events(), Events{});
            continue;
        }
        if (state == State::time_wait && tcp::any(flags & syn) && !tcp::any(flags & (rst | ack | fin)) &&
            !peer.heard_nothing() && peer.inbox().front().has(syn)) {
            // RCV.NXT is the first number above those of the old connection: this SYN may open a new one (RFC 6191).
            what = {A::syn_ack_above, State::syn_received};
        }
        if (what.answer == A::ack_or_silence) what.answer = peer.heard_nothing() ? A::silence : A::ack;
        switch (what.answer) {
            case A::ack_or_silence:
            case A::silence: break;
            case A::ack: peer.expects({.flags = ack, .bytes = 0}); break;
            case A::reset: peer.expects({.flags = tcp::any(flags & ack) ? rst : rst | ack, .bytes = 0}); break;
            case A::syn_ack: peer.expects({.flags = syn | ack, .seq = 0, .ack = 1}); break;
            case A::syn_ack_above: EXPECT_GT(peer.expects({.flags = syn | ack, .ack = 3}).seq, 2); break;
        }
        peer.expects_nothing();
        EXPECT_EQ(peer.state(), what.then) << "is in " << tcp::name(peer.state()) << ", not " << name(what.then);
    }
}

INSTANTIATE_TEST_SUITE_P(Validation, AllFlags,
                         testing::Values(State::closed, State::listen, State::syn_received, State::established,
                                         State::fin_wait_1, State::fin_wait_2, State::close_wait, State::closing,
                                         State::last_ack, State::time_wait),
                         [](const auto& test) {
                             std::string text(tcp::name(test.param));
                             std::erase(text, '-');
                             return text;
                         });

// ---- ICMP.
// -------------------------------------------------------------------------------------------------------------

TEST_F(Validation, IcmpErrorsNeverEndASynchronizedConnection) {
    proves("MUST-56");
    using NoticeKind = tcp::PathNotice::Kind;
    for (const State state : synchronized_states) {
        brings_to(state);
        for (const NoticeKind kind :
             {NoticeKind::unreachable_soft, NoticeKind::unreachable_hard, NoticeKind::neighbor_unreachable}) {
            for (const int64_t seq : {0, 1, 2, 5'000}) {
                const tcp::SeqNum quoted = peer.host_isn() + static_cast<uint32_t>(seq);
                world.stack().notify({.kind = kind, .flow = peer.flow(), .quoted_seq = quoted}, world.now());
                time.passes(1ms);
                EXPECT_EQ(peer.state(), state);
                for (const Kind told : app.takes_events()) EXPECT_EQ(told, Kind::path_error);
                peer.expects_nothing();
            }
        }
    }
}

// ---- Chaos.
// --------------------------------------------------------------------------------------------------------------

// Nothing that an attacker or a broken peer may say, in any order, makes the stack break its own rules.
class Chaos : public InEveryState, public testing::WithParamInterface<uint64_t> {
protected:
    std::mt19937_64 random_;
    uint64_t pick(uint64_t n) { return random_() % n; }

    void speaks(bool with_ts) {
        constexpr int64_t near[] = {-70'000, -1'000, -2, -1,  0,     0,      0,      0,      0,
                                    1,       2,      3,  100, 1'460, 65'534, 65'535, 65'536, 1 << 30};
        constexpr size_t sizes[] = {0, 0, 0, 1, 7, 100, 1'460};
        const auto usual = pick(4) ? ack : fin | ack;
        const auto flags = pick(3) == 0 ? static_cast<Flags>(pick(256)) : usual;
        const int64_t nxt = peer.nxt;
        std::optional<tcp::Timestamps> ts;
        if (with_ts && pick(4) == 0)
            ts = tcp::Timestamps{peer.ts_now() + static_cast<uint32_t>(pick(2'000) - 1'000), 0};
        peer.sends({.flags = flags,
                    .seq = nxt + near[pick(std::size(near))],
                    .ack = peer.heard + near[pick(std::size(near))],
                    .win = static_cast<uint32_t>(pick(2) ? 65'535 : pick(3'000)),
                    .bytes = sizes[pick(std::size(sizes))],
                    .ts = ts,
                    .no_ts = pick(20) == 0});
        peer.nxt = std::min<int64_t>(peer.nxt, nxt + 1'461);
        if (pick(3) == 0) peer.nxt = nxt;
        if (tcp::any(flags & rst)) {
            for (const Heard& h : peer.inbox()) EXPECT_FALSE(h.has(rst)) << "a RST was answered by a RST";
        }
    }
    // ICMP errors with a right or a wrong sequence number.
    void network_complains() {
        using enum tcp::PathNotice::Kind;
        constexpr tcp::PathNotice::Kind kinds[] = {too_big, too_big, unreachable_soft, unreachable_hard};
        constexpr uint32_t mtus[] = {0, 1, 551, 600, 1'280, 1'281, 1'400, 1'499, 1'500, 65'535};
        const int64_t seq = peer.heard - static_cast<int64_t>(pick(3'000));
        world.stack().notify({.kind = kinds[pick(std::size(kinds))],
                              .flow = peer.flow(),
                              .quoted_seq = peer.host_isn() + static_cast<uint32_t>(seq),
                              .mtu = mtus[pick(std::size(mtus))],
                              .quoted_length = static_cast<uint32_t>(pick(2'000))},
                             world.now());
        world.delivers({});
    }
    void application_acts() {
        switch (pick(12)) {
            case 0: app.shuts_down(); break;
            case 1: app.closes(); break;
            case 2: app.aborts(); break;
            case 3:
            case 4: app.consumes = !app.consumes; break;
            case 5:
            case 6: app.reads(pick(2'000)); break;
            case 7: app.sends("an answer"); break;
            default: app.sends_pattern(pick(5'000)); break;
        }
    }
};

TEST_P(Chaos, BreaksNoInvariantAndLeavesNothingBehind) {
    proves("C3");
    random_.seed(GetParam());
    constexpr State from[] = {State::listen,     State::syn_received, State::established, State::established,
                              State::fin_wait_1, State::fin_wait_2,   State::close_wait,  State::closing,
                              State::last_ack,   State::time_wait};
    starts_with(settings_with([&](auto& s) {
        s.receive_buffer = pick(2) ? 256 * 1024 : 5'000;
        if (pick(2)) s.capacity.chunks = 6;
        if (pick(3) == 0) s.capacity.send_entries = 2;
        s.reassembly_ranges = pick(2) ? 64 : 3;
        s.data_retries = 4;
        s.orphan_retries = 3;
    }));
    for (int round = 0; round < 12 && !HasFailure(); ++round) {
        SCOPED_TRACE(round);
        const bool with_ts = pick(2) != 0;
        app.consumes = true;
        Connect how{.ts = with_ts};
        if (pick(2)) how.ws = static_cast<uint8_t>(pick(15));
        brings_to(from[pick(std::size(from))], how);
        for (int i = 0; i < 60 && !HasFailure(); ++i) {
            speaks(with_ts);
            if (pick(5) == 0) application_acts();
            if (pick(8) == 0) network_complains();
            if (pick(4) == 0) time.passes(Duration{static_cast<int64_t>(pick(2'000'000))});
            peer.forgets();
        }
        // Left alone, everything ends: orphans by their limits, the rest by the application.
        app.aborts();
        time.passes(20min);
        peer.forgets();
        if (!HasFailure()) expects_all_returned();
    }
}

INSTANTIATE_TEST_SUITE_P(Validation, Chaos, testing::Range<uint64_t>(0, 12));

}  // namespace
}  // namespace pollux::test
