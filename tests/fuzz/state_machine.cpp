// A whole conversation out of bytes: what peers say, what the application asks, what the network reports, how time
// passes and how much can leave, with and without the fast path at once. Then it is left alone, and must come to its
// end.
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/caller.hpp"
#include "tests/fuzz/player.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/support/stack_view.hpp"

namespace pollux::fuzz {
namespace {

using namespace tcp;
using namespace std::chrono_literals;

const bool traces = std::getenv("POLLUX_FUZZ_TRACE") != nullptr;
constexpr uint32_t all_room = 64;
constexpr uint32_t most_steps = 160;
constexpr size_t longest_burst = 16;

bool same_output(const TxBatch& a, const TxBatch& b) {
    return std::ranges::equal(a.segments(), b.segments(), [&](const TxSegment& s, const TxSegment& t) {
        const auto bytes = [](const TxBatch& batch, const TxSegment& tx) {
            std::vector<std::byte> all;
            for (const Piece piece : batch.pieces(tx)) all.insert(all.end(), piece.begin(), piece.end());
            return all;
        };
        const Segment &x = s.segment, &y = t.segment;
        return x.flow == y.flow && x.seq == y.seq && x.ack == y.ack && x.window == y.window && x.flags == y.flags &&
               x.present == y.present && x.timestamps == y.timestamps && std::ranges::equal(x.sack(), y.sack()) &&
               x.ecn == y.ecn && x.traffic_class == y.traffic_class && bytes(a, s) == bytes(b, t);
    });
}

// Nobody but a listener.
bool in_nothing(State state) { return state == State::closed || state == State::listen; }

StackSettings without_fast_path(StackSettings settings) {
    settings.fast_path = false;
    return settings;
}

class Game {
public:
    Game(const StackSettings& settings, bool ipv6) : fast_(settings, ipv6), slow_(without_fast_path(settings), ipv6) {
        for (uint8_t i = 0; i < 3; ++i) callers_.emplace_back(fast_.flow_to(i, 80, 40'000));
    }

    void steps(Input& in);
    void ends(bool by_abort);

private:
    void turns();
    void hears();
    void tells_input() const;
    void tells_output() const;
    void passes(Input& in, uint8_t what);
    void speaks(Caller& caller, Input& in);
    Caller& caller(uint8_t number) { return callers_[number % callers_.size()]; }

    Player fast_, slow_;
    std::deque<Caller> callers_;
    Instant now_{100s};
    std::vector<Segment> burst_;
    std::vector<PathNotice> notices_;
    Payloads payloads_;
    Act act_;
    uint32_t room_ = all_room;
    bool was_full_ = false;  // what should have left in an earlier turn may leave now
};

void Game::turns() {
    if (traces) tells_input();
    for (Player* player : {&fast_, &slow_}) player->turn(burst_, notices_, act_, room_, now_);
    demand(same_output(fast_.out(), slow_.out()), "the fast path changes nothing that is said");
    demand(test::digest_of(fast_.stack(), fast_.counters(), now_) ==
               test::digest_of(slow_.stack(), slow_.counters(), now_),
           "the fast path changes nothing that is known");
    if (traces) tells_output();
    hears();
    burst_.clear();
    notices_.clear();
    for (auto& payload : payloads_) std::ranges::fill(payload, std::byte{0xdd});
    payloads_.clear();
    act_ = {};
}

// POLLUX_FUZZ_TRACE=1: the conversation in words, for people with an input that has found something.
void Game::tells_input() const {
    std::printf("%.6f", static_cast<double>(now_.time_since_epoch().count()) / 1e6);
    if (act_.what != Act::What::nothing) std::printf(" act %d of %d, %d", int(act_.what), act_.number, act_.size);
    for (const PathNotice& n : notices_) {
        std::printf(" notice %d mtu %u seq %u", int(n.kind), n.mtu, n.quoted_seq.raw());
    }
    std::printf(", room for %u\n", room_);
    for (const Segment& s : burst_) {
        std::printf("    > %d %s\n", s.flow.remote_port, to_string(s).c_str());
    }
    std::fflush(stdout);
}
void Game::tells_output() const {
    for (const TxSegment& tx : fast_.out().segments()) {
        std::printf("    < %d %s + %u\n", tx.segment.flow.remote_port, to_string(tx.segment).c_str(),
                    tx.payload_size);
    }
    std::fflush(stdout);
}

void Game::hears() {
    for (const TxSegment& tx : fast_.out().segments()) {
        auto it = std::ranges::find_if(callers_, [&](const Caller& c) { return c.flow() == tx.segment.flow; });
        if (it == callers_.end() && callers_.size() < 8) it = callers_.emplace(callers_.end(), tx.segment.flow);
        if (it != callers_.end()) it->hears(tx);
    }
    was_full_ = was_full_ || fast_.out().room() == 0;
    for (Caller& caller : callers_) caller.ends_turn(fast_.may_have_reset() || was_full_ || !notices_.empty());
    if (!fast_.stack().has_work()) was_full_ = false;
}

void Game::passes(Input& in, uint8_t what) {
    static constexpr Duration pauses[] = {1ms, 10ms, 45ms, 300ms, 1s, 9s, 61s, 1h};
    if ((what & 8) != 0) {
        const auto due = fast_.stack().next_due(now_);
        now_ = due ? std::max(now_, *due) : now_ + 1ms;
    } else {
        now_ += pauses[in.byte() & 7];
    }
}

// With cookies the peer may still answer something that the stack has forgotten.
void Game::speaks(Caller& caller, Input& in) {
    const Stack& stack = fast_.stack();
    const bool is_sure = burst_.empty() && !stack.has_work();
    const bool by_cookie = stack.settings().syn_cookies != SynCookieMode::never;
    Known known = Known::something;
    if (in_nothing(stack.state_of(caller.flow()))) known = by_cookie ? Known::perhaps : Known::nothing;
    if (!is_sure) known = Known::perhaps;
    burst_.push_back(caller.says(in, now_, payloads_, known));
}

void Game::steps(Input& in) {
    for (uint32_t i = 0; i < most_steps && !in.empty(); ++i) {
        const uint8_t what = in.byte();
        const auto number = static_cast<uint8_t>(what >> 4 & 7);
        switch (what & 7) {
            case 0:
            case 1:
            case 2: speaks(caller((what & 8) != 0 ? number : 0), in); break;
            case 3:
            case 4: passes(in, what); break;
            case 5:
            case 6:
                act_.what = Act::What(in.byte() % static_cast<uint8_t>(Act::What::count));
                act_.number = in.byte();
                act_.size = in.two();
                break;
            case 7:
                if ((what & 8) != 0)
                    notices_.push_back(caller(number).complains(in));
                else
                    room_ = (what & 0x30) != 0 ? all_room : in.byte() & 3;
                break;
        }
        const bool gathers = (what & 0x80) != 0 && (what & 7) < 3 && burst_.size() < longest_burst;
        if (!gathers) turns();
    }
    turns();
}

// Nobody says anything any more. Time goes from one deadline to the next until there is none.
void Game::ends(bool by_abort) {
    room_ = all_room;
    turns();
    fast_.ends_all(by_abort, now_);
    slow_.ends_all(by_abort, now_);
    turns();
    for (int i = 0; i < 2'000; ++i) {
        const auto due = fast_.stack().next_due(now_);
        if (!due && !fast_.stack().has_work()) break;
        if (due) now_ = std::max(now_, *due);
        turns();
    }
    demand(fast_.stack().pool_use() == PoolUse{}, "what is left alone ends, and leaves nothing behind");
}

}  // namespace

void state_machine(Bytes bytes) {
    Input in{bytes};
    const uint8_t mode = in.byte();
    const StackSettings settings = read_settings(in);
    Game game{settings, (mode & 1) != 0};
    game.steps(in);
    game.ends((mode & 2) != 0);
}

}  // namespace pollux::fuzz
