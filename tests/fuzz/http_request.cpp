// The request parser: bytes that come whole, one by one or in any pieces mean the same, and cost as little.
#include "apps/http/request.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "apps/http/scan.hpp"
#include "apps/http/uri.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/support/guard_page.hpp"

namespace pollux::fuzz {
namespace {

using namespace http;

constexpr size_t longest = 16'384;

/// What one parse comes to, without pointers.
struct Verdict {
    Parsed parsed;
    Request request;
    std::string views;
    uint32_t work = 0;
};

// The bytes stand in other memory at each call, and end where the access ends.
Verdict parse_up_to(std::string_view bytes, const std::vector<size_t>& cuts, const Limits& limits) {
    static const tests::GuardPage pages[] = {tests::GuardPage{longest}, tests::GuardPage{longest}};
    Progress progress;
    Verdict verdict;
    size_t turn = 0;
    for (const size_t cut : cuts) {
        const auto held = pages[turn++ % 2].hold(std::as_bytes(std::span{bytes.data(), cut}));
        const std::string_view view{reinterpret_cast<const char*>(held.data()), held.size()};
        verdict.parsed = parse(view, progress, limits, verdict.request);
        if (verdict.parsed.outcome != Outcome::need_more) break;
    }
    verdict.work = progress.work;
    if (verdict.parsed.outcome == Outcome::done) {
        const Request& r = verdict.request;
        for (const auto part : {r.target, r.path, r.query, r.authority, r.fields}) {
            verdict.views.append(part).append(1, '\n');
        }
    }
    return verdict;
}

bool same(const Verdict& a, const Verdict& b) {
    if (a.parsed.outcome != b.parsed.outcome || a.parsed.status != b.parsed.status ||
        a.parsed.consumed != b.parsed.consumed || a.views != b.views)
        return false;
    if (a.parsed.outcome != Outcome::done) return true;
    const auto flags = [](const Request& r) {
        return std::vector<bool>{r.keep_alive, r.plain_path, r.chunked, r.expect_continue, r.expect_unknown};
    };
    const Request &r = a.request, &s = b.request;
    return flags(r) == flags(s) && r.method == s.method && r.minor == s.minor && r.field_count == s.field_count &&
           r.content_length == s.content_length;
}

// The scans look at 16 or 64 characters at a time; what they find is what looking at one after the other finds.
void demand_scans(std::string_view bytes) {
    const auto run = [&](bool (*belongs)(unsigned char)) {
        const auto end =
            std::ranges::find_if_not(bytes, [&](char c) { return belongs(static_cast<unsigned char>(c)); });
        return static_cast<size_t>(end - bytes.begin());
    };
    demand(scan::token_length(bytes.data(), bytes.size()) == run(scan::is_token_char),
           "a token is found at its length");
    demand(scan::host_length(bytes.data(), bytes.size()) == run(scan::is_host_char), "a host is found at its length");
    const std::string_view block = bytes.substr(0, 64);
    const uint64_t controls = scan::controls(block.data(), block.size());
    for (size_t i = 0; i < block.size(); ++i) {
        demand((controls >> i & 1) == scan::is_control(static_cast<unsigned char>(block[i])), "controls are marked");
    }
}

void demand_normal_form(std::string_view path, std::string_view normal) {
    demand(normal.starts_with('/') && normal.size() <= path.size(),
           "a normal form begins at the root and is no longer");
    for (size_t at = 0; at < normal.size();) {
        const size_t end = std::min(normal.find('/', at + 1), normal.size());
        const std::string_view segment = normal.substr(at + 1, end - at - 1);
        demand(segment != "." && segment != "..", "a normal form has no dot segments");
        at = end;
    }
    for (const char c : normal) {
        const auto byte = static_cast<unsigned char>(c);
        demand(byte >= 0x20 && byte != 0x7f && c != '\\', "a normal form hides no control characters");
    }
}

void demand_sense(std::string_view bytes, const Parsed& parsed, const Request& r) {
    demand(parsed.consumed <= bytes.size() && bytes.substr(0, parsed.consumed).ends_with("\r\n\r\n"),
           "a head ends with an empty line");
    demand(to_string(r.method) != "?", "a method has a name");
    demand(!r.target.empty() && !r.path.empty(), "a request asks for something");
    demand(r.minor <= 1, "a version is 1.0 or 1.1");
    uint32_t count = 0;
    for_each_field(r.fields, [&](std::string_view name, std::string_view value) {
        ++count;
        demand(!name.empty() && name.find_first_of(" \t:\r\n") == std::string_view::npos, "a name is a token");
        demand(value.find_first_of("\r\n") == std::string_view::npos && value.find('\0') == std::string_view::npos,
               "a value has no control characters");
    });
    demand(count == r.field_count, "all fields are counted");
    demand(r.minor == 0 || r.fields.size() > 5, "HTTP/1.1 names its Host");
    demand(!r.chunked || !r.has_content_length(), "nobody says two lengths");
    std::vector<char> room(r.path.size());
    const auto normal = uri::normalise(r.path, room);
    if (normal) demand_normal_form(r.path, *normal);
    if (r.plain_path && r.path != "*") demand(normal && *normal == r.path, "a plain path is its own normal form");
}

}  // namespace

void http_request(Bytes input) {
    Input in{input};
    const uint8_t mode = in.byte();
    Limits limits;
    if ((mode & 1) != 0) limits = {16u + in.byte(), 16u + in.byte(), in.byte() % 8u};
    uint32_t seed = in.byte() + 1u;  // of the cuts
    std::string_view bytes = as_text(in.rest());
    bytes = bytes.substr(0, longest);

    demand_scans(bytes);
    const Verdict whole = parse_up_to(bytes, {bytes.size()}, limits);
    std::vector<size_t> every(bytes.size()), some;
    for (size_t i = 0; i < bytes.size(); ++i) every[i] = i + 1;
    for (size_t at = 0; at < bytes.size();) {
        seed = seed * 1'664'525 + 1'013'904'223;
        at = std::min(bytes.size(), at + 1 + (seed >> 16) % 80);
        some.push_back(at);
    }
    const Verdict bytewise = parse_up_to(bytes, every, limits);
    demand(same(whole, bytewise), "bytes that come one by one mean the same");
    demand(same(whole, parse_up_to(bytes, some, limits)), "bytes that come in pieces mean the same");
    demand(bytewise.work <= 3 * bytes.size() + 64, "the work is linear in the bytes, however they come");

    switch (whole.parsed.outcome) {
        case Outcome::need_more:
            demand(bytes.size() < limits.max_head(), "nothing is asked for beyond the longest head");
            break;
        case Outcome::bad: {
            const uint16_t status = whole.parsed.status;
            demand(status == 400 || status == 414 || status == 431 || status == 501 || status == 505,
                   "what is bad has its status");
            break;
        }
        case Outcome::done: {
            Progress progress;
            Request request;
            const Parsed parsed = parse(bytes, progress, limits, request);
            demand_sense(bytes, parsed, request);
            break;
        }
    }
}

}  // namespace pollux::fuzz
