#include "tcp/receive_store.hpp"

#include <algorithm>

namespace pollux::tcp {

void ReceiveStores::give(uint32_t index) {
    ReceiveStore& store = stores_[index];
    chunks_.release(store.unread);
    for (uint32_t i = 0; i < store.range_count; ++i) chunks_.release(store.ranges[i].chunks);
    stores_.give(index);
}

void ReceiveStores::drop_out_of_order(ReceiveStore& store) {
    store.has_fin = false;
    for (uint32_t i = 0; i < store.range_count; ++i) {
        store.chunk_count -=
            chunks_.drop_front(store.ranges[i].chunks, store.ranges[i].end.since(store.ranges[i].first));
    }
    store.range_count = store.unreported = 0;
}

uint8_t ReceiveStores::report(ReceiveStore& store, std::span<SackBlock> blocks) {
    uint8_t count = 0;
    const std::span ranges{store.ranges.data(), store.range_count};
    const auto add = [&](ReceiveStore::Range& range) {
        const SackBlock block{range.first, range.end};
        const auto known = blocks.first(count);
        if (count == blocks.size() || std::find(known.begin(), known.end(), block) != known.end()) return;
        blocks[count++] = block;
        mark(store, range, false);
    };
    for (const bool unreported : {true, false}) {
        for (const SeqNum point : store.recent) {
            for (auto& range : ranges) {
                const bool here = point.in_window(range.first, range.end.since(range.first));
                if (here && range.unreported == unreported) add(range);
            }
        }
        for (auto& range : ranges) {
            if (range.unreported == unreported) add(range);
        }
    }
    return count;
}

SackBlock ReceiveStores::overlap(const ReceiveStore& store, SeqNum at, SeqNum end) {
    for (uint32_t i = 0; i < store.range_count; ++i) {
        const auto& range = store.ranges[i];
        const SackBlock both{later(at, range.first), earlier(end, range.end)};
        if (both.first.before(both.end)) return both;
    }
    return {};
}

bool ReceiveStores::may_take(const ReceiveStore& store, uint32_t chunks, bool in_order) const {
    const uint32_t reserve = in_order ? 0 : chunks_.capacity() / 4;
    // The last two chunks of a store are for the data that closes its first gap.
    const uint32_t limit = in_order ? chunk_limit_ : chunk_limit_ - std::min(chunk_limit_, 2u);
    return chunks == 0 || (chunks + reserve <= chunks_.free() && store.chunk_count + chunks <= limit);
}

bool ReceiveStores::append(ReceiveStore& store, std::span<const std::byte> bytes) {
    if (!may_take(store, chunks_.needed(store.unread, bytes.size()), true)) return false;
    store.chunk_count += chunks_.append(store.unread, bytes);
    store.unread_bytes += static_cast<uint32_t>(bytes.size());
    return true;
}

bool ReceiveStores::insert(ReceiveStore& store, SeqNum at, std::span<const std::byte> bytes) {
    const SeqNum end = at + static_cast<uint32_t>(bytes.size());
    auto& ranges = store.ranges;
    // [first, last): the ranges that overlap or touch [at, end).
    uint32_t first = 0;
    while (first < store.range_count && ranges[first].end.before(at)) ++first;
    uint32_t last = first;
    while (last < store.range_count && ranges[last].first.at_or_before(end)) ++last;

    // Each hole may end in a chunk of its own.
    const uint32_t holes = last - first + 1;
    const auto size_chunks = static_cast<uint32_t>((bytes.size() + Chunks::chunk_size - 1) / Chunks::chunk_size);
    if (!may_take(store, size_chunks + holes - 1, false)) return false;
    if (first == last && store.range_count >= ranges_limit_) return false;

    ReceiveStore::Range merged{.first = at, .end = at, .chunks = {}};
    const auto fill_to = [&](SeqNum until) {
        if (!merged.end.before(until)) return;
        store.chunk_count +=
            chunks_.append(merged.chunks, bytes.subspan(merged.end.since(at), until.since(merged.end)));
        merged.end = until;
    };
    for (uint32_t i = first; i < last; ++i) {
        if (ranges[i].first.before(merged.first))
            merged.first = merged.end = ranges[i].first;
        else
            fill_to(ranges[i].first);
        store.chunk_count -= chunks_.concatenate(merged.chunks, ranges[i].chunks);
        merged.end = ranges[i].end;
        mark(store, ranges[i], false);
    }
    fill_to(end);

    // The merged range takes the place of those that it swallowed.
    if (first == last) {
        for (uint32_t i = store.range_count; i > first; --i) ranges[i] = ranges[i - 1];
        ++store.range_count;
    } else {
        const uint32_t gone = last - first - 1;
        for (uint32_t i = last; gone > 0 && i < store.range_count; ++i) ranges[i - gone] = ranges[i];
        store.range_count = static_cast<uint8_t>(store.range_count - gone);
    }
    ranges[first] = merged;
    mark(store, ranges[first], true);
    // A point that this range already covers is dropped, so that four points name four ranges.
    auto& recent = store.recent;
    const auto covered = std::find_if(recent.begin(), recent.end() - 1, [&](SeqNum point) {
        return point.in_window(merged.first, merged.end.since(merged.first));
    });
    std::move_backward(recent.begin(), covered, covered + 1);
    recent[0] = at;
    return true;
}

SeqNum ReceiveStores::join(ReceiveStore& store, SeqNum next) {
    uint32_t joined = 0;
    for (; joined < store.range_count && store.ranges[joined].first.at_or_before(next); ++joined) {
        auto& range = store.ranges[joined];
        // What arrived in order meanwhile is delivered already.
        const uint32_t size = range.end.since(range.first);
        const uint32_t known = std::min(size, next.since(range.first));
        if (known > 0) store.chunk_count -= chunks_.drop_front(range.chunks, known);
        store.chunk_count -= chunks_.concatenate(store.unread, range.chunks);
        store.unread_bytes += size - known;
        mark(store, range, false);
        next = later(next, range.end);
    }
    if (joined > 0) {
        for (uint32_t i = joined; i < store.range_count; ++i) store.ranges[i - joined] = store.ranges[i];
        store.range_count = static_cast<uint8_t>(store.range_count - joined);
    }
    return next;
}

}  // namespace pollux::tcp
