// ClosedLoopClient: an HTTP client on raw frames, good enough to drive the engine over memif, net_ring or memory. A
// number of connections to one server; each opens, sends its request, waits for the whole answer, checks status and
// length, and sends the next, on the same connection or each on a new one.
//
//     frames in: receives(frame, now)      frames out: next_frame(room, now), until it says 0      time is handed in
//
// It is simple on purpose: one request in flight on a connection, out-of-order data dropped and acknowledged again, a
// fixed window, retransmission by one timer that is looked at now and then. It shares the wire formats with the stack
// and nothing else. Addresses are of either family as far as tcp/wire reads and writes them; link addresses are asked
// for by ARP, or given. Nothing is allocated after the constructor, and a request costs a few hundred cycles.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tcp/segment.hpp"
#include "tcp/time.hpp"
#include "tcp/wire/mac_address.hpp"

namespace pollux::test {

class ClosedLoopClient {
public:
    struct Options {
        tcp::IpAddress address{}, server{};
        tcp::wire::MacAddress mac{};
        std::optional<tcp::wire::MacAddress> server_mac{};  // none: ask for it
        uint16_t server_port = 80;
        uint16_t first_port = 10'000;  // of ours; new connections take the ports above, round and round
        uint32_t connections = 64;
        uint64_t requests = 0;  // of all connections together; 0: without end
        bool connection_per_request = false;
        std::string request = "GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n";
        uint16_t status = 200;                 // of every answer
        std::optional<uint64_t> body_bytes{};  // of every answer
        tcp::Duration timeout{200'000};        // doubles up to 16 times that
        uint8_t retries = 8;                   // then the connection counts as an error
        uint32_t seed = 1;                     // of the initial sequence numbers
        uint32_t timestamp_at_zero = 1;        // ms; the next client of the same ports goes on where this one ends
    };
    /// `errors` has everything that should not have happened: resets, connections given up, answers that are cut
    /// short, malformed, or of another status or length than expected.
    struct Counts {
        uint64_t requests = 0;  // answered as expected
        uint64_t errors = 0, resets = 0, retransmissions = 0, opened = 0, body_bytes = 0;
        bool operator==(const Counts&) const = default;
    };

    explicit ClosedLoopClient(const Options& options);

    void receives(std::span<const std::byte> frame, tcp::Instant now);
    /// Writes the next frame that wants to leave; 0 if there is none. `room` holds at least 1,514 bytes.
    size_t next_frame(std::span<std::byte> room, tcp::Instant now);
    /// When next_frame() has something to say without a frame arriving, at the latest.
    tcp::Instant next_due() const { return look_at_; }

    /// No further requests: each connection closes when its answer is there.
    void finish() { finishing_ = true; }
    /// All requests are answered, all connections closed, and nothing is left to say. A peer that has not heard our
    /// last ACK is answered even so.
    bool is_finished() const { return open_ == 0 && last_words_.empty(); }
    const Counts& counts() const { return counts_; }

private:
    enum class State : uint8_t {
        done,      // no connection, and none wanted
        syn_sent,  // or about to be
        asking,    // the request waits for its answer
        closing,   // our FIN waits for its ACK, and for the peer's
    };
    struct Connection {
        State state = State::done;
        bool ready = false;  // in the ring of those that want to send
        bool says = false;   // a SYN, request or FIN wants to leave, not just an ACK
        bool peer_closed = false;
        bool will_close = false;  // the answer says "Connection: close"
        bool in_body = false;     // the head has been read
        uint8_t tries = 0;
        uint16_t port = 0;
        tcp::SeqNum una{}, nxt{}, rcv_nxt{};
        uint32_t ts_recent = 0;
        uint64_t body_left = 0;
        tcp::Instant deadline{};
        std::string head;  // what has come of an unfinished head; reserved
    };

    struct Asker {
        tcp::wire::MacAddress mac;
        uint32_t address;
    };
    struct LastWord {
        uint16_t port;
        bool reset;
        tcp::SeqNum seq, ack;
        uint32_t ts_recent;
    };

    void arp_arrives(std::span<const std::byte> packet);
    void segment_arrives(Connection& c, const tcp::Segment& s, tcp::Instant now);
    void text_arrives(Connection& c, std::span<const std::byte> text, tcp::Instant now);
    bool head_arrives(Connection& c, std::string_view head);
    void answered(Connection& c, tcp::Instant now);
    void peer_closes(Connection& c, tcp::Instant now);
    enum class Farewell : uint8_t { none, ack, rst };
    void fails(Connection& c, Farewell farewell, tcp::Instant now);
    void open(Connection& c, tcp::Instant now);
    void ask(Connection& c, tcp::Instant now);
    void close(Connection& c, tcp::Instant now);
    void end(Connection& c, Farewell farewell, tcp::Instant now);
    void say(Connection& c, tcp::Instant now);
    void want_to_send(Connection& c);
    void look_at_timers(tcp::Instant now);
    bool may_ask() const { return !finishing_ && (options_.requests == 0 || asked_ < options_.requests); }
    size_t link_frame(std::span<std::byte> room, tcp::Instant now);
    void say_last(const LastWord& word);
    size_t write(const tcp::Segment& segment, std::span<std::byte> room) const;
    tcp::Segment segment_of(uint16_t port, uint32_t ts_recent, tcp::Instant now) const;
    size_t write(Connection& c, std::span<std::byte> room, tcp::Instant now);
    Connection* connection_of(const tcp::FourTuple& flow);

    Options options_;
    Counts counts_;
    std::vector<Connection> connections_;
    std::vector<uint32_t> ready_;  // a ring of indices, as large as there are connections
    size_t first_ready_ = 0, ready_count_ = 0;
    std::optional<tcp::wire::MacAddress> server_mac_;
    std::vector<LastWord> last_words_;  // of connections that have ended; reserved, and sent first
    std::optional<Asker> asker_;        // who asked for our link address last
    uint64_t asked_ = 0, isn_ = 0;
    uint32_t open_ = 0;  // connections not done
    bool started_ = false, finishing_ = false;
    tcp::Instant ask_link_at_{}, look_at_{};
};

}  // namespace pollux::test
