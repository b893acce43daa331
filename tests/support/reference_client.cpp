#include "tests/support/reference_client.hpp"

#include <algorithm>
#include <sstream>

#include "tcp/wire/packet.hpp"
#include "tests/support/pattern.hpp"

namespace pollux::test {

using namespace tcp;

ReferenceClient::ReferenceClient(const FourTuple& flow, const Options& options)
    : flow_{flow.remote_addr, flow.local_addr, flow.remote_port, flow.local_port}, options_(options) {}

void ReferenceClient::opens(Instant now) {
    phase_ = Phase::syn_sent;
    timer_ = now;  // the first SYN is what the timer sends
}

uint32_t ReferenceClient::free_window(Instant now) {
    if (options_.reads_per_ms == 0) {
        read_ = received_.size();
    } else {
        const auto ms = last_read_ ? (now - *last_read_).count() / 1000 : 0;
        if (!last_read_) last_read_ = now;
        if (ms > 0) {
            read_ = std::min<uint64_t>(read_ + static_cast<uint64_t>(ms) * options_.reads_per_ms, received_.size());
            last_read_ = *last_read_ + Duration{ms * 1000};
        }
    }
    const uint64_t unread = received_.size() - read_;
    return unread >= options_.receive_buffer ? 0 : options_.receive_buffer - static_cast<uint32_t>(unread);
}

void ReferenceClient::emit(Flags flags, uint64_t position, size_t size, Instant now, std::vector<Packet>& out) {
    Segment s;
    s.flow = flow_;
    s.flags = flags;
    s.seq = s.has(Flags::syn) ? options_.isn : seq_at(position);
    const uint32_t window = free_window(now);
    window_was_small_ = window < options_.receive_buffer / 2;
    if (s.has(Flags::syn)) {
        s.window = std::min<uint32_t>(window, 0xffff);
        s.present = Present::mss;
        s.mss = options_.mss;
        if (options_.window_scale) s.present |= Present::window_scale, s.window_scale = *options_.window_scale;
        if (options_.sack_permitted) s.present |= Present::sack_permitted;
        if (options_.timestamps) s.present |= Present::timestamps;
    } else {
        const uint8_t shift = peer_scale_ == 0xff ? 0 : options_.window_scale.value_or(0);
        s.window = std::min<uint32_t>(window >> shift, 0xffff);
        s.ack = host_isn_ + 1 + static_cast<uint32_t>(received_.size()) + (host_fin_ ? 1 : 0);
        if (timestamps_) s.present |= Present::timestamps;
    }
    if (s.has(Present::timestamps)) {
        s.timestamps = {static_cast<uint32_t>(now.time_since_epoch().count() / 1000) - 5'000, ts_recent_};
    }
    const std::string payload = pattern(position, size);
    s.payload = std::as_bytes(std::span(payload));
    Packet packet(wire::headers_size(s) + size);
    if (wire::emit(s, packet)) out.push_back(std::move(packet));
    ack_wanted_ = false;
}

void ReferenceClient::receives(const Segment& s, Instant now) {
    if (s.has(Flags::rst)) {
        // After the end a late ACK of ours meets no connection any more; TIME-WAIT ignores the answer (RFC 1337).
        if (is_done()) return;
        // RFC 5961: only an exact one counts.
        const SeqNum exact = host_isn_ + 1 + static_cast<uint32_t>(received_.size()) + (host_fin_ ? 1 : 0);
        if (phase_ == Phase::syn_sent || s.seq == exact) reset_ = true;
        return;
    }
    if (phase_ == Phase::syn_sent) {
        if (!s.has(Flags::syn) || !s.has(Flags::ack) || s.ack != options_.isn + 1) return;
        host_isn_ = s.seq;
        peer_scale_ = options_.window_scale && s.has(Present::window_scale) ? s.window_scale : 0xff;
        peer_mss_ = s.has(Present::mss) ? s.mss : 536;
        timestamps_ = options_.timestamps && s.has(Present::timestamps);
        if (timestamps_) ts_recent_ = s.timestamps.value;
        peer_window_ = s.window;
        phase_ = Phase::open;
        timer_.reset();
        rto_ = first_rto;
        ack_wanted_ = true;
        return;
    }
    if (phase_ != Phase::open) return;
    if (s.has(Flags::syn)) {
        ack_wanted_ = true;  // our completing ACK was lost
        return;
    }
    if (!s.has(Flags::ack)) return;
    if (timestamps_) {
        if (!s.has(Present::timestamps)) return;
        if (static_cast<int32_t>(s.timestamps.value - ts_recent_) < 0) {
            ack_wanted_ = true;  // PAWS
            return;
        }
        const uint32_t expected = (host_isn_ + 1 + static_cast<uint32_t>(received_.size())).raw();
        if (SeqNum{s.seq}.at_or_before(SeqNum{expected})) ts_recent_ = s.timestamps.value;
    }
    learn_from_ack(s, now);
    keep_text(s);
}

void ReferenceClient::learn_from_ack(const Segment& s, Instant now) {
    const int32_t acked = s.ack - seq_at(una_);
    const auto outstanding = static_cast<int64_t>(highest_ - una_);
    if (acked < 0 || acked > outstanding) return;
    const uint32_t window = s.window << (peer_scale_ == 0xff ? 0 : peer_scale_);
    if (acked > 0) {
        una_ += static_cast<uint64_t>(acked);
        nxt_ = std::max(nxt_, una_);
        duplicate_acks_ = 0;
        rto_ = first_rto;
        timer_.reset();
        if (una_ < highest_) timer_ = now + rto_;
    } else if (s.payload.empty() && !s.has(Flags::fin) && outstanding > 0 && window == peer_window_) {
        if (++duplicate_acks_ == 3) resend_first_ = true;
    }
    peer_window_ = window;
}

void ReferenceClient::keep_text(const Segment& s) {
    if (s.seq_length() == 0) {
        // A keep-alive or an old duplicate deserves an answer, a pure ACK in order does not.
        const SeqNum next = host_isn_ + 1 + static_cast<uint32_t>(received_.size()) + (host_fin_ ? 1 : 0);
        if (s.seq != next) ack_wanted_ = true;
        return;
    }
    ack_wanted_ = true;
    // Position of the segment's first byte, which may lie before what has been received.
    const int64_t from =
        static_cast<int64_t>(received_.size()) + (s.seq - (host_isn_ + 1 + static_cast<uint32_t>(received_.size())));
    const int64_t room_ends = static_cast<int64_t>(read_ + options_.receive_buffer);
    for (size_t i = 0; i < s.payload.size(); ++i) {
        const int64_t at = from + static_cast<int64_t>(i) - static_cast<int64_t>(received_.size());
        if (at < 0 || from + static_cast<int64_t>(i) >= room_ends) continue;
        const auto place = static_cast<size_t>(at);
        if (kept_.size() <= place) kept_.resize(place + 1), kept_here_.resize(place + 1);
        kept_[place] = static_cast<char>(s.payload[i]);
        kept_here_[place] = true;
    }
    if (s.has(Flags::fin)) host_fin_at_ = static_cast<uint64_t>(from + static_cast<int64_t>(s.payload.size()));
    const auto whole = static_cast<size_t>(std::ranges::find(kept_here_, false) - kept_here_.begin());
    received_.append(kept_, 0, whole);
    kept_.erase(0, whole);
    kept_here_.erase(kept_here_.begin(), kept_here_.begin() + static_cast<ptrdiff_t>(whole));
    if (host_fin_at_ == received_.size()) host_fin_ = true;
}

void ReferenceClient::works(Instant now, std::vector<Packet>& out) {
    if (phase_ == Phase::syn_sent) {
        if (!timer_ || *timer_ > now) return;
        emit(Flags::syn, 0, 0, now, out);
        timer_ = now + rto_;
        rto_ = std::min(rto_ * 2, longest_rto);
        return;
    }
    if (phase_ != Phase::open || reset_) return;
    fin_wanted_ = fin_wanted_ || options_.closes_after_upload || (options_.closes_at_end && host_fin_);
    if (timer_ && *timer_ <= now) {
        nxt_ = una_;  // go back N
        rto_ = std::min(rto_ * 2, longest_rto);
        timer_.reset();
        // Into a closed window too: the host answers with its window.
        if (peer_window_ == 0 && una_ < end_of_stream()) peer_window_ = 1;
    }
    const size_t mss = std::min(options_.mss, peer_mss_) - size_t{timestamps_ ? 12u : 0u};
    const uint64_t limit = una_ + std::min<uint64_t>(peer_window_, options_.segments_in_flight * mss);
    const auto send_at = [&](uint64_t position) {
        const uint64_t end = std::min(options_.upload, std::max(limit, position));
        const size_t size = static_cast<size_t>(std::min<uint64_t>(mss, end > position ? end - position : 0));
        const bool with_fin = fin_wanted_ && position + size == options_.upload;
        if (size == 0 && !with_fin) return uint64_t{0};
        emit(with_fin ? Flags::fin | Flags::ack : Flags::ack | Flags::psh, position, size, now, out);
        const uint64_t sent = size + (with_fin ? 1 : 0);
        highest_ = std::max(highest_, position + sent);
        if (!timer_) timer_ = now + rto_;
        return sent;
    };
    if (resend_first_) {
        resend_first_ = false;
        send_at(una_);
    }
    while (nxt_ < end_of_stream()) {
        const uint64_t sent = send_at(nxt_);
        if (sent == 0) break;
        nxt_ += sent;
    }
    if (nxt_ < end_of_stream() && !timer_) timer_ = now + rto_;  // to probe the window
    const bool reopened = window_was_small_ && free_window(now) >= options_.receive_buffer / 2;
    if (ack_wanted_ || reopened) emit(Flags::ack, std::min(highest_, end_of_stream()), 0, now, out);
}

std::optional<Instant> ReferenceClient::next_due() const {
    if (reset_ || phase_ == Phase::closed) return {};
    std::optional<Instant> due = timer_;
    if (window_was_small_ && last_read_) {
        const Instant reading = *last_read_ + Duration{1000};
        due = due ? std::min(*due, reading) : reading;
    }
    return due;
}

bool ReferenceClient::is_done() const {
    return phase_ == Phase::open && host_fin_ && fin_wanted_ && una_ == end_of_stream();
}

std::string ReferenceClient::describe() const {
    std::ostringstream text;
    text << "client: sent and acknowledged " << una_ << " of " << end_of_stream() << ", window " << peer_window_
         << "; received " << received_.size() << (host_fin_ ? " and FIN" : "") << ", " << kept_.size()
         << " bytes span behind a hole" << (reset_ ? "; reset" : "");
    return text.str();
}

}  // namespace pollux::test
