#include "config/secret_file.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "config/load.hpp"

namespace pollux::config {
namespace {

class SecretFile : public testing::Test {
protected:
    void TearDown() override { std::filesystem::remove(path); }
    void holds(const std::string& text) {
        std::ofstream{path} << text;
        std::filesystem::permissions(path, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    }
    std::string complaint() {
        try {
            read_secret_file(path);
        } catch (const SettingsError& error) {
            return std::string{error.what()}.substr(path.size());
        }
        return "none";
    }
    const std::string path = testing::TempDir() + "pollux-secret-" + std::to_string(getpid());
};

constexpr const char* wanted = ", expected 32 hexadecimal digits, as `openssl rand -hex 16` writes them";

TEST_F(SecretFile, Is32HexadecimalDigits) {
    for (const char* end : {"", "\n", "\r\n"}) {
        holds(std::string{"00112233445566778899aAbBcCdDeEfF"} + end);
        EXPECT_EQ(read_secret_file(path), (std::array<uint64_t, 2>{0x0011'2233'4455'6677, 0x8899'aabb'ccdd'eeff}));
    }
}

TEST_F(SecretFile, AnythingElseIsOneSentence) {
    EXPECT_EQ(complaint(), std::string{":1: found no readable file (No such file or directory)"} + wanted);
    holds("");
    EXPECT_EQ(complaint(), std::string{":1: found something else in 0 characters"} + wanted);
    holds("00112233445566778899aabbccddeef");
    EXPECT_EQ(complaint(), std::string{":1: found something else in 31 characters"} + wanted);
    holds("00112233445566778899aabbccddeefg");
    EXPECT_EQ(complaint(), std::string{":1: found something else in 32 characters"} + wanted);
}

TEST_F(SecretFile, IsItsOwnersAlone) {
    holds("00112233445566778899aabbccddeeff\n");
    std::filesystem::permissions(path, std::filesystem::perms::group_read, std::filesystem::perm_options::add);
    EXPECT_EQ(complaint(),
              ":1: found a secret that others may read or write, expected permissions for its owner alone (chmod 600)");
}

}  // namespace
}  // namespace pollux::config
