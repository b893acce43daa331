// The server's side of a connection: order, persistence, bodies, deadlines, a sink that is full, buffers that run
// out.
#include "apps/http/connection.hpp"

#include <gtest/gtest.h>

#include <random>

#include "tests/unit/http_support.hpp"

namespace pollux::tests {
namespace {

using http::Deadline;
using http::Step;

std::string get(const std::string& path, const std::string& fields = {}) {
    return "GET " + path + " HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
}

http::ServerLimits limited(uint16_t max_requests, bool idle) {
    http::ServerLimits limits = Dialogue::small_pool();
    limits.max_requests = max_requests;
    limits.idle_timeout = idle;
    return limits;
}

TEST(HttpConnection, HeadAnd204CarryNoBody) {
    RecordProperty("row", "HTTP-24");
    Dialogue d;
    d.sends(
        "HEAD /large HTTP/1.1\r\nHost: a\r\n\r\nHEAD /missing HTTP/1.1\r\nHost: a\r\n\r\n"
        "OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n");
    const auto replies = d.replies(true);
    ASSERT_EQ(replies.size(), 4u);
    EXPECT_EQ(replies[0].status(), 200);
    EXPECT_TRUE(replies[0].has("Content-Length: 10000"));
    EXPECT_EQ(replies[1].status(), 404);
    EXPECT_EQ(replies[2].status(), 204);
    EXPECT_EQ(replies[2].head.find("Content-Length"), std::string::npos);
    EXPECT_EQ(replies[2].head.find("Transfer-Encoding"), std::string::npos);
    EXPECT_EQ(replies[3].status(), 417);
    EXPECT_TRUE(d.sink.text.ends_with("\r\n\r\n")) << "the last head is the last thing said";
}

TEST(HttpConnection, MethodNotAllowedNamesTheAllowedOnes) {
    Dialogue d;
    d.sends("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n");
    ASSERT_EQ(d.replies().size(), 1u);
    EXPECT_TRUE(d.replies()[0].has("Allow: GET, HEAD, OPTIONS"));
}

TEST(HttpConnection, PipelinedRequestsAreAnsweredInOrder) {
    RecordProperty("row", "HTTP-25");
    const std::string requests =
        get("/") + get("/missing") + get("/a%20b") + "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n" +
        get("/not-a-request-but-a-body-of-40-b").substr(0, 40) + get("/empty") + get("/large");
    const std::vector<uint16_t> expected{200, 404, 200, 405, 200, 200};
    std::mt19937 random{3};
    for (int round = 0; round < 300; ++round) {
        Dialogue d;
        for (std::size_t at = 0; at < requests.size();) {
            const std::size_t size = round == 0 ? requests.size() : round == 1 ? 1 : 1 + random() % 100;
            d.sends(requests.substr(at, size));
            at += size;
        }
        std::vector<uint16_t> statuses;
        for (const Reply& reply : d.replies()) statuses.push_back(reply.status());
        ASSERT_EQ(statuses, expected);
        ASSERT_EQ(d.replies()[0].body, "Hello world\n");
        ASSERT_EQ(d.replies()[2].body, "blank\n");
        ASSERT_EQ(d.replies()[5].body.size(), 10'000u);
        ASSERT_FALSE(d.closed);
        ASSERT_TRUE(d.state.is_idle());
        if (round == 0) {
            ASSERT_EQ(d.logic.counters().pipelined, 5u);
        }
    }
    // Behind an error or a last answer nothing is run.
    for (const std::string& end :
         {get("/", "Connection: close\r\n"), get("/", "X : y\r\n"), std::string{"GET / HTTP/1.0\r\n\r\n"}}) {
        Dialogue d;
        d.sends(get("/") + end + get("/large"));
        d.sends(get("/large"));
        EXPECT_EQ(d.replies().size(), 2u);
        EXPECT_TRUE(d.replies()[1].closes() && d.closed);
        EXPECT_EQ(d.unread, "");
        EXPECT_GE(d.logic.counters().discarded_bytes, 2 * get("/large").size());
    }
}

TEST(HttpConnection, ConnectionsPersistByVersionAndEndByTimeAndNumber) {
    RecordProperty("row", "HTTP-27");
    // 1.1 by default, 1.0 by token only (HttpRow has the table); here: how long.
    Dialogue unlimited{limited(0, false)};
    for (int i = 0; i < 70'000; ++i) {
        unlimited.sends(wrk_request);
        if (i % 1000 == 0) unlimited.sink.text.clear();
    }
    EXPECT_EQ(unlimited.logic.counters().requests, 70'000u);
    EXPECT_FALSE(unlimited.closed);

    http::ContentSettings settings;
    settings.idle_seconds = 5;
    settings.max_requests = 3;
    Dialogue d{limited(3, true), settings};
    EXPECT_EQ(d.logic.on_open(d.state).deadline, Deadline::idle);
    EXPECT_EQ(d.sends(wrk_request).deadline, Deadline::idle);
    EXPECT_EQ(d.sends("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").deadline, Deadline::idle);
    const Step last = d.sends(std::string{wrk_request} + std::string{wrk_request});
    EXPECT_TRUE(last.close);
    EXPECT_EQ(last.deadline, Deadline::none);
    const auto replies = d.replies();
    ASSERT_EQ(replies.size(), 3u);
    EXPECT_TRUE(replies[0].has("Keep-Alive: timeout=5, max=2"));
    EXPECT_TRUE(replies[1].has("Keep-Alive: timeout=5, max=1") && replies[1].has("Connection: keep-alive"));
    EXPECT_TRUE(replies[2].closes());

    Dialogue idle{limited(0, true)};
    idle.sends(wrk_request);
    EXPECT_TRUE(idle.deadline_comes().close) << "idle for too long";
    EXPECT_EQ(idle.replies().size(), 1u) << "and nothing is said about it";
    EXPECT_EQ(idle.logic.counters().idle_timeouts, 1u);
}

TEST(HttpConnection, HeaderDeadlineRunsFromTheFirstByte) {
    Dialogue d{limited(0, true)};
    EXPECT_EQ(d.sends("GET / HT").deadline, Deadline::header);
    EXPECT_EQ(d.sends("TP/1.1\r\n").deadline, Deadline::unchanged) << "further bytes do not prolong it";
    EXPECT_EQ(d.sends("Host: a\r\n").deadline, Deadline::unchanged);
    EXPECT_EQ(d.sends("\r\n").deadline, Deadline::idle);
    EXPECT_EQ(d.sends(get("/") + "G").deadline, Deadline::header) << "the next request has begun";
    EXPECT_EQ(d.sends("ET / HTTP/1.1\r\nHost: a\r\n\r\nGET ").deadline, Deadline::header) << "and the next";
    const Step late = d.deadline_comes();
    EXPECT_TRUE(late.close);
    ASSERT_EQ(d.replies().size(), 4u);
    EXPECT_EQ(d.replies()[3].status(), 408);
    EXPECT_TRUE(d.replies()[3].closes());
    EXPECT_EQ(d.logic.buffers().in_use(), 0u);
    EXPECT_EQ(d.logic.counters().header_timeouts, 1u);
}

TEST(HttpConnection, AnswersWaitForASinkThatIsFull) {
    Dialogue d;
    d.sink.room = 1;
    const Step step = d.sends(get("/") + get("/missing") + get("/empty"));
    EXPECT_EQ(step.deadline, Deadline::none);
    EXPECT_EQ(d.replies().size(), 1u);
    EXPECT_EQ(d.unread, get("/empty")) << "the second waits, the third stays unread";
    d.may_write();
    EXPECT_EQ(d.replies().size(), 1u) << "no room yet";
    d.sink.room = 1;
    d.may_write();
    EXPECT_EQ(d.replies().size(), 2u);
    d.sink.room = 5;
    d.may_write();
    ASSERT_EQ(d.replies().size(), 3u);
    EXPECT_EQ(d.replies()[1].status(), 404);
    EXPECT_EQ(d.replies()[2].status(), 200);
    EXPECT_EQ(d.unread, "");
    EXPECT_TRUE(d.state.is_idle());
}

TEST(HttpConnection, AnyCutAndAnyRoomGivesTheSameAnswers) {
    const std::string requests = get("/") + get("/a%20b") +
                                 "PUT /large HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" + get("/large") +
                                 get("/x", "Connection: close\r\n") + get("/");
    Dialogue reference;
    reference.sends(requests);
    ASSERT_EQ(reference.replies().size(), 5u);
    for (uint32_t seed = 1; seed <= 500; ++seed) {
        std::mt19937 random{seed};
        Dialogue d;
        d.sink.room = 0;
        for (std::size_t at = 0; at < requests.size();) {
            const std::size_t size = 1 + random() % 60;
            d.sends(requests.substr(at, size));
            at += size;
            if (random() % 2 == 0) {
                d.sink.room = static_cast<uint32_t>(random() % 3);
                d.may_write();
            }
        }
        d.sink.room = 100;
        d.may_write();
        ASSERT_EQ(d.sink.text, reference.sink.text) << "seed " << seed;
        ASSERT_TRUE(d.closed);
    }
}

TEST(HttpConnection, CopiedHeadIsFollowedByItsRest) {
    http::ContentSettings settings;
    settings.slots = 1;
    Dialogue d{Dialogue::small_pool(), settings};
    d.sink.pin_what_is_sent = true;
    d.sends(get("/"));
    d.content.set_time(784111778);
    d.sink.take_copied_heads_only = true;
    d.sends(get("/") + get("/large"));
    EXPECT_EQ(d.replies().back().body, "") << "only the head was taken";
    d.sink.take_copied_heads_only = false;
    d.may_write();
    const auto replies = d.replies();
    ASSERT_EQ(replies.size(), 3u);
    EXPECT_EQ(replies[1].body, "Hello world\n");
    EXPECT_TRUE(replies[1].has("Date: Sun, 06 Nov 1994 08:49:38 GMT"));
    EXPECT_EQ(replies[2].body.size(), 10'000u);
    EXPECT_EQ(d.logic.counters().copied_heads, 1u);
}

TEST(HttpConnection, TailIsLeftUnreadWhileNoBufferIsFree) {
    http::ServerLimits limits;
    limits.request_buffers = 1;
    Dialogue d{limits};
    http::ConnectionState other;
    TestSink sink;
    d.logic.on_data(other, "GET /", sink);
    EXPECT_EQ(d.logic.buffers().in_use(), 1u);
    EXPECT_EQ(d.sends(get("/") + "GET /emp").deadline, Deadline::header);
    EXPECT_EQ(d.unread, "GET /emp") << "what is complete has been answered";
    EXPECT_EQ(d.logic.counters().buffers_missing, 1u);
    EXPECT_FALSE(d.state.is_idle());
    EXPECT_EQ(d.sends("ty HTTP/1.1\r\n").deadline, Deadline::unchanged);
    d.logic.on_gone(other);
    EXPECT_EQ(d.logic.buffers().in_use(), 0u);
    d.sends("Host: a\r\n");
    EXPECT_EQ(d.unread, "") << "now there is one";
    d.sends("\r\n");
    EXPECT_EQ(d.replies().size(), 2u);
    EXPECT_EQ(d.logic.buffers().in_use(), 0u);
}

TEST(HttpConnection, RequestsBeforeTheFinAreAnswered) {
    Dialogue d;
    d.sink.room = 1;
    d.sends(get("/") + get("/empty") + get("/large") + "GET /inc");
    EXPECT_FALSE(d.closes().close) << "there is more to say";
    d.sink.room = 10;
    const Step step = d.may_write();
    EXPECT_TRUE(step.close);
    EXPECT_EQ(d.replies().size(), 3u);
    EXPECT_EQ(d.unread, "");
    EXPECT_EQ(d.logic.buffers().in_use(), 0u);

    Dialogue idle;
    EXPECT_TRUE(idle.closes().close);
    Dialogue begun;
    begun.sends("GET /");
    EXPECT_TRUE(begun.closes().close);
    EXPECT_EQ(begun.logic.buffers().in_use(), 0u);
}

TEST(HttpConnection, DrainingMakesEveryAnswerTheLast) {
    Dialogue d;
    d.sends(get("/") + "GET /large HT");
    d.logic.drain();
    EXPECT_FALSE(d.state.is_idle()) << "a request in hand is waited for";
    d.sends("TP/1.1\r\nHost: a\r\n\r\n" + get("/"));
    const auto replies = d.replies();
    ASSERT_EQ(replies.size(), 2u);
    EXPECT_TRUE(!replies[0].closes() && replies[1].closes() && d.closed);
}

TEST(HttpConnection, CountersAddUp) {
    Dialogue d;
    d.sends(get("/") + get("/missing") + "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789" +
            get("/", "A : b\r\n"));
    const http::HttpCounters& c = d.logic.counters();
    EXPECT_EQ(c.requests, 4u);
    EXPECT_EQ(c.answers_2xx, 1u);
    EXPECT_EQ(c.answers_4xx, 3u);
    EXPECT_EQ(c.answers_5xx, 0u);
    EXPECT_EQ(c.parse_errors, 1u);
    EXPECT_EQ(c.body_bytes, 10u);
    EXPECT_EQ(c.answer_bytes, d.sink.text.size());
    EXPECT_EQ(c.pipelined, 3u);
}

TEST(HttpConnection, NothingBelongsToAnIdleConnection) {
    Dialogue d;
    for (int i = 0; i < 1000; ++i) d.sends_bytewise(wrk_request);
    EXPECT_EQ(d.logic.buffers().in_use(), 0u);
    EXPECT_TRUE(d.state.is_idle());
    EXPECT_EQ(d.replies().size(), 1000u);
}

}  // namespace
}  // namespace pollux::tests
