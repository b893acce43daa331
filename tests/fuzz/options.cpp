// TCP options: reading them never leaves them, and what is written is read again as it was meant.
#include "tcp/wire/tcp_options.hpp"

#include "tcp/wire/checksum.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/support/guard_page.hpp"

namespace pollux::fuzz {
namespace {

using namespace tcp;
using namespace tcp::wire;

std::span<std::byte> guarded(std::span<const std::byte> bytes) {
    static const tests::GuardPage page{max_options_size};
    return page.hold(bytes);
}

bool same_options(const Segment& a, const Segment& b, size_t blocks) {
    return a.present == b.present && (!a.has(Present::mss) || a.mss == b.mss) &&
           (!a.has(Present::window_scale) || a.window_scale == b.window_scale) &&
           (!a.has(Present::timestamps) || a.timestamps == b.timestamps) && a.sack_count == blocks &&
           std::equal(a.sack_blocks.begin(), a.sack_blocks.begin() + a.sack_count, b.sack_blocks.begin());
}

// What the kinds that we know say, found by somebody else: a list of [kind, length, ...] pieces first.
bool is_well_formed(std::span<const std::byte> options) {
    size_t at = 0;
    while (at < options.size()) {
        const uint8_t kind = load_u8(&options[at]);
        if (kind == 0) return true;
        if (kind == 1) {
            ++at;
            continue;
        }
        if (at + 1 >= options.size()) return false;
        const uint8_t length = load_u8(&options[at + 1]);
        const bool fits = length >= 2 && at + length <= options.size();
        const bool right = kind == 2   ? length == 4
                           : kind == 3 ? length == 3
                           : kind == 4 ? length == 2
                           : kind == 5 ? length >= 10 && (length - 2) % 8 == 0
                           : kind == 8 ? length == 10
                                       : true;
        if (!fits || !right) return false;
        at += length;
    }
    return true;
}

void writes_what_it_reads(const Segment& segment) {
    static const tests::GuardPage page{max_options_size};
    const size_t size = options_size(segment);
    demand(size <= max_options_size && size % 4 == 0, "options fill whole words, and at most ten");
    const std::span<std::byte> out = page.bytes(size);
    const uint64_t sum = write_options(out.data(), segment);
    demand(fold(sum) == fold(sum_of(out)), "the sum on the way is the sum of what was written");

    Segment again;
    again.flags = segment.flags;
    demand(parse_options(out, again) == OptionsResult::ok, "what is written can be read");
    demand(same_options(again, segment, sack_blocks_written(segment)), "what is written is read as it was meant");
    Segment slowly;
    slowly.flags = segment.flags;
    demand(
        parse_options_one_by_one(out, slowly) == OptionsResult::ok && same_options(slowly, again, again.sack_count),
        "the short way reads what the long one reads");
}

void reads(Bytes bytes, Flags flags) {
    const auto options = guarded(std::as_bytes(bytes.first(std::min(bytes.size(), max_options_size))));
    Segment segment, slowly;
    segment.flags = slowly.flags = flags;
    const OptionsResult result = parse_options(options, segment);
    demand((result == OptionsResult::ok) == is_well_formed(options),
           "options are bad where a length is wrong, else ok");
    demand(parse_options_one_by_one(options, slowly) == result, "both ways come to the same end");
    if (result != OptionsResult::ok) return;
    demand(same_options(slowly, segment, segment.sack_count), "the short way reads what the long one reads");
    demand(segment.sack_count <= segment.sack_blocks.size(), "at most four blocks");
    if (any(flags & Flags::syn)) {
        demand(segment.window_scale <= max_window_scale, "a scale is at most 14");
    } else {
        demand(!any(segment.present & ~Present::timestamps), "MSS, scale and SACK-permitted count on a SYN alone");
    }
    writes_what_it_reads(segment);
}

void writes(Input& in, Flags flags) {
    Segment segment;
    segment.flags = flags;
    segment.present = Present(in.byte() & 15);
    if (!any(flags & Flags::syn)) segment.present = segment.present & Present::timestamps;
    segment.mss = in.two();
    segment.window_scale = static_cast<uint8_t>(in.below(max_window_scale + 1));
    segment.timestamps = {in.four(), in.four()};
    segment.sack_count = static_cast<uint8_t>(in.below(5));
    for (uint8_t i = 0; i < segment.sack_count; ++i) segment.sack_blocks[i] = {SeqNum{in.four()}, SeqNum{in.four()}};
    writes_what_it_reads(segment);
}

}  // namespace

void options(Bytes bytes) {
    Input in{bytes};
    const uint8_t mode = in.byte();
    const Flags flags = (mode & 1) != 0 ? Flags::syn : Flags::ack;
    if ((mode & 2) != 0)
        writes(in, flags);
    else
        reads(in.rest(), flags);
}

}  // namespace pollux::fuzz
