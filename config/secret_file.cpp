#include "config/secret_file.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "config/load.hpp"

namespace pollux::config {
namespace {

constexpr size_t digits = 32;
constexpr const char* wanted = "32 hexadecimal digits, as `openssl rand -hex 16` writes them";

[[noreturn]] void complain(const std::string& path, const std::string& found, const std::string& expected) {
    throw SettingsError(path + ":1: found " + found + ", expected " + expected);
}

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

uint64_t value_of(const char* first) {
    uint64_t value = 0;
    std::from_chars(first, first + digits / 2, value, 16);
    return value;
}

}  // namespace

std::array<uint64_t, 2> read_secret_file(const std::string& path) {
    namespace fs = std::filesystem;
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    if (fs::is_directory(status)) complain(path, "a directory", "a file with " + std::string{wanted});
    std::ifstream in{path, std::ios::binary};
    if (!in) complain(path, "no readable file (" + std::string{std::strerror(errno)} + ")", wanted);
    constexpr fs::perms others = fs::perms::group_all | fs::perms::others_all;
    if ((status.permissions() & others) != fs::perms::none) {
        complain(path, "a secret that others may read or write", "permissions for its owner alone (chmod 600)");
    }
    std::string text{std::istreambuf_iterator<char>{in}, {}};
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
    if (text.size() != digits || !std::ranges::all_of(text, is_hex)) {
        complain(path, "something else in " + std::to_string(text.size()) + " characters", wanted);
    }
    return {value_of(text.data()), value_of(text.data() + digits / 2)};
}

}  // namespace pollux::config
