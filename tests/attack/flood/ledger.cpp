#include "tests/attack/flood/ledger.hpp"

#include "tcp/wire/ethernet.hpp"
#include "tcp/wire/ipv4.hpp"
#include "tcp/wire/ipv6.hpp"

namespace pollux::test {

using tcp::Flags;
using tcp::wire::EthernetFrame;
using tcp::wire::EtherType;
using tcp::wire::IpProtocol;

namespace {

constexpr size_t flags_at = 13;

Ledger::Reply kind_of(IpProtocol protocol, std::span<const std::byte> payload) {
    if (protocol == IpProtocol::icmp || protocol == IpProtocol::icmpv6) return Ledger::Reply::icmp;
    if (protocol != IpProtocol::tcp || payload.size() <= flags_at) return Ledger::Reply::other;
    const auto flags = Flags(payload[flags_at]);
    if (any(flags & Flags::rst)) return Ledger::Reply::rst;
    if (any(flags & Flags::syn)) return Ledger::Reply::syn_ack;
    return any(flags & Flags::ack) ? Ledger::Reply::ack : Ledger::Reply::other;
}

}  // namespace

void Ledger::comes(std::span<const std::byte> bytes) {
    const auto frame = EthernetFrame::parse(bytes);
    if (!frame) return comes(Reply::other);
    if (frame->ether_type() == EtherType::arp) return comes(Reply::link);
    const auto packet = frame->payload();
    if (const auto ip = tcp::wire::Ipv4Header::parse(packet); ip && frame->ether_type() == EtherType::ipv4) {
        const Reply reply = kind_of(ip->protocol(), ip->payload());
        if (reply == Reply::syn_ack) {
            longest_syn_ack_[0] = std::max(longest_syn_ack_[0], static_cast<uint32_t>(ip->total_length()));
        }
        return note(reply, ip->destination());
    }
    if (const auto ip = tcp::wire::Ipv6Header::parse(packet); ip && frame->ether_type() == EtherType::ipv6) {
        const Reply reply = kind_of(ip->protocol(), ip->payload());
        if (reply == Reply::syn_ack) {
            const size_t size = tcp::wire::Ipv6Header::fixed_size + ip->payload().size();
            longest_syn_ack_[1] = std::max(longest_syn_ack_[1], static_cast<uint32_t>(size));
        }
        return note(reply, ip->destination());
    }
    comes(Reply::other);
}

void Ledger::note(Reply reply, const tcp::IpAddress& to) {
    comes(reply);
    const auto number = sources::number_of(to);
    if (!number) return;
    if (sent_[*number] == 0) ++unasked_;
    if (answers_[*number] < most_told_apart) ++answers_[*number];
}

std::array<uint64_t, Ledger::most_told_apart + 1> Ledger::replies_per_packet() {
    for (uint64_t place = 0; place < sources::count; ++place) settle(place);
    return settled_;
}

}  // namespace pollux::test
