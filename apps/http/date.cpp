#include "apps/http/date.hpp"

#include <algorithm>
#include <cstring>

namespace pollux::http {
namespace {

constexpr uint64_t end_of_year_9999 = 253'402'300'799;
constexpr uint32_t days_in_400_years = 146'097;
constexpr char weekdays[] = "SunMonTueWedThuFriSat";
constexpr char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

constexpr bool is_leap(uint32_t year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

constexpr uint32_t days_in_month(uint32_t month, uint32_t year) {
    constexpr std::array<uint8_t, 12> days{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month] + (month == 1 && is_leap(year) ? 1u : 0u);
}

void put_two(char* at, uint32_t value) {
    at[0] = static_cast<char>('0' + value / 10 % 10);
    at[1] = static_cast<char>('0' + value % 10);
}

}  // namespace

ImfFixdate imf_fixdate(uint64_t unix_seconds) {
    unix_seconds = std::min(unix_seconds, end_of_year_9999);
    auto days = static_cast<uint32_t>(unix_seconds / 86'400);
    const auto second = static_cast<uint32_t>(unix_seconds % 86'400);
    const uint32_t weekday = (days + 4) % 7;  // 1970-01-01 was a Thursday

    // Counted rather than computed: at most 400 small steps, once a second.
    uint32_t year = 1970 + 400 * (days / days_in_400_years);
    days %= days_in_400_years;
    for (; days >= (is_leap(year) ? 366u : 365u); ++year) days -= is_leap(year) ? 366 : 365;
    uint32_t month = 0;
    for (; days >= days_in_month(month, year); ++month) days -= days_in_month(month, year);

    ImfFixdate date;
    std::memcpy(date.data(), "Thu, 01 Jan 1970 00:00:00 GMT", date.size());
    std::memcpy(date.data(), &weekdays[3 * weekday], 3);
    put_two(date.data() + 5, days + 1);
    std::memcpy(date.data() + 8, &months[3 * month], 3);
    put_two(date.data() + 12, year / 100);
    put_two(date.data() + 14, year % 100);
    put_two(date.data() + 17, second / 3600);
    put_two(date.data() + 20, second / 60 % 60);
    put_two(date.data() + 23, second % 60);
    return date;
}

}  // namespace pollux::http
