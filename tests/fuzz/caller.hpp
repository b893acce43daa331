// Caller: the other end of one tuple, in the hands of a fuzzer. It follows what passes on the wire, so it knows what
// would be right to say, and the bytes choose between that, what is nearly right and what is wrong. It loses nothing
// that it hears, but acknowledges and reports as much of it as the bytes say.
//
// What it demands is true whatever it has said itself; after a second SYN with other numbers it only listens, because
// it cannot know which of the two counts, until the stack has forgotten both.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "tcp/path_notice.hpp"
#include "tcp/segment.hpp"
#include "tcp/time.hpp"
#include "tcp/tx_batch.hpp"
#include "tests/fuzz/input.hpp"

namespace pollux::fuzz {

/// Payloads live until the turn has ended, and no longer.
using Payloads = std::deque<std::vector<std::byte>>;

/// What the stack knows of a tuple: something, nothing, or perhaps something: a cookie may bring it back, or end it
/// what stands before in the same burst.
enum class Known : uint8_t { something, perhaps, nothing };

class Caller {
public:
    explicit Caller(const tcp::FourTuple& flow) : flow_(flow) {}

    const tcp::FourTuple& flow() const { return flow_; }  // as the stack sees it
    tcp::Segment says(Input& in, tcp::Instant now, Payloads& payloads, Known known);
    /// A router's or a neighbour's word on what the stack has said.
    tcp::PathNotice complains(Input& in) const;
    void hears(const tcp::TxSegment& tx);
    /// `may_reset`: a RST need not be an answer.
    void ends_turn(bool may_reset);

private:
    tcp::Segment usual(tcp::Instant now) const;
    void asks(Input& in, tcp::Segment& s, Known known);
    void begins(const tcp::Segment& syn);
    void acknowledges(Input& in, tcp::Segment& s);
    void reports(Input& in, tcp::Segment& s) const;
    void lies(Input& in, tcp::Segment& s) const;
    void carries(Input& in, tcp::Segment& s, Payloads& payloads) const;
    void remembers(const tcp::Segment& s);
    void judges_edge(const tcp::Segment& s);

    tcp::FourTuple flow_;
    bool said_syn_ = false, heard_syn_ = false, mixed_ = false;
    tcp::SeqNum iss_{}, irs_{};             // of our SYN, and of the stack's
    tcp::SeqNum nxt_{}, furthest_{};        // of what was said: in order, and at most
    tcp::SeqNum acked_{}, host_nxt_{};      // of what was heard: acknowledged, and at most
    std::optional<tcp::SeqNum> edge_;       // of the stack's window
    std::optional<tcp::SeqNum> our_edge_;   // the furthest that we have ever promised
    tcp::Segment said_{}, heard_{};         // the SYNs
    std::vector<tcp::SackBlock> segments_;  // the latest heard
    uint32_t host_clock_ = 0;
    int32_t clock_shift_ = 0;
    uint16_t window_ = 65'535;
    uint32_t resets_said_ = 0, others_said_ = 0, resets_heard_ = 0;  // in this turn
};

}  // namespace pollux::fuzz
