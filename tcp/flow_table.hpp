// FlowTable: the one table that finds connections, half-open records and TIME-WAIT records by their 4-tuple, so that
// a packet of a flood costs one cache miss and not three.
//
// A bucket is one cache line of ten entries: a 16-bit tag and a 32-bit EntryRef each. The caller brings a 64-bit
// keyed pseudo-random function of the tuple; its low half chooses the home bucket, its high 16 bits are the tag. An
// entry lives in its home bucket or in one of the seven behind it. Each bucket counts the entries that have passed it
// by, so a miss stops at the first bucket that nobody passed: normally the home bucket.
//
//     home          home+1        home+2                         find: compare ten tags at once, ask `same` about
//     [10 entries|2][10 entries|1][ 3 entries|0] ...             the hits, go on while the count is not 0
//                 └ two went on  └ one went on └ nobody
//
// It never allocates after construction, never rehashes and never moves an entry: memory and time of every operation
// are bounded whatever the peers send. The tuples themselves stay in the records; the table never sees them.
#pragma once

#include <immintrin.h>

#include <array>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>

#include "tcp/memory_block.hpp"

namespace pollux::tcp {

/// What the table finds: a kind of record and its index in that kind's pool. 30 bits of index.
class EntryRef {
public:
    enum class Kind : uint8_t { connection = 0, half_open = 1, time_wait = 2 };
    static constexpr uint32_t max_index = 0x3fff'ffff;

    /// Absent.
    constexpr EntryRef() = default;
    static constexpr EntryRef connection(uint32_t index) { return {Kind::connection, index}; }
    static constexpr EntryRef half_open(uint32_t index) { return {Kind::half_open, index}; }
    static constexpr EntryRef time_wait(uint32_t index) { return {Kind::time_wait, index}; }
    static constexpr EntryRef absent() { return {}; }

    constexpr explicit operator bool() const { return raw_ != absent_raw; }
    constexpr Kind kind() const {
        assert(*this);
        return static_cast<Kind>(raw_ >> 30);
    }
    constexpr uint32_t index() const { return raw_ & max_index; }
    constexpr uint32_t raw() const { return raw_; }
    constexpr bool operator==(const EntryRef&) const = default;

private:
    static constexpr uint32_t absent_raw = 0xffff'ffff;

    constexpr EntryRef(Kind kind, uint32_t index) : raw_(static_cast<uint32_t>(kind) << 30 | index) {
        assert(index <= max_index);
    }

    uint32_t raw_ = absent_raw;
};
static_assert(sizeof(EntryRef) == 4);

class FlowTable {
public:
    static constexpr uint32_t entries_per_bucket = 10;
    static constexpr uint32_t max_probes = 8;

    /// Holds `capacity` entries at a load of one half, where a miss reads 1.08 lines on average and an insert
    /// practically never fails; at 0.7 the figures were 2.3 lines and one failure in 8,000 (simulated churn of a full
    /// table).
    explicit FlowTable(uint32_t capacity);

    /// The entry with this hash for which `same(EntryRef)` holds, or absent. `same` compares the full tuple; it is
    /// called only where the tag fits.
    template <class Same>
    EntryRef find(uint64_t hash, Same&& same) const {
        return walk(hash, [&](const Bucket& bucket, uint32_t slot, uint32_t) { return same(bucket.refs[slot]); }).ref;
    }

    /// The first entry whose tag fits, tuple unseen: nearly always the one that find() will return. For prefetching.
    EntryRef first_candidate(uint64_t hash) const {
        return find(hash, [](EntryRef) { return true; });
    }

    /// False when the home bucket and the seven behind it are full. The caller knows that `ref` is not in the table.
    [[nodiscard]] bool insert(uint64_t hash, EntryRef ref);

    /// Removes exactly this entry; false when it is not there.
    bool erase(uint64_t hash, EntryRef ref);

    /// Puts `new_ref` in the place of `old_ref`: half-open to connection to TIME-WAIT. False when it is not there.
    bool replace(uint64_t hash, EntryRef old_ref, EntryRef new_ref);

    void prefetch(uint64_t hash) const { __builtin_prefetch(home(hash)); }

    uint32_t size() const { return size_; }
    uint32_t capacity() const { return capacity_; }
    size_t memory_bytes() const { return block_.size(); }

    /// Whether the counts fit the entries. With `hash_of(EntryRef)` the check is complete: every entry lies within
    /// reach of its home, carries its tag, and is counted by exactly the buckets that it passed. For tests: walks
    /// all.
    bool check_invariants() const;
    template <class HashOf>
    bool check_invariants(HashOf&& hash_of) const;

private:
    struct alignas(64) Bucket {
        std::array<uint16_t, entries_per_bucket> tags;  // 0: free
        uint32_t passed;  // entries whose home is here or before, and which live behind this bucket
        std::array<EntryRef, entries_per_bucket> refs;

        /// Bit 2 i is set when tags[i] equals the tag.
        uint32_t matches(uint16_t tag) const {
            // 32 bytes from the start: the tags, then other members, whose bits are masked away.
            const __m256i front = _mm256_load_si256(reinterpret_cast<const __m256i*>(this));
            const __m256i equal = _mm256_cmpeq_epi16(front, _mm256_set1_epi16(static_cast<int16_t>(tag)));
            return static_cast<uint32_t>(_mm256_movemask_epi8(equal)) & 0x5'5555;
        }
    };
    static_assert(sizeof(Bucket) == 64 && alignof(Bucket) == 64, "one cache line");

    struct Place {
        EntryRef ref{};
        uint32_t bucket = 0, slot = 0, probes = 0;  // probes: buckets passed by
    };

    static constexpr uint16_t tag_of(uint64_t hash) {
        const auto tag = static_cast<uint16_t>(hash >> 48);
        return tag == 0 ? uint16_t{1} : tag;
    }
    /// The low 32 bits scaled to the number of homes: no power of two is needed, so no memory is wasted on one.
    uint32_t home_index(uint64_t hash) const { return static_cast<uint32_t>((hash & 0xffff'ffff) * homes_ >> 32); }
    const Bucket* home(uint64_t hash) const { return buckets_ + home_index(hash); }

    /// Visits the entries whose tag fits until `stop` says so.
    template <class Stop>
    Place walk(uint64_t hash, Stop&& stop) const {
        const uint16_t tag = tag_of(hash);
        const Bucket* bucket = home(hash);
        for (uint32_t probes = 0; probes < max_probes; ++probes, ++bucket) {
            for (uint32_t hits = bucket->matches(tag); hits != 0; hits &= hits - 1) {
                const auto slot = static_cast<uint32_t>(std::countr_zero(hits)) / 2;
                if (stop(*bucket, slot, probes)) {
                    return {bucket->refs[slot], static_cast<uint32_t>(bucket - buckets_), slot, probes};
                }
            }
            if (bucket->passed == 0) break;
        }
        return {};
    }
    Place locate(uint64_t hash, EntryRef ref) const {
        return walk(hash, [&](const Bucket& bucket, uint32_t slot, uint32_t) { return bucket.refs[slot] == ref; });
    }
    uint32_t bucket_count() const { return homes_ + max_probes - 1; }

    uint32_t capacity_;
    uint32_t homes_;  // seven more buckets stand behind them, so that probing never wraps
    uint32_t size_ = 0;
    MemoryBlock block_;
    Bucket* buckets_;
};

template <class HashOf>
bool FlowTable::check_invariants(HashOf&& hash_of) const {
    if (!check_invariants()) return false;
    // passed(b) = entries that live in b + 1 .. b + 7 and whose home is b or before.
    for (uint32_t b = 0; b < bucket_count(); ++b) {
        uint32_t passed = 0;
        for (uint32_t at = b; at < bucket_count() && at < b + max_probes; ++at) {
            const Bucket& bucket = buckets_[at];
            for (uint32_t slot = 0; slot < entries_per_bucket; ++slot) {
                if (bucket.tags[slot] == 0) continue;
                const uint64_t hash = hash_of(bucket.refs[slot]);
                const uint32_t home = home_index(hash);
                if (bucket.tags[slot] != tag_of(hash) || home > at || at - home >= max_probes) return false;
                if (at > b && home <= b) ++passed;
            }
        }
        if (passed != buckets_[b].passed) return false;
    }
    return true;
}

}  // namespace pollux::tcp
