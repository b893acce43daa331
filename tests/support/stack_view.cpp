#include "tests/support/stack_view.hpp"

#include <algorithm>
#include <optional>
#include <string_view>
#include <type_traits>

#include "tests/support/digest.hpp"

namespace pollux::test {

using namespace tcp;

namespace {

uint64_t as_number(SeqNum value) { return value.raw(); }
uint64_t as_number(Duration value) { return static_cast<uint64_t>(value.count()); }
uint64_t as_number(Instant value) { return as_number(value.time_since_epoch()); }
template <class T>
uint64_t as_number(const std::optional<T>& value) {
    return value ? as_number(*value) : ~uint64_t{0};
}
uint64_t as_number(const FourTuple& value) {
    Digest digest;
    for (const IpAddress& address : {value.local_addr, value.remote_addr}) {
        for (const uint32_t word : address.words) digest.add(word);
    }
    digest.add(uint64_t{value.local_port} << 16 | value.remote_port);
    return digest.value();
}
template <class T>
requires std::is_integral_v<T> || std::is_enum_v<T> uint64_t as_number(T value) {
    return static_cast<uint64_t>(value);
}

// Each structure is taken apart by a binding that names every member, or it does not compile: a new field belongs
// here too. `names` are the same in words, between commas.
template <class Visit, class... Values>
void visit_each(Visit& visit, std::string_view names, const Values&... values) {
    const auto next = [&names] {
        const std::string_view name = names.substr(0, names.find(' '));
        names.remove_prefix(std::min(name.size() + 1, names.size()));
        return name;
    };
    (visit(next(), as_number(values)), ...);
}

template <class Visit>
void visit_fields(const ConnInfo& info, Visit& visit) {
    const auto& [flow, state, cwnd, ssthresh, mss, snd_wnd, rcv_wnd, srtt, rttvar, rto, in_flight, queued, unread,
                 out_of_order, backoff, dup_acks, snd_scale, rcv_scale, timestamps, sack, ecn, in_recovery, snd_una,
                 snd_nxt, rcv_nxt, congestion, phase, scoreboard, pipe, sacked, lost, reductions, reo_wnd_mult,
                 min_rtt, delivery_bytes, delivery_time, timer, unanswered, fin_queued, released, wants_writable,
                 timer_left, ack_left, deadline_left] = info;
    visit_each(visit, "flow state cwnd ssthresh mss snd_wnd rcv_wnd", flow, state, cwnd, ssthresh, mss, snd_wnd,
               rcv_wnd);
    visit_each(visit, "srtt rttvar rto in_flight queued unread out_of_order", srtt, rttvar, rto, in_flight, queued,
               unread, out_of_order);
    visit_each(visit, "backoff dup_acks snd_scale rcv_scale timestamps sack ecn in_recovery", backoff, dup_acks,
               snd_scale, rcv_scale, timestamps, sack, ecn, in_recovery);
    visit_each(visit, "congestion phase scoreboard pipe sacked lost reductions", congestion, phase, scoreboard, pipe,
               sacked, lost, reductions);
    visit_each(visit, "reo_wnd_mult min_rtt delivery_bytes delivery_time", reo_wnd_mult, min_rtt, delivery_bytes,
               delivery_time);
    visit_each(visit, "snd_una snd_nxt rcv_nxt timer unanswered", snd_una, snd_nxt, rcv_nxt, timer, unanswered);
    visit_each(visit, "fin_queued released wants_writable timer_left ack_left deadline_left", fin_queued, released,
               wants_writable, timer_left, ack_left, deadline_left);
}

template <class Visit>
void visit_fields(const HalfOpenInfo& info, Visit& visit) {
    const auto& [flow, age, due_in, retransmissions, syn_repeated, peer_mss, snd_scale, window_scale, sack,
                 timestamps, ecn] = info;
    visit_each(visit, "flow age due_in retransmissions syn_repeated", flow, age, due_in, retransmissions,
               syn_repeated);
    visit_each(visit, "peer_mss snd_scale window_scale sack timestamps ecn", peer_mss, snd_scale, window_scale, sack,
               timestamps, ecn);
}

template <class Visit>
void visit_fields(const TimeWaitInfo& info, Visit& visit) {
    const auto& [flow, left, snd_nxt, rcv_nxt, timestamps] = info;
    visit_each(visit, "flow left snd_nxt rcv_nxt timestamps", flow, left, snd_nxt, rcv_nxt, timestamps);
}

template <class Visit>
void visit_fields(const PoolUse& use, Visit& visit) {
    const auto& [connections, half_open, time_wait, send_entries, chunks, receive_stores, recoveries, segment_records,
                 table_entries, timers, pins] = use;
    visit_each(visit, "connections half_open time_wait send_entries chunks", connections, half_open, time_wait,
               send_entries, chunks);
    visit_each(visit, "receive_stores recoveries segment_records table_entries timers pins", receive_stores,
               recoveries, segment_records, table_entries, timers, pins);
}

// Calls `visit(of, index, name, value)` for each.
template <class Visit>
void visit_all(const Stack& stack, const Counters& counters, Instant now, Visit&& visit) {
    const auto each = [&](std::string_view of, uint32_t count, auto&& at) {
        for (uint32_t i = 0; i < count; ++i) {
            const auto info = at(i);
            if (!info) continue;
            auto visit_one = [&](std::string_view name, uint64_t value) { visit(of, i, name, value); };
            visit_fields(*info, visit_one);
        }
    };
    const auto extents = stack.extents();
    each("connection", extents.connections, [&](uint32_t i) { return stack.conn_at(i, now); });
    each("half-open record", extents.half_open, [&](uint32_t i) { return stack.half_open_at(i, now); });
    each("TIME-WAIT record", extents.time_wait, [&](uint32_t i) { return stack.time_wait_at(i, now); });
    auto visit_pool = [&](std::string_view name, uint64_t value) { visit("pool", 0, name, value); };
    visit_fields(stack.pool_use(), visit_pool);
    visit("stack", 0, "next_due", as_number(stack.next_due(now)));
    visit("stack", 0, "has_work", as_number(stack.has_work()));
    visit("stack", 0, "events", stack.events().size());
    for (size_t i = 0; i < verdict_count; ++i) {
        visit("verdict", 0, verdicts[i].name, counters[static_cast<Verdict>(i)]);
    }
    for (const TallyInfo& info : tallies) {
        if (info.tally != Tally::fast_path) visit("tally", 0, info.name, counters[info.tally]);
    }
}

}  // namespace

uint64_t digest_of(const Stack& stack, const Counters& counters, Instant now) {
    Digest digest;
    visit_all(stack, counters, now, [&](std::string_view, uint32_t index, std::string_view, uint64_t value) {
        digest.add(index);
        digest.add(value);
    });
    return digest.value();
}

Numbers numbers_of(const Stack& stack, const Counters& counters, Instant now) {
    Numbers numbers;
    visit_all(stack, counters, now, [&](std::string_view of, uint32_t index, std::string_view name, uint64_t value) {
        if (value != 0) numbers.push_back({of, name, index, value});
    });
    return numbers;
}

std::string difference(const Numbers& was, const Numbers& is, size_t most) {
    std::string text;
    size_t count = 0;
    const auto in_words = [](uint64_t value) {
        return value == ~uint64_t{0} ? std::string("none") : std::to_string(static_cast<int64_t>(value));
    };
    const auto value_in = [](const Numbers& numbers, const Number& wanted) {
        const auto at = std::ranges::find_if(numbers, [&](const Number& n) { return n.has_name_of(wanted); });
        return at == numbers.end() ? uint64_t{0} : at->value;
    };
    const auto compare = [&](const Number& number) {
        const uint64_t before = value_in(was, number), now = value_in(is, number);
        if (before == now || count++ >= most) return;
        text += (text.empty() ? "" : "; ") + std::string(number.of) + " " + std::to_string(number.index) + " " +
                std::string(number.name) + " is " + in_words(now) + ", was " + in_words(before);
    };
    for (const Number& number : is) compare(number);
    for (const Number& number : was) {
        if (value_in(is, number) == 0) compare(number);
    }
    return count > most ? text + "; and " + std::to_string(count - most) + " more" : text;
}

}  // namespace pollux::test
