// Gate: how what is decided about packets and peers at the door reaches the workers, and is replaced while packets
// flow. A thread beside the workers compiles a rulebook (packet_filter.hpp) and posts it; each worker finds it when its
// next turn begins, and judges the whole turn by it.
//
//     some thread   post(): new Orders for each worker, all around one rulebook; their pointer into each Post
//     worker        once a turn: one look at the pointer; if it is another one, take() it and say so
//     some thread   collect(): frees what is older than what every worker has taken
//
// The packet path reads plain memory that nobody writes, but for its own counts: no lock, no atomic for a packet.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/packet_filter.hpp"

namespace pollux::engine {

class Gate {
public:
    /// What one worker goes by, and what it counts.
    struct Orders {
        uint64_t serial = 0;
        std::shared_ptr<const Rulebook> rulebook;  // null: there are no rules
        std::vector<uint64_t> hits;                // of each rule, and of packets that none fits; the worker's
    };

    /// One worker's mailbox: the latest orders, whatever came before.
    class alignas(64) Post {
    public:
        // ---- The worker's. -------------------------------------------------------------------------------------
        bool has_news() const { return posted_.load(std::memory_order_relaxed) != current_; }
        /// From here on nothing older is touched.
        Orders* take() {
            current_ = posted_.load(std::memory_order_acquire);
            taken_.store(current_->serial, std::memory_order_release);
            return current_;
        }
        /// What was taken last; null: nothing yet.
        const Orders* current() const { return current_; }

    private:
        friend class Gate;
        std::atomic<Orders*> posted_{nullptr};
        std::atomic<uint64_t> taken_{0};
        Orders* current_ = nullptr;  // the worker's
    };

    /// What is in force, for who shows it.
    struct InForce {
        uint64_t serial = 0;
        std::shared_ptr<const Rulebook> rulebook;
    };

    explicit Gate(uint32_t workers) : posts_(workers) {}
    Gate(const Gate&) = delete;
    Gate& operator=(const Gate&) = delete;

    Post& post_of(uint32_t worker) { return posts_[worker]; }

    // ---- Of threads beside the workers. ----------------------------------------------------------------------------
    /// Replaces what is in force for every worker that takes a turn from now on; the serial number that this got.
    uint64_t post(std::shared_ptr<const Rulebook> rulebook);
    /// Whether every worker has taken the orders with this number, or later ones.
    bool all_have(uint64_t serial) const;
    /// Frees what no worker can look at any more; how many postings are left.
    size_t collect();
    InForce in_force() const;

private:
    using Issue = std::vector<std::unique_ptr<Orders>>;  // of each worker
    uint64_t least_taken() const;

    std::vector<Post> posts_;
    mutable std::mutex mutex_;  // of what follows
    std::vector<Issue> issues_;
    uint64_t last_serial_ = 0;
};

}  // namespace pollux::engine
