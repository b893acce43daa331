"""Peers that abuse their own connections: absurd segment sizes and SACKs, tiny pieces out of order, ACKs that lie, and
windows that stay shut."""

import collections
import pathlib
import random
import tempfile
import time

import junit
from handshake_test import Crafted
from packets import ACK, FIN, MASK, PSH, RST
from victim import HALF_OPEN_LIFE, MEMORY_KB
from wire import Peer, after

BODY = random.Random(1).randbytes(3_000_000)  # what /big answers: more than any row fetches
LEAST_MSS, STAMPS = 48, 12


class Reader:
    """Fetches a body and decides what to acknowledge: of each flight it first pretends not to have got `lost` pieces."""

    def __init__(self, test, peer, loses):
        self.test, self.peer, self.loses = test, peer, loses
        self.pieces, self.seen, self.sizes = {}, {}, set()
        self.acks = 0

    def block(self):
        """The latest three ranges beyond what is acknowledged, newest first."""
        blocks = []
        for seq, size in reversed(self.recent):
            if after(seq, self.peer.ack) > 0:
                blocks.append((seq, seq + size))
            if len(blocks) == 3:
                break
        return blocks

    def advance(self):
        while (text := self.pieces.get(self.peer.ack)) is not None:
            self.got += text
            del self.pieces[self.peer.ack]
            self.peer.ack = (self.peer.ack + len(text)) & MASK

    def asks(self):
        self.got, self.recent, self.start = b"", [], self.peer.ack
        self.peer.asks("/big")

    def fetches(self, size, seconds):
        """Goes on until so much has come."""
        peer, end = self.peer, time.monotonic() + seconds
        while len(self.got) < size and time.monotonic() < end:
            packet = peer.hears(1)
            if packet is None:
                peer.sends(ACK)
                continue
            if not packet.text:
                continue
            self.sizes.add(len(packet.text))
            count = self.seen[packet.seq] = self.seen.get(packet.seq, 0) + 1
            number = after(packet.seq, self.start) // max(len(packet.text), 1)
            if self.loses and number % 2 and count == 1:
                continue
            if after(packet.seq, peer.ack) >= 0:
                self.pieces[packet.seq] = packet.text
                self.recent.append((packet.seq, len(packet.text)))
                del self.recent[:-64]
            before = peer.ack
            self.advance()
            # Every piece of a hole is told of; otherwise every second.
            self.acks += 1
            if self.loses or self.acks % 2 == 0 or peer.ack == before:
                peer.sends(ACK, sack=self.block())
        peer.sends(ACK)


class Sending(Crafted):
    @classmethod
    def setUpClass(cls):
        file = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="pollux-test."))) / "big"
        file.write_bytes(BODY)
        # HyStart++ would end slow start whenever this machine is slow.
        cls.settings = {"routes": [("/big", "file", file)], "tcp": "hystart = false\n"}
        super().setUpClass()

    def one_segment_is_seen(self, peer):
        end = f"{peer.source}:{peer.port}"
        return self.victim.rows("conns", "--peer", end)

    def cost(self, mss, loses, size):
        """Microseconds of the victim's for each segment in or out, in six parts of the transfer; what it all moved."""
        peer = Peer(self.wire, "192.0.2.66", mss=mss, scale=7, stamps=False)
        peer.opens()
        reader = Reader(self, peer, loses)
        reader.asks()
        counters = [self.victim.counters()]
        costs = []
        for part in range(1, 7):
            reader.fetches(size * part // 6, 20)
            counters.append(self.victim.counters())
            moved = collections.Counter(counters[-1]) - collections.Counter(counters[-2])
            costs.append(moved["busy_us"] / (moved["segments_received"] + moved["segments_sent"]))
        self.assertGreaterEqual(len(reader.got), size, f"MSS {mss}, {'every second lost' if loses else 'honest'}")
        body = reader.got.partition(b"\r\n\r\n")[2]
        self.assertEqual(body, BODY[:len(body)])
        self.assertEqual(max(reader.sizes), max(mss, LEAST_MSS), "bytes of a segment")
        peer.resets()
        self.wire.passes(0.05)
        return costs, collections.Counter(counters[-1]) - collections.Counter(counters[0])

    @junit.row("ATK-06")
    def test_tiny_segments_and_sacks_of_every_second(self):
        """SACK panic: MSS 1, 8 and 48 are all 48, the transfer goes on, and a segment costs at most twice what it does
        at the usual size, for a peer that loses as much."""
        trial, segments = self.trial("ATK-06"), 600 if self.mode.scale == 1 else 2000
        with trial.beside_honest(memory_kb=2 * MEMORY_KB):
            usual = self.cost(1460, True, 1448 * segments)[0]
            for mss in (1, 8, 48):
                # The machine has other things to do: the best of some parts tells.
                costs, moved = self.cost(mss, True, LEAST_MSS * segments)
                trial.words.append(f"MSS {mss}: {min(costs):.1f} us a segment (1460: {min(usual):.1f})")
                self.is_undisturbed(min(costs) < 2 * min(usual), (usual, costs))
                # What was missing is sent again, and not much more.
                self.assertGreater(moved["retransmitted_segments"], segments / 4)
                self.assertLess(moved["retransmitted_segments"], segments)
        trial.ends("retransmitted_segments", "segments_marked_lost")

    def with_in_flight(self, segments, port):
        """A peer of tiny segments that has been honest until so many of them were in flight, and stops then; and where
        they begin and end."""
        peer = Peer(self.wire, "192.0.2.66", port, mss=1, scale=7, stamps=False)
        peer.opens()
        peer.asks("/big")
        for _ in range(40):
            flight = peer.hears_all(0.03)
            if len(flight) >= segments:
                break
            self.honestly(peer, flight)
        self.assertGreaterEqual(len(flight), segments, "segments in flight")
        return peer, peer.ack, sum(len(packet.text) for packet in flight)

    def volley(self, holders):
        """SACKs of every second segment of each of them, three blocks to an ACK; microseconds for each."""
        frames = []
        for peer, start, size in holders:
            for place in range(LEAST_MSS, size - LEAST_MSS, 2 * LEAST_MSS):
                blocks = [(start + at, start + at + LEAST_MSS) for at in (place, place - 2 * LEAST_MSS, place - 4 * LEAST_MSS)
                          if at > 0]
                frames.append(peer.frame(ACK, sack=blocks))
        before = self.victim.counters()
        for frame in frames:
            self.wire.send(frame)
        self.wire.passes(0.1)
        moved = collections.Counter(self.victim.counters()) - collections.Counter(before)
        return moved["busy_us"] / len(frames), len(frames)

    @junit.row("ATK-06")
    def test_scoreboards_of_many_holes(self):
        """Nothing is acknowledged any more but by SACK, of every second segment: an ACK costs about the same whether the
        scoreboard has 60 records or 600, and there are never more than the settings have."""
        trial, costs = self.trial("ATK-06"), {60: [], 600: []}
        with trial.beside_honest(memory_kb=2 * MEMORY_KB):  # the records, for the first time
            for round_number in range(3):
                for segments, each in costs.items():
                    port = 21_000 + 100 * round_number
                    holders = [self.with_in_flight(segments, port + i) for i in range(600 // segments)]
                    cost, acks = self.volley(holders)
                    each.append(cost)
                    self.assertGreater(acks, 250)
                    for pool in map(self.victim.pool, ("segment_records", "recoveries")):
                        self.assertLessEqual(pool["used"], pool["capacity"])
                        self.assertGreater(pool["used"], 0)
                    for peer, *_ in holders:
                        peer.resets()
        trial.words.append("us an ACK: " + ", ".join(f"{min(each):.1f} at {n} records" for n, each in costs.items()))
        trial.ends("segments_marked_lost")
        self.is_undisturbed(min(costs[600]) < 3 * min(costs[60]), costs)

    def flights(self, acknowledge, rounds=6):
        """Bytes of each flight of a download; `acknowledge(peer, packets)` says when to go on."""
        peer = Peer(self.wire, "192.0.2.66", scale=7)
        peer.opens()
        peer.asks("/big")
        sizes = []
        for _ in range(rounds):
            packets = peer.hears_all(0.06)
            sizes.append(sum(len(p.text) for p in packets if after(p.seq, peer.ack) >= 0))
            if not sizes[-1]:
                break
            acknowledge(peer, packets)
        peer.resets()
        return sizes

    @staticmethod
    def honestly(peer, packets):
        """An ACK for every second segment."""
        for number, packet in enumerate(packets):
            peer.ack = (packet.seq + len(packet.text)) & MASK
            if number % 2 or packet is packets[-1]:
                peer.sends(ACK)

    @staticmethod
    def by_many(peer, packets):
        """ACK division: fifty ACKs for each segment."""
        for packet in packets:
            for part in range(1, 51):
                peer.ack = (packet.seq + max(len(packet.text) * part // 50, 1)) & MASK
                peer.sends(ACK)

    @staticmethod
    def for_what_has_not_come(peer, packets):
        """Optimistic ACKs: in front of the honest ones, of twice and ten times as much as has been sent."""
        end = packets[-1].seq + len(packets[-1].text)
        for factor in (2, 10):
            for ahead in range(1460, factor * 14_600, 1460):
                peer.sends(ACK, ack=end + ahead)
        Sending.honestly(peer, packets)

    @junit.row("ATK-18")
    def test_acks_that_say_more_than_they_know(self):
        """Byte counting: many ACKs for the same bytes, or ACKs of what was never sent, open the window no faster."""
        trial = self.trial("ATK-18")
        with trial.beside_honest():
            honest = self.flights(self.honestly)
            divided = self.flights(self.by_many)
            optimistic = self.flights(self.for_what_has_not_come)
        trial.words.append(f"bytes of each flight: honest {honest}, divided {divided}, optimistic {optimistic}")
        trial.ends("ack_of_unsent")
        self.assertGreater(honest[3], 2 * honest[0], "the window opens at all")
        for name, flights in (("divided", divided), ("optimistic", optimistic)):
            for number, (mine, theirs) in enumerate(zip(flights, honest)):
                self.assertLessEqual(mine, theirs + 2 * 1460, f"{name}, flight {number}: {flights} of {honest}")

    @junit.row("ATK-18")
    def test_duplicates_that_nobody_lost_anything_for(self):
        """Hundreds of duplicate ACKs: with SACK they say nothing without blocks; without it they let out at most what an
        honest loss would, and cwnd is lower afterwards."""
        trial = self.trial("ATK-18")
        with trial.beside_honest():
            for sack in (True, False):
                peer = Peer(self.wire, "192.0.2.66", scale=7, sack=sack)
                peer.opens()
                peer.asks("/big")
                for _ in range(2):
                    self.honestly(peer, peer.hears_all(0.06))
                flight = peer.hears_all(0.06)
                sent = sum(len(p.text) for p in flight)
                (row,) = self.one_segment_is_seen(peer)
                cwnd = row["cwnd"]
                self.assertGreater(sent, 20_000)
                for _ in range(300):
                    peer.sends(ACK)
                more = sum(len(p.text) for p in peer.hears_all(0.1))
                self.assertLessEqual(more, sent, f"bytes for 300 duplicates, SACK {sack}")
                self.honestly(peer, flight)
                peer.hears_all(0.06)
                (row,) = self.one_segment_is_seen(peer)
                self.assertLessEqual(row["cwnd"], 2 * cwnd, f"SACK {sack}")
                trial.words.append(f"SACK {sack}: {more} bytes for 300 duplicates, cwnd {cwnd} then {row['cwnd']}")
                peer.resets()
        trial.ends("duplicate_ack")


class Receiving(Crafted):
    def hammers(self, peer, places, batch):
        """One byte at each of these places; microseconds of the victim's for each segment, batch by batch."""
        costs = []
        for first in range(0, len(places), batch):
            part = places[first:first + batch]
            frames = [peer.frame(ACK | PSH, b"x", seq=peer.seq + place) for place in part]
            before = self.victim.counters()
            for number, frame in enumerate(frames):
                self.wire.send(frame)
                if number % 128 == 127:
                    self.wire.pump()
            self.wire.passes(0.05)
            peer.inbox.clear()
            counters = self.victim.counters()
            costs.append((counters["busy_us"] - before["busy_us"]) /
                         (counters["segments_received"] - before["segments_received"]))
        return costs

    @junit.row("ATK-07")
    def test_single_bytes_at_odd_places(self):
        """SegmentSmack: a segment costs the same whether nothing, little or all of the window is in pieces."""
        trial = self.trial("ATK-07")
        count = 8_000 * self.mode.scale
        with trial.beside_honest(memory_kb=2 * MEMORY_KB):  # every table of out-of-order data for the first time
            for source, order in (("192.0.2.66", "random"), ("2001:db8::66", "falling")):
                peer = Peer(self.wire, source)
                peer.opens()
                span = min(2 * count, 60_000)
                odd = list(range(1, span, 2))
                places = (random.Random(1).sample(odd, len(odd)) if order == "random" else odd[::-1])
                places = (places * (count // len(places) + 1))[:count]
                # Without a queue: bytes before the window, which end at once.
                plain = min(self.hammers(peer, [-1 - i % 1000 for i in range(2000)], 400))
                costs = self.hammers(peer, places, 500)
                pool = {row["name"]: row for row in self.victim.rows("pools")}
                self.assertLessEqual(pool["chunks"]["used"], 256, "chunks: at most the window of one connection")
                # The machine has other things to do: the best of several small batches tells what a segment costs.
                third = len(costs) // 3
                early, late = min(costs[:third]), min(costs[-third:])
                trial.words.append(f"{order}: {plain:.1f} us a segment before the window, {early:.1f} first, {late:.1f} last")
                self.is_undisturbed(late < 2 * early, costs)
                self.is_undisturbed(late < 2 * plain, (plain, costs))
                peer.resets()
                self.wire.peers.clear()
        trial.ends(("out_of_order", "no_buffer", "old_data"), "out_of_order")

    @junit.row("ATK-07")
    def test_what_was_in_pieces_arrives(self):
        """The attacker's own request, in single bytes and the wrong order, is answered: nothing honest is lost."""
        trial = self.trial("ATK-07")
        with trial.beside_honest():
            peer = Peer(self.wire)
            peer.opens()
            text = b"GET / HTTP/1.1\r\nHost: victim\r\n\r\n"
            for first in (1, 0):
                for at in range(first, len(text), 2):
                    peer.sends(ACK | PSH, text[at:at + 1], seq=peer.seq + at)
            peer.seq = (peer.seq + len(text)) & MASK
            self.assertIn(b" 200 ", peer.reads(3))
            peer.resets()
        trial.ends("out_of_order")

    @junit.row("ATK-07")
    def test_z_ends_clean(self):
        """Last by name."""
        self.victim.ends_clean(self)


class Stalled(Crafted):
    """Sockstress: peers that ask and then take nothing, or one byte. The user timeout is what ends them."""

    USER_TIMEOUT = 3
    PEERS = 400
    settings = {"routes": [("/big", "body", "y" * 100_000)], "tcp": f'user_timeout = "{USER_TIMEOUT}s"\n',
                "capacity": "connections = 60000\n"}

    def stalls(self, window, count):
        """So many connections that have asked for much and say that they take `window` bytes, and then say nothing."""
        peers = []
        for first in range(0, count, 100):
            batch = [Peer(self.wire, f"192.0.2.{80 + number // 20_000}", 2_000 + number % 20_000, scale=0, window=1000)
                     for number in range(first, min(first + 100, count))]
            for peer in batch:
                peer.sends_syn()
            for peer in batch:
                answer = peer.hears(3)
                peer.ack = (answer.seq + 1) & MASK
                peer.window = window
                peer.asks("/big")
            peers += batch
        return peers

    @junit.row("ATK-11")
    def test_windows_that_stay_shut(self):
        for window in (0, 1):
            trial, count = self.trial("ATK-11"), self.PEERS * self.mode.scale ** 2
            with trial.beside_honest():
                began = time.monotonic()
                peers = self.stalls(window, count)
                self.wire.passes(0.3)
                pools = {row["name"]: row["used"] for row in self.victim.rows("pools")}
                self.assertGreaterEqual(pools["connections"], min(count, 400))
                # An answer is referred to, never copied: what a stalled peer holds is its connection, and a queue entry.
                self.assertLessEqual(pools["chunks"], 32)
                self.assertLessEqual(pools["receive_stores"], 32)
                self.assertLessEqual(pools["send_entries"], 4 * count)
                stalled = [row for row in self.victim.rows("conns", "--peer", "192.0.2.80:2000")
                           if row["state"] == "established"]
                self.assertTrue(stalled)
                self.assertLessEqual(max(row["in_flight"] for row in stalled), max(window, 1) + 1)
                memory = self.victim.memory_kb()
                self.wire.passes(began + self.USER_TIMEOUT / 2 - time.monotonic())
                self.assertLess(self.victim.memory_kb() - memory, 1024, "KB while they stall")
                took = time.monotonic() - began
                probes = sum(len(peer.inbox) for peer in peers)
                # RFC 9293 section 3.8.6.1: the intervals double, from 0.2 s.
                self.assertLessEqual(probes, count * 8 + len(peers) * took)
                for peer in peers:
                    self.wire.peers.pop((peer.source, peer.port, 80))
                self.wire.others.clear()
            trial.words.append(f"{count} peers with a window of {window}, {probes / count:.1f} segments each")
            # What is sent into a window of one byte is never acknowledged, and is repeated.
            again = "retransmission_timeouts" if window else "window_probes"
            moved = trial.ends("connections_timed_out", again, life=self.USER_TIMEOUT * 2 + HALF_OPEN_LIFE)
            self.assertGreaterEqual(moved["connections_timed_out"], count * 0.99)

    @junit.row("ATK-11")
    def test_z_ends_clean(self):
        """Last by name."""
        self.victim.ends_clean(self)


class SlowRequests(Crafted):
    """Slowloris: requests that come a byte at a time. The limit counts from the first byte, however many follow.

    Slow bodies and slow readers are not limited yet, so that the row is not proved by this."""

    LIMIT = 2
    settings = {"http": f'idle_timeout = "0s"\nmax_requests = 0\nheader_timeout = "{LIMIT}s"\n'}

    @junit.partly("ATK-12")
    def test_headers_that_never_end(self):
        trial, count = self.trial("ATK-12"), 100 * self.mode.scale
        with trial.beside_honest():
            peers = [Peer(self.wire, f"192.0.2.{90 + i // 1000}", 10_000 + i % 1000) for i in range(count)]
            for peer in peers:
                peer.opens()
                peer.sends(ACK | PSH, b"GET / HTTP/1.1\r\nHost: victim\r\n")
            began, ended = time.monotonic(), {}
            while len(ended) < count and time.monotonic() < began + 2 * self.LIMIT:
                for peer in peers:
                    if peer in ended:
                        continue
                    if any(packet.flags & (FIN | RST) for packet in peer.inbox):
                        ended[peer] = time.monotonic() - began
                    else:
                        peer.sends(ACK | PSH, b"X")
                self.wire.passes(0.2)
            self.assertEqual(len(ended), count)
            self.assertGreater(min(ended.values()), self.LIMIT * 0.8)
            self.assertLess(max(ended.values()), self.LIMIT + 1)
            for peer in peers:
                peer.resets()
        trial.words.append(f"{count} ended after {min(ended.values()):.1f} to {max(ended.values()):.1f} s")
        trial.ends("connections_opened")

    @junit.partly("ATK-12")
    def test_z_ends_clean(self):
        """Last by name."""
        self.victim.ends_clean(self)
