// The settings loader: any text at all is settings or one sentence, and settings can be printed and read again.
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "config/load.hpp"
#include "tests/fuzz/targets.hpp"

namespace pollux::fuzz {
namespace {

using config::load_text;
using config::Settings;

// A folder with what settings may name: a page and a secret.
class Folder {
public:
    Folder() {
        std::string path = std::filesystem::temp_directory_path() / "pollux-fuzz-XXXXXX";
        demand(mkdtemp(path.data()) != nullptr, "a folder can be made for the files that settings name");
        path_ = path;
        std::ofstream{path_ / "page.html"} << "<p>\n";
        std::ofstream{path_ / "secret"} << "00112233445566778899aabbccddeeff\n";
        chmod((path_ / "secret").c_str(), 0600);
        std::ofstream{path_ / "short"} << "0011\n";
        chmod((path_ / "short").c_str(), 0600);
    }
    ~Folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    std::string file() const { return path_ / "fuzz.toml"; }

private:
    std::filesystem::path path_;
};

bool is_one_sentence(std::string_view said, std::string_view file) {
    if (!said.starts_with(file)) return false;
    said.remove_prefix(file.size());
    const size_t digits = said.find_first_not_of("0123456789", 1);
    return said.starts_with(':') && digits > 1 && digits != std::string_view::npos &&
           said.substr(digits).starts_with(": found ") && said.find(", expected ") != std::string_view::npos &&
           std::ranges::none_of(said, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

}  // namespace

void settings(Bytes bytes) {
    static const Folder folder;
    const std::string file = folder.file();
    std::optional<Settings> loaded;
    try {
        loaded = load_text(as_text(bytes), file);
    } catch (const config::SettingsError& error) {
        const std::string_view said = error.what();
        // What is wrong with the secret is said of its own file.
        const bool of_secret = said.starts_with(file.substr(0, file.rfind('/'))) && !said.starts_with(file);
        const std::string_view where = of_secret ? said.substr(0, said.find(":1: ")) : std::string_view{file};
        demand(is_one_sentence(said, where), "an error is one sentence: FILE:LINE: found ..., expected ...");
    }
    if (!loaded) return;
    const std::string printed = to_toml(*loaded);
    std::optional<Settings> again;
    try {
        again = load_text(printed, file);
    } catch (const config::SettingsError& error) {
        demand(false, std::string{"what is printed can be read: "} + error.what());
    }
    demand(*again == *loaded, "what is printed means the same");
    demand(to_toml(*again) == printed, "it is printed the same way again");
}

}  // namespace pollux::fuzz
