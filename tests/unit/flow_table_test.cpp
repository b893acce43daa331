// FlowTable against std::unordered_map: every tuple that was inserted is found, nothing else is, and no sequence of
// operations, hostile ones included, makes it wrong, larger or slower than its bound.
#include "tcp/flow_table.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <unordered_map>
#include <vector>

namespace pollux::tcp {
namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr uint32_t churn_operations = 500'000;
#else
constexpr uint32_t churn_operations = 10'000'000;
#endif
constexpr uint32_t bound = FlowTable::max_probes * FlowTable::entries_per_bucket;

uint64_t mix(uint64_t x) {  // any good 64-bit permutation stands for the keyed function
    x = (x ^ x >> 30) * 0xbf58'476d'1ce4'e5b9;
    x = (x ^ x >> 27) * 0x94d0'49bb'1331'11eb;
    return x ^ x >> 31;
}

EntryRef ref_of(uint32_t key) {
    switch (key % 3) {
        case 0: return EntryRef::connection(key);
        case 1: return EntryRef::half_open(key);
        default: return EntryRef::time_wait(key);
    }
}

// Hashes that share home bucket and tag, and hashes that share only the home bucket.
constexpr uint64_t same_everything(uint64_t) { return 0x1234'0000'8000'0000; }
constexpr uint64_t same_home(uint64_t key) { return key << 48 | 0x8000'0000; }

TEST(EntryRef, KindAndIndexAreWhatWentIn) {
    constexpr auto time_wait = EntryRef::time_wait(EntryRef::max_index);
    static_assert(time_wait.kind() == EntryRef::Kind::time_wait && time_wait.index() == EntryRef::max_index);
    static_assert(time_wait && EntryRef::connection(0) && !EntryRef::absent() && !EntryRef{});
    static_assert(EntryRef::connection(0).raw() == 0 && EntryRef::half_open(0).raw() == 0x4000'0000);
    static_assert(EntryRef::absent().raw() == 0xffff'ffff);
    EXPECT_EQ(EntryRef::half_open(17).kind(), EntryRef::Kind::half_open);
    EXPECT_EQ(EntryRef::half_open(17).index(), 17u);
    EXPECT_FALSE(EntryRef::half_open(17) == EntryRef::connection(17));
}

TEST(FlowTable, FindAsksOnlyAboutEntriesWhoseTagFits) {
    FlowTable table{1000};
    ASSERT_TRUE(table.insert(same_home(1), EntryRef::connection(1)));
    ASSERT_TRUE(table.insert(same_home(2), EntryRef::connection(2)));
    ASSERT_TRUE(table.insert(same_home(2), EntryRef::half_open(3)));
    std::vector<EntryRef> asked;
    const auto found = table.find(same_home(2), [&](EntryRef ref) {
        asked.push_back(ref);
        return ref == EntryRef::half_open(3);
    });
    EXPECT_EQ(found, EntryRef::half_open(3));
    EXPECT_EQ(asked, (std::vector{EntryRef::connection(2), EntryRef::half_open(3)}));
    EXPECT_EQ(table.first_candidate(same_home(2)), EntryRef::connection(2));
    EXPECT_EQ(table.first_candidate(same_home(3)), EntryRef::absent());
}

TEST(FlowTable, ATagOfZeroIsAnEntryLikeAnyOther) {
    FlowTable table{100};
    const uint64_t hash = 0x0000'1111'8000'0000;
    ASSERT_FALSE(table.first_candidate(hash));
    ASSERT_TRUE(table.insert(hash, EntryRef::connection(0)));
    EXPECT_EQ(table.first_candidate(hash), EntryRef::connection(0));
    EXPECT_TRUE(table.erase(hash, EntryRef::connection(0)));
    EXPECT_FALSE(table.first_candidate(hash));
    EXPECT_TRUE(table.check_invariants());
}

TEST(FlowTable, ReplaceKeepsThePlace) {
    FlowTable table{100};
    for (uint32_t i = 0; i < 25; ++i) ASSERT_TRUE(table.insert(same_home(i), EntryRef::half_open(i)));
    ASSERT_TRUE(table.replace(same_home(24), EntryRef::half_open(24), EntryRef::connection(7)));
    EXPECT_EQ(table.first_candidate(same_home(24)), EntryRef::connection(7));
    EXPECT_FALSE(table.replace(same_home(24), EntryRef::half_open(24), EntryRef::connection(8))) << "it is gone";
    ASSERT_TRUE(table.replace(same_home(24), EntryRef::connection(7), EntryRef::time_wait(1)));
    EXPECT_FALSE(table.erase(same_home(24), EntryRef::connection(7)));
    EXPECT_TRUE(table.erase(same_home(24), EntryRef::time_wait(1)));
    EXPECT_EQ(table.size(), 24u);
}

// Whoever could make hashes collide would fill eight buckets and no more.
TEST(FlowTable, CollidingEntriesFillEightBucketsAndAreThenRefused) {
    for (const auto hash : {&same_everything, &same_home}) {
        FlowTable table{10'000};
        for (uint32_t i = 0; i < bound; ++i) ASSERT_TRUE(table.insert(hash(i), ref_of(i)));
        for (uint32_t i = bound; i < 2 * bound; ++i) ASSERT_FALSE(table.insert(hash(i), ref_of(i)));
        EXPECT_EQ(table.size(), bound);
        EXPECT_TRUE(table.check_invariants([&](EntryRef ref) { return hash(ref.index()); }));

        // A look-up that finds nothing asks about these entries at most.
        uint32_t asked = 0;
        EXPECT_FALSE(table.find(hash(bound), [&](EntryRef) { return ++asked > bound; }));
        EXPECT_LE(asked, bound);

        for (uint32_t i = 0; i < bound; ++i) {
            ASSERT_EQ(table.find(hash(i), [&](EntryRef ref) { return ref == ref_of(i); }), ref_of(i));
        }
        // What others do is not disturbed, and a place that falls free can be had again.
        ASSERT_TRUE(table.insert(mix(1), EntryRef::connection(5000)));
        ASSERT_TRUE(table.erase(mix(1), EntryRef::connection(5000)));
        for (uint32_t i = 0; i < bound; i += 2) ASSERT_TRUE(table.erase(hash(i), ref_of(i)));
        EXPECT_TRUE(table.check_invariants([&](EntryRef ref) { return hash(ref.index()); }));
        for (uint32_t i = 1; i < bound; i += 2) {
            ASSERT_EQ(table.find(hash(i), [&](EntryRef ref) { return ref == ref_of(i); }), ref_of(i));
        }
        for (uint32_t i = 0; i < bound; i += 2) ASSERT_TRUE(table.insert(hash(i), ref_of(i)));
        ASSERT_FALSE(table.insert(hash(bound), ref_of(bound)));
        EXPECT_TRUE(table.check_invariants([&](EntryRef ref) { return hash(ref.index()); }));
    }
}

TEST(FlowTable, TheLastHomeBucketProbesAsFarAsAnyOther) {
    FlowTable table{10'000};
    const auto last_home = [](uint64_t key) { return key << 48 | 0xffff'ffff; };
    for (uint32_t i = 0; i < bound; ++i) ASSERT_TRUE(table.insert(last_home(i), ref_of(i)));
    ASSERT_FALSE(table.insert(last_home(bound), ref_of(bound)));
    EXPECT_TRUE(table.check_invariants([&](EntryRef ref) { return last_home(ref.index()); }));
    for (uint32_t i = 0; i < bound; ++i) ASSERT_TRUE(table.erase(last_home(i), ref_of(i)));
    EXPECT_EQ(table.size(), 0u);
    EXPECT_TRUE(table.check_invariants());
}

TEST(FlowTable, HoldsItsCapacityAndItsMemoryIsSmall) {
    for (const uint32_t capacity : {1u, 7u, 8u, 1000u, 200'000u}) {
        FlowTable table{capacity};
        EXPECT_EQ(table.capacity(), capacity);
        for (uint32_t i = 0; i < capacity; ++i) ASSERT_TRUE(table.insert(mix(i), ref_of(i))) << capacity << " " << i;
        EXPECT_EQ(table.size(), capacity);
        EXPECT_TRUE(table.check_invariants([](EntryRef ref) { return mix(ref.index()); }));
    }
    EXPECT_LE(FlowTable{10'000'000}.memory_bytes(), 132'000'000u) << "13 bytes for each connection";
}

// Tags keep a miss from touching any record.
TEST(FlowTable, AFullTableAnswersAMissWithoutAskingAnyone) {
    FlowTable table{100'000};
    for (uint32_t i = 0; i < 100'000; ++i) ASSERT_TRUE(table.insert(mix(i), ref_of(i)));
    uint32_t asked = 0;
    for (uint32_t i = 100'000; i < 200'000; ++i) {
        ASSERT_FALSE(table.find(mix(i), [&](EntryRef) { return ++asked == 0; }));
    }
    EXPECT_LT(asked, 100u) << "five tags of 16 bits: one false question in about 13,000 look-ups";
}

struct Model {
    explicit Model(uint32_t capacity) : table(capacity) {}

    static uint64_t hash(uint32_t key, uint32_t spread) { return spread == 0 ? mix(key) : mix(key % spread); }

    FlowTable table;
    std::unordered_map<uint32_t, EntryRef> entries;  // key -> ref; a ref's index is its key
};

void random_operations(uint32_t seed, uint32_t capacity, uint32_t keys, uint32_t spread, uint32_t steps) {
    SCOPED_TRACE(testing::Message() << "seed " << seed << " spread " << spread);
    std::mt19937 random{seed};
    Model model{capacity};
    const auto hash_of = [&](EntryRef ref) { return Model::hash(ref.index(), spread); };
    for (uint32_t step = 0; step < steps; ++step) {
        const auto key = static_cast<uint32_t>(random() % keys);
        const uint64_t hash = Model::hash(key, spread);
        const auto known = model.entries.find(key);
        const auto found = model.table.find(hash, [&](EntryRef ref) { return ref.index() == key; });
        ASSERT_EQ(found, known == model.entries.end() ? EntryRef::absent() : known->second) << "step " << step;
        const auto ref = ref_of(static_cast<uint32_t>(random() % 3));
        const auto fresh = ref.kind() == EntryRef::Kind::connection  ? EntryRef::connection(key)
                           : ref.kind() == EntryRef::Kind::half_open ? EntryRef::half_open(key)
                                                                     : EntryRef::time_wait(key);
        if (known == model.entries.end()) {
            ASSERT_FALSE(model.table.erase(hash, fresh));
            ASSERT_FALSE(model.table.replace(hash, fresh, fresh));
            if (model.table.insert(hash, fresh)) {
                model.entries.emplace(key, fresh);
            } else {
                ASSERT_NE(spread, 0u) << "refused without an attack";
            }
        } else if (random() % 3 == 0) {
            ASSERT_TRUE(model.table.replace(hash, known->second, fresh));
            known->second = fresh;
        } else {
            ASSERT_TRUE(model.table.erase(hash, known->second));
            model.entries.erase(known);
        }
        ASSERT_EQ(model.table.size(), model.entries.size());
        if (step % (steps / 20) == 0) {
            ASSERT_TRUE(model.table.check_invariants(hash_of)) << "step " << step;
        }
    }
    ASSERT_TRUE(model.table.check_invariants(hash_of));
    for (const auto& [key, ref] : model.entries) {
        ASSERT_TRUE(model.table.erase(Model::hash(key, spread), ref));
    }
    EXPECT_EQ(model.table.size(), 0u);
    EXPECT_TRUE(model.table.check_invariants());
}

TEST(FlowTable, RandomOperationsMatchAMap) {
    for (const uint32_t seed : {1u, 2u, 3u, 4u, 5u}) random_operations(seed, 1000, 2000, 0, 50'000);
}

TEST(FlowTable, RandomOperationsWithFewHashesMatchAMap) {
    for (const uint32_t seed : {1u, 2u, 3u}) {
        random_operations(seed, 1000, 1500, 5, 50'000);
        random_operations(seed, 1000, 3000, 40, 50'000);
        random_operations(seed, 1, 300, 100, 50'000);
    }
}

// Entries come and go for ever, oldest first, as connections do: no decay, no refusal, no growth.
TEST(FlowTable, ChurnLeavesNoTrace) {
    constexpr uint32_t live = 50'000;
    FlowTable table{live};
    const size_t memory = table.memory_bytes();
    const auto ref = [](uint32_t n) { return EntryRef::connection(n & EntryRef::max_index); };
    for (uint32_t n = 0; n < churn_operations; ++n) {
        if (n >= live) {
            ASSERT_TRUE(table.erase(mix(n - live), ref(n - live)));
        }
        ASSERT_TRUE(table.insert(mix(n), ref(n))) << n;
    }
    EXPECT_EQ(table.size(), live);
    EXPECT_EQ(table.memory_bytes(), memory);
    EXPECT_TRUE(table.check_invariants([](EntryRef entry) { return mix(entry.index()); }));
    for (uint32_t n = churn_operations - live; n < churn_operations; ++n) ASSERT_TRUE(table.erase(mix(n), ref(n)));
    EXPECT_TRUE(table.check_invariants([](EntryRef) { return 0; })) << "an empty table counts nothing";
}

}  // namespace
}  // namespace pollux::tcp
