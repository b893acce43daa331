#include "apps/http/response.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <stdexcept>

#include "apps/http/scan.hpp"

namespace pollux::http {
namespace {

struct StatusPage {
    uint16_t status;
    std::string_view reason;
    bool may_persist;  // the request was well framed: the next one can be found
    bool has_body;
    std::string_view fields;  // with their CRLF
};
constexpr std::string_view allow = "Allow: GET, HEAD, OPTIONS\r\n";
constexpr std::array status_table{
    StatusPage{404, "Not Found", true, true, {}},
    StatusPage{204, "No Content", true, false, allow},  // the answer to OPTIONS
    StatusPage{405, "Method Not Allowed", true, true, allow},
    StatusPage{400, "Bad Request", false, true, {}},
    StatusPage{408, "Request Timeout", false, true, {}},
    StatusPage{413, "Content Too Large", false, true, {}},
    StatusPage{414, "URI Too Long", false, true, {}},
    StatusPage{417, "Expectation Failed", false, true, {}},
    StatusPage{431, "Request Header Fields Too Large", false, true, {}},
    StatusPage{500, "Internal Server Error", false, true, {}},
    StatusPage{501, "Not Implemented", false, true, {}},
    StatusPage{503, "Service Unavailable", false, true, {}},
    StatusPage{505, "HTTP Version Not Supported", false, true, {}},
};
constexpr PageId not_found = 0;
static_assert(status_table[not_found].status == 404);

constexpr std::size_t line = 64;  // slots and bodies begin on cache lines

constexpr std::size_t aligned(std::size_t size) { return (size + line - 1) / line * line; }

uint64_t load(const char* at, std::size_t size) {
    uint64_t value = 0;
    std::memcpy(&value, at, size);
    return value;
}

/// Cheap and good enough: the keys are our own routes, so nobody can choose them to collide.
std::size_t hash_of(std::string_view path) {
    uint64_t a = 0, b = path.size();
    if (path.size() >= 8) {
        a = load(path.data(), 8);
        b ^= load(path.data() + path.size() - 8, 8) << 8;
    } else if (path.size() >= 4) {
        a = load(path.data(), 4) | load(path.data() + path.size() - 4, 4) << 32;
    } else if (!path.empty()) {
        a = static_cast<uint64_t>(static_cast<unsigned char>(path.back())) << 8 |
            static_cast<unsigned char>(path[path.size() / 2]);
    }
    const uint64_t mixed = (a ^ std::rotl(b, 29)) * 0x9e37'79b9'7f4a'7c15u;
    return static_cast<std::size_t>(mixed ^ mixed >> 32);
}

bool is_field_value(std::string_view text) {
    return std::none_of(text.begin(), text.end(),
                        [](char c) { return scan::is_control(static_cast<unsigned char>(c)); });
}

bool is_token(std::string_view text) {
    return !text.empty() && scan::token_length(text.data(), text.size()) == text.size();
}

std::string fields_of(const Route& route) {
    std::string fields;
    for (const auto& [name, value] : route.fields) fields += name + ": " + value + "\r\n";
    return fields;
}

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span{text.data(), text.size()});
}

}  // namespace

void check(const Route& route) {
    const auto fail = [&](const std::string& what) {
        throw std::invalid_argument("route \"" + route.path + "\": " + what);
    };
    if (!route.path.starts_with('/')) fail("the path must begin with \"/\"");
    if (!is_field_value(route.path)) fail("the path has a control character");
    if (route.path.find('?') != std::string::npos) fail("the path must have no query");
    for (std::size_t at = 0; at < route.path.size();) {
        const std::size_t end = std::min(route.path.find('/', at + 1), route.path.size());
        const std::string_view segment = std::string_view{route.path}.substr(at + 1, end - at - 1);
        if (segment == "." || segment == "..") fail("the path must have no segment \".\" or \"..\"");
        at = end;
    }
    if (route.content_type.empty() || !is_field_value(route.content_type))
        fail("the content type is not a field value");
    for (const auto& [name, value] : route.fields) {
        if (!is_token(name) || !is_field_value(value)) fail("\"" + name + "\" is not a field");
    }
}

/// A page before it has memory: the heads of its variants, and the body.
struct Content::Plan {
    uint16_t status = 200;
    bool may_persist = true;
    bool inline_body = false;
    std::array<std::string, variants> heads;
    std::string body;
    uint32_t date_at = 0;

    bool has_variant(std::size_t variant) const {
        return may_persist || variant == static_cast<std::size_t>(Persistence::close);
    }
    std::size_t slot_size(std::size_t variant, bool announced) const {
        return heads[variant].size() + (inlines(variant, announced) ? body.size() : 0);
    }
    /// An announcement stands between head and body.
    bool inlines(std::size_t variant, bool announced) const {
        return inline_body && (!announced || variant == static_cast<std::size_t>(Persistence::close));
    }

    void make_heads(std::string_view reason, const ContentSettings& settings, bool announced, std::string_view type,
                    std::string_view fields) {
        std::string head = "HTTP/1.1 " + std::to_string(status) + " " + std::string{reason} +
                           "\r\nServer: " + settings.server + "\r\nDate: ";
        date_at = static_cast<uint32_t>(head.size());
        head.append(ImfFixdate{}.size(), ' ');
        head += "\r\n";
        if (status != 204) {  // RFC 9110 section 8.6: no Content-Length in a 204
            head +=
                "Content-Type: " + std::string{type} + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
        }
        head += fields;
        heads = {head + "\r\n", head + "Connection: keep-alive\r\n\r\n", head + "Connection: close\r\n\r\n"};
        if (announced) heads[0] = heads[1] = head;  // the announcement ends the head
    }
};

Content::Content(const ContentSettings& settings, std::span<const Route> routes)
    : settings_(settings), limited_(settings.idle_seconds != 0 || settings.max_requests != 0) {
    if (settings_.slots == 0 || !is_field_value(settings_.server)) {
        throw std::invalid_argument("content needs at least one slot and a printable server name");
    }
    std::vector<Plan> plans;
    for (const StatusPage& page : status_table) {
        Plan plan;
        plan.status = page.status;
        plan.may_persist = page.may_persist;
        if (page.has_body) plan.body = std::to_string(page.status) + " " + std::string{page.reason} + "\n";
        plan.make_heads(page.reason, settings_, limited_, "text/plain", page.fields);
        plans.push_back(std::move(plan));
    }
    status_pages_ = static_cast<uint32_t>(plans.size());
    for (const Route& route : routes) {
        check(route);
        Plan plan;
        plan.body = route.body;
        plan.make_heads("OK", settings_, limited_, route.content_type, fields_of(route));
        plans.push_back(std::move(plan));
    }
    std::size_t bytes = 0, inlined = 0;
    for (Plan& plan : plans) {
        const std::size_t repeated = plan.body.size() * settings_.slots * variants;
        plan.inline_body = !plan.body.empty() && plan.body.size() <= settings_.inline_body &&
                           inlined + repeated <= settings_.inline_budget;
        if (plan.inline_body) inlined += repeated;
        bytes += aligned(plan.body.size());
        for (std::size_t v = 0; v < variants; ++v) {
            if (plan.has_variant(v)) bytes += aligned(plan.slot_size(v, limited_)) * settings_.slots;
        }
    }
    const std::vector<std::string> announcements = make_announcements();
    for (const std::string& text : announcements) bytes += text.size();
    lay_out(plans, announcements, bytes + line);
    index_paths(routes);
}

/// The ends of persistent heads, by how many requests may follow.
std::vector<std::string> Content::make_announcements() const {
    std::vector<std::string> texts;
    if (!limited_) return texts;
    const auto add = [&](const std::string& value) {
        texts.push_back("Connection: keep-alive\r\nKeep-Alive: " + value + "\r\n\r\n");
    };
    const std::string timeout = "timeout=" + std::to_string(settings_.idle_seconds);
    if (settings_.max_requests == 0) {
        add(timeout);
    } else {
        const std::string prefix = settings_.idle_seconds == 0 ? "max=" : timeout + ", max=";
        for (uint32_t further = 0; further <= settings_.max_requests; ++further)
            add(prefix + std::to_string(further));
    }
    return texts;
}

/// Gives every body, slot and announcement its place in one block that stays where it is.
void Content::lay_out(const std::vector<Plan>& plans, const std::vector<std::string>& announcements,
                      std::size_t bytes) {
    memory_.resize(bytes);
    std::byte* next = memory_.data() + (line - reinterpret_cast<uintptr_t>(memory_.data()) % line) % line;
    const auto place = [&](std::span<const std::byte> source) {
        std::byte* const at = next;
        next = std::copy(source.begin(), source.end(), at);
        return at;
    };
    std::size_t copy_size = 0;
    for (const Plan& plan : plans) {
        std::byte* const body = place(bytes_of(plan.body));
        next = body + aligned(plan.body.size());
        pages_.push_back({{body, plan.body.size()}, plan.status, plan.may_persist});
        for (std::size_t v = 0; v < variants; ++v) {
            Group& group = groups_.emplace_back();
            if (!plan.has_variant(v)) continue;
            group.slots = next;
            group.stride = static_cast<uint32_t>(aligned(plan.slot_size(v, limited_)));
            group.head_size = static_cast<uint32_t>(plan.heads[v].size());
            group.size = static_cast<uint32_t>(plan.slot_size(v, limited_));
            group.date_at = plan.date_at;
            group.first_pin = next_pin_;
            next_pin_ += settings_.slots;
            copy_size = std::max(copy_size, plan.heads[v].size());
            for (uint32_t slot = 0; slot < settings_.slots; ++slot) {
                std::byte* const at = place(bytes_of(plan.heads[v]));
                if (plan.inlines(v, limited_)) place(bytes_of(plan.body));
                next = at + group.stride;
            }
        }
    }
    for (const std::string& text : announcements) announcements_.emplace_back(place(bytes_of(text)), text.size());
    assert(next <= memory_.data() + memory_.size());
    copy_.resize(copy_size);
}

void Content::index_paths(std::span<const Route> routes) {
    std::size_t characters = 0;
    for (const Route& route : routes) characters += route.path.size();
    paths_.reserve(characters);
    table_.resize(std::bit_ceil(routes.size() * 2 + 1));
    for (std::size_t i = 0; i < routes.size(); ++i) {
        if (find(routes[i].path) != not_found) {
            throw std::invalid_argument("route \"" + routes[i].path + "\" is given twice");
        }
        const std::string_view path{paths_.data() + paths_.size(), routes[i].path.size()};
        paths_ += routes[i].path;
        std::size_t at = hash_of(path) & (table_.size() - 1);
        while (!table_[at].path.empty()) at = (at + 1) & (table_.size() - 1);
        table_[at] = {path, status_pages_ + static_cast<PageId>(i)};
    }
}

PinId Content::pins_for(std::size_t routes, const ContentSettings& settings) {
    return static_cast<PinId>(1 + (status_table.size() + routes) * variants * settings.slots);
}

PageId Content::find(std::string_view path) const {
    for (std::size_t at = hash_of(path) & (table_.size() - 1); !table_[at].path.empty();
         at = (at + 1) & (table_.size() - 1)) {
        if (table_[at].path == path) return table_[at].page;
    }
    return not_found;
}

PageId Content::page_of(uint16_t status) const {
    for (PageId page = 0; page < status_pages_; ++page) {
        if (pages_[page].status == status) return page;
    }
    assert(false && "a status without a page");
    return page_of(500);
}

void Content::write_date(std::byte* head, uint32_t at) const { std::memcpy(head + at, date_.data(), date_.size()); }

void Content::add_rest(Answer& answer, const Page& page, Persistence persistence, bool head_only,
                       uint32_t further) const {
    if (announces(persistence)) {
        const std::size_t last = announcements_.size() - 1;
        answer.add(announcements_[std::min<std::size_t>(further, last)], constant_pin);
    }
    if (!head_only) answer.add(page.body, constant_pin);
}

Answer Content::rest(PageId page_id, Persistence persistence, bool head_only, uint32_t further) const {
    const Page& page = pages_[page_id];
    if (!page.may_persist) persistence = Persistence::close;
    Answer answer;
    answer.status = page.status;
    answer.close_after = persistence == Persistence::close;
    add_rest(answer, page, persistence, head_only, further);
    return answer;
}

}  // namespace pollux::http
