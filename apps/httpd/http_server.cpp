#include "apps/httpd/http_server.hpp"

#include <array>
#include <new>
#include <type_traits>

namespace pollux::httpd {
namespace {

std::string_view text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Reads all there is and throws it away; how much that was.
uint32_t discard_unread(tcp::ConnId conn, tcp::Stack& stack) {
    uint32_t discarded = 0;
    for (auto bytes = stack.unread(conn); !bytes.empty(); bytes = stack.unread(conn)) {
        stack.consume(conn, static_cast<uint32_t>(bytes.size()));
        discarded += static_cast<uint32_t>(bytes.size());
    }
    return discarded;
}

}  // namespace

HttpServer::HttpServer(tcp::Stack& stack, std::span<const http::Route> routes, const ServerSettings& settings)
    : settings_(settings),
      content_(settings.content, routes),
      logic_(content_, settings.limits),
      memory_(sizeof(Slot) * size_t{stack.settings().capacity.connections}, "HTTP connections"),
      slots_(reinterpret_cast<Slot*>(memory_.data())) {
    static_assert(std::is_trivially_destructible_v<Slot>);
    if (content_.pin_count() > 1) first_pin_ = stack.pins().reserve();
    for (http::PinId pin = 2; pin < content_.pin_count(); ++pin) stack.pins().reserve();
}

http::Taken HttpServer::Sink::operator()(const http::Answer& answer) const {
    std::array<tcp::Pinned, 3> pieces;
    uint32_t count = 0;
    for (const http::Piece& piece : answer.parts()) pieces[count++] = {piece.bytes, pin_of(piece.pin)};
    if (!answer.copy_head) {
        return stack_.send(conn_, {pieces.data(), count}) ? http::Taken::all : http::Taken::none;
    }
    if (!stack_.send_copy(conn_, pieces[0].bytes)) return http::Taken::none;
    if (count == 1) return http::Taken::all;
    return stack_.send(conn_, {pieces.data() + 1, count - 1}) ? http::Taken::all : http::Taken::copied_head;
}

void HttpServer::on_turn(std::span<const tcp::Event> events, tcp::Stack& stack, tcp::Instant now) {
    if (events.empty()) return;
    content_.set_time((settings_.wall_at_zero_us + static_cast<uint64_t>(now.time_since_epoch().count())) /
                      1'000'000);
    constexpr size_t ahead = 4;  // connections come in no order: ask for their slots early
    for (size_t i = 0; i < events.size(); ++i) {
        if (i + ahead < events.size()) __builtin_prefetch(&slots_[events[i + ahead].conn.index], 1);
        const tcp::ConnId conn = events[i].conn;
        switch (events[i].kind) {
            case tcp::Event::Kind::opened: on_opened(conn, stack, now); break;
            case tcp::Event::Kind::data:
            case tcp::Event::Kind::writable: on_readable(conn, stack, now); break;
            case tcp::Event::Kind::peer_closed:
                slot_of(conn).peer_closed = true;
                on_readable(conn, stack, now);
                break;
            case tcp::Event::Kind::deadline: on_deadline(conn, stack, now); break;
            case tcp::Event::Kind::closed:
            case tcp::Event::Kind::reset:
            case tcp::Event::Kind::refused:
            case tcp::Event::Kind::unreachable:
            case tcp::Event::Kind::timed_out: forget(conn); break;
            case tcp::Event::Kind::unanswered:  // R2 and the deadlines see to it
            case tcp::Event::Kind::path_error: break;
        }
    }
}

void HttpServer::on_opened(tcp::ConnId conn, tcp::Stack& stack, tcp::Instant now) {
    Slot* const slot = new (&slots_[conn.index]) Slot{};
    follow(logic_.on_open(slot->http), conn, stack, now);
    if (draining_) stack.set_deadline(conn, now + settings_.linger_timeout);  // its handshake was under way
}

/// Data, room to send, or the peer's FIN behind all data: goes on with what is unread.
void HttpServer::on_readable(tcp::ConnId conn, tcp::Stack& stack, tcp::Instant now) {
    if (!stack.is_open(conn)) return;  // closed by ourselves earlier in this turn
    Slot& slot = slot_of(conn);
    Sink sink = sink_for(stack, conn);
    std::span<const std::byte> bytes;
    http::Step step;
    do {  // once with nothing unread, too: an answer may wait
        if (slot.lingering) return linger(conn, stack, now);
        bytes = stack.unread(conn);
        step = logic_.on_data(slot.http, text_of(bytes), sink);
        stack.consume(conn, step.consumed);
        follow(step, conn, stack, now);
        if (!stack.is_open(conn)) return;
    } while (!bytes.empty() && step.consumed == bytes.size());
    if (slot.lingering || !slot.peer_closed || slot.http.is_waiting()) return;
    bytes = stack.unread(conn);
    step = logic_.on_peer_closed(slot.http, text_of(bytes), sink);
    stack.consume(conn, step.consumed);
    follow(step, conn, stack, now);
}

void HttpServer::on_deadline(tcp::ConnId conn, tcp::Stack& stack, tcp::Instant now) {
    if (!stack.is_open(conn)) return;
    Slot& slot = slot_of(conn);
    // While the peer still takes an answer, it is neither idle nor done.
    const bool sending = stack.unacknowledged(conn) != 0;
    if (slot.lingering) {
        if (sending) return stack.set_deadline(conn, now + settings_.linger_timeout);
        return let_go(conn, stack, now);
    }
    if (sending && !slot.http.receiving) {
        return stack.set_deadline(conn, now + (draining_ ? settings_.linger_timeout : settings_.idle_timeout));
    }
    follow(logic_.on_deadline(slot.http, sink_for(stack, conn)), conn, stack, now);
}

void HttpServer::follow(const http::Step& step, tcp::ConnId conn, tcp::Stack& stack, tcp::Instant now) {
    if (step.close) return finish(conn, stack, now);
    switch (step.deadline) {
        case http::Deadline::unchanged: break;
        case http::Deadline::none: stack.clear_deadline(conn); break;
        case http::Deadline::idle: stack.set_deadline(conn, now + settings_.idle_timeout); break;
        case http::Deadline::header: stack.set_deadline(conn, now + settings_.header_timeout); break;
    }
}

/// Everything has been said: FIN, and a while of listening for the peer's.
void HttpServer::finish(tcp::ConnId conn, tcp::Stack& stack, tcp::Instant now) {
    Slot& slot = slot_of(conn);
    if (slot.lingering) return;
    slot.lingering = true;
    stack.shutdown(conn, now);
    stack.set_deadline(conn, now + settings_.linger_timeout);
    linger(conn, stack, now);
}

void HttpServer::linger(tcp::ConnId conn, tcp::Stack& stack, tcp::Instant now) {
    Slot& slot = slot_of(conn);
    const uint32_t room = settings_.linger_bytes - slot.lingered;
    const uint32_t discarded = discard_unread(conn, stack);
    if (slot.peer_closed || discarded > room) return let_go(conn, stack, now);
    slot.lingered += discarded & 0x3fff'ffff;
}

/// The stack ends the connection alone; further data of the peer's earns a RST.
void HttpServer::let_go(tcp::ConnId conn, tcp::Stack& stack, tcp::Instant now) {
    discard_unread(conn, stack);
    stack.close(conn, now);
    forget(conn);
}

void HttpServer::forget(tcp::ConnId conn) {
    Slot& slot = slot_of(conn);
    logic_.on_gone(slot.http);
    slot = Slot{};
}

void HttpServer::drain(tcp::Stack& stack, tcp::Instant now) {
    draining_ = true;
    logic_.drain();
    stack.for_each_conn(0, stack.settings().capacity.connections, [&](tcp::ConnId conn) {
        if (stack.is_open(conn) && slot_of(conn).http.is_idle()) finish(conn, stack, now);
    });
}

}  // namespace pollux::httpd
