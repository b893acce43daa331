// Words for start-up errors.
#pragma once

#include <cstring>
#include <string>

namespace pollux::engine {

/// "Device or resource busy" of EBUSY or -EBUSY.
inline std::string errno_text(int error) { return std::strerror(error < 0 ? -error : error); }

}  // namespace pollux::engine
