"""Much traffic and large bodies, against the release build."""

import hashlib
import http.client
import pathlib
import random
import re
import tempfile
import time

import harness
import junit
from harness import Server, UNLIMITED, read_answer, request, settings

LARGE = 100_000_000


class Traffic(junit.Case):
    family = harness.V4

    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="pollux-test.")))
        content = random.Random(1).randbytes(LARGE)
        (folder / "large").write_bytes(content)
        cls.digest = hashlib.sha256(content).hexdigest()
        del content
        routes = [("/large", "file", folder / "large")]
        cls.server = cls.enterClassContext(Server("release", settings(http=UNLIMITED, routes=routes, core=1), family=cls.family))

    def tearDown(self):
        self.assertTrue(self.server.is_alive(), self.server.log())

    def client(self, *command):
        """On the other core, if there is one."""
        return self.server.run("taskset", "-c", str(harness.cores[0]), *command)

    def test_wrk_gets_500000_answers_without_an_error(self):
        answered, end = 0, time.monotonic() + 240
        while answered <= 500_000:
            self.assertLess(time.monotonic(), end, f"only {answered} answers")
            done = self.client("wrk", "-t1", "-c64", "-d5s", self.family.url)
            self.assertNotRegex(done.stdout, "Socket errors|Non-2xx")
            answered += int(re.search(r"(\d+) requests in", done.stdout)[1])
        print(f"         {answered} requests, {re.search(r'Requests/sec: *(.*)', done.stdout)[1]} a second", flush=True)

    def ab(self, *options):
        done = self.client("ab", "-q", *options, self.family.url)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertRegex(done.stdout, r"Complete requests: +20000\b")
        self.assertRegex(done.stdout, r"Failed requests: +0\b")
        self.assertNotIn("Non-2xx", done.stdout)
        return done.stdout

    def test_ab_keep_alive_fails_no_request(self):
        self.assertRegex(self.ab("-k", "-n", "20000", "-c", "50"), r"Keep-Alive requests: +20000\b")

    def test_ab_with_a_connection_each_fails_no_request(self):
        self.ab("-n", "20000", "-c", "50")

    def fetch_large(self, pause=None):
        with self.server.inside():
            client = http.client.HTTPConnection(self.family.host, timeout=60)
            client.connect()
        client.request("GET", "/large")
        answer = client.getresponse()
        digest, read = hashlib.sha256(), 0
        while data := answer.read(1 << 20):
            digest.update(data)
            read += len(data)
            if pause and pause(read):
                time.sleep(1.5)
        client.close()
        self.assertEqual((read, digest.hexdigest()), (LARGE, self.digest))

    def test_large_body_arrives_whole(self):
        self.fetch_large()

    def test_large_body_arrives_whole_at_a_reader_that_pauses(self):
        """Three pauses let the peer's window fall to zero: probes, and output restarts."""
        self.fetch_large(pause=lambda read: read in (10 << 20, 30 << 20, 50 << 20))


class Idle(junit.Case):
    family = harness.V4

    def test_1000_connections_idle_for_60_s_are_all_answered(self):
        with Server("release", settings(http=UNLIMITED), family=self.family) as server:
            peers = []
            for _ in range(1000):
                peer = server.connect()
                peers.append((peer, peer.makefile("rb")))
            for seconds in (60, 0):
                for peer, _ in peers:
                    peer.sendall(request())
                for _, stream in peers:
                    self.assertEqual(read_answer(stream).status, 200)
                time.sleep(seconds)
            for peer, stream in peers:
                stream.close()
                peer.close()
            self.assertTrue(server.is_alive(), server.log())
