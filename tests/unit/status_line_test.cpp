// What an operator reads: the verdicts that rose since the line before, and all counters at the end.
#include "apps/httpd/status_line.hpp"

#include <gtest/gtest.h>

namespace pollux::httpd {
namespace {

TEST(StatusLine, NamesTheVerdictsThatRoseSinceTheLineBeforeAndNotTheExpectedOnes) {
    StatusLine line;
    tcp::Counters counters;
    counters.add(tcp::Verdict::delivered, 1'000);
    counters.add(tcp::Verdict::no_listener, 3);
    counters.add(tcp::Verdict::bad_tcp_checksum);
    const std::string first = line.next(1, false, {}, counters, {});
    EXPECT_NE(first.find("| no_listener +3, bad_tcp_checksum +1"), std::string::npos) << first;
    EXPECT_EQ(first.find("delivered"), std::string::npos) << first;
    counters.add(tcp::Verdict::no_listener, 2);
    const std::string second = line.next(2, false, {}, counters, {});
    EXPECT_NE(second.find("| no_listener +2"), std::string::npos) << second;
    EXPECT_EQ(second.find("bad_tcp_checksum"), std::string::npos) << second;
    EXPECT_EQ(line.next(3, true, {}, counters, {}).find('|'), std::string::npos);
}

TEST(StatusLine, RatesAreOfTheTimeSinceTheLineBefore) {
    StatusLine line;
    http::HttpCounters http;
    http.requests = 500;
    line.next(1, false, {}, {}, http);
    http.requests = 1'500;
    EXPECT_NE(line.next(3, false, {}, {}, http).find(" 500 requests/s"), std::string::npos);
}

TEST(StatusLine, TheSummaryGivesEveryCounterThatIsNotZeroItsSentence) {
    tcp::Counters counters;
    EXPECT_EQ(StatusLine::summary(counters), "");
    counters.add(tcp::Verdict::land, 7);
    counters.add(tcp::Tally::resets_sent, 9);
    const std::string text = StatusLine::summary(counters);
    EXPECT_NE(text.find("7  land"), std::string::npos) << text;
    EXPECT_NE(text.find("source and destination are the same"), std::string::npos) << text;
    EXPECT_NE(text.find("9  resets_sent"), std::string::npos) << text;
}

TEST(StatusLine, TheSummarySaysWhatIsStillInUseOfEachPool) {
    tcp::PoolUse pools;
    EXPECT_EQ(StatusLine::summary(pools, 1'023),
              "in use: connections 0, half-open records 0, TIME-WAIT records 0, send entries 0, chunks 0, receive "
              "stores 0, "
              "table entries 0, timers 0, pins 0, packets 1023\n");
    pools.connections = 1;
    pools.pins = 9'000'000'000;
    const std::string text = StatusLine::summary(pools, 0);
    EXPECT_NE(text.find("connections 1, "), std::string::npos) << text;
    EXPECT_NE(text.find("pins 9000000000, "), std::string::npos) << text;
}

}  // namespace
}  // namespace pollux::httpd
