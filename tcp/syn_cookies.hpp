// SYN cookies: a handshake without memory (RFC 4987 section 3.6). Our initial sequence number is a keyed code over the
// tuple, the peer's ISN and a period of the clock, plus the index of a segment size: whoever returns it in the third
// segment has received our SYN-ACK, and nothing had to be kept for that.
//
//     ISN = low half of SipHash-1-3(key of the period, tuple, peer's ISN) + index of the MSS
//
// All 32 bits are code: of 2^32 acknowledgment numbers, 8 sizes x 2 periods are right, so a blind guess opens a
// connection once in 2^28 tries. Every period has a key of its own, derived from the secret; a cookie is good in the
// period it was made in and the next, so for one to two periods. Window scale, SACK and ECN travel in the low six bits
// of our timestamp, which the peer echoes; without timestamps they are not offered.
//
// Machines that share the secret and whose clocks agree within a second complete each other's handshakes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "tcp/segment.hpp"
#include "tcp/siphash.hpp"
#include "tcp/time.hpp"

namespace pollux::tcp {

/// When SYNs are answered with cookies. `adaptive`: while the half-open records are three quarters used.
enum class SynCookieMode : uint8_t { never, adaptive, always };

/// What a peer's SYN said, as far as it can be had again: in the low six bits of our timestamp.
struct CookieOptions {
    std::optional<uint8_t> window_scale;  // 0 to 14
    bool sack = false, ecn = false;
    constexpr bool operator==(const CookieOptions&) const = default;
};

class SynCookies {
public:
    /// Segment sizes that a cookie can carry: the largest not above the peer's is taken.
    static constexpr std::array<uint16_t, 8> sizes{48, 216, 536, 1220, 1300, 1400, 1440, 1460};

    enum class Judgement : uint8_t { good, stale, forged };
    struct Judged {
        Judgement judgement = Judgement::forged;
        uint16_t mss = 0;
        uint32_t tag = 0;  // names a good cookie to SpentCookies
    };

    SynCookies(const SipKey& secret, Duration period);

    /// Our ISN for this SYN. `wall_us`: microseconds since the Unix epoch.
    SeqNum make(const FourTuple& flow, SeqNum peer_isn, uint16_t peer_mss, uint64_t wall_us);
    /// Whether `cookie` is an ISN that make() has given for this tuple and peer's ISN, here or on a machine with the
    /// same secret, in this period or the one before.
    Judged judge(const FourTuple& flow, SeqNum peer_isn, SeqNum cookie, uint64_t wall_us);

    /// TSval of the SYN-ACK: the clock's latest value, in milliseconds, that ends in these options.
    static uint32_t stamp(uint32_t clock, const CookieOptions& options);
    /// What the TSecr of the third segment brings back.
    static CookieOptions read_stamp(uint32_t echo);

private:
    enum Age : size_t { next, current, previous, expired };  // of a period, as seen from now

    void set_time(uint64_t wall_us) {
        if (wall_us - began_us_ >= period_us_) roll(wall_us);
    }
    void roll(uint64_t wall_us);

    SipKey secret_;
    uint64_t period_us_;
    uint64_t began_us_ = 0;         // the current period
    std::array<SipKey, 4> keys_{};  // by Age
};

/// The cookies that have opened a connection lately, so that none opens two: in lines of fifteen, the oldest of a line
/// giving way. What has given way can be replayed until its period is over, by somebody who saw it.
class SpentCookies {
public:
    explicit SpentCookies(uint32_t capacity);

    /// `hash` is the tuple's place, as that of the connection table.
    bool contains(uint64_t hash, uint32_t tag) const;
    void add(uint64_t hash, uint32_t tag);
    size_t memory_bytes() const { return lines_.size() * sizeof(Line); }

private:
    struct alignas(64) Line {
        std::array<uint32_t, 15> tags{};  // 0: none
        uint32_t oldest = 0;
    };
    const Line& line(uint64_t hash) const { return lines_[(hash >> 32) & mask_]; }

    std::vector<Line> lines_;
    uint64_t mask_ = 0;
};

}  // namespace pollux::tcp
