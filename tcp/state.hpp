// The states of RFC 9293 section 3.3.2, one bit each, so that a rule over several states reads as a set:
//     c.state.in(State::fin_wait_1 | State::closing | State::last_ack)
// A Conn is never in LISTEN, SYN-RECEIVED from LISTEN or TIME-WAIT: listeners, half-open records and TIME-WAIT
// records are smaller things of their own.
#pragma once

#include <cstdint>
#include <string_view>

namespace pollux::tcp {

enum class State : uint16_t {
    closed = 0,
    listen = 1,
    syn_sent = 2,
    syn_received = 4,
    established = 8,
    fin_wait_1 = 16,
    fin_wait_2 = 32,
    close_wait = 64,
    closing = 128,
    last_ack = 256,
    time_wait = 512,
};
constexpr State operator|(State a, State b) { return State(uint16_t(a) | uint16_t(b)); }
/// Whether `state` is one of the set `states`.
constexpr bool in(State state, State states) { return (uint16_t(state) & uint16_t(states)) != 0; }

/// Of a Conn: asked for by us, and not ESTABLISHED yet.
inline constexpr State opening_states = State::syn_sent | State::syn_received;
/// We may still queue new data (our FIN is not queued yet as far as the state knows). While opening it waits.
inline constexpr State can_send_states = opening_states | State::established | State::close_wait;
/// The peer may still send data.
inline constexpr State can_receive_states = State::established | State::fin_wait_1 | State::fin_wait_2;
/// Our FIN is sent and unacknowledged.
inline constexpr State fin_unacknowledged_states = State::fin_wait_1 | State::closing | State::last_ack;

/// "ESTABLISHED", as the RFC spells it.
constexpr std::string_view name(State state) {
    switch (state) {
        case State::closed: return "CLOSED";
        case State::listen: return "LISTEN";
        case State::syn_sent: return "SYN-SENT";
        case State::syn_received: return "SYN-RECEIVED";
        case State::established: return "ESTABLISHED";
        case State::fin_wait_1: return "FIN-WAIT-1";
        case State::fin_wait_2: return "FIN-WAIT-2";
        case State::close_wait: return "CLOSE-WAIT";
        case State::closing: return "CLOSING";
        case State::last_ack: return "LAST-ACK";
        case State::time_wait: return "TIME-WAIT";
    }
    return "?";
}

/// The arrows of RFC 9293 figure 5 that a Conn can take; debug builds check every transition against them.
constexpr bool may_follow(State from, State to) {
    switch (from) {
        case State::closed: return in(to, State::syn_sent | State::syn_received | State::established);
        case State::listen: return in(to, State::syn_received | State::syn_sent);
        case State::syn_sent: return to == State::closed || in(to, State::syn_received | State::established);
        case State::syn_received:
            return to == State::closed || in(to, State::established | State::fin_wait_1 | State::close_wait);
        case State::established: return to == State::closed || in(to, State::fin_wait_1 | State::close_wait);
        case State::fin_wait_1:
            return to == State::closed || in(to, State::fin_wait_2 | State::closing | State::time_wait);
        case State::fin_wait_2: return to == State::closed || to == State::time_wait;
        case State::close_wait: return to == State::closed || to == State::last_ack;
        case State::closing: return to == State::closed || to == State::time_wait;
        case State::last_ack: return to == State::closed;
        case State::time_wait: return to == State::closed;
    }
    return false;
}

}  // namespace pollux::tcp
