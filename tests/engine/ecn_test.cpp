// The ECN field on the wire: what routers have written there reaches the stack, and what the stack says is in the
// frame, beside the DSCP, in both families.
#include <gtest/gtest.h>

#include "tests/engine/rig.hpp"

namespace pollux::testing {
namespace {

using tcp::Ecn;

class BothFamilies : public MemoryWire {
public:
    using MemoryWire::MemoryWire;
    engine::Interface interface() const {
        engine::Interface made = test_interface();
        made.networks_v6 = {{our_v6, 64}};
        made.detects_duplicates = false;
        return made;
    }
};

tcp::StackSettings with_dscp() {
    tcp::StackSettings settings = small_stack();
    settings.dscp = 46;
    return settings;
}

class EcnOnTheWire : public ::testing::TestWithParam<bool> {  // over IPv6?
protected:
    Bytes frame_of(Flags flags, std::string_view payload = {}, Ecn ecn = Ecn::not_ect) const {
        Segment segment;
        segment.flow = {GetParam() ? peer_v6 : tcp::IpAddress::from_v4(peer_v4),
                        GetParam() ? our_v6 : tcp::IpAddress::from_v4(our_v4), 40'000, 80};
        segment.seq = seq_;
        segment.ack = ack_;
        segment.flags = flags;
        segment.window = 65'535;
        segment.payload = as_bytes(payload);
        segment.ecn = ecn;
        segment.traffic_class = 10;
        return tcp_frame(segment);
    }
    /// As a router does it: ECT becomes CE; the checksum over an IPv4 header follows, TCP's does not cover the field.
    Bytes marked(Bytes frame) const {
        frame[15] |= GetParam() ? std::byte{0x30} : std::byte{0x03};
        if (!GetParam()) fix_ip_checksum(frame);
        return frame;
    }
    /// Type of service or traffic class.
    unsigned class_of(const Bytes& frame) const {
        const auto word = tcp::wire::load_be16(frame.data() + 14);
        return (GetParam() ? word >> 4 : word) & 0xffu;
    }
    /// Sends `payload` and returns the one frame that answers it.
    Bytes exchange(const Bytes& frame) {
        auto frames = rig_.exchange(frame);
        EXPECT_EQ(frames.size(), 1u);
        return frames.empty() ? Bytes{} : frames[0];
    }
    void open() {
        const Segment syn_ack = read_segment(exchange(frame_of(Flags::syn | Flags::ece | Flags::cwr)));
        EXPECT_EQ(syn_ack.flags, Flags::syn | Flags::ack | Flags::ece);
        seq_ = seq_ + 1;
        ack_ = syn_ack.seq + 1;
        EXPECT_TRUE(rig_.exchange(frame_of(Flags::ack)).empty());
    }

    static constexpr unsigned dscp = 46 << 2;
    Rig<BothFamilies> rig_{with_dscp()};
    tcp::SeqNum seq_{0xffff'ffe0}, ack_{0};
};

TEST_P(EcnOnTheWire, AMarkIsReadAndAnsweredAndNewDataIsEct) {
    RecordProperty("row", "M1 M2 M3");
    open();
    const Bytes asked = marked(frame_of(Flags::ack | Flags::psh, request, Ecn::ect0));
    const Bytes answer = exchange(asked);
    EXPECT_EQ(rig_.count(tcp::Tally::ce_received), 1u);
    const Segment said = read_segment(answer);  // checks both checksums
    EXPECT_EQ(as_text(said.payload), CannedApp::answer);
    EXPECT_TRUE(said.has(Flags::ece));
    EXPECT_EQ(said.ecn, Ecn::ect0);
    EXPECT_EQ(class_of(answer), dscp | 2);

    seq_ = seq_ + static_cast<uint32_t>(request.size());
    ack_ = said.seq + said.seq_length();
    const Bytes next = exchange(frame_of(Flags::ack | Flags::psh | Flags::ece | Flags::cwr, request, Ecn::ect0));
    EXPECT_EQ(read_segment(next).flags, Flags::ack | Flags::psh | Flags::cwr);
    EXPECT_EQ(class_of(next), dscp | 2);
    EXPECT_EQ(rig_.count(tcp::Tally::ecn_reductions), 1u);

    rig_.time_passes(2s);
    const auto repeated = rig_.take_frames();
    ASSERT_FALSE(repeated.empty());
    EXPECT_EQ(class_of(repeated[0]), dscp) << "a retransmission is not ECT";
}

TEST_P(EcnOnTheWire, SynAcksAndResetsAreNotEct) {
    RecordProperty("row", "M2");
    EXPECT_EQ(class_of(exchange(marked(frame_of(Flags::syn | Flags::ece | Flags::cwr)))), dscp);
    seq_ = seq_ + 1;  // and what it acknowledges was never sent
    const Bytes refusal = exchange(marked(frame_of(Flags::ack)));
    EXPECT_TRUE(read_segment(refusal).has(Flags::rst));
    EXPECT_EQ(class_of(refusal), dscp);
}

INSTANTIATE_TEST_SUITE_P(Families, EcnOnTheWire, ::testing::Bool(),
                         [](const auto& family) { return std::string{family.param ? "IPv6" : "IPv4"}; });

}  // namespace
}  // namespace pollux::testing
