// The requests that tests and benchmarks agree on: the least that wrk sends, and about 600 bytes of a browser's.
#pragma once

#include <string_view>

namespace pollux::tests {

inline constexpr std::string_view wrk_request = "GET / HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n";
inline constexpr std::string_view browser_request =
    "GET /assets/css/site.min.css?v=20240611 HTTP/1.1\r\n"
    "Host: www.example.org\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    "Accept-Language: en-US,en;q=0.5\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Referer: https://www.example.org/articles/2024/index.html\r\n"
    "Cookie: session=2f1a9c84be7740d1a3c5; theme=dark; consent=yes\r\n"
    "Connection: keep-alive\r\n"
    "Sec-Fetch-Dest: document\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Priority: u=0, i\r\n"
    "Cache-Control: no-cache\r\n"
    "\r\n";

}  // namespace pollux::tests
