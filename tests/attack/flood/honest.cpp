#include "tests/attack/flood/honest.hpp"

#include <algorithm>
#include <utility>

namespace pollux::test {

using tcp::Event;
using tcp::Instant;
using tcp::Stack;

void Honest::on_turn(std::span<const Event> events, Stack& stack, Instant now) {
    for (const Event& event : events) {
        const auto call = std::find_if(calls_.begin(), calls_.end(), [&](const Call& c) {
            return c.state != Call::State::none && c.conn == event.conn;
        });
        if (call == calls_.end()) continue;
        const bool keep = call - calls_.begin() >= static_cast<ptrdiff_t>(plan_.at_once);
        switch (event.kind) {
            case Event::Kind::data: read(*call, keep, stack, now); break;
            case Event::Kind::peer_closed:
            case Event::Kind::closed:
            case Event::Kind::reset:
            case Event::Kind::refused: fail(*call, report_.reset, now); break;
            case Event::Kind::timed_out:
            case Event::Kind::unreachable: fail(*call, report_.timed_out, now); break;
            case Event::Kind::opened:
            case Event::Kind::writable:
            case Event::Kind::deadline:
            case Event::Kind::unanswered:
            case Event::Kind::path_error: break;
        }
    }
    for (size_t i = 0; i < calls_.size(); ++i) {
        Call& call = calls_[i];
        switch (call.state) {
            case Call::State::none:
                if (active_ && now >= call.again_at) open(call, i >= plan_.at_once, stack, now);
                break;
            case Call::State::asking:
                if (now < call.began + plan_.patience) break;
                stack.abort(call.conn, now);
                fail(call, report_.timed_out, now);
                break;
            case Call::State::kept:
                if (!letting_go_) break;
                stack.close(call.conn, now);
                call = {};
                call.again_at = Instant::max();
                break;
        }
    }
}

void Honest::open(Call& call, bool keep, Stack& stack, Instant now) {
    if (keep && (letting_go_ || !keeping_)) return;
    const tcp::Endpoint& server = plan_.servers[next_server_++ % plan_.servers.size()];
    call.conn = opener_->connect(server, now);
    call.began = now;
    call.received.clear();
    if (!stack.is_open(call.conn)) {
        ++report_.started;
        return fail(call, report_.not_begun, now);
    }
    call.state = Call::State::asking;
    ++report_.started;
    const std::string request = "GET " + plan_.path + " HTTP/1.1\r\nHost: victim\r\n\r\n";
    if (!stack.send_copy(call.conn, std::as_bytes(std::span{request}))) fail(call, report_.not_begun, now);
}

void Honest::read(Call& call, bool keep, Stack& stack, Instant now) {
    for (auto bytes = stack.unread(call.conn); !bytes.empty(); bytes = stack.unread(call.conn)) {
        call.received.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        stack.consume(call.conn, static_cast<uint32_t>(bytes.size()));
    }
    if (call.state != Call::State::asking || call.received.find("\r\n\r\n") == std::string::npos) return;
    const size_t head = call.received.find("\r\n\r\n") + 4;
    if (call.received.size() < head + plan_.body.size()) return;
    if (!is_whole(call.received)) {
        stack.abort(call.conn, now);
        return fail(call, report_.wrong, now);
    }
    ++report_.answered;
    report_.took_us.push_back(static_cast<uint32_t>((now - call.began).count()));
    if (const auto info = stack.info(call.conn)) {
        report_.scaled += info->snd_scale != 0 ? 1 : 0;
        report_.sacked += info->sack ? 1 : 0;
        report_.stamped += info->timestamps ? 1 : 0;
    }
    if (keep && !letting_go_) {
        ++report_.kept;
        call.state = Call::State::kept;
        return;
    }
    stack.close(call.conn, now);
    call.state = Call::State::none;
    call.again_at = now + plan_.pause;
}

bool Honest::is_whole(const std::string& answer) const {
    return answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n" + plan_.body);
}

void Honest::fail(Call& call, uint64_t& kind, Instant now) {
    if (call.state == Call::State::kept) --report_.kept;  // it has been a success before
    ++kind;
    call.state = Call::State::none;
    call.again_at = now + plan_.pause;
}

bool Honest::is_idle() const {
    return std::none_of(calls_.begin(), calls_.end(),
                        [](const Call& call) { return call.state == Call::State::asking; });
}

}  // namespace pollux::test
