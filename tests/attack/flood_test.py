"""Floods over a memif: a sender with a core of its own, and honest connections in the same process."""

import time

import junit
from harness import CLIENT, CLIENT_V6
from victim import SHORT, FloodVictim, Trial

KEPT = 4
ANSWERS = ("rst", "ack", "icmp", "link", "other")
RING = 2048 + 20  # frames on their way when the flood ends, and a few honest repetitions
RESETS, PINGS = 1000, 1000  # of a second, as the settings have it


class Floods(junit.Case):
    """Each class has one victim for all its tests."""

    mode = SHORT
    settings = {}

    @classmethod
    def setUpClass(cls):
        cls.victim = cls.enterClassContext(FloodVictim(cls.mode, **cls.settings))

    def trial(self, row):
        return Trial(self, self.victim, f"{row} {self._testMethodName.removeprefix('test_')}")

    def kept_connections(self):
        """Those of the honest client, as the victim sees them."""
        rows = self.victim.rows("conns", "--state", "established")
        kept = [row for row in rows if row["peer"].rpartition(":")[0].strip("[]") in (CLIENT, CLIENT_V6)]
        self.assertGreaterEqual(len(kept), KEPT)
        return kept

    def is_all_of(self, result, count):
        """What was sent has been counted so often, but for what stands in the ring at the end."""
        self.assertLessEqual(count, result["sent"])
        self.assertGreater(count, result["sent"] - RING)

    def expects_no_answer(self, result):
        self.assertEqual(sum(result["replies"].values()), 0, result["replies"])


class SynFlood(Floods):
    """Records until three quarters are used, then cookies. What a cookie has to carry arrives."""

    settings = {"capacity": "half_open = 4096\n"}

    def knows_the_options_of_its_peers(self):
        """Scale, SACK and timestamps of connections whose handshake came back by cookie."""
        for row in self.kept_connections():
            self.assertEqual((row["snd_scale"] > 0, row["rcv_scale"] > 0, row["sack"], row["timestamps"]),
                             (True, True, True, True), row)

    def floods(self, *arguments, kind="syn"):
        trial = self.trial("ATK-01")
        result = trial.floods("--kept", KEPT, *arguments, kinds=[kind], most_replies=1 + 2,
                              look=self.knows_the_options_of_its_peers)
        moved = trial.ends("cookie_sent", "cookies_accepted")
        honest = result["honest"]
        self.assertEqual(honest["kept"], KEPT, honest)
        for option in ("scaled", "sacked", "stamped"):
            self.assertEqual(honest[option], honest["answered"], option)
        # Three quarters of the records, again and again as they expire; all others are told nothing but a cookie.
        recorded = moved["syn_answered"]
        self.assertLess(recorded, 4096 * (2 + self.mode.seconds / 0.5))
        # Every honest connection has been opened, those of the warming-up too; a few packets stand in the ring at the end.
        syns = result["sent"] + moved["connections_opened"]
        answered = moved["cookie_sent"] + recorded
        self.assertLessEqual(answered, syns + 20)
        self.assertGreater(answered + moved["no_room_to_answer"], syns - RING)
        self.assertLessEqual(result["replies"]["syn_ack"], answered + moved["syn_acks_retransmitted"])
        self.assertEqual(sum(result["replies"][kind] for kind in ANSWERS), 0, result["replies"])
        self.assertLessEqual(sum(result["replies_per_packet"][2:]), recorded)
        return result

    @junit.row("ATK-01")
    def test_with_options(self):
        self.floods()

    @junit.row("ATK-01")
    def test_with_options_over_ipv6(self):
        self.floods("--v6")

    @junit.row("ATK-01")
    def test_without_options(self):
        self.floods(kind="plain_syn")


class CookiesAlways(Floods):
    """A server that makes nothing but cookies has to check every ACK."""

    settings = {"security": 'syn_cookies = "always"\n'}

    @junit.row("ATK-02")
    def test_forged_acks(self):
        for family, kind in (((), "ack"), (("--v6",), "data")):
            trial = self.trial("ATK-02")
            result = trial.floods(*family, kinds=[kind])
            moved = trial.ends("bad_cookie", "reset_limited")
            # One in 2^28 is right by chance.
            self.assertLessEqual(moved["cookies_accepted"] - moved["cookie_sent"], 1, moved)
            self.is_all_of(result, moved["bad_cookie"] + moved["reset_limited"])
            self.assertLessEqual(result["replies"]["rst"], RESETS * (self.mode.seconds + 2))
            self.assertLessEqual(result["replies"]["rst"], moved["bad_cookie"])
            self.assertEqual(result["replies"]["syn_ack"] + result["replies"]["ack"], 0)


class StrangeFloods(Floods):
    @junit.row("ATK-03")
    def test_rst_and_fin(self):
        for family in ((), ("--v6",)):
            trial = self.trial("ATK-03")
            result = trial.floods(*family, kinds=["rst", "rst_ack", "fin"])
            moved = trial.ends("reset_ignored", "nonsense_flags")
            self.expects_no_answer(result)
            self.is_all_of(result, moved["reset_ignored"] + moved["nonsense_flags"])

    @junit.row("ATK-03")
    def test_fin_with_ack(self):
        trial = self.trial("ATK-03")
        result = trial.floods(kinds=["fin_ack"])
        # While a cookie may be out, an ACK to a listener is looked at as one.
        moved = trial.ends(("no_connection", "bad_cookie"), "reset_limited")
        answered = moved["no_connection"] + moved["bad_cookie"]
        self.is_all_of(result, answered + moved["reset_limited"])
        self.assertLessEqual(result["replies"]["rst"], answered)
        self.assertLessEqual(answered, RESETS * (self.mode.seconds + 2))

    @junit.row("ATK-09")
    def test_land_and_martians(self):
        for family in ((), ("--v6",)):
            trial = self.trial("ATK-09")
            result = trial.floods(*family, kinds=["land", "martian"])
            moved = trial.ends("land", "martian")
            self.expects_no_answer(result)
            self.is_all_of(result, moved["land"] + moved["martian"])
            self.assertAlmostEqual(moved["land"], moved["martian"], delta=1)

    @junit.row("ATK-10")
    def test_all_sets_of_flags(self):
        """Of the 64 sets of six flags, 32 have RST and are never answered; ACK without RST gets a RST, SYN alone (with
        PSH or URG) opens, anything else is dropped."""
        trial = self.trial("ATK-10")
        result = trial.floods(kinds=["flags"], most_replies=1 + 2)
        moved = trial.ends("reset_ignored", "nonsense_flags", ("no_connection", "bad_cookie"), "cookie_sent")
        of_64 = result["sent"] / 64
        self.assertAlmostEqual(moved["reset_ignored"] / of_64, 32, delta=0.01)
        # Neither RST nor ACK: without SYN, or with SYN and FIN.
        self.assertAlmostEqual(moved["nonsense_flags"] / of_64, 8 + 4, delta=0.01)
        refused = moved["no_connection"] + moved["reset_limited"] + moved["bad_cookie"]
        self.assertAlmostEqual(refused / of_64, 16, delta=0.01)
        self.assertEqual(result["replies"]["ack"] + result["replies"]["icmp"] + result["replies"]["other"], 0)

    @junit.row("ATK-01")
    def test_z_ends_clean(self):
        """Last by name."""
        time.sleep(0.1)
        self.victim.ends_clean(self)
