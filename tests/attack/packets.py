"""Packets byte by byte: builders whose every field can be a lie, and a reader of what comes back.

A builder fills in lengths and checksums unless it is told them. Addresses are text, payloads are bytes.
"""

import functools
import socket
import struct

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))
IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
MASK = 0xFFFFFFFF


def checksum(data):
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


@functools.lru_cache(maxsize=1 << 17)
def address(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def ethernet(payload, to, source, kind=None, vlans=()):
    """`kind`: by the payload's version, if it is not said. `vlans`: (type, tag), the outer first."""
    if kind is None:
        kind = IPV6 if payload[:1] and payload[0] >> 4 == 6 else IPV4
    tags = b"".join(struct.pack("!HH", *vlan) for vlan in vlans)
    return mac(to) + mac(source) + tags + struct.pack("!H", kind) + payload


def ipv4(payload, source, to, protocol=TCP, ttl=64, ident=0, fragment=0, options=b"", version=4, ihl=None, total=None,
         check=None, tos=0):
    """`fragment`: the flags and the offset in units of 8 bytes, as they stand in the header."""
    words = 5 + len(options) // 4 if ihl is None else ihl
    header = struct.pack("!BBHHHBBH4s4s", version << 4 | words, tos,
                         20 + len(options) + len(payload) if total is None else total, ident, fragment, ttl, protocol,
                         0, address(source), address(to)) + options
    check = checksum(header) if check is None else check
    return header[:10] + struct.pack("!H", check) + header[12:] + payload


def ipv6(payload, source, to, protocol=TCP, hops=64, length=None, version=6):
    return struct.pack("!IHBB16s16s", version << 28, len(payload) if length is None else length, protocol, hops,
                       address(source), address(to)) + payload


def pseudo_header(source, to, protocol, size):
    return address(source) + address(to) + struct.pack("!II", protocol, size)


def tcp_segment(source, to, source_port, to_port, flags, seq=0, ack=0, window=65535, options=b"", text=b"", offset=None,
                check=None, urgent=0):
    """The TCP header and its text; `options` are padded."""
    options += b"\0" * (-len(options) % 4)
    words = 5 + len(options) // 4 if offset is None else offset
    header = struct.pack("!HHIIHHHH", source_port, to_port, seq & MASK, ack & MASK, words << 12 | flags, window, 0,
                         urgent) + options
    if check is None:
        check = checksum(pseudo_header(source, to, TCP, len(header) + len(text)) + header + text)
    return header[:16] + struct.pack("!H", check) + header[18:] + text


def ip(payload, source, to, protocol=TCP):
    return ipv6(payload, source, to, protocol) if ":" in to else ipv4(payload, source, to, protocol)


def mss_option(mss):
    return struct.pack("!BBH", 2, 4, mss)


def timestamp_option(value, echo):
    return struct.pack("!BBBBII", 1, 1, 8, 10, value & MASK, echo & MASK)


def sack_option(blocks):
    return struct.pack("!BBBB", 1, 1, 5, 2 + 8 * len(blocks)) + b"".join(
        struct.pack("!II", first & MASK, end & MASK) for first, end in blocks)


def syn_options(mss=1460, scale=7, sack=True, stamp=None):
    """As most stacks write them; what is None or False is left out."""
    out = mss_option(mss) if mss is not None else b""
    out += b"\4\2" if sack else b""
    out += struct.pack("!BBII", 8, 10, stamp & MASK, 0) if stamp is not None else b""
    out += struct.pack("!BBBB", 1, 3, 3, scale) if scale is not None else b""
    return out + b"\1" * (-len(out) % 4)


def icmp(kind, code, rest, body=b"", check=None):
    message = struct.pack("!BBHI", kind, code, 0, rest) + body
    return message[:2] + struct.pack("!H", checksum(message) if check is None else check) + message[4:]


def icmpv6(source, to, kind, code, rest, body=b"", check=None):
    message = struct.pack("!BBHI", kind, code, 0, rest) + body
    if check is None:
        check = checksum(pseudo_header(source, to, ICMPV6, len(message)) + message)
    return message[:2] + struct.pack("!H", check) + message[4:]


def arp(operation, sender_mac, sender, target_mac, target):
    return struct.pack("!HHBBH", 1, IPV4, 6, 4, operation) + mac(sender_mac) + address(sender) + mac(
        target_mac) + address(target)


class Packet:
    """What was read; fields that a packet does not have are None."""

    __slots__ = ("source", "to", "protocol", "source_port", "to_port", "flags", "seq", "ack", "window", "text", "size",
                 "options", "ident", "raw", "at")

    def __getattr__(self, _):  # slots that were never filled
        return None

    def __str__(self):
        names = "".join(name for bit, name in enumerate("FSRPAUEC") if (self.flags or 0) >> bit & 1)
        return (f"{self.source}:{self.source_port} > {self.to}:{self.to_port} [{names}] seq {self.seq} ack {self.ack} "
                f"win {self.window} len {len(self.text or b'')}")

    @property
    def length(self):
        """Of the sequence space."""
        return len(self.text) + bool(self.flags & SYN) + bool(self.flags & FIN)

    def option(self, kind):
        """The value of a TCP option; None if it is not there."""
        at, options = 0, self.options
        while at < len(options):
            if options[at] == 0:
                return None
            if options[at] == 1:
                at += 1
                continue
            if options[at] == kind:
                return options[at + 2:at + options[at + 1]]
            at += options[at + 1]
        return None

    @property
    def stamps(self):
        value = self.option(8)
        return struct.unpack("!II", value) if value else None


def read(frame):
    """A Packet, or None if the frame holds no IP."""
    kind, = struct.unpack_from("!H", frame, 12)
    p = Packet()
    p.raw = frame
    if kind == IPV4:
        words, total, p.ident = frame[14] & 15, *struct.unpack_from("!HH", frame, 16)
        p.protocol, p.source, p.to = frame[23], socket.inet_ntoa(frame[26:30]), socket.inet_ntoa(frame[30:34])
        p.size, at = total, 14 + 4 * words
    elif kind == IPV6:
        length, p.protocol = struct.unpack_from("!HB", frame, 18)
        p.source = socket.inet_ntop(socket.AF_INET6, frame[22:38])
        p.to = socket.inet_ntop(socket.AF_INET6, frame[38:54])
        p.size, at = 40 + length, 54
    else:
        return None
    body = frame[at:14 + p.size]
    p.text = body
    if p.protocol == TCP and len(body) >= 20:
        p.source_port, p.to_port, p.seq, p.ack, bits, p.window = struct.unpack_from("!HHIIHH", body)
        p.flags, offset = bits & 0xFF, bits >> 12
        p.options, p.text = body[20:4 * offset], body[4 * offset:]
    return p
