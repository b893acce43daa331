"""Two workers, each on a core and a queue of its own: both do their share, packets find the worker that owns their
connection, and both come to their end together."""

import collections
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time

import harness
import junit
from harness import CLIENT, DEVICE, Server, UNLIMITED, V4, V6, VethServer, read_answer, request, settings

WORKERS = 2


def af_packet(workers=WORKERS, queues=WORKERS, http=UNLIMITED):
    """A port on a veth. The kernel spreads by a hash of its own, so half of what arrives is another worker's."""
    text = settings(http=http, workers=workers)
    return text.replace("net_tap0,", f"net_af_packet0,qpairs={queues},")


class Watch:
    """What pollux-ctl knows of the workers."""

    def __init__(self, server):
        self.server = server

    def of_each(self, name):
        """This counter, by worker."""
        (row,) = [row for row in self.server.rows("stat", "--per-core") if row["name"] == name]
        return row["workers"]

    def total(self, name):
        return sum(self.of_each(name))

    def connections(self, *arguments):
        """Connections by worker; none is listed twice."""
        rows = self.server.rows("conns", "--state", "established", *arguments)
        listed = collections.Counter((row["local"], row["peer"]) for row in rows)
        assert not listed or max(listed.values()) == 1, listed.most_common(3)
        return collections.Counter(row["worker"] for row in rows)

    def is_settled(self):
        return self.total("handed_over") == self.total("taken_over")


class Workers(junit.Case):
    def loads(self, server, family, seconds):
        """wrk with 256 connections, and a look at the workers while it runs."""
        watch, load = Watch(server), {}
        before, opened = watch.of_each("delivered"), watch.total("opened")
        wrk = threading.Thread(target=lambda: load.update(
            done=server.run("wrk", "-t1", "-c256", f"-d{seconds}s", family.url)))
        wrk.start()
        try:
            local = ("--local", f"{family.host}:80")
            harness.wait_until(10, "256 connections", lambda: sum(watch.connections(*local).values()) >= 256)
            owned = watch.connections(*local)
        finally:
            wrk.join()
        said = load["done"].stdout
        self.assertNotRegex(said, "Socket errors|Non-2xx")
        answered = int(re.search(r"(\d+) requests in", said)[1])
        self.assertGreater(answered, 256)
        # A keyed hash deals 256 connections: a quarter of them at one worker is 8 standard deviations from half.
        self.assertTrue(all(owned[worker] > 64 for worker in range(WORKERS)), owned)
        requests = [now - then for now, then in zip(watch.of_each("delivered"), before)]
        # A request that overtakes the ACK of its handshake, which is still being handed over, completes the handshake
        # itself: it is counted as "opened".
        self.assertGreaterEqual(sum(requests) + watch.total("opened") - opened, answered)
        self.assertTrue(all(share > answered / 5 for share in requests), f"{requests} of {answered}")

    def serves(self, server, seconds):
        for family in (V4, V6):
            self.loads(server, family, seconds)
        watch = Watch(server)
        harness.wait_until(5, "what was handed over to be taken", watch.is_settled)
        self.assertGreater(watch.total("handed_over"), 0)
        self.assertEqual(watch.total("handover_full"), 0)
        (port,) = server.rows("ports")
        self.assertEqual((port["queues"], port["ownership"]), (WORKERS, "software"))
        self.assertEqual(server.stop(), 0, server.log())
        self.assertRegex(server.log(), r"in use: connections 0, half-open records 0, ")
        self.assertNotIn("Sanitizer", server.log())

    def test_two_workers_on_a_tap_share_the_load(self):
        with Server("release", settings(http=UNLIMITED, workers=WORKERS), ["--status"], family=V6) as server:
            self.serves(server, 2)

    def test_two_workers_on_a_tap_share_the_load_under_sanitizers(self):
        with Server("asan", settings(http=UNLIMITED, workers=WORKERS), ["--status"], family=V6) as server:
            self.serves(server, 1)

    def test_two_workers_on_af_packet_share_the_load(self):
        with VethServer("release", af_packet(), ["--status"], family=V6) as server:
            self.serves(server, 2)


class WorkersDrain(junit.Case):
    """SIGTERM with half a request in hand on 32 connections of both families and both workers."""

    def opens(self, server, stack, count):
        """So many connections that have half of a request each, by the worker that owns them."""
        opened = []
        for number in range(count):
            peer = stack.enter_context(server.connect(family=(V4, V6)[number % 2]))
            peer.sendall(request()[:len(request()) // 2])
            opened.append((peer, stack.enter_context(peer.makefile("rb"))))
        owner = {}
        harness.wait_until(5, "all connections", lambda: len(rows := server.rows("conns", "--state", "established")) ==
                           count and not owner.update({row["peer"].rpartition(":")[2]: row["worker"] for row in rows}))
        owned = [[], []]
        for peer, stream in opened:
            owned[owner[str(peer.getsockname()[1])]].append((peer, stream))
        self.assertTrue(all(owned), "some at each")
        return owned

    def finishes(self, connections):
        """The other half of each request; the answer says that it is the last, and so it is."""
        for peer, _ in connections:
            peer.sendall(request()[len(request()) // 2:])
        for _, stream in connections:
            answer = read_answer(stream)
            self.assertEqual((answer.status, answer.fields["connection"]), (200, "close"))
            self.assertEqual(stream.read(), b"")
        for peer, stream in connections:
            stream.close()
            peer.close()

    def drains(self, server, first):
        """One worker has come to its end and the other's packets still arrive on its queue."""
        with contextlib.ExitStack() as stack:
            owned = self.opens(server, stack, 32)
            server.signal(signal.SIGTERM)
            harness.wait_until(5, "draining", lambda: "draining" in server.log())
            self.finishes(owned[first])
            time.sleep(0.3)
            self.assertTrue(server.is_alive())
            handed_over = Watch(server).total("handed_over")
            self.finishes(owned[1 - first])
            self.assertEqual(server.ends(10), 0, server.log())
        told = int(re.search(r"(\d+)  handed_over", server.log())[1])
        self.assertNotIn("Sanitizer", server.log())
        return told - handed_over

    def test_workers_answer_what_is_in_hand_on_a_tap(self):
        for first in range(WORKERS):
            with Server("asan", settings(http=UNLIMITED, workers=WORKERS), ["--status"], family=V6) as server:
                self.drains(server, first)

    def test_a_worker_that_is_done_hands_over_what_the_other_needs(self):
        for first in range(WORKERS):
            with VethServer("asan", af_packet(), ["--status"], family=V6) as server:
                self.assertGreater(self.drains(server, first), 0)


class WorkersSettings(junit.Case):
    """What cannot be had is one sentence, and exit status 1."""

    @classmethod
    def setUpClass(cls):
        cls.namespace = f"pollux-test-{os.getpid()}-workers"
        cls.addClassCleanup(harness.shell, f"remove_namespace {cls.namespace}")
        harness.shell(f"make_namespace {cls.namespace}; make_veth {cls.namespace} {DEVICE} {CLIENT}/24")

    def refuses(self, text, sentence):
        with tempfile.TemporaryDirectory(prefix="pollux-test.") as folder:
            file = pathlib.Path(folder) / "a.toml"
            file.write_text(text)
            line = 1 + text[:text.index("[[port]]")].count("\n")
            command = ["ip", "netns", "exec", self.namespace, harness.httpd["asan"], "-c", file]
            done = subprocess.run(command, text=True, timeout=60, stdin=subprocess.DEVNULL, capture_output=True,
                                  env={**os.environ, "RUNTIME_DIRECTORY": folder})
            self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
            self.assertEqual(done.stderr, f"pollux-httpd: port net_af_packet0: {sentence} ({file}:{line})\n")

    def test_a_device_with_fewer_queues_than_workers(self):
        self.refuses(af_packet(queues=1), "asked for 2 RX queues, the device has 1")

    def test_trust_in_a_device_that_cannot_spread(self):
        self.refuses(af_packet().replace("[[listen]]", 'rss = "device"\n[[listen]]'),
                     'asked for rss = "device", the driver net_af_packet has no receive-side scaling; '
                     '"software" serves it')
