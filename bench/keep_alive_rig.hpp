// A keep-alive server on one core and the clients that keep it busy, for the benchmarks of whole turns. The generator
// plays all clients: it fills frames as wrk would, just before the turn, and reads and releases the answers after it.
//
// The wire between the two is a template argument of the generator: `arrive(packet)` brings one to the server,
// `take_sent(packets)` appends what the server has sent.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "apps/httpd/http_server.hpp"
#include "engine/clock.hpp"
#include "engine/mbuf.hpp"
#include "engine/worker.hpp"
#include "tcp/wire/packet.hpp"

namespace pollux::bench {

using tcp::Flags;
using tcp::Segment;
using tcp::wire::MacAddress;

inline constexpr std::string_view request = "GET / HTTP/1.1\r\nHost: 10.99.0.1\r\n\r\n";
inline constexpr size_t answer_size = 118;
inline constexpr uint32_t server_v4 = 0x0a63'0001;
inline constexpr uint32_t client_v4 = 0x0a63'0100;  // and up: 50,000 connections from each address
inline constexpr MacAddress server_mac{{2, 0, 0, 0, 0, 1}}, client_mac{{2, 0, 0, 0, 0, 2}};
inline constexpr size_t ip_at = 14, tcp_at = ip_at + 20, options_at = tcp_at + 20, payload_at = options_at + 12;

inline constexpr tcp::Secrets secrets{{1, 2}, {3, 4}, {5, 6}, 7};

inline tcp::StackSettings stack_settings(uint32_t connections, uint64_t wall_us, tcp::SynCookieMode cookies) {
    tcp::StackSettings settings;
    settings.syn_cookies = cookies;
    settings.capacity.connections = connections + 64;
    settings.wall_clock_at_zero_us = wall_us;
    return settings;
}

/// An answer of 118 bytes: the head is as it is, the body fills it up.
inline std::vector<http::Route> routes(size_t body_size) {
    http::Route route;
    route.path = "/";
    route.body = std::string(body_size, 'x');
    return {route};
}

/// One side of a connection, as much of it as the generator must know.
struct Client {
    uint32_t address;
    uint16_t port;
    uint32_t seq, ack, timestamp_echo;

    /// As the server sees it.
    tcp::FourTuple flow() const {
        return {tcp::IpAddress::from_v4(server_v4), tcp::IpAddress::from_v4(address), 80, port};
    }
};

template <class Queue>
class Server {
public:
    /// Refers to `interfaces` and `pool`.
    Server(uint32_t connections, size_t body_size, rte_mempool& pool, Queue queue,
           std::span<const engine::Interface> interfaces, const engine::Clock& clock,
           const engine::Crossing& crossing = {}, tcp::SynCookieMode cookies = tcp::SynCookieMode::adaptive)
        : stack_(stack_settings(connections, clock.wall_at_zero_us(), cookies), secrets, counters),
          app_(stack_, routes(body_size), http_settings(clock)),
          worker_({queue}, interfaces, stack_, app_, counters, pool, quiet(crossing)) {
        if (!stack_.listen({{}, 80})) throw std::runtime_error("cannot listen");
    }

    void turn(tcp::Instant now) { worker_.turn(now); }

    tcp::Counters counters;

private:
    static httpd::ServerSettings http_settings(const engine::Clock& clock) {
        httpd::ServerSettings settings;
        settings.wall_at_zero_us = clock.wall_at_zero_us();
        return settings;
    }
    static engine::WorkerSettings quiet(const engine::Crossing& crossing) {
        engine::WorkerSettings settings;
        settings.announces = false;
        settings.crossing = crossing;
        return settings;
    }

    tcp::Stack stack_;
    httpd::HttpServer app_;
    engine::Worker<Queue, httpd::HttpServer> worker_;
};

/// Plays all clients.
template <class Wire>
class Generator {
public:
    /// `is_ours(client)`: only such ones are taken, of the first ones that there are.
    template <class IsOurs>
    Generator(uint32_t connections, rte_mempool& pool, Wire wire, IsOurs&& is_ours) : pool_(pool), wire_(wire) {
        for (uint32_t i = 0; clients_.size() < connections; ++i) {
            const Client client{client_v4 + i / per_address, static_cast<uint16_t>(10'000 + i % per_address),
                                1000 + i, 0, 0};
            places_.push_back(static_cast<uint32_t>(clients_.size()));
            if (is_ours(client)) clients_.push_back(client);
        }
    }
    Generator(uint32_t connections, rte_mempool& pool, Wire wire)
        : Generator(connections, pool, wire, [](const Client&) { return true; }) {}

    void send(Client& client, Flags flags, bool with_options_of_syn, std::string_view payload, tcp::Instant now) {
        Segment segment;
        segment.flow = {tcp::IpAddress::from_v4(client.address), tcp::IpAddress::from_v4(server_v4), client.port, 80};
        segment.seq = tcp::SeqNum{client.seq};
        segment.ack = tcp::SeqNum{client.ack};
        segment.flags = flags;
        segment.window = with_options_of_syn ? 64'240 : 502;
        segment.present = tcp::Present::timestamps;
        segment.timestamps = {static_cast<uint32_t>(now.time_since_epoch().count() / 1000) + 77,
                              client.timestamp_echo};
        if (with_options_of_syn) {
            segment.present |= tcp::Present::mss | tcp::Present::window_scale | tcp::Present::sack_permitted;
            segment.mss = 1460;
            segment.window_scale = 7;
        }
        segment.payload = std::as_bytes(std::span{payload});
        rte_mbuf* packet = rte_pktmbuf_alloc(&pool_);
        if (!packet) throw std::runtime_error("no packet");
        const auto room = engine::room_of(*packet);
        tcp::wire::write_ethernet(room, server_mac, client_mac, tcp::wire::EtherType::ipv4);
        const size_t size = tcp::wire::emit(segment, room.subspan(ip_at));
        engine::set_size(*packet, ip_at + size);
        wire_.arrive(packet);
        client.seq += static_cast<uint32_t>(payload.size()) + (segment.has(Flags::syn) ? 1 : 0);
    }

    /// Reads what came back and releases it; how many answers there were.
    uint32_t collect() {
        uint32_t answers = 0;
        sent_.clear();
        wire_.take_sent(sent_);
        for (rte_mbuf* packet : sent_) {
            const std::byte* frame = rte_pktmbuf_mtod(packet, const std::byte*);
            const uint32_t address = tcp::wire::load_be32(frame + ip_at + 16);
            const uint16_t port = tcp::wire::load_be16(frame + tcp_at + 2);
            Client& client = clients_[places_[(address - client_v4) * per_address + (port - 10'000u)]];
            const bool syn = (tcp::wire::load_u8(frame + tcp_at + 13) & uint8_t(Flags::syn)) != 0;
            const uint32_t header = uint32_t{tcp::wire::load_u8(frame + tcp_at + 12)} >> 4 << 2;
            last_payload_ = tcp::wire::load_be16(frame + ip_at + 2) - 20u - header;
            client.ack = tcp::wire::load_be32(frame + tcp_at + 4) + last_payload_ + (syn ? 1 : 0);
            // Timestamps stand first behind two NOPs, but on a SYN-ACK: MSS, SACK-permitted, timestamps.
            client.timestamp_echo = tcp::wire::load_be32(frame + options_at + (syn ? 8 : 4));
            if (last_payload_ != 0) ++answers;
        }
        engine::release(sent_);
        return answers;
    }

    std::vector<Client>& clients() { return clients_; }
    /// Of the last answer.
    uint32_t answer_bytes() const { return last_payload_; }

private:
    static constexpr uint32_t per_address = 50'000;

    rte_mempool& pool_;
    Wire wire_;
    std::vector<Client> clients_;
    std::vector<uint32_t> places_;  // where each of the possible clients stands, if it does
    std::vector<rte_mbuf*> sent_;
    uint32_t last_payload_ = 0;
};

/// Opens every connection by a handshake through the queue.
template <class Generator, class Server>
void open_all(Generator& generator, Server& server, const engine::Clock& clock) {
    auto& clients = generator.clients();
    for (size_t first = 0; first < clients.size(); first += engine::receive_burst) {
        const auto part =
            std::span{clients}.subspan(first, std::min<size_t>(engine::receive_burst, clients.size() - first));
        for (Client& client : part) generator.send(client, Flags::syn, true, {}, clock.now());
        server.turn(clock.now());
        generator.collect();
        for (Client& client : part) generator.send(client, Flags::ack, false, {}, clock.now());
        server.turn(clock.now());
        generator.collect();
    }
    if (server.counters[tcp::Tally::connections_opened] != clients.size()) {
        throw std::runtime_error("not all connections opened");
    }
}

}  // namespace pollux::bench
