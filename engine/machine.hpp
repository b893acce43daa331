// Machine: what all workers of a process stand on: EAL, clock, packet pools, ports, secrets, signals. It is made
// before the first worker and ends after the last; the workers only read it.
#pragma once

#include <sched.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "config/settings.hpp"
#include "engine/clock.hpp"
#include "engine/eal.hpp"
#include "engine/exchange.hpp"
#include "engine/idle.hpp"
#include "engine/interface.hpp"
#include "engine/mbuf.hpp"
#include "engine/nic_queue.hpp"
#include "engine/ownership.hpp"
#include "engine/port.hpp"
#include "engine/waker.hpp"
#include "engine/worker.hpp"
#include "tcp/stack.hpp"

namespace pollux::engine {

/// SIGTERM and SIGINT, counted from the object's making to its end; and SIGHUP if it is wanted.
class Signals {
public:
    explicit Signals(bool with_reload);
    ~Signals();
    Signals(const Signals&) = delete;
    Signals& operator=(const Signals&) = delete;

    static uint32_t requests() { return requests_.load(std::memory_order_relaxed); }
    /// As if a signal had come.
    static void request_end() { requests_.fetch_add(1, std::memory_order_relaxed); }
    /// SIGHUPs so far.
    static uint32_t reloads() { return reloads_.load(std::memory_order_relaxed); }

private:
    static inline std::atomic<uint32_t> requests_{0}, reloads_{0};
    struct Saved;
    std::unique_ptr<Saved> saved_;
};

/// Calls back once an interval on a thread of its own, and a last time when it is stopped; and `look` ten times a
/// second.
class Housekeeper {
public:
    Housekeeper(const cpu_set_t& cpus, std::chrono::milliseconds interval, std::function<void(bool last)> task,
                std::function<void()> look);
    ~Housekeeper() { stop(); }
    Housekeeper(const Housekeeper&) = delete;
    Housekeeper& operator=(const Housekeeper&) = delete;
    void stop();

private:
    std::mutex mutex_;
    std::condition_variable wake_;
    bool stopping_ = false;
    std::thread thread_;
};

class Machine {
public:
    /// Throws one sentence. `settings` must outlive the machine. `opens`: the application opens connections. `rereads`:
    /// SIGHUP is counted, and ends nothing.
    Machine(const config::Settings& settings, const std::function<void(const std::string&)>& on_notice, bool opens,
            bool rereads);

    uint32_t workers() const { return static_cast<uint32_t>(pools_.size()); }
    const Clock& clock() const { return clock_; }
    rte_mempool& pool(uint32_t worker) const { return *pools_[worker]; }
    std::span<const Interface> interfaces() const { return interfaces_; }
    /// The worker's queue pair of each port.
    std::vector<NicQueue> queues(uint32_t worker) const;
    const tcp::StackSettings& stack_settings() const { return stack_settings_; }
    WorkerSettings worker_settings(uint32_t worker) const;
    Waker& waker(uint32_t worker) const { return *wakers_[worker]; }
    tcp::Secrets secrets(uint32_t worker) const;
    Idle::Kind idle_kind() const;
    /// Of every port; by any thread.
    std::vector<PortInfo> port_infos() const;
    /// Where threads may run that are no workers.
    const cpu_set_t& free_cpus() const { return free_cpus_; }

    /// Opens every [[listen]] of the settings.
    void listen_all(tcp::Stack& stack) const;
    /// Runs `work(index)` on every lcore, the calling thread's included, and returns when all have ended.
    void on_each_lcore(const std::function<void(uint32_t)>& work) const;

private:
    void make_pools();
    void make_ports(const std::function<void(const std::string&)>& on_notice);
    void make_exchange(bool opens);

    const config::Settings& settings_;
    cpu_set_t free_cpus_;
    Signals signals_;
    Eal eal_;
    Clock clock_;
    tcp::Secrets secrets_;
    tcp::StackSettings stack_settings_;
    std::vector<PacketPool> pools_;            // outlive the ports, whose rings hold packets
    std::vector<config::Port> port_settings_;  // as the ports get them
    std::vector<std::unique_ptr<Port>> ports_;
    std::vector<Interface> interfaces_;
    std::vector<Ownership> owners_;  // of each interface
    std::vector<std::unique_ptr<Waker>> wakers_;
    std::unique_ptr<Exchange> exchange_;  // between several workers; ends before the pools
};

/// Fresh secrets from the kernel; those of handshakes from the file, if its name is not empty.
tcp::Secrets make_secrets(const std::string& cookie_secret_file);

/// Sums of what pools hold.
void add(tcp::PoolUse& total, const tcp::PoolUse& more);

}  // namespace pollux::engine
