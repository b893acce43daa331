"""Floods over a memif: a sender with a core of its own, and honest connections in the same process."""

import time

import junit
from harness import CLIENT, CLIENT_V6
from victim import SHORT, FloodVictim, Retried, Trial

KEPT = 4
ANSWERS = ("rst", "ack", "icmp", "link", "other")
RING = 2048 + 20  # frames on their way when the flood ends, and a few honest repetitions
RESETS, PINGS = 1000, 1000  # of a second, as the settings have it


class Floods(Retried):
    """Each class has one victim for all its tests. `waits`: it needs no core to itself."""

    mode, waits = SHORT, False
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
        # Every honest connection has been opened, those of the warming-up too.
        # A few packets stand in the ring at the end.
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

    @junit.row("ATK-08")
    def test_fragments(self):
        """First, overlapping, empty, last and too long ones: none is kept."""
        trial = self.trial("ATK-08")
        result = trial.floods(kinds=["fragment"])
        moved = trial.ends("fragment")
        self.expects_no_answer(result)
        self.is_all_of(result, moved["fragment"])

    def link_flood(self, row, *arguments, kind, targets):
        trial = self.trial(row)
        result = trial.floods(*arguments, kinds=[kind], most_replies=None)
        moved = trial.ends(*targets)
        for pool in map(self.victim.pool, ("neighbors", "paths")):
            self.assertLessEqual(pool["used"], pool["capacity"], pool)
        # Half of them ask for the victim's address: each may be answered once.
        answers = result["replies"]["link"] + result["replies"]["icmp"]
        self.assertLessEqual(answers, result["sent"] / 2 + 1)
        self.assertEqual(sum(result["replies"].values()), answers, result["replies"])
        return moved

    @junit.row("ATK-16")
    def test_arp_storm(self):
        """Lies in everybody's name, the victim's too; the table is bounded, and honest clients are not moved."""
        moved = self.link_flood("ATK-16", kind="arp", targets=["arp", "bad_arp"])
        # From beyond the link, and from ourselves.
        self.assertGreaterEqual(moved["bad_arp"], moved["arp"] * 0.9)

    @junit.row("ATK-23")
    def test_neighbor_discovery_storm(self):
        self.link_flood("ATK-23", "--v6", kind="neighbor", targets=["neighbor_discovery"])

    @junit.row("ATK-17")
    def test_pings(self):
        trial = self.trial("ATK-17")
        result = trial.floods(kinds=["echo", "broadcast_echo"])
        moved = trial.ends("icmp_echo", "icmp_limited", "to_broadcast")
        self.assertLessEqual(result["replies"]["icmp"], PINGS * (self.mode.seconds + 2))
        self.assertEqual(sum(result["replies"].values()), result["replies"]["icmp"])
        self.assertAlmostEqual(moved["to_broadcast"], moved["icmp_echo"] + moved["icmp_limited"], delta=RING)

    @junit.row("ATK-17")
    def test_forged_reports(self):
        """"Too big" about connections that do not exist."""
        trial = self.trial("ATK-17")
        result = trial.floods(kinds=["too_big"])
        moved = trial.ends(("path_notice", "icmp_ignored"))
        self.expects_no_answer(result)
        self.assertEqual(moved["path_mtu_lowered"], 0)

    @junit.row("ATK-20")
    def test_refusals_are_limited(self):
        trial = self.trial("ATK-20")
        result = trial.floods(kinds=["closed"])
        moved = trial.ends("no_listener", "reset_limited")
        self.is_all_of(result, moved["no_listener"] + moved["reset_limited"])
        self.assertLessEqual(result["replies"]["rst"], RESETS * (self.mode.seconds + 2))

    @junit.row("ATK-21")
    def test_mangled_packets(self):
        """Every other kind with bytes changed or cut off; whatever comes of it, the honest are served."""
        trial = self.trial("ATK-21")
        result = trial.floods(kinds=["mangled"], most_replies=None, asked_only=False)
        trial.ends("bad_ip_header", "bad_ip_checksum", "bad_tcp_checksum", "bad_icmp", "unknown_ethertype")
        self.assertLessEqual(sum(result["replies"].values()), result["sent"])

    @junit.row("ATK-03")
    def test_z_ends_clean(self):
        """Last by name."""
        self.victim.ends_clean(self)


class Repetitions(Floods):
    """SYN-ACKs that nobody answers: 1 + 5 for each SYN, 1 + 2 while over half of the records are used, 1 by cookie."""

    RECORDS, RETRIES, FIRST = 4096, 5, 0.1
    LIFE = FIRST * (2 ** (RETRIES + 1) - 1)
    waits = True
    settings = {"tcp": f'initial_rto = "{int(FIRST * 1000)}ms"\nsyn_ack_retries = {RETRIES}\n',
                "capacity": f"half_open = {RECORDS}\n"}

    def floods(self, *arguments):
        with self.victim.flooded("--kind", "plain_syn", "--honest", 0, "--linger", self.LIFE + 0.5,
                                 *arguments) as flood:
            return flood.result()

    @junit.row("ATK-20")
    def test_few_syns(self):
        trial, few = self.trial("ATK-20"), self.RECORDS // 3
        for family in ((), ("--v6",)):
            result = self.floods("--count", few, "--seconds", 0.2, *family)
            self.assertEqual(result["replies_per_packet"], [0] * 6 + [few, 0, 0])
        moved = trial.ends("syn_acks_retransmitted", "half_open_expired")
        self.assertEqual(moved["syn_acks_retransmitted"], 2 * few * self.RETRIES)

    @junit.row("ATK-20")
    def test_so_many_that_the_records_are_crowded(self):
        trial, seconds = self.trial("ATK-20"), 2
        result = self.floods("--seconds", seconds, "--rate", 50_000)
        replies = result["replies_per_packet"]
        moved = trial.ends("syn_acks_retransmitted", "cookie_sent")
        self.assertEqual(sum(replies[2 + self.RETRIES:]), 0, replies)
        # When a generation of records ends, and with the flood, less than half are used: some go on to the end then.
        self.assertLess(sum(replies[4:]), sum(replies[3:]) / 2, replies)
        self.assertGreaterEqual(replies[3], self.RECORDS / 2, replies)
        self.assertAlmostEqual(replies[1], moved["cookie_sent"], delta=RING)
        self.assertLessEqual(replies[0], moved["no_room_to_answer"] + RING, replies)

    @junit.row("ATK-20")
    def test_z_ends_clean(self):
        """Last by name."""
        self.victim.ends_clean(self)


class Colliding(Floods):
    """Tuples that all have one hash under the usual RSS key: the table, which has a key of its own, does not care."""

    TUPLES = 12_000  # fewer than three quarters: all have records
    settings = {"capacity": "half_open = 16384\n"}

    def cost_us(self, kind):
        """Of a segment, with so many records in the table; and that all of them were in it."""
        trial = self.trial("ATK-22")
        with self.victim.flooded("--kind", kind, "--tuples", self.TUPLES, "--seconds", 0.6, "--honest", 0,
                                 "--rate", 1_200_000) as flood:
            flood.during(0.9)
            used = self.victim.pool("half_open")["used"]
            flood.result()
        trial.ended = time.monotonic()
        moved = trial.ends("syn_answered", "syn_repeated")
        self.assertEqual(moved["table_full"] + moved["half_open_full"], 0)
        # While they are used, they expire and come again: more than half are there at any time.
        self.assertGreater(used, self.TUPLES / 2)
        return moved["busy_us"] / moved["segments_received"]

    @junit.row("ATK-22")
    def test_cost_of_tuples_that_collide(self):
        costs = {kind: [] for kind in ("syn", "collide")}
        for _ in range(2 if self.mode is SHORT else 5):
            for kind, each in costs.items():
                each.append(self.cost_us(kind))
        best = {kind: min(each) for kind, each in costs.items()}
        print(f"  ATK-22: us per segment {best}", flush=True)
        self.is_undisturbed(best["collide"] < 1.5 * best["syn"], costs)

    @junit.row("ATK-22")
    def test_honest_connections_beside_them(self):
        trial = self.trial("ATK-22")
        trial.floods("--tuples", self.TUPLES, kinds=["collide"], most_replies=None, asked_only=False)
        trial.ends("syn_answered")

    @junit.row("ATK-22")
    def test_z_ends_clean(self):
        """Last by name."""
        self.victim.ends_clean(self)
