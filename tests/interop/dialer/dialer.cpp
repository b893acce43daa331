#include "tests/interop/dialer/dialer.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "engine/machine.hpp"

namespace pollux::test {

using tcp::ConnId;
using tcp::Event;
using tcp::Instant;
using tcp::Stack;

DialerReport& DialerReport::operator+=(const DialerReport& other) {
    opened += other.opened;
    refused += other.refused;
    timed_out += other.timed_out;
    unreachable += other.unreachable;
    closed += other.closed;
    reset += other.reset;
    not_begun += other.not_begun;
    accepted += other.accepted;
    bytes_received += other.bytes_received;
    downloaded += other.downloaded;
    refused_sends += other.refused_sends;
    tuples += other.tuples;
    reused += other.reused;
    reused_in_time_wait += other.reused_in_time_wait;
    time_wait_peak += other.time_wait_peak;
    return *this;
}

Dialer::Dialer(Stack& stack, Plan& plan, uint32_t worker, uint32_t workers)
    : plan_(plan),
      worker_(worker),
      workers_(workers),
      msl_(stack.settings().msl),
      calls_(stack.settings().capacity.connections) {}

void Dialer::on_turn(std::span<const Event> events, Stack& stack, Instant now) {
    for (const Event& event : events) {
        Call& call = calls_[event.conn.index];
        if (call.generation == event.conn.generation) {
            happened(event, call, stack, now);
        } else {
            if (event.kind == Event::Kind::opened) ++report_.accepted;
            echo(event, stack, now);
        }
    }
    if (worker_ == 0 && look_at_ && now >= *look_at_) look_for_orders(now);
    open_more(stack, now);
    report_.time_wait_peak = std::max<uint64_t>(report_.time_wait_peak, stack.pool_use().time_wait);
    last_turn_ = now;
    end_if_all_is_done(stack);
}

std::optional<Instant> Dialer::next_due() const {
    if (retry_at_ && (!look_at_ || *retry_at_ < *look_at_)) return retry_at_;
    return look_at_;
}

void Dialer::drain(Stack& stack, Instant now) {
    plan_.complete = true;
    wanted_ = 0;
    stack.for_each_conn(0, stack.settings().capacity.connections, [&](ConnId conn) { stack.close(conn, now); });
}

// ---- Opening. ---------------------------------------------------------------------------------------------------

void Dialer::look_for_orders(Instant now) {
    look_at_ = now + look_interval;
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (poll(&input, 1, 0) <= 0) return;
    char orders[64];
    const ssize_t count = ::read(STDIN_FILENO, orders, sizeof orders);
    if (count > 0) {
        plan_.batches += static_cast<uint32_t>(count);
    } else {
        plan_.complete = true;
        look_at_.reset();
    }
}

void Dialer::open_more(Stack& stack, Instant now) {
    if (worker_ != 0) {  // who does not read the orders looks at what the first worker has read
        look_at_.reset();
        if (!plan_.complete) look_at_ = now + look_interval;
    }
    for (const uint32_t ordered = plan_.batches; batches_ < ordered; ++batches_) {
        wanted_ += plan_.connections / workers_ + (worker_ < plan_.connections % workers_ ? 1 : 0);
    }
    if (retry_at_ && now < *retry_at_) return;
    retry_at_.reset();
    while (wanted_ > 0 && in_hand_ < plan_.at_once) {
        if (!open_one(stack, now)) {
            ++report_.not_begun;
            retry_at_ = now + retry_interval;
            return;
        }
        --wanted_;
        ++in_hand_;
    }
}

bool Dialer::open_one(Stack& stack, Instant now) {
    const Target& target = plan_.targets[next_target_];
    const ConnId conn = opener_->connect(target.peer, now);
    if (!conn) return false;
    Call& call = calls_[conn.index];
    call = {.generation = conn.generation, .target = next_target_, .flow = stack.info(conn)->flow};
    note_tuple(call.flow, now);
    next_target_ = (next_target_ + 1) % static_cast<uint32_t>(plan_.targets.size());
    for (uint32_t i = 0; target.upload && i < plan_.times; ++i) {
        report_.refused_sends += !stack.send(conn, {plan_.content, 0});
    }
    if (target.we_close && (target.upload || plan_.content.empty())) finish(conn, call, stack, now);
    return true;
}

void Dialer::note_tuple(const tcp::FourTuple& flow, Instant now) {
    const uint64_t key = uint64_t{next_target_} << 16 | flow.local_port;
    const auto [use, is_new] = tuples_.try_emplace(key);
    ++(is_new ? report_.tuples : report_.reused);
    // The stack's timers have ticks of a millisecond.
    const tcp::Duration waits = 2 * msl_ - std::chrono::milliseconds{1};
    if (use->second.in_time_wait && now - use->second.ended < waits) ++report_.reused_in_time_wait;
    use->second = {};
}

// ---- What happens to a connection of ours. ----------------------------------------------------------------------

void Dialer::happened(const Event& event, Call& call, Stack& stack, Instant now) {
    const Target& target = plan_.targets[call.target];
    switch (event.kind) {
        case Event::Kind::opened: ++report_.opened; break;
        case Event::Kind::data:
            read(event.conn, call, stack);
            if (target.we_close && call.received >= plan_.content.size()) finish(event.conn, call, stack, now);
            break;
        case Event::Kind::peer_closed: finish(event.conn, call, stack, now); break;
        case Event::Kind::closed: {
            const uint64_t expected = target.upload ? 0 : plan_.content.size();
            if (!target.upload && call.same && call.received == expected) ++report_.downloaded;
            const uint64_t key = uint64_t{call.target} << 16 | call.flow.local_port;
            tuples_[key] = {last_turn_, stack.state_of(call.flow) == tcp::State::time_wait};
            end(call, report_.closed);
            break;
        }
        case Event::Kind::reset: end(call, report_.reset); break;
        case Event::Kind::timed_out: end(call, report_.timed_out); break;
        case Event::Kind::refused: end(call, report_.refused); break;
        case Event::Kind::unreachable: end(call, report_.unreachable); break;
        case Event::Kind::writable:
        case Event::Kind::unanswered:  // reports
        case Event::Kind::path_error:
        case Event::Kind::deadline: break;
    }
}

void Dialer::read(ConnId conn, Call& call, Stack& stack) {
    for (auto bytes = stack.unread(conn); !bytes.empty(); bytes = stack.unread(conn)) {
        const bool fits = call.received + bytes.size() <= plan_.content.size();
        call.same = call.same && fits && std::memcmp(&plan_.content[call.received], bytes.data(), bytes.size()) == 0;
        call.received += bytes.size();
        report_.bytes_received += bytes.size();
        stack.consume(conn, static_cast<uint32_t>(bytes.size()));
    }
}

void Dialer::finish(ConnId conn, Call& call, Stack& stack, Instant now) {
    if (!call.finished) stack.shutdown(conn, now);
    call.finished = true;
}

void Dialer::end(Call& call, uint64_t& count) {
    ++count;
    call.generation = 0;
    --in_hand_;
}

void Dialer::end_if_all_is_done(const Stack& stack) {
    const bool busy = !plan_.complete || batches_ < plan_.batches || wanted_ > 0 || in_hand_ > 0;
    if (done_ || busy || (plan_.settles && stack.pool_use().table_entries > 0)) return;
    done_ = true;
    if (++plan_.done == workers_) engine::Signals::request_end();
}

// ---- What others open. ------------------------------------------------------------------------------------------

// As apps/echo.
void Dialer::echo(const Event& event, Stack& stack, Instant now) {
    for (auto bytes = stack.unread(event.conn); !bytes.empty(); bytes = stack.unread(event.conn)) {
        if (!stack.send_copy(event.conn, bytes)) return;
        stack.consume(event.conn, static_cast<uint32_t>(bytes.size()));
    }
    const auto info = stack.info(event.conn);
    if (info && info->state == tcp::State::close_wait) stack.shutdown(event.conn, now);
}

}  // namespace pollux::test
