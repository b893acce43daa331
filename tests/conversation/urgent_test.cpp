// Urgent data (RFC 9293 section 3.8.5). Declared deviation: the application is neither told nor asked (MUST-32,
// MUST-33); urgent octets are delivered in line with all others, whatever the pointer says, and none are ever sent.
#include "tcp/wire/checksum.hpp"
#include "tests/support/states.hpp"

namespace pollux::test {
namespace {

class Urgent : public InEveryState {
protected:
    /// The segment with URG and an urgent pointer: the first octet that is not urgent, counted from SEG.SEQ
    /// (MUST-62).
    void sends_urgent(Send what, uint16_t pointer) {
        what.flags = what.flags | urg;
        Packet packet = peer.packet_of(what);
        std::byte* const header = packet.data() + ip_header_size();
        const uint16_t before = tcp::wire::load_be16(header + 18);
        tcp::wire::store_be16(header + 18, pointer);
        const uint16_t sum = tcp::wire::load_be16(header + 16);
        tcp::wire::store_be16(header + 16, tcp::wire::updated_checksum(sum, before, pointer));
        peer.sends_packet(packet);
    }
};

TEST_F(Urgent, OctetsAreDeliveredInLineWhereverThePointerPoints) {
    proves("MUST-30 MUST-31 MUST-62");
    for (const uint16_t pointer : std::initializer_list<uint16_t>{0, 1, 4, 5, 6, 1'000, 32'768, 65'535}) {
        SCOPED_TRACE(pointer);
        starts_with(small_settings());
        peer.connects();
        sends_urgent({.flags = ack, .text = "alarm"}, pointer);
        EXPECT_EQ(app.received(), "alarm");
        peer.sends({.flags = ack, .text = " over"});
        EXPECT_EQ(app.received(), "alarm over");
        time.passes(50ms);
        peer.expects({.flags = ack, .seq = 1, .ack = 11});
        peer.expects_nothing();
        EXPECT_EQ(peer.state(), State::established);
    }
}

TEST_F(Urgent, UrgentDataMayBeLongerThanAWindow) {
    proves("MUST-31");
    peer.connects();
    std::string all;
    for (int i = 0; i < 100; ++i) {  // the mode lasts as long as the pointer runs ahead
        const std::string part = pattern(all.size(), 1'000);
        sends_urgent({.flags = ack, .text = part}, 65'535);
        all += part;
        peer.forgets();
    }
    EXPECT_TRUE(same(app.received(), all));
}

TEST_F(Urgent, AnnouncementsWithoutDataAndAtAClosedWindowAreTaken) {
    proves("MUST-30 MUST-66");
    starts_with(settings_with([](auto& s) { s.receive_buffer = 4'096; }));
    app.consumes = false;
    peer.connects();
    sends_urgent({.flags = ack}, 1'000);
    peer.expects_nothing();
    while (peer.nxt < peer.edge()) {
        peer.sends({.flags = ack, .bytes = static_cast<size_t>(std::min<int64_t>(1'024, peer.edge() - peer.nxt))});
    }
    time.passes(50ms);
    peer.forgets();
    app.sends("answer");
    peer.expects({.flags = ack, .text = "answer"});
    sends_urgent({.flags = ack}, 1'000);  // its ACK field counts
    EXPECT_EQ(world.stack().unacknowledged(app.conn()), 0u);
    EXPECT_EQ(peer.state(), State::established);
    peer.expects_nothing();
}

TEST_F(Urgent, OutOfOrderOctetsTakeTheirPlace) {
    proves("MUST-30");
    peer.connects();
    sends_urgent({.flags = ack, .seq = 6, .text = "world"}, 5);
    sends_urgent({.flags = ack, .seq = 1, .text = "hello"}, 10);
    EXPECT_EQ(app.received(), "helloworld");
    peer.forgets();
}

TEST_F(Urgent, SegmentsThatAreTakenAreCounted) {
    proves("MUST-30");
    peer.connects();
    const auto count = [this] { return world.count(Tally::urgent_segments); };
    peer.sends({.flags = ack, .text = "calm"});
    EXPECT_EQ(count(), 0u);
    sends_urgent({.flags = ack, .text = "alarm"}, 5);
    sends_urgent({.flags = ack}, 5);
    EXPECT_EQ(count(), 2u);
    sends_urgent({.flags = ack, .seq = peer.edge() + 1, .text = "outside"}, 5);
    sends_urgent({.flags = ack, .seq = 10, .ack = 2, .text = "of unsent"}, 5);
    EXPECT_EQ(count(), 2u);
    peer.forgets();
}

TEST_F(Urgent, NoneIsEverSent) {
    proves("MUST-62");
    peer.connects();
    sends_urgent({.flags = ack, .text = "alarm"}, 5);
    app.sends_pattern(5'000);
    app.shuts_down();
    time.passes(1s);
    for (const Heard& h : peer.takes_all()) EXPECT_FALSE(h.has(urg));
}

}  // namespace
}  // namespace pollux::test
