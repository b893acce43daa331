"""Hosts beside each other at one end of a bad link, and a receiver at its other end.

    OurSender   (a TAP device)  ──┐
                                  ├── pollux-test-link ──── Sink (this machine's kernel)
    LinuxSender (a veth pair)   ──┘

Each host has a namespace of its own; the link's sockets are in all of them. Everybody's neighbours are permanent, so
that a resolution that was lost costs nobody anything.
"""

import bisect
import contextlib
import json
import pathlib
import queue
import signal
import socket
import struct
import subprocess
import threading
import time

import harness
from harness import DEVICE, Dialer, inside, shell, wait_until

SINK, PORT = "192.0.2.2", 5001
MEBIBYTE = 1 << 20
# Of both ends, so that neither a buffer nor the announced window is the limit, but the congestion window.
BUFFERS = {"tcp_rmem": f"4096 {16 * MEBIBYTE} {64 * MEBIBYTE}", "tcp_wmem": f"4096 {16 * MEBIBYTE} {64 * MEBIBYTE}"}
KERNEL_SENDER = {"tcp_no_metrics_save": "1"}  # each run begins without memories


stopping = threading.Event()


class Stopped(Exception):
    """By Ctrl-C, or because something else failed."""


def pause(seconds):
    if stopping.wait(seconds):
        raise Stopped


class Host:
    """One of the kernel's. `port` is its end of the link."""

    def __init__(self, address, sysctls):
        self.address, self.sysctls = address, sysctls
        self.namespace = harness.new_namespace()
        self.port = f"{self.namespace}/link0"
        self.mac = None

    def __enter__(self):
        try:
            shell(f"make_namespace {self.namespace} && make_veth {self.namespace} link0 {self.address}/24")
            with inside(self.namespace):
                for name, value in self.sysctls.items():
                    pathlib.Path(f"/proc/sys/net/ipv4/{name}").write_text(value)
            shown = subprocess.run(["ip", "-n", self.namespace, "-json", "link", "show", "client0"], check=True,
                                   stdout=subprocess.PIPE)
            self.mac = json.loads(shown.stdout)[0]["address"]
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        shell(f"remove_namespace {self.namespace}")

    def knows(self, other):
        subprocess.run(["ip", "-n", self.namespace, "neighbor", "replace", other.address, "lladdr", other.mac, "dev",
                        "client0", "nud", "permanent"], check=True)


class OurSender(Dialer):
    """Uploads without end, on a TAP device: each order is a connection."""

    name = "ours"
    before_program = ("nice", "-n", "-15")  # the kernel's sender runs in interrupts, which wait for nobody

    def __init__(self, build, address, core=0, tcp=""):
        self.address, self.mac = address, None
        super().__init__(build, f"""
[eal]
huge_pages = false
cores = "{harness.worker_cores(1, core)}"
[[port]]
device = "net_tap0,iface={DEVICE}"
addresses = ["{address}/24"]
[[listen]]
port = 80
[tcp]
{tcp}
[tcp.capacity]
connections = 64
time_wait = 64
""", [("upload", "peer", SINK, PORT)], "--times", 1000)
        self.content = self.folder / "content"
        self.arguments += ["--content", self.content]
        self.port = f"{self.namespace}/{DEVICE}"

    def _before_start(self):
        self.content.write_bytes(bytes(MEBIBYTE))

    def _after_start(self):
        self._await("the TAP device", lambda: self.run("ip", "link", "show", DEVICE).returncode == 0)
        shell(f"ip netns exec {self.namespace} ethtool -K {DEVICE} tx off tso off gso off gro off >/dev/null 2>&1")
        shell(f"ip -n {self.namespace} link set {DEVICE} up")

    def knows(self, other):
        """It asks on its own, and the link spares ARP."""

    def __enter__(self):
        super().__enter__()
        (row,) = self.rows("ports")
        self.mac = row["mac"]
        return self

    def tallies(self):
        return {row["name"]: row["total"] for row in self.rows("stat") if row["row"] == "counter"}

    def begins(self):
        self.before = self.tallies()
        super().begins()

    def facts(self):
        """Of the connection that is open, and what rose since it began."""
        rows = [row for row in self.rows("conns") if row["row"] == "conn"]
        risen = {name: total - self.before.get(name, 0) for name, total in self.tallies().items()}
        return {"conns": rows, "counters": {name: count for name, count in risen.items() if count},
                "retransmitted": risen.get("retransmitted_segments", 0),
                "timeouts": risen.get("retransmission_timeouts", 0)}

    def finishes(self):
        """The receiver has gone; the next order finds nothing of it."""
        wait_until(10, "the end of our connections", lambda: not self.rows("conns"))


class LinuxSender(Host):
    """The kernel's CUBIC."""

    name = "Linux"

    def __init__(self, address):
        super().__init__(address, {**BUFFERS, **KERNEL_SENDER})
        self.socket = self.thread = None

    def __exit__(self, *reason):
        self.finishes()
        super().__exit__(*reason)

    def timeouts(self):
        with inside(self.namespace):
            names, values = [line.split() for line in
                             pathlib.Path("/proc/thread-self/net/netstat").read_text().splitlines()[:2]]
        return int(values[names.index("TCPTimeouts")])

    def begins(self):
        self.before = self.timeouts()
        with inside(self.namespace):
            self.socket = socket.socket()
        # As sysctl the kernel refuses it to any namespace but the first, unless it is the default there.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
        self.socket.settimeout(60)
        self.thread = threading.Thread(target=self._send)
        self.thread.start()

    def _send(self):
        content = bytes(MEBIBYTE)
        with contextlib.suppress(OSError):  # the receiver ends it
            self.socket.connect((SINK, PORT))
            while True:
                self.socket.sendall(content)

    def facts(self):
        info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        words = struct.unpack("8x24I", info)  # linux/tcp.h: struct tcp_info
        return {"srtt_us": words[15], "ssthresh": words[17], "cwnd": words[18], "reordering": words[20],
                "retransmitted": words[23], "timeouts": self.timeouts() - self.before,
                "congestion": self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).decode().rstrip("\0")}

    def finishes(self):
        if self.thread:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
            self.thread.join()
            self.socket.close()
            self.thread = None


class Flow:
    """What came by one connection."""

    def __init__(self, peer):
        self.peer, self.began = peer, time.monotonic()
        self.times, self.totals, self.closing = [], [], False
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self):
        place, total = bytearray(MEBIBYTE), 0
        with contextlib.suppress(OSError):
            while not self.closing and (count := self.peer.recv_into(place)):
                total += count
                self.times.append(time.monotonic())
                self.totals.append(total)

    def total_at(self, moment):
        index = bisect.bisect_right(self.times, moment)
        return self.totals[index - 1] if index else 0

    def megabits(self, first, last):
        """A second, of what was read between the two moments."""
        return (self.total_at(last) - self.total_at(first)) * 8 / 1e6 / (last - first)

    def close(self):
        """With a RST: the sender is to stop at once."""
        self.closing = True
        with contextlib.suppress(OSError):
            self.peer.shutdown(socket.SHUT_RD)  # wakes the reader
        self.thread.join()
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.peer.close()


class Sink(Host):
    """Reads and discards whatever comes."""

    def __init__(self):
        super().__init__(SINK, BUFFERS)
        self.accepted = queue.Queue()
        self.flows = []
        self.listener = self.thread = None

    def __enter__(self):
        super().__enter__()
        with inside(self.namespace):
            self.listener = socket.create_server((SINK, PORT))
        self.thread = threading.Thread(target=self._accept)
        self.thread.start()
        return self

    def __exit__(self, *reason):
        if self.thread:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.thread.join()
            self.listener.close()
            self.ends_flows()
        super().__exit__(*reason)

    def _accept(self):
        with contextlib.suppress(OSError):  # shut down
            while True:
                peer, _ = self.listener.accept()
                self.flows.append(Flow(peer))
                self.accepted.put(self.flows[-1])

    def next_flow(self, seconds=20):
        """Of the one sender that has been told to begin."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(queue.Empty):
                return self.accepted.get(timeout=0.1)
            pause(0)
        raise AssertionError(f"waited {seconds} s in vain for a connection")

    def ends_flows(self):
        while self.flows:
            self.flows.pop().close()


class Link:
    """with Link([sender.port], sink.port, to_b="delay=10ms,loss=1%", to_a="delay=10ms") as link: ..."""

    def __init__(self, side_a, side_b, to_b="", to_a="", seed=1):
        self.command = [harness.link, *(word for port in side_a for word in ("--a", port)), "--b", side_b, "--seed",
                        str(seed), *(("--to-b", to_b) if to_b else ()), *(("--to-a", to_a) if to_a else ())]
        self.process = self.report = None

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, start_new_session=True)
        if "forwarding" not in (said := self.process.stdout.readline()):
            self.process.kill()
            raise AssertionError(f"{self.command}: {said}{self.process.stderr.read()}")
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def stop(self):
        """What it counted."""
        self.process.send_signal(signal.SIGTERM)
        said, complaint = self.process.communicate(timeout=10)
        if self.process.returncode != 0:
            raise AssertionError(f"{self.command}: {complaint}")
        self.report = json.loads(said.splitlines()[-1])
        return self.report


@contextlib.contextmanager
def connected(*senders):
    """The senders, started, and a receiver; all know each other."""
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(Sink())
        for sender in senders:
            stack.enter_context(sender)
            sender.knows(sink)
            sink.knows(sender)
        yield sink
