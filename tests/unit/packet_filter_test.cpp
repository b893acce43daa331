// Compiled rules against the list that they were compiled from, read line by line: whatever the rules are, both say the
// same of every packet.
#include "engine/packet_filter.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>

namespace pollux::testing {
namespace {

using config::Filter;
using config::FilterAction;
using config::PortRange;
using config::Prefix;
using engine::Judgement;
using engine::Rulebook;
using tcp::IpAddress;

IpAddress address(const std::string& text) { return *IpAddress::parse(text); }

Prefix network(const std::string& text) {
    const size_t slash = text.find('/');
    return {address(text.substr(0, slash)), static_cast<uint8_t>(std::stoi(text.substr(slash + 1)))};
}

struct Say {
    FilterAction action = FilterAction::deny;
    std::string from = {};
    std::optional<PortRange> ports = {};
    std::string to = {};
};

Filter rule(const Say& say) {
    Filter made;
    made.action = say.action;
    if (!say.from.empty()) made.from = network(say.from);
    made.ports = say.ports;
    if (!say.to.empty()) made.to = network(say.to);
    return made;
}

Rulebook book(const std::vector<Say>& rules) {
    std::vector<Filter> made;
    for (const Say& say : rules) made.push_back(rule(say));
    return Rulebook{std::move(made)};
}

Judgement judge(const Rulebook& rules, const IpAddress& from, const IpAddress& to, uint16_t port) {
    return from.is_v4() ? rules.judge_v4(from.v4(), to.v4(), port) : rules.judge_v6(from, to, port);
}
Judgement judge(const Rulebook& rules, const std::string& from, uint16_t port = 80, const std::string& to = "") {
    const IpAddress peer = address(from);
    return judge(rules, peer, address(!to.empty() ? to : peer.is_v4() ? "192.0.2.1" : "2001:db8::1"), port);
}

/// The definition: the first rule that fits.
Judgement read_line_by_line(const std::vector<Filter>& rules, const IpAddress& from, const IpAddress& to,
                            uint16_t port) {
    for (uint32_t i = 0; i < rules.size(); ++i) {
        const Filter& r = rules[i];
        if (r.from && !r.from->contains(from)) continue;
        if (r.to && !r.to->contains(to)) continue;
        if (r.ports && !r.ports->contains(port)) continue;
        return {i, r.action == FilterAction::deny};
    }
    return {static_cast<uint32_t>(rules.size()), false};
}

constexpr Judgement denied_by(uint32_t rule) { return {rule, true}; }
constexpr Judgement allowed_by(uint32_t rule) { return {rule, false}; }

TEST(PacketFilter, WhatNoRuleFitsIsAllowed) {
    const Rulebook none = book({});
    EXPECT_EQ(judge(none, "203.0.113.7"), allowed_by(0));
    EXPECT_EQ(judge(none, "2001:db8:9::7"), allowed_by(0));
    const Rulebook one = book({{.from = "203.0.113.0/24"}});
    EXPECT_EQ(judge(one, "203.0.113.0"), denied_by(0));
    EXPECT_EQ(judge(one, "203.0.113.255"), denied_by(0));
    EXPECT_EQ(judge(one, "203.0.112.255"), allowed_by(1));
    EXPECT_EQ(judge(one, "203.0.114.0"), allowed_by(1));
    EXPECT_EQ(judge(one, "2001:db8::7"), allowed_by(1));
}

TEST(PacketFilter, TheFirstRuleThatFitsDecidesNotTheNarrowest) {
    const Rulebook wide_first = book({{.from = "10.0.0.0/8"}, {FilterAction::allow, "10.1.2.3/32"}});
    EXPECT_EQ(judge(wide_first, "10.1.2.3"), denied_by(0));
    const Rulebook narrow_first = book({{FilterAction::allow, "10.1.2.3/32"}, {.from = "10.0.0.0/8"}});
    EXPECT_EQ(judge(narrow_first, "10.1.2.3"), allowed_by(0));
    EXPECT_EQ(judge(narrow_first, "10.1.2.2"), denied_by(1));
    EXPECT_EQ(judge(narrow_first, "10.1.2.4"), denied_by(1));
}

TEST(PacketFilter, ARuleWithoutSourceHoldsForBothFamilies) {
    const Rulebook closed = book({{FilterAction::allow, "192.0.2.0/24"}, {FilterAction::allow, "2001:db8::/32"}, {}});
    EXPECT_EQ(judge(closed, "192.0.2.9"), allowed_by(0));
    EXPECT_EQ(judge(closed, "198.51.100.9"), denied_by(2));
    EXPECT_EQ(judge(closed, "2001:db8:5::1"), allowed_by(1));
    EXPECT_EQ(judge(closed, "2001:db9::1"), denied_by(2));
    const Rulebook families = book({{.from = "0.0.0.0/0"}, {.from = "::/0", .ports = PortRange{22, 22}}});
    EXPECT_EQ(judge(families, "192.0.2.9", 22), denied_by(0));
    EXPECT_EQ(judge(families, "0.0.0.1", 22), denied_by(0));
    EXPECT_EQ(judge(families, "255.255.255.254", 22), denied_by(0));
    EXPECT_EQ(judge(families, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 22), denied_by(1));
    EXPECT_EQ(judge(families, "2001:db8::1", 23), allowed_by(2));
}

TEST(PacketFilter, PortsAndDestinationsNarrowARule) {
    const Rulebook rules = book({{.from = "10.0.0.0/8", .ports = PortRange{8000, 8099}, .to = "192.0.2.1/32"},
                                 {FilterAction::allow, "10.0.0.0/8", PortRange{1, 65'535}},
                                 {.from = "10.0.0.0/8"}});
    EXPECT_EQ(judge(rules, "10.9.9.9", 8000), denied_by(0));
    EXPECT_EQ(judge(rules, "10.9.9.9", 8099), denied_by(0));
    EXPECT_EQ(judge(rules, "10.9.9.9", 7999), allowed_by(1));
    EXPECT_EQ(judge(rules, "10.9.9.9", 8100), allowed_by(1));
    EXPECT_EQ(judge(rules, "10.9.9.9", 8050, "192.0.2.2"), allowed_by(1));
    EXPECT_EQ(judge(rules, "10.9.9.9", 65'535), allowed_by(1));
    EXPECT_EQ(judge(rules, "10.9.9.9", 0), denied_by(2)) << "a ping has no port";
}

TEST(PacketFilter, EveryPortMayHaveARuleOfItsOwn) {
    std::vector<Say> rules;
    for (uint16_t i = 0; i < 1'000; ++i) {
        const auto port = static_cast<uint16_t>(65'535 - 60 * i);
        rules.push_back({i % 2 == 0 ? FilterAction::deny : FilterAction::allow, {}, PortRange{port, port}, {}});
    }
    const Rulebook compiled = book(rules);
    for (uint32_t port = 0; port <= 65'535; ++port) {
        const uint32_t i = (65'535 - port) / 60;
        const bool has_rule = (65'535 - port) % 60 == 0 && i < 1'000;
        EXPECT_EQ(judge(compiled, "10.9.9.9", static_cast<uint16_t>(port)),
                  (has_rule ? Judgement{i, i % 2 == 0} : allowed_by(1'000)));
    }
}

// ---- Against the list. --------------------------------------------------------------------------------------------

/// Draws rules and packets that are near each other, so that networks nest, touch and are hit.
class Draw {
public:
    explicit Draw(uint32_t seed) : random_(seed), v6_(seed % 3 == 1), both_(seed % 3 == 2) {}

    uint32_t below(uint32_t bound) { return std::uniform_int_distribution<uint32_t>{0, bound - 1}(random_); }
    bool one_in(uint32_t n) { return below(n) == 0; }

    std::vector<Filter> rules(size_t count, uint32_t with_ports, uint32_t with_destination) {
        std::vector<Filter> made(count);
        for (size_t i = 0; i < count; ++i) {
            Filter& r = made[i];
            const bool late = i >= count * 3 / 4;  // what fits nearly everything stands near the end
            r.action = one_in(2) ? FilterAction::deny : FilterAction::allow;
            const bool v6 = family();
            if (!late || !one_in(30)) r.from = some_network(v6, late);
            if (one_in(with_ports)) {
                const uint32_t first = 1 + (one_in(2) ? below(65'535) : below(100));
                const uint32_t last = one_in(2) ? first : first + below(65'536 - first);
                r.ports = PortRange{static_cast<uint16_t>(first), static_cast<uint16_t>(last)};
            }
            if (one_in(with_destination)) r.to = some_network(v6, true);
        }
        return made;
    }
    /// An address at or beside the border of a network of the rules, or any.
    IpAddress near(const std::vector<Filter>& rules, bool v6, bool destination) {
        const auto& r = rules[below(static_cast<uint32_t>(rules.size()))];
        const auto& network = destination ? r.to : r.from;
        if (!network || network->address.is_v4() == v6 || one_in(8)) return any_address(v6);
        IpAddress found = network->address;
        const uint32_t host_bits = (v6 ? 128u : 32u) - network->length;
        for (uint32_t bit = 0; bit < host_bits; ++bit) found.words[3 - bit / 32] |= 1u << bit % 32;  // the last
        const uint32_t where = below(4);
        if (where == 0) found = network->address;
        if (where == 1) {  // the one before the first
            found = network->address;
            for (int word = 3; word >= (v6 ? 0 : 3) && found.words[size_t(word)]-- == 0; --word) {}
        }
        if (where == 2) {  // the one behind the last
            for (int word = 3; word >= (v6 ? 0 : 3) && ++found.words[size_t(word)] == 0; --word) {}
        }
        return found;
    }
    bool family() { return both_ ? one_in(2) : v6_; }

private:
    uint32_t any_word() { return static_cast<uint32_t>(random_()); }
    IpAddress any_address(bool v6) {
        if (!v6) return IpAddress::from_v4(one_in(2) ? any_word() : 0x0a00'0000 | below(1 << 18));
        IpAddress made{{any_word(), any_word(), any_word(), any_word()}};
        if (!one_in(3)) made.words[0] = 0x2001'0db8;
        if (!one_in(3)) made.words[1] = below(4) << 16;
        if (made.is_v4()) made.words[0] = 1;
        return made;
    }
    Prefix some_network(bool v6, bool wide) {
        const uint32_t longest = v6 ? 128 : 32, shortest = v6 ? (wide ? 20 : 36) : wide ? 8 : 15;
        const uint32_t drawn = wide && one_in(20) ? 0 : shortest + below(longest - shortest + 1);
        const auto length = static_cast<uint8_t>(drawn);
        Prefix made{any_address(v6), length};
        const uint32_t host_bits = (v6 ? 128u : 32u) - length;
        for (uint32_t bit = 0; bit < host_bits; ++bit) made.address.words[3 - bit / 32] &= ~(1u << bit % 32);
        return made;
    }
    std::mt19937 random_;
    bool v6_, both_;
};

struct Shape {
    const char* name;
    size_t rules;
    uint32_t with_ports, with_destination;  // one rule in so many
};

class CompiledRules : public ::testing::TestWithParam<Shape> {};

TEST_P(CompiledRules, SayOfEveryPacketWhatTheListSays) {
    const Shape& shape = GetParam();
    for (uint32_t seed = 0; seed < 30; ++seed) {
        Draw draw{seed * 7 + static_cast<uint32_t>(shape.rules)};
        const std::vector<Filter> rules = draw.rules(shape.rules, shape.with_ports, shape.with_destination);
        const Rulebook compiled{rules};
        std::vector<uint32_t> hits(rules.size() + 1);
        for (int probe = 0; probe < 2'000; ++probe) {
            const bool v6 = draw.family();
            const IpAddress from = draw.near(rules, v6, false), to = draw.near(rules, v6, true);
            const auto port = static_cast<uint16_t>(draw.one_in(2) ? draw.below(65'536) : draw.below(120));
            const Judgement expected = read_line_by_line(rules, from, to, port);
            ASSERT_EQ(judge(compiled, from, to, port), expected)
                << "seed " << seed << ": " << from.to_string() << " to " << to.to_string() << " port " << port;
            ++hits[expected.rule];
        }
        if (shape.rules < 100) continue;
        const auto met = std::count_if(hits.begin(), hits.end(), [](uint32_t n) { return n > 0; });
        EXPECT_GT(met, 10) << "the packets of seed " << seed << " meet too few rules to say anything";
    }
}

INSTANTIATE_TEST_SUITE_P(, CompiledRules,
                         ::testing::Values(Shape{"One", 1, 2, 2}, Shape{"Few", 12, 2, 2},
                                           Shape{"SourcesAlone", 300, 1u << 30, 1u << 30},
                                           Shape{"SourcesAndPorts", 300, 2, 1u << 30},
                                           Shape{"AllThree", 200, 2, 2}, Shape{"Thousand", 1'000, 3, 10}),
                         [](const auto& shape) { return shape.param.name; });

TEST(PacketFilter, AsManyRulesAsMayBeAreCompiledInBoundedMemory) {
    Draw draw{2};
    std::vector<Filter> rules = draw.rules(config::most_filters, 3, 3);
    const Rulebook compiled{rules};
    EXPECT_LT(compiled.memory_bytes(), size_t{256} << 20);
    for (int probe = 0; probe < 2'000; ++probe) {
        const bool v6 = draw.family();
        const IpAddress from = draw.near(rules, v6, false), to = draw.near(rules, v6, true);
        const auto port = static_cast<uint16_t>(draw.below(65'536));
        ASSERT_EQ(judge(compiled, from, to, port), read_line_by_line(rules, from, to, port));
    }
}

}  // namespace
}  // namespace pollux::testing
