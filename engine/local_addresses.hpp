// LocalAddresses: which IPv6 addresses of ours may be used. Before the first use the link is asked whether somebody
// has them (duplicate address detection, RFC 4862 section 5.4): until a second has passed without an objection an
// address is tentative, and nothing is sent from it or answered for it. An address that somebody else has stays off.
//
//     tentative --- 1 s of silence ---> usable          tentative --- objection ---> duplicate
//
// Each worker keeps its own copy; one of them asks, and an objection that any of them hears is told to all
// (exchange.hpp). IPv4 addresses are usable from the start: they are announced, not asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/interface.hpp"
#include "tcp/time.hpp"

namespace pollux::engine {

class LocalAddresses {
public:
    enum class State : uint8_t { tentative, usable, duplicate };

    /// Refers to `interfaces`.
    explicit LocalAddresses(std::span<const Interface> interfaces);

    /// The wait for objections begins, with the first call; whether this is it.
    bool begin(tcp::Instant now);
    /// Whether addresses have become usable just now.
    bool advance(tcp::Instant now);
    /// When advance() has work next.
    std::optional<tcp::Instant> next_due() const { return due_; }

    /// Of an IPv6 address; nothing: not ours.
    std::optional<State> state_of(const Interface& interface, const tcp::IpAddress& v6) const {
        const auto place = interface.index_of(v6);
        return place ? std::optional{states_[interface.index][*place]} : std::nullopt;
    }
    /// Whether the address, of any family, is ours. One that somebody else was found to have is not.
    bool is_ours(const Interface& interface, const tcp::IpAddress& address) const {
        return interface.is_ours(address) && state_of(interface, address) != State::duplicate;
    }
    bool is_usable(const Interface& interface, const tcp::IpAddress& v6) const {
        return state_of(interface, v6) == State::usable;
    }
    /// The address of ours that a neighbour at `v6` knows us by; nothing: we have none that may be used.
    std::optional<tcp::IpAddress> source_for(const Interface& interface, const tcp::IpAddress& v6) const;
    /// Somebody else has the address. False: that is known, or it is not tentative (then it is ours, and the other
    /// one is wrong).
    bool object(const Interface& interface, const tcp::IpAddress& v6);
    /// Another worker has heard the objection in time, so it holds here too, though our own wait may just have ended.
    void give_up(const Interface& interface, const tcp::IpAddress& v6);

    /// A bit for each address that somebody else has, in the order of the interfaces and of their networks; the
    /// first 64.
    uint64_t duplicates() const;

    static constexpr tcp::Duration wait = std::chrono::seconds{1};  // RetransTimer, for DupAddrDetectTransmits = 1

private:
    std::span<const Interface> interfaces_;
    std::vector<std::vector<State>> states_;  // [interface][place among its networks_v6]
    std::optional<tcp::Instant> due_;
    bool begun_ = false;
};

}  // namespace pollux::engine
