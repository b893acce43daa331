#include "tests/simulation/hostile_peer.hpp"

#include <algorithm>
#include <array>

#include "tcp/wire/packet.hpp"
#include "tests/simulation/stream.hpp"
#include "tests/support/router.hpp"

namespace pollux::simulation {

using namespace tcp;

namespace {

constexpr Duration repeats_after = 500ms;
constexpr int64_t largest = 500;  // of its segments: they pass every link, and it does not listen to routers
constexpr uint16_t first_own_port = 50'000;

}  // namespace

HostilePeer::HostilePeer(const Scenario& scenario) : scenario_(scenario), talks_(scenario.connections.size()) {
    for (size_t i = 0; i < talks_.size(); ++i) {
        Talk& talk = talks_[i];
        talk.connection = i;
        talk.random = Random(scenario.seed, "hostile peer", i);
        talk.farewell = talk.random.one_of(Farewell::polite, Farewell::polite, Farewell::silent, Farewell::reset);
        talk.flow = scenario.flow(i, Side::b);
        talk.opens = scenario.connections[i].opening == ConnectionPlan::Opening::from_b;
        if (talk.opens && talk.flow.local_port == 0) talk.flow.local_port = static_cast<uint16_t>(first_own_port + i);
        talk.total = scenario.connections[i].apps[number(Side::b)].total;
        talk.iss = SeqNum{static_cast<uint32_t>(0 - talk.random.spread(1, 10'000))};
        talk.timestamps = talk.random.chance(0.5);
        talk.next = scenario.start + scenario.connections[i].opens_at;
    }
}

uint32_t HostilePeer::clock(Instant now) const {
    return static_cast<uint32_t>((now - scenario_.start) / 1ms) + 10'000;
}

bool HostilePeer::has_begun() const {
    return std::ranges::all_of(talks_, [](const Talk& talk) { return !talk.opens || talk.syn_sent; });
}

std::optional<Instant> HostilePeer::next_due() const {
    std::optional<Instant> next;
    for (const Talk& talk : talks_) {
        if (!talk.dead && (talk.opens || talk.syn_sent) && (!next || talk.next < *next)) next = talk.next;
    }
    return next;
}

void HostilePeer::turn(Instant now, std::vector<Packet>& burst, std::vector<Packet>& sent) {
    sent_ = &sent;
    for (const Packet& packet : burst) {
        Segment s;
        if (wire::parse_into(packet, wire::ChecksumTrust::verify_all, s) != wire::ParseResult::ok) continue;
        const size_t i = connection_of(s.flow);
        if (i < talks_.size() && !talks_[i].dead) hears(talks_[i], s, now);
    }
    for (Talk& talk : talks_) {
        if (talk.dead || talk.next > now || !(talk.opens || talk.syn_sent)) continue;
        talk.next = now + talk.random.spread(Duration{1ms}, Duration{300ms});
        if (!talk.open)
            opens(talk, now);
        else
            acts(talk, now);
    }
}

// ---- What it hears. -----------------------------------------------------------------------------------------------

void HostilePeer::hears(Talk& talk, const Segment& s, Instant now) {
    if (s.has(Flags::rst)) {
        // An answer to something that it should not have said is none to its connection (RFC 5961 section 3.2).
        talk.dead = talk.dead || (talk.open && s.seq - (talk.irs + 1) == talk.heard);
        return;
    }
    if (s.has(Flags::syn)) {
        if (talk.opens != s.has(Flags::ack) || (talk.opens && s.ack != talk.iss + 1)) return;
        talk.flow = s.flow;
        talk.irs = s.seq;
        talk.timestamps = talk.timestamps && s.has(Present::timestamps);
        talk.scale = s.has(Present::window_scale) ? std::min<int>(s.window_scale, 14) : 0;
        talk.edge = std::max<int64_t>(talk.edge, s.window);
        if (s.has(Present::timestamps)) talk.host_clock = s.timestamps.value;
        if (talk.opens) talk.open = true;
        talk.syn_sent = true;
        talk.next = std::min(talk.next, now + talk.random.spread(Duration{1}, Duration{50ms}));
        return;
    }
    if (!talk.syn_sent) return;
    const int64_t ack = s.has(Flags::ack) ? s.ack - (talk.iss + 1) : -1;
    if (ack < 0) return;
    talk.open = true;
    talk.acked = std::max(talk.acked, ack);
    talk.said = std::max(talk.said, std::min<int64_t>(ack, static_cast<int64_t>(talk.total)));
    talk.edge = std::max(talk.edge, ack + (int64_t{s.window} << talk.scale));
    if (s.has(Present::timestamps)) talk.host_clock = s.timestamps.value;
    const int64_t first = s.seq - (talk.irs + 1), end = first + static_cast<int64_t>(s.payload.size());
    if (s.has(Flags::fin)) talk.host_fin = end;
    talk.host_nxt = std::max(talk.host_nxt, end + (s.has(Flags::fin) ? 1 : 0));
    if (first <= talk.heard) talk.heard = std::max(talk.heard, end);
    if (talk.heard == talk.host_fin) ++talk.heard;
    if (s.has(Flags::fin) && talk.heard > talk.host_fin) talk.fin_heard_at = now;  // with all that came before it
    if (healed(now) && talk.farewell == Farewell::polite && s.seq_length() > 0) {
        emits(segment(talk, std::max(talk.said, talk.acked), now));
    }
}

// ---- What it says. ------------------------------------------------------------------------------------------------

Segment HostilePeer::segment(const Talk& talk, int64_t position, Instant now) const {
    Segment s;
    s.flow = talk.flow;
    s.seq = talk.iss + 1 + static_cast<uint32_t>(position);
    s.ack = talk.irs + 1 + static_cast<uint32_t>(talk.heard);
    s.flags = Flags::ack;
    s.window = talk.window;
    if (talk.timestamps) {
        s.present = Present::timestamps;
        s.timestamps = {clock(now), talk.host_clock};
    }
    return s;
}

void HostilePeer::emits(const Segment& s, bool damaged) {
    Packet packet(wire::headers_size(s) + s.payload.size());
    if (wire::emit(s, packet).status != wire::EmitStatus::ok) return;
    if (damaged) {  // the checksum, so that no flip of bits in one byte can mend it
        const size_t at = (scenario_.ipv6 ? 40 : 20) + 16;
        packet[at] ^= std::byte{0x5a};
        packet[at + 1] ^= std::byte{0xa5};
    }
    sent_->push_back(std::move(packet));
}

// A piece of its stream, wherever it begins and ends, and the FIN if that is the end.
void HostilePeer::says(Talk& talk, int64_t position, int64_t size, Instant now) {
    const auto total = static_cast<int64_t>(talk.total);
    position = std::clamp<int64_t>(position, 0, total);
    size = std::clamp<int64_t>(size, 0, total - position);
    Segment s = segment(talk, position, now);
    s.payload = Stream(talk.connection, Side::b).bytes(static_cast<uint64_t>(position), static_cast<size_t>(size));
    if (position + size == total && talk.said >= total) s.flags |= Flags::fin;
    talk.furthest = std::max(talk.furthest, position + size);
    emits(s);
}

void HostilePeer::opens(Talk& talk, Instant now) {
    talk.next = now + repeats_after;
    constexpr uint32_t enough = 40;
    talk.dead = healed(now) && ++talk.attempts == enough;
    Segment s = segment(talk, -1, now);
    s.flags = talk.opens ? Flags::syn : Flags::syn | Flags::ack;
    if (talk.opens) s.ack = SeqNum{};
    s.present = s.present | Present::mss;
    s.mss = static_cast<uint16_t>(1'200);
    if (!talk.opens && talk.random.chance(0.3)) {  // an answer to another SYN
        Segment wrong = s;
        wrong.ack = s.ack + static_cast<uint32_t>(talk.random.between(1, 100'000));
        emits(wrong);
    }
    emits(s);
    talk.syn_sent = true;
}

void HostilePeer::acts(Talk& talk, Instant now) {
    if (healed(now)) return says_goodbye(talk, now);
    if (talk.random.chance(0.5))
        converses(talk, now);
    else
        attacks(talk, now);
}

// Correct, if strange: pieces anywhere in the window, windows of any size, ACKs of all sorts.
void HostilePeer::converses(Talk& talk, Instant now) {
    Random& random = talk.random;
    const auto below = [&random](int64_t bound) {
        return static_cast<int64_t>(random.below(static_cast<uint64_t>(std::max<int64_t>(bound, 1))));
    };
    switch (random.below(8)) {
        case 0:  // a window of any size; what was promised may be taken back
            talk.window = static_cast<uint16_t>(random.chance(0.3) ? 0 : random.spread(1, 65'535));
            emits(segment(talk, std::max(talk.said, talk.acked), now));
            break;
        case 1:  // anywhere, overlapping what is known
            says(talk, talk.acked - 500 + below(3'000), 1 + below(largest), now);
            break;
        case 2:  // ACKs of every few bytes
            for (int64_t steps = 1 + below(8), all = talk.host_nxt - talk.heard; steps > 0; --steps) {
                Segment s = segment(talk, std::max(talk.said, talk.acked), now);
                s.ack = talk.irs + 1 + static_cast<uint32_t>(talk.heard + all / steps);
                emits(s);
            }
            talk.heard = std::max(talk.heard, talk.host_nxt);
            break;
        case 3:  // of what has not arrived
            talk.heard = std::max(talk.heard, talk.host_nxt);
            emits(segment(talk, std::max(talk.said, talk.acked), now));
            break;
        case 4:  // the same ACK again and again
            for (int64_t n = below(12); n > 0; --n) emits(segment(talk, std::max(talk.said, talk.acked), now));
            break;
        default: {
            const int64_t size = std::min<int64_t>(1 + below(largest), static_cast<int64_t>(talk.total) - talk.said);
            const bool may = talk.said + size <= talk.edge;
            says(talk, talk.said, may ? size : 0, now);
            if (may && random.chance(0.9)) talk.said += std::max<int64_t>(size, 0);
        }
    }
}

void HostilePeer::attacks(Talk& talk, Instant now) {
    Random& random = talk.random;
    Segment s = segment(talk, talk.acked, now);
    const auto beyond = static_cast<uint32_t>(random.spread(1, 1'000'000));
    const uint64_t how = random.below(16);
    switch (how) {
        case 0:  // in the window, and not where it counts
            s.seq += static_cast<uint32_t>(
                1 + random.below(static_cast<uint64_t>(std::max<int64_t>(talk.edge - talk.acked, 2)) - 1));
            s.flags = random.one_of(Flags::rst, Flags::rst | Flags::ack);
            if (s.seq != talk.iss + 1 + static_cast<uint32_t>(talk.acked)) emits(s);
            return;
        case 1:
            s.seq = s.seq.back(1 + beyond);
            s.flags = Flags::rst;
            return emits(s);
        case 2:
            if (talk.acked > static_cast<int64_t>(talk.total) && talk.host_fin >= 0) return;  // it might be welcome
            s.flags = random.one_of(Flags::syn, Flags::syn | Flags::ack, Flags::syn | Flags::fin);
            s.seq += static_cast<uint32_t>(random.below(3'000));
            return emits(s);
        case 3: return forges_error(talk);
        case 4:  // nothing, or everything
            s.flags = random.one_of(Flags::none, Flags::fin | Flags::psh | Flags::urg, Flags::urg | Flags::ack);
            return emits(s);
        case 5:  // blocks of anything
            s.sack_count = static_cast<uint8_t>(random.between(1, 3));
            for (SackBlock& block : s.sack_blocks) {
                block.first = s.ack + static_cast<uint32_t>(random.next() >> (random.chance(0.5) ? 48 : 32));
                block.end = block.first + static_cast<uint32_t>(random.below(5'000));
            }
            return emits(s);
        case 6:
            s.ack = talk.irs + 1 + 2 * uint32_t{Stream::longest} + beyond;  // of what is never sent
            return emits(s);
        case 7: s.ack = s.ack.back(beyond); return emits(s);
        default: attacks_with_data(talk, now, how);
    }
}

// Each would be delivered by a stack that forgets one check. The bytes are not the stream's.
void HostilePeer::attacks_with_data(Talk& talk, Instant now, uint64_t how) {
    Random& random = talk.random;
    std::array<std::byte, 600> poison;
    const int64_t size = static_cast<int64_t>(random.between(1, poison.size()));
    int64_t position = talk.acked;
    const auto far = static_cast<uint32_t>(random.spread(1, 1'000'000));
    Segment s = segment(talk, position, now);
    bool damaged = false;
    switch (how) {
        case 8: {  // beyond any window that the host can have announced, or will: a copy of this may come late
            const auto total = static_cast<int64_t>(talk.total);
            const StackSettings& host = scenario_.hosts[number(Side::a)].settings;
            const int64_t buffer = std::max(host.receive_buffer, host.receive_buffer_max);
            position = std::max(talk.edge, talk.furthest + 1 + buffer) + static_cast<int64_t>(far * random.below(2));
            position = std::max(position, total) + 64;
            break;
        }
        case 9: s.ack = talk.irs + 1 + (1u << 30) + far; break;
        case 10: s.ack = (talk.irs + 1).back((1u << 30) + far); break;
        case 11: s.flags = random.one_of(Flags::none, Flags::psh, Flags::urg); break;
        case 12:
            if (!talk.timestamps) return;
            s.timestamps.value = 10'000 - far % 9'000 - 1;  // before the connection's first
            break;
        case 13:
            if (!talk.timestamps) return;
            s.present = Present::none;
            break;
        case 14: position = talk.acked - size; break;  // all of it known already
        default: damaged = true; break;
    }
    if (how == 14 && position < 0) return;
    s.seq = talk.iss + 1 + static_cast<uint32_t>(position);
    const Stream stream(talk.connection, Side::b);
    for (size_t i = 0; i < poison.size(); ++i)
        poison[i] = ~stream.bytes(static_cast<uint64_t>(position) % 100'000 + i, 1)[0];
    s.payload = std::span(poison).first(static_cast<size_t>(size));
    emits(s, damaged);
}

// About a segment of the host's that may or may not be outstanding.
void HostilePeer::forges_error(Talk& talk) {
    Segment quoted;
    quoted.flow = {talk.flow.remote_addr, talk.flow.local_addr, talk.flow.remote_port, talk.flow.local_port};
    quoted.seq = talk.irs + 1 + static_cast<uint32_t>(talk.heard) + static_cast<uint32_t>(talk.random.below(5'000));
    quoted.flags = Flags::ack;
    std::array<std::byte, 1'000> payload{};
    quoted.payload = payload;
    Packet packet(wire::headers_size(quoted) + payload.size());
    if (wire::emit(quoted, packet).status != wire::EmitStatus::ok) return;
    const auto mtu = static_cast<uint32_t>(talk.random.one_of(0, 68, 296, 552, 600, 1'280, 1'400, 9'000, 100'000));
    sent_->push_back(test::too_big_about(packet, scenario_.ipv6 ? mtu : mtu & 0xffff));
}

void HostilePeer::says_goodbye(Talk& talk, Instant now) {
    switch (talk.farewell) {
        case Farewell::silent: talk.dead = true; return;
        case Farewell::reset: {
            // It counts only at RCV.NXT, which the host's next ACK tells: each repetition draws one.
            Segment s = segment(talk, talk.acked, now);
            s.flags = Flags::rst | Flags::ack;
            emits(s);
            emits(segment(talk, talk.acked - 1, now));
            talk.next = now + repeats_after;
            constexpr uint32_t enough = 200;  // beside a round trip of seconds, with ACKs still on their way
            talk.dead = ++talk.resets == enough;
            return;
        }
        case Farewell::polite: break;
    }
    talk.window = 65'535;
    talk.next = now + repeats_after;
    const auto total = static_cast<int64_t>(talk.total);
    talk.said = total;
    if (talk.acked > total) {  // its FIN is acknowledged: hears() answers the host's
        talk.dead = healed(talk.fin_heard_at) && now > talk.fin_heard_at + 10 * repeats_after;
        return;
    }
    const int64_t most = std::min(talk.edge, talk.acked + 4 * largest);
    int64_t position = std::min(talk.acked, total);
    do {
        const int64_t size = std::min({largest, total - position, std::max<int64_t>(most - position, 0)});
        says(talk, position, size, now);
        position += size;
        if (size == 0) break;
    } while (position < total);
}

}  // namespace pollux::simulation
