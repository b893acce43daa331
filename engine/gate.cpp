#include "engine/gate.hpp"

#include <algorithm>

namespace pollux::engine {

uint64_t Gate::post(std::shared_ptr<const Rulebook> rulebook) {
    const std::lock_guard lock{mutex_};
    ++last_serial_;
    Issue issue;
    for (Post& post : posts_) {
        auto orders = std::make_unique<Orders>();
        orders->serial = last_serial_;
        orders->rulebook = rulebook;
        // Rounded up: no two workers count on one cache line.
        if (rulebook) orders->hits.resize((rulebook->rules().size() + 1 + 15) / 8 * 8);
        post.posted_.store(orders.get(), std::memory_order_release);
        issue.push_back(std::move(orders));
    }
    issues_.push_back(std::move(issue));
    return last_serial_;
}

uint64_t Gate::least_taken() const {
    uint64_t least = UINT64_MAX;
    for (const Post& post : posts_) least = std::min(least, post.taken_.load(std::memory_order_acquire));
    return least;
}

bool Gate::all_have(uint64_t serial) const { return least_taken() >= serial; }

// A worker that has taken number n may look at n or, between its look at the pointer and its word, at a later one.
size_t Gate::collect() {
    const std::lock_guard lock{mutex_};
    const uint64_t least = least_taken();
    std::erase_if(issues_, [&](const Issue& issue) { return !issue.empty() && issue[0]->serial < least; });
    return issues_.size();
}

Gate::InForce Gate::in_force() const {
    const std::lock_guard lock{mutex_};
    if (issues_.empty() || issues_.back().empty()) return {};
    return {last_serial_, issues_.back()[0]->rulebook};
}

}  // namespace pollux::engine
