// The application sets the Differentiated Services field of its connection, and may change it (RFC 9293 section
// 3.9.2, MUST-48, SHLD-21, SHLD-22).
#include "tests/support/conversation.hpp"

namespace pollux::test {
namespace {

using DscpChange = Conversation;

TEST_F(DscpChange, TheApplicationChangesTheFieldOfOneConnection) {
    proves("MUST-48 SHLD-21 SHLD-22");
    peer.connects();
    const tcp::ConnId first = app.conn();
    Peer other(world, {peer_endpoint.address, 41'000});
    other.connects();
    const auto dscp = [](const Heard& h) { return h.segment.traffic_class; };
    for (const uint8_t value : {uint8_t{46}, uint8_t{0}, uint8_t{63}}) {
        app.does("sets the DSCP", [&](tcp::Stack& stack, tcp::ConnId, Instant) { stack.set_dscp(first, value); });
        peer.expects_nothing();
        app.does("sends", [&](tcp::Stack& stack, tcp::ConnId, Instant) {
            EXPECT_TRUE(stack.send_copy(first, std::as_bytes(std::span("data", 4))));
        });
        EXPECT_EQ(dscp(peer.expects({.flags = ack, .bytes = 4})), value);
        peer.waits();
        EXPECT_EQ(dscp(peer.expects({.flags = ack, .bytes = 4})), value) << "repeated";
        peer.sends({.flags = ack, .text = "answer"});
        peer.waits(1s);
        EXPECT_EQ(dscp(peer.expects({.flags = ack, .bytes = 0})), value) << "a pure ACK";
        app.sends("other");
        EXPECT_EQ(dscp(other.expects({.flags = ack, .text = "other"})), 0) << "another connection keeps its own";
        other.sends({.flags = ack});
    }
    app.does("aborts", [&](tcp::Stack& stack, tcp::ConnId, Instant now) { stack.abort(first, now); });
    EXPECT_EQ(dscp(peer.takes_all().back()), 63);
}

TEST_F(DscpChange, AnOpenOfOursMaySayItBeforeItsSyn) {
    proves("MUST-48");
    const tcp::ConnId conn = world.stack().connect(peer.flow(), world.now());
    world.stack().set_dscp(conn, 46);
    world.delivers({});
    EXPECT_EQ(peer.expects({.flags = syn}).segment.traffic_class, 46);
    peer.sends({.flags = syn | ack, .seq = 0, .ack = 1});
    EXPECT_EQ(peer.expects({.flags = ack, .ack = 1}).segment.traffic_class, 46);
}

}  // namespace
}  // namespace pollux::test
