// ReferenceClient: a small TCP of our own that behaves well, for streams through bad links. It opens a connection,
// uploads a pattern, receives a stream, and closes. It is closed-loop and simple on purpose: go-back-N on timeout,
// fast retransmission of one segment on three duplicate ACKs, a byte map for reassembly, an ACK for every segment.
//
// Only what it needs to finish against a correct peer is here: no SACK, no congestion control beyond a fixed number
// of segments in flight. It shares no code with the stack but the wire formats.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tcp/segment.hpp"
#include "tcp/time.hpp"
#include "tests/support/packet_log.hpp"

namespace pollux::test {

class ReferenceClient {
public:
    struct Options {
        uint64_t upload = 0;  // bytes of the pattern to send, then FIN if `closes_after_upload`
        bool closes_after_upload = true;
        bool closes_at_end = true;  // FIN after the host's FIN, if not sent before
        bool timestamps = true, sack_permitted = true;
        std::optional<uint8_t> window_scale = 4;
        uint16_t mss = 1460;
        uint32_t receive_buffer = 256 * 1024;
        uint32_t reads_per_ms = 0;  // 0: at once; else a slow reader, whose window fills
        uint32_t segments_in_flight = 16;
        tcp::SeqNum isn{0xffff'ff00};
    };

    /// `flow` as the host sees it.
    ReferenceClient(const tcp::FourTuple& flow, const Options& options);

    void opens(tcp::Instant now);
    void receives(const tcp::Segment& segment, tcp::Instant now);
    /// Runs what is due, and sends what may be sent, into `out`.
    void works(tcp::Instant now, std::vector<Packet>& out);
    std::optional<tcp::Instant> next_due() const;

    /// All sent data and FIN acknowledged, the host's FIN received.
    bool is_done() const;
    bool was_reset() const { return reset_; }
    bool host_has_closed() const { return host_fin_; }
    const std::string& received() const { return received_; }
    /// For failure messages.
    std::string describe() const;

private:
    enum class Phase : uint8_t { closed, syn_sent, open };

    void learn_from_ack(const tcp::Segment& s, tcp::Instant now);
    void keep_text(const tcp::Segment& s);
    void emit(tcp::Flags flags, uint64_t position, size_t size, tcp::Instant now, std::vector<Packet>& out);
    uint64_t end_of_stream() const { return options_.upload + (fin_wanted_ ? 1 : 0); }
    uint32_t free_window(tcp::Instant now);
    tcp::SeqNum seq_at(uint64_t position) const { return options_.isn + 1 + static_cast<uint32_t>(position); }

    static constexpr tcp::Duration first_rto{300'000}, longest_rto{5'000'000};

    tcp::FourTuple flow_;
    Options options_;
    Phase phase_ = Phase::closed;
    // Sending: positions in the upload; the FIN is one position behind it.
    uint64_t una_ = 0, nxt_ = 0, highest_ = 0;
    uint32_t peer_window_ = 0;
    uint8_t peer_scale_ = 0;
    uint16_t peer_mss_ = 536;
    int duplicate_acks_ = 0;
    bool resend_first_ = false, fin_wanted_ = false, reset_ = false;
    tcp::Duration rto_ = first_rto;
    std::optional<tcp::Instant> timer_;
    // Receiving: positions in the host's stream.
    tcp::SeqNum host_isn_;
    std::string received_;  // contiguous
    std::string kept_;      // from received_.size() on, with holes
    std::vector<bool> kept_here_;
    std::optional<uint64_t> host_fin_at_;
    bool host_fin_ = false, ack_wanted_ = false, timestamps_ = false, window_was_small_ = false;
    uint64_t read_ = 0;
    std::optional<tcp::Instant> last_read_;
    uint32_t ts_recent_ = 0;
};

}  // namespace pollux::test
