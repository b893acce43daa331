// Network: one direction of the network between the two sides, as the faults of a Scenario say. A packet passes
//
//     middlebox -> loss -> narrow link -> queue and bandwidth -> damage -> delay -> others overtake, copies
//
// and is then on its way until it arrives. Each fault draws from a generator of its own. At healing the faults end
// (what a middlebox strips and what a link is too narrow for stay so) and what is on its way still arrives.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tcp/time.hpp"
#include "tests/simulation/middlebox.hpp"
#include "tests/simulation/scenario.hpp"

namespace pollux::simulation {

class Network {
public:
    /// The way from `side`. `notes`, if there is one, hears in words what becomes of packets.
    using Notes = std::vector<std::string>;
    Network(const Scenario& scenario, Side side, Notes* notes);

    void sends(tcp::Instant now, Packet packet);
    /// When the next packet arrives.
    std::optional<tcp::Instant> next_arrival() const;
    /// Appends the packets that have arrived by now, in order of arrival, at most `most`.
    void arrivals(tcp::Instant now, size_t most, std::vector<Packet>& arrived);
    /// What routers have to say to the sender; the caller sends it the other way.
    std::vector<Packet> take_errors() { return std::exchange(errors_, {}); }
    bool empty() const { return heap_.empty(); }
    uint64_t lost() const { return lost_; }

private:
    struct Travelling {
        tcp::Instant arrives;
        uint64_t order;
        Packet packet;
    };
    /// A fault with its generator; absent: the scenario has none of this kind.
    struct Active {
        const Fault* fault = nullptr;
        Random random{0};
        uint32_t seen = 0;
        explicit operator bool() const { return fault != nullptr; }
        const Fault* operator->() const { return fault; }
        bool happens() { return fault != nullptr && random.chance(fault->share); }
    };

    Active find(FaultKind kind) const;
    bool is_lost(tcp::Instant now, const Glance& seen);
    bool is_chosen(const Glance& seen);
    bool fits(const Packet& packet, bool heals);
    bool passes_queue(tcp::Instant& leaves, Packet& packet);
    void damage(Packet& packet);
    tcp::Duration extra_delay();
    tcp::Instant held_ack(tcp::Instant arrives, const Glance& seen);
    void travel(tcp::Instant arrives, Packet packet);
    bool drops(const char* why);

    const Scenario& scenario_;
    Side side_;
    Notes* notes_;
    Active jitter_, bandwidth_, ce_marks_, loss_, burst_loss_, chosen_loss_, reordering_, duplication_, late_,
        bit_flips_, truncation_, narrow_, narrow_silent_, black_hole_, thinning_, compression_, sack_stripping_,
        option_stripping_;
    tcp::Instant heals_at_;
    tcp::Instant free_at_{};       // when the slow link has sent what it has
    tcp::Instant last_arrival_{};  // of those that overtake nobody
    bool bad_state_ = false;
    std::map<uint32_t, uint32_t> last_ack_;                       // by ports: to tell a window update
    std::map<uint32_t, std::pair<tcp::Instant, uint64_t>> held_;  // by ports: the pure ACK that waits
    std::vector<Travelling> heap_;
    std::vector<Packet> errors_;
    uint64_t order_ = 0, lost_ = 0;
};

}  // namespace pollux::simulation
