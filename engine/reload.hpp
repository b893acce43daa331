// Reloader: what SIGHUP and `pollux-ctl reload` do. The settings are read again; the rules at the gate go to the
// workers without a restart, and everything else that has changed is named. A faulty file changes nothing.
#pragma once

#include <chrono>
#include <functional>
#include <mutex>
#include <string>

#include "config/settings.hpp"
#include "engine/gate.hpp"

namespace pollux::engine {

class Reloader {
public:
    /// `started_with`: what the engine runs on. `reread`: reads the settings again, or throws one sentence. `wake`:
    /// ends the sleep of every worker. Posts what `started_with` says. Refers to all but the functions.
    Reloader(const config::Settings& started_with, Gate& gate, std::function<config::Settings()> reread,
             std::function<void()> wake);

    struct Outcome {
        bool done = false;  // false: all is as it was
        std::string sentence;
    };
    /// By any thread that is no worker. Comes back when every worker has begun a turn with the new rules, or after
    /// `patience`.
    Outcome reload();

    static constexpr std::chrono::milliseconds patience{2'000};

private:
    uint64_t post(const config::Settings& settings);

    const config::Settings& started_with_;
    Gate& gate_;
    std::function<config::Settings()> reread_;
    std::function<void()> wake_;
    std::mutex mutex_;  // one at a time
};

}  // namespace pollux::engine
