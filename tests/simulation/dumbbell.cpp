#include "tests/simulation/dumbbell.hpp"

#include <algorithm>
#include <array>

namespace pollux::simulation {

using namespace tcp;

namespace {

constexpr uint16_t service = 80, first_port = 40'000;
constexpr IpAddress sender_address = IpAddress::from_v4(0xc000'0201);
constexpr IpAddress receiver_address = IpAddress::from_v4(0xc000'0202);
constexpr size_t piece_size = 1 << 20;
constexpr size_t pieces_of_a_flow = 256;  // more than any of them sends
constexpr size_t headers = 66;            // Ethernet, IPv4, TCP with timestamps

const std::vector<std::byte>& zeros() {
    static const std::vector<std::byte> bytes(piece_size);
    return bytes;
}

Secrets secrets_of(uint64_t who) {
    return {.table = {who, 1}, .isn = {who, 2}, .timestamps = {who, 3}, .random_seed = who};
}

StackSettings with_pools(StackSettings s, uint32_t flows, bool sends) {
    s.capacity = {.connections = flows,
                  .half_open = 128,
                  .time_wait = 1,
                  .send_entries = sends ? flows * uint32_t{pieces_of_a_flow} : 0,
                  .chunks = sends ? 16 : 16'384u,
                  .receive_stores = flows,
                  .recoveries = 2 * flows + 16,
                  .segment_records = 65'536,
                  .events = 4 * flows + 256,
                  .pins = 2};
    s.receive_buffer = 1 << 24;  // the peer's window is never the limit
    s.reassembly_ranges = 1'024;
    return s;
}

}  // namespace

Dumbbell::Dumbbell(const Plan& plan)
    : plan_(plan),
      sender_(with_pools(plan.settings, static_cast<uint32_t>(plan.starts.size()), true), secrets_of(1),
              sender_counters_),
      receiver_(with_pools(plan.settings, static_cast<uint32_t>(plan.starts.size()), false), secrets_of(2),
                receiver_counters_),
      random_(plan.seed, "dumbbell") {
    for (const Duration begins : plan.starts) flows_.push_back({.begins = start + begins, .conn = {}});
    receiver_.listen({receiver_address, service});
    pin_ = sender_.pins().reserve();
}

FourTuple Dumbbell::tuple(size_t flow) const {
    return {sender_address, receiver_address, static_cast<uint16_t>(first_port + flow), service};
}

std::vector<uint64_t> Dumbbell::received() const {
    std::vector<uint64_t> all;
    for (const Flow& flow : flows_) all.push_back(flow.received);
    return all;
}

// ---- The hosts. ---------------------------------------------------------------------------------------------------

void Dumbbell::opens() {
    static const std::vector<Pinned> pieces(pieces_of_a_flow, Pinned{zeros(), 0});
    for (size_t i = 0; i < flows_.size(); ++i) {
        if (flows_[i].asked || flows_[i].begins > now_) continue;
        flows_[i].asked = true;
        flows_[i].conn = sender_.connect(tuple(i), now_);
        if (!sender_.send(flows_[i].conn, pieces)) flows_[i].conn = {};
    }
}

void Dumbbell::sender_turn() {
    take(back_, burst_);
    bool timers_remain = false;
    do {
        if (!burst_.empty()) sender_.input(burst_, now_, out_);
        burst_.clear();
        timers_remain = sender_.advance_timers(now_, 64);
        opens();
        sender_.transmit(now_, out_);
        for (const TxSegment& sent : out_.segments()) to_receiver(sent);
        out_.reset();
    } while (timers_remain || sender_.has_work());
}

void Dumbbell::receiver_turn() {
    take(forth_, burst_);
    bool timers_remain = false;
    do {
        if (!burst_.empty()) receiver_.input(burst_, now_, out_);
        burst_.clear();
        timers_remain = receiver_.advance_timers(now_, 64);
        for (const Event& event : receiver_.events()) {
            if (event.kind != Event::Kind::data) continue;
            const auto info = receiver_.info(event.conn);
            if (!info) continue;
            Flow& flow = flows_[info->flow.remote_port - first_port];
            for (auto got = receiver_.unread(event.conn); !got.empty(); got = receiver_.unread(event.conn)) {
                flow.received += got.size();
                receiver_.consume(event.conn, static_cast<uint32_t>(got.size()));
            }
        }
        receiver_.transmit(now_, out_);
        for (const TxSegment& sent : out_.segments()) to_sender(sent);
        out_.reset();
    } while (timers_remain || receiver_.has_work());
}

// What has arrived, as its receiver sees it.
void Dumbbell::take(std::deque<Travelling>& way, std::vector<Segment>& burst) {
    for (; !way.empty() && way.front().arrives <= now_; way.pop_front()) {
        Segment& s = burst.emplace_back(way.front().segment);
        std::swap(s.flow.local_addr, s.flow.remote_addr);
        std::swap(s.flow.local_port, s.flow.remote_port);
        s.payload = std::span(zeros()).first(way.front().size);
    }
}

// ---- The network. -------------------------------------------------------------------------------------------------

bool Dumbbell::is_lost() {
    if (next_loss_ < plan_.losses.size() && now_ >= start + plan_.losses[next_loss_]) {
        ++next_loss_;
        return true;
    }
    return plan_.loss > 0 && random_.chance(plan_.loss);
}

void Dumbbell::to_receiver(const TxSegment& sent) {
    Instant leaves = now_;
    if (plan_.rate != 0) {
        const auto takes = [this](uint64_t bytes) {
            return Duration{static_cast<int64_t>(bytes * 1'000'000 / plan_.rate)};
        };
        const Duration waits = std::max(free_at_ - now_, Duration{0});
        if (waits > takes(plan_.queue)) {
            ++dropped_;
            return;
        }
        leaves = free_at_ = now_ + waits + takes(sent.payload_size + headers);
    }
    if (sent.payload_size > 0 && is_lost()) {
        ++dropped_;
        return;
    }
    forth_.push_back({leaves + plan_.rtt / 2, sent.segment, sent.payload_size});
}

void Dumbbell::to_sender(const TxSegment& sent) {
    back_.push_back({now_ + plan_.rtt / 2, sent.segment, sent.payload_size});
}

// ---- Time. --------------------------------------------------------------------------------------------------------

std::optional<Instant> Dumbbell::next_event() const {
    std::optional<Instant> next;
    const auto consider = [&next](std::optional<Instant> due) {
        if (due && (!next || *due < *next)) next = due;
    };
    if (!forth_.empty()) consider(forth_.front().arrives);
    if (!back_.empty()) consider(back_.front().arrives);
    consider(sender_.next_due(now_));
    consider(receiver_.next_due(now_));
    for (const Flow& flow : flows_) {
        if (!flow.asked) consider(flow.begins);
    }
    return next;
}

void Dumbbell::runs_until(Duration end) {
    for (auto next = next_event(); next && *next <= start + end; next = next_event()) {
        now_ = std::max(*next, now_ + Duration{now_ == *next ? 1 : 0});
        const auto has_come = [this](const std::deque<Travelling>& way) {
            return !way.empty() && way.front().arrives <= now_;
        };
        const auto is_due = [this](const Stack& stack) {
            const auto due = stack.next_due(now_);
            return due && *due <= now_;
        };
        const bool begins =
            std::ranges::any_of(flows_, [this](const Flow& flow) { return !flow.asked && flow.begins <= now_; });
        if (begins || has_come(back_) || is_due(sender_)) sender_turn();
        if (has_come(forth_) || is_due(receiver_)) receiver_turn();
    }
    now_ = std::max(now_, start + end);
}

double jain_index(const std::vector<uint64_t>& shares) {
    double sum = 0, squares = 0;
    for (const uint64_t share : shares) {
        sum += static_cast<double>(share);
        squares += static_cast<double>(share) * static_cast<double>(share);
    }
    return squares == 0 ? 0 : sum * sum / (static_cast<double>(shares.size()) * squares);
}

}  // namespace pollux::simulation
