// Random: the only source of chance in the simulator. A generator is made of a seed and a purpose, so that each part
// of a run (one fault, one application) draws from numbers of its own: a fault that is switched off does not change
// what the others do, which is what lets the minimiser drop them one by one.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "tcp/time.hpp"

namespace pollux::simulation {

class Random {
public:
    explicit Random(uint64_t seed, std::string_view purpose = {}, uint64_t number = 0)
        : state_(seed * 0x9e37'79b9'7f4a'7c15 + number) {
        for (const char c : purpose) state_ = mixed(state_ ^ static_cast<uint8_t>(c));
        next();
    }

    /// splitmix64 (Steele, Lea, Flood 2014).
    uint64_t next() { return mixed(state_ += 0x9e37'79b9'7f4a'7c15); }
    /// In [0, bound); 0 if that is empty. `bound` is below 2^32.
    uint64_t below(uint64_t bound) { return (next() >> 32) * bound >> 32; }
    /// In [least, most].
    uint64_t between(uint64_t least, uint64_t most) { return least + below(most - least + 1); }
    /// In [least, most], as likely to be in each order of magnitude; `least` is 1 or more.
    uint64_t spread(uint64_t least, uint64_t most) {
        const double low = std::log(static_cast<double>(least)), high = std::log(static_cast<double>(most) + 1);
        return std::min(most, static_cast<uint64_t>(std::exp(low + (high - low) * unit())));
    }
    double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }
    bool chance(double probability) { return unit() < probability; }
    tcp::Duration between(tcp::Duration least, tcp::Duration most) {
        return tcp::Duration{static_cast<int64_t>(between(uint64_t(least.count()), uint64_t(most.count())))};
    }
    tcp::Duration spread(tcp::Duration least, tcp::Duration most) {
        return tcp::Duration{static_cast<int64_t>(spread(uint64_t(least.count()), uint64_t(most.count())))};
    }
    /// One of the values given.
    template <class T, class... More>
    T one_of(T first, More... more) {
        const T all[] = {first, static_cast<T>(more)...};
        return all[below(1 + sizeof...(more))];
    }

private:
    static constexpr uint64_t mixed(uint64_t x) {
        x = (x ^ (x >> 30)) * 0xbf58'476d'1ce4'e5b9;
        x = (x ^ (x >> 27)) * 0x94d0'49bb'1331'11eb;
        return x ^ (x >> 31);
    }
    uint64_t state_;
};

}  // namespace pollux::simulation
