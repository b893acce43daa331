// Peer: the other end of a connection, moved by the test. It sends exactly what it is told and hears exactly what
// comes; it has no timers and no opinions, but it notices when the host contradicts itself (other bytes for the same
// sequence number).
//
// Numbers are relative, as in a trace: the peer's SYN is 0 and its first byte 1, and so for ours. Fields that are not
// named take the value that a well-behaved peer would send now; expectations compare only the fields that are named
// (PSH has its own field, so that `.flags = ack` fits any data segment).
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tcp/stack.hpp"
#include "tests/support/packet_log.hpp"

namespace pollux::tcp {
void PrintTo(State state, std::ostream* out);  // how failures name states
}

namespace pollux::test {

using tcp::Duration;
using tcp::Flags;
using tcp::Instant;
using tcp::State;
using tcp::Tally;
using tcp::Verdict;
using tcp::operator|;
using namespace std::chrono_literals;

inline constexpr Flags none = Flags::none, fin = Flags::fin, syn = Flags::syn, rst = Flags::rst, psh = Flags::psh,
                       ack = Flags::ack, urg = Flags::urg, ece = Flags::ece, cwr = Flags::cwr;

/// The line of the test that asks, for failure messages.
struct Here {
    const char* file;
    int line;
    static Here current(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};

/// [first, end) of the host's numbers, as a SACK block has it.
using Block = std::pair<int64_t, int64_t>;
using Blocks = std::vector<Block>;

/// What a peer sends.
struct Send {
    Flags flags = Flags::ack;
    std::optional<int64_t> seq = {};   // next in order
    std::optional<int64_t> ack = {};   // all that was heard in order
    std::optional<uint32_t> win = {};  // Peer::window; 16 bits, as on the wire
    std::string_view text = {};        // payload,
    size_t bytes = 0;                  // or so many bytes of the pattern, by position
    std::optional<uint16_t> mss = {};
    std::optional<uint8_t> ws = {};
    bool sack_ok = false;
    std::optional<tcp::Timestamps> ts = {};  // agreed: the peer's clock and the last value heard
    bool no_ts = false;                      // none although agreed
    Blocks sack = {};                        // at most four, said as they stand
    tcp::Ecn ecn = tcp::Ecn::not_ect;        // as it arrives
};

/// What a peer expects. Flags are compared without PSH.
struct Expect {
    std::optional<Flags> flags = {};
    std::optional<int64_t> seq = {};
    std::optional<int64_t> ack = {};
    std::optional<uint32_t> win = {};
    std::optional<std::string_view> text = {};
    std::optional<size_t> bytes = {};  // payload size
    std::optional<bool> push = {};
    std::optional<uint16_t> mss = {};
    std::optional<int> ws = {};  // -1: must be absent
    std::optional<bool> sack_ok = {};
    std::optional<bool> has_ts = {};
    std::optional<uint32_t> ts_echo = {};
    std::optional<tcp::Ecn> ecn = {};
};

/// A segment that the peer has heard. Its numbers are relative, its payload is its own.
struct Heard {
    tcp::Segment segment;  // payload empty
    int64_t seq = 0, ack = 0;
    std::string payload;
    Instant at;
    tcp::SeqNum raw_seq;

    bool has(Flags f) const { return segment.has(f); }
    size_t bytes() const { return payload.size(); }
    int64_t end() const {
        return seq + static_cast<int64_t>(segment.seq_length(static_cast<uint32_t>(payload.size())));
    }
};

/// The options and the manner of a handshake.
struct Connect {
    std::optional<uint16_t> mss = 1460;
    std::optional<uint8_t> ws = {};
    bool sack_ok = false;
    bool ts = false;
    bool ecn = false;       // asked for and agreed to
    uint32_t win = 65'535;  // of the SYN
    Duration rtt = 10ms;    // between SYN-ACK and the completing ACK
};

/// Whether a timer of `wanted` fired after `got`: never early, and at the next tick or the one after.
inline testing::AssertionResult about(Duration got, Duration wanted, Duration slack = 2ms) {
    if (got >= wanted && got <= wanted + slack) return testing::AssertionSuccess();
    return testing::AssertionFailure() << "after " << got.count() << " us instead of " << wanted.count() << " us";
}

class World;

class Peer {
public:
    Peer(World& world, tcp::Endpoint endpoint, tcp::SeqNum isn = default_isn);
    ~Peer();
    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;

    /// Near 2^32, so that every conversation crosses the wrap.
    static constexpr tcp::SeqNum default_isn{0xffff'fffc};

    // ---- Speaking. ---------------------------------------------------------------------------------------------
    /// One segment, one turn of the host. What became of it.
    Verdict sends(const Send& what);
    /// Several segments in one burst.
    void sends_burst(std::initializer_list<Send> burst);
    /// The packet that sends() would send, without sending it: to be damaged first.
    Packet packet_of(const Send& what);
    void sends_packet(const Packet& packet);
    /// The whole handshake; the connection is ESTABLISHED afterwards.
    void connects(const Connect& how = {}, Here here = Here::current());
    /// Forgets the connection and starts anew with this ISN, on the same tuple.
    void starts_over(tcp::SeqNum isn);

    // ---- Hearing. ----------------------------------------------------------------------------------------------
    /// Takes the next segment heard and compares it.
    Heard expects(const Expect& what, Here here = Here::current());
    /// A RST with this sequence number, with or without ACK.
    Heard expects_reset(int64_t seq, Here here = Here::current());
    void expects_nothing(Here here = Here::current());
    /// Takes exactly `count` segments.
    std::vector<Heard> expects_exactly(size_t count, Here here = Here::current());
    /// Lets time pass until something is heard, and says how long that took; fails after `longest`.
    Duration waits(Duration longest = 300s, Here here = Here::current());
    /// Takes whatever has come.
    std::vector<Heard> takes_all();
    void forgets() { inbox_.clear(); }
    const std::deque<Heard>& inbox() const { return inbox_; }
    /// TSval of the first segment heard with this sequence number: what an ACK of it, and not of a repetition,
    /// echoes.
    uint32_t first_ts(int64_t seq) const;
    /// The host's stream so far, as far as it is contiguous.
    const std::string& stream() const { return stream_; }
    /// The right edge of the host's window: the first number that it does not want. Never moves left.
    int64_t edge() const { return edge_; }
    /// Whether nothing has been heard that the test has not taken.
    bool heard_nothing() const { return inbox_.empty(); }

    // ---- State that the test may change. -------------------------------------------------------------------------
    uint32_t window = 65'535;  // announced by default
    int64_t nxt = 0;           // next sequence number to send
    int64_t heard = 0;         // next sequence number expected of the host

    const tcp::FourTuple& flow() const { return flow_; }  // as the host sees it
    const tcp::Endpoint& endpoint() const { return endpoint_; }
    /// Of the connection with this peer; CLOSED also where only a listener would answer.
    State state() const;
    tcp::SeqNum isn() const { return isn_; }
    tcp::SeqNum host_isn() const { return host_isn_; }
    uint32_t ts_now() const;
    bool agreed_timestamps() const { return timestamps_; }

    // ---- For the World. ------------------------------------------------------------------------------------------
    void hears(const Packet& packet);
    std::string describe_sent(const tcp::Segment& segment) const;

private:
    tcp::Segment segment_of(const Send& what, std::string& payload) const;
    void note_sent(const tcp::Segment& segment);
    void remember(const Heard& segment);
    void watch_edge(const Heard& segment);
    std::string describe(const Heard& segment) const;

    World& world_;
    Instant start_;
    tcp::Endpoint endpoint_;
    tcp::FourTuple flow_;
    tcp::SeqNum isn_, host_isn_;
    bool host_isn_known_ = false;
    bool timestamps_offered_ = false, host_offered_timestamps_ = false, timestamps_ = false;
    uint32_t last_ts_heard_ = 0;
    std::map<int64_t, uint32_t> first_ts_;  // by sequence number
    uint8_t host_scale_ = 0;
    int64_t edge_ = 0;
    std::deque<Heard> inbox_;
    std::string stream_;
};

}  // namespace pollux::test
