// The targets: each takes any bytes at all, and throws Found when a promise is broken. README.md says what each asks.
#pragma once

#include "tests/fuzz/input.hpp"

namespace pollux::fuzz {

void options(Bytes bytes);
void packet(Bytes bytes);
void receive_store(Bytes bytes);
void scoreboard(Bytes bytes);
void cookies(Bytes bytes);
void state_machine(Bytes bytes);
void http_request(Bytes bytes);
void http_connection(Bytes bytes);
void settings(Bytes bytes);
void ingress(Bytes bytes);  // with DPDK

}  // namespace pollux::fuzz
