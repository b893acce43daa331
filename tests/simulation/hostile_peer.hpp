// HostilePeer: B, when B is no stack. It follows each connection on the wire, so it knows what would be acceptable,
// and mixes into a conversation of its own what is not: RST and SYN in the window, data beyond it, acknowledgments of
// what was never sent, shrinking windows, optimistic and divided ACKs, forged errors of routers, segments without ACK
// or with old timestamps.
//
// Bytes that must never be delivered are not the stream's (each bit is inverted), so that delivery shows; bytes that
// may be are the stream's, in whatever order, overlap and size. When the network heals it becomes polite, falls
// silent or sends the one RST that counts; each has its own end that the stack must come to.
#pragma once

#include <optional>
#include <vector>

#include "tests/simulation/middlebox.hpp"
#include "tests/simulation/scenario.hpp"

namespace pollux::simulation {

class HostilePeer {
public:
    enum class Farewell : uint8_t { polite, silent, reset };

    explicit HostilePeer(const Scenario& scenario);

    void turn(tcp::Instant now, std::vector<Packet>& burst, std::vector<Packet>& sent);
    std::optional<tcp::Instant> next_due() const;
    /// It has asked for every connection that is its to open.
    bool has_begun() const;
    Farewell farewell(size_t connection) const { return talks_[connection].farewell; }

private:
    // Positions count from the first byte after each SYN.
    struct Talk {
        size_t connection = 0;
        Random random{0};
        Farewell farewell = Farewell::polite;
        tcp::FourTuple flow;  // as B sees it
        bool opens = false;
        uint64_t total = 0;
        tcp::SeqNum iss, irs;
        bool syn_sent = false, open = false, dead = false;
        bool timestamps = false;
        int scale = 0;         // of the host's windows
        int64_t heard = 0;     // of the host's stream, in order
        int64_t host_nxt = 0;  // the furthest the host has sent
        int64_t acked = 0;     // of our stream
        int64_t said = 0;      // of our stream, in order
        int64_t edge = 0;      // the host's right edge
        int64_t furthest = 0;  // of our stream, in whatever order
        int64_t host_fin = -1;
        uint32_t host_clock = 0;   // to echo
        uint16_t window = 65'535;  // that we announce, unscaled
        uint32_t attempts = 0, resets = 0;
        tcp::Instant fin_heard_at{};
        tcp::Instant next{};
    };

    void hears(Talk& talk, const tcp::Segment& s, tcp::Instant now);
    void opens(Talk& talk, tcp::Instant now);
    void acts(Talk& talk, tcp::Instant now);
    void converses(Talk& talk, tcp::Instant now);
    void attacks(Talk& talk, tcp::Instant now);
    void attacks_with_data(Talk& talk, tcp::Instant now, uint64_t how);
    void forges_error(Talk& talk);
    void says_goodbye(Talk& talk, tcp::Instant now);
    tcp::Segment segment(const Talk& talk, int64_t position, tcp::Instant now) const;
    void emits(const tcp::Segment& segment, bool damaged = false);
    void says(Talk& talk, int64_t position, int64_t size, tcp::Instant now);
    uint32_t clock(tcp::Instant now) const;
    bool healed(tcp::Instant now) const { return now >= scenario_.start + scenario_.heals_after; }

    const Scenario& scenario_;
    std::vector<Talk> talks_;
    std::vector<Packet>* sent_ = nullptr;
};

}  // namespace pollux::simulation
