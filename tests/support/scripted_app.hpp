// The application of a conversation: it records its events, consumes what arrives (or leaves it, when told to), and
// does what the test tells it at the application's place in the turn.
#pragma once

#include <functional>
#include <iosfwd>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/support/host.hpp"

namespace pollux::tcp {
std::ostream& operator<<(std::ostream& out, Event::Kind kind);  // how failures name events
}

namespace pollux::test {

using Kind = tcp::Event::Kind;
using Events = std::vector<Kind>;

class ScriptedApp final : public Application {
public:
    using Act = std::function<void(tcp::Stack&, tcp::ConnId, tcp::Instant)>;

    /// Whether data is consumed as it arrives. What has been left is read by the next turn after this turns true.
    bool consumes = true;
    /// Acts of the application in the turn that brings the event.
    Act on_opened, on_data, on_peer_closed, on_writable;

    void on_turn(std::span<const tcp::Event> events, tcp::Stack& stack, tcp::Instant now) override;

    // ---- Told by the test: each is a turn of its own, on the connection that opened last.
    // --------------------------
    /// Sends a copy of the text; whether the stack took it.
    bool sends(std::string_view text);
    /// Sends the next `bytes` of the pattern as pinned memory; whether the stack took all of them.
    bool sends_pattern(size_t bytes);
    /// Half-close.
    void shuts_down();
    /// Full close.
    void closes();
    void aborts();
    void reads(size_t bytes);
    void does(std::string_view what, const Act& act);

    /// The connection that opened last.
    tcp::ConnId conn() const { return conn_; }
    /// Every byte consumed so far, of all connections, in order.
    const std::string& received() const { return received_; }
    /// The bytes consumed since the last call.
    std::string takes() { return std::exchange(received_, {}); }
    /// The events since the last call.
    Events takes_events() { return std::exchange(events_, {}); }

    /// Consumes up to `bytes` of what is unread.
    void read(tcp::Stack& stack, tcp::ConnId conn, size_t bytes);
    /// How the application gets a turn: the World says it.
    void takes_turns_by(std::function<void(std::string_view)> turn) { turn_ = std::move(turn); }
    /// As it was at first.
    void starts_over();

private:
    std::function<void(std::string_view)> turn_;
    tcp::ConnId conn_;
    std::string received_;
    Events events_;
    std::vector<Act> plans_;
    uint64_t pattern_sent_ = 0;
    tcp::PinId pin_ = 0;
};

}  // namespace pollux::test
