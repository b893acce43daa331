"""Frames that lie about themselves, one by one, on a TAP device: each ends by name, and none is answered."""

import struct
import time

import junit
import packets
from handshake_test import Crafted
from harness import CLIENT, DEVICE, SERVER, SERVER_V6
from packets import ACK, ARP, ICMP, ICMPV6, PSH, SYN, TCP, ethernet, ipv4, ipv6, tcp_segment
from wire import ATTACKER_MAC, VICTIM_MAC, Peer

V4, V6 = "192.0.2.66", "2001:db8::66"
FAR, FAR_V6 = "198.51.100.66", "2001:db8:1::66"
BROADCAST = "ff:ff:ff:ff:ff:ff"


def syn(source=V4, to=SERVER, **more):
    return tcp_segment(source, to, 40000, 80, SYN, **more)


def frame(packet, to=VICTIM_MAC, source=ATTACKER_MAC, **more):
    return ethernet(packet, to, source, **more)


class Tables(Crafted):
    def each_ends_as(self, row, table):
        """`table`: (what, counter, frame). Each moves its counter by one, and nothing comes back."""
        trial = self.trial(row)
        with trial.beside_honest():
            for what, counter, lie in table:
                with self.subTest(what=what):
                    before = self.victim.counters()[counter]
                    self.wire.forgets()
                    self.wire.send(lie)
                    end = time.monotonic() + 2
                    while (moved := self.victim.counters()[counter] - before) == 0 and time.monotonic() < end:
                        self.wire.passes(0.005)
                    self.wire.pump()
                    self.assertEqual(moved, 1, counter)
                    answers = [str(p) for p in self.wire.others if p.to not in (CLIENT, "2001:db8::2")]
                    self.assertEqual(answers, [], "answers")
        return trial.ends(*{counter for _, counter, _ in table})

    @junit.row("ATK-08")
    def test_fragments_that_would_make_a_syn(self):
        """Six overlaps, teardrop, the ping of death, and fragments of both families: none completes anything."""
        whole, more = syn(), 0x2000

        def piece(text, offset, flags=0, ident=7):
            return frame(ipv4(text, V4, SERVER, ident=ident, fragment=flags | offset))

        first, last = whole[:16], whole[16:]
        table = [(what, "fragment", lie) for what, lie in {
            "first half": piece(first, 0, more), "second half": piece(last, 2),
            "the same again": piece(last, 2), "overlap from the left": piece(whole[8:], 1),
            "overlap to the right": piece(whole + bytes(8), 0, more), "inside another": piece(whole[8:16], 1, more),
            "around another": piece(whole + bytes(64), 0, more), "teardrop": piece(bytes(4), 1),
            "ping of death": frame(ipv4(bytes(1400), V4, SERVER, protocol=ICMP, fragment=0x1fff)),
            "of no length": piece(b"", 3, more), "only one": piece(whole, 0, more),
            "IPv6, first": frame(ipv6(self.v6_fragment(syn(V6, SERVER_V6)[:16], 0, 1), V6, SERVER_V6, 44)),
            "IPv6, last": frame(ipv6(self.v6_fragment(syn(V6, SERVER_V6)[16:], 2, 0), V6, SERVER_V6, 44)),
        }.items()]
        moved = self.each_ends_as("ATK-08", table)
        self.assertEqual(moved["fragment"], len(table))
        self.assertEqual(moved["syn_answered"], moved["opened"])  # the honest ones'

    @staticmethod
    def v6_fragment(text, offset, more, next_header=TCP):
        return struct.pack("!BBHI", next_header, 0, offset << 3 | more, 4711) + text

    @junit.row("ATK-21")
    def test_malformed_headers(self):
        """Every length and sum that a header holds, wrong; in the order in which they are looked at."""
        good = syn()
        table = [
            ("VLAN tag cut off", "frame_too_short", frame(b"", kind=0x8100) + bytes(2)),
            ("unknown type", "unknown_ethertype", frame(ipv4(good, V4, SERVER), kind=0x1234)),
            ("three VLAN tags", "unknown_ethertype",
             frame(ipv4(good, V4, SERVER), vlans=[(0x88A8, 1), (0x8100, 2), (0x8100, 3)])),
            ("from a group", "not_our_frame", frame(ipv4(good, V4, SERVER), source="03:00:00:00:00:01")),
            ("to another station", "not_our_frame", frame(ipv4(good, V4, SERVER), to="02:00:00:00:00:77")),
            ("header cut off", "bad_ip_header", frame(ipv4(b"", V4, SERVER)[:19])),
            ("version 5", "bad_ip_header", frame(ipv4(good, V4, SERVER, version=5), kind=packets.IPV4)),
            ("IHL 4", "bad_ip_header", frame(ipv4(good, V4, SERVER, ihl=4))),
            ("IHL beyond the end", "bad_ip_header", frame(ipv4(b"", V4, SERVER, ihl=15))),
            ("total length below the header", "bad_ip_header", frame(ipv4(good, V4, SERVER, total=19))),
            ("total length beyond the end", "bad_ip_header", frame(ipv4(good, V4, SERVER, total=1000))),
            ("IP checksum", "bad_ip_checksum", frame(ipv4(good, V4, SERVER, check=0x1234))),
            ("source route", "source_routed",
             frame(ipv4(good, V4, SERVER, options=bytes([131, 7, 4, 192, 0, 2, 9, 0])))),
            ("IP option without end", "bad_ip_header",
             frame(ipv4(good, V4, SERVER, options=bytes([68, 40, 5, 0])))),
            ("unknown protocol", "unknown_protocol", frame(ipv4(good, V4, SERVER, protocol=253))),
            ("TCP cut off", "bad_tcp_header", frame(ipv4(good[:12], V4, SERVER))),
            ("data offset 4", "bad_tcp_header", frame(ipv4(syn(offset=4), V4, SERVER))),
            ("data offset beyond the end", "bad_tcp_header", frame(ipv4(syn(offset=15), V4, SERVER))),
            ("TCP checksum", "bad_tcp_checksum", frame(ipv4(syn(check=0x1234), V4, SERVER))),
            ("option of length 0", "bad_options", frame(ipv4(syn(options=bytes([8, 0, 0, 0])), V4, SERVER))),
            ("option of length 1", "bad_options", frame(ipv4(syn(options=bytes([253, 1, 0, 0])), V4, SERVER))),
            ("option beyond the header", "bad_options", frame(ipv4(syn(options=bytes([2, 40, 0, 0])), V4, SERVER))),
            ("MSS of length 3", "bad_options", frame(ipv4(syn(options=bytes([2, 3, 5, 0])), V4, SERVER))),
            ("ICMP cut off", "bad_icmp", frame(ipv4(b"\x08\0\0", V4, SERVER, protocol=ICMP))),
            ("ICMP checksum", "bad_icmp", frame(ipv4(packets.icmp(8, 0, 1, check=1), V4, SERVER, protocol=ICMP))),
            ("ARP cut off", "bad_arp", frame(packets.arp(1, ATTACKER_MAC, V4, BROADCAST, SERVER)[:20], kind=ARP)),
            ("IPv6 header cut off", "bad_ip_header", frame(ipv6(b"", V6, SERVER_V6)[:39])),
            ("IPv6 length beyond the end", "bad_ip_header", frame(ipv6(syn(V6, SERVER_V6), V6, SERVER_V6, length=900))),
        ]
        self.each_ends_as("ATK-21", table)

    @junit.row("ATK-21")
    def test_a_packet_cut_off_anywhere(self):
        """Every length from nothing to all but one byte, of packets of each kind, with and without VLAN tags."""
        trial = self.trial("ATK-21")
        wholes = [ipv4(syn(options=packets.syn_options(stamp=1)), V4, SERVER),
                  ipv6(syn(V6, SERVER_V6, options=packets.syn_options(stamp=1)), V6, SERVER_V6),
                  ipv4(packets.icmp(8, 0, 1, bytes(32)), V4, SERVER, protocol=ICMP),
                  ipv6(packets.icmpv6(V6, SERVER_V6, 135, 0, 0, packets.address(SERVER_V6)), V6, SERVER_V6, ICMPV6, 255)]
        with trial.beside_honest():
            for whole in wholes:
                for vlans in ((), [(0x8100, 5)], [(0x88A8, 5), (0x8100, 6)]):
                    for length in range(14, 14 + 4 * len(vlans) + len(whole)):
                        self.wire.send(frame(whole, vlans=vlans)[:length])
                    self.wire.passes(0.02)
        moved = trial.ends("frame_too_short", "bad_ip_header")
        self.assertEqual([str(p) for p in self.wire.others if p.to in (V4, V6)], [])
        self.assertEqual(moved["syn_answered"], moved["opened"])

    @junit.row("ATK-23")
    def test_ipv6_that_cannot_be(self):
        """Sources and destinations, chains of extension headers, neighbour discovery from afar or in pieces, routers."""
        def from_(source, to=SERVER_V6):
            return frame(ipv6(syn(source, to), source, to))

        def chain(*headers, last=TCP):
            """Of (type, body): each names the next."""
            packet, following = syn(V6, SERVER_V6), last
            for kind, body in reversed(headers):
                packet, following = bytes([following]) + body + packet, kind
            return frame(ipv6(packet, V6, SERVER_V6, following))

        def discovery(kind, body, hops=255, source=V6, to=SERVER_V6, fragmented=False):
            message = packets.icmpv6(source, to, kind, 0, 0, body)
            if fragmented:
                return frame(ipv6(self.v6_fragment(message, 0, 0, ICMPV6), source, to, 44, hops))
            return frame(ipv6(message, source, to, ICMPV6, hops))

        target = packets.address(SERVER_V6)
        padding, unknown = (60, bytes([0, 1, 4, 0, 0, 0, 0])), (60, bytes([0, 0xC2, 4, 0, 0, 0, 0]))
        route = (43, bytes([2, 0, 1, 0, 0, 0, 0]) + packets.address(FAR_V6))
        all_nodes, group_mac = "ff02::1", "33:33:00:00:00:01"
        table = [
            ("from a v4-mapped address", "martian", from_("::ffff:192.0.2.66")),
            ("to a v4-mapped address", "martian", from_(V6, "::ffff:192.0.2.1")),
            ("from loopback", "martian", from_("::1")),
            ("from a group", "martian", from_("ff02::66")),
            ("from nobody", "martian", from_("::")),
            ("from itself", "land", from_(SERVER_V6)),
            ("TCP to a group", "to_broadcast", frame(ipv6(syn(V6, all_nodes), V6, all_nodes), to=group_mac)),
            ("endless headers", "bad_extension_header", chain(*[padding] * 64)),
            ("header beyond the end", "bad_extension_header",
             frame(ipv6(bytes([6, 200, 0, 0, 0, 0, 0, 0]), V6, SERVER_V6, 60))),
            ("hop-by-hop in the middle", "bad_extension_header", chain(padding, (0, bytes([0, 1, 4, 0, 0, 0, 0])))),
            ("option that demands it", "bad_extension_header", chain(unknown)),
            ("source route", "source_routed", chain(route)),
            ("solicitation from afar", "bad_neighbor_discovery", discovery(135, target, hops=254)),
            ("advertisement from afar", "bad_neighbor_discovery", discovery(136, packets.address(V6), hops=64)),
            ("solicitation behind a fragment header", "bad_neighbor_discovery", discovery(135, target, fragmented=True)),
            ("option of length 0", "bad_neighbor_discovery", discovery(135, target + bytes([1, 0, 0, 0, 0, 0, 0, 0]))),
            ("target a group", "bad_neighbor_discovery", discovery(135, packets.address(all_nodes))),
        ]
        self.each_ends_as("ATK-23", table)

    @junit.row("ATK-23")
    def test_router_advertisements_are_ignored(self):
        trial = self.trial("ATK-23")
        before = self.victim.rows("ports")[0]
        prefix = struct.pack("!BBBBIII16s", 3, 4, 64, 0xC0, 86400, 14400, 0, packets.address("2001:db8:bad::"))
        body = struct.pack("!II", 0, 0) + prefix
        with trial.beside_honest():
            for to, to_mac in (("ff02::1", "33:33:00:00:00:01"), (SERVER_V6, VICTIM_MAC)):
                source = "fe80::66"
                message = packets.icmpv6(source, to, 134, 0, 64 << 24 | 1800, body)
                self.wire.send(frame(ipv6(message, source, to, ICMPV6, 255), to=to_mac))
        trial.ends("icmp_ignored")
        after = self.victim.rows("ports")[0]
        for field in ("addresses", "gateway", "gateway_v6", "mtu"):
            self.assertEqual(after[field], before[field], field)


class Link(Crafted):
    """Neighbours that lie, and reports about connections that exist."""

    settings = {"routes": [("/big", "body", "x" * 200_000)]}

    def entry(self, address):
        return next((row for row in self.victim.rows("neigh") if row["address"] == address), None)

    @junit.row("ATK-16")
    def test_lies_about_neighbors(self):
        """Answers and announcements that nobody asked for make no entry; those in our own name are counted."""
        trial = self.trial("ATK-16")
        unasked = "192.0.2.77"
        with trial.beside_honest():
            for _ in range(50):
                self.wire.send(frame(packets.arp(2, ATTACKER_MAC, unasked, VICTIM_MAC, SERVER), kind=ARP))
                self.wire.send(frame(packets.arp(1, ATTACKER_MAC, unasked, VICTIM_MAC, unasked), to=BROADCAST, kind=ARP))
                self.wire.send(frame(packets.arp(2, ATTACKER_MAC, SERVER, VICTIM_MAC, SERVER), kind=ARP))
            self.wire.passes(0.1)
            self.assertIsNone(self.entry(unasked))
        moved = trial.ends("bad_arp", "arp")
        self.assertGreaterEqual(moved["bad_arp"], 50)

    def fetches(self, source):
        """A peer with some 14 KB unacknowledged on the wire; (peer, sequence number of the first of it)."""
        peer = Peer(self.wire, source)
        peer.opens()
        peer.asks("/big")
        got = peer.hears_all(0.15)
        self.assertGreater(sum(packet.length for packet in got), 10_000)
        return peer, min((packet.seq for packet in got), key=lambda seq: (seq - peer.ack) & packets.MASK)

    def reports_too_big(self, peer, mtu, seq):
        """As a router would; `seq` proves, or does not, that it has seen what we sent."""
        quoted = struct.pack("!HHI", 80, peer.port, seq & packets.MASK)
        if ":" in peer.source:
            inner = ipv6(quoted, SERVER_V6, peer.source, length=1440)
            message = packets.icmpv6(FAR_V6, SERVER_V6, 2, 0, mtu, inner)
            return self.wire.send(frame(ipv6(message, FAR_V6, SERVER_V6, ICMPV6)))
        inner = ipv4(quoted, SERVER, peer.source, total=1500)
        return self.wire.send(frame(ipv4(packets.icmp(3, 4, mtu, inner), FAR, SERVER, protocol=ICMP)))

    def mss(self, peer):
        end = f"[{peer.source}]:{peer.port}" if ":" in peer.source else f"{peer.source}:{peer.port}"
        (row,) = self.victim.rows("conns", "--peer", end)
        return row["mss"]

    @junit.row("ATK-17")
    def test_too_big_is_believed_only_with_proof(self):
        """RFC 5927: without a sequence number that is outstanding nothing happens; with one, never below the floor."""
        trial = self.trial("ATK-17")
        with trial.beside_honest():
            for source, floor, headers in (("192.0.2.66", 552, 40), ("2001:db8::66", 1280, 60)):
                peer, seq = self.fetches(source)
                full = self.mss(peer)
                for mtu in (68, 0, 576, 1279, 1400):
                    for wrong in (seq - 1, seq + (1 << 30), seq - (1 << 20), 0):
                        self.reports_too_big(peer, mtu, wrong)
                self.wire.passes(0.1)
                self.assertEqual(self.mss(peer), full, "after reports without proof")
                for mtu in (68, floor - 1):
                    self.reports_too_big(peer, mtu, seq)
                self.wire.passes(0.1)
                self.assertEqual(self.mss(peer), full, "after reports of too little, with proof")
                self.reports_too_big(peer, floor, seq)
                self.wire.passes(0.1)
                self.assertEqual(self.mss(peer), floor - headers - 12, "after a report with proof")
                peer.resets()
        moved = trial.ends("path_notice", "path_mtu_lowered")
        self.assertEqual(moved["path_mtu_lowered"], 2)

    @junit.row("ATK-17")
    def test_broadcast_pings_are_not_answered(self):
        trial = self.trial("ATK-17")
        with trial.beside_honest():
            for to in ("192.0.2.255", "255.255.255.255", "224.0.0.1"):
                self.wire.send(frame(ipv4(packets.icmp(8, 0, 1, bytes(56)), V4, to, protocol=ICMP), to=BROADCAST))
            group = "ff02::1"
            ping = packets.icmpv6(V6, group, 128, 0, 1, bytes(56))
            self.wire.send(frame(ipv6(ping, V6, group, ICMPV6), to="33:33:00:00:00:01"))
            self.wire.passes(0.1)
        moved = trial.ends("to_broadcast", "icmp_ignored")
        self.assertEqual((moved["to_broadcast"], moved["icmp_echo"]), (3, 0))
        self.assertEqual([str(p) for p in self.wire.others if p.to in (V4, V6)], [])

    @junit.row("ATK-17")
    def test_z_ends_clean(self):
        """Last by name."""
        self.victim.ends_clean(self)
