#include "engine/reload.hpp"

#include <thread>
#include <utility>

#include "config/changes.hpp"

namespace pollux::engine {
namespace {

std::string counted(size_t count) { return std::to_string(count) + (count == 1 ? " rule" : " rules"); }

}  // namespace

Reloader::Reloader(const config::Settings& started_with, Gate& gate, std::function<config::Settings()> reread,
                   std::function<void()> wake)
    : started_with_(started_with), gate_(gate), reread_(std::move(reread)), wake_(std::move(wake)) {
    post(started_with);
}

uint64_t Reloader::post(const config::Settings& settings) {
    return gate_.post(settings.filters.empty() ? nullptr : std::make_shared<const Rulebook>(settings.filters));
}

Reloader::Outcome Reloader::reload() {
    const std::lock_guard lock{mutex_};
    if (!reread_) return {false, "this program reads its settings only once"};
    uint64_t serial = 0;
    config::Settings settings;
    try {
        settings = reread_();
        serial = post(settings);
    } catch (const std::exception& error) {
        return {false, std::string{error.what()} + "; the rules stay as they were"};
    }
    wake_();
    const auto limit = std::chrono::steady_clock::now() + patience;
    while (!gate_.all_have(serial) && std::chrono::steady_clock::now() < limit) {
        std::this_thread::sleep_for(std::chrono::microseconds{200});
    }
    std::string sentence = counted(settings.filters.size()) + " of [[filter]] in force";
    if (!gate_.all_have(serial)) sentence += " as soon as every worker takes its next turn";
    gate_.collect();
    const std::string others = config::changes_for_a_restart(started_with_, settings);
    if (!others.empty()) sentence += "; needs a restart, and stays as it was: " + others;
    return {true, std::move(sentence)};
}

}  // namespace pollux::engine
