// Segment text and FIN: RFC 9293 section 3.10.7.4, seventh and eighth.
//
// Data in order is lent to the application straight from the packet until the turn ends ("borrowed"); what it leaves
// then is copied into chunks. RCV.NXT has moved on already, but no ACK has left yet, so when no chunk is free the
// bytes are given back to the peer by moving RCV.NXT back. Whatever makes that impossible (a FIN, data out of order,
// a store in use) first settles what is borrowed.
#include "tcp/stack.hpp"

namespace pollux::tcp {

Verdict Stack::process_text(Conn& c, const Segment& s, Instant, Verdict so_far) {
    if (s.payload.empty() || !in(c.state, can_receive_states)) return so_far;
    SeqNum at = s.seq;
    Piece data = s.payload;
    SackBlock duplicate;
    if (at.before(c.rcv.nxt)) {  // the old part
        const uint32_t old = c.rcv.nxt.since(at);
        duplicate = {at, earlier(c.rcv.nxt, at + static_cast<uint32_t>(data.size()))};
        if (old >= data.size()) {
            note_duplicate(c, duplicate);
            acknowledge_at_once(c);
            return Verdict::old_data;
        }
        data = data.subspan(old);
        at = c.rcv.nxt;
    }
    const uint32_t room = at.before(c.rcv.edge) ? c.rcv.edge.since(at) : 0;
    if (data.size() > room) {  // the part beyond the window: repeated by the peer when the window opens
        data = data.first(room);
        acknowledge_now(c);
        if (data.empty()) return Verdict::out_of_window;
    }
    if (c.hears_ce) note_mark(c, s);
    if (c.has(ConnFlags::app_closed)) {  // RFC 9293 SHLD-3: data that nobody will read
        abort_with_reset(c);
        return Verdict::data_after_close;
    }
    if (duplicate == SackBlock{} && c.has(ConnFlags::has_store)) {
        duplicate = ReceiveStores::overlap(stores_[c.store], at, at + static_cast<uint32_t>(data.size()));
    }
    note_duplicate(c, duplicate);
    return keep_or_deliver(c, at, data);
}

Verdict Stack::keep_or_deliver(Conn& c, SeqNum at, Piece data) {
    const bool no_store = !c.has(ConnFlags::has_store);
    if (at == c.rcv.nxt && no_store && borrowed_count_ < borrowed_.size()) {
        accept_in_order(c, data);
        return Verdict::delivered;
    }
    ReceiveStore* store = settle(c) ? store_of(c) : nullptr;
    if (store == nullptr) {
        acknowledge_now(c);
        return Verdict::no_buffer;
    }
    const bool fills_gap = store->range_count > 0 || store->has_fin;
    if (at != c.rcv.nxt || fills_gap) acknowledge_at_once(c);
    const bool kept = at == c.rcv.nxt ? stores_.append(*store, data) : stores_.insert(*store, at, data);
    if (!kept) {
        drop_empty_store(c);
        acknowledge_now(c);
        return Verdict::no_buffer;
    }
    if (at != c.rcv.nxt) return Verdict::out_of_order;
    const SeqNum end = stores_.join(*store, at + static_cast<uint32_t>(data.size()));
    const uint32_t gained = end.since(c.rcv.nxt);
    c.rcv.nxt = end;
    note_received(c, gained);
    raise(c, Event::Kind::data);
    return Verdict::delivered;
}

// Lends the payload to the application for this turn.
void Stack::accept_in_order(Conn& c, Piece data) {
    const auto index = static_cast<uint16_t>(borrowed_count_++);
    borrowed_[index] = {id_of(c), data, no_borrowed, index};
    if (c.borrowed == no_borrowed) {
        c.borrowed = index;
        raise(c, Event::Kind::data);
    } else {
        Borrowed& first = borrowed_[c.borrowed];
        borrowed_[first.tail].next = index;
        first.tail = index;
    }
    c.rcv.nxt += static_cast<uint32_t>(data.size());
    note_received(c, data.size());
}

// RFC 9293 section 3.8.6.3: an ACK for every second full segment at least; less waits for the delay or an answer.
void Stack::note_received(Conn& c, size_t size) {
    counters_.add(Tally::payload_bytes_received, size);
    c.set(ConnFlags::ack_delayed);
    const size_t units = c.unacked_units + (size + 63) / 64;
    c.unacked_units = static_cast<uint8_t>(std::min<size_t>(units, 255));
    if (c.unacked_units >= ack_threshold_units_) c.set(ConnFlags::ack_now);
    make_ready(c);
}

// RFC 2883 section 4: of one segment the first duplicate part is told. With more of them in one turn than fit, or
// when what leaves in this turn is refused, the report is lost: it is advice.
void Stack::note_duplicate(Conn& c, SackBlock block) {
    if (block.first == block.end || !c.has(ConnFlags::sack) || duplicate_count_ == duplicates_.size()) return;
    duplicates_[duplicate_count_++] = {id_of(c), block};
    c.set(ConnFlags::has_duplicate);
}

SackBlock Stack::take_duplicate(Conn& c) {
    SackBlock oldest;
    bool more = false;
    for (Duplicate& d : std::span(duplicates_).first(duplicate_count_)) {
        if (d.conn != id_of(c)) continue;
        more = oldest.first != oldest.end;
        if (more) break;
        oldest = d.block;
        d.conn = {};
    }
    if (!more) c.clear(ConnFlags::has_duplicate);
    return oldest;
}

// Whether ACKs of this turn have more to tell than those that have left could say.
bool Stack::owes_reports(const Conn& c) const {
    if (!c.has(ConnFlags::sack) || !c.has(ConnFlags::has_duplicate | ConnFlags::has_store)) return false;
    return c.has(ConnFlags::has_duplicate) || stores_[c.store].unreported > 0;
}

void Stack::forget_duplicates() {
    for (const Duplicate& d : std::span(duplicates_).first(duplicate_count_)) {
        if (d.conn && conns_[d.conn.index].generation == d.conn.generation) {
            conns_[d.conn.index].clear(ConnFlags::has_duplicate);
        }
    }
    duplicate_count_ = 0;
}

ReceiveStore* Stack::store_of(Conn& c) {
    if (!c.has(ConnFlags::has_store)) {
        const uint32_t index = stores_.take();
        if (index == ReceiveStores::none) return nullptr;
        c.store = index;
        c.set(ConnFlags::has_store);
    }
    return &stores_[c.store];
}

void Stack::drop_empty_store(Conn& c) {
    if (!c.has(ConnFlags::has_store) || !stores_[c.store].empty()) return;
    stores_.give(c.store);
    c.clear(ConnFlags::has_store);
}

// Copies what the application has not consumed of the borrowed payloads; false when a chunk is missing.
bool Stack::settle(Conn& c) {
    while (c.borrowed != no_borrowed) {
        Borrowed& b = borrowed_[c.borrowed];
        ReceiveStore* store = store_of(c);
        if (store == nullptr || !stores_.append(*store, b.bytes)) {
            drop_empty_store(c);
            return false;
        }
        if (b.next != no_borrowed) borrowed_[b.next].tail = b.tail;
        c.borrowed = b.next;
    }
    return true;
}

void Stack::settle_turn() {
    for (uint32_t i = 0; i < borrowed_count_; ++i) {
        const ConnId id = borrowed_[i].conn;
        Conn& c = conns_[id.index];
        if (c.generation != id.generation || c.borrowed == no_borrowed || settle(c)) continue;
        // No chunk: the peer keeps these bytes. Nothing that acknowledges them has left yet.
        uint32_t left = 0;
        for (uint16_t b = c.borrowed; b != no_borrowed; b = borrowed_[b].next) {
            left += static_cast<uint32_t>(borrowed_[b].bytes.size());
        }
        c.rcv.nxt = c.rcv.nxt.back(left);
        c.borrowed = no_borrowed;
        counters_.add(Tally::unread_bytes_rolled_back, left);
        counters_.add(Verdict::no_buffer);
        acknowledge_now(c);
    }
    borrowed_count_ = 0;
}

// ---- FIN. -------------------------------------------------------------------------------------------------------

Verdict Stack::process_fin(Conn& c, const Segment& s, Verdict so_far) {
    if (!in(c.state, can_receive_states)) {
        if (s.has(Flags::fin)) acknowledge_now(c);
        return so_far;
    }
    if (s.has(Flags::fin)) {
        const SeqNum fin_at = s.seq + static_cast<uint32_t>(s.payload.size());
        if (fin_at == c.rcv.nxt) return accept_fin(c);
        // Ahead of data: it acts when all before it is there (RFC 9293 section 3.10.7.4, end of the first step).
        if (fin_at.after(c.rcv.nxt) && fin_at.before(c.rcv.edge)) {
            acknowledge_now(c);
            if (!remember_fin(c, fin_at)) return Verdict::no_buffer;
            return so_far == Verdict::pure_ack ? Verdict::out_of_order : so_far;
        }
    }
    const bool ends_here =
        c.has(ConnFlags::has_store) && stores_[c.store].has_fin && stores_[c.store].fin_at == c.rcv.nxt;
    return ends_here ? accept_fin(c) : so_far;
}

bool Stack::remember_fin(Conn& c, SeqNum fin_at) {
    ReceiveStore* store = settle(c) ? store_of(c) : nullptr;
    if (store == nullptr) return false;
    // The first one counts: a second FIN elsewhere contradicts it.
    if (!store->has_fin) {
        store->has_fin = true;
        store->fin_at = fin_at;
    }
    return true;
}

Verdict Stack::accept_fin(Conn& c) {
    acknowledge_now(c);
    if (!settle(c)) return Verdict::no_buffer;  // the peer repeats the FIN
    if (c.has(ConnFlags::has_store)) {
        stores_.drop_out_of_order(stores_[c.store]);  // a peer that sent data beyond its own FIN
        drop_empty_store(c);
    }
    c.rcv.nxt += 1;
    c.rcv.edge = later(c.rcv.edge, c.rcv.nxt);  // a FIN is taken at a closed window too
    switch (c.state) {
        case State::established: enter(c, State::close_wait); break;
        case State::fin_wait_1: enter(c, State::closing); break;
        case State::fin_wait_2:
            stop_retransmit_timer(c);
            enter(c, State::time_wait);
            break;
        default: break;
    }
    raise(c, Event::Kind::peer_closed);
    return Verdict::fin;
}

}  // namespace pollux::tcp
