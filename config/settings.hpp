// What a program is told at start, as plain structs whose members carry their units. config/load.hpp makes one from
// a TOML file; tests and examples may fill one by hand. Nothing here knows TOML, DPDK or HTTP. While the engine runs
// only [[filter]] can be read again (engine/reload.hpp).
//
// Tables of the file: [eal], [engine], [[port]], [[listen]], [[filter]], [tcp] with [tcp.capacity], [security], [http],
// [[route]].
// [test], with [test.receive] and [test.send], is for tests alone.
// A `Source` says where a thing was written, so that a start-up error can name file and line as the loader does.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tcp/address.hpp"
#include "tcp/stack_settings.hpp"
#include "tcp/time.hpp"
#include "tcp/wire/mac_address.hpp"

namespace pollux::config {

/// Where a table was written. Equal to every other one: it is no part of what was said.
struct Source {
    std::string file;
    uint32_t line = 0;
    bool operator==(const Source&) const { return true; }
    /// "demo.toml:12", or nothing for settings that were not read from a file.
    std::string to_string() const { return file.empty() ? file : file + ":" + std::to_string(line); }
};

/// [eal]: how DPDK's environment is started. Everything that it does not know goes through `args` untouched.
struct Eal {
    bool huge_pages = true;          // if any are free; false: never (--no-huge)
    uint32_t memory_mb = 0;          // 0: what the packet buffers need
    std::vector<uint16_t> cores{0};  // one worker on each, in this order; the first is EAL's main lcore
    std::string file_prefix;         // empty: unique to the process
    std::vector<std::string> args;   // appended as they are; those after `--` on the command line follow them
    bool operator==(const Eal&) const = default;
};

/// What a worker does when there is nothing to do. `automatic`: adaptive if any port is virtual, else spin.
enum class Idle : uint8_t { automatic, spin, adaptive };

/// [engine]: the loop of one worker.
struct Engine {
    Idle idle = Idle::automatic;
    tcp::Duration drain_timeout = tcp::Duration{10'000'000};  // SIGTERM: what is left then gets RST
    uint32_t packet_buffers = 16'384;                         // mbufs of each worker
    uint32_t icmp_replies_per_second = 1'000;                 // of each worker
    std::string control_socket = "auto";                      // or "off", or a path: where pollux-ctl asks
    bool operator==(const Engine&) const = default;
};

/// An address of ours and the network that it is on: "192.0.2.1/24".
struct Prefix {
    tcp::IpAddress address{};
    uint8_t length = 0;  // bits, of the family's 32 or 128
    bool operator==(const Prefix&) const = default;

    /// Is `other` of this family and on this network?
    bool contains(const tcp::IpAddress& other) const;
    std::string to_string() const;
};

using MacAddress = tcp::wire::MacAddress;

/// `automatic`: what the device offers is used, the rest is done in software.
enum class ChecksumOffload : uint8_t { automatic, off };

/// How packets find the worker that owns their flow. `device`: the device's receive-side scaling is believed to bring
/// whole flows to one queue. `software`: the receiving worker computes the owner and hands the packet over.
/// `automatic`: device where its driver is known to be right, else software.
enum class Rss : uint8_t { automatic, device, software };

/// [[port]]: one device.
struct Port {
    std::string device;                     // "0000:3b:00.0", or a vdev string such as "net_tap0,iface=pollux0"
    std::vector<Prefix> addresses;          // at least one
    std::optional<tcp::IpAddress> gateway;  // of IPv4
    std::optional<tcp::IpAddress> gateway_v6;
    bool duplicate_address_detection = true;  // of IPv6 addresses, before they are used (RFC 4862 section 5.4)
    uint16_t mtu_bytes = 1500;
    std::optional<MacAddress> mac;   // none: the device's own
    uint16_t rx_descriptors = 1024;  // of each queue
    uint16_t tx_descriptors = 1024;
    ChecksumOffload checksum_offload = ChecksumOffload::automatic;
    Rss rss = Rss::automatic;
    Source source;
    bool operator==(const Port&) const = default;

    /// By PCI address (EAL's -a), as opposed to a virtual device (--vdev).
    bool is_pci() const;
};

/// [[listen]]: an unspecified address means every address of every port.
struct Listen {
    tcp::IpAddress address{};
    uint16_t port = 0;
    std::optional<tcp::CongestionControl> congestion;  // of its connections, if not [tcp]'s
    Source source;
    bool operator==(const Listen&) const = default;
};

enum class FilterAction : uint8_t { allow, deny };
std::string_view to_string(FilterAction action);

/// Both ends belong to it.
struct PortRange {
    uint16_t first = 1, last = 65'535;
    bool operator==(const PortRange&) const = default;
    bool contains(uint16_t port) const { return first <= port && port <= last; }
    /// "80" or "8000-8099".
    std::string to_string() const;
};

/// [[filter]]: the first rule that fits a packet decides; a packet that none fits is allowed.
struct Filter {
    std::optional<FilterAction> action;  // has to be said
    std::optional<Prefix> from;          // `source`, the peer's network; none: any peer, of both families
    std::optional<PortRange> ports;      // of ours; none: any, and pings too
    std::optional<Prefix> to;            // `destination`, our network; none: any address of ours
    Source source;
    bool operator==(const Filter&) const = default;

    /// Whether it asks for more than the peer's address.
    bool has_conditions() const { return ports || to; }
};
inline constexpr size_t most_filters = 4'096;

/// [security]: what a hostile network is answered with.
struct Security {
    tcp::SynCookieMode syn_cookies = tcp::SynCookieMode::adaptive;
    tcp::Duration cookie_period = tcp::Duration{60'000'000};  // a cookie is good for one to two of these
    std::string cookie_secret_file;  // shared by the machines behind one address; relative as [[route]] files. Empty:
                                     // a secret of this process alone
    bool operator==(const Security&) const = default;
};

/// [http]: limits of one connection. A timeout of zero or a `max_requests` of zero means unlimited.
struct Http {
    tcp::Duration idle_timeout = tcp::Duration{5'000'000};     // between an answer and the next request
    uint16_t max_requests = 100;                               // then `Connection: close`
    tcp::Duration header_timeout = tcp::Duration{10'000'000};  // from the first byte of a request to its last
    tcp::Duration linger_timeout =
        tcp::Duration{2'000'000};             // reading on after our FIN, so that no RST eats the answer
    uint32_t max_request_line_bytes = 8'192;  // else 414
    uint32_t max_header_bytes = 16'384;       // all fields together, else 431
    uint16_t max_header_fields = 100;         // else 431
    uint32_t max_body_bytes = 65'536;         // of a request's body, which is skipped, else 413
    uint32_t request_buffers = 1'024;         // of each worker: requests that have come in part, at the same time
    bool operator==(const Http&) const = default;
};

/// [[route]]: the answer to GET and HEAD of one path. Exactly one of `body` and `file`.
struct Route {
    std::string path;
    std::optional<std::string> body;
    std::optional<std::string> file;  // relative to the folder of the settings file when read from one
    std::string content_type;
    Source source;
    bool operator==(const Route&) const = default;
};

/// What happens to packets of one direction, on purpose; shares in parts per million.
struct Impairment {
    uint32_t loss_ppm = 0;
    uint32_t duplication_ppm = 0;
    uint32_t reordering_ppm = 0;  // held back, so that later ones overtake
    uint32_t corruption_ppm = 0;  // one bit flipped, anywhere in the frame
    tcp::Duration delay{0};
    tcp::Duration jitter{0};          // added to the delay, from 0 to this; nobody overtakes by it
    tcp::Duration reorder_by{2'000};  // how long a reordered packet is held back beyond the others
    bool operator==(const Impairment&) const = default;
};

/// [test]: a bad network between every port and its device, for tests. The same seed and packets give the same
/// damage.
struct Test {
    bool enabled = false;  // nothing else may be said without it
    uint32_t seed = 1;
    Impairment receive, send;
    bool operator==(const Test&) const = default;
};

struct Settings {
    Eal eal;
    Engine engine;
    std::vector<Port> ports;
    std::vector<Listen> listens;
    std::vector<Filter> filters;  // in their order
    // `mtu` comes from the port, `wall_clock_at_zero_us` from the clock, what concerns SYN cookies from [security].
    tcp::StackSettings tcp;
    Security security;
    Http http;
    std::vector<Route> routes;
    Test test;
    Source tcp_source;
    bool operator==(const Settings&) const = default;
};

}  // namespace pollux::config
