// A Scenario in words: what --replay prints first, and what a failure's event log begins with.
#include <cstdio>

#include "tests/simulation/scenario.hpp"

namespace pollux::simulation {

using namespace tcp;

namespace {

std::string in_words(Duration time) {
    char text[32];
    const auto us = static_cast<double>(time.count());
    if (us >= 1e6)
        std::snprintf(text, sizeof text, "%.3f s", us / 1e6);
    else
        std::snprintf(text, sizeof text, "%.3f ms", us / 1e3);
    return text;
}

std::string percent(double share) {
    char text[32];
    std::snprintf(text, sizeof text, "%.2f%%", share * 100);
    return text;
}

std::string_view name(AppPlan::Ending ending) {
    switch (ending) {
        case AppPlan::Ending::shutdown_when_sent: return "half-closes when all is sent";
        case AppPlan::Ending::shutdown_after_peer: return "half-closes after the peer";
        case AppPlan::Ending::close_after_peer: return "closes after the peer";
        case AppPlan::Ending::close_when_sent: return "closes when all is sent";
        case AppPlan::Ending::abort: return "aborts";
    }
    return "?";
}

std::string describe(const HostPlan& host) {
    const StackSettings& s = host.settings;
    const Capacity& c = s.capacity;
    std::string text = "mtu " + std::to_string(s.mtu);
    if (s.max_mss != 0) text += ", max_mss " + std::to_string(s.max_mss);
    text += ", receive_buffer " + std::to_string(s.receive_buffer);
    if (s.receive_buffer_max != 0) text += " to " + std::to_string(s.receive_buffer_max);
    text += ", ack_delay " + in_words(s.ack_delay);
    text += ", RTO " + in_words(s.initial_rto) + " +" + in_words(s.min_rto_variance) + " <" + in_words(s.max_rto);
    text += ", retries syn " + std::to_string(s.syn_retries) + " syn-ack " + std::to_string(s.syn_ack_retries) +
            " data " + std::to_string(s.data_retries) + " orphan " + std::to_string(s.orphan_retries);
    text += ", msl " + in_words(s.msl) + ", fin_wait_2 " + in_words(s.fin_wait_2);
    text += ", IW " + std::to_string(s.initial_window_segments) + ", quantum " + std::to_string(s.transmit_quantum);
    text += ", burst " + std::to_string(host.burst) + ", batch " + std::to_string(host.batch);
    text += s.congestion == CongestionControl::cubic ? ", CUBIC" : ", NewReno";
    if (s.user_timeout.count() != 0) text += ", user_timeout " + in_words(s.user_timeout);
    if (s.keep_alive) {
        text += ", keep-alive " + in_words(s.keep_alive_idle) + " " + std::to_string(s.keep_alive_probes) + " x " +
                in_words(s.keep_alive_interval);
    }
    const std::pair<bool, const char*> switches[] = {
        {s.window_scaling, "window scale"}, {s.sack, "SACK"},
        {s.timestamps, "timestamps"},       {s.ecn, "ECN"},
        {s.ecn_request, "ECN asked for"},   {s.nagle, "Nagle"},
        {s.hystart, "HyStart++"},           {s.restart_after_idle, "restart after idle"},
        {s.fast_path, "fast path"}};
    for (const auto& [on, what] : switches) text += std::string(on ? ", " : ", no ") + what;
    text += ", pools " + std::to_string(c.connections) + "/" + std::to_string(c.half_open) + "/" +
            std::to_string(c.time_wait) + "/" + std::to_string(c.send_entries) + "/" + std::to_string(c.chunks) +
            "/" + std::to_string(c.receive_stores) + "/" + std::to_string(c.recoveries) + "/" +
            std::to_string(c.segment_records);
    return text;
}

}  // namespace

std::string_view name(FaultKind kind) {
    switch (kind) {
        case FaultKind::jitter: return "jitter";
        case FaultKind::bandwidth: return "bandwidth";
        case FaultKind::ce_marks: return "ce-marks";
        case FaultKind::loss: return "loss";
        case FaultKind::burst_loss: return "burst-loss";
        case FaultKind::chosen_loss: return "chosen-loss";
        case FaultKind::reordering: return "reordering";
        case FaultKind::duplication: return "duplication";
        case FaultKind::late_duplicates: return "late-duplicates";
        case FaultKind::bit_flips: return "bit-flips";
        case FaultKind::truncation: return "truncation";
        case FaultKind::narrow_mtu: return "narrow-mtu";
        case FaultKind::narrow_mtu_silent: return "narrow-mtu-silent";
        case FaultKind::black_hole: return "black-hole";
        case FaultKind::ack_thinning: return "ack-thinning";
        case FaultKind::ack_compression: return "ack-compression";
        case FaultKind::sack_stripping: return "sack-stripping";
        case FaultKind::option_stripping: return "option-stripping";
        case FaultKind::coalescing: return "coalescing";
        case FaultKind::full_ring: return "full-ring";
        case FaultKind::tiny_pools: return "tiny-pools";
        case FaultKind::slow_reader: return "slow-reader";
    }
    return "?";
}

std::string_view name(Chosen chosen) {
    switch (chosen) {
        case Chosen::syn: return "SYN";
        case Chosen::syn_ack: return "SYN-ACK";
        case Chosen::fin: return "FIN";
        case Chosen::rst: return "RST";
        case Chosen::pure_ack: return "pure ACK";
        case Chosen::data: return "segment with data";
        case Chosen::window_update: return "ACK that only opens the window";
    }
    return "?";
}

std::string Fault::name() const { return std::string(simulation::name(kind)) + "-" + letter(at); }

std::string Fault::describe() const {
    const auto of_packets = [this] { return percent(share) + " of packets"; };
    const auto text = [&]() -> std::string {
        switch (kind) {
            case FaultKind::jitter: {
                constexpr std::string_view shapes[] = {"uniform", "exponential", "heavy-tailed"};
                return std::string(shapes[count]) + ", about " + in_words(time);
            }
            case FaultKind::bandwidth:
                return std::to_string(count) + " bytes a second behind a queue of " + std::to_string(nth) + " bytes";
            case FaultKind::ce_marks: return of_packets();
            case FaultKind::loss: return of_packets();
            case FaultKind::burst_loss:
                return "the bad state begins with " + percent(share) + " of packets and ends with " + percent(second);
            case FaultKind::chosen_loss:
                return "from " + std::string(simulation::name(chosen)) + " number " + std::to_string(nth) + " on " +
                       std::to_string(count);
            case FaultKind::reordering: return of_packets() + ", held back for up to " + in_words(time);
            case FaultKind::duplication: return of_packets() + ", up to " + in_words(time) + " later";
            case FaultKind::late_duplicates: return of_packets() + ", up to the MSL later";
            case FaultKind::bit_flips: return of_packets();
            case FaultKind::truncation: return of_packets();
            case FaultKind::narrow_mtu:
                return std::to_string(count) + (nth != 0 ? "" : ", of a router that does not say its MTU");
            case FaultKind::narrow_mtu_silent: return std::to_string(count);
            case FaultKind::black_hole: return "from " + in_words(from) + " to " + in_words(until);
            case FaultKind::ack_thinning: return "of each " + in_words(time) + " one";
            case FaultKind::ack_compression: return "held for up to " + in_words(time);
            case FaultKind::sack_stripping: return "every block";
            case FaultKind::option_stripping: {
                std::string options;
                constexpr std::string_view all[] = {" MSS", " window-scale", " SACK-permitted", " timestamps"};
                for (uint32_t i = 0; i < 4; ++i) options += (count >> i & 1) != 0 ? all[i] : "";
                return "both ways, for good:" + options;
            }
            case FaultKind::coalescing: return "every " + in_words(time);
            case FaultKind::full_ring:
                return "after each " + in_words(from) + " for " + in_words(time) + ", room for " +
                       std::to_string(count);
            case FaultKind::tiny_pools: return "see the host's pools";
            case FaultKind::slow_reader: return "nothing read from " + in_words(from) + " to " + in_words(until);
        }
        return "?";
    };
    return name() + ": " + text();
}

std::string AppPlan::describe() const {
    std::string text = "sends " + std::to_string(total) + " in " + std::to_string(piece) + " x " +
                       std::to_string(pieces) + (copies ? " copied" : " pinned") +
                       (holds_back ? ", holding back what is not full" : "");
    if (pace.count() != 0) text += " every " + in_words(pace);
    if (waits_for != 0) text += " after " + std::to_string(waits_for) + " received";
    if (read_most != 0) text += ", reads " + std::to_string(read_most) + " every " + in_words(read_pause);
    text += ", " + std::string(name(ending));
    if (ending == Ending::abort) text += " after " + std::to_string(abort_after);
    return text;
}

std::string ConnectionPlan::describe() const {
    const std::string when = " after " + in_words(opens_at);
    const std::string who = opening == Opening::from_a   ? "A opens" + when
                            : opening == Opening::from_b ? "B opens" + when
                                                         : "both open" + when + " and " + in_words(opens_at_b);
    return who + "\n    A " + apps[0].describe() + "\n    B " + apps[1].describe();
}

std::string Scenario::describe() const {
    std::string text = "seed " + std::to_string(seed) + ": " + (ipv6 ? "IPv6" : "IPv4") +
                       (hostile ? ", a stack and a hostile peer" : ", two stacks") + ", heals after " +
                       in_words(heals_after) + "\n";
    for (const Side side : {Side::a, Side::b}) {
        if (side == Side::b && hostile) continue;
        text += std::string("  host ") + (side == Side::a ? "A: " : "B: ") +
                simulation::describe(hosts[number(side)]) + "\n";
    }
    text += "  delay " + in_words(delay[0]) + " from A, " + in_words(delay[1]) + " from B\n";
    for (size_t i = 0; i < connections.size(); ++i) {
        text += "  connection " + std::to_string(i) + ": " + connections[i].describe() + "\n";
    }
    for (const Fault& fault : faults) text += "  " + fault.describe() + "\n";
    if (faults.empty()) text += "  no faults\n";
    return text;
}

}  // namespace pollux::simulation
