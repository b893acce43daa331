// The parser on its own: what it finds, that its verdict and its work do not depend on how the bytes arrive, and that
// it never looks beyond them.
#include "apps/http/request.hpp"

#include <gtest/gtest.h>

#include <random>

#include "apps/http/scan.hpp"
#include "apps/http/uri.hpp"
#include "tests/unit/http_support.hpp"

namespace pollux::http {
namespace {

using tests::browser_request;
using tests::GuardPage;
using tests::wrk_request;

/// The bytes, so placed that reading one more is fatal.
std::string_view guarded(const GuardPage& page, std::string_view bytes) {
    const auto held = page.hold(std::as_bytes(std::span{bytes.data(), bytes.size()}));
    return {reinterpret_cast<const char*>(held.data()), held.size()};
}

/// What a whole parse comes to, without pointers: two parses of the same bytes can be compared.
struct Verdict {
    Parsed parsed;
    std::string summary;
    uint32_t work = 0;
    bool operator==(const Verdict& other) const {
        return parsed.outcome == other.parsed.outcome && parsed.status == other.parsed.status &&
               parsed.consumed == other.parsed.consumed && summary == other.summary;
    }
};

Verdict verdict_of(const Parsed& parsed, const Request& r, const Progress& p) {
    Verdict v{parsed, {}, p.work};
    if (parsed.outcome != Outcome::done) return v;
    v.summary = std::string{to_string(r.method)} + " " + std::string{r.target} + "|" + std::string{r.path} + "|" +
                std::string{r.query} + "|" + std::string{r.authority} + "|" + std::to_string(r.minor) +
                std::to_string(r.keep_alive) + std::to_string(r.plain_path) + std::to_string(r.chunked) +
                std::to_string(r.expect_continue) + std::to_string(r.expect_unknown) + std::to_string(r.field_count) +
                "|" + std::to_string(r.content_length) + "|" + std::string{r.fields};
    return v;
}

/// Gives the bytes up to each of `cuts` in turn, each time in other memory.
Verdict parse_in_pieces(const GuardPage& page, std::string_view bytes, const std::vector<std::size_t>& cuts,
                        const Limits& limits) {
    Progress progress;
    Request request;
    Parsed parsed;
    for (const std::size_t cut : cuts) {
        parsed = parse(guarded(page, bytes.substr(0, cut)), progress, limits, request);
        if (parsed.outcome != Outcome::need_more) break;
    }
    return verdict_of(parsed, request, progress);
}

std::vector<std::size_t> every_byte(std::size_t size) {
    std::vector<std::size_t> cuts(size);
    for (std::size_t i = 0; i < size; ++i) cuts[i] = i + 1;
    return cuts;
}

TEST(HttpRequest, WholeRequestIsFoundInItsBytes) {
    GuardPage page{4096};
    Progress progress;
    Request r;
    const auto bytes = guarded(page, browser_request);
    const Parsed parsed = parse(bytes, progress, {}, r);
    ASSERT_EQ(parsed.outcome, Outcome::done);
    EXPECT_EQ(parsed.consumed, bytes.size());
    EXPECT_EQ(r.method, Method::get);
    EXPECT_EQ(r.target, "/assets/css/site.min.css?v=20240611");
    EXPECT_EQ(r.path, "/assets/css/site.min.css");
    EXPECT_EQ(r.query, "v=20240611");
    EXPECT_EQ(r.authority, "www.example.org");
    EXPECT_TRUE(r.keep_alive && r.plain_path && r.minor == 1 && !r.has_content_length());
    EXPECT_EQ(r.field_count, 13);
    EXPECT_EQ(r.path.data(), bytes.data() + 4) << "views point into the bytes";
}

TEST(HttpRequest, FieldsCanBeVisited) {
    const std::string bytes = "GET / HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nX-Blanks: \t b c \t\r\n\r\n";
    Progress progress;
    Request r;
    ASSERT_EQ(parse(bytes, progress, {}, r).outcome, Outcome::done);
    std::string seen;
    for_each_field(r.fields, [&](std::string_view name, std::string_view value) {
        seen += std::string{name} + "=" + std::string{value} + ";";
    });
    EXPECT_EQ(seen, "Host=a;X-Empty=;X-Blanks=b c;");
}

TEST(HttpRequest, EndOfHeadIsFoundBeforeBodyAndNextRequest) {
    const std::string head = "POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-Continue\r\n\r\n";
    Progress progress;
    Request r;
    const Parsed parsed = parse(head + "bodyGET / HTTP/1.1\r\n\r\n", progress, {}, r);
    ASSERT_EQ(parsed.outcome, Outcome::done);
    EXPECT_EQ(parsed.consumed, head.size());
    EXPECT_EQ(r.method, Method::post);
    EXPECT_EQ(r.content_length, 4u);
    EXPECT_TRUE(r.expect_continue && !r.expect_unknown && !r.chunked);
}

TEST(HttpRequest, AuthorityOfAbsoluteFormWinsOverHost) {
    const std::string bytes = "GET http://b:81?q=1 HTTP/1.1\r\nHost: a\r\n\r\n";
    Progress progress;
    Request r;
    ASSERT_EQ(parse(bytes, progress, {}, r).outcome, Outcome::done);
    EXPECT_EQ(r.authority, "b:81");
    EXPECT_EQ(r.path, "/");
    EXPECT_EQ(r.query, "q=1");
}

TEST(HttpRequest, ChunkedIsReported) {
    Progress progress;
    Request r;
    const std::string bytes = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: , Chunked\t,\r\n\r\n";
    ASSERT_EQ(parse(bytes, progress, {}, r).outcome, Outcome::done);
    EXPECT_TRUE(r.chunked);
}

TEST(HttpRequest, NothingIsAskedForBeyondTheLongestHead) {
    // The longest head that passes, with two empty lines before it.
    const Limits limits;
    std::string bytes = "\r\n\r\nGET /" + std::string(limits.request_line - 14, 'a') + " HTTP/1.1\r\nHost: a\r\n";
    bytes += "X: " + std::string(limits.fields_size - 9 - 5, 'a') + "\r\n\r\n";
    EXPECT_EQ(bytes.size(), limits.max_head());
    Progress progress;
    Request r;
    EXPECT_EQ(parse(bytes, progress, limits, r).outcome, Outcome::done);
    // Whatever the bytes are, a head as long as that is never "incomplete".
    for (const char filler : {'a', ' ', ':', '/', '\t'}) {
        Progress fresh;
        EXPECT_EQ(parse(std::string(limits.max_head(), filler), fresh, limits, r).outcome, Outcome::bad) << filler;
    }
}

TEST(HttpRequest, LimitsAreParameters) {
    const Limits limits{.request_line = 20, .fields_size = 30, .fields = 2};
    const auto status = [&](std::string_view bytes) {
        Progress progress;
        Request r;
        return parse(bytes, progress, limits, r).status;
    };
    EXPECT_EQ(status("GET /abcdef HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
    EXPECT_EQ(status("GET /abcdefg HTTP/1.1\r\nHost: a\r\n\r\n"), 414);
    EXPECT_EQ(status("GET / HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n"), 0);
    EXPECT_EQ(status("GET / HTTP/1.1\r\nHost: a\r\nB: c\r\nD:e\r\n\r\n"), 431);
    EXPECT_EQ(status("GET / HTTP/1.1\r\nHost: a\r\nB: 0123456789012345\r\n\r\n"), 0);
    EXPECT_EQ(status("GET / HTTP/1.1\r\nHost: a\r\nB: 01234567890123456\r\n\r\n"), 431);
}

TEST(HttpRequest, WorkIsLinearHoweverTheBytesArrive) {
    std::string bytes = "GET /" + std::string(8000, 'p') + " HTTP/1.1\r\nHost: a\r\n";
    for (int i = 0; bytes.size() < 24'000; ++i)
        bytes += "X-Field-" + std::to_string(i) + ": " + std::string(160, 'v') + "\r\n";
    bytes += "\r\n";
    GuardPage page{32 * 1024};
    for (const std::size_t piece : {1u, 2u, 3u, 31u, 64u, 1460u, 32'000u}) {
        std::vector<std::size_t> cuts;
        for (std::size_t at = piece; at < bytes.size(); at += piece) cuts.push_back(at);
        cuts.push_back(bytes.size());
        const Verdict v = parse_in_pieces(page, bytes, cuts, {});
        EXPECT_EQ(v.parsed.outcome, Outcome::done) << piece;
        EXPECT_LE(v.work, 3 * bytes.size()) << "in pieces of " << piece;
    }
    // Nor does a head that never ends cost more than once per byte.
    const std::string endless(8192, 'a');
    const Verdict v = parse_in_pieces(page, endless, every_byte(endless.size()), {});
    EXPECT_EQ(v.parsed.outcome, Outcome::need_more);
    EXPECT_LE(v.work, 2 * endless.size());
}

TEST(HttpRequest, MutatedRequestsAreJudgedAlikeInAnyPieces) {
    const std::vector<std::string> seeds{
        std::string{wrk_request}, std::string{browser_request},
        "POST /a%20b/../c?d HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Length: 12\r\n\r\nbody",
        "\r\nOPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET http://user.example:8080/x?y HTTP/1.1\r\nHost: z\r\nConnection: close, upgrade\r\n\r\n"};
    const std::vector<std::string> splices{"\r\n",
                                           "\r",
                                           "\n",
                                           " ",
                                           "\t",
                                           ":",
                                           std::string(1, '\0'),
                                           "\x7f",
                                           "\x80",
                                           "Host: b\r\n",
                                           "Content-Length: 1\r\n",
                                           "Transfer-Encoding: chunked\r\n",
                                           "HTTP/1.1",
                                           "/../",
                                           "%00"};
    const Limits limits{.request_line = 120, .fields_size = 700, .fields = 14};
    GuardPage page{8192};
    int done = 0, bad = 0;
    for (uint32_t seed = 1; seed <= 4000; ++seed) {
        std::mt19937 random{seed};
        const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
        std::string bytes = seeds[below(seeds.size())];
        for (std::size_t edits = below(4); edits > 0; --edits) {
            const std::size_t at = below(bytes.size());
            switch (below(4)) {
                case 0: bytes[at] = static_cast<char>(random()); break;
                case 1: bytes.erase(at, 1 + below(3)); break;
                case 2: bytes.insert(at, splices[below(splices.size())]); break;
                default: bytes.insert(at, std::string(below(200), 'a')); break;
            }
            if (bytes.empty()) bytes = "G";
        }
        std::vector<std::size_t> random_cuts;
        for (std::size_t at = 0; at < bytes.size();)
            random_cuts.push_back(at = std::min(at + 1 + below(90), bytes.size()));
        const Verdict whole = parse_in_pieces(page, bytes, {bytes.size()}, limits);
        const Verdict bytewise = parse_in_pieces(page, bytes, every_byte(bytes.size()), limits);
        const Verdict pieces = parse_in_pieces(page, bytes, random_cuts, limits);
        ASSERT_EQ(whole, bytewise) << "seed " << seed << ": " << ::testing::PrintToString(bytes);
        ASSERT_EQ(whole, pieces) << "seed " << seed << ": " << ::testing::PrintToString(bytes);
        ASSERT_LE(bytewise.work, 3 * bytes.size() + 64) << "seed " << seed;
        done += whole.parsed.outcome == Outcome::done;
        bad += whole.parsed.outcome == Outcome::bad;
    }
    EXPECT_GT(done, 1000) << "the mutations leave enough good requests";
    EXPECT_GT(bad, 1000) << "and make enough bad ones";
}

TEST(HttpScan, ControlsAreFoundAtEveryPlaceOfEveryLength) {
    GuardPage page{256};
    for (std::size_t size = 0; size <= 64; ++size) {
        for (unsigned c = 0; c < 256; ++c) {
            for (std::size_t at = 0; at < size; ++at) {
                std::string bytes(size, 'a');
                bytes[at] = static_cast<char>(c);
                const bool control = (c < 32 && c != 9) || c == 127;
                const uint64_t expected = control ? uint64_t{1} << at : 0;
                ASSERT_EQ(scan::controls(guarded(page, bytes).data(), size), expected)
                    << size << " " << at << " " << c;
            }
        }
    }
}

TEST(HttpScan, TokenEndsAtTheFirstOtherCharacter) {
    GuardPage page{256};
    const std::string token_chars = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (std::size_t size = 1; size <= 40; ++size) {
        for (unsigned c = 0; c < 256; ++c) {
            const std::size_t at = (c * 7 + size) % size;
            std::string bytes(size, 'a');
            bytes[at] = static_cast<char>(c);
            const bool token = c != 0 && token_chars.find(static_cast<char>(c)) != std::string::npos;
            ASSERT_EQ(scan::token_length(guarded(page, bytes).data(), size), token ? size : at) << size << " " << c;
        }
    }
}

TEST(HttpUri, NormalFormStaysInItsRoomAndInTheRoot) {
    const auto normal = [](std::string_view path) {
        std::string room(path.size(), '?');
        const auto result = uri::normalise(path, room);
        return result ? std::string{*result} : "refused";
    };
    EXPECT_EQ(normal("/"), "/");
    EXPECT_EQ(normal("/a/b"), "/a/b");
    EXPECT_EQ(normal("/a/./b/"), "/a/b/");
    EXPECT_EQ(normal("/a/b/.."), "/a/");
    EXPECT_EQ(normal("/a/b/."), "/a/b/");
    EXPECT_EQ(normal("/a/b/../../c"), "/c");
    EXPECT_EQ(normal("/a//../b"), "/a/b");
    EXPECT_EQ(normal("/."), "/");
    EXPECT_EQ(normal("/a/.."), "/");
    EXPECT_EQ(normal("/..."), "/...");
    EXPECT_EQ(normal("/%2E/%2e%2E"), "refused");
    EXPECT_EQ(normal("/a/%2e%2E/b"), "/b");
    EXPECT_EQ(normal("/%C3%A4%e2%82%ac%F0%9F%98%80"), "/\u00e4\u20ac\U0001f600");
    EXPECT_EQ(normal("a"), "refused");
    EXPECT_EQ(normal(""), "refused");
    char small[2];
    EXPECT_FALSE(uri::normalise("/abc", small));
}

}  // namespace
}  // namespace pollux::http
