// Section by section what a request may look like and what it earns: each case is sent whole, byte by byte, cut in
// two at every place, and behind a good request, and must earn the same each time.
#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>

#include "tests/unit/http_support.hpp"

namespace pollux::tests {
namespace {

constexpr bool closes = true, stays = false;

struct Case {
    std::string bytes;
    uint16_t status;
    bool close;
};
struct Row {
    const char* name;
    const char* ids;
    std::vector<Case> cases;
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }

std::string get(const std::string& fields) { return "GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n"; }
std::string line(const std::string& request_line) { return request_line + "\r\nHost: a\r\n\r\n"; }
std::string host(const std::string& value) { return "GET / HTTP/1.1\r\nHost: " + value + "\r\n\r\n"; }
std::string fields(int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += "X-" + std::to_string(i) + ": y\r\n";
    return text;
}
using namespace std::string_literals;

const std::vector<Row> rows{
    {"ContentLengthWithTransferEncodingIsRefused",
     "HTTP-01",
     {{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", 400, closes},
      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n", 400, closes},
      {"POST / HTTP/1.1\r\nHost: a\r\ncontent-length:0\r\nTRANSFER-ENCODING:\tgzip\r\n\r\n", 400, closes}}},
    {"TransferEncodingInHttp10IsFaultyFraming",
     "HTTP-02",
     {{"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, closes},
      {"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: gzip\r\n\r\n", 400, closes}}},
    {"ChunkedStandsOnceAndLastAndAlone",
     "HTTP-03",
     {{get("Transfer-Encoding: chunked, gzip\r\n"), 400, closes},
      {get("Transfer-Encoding: chunked, chunked\r\n"), 400, closes},
      {get("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400, closes},
      {get("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n"), 400, closes},
      {get("Transfer-Encoding: chunked;a=b\r\n"), 400, closes},
      {get("Transfer-Encoding: \"chunked\"\r\n"), 400, closes},
      {get("Transfer-Encoding:\r\n"), 400, closes},
      {get("Transfer-Encoding: ,\r\n"), 400, closes},
      {get("Transfer-Encoding: gzip, chunked\r\n"), 501, closes},
      {get("Transfer-Encoding: gzip\r\n"), 501, closes},
      {get("Transfer-Encoding: xchunked\r\n"), 501, closes},
      {get("Transfer-Encoding: identity\r\n"), 501, closes}}},
    {"ContentLengthIsOneDecimalNumber",
     "HTTP-04",
     {{get("Content-Length: 5\r\nContent-Length: 5\r\n"), 400, closes},
      {get("Content-Length: 5\r\nContent-Length: 6\r\n"), 400, closes},
      {get("Content-Length: 5,5\r\n"), 400, closes},
      {get("Content-Length: 5, 5\r\n"), 400, closes},
      {get("Content-Length: +5\r\n"), 400, closes},
      {get("Content-Length: -5\r\n"), 400, closes},
      {get("Content-Length: 0x5\r\n"), 400, closes},
      {get("Content-Length: 5 5\r\n"), 400, closes},
      {get("Content-Length: 5.0\r\n"), 400, closes},
      {get("Content-Length:\r\n"), 400, closes},
      {get("Content-Length: \t \r\n"), 400, closes},
      {get("Content-Length: 9223372036854775809\r\n"), 400, closes},
      {get("Content-Length: 18446744073709551616\r\n"), 400, closes},
      {get("Content-Length: 99999999999999999999999999999999\r\n"), 400, closes},
      {get("Content-Length: 0\r\n"), 200, stays},
      {get("Content-Length: \t0000 \r\n"), 200, stays}}},
    {"HostStandsOnceAndIsValid",
     "HTTP-05",
     {{"GET / HTTP/1.1\r\n\r\n", 400, closes},
      {"GET / HTTP/1.1\r\nX-Host: a\r\n\r\n", 400, closes},
      {get("Host: a\r\n"), 400, closes},
      {"GET / HTTP/1.0\r\nHost: a\r\nHOST: b\r\n\r\n", 400, closes},
      {host(""), 400, closes},
      {host("a b"), 400, closes},
      {host("a,b"), 200, stays},
      {host("user@a"), 400, closes},
      {host("a/b"), 400, closes},
      {host("a:"), 200, stays},
      {host("a:65535"), 200, stays},
      {host("a:65536"), 400, closes},
      {host("a:80a"), 400, closes},
      {host("a:80:80"), 400, closes},
      {host(":80"), 400, closes},
      {host("[2001:db8::1]"), 200, stays},
      {host("[2001:db8::1]:8080"), 200, stays},
      {host("[2001:db8::1"), 400, closes},
      {host("[]"), 400, closes},
      {host("[abc]"), 400, closes},
      {host("[::1]a"), 400, closes},
      {host("[::g]"), 400, closes},
      {host("2001:db8::1"), 400, closes},
      {host("a%41"), 200, stays},
      {host("a%4"), 400, closes},
      {host("a%zz"), 400, closes},
      {host("a\x80"), 400, closes},
      {host("a?b"), 400, closes},
      {host("a#b"), 400, closes},
      {host("\t a.example \t"), 200, stays},
      {"GET / HTTP/1.0\r\n\r\n", 200, closes}}},
    {"NothingStandsBetweenFieldNameAndColon",
     "HTTP-06",
     {{get("X-A : b\r\n"), 400, closes},
      {get("X-A\t: b\r\n"), 400, closes},
      {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, closes},
      {get("Content-Length : 4\r\n"), 400, closes},
      {get("Transfer-Encoding : chunked\r\n"), 400, closes},
      {get(": b\r\n"), 400, closes},
      {get("X-A\r\n"), 400, closes},
      {get("X A: b\r\n"), 400, closes},
      {get("X\"A: b\r\n"), 400, closes},
      {get("X(A: b\r\n"), 400, closes},
      {get("X\x80: b\r\n"), 400, closes},
      {get("!#$%&'*+-.^_`|~09azAZ: b\r\n"), 200, stays},
      {get("X:\r\n"), 200, stays}}},
    {"FieldLinesAreNotFolded",
     "HTTP-07",
     {{get("X-A: b\r\n c\r\n"), 400, closes},
      {get("X-A: b\r\n\tc\r\n"), 400, closes},
      {get("X-A: b\r\n \r\n"), 400, closes},
      {"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, closes},
      {"GET / HTTP/1.1\r\n\tX: a\r\nHost: a\r\n\r\n", 400, closes}}},
    {"BareCarriageReturnIsRefused",
     "HTTP-08",
     {{"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", 400, closes},
      {"GET / HTTP/1.1\rHost: a\r\n\r\n", 400, closes},
      {"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400, closes},
      {get("X: a\rb\r\n"), 400, closes},
      {get("X: a\r\r\n"), 400, closes},
      {get("X\r: a\r\n"), 400, closes},
      {"GET / HTTP/1.1\r\nHost: a\r\n\rX", 400, closes},
      {"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, closes}}},
    {"BareLineFeedEndsNoLine",
     "HTTP-09",
     {{"GET / HTTP/1.1\nHost: a\n\n", 400, closes},
      {"GET / HTTP/1.1\nHost: a\r\n\r\n", 400, closes},
      {get("X: a\n"), 400, closes},
      {get("X: a\nY: b\r\n"), 400, closes},
      {"GET / HTTP/1.1\r\nHost: a\r\n\n", 400, closes},
      {"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, closes}}},
    {"ControlCharactersAreRefused",
     "HTTP-10",
     {{get("X: a\0b\r\n"s), 400, closes},
      {get("X: a\x01"
           "b\r\n"),
       400, closes},
      {get("X: a\x08\r\n"), 400, closes},
      {get("X: a\x0b\r\n"), 400, closes},
      {get("X: a\x1f\r\n"), 400, closes},
      {get("X: a\x7f\r\n"), 400, closes},
      {get("X\0: a\r\n"s), 400, closes},
      {"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"s, 400, closes},
      {get("X: \ta\t b \x80\xff\r\n"), 200, stays}}},
    {"RequestLineHasSingleBlanks",
     "HTTP-11",
     {{line("GET  / HTTP/1.1"), 400, closes},
      {line("GET /  HTTP/1.1"), 400, closes},
      {line("GET / HTTP/1.1 "), 400, closes},
      {line(" GET / HTTP/1.1"), 400, closes},
      {line("GET\t/ HTTP/1.1"), 400, closes},
      {line("GET /\tHTTP/1.1"), 400, closes},
      {line("GET / HTTP/1.1\t"), 400, closes},
      {line("GET /a b HTTP/1.1"), 400, closes},
      {line("GET / "), 400, closes},
      {line("GET /"), 400, closes},
      {line("GET"), 400, closes},
      {line("GET HTTP/1.1"), 400, closes},
      {line("/ HTTP/1.1"), 400, closes},
      {line("G\"T / HTTP/1.1"), 400, closes},
      {line("GET / http/1.1"), 400, closes},
      {line("GET / HTTP/1"), 400, closes},
      {line("GET / HTTP/1.1.1"), 400, closes},
      {line("GET / HTTP/11.1"), 400, closes},
      {line("GET / HTTP/1.10"), 400, closes},
      {line("GET / HTTP/1.x"), 400, closes},
      {line("GET / HTTPS/1.1"), 400, closes},
      {line("GET /\x80 HTTP/1.1"), 400, closes},
      {line("GET /a#b HTTP/1.1"), 400, closes},
      {line("GET /a\"b HTTP/1.1"), 400, closes}}},
    {"TwoEmptyLinesMayComeFirst",
     "HTTP-12",
     {{"\r\n" + line("GET / HTTP/1.1"), 200, stays},
      {"\r\n\r\n" + line("GET / HTTP/1.1"), 200, stays},
      {"\r\n\r\n\r\n" + line("GET / HTTP/1.1"), 400, closes},
      {" \r\n" + line("GET / HTTP/1.1"), 400, closes}}},
    {"RequestLineOver8192BytesIsTooLong",
     "HTTP-16",
     {{line("GET /" + std::string(8192 - 14, 'a') + " HTTP/1.1"), 404, stays},
      {line("GET /" + std::string(8192 - 13, 'a') + " HTTP/1.1"), 414, closes},
      {"GET /" + std::string(8188, 'a'), 414, closes},
      {std::string(8193, 'A'), 414, closes}}},
    {"FieldsAreLimitedInSizeAndNumber",
     "HTTP-17",
     {{get(fields(99)), 200, stays},
      {get(fields(100)), 431, closes},
      {get("X: " + std::string(16384 - 9 - 5, 'a') + "\r\n"), 200, stays},
      {get("X: " + std::string(16384 - 9 - 4, 'a') + "\r\n"), 431, closes},
      {"GET / HTTP/1.1\r\nX: " + std::string(16384 - 4, 'a'), 431, closes}}},
    {"BodyBeyondTheLimitIsTooLarge",
     "HTTP-18",
     {{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n", 413, closes},
      {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n", 413, closes},
      {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n" + std::string(65536, 'b'), 200, stays}}},
    {"MethodsAreKnownOrNotAndAllowedOrNot",
     "HTTP-19",
     {{line("POST / HTTP/1.1"), 405, stays},
      {line("PUT / HTTP/1.1"), 405, stays},
      {line("DELETE / HTTP/1.1"), 405, stays},
      {line("PATCH / HTTP/1.1"), 405, stays},
      {line("TRACE / HTTP/1.1"), 405, stays},
      {line("POST /missing HTTP/1.1"), 404, stays},
      {line("OPTIONS / HTTP/1.1"), 204, stays},
      {line("CONNECT a:443 HTTP/1.1"), 501, closes},
      {line("get / HTTP/1.1"), 501, closes},
      {line("BREW / HTTP/1.1"), 501, closes},
      {line("GETX / HTTP/1.1"), 501, closes},
      {line("X!#$%&'*+-.^_`|~ / HTTP/1.1"), 501, closes}}},
    {"TargetFormsOtherThanOrigin",
     "HTTP-20",
     {{line("GET http://b/ HTTP/1.1"), 200, stays},
      {line("GET HTTP://b:80/?q HTTP/1.1"), 200, stays},
      {line("GET https://b HTTP/1.1"), 200, stays},
      {line("GET http://b?q HTTP/1.1"), 200, stays},
      {line("GET http://b/missing HTTP/1.1"), 404, stays},
      {"GET http://b/ HTTP/1.1\r\n\r\n", 400, closes},
      {"GET http://b/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, closes},
      {"GET http://b/ HTTP/1.1\r\nHost: a b\r\n\r\n", 400, closes},
      {"GET http://b/ HTTP/1.0\r\n\r\n", 200, closes},
      {line("GET http:/// HTTP/1.1"), 400, closes},
      {line("GET http://user@b/ HTTP/1.1"), 400, closes},
      {line("GET http://b:99999/ HTTP/1.1"), 400, closes},
      {line("GET ftp://b/ HTTP/1.1"), 400, closes},
      {line("GET b/ HTTP/1.1"), 400, closes},
      {line("GET b:80 HTTP/1.1"), 400, closes},
      {line("GET * HTTP/1.1"), 400, closes},
      {line("OPTIONS * HTTP/1.1"), 204, stays},
      {line("OPTIONS http://b HTTP/1.1"), 204, stays},
      {line("OPTIONS *a HTTP/1.1"), 400, closes}}},
    {"VersionsOtherThanOneAreNotSupported",
     "HTTP-21",
     {{line("GET / HTTP/1.2"), 200, stays},
      {line("GET / HTTP/1.9"), 200, stays},
      {"GET / HTTP/1.9\r\n\r\n", 400, closes},
      {line("GET / HTTP/2.0"), 505, closes},
      {line("GET / HTTP/0.9"), 505, closes},
      {line("GET / HTTP/3.1"), 505, closes},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, closes}}},
    {"ExpectationsAreNotMetYet",
     "",
     {{get("Expect: 100-continue\r\n"), 417, closes},
      {get("Expect: a-miracle\r\n"), 417, closes},
      {"GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", 200, closes},
      {get("Transfer-Encoding: chunked\r\n"), 501, closes}}},
    {"PathsAreDecodedOnceAndStayInTheRoot",
     "HTTP-23",
     {{line("GET /a%20b HTTP/1.1"), 200, stays},
      {line("GET /%61%20%62 HTTP/1.1"), 200, stays},
      {line("GET /x/../a%20b HTTP/1.1"), 200, stays},
      {line("GET /./large HTTP/1.1"), 200, stays},
      {line("GET /large/.. HTTP/1.1"), 200, stays},
      {line("GET /x/y/%2e%2E/../large?a=%zz&b=../.. HTTP/1.1"), 200, stays},
      {line("GET /a%2520b HTTP/1.1"), 404, stays},
      {line("GET /.hidden HTTP/1.1"), 404, stays},
      {line("GET //large HTTP/1.1"), 404, stays},
      {line("GET /.. HTTP/1.1"), 400, closes},
      {line("GET /../large HTTP/1.1"), 400, closes},
      {line("GET /x/../../large HTTP/1.1"), 400, closes},
      {line("GET /%2e%2e/large HTTP/1.1"), 400, closes},
      {line("GET /%00 HTTP/1.1"), 400, closes},
      {line("GET /large%00.html HTTP/1.1"), 400, closes},
      {line("GET /%0d%0aX:%20y HTTP/1.1"), 400, closes},
      {line("GET /%7f HTTP/1.1"), 400, closes},
      {line("GET /\\large HTTP/1.1"), 400, closes},
      {line("GET /%5clarge HTTP/1.1"), 400, closes},
      {line("GET /x%2f..%2flarge HTTP/1.1"), 400, closes},
      {line("GET /%c0%ae%c0%ae/ HTTP/1.1"), 400, closes},
      {line("GET /%e0%80%af HTTP/1.1"), 400, closes},
      {line("GET /%ed%a0%80 HTTP/1.1"), 400, closes},
      {line("GET /%f4%90%80%80 HTTP/1.1"), 400, closes},
      {line("GET /%ff HTTP/1.1"), 400, closes},
      {line("GET /%c3 HTTP/1.1"), 400, closes},
      {line("GET /%c3%a4 HTTP/1.1"), 404, stays},
      {line("GET /% HTTP/1.1"), 400, closes},
      {line("GET /%2 HTTP/1.1"), 400, closes},
      {line("GET /%zz HTTP/1.1"), 400, closes}}},
    {"KeepAliveFollowsVersionAndOptions",
     "",
     {{get("Connection: close\r\n"), 200, closes},
      {get("Connection: keep-alive\r\n"), 200, stays},
      {get("Connection: foo ,, CLOSE\t, bar\r\n"), 200, closes},
      {get("Connection: closed\r\n"), 200, stays},
      {get("Connection: keep-alive\r\nConnection: close\r\n"), 200, closes},
      {get("Connection:\r\n"), 200, stays},
      {"GET / HTTP/1.0\r\n\r\n", 200, closes},
      {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", 200, stays},
      {"GET / HTTP/1.0\r\nConnection: x, keep-alive\r\n\r\n", 200, stays},
      {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", 200, closes}}},
};

std::string shown(const std::string& bytes) {
    return ::testing::PrintToString(bytes.size() < 300 ? bytes : bytes.substr(0, 300) + "...");
}

class HttpRow : public ::testing::TestWithParam<Row> {
protected:
    static void expect(const Dialogue& d, const Case& c, std::size_t good_before, const std::string& how) {
        SCOPED_TRACE(shown(c.bytes) + ", " + how);
        const auto replies = d.replies();
        ASSERT_EQ(replies.size(), good_before + 1);
        for (std::size_t i = 0; i < good_before; ++i) EXPECT_EQ(replies[i].status(), 200);
        EXPECT_EQ(replies.back().status(), c.status);
        EXPECT_EQ(replies.back().closes(), c.close);
        EXPECT_EQ(d.closed, c.close);
        EXPECT_EQ(d.unread, "");
        EXPECT_EQ(d.logic.buffers().in_use(), 0u);
    }
};

TEST_P(HttpRow, EarnsTheSameHoweverItArrives) {
    if (*GetParam().ids != '\0') RecordProperty("row", GetParam().ids);
    for (const Case& c : GetParam().cases) {
        Dialogue whole;
        whole.sends(c.bytes);
        expect(whole, c, 0, "whole");

        Dialogue bytewise;
        bytewise.sends_bytewise(c.bytes);
        expect(bytewise, c, 0, "byte by byte");

        Dialogue pipelined;
        pipelined.sends(std::string{wrk_request} + c.bytes);
        expect(pipelined, c, 1, "behind a good request");

        const std::size_t step = std::max<std::size_t>(1, c.bytes.size() / 500);  // long ones are all alike inside
        Dialogue d;
        for (std::size_t cut = 1; cut < c.bytes.size(); cut += step) {
            d.logic.on_gone(d.state);
            d.sink.text.clear();
            d.closed = false;
            d.sends(c.bytes.substr(0, cut));
            d.sends(c.bytes.substr(cut));
            expect(d, c, 0, "cut at " + std::to_string(cut));
            if (HasFailure()) return;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Requests, HttpRow, ::testing::ValuesIn(rows),
                         [](const auto& row) { return std::string{row.param.name}; });

}  // namespace
}  // namespace pollux::tests
