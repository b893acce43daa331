// Prebuilt answers in memory that does not move: what the server can say is written at start, and answering is
// choosing.
//
// A page (a route, or one of the statuses) exists in up to three variants, by what happens to the connection:
//
//     keep       HTTP/1.1, persistent          keep_1_0   HTTP/1.0, persistent          close   the last answer
//
// and each variant in a few slots. A slot is a head with the current Date, and behind it the body where that is
// small, so that a small answer is one piece. Sent bytes are referenced until they are acknowledged; hence a slot's
// Date is rewritten only while nobody refers to the slot (its pin): the first answer of a new second takes a free
// slot. If slow readers hold them all, the head is handed out as a copy of the caller's to make; bodies never change.
//
// Where the connection is limited (idle time, number of requests), persistent answers announce it: between head and
// body stands a third kind of piece, "Connection: keep-alive, Keep-Alive: timeout=T, max=N", prebuilt for every N.
//
// RFC 9110 sections 6.6.1 (Date), 8.6 (Content-Length), 15 (status); RFC 9112 section 9. Time is handed in.
#pragma once

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apps/http/date.hpp"

namespace pollux::http {

/// Names memory that is referenced as one. `constant_pin` stands for what is never rewritten.
using PinId = uint32_t;
inline constexpr PinId constant_pin = 0;

/// An answer to GET and HEAD of one path.
struct Route {
    std::string path;  // decoded: "/a b", not "/a%20b"
    std::string body;
    std::string content_type = "text/plain";
    std::vector<std::pair<std::string, std::string>> fields;  // further fields of the head
};

/// Throws std::invalid_argument with a sentence on a route that cannot be served.
void check(const Route& route);

enum class Persistence : uint8_t { keep, keep_1_0, close };
using PageId = uint32_t;

struct Piece {
    std::span<const std::byte> bytes{};
    PinId pin = constant_pin;
};

/// What to send, in order. With `copy_head` the first piece is valid only until the next answer: copy it.
struct Answer {
    std::array<Piece, 3> pieces{};
    uint32_t count = 0;
    uint16_t status = 200;
    bool copy_head = false;
    bool close_after = false;

    std::span<const Piece> parts() const& { return {pieces.data(), count}; }
    std::span<const Piece> parts() && = delete;  // they live in the answer
    std::size_t size() const {
        std::size_t sum = 0;
        for (const Piece& piece : parts()) sum += piece.bytes.size();
        return sum;
    }
    void add(std::span<const std::byte> bytes, PinId pin) {
        if (!bytes.empty()) pieces[count++] = {bytes, pin};
    }
};

struct ContentSettings {
    std::string server = "pollux";
    uint32_t idle_seconds = 0;              // announced as timeout=T; 0: unlimited
    uint16_t max_requests = 0;              // announced as max=N; 0: unlimited
    uint32_t slots = 4;                     // of each page and variant
    uint32_t inline_body = 4096;            // a body up to this size stands behind its head in every slot
    std::size_t inline_budget = 64u << 20;  // bytes that such repetitions may take in all
};

class Content {
public:
    /// Throws std::invalid_argument with a sentence, as check(), and on a path that is given twice.
    Content(const ContentSettings& settings, std::span<const Route> routes);
    Content(const Content&) = delete;
    Content& operator=(const Content&) = delete;

    /// Before the first answer, and when the second may have changed.
    void set_time(uint64_t unix_seconds) {
        if (unix_seconds == second_) return;
        second_ = unix_seconds;
        date_ = imf_fixdate(unix_seconds);
    }

    /// The page of a path in normal form; the page of 404 where there is none.
    PageId find(std::string_view path) const;
    /// The page of an error status or of 204. Errors but 404 and 405 end the connection.
    PageId page_of(uint16_t status) const;
    bool is_route(PageId page) const { return page >= status_pages_; }

    /// Builds an answer. `further` is how many requests may follow on the connection; `in_use(pin)` says whether a
    /// slot is still referenced.
    template <class InUse>
    Answer answer(PageId page, Persistence persistence, bool head_only, uint32_t further, InUse&& in_use);
    /// What follows the head of a persistent or last answer: for a caller that could queue the copied head only.
    Answer rest(PageId page, Persistence persistence, bool head_only, uint32_t further) const;

    /// At most so many pins will a Content of `routes` routes have.
    static PinId pins_for(std::size_t routes, const ContentSettings& settings);
    /// Pins are constant_pin and 1 to pin_count() - 1.
    PinId pin_count() const { return next_pin_; }
    /// All memory that pieces point into, copies of heads excepted.
    std::span<const std::byte> memory() const { return memory_; }

private:
    struct Page {
        std::span<const std::byte> body{};
        uint16_t status = 200;
        bool may_persist = true;
    };
    /// The slots of one page and variant: equal in size, one behind the other.
    struct Group {
        std::byte* slots = nullptr;
        uint64_t second = ~uint64_t{0};  // of the Date in slot `current`
        uint32_t stride = 0;
        uint32_t head_size = 0;
        uint32_t size = 0;  // head, and the body where it is inline
        uint32_t date_at = 0;
        PinId first_pin = 0;
        uint32_t current = 0;
    };
    struct Plan;
    struct PathEntry {
        std::string_view path;
        PageId page = 0;
    };

    std::vector<std::string> make_announcements() const;
    void lay_out(const std::vector<Plan>& plans, const std::vector<std::string>& announcements, std::size_t bytes);
    void index_paths(std::span<const Route> routes);
    void write_date(std::byte* head, uint32_t at) const;
    /// Makes `current` a slot with the present Date; false if all slots are in use.
    template <class InUse>
    bool refresh(Group& group, InUse&& in_use);
    void add_rest(Answer& answer, const Page& page, Persistence persistence, bool head_only, uint32_t further) const;
    bool announces(Persistence persistence) const { return limited_ && persistence != Persistence::close; }

    static constexpr std::size_t variants = 3;
    Group& group_of(PageId page, Persistence persistence) {
        return groups_[page * variants + static_cast<std::size_t>(persistence)];
    }

    ContentSettings settings_;
    bool limited_;
    uint32_t status_pages_ = 0;
    PinId next_pin_ = 1;
    uint64_t second_ = 0;
    ImfFixdate date_ = imf_fixdate(0);
    std::vector<Page> pages_;
    std::vector<Group> groups_;
    std::vector<std::span<const std::byte>> announcements_;  // by `further`; one if the number is unlimited
    std::vector<PathEntry> table_;                           // open addressing, a power of two
    std::vector<std::byte> memory_;
    std::vector<std::byte> copy_;
    std::string paths_;
};

template <class InUse>
bool Content::refresh(Group& group, InUse&& in_use) {
    uint32_t slot = group.current;
    for (uint32_t tried = 0; tried < settings_.slots; ++tried) {
        if (!in_use(group.first_pin + slot)) {
            write_date(group.slots + slot * group.stride, group.date_at);
            group.current = slot;
            group.second = second_;
            return true;
        }
        slot = slot + 1 == settings_.slots ? 0 : slot + 1;
    }
    return false;
}

template <class InUse>
Answer Content::answer(PageId page_id, Persistence persistence, bool head_only, uint32_t further, InUse&& in_use) {
    const Page& page = pages_[page_id];
    if (!page.may_persist) persistence = Persistence::close;
    Group& group = group_of(page_id, persistence);
    Answer answer;
    answer.status = page.status;
    answer.close_after = persistence == Persistence::close;
    if (group.second == second_ || refresh(group, in_use)) [[likely]] {
        answer.pieces[0] = {{group.slots + group.current * group.stride, head_only ? group.head_size : group.size},
                            group.first_pin + group.current};
        answer.count = 1;
        if (group.size != group.head_size) return answer;  // the body is inline
    } else {
        std::copy_n(group.slots, group.head_size, copy_.data());
        write_date(copy_.data(), group.date_at);
        answer.pieces[0] = {{copy_.data(), group.head_size}, constant_pin};
        answer.count = 1;
        answer.copy_head = true;
    }
    add_rest(answer, page, persistence, head_only, further);
    return answer;
}

}  // namespace pollux::http
