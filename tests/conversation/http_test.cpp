// The HTTP server on its stack, over a small TCP client and virtual time: what the client sees of answers, FINs,
// resets and deadlines. What a request earns is tables' business (tests/unit/http_*); here it is when and how.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "apps/httpd/http_server.hpp"
#include "tcp/wire/packet.hpp"
#include "tests/support/allocations.hpp"
#include "tests/support/host.hpp"

namespace pollux::test {
namespace {

using namespace std::chrono_literals;
using tcp::Duration;
using tcp::Flags;
using tcp::Instant;
using tcp::SeqNum;

/// The server as a Host's application. It may not allocate in a turn.
class ServerApp final : public Application {
public:
    ServerApp(std::vector<http::Route> routes, const httpd::ServerSettings& settings)
        : routes_(std::move(routes)), settings_(settings) {}

    void on_turn(std::span<const tcp::Event> events, tcp::Stack& stack, Instant now) override {
        if (!server) server.emplace(stack, routes_, settings_);  // the Host's stack exists by now
        uint64_t allocations = 0;
        {
            AllocationMeter meter(allocations);
            server->on_turn(events, stack, now);
        }
        EXPECT_EQ(allocations, 0u) << "the server allocated in a turn";
    }

    std::optional<httpd::HttpServer> server;

private:
    std::vector<http::Route> routes_;
    httpd::ServerSettings settings_;
};

httpd::ServerSettings server_settings() {
    httpd::ServerSettings settings;
    settings.limits.request_buffers = 8;
    settings.limits.idle_timeout = true;
    settings.idle_timeout = 5s;
    settings.header_timeout = 10s;
    settings.linger_timeout = 2s;
    settings.wall_at_zero_us = 784'111'777'000'000;
    return settings;
}

/// The whole machine: one host, clients with a port each, a clock.
class Net {
public:
    explicit Net(const httpd::ServerSettings& settings = server_settings(),
                 const tcp::StackSettings& stack = small_settings())
        : app({{"/", "Hello world\n", "text/plain", {}}, {"/large", std::string(200'000, 'x'), "text/plain", {}}},
              settings),
          host(stack, app) {
        run();
        at_start_ = host.stack().pool_use();
    }

    struct Client {
        uint16_t port = 0;
        SeqNum nxt{0xffff'ffc0}, rcv{};
        std::string text;  // in order
        bool fin = false, reset = false;
        uint32_t window = 65'535;
        bool acknowledges = true;  // at once
        bool owes_ack = false;
    };

    Client& connects(uint16_t port) {
        clients_.push_back(std::make_unique<Client>());
        Client& c = *clients_.back();
        c.port = port;
        sends(c, Flags::syn);
        sends(c, Flags::ack);
        return c;
    }
    void sends(Client& c, Flags flags, std::string_view text = {}) { deliver({segment(c, flags, text)}); }
    void asks(Client& c, std::string_view text) { sends(c, Flags::ack | Flags::psh, text); }
    /// Several segments of at most 1000 bytes in one burst.
    void asks_in_one_burst(Client& c, std::string_view text) {
        std::vector<Packet> burst;
        for (; !text.empty(); text.remove_prefix(std::min<size_t>(1000, text.size()))) {
            burst.push_back(segment(c, Flags::ack | Flags::psh, text.substr(0, 1000)));
        }
        deliver(std::move(burst));
    }
    void closes(Client& c) { sends(c, Flags::fin | Flags::ack); }
    void passes(Duration time) {
        const Instant end = now + time;
        while (now < end) {
            const auto due = host.stack().next_due(now);
            now = due ? std::clamp(*due, now + Duration{1}, end) : end;
            run();
        }
    }
    void drains() {
        app.server->drain(host.stack(), now);
        run();
    }
    /// Nothing is held any more, but for connections that rest in TIME-WAIT.
    void expects_all_returned() {
        tcp::PoolUse use = host.stack().pool_use();
        use.table_entries -= use.time_wait;
        use.time_wait = 0;
        use.timers = at_start_.timers;
        EXPECT_TRUE(use == at_start_) << use.connections << " connections, " << use.pins << " pins, " << use.chunks
                                      << " chunks";
        EXPECT_EQ(app.server->logic().buffers().in_use(), 0u);
    }

    Instant now{1s};
    ServerApp app;
    Host host;

private:
    Packet segment(Client& c, Flags flags, std::string_view text) {
        tcp::Segment s;
        s.flow = {peer_endpoint.address, host_endpoint.address, c.port, host_endpoint.port};
        s.seq = c.nxt;
        s.flags = flags;
        s.window = c.window;
        s.payload = std::as_bytes(std::span{text.data(), text.size()});
        if (s.has(Flags::ack)) s.ack = c.rcv;
        if (s.has(Flags::syn)) {
            s.present = tcp::Present::mss;
            s.mss = 1460;
        }
        c.nxt += s.seq_length();
        Packet packet(tcp::wire::headers_size(s) + text.size());
        EXPECT_EQ(tcp::wire::emit(s, packet).status, tcp::wire::EmitStatus::ok);
        return packet;
    }
    void run() { deliver({}); }
    void deliver(std::vector<Packet> burst) {
        for (int turns = 0; turns < 10'000; ++turns) {
            std::vector<Packet> sent;
            const bool busy = host.turn(now, burst, sent);
            burst.clear();
            for (const Packet& packet : sent) hear(packet);
            for (const auto& c : clients_) {
                if (c->owes_ack && c->acknowledges && !c->reset) burst.push_back(segment(*c, Flags::ack, {}));
                if (c->acknowledges) c->owes_ack = false;
            }
            if (!busy && burst.empty()) return;
        }
        ADD_FAILURE() << "the host does not come to rest";
    }
    void hear(const Packet& packet) {
        const auto parsed = tcp::wire::parse(packet, tcp::wire::ChecksumTrust::verify_all);
        ASSERT_EQ(parsed.result, tcp::wire::ParseResult::ok);
        const tcp::Segment& s = parsed.segment;
        for (const auto& c : clients_) {
            if (c->port != s.flow.local_port) continue;
            if (s.has(Flags::rst)) c->reset = true;
            if (s.has(Flags::syn)) c->rcv = s.seq + 1;
            if (s.payload.empty() && !s.has(Flags::fin)) return;
            c->owes_ack = true;
            if (s.seq != c->rcv) return;
            c->text.append(reinterpret_cast<const char*>(s.payload.data()), s.payload.size());
            c->rcv += static_cast<uint32_t>(s.payload.size());
            if (!s.has(Flags::fin)) return;
            c->fin = true;
            c->rcv += 1;
            return;
        }
    }

    std::vector<std::unique_ptr<Client>> clients_;
    tcp::PoolUse at_start_;
};

std::string get(std::string_view path, std::string_view fields = {}) {
    return "GET " + std::string{path} + " HTTP/1.1\r\nHost: a\r\n" + std::string{fields} + "\r\n";
}
size_t count(std::string_view text, std::string_view what) {
    size_t n = 0;
    for (size_t at = text.find(what); at != std::string_view::npos; at = text.find(what, at + 1)) ++n;
    return n;
}

TEST(HttpServer, AnswersAndKeepsTheConnection) {
    Net net;
    auto& c = net.connects(4000);
    for (int i = 0; i < 3; ++i) net.asks(c, get("/"));
    EXPECT_EQ(count(c.text, "HTTP/1.1 200 OK\r\n"), 3u);
    EXPECT_EQ(count(c.text, "Date: Sun, 06 Nov 1994 08:49:38 GMT\r\n"), 3u) << "the wall clock was handed in";
    EXPECT_TRUE(c.text.ends_with("\r\n\r\nHello world\n"));
    EXPECT_FALSE(c.fin || c.reset);
    net.closes(c);
    EXPECT_TRUE(c.fin && !c.reset);
    net.expects_all_returned();
}

TEST(HttpServer, RequestInManySegmentsOfOneBurstIsOneRequest) {
    Net net;
    auto& c = net.connects(4000);
    net.asks_in_one_burst(c, get("/", "X: " + std::string(5000, 'y') + "\r\n") + get("/large") + get("/"));
    EXPECT_EQ(count(c.text, "HTTP/1.1 200 OK\r\n"), 3u);
    EXPECT_NE(c.text.find(std::string(200'000, 'x')), std::string::npos);
    net.closes(c);
    net.expects_all_returned();
}

TEST(HttpServer, RequestByteByByteIsOneRequest) {
    Net net;
    auto& c = net.connects(4000);
    for (const char byte : get("/")) net.asks(c, {&byte, 1});
    EXPECT_EQ(count(c.text, "HTTP/1.1 200 OK\r\n"), 1u);
    net.closes(c);
    net.expects_all_returned();
}

TEST(HttpServer, LastAnswerIsFollowedByFinAndThenByNothing) {
    Net net;
    auto& c = net.connects(4000);
    net.asks(c, get("/", "Connection: close\r\n"));
    EXPECT_TRUE(c.text.ends_with("Hello world\n") && c.fin && !c.reset);
    net.closes(c);
    EXPECT_FALSE(c.reset);
    net.expects_all_returned();
}

TEST(HttpServer, ErrorReachesAClientThatGoesOnSending) {
    RecordProperty("row", "HTTP-26");
    Net net;
    auto& c = net.connects(4000);
    net.asks(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + std::string(900, 'b'));
    EXPECT_EQ(count(c.text, "HTTP/1.1 413 "), 1u);
    EXPECT_TRUE(c.fin) << "half-closed";
    for (int i = 0; i < 60; ++i) {  // within 64 kB and 2 s all of it is read, so nothing resets
        net.asks(c, std::string(1000, 'b'));
        net.passes(20ms);
    }
    EXPECT_FALSE(c.reset);
    for (int i = 0; i < 10 && !c.reset; ++i) net.asks(c, std::string(1000, 'b'));
    EXPECT_TRUE(c.reset) << "beyond 64 kB";
    net.expects_all_returned();

    auto& slow = net.connects(4001);
    net.asks(slow, "NONSENSE\r\n\r\n");
    EXPECT_TRUE(slow.fin);
    net.passes(1900ms);
    net.asks(slow, "more");
    EXPECT_FALSE(slow.reset) << "within 2 s";
    net.passes(200ms);
    net.asks(slow, "more");
    EXPECT_TRUE(slow.reset) << "after 2 s";
    net.expects_all_returned();
}

TEST(HttpServer, RequestBehindOurFinIsNeverRun) {
    RecordProperty("row", "HTTP-29");
    Net net;
    auto& c = net.connects(4000);
    net.asks(c, get("/", "Connection: close\r\n"));
    const size_t said = c.text.size();
    net.asks(c, get("/large"));
    net.asks_in_one_burst(c, get("/") + get("/"));
    EXPECT_EQ(c.text.size(), said);
    EXPECT_FALSE(c.reset) << "drained";
    net.passes(2100ms);
    net.asks(c, get("/"));
    EXPECT_EQ(c.text.size(), said);
    EXPECT_TRUE(c.reset) << "ended";
    EXPECT_EQ(net.app.server->report().requests, 1u);
    net.expects_all_returned();
}

TEST(HttpServer, IdleConnectionIsClosedAfterItsTime) {
    Net net;
    auto& c = net.connects(4000);
    net.passes(4900ms);
    net.asks(c, get("/"));
    net.passes(4900ms);
    EXPECT_FALSE(c.fin) << "the answer began a new period";
    net.passes(200ms);
    EXPECT_TRUE(c.fin);
    EXPECT_EQ(count(c.text, "HTTP/1.1 "), 1u) << "and nothing was said";
    net.closes(c);
    net.expects_all_returned();
    EXPECT_EQ(net.app.server->report().idle_timeouts, 1u);
}

TEST(HttpServer, SlowHeadIsEndedTenSecondsAfterItsFirstByte) {
    Net net;
    auto& c = net.connects(4000);
    net.passes(3s);
    for (int i = 0; i < 9; ++i) {
        net.asks(c, i == 0 ? "GET / HTTP/1.1\r\n" : "X: y\r\n");
        net.passes(1s);
    }
    net.passes(900ms);
    EXPECT_EQ(c.text, "");
    net.passes(200ms);
    EXPECT_EQ(count(c.text, "HTTP/1.1 408 "), 1u);
    EXPECT_TRUE(c.fin);
    net.closes(c);
    net.expects_all_returned();
}

TEST(HttpServer, ConnectionIsNotIdleWhileItsAnswerIsTaken) {
    Net net;
    auto& c = net.connects(4000);
    c.window = 0;  // takes nothing for a while
    net.asks(c, get("/large"));
    net.passes(20s);
    EXPECT_FALSE(c.fin || c.reset);
    c.window = 65'535;
    net.sends(c, Flags::ack);
    net.passes(1s);
    EXPECT_TRUE(c.text.ends_with(std::string(200'000, 'x')));
    EXPECT_FALSE(c.fin);
    net.passes(6s);
    EXPECT_TRUE(c.fin) << "now it is";
    net.closes(c);
    net.expects_all_returned();
}

TEST(HttpServer, AnswersKeepTheirDateUntilTheyAreAcknowledged) {
    Net net;
    auto& stalled = net.connects(4000);
    stalled.acknowledges = false;
    net.asks(stalled, get("/"));
    net.passes(100ms);
    const std::string first = stalled.text;
    for (uint16_t i = 0; i < 6; ++i) {  // others are served in the seconds that follow
        auto& c = net.connects(static_cast<uint16_t>(4001 + i));
        c.acknowledges = i % 2 == 0;
        net.asks(c, get("/"));
        net.passes(1s);
        EXPECT_EQ(count(c.text, "Hello world"), 1u);
        if (i % 2 == 0) net.closes(c);
    }
    EXPECT_EQ(first, stalled.text);
    stalled.rcv = stalled.rcv.back(static_cast<uint32_t>(first.size()));  // hear the retransmission as if it were new
    stalled.text.clear();
    net.passes(60s);
    EXPECT_EQ(stalled.text, first) << "the retransmission is the same bytes";
}

TEST(HttpServer, PipelineLongerThanTheSendQueueIsAnsweredInOrder) {
    tcp::StackSettings stack = small_settings();
    stack.send_queue_limit = 1000;
    Net net{server_settings(), stack};
    auto& c = net.connects(4000);
    std::string requests;
    for (int i = 0; i < 40; ++i) requests += get(i % 2 == 0 ? "/" : "/missing");
    net.asks_in_one_burst(c, requests);
    net.passes(1s);
    EXPECT_EQ(count(c.text, "HTTP/1.1 200 OK"), 20u);
    EXPECT_EQ(count(c.text, "HTTP/1.1 404 Not Found"), 20u);
    EXPECT_GT(net.app.server->report().sink_full, 0u);
    net.closes(c);
    EXPECT_TRUE(c.fin && !c.reset);
    net.expects_all_returned();
}

TEST(HttpServer, RequestsBeforeAFinAreAnsweredThoughTheQueueIsShort) {
    tcp::StackSettings stack = small_settings();
    stack.send_queue_limit = 400;
    Net net{server_settings(), stack};
    auto& c = net.connects(4000);
    c.acknowledges = false;
    std::string requests;
    for (int i = 0; i < 60; ++i) requests += get("/");
    net.asks_in_one_burst(c, requests);
    net.closes(c);
    c.acknowledges = true;
    net.sends(c, Flags::ack);
    net.passes(3s);
    EXPECT_EQ(count(c.text, "Hello world\n"), 60u);
    EXPECT_TRUE(c.fin && !c.reset);
    net.expects_all_returned();
}

TEST(HttpServer, DrainingFinishesWhatIsInHandAndClosesTheRest) {
    Net net;
    auto& idle = net.connects(4000);
    auto& asking = net.connects(4001);
    auto& receiving = net.connects(4002);
    net.asks(asking, "GET / HT");
    receiving.window = 0;
    net.asks(receiving, get("/large"));
    net.drains();
    EXPECT_TRUE(idle.fin && idle.text.empty());
    EXPECT_FALSE(asking.fin);
    net.asks(asking, "TP/1.1\r\nHost: a\r\n\r\n" + get("/"));
    EXPECT_EQ(count(asking.text, "Connection: close\r\n"), 1u);
    EXPECT_EQ(count(asking.text, "HTTP/1.1 "), 1u);
    EXPECT_TRUE(asking.fin);
    receiving.window = 65'535;
    net.sends(receiving, Flags::ack);
    net.passes(1s);
    EXPECT_TRUE(receiving.text.ends_with("xxx") && receiving.fin);
    for (auto* c : {&idle, &asking, &receiving}) net.closes(*c);
    net.expects_all_returned();
}

TEST(HttpServer, ResetInTheMiddleOfARequestReturnsEverything) {
    Net net;
    auto& c = net.connects(4000);
    net.asks(c, "GET / HTTP/1.1\r\nHo");
    EXPECT_EQ(net.app.server->logic().buffers().in_use(), 1u);
    net.sends(c, Flags::rst);
    net.expects_all_returned();
    auto& next = net.connects(4001);
    net.asks(next, get("/"));
    EXPECT_EQ(count(next.text, "HTTP/1.1 200 OK"), 1u) << "the place in the table is clean";
}

}  // namespace
}  // namespace pollux::test
