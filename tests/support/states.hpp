// Ways into every state of RFC 9293, for tests that ask the same question in each of them.
#pragma once

#include <array>

#include "tests/support/conversation.hpp"

namespace pollux::test {

/// The states that follow a complete handshake and belong to a connection.
inline constexpr std::array synchronized_states{State::established, State::fin_wait_1, State::fin_wait_2,
                                                State::close_wait,  State::closing,    State::last_ack};

class InEveryState : public Conversation {
protected:
    /// A fresh host whose connection with the peer is in `state`. SND.UNA and SND.NXT are 1 and 1 in ESTABLISHED and
    /// CLOSE-WAIT, 1 and 2 where our FIN is unacknowledged, 2 and 2 else; RCV.NXT is peer.nxt. Where the handshake is
    /// complete, the application's half is closed by shutdown().
    void brings_to(State state, const Connect& how = {});
    /// Our next sequence number in that state.
    static int64_t snd_nxt(State state) {
        return tcp::in(state, State::established | State::close_wait | State::syn_received) ? 1 : 2;
    }
    static int64_t snd_una(State state) { return tcp::in(state, State::fin_wait_2 | State::time_wait) ? 2 : 1; }
};

}  // namespace pollux::test
