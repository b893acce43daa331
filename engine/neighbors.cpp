#include "engine/neighbors.hpp"

#include <algorithm>
#include <utility>

namespace pollux::engine {

using tcp::Instant;
using tcp::IpAddress;
using tcp::wire::MacAddress;

Neighbors::Neighbors(uint32_t capacity) : entries_(std::max<uint32_t>(capacity, 1)) {
    questions_.reserve(entries_.size());
    released_.reserve(entries_.size() * pending_packets);
}

Neighbors::Entry* Neighbors::find(uint8_t interface, const IpAddress& address) {
    for (uint32_t i = 0; i < in_use_; ++i) {
        Entry& entry = entries_[i];
        if (entry.address == address && entry.interface == interface && entry.state != State::free) return &entry;
    }
    return nullptr;
}

// A free entry, or the settled one that has been idle longest. One that is being asked for does not give way, so a
// flood of unreachable destinations cannot push out the questions in flight.
Neighbors::Entry* Neighbors::make(uint8_t interface, const IpAddress& address, Instant now) {
    // RFC 6583 section 7.1: who is known gives way only while questions hold less than half of the table, so that no
    // number of them drives the gateway out.
    uint32_t asking = 0;
    for (uint32_t i = 0; i < in_use_; ++i) asking += entries_[i].state == State::incomplete;
    const bool known_may_go = asking < entries_.size() / 2;
    Entry* chosen = nullptr;
    for (uint32_t i = 0; i < in_use_ && (!chosen || chosen->state != State::free); ++i) {
        Entry& entry = entries_[i];
        const bool known = entry.state == State::reachable || entry.state == State::probing;
        if (entry.state == State::incomplete || (known && !known_may_go)) continue;
        if (entry.state == State::free || !chosen || entry.used < chosen->used) chosen = &entry;
    }
    if ((!chosen || chosen->state != State::free) && in_use_ < entries_.size()) chosen = &entries_[in_use_++];
    if (!chosen) return nullptr;
    *chosen = Entry{};
    chosen->state = State::incomplete;
    chosen->interface = interface;
    chosen->address = address;
    chosen->used = now;
    return chosen;
}

void Neighbors::ask(Entry& entry, Instant now) {
    entry.due = now + first_wait * (1 << entry.asked);
    ++entry.asked;
    note_due(entry.due);
    const auto to = entry.state == State::probing ? std::optional{entry.mac} : std::nullopt;
    if (questions_.size() < questions_.capacity()) questions_.push_back({entry.interface, entry.address, to});
}

Neighbors::Answer Neighbors::resolve(uint8_t interface, const IpAddress& address, Instant now) {
    Entry* entry = find(interface, address);
    if (!entry) {
        entry = make(interface, address, now);
        if (!entry) return {Lookup::unreachable, {}};
        ask(*entry, now);
        return {Lookup::asking, {}};
    }
    entry->used = now;
    switch (entry->state) {
        case State::incomplete: return {Lookup::asking, {}};
        case State::reachable:
            if (now >= entry->due) {  // old, and in use: ask the neighbour itself while its address serves on
                entry->state = State::probing;
                entry->asked = 0;
                ask(*entry, now);
            }
            return {Lookup::known, entry->mac};
        case State::probing: return {Lookup::known, entry->mac};
        case State::failed:
            if (now < entry->due) return {Lookup::unreachable, {}};
            entry->state = State::incomplete;
            entry->asked = 0;
            ask(*entry, now);
            return {Lookup::asking, {}};
        case State::free: break;
    }
    return {Lookup::unreachable, {}};
}

bool Neighbors::hold(uint8_t interface, const IpAddress& address, rte_mbuf* packet, const tcp::FourTuple& flow) {
    Entry* entry = find(interface, address);
    if (!entry || entry->state != State::incomplete || entry->waiting == pending_packets) return false;
    entry->packets[entry->waiting] = packet;
    entry->flows[entry->waiting] = flow;
    ++entry->waiting;
    return true;
}

void Neighbors::release(Entry& entry, const MacAddress& mac) {
    for (uint32_t i = 0; i < entry.waiting; ++i) {
        released_.push_back({entry.packets[i], entry.interface, mac, entry.flows[i]});
    }
    entry.waiting = 0;
}

void Neighbors::settle(Entry& entry, const MacAddress& mac, Instant now) {
    if (entry.mac != mac) entry.changed = now;
    entry.mac = mac;
    entry.state = State::reachable;
    entry.due = now + fresh_for;
    release(entry, mac);
}

bool Neighbors::learn(uint8_t interface, const IpAddress& address, const MacAddress& mac, bool overrides, Instant now,
                      bool confirms) {
    if (mac.is_multicast() || mac.is_unspecified()) return false;
    Entry* entry = find(interface, address);
    if (!entry) return true;  // nobody asked: nothing to contradict and nothing to learn
    switch (entry->state) {
        case State::incomplete: break;
        case State::reachable:
        case State::probing:
            if (entry->mac == mac && !confirms) return true;
            if (entry->mac != mac && (!overrides || now - entry->changed < change_hold)) return false;
            break;
        case State::failed:
        case State::free: return true;
    }
    settle(*entry, mac, now);
    if (!confirms) entry->due = now;
    return true;
}

void Neighbors::confirm(uint8_t interface, const IpAddress& address, Instant now) {
    Entry* entry = find(interface, address);
    if (entry && (entry->state == State::reachable || entry->state == State::probing))
        settle(*entry, entry->mac, now);
}

void Neighbors::advance(Instant now) {
    if (!next_due_ || now < *next_due_) return;
    next_due_.reset();
    for (uint32_t i = 0; i < in_use_; ++i) {
        Entry& entry = entries_[i];
        if (entry.state != State::incomplete && entry.state != State::probing) continue;
        if (now < entry.due) {
            note_due(entry.due);
        } else if (entry.asked < questions_asked) {
            ask(entry, now);
        } else {
            entry.state = State::failed;
            entry.due = now + refused_for;
            release(entry, MacAddress{});
        }
    }
}

std::optional<Instant> Neighbors::next_due() const { return next_due_; }

std::optional<NeighborInfo> Neighbors::info(uint32_t index, Instant now) const {
    const Entry& entry = entries_[index];
    std::string_view state;
    switch (entry.state) {
        case State::free: return {};
        case State::incomplete: state = "incomplete"; break;
        case State::reachable: state = "reachable"; break;
        case State::probing: state = "probing"; break;
        case State::failed: state = "failed"; break;
    }
    const tcp::Duration age = entry.mac.is_unspecified() ? tcp::Duration::zero() : now - entry.changed;
    return NeighborInfo{.interface = entry.interface,
                        .address = entry.address,
                        .mac = entry.mac,
                        .state = state,
                        .age = age,
                        .unused = now - entry.used,
                        .waiting = entry.waiting};
}

void Neighbors::release_all() {
    for (Entry& entry : entries_) release(entry, MacAddress{});
}

}  // namespace pollux::engine
