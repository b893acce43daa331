// The secret that machines behind one address share, so that each completes the handshakes that another has answered
// with a SYN cookie.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace pollux::config {

/// The 128 bits in the file at `path`: 32 hexadecimal digits and nothing else but a line end, readable by its owner
/// alone. Throws SettingsError: `PATH:LINE: found ..., expected ...`.
std::array<uint64_t, 2> read_secret_file(const std::string& path);

}  // namespace pollux::config
