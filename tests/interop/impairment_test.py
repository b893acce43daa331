"""A bad network on purpose ([test] of the settings): what arrives is right, and nothing is kept.

Our sender repairs loss as NewReno does, without reading SACK blocks: with so few segments in flight as this much loss
allows, many losses are only repaired by the retransmission timer. The time that 200 downloads take is therefore about
the number of timeouts times the RTO. On a TAP device, where the round trip is far below a millisecond, an RTO of SRTT
+ 20 ms and at most 1 s bounds it; the defaults of 200 ms and 2 min are for real paths.
"""

import concurrent.futures
import hashlib
import http.client
import pathlib
import random
import re
import tempfile
import time

import junit
from harness import DEVICE, Server, UNLIMITED, V4, settings

DOWNLOADS, AT_A_TIME, SIZE = 200, 40, 1_000_000

TCP = 'min_rto_variance = "20ms"\nmax_rto = "1s"\nmsl = "500ms"\nfin_wait_2 = "1s"\n'
BAD_NETWORK = """
[test]
enabled = true
seed = 20261123
""" + "".join(f"""
[test.{direction}]
loss = "5%"
duplication = "2%"
reordering = "2%"
corruption = "0.5%"
""" for direction in ("receive", "send"))


class Impairment(junit.Case):
    family = V4

    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="pollux-test.")))
        content = random.Random(2).randbytes(SIZE)
        (folder / "content").write_bytes(content)
        cls.digest = hashlib.sha256(content).hexdigest()
        cls.settings = settings(http=UNLIMITED, tcp=TCP, routes=[("/content", "file", folder / "content")], core=1,
                                more=BAD_NETWORK)

    def download(self, server):
        """The digest of one download over a connection of its own."""
        with server.inside():
            client = http.client.HTTPConnection(self.family.host, timeout=120)
            client.connect()
        try:
            client.request("GET", "/content")
            return hashlib.sha256(client.getresponse().read()).hexdigest()
        finally:
            client.close()

    def ends(self, server):
        """What the server says at the end: its counters by name, and what is in use of each pool."""
        self.assertEqual(server.stop(), 0, server.log())
        log = server.log()
        counters = {name: int(count) for count, name in re.findall(r"^ +(\d+)  (\w+)  ", log, re.MULTILINE)}
        return counters, re.search(r"^in use: .*", log, re.MULTILINE)[0]

    def test_200_downloads_arrive_right_and_every_pool_is_back_at_its_start(self):
        with Server("release", self.settings, ["--status"], family=self.family) as server:  # nobody but the first connection of the harness
            time.sleep(2.5)  # TIME-WAIT
            _, in_use_at_start = self.ends(server)

        with Server("release", self.settings, ["--status"], family=self.family) as server:
            # ARP has no checksum: one flipped bit would give the kernel a wrong neighbour for a minute.
            mac = re.search(r"lladdr (\S+)", server.run("ip", "neighbor", "show", self.family.server).stdout)[1]
            server.run("ip", "neighbor", "replace", self.family.server, "lladdr", mac, "dev", DEVICE, "nud", "permanent")
            began = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
                digests = list(pool.map(lambda _: self.download(server), range(DOWNLOADS)))
            print(f"         {DOWNLOADS} downloads in {time.monotonic() - began:.1f} s", flush=True)
            self.assertEqual(digests, [self.digest] * DOWNLOADS)
            # Last FINs are repeated, and TIME-WAIT is 1 s with these settings.
            time.sleep(6)
            counters, in_use = self.ends(server)

        for direction in ("received", "sent"):
            for damage in ("lost", "duplicated", "reordered", "corrupted"):
                self.assertGreater(counters[f"impaired_{direction}_{damage}"], 300, damage)
            self.assertNotIn(f"impaired_{direction}_overflowed", counters)
        self.assertGreater(counters["bad_tcp_checksum"], 100)
        self.assertEqual(in_use, in_use_at_start)
