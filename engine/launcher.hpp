// Launcher: from settings to running workers and back to nothing. It starts EAL, makes a packet pool for each worker,
// sets the ports up with one queue pair for each worker, starts a worker on every lcore, with a stack, an application
// object and counters of its own, and takes everything down again in reverse.
//
//     return engine::run<Echo>(settings, [](const engine::WorkerContext& context) { return Echo{context}; });
//
// The calling thread becomes EAL's main lcore and runs the first worker. A housekeeper thread, which belongs to no
// lcore, reads what the workers publish ten times a second and calls back. SIGTERM and SIGINT drain; a second one
// ends at once. An exception of any worker ends all of them and comes out of run().
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "config/settings.hpp"
#include "engine/clock.hpp"
#include "engine/control.hpp"
#include "engine/drain.hpp"
#include "engine/gate.hpp"
#include "engine/idle.hpp"
#include "engine/impaired_queue.hpp"
#include "engine/inspection.hpp"
#include "engine/machine.hpp"
#include "engine/published.hpp"
#include "engine/reload.hpp"
#include "engine/worker.hpp"
#include "tcp/counters.hpp"
#include "tcp/stack.hpp"

namespace pollux::engine {

/// What an application object is made of: it belongs to one worker.
struct WorkerContext {
    uint32_t index = 0, workers = 1;
    tcp::Stack& stack;
    const config::Settings& settings;
    uint64_t wall_at_zero_us = 0;  // microseconds since the Unix epoch at Instant{0}
};

/// Applications without a `report()`.
struct NoReport {
    NoReport& operator+=(const NoReport&) { return *this; }
};

template <class App>
struct ReportOf {
    using type = NoReport;
    static type of(const App&) { return {}; }
};
/// `report()` returns a copyable value with `+=`: what the application wants in the status.
template <class App>
requires requires(const App& app) { app.report(); }
struct ReportOf<App> {
    using type = decltype(std::declval<const App&>().report());
    static type of(const App& app) { return app.report(); }
};

/// All workers together, as they stood within the last 100 ms.
template <class App>
struct Status {
    double seconds = 0;  // since the workers began
    bool draining = false;
    tcp::Counters counters{};
    tcp::PoolUse pools{};
    uint64_t packets = 0;  // taken from the packet pools: in the devices' rings and in hand
    typename ReportOf<App>::type report{};
};

template <class App>
struct Options {
    /// On the housekeeper's thread: once when every worker runs, then once an interval, and a last time at the end.
    std::function<void()> on_started;
    std::function<void(const Status<App>&)> on_status;
    std::chrono::milliseconds interval{1000};
    /// What works but should be known: "no huge pages ...", on the calling thread, during start-up; an address that
    /// another station has, on the housekeeper's thread.
    std::function<void(const std::string&)> on_notice;
    /// Reads the settings again, or throws one sentence: for SIGHUP and `pollux-ctl reload` (reload.hpp), whose outcome
    /// is a notice. Without it SIGHUP ends the process, as ever.
    std::function<config::Settings()> reread;
};

template <class App>
class Launcher {
public:
    using Factory = std::function<App(const WorkerContext&)>;

    Launcher(const config::Settings& settings, Factory make_app, Options<App> options)
        : machine_(settings, options.on_notice, OpensConnections<App>, options.reread != nullptr),
          settings_(settings),
          make_app_(std::move(make_app)),
          options_(std::move(options)),
          gate_(machine_.workers()),
          reloader_(settings, gate_, options_.reread, [this] { wake_all(); }),
          published_(machine_.workers()),
          inspections_(machine_.workers()),
          told_missing_(machine_.workers()) {}

    void run() {
        Housekeeper housekeeper{machine_.free_cpus(), options_.interval, [this](bool last) { housekeep(last); },
                                [this] { look_for_reload(); }};
        const auto control = start_control(settings_, control_view(), machine_.free_cpus(), options_.on_notice);
        machine_.on_each_lcore([this](uint32_t index) { work(index); });
        housekeeper.stop();
        if (failure_) std::rethrow_exception(failure_);
    }

private:
    struct Snapshot {
        tcp::Counters counters{};
        tcp::PoolUse pools{};
        uint64_t packets = 0;
        uint64_t duplicate_addresses = 0;
        uint64_t without_peer = 0;  // a bit for each port
        typename ReportOf<App>::type report{};
    };
    static constexpr tcp::Duration publish_interval = std::chrono::milliseconds{100};

    // The life of one worker, on its own lcore, so that its memory is near.
    void work(uint32_t index) noexcept {
        try {
            tcp::Counters counters;
            tcp::Stack stack{machine_.stack_settings(), machine_.secrets(index), counters};
            machine_.listen_all(stack);
            App app{make_app_(
                WorkerContext{index, machine_.workers(), stack, settings_, machine_.clock().wall_at_zero_us()})};
            if (!settings_.test.enabled) {
                run_worker(index, machine_.queues(index), stack, app, counters);
            } else {
                std::vector<ImpairedQueue<NicQueue>> queues;
                for (const NicQueue& queue : machine_.queues(index)) {
                    queues.emplace_back(queue, settings_.test, index, static_cast<uint32_t>(queues.size()), counters);
                }
                run_worker(index, std::move(queues), stack, app, counters);
            }
        } catch (...) {
            if (!failed_.exchange(true)) failure_ = std::current_exception();
            Signals::request_end();
            Signals::request_end();
        }
    }

    template <class Queue>
    void run_worker(uint32_t index, std::vector<Queue> queues, tcp::Stack& stack, App& app, tcp::Counters& counters) {
        WorkerSettings settings = machine_.worker_settings(index);
        settings.gate = &gate_.post_of(index);
        Worker<Queue, App> worker{std::move(queues), machine_.interfaces(), stack,   app,
                                  counters,          machine_.pool(index),  settings};
        loop(index, worker, stack, app, counters);
    }

    template <class W>
    void loop(uint32_t index, W& worker, tcp::Stack& stack, App& app, tcp::Counters& counters) {
        const Clock clock = machine_.clock();
        Idle idle{machine_.idle_kind(), machine_.waker(index)};
        const std::vector<NicQueue> watched = machine_.queues(index);
        idle.watch(watched);
        Drain drain{settings_.engine.drain_timeout};
        tcp::Instant publish_at{};
        const auto publish = [&] {
            // Those that egress keeps ready come and go with the turn. Other workers may be giving packets back, so
            // the pool's count is near, no more.
            const uint64_t used = rte_mempool_in_use_count(&machine_.pool(index)), ready = worker.egress().ready();
            const uint64_t packets = used - std::min(used, ready);
            published_[index].write({counters, stack.pool_use(), packets, worker.addresses().duplicates(),
                                     worker.look_for_peers(), ReportOf<App>::of(app)});
        };
        Inspection& inspection = inspections_[index];
        const Inspection::Attendance attendance{inspection};
        const Subject subject{stack, counters, worker.neighbors(), worker.paths(), worker.egress(),
                              &gate_.post_of(index)};
        running_.fetch_add(1, std::memory_order_release);
        wait_for_all();
        tcp::Instant turn_began = clock.now();
        bool worked = false;
        while (true) {
            const tcp::Instant now = clock.now();
            // Between two reads of the clock lies one turn. Each is cut to whole microseconds; their sum is right.
            if (worked) counters.add(tcp::Tally::busy_us, static_cast<uint64_t>((now - turn_began).count()));
            turn_began = now;
            worked = worker.turn(now);
            inspection.serve(subject, now);
            if (const uint32_t requests = Signals::requests(); requests != 0) {
                if (may_stop(drain, worker, requests, now)) break;
            }
            if (now >= publish_at) {
                publish();
                publish_at = now + publish_interval;
            }
            if (worked) {
                idle.worked();
            } else {
                idle.rest(
                    now, [&](tcp::Instant at) { return worker.next_due(at); },
                    [&] { return worker.has_pending() || inspection.is_asked(); });
            }
        }
        publish();
    }

    // The first turns are taken together: the wait for objections to our addresses begins in all workers when one of
    // them asks, and nobody hands packets to a worker that still allocates.
    void wait_for_all() const {
        while (running_.load(std::memory_order_acquire) < machine_.workers() && Signals::requests() == 0) {
            std::this_thread::sleep_for(std::chrono::microseconds{100});
        }
    }

    // A worker that is done goes on handing over what comes to its queues, until all are done.
    template <class W>
    bool may_stop(Drain& drain, W& worker, uint32_t requests, tcp::Instant now) {
        if (requests > 1) return true;
        if (!drain.is_finished() && drain.is_over(worker, requests, now))
            drained_.fetch_add(1, std::memory_order_relaxed);
        return drained_.load(std::memory_order_relaxed) == machine_.workers();
    }

    ControlView control_view() {
        ControlView view;
        for (uint32_t i = 0; i < machine_.workers(); ++i) {
            view.workers.push_back({&inspections_[i], &machine_.waker(i), &machine_.pool(i)});
        }
        view.ports = [this] { return machine_.port_infos(); };
        view.rules = [this] { return gate_.in_force(); };
        view.reload = [this] { return reload(); };
        return view;
    }

    void wake_all() {
        for (uint32_t i = 0; i < machine_.workers(); ++i) machine_.waker(i).wake();
    }

    // The housekeeper's, and the control thread's.
    Reloader::Outcome reload() {
        Reloader::Outcome outcome = reloader_.reload();
        if (options_.on_notice) options_.on_notice("reload: " + outcome.sentence);
        return outcome;
    }
    void look_for_reload() {
        const uint32_t asked = Signals::reloads();
        if (asked == reloads_seen_ || running_.load(std::memory_order_acquire) < machine_.workers()) return;
        reloads_seen_ = asked;
        reload();
    }

    void housekeep(bool last) {
        if (!started_) {
            if (running_.load(std::memory_order_acquire) < machine_.workers()) return;
            started_ = true;
            began_ = machine_.clock().now();
            if (options_.on_started) options_.on_started();
            if (!last) return;
        }
        tell_duplicates();
        tell_missing_peers();
        if (!options_.on_status) return;
        Status<App> status;
        status.seconds = std::chrono::duration<double>(machine_.clock().now() - began_).count();
        status.draining = Signals::requests() != 0;
        for (const Published<Snapshot>& published : published_) {
            Snapshot snapshot;
            if (!published.read(snapshot)) continue;
            status.counters += snapshot.counters;
            add(status.pools, snapshot.pools);
            status.packets += snapshot.packets;
            status.report += snapshot.report;
        }
        options_.on_status(status);
    }

    // Each address that another station was found to have, once.
    void tell_duplicates() {
        uint64_t found = 0;
        for (const Published<Snapshot>& published : published_) {
            if (Snapshot snapshot; published.read(snapshot)) found |= snapshot.duplicate_addresses;
        }
        uint64_t bit = 1;
        for (const Interface& interface : machine_.interfaces()) {
            for (const config::Prefix& network : interface.networks_v6) {
                if ((found & ~told_duplicates_ & bit) != 0 && options_.on_notice) {
                    options_.on_notice("port " + interface.name + ": another station uses the address " +
                                       network.address.to_string() + ", which stays off");
                }
                bit <<= 1;
            }
        }
        told_duplicates_ |= found;
    }

    // Each queue whose peer has come without one for it, once each time.
    void tell_missing_peers() {
        for (uint32_t worker = 0; worker < published_.size(); ++worker) {
            Snapshot snapshot;
            if (!published_[worker].read(snapshot)) continue;
            uint64_t bit = 1;
            for (const Interface& interface : machine_.interfaces()) {
                if ((snapshot.without_peer & ~told_missing_[worker] & bit) != 0 && options_.on_notice) {
                    options_.on_notice("port " + interface.name + ": the peer has fewer queue pairs than the " +
                                       std::to_string(machine_.workers()) + " workers here; what worker " +
                                       std::to_string(worker) + " sends is lost (sent_without_link)");
                }
                bit <<= 1;
            }
            told_missing_[worker] = snapshot.without_peer;
        }
    }

    Machine machine_;
    const config::Settings& settings_;
    Factory make_app_;
    Options<App> options_;
    Gate gate_;
    Reloader reloader_;
    uint32_t reloads_seen_ = 0;  // the housekeeper's
    std::vector<Published<Snapshot>> published_;
    std::atomic<uint32_t> running_{0}, drained_{0};
    std::vector<Inspection> inspections_;  // of each worker
    std::atomic<bool> failed_{false};
    std::exception_ptr failure_;
    bool started_ = false;  // the housekeeper's
    uint64_t told_duplicates_ = 0;
    std::vector<uint64_t> told_missing_;  // of each worker
    tcp::Instant began_{};
};

/// Runs until a signal ends it. Throws one sentence when something cannot be started; EAL is ended in any case.
template <class App, class Factory>
void run(const config::Settings& settings, Factory make_app, Options<App> options = {}) {
    Launcher<App>{settings, std::move(make_app), std::move(options)}.run();
}

}  // namespace pollux::engine
