#include "tests/simulation/ending.hpp"

#include <algorithm>

namespace pollux::simulation {

using namespace tcp;

namespace {

using End = Story::End;

bool ended(const Story& story, std::initializer_list<End> ends) {
    return std::find(ends.begin(), ends.end(), story.end) != ends.end();
}

// This side is gone in a way that the other may never learn of, or learns by a RST.
bool left_without_farewell(const Story& story) {
    return !story.opened || ended(story, {End::let_go, End::aborted, End::reset, End::timed_out, End::refused,
                                          End::unreachable, End::not_begun});
}

std::string in_words(const char* who, const Story& story) {
    return std::string(who) + " " + std::string(name(story.end)) + ", sent " + std::to_string(story.sent) +
           ", received " + std::to_string(story.received);
}

struct Ending {
    const Scenario& scenario;
    size_t index;
    Side side;
    const Story& mine;
    const Story& peers;

    bool tiny_pools() const {
        return scenario.find(FaultKind::tiny_pools, Side::a) != nullptr ||
               scenario.find(FaultKind::tiny_pools, Side::b) != nullptr;
    }

    std::string_view wrong() const {
        const bool crossing = scenario.connections[index].opening == ConnectionPlan::Opening::both;
        if (mine.lost_patience) {
            return left_without_farewell(peers) && !peers.lost_patience ? "" : "has stalled";
        }
        switch (mine.end) {
            case End::none: return "";  // never opened here
            case End::aborted: return "";
            case End::closed:
                if (!mine.peer_closed || !mine.shut) return "closed although one side has not";
                return mine.received == peers.sent ? "" : "closed before all bytes had arrived";
            case End::let_go: {
                const bool read_all = plan().ending == AppPlan::Ending::close_after_peer;
                return read_all && mine.received != peers.sent ? "lost bytes before FIN" : "";
            }
            case End::reset:
                return left_without_farewell(peers) || tiny_pools() || outlived() ? "" : "was reset for no reason";
            case End::refused: return crossing || tiny_pools() ? "" : "was refused although somebody listens";
            case End::timed_out: return timed_out();
            case End::unreachable: return "is unreachable, which nobody has said";
            case End::not_begun: return tiny_pools() ? "" : "was not begun although there is room";
        }
        return "";
    }

    // The peer has all that was ever sent, and waited for 2 MSL: a FIN that was repeated later found nobody.
    bool outlived() const {
        const Duration wait = 2 * scenario.hosts[number(other(side))].settings.msl;
        return peers.end == End::closed && peers.received == mine.sent && mine.shut &&
               mine.ended_at - peers.ended_at >= wait;
    }
    const AppPlan& plan() const { return scenario.connections[index].apps[number(side)]; }

    // The network is whole: what is repeated is answered, if anybody is there.
    std::string_view timed_out() const {
        const Duration max_rto = scenario.hosts[number(side)].settings.max_rto;
        const Instant answered_by = scenario.start + scenario.heals_after + 2 * max_rto + 10s;
        const bool peer_was_there =
            peers.opened && (peers.end == End::none || (peers.ended_at > mine.ended_at && !peers.lost_patience));
        // A user timeout may have run while the network was not whole, or a window closed, and ends at an expiry.
        const bool impatient = scenario.hosts[number(side)].settings.user_timeout.count() != 0;
        const bool may = mine.ended_at <= answered_by || !peer_was_there || tiny_pools() || impatient;
        return may ? "" : "timed out in a whole network";
    }
};

}  // namespace

std::optional<std::string> judge_ending(const Scenario& scenario, size_t index, const Story& a, const Story& b) {
    for (const Side side : {Side::a, Side::b}) {
        const bool is_a = side == Side::a;
        const Ending ending{scenario, index, side, is_a ? a : b, is_a ? b : a};
        const std::string_view wrong = ending.wrong();
        if (wrong.empty()) continue;
        return "connection " + std::to_string(index) + " of " + (is_a ? "A " : "B ") + std::string(wrong) + " (" +
               in_words("A", a) + "; " + in_words("B", b) + ")";
    }
    return {};
}

std::optional<std::string> judge_ending(const Scenario& scenario, size_t index, const Story& a,
                                        HostilePeer::Farewell farewell) {
    const Instant answered_by = scenario.start + scenario.heals_after + 2 * scenario.hosts[0].settings.max_rto + 10s;
    const uint64_t total = scenario.connections[index].apps[number(Side::b)].total;
    const auto wrong = [&]() -> std::string_view {
        if (a.end == End::closed && a.received != total) return "closed before all bytes had arrived";
        if (!a.opened || a.ended_at < answered_by) return "";
        switch (farewell) {
            case HostilePeer::Farewell::polite:
                return a.lost_patience           ? "has stalled"
                       : a.end == End::timed_out ? "timed out in a whole network"
                                                 : "";
            case HostilePeer::Farewell::reset: return a.lost_patience ? "did not end by a RST" : "";
            case HostilePeer::Farewell::silent: return "";
        }
        return "";
    }();
    if (wrong.empty()) return {};
    return "connection " + std::to_string(index) + " of A " + std::string(wrong) + " (" + in_words("A", a) + ")";
}

}  // namespace pollux::simulation
