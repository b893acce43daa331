// What the simulator found where the device takes nothing for a while, as the smallest exchange that shows it. The
// conversations have a device that takes everything, so the stack is driven by hand here.
#include <gtest/gtest.h>

#include "tcp/stack.hpp"
#include "tests/simulation/few_of_each.hpp"
#include "tests/simulation/scenario.hpp"

namespace pollux::simulation {
namespace {

using namespace tcp;

// A closed window is probed with the last byte and the FIN. The second probe is due while the ring is full; before
// there is room again, the peer acknowledges both.
TEST(FullRing, AProbeThatHadToWaitDoesNotRepeatAnAcknowledgedFin) {
    StackSettings settings;
    settings.timestamps = false;
    settings.capacity = few_of_each;
    Counters counters;
    Stack stack(settings, Secrets{}, counters);
    TxBatch out;
    Instant now{1s};
    const Endpoint local{IpAddress::from_v4(0xc000'0201), 80};
    ASSERT_TRUE(stack.listen(local));

    Segment s;
    s.flow = {local.address, IpAddress::from_v4(0xc000'0202), local.port, 40'000};
    s.flags = Flags::syn;
    s.seq = SeqNum{1'000};
    stack.input(s, now, out);
    stack.transmit(now, out);
    ASSERT_EQ(out.size(), 1u);
    const SeqNum iss = out.segments()[0].segment.seq;
    s.flags = Flags::ack;
    s.seq = SeqNum{1'001};
    s.ack = iss + 1;  // and a window of 0
    out.reset();
    stack.input(s, now, out);
    const ConnId conn = stack.find_conn(s.flow);
    const std::array<std::byte, 1> byte{};
    ASSERT_TRUE(stack.send_copy(conn, byte));
    stack.shutdown(conn, now);
    stack.transmit(now, out);
    ASSERT_EQ(out.size(), 0u) << "the window is closed";

    // Until a timer has something to send.
    const auto waits = [&](uint32_t room) {
        do {
            now = std::max(stack.next_due(now).value_or(now + 1h), now + 1ms);
            stack.advance_timers(now, 64);
            out.reset(room);
            stack.transmit(now, out);
        } while (out.empty() && !stack.has_work() && now < Instant{1h});
    };
    waits(64);
    ASSERT_EQ(out.size(), 1u);
    EXPECT_TRUE(out.segments()[0].segment.has(Flags::fin));
    waits(0);
    EXPECT_TRUE(stack.has_work());
    s.ack = iss + 3;
    out.reset();
    stack.input(s, now, out);
    stack.transmit(now, out);
    EXPECT_EQ(out.size(), 0u);
    EXPECT_EQ(stack.state_of(s.flow), State::fin_wait_2);
}

}  // namespace
}  // namespace pollux::simulation
