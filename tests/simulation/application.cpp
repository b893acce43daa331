#include "tests/simulation/application.hpp"

#include <algorithm>

#include "tests/simulation/stream.hpp"

namespace pollux::simulation {

using namespace tcp;

std::string_view name(Story::End end) {
    switch (end) {
        case Story::End::none: return "open";
        case Story::End::closed: return "closed";
        case Story::End::let_go: return "let go";
        case Story::End::aborted: return "aborted";
        case Story::End::reset: return "reset";
        case Story::End::timed_out: return "timed out";
        case Story::End::refused: return "refused";
        case Story::End::unreachable: return "unreachable";
        case Story::End::not_begun: return "not begun";
    }
    return "?";
}

Application::Application(const Scenario& scenario, Side side, Judge& judge)
    : scenario_(scenario),
      side_(side),
      judge_(judge),
      stories_(scenario.connections.size()),
      paces_(scenario.connections.size()),
      acted_(scenario.connections.size()) {
    for (size_t i = 0; i < stories_.size(); ++i) stories_[i].flow = scenario.flow(i, side);
}

void Application::reserves_pins(Stack& stack) {
    for (Pace& pace : paces_) pace.pin = stack.pins().reserve();
}

void Application::note(size_t connection, std::string_view what) {
    if (!takes_notes) return;
    notes.push_back(std::string(1, static_cast<char>(letter(side_) - 'a' + 'A')) + "'s application, connection " +
                    std::to_string(connection) + ": " + std::string(what));
}

void Application::finish(size_t connection, Story::End end, Instant now) {
    stories_[connection].end = end;
    stories_[connection].ended_at = now;
    note(connection, name(end));
}

bool Application::anything_open() const {
    return std::ranges::any_of(stories_, [](const Story& story) { return story.is_open(); });
}

// ---- Opening. -----------------------------------------------------------------------------------------------------

// Nothing: this side does not ask.
std::optional<Instant> Application::opening_time(size_t connection) const {
    const ConnectionPlan& plan = scenario_.connections[connection];
    using Opening = ConnectionPlan::Opening;
    if (plan.opening == (side_ == Side::a ? Opening::from_b : Opening::from_a)) return {};
    const bool second = plan.opening == Opening::both && side_ == Side::b;
    return scenario_.start + (second ? plan.opens_at_b : plan.opens_at);
}

std::optional<Instant> Application::next_due() const {
    std::optional<Instant> next;
    for (size_t i = 0; i < stories_.size(); ++i) {
        const auto at = opening_time(i);
        if (at && !stories_[i].asked && (!next || *at < *next)) next = at;
    }
    return next;
}

void Application::opens(Stack& stack, Instant now) {
    for (size_t i = 0; i < stories_.size(); ++i) {
        Story& story = stories_[i];
        const auto at = opening_time(i);
        if (!at || story.asked || *at > now) continue;
        story.asked = true;
        const Endpoint remote{story.flow.remote_addr, story.flow.remote_port};
        story.conn = story.flow.local_port != 0 ? stack.connect(story.flow, now)
                                                : stack.connect(story.flow.local_addr, remote, now);
        if (const auto info = stack.info(story.conn)) story.flow = info->flow;
        note(i, "connects");
        if (!story.conn) finish(i, Story::End::not_begun, now);
    }
}

size_t Application::connection_at(ConnId conn, const Stack& stack) const {
    for (size_t i = 0; i < stories_.size(); ++i) {
        if (stories_[i].conn == conn) return i;
    }
    const auto info = stack.info(conn);
    return info ? connection_of(info->flow) : SIZE_MAX;
}

// ---- Events. ------------------------------------------------------------------------------------------------------

void Application::hears(const Event& event, Stack& stack, Instant now) {
    const size_t i = connection_at(event.conn, stack);
    using Kind = Event::Kind;
    if (i >= stories_.size()) {
        // Opened and ended within one turn.
        if (event.kind != Kind::opened && event.kind != Kind::reset && event.kind != Kind::data) {
            judge_.complains(now, "an event of a connection that nobody opened");
        }
        return;
    }
    Story& story = stories_[i];
    const auto ends_by = [&](Story::End end) { finish(i, end, now); };
    if (event.kind == Kind::opened && story.conn != event.conn) {
        // A hostile peer may open its tuple again. A late copy of an honest one's SYN, answered like a new one, must
        // not complete.
        if (story.conn && scenario_.hostile) return stack.abort(event.conn, now);
        if (story.conn) return judge_.complains(now, "one connection has opened twice");
        story.conn = event.conn;
        if (const auto info = stack.info(story.conn)) story.flow = info->flow;
    }
    if (story.conn != event.conn && scenario_.hostile) return;
    if (story.conn != event.conn || story.end != Story::End::none) {
        return judge_.complains(now, "an event after the connection's end");
    }
    switch (event.kind) {
        case Kind::opened:
            if (std::exchange(story.opened, true)) judge_.complains(now, "opened twice");
            note(i, "opened");
            break;
        case Kind::data: paces_[i].unread = true; break;
        case Kind::writable: paces_[i].may_write = true; break;
        case Kind::peer_closed:
            if (std::exchange(story.peer_closed, true)) judge_.complains(now, "the peer has closed twice");
            note(i, "the peer has closed");
            break;
        case Kind::closed: ends_by(Story::End::closed); break;
        case Kind::reset: ends_by(Story::End::reset); break;
        case Kind::timed_out: ends_by(Story::End::timed_out); break;
        case Kind::refused: ends_by(Story::End::refused); break;
        case Kind::unreachable: ends_by(Story::End::unreachable); break;
        case Kind::unanswered:  // reports, which change nothing
        case Kind::path_error:
        case Kind::deadline: break;
    }
    const bool needs_opening = event.kind == Kind::data || event.kind == Kind::peer_closed ||
                               event.kind == Kind::closed || event.kind == Kind::reset;
    const bool too_early = !story.opened && needs_opening;
    if (too_early) judge_.complains(now, "an event before the connection has opened");
}

void Application::on_turn(std::span<const Event> events, Stack& stack, Instant now) {
    acted_.assign(acted_.size(), false);
    for (const Event& event : events) hears(event, stack, now);
    opens(stack, now);
    for (size_t i = 0; i < stories_.size(); ++i) {
        if (stories_[i].is_open()) acts(i, stack, now);
    }
}

void Application::acts(size_t i, Stack& stack, Instant now) {
    Story& story = stories_[i];
    if (now >= scenario_.start + scenario_.heals_after + patience) {
        note(i, "loses patience");
        story.lost_patience = true;
        finish(i, Story::End::aborted, now);
        acted_[i] = true;
        return stack.abort(story.conn, now);
    }
    reads(i, stack, now);
    writes(i, stack, now);
    ends(i, stack, now);
    if (story.is_open()) sets_clock(i, stack, now);
}

void Application::reads(size_t i, Stack& stack, Instant now) {
    Story& story = stories_[i];
    Pace& pace = paces_[i];
    const AppPlan& plan = this->plan(i);
    const bool stalls = now >= scenario_.start + plan.stalls_from && now < scenario_.start + plan.stalls_until;
    if (!pace.unread || stalls || now < pace.next_read) return;
    const Stream stream(i, other(side_));
    uint64_t most = plan.read_most == 0 ? ~uint64_t{0} : plan.read_most;
    for (auto bytes = stack.unread(story.conn); !bytes.empty() && most > 0; bytes = stack.unread(story.conn)) {
        const auto taken = bytes.first(std::min<uint64_t>(bytes.size(), most));
        const uint64_t wanted = scenario_.connections[i].apps[number(other(side_))].total;
        if (story.received + taken.size() > wanted) {
            return judge_.complains(now, "more bytes have arrived than were ever sent");
        }
        if (const size_t same = stream.first_difference(story.received, taken); same < taken.size()) {
            return judge_.complains(now, "connection " + std::to_string(i) + ": the byte at " +
                                             std::to_string(story.received + same) + " arrived as another one at " +
                                             letter(side_));
        }
        story.received += taken.size();
        most -= taken.size();
        stack.consume(story.conn, static_cast<uint32_t>(taken.size()));
    }
    pace.unread = !stack.unread(story.conn).empty();
    if (plan.read_pause.count() > 0) pace.next_read = now + plan.read_pause;
}

void Application::writes(size_t i, Stack& stack, Instant now) {
    Story& story = stories_[i];
    Pace& pace = paces_[i];
    const AppPlan& plan = this->plan(i);
    const Stream stream(i, side_);
    std::vector<Pinned> pieces;
    while (pace.may_write && !story.shut && story.sent < plan.total && story.received >= plan.waits_for &&
           now >= pace.next_write) {
        pieces.clear();
        uint64_t size = 0;
        for (uint32_t n = 0; n < plan.pieces && story.sent + size < plan.total; ++n) {
            const size_t here = std::min<uint64_t>(plan.piece, plan.total - story.sent - size);
            pieces.push_back({stream.bytes(story.sent + size, here), pace.pin});
            size += here;
        }
        const bool more = plan.holds_back && story.sent + size < plan.total;
        const auto hold = more ? Stack::More::to_come : Stack::More::none;
        const bool taken =
            plan.copies ? stack.send_copy(story.conn, pieces[0].bytes, hold) : stack.send(story.conn, pieces, hold);
        if (!taken) {
            pace.may_write = false;
            break;
        }
        story.sent += size;
        if (plan.pace.count() > 0) pace.next_write = now + plan.pace;
    }
}

void Application::ends(size_t i, Stack& stack, Instant now) {
    Story& story = stories_[i];
    const AppPlan& plan = this->plan(i);
    const bool sent = story.sent == plan.total;
    const auto lets_go = [&](Story::End end) {
        acted_[i] = true;
        finish(i, end, now);
    };
    const auto shuts = [&] {
        if (story.shut) return;
        story.shut = true;
        note(i, "half-closes");
        stack.shutdown(story.conn, now);
    };
    switch (plan.ending) {
        case AppPlan::Ending::abort:
            if (story.sent + story.received >= plan.abort_after && story.opened) {
                lets_go(Story::End::aborted);
                return stack.abort(story.conn, now);
            }
            if (sent) shuts();
            return;
        case AppPlan::Ending::shutdown_when_sent:
            if (sent) shuts();
            return;
        case AppPlan::Ending::shutdown_after_peer:
            if (sent && story.peer_closed) shuts();
            return;
        case AppPlan::Ending::close_after_peer:
            if (!sent || !story.peer_closed || paces_[i].unread) return;
            break;
        case AppPlan::Ending::close_when_sent:
            if (!sent || !story.opened) return;
            break;
    }
    story.shut = true;
    lets_go(Story::End::let_go);
    stack.close(story.conn, now);
}

void Application::sets_clock(size_t i, Stack& stack, Instant now) {
    const Pace& pace = paces_[i];
    const AppPlan& plan = this->plan(i);
    Instant next = scenario_.start + scenario_.heals_after + patience;
    if (stories_[i].sent < plan.total && pace.may_write && pace.next_write > now)
        next = std::min(next, pace.next_write);
    if (pace.unread) {
        Instant reads = std::max(pace.next_read, now);
        const Instant stalls_from = scenario_.start + plan.stalls_from, until = scenario_.start + plan.stalls_until;
        if (reads >= stalls_from && reads < until) reads = until;
        next = std::min(next, std::max(reads, now + Duration{1}));
    }
    stack.set_deadline(stories_[i].conn, next);
}

}  // namespace pollux::simulation
