// What TCP asks of IP: the TTL or hop limit (RFC 9293 MUST-49) and the Differentiated Services field (MUST-48,
// SHLD-22, SHLD-23) of whatever leaves, from the SYN to the last ACK of TIME-WAIT.
#include "tests/support/opening.hpp"

namespace pollux::test {
namespace {

class IpFields : public Opening {
protected:
    struct Fields {
        uint8_t ttl, dscp;
        bool operator==(const Fields&) const = default;
    };
    /// Of all that has been heard since the last call; there were at least `least` segments.
    void all_say(const Fields& wanted, size_t least, Here here = Here::current()) {
        const auto all = peer.takes_all();
        EXPECT_GE(all.size(), least) << here.line;
        for (const Heard& h : all) {
            EXPECT_EQ(h.segment.ttl, wanted.ttl) << here.line << ": " << h.segment;
            EXPECT_EQ(h.segment.traffic_class, wanted.dscp) << here.line << ": " << h.segment;
        }
    }
    static constexpr std::array<Fields, 4> fields{{{64, 0}, {1, 46}, {255, 63}, {128, 10}}};
};

TEST_F(IpFields, AreThoseOfTheSettingsInEveryKindOfSegment) {
    proves("MUST-48 MUST-49 SHLD-22 SHLD-23");
    for (const Fields& wanted : fields) {
        starts_with(settings_with([&](auto& s) { s.ttl = wanted.ttl, s.dscp = wanted.dscp; }));
        peer.sends({.flags = syn, .mss = 1460});
        time.passes(1'100ms);
        all_say(wanted, 2);  // SYN-ACK, and again
        peer.sends({.flags = rst, .seq = 100});
        all_say(wanted, 1);  // challenge ACK of a half-open connection
        peer.sends({.flags = ack, .ack = 2});
        all_say(wanted, 1);  // RST of one
        peer.sends({.flags = ack, .ack = 1});
        peer.heard = 1;
        app.sends("data");
        time.passes(5s);
        all_say(wanted, 2);  // data, and again
        peer.sends({.flags = ack, .ack = 5, .text = "x"});
        time.passes(50ms);
        all_say(wanted, 1);  // delayed ACK
        peer.sends({.flags = syn, .seq = 9});
        peer.nxt = 2;
        all_say(wanted, 1);  // challenge ACK
        peer.sends({.flags = ack, .win = 0});
        app.sends("more");
        time.passes(10s);
        all_say(wanted, 1);  // probes
        peer.sends({.flags = ack, .ack = 5, .win = 65'535});
        peer.sends({.flags = ack, .ack = 9});
        app.shuts_down();
        all_say(wanted, 2);  // FIN
        peer.sends({.flags = fin | ack});
        ASSERT_EQ(peer.state(), State::time_wait);
        peer.sends({.flags = fin | ack, .seq = 2});
        all_say(wanted, 2);  // ACKs of TIME-WAIT
        time.passes(2min);
        peer.sends({.flags = ack, .ack = 77});
        all_say(wanted, 1);  // RST without a connection
    }
}

TEST_F(IpFields, AreThoseOfTheSettingsInOpensOfOurs) {
    proves("MUST-48 MUST-49 SHLD-22 SHLD-23");
    for (const Fields& wanted : fields) {
        starts_with(settings_with([&](auto& s) { s.ttl = wanted.ttl, s.dscp = wanted.dscp; }));
        asks();
        time.passes(1'100ms);
        all_say(wanted, 2);
        peer.sends({.flags = syn, .seq = 0});
        all_say(wanted, 1);  // SYN-ACK of crossing SYNs
        peer.sends({.flags = ack, .seq = 1, .ack = 1});
        app.aborts();
        all_say(wanted, 1);  // RST of a connection
    }
}

TEST_F(IpFields, DoNotFollowThePeers) {
    // Each direction has a field of its own (RFC 9293 section 3.9.2).
    proves("MUST-48 SHLD-23");
    starts_with(settings_with([](auto& s) { s.ttl = 64, s.dscp = 10; }));
    peer.connects();
    for (const uint8_t theirs : {uint8_t{0}, uint8_t{46}, uint8_t{63}}) {
        Packet packet = peer.packet_of({.flags = ack, .text = "data"});
        const auto parsed = tcp::wire::parse(packet, tcp::wire::ChecksumTrust::verify_all);
        tcp::Segment segment = parsed.segment;
        // What parse() calls ours is the host's: emit() wants the sender's view.
        segment.flow = {parsed.segment.flow.remote_addr, parsed.segment.flow.local_addr,
                        parsed.segment.flow.remote_port, parsed.segment.flow.local_port};
        segment.traffic_class = theirs;
        segment.ttl = 3;
        Packet marked(packet.size());
        ASSERT_TRUE(tcp::wire::emit(segment, marked));
        peer.sends_packet(marked);
        time.passes(50ms);
        all_say({64, 10}, 1);
    }
    EXPECT_EQ(app.received(), "datadatadata");
}

}  // namespace
}  // namespace pollux::test
