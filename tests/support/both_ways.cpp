#include "tests/support/both_ways.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "tests/support/digest.hpp"
#include "tests/support/stack_view.hpp"

namespace pollux::test {

using namespace tcp;

namespace {

std::string_view asked() {
    const char* const value = std::getenv("POLLUX_FAST_PATH");
    return value == nullptr ? std::string_view{} : value;
}

struct TurnNote {
    Instant at{};
    uint64_t frames = 0, stack = 0;
};

// Of one test, of all its hosts. Longer ones keep the numbers of their beginning alone.
struct Trace {
    static constexpr size_t most_numbers = 300;
    std::vector<TurnNote> turns;
    std::vector<Numbers> numbers;
};

class Comparison final : public testing::EmptyTestEventListener {
public:
    bool is_second() const { return second_; }

    void turn(const TurnNote& is, const Stack& stack, const Counters& counters) {
        const size_t number = turn_++;
        if (!second_) {
            trace_->turns.push_back(is);
            if (number < Trace::most_numbers) trace_->numbers.push_back(numbers_of(stack, counters, is.at));
            return;
        }
        if (differs_) return;
        if (number >= trace_->turns.size()) return complain("there are more turns than with the fast path");
        const TurnNote& was = trace_->turns[number];
        if (is.frames == was.frames && is.stack == was.stack && is.at == was.at) return;
        const auto us = [](Instant at) { return std::to_string(at.time_since_epoch().count()) + " us"; };
        std::string text = "turn " + std::to_string(number) + " at " + us(is.at);
        if (is.at != was.at) text += ", which was at " + us(was.at);
        if (is.frames != was.frames) text += ": something else has left than with the fast path";
        if (is.stack != was.stack) {
            text += ": without the fast path " +
                    (number < trace_->numbers.size()
                         ? difference(trace_->numbers[number], numbers_of(stack, counters, is.at))
                         : "the stack is not what it was");
        }
        complain(text);
    }

private:
    void OnTestIterationStart(const testing::UnitTest&, int iteration) override { second_ = iteration == 1; }
    void OnTestStart(const testing::TestInfo& test) override {
        EXPECT_EQ(GTEST_FLAG_GET(repeat), 2) << "a comparison needs --gtest_repeat=2";
        trace_ = &traces_[std::string(test.test_suite_name()) + "." + test.name()];
        if (!second_) *trace_ = {};
        turn_ = 0;
        differs_ = false;
    }
    void OnTestEnd(const testing::TestInfo&) override {
        if (second_ && !differs_ && turn_ < trace_->turns.size()) complain("there are fewer turns than with it");
        if (second_) *trace_ = {};
    }
    void complain(const std::string& what) {
        differs_ = true;
        ADD_FAILURE() << "the fast path makes a difference: " << what;
    }

    std::map<std::string, Trace> traces_;
    Trace* trace_ = nullptr;
    size_t turn_ = 0;
    bool second_ = false, differs_ = false;
};

// gtest owns and deletes it.
Comparison* const comparison = [] {
    Comparison* made = nullptr;
    if (asked() == "compared") testing::UnitTest::GetInstance()->listeners().Append(made = new Comparison);
    return made;
}();

}  // namespace

bool compares_both_ways() { return comparison != nullptr; }

bool without_fast_path() { return comparison != nullptr ? comparison->is_second() : asked() == "off"; }

void compare_turn(const Stack& stack, const Counters& counters, Instant now, std::span<const Packet> sent) {
    if (comparison == nullptr) return;
    Digest frames;
    for (const Packet& packet : sent) frames.add(packet);
    comparison->turn({now, frames.value(), digest_of(stack, counters, now)}, stack, counters);
}

}  // namespace pollux::test
