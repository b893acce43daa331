// TOML to Settings: the reading half of load.hpp, by the lists of keys.hpp. A Reader takes one table apart and
// complains about what it does not know; check.cpp then looks at what cannot work together.
#include "config/load.hpp"

#include <toml++/toml.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "config/check.hpp"
#include "config/keys.hpp"

namespace pollux::config {
namespace {

/// What a node is, for people: `the integer 5`, `the string "x"`, `an array`.
std::string describe_node(const toml::node& node) {
    if (const auto* text = node.as_string()) return "the string " + in_quotes(text->get());
    if (const auto* integer = node.as_integer()) return "the integer " + std::to_string(integer->get());
    if (const auto* boolean = node.as_boolean()) return boolean->get() ? "the boolean true" : "the boolean false";
    if (node.is_floating_point()) return "a floating-point number";
    if (node.is_table()) return "a table";
    if (node.is_array()) return "an array";
    return "a date or time";
}

/// How many letters have to be inserted, removed or changed, or neighbours swapped, to come from `a` to `b`.
size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
    for (size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
    for (size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
    for (size_t i = 1; i <= a.size(); ++i) {
        for (size_t j = 1; j <= b.size(); ++j) {
            const size_t change = d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, change});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[a.size()][b.size()];
}

/// "mtu" is near "mtu_bytes" (the unit is missing) and "idle_timout" near "idle_timeout".
bool is_near(std::string_view found, std::string_view known) {
    if (found.size() >= 3 && (known.starts_with(found) || found.starts_with(known))) return true;
    return edit_distance(found, known) <= std::max<size_t>(1, known.size() / 4);
}

/// `"a", "b" or "c"`, or only the one that is nearly `found`.
std::string expected_names(std::string_view found, const std::vector<std::string>& known) {
    const auto nearest =
        std::ranges::min_element(known, {}, [found](const std::string& name) { return edit_distance(found, name); });
    const auto near = is_near(found, *nearest)
                          ? nearest
                          : std::ranges::find_if(known, [found](const auto& name) { return is_near(found, name); });
    if (near != known.end()) return in_quotes(*near);
    std::string list;
    for (size_t i = 0; i < known.size(); ++i)
        list += (i == 0 ? "" : i + 1 == known.size() ? " or " : ", ") + in_quotes(known[i]);
    return list;
}

class Reader {
public:
    /// `heading` is how the table is written, "[[port]]"; `prefix` how its keys are named in messages, "port.".
    Reader(const toml::table& table, Source source, std::string heading)
        : table_(table), source_(std::move(source)), heading_(std::move(heading)) {
        const auto begin = heading_.find_first_not_of('[');
        prefix_ = begin == std::string::npos ? "" : heading_.substr(begin, heading_.find(']') - begin) + ".";
    }

    void flag(std::string_view key, bool& value) {
        if (const toml::node* node = find(key)) {
            const auto* boolean = node->as_boolean();
            if (boolean == nullptr) complain(*node, key, "true or false");
            value = boolean->get();
        }
    }

    template <class N>
    void count(std::string_view key, N& value, uint64_t low, uint64_t high) {
        integer(key, value, "an integer from " + std::to_string(low) + " to " + std::to_string(high),
                [=](uint64_t found) { return found >= low && found <= high; });
    }
    template <class N>
    void count_or_zero(std::string_view key, N& value, uint64_t low, uint64_t high) {
        integer(key, value, "0 or an integer from " + std::to_string(low) + " to " + std::to_string(high),
                [=](uint64_t found) { return found == 0 || (found >= low && found <= high); });
    }

    template <class T>
    void text(std::string_view key, T& value, const Notation<T>& notation) {
        if (const toml::node* node = find(key)) value = read(*node, key, notation);
    }
    template <class T>
    void text(std::string_view key, std::optional<T>& value, const Notation<T>& notation) {
        if (const toml::node* node = find(key)) value = read(*node, key, notation);
    }

    template <class T>
    void texts(std::string_view key, std::vector<T>& values, const Notation<T>& notation) {
        if (const toml::node* node = find(key)) {
            const auto* array = node->as_array();
            if (array == nullptr) complain(*node, key, "an array of strings");
            values.clear();
            for (const toml::node& item : *array) values.push_back(read(item, key, notation));
        }
    }

    /// The table [key], or null.
    const toml::table* table(std::string_view key) {
        const toml::node* node = find(key);
        if (node == nullptr) return nullptr;
        if (!node->is_table()) complain(*node, key, "the table [" + prefix_ + std::string{key} + "]");
        return node->as_table();
    }

    /// The tables [[key]].
    std::vector<const toml::table*> tables(std::string_view key) {
        std::vector<const toml::table*> found;
        const toml::node* node = find(key);
        if (node == nullptr) return found;
        const std::string expected = "one or more tables [[" + std::string{key} + "]]";
        if (!node->is_array()) complain(*node, key, expected);
        for (const toml::node& item : *node->as_array()) {
            if (!item.is_table()) complain(item, key, expected);
            found.push_back(item.as_table());
        }
        return found;
    }

    /// Call when every known key has been asked for.
    void reject_unknown_keys() const {
        for (const auto& [key, node] : table_) {
            if (std::ranges::find(known_, key.str()) != known_.end()) continue;
            throw SettingsError(at(key.source().begin.line) + "found the unknown key " + in_quotes(key.str()) +
                                (heading_.empty() ? "" : " in " + heading_) + ", expected " +
                                expected_names(key.str(), known_));
        }
    }

private:
    const toml::node* find(std::string_view key) {
        known_.emplace_back(key);
        return table_.get(key);
    }

    template <class N, class Accepts>
    void integer(std::string_view key, N& value, const std::string& expected, Accepts accepts) {
        if (const toml::node* node = find(key)) {
            const auto* found = node->as_integer();
            if (found == nullptr || found->get() < 0 || !accepts(static_cast<uint64_t>(found->get())))
                complain(*node, key, expected);
            value = static_cast<N>(found->get());
        }
    }

    template <class T>
    T read(const toml::node& node, std::string_view key, const Notation<T>& notation) const {
        const auto* string = node.as_string();
        auto value = string == nullptr ? std::nullopt : notation.read(string->get());
        if (!value) complain(node, key, notation.expected);
        return *std::move(value);
    }

    [[noreturn]] void complain(const toml::node& node, std::string_view key, const std::string& expected) const {
        throw SettingsError(at(node.source().begin.line) + "found " + describe_node(node) + " for " + prefix_ +
                            std::string{key} + ", expected " + expected);
    }

    std::string at(uint32_t line) const { return Source{source_.file, line}.to_string() + ": "; }

    const toml::table& table_;
    Source source_;
    std::string heading_;
    std::string prefix_;
    std::vector<std::string> known_;
};

template <class T>
void read_table(const toml::table* table, const std::string& file, const std::string& heading, T& value) {
    if (table == nullptr) return;
    Reader reader{*table, Source{file, table->source().begin.line}, heading};
    describe(reader, value);
    reader.reject_unknown_keys();
}

template <class T>
std::vector<T> read_tables(const std::vector<const toml::table*>& tables, const std::string& file,
                           const std::string& heading) {
    std::vector<T> values;
    for (const toml::table* table : tables) {
        T value;
        value.source = Source{file, table->source().begin.line};
        read_table(table, file, heading, value);
        values.push_back(std::move(value));
    }
    return values;
}

void read_tcp(const toml::table* table, const std::string& file, Settings& settings) {
    settings.tcp_source = Source{file, table == nullptr ? 1 : table->source().begin.line};
    if (table == nullptr) return;
    Reader reader{*table, settings.tcp_source, "[tcp]"};
    describe(reader, settings.tcp);
    read_table(reader.table("capacity"), file, "[tcp.capacity]", settings.tcp.capacity);
    reader.reject_unknown_keys();
}

/// Damage on purpose has to be asked for twice: a key that was left behind by a test must not reach production
/// unseen.
void read_test(const toml::table* table, const std::string& file, Settings& settings) {
    if (table == nullptr) return;
    Reader reader{*table, Source{file, table->source().begin.line}, "[test]"};
    describe(reader, settings.test);
    read_table(reader.table("receive"), file, "[test.receive]", settings.test.receive);
    read_table(reader.table("send"), file, "[test.send]", settings.test.send);
    reader.reject_unknown_keys();
    if (settings.test.enabled) return;
    for (const auto& [key, node] : *table) {
        if (key.str() == "enabled") continue;
        throw SettingsError(Source{file, node.source().begin.line}.to_string() + ": found test." +
                            std::string{key.str()} +
                            " without test.enabled = true, expected both or neither: what stands in [test] damages "
                            "packets on purpose");
    }
}

/// What the file leaves open but follows from what it says.
void complete(Settings& settings, const std::string& file) {
    for (Listen& listen : settings.listens)
        if (listen.address.is_unspecified()) listen.address = {};
    const std::filesystem::path folder = std::filesystem::absolute(file).parent_path();
    std::string& secret = settings.security.cookie_secret_file;
    if (!secret.empty()) secret = (folder / secret).lexically_normal().string();
    for (Route& route : settings.routes) {
        if (route.file) route.file = (folder / *route.file).lexically_normal().string();
        if (route.content_type.empty())
            route.content_type = route.body ? "text/plain; charset=utf-8" : "application/octet-stream";
    }
}

}  // namespace

Settings load_text(std::string_view document, const std::string& name) {
    toml::table root;
    try {
        root = toml::parse(document, name);
    } catch (const toml::parse_error& error) {
        throw SettingsError(Source{name, error.source().begin.line}.to_string() + ": found no valid TOML (" +
                            std::string{error.description()} + "), expected a TOML document");
    }
    Settings settings;
    Reader reader{root, Source{name, 1}, ""};
    read_table(reader.table("eal"), name, "[eal]", settings.eal);
    read_table(reader.table("engine"), name, "[engine]", settings.engine);
    settings.ports = read_tables<Port>(reader.tables("port"), name, "[[port]]");
    settings.listens = read_tables<Listen>(reader.tables("listen"), name, "[[listen]]");
    settings.filters = read_tables<Filter>(reader.tables("filter"), name, "[[filter]]");
    read_tcp(reader.table("tcp"), name, settings);
    read_table(reader.table("security"), name, "[security]", settings.security);
    read_table(reader.table("http"), name, "[http]", settings.http);
    settings.routes = read_tables<Route>(reader.tables("route"), name, "[[route]]");
    read_test(reader.table("test"), name, settings);
    reader.reject_unknown_keys();
    complete(settings, name);
    check(settings, name);
    return settings;
}

Settings load_file(const std::string& path) {
    std::ifstream in{path, std::ios::binary};
    std::ostringstream text;
    if (!in || std::filesystem::is_directory(path) || !(text << in.rdbuf())) {
        const std::string reason = std::filesystem::is_directory(path) ? "it is a directory"
                                   : !in && errno != 0                 ? std::strerror(errno)
                                                                       : "it is empty";
        throw SettingsError(path + ":0: found no readable file (" + reason + "), expected settings in TOML");
    }
    return load_text(text.str(), path);
}

}  // namespace pollux::config
