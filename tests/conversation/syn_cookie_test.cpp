// SYN cookies (RFC 4987 section 3.6): a SYN-ACK for which nothing is kept, and a third segment that brings back all
// that has to be known.
#include <array>
#include <optional>
#include <string>

#include "tcp/syn_cookies.hpp"
#include "tests/support/conversation.hpp"

namespace pollux::test {
namespace {

using tcp::SynCookieMode;

tcp::StackSettings always() {
    return settings_with([](auto& s) { s.syn_cookies = SynCookieMode::always; });
}

/// One record, so that the second SYN gets a cookie.
tcp::StackSettings one_record() {
    return settings_with([](auto& s) { s.capacity.half_open = 1; });
}

class SynCookie : public Conversation {
protected:
    explicit SynCookie(const tcp::StackSettings& settings = always()) : Conversation(settings) {}

    /// A SYN with these options, and the cookie heard.
    void asks(Peer& who, const Connect& how = {}, Here here = Here::current()) {
        const auto value = how.ts ? std::optional<tcp::Timestamps>({who.ts_now(), 0}) : std::nullopt;
        EXPECT_EQ(who.sends({.flags = how.ecn ? syn | ece | cwr : syn,
                             .seq = 0,
                             .mss = how.mss,
                             .ws = how.ws,
                             .sack_ok = how.sack_ok,
                             .ts = value}),
                  Verdict::cookie_sent);
        const Flags answer = how.ecn && how.ts ? syn | ack | ece : syn | ack;
        who.expects({.flags = answer, .seq = 0, .ack = 1, .has_ts = how.ts}, here);
        EXPECT_EQ(world.stack().pool_use().half_open, records);
        EXPECT_EQ(who.state(), State::closed);
    }
    /// Until the next period of a minute.
    Duration rest_of_period() {
        const auto wall = world.now().time_since_epoch() + Duration{world.stack().settings().wall_clock_at_zero_us};
        return 60s - wall % Duration{60s};
    }
    void ends(Peer& who) {
        who.sends({.flags = rst});
        who.forgets();
        EXPECT_EQ(who.state(), State::closed);
    }
    uint32_t records = 0;  // half-open, of others
};

TEST_F(SynCookie, NothingIsKeptAndNothingRepeated) {
    proves("N1");
    asks(peer, {.ws = 7, .sack_ok = true, .ts = true});
    expects_all_returned();
    time.passes(5min);
    peer.expects_nothing();
    EXPECT_EQ(world.count(Tally::syn_acks_retransmitted), 0u);
}

TEST_F(SynCookie, RecordsServeUntilThreeQuartersAreUsed) {
    proves("N1");
    starts_with(settings_with([](auto& s) { s.capacity.half_open = 8; }));
    std::vector<std::unique_ptr<Peer>> peers;
    for (uint16_t i = 0; i < 10; ++i) {
        const auto port = static_cast<uint16_t>(50'000 + i);
        peers.push_back(std::make_unique<Peer>(world, tcp::Endpoint{peer_endpoint.address, port}));
        const Verdict verdict = peers.back()->sends({.flags = syn, .mss = 1460});
        EXPECT_EQ(verdict, i < 6 ? Verdict::syn_answered : Verdict::cookie_sent);
        peers.back()->expects({.flags = syn | ack, .seq = 0, .ack = 1, .mss = 1460});
    }
    EXPECT_EQ(world.stack().pool_use().half_open, 6u);
    EXPECT_EQ(world.stack().pool_use().table_entries, 6u);
    // A record is free again: so is the next SYN of its.
    peers[0]->sends({.flags = ack});
    EXPECT_EQ(peers[0]->state(), State::established);
    Peer late{world, {peer_endpoint.address, 51'000}};
    EXPECT_EQ(late.sends({.flags = syn}), Verdict::syn_answered);
    late.forgets();
    for (auto& p : peers) p->sends({.flags = ack});
    for (auto& p : peers) EXPECT_EQ(p->state(), State::established);
    EXPECT_EQ(world.count(Tally::cookies_accepted), 4u);
    EXPECT_EQ(world.count(Tally::connections_opened), 10u);
}

TEST_F(SynCookie, NeverMeansThatAFullStoreDropsTheSyn) {
    starts_with(settings_with([](auto& s) {
        s.capacity.half_open = 1;
        s.syn_cookies = SynCookieMode::never;
    }));
    EXPECT_EQ(peer.sends({.flags = syn}), Verdict::syn_answered);
    peer.forgets();
    Peer second{world, {peer_endpoint.address, 50'000}};
    EXPECT_EQ(second.sends({.flags = syn}), Verdict::half_open_full);
    second.expects_nothing();
}

TEST_F(SynCookie, ARepeatedSynIsAnsweredWithTheSameIsn) {
    asks(peer);
    const tcp::SeqNum first = peer.host_isn();
    peer.sends({.flags = syn, .seq = 0, .mss = 1460});
    EXPECT_EQ(peer.expects({.flags = syn | ack, .seq = 0, .ack = 1}).raw_seq, first);
    peer.sends({.flags = ack});
    EXPECT_EQ(peer.state(), State::established);
    Peer other{world, {peer_endpoint.address, 50'000}};
    asks(other);
    EXPECT_NE(other.host_isn(), first);
}

TEST_F(SynCookie, TheThirdSegmentOpensWhateverElseItCarries) {
    proves("N2 A11");
    for (const Flags flags : {ack, ack | psh, ack | fin, ack | psh | fin}) {
        for (const std::string_view text : {"", "GET / HTTP/1.1\r\n"}) {
            SCOPED_TRACE(tcp::to_string(flags) + " with " + std::string(text));
            starts_with(always());
            asks(peer);
            EXPECT_EQ(peer.sends({.flags = flags, .text = text}), Verdict::opened);
            EXPECT_EQ(peer.state(), (flags & fin) == fin ? State::close_wait : State::established);
            EXPECT_EQ(app.received(), text);
            EXPECT_EQ(world.count(Tally::cookies_accepted), 1u);
            time.passes(50ms);
            if (!text.empty() || (flags & fin) == fin) {
                peer.expects({.flags = ack, .seq = 1, .ack = peer.nxt});
            }
            app.sends("an answer");
            peer.expects({.flags = ack, .seq = 1, .text = "an answer"});
            peer.sends({.flags = ack});
        }
    }
}

TEST_F(SynCookie, TheSegmentSizeIsRoundedDownAndNeverAboveWhatThePeerSaid) {
    proves("N2");
    // Of a size that was not said: RFC 9293 MUST-15.
    const uint16_t unsaid = peer_endpoint.address.is_v4() ? 536 : 1220;
    for (const bool ts : {false, true}) {
        for (const std::optional<uint16_t> mss : {std::optional<uint16_t>{}, {0}, {1}, {47}, {48}, {49}, {215}, {216},
                                                  {500}, {536}, {1219}, {1220}, {1299}, {1300}, {1380}, {1399}, {1400},
                                                  {1439}, {1440}, {1452}, {1459}, {1460}, {8960}, {65'535}}) {
            SCOPED_TRACE("MSS " + (mss ? std::to_string(*mss) : "unsaid") + (ts ? " with timestamps" : ""));
            starts_with(always());
            asks(peer, {.mss = mss, .ts = ts});
            peer.sends({.flags = ack});
            ASSERT_EQ(peer.state(), State::established);
            const uint16_t said = std::max<uint16_t>(mss.value_or(unsaid), 48);
            const auto size = static_cast<uint16_t>(world.info().mss + (ts ? 12 : 0));
            EXPECT_LE(size, said);
            EXPECT_TRUE(std::ranges::find(tcp::SynCookies::sizes, size) != tcp::SynCookies::sizes.end()) << size;
            for (const uint16_t other : tcp::SynCookies::sizes) EXPECT_FALSE(other > size && other <= said) << other;
        }
    }
}

TEST_F(SynCookie, WithTimestampsScaleSackAndEcnComeBack) {
    proves("N2");
    for (int options = 0; options < 64; ++options) {
        SCOPED_TRACE("options " + std::to_string(options));
        starts_with(always());
        time.passes(std::chrono::milliseconds{options * 37});  // the low bits of the clock matter to nobody
        const int scale = options & 15;
        const Connect how{.ws = scale == 15 ? std::nullopt : std::optional<uint8_t>(scale),
                          .sack_ok = (options & 16) != 0,
                          .ts = true,
                          .ecn = (options & 32) != 0};
        asks(peer, how);
        time.passes(10ms);
        peer.sends({.flags = ack, .win = 1'000});
        ASSERT_EQ(peer.state(), State::established);
        const tcp::ConnInfo info = world.info();
        EXPECT_TRUE(info.timestamps);
        EXPECT_EQ(info.sack, how.sack_ok);
        EXPECT_EQ(info.ecn, how.ecn);
        EXPECT_EQ(info.snd_scale, how.ws.value_or(0));
        EXPECT_EQ(info.snd_wnd, 1'000u << how.ws.value_or(0));
        EXPECT_EQ(info.rcv_scale == 0, !how.ws);
    }
}

TEST_F(SynCookie, WithoutTimestampsNothingIsOfferedThatCouldNotComeBack) {
    proves("N2");
    EXPECT_EQ(peer.sends({.flags = syn | ece | cwr, .seq = 0, .mss = 1460, .ws = 7, .sack_ok = true}),
              Verdict::cookie_sent);
    peer.expects({.flags = syn | ack, .seq = 0, .ack = 1, .mss = 1460, .ws = -1, .sack_ok = false, .has_ts = false});
    peer.sends({.flags = ack, .win = 1'000});
    ASSERT_EQ(peer.state(), State::established);
    EXPECT_EQ(world.info().snd_wnd, 1'000u);
    EXPECT_FALSE(world.info().sack);
    EXPECT_FALSE(world.info().ecn);
}

TEST_F(SynCookie, AWrongCookieDrawsAReset) {
    proves("N3");
    asks(peer);
    // A size of 1460 is the last of eight: the seven numbers below are right too, and stand for smaller ones.
    for (const int64_t off : {-1'000, -8, 1, 8, 1 << 24, 1 << 30}) {
        SCOPED_TRACE(off);
        EXPECT_EQ(peer.sends({.flags = ack, .ack = 1 + off}), Verdict::bad_cookie);
        peer.expects_reset(1 + off);
    }
    // The right one with another sequence number, as of data that overtook it.
    EXPECT_EQ(peer.sends({.flags = ack, .seq = 2, .ack = 1}), Verdict::bad_cookie);
    peer.expects_reset(1);
    // Of another peer.
    Peer other{world, {peer_endpoint.address, 50'000}};
    asks(other);
    const auto stolen = int64_t{peer.host_isn() - other.host_isn()} + 1;
    EXPECT_EQ(other.sends({.flags = ack, .ack = stolen}), Verdict::bad_cookie);
    other.expects_reset(stolen);
    expects_all_returned();
    peer.sends({.flags = ack, .seq = 1});
    EXPECT_EQ(peer.state(), State::established);
}

TEST_F(SynCookie, AckWithSynOrRstNeverCompletes) {
    proves("N3");
    asks(peer);
    EXPECT_EQ(peer.sends({.flags = ack | syn, .seq = 1}), Verdict::no_connection);
    peer.expects_reset(1);
    EXPECT_EQ(peer.sends({.flags = ack | rst, .seq = 1}), Verdict::reset_ignored);
    peer.expects_nothing();
    EXPECT_EQ(peer.sends({.flags = fin, .seq = 1}), Verdict::nonsense_flags);
    peer.expects_nothing();
    expects_all_returned();
    EXPECT_EQ(world.count(Tally::connections_opened), 0u);
}

TEST_F(SynCookie, IsGoodForOneToTwoPeriods) {
    proves("N3");
    for (const auto& [age, expected] : {std::pair{0s, Verdict::opened}, {59s, Verdict::opened}, {119s, Verdict::opened},
                                        {120s, Verdict::stale_cookie}, {179s, Verdict::stale_cookie},
                                        {180s, Verdict::bad_cookie}}) {
        SCOPED_TRACE(age.count());
        starts_with(always());
        time.passes(rest_of_period());
        asks(peer);
        time.passes(age);
        Peer other{world, {peer_endpoint.address, 50'000}};
        asks(other);  // so that cookies are looked for
        EXPECT_EQ(peer.sends({.flags = ack}), expected);
        if (expected != Verdict::opened) peer.expects_reset(1);
    }
}

TEST_F(SynCookie, WhereNoneIsOutNoneIsLookedFor) {
    EXPECT_EQ(peer.sends({.flags = ack, .seq = 1, .ack = 1}), Verdict::no_connection);
    peer.expects_reset(1);
    peer.starts_over(Peer::default_isn);
    asks(peer);
    time.passes(2min);
    EXPECT_EQ(peer.sends({.flags = ack}), Verdict::no_connection);
    peer.expects_reset(1);
}

TEST_F(SynCookie, OneHeldAndOneByCookieFinishWithTheSameSegments) {
    proves("X1");
    for (const auto& [flags, opens] : {std::pair{ack, true}, {ack | psh, true}, {ack | fin, true}, {ack | syn, false},
                                       {ack | rst, false}}) {
        SCOPED_TRACE(tcp::to_string(flags));
        starts_with(one_record());
        records = 1;
        Peer held{world, {peer_endpoint.address, 50'000}};
        EXPECT_EQ(held.sends({.flags = syn, .mss = 1460}), Verdict::syn_answered);
        held.expects({.flags = syn | ack, .seq = 0, .ack = 1});
        asks(peer);
        // Only the first is repeated.
        time.passes(4s);
        EXPECT_EQ(held.takes_all().size(), 2u);
        peer.expects_nothing();
        for (Peer* p : {&held, &peer}) {
            p->sends({.flags = flags, .seq = 1});
            EXPECT_EQ(in(p->state(), State::established | State::close_wait), opens);
            p->forgets();
        }
        EXPECT_EQ(world.count(Tally::connections_opened), opens ? 2u : 0u);
        EXPECT_EQ(world.count(Tally::cookies_accepted), opens ? 1u : 0u);
    }
}

TEST_F(SynCookie, TheFirstCookieStillOpensWhenARecordHasComeUpSince) {
    proves("X2");
    starts_with(one_record());
    records = 1;
    Peer held{world, {peer_endpoint.address, 50'000}};
    held.sends({.flags = syn, .mss = 1460});
    held.expects({.flags = syn | ack});
    asks(peer, {.ws = 7, .sack_ok = true, .ts = true});
    const tcp::SeqNum cookie = peer.host_isn();
    // Room appears, and the peer's SYN comes again.
    held.sends({.flags = ack});
    const auto value = tcp::Timestamps{peer.ts_now(), 0};
    EXPECT_EQ(peer.sends({.flags = syn, .seq = 0, .mss = 1460, .ws = 7, .sack_ok = true, .ts = value}),
              Verdict::syn_answered);
    EXPECT_NE(peer.takes_all().at(0).raw_seq, cookie);
    EXPECT_EQ(peer.state(), State::syn_received);
    EXPECT_EQ(peer.sends({.flags = ack, .seq = 1, .ack = 1, .text = "request"}), Verdict::opened);
    EXPECT_EQ(peer.state(), State::established);
    EXPECT_EQ(world.stack().pool_use().half_open, 0u);
    EXPECT_EQ(app.received(), "request");
    EXPECT_TRUE(world.stack().info(world.stack().find_conn(peer.flow())).value().sack);
    app.sends("answer");
    EXPECT_EQ(peer.expects({.flags = ack, .seq = 1, .ack = 8, .text = "answer"}).raw_seq, cookie + 1);
    peer.sends({.flags = ack});
}

TEST_F(SynCookie, TimestampsGoOnFromTheCookieAndTheSegmentSizeSurvives) {
    proves("X3");
    for (const Duration when : {0ms, 1ms, 17ms, 63ms, 64ms, 1000ms}) {
        SCOPED_TRACE(when.count());
        starts_with(always());
        time.passes(when);
        asks(peer, {.mss = 1000, .ws = 7, .sack_ok = true, .ts = true});
        const uint32_t offered = peer.first_ts(0);
        peer.sends({.flags = ack});
        app.sends(std::string(2'000, 'x'));
        const Heard h = peer.expects({.flags = ack, .seq = 1, .bytes = 536 - 12});
        peer.forgets();
        const uint32_t later = h.segment.timestamps.value;
        EXPECT_LT(later - offered, 64u) << "older, or from another offset";
        time.passes(10s);
        app.sends("x");
        peer.forgets();
        ends(peer);
    }
}

TEST_F(SynCookie, WithoutRoomTheThirdSegmentIsDroppedAndItsRepetitionOpens) {
    proves("N4 X4");
    starts_with(settings_with([](auto& s) {
        s.capacity.connections = 1;
        s.syn_cookies = SynCookieMode::always;
    }));
    Peer first{world, {peer_endpoint.address, 50'000}};
    asks(first);
    first.sends({.flags = ack});
    asks(peer);
    EXPECT_EQ(peer.sends({.flags = ack}), Verdict::table_full);
    peer.expects_nothing();  // above all no reset
    // What the peer sends on, believing it is connected, costs it nothing either.
    EXPECT_EQ(peer.sends({.flags = ack, .seq = 1, .text = "request "}), Verdict::table_full);
    EXPECT_EQ(peer.sends({.flags = ack, .seq = 9, .text = "in two"}), Verdict::table_full);
    peer.expects_nothing();
    EXPECT_EQ(app.received(), "");
    // Who has nothing to wait for is told so again soon.
    time.passes(2s);
    EXPECT_EQ(peer.sends({.flags = ack, .seq = 9, .text = "in two"}), Verdict::bad_cookie);
    peer.expects_reset(1);
    ends(first);
    EXPECT_EQ(peer.sends({.flags = ack, .seq = 1, .text = "request "}), Verdict::opened);
    EXPECT_EQ(peer.state(), State::established);
    peer.sends({.flags = ack, .seq = 9, .text = "in two"});
    EXPECT_EQ(app.received(), "request in two");
    peer.forgets();
    ends(peer);
    expects_all_returned();
}

TEST_F(SynCookie, OpensOneConnectionAndNotTwo) {
    asks(peer);
    peer.sends({.flags = ack, .text = "request"});
    ASSERT_EQ(peer.state(), State::established);
    // Its repetition belongs to the connection.
    EXPECT_EQ(peer.sends({.flags = ack, .seq = 1, .text = "request"}), Verdict::old_data);
    EXPECT_EQ(world.count(Tally::connections_opened), 1u);
    ends(peer);
    // And afterwards to nothing.
    EXPECT_EQ(peer.sends({.flags = ack, .seq = 1, .ack = 1, .text = "request"}), Verdict::replayed_cookie);
    peer.expects_reset(1);
    EXPECT_EQ(app.received(), "request");
    expects_all_returned();
}

TEST_F(SynCookie, NeverReopensATupleInTimeWait) {
    asks(peer);
    peer.sends({.flags = ack});
    app.closes();
    peer.expects({.flags = fin | ack});
    peer.sends({.flags = fin | ack});
    peer.expects({.flags = ack});
    ASSERT_EQ(peer.state(), State::time_wait);
    const int64_t old_end = peer.heard;
    EXPECT_EQ(peer.sends({.flags = syn, .seq = 100'000, .mss = 1460}), Verdict::time_wait_reopened);
    EXPECT_EQ(peer.state(), State::syn_received);
    EXPECT_GT(peer.expects({.flags = syn | ack}).seq, old_end);
}

TEST_F(SynCookie, AMachineWithTheSameSecretCompletesTheHandshake) {
    // The other machine's clock is half a second behind; it has sent no cookie itself.
    const auto shared = settings_with([](auto& s) {
        s.syn_cookies = SynCookieMode::adaptive;
        s.cookie_secret_is_shared = true;
    });
    starts_with(always());
    time.passes(500ms);
    asks(peer, {.ws = 7, .sack_ok = true, .ts = true});
    const uint32_t offered = peer.first_ts(0);
    world.starts_over(shared);  // every start is at the same moment of the wall clock
    EXPECT_EQ(peer.sends({.flags = ack, .seq = 1, .text = "request"}), Verdict::opened);
    EXPECT_EQ(app.received(), "request");
    EXPECT_TRUE(world.info().sack);
    EXPECT_EQ(world.info().snd_scale, 7);
    app.sends("answer");
    // The peer's PAWS (RFC 7323 section 5) takes nothing older than the cookie.
    const Heard h = peer.expects({.flags = ack, .seq = 1, .text = "answer"});
    EXPECT_GE(static_cast<int32_t>(h.segment.timestamps.value - offered), 0);
    peer.sends({.flags = ack});
    EXPECT_EQ(world.info().in_flight, 0u);
}

TEST_F(SynCookie, AClockThatIsAheadByLessThanASecondMakesGoodCookiesAtTheEndOfAPeriod) {
    const auto shared = settings_with([](auto& s) { s.cookie_secret_is_shared = true; });
    starts_with(always());
    const Duration left = rest_of_period();
    const auto of_the_next_period = [&](Duration behind) {
        starts_with(always());
        time.passes(left);
        asks(peer);
        world.starts_over(shared);
        time.passes(left - behind);
        const Verdict verdict = peer.sends({.flags = ack, .seq = 1});
        peer.forgets();
        return verdict;
    };
    EXPECT_EQ(of_the_next_period(500ms), Verdict::opened);
    EXPECT_EQ(of_the_next_period(2s), Verdict::bad_cookie);
}

TEST_F(SynCookie, AListenerThatHasGoneOpensNothing) {
    asks(peer);
    world.stack().stop_listening(host_endpoint);
    EXPECT_EQ(peer.sends({.flags = ack}), Verdict::no_connection);
    peer.expects_reset(1);
}

}  // namespace
}  // namespace pollux::test
