// pollux-echo: every byte that arrives goes back. The smallest application on the library, and the tutorial:
//
//  1. An application is an object with on_turn() and next_due(); every worker has its own, so it needs no locks.
//  2. on_turn() comes once per turn of the loop with what happened. It looks at received bytes where they lie
//     (stack.unread), says how many it has used (stack.consume), and sends: copies, or references to memory that
//     stays as it is (tcp::Pinned; apps/httpd does that). Nothing here waits.
//  3. A refused send is no error: the queue is full. What is not consumed lowers the window, so the peer slows
//     down, and a `writable` event says when to go on.
//  4. The engine does the rest: engine::run() starts DPDK, ports and workers from settings, and ends on SIGTERM.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <optional>
#include <span>
#include <string>

#include "config/load.hpp"
#include "engine/launcher.hpp"
#include "tcp/stack.hpp"

namespace {

using namespace pollux;

class Echo {
public:
    void on_turn(std::span<const tcp::Event> events, tcp::Stack& stack, tcp::Instant now) {
        for (const tcp::Event& event : events) {
            switch (event.kind) {
                case tcp::Event::Kind::data:
                case tcp::Event::Kind::writable:
                case tcp::Event::Kind::peer_closed:
                    // When the peer has sent FIN and all is echoed, our FIN follows what is queued.
                    if (echo(event.conn, stack) && has_peer_closed(event.conn, stack)) {
                        stack.shutdown(event.conn, now);
                    }
                    break;
                case tcp::Event::Kind::opened:  // the peer speaks first
                case tcp::Event::Kind::closed:
                case tcp::Event::Kind::reset:
                case tcp::Event::Kind::timed_out:
                case tcp::Event::Kind::refused:
                case tcp::Event::Kind::unreachable:
                case tcp::Event::Kind::unanswered:
                case tcp::Event::Kind::path_error:
                case tcp::Event::Kind::deadline: break;
            }
        }
    }
    std::optional<tcp::Instant> next_due() const { return {}; }

    /// The engine shuts down: FIN to everybody.
    void drain(tcp::Stack& stack, tcp::Instant now) {
        stack.for_each_conn(0, stack.settings().capacity.connections,
                            [&](tcp::ConnId conn) { stack.close(conn, now); });
    }

private:
    /// Whether all has been echoed.
    static bool echo(tcp::ConnId conn, tcp::Stack& stack) {
        for (auto bytes = stack.unread(conn); !bytes.empty(); bytes = stack.unread(conn)) {
            if (!stack.send_copy(conn, bytes)) return false;
            stack.consume(conn, static_cast<uint32_t>(bytes.size()));
        }
        return true;
    }
    static bool has_peer_closed(tcp::ConnId conn, const tcp::Stack& stack) {
        const auto info = stack.info(conn);
        return info && info->state == tcp::State::close_wait;
    }
};

}  // namespace

int main(int argc, char** argv) {
    const std::string option = argc > 1 ? argv[1] : "";
    if (option == "--help" || option == "--version") {
        std::printf("pollux-echo " POLLUX_VERSION "\nUsage: pollux-echo -c FILE [-- EAL arguments]\n");
        return 0;
    }
    const bool has_eal_args = argc > 3 && std::string{argv[3]} == "--";
    if (option != "-c" || argc < 3 || (argc > 3 && !has_eal_args)) {
        std::fprintf(stderr, "pollux-echo: it is called as pollux-echo -c FILE [-- EAL arguments]\n");
        return 2;
    }
    config::Settings settings;
    try {
        settings = config::load_file(argv[2]);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "pollux-echo: %s\n", error.what());
        return 2;
    }
    if (has_eal_args) settings.eal.args.insert(settings.eal.args.end(), argv + 4, argv + argc);
    try {
        engine::run<Echo>(settings, [](const engine::WorkerContext&) { return Echo{}; });
    } catch (const std::exception& error) {
        std::fprintf(stderr, "pollux-echo: %s\n", error.what());
        return 1;
    }
    return 0;
}
