#include "tests/support/scripted_app.hpp"

#include <algorithm>
#include <limits>
#include <ostream>

#include "tests/support/pattern.hpp"

namespace pollux::tcp {

std::ostream& operator<<(std::ostream& out, Event::Kind kind) {
    switch (kind) {
        case Event::Kind::opened: return out << "opened";
        case Event::Kind::data: return out << "data";
        case Event::Kind::writable: return out << "writable";
        case Event::Kind::peer_closed: return out << "peer_closed";
        case Event::Kind::closed: return out << "closed";
        case Event::Kind::reset: return out << "reset";
        case Event::Kind::timed_out: return out << "timed_out";
        case Event::Kind::deadline: return out << "deadline";
        case Event::Kind::refused: return out << "refused";
        case Event::Kind::unreachable: return out << "unreachable";
        case Event::Kind::unanswered: return out << "unanswered";
        case Event::Kind::path_error: return out << "path_error";
    }
    return out << "?";
}

}  // namespace pollux::tcp

namespace pollux::test {

using namespace tcp;

void ScriptedApp::read(Stack& stack, ConnId conn, size_t bytes) {
    while (bytes > 0) {
        const auto unread = stack.unread(conn);
        if (unread.empty()) return;
        const size_t taken = std::min(bytes, unread.size());
        received_.append(reinterpret_cast<const char*>(unread.data()), taken);
        stack.consume(conn, static_cast<uint32_t>(taken));
        bytes -= taken;
    }
}

void ScriptedApp::does(std::string_view what, const Act& act) {
    plans_.push_back(act);
    turn_(what);
}

bool ScriptedApp::sends(std::string_view text) {
    bool taken = false;
    does("application sends " + std::to_string(text.size()),
         [&](Stack& stack, ConnId conn, Instant) { taken = stack.send_copy(conn, std::as_bytes(std::span(text))); });
    return taken;
}

bool ScriptedApp::sends_pattern(size_t bytes) {
    // Immutable and there for ever: what pinned memory asks for.
    static const std::string stream = pattern(0, 4 << 20);
    bool taken = false;
    does("application sends " + std::to_string(bytes) + " of the pattern", [&](Stack& stack, ConnId conn, Instant) {
        if (pin_ == 0) pin_ = stack.pins().reserve();
        taken = stack.send(conn, Pinned{std::as_bytes(std::span(stream)).subspan(pattern_sent_, bytes), pin_});
    });
    if (taken) pattern_sent_ += bytes;
    return taken;
}

void ScriptedApp::shuts_down() {
    does("application shuts down", [](Stack& stack, ConnId conn, Instant now) { stack.shutdown(conn, now); });
}

void ScriptedApp::closes() {
    does("application closes", [](Stack& stack, ConnId conn, Instant now) { stack.close(conn, now); });
}

void ScriptedApp::aborts() {
    does("application aborts", [](Stack& stack, ConnId conn, Instant now) { stack.abort(conn, now); });
}

void ScriptedApp::reads(size_t bytes) {
    does("application reads", [&](Stack& stack, ConnId conn, Instant) { read(stack, conn, bytes); });
}

void ScriptedApp::starts_over() {
    auto turn = std::move(turn_);
    *this = ScriptedApp{};
    turn_ = std::move(turn);
}

void ScriptedApp::on_turn(std::span<const Event> events, Stack& stack, Instant now) {
    for (const Event& event : events) {
        events_.push_back(event.kind);
        switch (event.kind) {
            case Kind::opened:
                conn_ = event.conn;
                if (on_opened) on_opened(stack, event.conn, now);
                break;
            case Kind::data:
                if (consumes) read(stack, event.conn, std::numeric_limits<size_t>::max());
                if (on_data) on_data(stack, event.conn, now);
                break;
            case Kind::peer_closed:
                if (on_peer_closed) on_peer_closed(stack, event.conn, now);
                break;
            case Kind::writable:
                if (on_writable) on_writable(stack, event.conn, now);
                break;
            case Kind::closed:
            case Kind::reset:
            case Kind::timed_out:
            case Kind::refused:
            case Kind::unreachable:
            case Kind::unanswered:
            case Kind::path_error:
            case Kind::deadline: break;
        }
    }
    for (const Act& act : std::exchange(plans_, {})) act(stack, conn_, now);
}

}  // namespace pollux::test
