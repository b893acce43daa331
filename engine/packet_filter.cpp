// The compiler of rulebooks: from an ordered list to what packet_filter.hpp draws. It runs on a thread beside the
// workers, at start and at each reload.
#include "engine/packet_filter.hpp"

#include <algorithm>
#include <set>
#include <stdexcept>
#include <string>

namespace pollux::engine {

class Rulebook::Compiler {
public:
    explicit Compiler(Rulebook& book) : book_(book), rules_(book.rules_) {}

    void compile() {
        book_.borders_ = sources(Family::v6);
        book_.sources_v6_ = book_.borders_.size();
        make_steps(sources(Family::v4));
        book_.borders_.insert(book_.borders_.end(), destinations_.begin(), destinations_.end());
        for (Borders& borders : book_.destinations_) borders.first += static_cast<uint32_t>(book_.sources_v6_);
    }

private:
    enum class Family : uint8_t { v4, v6 };
    using Rule = uint16_t;            // its place
    using Rules = std::vector<Rule>;  // in their order
    static constexpr size_t most_bytes = size_t{256} << 20;
    static constexpr Key none = 0;  // the key behind the last one, wrapped

    // ---- Networks as ranges of keys. --------------------------------------------------------------------------

    static Key first_of(const config::Prefix& network) { return key_of(network.address); }
    /// The key behind the network's last; `none` for one that ends with the last address.
    static Key end_of(const config::Prefix& network) {
        const uint32_t host_bits = (network.address.is_v4() ? 32u : 128u) - network.length;
        return host_bits == 128 ? none : first_of(network) + (Key{1} << host_bits);
    }
    static bool is_of(Family family, const std::optional<config::Prefix>& network) {
        return !network || network->address.is_v4() == (family == Family::v4);
    }

    /// Walks `candidates` along the keys: `decide(rules)` says what the rules whose network holds a key come to, and
    /// the answer stands from that key on. Rules without a network hold everywhere.
    template <class NetworkOf, class Decide>
    std::vector<Border> sweep(const Rules& candidates, NetworkOf&& network_of, Decide&& decide) {
        std::vector<std::pair<Key, Rule>> begins, ends;
        std::set<Rule> active;
        std::set<Key> stops{0};
        for (const Rule rule : candidates) {
            const auto& network = network_of(rules_[rule]);
            if (!network) {
                active.insert(rule);
                continue;
            }
            begins.emplace_back(first_of(*network), rule);
            stops.insert(first_of(*network));
            if (end_of(*network) == none) continue;
            ends.emplace_back(end_of(*network), rule);
            stops.insert(end_of(*network));
        }
        std::ranges::sort(begins);
        std::ranges::sort(ends);
        std::vector<Border> borders;
        auto begin = begins.cbegin(), end = ends.cbegin();
        for (const Key stop : stops) {
            for (; end != ends.cend() && end->first == stop; ++end) active.erase(end->second);
            for (; begin != begins.cend() && begin->first == stop; ++begin) active.insert(begin->second);
            const Case then = decide(active);
            if (borders.empty() || !(borders.back().then == then)) borders.push_back({stop, then});
        }
        return borders;
    }

    // ---- Cases. -------------------------------------------------------------------------------------------------

    std::vector<Border> sources(Family family) {
        Rules candidates;
        for (size_t i = 0; i < rules_.size(); ++i) {
            if (is_of(family, rules_[i].from) && is_of(family, rules_[i].to)) candidates.push_back(Rule(i));
        }
        const auto network_of = [](const config::Filter& rule) -> const auto& { return rule.from; };
        return sweep(candidates, network_of, [&](const std::set<Rule>& active) {
            return case_of(up_to_first(active, [](const config::Filter& rule) { return !rule.has_conditions(); }));
        });
    }

    /// Nothing behind the first rule that always fits can matter.
    template <class Fits>
    Rules up_to_first(const std::set<Rule>& active, Fits&& always_fits) const {
        Rules list;
        for (const Rule rule : active) {
            list.push_back(rule);
            if (always_fits(rules_[rule])) break;
        }
        return list;
    }

    Case verdict(const Rules& list) const {
        if (list.empty()) return Case::verdict(rules_.size(), false);
        return Case::verdict(list[0], rules_[list[0]].action == config::FilterAction::deny);
    }

    Case case_of(const Rules& list) {
        if (list.empty() || !rules_[list[0]].has_conditions()) return verdict(list);
        const auto [known, is_new] = cases_.try_emplace(list);
        if (is_new) known->second = by_destination(list);
        return known->second;
    }

    Case by_destination(const Rules& list) {
        const auto network_of = [](const config::Filter& rule) -> const auto& { return rule.to; };
        const std::vector<Border> borders = sweep(list, network_of, [&](const std::set<Rule>& active) {
            return by_port(up_to_first(active, [](const config::Filter& rule) { return !rule.ports; }));
        });
        if (borders.size() == 1) return borders[0].then;
        charge(borders.size() * sizeof(Border));
        book_.destinations_.push_back(
            {static_cast<uint32_t>(destinations_.size()), static_cast<uint32_t>(borders.size())});
        destinations_.insert(destinations_.end(), borders.begin(), borders.end());
        return {Case::Kind::destinations, book_.destinations_.size() - 1};
    }

    Case by_port(const Rules& list) {
        if (list.empty() || !rules_[list[0]].ports) return verdict(list);
        const auto [known, is_new] = ports_.try_emplace(list);
        if (is_new) known->second = port_case(list);
        return known->second;
    }

    // ---- Ports. -------------------------------------------------------------------------------------------------

    struct PortBorder {
        uint32_t from;
        Case then;
    };

    std::vector<PortBorder> port_borders(const Rules& list) const {
        std::map<uint32_t, std::pair<Rules, Rules>> stops;  // who begins and who ends there
        std::set<Rule> active;
        stops[0];
        for (const Rule rule : list) {
            const auto& ports = rules_[rule].ports;
            if (!ports) {
                active.insert(rule);
                continue;
            }
            stops[ports->first].first.push_back(rule);
            if (ports->last < 65'535) stops[ports->last + 1u].second.push_back(rule);
        }
        std::vector<PortBorder> borders;
        for (const auto& [stop, who] : stops) {
            for (const Rule rule : who.second) active.erase(rule);
            active.insert(who.first.begin(), who.first.end());
            const Case then = verdict(active.empty() ? Rules{} : Rules{*active.begin()});
            if (borders.empty() || !(borders.back().then == then)) borders.push_back({stop, then});
        }
        return borders;
    }

    Case port_case(const Rules& list) {
        const std::vector<PortBorder> borders = port_borders(list);
        if (borders.size() == 1) return borders[0].then;
        if (borders.size() > PortLine::most + 1) return many_ports(borders);
        charge(sizeof(PortLine));
        PortLine line;
        line.from.fill(65'535);  // behind the last border all say the same, so that port 65535 may pass them too
        line.then.fill(borders.back().then);
        for (size_t i = 0; i < borders.size(); ++i) {
            if (i > 0) line.from[i - 1] = static_cast<uint16_t>(borders[i].from);
            line.then[i] = borders[i].then;
        }
        book_.lines_.push_back(line);
        return {Case::Kind::few_ports, book_.lines_.size() - 1};
    }

    Case many_ports(const std::vector<PortBorder>& borders) {
        PortPage top;
        for (uint32_t high = 0; high < 256; ++high) top[high] = port_page(borders, high << 8);
        return add_page(top);
    }
    // 256 ports from `first` on, in one word if they are all the same.
    Case port_page(const std::vector<PortBorder>& borders, uint32_t first) {
        const auto behind = [&](uint32_t port) {
            return std::ranges::upper_bound(borders, port, {}, &PortBorder::from);
        };
        auto next = behind(first);
        if (next == behind(first + 255)) return std::prev(next)->then;
        PortPage made;
        for (uint32_t low = 0; low < 256; ++low) {
            if (next != borders.end() && next->from == first + low) ++next;
            made[low] = std::prev(next)->then;
        }
        return add_page(made);
    }
    Case add_page(const PortPage& made) {
        charge(sizeof(PortPage));
        book_.pages_.push_back(made);
        return {Case::Kind::many_ports, book_.pages_.size() - 1};
    }

    // ---- The steps of IPv4. ---------------------------------------------------------------------------------------

    // Few: a border begins at most one page of each level.
    void make_steps(const std::vector<Border>& borders) {
        constexpr Key v4 = Key{0xffff} << 32;
        std::vector<std::pair<uint32_t, uint16_t>> ranges;  // from this address on, this place in cases_
        std::map<uint64_t, uint16_t> places;
        for (const Border& border : borders) {
            if (border.from > v4 && (border.from - v4) >> 32 != 0) break;
            const uint64_t raw = uint64_t{static_cast<uint32_t>(border.then.kind())} << 32 | border.then.index();
            const auto [known, is_new] = places.try_emplace(raw, static_cast<uint16_t>(book_.cases_.size()));
            if (is_new) book_.cases_.push_back(border.then);
            const uint32_t from = border.from <= v4 ? 0 : static_cast<uint32_t>(border.from - v4);
            if (!ranges.empty() && ranges.back().first == from) ranges.pop_back();
            ranges.emplace_back(from, known->second);
        }
        for (size_t i = 0; i < book_.cases_.size(); ++i) book_.cells_.push_back(static_cast<uint16_t>(i));
        book_.cells_.resize((book_.cells_.size() + 255) / 256 * 256);
        book_.top_.resize(1u << 16);
        auto next = ranges.cbegin();
        for (uint32_t i = 0; i < 1u << 16; ++i) book_.top_[i] = cell_of(ranges, next, i << 16, 16);
    }

    // What stands for the 2^bits addresses from `first` on. `next`: the first range that begins behind `first`, or
    // there; it moves on with the addresses.
    template <class Ranges, class Next>
    uint16_t cell_of(const Ranges& ranges, Next& next, uint32_t first, uint32_t bits) {
        while (next != ranges.cend() && next->first <= first) ++next;
        const uint32_t last = first + ((1u << bits) - 1);
        if (next == ranges.cend() || next->first > last) return std::prev(next)->second;
        const size_t number = book_.cells_.size() >> 8;
        book_.cells_.resize(book_.cells_.size() + 256);
        for (uint32_t i = 0; i < 256; ++i) {
            const uint16_t cell = cell_of(ranges, next, first + (i << (bits - 8)), bits - 8);
            book_.cells_[(number << 8) + i] = cell;
        }
        return static_cast<uint16_t>(page | number);
    }

    void charge(size_t bytes) {
        spent_ += bytes;
        if (spent_ <= most_bytes) return;
        throw std::runtime_error("the " + std::to_string(rules_.size()) +
                                 " rules of [[filter]] combine sources, destinations and ports in too many ways: "
                                 "expected at most 256 MiB of cases");
    }

    Rulebook& book_;
    const std::vector<config::Filter>& rules_;
    std::map<Rules, Case> cases_, ports_;
    std::vector<Border> destinations_;
    size_t spent_ = 0;
};

Rulebook::Rulebook(std::vector<config::Filter> rules) : rules_(std::move(rules)) { Compiler{*this}.compile(); }

size_t Rulebook::memory_bytes() const {
    return top_.size() * sizeof(uint16_t) + cells_.size() * sizeof(uint16_t) + cases_.size() * sizeof(Case) +
           borders_.size() * sizeof(Border) + destinations_.size() * sizeof(Borders) +
           lines_.size() * sizeof(PortLine) + pages_.size() * sizeof(PortPage);
}

}  // namespace pollux::engine
