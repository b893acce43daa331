// What went over the wire in one test, kept until its end. A failing conversation leaves two files, named after the
// test, in $POLLUX_TEST_ARTIFACTS or the directory for temporary files:
//
//     SUITE.TEST.txt    a ladder for people: time, direction, segment
//     SUITE.TEST.pcap   (SUITE.TEST-ipv6 over IPv6) the packets, for Wireshark (raw IP of either family)
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tcp/time.hpp"

namespace pollux::test {

using Packet = std::vector<std::byte>;

enum class Direction : uint8_t { to_host, to_peer };

class PacketLog {
public:
    /// `text` is what the ladder shows.
    void add(tcp::Instant at, Direction direction, const Packet& packet, std::string text);
    /// Something that happened without a packet: "application closes".
    void note(tcp::Instant at, std::string text);

    size_t size() const { return entries_.size(); }
    std::string ladder() const;
    void write_pcap(const std::filesystem::path& path) const;

    /// Writes both files for the running test and says where they are.
    std::string write_files() const;
    /// For TearDown: writes the files if the running test has failed, and prints where they are.
    void write_files_if_test_failed() const;

private:
    struct Entry {
        tcp::Instant at;
        Direction direction = Direction::to_host;
        bool is_note = false;
        Packet packet;
        std::string text;
    };
    static constexpr size_t most = 50'000;  // a runaway test must not eat the machine
    std::vector<Entry> entries_;
};

}  // namespace pollux::test
