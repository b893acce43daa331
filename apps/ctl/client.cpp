#include "apps/ctl/client.hpp"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace pollux::ctl {
namespace {

namespace fs = std::filesystem;

constexpr timeval answer_limit{10, 0};  // an engine answers a slice in far less, or says that it cannot

// A connected socket, or -1 with errno.
int connect_to(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &answer_limit, sizeof answer_limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &answer_limit, sizeof answer_limit);
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
    const int error = errno;
    close(fd);
    errno = error;
    return -1;
}

std::string joined(const std::vector<std::string>& parts) {
    std::string text;
    for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
    return text;
}

}  // namespace

std::vector<std::string> socket_folders() {
    std::vector<std::string> folders;
    const auto add = [&](std::string folder) {
        if (std::find(folders.begin(), folders.end(), folder) == folders.end()) folders.push_back(std::move(folder));
    };
    if (const char* given = std::getenv("RUNTIME_DIRECTORY"); given != nullptr && *given == '/') {
        const std::string_view all = given;
        add(std::string{all.substr(0, all.find(':'))});
    }
    add("/run/pollux");
    if (const char* user = std::getenv("XDG_RUNTIME_DIR"); user != nullptr && *user == '/') {
        add(user + std::string{"/pollux"});
    }
    return folders;
}

std::string find_socket(const std::vector<std::string>& folders) {
    std::vector<std::string> alive, forbidden;
    for (const std::string& folder : folders) {
        std::error_code error;
        for (const fs::directory_entry& entry : fs::directory_iterator{folder, error}) {
            if (entry.path().extension() != ".sock") continue;
            const std::string path = entry.path().string();
            const int fd = connect_to(path);
            if (fd >= 0) {
                close(fd);
                alive.push_back(path);
            } else if (errno == EACCES || errno == EPERM) {
                forbidden.push_back(path);
            }  // else what a killed engine has left
        }
    }
    if (alive.size() == 1) return alive.front();
    if (alive.size() > 1) {
        std::sort(alive.begin(), alive.end());
        throw Unreachable("found " + std::to_string(alive.size()) +
                          " engines, choose one with --socket: " + joined(alive));
    }
    if (!forbidden.empty()) {
        throw Unreachable("found only engines of other users: " + joined(forbidden) +
                          "; ask as their user, or as root");
    }
    throw Unreachable("found no running engine in " + joined(folders) + "; --socket names one that is elsewhere");
}

Client::Client(const std::string& path) : path_(path), fd_(connect_to(path)) {
    if (fd_ >= 0) return;
    const int error = errno;
    throw Unreachable("no engine answers at " + path + ": " + std::strerror(error));
}

Client::~Client() { close(fd_); }

void Client::send(std::string_view line) {
    std::string bytes{line};
    bytes += '\n';
    for (size_t sent = 0; sent < bytes.size();) {
        const ssize_t n = ::send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
        if (n > 0) sent += static_cast<size_t>(n);
        // A server that has no place for us says so before it closes: receive() reads it.
        if (n < 0 && errno != EINTR) return;
    }
}

void Client::receive(const std::function<bool(std::string_view)>& on_line) {
    std::string waiting;
    char bytes[65'536];
    while (true) {
        const ssize_t n = recv(fd_, bytes, sizeof bytes, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            throw Unreachable("the engine at " + path_ + " has said nothing for " +
                              std::to_string(answer_limit.tv_sec) + " s");
        }
        if (n <= 0) throw Unreachable("the engine at " + path_ + " ended before its answer did");
        waiting.append(bytes, static_cast<size_t>(n));
        size_t from = 0;
        for (size_t end; (end = waiting.find('\n', from)) != std::string::npos; from = end + 1) {
            if (!on_line(std::string_view{waiting}.substr(from, end - from))) return;
        }
        waiting.erase(0, from);
    }
}

}  // namespace pollux::ctl
