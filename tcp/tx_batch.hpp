// What one turn sends: segments in order, and an arena of the pieces that make up their payloads. The pieces point
// into pinned memory and pooled chunks; the engine copies or attaches them before the turn ends, so nothing here
// outlives it.
//
// Replies that belong to no connection (RST, SYN-ACK of a cookie) may take at most half of the batch, so that a flood
// cannot starve connections.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tcp/segment.hpp"

namespace pollux::tcp {

using Piece = std::span<const std::byte>;

struct TxSegment {
    Segment segment;  // its own `payload` is unused
    uint32_t payload_size = 0;
    uint32_t first_piece = 0;
    uint32_t piece_count = 0;
};

class TxBatch {
public:
    /// Room for `capacity` segments and four pieces each, and for one segment of many pieces in any case.
    explicit TxBatch(uint32_t capacity = 256)
        : segments_(capacity), pieces_(size_t{capacity} * pieces_per_segment + 16), limit_(capacity) {}

    uint32_t size() const { return size_; }
    uint32_t room() const { return limit_ - size_; }
    bool empty() const { return size_ == 0; }
    uint32_t piece_room() const { return static_cast<uint32_t>(pieces_.size()) - piece_size_; }

    /// Adds a segment that carries no payload yet; the caller has checked room().
    TxSegment& add() {
        TxSegment& added = segments_[size_++];
        added = TxSegment{.segment = {}, .payload_size = 0, .first_piece = piece_size_, .piece_count = 0};
        return added;
    }
    /// Appends payload to the segment added last; the caller has checked piece_room().
    void add_piece(Piece piece) {
        TxSegment& last = segments_[size_ - 1];
        pieces_[piece_size_++] = piece;
        ++last.piece_count;
        last.payload_size += static_cast<uint32_t>(piece.size());
    }
    /// As add(), for a reply without a connection: null when those have had their half of the batch.
    TxSegment* add_stateless() {
        if (room() == 0 || stateless_ >= (limit_ + 1) / 2) return nullptr;
        ++stateless_;
        return &add();
    }

    std::span<const TxSegment> segments() const { return {segments_.data(), size_}; }
    std::span<const Piece> pieces(const TxSegment& segment) const {
        return {pieces_.data() + segment.first_piece, segment.piece_count};
    }

    /// Empties the batch for the next turn. `limit` is what the device can take now, at most the capacity.
    void reset(uint32_t limit) {
        size_ = piece_size_ = stateless_ = 0;
        limit_ = limit < segments_.size() ? limit : static_cast<uint32_t>(segments_.size());
    }
    void reset() { reset(static_cast<uint32_t>(segments_.size())); }

private:
    static constexpr uint32_t pieces_per_segment = 4;
    std::vector<TxSegment> segments_;
    std::vector<Piece> pieces_;
    uint32_t size_ = 0, piece_size_ = 0, stateless_ = 0, limit_;
};

}  // namespace pollux::tcp
