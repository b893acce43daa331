#include "tests/simulation/scenario.hpp"

#include <algorithm>

#include "tests/simulation/random.hpp"

namespace pollux::simulation {

using namespace tcp;

namespace {

constexpr uint16_t first_port = 1'000, first_crossing_port = 2'000, first_own_port = 40'000;
constexpr uint16_t most_connections = 256;

// ---- Hosts. -----------------------------------------------------------------------------------------------------

StackSettings draw_settings(Random& random, uint32_t burst, bool ipv6) {
    StackSettings s;
    s.capacity = {.connections = 32,
                  .half_open = 16,
                  .time_wait = 32,
                  .send_entries = 128,
                  .chunks = 256,
                  .receive_stores = 32,
                  .recoveries = 32,
                  .segment_records = 8'192,
                  .events = 2 * burst + 256,
                  .pins = 64};
    s.mtu = random.one_of<uint16_t>(1500, 1500, 1500, 9000, 1280);
    if (!ipv6 && random.chance(0.15)) s.mtu = static_cast<uint16_t>(random.between(92, 1400));
    if (random.chance(0.1)) s.max_mss = static_cast<uint16_t>(random.between(64, 1460));
    s.window_scaling = random.chance(0.8);
    s.sack = random.chance(0.8);
    s.timestamps = random.chance(0.75);
    s.receive_buffer = static_cast<uint32_t>(random.spread(1'000, 256 * 1024));
    if (random.chance(0.3)) {
        s.receive_buffer_max = static_cast<uint32_t>(random.spread(s.receive_buffer, 1'024 * 1024));
    }
    s.ack_delay = random.one_of<Duration>(40ms, 40ms, 0ms, 10ms, 200ms, 480ms);
    s.reassembly_ranges = random.one_of<uint16_t>(64, 64, 4, 1);
    s.initial_rto = random.one_of<Duration>(1s, 1s, 3s);
    s.min_rto_variance = random.one_of<Duration>(200ms, 200ms, 50ms, 1s);
    s.max_rto = random.one_of<Duration>(120s, 60s, 10s, 4s);
    s.syn_ack_retries = static_cast<uint8_t>(random.between(2, 6));
    s.syn_retries = static_cast<uint8_t>(random.between(3, 7));
    s.data_retries = static_cast<uint8_t>(random.between(4, 15));
    s.orphan_retries = static_cast<uint8_t>(random.between(2, 8));
    s.msl = random.one_of<Duration>(30s, 30s, 5s, 120s);
    s.fin_wait_2 = random.one_of<Duration>(60s, 5s);
    s.nagle = random.chance(0.3);
    if (random.chance(0.1)) s.send_queue_limit = static_cast<uint32_t>(random.spread(3'000, 100'000));
    s.initial_window_segments = static_cast<uint32_t>(random.between(1, 10));
    s.transmit_quantum = static_cast<uint16_t>(random.spread(1, 64));
    s.fast_path = random.chance(0.8);
    s.dscp = static_cast<uint8_t>(random.chance(0.1) ? random.below(64) : 0);
    s.ecn = random.chance(0.8);
    s.ecn_request = random.chance(0.6);
    s.ecn_syn_retries = static_cast<uint8_t>(random.between(1, 3));
    s.congestion = random.chance(0.6) ? CongestionControl::cubic : CongestionControl::new_reno;
    s.hystart = random.chance(0.7);
    s.restart_after_idle = random.chance(0.8);
    if (random.chance(0.15)) {
        s.keep_alive = true;
        s.keep_alive_idle = random.spread(Duration{500ms}, Duration{60s});
        s.keep_alive_interval = random.spread(Duration{500ms}, Duration{30s});
        s.keep_alive_probes = static_cast<uint8_t>(random.between(2, 9));
    }
    if (random.chance(0.1)) s.user_timeout = random.spread(Duration{2s}, Duration{200s});
    return s;
}

void shrink_pools(StackSettings& s, uint64_t seed, Side side) {
    Random random(seed, "tiny pools", number(side));
    const auto tiny = [&random](uint32_t least, uint32_t most) {
        return static_cast<uint32_t>(random.between(least, most));
    };
    Capacity& c = s.capacity;
    if (random.chance(0.3)) c.connections = tiny(1, 3);
    if (random.chance(0.3)) c.half_open = tiny(1, 2);
    if (random.chance(0.3)) c.time_wait = tiny(0, 2);
    if (random.chance(0.5)) c.send_entries = tiny(0, 4);
    if (random.chance(0.7)) c.chunks = tiny(4, 12);
    if (random.chance(0.5)) c.receive_stores = tiny(1, 2);
    if (random.chance(0.5)) c.recoveries = tiny(0, 2);
    if (random.chance(0.5)) c.segment_records = tiny(0, 48);
}

// ---- Connections and applications. --------------------------------------------------------------------------------

AppPlan draw_app(Random& random, uint64_t budget) {
    AppPlan app;
    switch (random.below(8)) {
        case 0: app.total = 0; break;
        case 1: app.total = random.between(1, 10); break;
        case 2: app.total = random.between(1'400, 3'000); break;
        default: app.total = random.spread(1, budget); break;
    }
    app.piece = static_cast<uint32_t>(random.spread(std::max<uint64_t>(1, app.total / 300), 20'000));
    app.pieces = random.chance(0.2) ? static_cast<uint32_t>(random.between(2, 20)) : 1;
    app.copies = random.chance(0.3);
    if (app.copies) app.piece = std::min(app.piece, 4'000u), app.pieces = 1;
    app.holds_back = random.chance(0.2);
    const uint64_t sends = app.total / (uint64_t{app.piece} * app.pieces) + 1;
    if (random.chance(0.2)) app.pace = random.spread(Duration{100}, std::min<Duration>(2s, 20s / int64_t(sends)));
    if (random.chance(0.15)) {
        app.read_most = static_cast<uint32_t>(random.spread(std::max<uint64_t>(1, budget / 500), 20'000));
        app.read_pause = random.spread(Duration{100}, Duration{30ms});
    }
    app.ending = random.one_of(AppPlan::Ending::shutdown_when_sent, AppPlan::Ending::shutdown_when_sent,
                               AppPlan::Ending::shutdown_after_peer, AppPlan::Ending::close_after_peer);
    if (random.chance(0.1)) app.ending = AppPlan::Ending::close_when_sent;
    if (random.chance(0.08)) app.ending = AppPlan::Ending::abort, app.abort_after = random.spread(1, 2 * budget) - 1;
    return app;
}

ConnectionPlan draw_connection(Random& random, uint64_t budget) {
    ConnectionPlan plan;
    plan.opening = random.one_of(ConnectionPlan::Opening::from_a, ConnectionPlan::Opening::from_a,
                                 ConnectionPlan::Opening::from_a, ConnectionPlan::Opening::from_b);
    if (random.chance(0.08)) plan.opening = ConnectionPlan::Opening::both;
    plan.opens_at = random.chance(0.5) ? Duration{0} : random.spread(Duration{1}, Duration{2s});
    plan.opens_at_b = plan.opens_at + (random.chance(0.5) ? Duration{0} : random.spread(Duration{1}, Duration{50ms}));
    plan.apps = {draw_app(random, budget), draw_app(random, budget)};
    AppPlan& a = plan.apps[0];
    AppPlan& b = plan.apps[1];
    // One of them has to close first, and one to speak first.
    const auto waits = [](const AppPlan& app) {
        return app.ending == AppPlan::Ending::shutdown_after_peer || app.ending == AppPlan::Ending::close_after_peer;
    };
    if (waits(a) && waits(b)) a.ending = AppPlan::Ending::shutdown_when_sent;
    if (random.chance(0.3)) b.waits_for = random.between(0, a.total);
    return plan;
}

// ---- Faults. ------------------------------------------------------------------------------------------------------

using Draw = void (*)(Random&, Fault&);
struct Kind {
    FaultKind kind;
    double likelihood;  // in a run that has faults
    Draw draw;
};

const Kind kinds[] = {
    {FaultKind::jitter, 0.3,
     [](Random& r, Fault& f) { f.time = r.spread(Duration{100}, Duration{50ms}), f.count = uint32_t(r.below(3)); }},
    {FaultKind::bandwidth, 0.2,
     [](Random& r, Fault& f) {
         f.count = static_cast<uint32_t>(r.spread(50'000, 50'000'000));  // bytes a second
         f.nth = static_cast<uint32_t>(r.spread(3'000, 200'000));        // bytes of queue
     }},
    {FaultKind::ce_marks, 0.1, [](Random& r, Fault& f) { f.share = r.unit() * 0.5; }},
    {FaultKind::loss, 0.3, [](Random& r, Fault& f) { f.share = r.chance(0.2) ? r.unit() * 0.5 : r.unit() * 0.05; }},
    {FaultKind::burst_loss, 0.15,
     [](Random& r, Fault& f) { f.share = 0.001 + r.unit() * 0.05, f.second = 0.1 + r.unit() * 0.6; }},
    {FaultKind::chosen_loss, 0.3,
     [](Random& r, Fault& f) {
         f.chosen = r.one_of(Chosen::syn, Chosen::syn_ack, Chosen::fin, Chosen::fin, Chosen::rst, Chosen::pure_ack,
                             Chosen::data, Chosen::window_update);
         f.nth = static_cast<uint32_t>(r.chance(0.5) ? 1 : r.between(1, 5));
         f.count = static_cast<uint32_t>(r.chance(0.7) ? 1 : r.between(1, 6));
     }},
    {FaultKind::reordering, 0.25,
     [](Random& r, Fault& f) { f.share = r.unit() * 0.3, f.time = r.spread(Duration{100}, Duration{100ms}); }},
    {FaultKind::duplication, 0.2,
     [](Random& r, Fault& f) { f.share = r.unit() * 0.2, f.time = r.spread(Duration{1}, Duration{100ms}); }},
    {FaultKind::late_duplicates, 0.15, [](Random& r, Fault& f) { f.share = r.unit() * 0.1; }},
    {FaultKind::bit_flips, 0.15, [](Random& r, Fault& f) { f.share = r.unit() * 0.1; }},
    {FaultKind::truncation, 0.1, [](Random& r, Fault& f) { f.share = r.unit() * 0.05; }},
    {FaultKind::narrow_mtu, 0.1,
     [](Random& r, Fault& f) { f.count = static_cast<uint32_t>(r.between(1'280, 1'499)), f.nth = r.chance(0.8); }},
    {FaultKind::narrow_mtu_silent, 0.04,
     [](Random& r, Fault& f) { f.count = static_cast<uint32_t>(r.between(600, 1'499)); }},
    {FaultKind::black_hole, 0.12,
     [](Random& r, Fault& f) {
         f.from = r.between(0ms, 2s);
         f.until = f.from + r.spread(Duration{10ms}, r.chance(0.2) ? Duration{300s} : Duration{5s});
     }},
    {FaultKind::ack_thinning, 0.1, [](Random& r, Fault& f) { f.time = r.spread(Duration{100}, Duration{20ms}); }},
    {FaultKind::ack_compression, 0.1, [](Random& r, Fault& f) { f.time = r.spread(Duration{100}, Duration{50ms}); }},
    {FaultKind::sack_stripping, 0.05, [](Random&, Fault&) {}},
    {FaultKind::option_stripping, 0.1,
     [](Random& r, Fault& f) { f.count = static_cast<uint32_t>(r.between(1, 15)); }},
    {FaultKind::coalescing, 0.3, [](Random& r, Fault& f) { f.time = r.spread(Duration{50}, Duration{20ms}); }},
    {FaultKind::full_ring, 0.12,
     [](Random& r, Fault& f) {
         f.from = r.spread(Duration{1ms}, Duration{2s});  // open
         f.time = r.spread(Duration{1ms}, Duration{3s});  // full
         f.count = static_cast<uint32_t>(r.one_of(0, 0, 1, 3));
     }},
    {FaultKind::tiny_pools, 0.1, [](Random&, Fault&) {}},
    {FaultKind::slow_reader, 0.1,
     [](Random& r, Fault& f) {
         f.from = r.between(0ms, 1s);
         f.until = f.from + r.spread(Duration{10ms}, Duration{20s});
     }},
};
static_assert(std::size(kinds) == fault_kinds);

void draw_faults(Random& random, Scenario& scenario) {
    // Now and then the network is good, or only the hosts have faults.
    const double all = random.chance(0.05) ? 0 : random.chance(0.3) ? 0.4 : 1.0;
    for (const Kind& kind : kinds) {
        for (const Side side : {Side::a, Side::b}) {
            const bool has = random.chance(kind.likelihood * all);
            Fault fault{.kind = kind.kind, .at = side};
            Random own(random.next());
            kind.draw(own, fault);
            // The way to B cannot be narrower than what both have agreed on could stand: IPv6 has 1280 everywhere.
            if (kind.kind == FaultKind::narrow_mtu_silent && scenario.ipv6) continue;
            if (kind.kind == FaultKind::narrow_mtu && !scenario.ipv6) fault.count -= uint32_t(own.below(700));
            if (kind.kind == FaultKind::option_stripping && side == Side::b) continue;
            if (has) scenario.faults.push_back(fault);
        }
    }
}

// Applies what faults change in the plans of hosts and applications.
void apply(Scenario& scenario) {
    for (const Side side : {Side::a, Side::b}) {
        // What one send() asks for must be possible at all.
        const uint32_t limit = scenario.hosts[number(side)].settings.send_queue_limit;
        for (ConnectionPlan& plan : scenario.connections) {
            AppPlan& app = plan.apps[number(side)];
            app.piece = std::min(app.piece, limit / app.pieces);
        }
        if (scenario.find(FaultKind::tiny_pools, side) != nullptr) {
            StackSettings& settings = scenario.hosts[number(side)].settings;
            shrink_pools(settings, scenario.seed, side);
            for (ConnectionPlan& plan : scenario.connections) {
                AppPlan& app = plan.apps[number(side)];
                app.pieces = 1;
                if (app.copies && settings.capacity.send_entries < 2) app.piece = std::min(app.piece, 2'048u);
            }
        }
        if (const Fault* fault = scenario.find(FaultKind::slow_reader, side)) {
            for (ConnectionPlan& plan : scenario.connections) {
                plan.apps[number(side)].stalls_from = fault->from;
                plan.apps[number(side)].stalls_until = fault->until;
            }
        }
    }
}

// What make_scenario() draws before faults change anything.
Scenario draw(uint64_t seed) {
    Random random(seed, "scenario");
    Scenario s;
    s.seed = seed;
    s.ipv6 = random.chance(0.4);
    s.hostile = random.chance(0.15);
    s.start = Instant{1s} + random.between(Duration{0}, Duration{1s});
    for (HostPlan& host : s.hosts) {
        host.burst = static_cast<uint32_t>(random.chance(0.3) ? 1 : random.spread(1, 1'024));
        host.batch = static_cast<uint32_t>(random.spread(2, 256));
        host.settings = draw_settings(random, host.burst, s.ipv6);
        for (SipKey* key : {&host.secrets.table, &host.secrets.isn, &host.secrets.timestamps}) {
            *key = {random.next(), random.next()};
        }
        host.secrets.random_seed = random.next();
    }
    const Duration way = random.spread(Duration{10}, random.chance(0.1) ? Duration{600ms} : Duration{60ms});
    s.delay = {way, random.chance(0.2) ? random.spread(Duration{10}, Duration{200ms}) : way};
    const uint64_t count = s.hostile ? random.between(1, 2) : random.chance(0.5) ? 1 : random.spread(1, 8);
    const uint64_t budget = (random.chance(0.05) ? 1'000'000 : random.chance(0.25) ? 300'000 : 80'000) / count;
    for (uint64_t i = 0; i < count; ++i) s.connections.push_back(draw_connection(random, budget));
    if (s.hostile) {
        for (ConnectionPlan& plan : s.connections) {
            if (plan.opening == ConnectionPlan::Opening::both) plan.opening = ConnectionPlan::Opening::from_b;
        }
    }
    s.heals_after = random.spread(Duration{1s}, Duration{100s});
    draw_faults(random, s);
    return s;
}

// RFC 6528: an ISN is a clock of 4 us and a keyed hash of the tuple. The wall clocks are set so that the first
// connection crosses the end of the number space; that any number is as good as another, nothing else here assumes.
void cross_the_wrap(Scenario& s) {
    Random random(s.seed, "wrap");
    for (const Side side : {Side::a, Side::b}) {
        HostPlan& host = s.hosts[number(side)];
        const auto us = static_cast<uint64_t>(s.start.time_since_epoch().count());
        const auto by_hash = static_cast<uint32_t>(siphash_2_4(host.secrets.isn, s.flow(0, side)));
        const uint32_t wanted = 0u - static_cast<uint32_t>(random.spread(1, 30'000));
        const uint64_t ticks = static_cast<uint32_t>(wanted - by_hash - static_cast<uint32_t>(us / 4));
        host.settings.wall_clock_at_zero_us = random.below(1u << 20) * (uint64_t{4} << 32) + ticks * 4;
    }
}

}  // namespace

IpAddress Scenario::address(Side side) const {
    const auto last = static_cast<uint32_t>(1 + number(side));
    return ipv6 ? IpAddress{{0x2001'0db8, 0, 0, last}} : IpAddress::from_v4(0xc000'0200 | last);
}

FourTuple Scenario::flow(size_t index, Side side) const {
    const auto at = static_cast<uint16_t>(index);
    const auto opening = connections[index].opening;
    FourTuple flow{address(side), address(other(side)), 0, 0};
    const auto service = static_cast<uint16_t>(first_port + at);
    if (opening == ConnectionPlan::Opening::both) {
        const auto crossing = static_cast<uint16_t>(first_crossing_port + at);
        flow.local_port = side == Side::a ? service : crossing;
        flow.remote_port = side == Side::a ? crossing : service;
        return flow;
    }
    // Every other opener lets its stack choose.
    const auto own = static_cast<uint16_t>(index % 2 == 0 ? first_own_port + at : 0);
    const bool opens = (opening == ConnectionPlan::Opening::from_a) == (side == Side::a);
    flow.local_port = opens ? own : service;
    flow.remote_port = opens ? service : own;
    return flow;
}

size_t connection_of(const FourTuple& flow) {
    for (const uint16_t port : {flow.local_port, flow.remote_port}) {
        if (port >= first_port && port < first_port + most_connections) return port - first_port;
    }
    return SIZE_MAX;
}

const Fault* Scenario::find(FaultKind kind, Side at) const {
    const auto found =
        std::ranges::find_if(faults, [&](const Fault& fault) { return fault.kind == kind && fault.at == at; });
    return found == faults.end() ? nullptr : &*found;
}

Scenario make_scenario(uint64_t seed) {
    Scenario scenario = draw(seed);
    apply(scenario);
    cross_the_wrap(scenario);
    return scenario;
}

Scenario without(Scenario scenario, std::span<const std::string> names, std::string* unknown) {
    Scenario fresh = draw(scenario.seed);
    fresh.faults = scenario.faults;
    for (const std::string& name : names) {
        const auto gone = std::erase_if(fresh.faults, [&](const Fault& fault) { return fault.name() == name; });
        if (gone == 0 && unknown != nullptr && unknown->empty()) *unknown = name;
    }
    apply(fresh);
    cross_the_wrap(fresh);
    return fresh;
}

}  // namespace pollux::simulation
