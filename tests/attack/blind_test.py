"""Attacks on connections that exist, by somebody who knows or guesses their tuple: resets, SYNs, data, wars of ACKs."""

import random
import re
import time

import junit
from handshake_test import Crafted
from harness import CLIENT, CLIENT_V6, V4, V6, read_answer, request
from packets import ACK, MASK, PSH, RST, SYN, syn_options
from victim import MSL
from wire import Peer, after

LIMIT = 2  # challenge ACKs a second of one connection, as the settings have it


def challenges(seconds):
    """The most that a connection may send in this time: two a second, the current one and one more begun."""
    return LIMIT * (int(seconds) + 2)


class Blind(Crafted):
    def spoofs(self, family, sock, stream):
        """A peer that forges the kernel's connection `sock` and knows all of it, timestamps too; and what the victim
        knows of it."""
        source, port = sock.getsockname()[:2]
        self.assertEqual(family.client, source)
        forger = Peer(self.wire, source, port)
        sock.sendall(request())
        self.assertEqual(read_answer(stream).status, 200)
        self.wire.passes(0.05)
        echo = forger.inbox[-1].stamps[1]
        forger.stamp = lambda: echo + 10_000  # newer than anything that the kernel has said since
        forger.inbox.clear()
        (row,) = self.victim.rows("conns", "--peer", f"[{source}]:{port}" if ":" in source else f"{source}:{port}")
        forger.seq, forger.ack = row["rcv_nxt"], row["snd_nxt"]
        return forger, row

    def opens(self, family):
        sock = self.victim.connect(family=family)
        stream = sock.makefile("rb")
        sock.sendall(request())
        self.assertEqual(read_answer(stream).status, 200)
        time.sleep(0.05)
        return sock, stream

    @junit.row("ATK-04")
    def test_sweep_of_the_sequence_space(self):
        """RST, SYN and data at one place in each window of the 2^32, none of them exact: the connection lives, and what
        is said to it is bounded."""
        for family, (kind, flags) in zip((V4, V6, V4), (("RST", RST), ("SYN", SYN), ("data", ACK | PSH))):
            trial = self.trial("ATK-04")
            with trial.beside_honest():
                sock, stream = self.opens(family)
                forger, row = self.spoofs(family, sock, stream)
                window, edge = row["rcv_wnd"], forger.seq
                began, sent = time.monotonic(), 0
                for place in range(window // 2, 1 << 32, window):
                    text = b"x" if flags & PSH else b""
                    # A blind ACK is right once in a window of ours, which the sweep must not hit by its own doing.
                    forger.sends(flags, text, seq=edge + place, ack=forger.ack + (1 << 30))
                    sent += 1
                    if sent % 256 == 0:
                        self.wire.pump()
                self.wire.passes(0.2)
                took = time.monotonic() - began
                self.assertGreater(sent, 10_000)
                answers = list(forger.inbox)
                self.assertEqual([str(p) for p in answers if p.flags != ACK or p.length], [], kind)
                if not flags & PSH:  # data is acknowledged as a repetition would be, once for each burst at most
                    self.assertLessEqual(len(answers), challenges(took))
                self.assertLessEqual(len(answers), sent)
                sock.sendall(request())
                self.assertEqual(read_answer(stream).status, 200, f"after the {kind} sweep")
                stream.close()
                sock.close()
                trial.words.append(f"{kind}: {sent:,} in {took:.2f} s, {len(answers)} answers")
                self.wire.peers.clear()
            trial.ends({"RST": "reset_in_window", "SYN": "syn_in_window", "data": ("out_of_window", "old_data")}[kind])

    @junit.row("ATK-04")
    def test_hits_within_the_window(self):
        """Everywhere in the window but at its very beginning: challenge ACKs, within their limit, and nothing else."""
        for family in (V4, V6):
            trial = self.trial("ATK-04")
            with trial.beside_honest():
                sock, stream = self.opens(family)
                forger, row = self.spoofs(family, sock, stream)
                began, count = time.monotonic(), 1000
                for i in range(count):
                    place = random.randint(1, row["rcv_wnd"] - 1)
                    forger.sends(RST, seq=forger.seq + place)
                    forger.sends(SYN, seq=forger.seq + place)
                    # Data in the window with an ACK that nobody can have sent: before any window, and beyond.
                    for ack in (forger.ack + 1, forger.ack + (1 << 20), forger.ack - (1 << 30)):
                        forger.sends(ACK | PSH, b"GET /forged", seq=forger.seq, ack=ack)
                    if i % 64 == 0:
                        self.wire.pump()
                self.wire.passes(0.2)
                answers, took = list(forger.inbox), time.monotonic() - began
                self.assertLessEqual(len(answers), challenges(took), [str(p) for p in answers[:5]])
                self.assertGreater(len(answers), 0)
                sock.sendall(request())
                self.assertEqual(read_answer(stream).status, 200)
                stream.close()
                sock.close()
                self.wire.peers.clear()
            moved = trial.ends("reset_in_window", "syn_in_window", "challenge_acks_sent", "challenge_acks_limited")
            self.assertEqual((moved["reset_in_window"], moved["syn_in_window"]), (count, count))

    @junit.row("ATK-05")
    def test_one_connection_learns_nothing_of_another(self):
        """CVE-2016-5696: B is answered the same whether or not challenges of many others have been used up."""
        trial, others = self.trial("ATK-05"), 100 * self.mode.scale
        with trial.beside_honest():
            victims = [Peer(self.wire, "192.0.2.68") for _ in range(8)]
            attackers = [Peer(self.wire, "192.0.2.66", 20_000 + i) for i in range(others)]
            for peer in victims + attackers:
                peer.opens()

            def hit(peer, times):
                for _ in range(times):
                    peer.sends(RST, seq=peer.seq + 100)

            def answered(peer):
                """Challenges for 20 hits in one moment, each a second later than anything before."""
                hit(peer, 20)
                self.wire.passes(0.1)
                count, _ = len(peer.inbox), peer.inbox.clear()
                return count

            self.wire.passes(1.1)
            alone = [answered(peer) for peer in victims[:4]]
            self.wire.passes(1.1)
            for peer in attackers:
                hit(peer, 10)
            self.wire.passes(0.1)
            spent = sum(len(peer.inbox) for peer in attackers)
            beside = [answered(peer) for peer in victims[4:]]
            for peer in victims + attackers:
                peer.resets()
        moved = trial.ends("challenge_acks_sent", "challenge_acks_limited")
        # Each has its own: one or two, and as many if a second ends meanwhile, whatever the others have had.
        self.assertTrue(all(1 <= count <= 2 * LIMIT for count in alone + beside), (alone, beside))
        self.assertGreaterEqual(spent, others)
        self.assertGreater(moved["challenge_acks_sent"], 100)
        trial.words.append(f"alone {alone}, beside {spent} of others {beside}")

    @junit.row("ATK-19")
    def test_wars_of_acks(self):
        """Two ends that each find the other's ACKs out of place: every answer draws another, and yet it ends."""
        for source, skew in (("192.0.2.66", -5000), ("2001:db8::66", 1 << 29)):
            trial, seconds = self.trial("ATK-19"), 2
            with trial.beside_honest():
                peer = Peer(self.wire, source)
                peer.opens()
                began, sent, answers = time.monotonic(), 0, 0
                while time.monotonic() < began + seconds:
                    peer.sends(ACK, seq=peer.seq + skew)
                    sent += 1
                    answers += peer.hears(0.001) is not None
                self.wire.passes(0.1)
                answers += len(peer.inbox)
                self.assertGreater(sent, 500)
                self.assertLessEqual(answers, challenges(seconds))
                self.assertGreater(answers, 0)
                self.assertTrue(peer.is_alive())
                peer.resets()
            trial.words.append(f"{sent} out of the window, {answers} answers in {seconds} s")
            trial.ends("challenge_acks_limited", "out_of_window" if skew > 0 else ("out_of_window", "old_data"))


class TimeWait(Crafted):
    def waits(self, source="192.0.2.66", **more):
        """A peer whose connection the server has closed first: the server is in TIME-WAIT."""
        peer = Peer(self.wire, source, **more)
        peer.opens()
        peer.asks(fields="Connection: close\r\n")
        self.assertIn(b"200", peer.reads(2))
        peer.closes_second()
        self.wire.passes(0.03)
        peer.inbox.clear()
        self.assertTrue(self.is_there(peer))
        return peer

    def is_there(self, peer):
        end = f"[{peer.source}]:{peer.port}" if ":" in peer.source else f"{peer.source}:{peer.port}"
        return bool(self.victim.rows("conns", "--state", "time-wait", "--peer", end))

    @junit.row("ATK-14")
    def test_nothing_ends_it_early(self):
        """RFC 1337: neither a RST, old data nor an old SYN; all but the RST are acknowledged; it ends on its clock."""
        for source in ("192.0.2.66", "2001:db8::66"):
            trial = self.trial("ATK-14")
            with trial.beside_honest():
                peer = self.waits(source)
                began = time.monotonic()
                for place in (0, -1, 1, 100):
                    peer.sends(RST, seq=peer.seq + place)
                self.wire.passes(0.05)
                self.assertEqual(len(peer.inbox), 0)
                self.assertTrue(self.is_there(peer), "after RSTs")
                peer.sends(ACK | PSH, b"GET / HTTP/1.1\r\n", seq=peer.seq - 30, stamp=peer.stamp() - 100)
                answer = peer.hears(1)
                self.assertEqual((answer.flags, answer.ack), (ACK, peer.seq), str(answer))
                old = Peer(self.wire, source, peer.port, isn=(peer.seq - 100_000) & MASK)
                old.wire.send(old.frame(SYN, seq=old.isn, ack=0, options=syn_options(stamp=peer.stamp() - 100_000)))
                answer = old.hears(1)
                self.assertFalse(answer is not None and answer.flags & SYN, str(answer))
                self.assertTrue(self.is_there(old), "after an old SYN")
                self.wire.passes(began + 2 * MSL + 0.5 - time.monotonic())
                self.assertFalse(self.is_there(old), "it has its end")
            trial.ends("reset_ignored", ("time_wait", "paws", "old_data"), "time_wait_expired")

    @junit.row("ATK-14")
    def test_one_port_over_and_over(self):
        """RFC 6191: each new SYN of the same tuple takes over, with an ISN above everything sent before."""
        trial, count = self.trial("ATK-14"), 20 * self.mode.scale
        with trial.beside_honest():
            port, isn, last = 45_678, 1000, None
            for _ in range(count):
                peer = Peer(self.wire, "192.0.2.69", port, isn=isn)
                answer = peer.opens()
                if last is not None:
                    self.assertGreater(after(answer.seq, last), 0, "our ISN")
                peer.asks(fields="Connection: close\r\n")
                self.assertIn(b"200", peer.reads(2))
                peer.closes_second()
                last, isn = peer.ack, (peer.seq + 100_000) & MASK
                self.wire.passes(0.005)
        moved = trial.ends("time_wait_reopened")
        self.assertEqual(moved["time_wait_reopened"], count - 1)

    @junit.row("ATK-14")
    def test_z_ends_clean(self):
        """Last by name."""
        self.victim.ends_clean(self)


class Prediction(Crafted):
    @junit.row("ATK-13")
    def test_what_nmap_can_guess(self):
        """As hard as the kernel's numbers or harder: SP within 8 of 0x101, GCD 1, identifications zero or random."""
        trial = self.trial("ATK-13")
        with trial.beside_honest():
            for _ in range(3):  # it measures six SYN-ACKs: one run may be disturbed
                said = self.victim.run("nmap", "-n", "-Pn", "-O", "-d", "--max-os-tries", "1", "-p80,81",
                                       self.victim.family.server, timeout=120).stdout
                found = re.search(r"SEQ\(([^)]*)\)", said.replace("\nOS:", ""))
                self.assertIsNotNone(found, said[-2000:])
                seq = dict(part.split("=", 1) for part in found[1].split("%") if "=" in part)
                if int(seq["SP"], 16) >= 0x101 - 8 and seq["GCD"] == "1":
                    break
        trial.ends("syn_answered")
        trial.words.append(str(seq))
        print(f"  ATK-13: nmap: {seq}", flush=True)
        self.assertGreaterEqual(int(seq["SP"], 16), 0x101 - 8, seq)
        self.assertEqual(seq["GCD"], "1", seq)
        for name in ("TI", "CI"):
            self.assertIn(seq.get(name, "Z"), ("Z", "RD", "RI"), seq)

    @junit.row("ATK-13")
    def test_numbers_of_many_connections(self):
        """Timestamps of different tuples share no clock, ISNs no sequence, identifications no counter."""
        trial, count = self.trial("ATK-13"), 64
        offsets, isns, idents = [], [], []
        with trial.beside_honest():
            for i in range(count):
                peer = Peer(self.wire, f"192.0.2.{70 + i % 16}", 30_000 + i)
                answer = peer.opens()
                offsets.append((answer.stamps[0] - peer.stamp()) & MASK)
                isns.append(answer.seq)
                idents.append(answer.ident)
                peer.resets()
        trial.ends("syn_answered")
        for numbers in (offsets, isns):
            spread = sorted(numbers)
            gaps = [b - a for a, b in zip(spread, spread[1:])]
            self.assertGreater(min(abs(after(a, b)) for a, b in zip(numbers, numbers[1:])), 1 << 8)
            self.assertLess(max(gaps), (1 << 32) * 0.25, "they lie everywhere")
        self.assertTrue(set(idents) == {0} or len({b - a for a, b in zip(idents, idents[1:])}) > count / 2, idents)

    @junit.row("ATK-13")
    def test_z_ends_clean(self):
        """Last by name."""
        self.victim.ends_clean(self)
