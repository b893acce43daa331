// Rulebook: the rules of [[filter]], compiled once so that a packet costs the same whether there are ten rules or a
// thousand. The first rule that fits decides; a packet that none fits is allowed. No DPDK in here, and nothing that
// changes: all workers read the same one (gate.hpp).
//
// The order of the rules is worked out when they are compiled. Every peer's address falls into a case: the list of the
// rules that its network fits, in their order, as far as the first that asks for nothing else. Most cases are verdicts
// at once; the others depend on our address, our port or both.
//
//     IPv4   first 16 bits ── next 8 ── last 8 ──> case      three loads, always: no branch that a flood could fool
//     IPv6   a binary search among the ends of all networks
//     case   a verdict; or the same search among our addresses; or up to eight borders of ports in one cache line, or,
//            when there are more, two steps of 8 bits
//
// Port 0 is no port of a rule, so it stands for what has none: a ping is judged by the rules without ports.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "config/settings.hpp"
#include "tcp/address.hpp"

namespace pollux::engine {

/// What a packet ends with: the rule's place in the settings, or their number if none fits; and whether it is denied.
struct Judgement {
    uint32_t rule = 0;
    bool denied = false;
    constexpr bool operator==(const Judgement&) const = default;
};

class Rulebook {
public:
    /// `rules`: at most config::most_filters, each with an action. Throws one sentence when their combinations need
    /// too much memory.
    explicit Rulebook(std::vector<config::Filter> rules);

    const std::vector<config::Filter>& rules() const { return rules_; }
    size_t memory_bytes() const;

    /// Of a packet of IPv4, addresses in host order. `port`: ours, 0 if it has none.
    Judgement judge_v4(uint32_t source, uint32_t destination, uint16_t port) const {
        uint32_t cell = top_[source >> 16];
        cell = cells_[step(cell, source >> 8)];
        cell = cells_[step(cell, source)];
        Case found = cases_[cell];
        if (found.kind() != Case::Kind::verdict) [[unlikely]] {
            found = settle(found, tcp::IpAddress::from_v4(destination), port);
        }
        return found.judgement();
    }
    /// Of a packet of IPv6.
    Judgement judge_v6(const tcp::IpAddress& source, const tcp::IpAddress& destination, uint16_t port) const {
        Case found = search({0, static_cast<uint32_t>(sources_v6_)}, source);
        if (found.kind() != Case::Kind::verdict) found = settle(found, destination, port);
        return found.judgement();
    }
    /// Brings near what judge_v4() will read first, and, once that is here, what it will read next.
    void prefetch_v4(uint32_t source) const { __builtin_prefetch(&top_[source >> 16]); }
    void prefetch_v4_further(uint32_t source) const {
        __builtin_prefetch(&cells_[step(top_[source >> 16], source >> 8)]);
    }

private:
    /// What a list of rules comes to, in one word.
    class Case {
    public:
        enum class Kind : uint32_t { verdict, destinations, few_ports, many_ports };
        constexpr Case() = default;
        constexpr Case(Kind kind, size_t index)
            : raw_(static_cast<uint32_t>(kind) << 30 | static_cast<uint32_t>(index)) {}
        static constexpr Case verdict(size_t rule, bool denied) {
            return {Kind::verdict, rule | (denied ? denied_bit : 0)};
        }
        constexpr Kind kind() const { return static_cast<Kind>(raw_ >> 30); }
        constexpr uint32_t index() const { return raw_ & 0x3fff'ffff; }
        constexpr Judgement judgement() const { return {raw_ & 0xffff, (raw_ & denied_bit) != 0}; }
        constexpr bool operator==(const Case&) const = default;

    private:
        static constexpr uint32_t denied_bit = 1u << 16;
        uint32_t raw_ = 0;
    };
    using Key = unsigned __int128;
    /// The case of all addresses from here to the next border.
    struct Border {
        Key from;
        Case then;
    };
    struct Borders {
        uint32_t first, count;  // in borders_
    };
    /// The cases of ports, up to the first border, between each two, and behind the last.
    struct alignas(64) PortLine {
        static constexpr size_t most = 8;
        std::array<uint16_t, most> from;
        std::array<Case, most + 1> then;
    };
    static_assert(sizeof(PortLine) == 64);
    using PortPage = std::array<Case, 256>;

    // A cell is the number of a page of 256 cells with `page` set, or a case. The cells of the first pages are the
    // cases themselves, each its own next step, so that every address takes the same number of steps.
    static constexpr uint32_t page = 0x8000;
    static constexpr size_t step(uint32_t cell, uint32_t byte) {
        const uint32_t is_page = cell >> 15;
        return ((cell & 0x7fff) << (is_page * 8)) + (byte & 0xff & (0 - is_page));
    }
    static constexpr Key key_of(const tcp::IpAddress& a) {
        return Key{uint64_t{a.words[0]} << 32 | a.words[1]} << 64 | (uint64_t{a.words[2]} << 32 | a.words[3]);
    }
    Case search(Borders where, const tcp::IpAddress& address) const {
        const Key key = key_of(address);
        const Border* at = borders_.data() + where.first;
        for (uint32_t left = where.count; left > 1;) {
            const uint32_t half = left / 2;
            at += at[half].from <= key ? half : 0;
            left -= half;
        }
        return at->then;
    }
    Case settle(Case found, const tcp::IpAddress& destination, uint16_t port) const {
        if (found.kind() == Case::Kind::destinations) found = search(destinations_[found.index()], destination);
        if (found.kind() == Case::Kind::few_ports) {
            const PortLine& line = lines_[found.index()];
            uint32_t passed = 0;
            for (const uint16_t from : line.from) passed += from <= port ? 1 : 0;
            return line.then[passed];
        }
        if (found.kind() == Case::Kind::many_ports) found = pages_[found.index()][port >> 8];
        if (found.kind() == Case::Kind::many_ports) found = pages_[found.index()][port & 0xff];
        return found;
    }

    class Compiler;

    std::vector<config::Filter> rules_;
    std::vector<uint16_t> top_;    // of IPv4 sources, by their first 16 bits
    std::vector<uint16_t> cells_;  // the cases that IPv4 sources come to, then pages
    std::vector<Case> cases_;
    std::vector<Border> borders_;  // of IPv6 sources, then of our addresses in each case that asks for them
    size_t sources_v6_ = 0;
    std::vector<Borders> destinations_;
    std::vector<PortLine> lines_;
    std::vector<PortPage> pages_;
};

}  // namespace pollux::engine
