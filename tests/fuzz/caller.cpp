#include "tests/fuzz/caller.hpp"

#include <algorithm>

#include "tcp/wire/tcp_options.hpp"
#include "tests/fuzz/player.hpp"

namespace pollux::fuzz {

using namespace tcp;

namespace {

constexpr size_t segments_kept = 32;
// The kinds of things that are said, often what is right.
enum class Speech : uint8_t { polite, silent, reports, lies, asks, ends, resets, crumbs };

bool agreed(const Segment& a, const Segment& b, Present what) { return a.has(what) && b.has(what); }

}  // namespace

Segment Caller::usual(Instant now) const {
    Segment s;
    s.flow = flow_;
    s.path = 7;
    s.seq = nxt_;
    s.window = window_;
    if (heard_syn_) {
        s.flags = Flags::ack;
        s.ack = acked_;
    }
    if (agreed(said_, heard_, Present::timestamps)) {
        s.present = Present::timestamps;
        const auto ms = static_cast<uint32_t>(now.time_since_epoch().count() / 1'000);
        s.timestamps = {ms + 77 + static_cast<uint32_t>(clock_shift_), host_clock_};
    }
    return s;
}

// A SYN, or the answer to one; with the options that the bytes ask for.
void Caller::asks(Input& in, Segment& s, Known known) {
    static constexpr uint16_t sizes[] = {1'460, 536, 0, 1, 65'535};
    static constexpr SeqNum numbers[] = {SeqNum{0xffff'fff0}, SeqNum{1'000}, SeqNum{0x7fff'ffff},
                                         SeqNum{0xffff'0000}};
    const uint8_t how = in.byte(), options = in.byte();
    const bool answers = heard_syn_ && !heard_.has(Flags::ack);
    const bool again = said_syn_ && (how & 3) != 3;
    s.seq = again ? iss_ : numbers[how >> 2 & 3];
    s.flags = Flags::syn;
    s.ack = {};
    if (answers && (how & 16) == 0) {
        s.flags |= Flags::ack;
        s.ack = irs_ + 1 + ((how & 32) != 0 ? in.byte() : 0u);
    }
    if ((how & 64) != 0) s.flags |= answers ? Flags::ece : Flags::ece | Flags::cwr;
    s.present = Present(options & 15);
    s.mss = sizes[(options >> 4) % 5];
    s.window_scale = static_cast<uint8_t>(options >> 4);
    if (s.has(Present::timestamps) && s.timestamps.value == 0) s.timestamps.value = 4'000;
    const bool same_scale = !s.has(Present::window_scale) || s.window_scale == said_.window_scale;
    if (!said_syn_ || (known == Known::nothing && !s.has(Flags::ack)))
        begins(s);
    else if (known == Known::perhaps || s.seq != iss_ || s.present != said_.present || !same_scale)
        mixed_ = true;  // which of the two counts is not known
}

// Nothing of what has been before is about any more.
void Caller::begins(const Segment& syn) {
    if (said_syn_) {
        heard_syn_ = mixed_ = false;
        edge_.reset();
        our_edge_.reset();
        segments_.clear();
    }
    said_syn_ = true;
    said_ = syn;
    iss_ = syn.seq;
    nxt_ = furthest_ = iss_ + 1;
}

void Caller::acknowledges(Input& in, Segment& s) {
    const uint8_t how = in.byte();
    const uint32_t waiting = host_nxt_.since(acked_);
    switch (how & 3) {
        case 0:
        case 1: acked_ = host_nxt_; break;
        case 2: acked_ += waiting == 0 ? 0 : in.below(waiting + 1); break;
        case 3:  // up to a segment's end
            if (!segments_.empty()) {
                const SeqNum end = segments_[in.below(static_cast<uint32_t>(segments_.size()))].end;
                if (end.in_window(acked_, waiting + 1)) acked_ = end;
            }
            break;
    }
    s.ack = acked_;
    static constexpr uint16_t windows[] = {65'535, 65'535, 65'535, 65'535, 0, 1, 700, 5'000};
    if ((how & 4) != 0) window_ = windows[how >> 3 & 7];
    s.window = window_;
    if ((how & 64) != 0) s.flags |= (how & 128) != 0 ? Flags::cwr : Flags::ece;
    if ((how & 192) == 128) s.ecn = Ecn::ce;
}

// Blocks of what was heard and is not acknowledged, along the borders of segments, nearly always.
void Caller::reports(Input& in, Segment& s) const {
    const uint8_t how = in.byte();
    for (uint8_t i = 0; i <= (how & 3) && !segments_.empty(); ++i) {
        const auto count = static_cast<uint32_t>(segments_.size());
        const uint32_t first = in.below(count), last = std::min(count - 1, first + in.below(4));
        SackBlock block{segments_[first].first, segments_[last].end};
        if ((how & 4) != 0) block.end += in.byte();
        if ((how & 8) != 0) block = {block.first.back(in.two()), block.end};
        s.sack_blocks[s.sack_count++] = block;
    }
}

void Caller::lies(Input& in, Segment& s) const {
    static constexpr int32_t near[] = {0, 0, 0, -1, 1, 2, -2, 100, -100, 1'460, 65'535, -70'000, 1 << 30, INT32_MIN};
    const uint8_t how = in.byte();
    const auto off = [&](SeqNum from) { return from + static_cast<uint32_t>(in.one_of(near)); };
    if ((how & 1) != 0) s.seq = off(nxt_);
    if ((how & 2) != 0) s.ack = off((how & 128) != 0 ? host_nxt_ : acked_);
    if ((how & 4) != 0) s.flags = Flags(in.byte());
    if ((how & 8) != 0) s.window = in.two();
    if ((how & 16) != 0) s.present = Present::none;
    if ((how & 32) != 0) {
        s.present |= Present::timestamps;
        s.timestamps = {s.timestamps.value + static_cast<uint32_t>(in.one_of(near)), in.four()};
    }
    if ((how & 64) != 0) s.seq = edge_.value_or(nxt_) + static_cast<uint32_t>(in.one_of(near));
    if (s.has(Flags::syn)) s.flags = s.flags & ~Flags::syn;  // asks() knows how
}

void Caller::carries(Input& in, Segment& s, Payloads& payloads) const {
    static constexpr uint16_t sizes[] = {0, 1, 7, 100, 536, 1'208, 1'460, 1'000};
    const uint8_t how = in.byte();
    const uint32_t size = sizes[how & 7];
    if (size != 0) {
        auto& payload = payloads.emplace_back(size);
        for (uint32_t i = 0; i < size; ++i) payload[i] = peer_byte(s.seq + (i + (s.has(Flags::syn) ? 1 : 0)));
        s.payload = payload;
    }
    if ((how & 8) != 0) s.flags |= Flags::psh;
    if ((how & 48) == 48) s.flags |= Flags::urg;
}

void Caller::remembers(const Segment& s) {
    if (s.has(Flags::rst))
        ++resets_said_;
    else
        ++others_said_;
    const SeqNum end = s.seq + s.seq_length();
    // What lies far away cannot be taken, and has no place in an order.
    if (end.in_window(nxt_, 1u << 29)) furthest_ = later(furthest_, end);
    const bool in_order = s.seq == nxt_ && !s.has(Flags::rst) && !s.has(Flags::syn);
    if (in_order && (!edge_ || end.at_or_before(*edge_ + 1))) nxt_ = end;
    if (!s.has(Flags::ack) || !heard_syn_ || !s.ack.in_window(irs_, host_nxt_.since(irs_) + 1)) return;
    const bool scales = !s.has(Flags::syn) && agreed(said_, heard_, Present::window_scale);
    const uint32_t window = s.window << (scales ? std::min(said_.window_scale, wire::max_window_scale) : 0);
    our_edge_ = our_edge_ ? later(*our_edge_, s.ack + window) : s.ack + window;
}

Segment Caller::says(Input& in, Instant now, Payloads& payloads, Known known) {
    const uint8_t what = in.byte();
    if ((what & 0xf0) == 0xf0) clock_shift_ += (what & 8) != 0 ? 5'000 : -5'000;
    Segment s = usual(now);
    auto speech = Speech(what & 7);
    if (!said_syn_ || (!heard_syn_ && speech != Speech::lies && speech != Speech::resets)) speech = Speech::asks;
    if (speech == Speech::asks && said_syn_ && heard_syn_ && (what & 0x38) != 0) speech = Speech::polite;
    switch (speech) {
        case Speech::polite: acknowledges(in, s); break;
        case Speech::silent: break;  // says again what it said last
        case Speech::reports: reports(in, s); break;
        case Speech::lies: lies(in, s); break;
        case Speech::asks: asks(in, s, known); break;
        case Speech::ends:
            acknowledges(in, s);
            s.flags |= Flags::fin;
            break;
        case Speech::resets:
            s.flags = (what & 8) != 0 ? Flags::rst : Flags::rst | Flags::ack;
            if ((what & 16) != 0) s.seq += in.byte();
            break;
        case Speech::crumbs:  // ahead of a gap
            s.seq += 1 + in.two() % 6'000;
            break;
    }
    const bool bare =
        speech == Speech::asks ? (what & 64) == 0 : speech == Speech::resets || speech == Speech::silent;
    if (!bare) carries(in, s, payloads);
    remembers(s);
    // A SYN's window counts as it stands.
    if (speech == Speech::asks && !our_edge_ && !s.has(Flags::ack)) window_ = 65'535;
    return s;
}

PathNotice Caller::complains(Input& in) const {
    static constexpr uint32_t sizes[] = {1'400, 1'280, 600, 552, 68, 0, 1'500, 65'535};
    PathNotice notice;
    const uint8_t how = in.byte();
    notice.kind = PathNotice::Kind(how & 3);
    notice.flow = flow_;
    notice.mtu = sizes[how >> 2 & 7];
    notice.quoted_length = 1'500;
    notice.quoted_seq = (how & 32) != 0 ? host_nxt_.back(in.two()) : acked_;
    if ((how & 64) != 0) notice.quoted_seq = irs_;
    return notice;
}

// ---- Hearing. ---------------------------------------------------------------------------------------------------

void Caller::judges_edge(const Segment& s) {
    if (mixed_) return;
    demand(s.has(Flags::ack), "every segment of a connection acknowledges");
    demand(s.ack.in_window(iss_, furthest_.since(iss_) + 1), "nothing is acknowledged that was never said");
    const uint32_t scale = agreed(said_, heard_, Present::window_scale) ? heard_.window_scale : 0;
    const SeqNum edge = s.ack + (s.has(Flags::syn) ? s.window : s.window << scale);
    // RFC 7323 section 2.4: by less than one unit of the scale it may, as when a SYN-ACK is said again.
    demand(!edge_ || (edge + ((1u << scale) - 1)).at_or_after(*edge_), "the right edge never moves left");
    edge_ = edge_ ? later(*edge_, edge) : edge;
}

void Caller::hears(const TxSegment& tx) {
    const Segment& s = tx.segment;
    if (s.has(Flags::rst)) {
        ++resets_heard_;
        return;
    }
    if (s.has(Flags::syn)) {
        if (heard_syn_ && s.seq != irs_) mixed_ = true;
        const bool first = !heard_syn_ || s.seq != irs_ || s.has(Flags::ack) != heard_.has(Flags::ack);
        heard_ = s;
        if (first) {
            heard_syn_ = true;
            irs_ = s.seq;
            acked_ = host_nxt_ = irs_ + 1;
            segments_.clear();
        }
        if (s.has(Flags::ack) && !mixed_) judges_edge(s);
    } else {
        judges_edge(s);
    }
    if (s.has(Present::timestamps)) host_clock_ = s.timestamps.value;
    const SeqNum end = s.seq + s.seq_length(tx.payload_size);
    if (end.in_window(host_nxt_, 1u << 29)) host_nxt_ = end;
    if (tx.payload_size == 0) return;
    if (!mixed_ && our_edge_) {
        const bool probe = (tx.payload_size == 1 || s.has(Flags::fin)) && s.seq.at_or_before(*our_edge_);
        demand(probe || (s.seq + tx.payload_size).at_or_before(*our_edge_), "nothing leaves that has no place");
    }
    if (segments_.size() == segments_kept) segments_.erase(segments_.begin());
    segments_.push_back({s.seq, s.seq + tx.payload_size});
}

void Caller::ends_turn(bool may_reset) {
    // RFC 9293 section 3.10.7: a RST is never answered by another.
    demand(may_reset || resets_heard_ == 0 || others_said_ != 0 || resets_said_ == 0, "no RST answers a RST");
    resets_said_ = others_said_ = resets_heard_ = 0;
}

}  // namespace pollux::fuzz
