// SendQueue: the bytes of one connection from SND.UNA on, as references. The first piece stands in the connection
// itself, the others in a list of pooled entries; retransmission reads the same memory again. A piece is let go, and
// its pin dropped or its chunk freed, when its last byte is acknowledged.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "tcp/chunks.hpp"
#include "tcp/conn.hpp"
#include "tcp/pins.hpp"
#include "tcp/pool.hpp"
#include "tcp/tx_batch.hpp"

namespace pollux::tcp {

struct SendEntry {
    SendPiece piece;
    uint32_t next = ~0u;
};

class SendQueues {
public:
    SendQueues(uint32_t entries, Chunks& chunks, Pins& pins)
        : entries_(entries, "queued pieces"), chunks_(chunks), pins_(pins) {}

    /// Whether `pieces` more pieces can be queued on `c`.
    bool has_room(const Conn& c, size_t pieces) const {
        const size_t inline_room = c.first.size == 0 ? 1 : 0;
        const size_t own = c.has(ConnFlags::more_queued) ? c.more_count : 0;
        return pieces <= inline_room + std::min<size_t>(entries_.capacity() - entries_.size(), pieces_limit - own);
    }
    /// Queues one piece that is not empty; the caller has asked has_room(). Takes over the chunk or counts the pin.
    void push(Conn& c, SendPiece piece);
    /// Copies into the chunk of the last piece as many of `bytes` as it has room for; how many. Many small copies make
    /// one piece, and full segments.
    uint32_t extend_last(Conn& c, std::span<const std::byte> bytes);
    /// How many that would be.
    uint32_t room_in_last(const Conn& c) const;
    /// Lets go of the first `bytes`.
    void acknowledge(Conn& c, uint32_t bytes);
    /// Lets go of everything.
    void clear(Conn& c);
    /// Adds the bytes [offset, offset + size), counted from SND.UNA, to the segment added last to `out`, in at most
    /// `max_pieces` pieces. Returns how many bytes that were.
    uint32_t gather(const Conn& c, uint32_t offset, uint32_t size, TxBatch& out) const;

    uint32_t in_use() const { return entries_.size(); }
    uint32_t capacity() const { return entries_.capacity(); }
    size_t memory_bytes() const { return entries_.memory_bytes(); }
    static constexpr uint32_t max_pieces = 16;
    /// Of one connection: gathering walks the list from SND.UNA, so its length is bounded.
    static constexpr uint32_t pieces_limit = 1024;

private:
    const SendPiece& last(const Conn& c) const {
        return c.has(ConnFlags::more_queued) ? entries_[c.more_tail].piece : c.first;
    }
    void let_go(const SendPiece& piece) {
        if ((piece.owner & SendPiece::chunk_owner) != 0)
            chunks_.give(piece.owner & ~SendPiece::chunk_owner);
        else
            pins_.drop(piece.owner);
    }

    Pool<SendEntry> entries_;
    Chunks& chunks_;
    Pins& pins_;
};

}  // namespace pollux::tcp
