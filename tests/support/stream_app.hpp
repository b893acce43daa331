// Applications for streams: each connection sends `download` bytes of the pattern, and receives until the peer
// closes, in its own rhythm; then it closes.
#pragma once

#include <map>
#include <random>
#include <string>

#include "tests/support/host.hpp"
#include "tests/support/pattern.hpp"

namespace pollux::test {

class StreamApp final : public Application {
public:
    enum class Closing : uint8_t {
        after_peer,       // when the peer's FIN has come and all is sent
        when_sent,        // half-close as soon as all is sent
        full_after_peer,  // as after_peer, by close() instead of shutdown()
    };
    struct Options {
        uint64_t download = 0;
        Closing closing = Closing::after_peer;
        bool pinned = true;    // pinned memory, else copies
        size_t piece = 3'000;  // bytes of one send
        double laziness = 0;   // how often unread data is left for a later turn
    };

    StreamApp(const Options& options, uint64_t seed) : options_(options), random_(seed) {}

    void on_turn(std::span<const tcp::Event> events, tcp::Stack& stack, tcp::Instant now) override;

    /// What each connection has received, in order of opening.
    std::string received(size_t connection) const;
    size_t opened() const { return order_.size(); }
    size_t resets() const { return resets_; }
    size_t time_outs() const { return time_outs_; }

private:
    struct Stream {
        uint64_t sent = 0;
        bool may_write = true, peer_closed = false, closed = false, gone = false, unread = false;
        std::string received;
    };
    using Name = std::pair<uint32_t, uint32_t>;
    static Name name_of(tcp::ConnId conn) { return {conn.index, conn.generation}; }
    void reads(Stream& stream, tcp::Stack& stack, tcp::ConnId conn, tcp::Instant now);
    void writes(Stream& stream, tcp::Stack& stack, tcp::ConnId conn);
    void closes(Stream& stream, tcp::Stack& stack, tcp::ConnId conn, tcp::Instant now);

    Options options_;
    std::mt19937_64 random_;
    std::map<Name, Stream> streams_;
    std::vector<Name> order_;
    size_t resets_ = 0, time_outs_ = 0;
};

}  // namespace pollux::test
