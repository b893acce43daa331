// Every kind of mistake in a settings file is one sentence: where, what was found, what is expected.
#include <gtest/gtest.h>

#include <filesystem>

#include "config/load.hpp"
#include "config/notation.hpp"

namespace pollux::config {
namespace {

const std::string port = "[[port]]\ndevice = \"net_ring0\"\naddresses = [\"192.0.2.1/24\"]\n";  // lines 1-3
const std::string listen = "[[listen]]\nport = 80\n";                                           // lines 4-5
const std::string minimal = port + listen;  // what follows: line 6

/// The sentence that `document` earns, or "" if it loads.
std::string sentence(const std::string& document) {
    try {
        load_text(document, "a.toml");
    } catch (const SettingsError& error) {
        return error.what();
    }
    return "";
}

TEST(ConfigErrors, MinimalFileIsFine) { EXPECT_EQ(sentence(minimal), ""); }

TEST(ConfigErrors, SyntaxErrorNamesItsLine) {
    const std::string said = sentence(minimal + "\n[http\n");
    EXPECT_TRUE(said.starts_with("a.toml:7: found no valid TOML (")) << said;
    EXPECT_TRUE(said.ends_with("), expected a TOML document")) << said;
}

TEST(ConfigErrors, MissingFileIsNamed) {
    try {
        load_file("/nonexistent/a.toml");
        FAIL() << "a missing file was read";
    } catch (const SettingsError& error) {
        EXPECT_STREQ(
            error.what(),
            "/nonexistent/a.toml:0: found no readable file (No such file or directory), expected settings in TOML");
    }
}

TEST(ConfigErrors, DirectoryIsNotAFile) {
    try {
        load_file("/tmp");
        FAIL() << "a directory was read";
    } catch (const SettingsError& error) {
        EXPECT_STREQ(error.what(), "/tmp:0: found no readable file (it is a directory), expected settings in TOML");
    }
}

TEST(ConfigErrors, DamageOnPurposeIsRefusedUnlessItIsEnabled) {
    EXPECT_EQ(sentence(minimal + "[test]\nenabled = true\n[test.send]\nloss = \"5%\"\n"), "");
    EXPECT_EQ(sentence(minimal + "[test]\nenabled = false\n"), "") << "the default may be said";
    const std::string refusal =
        " without test.enabled = true, expected both or neither: what stands in [test] damages packets on purpose";
    EXPECT_EQ(sentence(minimal + "[test]\nseed = 7\n"), "a.toml:7: found test.seed" + refusal);
    EXPECT_EQ(sentence(minimal + "[test]\nenabled = false\nseed = 7\n"), "a.toml:8: found test.seed" + refusal);
    EXPECT_EQ(sentence(minimal + "[test.receive]\nloss = \"5%\"\n"), "a.toml:6: found test.receive" + refusal);
}

TEST(ConfigErrors, SharesAreFrom0To100Percent) {
    const auto of = [](const std::string& value) {
        return sentence(minimal + "[test]\nenabled = true\n[test.receive]\nloss = " + value + "\n");
    };
    for (const char* good : {"0%", "100%", "0.5%", "12.3456%", "100.0%"}) EXPECT_EQ(of(in_quotes(good)), "") << good;
    for (const char* bad :
         {"5", "", "%", "-1%", "100.0001%", "101%", "0.00001%", "1.%", ".5%", "1,5%", "5 %", "5%%"}) {
        EXPECT_EQ(of(in_quotes(bad)), "a.toml:9: found the string " + in_quotes(bad) +
                                          " for test.receive.loss, expected a share from \"0%\" to \"100%\" with at "
                                          "most four decimals, such as \"0.5%\"");
    }
    EXPECT_TRUE(of("5").starts_with("a.toml:9: found the integer 5 for test.receive.loss")) << of("5");
}

TEST(ConfigErrors, AControlSocketIsAutoOffOrAPathFromTheRoot) {
    const auto with = [](const std::string& value) {
        return sentence(minimal + "[engine]\ncontrol_socket = \"" + value + "\"\n");
    };
    for (const char* good : {"auto", "off", "/run/a.sock"}) EXPECT_EQ(with(good), "") << good;
    EXPECT_EQ(with("of"),
              "a.toml:7: found the string \"of\" for engine.control_socket, expected \"auto\", \"off\" or a path "
              "from the root such "
              "as \"/run/pollux/a.sock\", of at most 107 bytes");
    for (const std::string& bad :
         {std::string{}, std::string{"/"}, std::string{"a.sock"}, "/" + std::string(107, 'x')}) {
        EXPECT_NE(with(bad), "") << bad;
    }
}

TEST(ConfigErrors, NearMissOfAKeyGetsASuggestion) {
    EXPECT_EQ(sentence(minimal + "[test]\nenabled = true\n[test.send]\nlos = \"5%\"\n"),
              R"(a.toml:9: found the unknown key "los" in [test.send], expected "loss")");
    EXPECT_EQ(sentence(minimal + "[http]\nidle_timout = \"5s\"\n"),
              R"(a.toml:7: found the unknown key "idle_timout" in [http], expected "idle_timeout")");
    EXPECT_EQ(sentence(minimal + "[http]\nmxa_requests = 5\n"),
              R"(a.toml:7: found the unknown key "mxa_requests" in [http], expected "max_requests")");
    EXPECT_EQ(sentence(port + "mtu = 1500\n" + listen),
              R"(a.toml:4: found the unknown key "mtu" in [[port]], expected "mtu_bytes")");
    EXPECT_EQ(sentence(minimal + "[tcp.capacity]\nconections = 5\n"),
              R"(a.toml:7: found the unknown key "conections" in [tcp.capacity], expected "connections")");
}

TEST(ConfigErrors, UnknownKeyGetsTheListOfKnownOnes) {
    EXPECT_EQ(sentence(port + "[[listen]]\nport = 80\nbacklog = 5\n"),
              R"(a.toml:6: found the unknown key "backlog" in [[listen]], expected "address", "port" or "congestion")");
}

TEST(ConfigErrors, UnknownTableGetsASuggestion) {
    EXPECT_EQ(sentence(minimal + "[https]\n"), R"(a.toml:6: found the unknown key "https", expected "http")");
    EXPECT_EQ(
        sentence(minimal + "[metrics]\n"),
        R"(a.toml:6: found the unknown key "metrics", expected "eal", "engine", "port", "listen", "filter", "tcp", "security", "http", "route" or "test")");
}

TEST(ConfigErrors, WrongTypeSaysWhatWasFound) {
    EXPECT_EQ(
        sentence(minimal + "[http]\nidle_timeout = 5\n"),
        R"(a.toml:7: found the integer 5 for http.idle_timeout, expected a duration from "0s" to "24h" in us, ms, s, min or h)");
    EXPECT_EQ(sentence(minimal + "[tcp]\nsack = \"yes\"\n"),
              R"(a.toml:7: found the string "yes" for tcp.sack, expected true or false)");
    EXPECT_EQ(sentence(minimal + "[tcp]\nttl = 6.4\n"),
              "a.toml:7: found a floating-point number for tcp.ttl, expected an integer from 1 to 255");
    EXPECT_EQ(sentence("[[port]]\ndevice = \"net_ring0\"\naddresses = \"192.0.2.1/24\"\n" + listen),
              R"(a.toml:3: found the string "192.0.2.1/24" for port.addresses, expected an array of strings)");
    EXPECT_EQ(sentence("[port]\n" + listen),
              "a.toml:1: found a table for port, expected one or more tables [[port]]");
    EXPECT_EQ(sentence("http = true\n" + minimal),
              "a.toml:1: found the boolean true for http, expected the table [http]");
    EXPECT_EQ(sentence("route = [1]\n" + minimal),
              "a.toml:1: found the integer 1 for route, expected one or more tables [[route]]");
}

TEST(ConfigErrors, ValueOutOfRangeSaysTheRange) {
    EXPECT_EQ(sentence(port + "[[listen]]\nport = 0\n"),
              "a.toml:5: found the integer 0 for listen.port, expected an integer from 1 to 65535");
    EXPECT_EQ(sentence(port + "[[listen]]\nport = 65536\n"),
              "a.toml:5: found the integer 65536 for listen.port, expected an integer from 1 to 65535");
    EXPECT_EQ(sentence(port + "mtu_bytes = 67\n" + listen),
              "a.toml:4: found the integer 67 for port.mtu_bytes, expected an integer from 68 to 9216");
    EXPECT_EQ(sentence(minimal + "[http]\nmax_requests = -1\n"),
              "a.toml:7: found the integer -1 for http.max_requests, expected an integer from 0 to 65535");
    EXPECT_EQ(sentence(minimal + "[tcp]\nmax_mss_bytes = 27\n"),
              "a.toml:7: found the integer 27 for tcp.max_mss_bytes, expected 0 or an integer from 28 to 65495");
    const std::string msl = R"( for tcp.msl, expected a duration from "500ms" to "2min" in us, ms, s, min or h)";
    EXPECT_EQ(sentence(minimal + "[tcp]\nmsl = \"499ms\"\n"), "a.toml:7: found the string \"499ms\"" + msl);
    EXPECT_EQ(sentence(minimal + "[tcp]\nmsl = \"121s\"\n"), "a.toml:7: found the string \"121s\"" + msl);
    EXPECT_EQ(sentence(minimal + "[tcp]\nmsl = \"500ms\"\n"), "");
    EXPECT_EQ(sentence(minimal + "[tcp]\nmsl = \"120s\"\n"), "");
}

TEST(ConfigErrors, DurationWithoutUnitOrWithAStrangeOneIsRefused) {
    for (const char* bad :
         {"40", "ms", "40 sec", "4.5s", "-1s", "40  ms", "40ms ", "", "99999999999999999999h", "9999999999999999h"})
        EXPECT_NE(sentence(minimal + "[http]\nidle_timeout = \"" + bad + "\"\n"), "") << bad;
    for (const char* good : {"40ms", "40 ms", "0s", "24h", "90min", "7us"})
        EXPECT_EQ(sentence(minimal + "[http]\nidle_timeout = \"" + good + "\"\n"), "") << good;
}

TEST(ConfigErrors, SizeWithoutUnitOrWithADecimalOneIsRefused) {
    EXPECT_EQ(
        sentence(minimal + "[tcp]\nreceive_buffer = \"64kB\"\n"),
        R"(a.toml:7: found the string "64kB" for tcp.receive_buffer, expected a size from "2KiB" to "1GiB" in B, KiB, MiB or GiB)");
    EXPECT_NE(sentence(minimal + "[tcp]\nreceive_buffer = \"65536\"\n"), "");
    EXPECT_EQ(
        sentence("[eal]\nmemory = \"100KiB\"\n" + minimal),
        R"(a.toml:2: found the string "100KiB" for eal.memory, expected whole MiB up to "1024GiB", such as "512MiB")");
}

TEST(ConfigErrors, ListOfCoresIsUnderstoodOrRefused) {
    EXPECT_EQ(
        sentence("[eal]\ncores = \"3-1\"\n" + minimal),
        R"(a.toml:2: found the string "3-1" for eal.cores, expected each core once, from 0 to 127, such as "0", "0-3" or "1,3")");
    for (const char* bad : {"", ",", "0,", "0-", "-1", "0,0", "0-3,2", "128", "a", "0-4294967296"})
        EXPECT_NE(sentence("[eal]\ncores = \"" + std::string{bad} + "\"\n" + minimal), "") << bad;
}

TEST(ConfigErrors, ChoiceNamesTheChoices) {
    EXPECT_EQ(sentence(minimal + "[engine]\nidle = \"sleep\"\n"),
              R"(a.toml:7: found the string "sleep" for engine.idle, expected one of "auto", "spin", "adaptive")");
    EXPECT_EQ(sentence(port + "checksum_offload = \"on\"\n" + listen),
              R"(a.toml:4: found the string "on" for port.checksum_offload, expected one of "auto", "off")");
    EXPECT_EQ(sentence(port + "rss = \"hardware\"\n" + listen),
              R"(a.toml:4: found the string "hardware" for port.rss, expected one of "auto", "device", "software")");
}

TEST(ConfigErrors, DeviceIsAPciAddressOrAVirtualDevice) {
    EXPECT_EQ(
        sentence("[[port]]\ndevice = \"eth0\"\n" + listen),
        R"(a.toml:2: found the string "eth0" for port.device, expected a PCI address such as "0000:3b:00.0" or a virtual device such as "net_tap0,iface=pollux0")");
    for (const char* good : {"0000:3b:00.0", "3b:00.0", "0000:3b:00.0,representor=0", "net_null0"})
        EXPECT_EQ(
            sentence("[[port]]\ndevice = \"" + std::string{good} + "\"\naddresses = [\"192.0.2.1/24\"]\n" + listen),
            "")
            << good;
    for (const char* bad : {"0000:3b:00", "0000:3b:00.x", "x000:3b:00.0", ""})
        EXPECT_NE(
            sentence("[[port]]\ndevice = \"" + std::string{bad} + "\"\naddresses = [\"192.0.2.1/24\"]\n" + listen),
            "")
            << bad;
}

TEST(ConfigErrors, AddressesCarryAPrefix) {
    const std::string expected =
        R"( for port.addresses, expected an address with its prefix, such as "192.0.2.1/24" or "2001:db8::1/64")";
    for (const std::string bad : {"192.0.2.1", "192.0.2.1/33", "192.0.2.1/0", "192.0.2/24", "2001:db8::1",
                                  "2001:db8::1/129", "2001:db8::1/0", "::ffff:192.0.2.1/96", "2001:db8::g/64"})
        EXPECT_EQ(sentence("[[port]]\ndevice = \"net_ring0\"\naddresses = [\"" + bad + "\"]\n" + listen),
                  "a.toml:3: found the string \"" + bad + "\"" + expected);
    for (const std::string bad : {"192.0.2.0/24", "192.0.2.255/24", "127.0.0.1/8", "224.0.0.1/24", "240.0.0.1/8",
                                  "2001:db8::/64", "::1/128", "::/64", "ff02::1/64"}) {
        EXPECT_EQ(sentence("[[port]]\ndevice = \"net_ring0\"\naddresses = [\"" + bad + "\"]\n" + listen),
                  "a.toml:1: found the address \"" + bad +
                      "\" of port.addresses, expected the address of one host on its network");
    }
}

TEST(ConfigErrors, Ipv6AddressesOfAllKindsAreTaken) {
    EXPECT_EQ(sentence("[[port]]\ndevice = \"net_ring0\"\naddresses = [\"2001:db8::1/64\", \"fe80::1/64\", "
                       "\"2001:db8:1::/127\", \"192.0.2.1/24\"]\ngateway_v6 = \"fe80::fe\"\n[[listen]]\n"
                       "address = \"2001:db8::1\"\nport = 80\n"),
              "");
}

TEST(ConfigErrors, GatewaysAreOfTheirFamilyAndOnTheLink) {
    EXPECT_EQ(
        sentence(port + "gateway = \"fe80::1\"\n" + listen),
        R"(a.toml:4: found the string "fe80::1" for port.gateway, expected an IPv4 address such as "192.0.2.1")");
    EXPECT_EQ(
        sentence(port + "gateway_v6 = \"192.0.2.254\"\n" + listen),
        R"(a.toml:4: found the string "192.0.2.254" for port.gateway_v6, expected an IPv6 address such as "fe80::1")");
    EXPECT_EQ(
        sentence(port + "gateway_v6 = \"2001:db8::fe\"\n" + listen),
        R"(a.toml:1: found the gateway "2001:db8::fe" outside the port's networks, expected an address inside "192.0.2.1/24")");
}

TEST(ConfigErrors, Ipv6WantsAnMtuOf1280) {
    const std::string six = "[[port]]\ndevice = \"net_ring0\"\naddresses = [\"2001:db8::1/64\"]\n";
    EXPECT_EQ(sentence(six + "mtu_bytes = 1279\n" + listen),
              "a.toml:1: found port.mtu_bytes = 1279 with an IPv6 address, expected at least 1280");
    EXPECT_EQ(sentence(six + "mtu_bytes = 1280\n" + listen), "");
    EXPECT_EQ(sentence(port + "mtu_bytes = 576\n" + listen), "");
}

TEST(ConfigErrors, MacAddressIsUnicast) {
    for (const std::string bad : {"01:00:00:00:00:01", "00:00:00:00:00:00", "02:00:00:00:00", "02.00.00.00.00.01",
                                  "02:00:00:00:00:0g", "02:00:00:00:00:001"})
        EXPECT_EQ(sentence(port + "mac = \"" + bad + "\"\n" + listen),
                  "a.toml:4: found the string \"" + bad +
                      R"(" for port.mac, expected a unicast MAC address such as "02:00:00:00:00:01")");
}

TEST(ConfigErrors, SomethingIsMissing) {
    EXPECT_EQ(sentence(""), "a.toml:1: found no [[port]], expected at least one device with an address");
    EXPECT_EQ(sentence(port), "a.toml:1: found no [[listen]], expected at least one port to listen on");
    EXPECT_EQ(
        sentence("[[port]]\naddresses = [\"192.0.2.1/24\"]\n" + listen),
        R"(a.toml:1: found a [[port]] without device, expected a PCI address such as "0000:3b:00.0" or a virtual device such as "net_tap0,iface=pollux0")");
    EXPECT_EQ(sentence("[[port]]\ndevice = \"net_ring0\"\n" + listen),
              R"(a.toml:1: found a [[port]] without addresses, expected at least one, such as ["192.0.2.1/24"])");
    EXPECT_EQ(sentence(port + "[[listen]]\n"),
              "a.toml:4: found a [[listen]] without port, expected a port from 1 to 65535");
    EXPECT_EQ(
        sentence(minimal + "[[route]]\nbody = \"x\"\n"),
        R"(a.toml:6: found a [[route]] without path, expected a path such as "/index.html", without blanks, "?" and "#")");
    EXPECT_EQ(sentence(minimal + "[[route]]\npath = \"/\"\n"),
              R"(a.toml:6: found the route "/" with neither body nor file, expected one of them)");
}

TEST(ConfigErrors, GatewayIsAnotherHostOnTheNetwork) {
    EXPECT_EQ(
        sentence(port + "gateway = \"192.0.3.1\"\n" + listen),
        R"(a.toml:1: found the gateway "192.0.3.1" outside the port's networks, expected an address inside "192.0.2.1/24")");
    EXPECT_EQ(
        sentence(port + "gateway = \"192.0.2.1\"\n" + listen),
        R"(a.toml:1: found the gateway "192.0.2.1" among the port's own addresses, expected the address of another host)");
    EXPECT_EQ(sentence(port + "gateway = \"192.0.2.254\"\n" + listen), "");
}

TEST(ConfigErrors, NothingIsSaidTwice) {
    EXPECT_EQ(sentence(port + port + listen),
              R"(a.toml:4: found the device "net_ring0" again (first in line 1), expected each device once)");
    EXPECT_EQ(sentence(port + "[[port]]\ndevice = \"net_ring1\"\naddresses = [\"192.0.2.1/25\"]\n" + listen),
              R"(a.toml:4: found the address "192.0.2.1" again (first in line 1), expected each address once)");
    EXPECT_EQ(
        sentence("[[port]]\ndevice = \"net_ring1\"\naddresses = [\"192.0.2.1/24\", \"192.0.2.1/24\"]\n" + listen),
        R"(a.toml:1: found the address "192.0.2.1" again (first in line 1), expected each address once)");
    const std::string mac = "mac = \"02:00:00:00:00:01\"\n";
    EXPECT_EQ(
        sentence(port + mac + "[[port]]\ndevice = \"net_ring1\"\naddresses = [\"192.0.2.2/24\"]\n" + mac + listen),
        R"(a.toml:5: found the MAC address "02:00:00:00:00:01" again (first in line 1), expected each MAC address once)");
    EXPECT_EQ(sentence(minimal + listen),
              "a.toml:6: found port 80 again (first in line 4), expected each address and port once");
    EXPECT_EQ(sentence(minimal + "[[listen]]\naddress = \"192.0.2.1\"\nport = 80\n"),
              "a.toml:6: found port 80 again (first in line 4), expected each address and port once");
    EXPECT_EQ(sentence(minimal + "[[route]]\npath = \"/\"\nbody = \"x\"\n[[route]]\npath = \"/\"\nbody = \"y\"\n"),
              R"(a.toml:9: found the route "/" again (first in line 6), expected each path once)");
}

TEST(ConfigErrors, ListenAddressBelongsToAPort) {
    EXPECT_EQ(
        sentence(port + "[[listen]]\naddress = \"192.0.2.9\"\nport = 80\n"),
        R"(a.toml:4: found the address "192.0.2.9" that no [[port]] has, expected an address of a [[port]], or none for all of them)");
    EXPECT_EQ(sentence(port + "[[listen]]\naddress = \"0.0.0.0\"\nport = 80\n"), "");
}

TEST(ConfigErrors, RouteHasOneSourceThatExists) {
    EXPECT_EQ(sentence(minimal + "[[route]]\npath = \"/\"\nbody = \"x\"\nfile = \"y\"\n"),
              R"(a.toml:6: found the route "/" with both body and file, expected only one of them)");
    const std::string missing = (std::filesystem::current_path() / "not-there").string();
    EXPECT_EQ(sentence(minimal + "[[route]]\npath = \"/\"\nfile = \"not-there\"\n"),
              "a.toml:6: found no file \"" + missing +
                  "\" for the route \"/\", expected the name of a file, relative to the folder of the settings");
    for (const char* bad : {"index.html", "", "/a b", "/a?b", "/a#b", "/a\\u0001"})
        EXPECT_NE(sentence(minimal + "[[route]]\nbody = \"\"\npath = \"" + bad + "\"\n"), "") << bad;
}

TEST(ConfigErrors, HeaderInjectionByContentTypeIsRefused) {
    EXPECT_EQ(
        sentence(minimal + "[[route]]\npath = \"/\"\nbody = \"x\"\ncontent_type = \"text/html\\r\\nX: y\"\n"),
        R"(a.toml:9: found the string "text/html\u000d\u000aX: y" for route.content_type, expected a media type such as "text/html")");
}

TEST(ConfigErrors, TimeoutsThatContradictEachOtherAreRefused) {
    EXPECT_EQ(sentence(minimal + "[tcp]\ninitial_rto = \"30s\"\nmax_rto = \"20s\"\n"),
              R"(a.toml:6: found tcp.initial_rto = "30s", expected at most tcp.max_rto = "20s")");
}

TEST(ConfigErrors, AFilterHasAnActionAndNetworksOfOneFamily) {
    const auto with = [](const std::string& keys) { return sentence(minimal + "[[filter]]\n" + keys); };
    EXPECT_EQ(with("action = \"deny\"\n"), "");
    EXPECT_EQ(with("source = \"192.0.2.0/24\"\n"),
              R"(a.toml:6: found a [[filter]] without action, expected one of "allow", "deny")");
    EXPECT_EQ(with("action = \"drop\"\n"),
              R"(a.toml:7: found the string "drop" for filter.action, expected one of "allow", "deny")");
    EXPECT_EQ(
        with("action = \"deny\"\nsource = \"192.0.2.0/24\"\ndestination = \"2001:db8::1\"\n"),
        R"(a.toml:6: found the source "192.0.2.0/24" with the destination "2001:db8::1/128" in one [[filter]], expected two of the same family)");
    EXPECT_EQ(
        with("action = \"deny\"\nport = 80\n"),
        R"(a.toml:8: found the unknown key "port" in [[filter]], expected "ports")");
    for (const char* good : {"192.0.2.0/24", "192.0.2.1", "0.0.0.0/0", "::/0", "2001:db8::/32", "2001:db8::1"})
        EXPECT_EQ(with("action = \"deny\"\nsource = " + in_quotes(good) + "\n"), "") << good;
    for (const char* bad : {"192.0.2.1/24", "192.0.2.0/33", "192.0.2/24", "2001:db8::1/64", "::/129", "any", "",
                            "::ffff:192.0.2.0/120", "192.0.2.0/"})
        EXPECT_EQ(with("action = \"deny\"\nsource = " + in_quotes(bad) + "\n"),
                  "a.toml:8: found the string " + in_quotes(bad) +
                      R"( for filter.source, expected a network such as "192.0.2.0/24" or "2001:db8::/32", with )"
                      "nothing set behind its prefix, or an address");
    for (const char* good : {"80", "8000-8099", "1-65535"})
        EXPECT_EQ(with("action = \"deny\"\nports = " + in_quotes(good) + "\n"), "") << good;
    for (const char* bad : {"0", "65536", "80-", "-80", "81-80", "80,81", "http", ""})
        EXPECT_EQ(with("action = \"deny\"\nports = " + in_quotes(bad) + "\n"),
                  "a.toml:8: found the string " + in_quotes(bad) +
                      R"( for filter.ports, expected a port or a range of ports from 1 to 65535, such as "80" or )"
                      R"("8000-8099")");
}

TEST(ConfigErrors, ThereAreAtMost4096Filters) {
    std::string many = minimal;
    for (size_t i = 0; i < most_filters; ++i) many += "[[filter]]\naction = \"deny\"\n";
    EXPECT_EQ(sentence(many), "");
    EXPECT_EQ(sentence(many + "[[filter]]\naction = \"deny\"\n"),
              "a.toml:8198: found 4097 tables [[filter]], expected at most 4096");
}

TEST(ConfigErrors, LocalPortsAreARangeOutsideTheWellKnownOnes) {
    const auto with = [](const std::string& keys) { return sentence(minimal + "[tcp]\n" + keys); };
    EXPECT_EQ(with("first_local_port = 2000\nlast_local_port = 2000\n"), "") << "one port is a range";
    EXPECT_EQ(with("first_local_port = 2001\nlast_local_port = 2000\n"),
              "a.toml:6: found tcp.first_local_port = 2001, expected at most tcp.last_local_port = 2000");
    EXPECT_EQ(with("first_local_port = 61000\n"),
              "a.toml:6: found tcp.first_local_port = 61000, expected at most tcp.last_local_port = 60999");
    EXPECT_EQ(with("first_local_port = 1023\n"),
              "a.toml:7: found the integer 1023 for tcp.first_local_port, expected an integer from 1024 to 65535");
    EXPECT_EQ(with("ecn_syn_retries = 0\n"),
              "a.toml:7: found the integer 0 for tcp.ecn_syn_retries, expected an integer from 1 to 11");
    EXPECT_EQ(with("syn_retries = 11\n"),
              "a.toml:7: found the integer 11 for tcp.syn_retries, expected an integer from 0 to 10");
}

}  // namespace
}  // namespace pollux::config
