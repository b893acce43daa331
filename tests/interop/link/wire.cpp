#include "tests/interop/link/wire.hpp"

#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "tcp/wire/bytes.hpp"

namespace pollux::test {

namespace {

constexpr size_t burst = 32;

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what + ": " + std::strerror(errno)); }

Nanos clock_now(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return std::chrono::seconds{now.tv_sec} + Nanos{now.tv_nsec};
}

// The thread is in a namespace as long as this lives.
class Visit {
public:
    explicit Visit(const std::string& name) : home_(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
        const int there = open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC);
        if (there < 0) fail("network namespace " + name);
        const int entered = setns(there, CLONE_NEWNET);
        ::close(there);
        if (entered != 0) fail("entering network namespace " + name);
    }
    ~Visit() {
        if (setns(home_, CLONE_NEWNET) != 0) std::abort();
        ::close(home_);
    }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;

private:
    int home_;
};

void set(int socket, int level, int option, int value, const char* what) {
    if (setsockopt(socket, level, option, &value, sizeof value) != 0) fail(what);
}

int open_on(const std::string& device) {
    const unsigned index = if_nametoindex(device.c_str());
    if (index == 0) fail("network device " + device);
    const int opened = ::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (opened < 0) fail("a raw socket");
    try {
        set(opened, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1, "PACKET_IGNORE_OUTGOING");  // what we send ourselves
        set(opened, SOL_PACKET, PACKET_QDISC_BYPASS, 1, "PACKET_QDISC_BYPASS");
        set(opened, SOL_SOCKET, SO_TIMESTAMPNS, 1, "SO_TIMESTAMPNS");
        set(opened, SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20, "SO_RCVBUFFORCE");
        set(opened, SOL_SOCKET, SO_SNDBUFFORCE, 16 << 20, "SO_SNDBUFFORCE");
        sockaddr_ll address{};
        address.sll_family = AF_PACKET;
        address.sll_protocol = tcp::wire::network_order(uint16_t{ETH_P_ALL});
        address.sll_ifindex = static_cast<int>(index);
        if (bind(opened, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
            fail("binding to " + device);
        packet_mreq all{};
        all.mr_ifindex = static_cast<int>(index);
        all.mr_type = PACKET_MR_PROMISC;
        if (setsockopt(opened, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) != 0)
            fail("listening on " + device);
    } catch (...) {
        ::close(opened);
        throw;
    }
    return opened;
}

// The kernel's note of the time; what has none came now.
Moment arrival_of(msghdr& message, Nanos now, Nanos wall_now) {
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SO_TIMESTAMPNS) continue;
        timespec stamp{};
        std::memcpy(&stamp, CMSG_DATA(part), sizeof stamp);
        const Nanos age = wall_now - (std::chrono::seconds{stamp.tv_sec} + Nanos{stamp.tv_nsec});
        constexpr Nanos oldest = std::chrono::seconds{1};  // older: somebody has set the clock
        if (age > Nanos::zero() && age < oldest) now -= age;
    }
    return Moment{now};
}

}  // namespace

Wire::Wire(const std::string& name) : name_(name) {
    const size_t slash = name.find('/');
    if (slash == std::string::npos) {
        socket_ = open_on(name);
    } else {
        const Visit visit{name.substr(0, slash)};
        socket_ = open_on(name.substr(slash + 1));
    }
}

Wire::~Wire() {
    if (socket_ >= 0) ::close(socket_);
}

Wire::Wire(Wire&& other) noexcept
    : name_(std::move(other.name_)), socket_(std::exchange(other.socket_, -1)), counts_(other.counts_) {}

void Wire::receive(std::vector<Arrival>& into) {
    static std::array<std::array<std::byte, most_bytes>, burst> frames;
    std::array<std::array<std::byte, CMSG_SPACE(sizeof(timespec))>, burst> notes;
    std::array<iovec, burst> pieces;
    std::array<mmsghdr, burst> messages{};
    for (size_t i = 0; i < burst; ++i) {
        pieces[i] = {frames[i].data(), frames[i].size()};
        messages[i].msg_hdr.msg_iov = &pieces[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    while (true) {
        for (size_t i = 0; i < burst; ++i) {
            messages[i].msg_hdr.msg_control = notes[i].data();
            messages[i].msg_hdr.msg_controllen = notes[i].size();
        }
        const int count = recvmmsg(socket_, messages.data(), burst, MSG_DONTWAIT | MSG_TRUNC, nullptr);
        if (count <= 0) return;  // nothing more, or the device went down
        const Nanos now = clock_now(CLOCK_MONOTONIC), wall_now = clock_now(CLOCK_REALTIME);
        for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
            const size_t size = messages[i].msg_len;
            ++counts_.received;
            if (size > most_bytes) {
                ++counts_.oversized;
                continue;
            }
            into.push_back({arrival_of(messages[i].msg_hdr, now, wall_now),
                            {frames[i].begin(), frames[i].begin() + static_cast<std::ptrdiff_t>(size)}});
        }
        if (static_cast<size_t>(count) < burst) return;
    }
}

void Wire::send(std::span<const std::byte> frame) {
    ++(::send(socket_, frame.data(), frame.size(), MSG_DONTWAIT) < 0 ? counts_.refused : counts_.sent);
}

WireCounts Wire::counts() {
    tpacket_stats read{};  // reading it sets it to 0
    socklen_t size = sizeof read;
    if (getsockopt(socket_, SOL_PACKET, PACKET_STATISTICS, &read, &size) == 0) counts_.missed += read.tp_drops;
    return counts_;
}

}  // namespace pollux::test
