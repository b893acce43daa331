// Wire: an end of the link, a raw AF_PACKET socket on a network device, which may be in another network namespace.
// What the kernel or a TAP's engine sends by the device comes out here, and the other way round.
//
// A device must send whole frames with their checksums: offloads are off (ethtool -K DEV tx off tso off gso off gro
// off), or segments of 64 KB come, which are dropped here and counted as oversized.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tests/interop/link/way.hpp"

namespace pollux::test {

struct WireCounts {
    uint64_t received = 0, sent = 0, oversized = 0, refused = 0;  // `refused` by the device
    uint64_t missed = 0;                                          // by us: the socket's buffer was full
};

class Wire {
public:
    static constexpr size_t most_bytes = 14 + 4 + 1500;

    struct Arrival {
        Moment arrived;
        std::vector<std::byte> bytes;
    };

    /// "DEVICE" or "NAMESPACE/DEVICE", one of /run/netns. Throws a sentence.
    explicit Wire(const std::string& name);
    ~Wire();
    Wire(Wire&& other) noexcept;
    Wire& operator=(Wire&&) = delete;

    int descriptor() const { return socket_; }
    /// Appends what has come.
    void receive(std::vector<Arrival>& into);
    void send(std::span<const std::byte> frame);
    const std::string& name() const { return name_; }
    WireCounts counts();

private:
    std::string name_;
    int socket_ = -1;
    WireCounts counts_;
};

}  // namespace pollux::test
