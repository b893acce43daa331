#include "tests/support/stream_app.hpp"

#include <algorithm>

namespace pollux::test {

using namespace tcp;
using Kind = Event::Kind;

namespace {
// Immutable and there for ever: what pinned memory asks for.
const std::string& whole_pattern() {
    static const std::string bytes = pattern(0, 4 << 20);
    return bytes;
}
}  // namespace

void StreamApp::on_turn(std::span<const Event> events, Stack& stack, Instant now) {
    for (const Event& event : events) {
        const Name name = name_of(event.conn);
        if (event.kind == Kind::opened) order_.push_back(name);
        Stream& stream = streams_[name];
        switch (event.kind) {
            case Kind::opened:
            case Kind::unanswered:
            case Kind::path_error: break;
            case Kind::data: stream.unread = true; break;
            case Kind::writable: stream.may_write = true; break;
            case Kind::peer_closed: stream.peer_closed = true; break;
            case Kind::closed: stream.gone = true; break;
            case Kind::refused:
            case Kind::unreachable:
            case Kind::reset:
                stream.gone = true;
                ++resets_;
                break;
            case Kind::timed_out:
                stream.gone = true;
                ++time_outs_;
                break;
            case Kind::deadline: stream.unread = true; break;
        }
    }
    for (auto& [name, stream] : streams_) {
        if (stream.gone) continue;
        const ConnId conn{name.first, name.second};
        reads(stream, stack, conn, now);
        writes(stream, stack, conn);
        closes(stream, stack, conn, now);
    }
}

void StreamApp::reads(Stream& stream, Stack& stack, ConnId conn, Instant now) {
    if (!stream.unread) return;
    if (std::uniform_real_distribution<>(0, 1)(random_) < options_.laziness) {
        stack.set_deadline(conn, now + Duration{3'000});  // later; until then it counts against the window
        return;
    }
    for (auto bytes = stack.unread(conn); !bytes.empty(); bytes = stack.unread(conn)) {
        size_t taken = bytes.size();
        if (options_.laziness > 0) taken = std::uniform_int_distribution<size_t>(1, taken)(random_);
        stream.received.append(reinterpret_cast<const char*>(bytes.data()), taken);
        stack.consume(conn, static_cast<uint32_t>(taken));
    }
    stream.unread = false;
}

void StreamApp::writes(Stream& stream, Stack& stack, ConnId conn) {
    const auto all = std::as_bytes(std::span(whole_pattern()));
    while (stream.may_write && stream.sent < options_.download) {
        const size_t size = std::min<uint64_t>(options_.piece, options_.download - stream.sent);
        const auto piece = all.subspan(stream.sent, size);
        const bool taken = options_.pinned ? stack.send(conn, Pinned{piece, 0}) : stack.send_copy(conn, piece);
        if (!taken) {
            stream.may_write = false;
            return;
        }
        stream.sent += size;
    }
}

void StreamApp::closes(Stream& stream, Stack& stack, ConnId conn, Instant now) {
    if (stream.closed || stream.sent < options_.download) return;
    if (options_.closing != Closing::when_sent && (!stream.peer_closed || stream.unread)) return;
    stream.closed = true;
    if (options_.closing == Closing::full_after_peer) {
        stack.close(conn, now);
        stream.gone = true;
    } else {
        stack.shutdown(conn, now);
    }
}

std::string StreamApp::received(size_t connection) const {
    return connection < order_.size() ? streams_.at(order_[connection]).received : std::string{};
}

}  // namespace pollux::test
