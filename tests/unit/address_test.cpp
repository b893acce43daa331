// Addresses of both families: notation both ways and what kind of address it is.
#include "tcp/address.hpp"

#include <gtest/gtest.h>

#include <random>

namespace pollux::tcp {
namespace {

std::string again(std::string_view text) {
    const auto address = IpAddress::parse(text);
    return address ? address->to_string() : "refused";
}

TEST(IpAddress, ReadsAndPrintsIpv4) {
    EXPECT_EQ(IpAddress::parse("192.0.2.1"), IpAddress::from_v4(0xc000'0201));
    EXPECT_EQ(again("0.0.0.0"), "0.0.0.0");
    EXPECT_EQ(again("255.255.255.255"), "255.255.255.255");
}

TEST(IpAddress, PrintsIpv6AsRfc5952Says) {
    EXPECT_EQ(again("2001:DB8:0:0:0:0:0:1"), "2001:db8::1");
    EXPECT_EQ(again("::"), "::");
    EXPECT_EQ(again("::1"), "::1");
    EXPECT_EQ(again("1::"), "1::");
    EXPECT_EQ(again("2001:db8:0:1:1:1:1:1"), "2001:db8:0:1:1:1:1:1");  // one zero group stays
    EXPECT_EQ(again("2001:0:0:1:0:0:0:1"), "2001:0:0:1::1");           // the longest run
    EXPECT_EQ(again("2001:db8:0:0:1:0:0:1"), "2001:db8::1:0:0:1");     // the first of equal ones
    EXPECT_EQ(again("1:2:3:4:5:6:1.2.3.4"), "1:2:3:4:5:6:102:304");
    EXPECT_EQ(again("1:2:3:4:5:6:7::"), "1:2:3:4:5:6:7:0");
}

TEST(IpAddress, MappedNotationIsTheIpv4Address) {
    EXPECT_EQ(IpAddress::parse("::ffff:192.0.2.1"), IpAddress::parse("192.0.2.1"));
}

TEST(IpAddress, RefusesEverythingElse) {
    for (const auto* text : {"",
                             "1",
                             "1.2.3",
                             "1.2.3.4.5",
                             "1.2.3.256",
                             "01.2.3.4",
                             "1.2.3.4 ",
                             " 1.2.3.4",
                             "1..2.3",
                             "1.2.3.",
                             "-1.2.3.4",
                             "+1.2.3.4",
                             "1.2.3.4/24",
                             "a.b.c.d",
                             ":",
                             ":::",
                             "1:2",
                             "1:2:3:4:5:6:7",
                             "1:2:3:4:5:6:7:8:9",
                             "1::2::3",
                             "12345::",
                             "::g",
                             "fe80::1%eth0",
                             "::1/64",
                             "1:2:3:4:5:6:7:8::",
                             "1.2.3.4::",
                             "::1.2.3.4:5",
                             "1:2:3:4:5:6:7:1.2.3.4",
                             "::1:",
                             ":1::",
                             "1:2:3:4:5:6:7:",
                             "::1.2.3",
                             "::ffff:1.2.3.4.5",
                             "0x1::"}) {
        EXPECT_EQ(again(text), "refused") << '"' << text << '"';
    }
}

TEST(IpAddress, EveryAddressSurvivesItsOwnNotation) {
    std::mt19937 random{4291};
    for (int i = 0; i < 20'000; ++i) {
        IpAddress address;
        for (auto& word : address.words) {
            // Many zero groups, so that every shape of "::" occurs.
            const auto bits = static_cast<uint32_t>(random());
            word = static_cast<uint32_t>(random()) & (bits % 3 == 0 ? 0xffff'ffff : bits % 3 == 1 ? 0xffff : 0);
        }
        EXPECT_EQ(IpAddress::parse(address.to_string()), address) << address.to_string();
    }
}

TEST(IpAddress, NamesTheAddressesThatAreNoPeers) {
    const auto parsed = [](const char* text) { return IpAddress::parse(text).value(); };
    EXPECT_TRUE(parsed("0.0.0.0").is_unspecified());
    EXPECT_TRUE(parsed("::").is_unspecified());
    EXPECT_TRUE(IpAddress{}.is_unspecified());
    EXPECT_FALSE(parsed("0.0.0.1").is_unspecified());
    EXPECT_TRUE(parsed("127.255.0.1").is_loopback());
    EXPECT_TRUE(parsed("::1").is_loopback());
    EXPECT_FALSE(parsed("128.0.0.1").is_loopback());
    EXPECT_TRUE(parsed("224.0.0.1").is_multicast());
    EXPECT_TRUE(parsed("239.255.255.255").is_multicast());
    EXPECT_TRUE(parsed("ff02::1").is_multicast());
    EXPECT_FALSE(parsed("240.0.0.0").is_multicast());
    EXPECT_TRUE(parsed("255.255.255.255").is_limited_broadcast());
    EXPECT_TRUE(parsed("240.0.0.0").is_reserved());
    EXPECT_FALSE(parsed("255.255.255.255").is_reserved());
    EXPECT_FALSE(parsed("239.0.0.1").is_reserved());
    EXPECT_FALSE(parsed("2001:db8::1").is_v4());
}

TEST(Endpoint, PrintsIpv6InBrackets) {
    EXPECT_EQ((Endpoint{IpAddress::from_v4(0xc000'0201), 80}.to_string()), "192.0.2.1:80");
    EXPECT_EQ((Endpoint{IpAddress::parse("2001:db8::1").value(), 443}.to_string()), "[2001:db8::1]:443");
}

TEST(IpAddress, LinkLocalAndSolicitedNodeRangesEndWhereTheyShould) {
    const auto link_local = [](const char* text) { return IpAddress::parse(text)->is_link_local(); };
    for (const auto* text : {"fe80::", "fe80::1", "febf:ffff::", "169.254.0.0", "169.254.255.255"}) {
        EXPECT_TRUE(link_local(text)) << text;
    }
    for (const auto* text : {"fe7f:ffff::", "fec0::", "::", "2001:db8::fe80", "169.253.255.255", "169.255.0.0"}) {
        EXPECT_FALSE(link_local(text)) << text;
    }
    const auto solicited = [](const char* text) { return IpAddress::parse(text)->is_solicited_node(); };
    EXPECT_TRUE(solicited("ff02::1:ff00:0"));
    EXPECT_TRUE(solicited("ff02::1:ffff:ffff"));
    for (const auto* text : {"ff02::1:fe00:0", "ff02::2:ff00:0", "ff02::1:1:ff00:0", "ff05::1:ff00:0", "ff02::1"}) {
        EXPECT_FALSE(solicited(text)) << text;
    }
}

}  // namespace
}  // namespace pollux::tcp
