// No connection: the CLOSED state of RFC 9293 section 3.10.7.1, and packets that are not even segments.
#include "tests/support/states.hpp"

namespace pollux::test {
namespace {

class Closed : public InEveryState {
protected:
    Closed() { brings_to(State::closed); }
};

TEST_F(Closed, SegmentWithoutAckIsAnsweredByResetThatAcknowledgesIt) {
    proves("C1");
    struct Case {
        Flags flags;
        std::string_view text;
        int64_t length;
    };
    for (const Case& c :
         {Case{syn, "", 1}, Case{fin, "", 1}, Case{none, "", 0}, Case{none, "data", 4}, Case{psh, "data", 4},
          Case{fin, "data", 5}, Case{syn, "data", 5}, Case{urg, "", 0}, Case{syn | fin, "data", 6}}) {
        SCOPED_TRACE(tcp::to_string(c.flags) + " with " + std::string(c.text));
        peer.sends({.flags = c.flags, .seq = 100, .text = c.text});
        peer.expects({.flags = rst | ack, .seq = 0, .ack = 100 + c.length, .win = 0, .bytes = 0});
        peer.expects_nothing();
    }
    expects_all_returned();
}

TEST_F(Closed, SegmentWithAckIsAnsweredByResetAtItsAcknowledgment) {
    proves("C2");
    for (const Flags flags : {ack, fin | ack, syn | ack, psh | ack, syn | fin | ack, urg | ack}) {
        for (const int64_t number : {int64_t{0}, int64_t{777}, int64_t{0xffff'ffff}, int64_t{0x8000'0000}}) {
            SCOPED_TRACE(tcp::to_string(flags) + " ack " + std::to_string(number));
            peer.sends({.flags = flags, .seq = 100, .ack = number, .text = "data"});
            const Heard h = peer.expects({.flags = rst, .win = 0, .bytes = 0});
            EXPECT_EQ(h.raw_seq.raw(), static_cast<uint32_t>(number));
            peer.expects_nothing();
        }
    }
    expects_all_returned();
}

TEST_F(Closed, ResetIsNeverAnswered) {
    proves("C3");
    for (const Flags flags : {rst, rst | ack, rst | syn, rst | fin, rst | syn | ack, rst | psh | urg}) {
        SCOPED_TRACE(tcp::to_string(flags));
        EXPECT_EQ(peer.sends({.flags = flags, .seq = 100, .ack = 5, .text = "data"}), Verdict::reset_ignored);
        peer.expects_nothing();
    }
    expects_all_returned();
}

TEST_F(Closed, ResetsAreRateLimitedAndTheLimitIsCounted) {
    starts_with(settings_with([](auto& s) { s.resets_per_second = 10; }));
    size_t answered = 0;
    for (int i = 0; i < 1'000; ++i) {
        peer.sends({.flags = ack, .seq = 100, .ack = 5});
        answered += peer.takes_all().size();
    }
    EXPECT_GE(answered, 1u);
    EXPECT_LE(answered, 30u);  // 10 with jitter
    EXPECT_EQ(world.count(Tally::resets_sent), answered);
    EXPECT_EQ(world.count(Verdict::reset_limited), 1'000 - answered);
    time.passes(3s);
    peer.sends({.flags = ack, .seq = 100, .ack = 5});
    peer.expects({.flags = rst, .seq = 5});
}

// ---- Damaged packets. ---------------------------------------------------------------------------------------------

class Damaged : public InEveryState {
protected:
    const size_t ip_header = ip_header_size();

    /// The packet with its TCP checksum made good again after a change.
    Packet with_good_checksum(Packet packet) const {
        packet[ip_header + 16] = packet[ip_header + 17] = std::byte{0};
        const auto word = [&](size_t at) {
            return uint64_t(packet[at]) << 8 | uint64_t(at + 1 < packet.size() ? packet[at + 1] : std::byte{0});
        };
        uint64_t sum = 6 + (packet.size() - ip_header);
        for (size_t at = by_family(12, 8); at < ip_header; at += 2) sum += word(at);  // the addresses
        for (size_t at = ip_header; at < packet.size(); at += 2) sum += word(at);
        while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
        packet[ip_header + 16] = static_cast<std::byte>(~sum >> 8);
        packet[ip_header + 17] = static_cast<std::byte>(~sum);
        return packet;
    }
    /// Nothing is answered, and nothing has changed.
    void is_dropped(const Packet& packet, tcp::wire::ParseResult result) {
        const State before = peer.state();
        const tcp::PoolUse use = world.stack().pool_use();
        peer.sends_packet(packet);
        EXPECT_EQ(world.host().last_parse(), result);
        peer.expects_nothing();
        EXPECT_EQ(peer.state(), before);
        EXPECT_EQ(world.stack().pool_use(), use);
        EXPECT_EQ(app.takes_events(), Events{});
        EXPECT_EQ(app.received(), "");
    }
};

TEST_F(Damaged, BadChecksumIsDroppedSilentlyInEveryState) {
    proves("C4 MUST-3");
    for (const State state :
         {State::closed, State::listen, State::syn_received, State::established, State::fin_wait_1, State::fin_wait_2,
          State::close_wait, State::closing, State::last_ack, State::time_wait}) {
        SCOPED_TRACE(tcp::name(state));
        brings_to(state);
        for (const Flags flags : {syn, ack, rst, fin | ack}) {
            Packet packet = peer.packet_of({.flags = flags, .text = "data"});
            packet.back() ^= std::byte{1};
            is_dropped(packet, tcp::wire::ParseResult::bad_tcp_checksum);
        }
    }
}

TEST_F(Damaged, EveryBitOfTheTcpSegmentIsCoveredByTheChecksum) {
    proves("C4 MUST-3");
    brings_to(State::established);
    const Packet packet = peer.packet_of({.flags = ack, .text = "data"});
    for (size_t bit = ip_header * 8; bit < packet.size() * 8; ++bit) {
        SCOPED_TRACE(bit);
        Packet damaged = packet;
        damaged[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
        peer.sends_packet(damaged);
        EXPECT_NE(world.host().last_parse(), tcp::wire::ParseResult::ok);
        peer.expects_nothing();
        EXPECT_EQ(app.received(), "");
    }
    EXPECT_EQ(peer.state(), State::established);
}

TEST_F(Damaged, BadDataOffsetIsDroppedSilently) {
    proves("C4");
    for (const State state : {State::listen, State::established}) {
        brings_to(state);
        const Packet packet = peer.packet_of({.flags = state == State::listen ? syn : ack, .text = "data"});
        for (const unsigned offset : {0u, 1u, 4u, 7u, 15u}) {
            SCOPED_TRACE(offset);
            Packet damaged = packet;
            damaged[ip_header + 12] = static_cast<std::byte>(offset << 4);
            is_dropped(with_good_checksum(damaged), tcp::wire::ParseResult::bad_tcp_header);
        }
    }
}

TEST_F(Damaged, IllegalOptionLengthIsDroppedSilently) {
    proves("C4 MUST-7");
    for (const State state : {State::listen, State::established}) {
        brings_to(state);
        // Timestamps bring 12 bytes of options; their first two words become what follows.
        const Packet packet = peer.packet_of(
            {.flags = state == State::listen ? syn : ack, .text = "data", .ts = tcp::Timestamps{1, 2}});
        for (const auto& [kind, length] : {std::pair{2u, 0u},
                                           {2u, 1u},
                                           {2u, 3u},
                                           {3u, 200u},
                                           {8u, 9u},
                                           {99u, 0u},
                                           {99u, 1u},
                                           {99u, 13u},
                                           {5u, 9u}}) {
            SCOPED_TRACE(std::to_string(kind) + " length " + std::to_string(length));
            Packet damaged = packet;
            damaged[ip_header + 20] = static_cast<std::byte>(kind);
            damaged[ip_header + 21] = static_cast<std::byte>(length);
            is_dropped(with_good_checksum(damaged), tcp::wire::ParseResult::bad_options);
        }
    }
}

TEST_F(Damaged, TruncatedPacketIsDroppedSilently) {
    proves("C4");
    brings_to(State::established);
    const Packet packet = peer.packet_of({.flags = ack, .text = "data"});
    for (size_t size = 0; size < packet.size(); ++size) {
        peer.sends_packet({packet.begin(), packet.begin() + static_cast<ptrdiff_t>(size)});
        EXPECT_NE(world.host().last_parse(), tcp::wire::ParseResult::ok) << size;
        peer.expects_nothing();
    }
    EXPECT_EQ(app.received(), "");
    peer.sends({.flags = ack, .text = "data"});
    EXPECT_EQ(app.received(), "data");
    peer.forgets();
}

}  // namespace
}  // namespace pollux::test
