#include "tcp/flow_table.hpp"

#include <algorithm>

namespace pollux::tcp {

// Five entries for each home bucket of ten.
FlowTable::FlowTable(uint32_t capacity)
    : capacity_(capacity),
      homes_(std::max(1u, capacity / 5 + (capacity % 5 != 0 ? 1 : 0))),
      block_(size_t{bucket_count()} * sizeof(Bucket), "the connection table"),
      buckets_(reinterpret_cast<Bucket*>(block_.data())) {}

bool FlowTable::insert(uint64_t hash, EntryRef ref) {
    assert(ref);
    Bucket* const first = buckets_ + home_index(hash);
    for (Bucket* bucket = first; bucket != first + max_probes; ++bucket) {
        const uint32_t free = bucket->matches(0);
        if (free == 0) continue;
        const auto slot = static_cast<uint32_t>(std::countr_zero(free)) / 2;
        bucket->tags[slot] = tag_of(hash);
        bucket->refs[slot] = ref;
        for (Bucket* passed = first; passed != bucket; ++passed) ++passed->passed;
        ++size_;
        return true;
    }
    return false;
}

bool FlowTable::erase(uint64_t hash, EntryRef ref) {
    const Place place = locate(hash, ref);
    if (!place.ref) return false;
    buckets_[place.bucket].tags[place.slot] = 0;
    for (uint32_t probe = 1; probe <= place.probes; ++probe) --buckets_[place.bucket - probe].passed;
    --size_;
    return true;
}

bool FlowTable::replace(uint64_t hash, EntryRef old_ref, EntryRef new_ref) {
    assert(new_ref);
    const Place place = locate(hash, old_ref);
    if (!place.ref) return false;
    buckets_[place.bucket].refs[place.slot] = new_ref;
    return true;
}

bool FlowTable::check_invariants() const {
    uint32_t entries = 0;
    for (uint32_t b = 0; b < bucket_count(); ++b) {
        const Bucket& bucket = buckets_[b];
        uint32_t behind = 0;
        for (uint32_t at = b + 1; at < std::min(b + max_probes, bucket_count()); ++at) {
            behind += entries_per_bucket - static_cast<uint32_t>(std::popcount(buckets_[at].matches(0)));
        }
        if (bucket.passed > behind) return false;
        for (uint32_t slot = 0; slot < entries_per_bucket; ++slot) {
            if (bucket.tags[slot] == 0) continue;
            if (!bucket.refs[slot]) return false;
            ++entries;
        }
    }
    return entries == size_;
}

}  // namespace pollux::tcp
