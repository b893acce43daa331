// The IPv6 header and its extension headers: what is accepted, what is passed over, what is refused, what is written.
#include "tcp/wire/ipv6.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <vector>

#include "tests/support/guard_page.hpp"

namespace pollux::tcp::wire {
namespace {

using Bytes = std::vector<std::byte>;

const IpAddress source = IpAddress::parse("2001:db8::2").value();
const IpAddress destination = IpAddress::parse("2001:db8:0:1:ffff:eeee:dddd:cccc").value();

constexpr unsigned hop_by_hop = 0, tcp = 6, routing = 43, fragment = 44, esp = 50, authentication = 51, icmpv6 = 58,
                   no_next_header = 59, destination_options = 60, mobility = 135;

// One extension header as bytes; its next header is filled in by packet_of().
struct Extension {
    unsigned type;
    std::vector<unsigned> rest;  // behind the next header byte
};

// The chain, then a payload of 8 bytes that says `last`.
Bytes packet_of(const std::vector<Extension>& chain, unsigned last = tcp, size_t payload = 8) {
    Bytes bytes(Ipv6Header::fixed_size);
    for (size_t i = 0; i < chain.size(); ++i) {
        bytes.push_back(std::byte(i + 1 < chain.size() ? chain[i + 1].type : last));
        for (const unsigned byte : chain[i].rest) bytes.push_back(std::byte(byte));
    }
    bytes.resize(bytes.size() + payload, std::byte{0x77});
    write_ipv6(bytes.data(), {.source = source,
                              .destination = destination,
                              .payload_length = static_cast<uint16_t>(bytes.size() - Ipv6Header::fixed_size),
                              .next_header = IpProtocol(chain.empty() ? last : chain.front().type)});
    return bytes;
}

Ipv6Chain chain_of(const std::vector<Extension>& chain, unsigned last = tcp) {
    const Bytes bytes = packet_of(chain, last);
    return Ipv6Header::parse(bytes).value().chain();
}

// What an unbroken chain leads to.
void expect_passed_over(const std::vector<Extension>& chain, unsigned last = tcp) {
    const Bytes bytes = packet_of(chain, last);
    const auto ip = Ipv6Header::parse(bytes);
    ASSERT_TRUE(ip);
    EXPECT_EQ(ip->chain(), Ipv6Chain::ok);
    EXPECT_EQ(unsigned(ip->protocol()), last);
    EXPECT_EQ(ip->payload().size(), 8u);
    EXPECT_EQ(ip->payload().data(), bytes.data() + bytes.size() - 8);
    EXPECT_EQ(ip->has_extensions(), !chain.empty());
}

const Extension options_of_padding{destination_options, {0, 1, 4, 0, 0, 0, 0}};  // PadN over 6 bytes
const Extension first_options{hop_by_hop, {0, 1, 4, 0, 0, 0, 0}};
const Extension no_segments_left{routing, {0, 77, 0, 0, 0, 0, 0}};
const Extension atomic_fragment{fragment, {0, 0, 0, 0xde, 0xad, 0xbe, 0xef}};

// Destination options with these options; the caller has made 6, 14, 22 ... bytes of them.
Extension options(std::vector<unsigned> bytes, unsigned type = destination_options) {
    EXPECT_EQ(bytes.size() % 8, 6u);
    bytes.insert(bytes.begin(), static_cast<unsigned>(bytes.size() / 8));
    return {type, std::move(bytes)};
}

TEST(Ipv6, LooksLikeRfc8200OnTheWire) {
    Bytes bytes(40, std::byte{0xa5});
    write_ipv6(bytes.data(), {.source = source,
                              .destination = destination,
                              .payload_length = 0x0123,
                              .next_header = IpProtocol::icmpv6,
                              .hop_limit = 255,
                              .dscp = 46,
                              .ecn = Ecn::ect0});
    // Version 6, traffic class 0xba, flow label 0.
    const unsigned expected[] = {
        0x6b, 0xa0, 0,    0,    0x01, 0x23, 58, 255,                                               //
        0x20, 0x01, 0x0d, 0xb8, 0,    0,    0,  0,   0,    0,    0,    0,    0,    0,    0,    2,  //
        0x20, 0x01, 0x0d, 0xb8, 0,    0,    0,  1,   0xff, 0xff, 0xee, 0xee, 0xdd, 0xdd, 0xcc, 0xcc};
    for (size_t i = 0; i < 40; ++i) EXPECT_EQ(unsigned(bytes[i]), expected[i]) << "byte " << i;
}

TEST(Ipv6, ReadsEveryField) {
    Bytes bytes = packet_of({});
    bytes[0] = std::byte{0x6b};
    bytes[1] = std::byte{0xbf};  // traffic class 0xbb, flow label 0xfedcb
    bytes[2] = std::byte{0xed};
    bytes[3] = std::byte{0xcb};
    bytes[7] = std::byte{63};
    const auto ip = Ipv6Header::parse(bytes);
    ASSERT_TRUE(ip);
    EXPECT_EQ(ip->total_length(), 48u);
    EXPECT_EQ(ip->dscp(), 46);
    EXPECT_EQ(ip->ecn(), Ecn::ce);
    EXPECT_EQ(ip->flow_label(), 0xf'edcbu);
    EXPECT_EQ(ip->hop_limit(), 63);
    EXPECT_EQ(ip->source(), source);
    EXPECT_EQ(ip->destination(), destination);
    EXPECT_EQ(ip->packet().size(), 48u);
    EXPECT_FALSE(ip->has_fragment_header());
    expect_passed_over({});
}

TEST(Ipv6, CutsOffWhatEthernetPadded) {
    Bytes bytes = packet_of({}, no_next_header, 2);
    bytes.resize(46, std::byte{0xee});
    const auto ip = Ipv6Header::parse(bytes);
    ASSERT_TRUE(ip);
    EXPECT_EQ(ip->payload().size(), 2u);
    EXPECT_EQ(ip->packet().size(), 42u);
}

TEST(Ipv6, RefusesWrongVersionAndLengths) {
    const Bytes good = packet_of({});
    for (unsigned version = 0; version < 16; ++version) {
        Bytes bytes = good;
        bytes[0] = std::byte(version << 4);
        EXPECT_EQ(Ipv6Header::check(bytes), version == 6 ? ParseResult::ok : ParseResult::bad_ip_header) << version;
        EXPECT_EQ(Ipv6Header::parse(bytes).has_value(), version == 6);
        EXPECT_EQ(Ipv6Header::parse_quoted(bytes).has_value(), version == 6);
    }
    Bytes bytes = good;
    store_be16(bytes.data() + 4, 9);
    EXPECT_EQ(Ipv6Header::check(bytes), ParseResult::truncated);
    store_be16(bytes.data() + 4, 0);
    EXPECT_EQ(Ipv6Header::check(bytes), ParseResult::ok);
    EXPECT_TRUE(Ipv6Header::parse(bytes)->payload().empty());
}

TEST(Ipv6, NeverReadsBeyondItsEnd) {
    const tests::GuardPage guard{256};
    const Bytes whole = packet_of({first_options, no_segments_left, atomic_fragment, options_of_padding});
    for (size_t size = 0; size < whole.size(); ++size) {
        const auto cut = guard.hold(std::span(whole).first(size));
        EXPECT_EQ(Ipv6Header::check(cut), ParseResult::truncated) << size;
        EXPECT_FALSE(Ipv6Header::parse(cut)) << size;
        // With a payload length that fits, the chain has to notice.
        if (size < 40) continue;
        store_be16(cut.data() + 4, static_cast<uint16_t>(size - 40));
        const auto ip = Ipv6Header::parse(cut);
        ASSERT_TRUE(ip);
        EXPECT_EQ(ip->chain(), size < 72 ? Ipv6Chain::malformed : Ipv6Chain::ok) << size;
    }
    EXPECT_EQ(Ipv6Header::parse(guard.hold(whole))->chain(), Ipv6Chain::ok);
}

TEST(Ipv6, ExtensionHeadersAreAcceptedInAnyOrderAndNumber) {
    // RFC 8200 section 4.1, but for hop-by-hop options.
    expect_passed_over({first_options});
    expect_passed_over({first_options, options_of_padding, no_segments_left, atomic_fragment, options_of_padding});
    expect_passed_over({options_of_padding, options_of_padding});
    expect_passed_over({atomic_fragment, no_segments_left, atomic_fragment});
    expect_passed_over({no_segments_left, no_segments_left, options_of_padding});
    for (const unsigned last : {unsigned(tcp), icmpv6, no_next_header, esp, authentication, mobility, 17u, 255u}) {
        expect_passed_over({}, last);
        expect_passed_over({options_of_padding}, last);
    }
}

TEST(Ipv6, HopByHopOptionsStandOnlyFirst) {
    EXPECT_EQ(chain_of({options_of_padding, first_options}), Ipv6Chain::malformed);
    EXPECT_EQ(chain_of({first_options, first_options}), Ipv6Chain::malformed);
    EXPECT_EQ(chain_of({atomic_fragment, first_options}), Ipv6Chain::malformed);
}

TEST(Ipv6, EndlessChainsEndTheWalk) {
    expect_passed_over(std::vector<Extension>(8, options_of_padding));
    EXPECT_EQ(chain_of(std::vector<Extension>(9, options_of_padding)), Ipv6Chain::malformed);
    EXPECT_EQ(chain_of(std::vector<Extension>(180, atomic_fragment)), Ipv6Chain::malformed);
}

TEST(Ipv6, RoutingHeadersWithSegmentsLeftAreSourceRoutes) {
    // RFC 5095 section 3: type 0 as any unknown type of RFC 8200 section 4.4.
    for (const unsigned type : {0u, 2u, 3u, 4u, 253u}) {
        expect_passed_over({{routing, {0, type, 0, 0, 0, 0, 0}}});
        for (const unsigned left : {1u, 2u, 255u}) {
            EXPECT_EQ(chain_of({{routing, {0, type, left, 0, 0, 0, 0}}}), Ipv6Chain::source_route) << type;
            EXPECT_EQ(chain_of({options_of_padding, {routing, {0, type, left, 0, 0, 0, 0}}}),
                      Ipv6Chain::source_route);
        }
    }
}

TEST(Ipv6, OnlyAtomicFragmentsAreWhole) {
    const auto fragment_of = [](unsigned high, unsigned low) {
        return chain_of({{fragment, {0, high, low, 1, 2, 3, 4}}});
    };
    expect_passed_over({atomic_fragment});                       // RFC 6946
    expect_passed_over({{fragment, {0xff, 0, 6, 1, 2, 3, 4}}});  // reserved bits are ignored, the length too
    EXPECT_EQ(fragment_of(0, 1), Ipv6Chain::fragment);           // the first of several
    EXPECT_EQ(fragment_of(0, 8), Ipv6Chain::fragment);           // the last
    EXPECT_EQ(fragment_of(0xff, 0xf9), Ipv6Chain::fragment);
    for (unsigned bit = 3; bit < 16; ++bit) {
        EXPECT_EQ(fragment_of((1u << bit) >> 8, (1u << bit) & 0xff), Ipv6Chain::fragment) << bit;
    }
    const Bytes bytes = packet_of({atomic_fragment});
    EXPECT_TRUE(Ipv6Header::parse(bytes)->has_fragment_header());
    const Bytes broken = packet_of({{fragment, {0, 0, 1, 1, 2, 3, 4}}});
    EXPECT_TRUE(Ipv6Header::parse(broken)->has_fragment_header());
    EXPECT_TRUE(Ipv6Header::parse(broken)->has_extensions());
}

TEST(Ipv6, OptionsAreSkippedOrDiscardedAsTheirTypeAsks) {
    for (unsigned type = 2; type < 256; ++type) {
        const Ipv6Chain expected = type < 0x40 ? Ipv6Chain::ok : Ipv6Chain::malformed;
        EXPECT_EQ(chain_of({options({type, 4, 1, 2, 3, 4})}), expected) << type;
        EXPECT_EQ(chain_of({options({type, 4, 1, 2, 3, 4}, hop_by_hop)}), expected) << type;
        EXPECT_EQ(chain_of({options({0, 1, 1, 0, type, 0})}), expected) << type;
    }
}

TEST(Ipv6, OptionsStayWithinTheirHeader) {
    EXPECT_EQ(chain_of({options({5, 5, 0, 0, 0, 0})}), Ipv6Chain::malformed);
    EXPECT_EQ(chain_of({options({1, 255, 0, 0, 0, 0})}), Ipv6Chain::malformed);
    EXPECT_EQ(chain_of({options({5, 3, 0, 0, 0, 5})}), Ipv6Chain::malformed);  // no room for a length
    EXPECT_EQ(chain_of({options({5, 2, 0, 0, 1, 1})}), Ipv6Chain::malformed);
    EXPECT_EQ(chain_of({options({5, 2, 0, 0, 1, 0})}), Ipv6Chain::ok);
    EXPECT_EQ(chain_of({options({5, 3, 0, 0, 0, 0})}), Ipv6Chain::ok);
}

TEST(Ipv6, PaddingAndNumberOfOptionsAreBounded) {
    // RFC 8504 section 5.3: seven bytes of padding suffice for every alignment, and the number may be limited.
    EXPECT_EQ(chain_of({options({0, 0, 0, 0, 0, 0})}), Ipv6Chain::ok);
    EXPECT_EQ(chain_of({options({5, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5})}), Ipv6Chain::malformed);
    EXPECT_EQ(chain_of({options({5, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})}), Ipv6Chain::ok);
    EXPECT_EQ(chain_of({options({5, 4, 0, 0, 0, 0, 1, 6, 0, 0, 0, 0, 0, 0})}), Ipv6Chain::malformed);
    EXPECT_EQ(chain_of({options({5, 4, 0, 0, 0, 0, 1, 2, 0, 0, 1, 2, 0, 0})}), Ipv6Chain::malformed);
    std::vector<unsigned> many;
    for (int i = 0; i < 8; ++i) many.insert(many.end(), {5, 0});
    many.insert(many.end(), {1, 4, 0, 0, 0, 0});
    EXPECT_EQ(chain_of({options(many)}), Ipv6Chain::ok);
    many[16] = 5, many[17] = 0, many[18] = 1, many[19] = 2;
    EXPECT_EQ(chain_of({options(many)}), Ipv6Chain::malformed);
}

TEST(Ipv6, ExtensionLengthsStayWithinThePacket) {
    for (const unsigned type : {hop_by_hop, routing, destination_options}) {
        // Eight bytes of extension and eight of payload: 0 and 1 units more fit, and no more.
        const auto with_length = [type](unsigned length) { return chain_of({{type, {length, 1, 0, 1, 0, 1, 0}}}); };
        EXPECT_EQ(with_length(0), Ipv6Chain::ok) << type;
        for (const unsigned length : {2u, 3u, 255u}) EXPECT_EQ(with_length(length), Ipv6Chain::malformed) << type;
    }
    expect_passed_over({{routing, {1, 77, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}}});
}

TEST(Ipv6, QuotedPacketMayHaveLostItsEnd) {
    const tests::GuardPage guard{256};
    const Bytes bytes = packet_of({options_of_padding}, tcp, 100);
    const auto quoted = [&](size_t size) {
        return Ipv6Header::parse_quoted(guard.hold(std::span(bytes).first(size)));
    };
    EXPECT_FALSE(quoted(39));
    EXPECT_EQ(quoted(40)->chain(), Ipv6Chain::malformed);
    EXPECT_EQ(quoted(47)->chain(), Ipv6Chain::malformed);
    EXPECT_EQ(quoted(48)->chain(), Ipv6Chain::ok);
    EXPECT_TRUE(quoted(48)->payload().empty());
    EXPECT_EQ(quoted(56)->payload().size(), 8u);
    EXPECT_EQ(quoted(56)->total_length(), 148u);
    Bytes padded = bytes;
    padded.resize(160);
    EXPECT_EQ(Ipv6Header::parse_quoted(padded)->payload().size(), 100u);
}

// The rules of ipv6.hpp once more, as slowly as RFC 8200 tells them: from the end of one header to the next.
struct Told {
    Ipv6Chain chain = Ipv6Chain::ok;
    unsigned protocol = 0;
    size_t payload_at = 0;
    bool fragment_header = false;
};

bool options_are_sound(std::vector<unsigned> bytes) {
    unsigned padding = 0, others = 0;
    while (!bytes.empty()) {
        const unsigned type = bytes[0];
        if (type != 0 && bytes.size() < 2) return false;
        const size_t size = type == 0 ? 1 : 2 + bytes[1];
        if (size > bytes.size()) return false;
        if (type > 1 && (type >= 64 || ++others > 8)) return false;
        padding = type > 1 ? 0 : padding + static_cast<unsigned>(size);
        if (padding > 7) return false;
        bytes.erase(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
    }
    return true;
}

Told told(std::span<const std::byte> packet) {
    std::vector<unsigned> bytes;
    for (const std::byte byte : packet) bytes.push_back(unsigned(byte));
    Told told{.protocol = bytes[6], .payload_at = 40};
    for (int headers = 0;; ++headers) {
        const unsigned type = told.protocol;
        if (type != hop_by_hop && type != routing && type != fragment && type != destination_options) return told;
        told.chain = Ipv6Chain::malformed;
        if (headers == 8 || (type == hop_by_hop && headers != 0)) return told;
        const auto at = bytes.begin() + static_cast<ptrdiff_t>(told.payload_at);
        const auto left = static_cast<size_t>(bytes.end() - at);
        if (left < 8) return told;
        const size_t size = type == fragment ? 8 : (at[1] + 1) * 8;
        if (size > left) return told;
        if (type == hop_by_hop || type == destination_options) {
            if (!options_are_sound({at + 2, at + static_cast<ptrdiff_t>(size)})) return told;
        } else if (type == routing) {
            told.chain = Ipv6Chain::source_route;
            if (at[3] != 0) return told;
        } else {
            told.fragment_header = true;
            told.chain = Ipv6Chain::fragment;
            const unsigned offset = at[2] * 32 + at[3] / 8, more = at[3] % 2;
            if (offset != 0 || more != 0) return told;
        }
        told = {Ipv6Chain::ok, at[0], told.payload_at + size, told.fragment_header};
    }
}

TEST(Ipv6, RandomChainsAreReadAsTold) {
    std::mt19937 random{2460};
    const tests::GuardPage guard{1024};
    const Extension sound[] = {options_of_padding, no_segments_left, atomic_fragment, options({5, 2, 0, 0, 1, 0}),
                               options({0, 0, 62, 1, 9, 0})};
    std::array<int, 4> seen{};
    for (int i = 0; i < 60'000; ++i) {
        std::vector<Extension> chain(random() % 10);
        for (Extension& extension : chain) extension = sound[random() % std::size(sound)];
        if (!chain.empty() && random() % 4 == 0) chain[random() % 8 % chain.size()] = first_options;
        Bytes bytes = packet_of(chain, random() % 2 == 0 ? tcp : icmpv6, random() % 20);
        for (auto changes = random() % 3; changes > 0; --changes) {
            if (bytes.size() > 40) bytes[40 + random() % (bytes.size() - 40)] ^= std::byte(1u << random() % 8);
        }
        if (random() % 8 == 0) bytes.resize(40 + random() % (bytes.size() - 39));
        store_be16(bytes.data() + 4, static_cast<uint16_t>(bytes.size() - 40));
        const auto held = guard.hold(bytes);
        const auto ip = Ipv6Header::parse(held);
        ASSERT_TRUE(ip);
        const Told expected = told(held);
        ASSERT_EQ(ip->chain(), expected.chain) << i;
        ASSERT_EQ(ip->has_fragment_header(), expected.fragment_header) << i;
        ++seen[size_t(expected.chain)];
        if (expected.chain != Ipv6Chain::ok) continue;
        ASSERT_EQ(unsigned(ip->protocol()), expected.protocol) << i;
        ASSERT_EQ(ip->payload().data(), held.data() + expected.payload_at) << i;
        ASSERT_EQ(ip->payload().size(), held.size() - expected.payload_at) << i;
    }
    for (const int count : seen) EXPECT_GT(count, 300);
}

TEST(Ipv6, AnyBytesAreWalkedToAnEnd) {
    std::mt19937 random{8200};
    const tests::GuardPage guard{1024};
    const unsigned types[] = {hop_by_hop, routing, fragment, destination_options, tcp, icmpv6};
    int passed = 0;
    for (int i = 0; i < 200'000; ++i) {
        Bytes bytes(40 + random() % 200);
        for (auto& byte : bytes) byte = random() % 3 == 0 ? std::byte(types[random() % 6]) : std::byte(random() % 4);
        bytes[0] = std::byte{0x60};
        bytes[6] = std::byte(types[random() % 6]);
        store_be16(bytes.data() + 4, static_cast<uint16_t>(bytes.size() - 40));
        const auto held = guard.hold(bytes);
        const auto ip = Ipv6Header::parse(held);
        ASSERT_TRUE(ip);
        const auto payload = ip->payload();
        ASSERT_LE(payload.size(), bytes.size() - 40);
        ASSERT_EQ(payload.data() + payload.size(), held.data() + held.size());
        if (ip->chain() == Ipv6Chain::ok && ip->has_extensions()) ++passed;
    }
    EXPECT_GT(passed, 1000);
}

}  // namespace
}  // namespace pollux::tcp::wire
