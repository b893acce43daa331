#include "engine/exchange.hpp"

namespace pollux::engine {

using tcp::Counters;
using tcp::Tally;
using tcp::Verdict;

Exchange::Exchange(std::span<Waker* const> wakers) {
    const auto workers = static_cast<uint32_t>(wakers.size());
    for (uint32_t from = 0; from < workers; ++from) {
        for (uint32_t to = 0; to < workers; ++to) {
            const bool self = from == to;
            packets_.push_back(self ? nullptr : std::make_unique<Channel<rte_mbuf*>>(ring_packets));
            news_.push_back(self ? nullptr : std::make_unique<Channel<LinkNews>>(ring_news));
        }
    }
    for (uint32_t worker = 0; worker < workers; ++worker) {
        auto side = std::make_unique<Side>();
        side->self_ = worker;
        for (uint32_t other = 0; other < workers; ++other) {
            const size_t out = size_t{worker} * workers + other, in = size_t{other} * workers + worker;
            side->targets_.push_back({packets_[out].get(), news_[out].get(), wakers[other], {}});
            if (other == worker) continue;
            side->targets_.back().staged.reserve(Side::staging);
            side->sources_.push_back({packets_[in].get(), news_[in].get()});
        }
        sides_.push_back(std::move(side));
    }
}

// What is still on its way belongs to pools that end after us.
Exchange::~Exchange() {
    for (const auto& side : sides_) {
        for (Side::Target& target : side->targets_) release(target.staged);
    }
    for (const auto& channel : packets_) {
        rte_mbuf* packets[32];
        while (const uint32_t count = channel ? channel->receive(packets) : 0) release({packets, count});
    }
}

void Exchange::Side::give(rte_mbuf& packet, uint8_t interface, uint32_t owner) {
    Target& target = targets_[owner];
    packet.port = interface;
    target.staged.push_back(&packet);
    if (target.staged.size() == staging) flush(target);
}

void Exchange::Side::flush(Target& target) {
    const uint32_t sent = target.packets->send(target.staged);
    given_ += sent;
    dropped_ += target.staged.size() - sent;
    release(std::span{target.staged}.subspan(sent));
    target.staged.clear();
    target.waker->wake();
}

void Exchange::Side::flush(Counters& counters) {
    for (Target& target : targets_) {
        if (!target.staged.empty()) flush(target);
    }
    if (given_ != 0) counters.add(Tally::handed_over, given_);
    if (dropped_ != 0) counters.add(Verdict::handover_full, dropped_);
    given_ = dropped_ = 0;
}

void Exchange::Side::tell(const LinkNews& news, Counters& counters) {
    for (uint32_t other = 0; other < targets_.size(); ++other) {
        if (other == self_) continue;
        if (targets_[other].news->send({&news, 1}) == 0) counters.add(Tally::link_news_lost);
        targets_[other].waker->wake();
    }
}

uint32_t Exchange::Side::take(std::span<rte_mbuf*> into) {
    uint32_t count = 0;
    for (size_t i = 0; i < sources_.size() && count < into.size(); ++i) {
        count += source_in_turn(i).packets->receive(into.subspan(count));
    }
    if (++next_source_ >= sources_.size()) next_source_ = 0;
    return count;
}

bool Exchange::Side::waiting() const {
    for (const Source& source : sources_) {
        if (!source.packets->empty() || !source.news->empty()) return true;
    }
    return false;
}

}  // namespace pollux::engine
