// How a value is spelled in a settings file: durations ("40ms", "30s"), sizes ("256KiB"), addresses, lists of cores.
//
// A Notation reads a string, writes it back so that reading it again gives the same value, and says in words what it
// expects. The units are part of the string, never guessed: "40" is not a duration.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/settings.hpp"

namespace pollux::config {

template <class T>
struct Notation {
    std::string expected;  // completes "found X, expected ..."
    std::function<std::optional<T>(std::string_view)> read;
    std::function<std::string(const T&)> write;
};

/// From `low` to `high`, in us, ms, s, min or h.
Notation<tcp::Duration> duration(tcp::Duration low, tcp::Duration high);
/// From `low` to `high` bytes, in B, KiB, MiB or GiB.
Notation<uint32_t> size(uint64_t low, uint64_t high);
/// The same in whole MiB; "0B" is allowed and means "not said".
Notation<uint32_t> memory_mb(uint32_t high);
/// A share from "0%" to "100%" with up to four decimals, in parts per million.
Notation<uint32_t> percent();
Notation<std::string> device();
Notation<std::vector<uint16_t>> core_list();
/// The address of a host and the network around it.
Notation<Prefix> prefix();
/// A network without a host, or a lone address: "192.0.2.0/24", "192.0.2.1", "::/0".
Notation<Prefix> network();
/// "80" or "8000-8099".
Notation<PortRange> port_range();
Notation<FilterAction> filter_action();
/// Of either family.
Notation<tcp::IpAddress> address();
Notation<tcp::IpAddress> address_v4();
Notation<tcp::IpAddress> address_v6();
Notation<MacAddress> mac_address();
Notation<Idle> idle();
Notation<ChecksumOffload> checksum_offload();
Notation<Rss> rss();
Notation<tcp::CongestionControl> congestion();
/// "default" is none of its own.
Notation<std::optional<tcp::CongestionControl>> congestion_or_default();
Notation<tcp::SynCookieMode> syn_cookie_mode();
/// Any text without control characters, at least `shortest` characters long; `what` names it.
Notation<std::string> plain_text(std::string what, size_t shortest = 0);
/// Anything at all.
Notation<std::string> any_text(std::string what);
Notation<std::string> url_path();
Notation<std::string> control_socket();

/// `text` as a TOML basic string, quotes included.
std::string in_quotes(std::string_view text);
std::string to_string(tcp::Duration value);
/// The largest unit that divides evenly: 262144 is "256KiB".
std::string size_to_string(uint64_t bytes);
/// 25000 is "2.5%".
std::string percent_to_string(uint32_t ppm);

}  // namespace pollux::config
