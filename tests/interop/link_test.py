"""The bad link does what it was asked, and nothing else: measured with datagrams between two hosts of the kernel's."""

import contextlib
import re
import socket
import statistics
import struct
import subprocess
import time

import harness
import junit
from bad_link import SINK, Host, Link
from harness import inside

NEAR, BESIDE, PORT = "192.0.2.11", "192.0.2.12", 9
SO_TIMESTAMPNS, SO_RCVBUFFORCE = 35, 33  # asm-generic/socket.h
PAYLOAD, HEADERS = 1000, 14 + 20 + 8
FRAME_BITS = (PAYLOAD + HEADERS) * 8


def milliseconds(nanoseconds):
    return nanoseconds / 1e6


class Datagram:
    def __init__(self, data, stamp, sender):
        self.number, self.sent = struct.unpack_from("!QQ", data)
        self.arrived, self.sender = stamp, sender

    @property
    def took(self):
        return milliseconds(self.arrived - self.sent)


class BadLink(junit.Case):
    @classmethod
    def setUpClass(cls):
        cls.near, cls.beside, cls.far = (cls.enterClassContext(Host(address, {})) for address in (NEAR, BESIDE, SINK))
        for host in (cls.near, cls.beside):
            host.knows(cls.far)
            cls.far.knows(host)

    @contextlib.contextmanager
    def link(self, to_b="", to_a="", seed=1):
        with Link([self.near.port, self.beside.port], self.far.port, to_b, to_a, seed) as link:
            yield link

    def socket(self, host):
        with inside(host.namespace):
            opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(opened.close)
        return opened

    def receiver(self):
        far = self.socket(self.far)
        far.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        far.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        far.bind((SINK, PORT))
        far.settimeout(0.7)
        return far

    def received(self, far):
        """In the order of their arrival; the kernel noted when that was."""
        datagrams = []
        with contextlib.suppress(TimeoutError):
            while True:
                data, notes, _, (sender, _) = far.recvmsg(2048, 64)
                stamp = next(value for level, kind, value in notes if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS))
                seconds, nanoseconds = struct.unpack("qq", stamp)
                datagrams.append(Datagram(data, seconds * 1_000_000_000 + nanoseconds, sender))
        return datagrams

    def send(self, sender, numbers, gap=0.0):
        for number in numbers:
            sender.sendto(struct.pack("!QQ", number, time.time_ns()).ljust(PAYLOAD, b"."), (SINK, PORT))
            if gap:
                time.sleep(gap)

    def crosses(self, count, gap=0.0, **ways):
        """What arrived of so many, and what the link says."""
        far = self.receiver()
        with far, self.link(**ways) as link:
            self.send(self.socket(self.near), range(count), gap)
            return self.received(far), link.stop()

    def test_delay_is_what_was_asked_and_never_less(self):
        arrived, _ = self.crosses(300, gap=0.002, to_b="delay=10ms")
        self.assertEqual([datagram.number for datagram in arrived], list(range(300)))
        took = sorted(datagram.took for datagram in arrived)
        print(f"         10 ms: {took[0]:.3f}, {took[150]:.3f}, {took[-1]:.3f} ms", flush=True)
        self.assertGreaterEqual(took[0], 10)
        self.assertLess(took[75], 10.5)  # the rest belongs to the machine

    def test_the_way_back_has_a_delay_of_its_own(self):
        far = self.receiver()
        with self.link(to_b="delay=2ms", to_a="delay=20ms"):
            near = self.socket(self.near)
            near.settimeout(5)
            round_trips = []
            for _ in range(20):
                began = time.monotonic_ns()
                near.sendto(b"there", (SINK, PORT))
                _, sender = far.recvfrom(64)
                far.sendto(b"and back", sender)
                near.recv(64)
                round_trips.append(milliseconds(time.monotonic_ns() - began))
        self.assertGreaterEqual(min(round_trips), 22)
        self.assertLess(min(round_trips), 23)

    def test_jitter_spreads_the_delay_and_keeps_the_order(self):
        arrived, _ = self.crosses(300, gap=0.006, to_b="delay=10ms,jitter=5ms")
        self.assertEqual([datagram.number for datagram in arrived], list(range(300)))
        took = [datagram.took for datagram in arrived]
        self.assertGreaterEqual(min(took), 10)
        self.assertLess(min(took), 11.5)
        self.assertGreater(statistics.quantiles(took, n=4)[2], 13)
        self.assertGreater(statistics.pstdev(took), 1)

    def test_loss_is_the_share_that_was_asked(self):
        arrived, said = self.crosses(10_000, to_b="loss=3%")
        self.assertGreater(len(arrived), 9_600)  # standard deviation: 17
        self.assertLess(len(arrived), 9_800)
        self.assertEqual((said["to_b"]["arrived"], said["to_b"]["lost"]), (10_000, 10_000 - len(arrived)))

    def test_the_seed_decides_who_is_lost(self):
        first, again, other = ([datagram.number for datagram in self.crosses(2_000, to_b=ways, seed=seed)[0]]
                               for seed, ways in ((1, "loss=3%"), (1, "loss=3%,delay=3ms"), (2, "loss=3%")))
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)

    def rate(self, arrived):
        """Mb/s, the median of many slices: a moment in which the machine stood still is in one of them."""
        slices = zip(arrived, arrived[40:])
        return statistics.median(40 * FRAME_BITS * 1000 / (last.arrived - first.arrived) for first, last in slices)

    def test_rate_and_queue_are_what_was_asked(self):
        arrived, said = self.crosses(1_500, to_b="rate=8Mb/s,queue=300")  # a burst, in which the link sends a few
        self.assertGreaterEqual(len(arrived), 300)
        self.assertLess(len(arrived), 1_500)
        self.assertEqual(said["to_b"]["queue_full"], 1_500 - len(arrived))
        self.assertEqual(said["to_b"]["queue_peak"], 300)
        print(f"         8 Mb/s: {self.rate(arrived):.3f}", flush=True)
        self.assertAlmostEqual(self.rate(arrived), 8, delta=0.2)

    def test_reordered_frames_are_overtaken_and_all_arrive(self):
        arrived, said = self.crosses(1_000, gap=0.0005, to_b="delay=1ms,reordering=5%,reorder-by=20ms")
        numbers = [datagram.number for datagram in arrived]
        self.assertEqual(sorted(numbers), list(range(1_000)))
        overtaken = sum(number < most for number, most in zip(numbers, running_most(numbers)))
        self.assertTrue(25 < said["to_b"]["reordered"] < 85, said)  # of 50, standard deviation: 7
        # The last ones have nobody behind them, and nobody comes while the sender stands still.
        self.assertGreaterEqual(overtaken, 0.8 * said["to_b"]["reordered"])
        self.assertLessEqual(overtaken, said["to_b"]["reordered"])

    def test_two_senders_share_the_rate_and_hear_only_their_own_answers(self):
        far = self.receiver()
        with self.link(to_b="rate=8Mb/s,queue=2000") as link:
            senders = [self.socket(self.near), self.socket(self.beside)]
            for number in range(400):
                for sender in senders:
                    self.send(sender, [number])
            arrived = self.received(far)
            far.sendto(b"to the first alone", (NEAR, senders[0].getsockname()[1]))
            senders[0].settimeout(5)
            self.assertEqual(senders[0].recv(64), b"to the first alone")
            said = link.stop()
        self.assertEqual([datagram.number for datagram in arrived if datagram.sender == NEAR], list(range(400)))
        self.assertEqual([datagram.number for datagram in arrived if datagram.sender == BESIDE], list(range(400)))
        self.assertAlmostEqual(self.rate(arrived), 8, delta=0.2)
        self.assertEqual([device["sent"] for device in said["devices"]], [1, 0, 800])

    def test_arp_is_spared(self):
        subprocess.run(["ip", "-n", self.near.namespace, "neighbor", "delete", SINK, "dev", "client0"], check=True)
        self.addCleanup(self.near.knows, self.far)
        with self.link(to_b="loss=100%", to_a="loss=100%"):
            ping = ["ip", "netns", "exec", self.near.namespace, "ping", "-c1", "-W1", SINK]
            self.assertEqual(subprocess.run(ping, stdout=subprocess.DEVNULL).returncode, 1)
        shown = subprocess.run(["ip", "-n", self.near.namespace, "neighbor", "show", SINK], text=True, check=True,
                               stdout=subprocess.PIPE).stdout
        self.assertIn(self.far.mac, shown)

    def test_frames_beyond_the_mtu_are_counted_not_forwarded(self):
        """What a device with its offloads on would send."""
        for host in (self.near, self.far):
            for device in ("client0", "link0"):
                subprocess.run(["ip", "-n", host.namespace, "link", "set", device, "mtu", "9000"], check=True)
                self.addCleanup(subprocess.run, ["ip", "-n", host.namespace, "link", "set", device, "mtu", "1500"])
        with self.link() as link:
            self.socket(self.near).sendto(bytes(4000), (SINK, PORT))
            time.sleep(0.1)
            said = link.stop()
        self.assertEqual((said["devices"][0]["oversized"], said["to_b"]["arrived"]), (1, 0))

    def test_mistakes_are_one_sentence(self):
        for arguments, status, sentence in (
            (["--b", "x"], 2, "--a is required"),
            (["--a", "x", "--b", "y", "--to-b", "loss=2"], 2, '--to-b: found "loss=2", expected one of delay=10ms, '),
            (["--a", "x", "--b", "y", "--to-a", "delay"], 2, '--to-a: found "delay", expected one of delay=10ms, '),
            (["--a", "x", "--b", "y", "--to-a", "rate=fast"], 2, '--to-a: found "rate=fast", expected one of '),
            (["--a", "x", "--b", "y", "--to-b", "queue=0,loss=1%"], 2, '--to-b: found "queue=0", expected one of '),
            (["--a", "nowhere/x", "--b", "y"], 1, "network namespace nowhere: No such file or directory"),
            (["--a", "no-device", "--b", "y"], 1, "network device no-device: No such device"),
        ):
            with self.subTest(arguments):
                done = subprocess.run([harness.link, *arguments], stdin=subprocess.DEVNULL, text=True,
                                      capture_output=True, timeout=10)
                self.assertEqual((done.returncode, done.stdout), (status, ""))
                self.assertRegex(done.stderr, f"^pollux-test-link: {re.escape(sentence)}[^\n]*\n$")


def running_most(numbers):
    most = -1
    for number in numbers:
        most = max(most, number)
        yield most
