// Exchange: what workers hand each other, through rings with one producer and one consumer: one ring of packets and
// one of messages from each worker to each other. Nobody waits: a full ring drops, counted, and TCP or the next
// question repairs it.
//
// A packet goes to the owner of its flow as it came, with its port in mbuf.port; the owner reads it as if it had come
// by its own queue. Packets are collected during the turn and leave in bursts at its end; only a burst to a worker
// that sleeps costs a system call (waker.hpp). Messages say what the link has told one worker and all must know:
// where a neighbour is, that an address of ours is somebody else's.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <vector>

#include "engine/dpdk.hpp"
#include "engine/mbuf.hpp"
#include "engine/waker.hpp"
#include "tcp/address.hpp"
#include "tcp/counters.hpp"
#include "tcp/wire/mac_address.hpp"

#include <rte_malloc.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>

namespace pollux::engine {

/// What the link told one worker.
struct LinkNews {
    enum class Kind : uint8_t {
        neighbor,           // `address` is at `mac`: an ARP packet or an advertisement said so
        confirmation,       // `address` is still where it was
        duplicate_address,  // `address`, one of ours, is in use by `mac`
    };
    Kind kind = Kind::neighbor;
    uint8_t interface = 0;
    bool overrides = true;  // as neighbors.hpp means it
    tcp::wire::MacAddress mac{};
    tcp::IpAddress address{};
    bool confirms = true;  // likewise
};

struct FreeRing {
    void operator()(rte_ring* ring) const { rte_free(ring); }
};

/// A ring of values between two threads. `T` is copied bytewise.
template <class T>
class Channel {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % 4 == 0);

public:
    /// `capacity`: exactly so many. Throws one sentence.
    explicit Channel(uint32_t capacity) {
        // Not rte_ring_create(), which takes a memory zone for each: there are 2560, and rings grow with the square
        // of the workers.
        const ssize_t size = rte_ring_get_memsize_elem(sizeof(T), rte_align32pow2(capacity + 1));
        ring_.reset(static_cast<rte_ring*>(rte_zmalloc("exchange", static_cast<size_t>(size), RTE_CACHE_LINE_SIZE)));
        if (!ring_) throw std::runtime_error("no memory for the rings between workers: raise eal.memory");
        rte_ring_init(ring_.get(), "exchange", capacity, RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ);
    }

    /// How many of `values` fitted, from the front.
    uint32_t send(std::span<const T> values) {
        return rte_ring_sp_enqueue_burst_elem(ring_.get(), values.data(), sizeof(T),
                                              static_cast<unsigned>(values.size()), nullptr);
    }
    /// Fills `into` from the front; how many came.
    uint32_t receive(std::span<T> into) {
        return rte_ring_sc_dequeue_burst_elem(ring_.get(), into.data(), sizeof(T), static_cast<unsigned>(into.size()),
                                              nullptr);
    }
    /// By the receiver. rte_ring_empty() would read the sender's tail without order.
    bool empty() const { return __atomic_load_n(&ring_->prod.tail, __ATOMIC_ACQUIRE) == ring_->cons.tail; }

private:
    std::unique_ptr<rte_ring, FreeRing> ring_;
};

class Exchange {
public:
    /// One worker's end of all rings. Used by that worker alone.
    class alignas(64) Side {  // written every turn: no line of it is another worker's
    public:
        uint32_t worker() const { return self_; }

        /// Takes `packet`, which belongs to the flow of another worker and came by the port of `interface`.
        void give(rte_mbuf& packet, uint8_t interface, uint32_t owner);
        /// Tells every other worker.
        void tell(const LinkNews& news, tcp::Counters& counters);
        /// Sends what was given. What does not fit is released and counted.
        void flush(tcp::Counters& counters);

        /// Fills `into` with packets of ours that came to others, from each of them in turn; how many. Once a turn,
        /// behind hear().
        uint32_t take(std::span<rte_mbuf*> into);
        /// Calls `listener(news)` for at most news_budget messages.
        template <class Listener>
        void hear(Listener&& listener) {
            LinkNews news[news_budget];
            for (size_t i = 0, left = news_budget; i < sources_.size() && left > 0; ++i) {
                const uint32_t heard = source_in_turn(i).news->receive({news, left});
                for (uint32_t k = 0; k < heard; ++k) listener(news[k]);
                left -= heard;
            }
        }
        /// Whether something waits that take() or hear() would find.
        bool waiting() const;

    private:
        friend class Exchange;
        struct Target {
            Channel<rte_mbuf*>* packets;
            Channel<LinkNews>* news;
            Waker* waker;
            std::vector<rte_mbuf*> staged;  // reserved at start
        };
        struct Source {
            Channel<rte_mbuf*>* packets;
            Channel<LinkNews>* news;
        };
        static constexpr uint32_t news_budget = 32;
        static constexpr uint32_t staging = 64;

        void flush(Target& target);
        // Begins with another worker each time, so that one that has much does not shut the others out.
        Source& source_in_turn(size_t i) { return sources_[(next_source_ + i) % sources_.size()]; }

        uint32_t self_ = 0;
        std::vector<Target> targets_;  // indexed by worker; unused at self_
        std::vector<Source> sources_;  // the others, in order
        uint32_t next_source_ = 0;
        uint64_t given_ = 0, dropped_ = 0;  // since the last flush(counters)
    };

    /// `wakers`: one of each worker, and so many workers there are. Throws one sentence.
    explicit Exchange(std::span<Waker* const> wakers);
    ~Exchange();
    Exchange(const Exchange&) = delete;
    Exchange& operator=(const Exchange&) = delete;

    Side& side(uint32_t worker) { return *sides_[worker]; }

    /// Packets that one worker can have on the way to another.
    static constexpr uint32_t ring_packets = 512;
    static constexpr uint32_t ring_news = 64;

private:
    std::vector<std::unique_ptr<Channel<rte_mbuf*>>> packets_;  // [from * workers + to]
    std::vector<std::unique_ptr<Channel<LinkNews>>> news_;
    std::vector<std::unique_ptr<Side>> sides_;
};

}  // namespace pollux::engine
