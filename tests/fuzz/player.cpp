#include "tests/fuzz/player.hpp"

#include <algorithm>
#include <array>

#include "tcp/wire/packet.hpp"

namespace pollux::fuzz {

using namespace tcp;
using namespace std::chrono_literals;
using What = Act::What;

namespace {

constexpr uint32_t period = 4'099;  // of our stream: no power of two, and no MSS, divides it
constexpr uint32_t longest_piece = 65'536;

uint8_t mixed(uint32_t value) { return static_cast<uint8_t>(value * 2'654'435'761u >> 24); }

std::span<const std::byte> our_bytes(uint64_t position, size_t size) {
    static const std::vector<std::byte> all = [] {
        std::vector<std::byte> bytes(period + longest_piece);
        for (uint32_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte{mixed(i % period)};
        return bytes;
    }();
    return std::span{all}.subspan(position % period, size);
}

constexpr State peer_has_closed = State::close_wait | State::closing | State::last_ack | State::time_wait;

}  // namespace

std::byte peer_byte(SeqNum seq) { return std::byte{mixed(seq.raw() ^ 0x5a5a'5a5a)}; }

StackSettings read_settings(Input& in) {
    static constexpr uint32_t buffers[] = {262'144, 65'535, 4'096, 2'048};
    static constexpr SynCookieMode cookies[] = {SynCookieMode::adaptive, SynCookieMode::never, SynCookieMode::always};
    const uint16_t bits = in.two();
    const auto bit = [bits](int n) { return (bits >> n & 1) != 0; };
    StackSettings s;
    s.capacity = {.connections = 6,
                  .half_open = 4,
                  .time_wait = 3,
                  .send_entries = 64,
                  .chunks = 48,
                  .receive_stores = 6,
                  .recoveries = 6,
                  .segment_records = 512,
                  .spent_cookies = 15,
                  .events = 512,
                  .pins = 4};
    if (bit(0)) {  // hardly anything
        s.capacity.connections = 2;
        s.capacity.half_open = s.capacity.time_wait = s.capacity.recoveries = s.capacity.receive_stores = 1;
        s.capacity.send_entries = s.capacity.chunks = 4;
        s.capacity.segment_records = 8;
    }
    s.window_scaling = !bit(1);
    s.sack = !bit(2);
    s.timestamps = !bit(3);
    s.ecn = !bit(4);
    s.ecn_request = bit(5);
    s.nagle = bit(6);
    s.keep_alive = bit(7);
    s.congestion = bit(8) ? CongestionControl::new_reno : CongestionControl::cubic;
    s.hystart = !bit(9);
    s.restart_after_idle = !bit(10);
    s.user_timeout = bit(11) ? Duration{5s} : Duration{0};
    s.cookie_secret_is_shared = bit(12);
    s.mtu = bit(13) ? 1'280 : 1'500;
    s.receive_buffer_max = bit(14) ? 1 << 20 : 0;
    s.reassembly_ranges = bit(15) ? 2 : 64;
    const uint8_t more = in.byte();
    s.receive_buffer = buffers[more & 3];
    s.syn_cookies = cookies[(more >> 2 & 3) % 3];
    s.transmit_quantum = (more & 16) != 0 ? 1 : 16;
    s.max_mss = (more & 32) != 0 ? 536 : 0;
    s.ack_delay = (more & 64) != 0 ? Duration{0} : Duration{40ms};
    s.wall_clock_at_zero_us = 1'700'000'000'000'000;
    s.max_rto = 8s;
    s.data_retries = 5;
    s.orphan_retries = s.syn_retries = 3;
    s.syn_ack_retries = 2;
    s.msl = 2s;
    s.fin_wait_2 = 5s;
    s.keep_alive_idle = 6s;
    s.keep_alive_interval = 2s;
    s.keep_alive_probes = 3;
    return s;
}

Player::Player(const StackSettings& settings, bool ipv6)
    : stack_(settings, {{1, 2}, {3, 4}, {5, 6}, 7, {8, 9}}, counters_), pin_(stack_.pins().reserve()), ipv6_(ipv6) {
    demand(stack_.listen({{}, 80}), "a stack listens");
}

FourTuple Player::flow_to(uint8_t number, uint16_t local_port, uint16_t remote_port) const {
    if (ipv6_) return {{{0x2001'0db8, 0, 0, 1}}, {{0x2001'0db8, 0, 0, 2u + number}}, local_port, remote_port};
    return {IpAddress::from_v4(0xc000'0201), IpAddress::from_v4(0xc000'0202u + number), local_port, remote_port};
}

Player::Talk* Player::find(ConnId conn) {
    const auto found = std::ranges::find_if(talks_, [&](const Talk& t) { return t.conn == conn && !t.let_go; });
    return found == talks_.end() ? nullptr : &*found;
}

// ---- The turn. --------------------------------------------------------------------------------------------------

void Player::turn(std::span<const Segment> burst, std::span<const PathNotice> notices, const Act& act, uint32_t room,
                  Instant now) {
    const auto ends = [&] {
        return counters_[Tally::connections_timed_out] + counters_[Tally::connections_aborted] +
               counters_[Tally::connects_abandoned];
    };
    const uint64_t ends_before = ends();
    out_.reset(room);
    if (!burst.empty()) {
        std::array<Verdict, 64> verdicts;
        verdicts.fill(Verdict::count);
        stack_.input(burst, now, out_, verdicts.data());
        for (size_t i = 0; i < burst.size(); ++i) {
            demand(static_cast<size_t>(verdicts[i]) < verdict_count, "a segment's story ends with a name");
        }
    }
    for (const PathNotice& notice : notices) {
        demand(static_cast<size_t>(stack_.notify(notice, now)) < verdict_count, "and so does a notice's");
    }
    stack_.advance_timers(now, 64);
    for (const Event& event : stack_.events()) hears(event);
    acts(act, now);
    for (Talk& talk : talks_) {
        if (!talk.let_go && talk.reads) reads(talk, ~0u);
    }
    stack_.transmit(now, out_);
    may_have_reset_ = ends() != ends_before;
    judges_output(now);
    settles(now);
    const std::string wrong = stack_.check_invariants();
    demand(wrong.empty(), wrong);
    demand(counters_[Tally::events_lost] == 0, "no event is lost");
}

void Player::hears(const Event& event) {
    using Kind = Event::Kind;
    Talk* talk = find(event.conn);
    switch (event.kind) {
        case Kind::opened:
            if (talk == nullptr) {
                const auto info = stack_.info(event.conn);
                if (!info) return;  // it has ended in the same turn
                talk = &talks_.emplace_back();
                talk->conn = event.conn;
                talk->flow = info->flow;
            }
            demand(!talk->opened, "a connection opens once");
            talk->opened = true;
            break;
        case Kind::data:
        case Kind::writable:
        case Kind::peer_closed:
        case Kind::deadline:
        case Kind::unanswered:
        case Kind::path_error: break;
        case Kind::closed:
        case Kind::reset:
        case Kind::timed_out:
        case Kind::refused:
        case Kind::unreachable:
            demand(!stack_.is_open(event.conn), "what has ended is dead");
            std::erase_if(talks_, [&](const Talk& t) { return t.conn == event.conn; });
            break;
    }
}

// Once the first turn is over it is known where the reading stands; records of what was let go may have ended.
void Player::settles(Instant now) {
    std::erase_if(talks_, [&](const Talk& talk) {
        if (!talk.let_go) return false;
        const auto info = stack_.conn_at(talk.conn.index, now);
        return !info || info->flow != talk.flow || stack_.is_open(stack_.find_conn(talk.flow));
    });
    for (Talk& talk : talks_) {
        if (talk.let_go || !talk.opened || talk.reads_at) continue;
        const auto info = stack_.info(talk.conn);
        if (info) talk.reads_at = info->rcv_nxt.back(info->unread + (in(info->state, peer_has_closed) ? 1 : 0));
    }
}

// ---- What it says. ----------------------------------------------------------------------------------------------

void Player::judges_output(Instant now) {
    for (const TxSegment& tx : out_.segments()) {
        const Segment& s = tx.segment;
        const size_t size = wire::headers_size(s) + tx.payload_size;
        demand(size <= stack_.settings().mtu, "no packet is larger than the MTU");
        demand(!(s.has(Flags::syn) && (s.has(Flags::fin) || tx.payload_size != 0)), "a SYN says nothing but itself");
        demand(!(s.has(Flags::rst) && (s.has(Flags::syn) || s.has(Flags::fin) || tx.payload_size != 0)),
               "a RST says nothing but itself");
        if (tx.payload_size == 0 && !s.has(Flags::fin)) continue;
        const auto talk = std::ranges::find(talks_, s.flow, &Talk::flow);
        demand(talk != talks_.end(), "bytes are of a connection");
        const auto info = stack_.conn_at(talk->conn.index, now);
        demand(info && info->flow == s.flow, "which is there");
        judges_bytes(*talk, tx, *info);
    }
}

void Player::judges_bytes(const Talk& talk, const TxSegment& tx, const ConnInfo& info) const {
    const uint64_t acknowledged = talk.sent - info.queued;
    const int32_t ahead = tx.segment.seq - info.snd_una;
    demand(ahead >= 0, "nothing is said again that was acknowledged");
    uint64_t position = acknowledged + static_cast<uint64_t>(ahead);
    const uint64_t end = position + tx.payload_size;
    demand(end <= talk.sent, "nothing is said that was not written");
    demand(!tx.segment.has(Flags::fin) || (end == talk.sent && (talk.shut || talk.let_go)),
           "FIN stands behind the last byte");
    for (const Piece piece : out_.pieces(tx)) {
        demand(std::ranges::equal(piece, our_bytes(position, piece.size())), "every byte is the one of its place");
        position += piece.size();
    }
    demand(position == end, "pieces are as long as their segment");
}

// ---- The application. -------------------------------------------------------------------------------------------

void Player::acts(const Act& act, Instant now) {
    switch (act.what) {
        case What::nothing:
        case What::count: return;
        case What::connect:
        case What::connect_from: return connects(act, now);
        case What::stop_listening: return stack_.stop_listening({{}, 80});
        case What::listen: return static_cast<void>(stack_.listen({{}, 80}));
        case What::drain: return stack_.set_accepting((act.number & 1) != 0);
        default: break;
    }
    std::vector<Talk*> mine;
    for (Talk& talk : talks_) {
        if (!talk.let_go) mine.push_back(&talk);
    }
    if (!mine.empty()) acts_on(*mine[act.number % mine.size()], act, now);
}

void Player::acts_on(Talk& talk, const Act& act, Instant now) {
    switch (act.what) {
        case What::send_pinned:
        case What::send_copy:
        case What::hold_back: return sends(talk, act);
        case What::read: return reads(talk, act.size);
        case What::stop_reading: talk.reads = !talk.reads; return;
        case What::shut_down:
            stack_.shutdown(talk.conn, now);
            talk.shut = true;
            return;
        case What::close:
            stack_.close(talk.conn, now);
            talk.let_go = true;
            demand(!stack_.is_open(talk.conn), "a closed connection is dead to its application");
            return;
        case What::abort:
            stack_.abort(talk.conn, now);
            demand(!stack_.is_open(talk.conn), "an aborted connection is dead");
            std::erase_if(talks_, [conn = talk.conn](const Talk& t) { return t.conn == conn; });
            return;
        case What::deadline:
            if (act.size == 0) return stack_.clear_deadline(talk.conn);
            return stack_.set_deadline(talk.conn, now + Duration{act.size * 1'000});
        case What::tune:
            if ((act.size & 1) != 0) stack_.set_keep_alive(talk.conn, (act.size & 2) != 0);
            if ((act.size & 4) != 0) stack_.set_no_delay(talk.conn, (act.size & 8) != 0);
            if ((act.size & 16) != 0) stack_.set_dscp(talk.conn, static_cast<uint8_t>(act.size >> 8 & 63));
            if ((act.size & 32) != 0) stack_.set_user_timeout(talk.conn, (act.size & 64) != 0 ? 3s : 0s);
            return;
        default: return;
    }
}

void Player::sends(Talk& talk, const Act& act) {
    const auto more = act.what == What::hold_back ? Stack::More::to_come : Stack::More::none;
    const auto bytes = our_bytes(talk.sent, act.size);
    if (act.what == What::send_copy) {
        if (stack_.send_copy(talk.conn, bytes, more)) talk.sent += act.size;
        return;
    }
    const size_t half = act.size / 3;
    const std::array<Pinned, 2> pieces{Pinned{bytes.first(half), pin_}, Pinned{bytes.subspan(half), 0}};
    if (stack_.send(talk.conn, std::span{pieces}.subspan(half == 0 ? 1 : 0), more)) talk.sent += act.size;
}

void Player::reads(Talk& talk, uint32_t most) {
    if (!talk.reads_at) return;
    while (most > 0) {
        const auto unread = stack_.unread(talk.conn);
        if (unread.empty()) return;
        const auto here = std::min<size_t>(unread.size(), most);
        for (const std::byte b : unread.first(here)) {
            demand(b == peer_byte(*talk.reads_at), "the application reads the stream, each byte once and in order");
            *talk.reads_at += 1;
        }
        stack_.consume(talk.conn, static_cast<uint32_t>(here));
        most -= static_cast<uint32_t>(here);
    }
}

void Player::connects(const Act& act, Instant now) {
    const FourTuple flow = flow_to(act.number & 3, static_cast<uint16_t>(2'000 + (act.number >> 2 & 3)),
                                   static_cast<uint16_t>(40'000 + (act.number >> 4 & 1)));
    const ConnId conn = act.what == What::connect_from
                            ? stack_.connect(flow, now)
                            : stack_.connect(flow.local_addr, {flow.remote_addr, flow.remote_port}, now);
    if (!conn) return;
    const auto info = stack_.info(conn);
    demand(info && info->state == State::syn_sent, "who connects begins by asking");
    Talk& talk = talks_.emplace_back();
    talk.conn = conn;
    talk.flow = info->flow;
}

void Player::ends_all(bool by_abort, Instant now) {
    for (Talk& talk : talks_) {
        if (talk.let_go) continue;
        if (by_abort)
            stack_.abort(talk.conn, now);
        else
            stack_.close(talk.conn, now);
        talk.let_go = true;
    }
}

}  // namespace pollux::fuzz
