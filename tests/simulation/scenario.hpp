// Scenario: everything that a seed decides, as one value that can be printed: two stacks and their settings (or one
// and a hostile peer), the connections, what the applications do, and the faults of the network and of the hosts.
//
// Swarm testing (Groce et al. 2012): each run has a random subset of the faults, so that rare combinations meet and
// no fault hides what another would show. Each fault is an item with a name; `without()` switches items off and
// changes nothing else.
//
//        A  ---- the way from A: faults "...-a" ---->  B       station faults: "...-a" is A's own
//        A  <--- the way from B: faults "...-b" -----  B
//
// Faults end at `heals_after`. From then on packets arrive, whole, in order and once, and every connection must come
// to its end.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tcp/segment.hpp"
#include "tcp/stack.hpp"

namespace pollux::simulation {

enum class Side : uint8_t { a, b };
constexpr Side other(Side side) { return side == Side::a ? Side::b : Side::a; }
constexpr size_t number(Side side) { return static_cast<size_t>(side); }
constexpr char letter(Side side) { return side == Side::a ? 'a' : 'b'; }

enum class FaultKind : uint8_t {
    // Of the way from a side.
    jitter,             // delay beyond the base: uniform, exponential or heavy-tailed; nobody overtakes
    bandwidth,          // a slow link with a drop-tail queue
    ce_marks,           // congestion marks (RFC 3168) by a router that does not ask whether they are understood
    loss,               // each packet alone (Bernoulli)
    burst_loss,         // Gilbert-Elliott: a good and a bad state
    chosen_loss,        // by predicate: "the third FIN"
    reordering,         // held back, so that others overtake
    duplication,        // a second copy a little later
    late_duplicates,    // copies that come long after, but within the MSL
    bit_flips,          // one to three bits
    truncation,         // the end is missing
    narrow_mtu,         // too large for a link: dropped, and the router says so (RFC 1191); stays after healing
    narrow_mtu_silent,  // the same without a word
    black_hole,         // everything is lost for a while
    ack_thinning,       // of pure ACKs held together only the latest goes on
    ack_compression,    // pure ACKs are held, then released together
    sack_stripping,     // SACK blocks become padding
    // Of both ways, and for good: a SYN and its answer must be treated alike.
    option_stripping,  // options are taken off all SYN segments
    // Of a host.
    coalescing,   // packets are taken in bursts, at the ticks of a coarse clock
    full_ring,    // now and then nothing can leave, or little at a time
    tiny_pools,   // of everything there is hardly any
    slow_reader,  // the application stops reading for a while
};
inline constexpr size_t fault_kinds = static_cast<size_t>(FaultKind::slow_reader) + 1;
std::string_view name(FaultKind kind);

/// What a chosen loss chooses.
enum class Chosen : uint8_t { syn, syn_ack, fin, rst, pure_ack, data, window_update };
std::string_view name(Chosen chosen);

struct Fault {
    FaultKind kind = FaultKind::loss;
    Side at = Side::a;
    double share = 0, second = 0;  // of packets; the meaning of `second` depends on the kind
    uint32_t count = 0;            // packets, bytes, or a choice
    uint32_t nth = 0;
    tcp::Duration time{}, from{}, until{};
    Chosen chosen = Chosen::data;

    std::string name() const;      // "loss-a"
    std::string describe() const;  // "loss-a: 3.1% of packets"
    bool operator==(const Fault&) const = default;
};

/// What one side's application does with one connection.
struct AppPlan {
    enum class Ending : uint8_t {
        shutdown_when_sent,   // half-close at once; goes on reading
        shutdown_after_peer,  // half-close after the peer's FIN
        close_after_peer,     // the same by a full close
        close_when_sent,      // full close: what the peer still sends is refused with a RST
        abort,                // a RST after so many bytes sent and received
    };
    uint64_t total = 0;          // bytes to send
    uint32_t piece = 3'000;      // bytes of one piece
    uint32_t pieces = 1;         // of one send()
    bool copies = false;         // send_copy() instead of pinned memory
    bool holds_back = false;     // each send() but the last says that more is to come
    tcp::Duration pace{};        // between sends; 0: as long as they are taken
    uint64_t waits_for = 0;      // bytes of the peer's, before the first send
    uint32_t read_most = 0;      // bytes of one turn's reading; 0: all
    tcp::Duration read_pause{};  // between readings
    Ending ending = Ending::shutdown_when_sent;
    uint64_t abort_after = 0;                     // bytes sent and received
    tcp::Duration stalls_from{}, stalls_until{};  // no reading meanwhile

    std::string describe() const;
};

struct ConnectionPlan {
    enum class Opening : uint8_t { from_a, from_b, both };
    Opening opening = Opening::from_a;
    tcp::Duration opens_at{}, opens_at_b{};  // b: of a simultaneous open
    std::array<AppPlan, 2> apps;
    std::string describe() const;
};

struct HostPlan {
    tcp::StackSettings settings;
    tcp::Secrets secrets;
    uint32_t burst = 32;  // packets of one turn, at most
    uint32_t batch = 64;  // packets that may leave in one turn
};

struct Scenario {
    uint64_t seed = 0;
    bool ipv6 = false;
    bool hostile = false;  // B is no stack
    tcp::Instant start{};
    std::array<HostPlan, 2> hosts;
    std::array<tcp::Duration, 2> delay{};  // of the way from each side
    std::vector<ConnectionPlan> connections;
    std::vector<Fault> faults;
    tcp::Duration heals_after{};

    tcp::IpAddress address(Side side) const;
    /// Of connection `index`, as A and B see it. An opener whose port the stack chooses has 0 there.
    tcp::FourTuple flow(size_t index, Side side) const;
    const Fault* find(FaultKind kind, Side at) const;
    std::string describe() const;
};

/// The connection that a tuple belongs to, by its ports; none: SIZE_MAX.
size_t connection_of(const tcp::FourTuple& flow);

Scenario make_scenario(uint64_t seed);
/// Without the faults of these names ("loss-a"), all else as it was. `unknown` becomes the first name that no fault
/// has.
Scenario without(Scenario scenario, std::span<const std::string> names, std::string* unknown = nullptr);

}  // namespace pollux::simulation
