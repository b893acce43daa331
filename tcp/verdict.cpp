// The lists that name every Verdict and every Tally: one line each, in the order of the enumerations.
#include "tcp/verdict.hpp"

#include <ostream>

#include "tcp/counters.hpp"

namespace pollux::tcp {

constexpr std::array<VerdictInfo, verdict_count> verdict_list{{
    {Verdict::delivered, Tone::normal, "delivered", "in-order data handed to the application"},
    {Verdict::pure_ack, Tone::normal, "pure_ack", "acknowledged something or updated the window"},
    {Verdict::syn_answered, Tone::normal, "syn_answered", "SYN to a listener, answered with SYN-ACK"},
    {Verdict::syn_repeated, Tone::peer, "syn_repeated", "repeated SYN, answered with the same SYN-ACK"},
    {Verdict::cookie_sent, Tone::normal, "cookie_sent", "SYN to a listener, answered with a cookie; nothing kept"},
    {Verdict::opened, Tone::normal, "opened", "completed a handshake"},
    {Verdict::syns_crossed, Tone::normal, "syns_crossed", "SYN of a peer that we have sent a SYN; SYN-ACK sent"},
    {Verdict::fin, Tone::normal, "fin", "ended the peer's half of the connection"},
    {Verdict::time_wait_reopened, Tone::normal, "time_wait_reopened", "newer SYN took over a tuple in TIME-WAIT"},
    {Verdict::arp, Tone::normal, "arp", "ARP, read or answered"},
    {Verdict::neighbor_discovery, Tone::normal, "neighbor_discovery", "IPv6 neighbour discovery, read or answered"},
    {Verdict::icmp_echo, Tone::normal, "icmp_echo", "ping, answered"},
    {Verdict::path_notice, Tone::normal, "path_notice", "ICMP error, handed to the connection it quotes"},
    {Verdict::fragment_kept, Tone::peer, "fragment_kept", "IP fragment taken for reassembly"},
    {Verdict::old_data, Tone::peer, "old_data", "all of it had been received before"},
    {Verdict::out_of_order, Tone::peer, "out_of_order", "data ahead of a gap, kept for reassembly"},
    {Verdict::duplicate_ack, Tone::peer, "duplicate_ack", "acknowledged nothing new"},
    {Verdict::out_of_window, Tone::peer, "out_of_window", "wholly outside the receive window; acknowledged, dropped"},
    {Verdict::old_ack, Tone::attack, "old_ack", "acknowledgment older than any window we saw; challenge ACK"},
    {Verdict::ack_of_unsent, Tone::attack, "ack_of_unsent", "acknowledged what was never sent; challenge ACK"},
    {Verdict::no_ack, Tone::attack, "no_ack", "no ACK bit on a connection; dropped"},
    {Verdict::paws, Tone::peer, "paws", "older timestamp than one seen; acknowledged, dropped"},
    {Verdict::missing_timestamp, Tone::peer, "missing_timestamp", "timestamps were agreed, this has none; dropped"},
    {Verdict::reset_by_peer, Tone::peer, "reset_by_peer", "RST that ended a connection"},
    {Verdict::reset_in_window, Tone::attack, "reset_in_window", "RST near but not at RCV.NXT; challenge ACK"},
    {Verdict::reset_ignored, Tone::peer, "reset_ignored", "RST that belongs to nothing; dropped"},
    {Verdict::syn_in_window, Tone::attack, "syn_in_window", "SYN on a connection; challenge ACK"},
    {Verdict::time_wait, Tone::peer, "time_wait", "late segment of a connection in TIME-WAIT"},
    {Verdict::half_open_ack, Tone::attack, "half_open_ack", "wrong ACK in SYN-RECEIVED; RST sent"},
    {Verdict::stale_cookie, Tone::peer, "stale_cookie", "brought a SYN cookie back too late; RST sent"},
    {Verdict::bad_cookie, Tone::attack, "bad_cookie", "ACK to a listener without a good SYN cookie; RST sent"},
    {Verdict::replayed_cookie, Tone::attack, "replayed_cookie", "SYN cookie that has opened a connection; RST sent"},
    {Verdict::wrong_syn_ack, Tone::peer, "wrong_syn_ack", "acknowledged what is not the SYN that we sent; RST sent"},
    {Verdict::not_open_yet, Tone::peer, "not_open_yet", "answered our SYN with neither SYN nor RST; dropped"},
    {Verdict::data_after_close, Tone::peer, "data_after_close", "data for a closed application; connection reset"},
    {Verdict::no_connection, Tone::peer, "no_connection", "belongs to no connection; RST sent"},
    {Verdict::no_listener, Tone::peer, "no_listener", "SYN to a port where nobody listens; RST sent"},
    {Verdict::nonsense_flags, Tone::attack, "nonsense_flags", "flags that open nothing; dropped"},
    {Verdict::bad_tcp_checksum, Tone::attack, "bad_tcp_checksum", "TCP checksum does not fit; dropped"},
    {Verdict::bad_tcp_header, Tone::attack, "bad_tcp_header", "TCP header lengths do not fit; dropped"},
    {Verdict::bad_options, Tone::attack, "bad_options", "TCP option lengths do not fit; dropped"},
    {Verdict::bad_ip_checksum, Tone::attack, "bad_ip_checksum", "IP header checksum does not fit; dropped"},
    {Verdict::bad_ip_header, Tone::attack, "bad_ip_header", "IP header lengths do not fit; dropped"},
    {Verdict::frame_too_short, Tone::attack, "frame_too_short", "frame ends before its headers do; dropped"},
    {Verdict::martian, Tone::attack, "martian", "impossible source address; dropped"},
    {Verdict::land, Tone::attack, "land", "source and destination are the same; dropped"},
    {Verdict::to_broadcast, Tone::attack, "to_broadcast", "sent to a broadcast or multicast address; dropped"},
    {Verdict::fragment, Tone::attack, "fragment", "IP fragment; dropped"},
    {Verdict::bad_fragment, Tone::attack, "bad_fragment", "IP fragment that fits no TCP packet; dropped"},
    {Verdict::source_routed, Tone::attack, "source_routed", "IP source route; dropped"},
    {Verdict::bad_icmp, Tone::attack, "bad_icmp", "ICMP that is cut short or damaged; dropped"},
    {Verdict::icmp_ignored, Tone::foreign, "icmp_ignored", "ICMP that asks nothing of us"},
    {Verdict::bad_arp, Tone::attack, "bad_arp", "ARP that is cut short, damaged or a lie; dropped"},
    {Verdict::bad_neighbor_discovery, Tone::attack, "bad_neighbor_discovery",
     "IPv6 neighbour discovery that is damaged, from beyond the link or a lie; dropped"},
    {Verdict::bad_extension_header, Tone::attack, "bad_extension_header",
     "IPv6 extension headers that are too many, damaged or demand it; dropped"},
    {Verdict::not_our_address, Tone::foreign, "not_our_address", "IP packet for somebody else"},
    {Verdict::not_our_frame, Tone::foreign, "not_our_frame", "Ethernet frame for somebody else"},
    {Verdict::unknown_ethertype, Tone::foreign, "unknown_ethertype", "neither IPv4, IPv6 nor ARP"},
    {Verdict::unknown_protocol, Tone::foreign, "unknown_protocol", "neither TCP nor ICMP"},
    {Verdict::filtered, Tone::ours, "filtered", "denied by a rule of [[filter]]; dropped"},
    {Verdict::half_open_full, Tone::ours, "half_open_full", "SYN dropped: all half-open records in use"},
    {Verdict::table_full, Tone::ours, "table_full", "dropped: connection table full"},
    {Verdict::no_buffer, Tone::ours, "no_buffer", "data dropped: no chunk to keep it in"},
    {Verdict::reset_limited, Tone::ours, "reset_limited", "no RST sent: rate limit"},
    {Verdict::fragment_limited, Tone::ours, "fragment_limited", "IP fragment dropped: too many of its source wait"},
    {Verdict::icmp_limited, Tone::ours, "icmp_limited", "ping not answered: rate limit"},
    {Verdict::draining, Tone::ours, "draining", "SYN dropped: the engine is shutting down"},
    {Verdict::no_room_to_answer, Tone::ours, "no_room_to_answer", "no answer sent: the device is busy"},
    {Verdict::handover_full, Tone::ours, "handover_full", "dropped: its flow's worker does not keep up"},
}};

constexpr std::array<TallyInfo, tally_count> tally_list{{
    {Tally::fast_path, "fast_path", "segments that met every expectation of the fast path"},
    {Tally::segments_received, "segments_received", "TCP segments for us, with a good checksum"},
    {Tally::segments_sent, "segments_sent", "TCP segments of connections sent, retransmissions included"},
    {Tally::payload_bytes_received, "payload_bytes_received", "bytes received in order, once each"},
    {Tally::payload_bytes_sent, "payload_bytes_sent", "bytes sent for the first time"},
    {Tally::acks_sent, "acks_sent", "segments sent without payload, SYN and FIN"},
    {Tally::urgent_segments, "urgent_segments", "segments with urgent data, delivered in line as any other"},
    {Tally::connections_opened, "connections_opened", "handshakes completed"},
    {Tally::cookies_accepted, "cookies_accepted", "handshakes completed by SYN cookie, without a record"},
    {Tally::connections_closed, "connections_closed", "connections ended in good order"},
    {Tally::connections_reset, "connections_reset", "connections ended by the peer's RST"},
    {Tally::connections_aborted, "connections_aborted", "connections ended by our RST"},
    {Tally::connections_timed_out, "connections_timed_out", "connections given up: the peer does not answer"},
    {Tally::connects_started, "connects_started", "opens begun by us"},
    {Tally::connects_refused, "connects_refused", "opens of ours that the peer refused by RST"},
    {Tally::connects_unreachable, "connects_unreachable", "opens of ours that the network cannot deliver"},
    {Tally::connects_abandoned, "connects_abandoned", "opens of ours closed by the application before an answer"},
    {Tally::connects_forbidden, "connects_forbidden", "opens of ours to or from what is no single host; not begun"},
    {Tally::connects_in_use, "connects_in_use", "opens of ours whose addresses and ports are in use; not begun"},
    {Tally::connects_without_port, "connects_without_port", "opens of ours that found no local port; not begun"},
    {Tally::connects_unroutable, "connects_unroutable", "opens of ours: no address of ours leads there; not begun"},
    {Tally::connects_without_room, "connects_without_room", "opens of ours: connection table full; not begun"},
    {Tally::syns_retransmitted, "syns_retransmitted", "SYNs of ours sent again by timer"},
    {Tally::retransmitted_segments, "retransmitted_segments", "segments with data or FIN sent again"},
    {Tally::retransmission_timeouts, "retransmission_timeouts", "retransmission timers that fired"},
    {Tally::fast_retransmits, "fast_retransmits", "recoveries begun by duplicate ACKs, SACKs or RACK's clock"},
    {Tally::recoveries_undone, "recoveries_undone", "recoveries that proved needless: the window came back"},
    {Tally::timeouts_undone, "timeouts_undone", "timeouts that proved spurious: the window came back"},
    {Tally::tail_loss_probes, "tail_loss_probes", "probes for losses at the end of a flight (RFC 8985)"},
    {Tally::segments_marked_lost, "segments_marked_lost", "segments that RACK found lost"},
    {Tally::duplicates_reported, "duplicates_reported", "DSACKs: the peer had something twice (RFC 2883)"},
    {Tally::sacks_reneged, "sacks_reneged", "times a peer dropped data that it had reported as received"},
    {Tally::recoveries_without_room, "recoveries_without_room",
     "segments that found no loss recovery record: raise tcp.recoveries or tcp.segment_records"},
    {Tally::black_holes_found, "black_holes_found", "connections whose full segments drew no answer: made smaller"},
    {Tally::window_probes, "window_probes", "probes of a closed window"},
    {Tally::keep_alive_probes, "keep_alive_probes", "probes of idle connections"},
    {Tally::receive_buffers_grown, "receive_buffers_grown", "doublings of connections' receive buffers"},
    {Tally::path_mtu_lowered, "path_mtu_lowered", "connections whose segments became smaller, as ICMP asked"},
    {Tally::ecn_connections, "ecn_connections", "handshakes that agreed on ECN"},
    {Tally::ecn_reductions, "ecn_reductions", "congestion windows reduced because routers marked what we sent"},
    {Tally::ce_received, "ce_received", "data segments that routers marked as congested"},
    {Tally::syn_acks_retransmitted, "syn_acks_retransmitted", "SYN-ACKs sent again by timer"},
    {Tally::half_open_expired, "half_open_expired", "half-open connections given up"},
    {Tally::time_wait_made, "time_wait_made", "connections that entered TIME-WAIT"},
    {Tally::time_wait_recycled, "time_wait_recycled", "TIME-WAIT ended early: the store was full"},
    {Tally::time_wait_expired, "time_wait_expired", "TIME-WAIT ended after 2 MSL"},
    {Tally::resets_sent, "resets_sent", "RSTs sent"},
    {Tally::challenge_acks_sent, "challenge_acks_sent", "challenge ACKs sent (RFC 5961)"},
    {Tally::challenge_acks_limited, "challenge_acks_limited", "challenge ACKs withheld by the limit"},
    {Tally::stateless_replies_dropped, "stateless_replies_dropped", "SYN-ACKs and ACKs lost to a full batch"},
    {Tally::unread_bytes_rolled_back, "unread_bytes_rolled_back", "unread bytes given back to the peer: no chunk"},
    {Tally::handed_over, "handed_over", "packets given to the worker that owns their flow"},
    {Tally::taken_over, "taken_over", "packets of our flows that other workers received"},
    {Tally::link_news_lost, "link_news_lost", "news of neighbours that another worker had no room for"},
    {Tally::datagrams_reassembled, "datagrams_reassembled", "IP datagrams put together from fragments"},
    {Tally::fragments_discarded, "fragments_discarded", "fragments given up: the rest came late, never, or over them"},
    {Tally::duplicate_addresses, "duplicate_addresses", "addresses of ours found in use by another station; not used"},
    {Tally::busy_us, "busy_us", "microseconds that workers have spent in turns with work"},
    {Tally::impaired_received_lost, "impaired_received_lost", "received packets dropped on purpose"},
    {Tally::impaired_received_duplicated, "impaired_received_duplicated", "received packets doubled on purpose"},
    {Tally::impaired_received_reordered, "impaired_received_reordered", "received packets held back on purpose"},
    {Tally::impaired_received_corrupted, "impaired_received_corrupted", "received packets damaged on purpose"},
    {Tally::impaired_received_overflowed, "impaired_received_overflowed", "received packets: the delay line was full"},
    {Tally::impaired_sent_lost, "impaired_sent_lost", "sent packets dropped on purpose"},
    {Tally::impaired_sent_duplicated, "impaired_sent_duplicated", "sent packets doubled on purpose"},
    {Tally::impaired_sent_reordered, "impaired_sent_reordered", "sent packets held back on purpose"},
    {Tally::impaired_sent_corrupted, "impaired_sent_corrupted", "sent packets damaged on purpose"},
    {Tally::impaired_sent_overflowed, "impaired_sent_overflowed", "sent packets: the delay line was full"},
    {Tally::sent_without_link, "sent_without_link", "frames dropped: the device takes nothing and has no link"},
    {Tally::events_lost, "events_lost", "events that found no place; must stay 0"},
}};

namespace {
template <class List>
constexpr bool in_order(const List& list, auto member) {
    for (size_t i = 0; i < list.size(); ++i) {
        if (static_cast<size_t>(list[i].*member) != i || list[i].sentence.empty()) return false;
    }
    return true;
}
static_assert(in_order(verdict_list, &VerdictInfo::verdict), "the list follows the enumeration");
static_assert(in_order(tally_list, &TallyInfo::tally), "the list follows the enumeration");
}  // namespace

const std::array<VerdictInfo, verdict_count> verdicts = verdict_list;
const std::array<TallyInfo, tally_count> tallies = tally_list;

std::string_view name(Verdict verdict) {
    return verdict < Verdict::count ? verdict_list[static_cast<size_t>(verdict)].name : "?";
}
std::ostream& operator<<(std::ostream& out, Verdict verdict) { return out << name(verdict); }

}  // namespace pollux::tcp
