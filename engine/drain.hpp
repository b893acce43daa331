// Drain: how a worker comes to its end. The first request stops new connections and lets the application finish what
// it has in hand; when the last connection is gone, or at the limit by RST, the worker may stop. The second request
// stops it at once.
#pragma once

#include <cstdint>

#include "tcp/time.hpp"

namespace pollux::engine {

class Drain {
public:
    explicit Drain(tcp::Duration limit) : limit_(limit) {}

    /// After each turn, with the number of requests to end so far; whether the worker may stop.
    template <class Worker>
    bool is_over(Worker& worker, uint32_t requests, tcp::Instant now) {
        if (requests == 0) return false;
        if (requests > 1) return true;
        finished_ = finished_ || advance(worker, now);
        return finished_;
    }
    bool has_begun() const { return phase_ != Phase::running; }
    bool is_finished() const { return finished_; }

private:
    static constexpr tcp::Duration last_words = std::chrono::seconds{1};

    enum class Phase : uint8_t { running, finishing, aborting };

    template <class Worker>
    bool advance(Worker& worker, tcp::Instant now) {
        switch (phase_) {
            case Phase::running:
                phase_ = Phase::finishing;
                until_ = now + limit_;
                worker.begin_drain(now);
                break;
            case Phase::finishing:
                if (now < until_) break;
                phase_ = Phase::aborting;
                until_ = now + last_words;
                worker.abort_all();
                break;
            case Phase::aborting:
                if (now >= until_) return true;  // the device does not take our RSTs
                break;
        }
        return worker.is_drained();
    }

    tcp::Duration limit_;
    tcp::Instant until_{};
    Phase phase_ = Phase::running;
    bool finished_ = false;
};

}  // namespace pollux::engine
