// Opening: a Conversation in which the host asks and the peer answers.
#pragma once

#include "tests/support/conversation.hpp"

namespace pollux::test {

class Opening : public Conversation {
protected:
    /// The host asks the peer for a connection, on the peer's tuple; its SYN has left.
    tcp::ConnId asks() {
        const tcp::ConnId conn = world.stack().connect(peer.flow(), world.now());
        EXPECT_TRUE(conn);
        world.delivers({});
        return conn;
    }
    /// The same, with the SYN heard and forgotten.
    tcp::ConnId asks_and_is_heard(Here here = Here::current()) {
        const tcp::ConnId conn = asks();
        peer.expects({.flags = syn, .seq = 0}, here);
        peer.expects_nothing(here);
        return conn;
    }
    /// Both have sent a SYN; the host's SYN-ACK is heard and forgotten.
    tcp::ConnId crosses(Here here = Here::current()) {
        const tcp::ConnId conn = asks_and_is_heard(here);
        EXPECT_EQ(peer.sends({.flags = syn, .seq = 0, .mss = 1460}), Verdict::syns_crossed);
        peer.expects({.flags = syn | ack, .seq = 0, .ack = 1}, here);
        peer.expects_nothing(here);
        EXPECT_EQ(peer.state(), State::syn_received);
        return conn;
    }
    /// Handshake as the one who asks, with a round trip of `rtt`.
    tcp::ConnId opens(Duration rtt = 10ms, Here here = Here::current()) {
        const tcp::ConnId conn = asks_and_is_heard(here);
        world.passes(rtt);
        EXPECT_EQ(peer.sends({.flags = syn | ack, .seq = 0, .ack = 1, .mss = 1460}), Verdict::opened);
        peer.expects({.flags = ack, .seq = 1, .ack = 1, .bytes = 0}, here);
        peer.expects_nothing(here);
        EXPECT_EQ(peer.state(), State::established);
        return conn;
    }
    /// What ICMP says about the segment of ours with this sequence number.
    Verdict icmp(tcp::PathNotice::Kind kind, int64_t seq, uint32_t mtu = 0) {
        const tcp::SeqNum quoted = peer.host_isn() + static_cast<uint32_t>(seq);
        const Verdict verdict =
            world.stack().notify({.kind = kind, .flow = peer.flow(), .quoted_seq = quoted, .mtu = mtu}, world.now());
        world.delivers({});
        return verdict;
    }
    bool queues(tcp::ConnId conn, std::string_view text) {
        const bool taken = world.stack().send_copy(conn, std::as_bytes(std::span(text)));
        world.delivers({});
        return taken;
    }
};

}  // namespace pollux::test
