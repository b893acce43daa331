// Every packet's story ends with a name. One list serves the counters, the tools, the test messages and the
// troubleshooting table of the README; a packet that ends without a Verdict is a bug.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string_view>

namespace pollux::tcp {

enum class Verdict : uint8_t {
    // The expected.
    delivered,           // in-order data handed to the application
    pure_ack,            // acknowledged something or updated the window
    syn_answered,        // SYN to a listener: SYN-ACK sent
    syn_repeated,        // repeated SYN of a half-open connection: same SYN-ACK again
    cookie_sent,         // SYN to a listener: SYN-ACK with a cookie sent, nothing kept
    opened,              // completed a handshake
    syns_crossed,        // SYN of a peer whom we had sent a SYN: SYN-ACK sent
    fin,                 // ended the peer's half of the connection
    time_wait_reopened,  // newer SYN took over a tuple in TIME-WAIT
    arp,                 // ARP, read or answered
    neighbor_discovery,  // neighbour solicitation or advertisement (RFC 4861), read or answered
    icmp_echo,           // answered
    path_notice,         // ICMP error handed to the connection it quotes
    // The peer's doing, or the network's.
    old_data,           // all of it had been received before
    out_of_order,       // kept for reassembly
    duplicate_ack,      // acknowledged nothing new
    out_of_window,      // wholly outside the receive window; acknowledged
    old_ack,            // acknowledgment older than any we would send; challenge ACK
    ack_of_unsent,      // acknowledged what was never sent; acknowledged, dropped
    no_ack,             // no ACK bit in a synchronised state
    paws,               // older timestamp than one seen (RFC 7323 section 5)
    missing_timestamp,  // timestamps were agreed and this segment has none
    reset_by_peer,      // RST at RCV.NXT: connection ended
    reset_in_window,    // RST in the window but not at RCV.NXT: challenge ACK
    reset_ignored,      // RST to nothing, to a listener, to TIME-WAIT or outside the window
    syn_in_window,      // SYN in a synchronised state: challenge ACK
    time_wait,          // handled by a TIME-WAIT record
    half_open_ack,      // unacceptable ACK in SYN-RECEIVED: RST sent
    stale_cookie,       // ACK that brings a cookie back too late: RST sent
    bad_cookie,         // ACK to a listener that sends cookies, with none of them: RST sent
    replayed_cookie,    // ACK with a cookie that has opened a connection already: RST sent
    wrong_syn_ack,      // in SYN-SENT, acknowledges what is not our SYN: RST sent
    not_open_yet,       // in SYN-SENT, neither SYN nor RST
    data_after_close,   // data for a connection that the application has closed: RST
    no_connection,      // belongs to no connection: RST sent
    no_listener,        // SYN to a port where nobody listens: RST sent
    nonsense_flags,     // a combination of flags that opens nothing
    // Attacks and damage.
    bad_tcp_checksum,
    bad_tcp_header,
    bad_options,
    bad_ip_checksum,
    bad_ip_header,
    frame_too_short,
    martian,       // impossible source address
    land,          // source and destination are the same
    to_broadcast,  // TCP or ICMP to a broadcast or multicast address or frame
    fragment,
    source_routed,
    bad_icmp,
    icmp_ignored,
    bad_arp,
    bad_neighbor_discovery,  // damaged, from beyond the link (hop limit below 255), or a lie
    bad_extension_header,    // IPv6 extension headers: too many, out of bounds, or one that demands the drop
    // Not for us.
    not_our_address,
    not_our_frame,
    unknown_ethertype,
    unknown_protocol,
    // Our own rules and limits.
    filtered,           // a rule of [[filter]] denies it
    half_open_full,     // no half-open record left
    table_full,         // no connection record or table place left
    no_buffer,          // no chunk to keep the data in
    reset_limited,      // would have been answered by RST; rate limit
    icmp_limited,       // would have been answered; rate limit
    draining,           // SYN while the engine shuts down
    no_room_to_answer,  // stateless answer refused: the transmit batch is full
    handover_full,      // for another worker, whose ring is full
    count,
};
inline constexpr size_t verdict_count = static_cast<size_t>(Verdict::count);

/// Whose doing it is.
enum class Tone : uint8_t { normal, peer, attack, foreign, ours };

struct VerdictInfo {
    Verdict verdict;
    Tone tone;
    std::string_view name, sentence;
};
extern const std::array<VerdictInfo, verdict_count> verdicts;  // indexed by Verdict; order checked at compile time

std::string_view name(Verdict verdict);
std::ostream& operator<<(std::ostream& out, Verdict verdict);

}  // namespace pollux::tcp
