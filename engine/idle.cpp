#include "engine/idle.hpp"

#include <fcntl.h>
#include <poll.h>
#include <rte_interrupts.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

namespace pollux::engine {

namespace {

// net_tap learns of packets by a signal to its process, and looks at no descriptor before it. The signal must
// interrupt the thread that reads the queue: on another one it would come too late for the turn that the descriptor
// has woken, and the packet would wait for the end of the next sleep.
void signal_this_thread(const NicQueue& queue) {
    if (!queue.wakes()) return;
    const int fd = rte_eth_dev_rx_intr_ctl_q_get_fd(queue.port(), queue.queue());
    if (fd < 0 || (fcntl(fd, F_GETFL) & O_ASYNC) == 0) return;
    const f_owner_ex owner{F_OWNER_TID, gettid()};
    fcntl(fd, F_SETOWN_EX, &owner);
}

}  // namespace

void Idle::watch(std::span<const NicQueue> queues) {
    queues_ = queues;
    interrupts_ = false;
    for (const NicQueue& queue : queues) signal_this_thread(queue);
    if (kind_ == Kind::spin) return;
    prctl(PR_SET_TIMERSLACK, 1'000UL);  // ns; the default 50 us would double a short sleep
    if (queues.empty()) return;
    interrupts_ = true;
    for (const NicQueue& queue : queues) {
        if (!queue.wakes() || rte_eth_dev_rx_intr_ctl_q(queue.port(), queue.queue(), RTE_EPOLL_PER_THREAD,
                                                        RTE_INTR_EVENT_ADD, nullptr) != 0) {
            interrupts_ = false;
        }
    }
    if (!interrupts_) return;
    wake_event_.epdata.event = EPOLLIN;
    interrupts_ = rte_epoll_ctl(RTE_EPOLL_PER_THREAD, EPOLL_CTL_ADD, waker_.fd(), &wake_event_) == 0;
}

Idle::~Idle() {
    if (interrupts_) rte_epoll_ctl(RTE_EPOLL_PER_THREAD, EPOLL_CTL_DEL, waker_.fd(), &wake_event_);
}

// Devices whose queues are file descriptors (net_tap) need no arming and say so by -ENOTSUP.
bool Idle::arm(bool on) {
    bool all = true;
    for (const NicQueue& queue : queues_) {
        const int result = on ? rte_eth_dev_rx_intr_enable(queue.port(), queue.queue())
                              : rte_eth_dev_rx_intr_disable(queue.port(), queue.queue());
        all = all && (result == 0 || result == -ENOTSUP);
    }
    return all;
}

void Idle::sleep(tcp::Duration longest) {
    using std::chrono::milliseconds;
    ++sleeps_;
    if (interrupts_ && longest >= milliseconds{1} && arm(true)) {
        // A packet that came between the last look and arming raises the interrupt as well: descriptors are level in
        // the device, and the loop looks again before it comes back here.
        rte_epoll_event events[8];
        const auto ms = static_cast<int>(std::chrono::duration_cast<milliseconds>(longest).count());
        rte_epoll_wait(RTE_EPOLL_PER_THREAD, events, 8, ms);
        arm(false);
        empty_turns_ = spin_turns / 2;  // look for a while before the next sleep
        return;
    }
    const tcp::Duration time = std::min(longest, blind_sleep);
    const timespec limit{0, std::chrono::nanoseconds{time}.count()};
    pollfd wakes{waker_.fd(), POLLIN, 0};
    ppoll(&wakes, 1, &limit, nullptr);
}

}  // namespace pollux::engine
