// What the loader reads, and that everything it reads can be printed and read again.
#include "config/load.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "config/changes.hpp"

namespace pollux::config {
namespace {

using namespace std::chrono_literals;

/// The least that a server needs.
const std::string minimal =
    "[[port]]\n"
    "device = \"net_ring0\"\n"
    "addresses = [\"192.0.2.1/24\"]\n"
    "[[listen]]\n"
    "port = 80\n";

std::string example(const std::string& name) { return std::string{POLLUX_SOURCE} + "/config/" + name; }

TEST(ConfigLoad, MinimalFileGivesTheDocumentedDefaults) {
    const Settings s = load_text(minimal, "a.toml");
    EXPECT_TRUE(s.eal.huge_pages);
    EXPECT_EQ(s.eal.cores, std::vector<uint16_t>{0});
    EXPECT_EQ(s.engine.idle, Idle::automatic);
    EXPECT_EQ(s.engine.drain_timeout, 10s);
    EXPECT_EQ(s.engine.control_socket, "auto");
    ASSERT_EQ(s.ports.size(), 1u);
    EXPECT_EQ(s.ports[0].device, "net_ring0");
    EXPECT_EQ(s.ports[0].mtu_bytes, 1500);
    EXPECT_FALSE(s.ports[0].gateway);
    EXPECT_FALSE(s.ports[0].is_pci());
    ASSERT_EQ(s.listens.size(), 1u);
    EXPECT_EQ(s.listens[0].port, 80);
    EXPECT_TRUE(s.listens[0].address.is_unspecified());
    EXPECT_EQ(s.tcp, tcp::StackSettings{});
    EXPECT_EQ(s.http.idle_timeout, 5s);
    EXPECT_EQ(s.http.max_requests, 100u);
    EXPECT_TRUE(s.routes.empty());
}

/// A document that says something other than the default for every key.
const std::string everything = R"([eal]
huge_pages = false
memory = "512MiB"
cores = "1,4-6"
file_prefix = "one"
args = ["--log-level=lib.eal:8", "say \"hi\""]

[engine]
idle = "spin"
drain_timeout = "1500ms"
packet_buffers = 4096
icmp_replies_per_second = 7
control_socket = "/run/pollux/one.sock"

[[port]]
device = "0000:3b:00.0"
addresses = ["192.0.2.1/24", "198.51.100.1/31", "2001:db8::1/64"]
gateway = "192.0.2.254"
gateway_v6 = "fe80::fe"
duplicate_address_detection = false
mtu_bytes = 9000
mac = "02:00:00:00:00:0a"
rx_descriptors = 256
tx_descriptors = 512
checksum_offload = "off"
rss = "software"

[[port]]
device = "net_tap0,iface=x"
addresses = ["203.0.113.1/24"]

[[listen]]
address = "192.0.2.1"
port = 8080
congestion = "new_reno"

[[listen]]
port = 80

[[filter]]
action = "allow"
source = "198.51.100.7"
ports = "8080"
destination = "192.0.2.0/25"

[[filter]]
action = "deny"
source = "2001:db8:9::/48"
ports = "1-1023"

[tcp]
max_mss_bytes = 1200
window_scaling = false
sack = false
timestamps = false
ecn = false
ecn_request = true
ecn_syn_retries = 3
receive_buffer = "64KiB"
ack_delay = "0s"
reassembly_ranges = 3
initial_rto = "2s"
min_rto_variance = "10ms"
max_rto = "60s"
syn_ack_retries = 2
syn_retries = 6
data_retries = 3
orphan_retries = 4
first_local_port = 1024
last_local_port = 2000
user_timeout = "3min"
keep_alive = true
keep_alive_idle = "30min"
keep_alive_interval = "10s"
keep_alive_probes = 5
msl = "500ms"
fin_wait_2 = "5s"
nagle = true
send_queue_limit = "1MiB"
congestion = "new_reno"
hystart = false
restart_after_idle = false
initial_window_segments = 4
resets_per_second = 5
challenge_acks_per_second = 6
ttl = 32
dscp = 10
transmit_quantum = 8

[tcp.capacity]
connections = 10
half_open = 11
time_wait = 12
send_entries = 13
chunks = 14
receive_stores = 15
recoveries = 16
segment_records = 17
spent_cookies = 18
events = 64

[security]
syn_cookies = "always"
cookie_period = "2s"

[http]
idle_timeout = "0s"
max_requests = 0
header_timeout = "3s"
linger_timeout = "1s"
max_request_line = "1KiB"
max_header = "2000B"
max_header_fields = 9
max_body = "1GiB"
request_buffers = 77

[[route]]
path = "/"
body = "a\tb\n\"c\"\\ \u007f"

[[route]]
path = "/empty"
body = ""
content_type = "text/html"
)";

TEST(ConfigLoad, EveryKeyReachesItsMember) {
    const Settings s = load_text(everything, "a.toml");
    EXPECT_FALSE(s.eal.huge_pages);
    EXPECT_EQ(s.eal.memory_mb, 512u);
    EXPECT_EQ(s.eal.cores, (std::vector<uint16_t>{1, 4, 5, 6}));
    EXPECT_EQ(s.eal.file_prefix, "one");
    EXPECT_EQ(s.eal.args, (std::vector<std::string>{"--log-level=lib.eal:8", "say \"hi\""}));
    EXPECT_EQ(s.engine.idle, Idle::spin);
    EXPECT_EQ(s.engine.drain_timeout, 1500ms);
    EXPECT_EQ(s.engine.packet_buffers, 4096u);
    EXPECT_EQ(s.engine.icmp_replies_per_second, 7u);
    EXPECT_EQ(s.engine.control_socket, "/run/pollux/one.sock");
    ASSERT_EQ(s.ports.size(), 2u);
    const Port& port = s.ports[0];
    EXPECT_TRUE(port.is_pci());
    ASSERT_EQ(port.addresses.size(), 3u);
    EXPECT_EQ(port.addresses[1].to_string(), "198.51.100.1/31");
    EXPECT_EQ(port.addresses[2].to_string(), "2001:db8::1/64");
    EXPECT_EQ(port.gateway->to_string(), "192.0.2.254");
    EXPECT_EQ(port.gateway_v6->to_string(), "fe80::fe");
    EXPECT_FALSE(port.duplicate_address_detection);
    EXPECT_EQ(port.mtu_bytes, 9000);
    EXPECT_EQ(port.mac->to_string(), "02:00:00:00:00:0a");
    EXPECT_EQ(port.rx_descriptors, 256);
    EXPECT_EQ(port.tx_descriptors, 512);
    EXPECT_EQ(port.checksum_offload, ChecksumOffload::off);
    EXPECT_EQ(port.rss, Rss::software);
    EXPECT_EQ(port.source.to_string(), "a.toml:15");
    EXPECT_EQ(s.listens[0].address.to_string(), "192.0.2.1");
    EXPECT_EQ(s.listens[0].port, 8080);
    EXPECT_EQ(s.listens[0].congestion, tcp::CongestionControl::new_reno);
    EXPECT_EQ(s.listens[1].congestion, std::nullopt);
    ASSERT_EQ(s.filters.size(), 2u);
    EXPECT_EQ(s.filters[0].action, FilterAction::allow);
    EXPECT_EQ(s.filters[0].from->to_string(), "198.51.100.7/32");
    EXPECT_EQ(s.filters[0].ports, (PortRange{8'080, 8'080}));
    EXPECT_EQ(s.filters[0].to->to_string(), "192.0.2.0/25");
    EXPECT_EQ(s.filters[1].action, FilterAction::deny);
    EXPECT_EQ(s.filters[1].from->to_string(), "2001:db8:9::/48");
    EXPECT_EQ(s.filters[1].ports, (PortRange{1, 1'023}));
    EXPECT_EQ(s.filters[1].to, std::nullopt);
    EXPECT_EQ(s.tcp.max_mss, 1200);
    EXPECT_FALSE(s.tcp.window_scaling);
    EXPECT_FALSE(s.tcp.sack);
    EXPECT_FALSE(s.tcp.timestamps);
    EXPECT_FALSE(s.tcp.ecn);
    EXPECT_TRUE(s.tcp.ecn_request);
    EXPECT_EQ(s.tcp.ecn_syn_retries, 3);
    EXPECT_EQ(s.tcp.receive_buffer, 65'536u);
    EXPECT_EQ(s.tcp.ack_delay, 0s);
    EXPECT_EQ(s.tcp.reassembly_ranges, 3);
    EXPECT_EQ(s.tcp.initial_rto, 2s);
    EXPECT_EQ(s.tcp.min_rto_variance, 10ms);
    EXPECT_EQ(s.tcp.max_rto, 60s);
    EXPECT_EQ(s.tcp.syn_ack_retries, 2);
    EXPECT_EQ(s.tcp.syn_retries, 6);
    EXPECT_EQ(s.tcp.data_retries, 3);
    EXPECT_EQ(s.tcp.orphan_retries, 4);
    EXPECT_EQ(s.tcp.first_local_port, 1'024);
    EXPECT_EQ(s.tcp.last_local_port, 2'000);
    EXPECT_EQ(s.tcp.user_timeout, 3min);
    EXPECT_TRUE(s.tcp.keep_alive);
    EXPECT_EQ(s.tcp.keep_alive_idle, 30min);
    EXPECT_EQ(s.tcp.keep_alive_interval, 10s);
    EXPECT_EQ(s.tcp.keep_alive_probes, 5);
    EXPECT_EQ(s.tcp.msl, 500ms);
    EXPECT_EQ(s.tcp.fin_wait_2, 5s);
    EXPECT_TRUE(s.tcp.nagle);
    EXPECT_EQ(s.tcp.send_queue_limit, 1u << 20);
    EXPECT_EQ(s.tcp.congestion, tcp::CongestionControl::new_reno);
    EXPECT_FALSE(s.tcp.hystart);
    EXPECT_FALSE(s.tcp.restart_after_idle);
    EXPECT_EQ(s.tcp.initial_window_segments, 4u);
    EXPECT_EQ(s.tcp.resets_per_second, 5u);
    EXPECT_EQ(s.tcp.challenge_acks_per_second, 6u);
    EXPECT_EQ(s.tcp.ttl, 32);
    EXPECT_EQ(s.tcp.dscp, 10);
    EXPECT_EQ(s.tcp.transmit_quantum, 8);
    const tcp::Capacity& c = s.tcp.capacity;
    EXPECT_EQ(
        (std::vector<uint32_t>{c.connections, c.half_open, c.time_wait, c.send_entries, c.chunks, c.receive_stores}),
        (std::vector<uint32_t>{10, 11, 12, 13, 14, 15}));
    EXPECT_EQ(c.recoveries, 16u);
    EXPECT_EQ(c.segment_records, 17u);
    EXPECT_EQ(c.spent_cookies, 18u);
    EXPECT_EQ(c.events, 64u);
    EXPECT_EQ(s.security.syn_cookies, tcp::SynCookieMode::always);
    EXPECT_EQ(s.security.cookie_period, 2s);
    EXPECT_EQ(s.security.cookie_secret_file, "");
    EXPECT_EQ(s.http.idle_timeout, 0s);
    EXPECT_EQ(s.http.max_requests, 0u);
    EXPECT_EQ(s.http.header_timeout, 3s);
    EXPECT_EQ(s.http.linger_timeout, 1s);
    EXPECT_EQ(s.http.max_request_line_bytes, 1024u);
    EXPECT_EQ(s.http.max_header_bytes, 2000u);
    EXPECT_EQ(s.http.max_header_fields, 9);
    EXPECT_EQ(s.http.max_body_bytes, 1u << 30);
    EXPECT_EQ(s.http.request_buffers, 77u);
    ASSERT_EQ(s.routes.size(), 2u);
    EXPECT_EQ(s.routes[0].body, "a\tb\n\"c\"\\ \x7f");
    EXPECT_EQ(s.routes[0].content_type, "text/plain; charset=utf-8");
    EXPECT_EQ(s.routes[1].body, "");
    EXPECT_EQ(s.routes[1].content_type, "text/html");
}

TEST(ConfigLoad, PrintedSettingsAreReadBackEqual) {
    for (const std::string& document : {minimal, everything}) {
        const Settings s = load_text(document, "a.toml");
        const std::string printed = to_toml(s);
        EXPECT_EQ(load_text(printed, "b.toml"), s) << printed;
        EXPECT_EQ(to_toml(load_text(printed, "b.toml")), printed);
    }
}

TEST(ConfigLoad, DamageOnPurposeIsReadAndPrintedBack) {
    const Settings s = load_text(minimal + R"([test]
enabled = true
seed = 7
[test.receive]
loss = "5%"
duplication = "2.25%"
reordering = "0.0001%"
corruption = "100%"
[test.send]
delay = "10ms"
jitter = "1500us"
reorder_by = "5ms"
)",
                                 "a.toml");
    EXPECT_TRUE(s.test.enabled);
    EXPECT_EQ(s.test.seed, 7u);
    EXPECT_EQ(s.test.receive,
              (Impairment{
                  .loss_ppm = 50'000, .duplication_ppm = 22'500, .reordering_ppm = 1, .corruption_ppm = 1'000'000}));
    EXPECT_EQ(s.test.send, (Impairment{.delay = 10ms, .jitter = 1500us, .reorder_by = 5ms}));
    const std::string printed = to_toml(s);
    EXPECT_EQ(load_text(printed, "b.toml"), s) << printed;
    for (const char* line : {"duplication = \"2.25%\"", "reordering = \"0.0001%\"", "corruption = \"100%\""})
        EXPECT_NE(printed.find(line), std::string::npos) << printed;
    EXPECT_EQ(to_toml(load_text(minimal, "a.toml")).find("[test"), std::string::npos)
        << "nothing to say, so nothing said";
}

TEST(ConfigLoad, WhatARunningEngineDoesNotTakeUpIsNamedByKeyOrTable) {
    const Settings before = load_text(everything, "a.toml");
    Settings now = before;
    EXPECT_EQ(changes_for_a_restart(before, now), "");
    now.filters.clear();
    EXPECT_EQ(changes_for_a_restart(before, now), "") << "rules are taken up";
    now.eal.cores = {7};
    now.engine.idle = Idle::adaptive;
    now.ports[1].mtu_bytes = 1'400;
    now.tcp.user_timeout = 1min;
    now.tcp.capacity.chunks = 15;
    now.security.syn_cookies = tcp::SynCookieMode::never;
    now.routes.pop_back();
    now.test.enabled = true;
    EXPECT_EQ(changes_for_a_restart(before, now),
              "eal.cores, engine.idle, [[port]], tcp.user_timeout, tcp.capacity.chunks, security.syn_cookies, "
              "[[route]], [test]");
}

TEST(ConfigLoad, ExampleFilesLoadAndPrintBack) {
    size_t examples = 0;
    for (const auto& entry : std::filesystem::directory_iterator(example(""))) {
        if (entry.path().extension() != ".toml") continue;
        ++examples;
        SCOPED_TRACE(entry.path().string());
        const Settings s = load_file(entry.path().string());
        EXPECT_EQ(load_text(to_toml(s), "b.toml"), s);
    }
    EXPECT_GE(examples, 3u);
}

TEST(ConfigLoad, DemoLimitsNeitherIdleTimeNorRequestsAndNeedsNoHugePages) {
    const Settings s = load_file(example("demo.toml"));
    EXPECT_EQ(s.http.idle_timeout, 0s);
    EXPECT_EQ(s.http.max_requests, 0u);
    EXPECT_FALSE(s.eal.huge_pages);
}

/// nic.toml shows every key: with its comment marks taken away it still loads, and what it calls a default is one.
TEST(ConfigLoad, CommentedDefaultsOfTheNicExampleAreTheDefaults) {
    std::ifstream in{example("nic.toml")};
    std::ostringstream shown;
    for (std::string line; std::getline(in, line);) {
        const bool commented_key = line.starts_with("# ") && line.find(" = ") < 32;
        const bool other =
            line.starts_with("# file = ") || line.starts_with("# mac = ") || line.starts_with("# address = ") ||
            line.starts_with("# ports = ") || line.starts_with("# destination = ");
        shown << (commented_key && !other ? line.substr(2) : line) << "\n";
    }
    const Settings s = load_file(example("nic.toml"));
    EXPECT_EQ(load_text(shown.str(), "nic.toml"), s);
    const std::string printed = to_toml(s);
    std::istringstream keys{printed};
    for (std::string line; std::getline(keys, line);) {
        const std::string key = line.substr(0, line.find(" ="));
        if (key.empty() || key.starts_with('[')) continue;
        EXPECT_NE(shown.str().find("\n" + key + " = "), std::string::npos) << key;
    }
}

TEST(ConfigLoad, RouteFileIsFoundBesideTheSettings) {
    const auto folder = std::filesystem::path{testing::TempDir()} / "pollux-config-test";
    std::filesystem::create_directories(folder);
    std::ofstream{folder / "page"} << "x";
    const Settings s =
        load_text(minimal + "[[route]]\npath = \"/\"\nfile = \"page\"\n", (folder / "a.toml").string());
    EXPECT_EQ(s.routes[0].file, (folder / "page").string());
    EXPECT_EQ(s.routes[0].content_type, "application/octet-stream");
    EXPECT_EQ(load_text(to_toml(s), "elsewhere.toml"), s);
    std::filesystem::remove_all(folder);
}

TEST(ConfigLoad, PrefixContainsWhatItsBitsSay) {
    const Prefix prefix{*tcp::IpAddress::parse("192.0.2.130"), 25};
    EXPECT_TRUE(prefix.contains(*tcp::IpAddress::parse("192.0.2.128")));
    EXPECT_TRUE(prefix.contains(*tcp::IpAddress::parse("192.0.2.255")));
    EXPECT_FALSE(prefix.contains(*tcp::IpAddress::parse("192.0.2.127")));
    EXPECT_FALSE(prefix.contains(*tcp::IpAddress::parse("2001:db8::1")));
    const Prefix six{*tcp::IpAddress::parse("2001:db8::1"), 36};
    EXPECT_TRUE(six.contains(*tcp::IpAddress::parse("2001:db8:0fff::")));
    EXPECT_FALSE(six.contains(*tcp::IpAddress::parse("2001:db8:1000::")));
}

}  // namespace
}  // namespace pollux::config
