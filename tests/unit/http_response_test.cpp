// Prebuilt answers: their exact bytes, the calendar, and that no byte changes while somebody refers to it.
#include "apps/http/response.hpp"

#include <gtest/gtest.h>

#include <ctime>
#include <random>
#include <set>

#include "apps/http/date.hpp"

namespace pollux::http {
namespace {

std::string text_of(const Answer& answer) {
    std::string text;
    for (const Piece& piece : answer.parts()) {
        text.append(reinterpret_cast<const char*>(piece.bytes.data()), piece.bytes.size());
    }
    return text;
}
std::string date_text(uint64_t seconds) {
    const ImfFixdate date = imf_fixdate(seconds);
    return {date.data(), date.size()};
}
const auto nothing_in_use = [](PinId) { return false; };
const auto all_in_use = [](PinId) { return true; };

std::vector<Route> routes() {
    return {{"/", "Hello world\n", "text/plain", {}},
            {"/large", std::string(10'000, 'x'), "image/png", {{"ETag", "\"1\""}}}};
}

TEST(HttpDate, KnownDays) {
    EXPECT_EQ(date_text(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    EXPECT_EQ(date_text(784111777), "Sun, 06 Nov 1994 08:49:37 GMT");
    EXPECT_EQ(date_text(951782399), "Mon, 28 Feb 2000 23:59:59 GMT");
    EXPECT_EQ(date_text(951782400), "Tue, 29 Feb 2000 00:00:00 GMT");
    EXPECT_EQ(date_text(951868800), "Wed, 01 Mar 2000 00:00:00 GMT");
    EXPECT_EQ(date_text(1704067199), "Sun, 31 Dec 2023 23:59:59 GMT");
    EXPECT_EQ(date_text(1704067200), "Mon, 01 Jan 2024 00:00:00 GMT");
    EXPECT_EQ(date_text(1709251199), "Thu, 29 Feb 2024 23:59:59 GMT");
    EXPECT_EQ(date_text(4107542400), "Mon, 01 Mar 2100 00:00:00 GMT") << "2100 is no leap year";
    EXPECT_EQ(date_text(253402300799), "Fri, 31 Dec 9999 23:59:59 GMT");
    EXPECT_EQ(date_text(~uint64_t{0}), "Fri, 31 Dec 9999 23:59:59 GMT");
}

TEST(HttpDate, AgreesWithTheLibraryAtEveryMonthAndAtRandom) {
    const auto library = [](uint64_t seconds) {
        const auto time = static_cast<std::time_t>(seconds);
        std::tm parts{};
        gmtime_r(&time, &parts);
        char text[64];
        std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
        return std::string{text};
    };
    for (uint64_t day = 0; day < 366 * 500; ++day) {
        ASSERT_EQ(date_text(day * 86'400), library(day * 86'400));
        ASSERT_EQ(date_text(day * 86'400 + 86'399), library(day * 86'400 + 86'399));
    }
    std::mt19937_64 random{7};
    for (int i = 0; i < 20'000; ++i) {
        const uint64_t seconds = random() % 253'402'300'800;
        ASSERT_EQ(date_text(seconds), library(seconds));
    }
}

TEST(HttpContent, AnswersAreExactlyThese) {
    Content content{{}, routes()};
    content.set_time(784111777);
    const std::string head =
        "HTTP/1.1 200 OK\r\nServer: pollux\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        "Content-Type: text/plain\r\nContent-Length: 12\r\n";
    const PageId page = content.find("/");
    EXPECT_EQ(text_of(content.answer(page, Persistence::keep, false, 0, nothing_in_use)), head + "\r\nHello world\n");
    EXPECT_EQ(text_of(content.answer(page, Persistence::keep_1_0, false, 0, nothing_in_use)),
              head + "Connection: keep-alive\r\n\r\nHello world\n");
    EXPECT_EQ(text_of(content.answer(page, Persistence::close, false, 0, nothing_in_use)),
              head + "Connection: close\r\n\r\nHello world\n");
    EXPECT_EQ(text_of(content.answer(page, Persistence::keep, true, 0, nothing_in_use)), head + "\r\n");
    const Answer large = content.answer(content.find("/large"), Persistence::keep, false, 0, nothing_in_use);
    EXPECT_EQ(
        text_of(large),
        "HTTP/1.1 200 OK\r\nServer: pollux\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: image/png\r\n"
        "Content-Length: 10000\r\nETag: \"1\"\r\n\r\n" +
            std::string(10'000, 'x'));
    EXPECT_EQ(large.count, 2u);
}

TEST(HttpContent, SmallAnswerIsOnePiece) {
    Content content{{}, routes()};
    EXPECT_EQ(content.answer(content.find("/"), Persistence::keep, false, 0, nothing_in_use).count, 1u);
    EXPECT_EQ(content.answer(content.page_of(404), Persistence::keep, false, 0, nothing_in_use).count, 1u);
}

TEST(HttpContent, ErrorsSayWhatTheyAreAndMostOfThemClose) {
    Content content{{}, routes()};
    for (const int status : {204, 400, 404, 405, 408, 413, 414, 417, 431, 500, 501, 503, 505}) {
        const Answer answer = content.answer(content.page_of(static_cast<uint16_t>(status)), Persistence::keep, false,
                                             0, nothing_in_use);
        const std::string text = text_of(answer);
        const bool persists = status == 404 || status == 405 || status == 204;
        EXPECT_EQ(answer.status, status);
        EXPECT_TRUE(text.starts_with("HTTP/1.1 " + std::to_string(status) + " ")) << text;
        EXPECT_EQ(answer.close_after, !persists) << status;
        EXPECT_EQ(text.find("Connection: close\r\n") != std::string::npos, !persists) << status;
        EXPECT_EQ(text.find("Allow: GET, HEAD, OPTIONS\r\n") != std::string::npos, status == 405 || status == 204);
    }
}

TEST(HttpContent, AnnouncementCountsDown) {
    ContentSettings settings;
    settings.idle_seconds = 5;
    settings.max_requests = 100;
    Content content{settings, routes()};
    const PageId page = content.find("/");
    for (const Persistence persistence : {Persistence::keep, Persistence::keep_1_0}) {
        for (const uint32_t further : {99u, 98u, 1u}) {
            const std::string text = text_of(content.answer(page, persistence, false, further, nothing_in_use));
            const std::string end =
                "Connection: keep-alive\r\nKeep-Alive: timeout=5, max=" + std::to_string(further) +
                "\r\n\r\nHello world\n";
            EXPECT_TRUE(text.ends_with(end)) << text;
        }
    }
    const std::string last = text_of(content.answer(page, Persistence::close, false, 0, nothing_in_use));
    EXPECT_EQ(last.find("Keep-Alive"), std::string::npos);
    const std::string head = text_of(content.answer(page, Persistence::keep, true, 7, nothing_in_use));
    EXPECT_TRUE(head.ends_with("max=7\r\n\r\n")) << head;
}

TEST(HttpContent, AnnouncementNamesOnlyTheLimitsThereAre) {
    ContentSettings only_time, only_number;
    only_time.idle_seconds = 7;
    only_number.max_requests = 3;
    Content a{only_time, routes()}, b{only_number, routes()};
    const std::string timed = text_of(a.answer(a.find("/"), Persistence::keep, true, 0, nothing_in_use));
    const std::string counted = text_of(b.answer(b.find("/"), Persistence::keep, true, 2, nothing_in_use));
    EXPECT_TRUE(timed.ends_with("\r\nKeep-Alive: timeout=7\r\n\r\n")) << timed;
    EXPECT_TRUE(counted.ends_with("\r\nKeep-Alive: max=2\r\n\r\n")) << counted;
}

TEST(HttpContent, SlotInUseIsNeverRewritten) {
    Content content{{}, routes()};
    const PageId page = content.find("/");
    struct Sent {
        Answer answer;
        std::string text;
    };
    std::vector<Sent> sent;
    std::multiset<PinId> pins;
    std::mt19937 random{42};
    const auto in_use = [&](PinId pin) { return pins.contains(pin); };
    uint64_t now = 1'000'000;
    int copies = 0;
    for (int round = 0; round < 20'000; ++round) {
        now += random() % 3 == 0;
        content.set_time(now);
        const Answer answer = content.answer(page, Persistence::keep, false, 0, in_use);
        const std::string text = text_of(answer);
        ASSERT_NE(text.find("Date: " + date_text(now) + "\r\n"), std::string::npos) << "the Date is always of now";
        copies += answer.copy_head;
        if (!answer.copy_head) {
            pins.insert(answer.pieces[0].pin);
            sent.push_back({answer, text});
        }
        while (!sent.empty() && random() % 100 < 55) {  // acknowledged in any order, sometimes late
            const std::size_t i = random() % sent.size();
            ASSERT_EQ(text_of(sent[i].answer), sent[i].text) << "bytes changed while they were referenced";
            pins.erase(pins.find(sent[i].answer.pieces[0].pin));
            sent.erase(sent.begin() + static_cast<std::ptrdiff_t>(i));
        }
    }
    EXPECT_GT(copies, 0) << "slow readers held all slots at times";
}

TEST(HttpContent, HeadIsCopiedWhileAllSlotsAreInUse) {
    Content content{{}, routes()};
    const PageId page = content.find("/");
    content.set_time(100);
    const std::string first = text_of(content.answer(page, Persistence::keep, false, 0, nothing_in_use));
    content.set_time(101);
    const Answer copied = content.answer(page, Persistence::keep, false, 0, all_in_use);
    EXPECT_TRUE(copied.copy_head);
    EXPECT_EQ(copied.count, 2u);
    EXPECT_NE(text_of(copied), first);
    EXPECT_NE(text_of(copied).find(date_text(101)), std::string::npos);
    EXPECT_EQ(text_of(copied).size(), first.size());
    EXPECT_FALSE(content.answer(page, Persistence::keep, false, 0, nothing_in_use).copy_head);
}

TEST(HttpContent, PinsTellSlotsApart) {
    Content content{{}, routes()};
    std::set<PinId> pins;
    content.set_time(5);
    for (const PageId page : {content.find("/"), content.find("/large"), content.page_of(404)}) {
        for (const Persistence p : {Persistence::keep, Persistence::keep_1_0, Persistence::close}) {
            const Answer answer = content.answer(page, p, false, 0, nothing_in_use);
            EXPECT_TRUE(pins.insert(answer.pieces[0].pin).second);
            EXPECT_NE(answer.pieces[0].pin, constant_pin);
            EXPECT_LT(answer.pieces[0].pin, content.pin_count());
        }
    }
}

TEST(HttpContent, AllPiecesLieInItsMemory) {
    ContentSettings settings;
    settings.max_requests = 9;
    Content content{settings, routes()};
    for (const PageId page : {content.find("/"), content.find("/large"), content.page_of(505)}) {
        const Answer answer = content.answer(page, Persistence::keep, false, 3, nothing_in_use);
        for (const Piece& piece : answer.parts()) {
            EXPECT_GE(piece.bytes.data(), content.memory().data());
            EXPECT_LE(piece.bytes.data() + piece.bytes.size(), content.memory().data() + content.memory().size());
        }
    }
}

TEST(HttpContent, ManyRoutesAreFound) {
    std::vector<Route> many;
    for (int i = 0; i < 3000; ++i)
        many.push_back({"/item/" + std::to_string(i * 7919), std::to_string(i), "text/plain", {}});
    ContentSettings settings;
    settings.inline_budget = 4096;  // most bodies stand apart
    Content content{settings, many};
    for (const Route& route : many) {
        const PageId page = content.find(route.path);
        ASSERT_TRUE(content.is_route(page)) << route.path;
        ASSERT_TRUE(text_of(content.answer(page, Persistence::keep, false, 0, nothing_in_use))
                        .ends_with("\r\n\r\n" + route.body));
    }
    for (const std::string path : {"", "/", "/item", "/item/", "/item/1", "/item/79190 ", "/x"}) {
        EXPECT_EQ(content.find(path), content.page_of(404)) << path;
    }
}

TEST(HttpContent, RoutesThatCannotBeServedAreRefusedWithASentence) {
    const auto sentence = [](const Route& route) {
        try {
            const std::vector<Route> one{route};
            Content content{{}, one};
        } catch (const std::invalid_argument& error) {
            return std::string{error.what()};
        }
        return std::string{};
    };
    EXPECT_EQ(sentence({"index", "", "text/plain", {}}), "route \"index\": the path must begin with \"/\"");
    EXPECT_EQ(sentence({"/a/../b", "", "text/plain", {}}),
              "route \"/a/../b\": the path must have no segment \".\" or \"..\"");
    EXPECT_EQ(sentence({"/a?b", "", "text/plain", {}}), "route \"/a?b\": the path must have no query");
    EXPECT_EQ(sentence({"/a\n", "", "text/plain", {}}), "route \"/a\n\": the path has a control character");
    EXPECT_EQ(sentence({"/", "", "text/plain\r\nX: y", {}}), "route \"/\": the content type is not a field value");
    EXPECT_EQ(sentence({"/", "", "text/plain", {{"X Y", "z"}}}), "route \"/\": \"X Y\" is not a field");
    EXPECT_EQ(sentence({"/", "", "text/plain", {}}), "");
    const std::vector<Route> twice{{"/", "a", "text/plain", {}}, {"/", "b", "text/plain", {}}};
    EXPECT_THROW((Content{{}, twice}), std::invalid_argument);
}

}  // namespace
}  // namespace pollux::http
