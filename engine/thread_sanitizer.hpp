// What ThreadSanitizer must be told because it cannot see it: DPDK's pools and drivers pass packets from thread to
// thread in libraries that are not instrumented. Without the sanitizer these are nothing.
#pragma once

struct rte_mbuf;

#if defined(__SANITIZE_THREAD__)
extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);
#endif

namespace pollux::engine {

/// This thread is done with the packet: it goes to a pool or a device.
inline void packet_leaves([[maybe_unused]] rte_mbuf* packet) {
#if defined(__SANITIZE_THREAD__)
    __tsan_release(packet);
#endif
}

/// This thread has the packet now: from a pool or a device.
inline void packet_comes([[maybe_unused]] rte_mbuf* packet) {
#if defined(__SANITIZE_THREAD__)
    __tsan_acquire(packet);
#endif
}

}  // namespace pollux::engine
