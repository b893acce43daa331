// The one notation that failures, traces and scripts share, and the length of a segment in sequence numbers.
#include "tcp/segment.hpp"

#include <gtest/gtest.h>

#include <array>
#include <sstream>

namespace pollux::tcp {
namespace {

TEST(Segment, PrintsFlagsInOneOrder) {
    EXPECT_EQ(to_string(Flags::none), "none");
    EXPECT_EQ(to_string(Flags::ack), ".");
    EXPECT_EQ(to_string(Flags::ack | Flags::syn), "S.");
    EXPECT_EQ(to_string(Flags::psh | Flags::ack), "P.");
    EXPECT_EQ(to_string(Flags::fin), "F");
    EXPECT_EQ(to_string(Flags::rst), "R");
    EXPECT_EQ(to_string(Flags{0xff}), "FSRP.UEW");
}

TEST(Segment, PrintsWhatItCarries) {
    Segment segment{.seq = SeqNum{0}, .ack = SeqNum{1}, .window = 65535};
    segment.flags = Flags::syn | Flags::ack;
    EXPECT_EQ(to_string(segment), "[S.] seq 0 ack 1 win 65535 len 0");
    segment.present = Present::mss | Present::window_scale;
    segment.mss = 1460;
    segment.window_scale = 7;
    EXPECT_EQ(to_string(segment), "[S.] seq 0 ack 1 win 65535 len 0 <mss 1460,ws 7>");
}

TEST(Segment, PrintsSackAndTimestampsAndTheEcnMark) {
    const std::array<std::byte, 3> payload{};
    Segment segment{.seq = SeqNum{7}, .ack = SeqNum{0xffff'fff0}, .window = 512};
    segment.flags = Flags::ack;
    segment.present = Present::timestamps | Present::sack_permitted;
    segment.timestamps = {5, 9};
    segment.sack_blocks = {SackBlock{SeqNum{0xffff'fff8}, SeqNum{2}}, SackBlock{SeqNum{10}, SeqNum{20}}};
    segment.sack_count = 2;
    segment.payload = payload;
    segment.ecn = Ecn::ce;
    std::ostringstream out;
    out << segment;
    EXPECT_EQ(out.str(), "[.] seq 7 ack 4294967280 win 512 len 3 ce <sackOK,ts 5:9,sack 4294967288:2 10:20>");
}

TEST(Segment, AnAcknowledgmentWithoutItsBitIsNotPrinted) {
    Segment segment{.seq = SeqNum{7}, .ack = SeqNum{8}};
    segment.flags = Flags::rst;
    EXPECT_EQ(to_string(segment), "[R] seq 7 win 0 len 0");
}

TEST(Segment, SynAndFinOccupyOneNumberEach) {
    const std::array<std::byte, 10> payload{};
    Segment segment;
    EXPECT_EQ(segment.seq_length(), 0u);
    segment.payload = payload;
    EXPECT_EQ(segment.seq_length(), 10u);
    segment.flags = Flags::syn | Flags::ack | Flags::psh | Flags::rst;
    EXPECT_EQ(segment.seq_length(), 11u);
    segment.flags |= Flags::fin;
    EXPECT_EQ(segment.seq_length(), 12u);
    EXPECT_EQ(segment.seq_length(0), 2u);
}

TEST(FourTuple, PrintsOurSideFirst) {
    const FourTuple flow{IpAddress::from_v4(0xc000'0201), IpAddress::from_v4(0xc000'0202), 80, 40000};
    EXPECT_EQ(flow.to_string(), "192.0.2.1:80 <- 192.0.2.2:40000");
}

}  // namespace
}  // namespace pollux::tcp
