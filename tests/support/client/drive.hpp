// Drives a ClosedLoopClient over a queue of mbufs: one turn receives what is there, and sends what the client has to
// say. What the queue refuses is kept in order.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <utility>

#include "engine/dpdk.hpp"
#include "engine/mbuf.hpp"
#include "engine/nic_queue.hpp"
#include "tests/support/client/closed_loop_client.hpp"

namespace pollux::test {

template <engine::PacketQueue Queue>
class ClientDriver {
public:
    /// Refers to `client` and `pool`.
    ClientDriver(ClosedLoopClient& client, Queue queue, rte_mempool& pool)
        : client_(client), queue_(queue), pool_(pool) {}
    ~ClientDriver() {
        engine::release(std::span{outgoing_}.first(count_));
        if (spare_) rte_pktmbuf_free(spare_);
    }
    ClientDriver(const ClientDriver&) = delete;
    ClientDriver& operator=(const ClientDriver&) = delete;

    /// Whether a frame has come or gone.
    bool turn(tcp::Instant now) {
        std::array<rte_mbuf*, burst> received;
        const size_t arrived = queue_.receive(received);
        for (size_t i = 0; i < arrived; ++i) {
            if (i + 4 < arrived) rte_prefetch0(rte_pktmbuf_mtod(received[i + 4], const std::byte*));
            client_.receives(engine::bytes_of(*received[i]), now);
        }
        engine::release(std::span{received}.first(arrived));
        while (count_ < burst && write_next(now)) {
        }
        const size_t sent = count_ == 0 ? 0 : queue_.send(std::span{outgoing_}.first(count_));
        std::copy(outgoing_.begin() + static_cast<ptrdiff_t>(sent), outgoing_.begin() + count_, outgoing_.begin());
        count_ -= static_cast<uint32_t>(sent);
        return arrived != 0 || sent != 0;
    }

private:
    static constexpr size_t burst = 64;

    bool write_next(tcp::Instant now) {
        if (!spare_) spare_ = rte_pktmbuf_alloc(&pool_);
        if (!spare_) return false;
        const size_t size = client_.next_frame(engine::room_of(*spare_), now);
        if (size == 0) return false;
        engine::set_size(*spare_, size);
        outgoing_[count_++] = std::exchange(spare_, nullptr);
        return true;
    }

    ClosedLoopClient& client_;
    Queue queue_;
    rte_mempool& pool_;
    std::array<rte_mbuf*, burst> outgoing_{};
    uint32_t count_ = 0;
    rte_mbuf* spare_ = nullptr;
};

}  // namespace pollux::test
