// EAL for the tests of a program: started once, before the first test, without privileges, huge pages, devices or a
// file that outlives it.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>

#include "engine/eal.hpp"
#include "engine/mbuf.hpp"

namespace pollux::testing {

class EalEnvironment : public ::testing::Environment {
public:
    void SetUp() override {
        config::Settings settings;
        settings.eal.huge_pages = false;
        settings.eal.memory_mb = 128;
        eal_ = std::make_unique<engine::Eal>(settings, 0);
    }
    void TearDown() override { eal_.reset(); }

private:
    std::unique_ptr<engine::Eal> eal_;
};

/// A pool of its own for each test, whose packets must all be back at the end.
inline engine::PacketPool make_test_pool(uint32_t count = 1023) {
    static std::atomic<uint32_t> number{0};
    return engine::make_packet_pool("test-pool-" + std::to_string(number++), count, 1500, SOCKET_ID_ANY);
}

}  // namespace pollux::testing
