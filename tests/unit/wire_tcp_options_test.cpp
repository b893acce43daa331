// TCP options: every short string of bytes, random long ones, and what the writer lays out.
#include "tcp/wire/tcp_options.hpp"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <random>
#include <vector>

#include "tests/support/guard_page.hpp"

namespace pollux::tcp::wire {
namespace {

std::vector<std::byte> bytes_of(std::initializer_list<unsigned> values) {
    std::vector<std::byte> bytes;
    for (const unsigned value : values) bytes.push_back(std::byte(value));
    return bytes;
}

struct Read {
    OptionsResult result;
    Segment segment;
};
Read read(std::span<const std::byte> options, Flags flags) {
    Segment segment{.flags = flags};
    const OptionsResult result = parse_options(options, segment);
    return {result, segment};
}
Read read(std::initializer_list<unsigned> options, Flags flags = Flags::syn) {
    return read(bytes_of(options), flags);
}

std::vector<std::byte> written(const Segment& segment) {
    std::vector<std::byte> bytes(options_size(segment));
    write_options(bytes.data(), segment);
    return bytes;
}

// RFC 9293 section 3.1, said once more without an index.
bool is_legal(std::span<const std::byte> options) {
    if (options.empty() || options[0] == std::byte{0}) return true;
    if (options[0] == std::byte{1}) return is_legal(options.subspan(1));
    if (options.size() < 2) return false;
    const size_t length = size_t(options[1]);
    if (length < 2 || length > options.size()) return false;
    switch (int(options[0])) {
        case 2:
            if (length != 4) return false;
            break;
        case 3:
            if (length != 3) return false;
            break;
        case 4:
            if (length != 2) return false;
            break;
        case 5:
            if (length != 10 && length != 18 && length != 26 && length != 34) return false;
            break;
        case 8:
            if (length != 10) return false;
            break;
        default: break;
    }
    return is_legal(options.subspan(length));
}

TEST(TcpOptions, KnownKindsAreRead) {
    RecordProperty("row", "MUST-4");
    const auto all = read({2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 5, 0, 0, 0, 9, 1, 3, 3, 7});
    ASSERT_EQ(all.result, OptionsResult::ok);
    EXPECT_EQ(all.segment.present,
              Present::mss | Present::sack_permitted | Present::timestamps | Present::window_scale);
    EXPECT_EQ(all.segment.mss, 1460);
    EXPECT_EQ(all.segment.timestamps, (Timestamps{5, 9}));
    EXPECT_EQ(all.segment.window_scale, 7);

    const auto sack = read({1, 1, 5, 18, 0, 0, 0, 1, 0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, Flags::ack);
    ASSERT_EQ(sack.result, OptionsResult::ok);
    ASSERT_EQ(sack.segment.sack_count, 2);
    EXPECT_EQ(sack.segment.sack_blocks[0], (SackBlock{SeqNum{1}, SeqNum{2}}));
    EXPECT_EQ(sack.segment.sack_blocks[1], (SackBlock{SeqNum{0xffff'ffff}, SeqNum{0}}));
}

TEST(TcpOptions, PaddingRunsAndUnknownKindsDoNotHideTheOthers) {
    RecordProperty("row", "E12 MUST-6 MUST-68");
    // EOL padding: what follows is not read.
    EXPECT_EQ(read({2, 4, 5, 0xb4, 0, 2, 4, 0}).segment.mss, 1460);
    EXPECT_EQ(read({0, 0xff, 0, 2, 4, 5}).segment.present, Present::none);
    // NOP runs.
    EXPECT_EQ(read({1, 1, 1, 1, 1, 2, 4, 5, 0xb4, 1, 1, 1}).segment.mss, 1460);
    // Unknown kinds, skipped by their length: even where their content looks like an option, and without content.
    const auto unknown = read({254, 6, 2, 4, 0, 1, 253, 2, 2, 4, 5, 0xb4, 34, 4, 3, 3, 3, 3, 2, 0});
    EXPECT_EQ(unknown.result, OptionsResult::ok);
    EXPECT_EQ(unknown.segment.mss, 1460);
    EXPECT_EQ(unknown.segment.window_scale, 2);
    // SACK without NOPs in front.
    EXPECT_EQ(read({5, 10, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0}, Flags::ack).segment.sack_count, 1);
}

TEST(TcpOptions, OptionsNeedNoAlignment) {
    RecordProperty("row", "MUST-64");
    for (unsigned shift = 0; shift < 8; ++shift) {
        std::vector<std::byte> options(shift, std::byte{1});
        for (const auto byte : bytes_of({8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 2, 4, 5, 0xb4})) options.push_back(byte);
        const auto found = read(options, Flags::syn);
        EXPECT_EQ(found.segment.timestamps, (Timestamps{0x0102'0304, 0x0506'0708})) << shift;
        EXPECT_EQ(found.segment.mss, 1460) << shift;
    }
}

TEST(TcpOptions, OptionsAreAcceptedInAnySegment) {
    RecordProperty("row", "MUST-5");
    for (unsigned flags = 0; flags < 256; ++flags) {
        const auto found = read({1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 9, 250, 4, 9, 9}, Flags(flags));
        EXPECT_EQ(found.result, OptionsResult::ok);
        EXPECT_TRUE(found.segment.has(Present::timestamps)) << flags;
    }
}

TEST(TcpOptions, SynOptionsCountOnlyOnSyn) {
    RecordProperty("row", "MUST-65");
    for (unsigned flags = 0; flags < 256; ++flags) {
        const auto found = read({2, 4, 5, 0xb4, 3, 3, 7, 4, 2, 0, 0, 0}, Flags(flags));
        EXPECT_EQ(found.result, OptionsResult::ok);
        const bool syn = any(Flags(flags) & Flags::syn);
        EXPECT_EQ(found.segment.present,
                  syn ? Present::mss | Present::window_scale | Present::sack_permitted : Present::none);
        EXPECT_EQ(found.segment.mss, syn ? 1460 : 0);
        EXPECT_EQ(found.segment.window_scale, syn ? 7 : 0);
    }
}

TEST(TcpOptions, ScaleAboveFourteenIsReadAsFourteen) {
    for (unsigned scale = 0; scale < 256; ++scale) {
        EXPECT_EQ(read({3, 3, scale, 0}).segment.window_scale, std::min(scale, 14u));
    }
}

TEST(TcpOptions, IllegalLengthsMakeTheSegmentBad) {
    RecordProperty("row", "MUST-7");
    for (unsigned kind = 2; kind < 256; ++kind) {
        EXPECT_EQ(read({kind}).result, OptionsResult::bad) << kind;
        EXPECT_EQ(read({kind, 0, 1, 1}).result, OptionsResult::bad) << kind;
        EXPECT_EQ(read({kind, 1, 1, 1}).result, OptionsResult::bad) << kind;
        EXPECT_EQ(read({kind, 5, 1, 1}).result, OptionsResult::bad) << kind;
        EXPECT_EQ(read({1, 1, 1, kind}).result, OptionsResult::bad) << kind;
    }
    // The right place and the wrong length, on SYN and elsewhere.
    for (const Flags flags : {Flags::syn, Flags::ack}) {
        for (unsigned length = 2; length <= 40; ++length) {
            std::vector<std::byte> options(40);
            options[1] = std::byte(length);
            const auto result = [&](unsigned kind) {
                options[0] = std::byte(kind);
                return read(options, flags).result == OptionsResult::ok;
            };
            EXPECT_EQ(result(2), length == 4) << length;
            EXPECT_EQ(result(3), length == 3) << length;
            EXPECT_EQ(result(4), length == 2) << length;
            EXPECT_EQ(result(5), length % 8 == 2 && length > 2) << length;
            EXPECT_EQ(result(8), length == 10) << length;
            EXPECT_TRUE(result(6)) << length;
        }
    }
}

TEST(TcpOptions, EveryStringOfUpToThreeBytesIsReadToAnEnd) {
    RecordProperty("row", "MUST-7");
    const tests::GuardPage guard{64};
    for (size_t size = 0; size <= 3; ++size) {
        const auto place = guard.bytes(size);
        for (uint32_t value = 0; value < 1u << 8 * size; ++value) {
            for (size_t i = 0; i < size; ++i) place[i] = std::byte(value >> 8 * i);
            Segment segment{.flags = Flags::syn};
            const bool ok = parse_options(place, segment) == OptionsResult::ok;
            // No gtest macro in a loop of 17 million.
            if (ok != is_legal(place)) FAIL() << size << " bytes, " << std::hex << value;
        }
    }
}

TEST(TcpOptions, RandomOptionsAreReadToAnEndAndNeverOutside) {
    std::mt19937 random{793};
    const tests::GuardPage guard{64};
    constexpr std::array<unsigned, 8> likely{0, 1, 2, 3, 4, 5, 8, 10};
    uint32_t legal = 0;
    for (int i = 0; i < 1'000'000; ++i) {
        const auto options = guard.bytes(random() % 41);
        for (auto& byte : options) {
            const auto bits = static_cast<uint32_t>(random());
            byte = std::byte(bits % 4 == 0 ? bits >> 8 : likely[bits >> 8 & 7]);
        }
        const auto found = read(options, Flags(random() & 0xff));
        const bool ok = found.result == OptionsResult::ok;
        legal += ok;
        if (ok != is_legal(options)) FAIL() << i;
        if (found.segment.sack_count > 4 || found.segment.window_scale > 14) FAIL() << i;
    }
    EXPECT_GT(legal, 1000u) << "the generator must reach the good cases too";
}

TEST(TcpOptions, MoreThanFourSackBlocksAreIgnored) {
    std::vector<std::byte> options;
    for (unsigned option = 0; option < 3; ++option) {
        const auto two = bytes_of({5, 18, 0, 0, 0, option, 0, 0, 0, 1, 0, 0, 1, option, 0, 0, 1, 1});
        options.insert(options.end(), two.begin(), two.end());
    }
    const auto found = read(options, Flags::ack);
    EXPECT_EQ(found.result, OptionsResult::ok);
    ASSERT_EQ(found.segment.sack_count, 4);
    EXPECT_EQ(found.segment.sack_blocks[3].first, SeqNum{0x101});
}

TEST(TcpOptions, TimestampShortcutEqualsTheGeneralReader) {
    std::mt19937 random{7323};
    for (int i = 0; i < 1000; ++i) {
        auto options = bytes_of({1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0});
        for (size_t at = 4; at < 12; ++at) options[at] = std::byte(random());
        Segment general{.flags = Flags::ack};
        EXPECT_EQ(parse_options_one_by_one(options, general), OptionsResult::ok);
        const auto shortcut = read(options, Flags::ack);
        EXPECT_EQ(shortcut.segment.timestamps, general.timestamps);
        EXPECT_EQ(shortcut.segment.present, general.present);
    }
}

TEST(TcpOptions, SynBlockHasTheUsualLayout) {
    Segment segment{.timestamps = {5, 9}, .flags = Flags::syn};
    segment.mss = 1460;
    segment.window_scale = 7;
    segment.present = Present::mss | Present::window_scale | Present::sack_permitted | Present::timestamps;
    EXPECT_EQ(written(segment), bytes_of({2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 5, 0, 0, 0, 9, 1, 3, 3, 7}));
}

TEST(TcpOptions, EachSynOptionCanBeOffAloneAndTheBlockStaysPadded) {
    for (unsigned present = 0; present < 16; ++present) {
        Segment segment{.timestamps = {5, 9}, .flags = Flags::syn, .present = Present(present)};
        segment.mss = 1460;
        segment.window_scale = 7;
        const auto bytes = written(segment);
        EXPECT_EQ(bytes.size() % 4, 0u);
        const auto found = read(bytes, Flags::syn);
        EXPECT_EQ(found.result, OptionsResult::ok) << present;
        EXPECT_EQ(found.segment.present, segment.present);
        EXPECT_EQ(found.segment.mss, segment.has(Present::mss) ? 1460 : 0);
        EXPECT_EQ(found.segment.window_scale, segment.has(Present::window_scale) ? 7 : 0);
        EXPECT_EQ(found.segment.timestamps, segment.has(Present::timestamps) ? segment.timestamps : Timestamps{});
        // Padding is NOP only, and only as much as whole words ask for.
        const size_t content =
            (present & 1) * 4 + (present & 2 ? 3 : 0) + (present & 4 ? 2 : 0) + (present & 8 ? 10 : 0);
        EXPECT_LE(bytes.size() - content, 4u) << present;
    }
}

TEST(TcpOptions, SackGoesBesideTimestampsWithinFortyBytes) {
    for (const bool timestamps : {false, true}) {
        for (uint8_t count = 0; count <= 4; ++count) {
            Segment segment{.timestamps = {5, 9}, .flags = Flags::ack, .sack_count = count};
            if (timestamps) segment.present = Present::timestamps;
            for (uint32_t i = 0; i < 4; ++i) segment.sack_blocks[i] = {SeqNum{i * 100}, SeqNum{i * 100 + 50}};
            const auto bytes = written(segment);
            EXPECT_LE(bytes.size(), max_options_size);
            EXPECT_EQ(bytes.size() % 4, 0u);
            const auto found = read(bytes, Flags::ack);
            EXPECT_EQ(found.result, OptionsResult::ok);
            ASSERT_EQ(found.segment.sack_count, std::min<int>(count, timestamps ? 3 : 4));
            for (size_t i = 0; i < found.segment.sack_count; ++i) {
                EXPECT_EQ(found.segment.sack_blocks[i], segment.sack_blocks[i]);
            }
        }
    }
    Segment segment{.timestamps = {5, 9}, .flags = Flags::ack, .present = Present::timestamps, .sack_count = 1};
    segment.sack_blocks[0] = {SeqNum{1}, SeqNum{2}};
    EXPECT_EQ(written(segment), bytes_of({1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 9, 1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2}));
}

TEST(TcpOptions, SynOptionsAreWrittenOnlyOnSynAndSackOnlyElsewhere) {
    RecordProperty("row", "MUST-65");
    Segment segment{.flags = Flags::ack, .present = Present::mss | Present::window_scale | Present::sack_permitted};
    EXPECT_EQ(options_size(segment), 0u);
    segment = {.flags = Flags::syn | Flags::ack, .sack_count = 4};
    EXPECT_EQ(options_size(segment), 0u);
}

}  // namespace
}  // namespace pollux::tcp::wire
