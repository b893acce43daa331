#include "tests/support/packet_log.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>

#include "tests/support/family.hpp"

namespace pollux::test {
namespace {

std::string file_stem() {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    std::string stem = info == nullptr ? "test" : std::string(info->test_suite_name()) + "." + info->name();
    if (over_ipv6()) stem += "-ipv6";  // another program may run the same test at the same time
    for (char& c : stem) {
        if (c == '/' || c == ' ') c = '_';
    }
    return stem;
}

std::filesystem::path artifact_directory() {
    const char* wanted = std::getenv("POLLUX_TEST_ARTIFACTS");
    if (wanted == nullptr || *wanted == '\0') return std::filesystem::temp_directory_path();
    std::filesystem::create_directories(wanted);
    return wanted;
}

void put(std::ofstream& out, uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out.put(static_cast<char>(value >> 8 * i));
}

}  // namespace

void PacketLog::add(tcp::Instant at, Direction direction, const Packet& packet, std::string text) {
    if (entries_.size() < most) entries_.push_back({at, direction, false, packet, std::move(text)});
}

void PacketLog::note(tcp::Instant at, std::string text) {
    if (entries_.size() < most) entries_.push_back({at, Direction::to_host, true, {}, std::move(text)});
}

std::string PacketLog::ladder() const {
    std::string text = "      seconds   Pollux                                                      peer\n";
    if (entries_.empty()) return text;
    const tcp::Instant start = entries_.front().at;
    for (const Entry& entry : entries_) {
        char time[32];
        std::snprintf(time, sizeof time, "%13.6f   ", static_cast<double>((entry.at - start).count()) / 1e6);
        text += time;
        if (entry.is_note) {
            text += "( " + entry.text + " )\n";
        } else if (entry.direction == Direction::to_peer) {
            text += "|-- " + entry.text + " -->\n";
        } else {
            text += "                                <-- " + entry.text + " --|\n";
        }
    }
    return text;
}

void PacketLog::write_pcap(const std::filesystem::path& path) const {
    constexpr uint32_t magic = 0xa1b2'c3d4, link_type_raw = 101, longest = 65'535;
    std::ofstream out(path, std::ios::binary);
    put(out, magic, 4);
    put(out, 2, 2);
    put(out, 4, 2);
    put(out, 0, 4);
    put(out, 0, 4);
    put(out, longest, 4);
    put(out, link_type_raw, 4);
    for (const Entry& entry : entries_) {
        if (entry.is_note) continue;
        const auto us = static_cast<uint64_t>(entry.at.time_since_epoch().count());
        const auto size = static_cast<uint32_t>(entry.packet.size());
        put(out, static_cast<uint32_t>(us / 1'000'000), 4);
        put(out, static_cast<uint32_t>(us % 1'000'000), 4);
        put(out, size, 4);
        put(out, size, 4);
        out.write(reinterpret_cast<const char*>(entry.packet.data()), static_cast<std::streamsize>(size));
    }
}

std::string PacketLog::write_files() const {
    const std::filesystem::path stem = artifact_directory() / file_stem();
    std::ofstream(stem.string() + ".txt") << ladder();
    write_pcap(stem.string() + ".pcap");
    return stem.string() + ".txt and .pcap";
}

void PacketLog::write_files_if_test_failed() const {
    if (!testing::Test::HasFailure()) return;
    std::string drawn = ladder();
    constexpr size_t most_shown = 4'000;
    if (drawn.size() > most_shown) drawn = "(the end of it)\n" + drawn.substr(drawn.size() - most_shown);
    std::cout << drawn << "the conversation: " << write_files() << "\n";
}

}  // namespace pollux::test
