// Path MTU discovery: RFC 1191 section 6, RFC 8201 section 5, and whom to believe: RFC 5927 section 7.
//
// MTUs are those that leave the same room over either family (family.hpp), but for the least ones.
#include "tests/support/states.hpp"

namespace pollux::test {
namespace {

using NoticeKind = tcp::PathNotice::Kind;

class PathMtu : public InEveryState {
protected:
    /// ICMP "too big" about the segment with this sequence number, and the turn in which it comes.
    Verdict too_big(uint32_t mtu, int64_t seq, uint32_t quoted_length = 0) {
        const tcp::SeqNum quoted = peer.host_isn() + static_cast<uint32_t>(seq);
        const tcp::PathNotice notice{.kind = NoticeKind::too_big,
                                     .flow = peer.flow(),
                                     .quoted_seq = quoted,
                                     .mtu = mtu,
                                     .quoted_length = quoted_length};
        world.log().note(world.now(), "ICMP: too big, " + std::to_string(mtu));
        const Verdict verdict = world.stack().notify(notice, world.now());
        world.delivers({});
        return verdict;
    }
    /// The peer has heard [from, end) in order, in segments of `size` bytes, the last of them perhaps smaller.
    void expects_again(int64_t from, int64_t end, int64_t size, Here here = Here::current()) {
        for (int64_t at = from; at < end; at += size) {
            const auto bytes = static_cast<size_t>(std::min(size, end - at));
            peer.expects({.flags = ack, .seq = at, .bytes = bytes}, here);
        }
        peer.expects_nothing(here);
    }
    /// Ten segments of 1460 bytes are in flight and have been heard.
    void ten_in_flight() {
        peer.connects();
        app.sends_pattern(14'600);
        peer.expects_exactly(10);
    }
    static constexpr int64_t end_of_ten = 14'601;
};

TEST_F(PathMtu, TooBigMakesSegmentsSmallerAndRetransmitsAtOnce) {
    proves("H3 SHLD-6");
    ten_in_flight();
    const tcp::ConnInfo before = world.info();
    EXPECT_EQ(too_big(mtu_like(1'300), 1), Verdict::path_notice);
    expects_again(1, end_of_ten, 1'260);
    EXPECT_EQ(world.info().mss, 1'260u);
    // No congestion: the network has said what it wants.
    EXPECT_EQ(world.info().cwnd, before.cwnd);
    EXPECT_EQ(world.info().ssthresh, before.ssthresh);
    EXPECT_EQ(world.count(Tally::path_mtu_lowered), 1u);
    EXPECT_EQ(world.count(Tally::retransmission_timeouts), 0u);
    peer.sends({.flags = ack});
    EXPECT_FALSE(world.info().in_recovery);
    // And so for all that follows.
    app.sends_pattern(2'600);
    peer.expects({.flags = ack, .seq = end_of_ten, .bytes = 1'260});
    peer.expects({.flags = ack, .seq = end_of_ten + 1'260, .bytes = 1'260});
    peer.expects({.flags = ack, .seq = end_of_ten + 2'520, .bytes = 80});
    EXPECT_TRUE(same(peer.stream(), pattern(0, 17'200)));
}

TEST_F(PathMtu, AnyOutstandingSegmentMayBeQuoted) {
    proves("H3 D11 MUST-54");
    for (const int64_t seq : {int64_t{1}, int64_t{2}, int64_t{7'301}, end_of_ten - 1}) {
        SCOPED_TRACE(seq);
        starts_with(small_settings());
        ten_in_flight();
        EXPECT_EQ(too_big(mtu_like(1'300), seq), Verdict::path_notice);
        expects_again(1, end_of_ten, 1'260);
    }
}

TEST_F(PathMtu, OptionsComeOffTheSmallerSegmentsToo) {
    proves("H3 H2 MUST-16");
    peer.connects({.ts = true});
    app.sends_pattern(2'896);
    peer.expects_exactly(2);
    EXPECT_EQ(too_big(mtu_like(1'300), 1), Verdict::path_notice);
    expects_again(1, 2'897, 1'248);
    EXPECT_EQ(world.info().mss, 1'248u);
}

TEST_F(PathMtu, WhatIsAcknowledgedIsNotSentAgain) {
    proves("H3");
    ten_in_flight();
    peer.sends({.flags = ack, .ack = 1'461});
    EXPECT_EQ(too_big(mtu_like(1'300), 1), Verdict::icmp_ignored);
    EXPECT_EQ(too_big(mtu_like(1'300), 1'461), Verdict::path_notice);
    expects_again(1'461, end_of_ten, 1'260);
}

TEST_F(PathMtu, RepeatedMessageIsActedOnOnce) {
    proves("H4");
    ten_in_flight();
    EXPECT_EQ(too_big(mtu_like(1'300), 1), Verdict::path_notice);
    expects_again(1, end_of_ten, 1'260);
    // One for each of the other packets that did not fit.
    for (int64_t seq = 1'461; seq < end_of_ten; seq += 1'460) {
        EXPECT_EQ(too_big(mtu_like(1'300), seq), Verdict::icmp_ignored);
        peer.expects_nothing();
    }
    EXPECT_EQ(world.count(Tally::path_mtu_lowered), 1u);
}

TEST_F(PathMtu, NarrowerLinksFurtherOnAreFollowed) {
    proves("H3");
    ten_in_flight();
    EXPECT_EQ(too_big(mtu_like(1'400), 1), Verdict::path_notice);
    expects_again(1, end_of_ten, 1'360);
    EXPECT_EQ(too_big(mtu_like(1'300), 1), Verdict::path_notice);
    expects_again(1, end_of_ten, 1'260);
    peer.sends({.flags = ack});
    EXPECT_TRUE(same(peer.stream(), pattern(0, 14'600)));
}

TEST_F(PathMtu, WrongSequenceIsIgnored) {
    proves("H4 D11 MUST-54");
    ten_in_flight();
    peer.sends({.flags = ack, .ack = 2'921});
    for (const int64_t seq : {int64_t{-1'000'000}, int64_t{0}, int64_t{1}, int64_t{2'920}, end_of_ten, end_of_ten + 1,
                              int64_t{1'000'000'000}}) {
        EXPECT_EQ(too_big(mtu_like(1'300), seq), Verdict::icmp_ignored) << seq;
        peer.expects_nothing();
    }
    EXPECT_EQ(world.info().mss, 1'460u);
    peer.sends({.flags = ack});
    EXPECT_EQ(too_big(mtu_like(1'300), end_of_ten - 1), Verdict::icmp_ignored);  // nothing is in flight
    EXPECT_EQ(too_big(mtu_like(1'300), end_of_ten), Verdict::icmp_ignored);
    EXPECT_EQ(world.info().mss, 1'460u);
}

TEST_F(PathMtu, SizesBelowTheMinimumOrNotSmallerAreIgnored) {
    proves("H4");
    ten_in_flight();
    const uint32_t least = by_family(552u, 1'280u);
    const uint32_t now = mtu_like(1'500);
    for (const uint32_t mtu : {1u, 68u, 551u, least - 1, now, now + 1, 9'000u, 65'535u, 0xffff'ffffu}) {
        EXPECT_EQ(too_big(mtu, 1), Verdict::icmp_ignored) << mtu;
        peer.expects_nothing();
        EXPECT_EQ(world.info().mss, 1'460u);
    }
    EXPECT_EQ(too_big(now - 1, 1), Verdict::path_notice);
    expects_again(1, end_of_ten, 1'459);
    EXPECT_EQ(too_big(least, 1), Verdict::path_notice);
    expects_again(1, end_of_ten, by_family(512, 1'220));
}

TEST_F(PathMtu, SizeAgreedWithASmallPeerIsTheCurrentOne) {
    proves("H4");
    peer.connects({.mss = uint16_t{1'260}});
    app.sends_pattern(2'520);
    peer.expects_exactly(2);
    EXPECT_EQ(too_big(mtu_like(1'400), 1), Verdict::icmp_ignored);
    EXPECT_EQ(too_big(mtu_like(1'300), 1), Verdict::icmp_ignored);
    peer.expects_nothing();
    EXPECT_EQ(world.info().mss, 1'260u);
}

TEST_F(PathMtu, RoutersThatNameNoMtuAreFollowedDownThePlateaus) {
    // RFC 1191 section 7.1, for IPv4 alone: RFC 8201 knows no such routers, and 0 is below the minimum.
    proves("H3 H4");
    starts_with(settings_with([](auto& s) { s.mtu = mtu_like(9'000); }));
    peer.connects({.mss = uint16_t{8'960}});
    app.sends_pattern(8'960);
    peer.expects({.flags = ack, .seq = 1, .bytes = 8'960});
    uint32_t sent = 9'000;
    if (!over_ipv6()) {
        for (const uint32_t mtu : {8'166u, 4'352u, 2'002u, 1'492u, 1'006u, 552u}) {
            SCOPED_TRACE(mtu);
            EXPECT_EQ(too_big(0, 1, sent), Verdict::path_notice);
            expects_again(1, 8'961, int64_t{mtu} - 40);
            sent = mtu;
        }
    }
    EXPECT_EQ(too_big(0, 1, sent), Verdict::icmp_ignored);
    peer.expects_nothing();
}

TEST_F(PathMtu, LaterMessagesAboutTheSamePlateauChangeNothing) {
    // RFC 1191 section 5: what counts is the length of the packet that did not fit, not what we send by now.
    proves("H3 H4");
    ten_in_flight();
    const uint32_t mss = by_family(1'452u, 1'460u);  // IPv6 knows no plateaus
    EXPECT_EQ(too_big(0, 1, 1'500), by_family(Verdict::path_notice, Verdict::icmp_ignored));
    if (!over_ipv6()) expects_again(1, end_of_ten, mss);
    for (int64_t seq = 1'461; seq < end_of_ten; seq += 1'460) {
        EXPECT_EQ(too_big(0, seq, 1'500), Verdict::icmp_ignored);
        peer.expects_nothing();
    }
    // Lies: no packet of this length is too big for anything.
    for (const uint32_t length : {0u, 40u, 552u}) EXPECT_EQ(too_big(0, 1, length), Verdict::icmp_ignored);
    peer.expects_nothing();
    EXPECT_EQ(world.info().mss, mss);
}

TEST_F(PathMtu, DuplicateAcksOfWhatArrivedTwiceAreNoLoss) {
    proves("H3");
    ten_in_flight();
    const tcp::ConnInfo before = world.info();
    EXPECT_EQ(too_big(mtu_like(1'300), 1), Verdict::path_notice);
    expects_again(1, end_of_ten, 1'260);
    for (int i = 0; i < 8; ++i) peer.sends({.flags = ack, .ack = 1});
    peer.expects_nothing();
    EXPECT_EQ(world.count(Tally::fast_retransmits), 0u);
    EXPECT_EQ(world.info().ssthresh, before.ssthresh);
    peer.sends({.flags = ack});
    EXPECT_GE(world.info().cwnd, before.cwnd);
}

TEST_F(PathMtu, TimerRunsOnForWhatWasSentAgain) {
    proves("H3");
    ten_in_flight();
    time.passes(100ms);
    EXPECT_EQ(too_big(mtu_like(1'300), 1), Verdict::path_notice);
    const Duration rto = world.info().rto;
    expects_again(1, end_of_ten, 1'260);
    EXPECT_TRUE(about(peer.waits(), rto));
    peer.expects({.flags = ack, .seq = 1, .bytes = 1'260});
}

TEST_F(PathMtu, RecoveriesGoOnInTheSmallerSize) {
    proves("H3");
    // Of a loss told by duplicate ACKs: its halved window stays, its inflation ends.
    ten_in_flight();
    for (int i = 0; i < 3; ++i) peer.sends({.flags = ack, .ack = 1});
    peer.expects({.flags = ack, .seq = 1, .bytes = 1'460});
    const uint32_t ssthresh = world.info().ssthresh;
    EXPECT_EQ(too_big(mtu_like(1'300), 1), Verdict::path_notice);
    EXPECT_EQ(world.info().ssthresh, ssthresh);
    EXPECT_LE(world.info().cwnd, ssthresh);
    while (world.info().in_flight > 0) {
        const auto heard = peer.takes_all();
        ASSERT_FALSE(heard.empty());
        for (const Heard& h : heard) EXPECT_LE(h.bytes(), 1'260u);
        peer.sends({.flags = ack, .ack = heard.back().end()});
    }
    // Of a timeout: the one segment that cwnd allows, now a smaller one.
    starts_with(small_settings());
    ten_in_flight();
    peer.waits();
    peer.expects({.flags = ack, .seq = 1, .bytes = 1'460});
    EXPECT_EQ(too_big(mtu_like(1'300), 1), Verdict::path_notice);
    peer.expects({.flags = ack, .seq = 1, .bytes = 1'260});
    peer.expects_nothing();
    EXPECT_EQ(world.info().cwnd, 1'460u);
}

TEST_F(PathMtu, NothingIsSentIntoAClosedWindow) {
    proves("H3");
    peer.connects();
    app.sends_pattern(2'920);
    peer.expects_exactly(2);
    peer.sends({.flags = ack, .ack = 1, .win = 0});
    EXPECT_EQ(too_big(mtu_like(1'300), 1), Verdict::path_notice);
    peer.expects_nothing();
    EXPECT_EQ(world.info().mss, 1'260u);
    peer.waits();
    EXPECT_LE(peer.expects({.flags = ack, .seq = 1}).bytes(), 1u);  // the probe
    peer.sends({.flags = ack, .ack = 1, .win = 65'535});
    while (world.info().in_flight > 0) {
        if (peer.heard_nothing()) peer.waits();
        for (const Heard& h : peer.takes_all()) {
            EXPECT_LE(h.bytes(), 1'260u);
            peer.sends({.flags = ack, .ack = h.end()});
        }
    }
    EXPECT_TRUE(same(peer.stream(), pattern(0, 2'920)));
}

TEST_F(PathMtu, WhatDidNotFitLeavesWithTheOpeningOfTheWindow) {
    proves("H3");
    for (const bool probed : {false, true}) {
        SCOPED_TRACE(probed);
        starts_with(small_settings());
        ten_in_flight();
        const tcp::ConnInfo before = world.info();
        peer.sends({.flags = ack, .ack = 1, .win = 0});
        EXPECT_EQ(too_big(mtu_like(1'300), 1), Verdict::path_notice);
        peer.expects_nothing();
        if (probed) {
            peer.waits();
            peer.expects({.flags = ack, .seq = 1, .bytes = 1});
            peer.expects_nothing();
        }
        peer.sends({.flags = ack, .ack = 1, .win = 65'535});
        expects_again(1, end_of_ten, 1'260);
        EXPECT_EQ(world.info().cwnd, before.cwnd);
        EXPECT_EQ(world.info().ssthresh, before.ssthresh);
        EXPECT_EQ(world.count(Tally::retransmission_timeouts), 0u);
        peer.sends({.flags = ack});
        EXPECT_TRUE(same(peer.stream(), pattern(0, 14'600)));
    }
}

TEST_F(PathMtu, FinLeavesAgainBehindItsData) {
    proves("H3");
    peer.connects();
    app.sends_pattern(1'460);
    app.shuts_down();
    peer.expects({.flags = ack, .seq = 1, .bytes = 1'460});
    peer.expects({.flags = fin | ack, .seq = 1'461});
    EXPECT_EQ(too_big(mtu_like(1'300), 1), Verdict::path_notice);
    peer.expects({.flags = ack, .seq = 1, .bytes = 1'260});
    peer.expects({.flags = fin | ack, .seq = 1'261, .bytes = 200});
    peer.sends({.flags = fin | ack});
    peer.expects({.flags = ack, .seq = 1'462});
    EXPECT_EQ(peer.state(), State::time_wait);
}

TEST_F(PathMtu, NoStateIsLeftForIt) {
    proves("H3 MUST-54");
    for (const State state : synchronized_states) {
        SCOPED_TRACE(tcp::name(state));
        brings_to(state);
        // In flight is our FIN, or nothing.
        const bool outstanding = snd_una(state) != snd_nxt(state);
        const auto expected = outstanding ? Verdict::path_notice : Verdict::icmp_ignored;
        EXPECT_EQ(too_big(mtu_like(1'400), 1), expected);
        if (outstanding) peer.expects({.flags = fin | ack, .seq = 1, .bytes = 0});
        peer.expects_nothing();
        EXPECT_EQ(peer.state(), state);
    }
}

TEST_F(PathMtu, OtherConnectionsKeepTheirSize) {
    proves("H3 MUST-54");
    ten_in_flight();
    Peer other(world, {peer_endpoint.address, 41'000});
    other.connects();
    const tcp::ConnId second = app.conn();
    EXPECT_EQ(too_big(mtu_like(1'300), 1), Verdict::path_notice);
    expects_again(1, end_of_ten, 1'260);
    other.expects_nothing();
    EXPECT_EQ(world.stack().info(second)->mss, 1'460u);
}

TEST_F(PathMtu, OtherErrorsChangeNoSizeAndSendNothing) {
    proves("D11 MUST-56");
    ten_in_flight();
    for (const NoticeKind kind :
         {NoticeKind::unreachable_soft, NoticeKind::unreachable_hard, NoticeKind::neighbor_unreachable}) {
        world.stack().notify({.kind = kind, .flow = peer.flow(), .quoted_seq = peer.host_isn() + 1, .mtu = 1'000},
                             world.now());
        world.delivers({});
        peer.expects_nothing();
        EXPECT_EQ(world.info().mss, 1'460u);
    }
}

}  // namespace
}  // namespace pollux::test
