// BM_KeepAliveTurn: what one keep-alive request costs the server's core, the whole turn: a burst of GETs, as wrk
// sends them, received as real mbufs of a mempool; checksums verified in software; TCP with timestamps, RTT,
// congestion control and timers live; HTTP parsed and answered with 118 bytes (head and body); frames written and
// summed in software. Each request acknowledges the answer before it, as a client's does.
//
// What is not in it: a device's driver. The queue is memory, so the packets' descriptors cost nothing; the generator
// fills the frames just before the turn, so they are as warm as a device with DDIO makes them, or warmer. The clock
// is read once per turn, as in production.
//
// The generator (building requests, reading and releasing answers) runs between the turns. Its cycles are counted
// apart:
//
//     cycles_gross = everything          cycles_generator = between the turns          cycles_net = the difference
//
// each per request. Means suffer when the machine runs something else in between, so the turns are also kept one by
// one: cycles_net_median, and cycles_net_best_decile, which the gate uses. `fast_path` is the share of segments that
// met every expectation. Args: connections, burst.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "apps/httpd/http_server.hpp"
#include "engine/clock.hpp"
#include "engine/eal.hpp"
#include "engine/mbuf.hpp"
#include "engine/worker.hpp"
#include "tcp/wire/packet.hpp"

namespace {

using namespace pollux;
using tcp::Flags;
using tcp::Segment;
using tcp::wire::MacAddress;

constexpr std::string_view request = "GET / HTTP/1.1\r\nHost: 10.99.0.1\r\n\r\n";
constexpr size_t answer_size = 118;
constexpr uint32_t server_v4 = 0x0a63'0001;
constexpr uint32_t client_v4 = 0x0a63'0100;  // and up: 50,000 connections from each address
constexpr MacAddress server_mac{{2, 0, 0, 0, 0, 1}}, client_mac{{2, 0, 0, 0, 0, 2}};
constexpr size_t ip_at = 14, tcp_at = ip_at + 20, options_at = tcp_at + 20, payload_at = options_at + 12;
constexpr uint32_t queue_packets = 4096;

/// The worker holds it, the generator fills and empties it.
struct QueueHandle {
    engine::MemoryQueue* queue;
    uint16_t receive(std::span<rte_mbuf*> into) { return queue->receive(into); }
    uint16_t send(std::span<rte_mbuf*> packets) { return queue->send(packets); }
};

engine::Interface server_interface() {
    engine::Interface made;
    made.name = "memory0";
    made.mac = server_mac;
    made.networks = {{server_v4, 0xffff'0000}};
    return made;
}

tcp::StackSettings stack_settings(uint32_t connections, uint64_t wall_us) {
    tcp::StackSettings settings;
    settings.capacity.connections = connections + 64;
    settings.wall_clock_at_zero_us = wall_us;
    return settings;
}

/// An answer of 118 bytes: the head is as it is, the body fills it up.
std::vector<http::Route> routes(size_t body_size) {
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
};

class Server {
public:
    Server(uint32_t connections, size_t body_size, rte_mempool& pool, engine::MemoryQueue& queue,
           const engine::Clock& clock)
        : interfaces_{server_interface()},
          stack_(stack_settings(connections, clock.wall_at_zero_us()), {{1, 2}, {3, 4}, {5, 6}, 7}, counters),
          app_(stack_, routes(body_size), http_settings(clock)),
          worker_({{&queue}}, interfaces_, stack_, app_, counters, pool, quiet()) {
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
    static engine::WorkerSettings quiet() {
        engine::WorkerSettings settings;
        settings.announces = false;
        return settings;
    }

    std::vector<engine::Interface> interfaces_;
    tcp::Stack stack_;
    httpd::HttpServer app_;
    engine::Worker<QueueHandle, httpd::HttpServer> worker_;
};

/// Plays all clients.
class Generator {
public:
    Generator(uint32_t connections, rte_mempool& pool, engine::MemoryQueue& queue) : pool_(pool), queue_(queue) {
        for (uint32_t i = 0; i < connections; ++i) {
            clients_.push_back(
                {client_v4 + i / per_address, static_cast<uint16_t>(10'000 + i % per_address), 1000 + i, 0, 0});
        }
    }

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
        queue_.arrive(packet);
        client.seq += static_cast<uint32_t>(payload.size()) + (segment.has(Flags::syn) ? 1 : 0);
    }

    /// Reads what came back and releases it; how many answers there were.
    uint32_t collect() {
        uint32_t answers = 0;
        auto& sent = queue_.sent();
        for (rte_mbuf* packet : sent) {
            const std::byte* frame = rte_pktmbuf_mtod(packet, const std::byte*);
            const uint32_t address = tcp::wire::load_be32(frame + ip_at + 16);
            const uint16_t port = tcp::wire::load_be16(frame + tcp_at + 2);
            Client& client = clients_[(address - client_v4) * per_address + (port - 10'000u)];
            const bool syn = (tcp::wire::load_u8(frame + tcp_at + 13) & uint8_t(Flags::syn)) != 0;
            const uint32_t header = uint32_t{tcp::wire::load_u8(frame + tcp_at + 12)} >> 4 << 2;
            last_payload_ = tcp::wire::load_be16(frame + ip_at + 2) - 20u - header;
            client.ack = tcp::wire::load_be32(frame + tcp_at + 4) + last_payload_ + (syn ? 1 : 0);
            // Timestamps stand first behind two NOPs, but on a SYN-ACK: MSS, SACK-permitted, timestamps.
            client.timestamp_echo = tcp::wire::load_be32(frame + options_at + (syn ? 8 : 4));
            if (last_payload_ != 0) ++answers;
        }
        engine::release(sent);
        sent.clear();
        return answers;
    }

    std::vector<Client>& clients() { return clients_; }
    /// Of the last answer.
    uint32_t answer_bytes() const { return last_payload_; }

private:
    static constexpr uint32_t per_address = 50'000;

    rte_mempool& pool_;
    engine::MemoryQueue& queue_;
    std::vector<Client> clients_;
    uint32_t last_payload_ = 0;
};

/// EAL and the pool, once per process.
struct Ground {
    Ground() : eal(settings(), engine::packet_pool_bytes(queue_packets, 1500)) {
        pool = engine::make_packet_pool("bench", queue_packets, 1500, SOCKET_ID_ANY);
    }
    static config::Settings settings() {
        config::Settings made;
        made.eal.huge_pages = engine::free_huge_pages() != engine::HugePages::none;
        made.eal.cores = {static_cast<uint16_t>(sched_getcpu())};
        return made;
    }
    engine::Eal eal;
    engine::PacketPool pool;
};

/// Opens every connection by a handshake through the queue.
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

/// The head's size decides the body's: one connection asks once.
size_t body_for_answer(rte_mempool& pool, const engine::Clock& clock) {
    constexpr size_t probe = 10;  // two digits of Content-Length, as the final one has or nearly
    engine::MemoryQueue queue;
    Server server{1, probe, pool, queue, clock};
    Generator generator{1, pool, queue};
    open_all(generator, server, clock);
    generator.send(generator.clients()[0], Flags::ack | Flags::psh, false, request, clock.now());
    server.turn(clock.now());
    generator.collect();
    const size_t head = generator.answer_bytes() - probe;
    return head < answer_size ? answer_size - head : 1;
}

void BM_KeepAliveTurn(benchmark::State& state) {
    static Ground ground;
    const auto connections = static_cast<uint32_t>(state.range(0));
    const auto burst = static_cast<uint32_t>(state.range(1));
    const engine::Clock clock;
    engine::MemoryQueue queue;
    const size_t body = body_for_answer(*ground.pool, clock);
    Server server{connections, body, *ground.pool, queue, clock};
    Generator generator{connections, *ground.pool, queue};
    open_all(generator, server, clock);

    std::vector<uint32_t> turns;  // cycles of each
    turns.reserve(1u << 20);
    uint32_t next = 0;
    uint64_t requests = 0, answers = 0, in_turns = 0;
    const tcp::Counters before = server.counters;
    const uint64_t began = rte_rdtsc();
    for (auto _ : state) {
        const tcp::Instant sent_at = clock.now();
        for (uint32_t i = 0; i < burst; ++i) {
            generator.send(generator.clients()[next], Flags::ack | Flags::psh, false, request, sent_at);
            if (++next == connections) next = 0;
        }
        const uint64_t turn_began = rte_rdtsc();
        server.turn(clock.now());
        const uint64_t turn_cycles = rte_rdtsc() - turn_began;
        in_turns += turn_cycles;
        if (turns.size() < turns.capacity()) turns.push_back(static_cast<uint32_t>(turn_cycles));
        answers += generator.collect();
        requests += burst;
    }
    const uint64_t gross = rte_rdtsc() - began;
    const auto since = [&](tcp::Tally tally) { return static_cast<double>(server.counters[tally] - before[tally]); };
    if (answers != requests) state.SkipWithError("a request has no answer");

    const auto per_request = [&](uint64_t cycles) {
        return static_cast<double>(cycles) / static_cast<double>(requests);
    };
    state.counters["cycles_gross"] = per_request(gross);
    state.counters["cycles_generator"] = per_request(gross - in_turns);
    state.counters["cycles_net"] = per_request(in_turns);
    std::sort(turns.begin(), turns.end());
    const auto quantile = [&](size_t percent) {
        return turns.empty() ? 0.0 : static_cast<double>(turns[turns.size() * percent / 100]) / burst;
    };
    state.counters["cycles_net_median"] = quantile(50);
    state.counters["cycles_net_best_decile"] = quantile(10);
    state.counters["fast_path"] = since(tcp::Tally::fast_path) / since(tcp::Tally::segments_received);
    state.counters["answer_bytes"] = generator.answer_bytes();
}
BENCHMARK(BM_KeepAliveTurn)
    ->ArgNames({"connections", "burst"})
    ->Args({1000, 32})
    ->Args({1000, 1})
    ->Args({100'000, 32});

}  // namespace

BENCHMARK_MAIN();
