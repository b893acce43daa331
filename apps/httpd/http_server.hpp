// HttpServer: the HTTP logic bound to a stack. Events come in, http::ServerLogic judges the bytes where they lie, and
// answers go out as references to the Content's pinned memory. One object serves one worker.
//
// How a connection ends is decided here (RFC 9112 section 9.6): the answer, our FIN behind it, then up to
// linger_timeout or linger_bytes of reading on and throwing away, so that a RST for unread data cannot overtake the
// answer. A request that arrives after our FIN is never run.
//
// It knows tcp/ and apps/http/, no DPDK: tests drive it with a Stack in memory.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "apps/http/connection.hpp"
#include "apps/http/response.hpp"
#include "tcp/memory_block.hpp"
#include "tcp/stack.hpp"

namespace pollux::httpd {

struct ServerSettings {
    http::ServerLimits limits{};
    http::ContentSettings content{};
    tcp::Duration idle_timeout{};    // 0: unlimited
    tcp::Duration header_timeout{};  // 0: unlimited
    tcp::Duration linger_timeout = std::chrono::seconds{2};
    uint32_t linger_bytes = 64 * 1024;
    uint64_t wall_at_zero_us = 0;  // microseconds since the Unix epoch at Instant{0}
};

class HttpServer {
public:
    /// Reserves its pins in `stack`, which it must be used with ever after.
    HttpServer(tcp::Stack& stack, std::span<const http::Route> routes, const ServerSettings& settings);

    void on_turn(std::span<const tcp::Event> events, tcp::Stack& stack, tcp::Instant now);
    /// All its deadlines are the stack's.
    std::optional<tcp::Instant> next_due() const { return {}; }
    /// Idle connections get FIN now; requests in hand are answered as the last of their connections.
    void drain(tcp::Stack& stack, tcp::Instant now);

    http::HttpCounters report() const { return logic_.counters(); }
    const http::ServerLogic& logic() const { return logic_; }

private:
    /// What is remembered of the connection with the same index in the stack.
    struct Slot {
        http::ConnectionState http;
        uint32_t lingered : 30 = 0;  // bytes read since our FIN was asked for
        uint32_t lingering : 1 = false;
        uint32_t peer_closed : 1 = false;
    };
    static_assert(sizeof(Slot) == 20);

    /// Where answers go: the connection's send queue.
    class Sink {
    public:
        Sink(tcp::Stack& stack, tcp::ConnId conn, tcp::PinId first_pin)
            : stack_(stack), conn_(conn), first_pin_(first_pin) {}
        http::Taken operator()(const http::Answer& answer) const;
        bool in_use(http::PinId pin) const { return stack_.pins().in_use(pin_of(pin)); }

    private:
        tcp::PinId pin_of(http::PinId pin) const { return pin == http::constant_pin ? 0 : first_pin_ + pin - 1; }
        tcp::Stack& stack_;
        tcp::ConnId conn_;
        tcp::PinId first_pin_;
    };

    Slot& slot_of(tcp::ConnId conn) { return slots_[conn.index]; }
    Sink sink_for(tcp::Stack& stack, tcp::ConnId conn) const { return {stack, conn, first_pin_}; }

    void on_opened(tcp::ConnId conn, tcp::Stack& stack, tcp::Instant now);
    void on_readable(tcp::ConnId conn, tcp::Stack& stack, tcp::Instant now);
    void on_deadline(tcp::ConnId conn, tcp::Stack& stack, tcp::Instant now);
    void follow(const http::Step& step, tcp::ConnId conn, tcp::Stack& stack, tcp::Instant now);
    void finish(tcp::ConnId conn, tcp::Stack& stack, tcp::Instant now);
    void linger(tcp::ConnId conn, tcp::Stack& stack, tcp::Instant now);
    void let_go(tcp::ConnId conn, tcp::Stack& stack, tcp::Instant now);
    void forget(tcp::ConnId conn);

    ServerSettings settings_;
    http::Content content_;
    http::ServerLogic logic_;
    tcp::PinId first_pin_ = 0;
    bool draining_ = false;
    tcp::MemoryBlock memory_;  // of the slots: a page is touched when a connection first needs it
    Slot* slots_;
};

}  // namespace pollux::httpd
