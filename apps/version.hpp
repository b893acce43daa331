// The version that --version prints; meson.build is where it is written.
#pragma once

namespace pollux {
inline constexpr const char* version = POLLUX_VERSION;
}
