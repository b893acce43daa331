#include "tests/support/states.hpp"

namespace pollux::test {

void InEveryState::brings_to(State state, const Connect& how) {
    starts_with(world.stack().settings());
    if (state == State::listen) return;
    if (state == State::closed) {
        world.stack().stop_listening(host_endpoint);
        return;
    }
    if (state == State::syn_received) {
        peer.sends({.flags = syn, .seq = 0, .mss = how.mss, .ws = how.ws, .sack_ok = how.sack_ok});
        peer.expects({.flags = syn | ack, .seq = 0, .ack = 1});
        ASSERT_EQ(peer.state(), state);
        return;
    }
    peer.connects(how);
    const bool peer_first = tcp::in(state, State::close_wait | State::last_ack);
    if (peer_first) {
        peer.sends({.flags = fin | ack});
        peer.expects({.flags = ack, .seq = 1, .ack = 2});
    }
    if (tcp::in(state, State::fin_wait_1 | State::fin_wait_2 | State::closing | State::last_ack | State::time_wait)) {
        app.shuts_down();
        peer.expects({.flags = fin | ack, .seq = 1});
    }
    if (tcp::in(state, State::fin_wait_2 | State::time_wait)) peer.sends({.flags = ack, .ack = 2});
    if (state == State::closing) {
        peer.sends({.flags = fin | ack, .ack = 1});
        peer.expects({.flags = ack, .seq = 2, .ack = 2});
    }
    if (state == State::time_wait) {
        peer.sends({.flags = fin | ack, .ack = 2});
        peer.expects({.flags = ack, .seq = 2, .ack = 2});
    }
    peer.expects_nothing();
    app.takes_events();
    ASSERT_EQ(peer.state(), state) << "wanted " << tcp::name(state) << ", is in " << tcp::name(peer.state());
}

}  // namespace pollux::test
