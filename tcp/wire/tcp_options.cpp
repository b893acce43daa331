#include "tcp/wire/tcp_options.hpp"

namespace pollux::tcp::wire {
namespace {

enum Kind : uint8_t {
    end_of_options = 0,
    no_operation = 1,
    maximum_segment_size = 2,
    window_scale = 3,
    sack_permitted = 4,
    sack = 5,
    timestamps = 8,
};

// Reads one option of `length` bytes, all of which are there. False if that is the wrong length for its kind.
bool read_option(const std::byte* option, size_t length, Segment& segment) noexcept {
    const bool syn = segment.has(Flags::syn);
    switch (load_u8(option)) {
        case maximum_segment_size:
            if (length != 4) return false;
            if (syn) {
                segment.present |= Present::mss;
                segment.mss = load_be16(option + 2);
            }
            return true;
        case window_scale:
            if (length != 3) return false;
            if (syn) {
                segment.present |= Present::window_scale;
                segment.window_scale = std::min(load_u8(option + 2), max_window_scale);
            }
            return true;
        case sack_permitted:
            if (length != 2) return false;
            if (syn) segment.present |= Present::sack_permitted;
            return true;
        case sack:
            if (length < 10 || length % 8 != 2) return false;
            for (size_t i = 2; i < length && segment.sack_count < segment.sack_blocks.size(); i += 8) {
                segment.sack_blocks[segment.sack_count++] = {SeqNum{load_be32(option + i)},
                                                             SeqNum{load_be32(option + i + 4)}};
            }
            return true;
        case timestamps:
            if (length != 10) return false;
            segment.present |= Present::timestamps;
            segment.timestamps = {load_be32(option + 2), load_be32(option + 6)};
            return true;
        default: return true;  // MUST-6: any other kind is skipped by its length
    }
}

// Writes 32-bit words and sums them on the way, which spares reading them back.
struct WordWriter {
    std::byte* at;
    uint64_t sum = 0;

    void put(uint32_t word) noexcept {
        store_be32(at, word);
        at += sizeof word;
        sum += word;
    }
};

void write_syn_options(WordWriter& writer, const Segment& segment) noexcept {
    if (segment.has(Present::mss)) writer.put(0x0204'0000u | segment.mss);
    if (segment.has(Present::timestamps)) {
        writer.put(segment.has(Present::sack_permitted) ? 0x0402'080au : 0x0101'080au);
        writer.put(segment.timestamps.value);
        writer.put(segment.timestamps.echo);
    } else if (segment.has(Present::sack_permitted)) {
        writer.put(0x0101'0402u);
    }
    if (segment.has(Present::window_scale)) writer.put(0x0103'0300u | segment.window_scale);
}

}  // namespace

OptionsResult parse_options_one_by_one(std::span<const std::byte> options, Segment& segment) noexcept {
    // Every turn of this loop moves on by at least one byte and stays within `options`.
    for (size_t i = 0; i < options.size();) {
        const uint8_t kind = load_u8(&options[i]);
        if (kind == end_of_options) break;
        if (kind == no_operation) {
            ++i;
            continue;
        }
        const size_t left = options.size() - i;
        if (left < 2) return OptionsResult::bad;
        const size_t length = load_u8(&options[i + 1]);
        if (length < 2 || length > left) return OptionsResult::bad;
        if (!read_option(&options[i], length, segment)) return OptionsResult::bad;
        i += length;
    }
    return OptionsResult::ok;
}

uint64_t write_options(std::byte* out, const Segment& segment) noexcept {
    WordWriter writer{out};
    if (segment.has(Flags::syn)) {
        write_syn_options(writer, segment);
        return writer.sum;
    }
    if (segment.has(Present::timestamps)) {
        writer.put(0x0101'080au);
        writer.put(segment.timestamps.value);
        writer.put(segment.timestamps.echo);
    }
    if (const uint32_t blocks = sack_blocks_written(segment); blocks > 0) {
        writer.put(0x0101'0502u + 8 * blocks);
        for (uint32_t i = 0; i < blocks; ++i) {
            writer.put(segment.sack_blocks[i].first.raw());
            writer.put(segment.sack_blocks[i].end.raw());
        }
    }
    return writer.sum;
}

}  // namespace pollux::tcp::wire
