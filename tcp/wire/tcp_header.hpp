// The TCP header (RFC 9293 section 3.1): a view that has been checked. After parse() no accessor can step outside the
// bytes. The reserved bits are ignored; the urgent pointer is readable and nothing acts on it. Options have their own
// bounded reader in tcp_options.hpp, the checksum needs the addresses and is checked in packet.cpp.
#pragma once

#include <optional>
#include <span>

#include "tcp/segment.hpp"
#include "tcp/wire/bytes.hpp"

namespace pollux::tcp::wire {

class TcpHeader {
public:
    static constexpr size_t min_size = 20;
    static constexpr size_t max_size = 60;

    /// `bytes` are header and payload. Nothing if the header does not fit or the data offset is below 5.
    static std::optional<TcpHeader> parse(std::span<const std::byte> bytes) noexcept {
        if (bytes.size() < min_size) return {};
        const size_t size = size_t{load_u8(bytes.data() + 12)} >> 4 << 2;
        if (size < min_size || size > bytes.size()) return {};
        return TcpHeader{bytes, size};
    }

    uint16_t source_port() const noexcept { return load_be16(at(0)); }
    uint16_t destination_port() const noexcept { return load_be16(at(2)); }
    SeqNum seq() const noexcept { return SeqNum{load_be32(at(4))}; }
    SeqNum ack() const noexcept { return SeqNum{load_be32(at(8))}; }
    /// min_size <= size() <= the bytes given to parse().
    size_t size() const noexcept { return size_; }
    Flags flags() const noexcept { return Flags{load_u8(at(13))}; }
    uint16_t window() const noexcept { return load_be16(at(14)); }  // unsigned: RFC 9293 MUST-1
    uint16_t checksum() const noexcept { return load_be16(at(16)); }
    uint16_t urgent_pointer() const noexcept { return load_be16(at(18)); }
    std::span<const std::byte> options() const noexcept { return bytes_.subspan(min_size, size_ - min_size); }
    std::span<const std::byte> payload() const noexcept { return bytes_.subspan(size_); }

private:
    TcpHeader(std::span<const std::byte> checked, size_t size) noexcept : bytes_(checked), size_(size) {}
    const std::byte* at(size_t offset) const noexcept { return bytes_.data() + offset; }

    std::span<const std::byte> bytes_;
    size_t size_;
};

}  // namespace pollux::tcp::wire
