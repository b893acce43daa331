// gtest's main, with EAL.
#include "tests/engine/environment.hpp"

int main(int argc, char** argv) {
    ::testing::InitGoogleTest(&argc, argv);
    ::testing::AddGlobalTestEnvironment(new pollux::testing::EalEnvironment);
    return RUN_ALL_TESTS();
}
