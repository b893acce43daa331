#include "tests/attack/flood/frames.hpp"

#include <array>
#include <bit>
#include <cstring>

#include "tcp/wire/arp.hpp"
#include "tcp/wire/checksum.hpp"
#include "tcp/wire/ethernet.hpp"
#include "tcp/wire/icmp.hpp"
#include "tcp/wire/nd.hpp"
#include "tcp/wire/packet.hpp"
#include "tests/attack/flood/sources.hpp"

namespace pollux::test {

using tcp::Flags;
using tcp::IpAddress;
using tcp::Present;
using tcp::Segment;
using tcp::SeqNum;
using tcp::wire::EtherType;
using tcp::wire::MacAddress;

namespace {

constexpr size_t ethernet = tcp::wire::EthernetFrame::header_size, ipv4 = tcp::wire::Ipv4Header::min_size;
constexpr size_t ipv4_id = 4, ipv4_fragment = 6, ipv4_checksum = 10;  // places in the header
constexpr std::array<std::byte, 64> text{};

Flags flags_of(Kind kind, uint64_t n) {
    switch (kind) {
        case Kind::ack:
        case Kind::data: return Flags::ack;
        case Kind::rst: return Flags::rst;
        case Kind::rst_ack: return Flags::rst | Flags::ack;
        case Kind::fin: return Flags::fin;
        case Kind::fin_ack: return Flags::fin | Flags::ack;
        case Kind::flags: return Flags(n & 63);
        default: return Flags::syn;
    }
}

// One column of the Toeplitz matrix: what a set bit `at` of the 96 input bits adds.
uint32_t toeplitz_column(unsigned at) {
    static constexpr std::array<uint8_t, 16> key{0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2,
                                                 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0};
    uint32_t column = 0;
    for (unsigned i = 0; i < 32; ++i) {
        const unsigned bit = at + i;
        column = column << 1 | (key[bit / 8] >> (7 - bit % 8) & 1u);
    }
    return column;
}

// Bits of source address and source port, as toeplitz_column() numbers them, packed into 48 bits.
uint32_t toeplitz(uint64_t source_and_port) {
    uint32_t hash = 0;
    for (unsigned i = 0; i < 48; ++i) {
        if (source_and_port >> (47 - i) & 1) hash ^= toeplitz_column(i < 32 ? i : i + 32);
    }
    return hash;
}

// The hash is linear: what hashes to 0 is a space of at least 2^16 inputs, found by elimination.
std::vector<uint64_t> toeplitz_kernel() {
    std::vector<uint64_t> kernel;
    std::array<std::pair<uint32_t, uint64_t>, 32> rows{};  // by leading bit: hash, and the input that makes it
    for (unsigned i = 0; i < 48; ++i) {
        uint64_t input = uint64_t{1} << i;
        uint32_t hash = toeplitz(input);
        while (hash != 0) {
            auto& [leading_hash, leading_input] = rows[31 - static_cast<unsigned>(std::countl_zero(hash))];
            if (leading_hash == 0) {
                leading_hash = hash;
                leading_input = input;
                break;
            }
            hash ^= leading_hash;
            input ^= leading_input;
        }
        if (hash == 0) kernel.push_back(input);
    }
    return kernel;
}

std::vector<tcp::Endpoint> colliding_tuples() {
    const std::vector<uint64_t> kernel = toeplitz_kernel();
    std::vector<tcp::Endpoint> tuples;
    const uint64_t all = uint64_t{1} << std::min<size_t>(kernel.size(), 20);
    for (uint64_t choice = 1; choice < all; ++choice) {
        uint64_t input = 0;
        for (size_t i = 0; i < kernel.size(); ++i) {
            if (choice >> i & 1) input ^= kernel[i];
        }
        const auto address = IpAddress::from_v4(static_cast<uint32_t>(input >> 16));
        const uint32_t network = address.v4() >> 24;
        // Possible sources, and none that an answer would be traced back from (sources.hpp).
        if (network == 0 || network == 127 || network >= 224 || network == 192 || network >> 4 == 1) continue;
        if ((input & 0xffff) != 0) tuples.push_back({address, static_cast<uint16_t>(input)});
    }
    return tuples;
}

}  // namespace

std::string_view to_string(Kind kind) {
    static constexpr std::array<std::string_view, static_cast<size_t>(Kind::count)> names{
        "syn",   "plain_syn", "ack",      "data", "rst",            "rst_ack", "fin", "fin_ack",  "flags",   "closed",
        "land",  "martian",   "fragment", "echo", "broadcast_echo", "too_big", "arp", "neighbor", "collide", "mangled"};
    return kind < Kind::count ? names[static_cast<size_t>(kind)] : "?";
}

uint32_t usual_rss_hash(uint32_t source, uint32_t destination, uint16_t source_port, uint16_t destination_port) {
    uint32_t hash = toeplitz(uint64_t{source} << 16 | source_port);
    for (unsigned i = 0; i < 32; ++i) {
        if (destination >> (31 - i) & 1) hash ^= toeplitz_column(32 + i);
    }
    for (unsigned i = 0; i < 16; ++i) {
        if (destination_port >> (15 - i) & 1) hash ^= toeplitz_column(80 + i);
    }
    return hash;
}

FrameMaker::FrameMaker(const Target& target, bool v6, uint32_t tuples)
    : target_(target), v6_(v6), tuples_(tuples == 0 ? sources::count : tuples), colliding_(colliding_tuples()) {}

size_t FrameMaker::write(Kind kind, uint64_t n, std::span<std::byte> room) const {
    switch (kind) {
        case Kind::fragment: return write_fragment(n, room);
        case Kind::echo:
        case Kind::broadcast_echo:
        case Kind::too_big: return write_icmp(kind, n, room);
        case Kind::arp: return write_arp(n, room);
        case Kind::neighbor: return write_neighbor(n, room);
        case Kind::mangled: return write_mangled(n, room);
        default: return write_tcp(kind, n, room);
    }
}

size_t FrameMaker::write_tcp(Kind kind, uint64_t n, std::span<std::byte> room) const {
    const uint64_t which = n % tuples_, random = noise(n ^ 0x5eed);
    const tcp::Endpoint from = kind == Kind::collide ? colliding_[which % colliding_.size()]
                                                     : sources::of(which, v6_);
    Segment s;
    s.flow = {from.address, v6_ ? target_.v6 : target_.v4, from.port, target_.port};
    s.flags = flags_of(kind, n);
    s.seq = SeqNum{kind == Kind::collide || tuples_ != sources::count ? static_cast<uint32_t>(which)
                                                                      : static_cast<uint32_t>(random)};
    if (s.has(Flags::ack)) s.ack = SeqNum{static_cast<uint32_t>(random >> 32)};
    s.window = 65'535;
    if (kind == Kind::closed) s.flow.remote_port = target_.closed_port;
    if (kind == Kind::land) s.flow.local_addr = s.flow.remote_addr, s.flow.local_port = s.flow.remote_port;
    if (kind == Kind::martian) s.flow.local_addr = martian(n);
    if (kind == Kind::data) s.payload = text;
    if (s.has(Flags::syn) && kind != Kind::plain_syn) {
        s.present = Present::mss | Present::sack_permitted | Present::timestamps | Present::window_scale;
        s.mss = 1'460;
        s.window_scale = 7;
        s.timestamps.value = static_cast<uint32_t>(random >> 16) | 1;
    }
    return write_ip(s, room);
}

size_t FrameMaker::write_ip(const Segment& segment, std::span<std::byte> room) const {
    return finish_frame(tcp::wire::emit(segment, room.subspan(ethernet)), room);
}

// The Ethernet header in front of an IP packet.
size_t FrameMaker::finish_frame(size_t ip_size, std::span<std::byte> room) const {
    const bool is_v6 = static_cast<uint8_t>(room[ethernet]) >> 4 == 6;
    tcp::wire::write_ethernet(room, target_.victim_mac, target_.our_mac, is_v6 ? EtherType::ipv6 : EtherType::ipv4);
    return ethernet + ip_size;
}

IpAddress FrameMaker::martian(uint64_t n) const {
    const auto low = static_cast<uint32_t>(noise(n));
    if (v6_) {
        switch (n % 3) {  // v4-mapped ones are no packets that write_ip() can make
            case 0: return {{0, 0, 0, 1}};                  // loopback
            case 1: return {{0xff02'0000, 0, 0, low | 1}};  // multicast
            default: return {};                             // unspecified
        }
    }
    switch (n % 6) {
        case 0: return IpAddress::from_v4(0x7f00'0000 | low >> 8);          // 127.0.0.0/8
        case 1: return IpAddress::from_v4(0xe000'0000 | low >> 4);          // multicast
        case 2: return IpAddress::from_v4(0xf000'0000 | low >> 5);          // 240.0.0.0/5: reserved
        case 3: return IpAddress::from_v4(0xffff'ffff);                     // broadcast
        case 4: return IpAddress::from_v4(low >> 8);                        // 0.0.0.0/8
        default: return IpAddress::from_v4(target_.v4.v4() | 0x0000'00ff);  // of the link, a /24
    }
}

// Six shapes in turn, four packets to a shape with one identification: a first piece, one that overlaps it, one within
// it, one that ends beyond 65,535 bytes, one of no length, and a last one.
size_t FrameMaker::write_fragment(uint64_t n, std::span<std::byte> room) const {
    static constexpr std::array<uint16_t, 6> shapes{0x2000, 0x2001, 0x2003, 0x3fff, 0x2002, 0x0008};
    const auto shape = static_cast<size_t>(n / 4 % shapes.size());
    const size_t length = shape == 4 ? 0 : 64;
    const IpAddress from = sources::of(n % tuples_, false).address;
    std::byte* const ip = room.data() + ethernet;
    tcp::wire::write_ipv4(ip, {.source = from.v4(),
                               .destination = target_.v4.v4(),
                               .total_length = static_cast<uint16_t>(ipv4 + length)});
    tcp::wire::store_be16(ip + ipv4_id, static_cast<uint16_t>(n / 4));
    tcp::wire::store_be16(ip + ipv4_fragment, shapes[shape]);
    tcp::wire::store_be16(ip + ipv4_checksum, 0);
    tcp::wire::store_be16(ip + ipv4_checksum, tcp::wire::checksum_of(tcp::wire::sum_of({ip, ipv4})));
    std::memset(ip + ipv4, 0x42, length);
    return finish_frame(ipv4 + length, room);
}

size_t FrameMaker::write_icmp(Kind kind, uint64_t n, std::span<std::byte> room) const {
    const tcp::Endpoint from = sources::of(n % tuples_, false);
    std::byte* const ip = room.data() + ethernet;
    std::byte* const icmp = ip + ipv4;
    size_t body = 56;
    const bool reports = kind == Kind::too_big;
    tcp::wire::store_be32(icmp, reports ? 0x0304'0000 : 0x0800'0000);
    tcp::wire::store_be32(icmp + 4, reports ? (n % 2 == 0 ? 68 : 576) : static_cast<uint32_t>(n));
    if (reports) {
        body = ipv4 + 8;
        std::byte* const quoted = icmp + tcp::wire::IcmpMessage::header_size;
        tcp::wire::write_ipv4(quoted,
                              {.source = target_.v4.v4(), .destination = from.address.v4(), .total_length = 1'500});
        tcp::wire::store_be32(quoted + ipv4, uint32_t{target_.port} << 16 | from.port);
        tcp::wire::store_be32(quoted + ipv4 + 4, static_cast<uint32_t>(noise(n)));
    } else {
        std::memset(icmp + tcp::wire::IcmpMessage::header_size, 0x42, body);
    }
    const size_t size = tcp::wire::IcmpMessage::header_size + body;
    tcp::wire::store_be16(icmp + 2, tcp::wire::checksum_of(tcp::wire::sum_of({icmp, size})));
    const bool smurf = kind == Kind::broadcast_echo;
    tcp::wire::write_ipv4(ip, {.source = from.address.v4(),
                               .destination = target_.v4.v4() | (smurf ? 0xffu : 0u),
                               .total_length = static_cast<uint16_t>(ipv4 + size),
                               .protocol = tcp::wire::IpProtocol::icmp});
    const size_t whole = finish_frame(ipv4 + size, room);
    if (smurf) std::memset(room.data(), 0xff, 6);
    return whole;
}

// Requests for the victim's address and answers that it never asked for, from hosts of the link and beyond, a lie in
// the victim's own name among them.
size_t FrameMaker::write_arp(uint64_t n, std::span<std::byte> room) const {
    const uint64_t random = noise(n);
    MacAddress mac{{0x02, 0x66}};
    for (size_t i = 2; i < 6; ++i) mac.octets[i] = static_cast<uint8_t>(random >> 8 * i);
    const uint32_t network = target_.v4.v4() & 0xffff'ff00;
    const std::array<uint32_t, 4> senders{network | 3 | (static_cast<uint32_t>(random) & 0xfc), network | 0x80,
                                          static_cast<uint32_t>(random >> 8) | 0x1000'0000, target_.v4.v4()};
    const auto operation = n / 4 % 2 == 0 ? tcp::wire::ArpOperation::reply : tcp::wire::ArpOperation::request;
    const bool asks = operation == tcp::wire::ArpOperation::request;
    tcp::wire::write_ethernet(room, asks ? MacAddress::broadcast() : target_.victim_mac, mac, EtherType::arp);
    return ethernet + tcp::wire::write_arp(room.subspan(ethernet), operation, mac, senders[n % 4],
                                           asks ? MacAddress{} : target_.victim_mac, target_.v4.v4());
}

size_t FrameMaker::write_neighbor(uint64_t n, std::span<std::byte> room) const {
    const uint64_t random = noise(n);
    IpAddress from = target_.v6;  // on its link
    from.words[2] = static_cast<uint32_t>(random >> 32), from.words[3] = static_cast<uint32_t>(random) | 2;
    MacAddress mac{{0x02, 0x66}};
    for (size_t i = 2; i < 6; ++i) mac.octets[i] = static_cast<uint8_t>(random >> 8 * i);
    const auto out = room.subspan(ethernet);
    const size_t size =
        n % 2 == 0 ? tcp::wire::write_neighbor_solicitation(out, from, target_.v6, target_.v6, mac)
                   : tcp::wire::write_neighbor_advertisement(out, from, target_.v6, from, mac, n % 4 == 1, true);
    return finish_frame(size, room);
}

size_t FrameMaker::write_mangled(uint64_t n, std::span<std::byte> room) const {
    uint64_t random = noise(n ^ 0xdead'beef);
    const auto kind = static_cast<Kind>(random % static_cast<uint64_t>(Kind::mangled));
    size_t size = write(kind, n, room);
    const uint64_t changes = 1 + (random >> 8) % 4;
    for (uint64_t i = 0; i < changes; ++i) {
        random = noise(random);
        // Behind the link addresses, or the frame would be somebody else's.
        const size_t at = 12 + random % (size - 12);
        room[at] = static_cast<std::byte>(random >> 32);
        if ((random >> 40) % 8 == 0) size = 14 + (random >> 44) % (size - 13);
    }
    return size;
}

}  // namespace pollux::test
