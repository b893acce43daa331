// ControlSocket: the listening Unix socket of one engine, readable and writable by its owner alone (mode 0600), and
// gone from the file system when the object ends. What a killed engine has left is replaced; a living one is not.
// No DPDK in here.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

namespace pollux::engine {

/// Where the socket of an engine with this file prefix goes: "off" is nowhere, a path is that path, and "auto" is
/// PREFIX.sock in the first of $RUNTIME_DIRECTORY, /run/pollux (for root) and $XDG_RUNTIME_DIR/pollux.
std::optional<std::string> control_path(const std::string& setting, const std::string& prefix);

class ControlSocket {
public:
    /// Makes the path's folder, if only that is missing. Throws one sentence.
    explicit ControlSocket(std::string path);
    ~ControlSocket();
    ControlSocket(const ControlSocket&) = delete;
    ControlSocket& operator=(const ControlSocket&) = delete;

    int fd() const { return fd_; }
    const std::string& path() const { return path_; }

private:
    bool bind_path();
    void replace_stale();
    [[noreturn]] void complain(const std::string& what);

    std::string path_;
    int fd_ = -1;
    bool made_folder_ = false;
    dev_t device_ = 0;  // which file is ours
    ino_t inode_ = 0;
};

}  // namespace pollux::engine
