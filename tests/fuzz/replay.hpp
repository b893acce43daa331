// The corpus of a target, given to it once more: what a fuzzer has found stays found, in every run of the tests.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "tests/fuzz/targets.hpp"

namespace pollux::fuzz {

struct Target {
    const char* name;
    void (*run)(Bytes bytes);
};

class Corpus : public testing::TestWithParam<Target> {
protected:
    static constexpr size_t least = 20;  // files; a target without a corpus proves nothing

    /// In order of their names, the same on every machine.
    static std::set<std::filesystem::path> files() {
        std::set<std::filesystem::path> found;
        const auto folder = std::filesystem::path{POLLUX_SOURCE} / "tests/fuzz/corpus" / GetParam().name;
        for (const auto& entry : std::filesystem::directory_iterator{folder}) found.insert(entry.path());
        return found;
    }
    static std::vector<uint8_t> content(const std::filesystem::path& file) {
        std::ifstream in{file, std::ios::binary};
        return {std::istreambuf_iterator<char>{in}, {}};
    }
    /// In memory of its own and exactly as long, so that AddressSanitizer sees what is read beyond.
    static void gives(const std::vector<uint8_t>& bytes, const std::string& what) {
        try {
            GetParam().run(bytes);
        } catch (const Found& found) {
            ADD_FAILURE() << what << ": " << found.what();
        }
    }
    /// Every file, cut short at three places too.
    static void replays() {
        const auto all = files();
        EXPECT_GE(all.size(), least);
        for (const auto& file : all) {
            const std::vector<uint8_t> bytes = content(file);
            gives(bytes, file.filename());
            for (size_t quarters = 1; quarters < 4; ++quarters) {
                const auto end = bytes.begin() + static_cast<std::ptrdiff_t>(bytes.size() * quarters / 4);
                gives({bytes.begin(), end}, file.filename().string() + ", cut short");
            }
        }
        gives({}, "nothing");
    }
};

inline std::string name_of(const testing::TestParamInfo<Target>& info) { return info.param.name; }

}  // namespace pollux::fuzz
