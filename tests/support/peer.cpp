#include "tests/support/peer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "tests/support/conversation.hpp"

namespace pollux::tcp {
void PrintTo(State state, std::ostream* out) { *out << name(state); }
}  // namespace pollux::tcp

namespace pollux::test {

using namespace tcp;

namespace {

testing::internal::AssertHelper failure_at(Here here) {
    return {testing::TestPartResult::kNonFatalFailure, here.file, here.line, ""};
}

// The relative distance of a raw number, signed, so that what lies left of the ISN shows as negative.
int64_t relative(SeqNum raw, SeqNum base) { return raw - base; }
SeqNum absolute(int64_t number, SeqNum base) { return base + static_cast<uint32_t>(number); }

// to_string(Segment) with relative numbers.
std::string describe_relative(Segment segment, int64_t seq, int64_t ack_number, size_t payload_size) {
    segment.seq = SeqNum{static_cast<uint32_t>(seq)};
    segment.ack = SeqNum{static_cast<uint32_t>(ack_number)};
    // Only the size of the payload is printed, so any bytes will do.
    static const std::vector<std::byte> zeros(65'536);
    segment.payload = std::span(zeros).first(payload_size);
    std::string text = to_string(segment);
    const auto mend = [&text](const std::string& name, int64_t number) {
        if (number >= 0) return;
        const std::string wrapped = name + std::to_string(static_cast<uint32_t>(number));
        const size_t at = text.find(wrapped);
        if (at != std::string::npos) text.replace(at, wrapped.size(), name + std::to_string(number));
    };
    mend("seq ", seq);
    mend("ack ", ack_number);
    return text;
}

}  // namespace

Peer::Peer(World& world, Endpoint endpoint, SeqNum isn)
    : world_(world),
      start_(world.now()),
      endpoint_(endpoint),
      flow_{host_endpoint.address, endpoint.address, host_endpoint.port, endpoint.port},
      isn_(isn) {
    world_.enters(*this);
}

Peer::~Peer() { world_.leaves(*this); }

void Peer::starts_over(SeqNum isn) {
    start_ = world_.now();
    isn_ = isn;
    host_isn_ = SeqNum{};
    host_isn_known_ = timestamps_offered_ = host_offered_timestamps_ = timestamps_ = false;
    last_ts_heard_ = 0;
    first_ts_.clear();
    host_scale_ = 0;
    edge_ = 0;
    nxt = heard = 0;
    window = 65'535;
    inbox_.clear();
    stream_.clear();
}

// A clock of one millisecond that wraps a quarter of a second after every test's start.
uint32_t Peer::ts_now() const {
    static constexpr uint32_t near_its_wrap = 0xffff'ff00;
    return near_its_wrap + static_cast<uint32_t>((world_.now() - start_).count() / 1000);
}

State Peer::state() const {
    const State state = world_.stack().state_of(flow_);
    return state == State::listen ? State::closed : state;
}

// ---- Speaking. -------------------------------------------------------------------------------------------------

Segment Peer::segment_of(const Send& what, std::string& payload) const {
    Segment s;
    s.flow = {endpoint_.address, host_endpoint.address, endpoint_.port, host_endpoint.port};
    s.flags = what.flags;
    const int64_t seq = what.seq.value_or(nxt);
    s.seq = absolute(seq, isn_);
    if (s.has(Flags::ack)) s.ack = absolute(what.ack.value_or(heard), host_isn_);
    s.window = what.win.value_or(window);
    s.ecn = what.ecn;
    if (what.mss) s.present |= Present::mss, s.mss = *what.mss;
    if (what.ws) s.present |= Present::window_scale, s.window_scale = *what.ws;
    if (what.sack_ok) s.present |= Present::sack_permitted;
    if (what.ts || (timestamps_ && !what.no_ts)) {
        s.present |= Present::timestamps;
        s.timestamps = what.ts.value_or(Timestamps{ts_now(), s.has(Flags::ack) ? last_ts_heard_ : 0});
    }
    for (const auto& [first, end] : what.sack) {
        s.sack_blocks.at(s.sack_count++) = {absolute(first, host_isn_), absolute(end, host_isn_)};
    }
    payload = what.bytes > 0 ? pattern(static_cast<uint64_t>(seq - 1), what.bytes) : std::string(what.text);
    s.payload = std::as_bytes(std::span(payload));
    return s;
}

void Peer::note_sent(const Segment& segment) {
    if (segment.has(Flags::syn)) {
        timestamps_offered_ = segment.has(Present::timestamps);
        // The answer to a SYN of the host's. A SYN out of place agrees to nothing.
        if (nxt == 0 && host_offered_timestamps_) timestamps_ = timestamps_offered_;
    }
    if (segment.has(Flags::rst)) return;
    nxt = std::max(nxt, relative(segment.seq, isn_) + static_cast<int64_t>(segment.seq_length()));
}

Packet Peer::packet_of(const Send& what) {
    std::string payload;
    const Segment segment = segment_of(what, payload);
    Packet packet(wire::headers_size(segment) + payload.size());
    const auto emitted = wire::emit(segment, packet);
    EXPECT_EQ(emitted.status, wire::EmitStatus::ok);
    return packet;
}

void Peer::sends_packet(const Packet& packet) {
    const auto parsed = wire::parse(packet, wire::ChecksumTrust::verify_all);
    const bool good = parsed.result == wire::ParseResult::ok;
    std::string reason;
    if (!good) reason = "bad packet: " + std::string(to_string(parsed.result));
    world_.log().add(world_.now(), Direction::to_host, packet, good ? describe_sent(parsed.segment) : reason);
    if (good) note_sent(parsed.segment);
    world_.delivers({&packet, 1});
}

Verdict Peer::sends(const Send& what) {
    sends_packet(packet_of(what));
    return world_.host().last_verdict();
}

void Peer::sends_burst(std::initializer_list<Send> burst) {
    std::vector<Packet> packets;
    for (const Send& what : burst) {
        packets.push_back(packet_of(what));
        const auto parsed = wire::parse(packets.back(), wire::ChecksumTrust::verify_all);
        world_.log().add(world_.now(), Direction::to_host, packets.back(), describe_sent(parsed.segment));
        note_sent(parsed.segment);
    }
    world_.delivers(packets);
}

void Peer::connects(const Connect& how, Here here) {
    const auto value = how.ts ? std::optional<Timestamps>({ts_now(), 0}) : std::nullopt;
    sends({.flags = how.ecn ? syn | ece | cwr : syn,
           .seq = 0,
           .win = how.win,
           .mss = how.mss,
           .ws = how.ws,
           .sack_ok = how.sack_ok,
           .ts = value});
    expects({.flags = how.ecn ? syn | ack | ece : syn | ack, .seq = 0, .ack = 1, .has_ts = how.ts}, here);
    world_.passes(how.rtt);
    sends({.flags = ack});
    if (state() != State::established) {
        failure_at(here) = testing::Message() << "the handshake ended in " << name(state());
    }
}

// ---- Hearing. ---------------------------------------------------------------------------------------------------

void Peer::hears(const Packet& packet) {
    const auto parsed = wire::parse(packet, wire::ChecksumTrust::verify_all);
    const Segment& s = parsed.segment;
    if (s.has(Flags::syn) && !host_isn_known_) {
        host_isn_ = s.seq;
        host_isn_known_ = true;
        host_offered_timestamps_ = s.has(Present::timestamps);
        timestamps_ = timestamps_offered_ && host_offered_timestamps_;
    }
    if (s.has(Present::timestamps)) last_ts_heard_ = s.timestamps.value;
    Heard h{.segment = s,
            .seq = relative(s.seq, host_isn_),
            .ack = relative(s.ack, isn_),
            .payload = std::string(reinterpret_cast<const char*>(s.payload.data()), s.payload.size()),
            .at = world_.now(),
            .raw_seq = s.seq};
    h.segment.payload = {};
    if (s.has(Present::timestamps)) first_ts_.try_emplace(h.seq, s.timestamps.value);
    world_.log().add(world_.now(), Direction::to_peer, packet, describe(h));
    if (!h.has(Flags::rst)) {
        remember(h);
        watch_edge(h);
    }
    inbox_.push_back(std::move(h));
}

// RFC 9293 SHLD-14. The scale rounds the window down, so that up to 2^scale - 1 bytes of it may seem to vanish.
void Peer::watch_edge(const Heard& segment) {
    if (!segment.has(Flags::ack)) return;
    if (segment.has(Flags::syn)) {
        host_scale_ = segment.segment.has(Present::window_scale) ? segment.segment.window_scale : 0;
    }
    const uint8_t scale = segment.has(Flags::syn) ? 0 : host_scale_;
    const int64_t edge = segment.ack + (int64_t{segment.segment.window} << scale);
    // A TIME-WAIT record announces what it likes: nothing can come any more.
    if (edge + (1 << scale) - 1 < edge_ && !segment.has(Flags::syn) && state() != State::time_wait &&
        state() != State::closed) {
        ADD_FAILURE() << "the right edge of the window moves left from " << edge_ << ": " << describe(segment);
    }
    edge_ = segment.has(Flags::syn) ? edge : std::max(edge_, edge);
}

// Keeps the host's stream and checks that it never says two things about one place.
void Peer::remember(const Heard& segment) {
    if (segment.has(Flags::syn)) stream_.clear();
    const int64_t first = segment.seq + (segment.has(Flags::syn) ? 1 : 0) - 1;  // position in the stream
    for (size_t i = 0; i < segment.payload.size(); ++i) {
        const int64_t at = first + static_cast<int64_t>(i);
        if (at < 0) continue;
        const auto place = static_cast<size_t>(at);
        if (place < stream_.size()) {
            if (stream_[place] != segment.payload[i]) {
                ADD_FAILURE() << "the host repeats other bytes at position " << place << ": " << describe(segment);
                return;
            }
        } else if (place == stream_.size()) {
            stream_.push_back(segment.payload[i]);
        }
    }
    if (segment.seq <= heard) heard = std::max(heard, segment.end());
}

std::string Peer::describe(const Heard& h) const {
    return describe_relative(h.segment, h.seq, h.ack, h.payload.size());
}

std::string Peer::describe_sent(const Segment& s) const {
    return describe_relative(s, relative(s.seq, isn_), relative(s.ack, host_isn_), s.payload.size());
}

Heard Peer::expects(const Expect& what, Here here) {
    std::string wrong;
    const auto mismatch = [&wrong](const std::string& field, const auto& expected, const auto& got) {
        std::ostringstream text;
        text << "\n    " << field << ": expected " << expected << ", got " << got;
        wrong += text.str();
    };
    const auto compare = [&](const char* field, const auto& expected, const auto& got) {
        if (expected && *expected != got) mismatch(field, *expected, got);
    };
    if (inbox_.empty()) {
        std::ostringstream wanted;
        if (what.flags) wanted << " [" << to_string(*what.flags) << "]";
        if (what.seq) wanted << " seq " << *what.seq;
        if (what.ack) wanted << " ack " << *what.ack;
        if (what.bytes) wanted << " len " << *what.bytes;
        if (what.text) wanted << " text \"" << *what.text << "\"";
        failure_at(here) = testing::Message()
                           << "expected" << wanted.str() << ", heard nothing; state " << name(state());
        return {};
    }
    Heard h = std::move(inbox_.front());
    inbox_.pop_front();
    const Segment& s = h.segment;
    if (what.flags) {
        const Flags got = s.flags & ~Flags::psh, wanted = *what.flags & ~Flags::psh;
        if (got != wanted) mismatch("flags", to_string(wanted), to_string(s.flags));
    }
    compare("seq", what.seq, h.seq);
    compare("ack", what.ack, h.ack);
    if (what.ack && !s.has(Flags::ack)) mismatch("ack", *what.ack, "no ACK bit");
    compare("win", what.win, s.window);
    compare("len", what.bytes, h.payload.size());
    if (what.text && *what.text != h.payload) mismatch("text", *what.text, h.payload);
    compare("PSH", what.push, s.has(Flags::psh));
    if (what.mss && !s.has(Present::mss)) mismatch("mss", *what.mss, "none");
    if (s.has(Present::mss)) compare("mss", what.mss, s.mss);
    compare("ws", what.ws, s.has(Present::window_scale) ? int{s.window_scale} : -1);
    compare("sackOK", what.sack_ok, s.has(Present::sack_permitted));
    compare("timestamps", what.has_ts, s.has(Present::timestamps));
    if (what.ts_echo) compare("TSecr", what.ts_echo, s.timestamps.echo);
    if (what.ecn && *what.ecn != s.ecn) mismatch("ECN field", int(*what.ecn), int(s.ecn));
    if (!wrong.empty()) failure_at(here) = testing::Message() << "heard " << describe(h) << wrong;
    return h;
}

Heard Peer::expects_reset(int64_t seq, Here here) {
    const bool with_ack = !inbox_.empty() && inbox_.front().has(Flags::ack);
    return expects({.flags = with_ack ? rst | ack : rst, .seq = seq, .bytes = 0}, here);
}

void Peer::expects_nothing(Here here) {
    if (inbox_.empty()) return;
    testing::Message message;
    message << "expected nothing, heard";
    for (const Heard& h : inbox_) message << "\n    " << describe(h);
    failure_at(here) = message;
    inbox_.clear();
}

std::vector<Heard> Peer::expects_exactly(size_t count, Here here) {
    if (inbox_.size() != count) {
        testing::Message message;
        message << "expected " << count << " segments, heard " << inbox_.size();
        for (const Heard& h : inbox_) message << "\n    " << describe(h);
        failure_at(here) = message;
    }
    auto all = takes_all();
    all.resize(count);
    return all;
}

uint32_t Peer::first_ts(int64_t seq) const {
    const auto found = first_ts_.find(seq);
    return found == first_ts_.end() ? last_ts_heard_ : found->second;
}

Duration Peer::waits(Duration longest, Here here) {
    const Instant start = world_.now();
    if (!world_.passes_until([this] { return !inbox_.empty(); }, longest)) {
        failure_at(here) = testing::Message()
                           << "heard nothing for " << longest.count() / 1000 << " ms; state " << name(state());
    }
    return world_.now() - start;
}

std::vector<Heard> Peer::takes_all() {
    std::vector<Heard> all(std::make_move_iterator(inbox_.begin()), std::make_move_iterator(inbox_.end()));
    inbox_.clear();
    return all;
}

}  // namespace pollux::test
