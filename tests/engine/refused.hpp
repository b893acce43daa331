// A frame that ends by name: for the tables of both families (ingress_test.cpp, ingress_v6_test.cpp).
#pragma once

#include <ostream>

#include "tests/engine/rig.hpp"

namespace pollux::testing {

/// One frame that ends in `verdict` without an answer.
struct Refused {
    const char* name;
    tcp::Verdict verdict;
    Bytes frame;
    const char* rows = "";
};
inline std::ostream& operator<<(std::ostream& out, const Refused& refused) { return out << refused.name; }

}  // namespace pollux::testing
