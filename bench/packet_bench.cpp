// Packets to Segments and back, and the keyed function behind the table: what every segment pays whatever it carries.
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "bench/cycles.hpp"
#include "tcp/siphash.hpp"
#include "tcp/wire/checksum.hpp"
#include "tcp/wire/packet.hpp"

namespace {

using namespace pollux::tcp;
using namespace pollux::tcp::wire;
using pollux::bench::MeanCycles;

enum class Family { ipv4, ipv6 };

Segment answer(std::span<const std::byte> payload, Family family) {
    Segment s;
    s.flow = {IpAddress::from_v4(0xc000'0201), IpAddress::from_v4(0xc000'0202), 80, 40'000};
    if (family == Family::ipv6) {
        s.flow.local_addr = {{0x2001'0db8, 0, 0, 1}};
        s.flow.remote_addr = {{0x2001'0db8, 0, 0, 2}};
    }
    s.flags = Flags::ack | Flags::psh;
    s.present = Present::timestamps;
    s.payload = payload;
    return s;
}

// Argument: payload bytes.
void BM_Emit(benchmark::State& state, ChecksumMode mode, Family family) {
    const std::vector<std::byte> payload(static_cast<size_t>(state.range(0)), std::byte{7});
    std::array<std::byte, 2048> packet;
    Segment s = answer(payload, family);
    const MeanCycles cycles{state};
    for (auto _ : state) {
        s.seq += 1;
        benchmark::DoNotOptimize(emit(s, packet, mode));
        benchmark::ClobberMemory();
    }
}
BENCHMARK_CAPTURE(BM_Emit, software_checksum, ChecksumMode::software, Family::ipv4)->Arg(0)->Arg(118)->Arg(1448);
BENCHMARK_CAPTURE(BM_Emit, device_checksum, ChecksumMode::device, Family::ipv4)->Arg(0)->Arg(118)->Arg(1448);
BENCHMARK_CAPTURE(BM_Emit, ipv6_software_checksum, ChecksumMode::software, Family::ipv6)->Arg(118);
BENCHMARK_CAPTURE(BM_Emit, ipv6_device_checksum, ChecksumMode::device, Family::ipv6)->Arg(118);

void BM_Parse(benchmark::State& state, ChecksumTrust trust, Family family) {
    const std::vector<std::byte> payload(static_cast<size_t>(state.range(0)), std::byte{7});
    std::array<std::byte, 2048> packet;
    const size_t size = emit(answer(payload, family), packet);
    const std::span<const std::byte> bytes{packet.data(), size};
    Segment parsed;
    const MeanCycles cycles{state};
    for (auto _ : state) {
        benchmark::DoNotOptimize(parse_into(bytes, trust, parsed));
        benchmark::ClobberMemory();
    }
}
BENCHMARK_CAPTURE(BM_Parse, verified_in_software, ChecksumTrust::verify_all, Family::ipv4)
    ->Arg(0)
    ->Arg(118)
    ->Arg(1448);
BENCHMARK_CAPTURE(BM_Parse, verified_by_the_device, ChecksumTrust::all_verified, Family::ipv4)->Arg(118);
BENCHMARK_CAPTURE(BM_Parse, ipv6_verified_in_software, ChecksumTrust::verify_all, Family::ipv6)->Arg(118);
BENCHMARK_CAPTURE(BM_Parse, ipv6_verified_by_the_device, ChecksumTrust::all_verified, Family::ipv6)->Arg(118);

void BM_Checksum(benchmark::State& state) {
    const std::vector<std::byte> bytes(static_cast<size_t>(state.range(0)), std::byte{7});
    const MeanCycles cycles{state};
    for (auto _ : state) benchmark::DoNotOptimize(sum_of(bytes));
}
BENCHMARK(BM_Checksum)->Arg(20)->Arg(150)->Arg(1460);

void BM_TupleHash(benchmark::State& state) {
    const SipKey key{1, 2};
    FourTuple flow = answer({}, Family::ipv4).flow;
    const MeanCycles cycles{state};
    for (auto _ : state) {
        ++flow.remote_port;
        benchmark::DoNotOptimize(siphash_1_3(key, flow));
    }
}
BENCHMARK(BM_TupleHash);

}  // namespace

BENCHMARK_MAIN();
