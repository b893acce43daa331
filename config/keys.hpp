// Every key of a settings file, once: its name, the member that it sets, and its range with the reason for it. The
// loader and the printer both walk these lists (an `io` has flag, count, count_or_zero, text and texts), so that what
// can be read can be printed and read again.
#pragma once

#include "config/notation.hpp"
#include "config/settings.hpp"

namespace pollux::config {

template <class Io>
void describe(Io& io, Eal& eal) {
    io.flag("huge_pages", eal.huge_pages);
    io.text("memory", eal.memory_mb, memory_mb(1 << 20));
    io.text("cores", eal.cores, core_list());
    io.text("file_prefix", eal.file_prefix, plain_text("a name without control characters"));
    io.texts("args", eal.args, any_text("an EAL argument"));
}

template <class Io>
void describe(Io& io, Engine& engine) {
    using namespace std::chrono_literals;
    io.text("idle", engine.idle, idle());
    io.text("drain_timeout", engine.drain_timeout, duration(0s, 1h));
    io.count("packet_buffers", engine.packet_buffers, 1'024, 1 << 24);
    io.count("icmp_replies_per_second", engine.icmp_replies_per_second, 0, 1'000'000);
    io.text("control_socket", engine.control_socket, control_socket());
}

template <class Io>
void describe(Io& io, Port& port) {
    io.text("device", port.device, device());
    io.texts("addresses", port.addresses, prefix());
    io.text("gateway", port.gateway, address_v4());
    io.text("gateway_v6", port.gateway_v6, address_v6());
    io.flag("duplicate_address_detection", port.duplicate_address_detection);
    io.count("mtu_bytes", port.mtu_bytes, 68, 9'216);  // RFC 791: every link carries 68
    io.text("mac", port.mac, mac_address());
    io.count("rx_descriptors", port.rx_descriptors, 32, 16'384);
    io.count("tx_descriptors", port.tx_descriptors, 32, 16'384);
    io.text("checksum_offload", port.checksum_offload, checksum_offload());
    io.text("rss", port.rss, rss());
}

template <class Io>
void describe(Io& io, Listen& listen) {
    io.text("address", listen.address, address());
    io.count("port", listen.port, 1, 65'535);
    io.text("congestion", listen.congestion, congestion_or_default());
}

template <class Io>
void describe(Io& io, Filter& filter) {
    io.text("action", filter.action, filter_action());
    io.text("source", filter.from, network());
    io.text("ports", filter.ports, port_range());
    io.text("destination", filter.to, network());
}

template <class Io>
void describe(Io& io, tcp::StackSettings& tcp) {
    using namespace std::chrono_literals;
    io.count_or_zero("max_mss_bytes", tcp.max_mss, 28, 65'495);  // 0: as the MTU allows
    io.flag("window_scaling", tcp.window_scaling);
    io.flag("sack", tcp.sack);
    io.flag("timestamps", tcp.timestamps);
    io.flag("ecn", tcp.ecn);
    io.flag("ecn_request", tcp.ecn_request);
    io.count("ecn_syn_retries", tcp.ecn_syn_retries, 1, 11);  // above any syn_retries: every SYN asks
    io.text("receive_buffer", tcp.receive_buffer, size(2 << 10, 1 << 30));
    io.text("receive_buffer_max", tcp.receive_buffer_max, size(0, 1 << 30));
    io.text("ack_delay", tcp.ack_delay, duration(0ms, 499ms));  // RFC 9293 MUST-40: below 0.5 s
    io.count("reassembly_ranges", tcp.reassembly_ranges, 1, 4'096);
    io.text("initial_rto", tcp.initial_rto, duration(100ms, 60s));
    io.text("min_rto_variance", tcp.min_rto_variance, duration(1ms, 10s));
    io.text("max_rto", tcp.max_rto, duration(1s, 10min));
    io.count("syn_ack_retries", tcp.syn_ack_retries, 0, 10);
    io.count("syn_retries", tcp.syn_retries, 0, 10);
    io.count("data_retries", tcp.data_retries, 1, 30);
    io.count("orphan_retries", tcp.orphan_retries, 0, 30);
    io.count("first_local_port", tcp.first_local_port, 1'024, 65'535);  // RFC 6056 section 3.2
    io.count("last_local_port", tcp.last_local_port, 1'024, 65'535);
    io.text("user_timeout", tcp.user_timeout, duration(0s, 240h));
    io.flag("keep_alive", tcp.keep_alive);
    io.text("keep_alive_idle", tcp.keep_alive_idle, duration(1s, 240h));
    io.text("keep_alive_interval", tcp.keep_alive_interval, duration(1s, 1h));
    io.count("keep_alive_probes", tcp.keep_alive_probes, 2, 100);  // RFC 9293 MUST-29: one alone ends nothing
    io.text("msl", tcp.msl, duration(500ms, 120s));                // RFC 9293 section 3.4.2 says 2 min
    io.text("fin_wait_2", tcp.fin_wait_2, duration(1s, 1h));
    io.flag("nagle", tcp.nagle);
    io.text("send_queue_limit", tcp.send_queue_limit, size(64 << 10, 1ull << 31));
    io.text("congestion", tcp.congestion, congestion());
    io.flag("hystart", tcp.hystart);
    io.flag("restart_after_idle", tcp.restart_after_idle);
    io.count("initial_window_segments", tcp.initial_window_segments, 1, 64);
    io.count("resets_per_second", tcp.resets_per_second, 0, 1'000'000);
    io.count("challenge_acks_per_second", tcp.challenge_acks_per_second, 1, 1'000);
    io.count("ttl", tcp.ttl, 1, 255);
    io.count("dscp", tcp.dscp, 0, 63);
    io.count("transmit_quantum", tcp.transmit_quantum, 1, 1'024);
}

template <class Io>
void describe(Io& io, tcp::Capacity& capacity) {
    io.count("connections", capacity.connections, 1, 1 << 28);
    io.count("half_open", capacity.half_open, 1, 1 << 24);
    io.count("time_wait", capacity.time_wait, 1, 1 << 27);
    io.count("send_entries", capacity.send_entries, 1, 1 << 28);
    io.count("chunks", capacity.chunks, 1, 1 << 26);
    io.count("receive_stores", capacity.receive_stores, 1, 1 << 26);
    io.count("recoveries", capacity.recoveries, 0, 1 << 26);
    io.count("segment_records", capacity.segment_records, 0, 1 << 28);
    io.count("spent_cookies", capacity.spent_cookies, 0, 1 << 28);
    io.count("events", capacity.events, 64, 1 << 20);
}

template <class Io>
void describe(Io& io, Security& security) {
    using namespace std::chrono_literals;
    io.text("syn_cookies", security.syn_cookies, syn_cookie_mode());
    io.text("cookie_period", security.cookie_period, duration(1s, 1h));
    io.text("cookie_secret_file", security.cookie_secret_file, plain_text("the name of a file"));
}

template <class Io>
void describe(Io& io, Http& http) {
    using namespace std::chrono_literals;
    io.text("idle_timeout", http.idle_timeout, duration(0s, 24h));
    io.count("max_requests", http.max_requests, 0, 65'535);
    io.text("header_timeout", http.header_timeout, duration(0s, 1h));
    io.text("linger_timeout", http.linger_timeout, duration(0s, 1min));
    io.text("max_request_line", http.max_request_line_bytes, size(64, 64 << 10));
    io.text("max_header", http.max_header_bytes, size(256, 1 << 20));
    io.count("max_header_fields", http.max_header_fields, 1, 1'000);
    io.text("max_body", http.max_body_bytes, size(0, 1 << 30));
    io.count("request_buffers", http.request_buffers, 1, 1 << 24);
}

template <class Io>
void describe(Io& io, Route& route) {
    io.text("path", route.path, url_path());
    io.text("body", route.body, any_text("the text of the answer"));
    io.text("file", route.file, plain_text("the name of a file", 1));
    io.text("content_type", route.content_type, plain_text("a media type such as \"text/html\"", 1));
}

template <class Io>
void describe(Io& io, Test& test) {
    io.flag("enabled", test.enabled);
    io.count("seed", test.seed, 0, UINT32_MAX);
}

template <class Io>
void describe(Io& io, Impairment& impairment) {
    using namespace std::chrono_literals;
    io.text("loss", impairment.loss_ppm, percent());
    io.text("duplication", impairment.duplication_ppm, percent());
    io.text("reordering", impairment.reordering_ppm, percent());
    io.text("corruption", impairment.corruption_ppm, percent());
    io.text("delay", impairment.delay, duration(0s, 10s));
    io.text("jitter", impairment.jitter, duration(0s, 10s));
    io.text("reorder_by", impairment.reorder_by, duration(1us, 10s));
}

}  // namespace pollux::config
