// A wire through a real port: net_ring, set up by engine/port, with the test at the other end of its two rings.
#pragma once

#include <rte_eth_ring.h>
#include <rte_ring.h>

#include <string>
#include <vector>

#include "engine/port.hpp"
#include "tests/engine/rig.hpp"

namespace pollux::testing {

class RingWire {
public:
    explicit RingWire(rte_mempool& pool) : number_(next_++), settings_(port_settings()) {
        to_us_ = make_ring("rx");
        from_us_ = make_ring("tx");
        rte_eth_from_rings(("test" + std::to_string(number_)).c_str(), &to_us_, 1, &from_us_, 1, 0);
        rte_mempool* pools[] = {&pool};
        port_ = std::make_unique<engine::Port>(settings_, 0, pools);
    }
    ~RingWire() {
        port_.reset();
        rte_ring_free(to_us_);
        rte_ring_free(from_us_);
    }
    RingWire(const RingWire&) = delete;
    RingWire& operator=(const RingWire&) = delete;

    engine::NicQueue handle() const { return {port_->id(), 0}; }
    engine::Interface interface() const { return port_->interface(); }
    void arrive(rte_mbuf* packet) { ASSERT_EQ(rte_ring_enqueue(to_us_, packet), 0); }
    std::vector<rte_mbuf*> take_sent() {
        std::vector<rte_mbuf*> sent;
        for (void* packet = nullptr; rte_ring_dequeue(from_us_, &packet) == 0;) {
            sent.push_back(static_cast<rte_mbuf*>(packet));
        }
        return sent;
    }
    engine::Port& port() { return *port_; }

private:
    config::Port port_settings() const {
        config::Port port;
        port.device = "net_ring_test" + std::to_string(number_);  // the driver puts its own name first
        port.addresses = {{tcp::IpAddress::from_v4(our_v4), 24}};
        port.gateway = tcp::IpAddress::from_v4(gateway_v4);
        port.mac = our_mac;
        return port;
    }
    rte_ring* make_ring(const char* what) const {
        rte_ring* ring = rte_ring_create((std::string{what} + std::to_string(number_)).c_str(), 1024, 0,
                                         RING_F_SP_ENQ | RING_F_SC_DEQ);
        EXPECT_NE(ring, nullptr);
        return ring;
    }

    static inline uint32_t next_ = 0;
    uint32_t number_;
    config::Port settings_;
    rte_ring* to_us_ = nullptr;
    rte_ring* from_us_ = nullptr;
    std::unique_ptr<engine::Port> port_;
};

}  // namespace pollux::testing
