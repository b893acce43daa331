// What filtering at the gate costs an IPv4 packet: a rulebook of 1,000 rules, as a turn asks it in bursts of 32. "cycles" is per packet, in TSC cycles, of the median
// burst; the packets are drawn outside of it.
#include <array>
#include <cstdlib>
#include <memory>
#include <vector>

#include "bench/cycles.hpp"
#include "engine/packet_filter.hpp"

namespace pollux::engine {
namespace {

using bench::BurstCycles;
using bench::Xorshift;
using config::Filter;
using config::FilterAction;
using config::Prefix;
using tcp::IpAddress;

constexpr uint32_t burst = 32;
constexpr uint32_t our_v4 = 0xc000'0201;
constexpr IpAddress our_v6{{0x2001'0db8, 0, 0, 1}};

uint32_t draw(Xorshift& random) { return random.below(1 << 16) << 16 | random.below(1 << 16); }

Prefix network(uint32_t address, uint32_t length) {
    return {IpAddress::from_v4(length == 0 ? 0 : address >> (32 - length) << (32 - length)),
            static_cast<uint8_t>(length)};
}

// Networks of 16 to 32 bits anywhere; every third rule is for one port or a range.
std::vector<Filter> rules_v4(uint32_t count, bool with_ports) {
    Xorshift random;
    std::vector<Filter> rules(count);
    for (uint32_t i = 0; i < count; ++i) {
        rules[i].action = random.below(4) == 0 ? FilterAction::allow : FilterAction::deny;
        rules[i].from = network(draw(random), 16 + random.below(17));
        if (!with_ports || i % 3 != 0) continue;
        const auto first = static_cast<uint16_t>(1 + random.below(1'000));
        rules[i].ports = config::PortRange{first, static_cast<uint16_t>(first + random.below(2) * 100)};
    }
    return rules;
}

std::vector<Filter> rules_v6(uint32_t count) {
    Xorshift random;
    std::vector<Filter> rules(count);
    for (Filter& rule : rules) {
        rule.action = FilterAction::deny;
        rule.from = Prefix{{{0x2a00'0000 | random.below(1 << 20), random.below(1 << 16) << 16, 0, 0}},
                           static_cast<uint8_t>(48)};
    }
    return rules;
}

enum class From { anywhere, rules };  // where packets come from: all over the world, or from networks of the rules

uint32_t source(Xorshift& random, const std::vector<Filter>& rules, From from) {
    const uint32_t any = draw(random);
    if (from == From::anywhere) return any;
    const Prefix& network = *rules[random.below(static_cast<uint32_t>(rules.size()))].from;
    return network.address.v4() | (network.length == 32 ? 0 : any >> network.length);
}

void judge_v4(benchmark::State& state, const std::vector<Filter>& rules, From from) {
    const Rulebook book{rules};
    std::vector<uint64_t> hits(rules.size() + 1);
    Xorshift random;
    BurstCycles cycles;
    std::array<uint32_t, burst> sources;
    std::array<uint16_t, burst> ports;
    uint64_t denied = 0;
    for (auto _ : state) {
        for (uint32_t i = 0; i < burst; ++i) {
            sources[i] = source(random, rules, from);
            ports[i] = static_cast<uint16_t>(random.below(2'000));
        }
        cycles.start();
        for (const uint32_t each : sources) book.prefetch_v4(each);
        for (const uint32_t each : sources) book.prefetch_v4_further(each);
        for (uint32_t i = 0; i < burst; ++i) {
            const Judgement judgement = book.judge_v4(sources[i], our_v4, ports[i]);
            ++hits[judgement.rule];
            denied += judgement.denied ? 1 : 0;
        }
        cycles.stop();
    }
    benchmark::DoNotOptimize(denied);
    cycles.report(state, burst);
}

void judge_v6(benchmark::State& state, From from) {
    const std::vector<Filter> rules = rules_v6(1'000);
    const Rulebook book{rules};
    std::vector<uint64_t> hits(rules.size() + 1);
    Xorshift random;
    BurstCycles cycles;
    std::array<IpAddress, burst> sources;
    uint64_t denied = 0;
    for (auto _ : state) {
        for (IpAddress& each : sources) {
            each = from == From::rules ? rules[random.below(1'000)].from->address
                                       : IpAddress{{0x2a00'0000 | random.below(1 << 20), draw(random), 0, 0}};
            each.words[3] = draw(random);
        }
        cycles.start();
        for (const IpAddress& each : sources) {
            const Judgement judgement = book.judge_v6(each, our_v6, 80);
            ++hits[judgement.rule];
            denied += judgement.denied ? 1 : 0;
        }
        cycles.stop();
    }
    benchmark::DoNotOptimize(denied);
    cycles.report(state, burst);
}

[[maybe_unused]] const bool registered = [] {
    const auto add = [](const char* name, auto run) { benchmark::RegisterBenchmark(name, run); };
    add("filter/1000_rules/anywhere", [](auto& state) { judge_v4(state, rules_v4(1'000, false), From::anywhere); });
    add("filter/1000_rules/from_their_networks",
        [](auto& state) { judge_v4(state, rules_v4(1'000, false), From::rules); });
    add("filter/1000_rules_with_ports/anywhere",
        [](auto& state) { judge_v4(state, rules_v4(1'000, true), From::anywhere); });
    add("filter/1000_rules_with_ports/from_their_networks",
        [](auto& state) { judge_v4(state, rules_v4(1'000, true), From::rules); });
    add("filter/10_rules/anywhere", [](auto& state) { judge_v4(state, rules_v4(10, false), From::anywhere); });
    add("filter/1000_rules_v6/anywhere", [](auto& state) { judge_v6(state, From::anywhere); });
    add("filter/1000_rules_v6/from_their_networks", [](auto& state) { judge_v6(state, From::rules); });
    return true;
}();

}  // namespace
}  // namespace pollux::engine

BENCHMARK_MAIN();
