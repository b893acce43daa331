// All 64 sets of the six flags of RFC 9293 section 3.1, in all eleven states, each at the right place of the sequence
// space and acknowledging nothing new: what comes back, and where the connection stands afterwards. The order of the
// checks is that of section 3.10.7: RST, SYN, ACK, FIN; PSH and URG change nothing. A RST is never answered (ATK-10).
#include <ostream>
#include <string>

#include "tests/support/states.hpp"

namespace pollux::test {
namespace {

enum class Answer : uint8_t { silence, ack, rst, syn_ack, at_most_an_ack };

struct Outcome {
    Answer answer = Answer::silence;
    State state = State::closed;
};

constexpr std::array all_states{State::closed,      State::listen,     State::syn_sent,   State::syn_received,
                                State::established, State::fin_wait_1, State::fin_wait_2, State::close_wait,
                                State::closing,     State::last_ack,   State::time_wait};

Outcome at_listener(Flags flags) {
    if (any(flags & rst)) return {Answer::silence, State::closed};
    if (any(flags & ack)) return {Answer::rst, State::closed};
    if (!any(flags & syn) || any(flags & fin)) return {Answer::silence, State::closed};
    return {Answer::syn_ack, State::syn_received};
}

Outcome in_syn_sent(Flags flags) {
    // An ACK of our ISN acknowledges nothing that we sent. A SYN that ends what it begins opens nothing, as at a listener.
    if (any(flags & ack)) return {any(flags & rst) ? Answer::silence : Answer::rst, State::syn_sent};
    if (any(flags & (rst | fin)) || !any(flags & syn)) return {Answer::silence, State::syn_sent};
    return {Answer::syn_ack, State::syn_received};
}

Outcome where_fin_leads(State state) {
    switch (state) {
        case State::established: return {Answer::ack, State::close_wait};
        case State::fin_wait_1: return {Answer::ack, State::closing};
        case State::fin_wait_2: return {Answer::ack, State::time_wait};
        default: return {Answer::at_most_an_ack, state};  // a second one, behind the first
    }
}

Outcome outcome(State state, Flags flags) {
    if (state == State::closed) return {any(flags & rst) ? Answer::silence : Answer::rst, State::closed};
    if (state == State::listen) return at_listener(flags);
    if (state == State::syn_sent) return in_syn_sent(flags);
    if (any(flags & rst)) return {Answer::silence, state == State::time_wait ? state : State::closed};
    if (any(flags & syn)) {
        // Behind all that was received: newer than a connection that is over (RFC 9293 section 3.6.1), if it is a plain SYN.
        const bool plain = !any(flags & (ack | fin));
        if (state == State::time_wait && plain) return {Answer::syn_ack, State::syn_received};
        if (state == State::time_wait) return {Answer::at_most_an_ack, state};
        if (state == State::syn_received && any(flags & fin)) return {Answer::silence, state};
        return {Answer::ack, state};
    }
    if (!any(flags & ack)) return {Answer::silence, state};
    if (state == State::syn_received) {
        if (any(flags & fin)) return {Answer::ack, State::close_wait};
        return {Answer::silence, State::established};
    }
    return any(flags & fin) ? where_fin_leads(state) : Outcome{Answer::at_most_an_ack, state};
}

class FlagSets : public InEveryState {
protected:
    void comes_to(State state) {
        if (state != State::syn_sent) return brings_to(state);
        starts_with(world.stack().settings());
        ASSERT_TRUE(world.stack().connect(peer.flow(), world.now()));
        world.delivers({});
        peer.expects({.flags = syn, .seq = 0});
    }
    Answer heard() {
        const auto got = peer.takes_all();
        EXPECT_LE(got.size(), 1u);
        if (got.empty()) return Answer::silence;
        const Heard& h = got.front();
        if (h.has(rst)) return Answer::rst;
        if (h.has(syn)) return Answer::syn_ack;
        return h.has(ack) && h.bytes() == 0 ? Answer::ack : Answer::at_most_an_ack;
    }
};

TEST_F(FlagSets, EachEndsAsItShouldInEachState) {
    proves("ATK-10");
    for (const State state : all_states) {
        for (unsigned bits = 0; bits < 64; ++bits) {
            const auto flags = Flags(bits);
            SCOPED_TRACE(std::string(tcp::name(state)) + ", flags " + tcp::to_string(flags));
            comes_to(state);
            const int64_t acked = state == State::syn_received ? 1 : state == State::syn_sent ? 0 : snd_una(state);
            const bool opens = tcp::in(state, State::closed | State::listen | State::syn_sent);
            peer.sends({.flags = flags, .seq = opens ? 0 : peer.nxt, .ack = acked});
            const Outcome wanted = outcome(state, flags);
            const Answer answer = heard();
            if (wanted.answer == Answer::at_most_an_ack) {
                EXPECT_TRUE(answer == Answer::silence || answer == Answer::ack) << int(answer);
            } else {
                EXPECT_EQ(answer, wanted.answer) << int(answer);
            }
            EXPECT_EQ(peer.state(), wanted.state);
        }
    }
}

}  // namespace
}  // namespace pollux::test
