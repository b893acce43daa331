// A client's view of ServerLogic: bytes in, as cut as you like, and the text of the answers out. What is not consumed
// stays and is offered again with the next bytes, as a tcp::Stack does. Every call's bytes end at a guard page.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "apps/http/connection.hpp"
#include "tests/support/guard_page.hpp"
#include "tests/support/http_requests.hpp"

namespace pollux::tests {

/// The part of an answer that a test asks for.
struct Reply {
    std::string head, body;
    uint16_t status() const { return static_cast<uint16_t>(std::stoi(head.substr(9, 3))); }
    bool has(std::string_view line) const {
        return head.find("\r\n" + std::string{line} + "\r\n") != std::string::npos;
    }
    bool closes() const { return has("Connection: close"); }
};

class TestSink {
public:
    http::Taken operator()(const http::Answer& answer) {
        if (room == 0) return http::Taken::none;
        --room;
        const auto parts = answer.parts();
        if (answer.copy_head && take_copied_heads_only) {
            append(parts[0].bytes);
            return http::Taken::copied_head;
        }
        for (const http::Piece& piece : parts) append(piece.bytes);
        pieces = answer.count;
        if (pin_what_is_sent) pinned.insert(parts[0].pin);
        return http::Taken::all;
    }
    bool in_use(http::PinId pin) const { return pinned.contains(pin); }

    uint32_t room = ~0u;  // answers that will be taken
    bool take_copied_heads_only = false;
    bool pin_what_is_sent = false;
    uint32_t pieces = 0;  // of the last answer
    std::set<http::PinId> pinned;
    std::string text;

private:
    void append(std::span<const std::byte> bytes) {
        text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
};

/// One connection to a server with the routes "/" (12 bytes), "/large" (10,000), "/a b" and "/empty".
class Dialogue {
public:
    explicit Dialogue(const http::ServerLimits& limits = small_pool(), const http::ContentSettings& settings = {})
        : content(settings, routes()), logic(content, limits) {
        content.set_time(784111777);
    }

    static http::ServerLimits small_pool() {
        http::ServerLimits limits;
        limits.request_buffers = 2;
        return limits;
    }
    static std::vector<http::Route> routes() {
        return {{"/", "Hello world\n", "text/plain", {}},
                {"/large", std::string(10'000, 'x'), "application/octet-stream", {}},
                {"/a b", "blank\n", "text/plain", {{"X-Extra", "yes"}}},
                {"/empty", "", "text/plain", {}},
                {"/assets/css/site.min.css", "p{}", "text/css", {}}};
    }

    /// The bytes arrive; a copy of what was not consumed so far stands before them.
    http::Step sends(std::string_view bytes) {
        unread += bytes;
        return take(logic.on_data(state, guarded(), sink));
    }
    http::Step sends_bytewise(std::string_view bytes) {
        http::Step last;
        for (const char c : bytes) last = sends({&c, 1});
        return last;
    }
    http::Step may_write() { return take(logic.on_writable(state, guarded(), sink)); }
    http::Step closes() { return take(logic.on_peer_closed(state, guarded(), sink)); }
    http::Step deadline_comes() { return take(logic.on_deadline(state, sink)); }

    /// All complete answers given so far, of which `heads_only` carry no body.
    std::vector<Reply> replies(bool heads_only = false) const {
        std::vector<Reply> found;
        std::string_view rest = sink.text;
        while (!rest.empty()) {
            const std::size_t end = rest.find("\r\n\r\n");
            if (end == std::string_view::npos) break;
            Reply reply{std::string{rest.substr(0, end + 2)}, {}};
            rest.remove_prefix(end + 4);
            const std::size_t length = reply.head.find("Content-Length: ");
            if (length != std::string::npos && !heads_only) {
                reply.body = rest.substr(0, std::stoul(reply.head.substr(length + 16)));
                rest.remove_prefix(reply.body.size());
            }
            found.push_back(std::move(reply));
        }
        return found;
    }

    http::Content content;
    http::ServerLogic logic;
    http::ConnectionState state;
    TestSink sink;
    std::string unread;
    bool closed = false;

private:
    std::string_view guarded() {
        if (guard_.capacity() < unread.size()) return unread;
        const auto held = guard_.hold(std::as_bytes(std::span{unread.data(), unread.size()}));
        return {reinterpret_cast<const char*>(held.data()), held.size()};
    }
    http::Step take(const http::Step& step) {
        unread.erase(0, step.consumed);
        closed |= step.close;
        return step;
    }
    GuardPage guard_{128 * 1024};
};

}  // namespace pollux::tests
