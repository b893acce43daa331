// By the lists of keys.hpp, so that no key can be forgotten.
#include "config/changes.hpp"

#include <utility>
#include <vector>

#include "config/keys.hpp"

namespace pollux::config {
namespace {

/// Every key of one table with its value in words.
class Values {
public:
    void flag(std::string_view key, bool value) { add(key, value ? "true" : "false"); }
    template <class N>
    void count(std::string_view key, N value, uint64_t, uint64_t) {
        add(key, std::to_string(value));
    }
    template <class N>
    void count_or_zero(std::string_view key, N value, uint64_t, uint64_t) {
        add(key, std::to_string(value));
    }
    template <class T>
    void text(std::string_view key, const T& value, const Notation<T>& notation) {
        add(key, notation.write(value));
    }
    template <class T>
    void text(std::string_view key, const std::optional<T>& value, const Notation<T>& notation) {
        add(key, value ? notation.write(*value) : "");
    }
    template <class T>
    void texts(std::string_view key, const std::vector<T>& values, const Notation<T>& notation) {
        std::string all;
        for (const T& value : values) all += in_quotes(notation.write(value));
        add(key, all);
    }
    const std::vector<std::pair<std::string, std::string>>& all() const { return all_; }

private:
    void add(std::string_view key, std::string value) { all_.emplace_back(key, std::move(value)); }
    std::vector<std::pair<std::string, std::string>> all_;
};

void add(std::string& list, const std::string& name) { list += (list.empty() ? "" : ", ") + name; }

template <class T>
void compare(std::string& list, const std::string& prefix, T before, T now) {
    Values old_values, new_values;
    describe(old_values, before);
    describe(new_values, now);
    for (size_t i = 0; i < old_values.all().size(); ++i) {
        if (old_values.all()[i] != new_values.all()[i]) add(list, prefix + old_values.all()[i].first);
    }
}

}  // namespace

std::string changes_for_a_restart(const Settings& before, const Settings& now) {
    std::string list;
    compare(list, "eal.", before.eal, now.eal);
    compare(list, "engine.", before.engine, now.engine);
    if (before.ports != now.ports) add(list, "[[port]]");
    if (before.listens != now.listens) add(list, "[[listen]]");
    compare(list, "tcp.", before.tcp, now.tcp);
    compare(list, "tcp.capacity.", before.tcp.capacity, now.tcp.capacity);
    compare(list, "security.", before.security, now.security);
    compare(list, "http.", before.http, now.http);
    if (before.routes != now.routes) add(list, "[[route]]");
    if (before.test != now.test) add(list, "[test]");
    return list;
}

}  // namespace pollux::config
