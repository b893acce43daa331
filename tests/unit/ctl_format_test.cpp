// What pollux-ctl prints for people, and how ends and states are written in its filters.
#include "apps/ctl/format.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "engine/conn_filter.hpp"

namespace pollux::testing {
namespace {

using ctl::Json;
using engine::ConnFilter;
using engine::EndFilter;
using tcp::IpAddress;
using tcp::State;

IpAddress address(const char* text) { return *IpAddress::parse(text); }

// ---- Filters. -----------------------------------------------------------------------------------------------------

TEST(ConnFilter, AnEndIsAnAddressANetworkAPortOrSeveralOfThem) {
    struct Row {
        const char *text, *inside, *outside;
        uint16_t port, other_port;  // 0: any
    };
    for (const Row& row :
         {Row{"192.0.2.1", "192.0.2.1", "192.0.2.2", 0, 0}, Row{"192.0.2.0/24", "192.0.2.77", "192.0.3.77", 0, 0},
          Row{"192.0.2.1:80", "192.0.2.1", "192.0.2.2", 80, 81},
          Row{"192.0.2.0/24:80", "192.0.2.9", "192.0.3.9", 80, 81},
          Row{"2001:db8::1", "2001:db8::1", "2001:db8::2", 0, 0},
          Row{"2001:db8::/32", "2001:db8:5::2", "2001:db9::2", 0, 0},
          Row{"[2001:db8::1]:80", "2001:db8::1", "2001:db8::2", 80, 81},
          Row{"[2001:db8::]/32:80", "2001:db8:7::1", "2001:db7::1", 80, 81},
          Row{"0.0.0.0/0", "203.0.113.9", "2001:db8::1", 0, 0}}) {
        const auto filter = EndFilter::parse(row.text);
        ASSERT_TRUE(filter.has_value()) << row.text;
        const uint16_t port = row.port == 0 ? uint16_t{4711} : row.port;
        EXPECT_TRUE(filter->matches(address(row.inside), port)) << row.text;
        EXPECT_FALSE(filter->matches(address(row.outside), port)) << row.text;
        if (row.other_port != 0) {
            EXPECT_FALSE(filter->matches(address(row.inside), row.other_port)) << row.text;
        }
    }
    for (const char* text : {"*:80", ":80"}) {
        const auto filter = EndFilter::parse(text);
        ASSERT_TRUE(filter.has_value()) << text;
        EXPECT_TRUE(filter->matches(address("2001:db8::1"), 80));
        EXPECT_FALSE(filter->matches(address("2001:db8::1"), 8080));
    }
}

TEST(ConnFilter, WhatIsNoEndIsRefused) {
    for (const char* text : {"", "*", "192.0.2", "192.0.2.1/33", "192.0.2.1/", "192.0.2.1:", "192.0.2.1:65536",
                             "192.0.2.1:80x", "192.0.2.1:-1", "[192.0.2.1]:80", "[2001:db8::1", "[2001:db8::1]80",
                             "2001:db8::/129", "*/8", "localhost:80", "192.0.2.1 "}) {
        EXPECT_FALSE(EndFilter::parse(text).has_value()) << text;
    }
}

TEST(ConnFilter, StatesAreNamedAsTheRfcNamesThemInLowerCase) {
    EXPECT_EQ(engine::states_named("syn-received"), State::syn_received);
    EXPECT_EQ(engine::states_named("fin-wait-2"), State::fin_wait_2);
    EXPECT_EQ(engine::states_named("time-wait"), State::time_wait);
    EXPECT_FALSE(engine::states_named("ESTABLISHED").has_value());
    EXPECT_FALSE(engine::states_named("fin_wait_2").has_value());
    const State synchronized =
        *engine::states_named("synchronized");  // RFC 9293 section 3.5.1: all from ESTABLISHED on
    EXPECT_TRUE(tcp::in(State::established, synchronized) && tcp::in(State::last_ack, synchronized));
    EXPECT_FALSE(tcp::in(State::syn_received, synchronized) || tcp::in(State::syn_sent, synchronized));
}

TEST(ConnFilter, AllPartsMustMatchAndAPortMayBeOfEitherEnd) {
    const tcp::FourTuple flow{address("192.0.2.1"), address("198.51.100.7"), 80, 40'000};
    ConnFilter filter;
    EXPECT_TRUE(filter.matches(State::established, flow));
    filter.states = State::established | State::close_wait;
    EXPECT_TRUE(filter.matches(State::close_wait, flow));
    EXPECT_FALSE(filter.matches(State::time_wait, flow));
    filter.port = 40'000;
    EXPECT_TRUE(filter.matches(State::established, flow));
    filter.port = 80;
    EXPECT_TRUE(filter.matches(State::established, flow));
    filter.port = 81;
    EXPECT_FALSE(filter.matches(State::established, flow));
    filter.port = 80;
    filter.peer = *EndFilter::parse("198.51.100.0/24");
    filter.local = *EndFilter::parse("192.0.2.1:80");
    EXPECT_TRUE(filter.matches(State::established, flow));
    filter.local = *EndFilter::parse("192.0.2.1:40000");
    EXPECT_FALSE(filter.matches(State::established, flow)) << "the port of the other end";
}

// ---- Text.
// ----------------------------------------------------------------------------------------------------------

std::vector<Json> counters() {
    const auto row = [](const char* name, int first, int second) {
        return Json{{"row", "counter"},
                    {"name", name},
                    {"sentence", std::string{"what "} + name + " is"},
                    {"total", first + second},
                    {"workers", {first, second}}};
    };
    return {row("delivered", 900, 1'100), row("land", 0, 0), row("fin", 3, 4)};
}

TEST(CtlFormat, CountersStandWithTheirSentencesInAlignedColumns) {
    EXPECT_EQ(ctl::counters_text(counters(), false, false),
              "Total  Name       What it counts\n"
              " 2000  delivered  what delivered is\n"
              "    7  fin        what fin is\n");
}

TEST(CtlFormat, PerCoreAddsAColumnForEachWorkerAndAllAddsTheZeros) {
    EXPECT_EQ(ctl::counters_text(counters(), true, true),
              "Total  Worker 0  Worker 1  Name       What it counts\n"
              " 2000       900      1100  delivered  what delivered is\n"
              "    0         0         0  land       what land is\n"
              "    7         3         4  fin        what fin is\n");
}

TEST(CtlFormat, AConnectionIsTwoLinesWithUnits) {
    const Json row{{"row", "conn"},
                   {"worker", 1},
                   {"state", "established"},
                   {"local", "192.0.2.1:80"},
                   {"peer", "192.0.2.2:40000"},
                   {"unread", 5},
                   {"queued", 118},
                   {"in_flight", 118},
                   {"rto_us", 201'500},
                   {"srtt_us", 350},
                   {"rttvar_us", 1'200},
                   {"mss", 1'448},
                   {"cwnd", 14'480},
                   {"ssthresh", nullptr},
                   {"snd_wnd", 64'256},
                   {"rcv_wnd", 262'144},
                   {"snd_scale", 7},
                   {"rcv_scale", 3},
                   {"timer", "retransmission"},
                   {"timer_left_ms", 180},
                   {"ack_left_ms", nullptr},
                   {"timestamps", true},
                   {"sack", false},
                   {"backoff", 0}};
    EXPECT_EQ(ctl::connection_text(row),
              "established         5      118  192.0.2.1:80             192.0.2.2:40000\n"
              "\tworker:1 rto:201.5ms rtt:350us/1.2ms mss:1448 cwnd:14480 snd_wnd:64256 rcv_wnd:262144 wscale:7,3 "
              "in_flight:118 timer:(retransmission,180ms) timestamps\n");
    EXPECT_EQ(ctl::connection_heading(), "State          Unread   Queued  Local                    Peer\n");
}

TEST(CtlFormat, AHalfOpenRecordTellsItsAgeAndRepetitions) {
    const Json row{{"row", "conn"},         {"worker", 0},       {"state", "syn-received"}, {"local", "192.0.2.1:80"},
                   {"peer", "192.0.2.9:1"}, {"age_ms", 1'300},   {"timer", "syn-ack"},      {"timer_left_ms", 1'700},
                   {"retransmissions", 1},  {"peer_mss", 1'460}, {"snd_scale", nullptr},    {"timestamps", false}};
    EXPECT_EQ(ctl::connection_text(row),
              "syn-received        -        -  192.0.2.1:80             192.0.2.9:1\n"
              "\tworker:0 age:1.3s retransmissions:1 peer_mss:1460 timer:(syn-ack,1.7s)\n");
}

TEST(CtlFormat, TheSummaryEndsWithTheSum) {
    const std::vector<Json> rows{{{"row", "state"}, {"state", "established"}, {"count", 64}},
                                 {{"row", "state"}, {"state", "time-wait"}, {"count", 1'000}}};
    EXPECT_EQ(ctl::states_text(rows),
              "State        Connections\n"
              "established           64\n"
              "time-wait           1000\n"
              "total               1064\n");
}

TEST(CtlFormat, PoolsTellHowFullTheyAre) {
    const std::vector<Json> rows{
        {{"row", "pool"}, {"worker", 0}, {"name", "chunks"}, {"used", 512}, {"capacity", 16'384}},
        {{"row", "pool"}, {"worker", 0}, {"name", "pins"}, {"used", 3}, {"capacity", nullptr}}};
    EXPECT_EQ(ctl::pools_text(rows),
              "Worker  Pool    Used  Capacity  Used %\n"
              "     0  chunks   512     16384     3.1\n"
              "     0  pins       3         -       -\n");
}

TEST(CtlFormat, TimesHaveTheUnitThatFits) {
    EXPECT_EQ(ctl::time_text(0), "0us");
    EXPECT_EQ(ctl::time_text(950), "950us");
    EXPECT_EQ(ctl::time_text(12'000), "12ms");
    EXPECT_EQ(ctl::time_text(12'340), "12.3ms");
    EXPECT_EQ(ctl::time_text(4'200'000), "4.2s");
    EXPECT_EQ(ctl::time_text(-3'000), "-3ms");
    EXPECT_EQ(ctl::time_text(1'200'000'000), "20min");
}

TEST(CtlFormat, RulesStandInTheirOrderAndBehindThemWhatNoneFits) {
    EXPECT_EQ(ctl::rules_text({}), "no rules: every packet is allowed\n");
    const std::vector<Json> rows{
        Json::parse(R"({"rule":1,"action":"deny","source":"10.0.0.0/8","ports":"80","destination":null,
                        "where":"a.toml:9","hits":1200,"workers":[1200]})"),
        Json::parse(R"({"rule":null,"action":"allow","source":null,"ports":null,"destination":null,"where":null,
                        "hits":7,"workers":[7]})")};
    EXPECT_EQ(ctl::rules_text(rows),
              "Rule  Hits  Action  Source      Ports  Destination  Where\n"
              "   1  1200  deny    10.0.0.0/8  80     -            a.toml:9\n"
              "   -     7  allow   -           -      -            what no rule fits\n");
    EXPECT_EQ(ctl::sentences_text(std::vector{Json::parse(R"({"sentence":"2 rules"})")}), "2 rules\n");
}

}  // namespace
}  // namespace pollux::testing
