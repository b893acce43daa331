"""Handshakes that go wrong on purpose, on a TAP device: cookies that come late or twice, flags that open nothing."""

import re
import time

import junit
from harness import SERVER, SERVER_V6
from packets import ACK, PSH, RST
from victim import COOKIE_PERIOD, SHORT, Retried, TapVictim, Trial
from wire import Peer, Wire


class Crafted(Retried):
    """Each class has one victim and one wire for all its tests."""

    mode, waits = SHORT, False
    settings = {}

    @classmethod
    def setUpClass(cls):
        cls.victim = cls.enterClassContext(TapVictim(cls.mode, **cls.settings))
        cls.wire = cls.enterClassContext(Wire(cls.victim))

    def trial(self, row):
        self.wire.forgets()
        return Trial(self, self.victim, f"{row} {self._testMethodName.removeprefix('test_')}")


class Cookies(Crafted):
    settings = {"security": 'syn_cookies = "always"\n'}

    def returns_after(self, peer, periods):
        """Whether the third segment, this long after the cookie, opens a connection that answers."""
        left = peer.cookie_at + periods * COOKIE_PERIOD - time.monotonic()
        self.wire.passes(max(left, 0))
        peer.third = (peer.seq, peer.ack)
        peer.asks()
        return peer.reads(3)

    def replays(self, peer):
        """The third segment once more."""
        seq, ack = peer.third
        peer.inbox.clear()
        peer.sends(ACK | PSH, b"GET / HTTP/1.1\r\n", seq=seq, ack=ack)
        return peer.hears(1)

    @junit.row("ATK-02")
    def test_a_cookie_opens_one_connection_and_not_for_long(self):
        """After half a period and a whole one it opens, after two and a half it does not; and never twice."""
        trial = self.trial("ATK-02")
        with trial.beside_honest():
            # Periods begin with those of the wall clock: a cookie of the first half is good for a whole one.
            time.sleep((0.2 - time.time()) % COOKIE_PERIOD)
            peers = [Peer(self.wire, source) for source in ("192.0.2.66", "2001:db8::66", "192.0.2.67")]
            for peer in peers:
                peer.asks_to_open()
                peer.cookie_at = time.monotonic()
            early, late, stale = peers
            for peer, periods in ((early, 0.5), (late, 1)):
                self.assertIn(b"HTTP/1.1 200", self.returns_after(peer, periods), f"after {periods} periods")
                self.assertNotEqual(getattr(self.replays(peer), "flags", 0) & RST, RST)  # old data of this connection
                end = f"{peer.source}:{peer.port}" if "." in peer.source else f"[{peer.source}]:{peer.port}"
                self.assertEqual(len(self.victim.rows("conns", "--peer", end)), 1)
                peer.sends(RST, seq=peer.seq)
                self.wire.passes(0.05)
                self.assertEqual(self.victim.rows("conns", "--peer", end), [])
                answer = self.replays(peer)
                self.assertEqual(answer.flags & RST, RST, answer)
                self.assertEqual(self.victim.rows("conns", "--peer", end), [])
            self.assertEqual(self.returns_after(stale, 2.5), b"")
        moved = trial.ends("stale_cookie", "replayed_cookie", "cookies_accepted")
        self.assertEqual((moved["stale_cookie"], moved["replayed_cookie"]), (1, 2), moved)

    @junit.row("ATK-02")
    def test_nothing_but_the_cookie_opens(self):
        trial = self.trial("ATK-02")
        with trial.beside_honest():
            for source in ("192.0.2.66", "2001:db8::66"):
                peer = Peer(self.wire, source)
                peer.asks_to_open()
                # The cookie of the largest segment size: what is up to 7 lower tells of smaller ones, and is good.
                for off in (1, -8, 1 << 24, 1 << 31):
                    peer.sends(ACK, seq=peer.seq, ack=peer.ack + off)
                    peer.sends(ACK, seq=peer.seq + off, ack=peer.ack)
                self.wire.passes(0.1)
                self.assertTrue(all(packet.flags & RST for packet in peer.inbox), [str(p) for p in peer.inbox])
        moved = trial.ends("bad_cookie")
        self.assertEqual(moved["bad_cookie"], 16, moved)


class Scans(Crafted):
    """nmap's scans with strange flags."""

    def scan(self, *options, target):
        family = ("-6",) if ":" in target else ()
        done = self.victim.run("nmap", *family, "-n", "-Pn", "-T5", "--max-retries", "0", "--max-rtt-timeout", "200ms",
                               *options, "-p80,81", target, timeout=60)
        return dict(re.findall(r"^(\d+)/tcp +(\S+)", done.stdout, re.MULTILINE)), done.stdout

    @junit.row("ATK-10")
    def test_scans_learn_nothing_from_an_open_port(self):
        """A listener is silent to what opens nothing; a port without one refuses, as any closed port does."""
        for target in (SERVER, SERVER_V6)[:self.mode.scale]:
            trial = self.trial("ATK-10")
            with trial.beside_honest():
                for options in (("-sX",), ("-sN",), ("-sF",), ("-sS", "--scanflags", "SYNFIN")):
                    found, said = self.scan(*options, target=target)
                    silent = "filtered" if "-sS" in options else "open|filtered"
                    self.assertEqual(found, {"80": silent, "81": "closed"}, f"{options}\n{said}")
            moved = trial.ends("nonsense_flags", ("no_connection", "no_listener"))
            self.assertGreaterEqual(moved["nonsense_flags"], 4)

    @junit.row("ATK-02")
    def test_z_ends_clean(self):
        """Last by name."""
        self.victim.ends_clean(self)
