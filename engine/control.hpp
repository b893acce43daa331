// ControlServer: a thread that answers pollux-ctl on the control socket. It is no lcore, reads the workers through
// their mailboxes (inspection.hpp) and never makes one wait.
//
// Clients are served in turn, a slice each. Everything about a client is bounded: how many there are, the length of a
// request, how much of an answer waits for its reader, and how long it may wait. What is wrong is answered with one
// line.
#pragma once

#include <sched.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "config/settings.hpp"
#include "engine/control_query.hpp"
#include "engine/control_socket.hpp"

namespace pollux::engine {

class ControlServer {
public:
    /// Serves `path` until the object ends. Throws one sentence when the socket cannot be made.
    ControlServer(std::string path, ControlView view, const cpu_set_t& cpus);
    ~ControlServer();
    ControlServer(const ControlServer&) = delete;
    ControlServer& operator=(const ControlServer&) = delete;

    static constexpr size_t clients_limit = 16;
    static constexpr size_t request_limit = 4'096;       // bytes of one line
    static constexpr size_t answer_backlog = 64 * 1024;  // bytes that wait for a reader; then the walk waits too
    static constexpr std::chrono::seconds reader_patience{30};

private:
    using Clock = std::chrono::steady_clock;
    struct Client {
        int fd;
        std::string in, out;
        std::optional<ControlQuery> query;
        Clock::time_point progress;  // when it last took something
        bool at_end = false;         // it sends no more
        bool gone = false;           // to be closed, with what waits
        /// Something to do that no event announces: a slice, or a further request.
        bool has_work() const { return out.size() < answer_backlog && (query || in.find('\n') != std::string::npos); }
    };

    void serve();
    /// False: the server ends.
    bool wait();
    void accept_one();
    void read_from(Client& client);
    void write_to(Client& client);
    void take_request(Client& client);
    void work_for(Client& client);

    ControlView view_;
    ControlSocket socket_;
    int stop_;  // an eventfd
    std::list<Client> clients_;
    std::thread thread_;
};

/// The server that the settings ask for, or none. A socket that only "auto" asks for and that cannot be made is a
/// notice.
std::unique_ptr<ControlServer> start_control(const config::Settings& settings, ControlView view,
                                             const cpu_set_t& cpus,
                                             const std::function<void(const std::string&)>& on_notice);

}  // namespace pollux::engine
