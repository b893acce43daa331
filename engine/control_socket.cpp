#include "engine/control_socket.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string_view>

#include "engine/sentence.hpp"

namespace pollux::engine {
namespace {

sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
}

std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

const char* set_variable(const char* name) {
    const char* value = std::getenv(name);
    return value != nullptr && *value == '/' ? value : nullptr;
}

}  // namespace

std::optional<std::string> control_path(const std::string& setting, const std::string& prefix) {
    if (setting == "off") return {};
    if (setting != "auto") return setting;
    const std::string file = "/" + prefix + ".sock";
    // systemd gives several folders with colons between them.
    if (const char* given = set_variable("RUNTIME_DIRECTORY")) {
        const std::string_view all = given;
        return std::string{all.substr(0, all.find(':'))} + file;
    }
    if (geteuid() == 0) return "/run/pollux" + file;
    if (const char* user = set_variable("XDG_RUNTIME_DIR")) return user + ("/pollux" + file);
    throw std::runtime_error("there is no folder for it: neither RUNTIME_DIRECTORY nor XDG_RUNTIME_DIR is set");
}

ControlSocket::ControlSocket(std::string path) : path_(std::move(path)) {
    if (path_.size() >= sizeof(sockaddr_un::sun_path)) {
        complain("the path has " + std::to_string(path_.size()) + " bytes, the kernel takes 107");
    }
    made_folder_ = mkdir(folder_of(path_).c_str(), 0755) == 0;
    fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd_ < 0) complain("cannot be made: " + errno_text(errno));
    // Linux gives the file the mode that the socket has when it is bound: there is no moment in which others may
    // connect, and the process's umask, which other threads use too, stays as it is.
    if (fchmod(fd_, 0600) != 0) complain("its mode cannot be set: " + errno_text(errno));
    if (!bind_path()) {
        replace_stale();
        if (!bind_path()) complain("another engine has just taken it");
    }
    struct stat made {};
    if (stat(path_.c_str(), &made) == 0) {
        device_ = made.st_dev;
        inode_ = made.st_ino;
    }
    if (listen(fd_, 16) != 0) complain("nobody can connect to it: " + errno_text(errno));
}

ControlSocket::~ControlSocket() {
    if (fd_ >= 0) close(fd_);
    struct stat now {};
    if (inode_ != 0 && stat(path_.c_str(), &now) == 0 && now.st_dev == device_ && now.st_ino == inode_) {
        unlink(path_.c_str());
    }
    // Ours, or that of an engine which ended before us; stays while another one's socket is in it.
    const std::string folder = folder_of(path_);
    if (made_folder_ || folder == "/run/pollux") rmdir(folder.c_str());
}

// False: something is there already.
bool ControlSocket::bind_path() {
    const sockaddr_un address = address_of(path_);
    if (bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return true;
    if (errno != EADDRINUSE) complain("cannot be made: " + errno_text(errno));
    return false;
}

// A socket that refuses connections belongs to nobody any more.
void ControlSocket::replace_stale() {
    struct stat found {};
    if (lstat(path_.c_str(), &found) == 0 && !S_ISSOCK(found.st_mode)) complain("a file that is no socket is there");
    const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const sockaddr_un address = address_of(path_);
    const bool refused = connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
                         (errno == ECONNREFUSED || errno == ENOENT);
    close(probe);
    if (!refused) complain("another engine answers there: give each its own eal.file_prefix or control_socket");
    unlink(path_.c_str());
}

void ControlSocket::complain(const std::string& what) {
    if (fd_ >= 0) close(fd_);
    if (made_folder_) rmdir(folder_of(path_).c_str());
    throw std::runtime_error("control socket " + path_ + ": " + what);
}

}  // namespace pollux::engine
