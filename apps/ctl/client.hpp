// The client's end of the control socket: finding the engine, asking once, reading the answer's lines.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace pollux::ctl {

/// The engine cannot be reached, or has not answered to the end; the message is a sentence.
struct Unreachable : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// Where engines put their sockets unless they are told otherwise.
std::vector<std::string> socket_folders();

/// The socket of the one engine that runs on this machine. Throws Unreachable when there is none, or which ones there
/// are when there are several.
std::string find_socket(const std::vector<std::string>& folders);

class Client {
public:
    /// Throws Unreachable.
    explicit Client(const std::string& path);
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    void send(std::string_view line);
    /// Calls `on_line` for each line of the answer until it says false. Throws Unreachable when the lines end before.
    void receive(const std::function<bool(std::string_view)>& on_line);

private:
    std::string path_;
    int fd_;
};

}  // namespace pollux::ctl
