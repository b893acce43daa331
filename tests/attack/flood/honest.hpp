// Honest: the application of an honest client that shares port, core and process with a flood. It opens connections to
// the victim with the project's own stack, asks, compares the answer and closes, some at a time, and remembers how long
// each took from connect() to the last byte. Some connections it keeps until it is told to let go: they can be looked
// at from the other side, where the flood has had the handshake made by cookie.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/opener.hpp"
#include "tcp/stack.hpp"

namespace pollux::test {

class Honest {
public:
    struct Plan {
        std::vector<tcp::Endpoint> servers;  // in turn
        uint32_t at_once = 4;
        uint32_t kept = 0;                 // connections that stay, beside those
        tcp::Duration pause{10'000};       // of each, after an answer
        tcp::Duration patience{5'000'000};  // until one without an answer is a failure
        std::string path = "/", body = "Hello from Pollux.\n";
    };
    struct Report {
        uint64_t started = 0, answered = 0;
        uint64_t wrong = 0, reset = 0, timed_out = 0, not_begun = 0;  // failures by kind
        uint64_t scaled = 0, sacked = 0, stamped = 0;  // answered connections that agreed on these, as seen from here
        uint64_t kept = 0;                             // connections that stay, answered
        std::vector<uint32_t> took_us;                 // of those answered
    };

    explicit Honest(const Plan& plan) : plan_(plan), calls_(plan.at_once + plan.kept) {}

    void start(engine::Opener& opener) { opener_ = &opener; }
    void on_turn(std::span<const tcp::Event> events, tcp::Stack& stack, tcp::Instant now);
    static std::optional<tcp::Instant> next_due() { return {}; }  // who drives it never sleeps

    /// New connections are opened, or no more; with `keeping`, those that stay too.
    void set_active(bool active, bool keeping = true) {
        active_ = active;
        keeping_ = keeping;
    }
    /// What has happened so far was for warming up.
    void forget_the_past() { report_ = {}; }
    void let_go_of_kept() { letting_go_ = true; }
    /// No connection waits for an answer.
    bool is_idle() const;
    const Report& report() const { return report_; }

private:
    struct Call {
        enum class State : uint8_t { none, asking, kept } state = State::none;
        tcp::ConnId conn{};
        tcp::Instant began{}, again_at{};
        std::string received;
    };

    void open(Call& call, bool keep, tcp::Stack& stack, tcp::Instant now);
    void read(Call& call, bool keep, tcp::Stack& stack, tcp::Instant now);
    void fail(Call& call, uint64_t& kind, tcp::Instant now);
    bool is_whole(const std::string& answer) const;

    Plan plan_;
    Report report_;
    std::vector<Call> calls_;  // the last `kept` of them are those that stay
    engine::Opener* opener_ = nullptr;
    uint64_t next_server_ = 0;
    bool active_ = false, keeping_ = true, letting_go_ = false;
};

}  // namespace pollux::test
