// The receive store against a map from positions to bytes: every byte comes out once, in order, and is the one that
// came first; what is refused changes nothing; every chunk is accounted for.
#include "tcp/receive_store.hpp"

#include <map>
#include <vector>

#include "tests/fuzz/targets.hpp"

namespace pollux::fuzz {
namespace {

using namespace tcp;

constexpr uint32_t furthest = 40'000;  // beyond what is in order

class Model {
public:
    Model(ReceiveStores& stores, SeqNum start) : stores_(stores), start_(start), index_(stores.take()) {}

    void arrives_in_order(uint32_t size);
    void arrives_ahead(uint32_t gap, uint32_t size);
    void is_read(uint32_t most);
    void is_reported(uint32_t most);
    void is_asked_for(uint32_t gap, uint32_t size) const;
    void is_forgotten();
    void starts_again();
    void ends(const Chunks& chunks);
    void compares() const;

    const ReceiveStore& store() const { return stores_[index_]; }
    /// What may be kept: of all chunks, of this store's and of its ranges.
    uint32_t free_chunks = 0, chunk_capacity = 0, chunk_limit = 0, ranges_limit = 0;

private:
    struct Run {
        std::vector<std::byte> bytes;
        bool unreported = true;
    };
    using Runs = std::map<uint32_t, Run>;
    static uint32_t end_of(const Runs::value_type& run) {
        return run.first + static_cast<uint32_t>(run.second.bytes.size());
    }
    ReceiveStore& held() { return stores_[index_]; }
    SeqNum seq(uint32_t position) const { return start_ + position; }
    /// No two arrivals say the same: what came first can be told from what came later.
    std::vector<std::byte> new_bytes(uint32_t size) {
        std::vector<std::byte> bytes(size);
        for (std::byte& b : bytes) b = std::byte(++salt_ * 2'654'435'761u >> 24);
        return bytes;
    }
    void joins();

    ReceiveStores& stores_;
    SeqNum start_;
    uint32_t index_;
    uint32_t next_ = 0, salt_ = 0, newest_ = 0;
    std::vector<std::byte> unread_;
    Runs ahead_;
};

void Model::joins() {
    while (!ahead_.empty() && ahead_.begin()->first <= next_) {
        const uint32_t end = end_of(*ahead_.begin());
        if (end > next_) {
            const auto& bytes = ahead_.begin()->second.bytes;
            unread_.insert(unread_.end(), bytes.end() - (end - next_), bytes.end());
            next_ = end;
        }
        ahead_.erase(ahead_.begin());
    }
}

void Model::arrives_in_order(uint32_t size) {
    const auto bytes = new_bytes(size);
    const uint32_t chunks = (size + Chunks::chunk_size - 1) / Chunks::chunk_size;
    const bool must = chunks <= free_chunks && store().chunk_count + chunks <= chunk_limit;
    const bool taken = stores_.append(held(), bytes);
    demand(taken || !must, "data in order is kept while there are chunks");
    if (!taken) return;
    unread_.insert(unread_.end(), bytes.begin(), bytes.end());
    next_ += size;
    const SeqNum end = stores_.join(held(), seq(next_));
    joins();
    demand(end == seq(next_), "joining ends where the data in order ends");
}

void Model::arrives_ahead(uint32_t gap, uint32_t size) {
    const uint32_t first = next_ + gap, end = first + size;
    const auto bytes = new_bytes(size);
    const uint32_t chunks = (size + Chunks::chunk_size - 1) / Chunks::chunk_size + store().range_count;
    const bool must = chunks + chunk_capacity / 4 <= free_chunks && store().range_count < ranges_limit &&
                      store().chunk_count + chunks + 2 <= chunk_limit;
    const bool taken = stores_.insert(held(), seq(first), bytes);
    demand(taken || !must, "data ahead is kept while there are ranges and chunks");
    if (!taken) return;
    newest_ = first;
    // The new bytes first, those that were there before over them, then what stands out behind.
    uint32_t begin = first;
    std::vector<std::byte> merged = bytes;
    for (auto run = ahead_.begin(); run != ahead_.end();) {
        if (end_of(*run) < first || run->first > end) {
            ++run;
            continue;
        }
        const auto& old = run->second.bytes;
        if (run->first < begin) {
            merged.insert(merged.begin(), old.begin(), old.begin() + (begin - run->first));
            begin = run->first;
        }
        merged.resize(std::max<size_t>(merged.size(), end_of(*run) - begin));
        std::ranges::copy(old, merged.begin() + (run->first - begin));
        run = ahead_.erase(run);
    }
    ahead_[begin] = {std::move(merged), true};
}

void Model::is_read(uint32_t most) {
    const auto part = stores_.front(held());
    demand(part.empty() == unread_.empty(), "there is something to read while something is unread");
    demand(part.size() <= unread_.size() && std::equal(part.begin(), part.end(), unread_.begin()),
           "bytes come out as they came in, and the first that came of each");
    const auto size = static_cast<uint32_t>(std::min<size_t>(most, part.size()));
    stores_.consume(held(), size);
    unread_.erase(unread_.begin(), unread_.begin() + size);
}

void Model::is_reported(uint32_t most) {
    const size_t ranges = ahead_.size();
    const auto newest = std::ranges::find_if(ahead_, [&](const auto& run) {
        return run.first <= newest_ && newest_ < end_of(run) && run.second.unreported;
    });
    std::array<SackBlock, 4> blocks{};
    const uint8_t count = stores_.report(held(), std::span{blocks}.first(most));
    demand(count == std::min<size_t>(most, ranges), "as many blocks as there are ranges and room");
    bool old = false;
    for (uint8_t i = 0; i < count; ++i) {
        const auto run = ahead_.find(blocks[i].first.since(start_));
        demand(run != ahead_.end() && blocks[i].end == seq(end_of(*run)), "a block is a whole range");
        demand(std::find(blocks.begin(), blocks.begin() + i, blocks[i]) == blocks.begin() + i,
               "no block comes twice");
        demand(!(old && run->second.unreported), "what is unreported comes first");
        demand(i != 0 || newest == ahead_.end() || newest == run, "the range that grew last is first");
        old = old || !run->second.unreported;
        run->second.unreported = false;
    }
}

void Model::is_asked_for(uint32_t gap, uint32_t size) const {
    const uint32_t first = next_ + gap, end = first + size;
    const SackBlock block = ReceiveStores::overlap(store(), seq(first), seq(end));
    const auto run = std::ranges::find_if(ahead_, [&](const auto& r) { return end_of(r) > first; });
    if (run == ahead_.end() || run->first >= end) {
        demand(block.first == block.end, "nothing is there of what never came");
        return;
    }
    demand(block.first == seq(std::max(first, run->first)), "an overlap begins with the first byte that is there");
    demand(block.end == seq(std::min(end, end_of(*run))), "an overlap ends with its range");
}

void Model::is_forgotten() {
    held().has_fin = true;
    stores_.drop_out_of_order(held());
    demand(!store().has_fin, "an end beyond a gap is forgotten too");
    ahead_.clear();
}

void Model::starts_again() {
    stores_.give(index_);
    index_ = stores_.take();
    unread_.clear();
    ahead_.clear();
}

// All gaps close, and everything is read. What the chunks do not suffice for, the other store's among them, stays.
void Model::ends(const Chunks& chunks) {
    while (true) {
        while (!unread_.empty()) is_read(~0u);
        compares();
        free_chunks = chunks.free();
        if (ahead_.empty() || free_chunks == 0 || store().chunk_count >= chunk_limit) break;
        arrives_in_order(std::min(ahead_.begin()->first - next_, Chunks::chunk_size));
    }
    stores_.give(index_);
}

void Model::compares() const {
    const ReceiveStore& s = store();
    demand(s.unread_bytes == unread_.size(), "all that is in order and not read is unread");
    demand(s.range_count == ahead_.size(), "there are as many ranges as runs");
    demand(s.empty() == (unread_.empty() && ahead_.empty()), "a store is empty when nothing is in it");
    uint32_t unreported = 0, bytes = 0;
    const auto* range = s.ranges.data();
    for (const auto& run : ahead_) {
        demand(range->first == seq(run.first) && range->end == seq(end_of(run)), "ranges are the runs, in order");
        demand(range->unreported == run.second.unreported, "what has grown since it was reported is unreported");
        unreported += range->unreported ? 1 : 0;
        bytes += range->end.since(range->first);
        ++range;
    }
    demand(s.out_of_order_bytes() == bytes, "all that is ahead is out of order");
    demand(s.unreported == unreported, "unreported ranges are counted");
    demand(s.chunk_count <= chunk_limit, "a store stays within its chunks");
    demand(s.range_count <= ranges_limit, "a store stays within its ranges");
}

}  // namespace

void receive_store(Bytes bytes) {
    Input in{bytes};
    const uint32_t capacity = 8 + in.below(57), ranges = 1 + in.below(64), limit = 3 + in.below(62);
    Chunks chunks{capacity};
    ReceiveStores stores{2, chunks, ranges, limit};
    const SeqNum start{in.four()};
    Model models[] = {{stores, start}, {stores, start}};
    const auto compares = [&] {
        uint32_t held = 0;
        for (Model& model : models) {
            model.free_chunks = chunks.free();
            model.compares();
            held += model.store().chunk_count;
        }
        demand(held == chunks.in_use(), "every chunk in use belongs to a store");
    };
    for (Model& model : models) {
        model.chunk_limit = limit;
        model.chunk_capacity = capacity;
        model.ranges_limit = ranges;
    }
    compares();
    for (int steps = 0; steps < 200 && !in.empty(); ++steps) {
        const uint8_t what = in.byte();
        Model& model = models[what >> 7];
        // Small numbers are dust, large ones whole segments.
        const auto size = [&] { return 1 + ((what & 64) != 0 ? in.below(4'500) : in.below(8)); };
        const auto gap = [&] { return 1 + ((what & 32) != 0 ? in.below(furthest) : in.below(16)); };
        switch (what & 7) {
            case 0: model.arrives_in_order(size()); break;
            case 1:
            case 2:
            case 3: {
                const uint32_t ahead = gap();
                model.arrives_ahead(ahead, size());
                break;
            }
            case 4: model.is_read(size()); break;
            case 5: model.is_reported(in.below(5)); break;
            case 6: {
                const uint32_t ahead = gap();
                model.is_asked_for(ahead, size());
                break;
            }
            case 7:
                if ((what & 8) != 0)
                    model.starts_again();
                else
                    model.is_forgotten();
                break;
        }
        compares();
    }
    for (Model& model : models) model.ends(chunks);
    demand(chunks.in_use() == 0 && stores.in_use() == 0, "everything comes back at the end");
}

}  // namespace pollux::fuzz
