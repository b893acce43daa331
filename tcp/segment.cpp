// The one notation for segments: failures, traces and scripts share it.
#include "tcp/segment.hpp"

#include <ostream>
#include <string_view>
#include <utility>

namespace pollux::tcp {
namespace {

std::string options_to_string(const Segment& segment) {
    std::string text;
    const auto add = [&text](const std::string& option) {
        text += text.empty() ? "" : ",";
        text += option;
    };
    if (segment.has(Present::mss)) add("mss " + std::to_string(segment.mss));
    if (segment.has(Present::window_scale)) add("ws " + std::to_string(segment.window_scale));
    if (segment.has(Present::sack_permitted)) add("sackOK");
    if (segment.has(Present::timestamps)) {
        add("ts " + std::to_string(segment.timestamps.value) + ":" + std::to_string(segment.timestamps.echo));
    }
    std::string blocks;
    for (const SackBlock& block : segment.sack()) {
        blocks += " " + std::to_string(block.first.raw()) + ":" + std::to_string(block.end.raw());
    }
    if (!blocks.empty()) add("sack" + blocks);
    return text;
}

}  // namespace

std::string FourTuple::to_string() const {
    return Endpoint{local_addr, local_port}.to_string() + " <- " + Endpoint{remote_addr, remote_port}.to_string();
}

std::string to_string(Flags flags) {
    if (!any(flags)) return "none";
    constexpr std::pair<Flags, char> letters[] = {{Flags::fin, 'F'}, {Flags::syn, 'S'}, {Flags::rst, 'R'},
                                                  {Flags::psh, 'P'}, {Flags::ack, '.'}, {Flags::urg, 'U'},
                                                  {Flags::ece, 'E'}, {Flags::cwr, 'W'}};
    std::string text;
    for (const auto& [flag, letter] : letters) {
        if (any(flags & flag)) text += letter;
    }
    return text;
}

std::string to_string(const Segment& segment) {
    std::string text = "[" + to_string(segment.flags) + "] seq " + std::to_string(segment.seq.raw());
    if (segment.has(Flags::ack)) text += " ack " + std::to_string(segment.ack.raw());
    text += " win " + std::to_string(segment.window) + " len " + std::to_string(segment.payload.size());
    constexpr std::string_view codepoints[] = {"", " ect1", " ect0", " ce"};
    text += codepoints[static_cast<size_t>(segment.ecn) & 3];
    const std::string options = options_to_string(segment);
    return options.empty() ? text : text + " <" + options + ">";
}

std::ostream& operator<<(std::ostream& out, const Segment& segment) { return out << to_string(segment); }
std::ostream& operator<<(std::ostream& out, const IpAddress& address) { return out << address.to_string(); }
std::ostream& operator<<(std::ostream& out, SeqNum seq) { return out << seq.raw(); }

}  // namespace pollux::tcp
