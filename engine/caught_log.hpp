// CaughtLog: what DPDK logs during a start-up or an end is kept instead of printed. When the step fails, the log's
// last words are the reason; when it does not, they were about nothing (net_tap, for one, calls it an error that it
// has no secondary processes to inform). DPDK's log is one per process, so these do not nest.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

#include "engine/dpdk.hpp"

namespace pollux::engine {

class CaughtLog {
public:
    /// `catches` false: the user wants to see the log, so it goes its usual way.
    explicit CaughtLog(bool catches = true) : file_(catches ? open_memstream(&text_, &size_) : nullptr) {
        if (file_) rte_openlog_stream(file_);
    }
    ~CaughtLog() {
        if (!file_) return;
        rte_openlog_stream(nullptr);
        std::fclose(file_);
        std::free(text_);
    }
    CaughtLog(const CaughtLog&) = delete;
    CaughtLog& operator=(const CaughtLog&) = delete;

    std::string text() const {
        if (!file_) return {};
        std::fflush(file_);
        return {text_, size_};
    }
    /// Without its line end.
    std::string last_line() const {
        std::string all = text();
        while (!all.empty() && (all.back() == '\n' || all.back() == ' ')) all.pop_back();
        const size_t begin = all.rfind('\n');
        return begin == std::string::npos ? all : all.substr(begin + 1);
    }

private:
    char* text_ = nullptr;
    size_t size_ = 0;
    FILE* file_;
};

}  // namespace pollux::engine
