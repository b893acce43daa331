#include "engine/waker.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <stdexcept>

#include "engine/sentence.hpp"

namespace pollux::engine {

Waker::Waker() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (fd_ < 0) throw std::runtime_error("the kernel has no eventfd for a worker: " + errno_text(errno));
}

Waker::~Waker() { close(fd_); }

void Waker::signal() {
    const uint64_t one = 1;
    // Fails only when 2^64 - 1 signals wait already, which is signal enough.
    [[maybe_unused]] const ssize_t written = write(fd_, &one, sizeof one);
}

void Waker::awake() {
    asleep_.exchange(false, std::memory_order_acq_rel);
    // Whether or not it was this that ended the sleep: a signal that comes later than its reason costs one look.
    uint64_t signals = 0;
    [[maybe_unused]] const ssize_t taken = read(fd_, &signals, sizeof signals);
}

}  // namespace pollux::engine
