// The server's side of a connection: requests that come whole, one byte at a time or in any pieces, to a sink that
// takes all answers, one at a time or heads as copies, draw the same answers; and every buffer comes back.
#include <memory>
#include <string>

#include "tests/fuzz/targets.hpp"
#include "tests/unit/http_support.hpp"

namespace pollux::fuzz {
namespace {

using namespace http;
using tests::Dialogue;

struct Manner {
    uint32_t piece = ~0u;     // bytes at a time; 0: drawn from the seed
    bool one_by_one = false;  // answers
    bool pins = false;        // what was sent stays referenced, so that heads are copied
    bool heads_first = false;
};

// The answers to the whole of `bytes`, the deadline that comes after them, or the peer's end.
std::string answers(std::string_view bytes, const ServerLimits& limits, const Manner& how, uint32_t seed,
                    bool waits) {
    Dialogue d{limits};
    d.sink.pin_what_is_sent = how.pins;
    d.sink.take_copied_heads_only = how.heads_first;
    if (how.one_by_one) d.sink.room = 0;
    const auto takes = [&](Step step) {
        for (int i = 0; d.state.is_waiting() && i < 2'000; ++i) {
            d.sink.room = how.one_by_one ? 1 : ~0u;
            step = d.may_write();
        }
        demand(!d.state.is_waiting(), "an answer leaves when there is room");
    };
    while (!bytes.empty()) {
        seed = seed * 1'664'525 + 1'013'904'223;
        const size_t wanted = how.piece == 0 ? 1 + (seed >> 16) % 70 : how.piece;
        const std::string_view part = bytes.substr(0, wanted);
        takes(d.sends(part));
        bytes.remove_prefix(part.size());
        demand(!d.closed || d.unread.empty(), "what comes behind the last answer is thrown away");
    }
    takes(waits ? d.deadline_comes() : d.closes());
    demand(d.closed && d.unread.empty(), "a peer that waits or has gone is let go");
    d.logic.on_gone(d.state);
    demand(d.logic.buffers().in_use() == 0, "every buffer comes back");
    const HttpCounters& c = d.logic.counters();
    demand(c.requests == c.answers_2xx + c.answers_4xx + c.answers_5xx, "every answer is counted once");
    demand(c.answer_bytes == d.sink.text.size(), "every byte of them too");
    return std::move(d.sink.text);
}

}  // namespace

void http_connection(Bytes input) {
    Input in{input};
    const uint8_t mode = in.byte();
    const uint32_t seed = in.byte();
    ServerLimits limits = Dialogue::small_pool();
    if ((mode & 1) != 0) limits.head = {64, 256, 8};
    limits.max_requests = (mode & 2) != 0 ? 3 : 0;
    limits.idle_timeout = (mode & 4) != 0;
    limits.body = (mode & 8) != 0 ? 10 : 65'536;
    const bool waits = (mode & 16) != 0;
    const std::string_view bytes = as_text(in.take(1'600));

    const std::string whole = answers(bytes, limits, {}, seed, waits);
    demand(whole.empty() || whole.starts_with("HTTP/1.1 "), "answers are HTTP/1.1's");
    demand(answers(bytes, limits, {.piece = 1}, seed, waits) == whole, "one byte at a time draws the same answers");
    demand(answers(bytes, limits, {.piece = 0, .one_by_one = true}, seed, waits) == whole,
           "pieces do, to one who reads slowly");
    demand(answers(bytes, limits, {.piece = 0, .pins = true, .heads_first = true}, seed, waits) == whole,
           "and to one who keeps what was sent");
}

}  // namespace pollux::fuzz
