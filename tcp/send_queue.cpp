#include "tcp/send_queue.hpp"

#include <algorithm>

namespace pollux::tcp {

void SendQueues::push(Conn& c, SendPiece piece) {
    if ((piece.owner & SendPiece::chunk_owner) == 0) pins_.add(piece.owner);
    if (c.first.size == 0) {
        c.first = piece;
        return;
    }
    const uint32_t index = entries_.take();
    entries_[index].piece = piece;
    if (c.has(ConnFlags::more_queued)) {
        entries_[c.more_tail].next = index;
        c.all_queued += piece.size;
        ++c.more_count;
    } else {
        c.set(ConnFlags::more_queued);
        c.more_head = index;
        c.all_queued = c.first.size + piece.size;
        c.more_count = 1;
    }
    c.more_tail = index;
}

uint32_t SendQueues::room_in_last(const Conn& c) const {
    const SendPiece& piece = last(c);
    const bool is_copy = piece.size != 0 && (piece.owner & SendPiece::chunk_owner) != 0;
    return is_copy ? chunks_.room(piece.owner & ~SendPiece::chunk_owner) : 0;
}

uint32_t SendQueues::extend_last(Conn& c, std::span<const std::byte> bytes) {
    const auto size = std::min<uint32_t>(room_in_last(c), static_cast<uint32_t>(bytes.size()));
    if (size == 0) return 0;
    const uint32_t chunk = last(c).owner & ~SendPiece::chunk_owner;
    ChunkList list{chunk, chunk};
    chunks_.append(list, bytes.first(size));
    if (c.has(ConnFlags::more_queued)) {
        entries_[c.more_tail].piece.size += size;
        c.all_queued += size;
    } else {
        c.first.size += size;
    }
    return size;
}

void SendQueues::acknowledge(Conn& c, uint32_t bytes) {
    if (c.has(ConnFlags::more_queued)) c.all_queued -= bytes;
    while (bytes >= c.first.size && c.first.size != 0) {
        bytes -= c.first.size;
        let_go(c.first);
        c.first = {};
        if (c.has(ConnFlags::more_queued)) {
            const uint32_t index = c.more_head;
            c.first = entries_[index].piece;
            c.more_head = entries_[index].next;
            --c.more_count;
            if (c.more_head == Conn::none) c.clear(ConnFlags::more_queued);
            entries_.give(index);
        }
    }
    c.first.data += bytes;
    c.first.size -= bytes;
}

void SendQueues::clear(Conn& c) { acknowledge(c, c.queued()); }

uint32_t SendQueues::gather(const Conn& c, uint32_t offset, uint32_t size, TxBatch& out) const {
    const SendPiece* piece = &c.first;
    uint32_t next = c.has(ConnFlags::more_queued) ? c.more_head : Conn::none;
    const auto step = [&] {
        piece = &entries_[next].piece;
        next = entries_[next].next;
    };
    while (offset >= piece->size) {
        offset -= piece->size;
        step();
    }
    uint32_t gathered = 0;
    for (uint32_t pieces = 0; pieces < max_pieces && out.piece_room() > 0; ++pieces) {
        const uint32_t here = std::min(size - gathered, piece->size - offset);
        out.add_piece({piece->data + offset, here});
        gathered += here;
        if (gathered == size) break;
        offset = 0;
        step();
    }
    return gathered;
}

}  // namespace pollux::tcp
