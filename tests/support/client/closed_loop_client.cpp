#include "tests/support/client/closed_loop_client.hpp"

#include <algorithm>
#include <charconv>
#include <stdexcept>

#include "tcp/wire/arp.hpp"
#include "tcp/wire/ethernet.hpp"
#include "tcp/wire/packet.hpp"

namespace pollux::test {

using tcp::Duration;
using tcp::Flags;
using tcp::Instant;
using tcp::Present;
using tcp::Segment;
using tcp::SeqNum;
using tcp::wire::ArpOperation;
using tcp::wire::ArpPacket;
using tcp::wire::ChecksumTrust;
using tcp::wire::EthernetFrame;
using tcp::wire::EtherType;
using tcp::wire::MacAddress;
using tcp::wire::ParseResult;

namespace {

constexpr size_t longest_head = 2'048;
constexpr Duration between_link_questions{100'000};
constexpr uint8_t most_doublings = 4;
constexpr uint16_t mss = 1'460, window = 65'535;

std::string_view as_text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The number behind `name`, which is a whole "\r\nField: "; nothing if the field or a number is not there.
std::optional<uint64_t> number_behind(std::string_view head, std::string_view name) {
    const size_t at = head.find(name);
    if (at == head.npos) return {};
    const char* begin = head.data() + at + name.size();
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(begin, head.data() + head.size(), value);
    return error == std::errc{} ? std::optional{value} : std::nullopt;
}

}  // namespace

ClosedLoopClient::ClosedLoopClient(const Options& options)
    : options_(options),
      connections_(options.connections),
      ready_(options.connections),
      server_mac_(options.server_mac),
      isn_(options.seed * 2'654'435'761u) {
    if (options_.connections == 0 || options_.first_port + options_.connections > 65'536) {
        throw std::invalid_argument("there are no ports for " + std::to_string(options_.connections) +
                                    " connections");
    }
    for (Connection& c : connections_) c.head.reserve(longest_head);
    last_words_.reserve(options_.connections);
    open_ = options_.connections;  // they begin with the first frame that is asked for
}

// ---- In.
// ------------------------------------------------------------------------------------------------------------

void ClosedLoopClient::receives(std::span<const std::byte> bytes, Instant now) {
    const auto frame = EthernetFrame::parse(bytes);
    if (!frame) return;
    switch (frame->ether_type()) {
        case EtherType::arp: return arp_arrives(frame->payload());
        case EtherType::ipv4:
        case EtherType::ipv6: break;
        default: return;
    }
    Segment segment;
    if (tcp::wire::parse_into(frame->payload(), ChecksumTrust::verify_all, segment) != ParseResult::ok) return;
    if (Connection* c = connection_of(segment.flow)) {
        segment_arrives(*c, segment, now);
    } else if (segment.has(Flags::fin) && segment.has(Flags::ack) && segment.flow.remote_addr == options_.server) {
        // Our last ACK was lost. A TIME-WAIT of one line: everything that has to be known is in the segment.
        say_last({segment.flow.local_port, false, segment.ack, segment.seq + segment.seq_length(),
                  segment.timestamps.value});
    }
}

void ClosedLoopClient::arp_arrives(std::span<const std::byte> packet) {
    const auto arp = ArpPacket::parse(packet);
    if (!arp || !options_.address.is_v4() || !options_.server.is_v4()) return;
    if (arp->sender_v4() == options_.server.v4()) server_mac_ = arp->sender_mac();
    if (arp->is_request() && arp->target_v4() == options_.address.v4()) {
        asker_ = Asker{arp->sender_mac(), arp->sender_v4()};
    }
}

ClosedLoopClient::Connection* ClosedLoopClient::connection_of(const tcp::FourTuple& flow) {
    if (flow.remote_port != options_.server_port || flow.local_port < options_.first_port) return nullptr;
    if (flow.local_addr != options_.address || flow.remote_addr != options_.server) return nullptr;
    Connection& c = connections_[(flow.local_port - options_.first_port) % options_.connections];
    return c.port == flow.local_port && c.state != State::done ? &c : nullptr;
}

void ClosedLoopClient::segment_arrives(Connection& c, const Segment& s, Instant now) {
    if (s.has(Flags::rst)) {
        if (c.state == State::syn_sent ? s.ack != c.nxt : s.seq != c.rcv_nxt) return;
        ++counts_.resets;
        return fails(c, Farewell::none, now);
    }
    if (!s.has(Flags::ack)) return;
    if (c.state == State::syn_sent) {
        // RFC 9293 section 3.10.7.3: the server still knows the connection of a client that was here before, and is
        // told that it is gone. The SYN's repetition then finds the port free.
        if (s.ack != c.nxt) return say_last({c.port, true, s.ack, SeqNum{}, s.timestamps.value});
        if (!s.has(Flags::syn)) return;
        c.una = s.ack;
        c.rcv_nxt = s.seq + 1;
        c.ts_recent = s.timestamps.value;
        ++counts_.opened;
        return ask(c, now);
    }
    if (c.una.before(s.ack) && s.ack.at_or_before(c.nxt)) c.una = s.ack;
    // What does not continue the stream is acknowledged again and forgotten.
    if (s.seq_length() != 0) want_to_send(c);
    const auto skipped = static_cast<uint32_t>(c.rcv_nxt - s.seq);
    if (!s.seq.at_or_before(c.rcv_nxt) || s.has(Flags::syn) || skipped > s.payload.size()) return;
    if (s.has(Present::timestamps)) c.ts_recent = s.timestamps.value;
    const auto fresh = s.payload.subspan(skipped);
    c.rcv_nxt = c.rcv_nxt + static_cast<uint32_t>(fresh.size());
    const bool fin = s.has(Flags::fin) && !c.peer_closed;
    if (fin) {
        c.rcv_nxt = c.rcv_nxt + 1;
        c.peer_closed = true;
    }
    const uint16_t port = c.port;
    if (!fresh.empty() && c.state == State::asking) text_arrives(c, fresh, now);
    if (c.port != port) return;  // it has become another connection
    if (fin && c.state == State::asking) peer_closes(c, now);
    if (c.state == State::closing && c.peer_closed && c.una == c.nxt) end(c, Farewell::ack, now);
}

void ClosedLoopClient::text_arrives(Connection& c, std::span<const std::byte> bytes, Instant now) {
    std::string_view text = as_text(bytes);
    if (!c.in_body) {
        // Nearly always the whole head is here, and is read where it lies.
        std::string_view head = text;
        if (!c.head.empty()) {
            if (c.head.size() + text.size() > longest_head) return fails(c, Farewell::rst, now);
            head = c.head.append(text);
        }
        const size_t end = head.find("\r\n\r\n");
        if (end == head.npos) {
            if (head.size() > longest_head) return fails(c, Farewell::rst, now);
            if (c.head.empty()) c.head.assign(text);
            return;
        }
        if (!head_arrives(c, head.substr(0, end + 2))) return fails(c, Farewell::rst, now);
        c.in_body = true;
        text = head.substr(end + 4);
    }
    if (text.size() > c.body_left) return fails(c, Farewell::rst, now);  // nobody asked for more
    c.body_left -= text.size();
    counts_.body_bytes += text.size();
    c.tries = 0;
    c.deadline = now + options_.timeout;
    if (c.body_left == 0) answered(c, now);
}

bool ClosedLoopClient::head_arrives(Connection& c, std::string_view head) {
    const auto status = number_behind(head.substr(0, 12), "HTTP/1.1 ");
    const auto length = number_behind(head, "\r\nContent-Length: ");
    if (!status || !length || *status != options_.status) return false;
    if (options_.body_bytes && *options_.body_bytes != *length) return false;
    c.body_left = *length;
    c.will_close = head.find("\r\nConnection: close\r\n") != head.npos;
    return true;
}

void ClosedLoopClient::answered(Connection& c, Instant now) {
    ++counts_.requests;
    if (options_.connection_per_request || c.peer_closed || c.will_close || !may_ask()) return close(c, now);
    ask(c, now);
}

// After an answer it is the server's right to close; the next request then takes a new connection. A request that it
// has acknowledged and not answered is an error.
void ClosedLoopClient::peer_closes(Connection& c, Instant now) {
    if (c.una == c.nxt || c.in_body || !c.head.empty()) return fails(c, Farewell::rst, now);
    --asked_;  // it crossed the FIN: to be asked again
    end(c, Farewell::rst, now);
}

// ---- What a connection does next.
// -----------------------------------------------------------------------------------

void ClosedLoopClient::open(Connection& c, Instant now) {
    const auto slot = static_cast<uint32_t>(&c - connections_.data());
    const uint32_t next = c.port == 0 ? options_.first_port + slot : c.port + options_.connections;
    c.port = static_cast<uint16_t>(next > 65'535 ? options_.first_port + slot : next);
    c.state = State::syn_sent;
    c.peer_closed = c.will_close = false;
    isn_ += 64'021;  // any number: every connection begins elsewhere
    c.una = SeqNum{static_cast<uint32_t>(isn_)};
    c.nxt = c.una + 1;
    c.ts_recent = 0;
    c.tries = 0;
    say(c, now);
}

void ClosedLoopClient::ask(Connection& c, Instant now) {
    if (!may_ask()) return close(c, now);
    ++asked_;
    c.state = State::asking;
    c.in_body = false;
    c.head.clear();
    c.una = c.nxt;  // an answer has come, so the request before it has arrived
    c.nxt = c.una + static_cast<uint32_t>(options_.request.size());
    c.tries = 0;
    say(c, now);
}

void ClosedLoopClient::close(Connection& c, Instant now) {
    c.state = State::closing;
    c.una = c.nxt;
    c.nxt = c.una + 1;
    c.tries = 0;
    say(c, now);
}

void ClosedLoopClient::end(Connection& c, Farewell farewell, Instant now) {
    if (farewell != Farewell::none) say_last({c.port, farewell == Farewell::rst, c.nxt, c.rcv_nxt, c.ts_recent});
    if (may_ask()) return open(c, now);
    c.state = State::done;
    --open_;
}

void ClosedLoopClient::fails(Connection& c, Farewell farewell, Instant now) {
    ++counts_.errors;
    if (c.state == State::syn_sent) ++asked_;  // the request that it was for has failed too
    end(c, farewell, now);
}

void ClosedLoopClient::say_last(const LastWord& word) {
    if (last_words_.size() < last_words_.capacity()) last_words_.push_back(word);
}

void ClosedLoopClient::say(Connection& c, Instant now) {
    c.says = true;
    c.deadline = now + options_.timeout * (1 << std::min(c.tries, most_doublings));
    want_to_send(c);
}

void ClosedLoopClient::want_to_send(Connection& c) {
    if (c.ready) return;
    c.ready = true;
    const size_t at = first_ready_ + ready_count_++;
    ready_[at < ready_.size() ? at : at - ready_.size()] = static_cast<uint32_t>(&c - connections_.data());
}

void ClosedLoopClient::look_at_timers(Instant now) {
    look_at_ = now + options_.timeout / 8;
    for (Connection& c : connections_) {
        if (c.state == State::done || now < c.deadline) continue;
        if (++c.tries > options_.retries) {
            fails(c, Farewell::rst, now);
        } else {
            // When the request has been acknowledged it is the server's turn; an ACK tells it where we are.
            const bool unheard = c.state != State::asking || c.una != c.nxt;
            if (unheard) ++counts_.retransmissions;
            say(c, now);
            c.says = unheard;
        }
    }
}

// ---- Out.
// -----------------------------------------------------------------------------------------------------------

size_t ClosedLoopClient::next_frame(std::span<std::byte> room, Instant now) {
    if (!started_) {
        started_ = true;
        for (Connection& c : connections_) open(c, now);
        look_at_ = now + options_.timeout / 8;
    }
    if (now >= look_at_) look_at_timers(now);
    if (asker_ || !server_mac_) return link_frame(room, now);
    if (!last_words_.empty()) {
        const LastWord word = last_words_.back();
        last_words_.pop_back();
        Segment s = segment_of(word.port, word.ts_recent, now);
        s.seq = word.seq;
        s.ack = word.ack;
        s.flags = word.reset ? Flags::rst | Flags::ack : Flags::ack;
        return write(s, room);
    }
    while (ready_count_ != 0) {
        Connection& c = connections_[ready_[first_ready_]];
        if (++first_ready_ == ready_.size()) first_ready_ = 0;
        --ready_count_;
        c.ready = false;
        if (c.state != State::done) return write(c, room, now);
    }
    return 0;
}

// Questions and answers about link addresses: ARP. (Neighbour solicitations and advertisements, IPv6's, go here.)
size_t ClosedLoopClient::link_frame(std::span<std::byte> room, Instant now) {
    MacAddress to = MacAddress::broadcast();
    size_t size = 0;
    const auto body = room.subspan(EthernetFrame::header_size);
    if (asker_) {
        to = asker_->mac;
        size =
            tcp::wire::write_arp(body, ArpOperation::reply, options_.mac, options_.address.v4(), to, asker_->address);
        asker_.reset();
    } else if (now >= ask_link_at_ && options_.server.is_v4()) {
        size = tcp::wire::write_arp_request(body, options_.mac, options_.address.v4(), options_.server.v4());
        ask_link_at_ = now + between_link_questions;
    }
    return size == 0 ? 0 : tcp::wire::write_ethernet(room, to, options_.mac, EtherType::arp) + size;
}

Segment ClosedLoopClient::segment_of(uint16_t port, uint32_t ts_recent, Instant now) const {
    Segment s;
    s.flow = {options_.address, options_.server, port, options_.server_port};
    s.window = window;
    s.present = Present::timestamps;
    s.timestamps = {static_cast<uint32_t>(now.time_since_epoch().count() / 1'000) + options_.timestamp_at_zero,
                    ts_recent};
    return s;
}

size_t ClosedLoopClient::write(Connection& c, std::span<std::byte> room, Instant now) {
    Segment s = segment_of(c.port, c.ts_recent, now);
    s.seq = c.says ? c.una : c.nxt;
    s.ack = c.rcv_nxt;
    s.flags = Flags::ack;
    if (c.says) {
        switch (c.state) {
            case State::syn_sent:
                s.flags = Flags::syn;
                s.present |= Present::mss;
                s.mss = mss;
                s.ack = SeqNum{};
                break;
            case State::asking:
                s.flags |= Flags::psh;
                s.payload = std::as_bytes(std::span{options_.request});
                break;
            case State::closing: s.flags |= Flags::fin; break;
            case State::done: break;
        }
        c.says = false;
    }
    return write(s, room);
}

size_t ClosedLoopClient::write(const Segment& segment, std::span<std::byte> room) const {
    const auto type = options_.address.is_v4() ? EtherType::ipv4 : EtherType::ipv6;
    const size_t header = tcp::wire::write_ethernet(room, *server_mac_, options_.mac, type);
    return header + tcp::wire::emit(segment, room.subspan(header)).size;
}

}  // namespace pollux::test
