#include "engine/control.hpp"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

#include "engine/eal.hpp"
#include "engine/sentence.hpp"

namespace pollux::engine {

ControlServer::ControlServer(std::string path, ControlView view, const cpu_set_t& cpus)
    : view_(std::move(view)), socket_(std::move(path)), stop_(eventfd(0, EFD_CLOEXEC)) {
    if (stop_ < 0) throw std::runtime_error("the kernel has no eventfd for the control thread: " + errno_text(errno));
    thread_ = std::thread{[this, cpus] {
        pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus);  // not on the lcore that its maker is pinned to
        pthread_setname_np(pthread_self(), "control");
        prctl(PR_SET_TIMERSLACK, 1'000UL);  // ns: a worker answers within microseconds, and a walk asks many times
        serve();
    }};
}

ControlServer::~ControlServer() {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(stop_, &one, sizeof one);
    thread_.join();
    for (const Client& client : clients_) close(client.fd);
    close(stop_);
}

void ControlServer::serve() {
    while (wait()) {
        for (Client& client : clients_) work_for(client);
        std::erase_if(clients_, [](const Client& client) {
            if (client.gone) close(client.fd);
            return client.gone;
        });
    }
}

bool ControlServer::wait() {
    std::vector<pollfd> watched{{stop_, POLLIN, 0}, {socket_.fd(), POLLIN, 0}};
    bool busy = false;
    for (const Client& client : clients_) {
        // While an answer is under way, further requests wait in the kernel.
        const bool reads = !client.at_end && !client.query && client.in.size() <= request_limit;
        const int events = (reads ? POLLIN : 0) | (client.out.empty() ? 0 : POLLOUT);
        watched.push_back({client.fd, static_cast<short>(events), 0});
        busy = busy || client.has_work();
    }
    if (poll(watched.data(), watched.size(), busy ? 0 : 1'000) < 0) return errno == EINTR;
    if (watched[0].revents != 0) return false;
    size_t place = 2;
    for (Client& client : clients_) {
        const short seen = watched[place++].revents;
        if ((seen & (POLLERR | POLLNVAL)) != 0) client.gone = true;
        if ((seen & (POLLIN | POLLHUP)) != 0 && !client.at_end) read_from(client);
        if ((seen & POLLOUT) != 0) write_to(client);
    }
    if (watched[1].revents != 0) accept_one();
    return true;
}

void ControlServer::accept_one() {
    const int fd = accept4(socket_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        // Out of descriptors: the caller stays in the kernel's queue, and we do not spin over it.
        if (errno == EMFILE || errno == ENFILE) std::this_thread::sleep_for(std::chrono::milliseconds{100});
        return;
    }
    clients_.push_back({fd, {}, {}, {}, Clock::now()});
    if (clients_.size() <= clients_limit) return;
    Client& client = clients_.back();
    client.out = error_line("failed", "all " + std::to_string(clients_limit) + " places for clients are taken");
    write_to(client);
    client.gone = true;
}

void ControlServer::read_from(Client& client) {
    char bytes[request_limit];
    const ssize_t got = recv(client.fd, bytes, sizeof bytes, 0);
    if (got > 0) {
        client.in.append(bytes, static_cast<size_t>(got));
    } else if (got == 0) {
        client.at_end = true;
        if (!client.in.empty() && !client.in.ends_with('\n')) client.in += '\n';  // the last line's end was its close
    } else if (errno != EAGAIN && errno != EINTR) {
        client.gone = true;
    }
}

void ControlServer::write_to(Client& client) {
    const ssize_t sent = send(client.fd, client.out.data(), client.out.size(), MSG_NOSIGNAL);
    if (sent > 0) {
        client.out.erase(0, static_cast<size_t>(sent));
        client.progress = Clock::now();
    } else if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        client.gone = true;
    }
}

// The next line of what has come, if there is one.
void ControlServer::take_request(Client& client) {
    const size_t end = client.in.find('\n');
    if (std::min(end, client.in.size()) > request_limit) {
        client.out += error_line("bad_request", "found a line of more than " + std::to_string(request_limit) +
                                                    " bytes, expected a request in at most as many");
        client.in.clear();  // where the next request begins cannot be known
        client.at_end = true;
        shutdown(client.fd, SHUT_RD);
        return;
    }
    if (end == std::string::npos) return;
    const std::string line = client.in.substr(0, end);
    client.in.erase(0, end + 1);
    if (line.find_first_not_of(" \t\r") == std::string::npos) return;
    try {
        client.query.emplace(view_, line);
    } catch (const BadRequest& error) {
        client.out += error_line("bad_request", error.what());
    }
}

void ControlServer::work_for(Client& client) {
    if (client.gone) return;
    if (!client.query && client.out.size() < answer_backlog) take_request(client);
    if (client.query && client.out.size() < answer_backlog && !client.query->step(client.out)) client.query.reset();
    if (!client.out.empty()) write_to(client);
    if (!client.out.empty()) {
        if (Clock::now() - client.progress > reader_patience) client.gone = true;
        return;
    }
    client.progress = Clock::now();
    if (client.at_end && !client.query && client.in.empty()) client.gone = true;
}

std::unique_ptr<ControlServer> start_control(const config::Settings& settings, ControlView view,
                                             const cpu_set_t& cpus,
                                             const std::function<void(const std::string&)>& on_notice) {
    const bool automatic = settings.engine.control_socket == "auto";
    try {
        const auto path = control_path(settings.engine.control_socket, prefix_of(settings.eal));
        if (path) return std::make_unique<ControlServer>(*path, std::move(view), cpus);
    } catch (const std::exception& error) {
        if (!automatic) throw;
        if (on_notice) on_notice(std::string{"pollux-ctl will not find this engine: "} + error.what());
    }
    return {};
}

}  // namespace pollux::engine
