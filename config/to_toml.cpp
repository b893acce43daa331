// Settings to TOML: the printing half of load.hpp, by the lists of keys.hpp.
#include <string>

#include "config/keys.hpp"
#include "config/load.hpp"

namespace pollux::config {
namespace {

class Writer {
public:
    explicit Writer(std::string& out) : out_(out) {}

    void flag(std::string_view key, bool value) { line(key, value ? "true" : "false"); }
    template <class N>
    void count(std::string_view key, N value, uint64_t, uint64_t) {
        line(key, std::to_string(value));
    }
    template <class N>
    void count_or_zero(std::string_view key, N value, uint64_t, uint64_t) {
        line(key, std::to_string(value));
    }
    template <class T>
    void text(std::string_view key, const T& value, const Notation<T>& notation) {
        const std::string written = notation.write(value);
        if (!written.empty()) line(key, in_quotes(written));
    }
    void text(std::string_view key, const tcp::IpAddress& value, const Notation<tcp::IpAddress>& notation) {
        if (!value.is_unspecified()) line(key, in_quotes(notation.write(value)));
    }
    template <class T>
    void text(std::string_view key, const std::optional<T>& value, const Notation<T>& notation) {
        if (value) line(key, in_quotes(notation.write(*value)));
    }
    template <class T>
    void texts(std::string_view key, const std::vector<T>& values, const Notation<T>& notation) {
        std::string list;
        for (const T& value : values) list += (list.empty() ? "" : ", ") + in_quotes(notation.write(value));
        line(key, "[" + list + "]");
    }

private:
    void line(std::string_view key, std::string_view value) {
        out_.append(key).append(" = ").append(value).append("\n");
    }
    std::string& out_;
};

template <class T>
void write(std::string& out, std::string_view heading, T part) {
    out.append(out.empty() ? "" : "\n").append(heading).append("\n");
    Writer writer{out};
    describe(writer, part);
}

}  // namespace

std::string to_toml(const Settings& settings) {
    std::string out;
    write(out, "[eal]", settings.eal);
    write(out, "[engine]", settings.engine);
    for (const Port& port : settings.ports) write(out, "[[port]]", port);
    for (const Listen& listen : settings.listens) write(out, "[[listen]]", listen);
    for (const Filter& filter : settings.filters) write(out, "[[filter]]", filter);
    write(out, "[tcp]", settings.tcp);
    write(out, "[tcp.capacity]", settings.tcp.capacity);
    write(out, "[security]", settings.security);
    write(out, "[http]", settings.http);
    for (const Route& route : settings.routes) write(out, "[[route]]", route);
    if (settings.test.enabled) {  // otherwise there is nothing to say, and nothing may be said
        write(out, "[test]", settings.test);
        write(out, "[test.receive]", settings.test.receive);
        write(out, "[test.send]", settings.test.send);
    }
    return out;
}

}  // namespace pollux::config
