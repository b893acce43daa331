"""ECN with the kernel: who asks and who agrees; and a router between the two that marks what may be marked, and one
that drops SYNs that ask."""

import collections
import contextlib
import hashlib
import pathlib
import random
import select
import socket
import tempfile
import threading

import harness
import junit
from harness import CLIENT, CLIENT_V6, DEVICE, Dialer, Server, V4, V6, read_answer, request, settings, wait_until
from opening_test import KernelServer, kernel_counters, read_all, risen

SIZE = 300_000
AGREED, SEEN_ECT = 8, 16  # linux/tcp.h: TCPI_OPT_ECN, TCPI_OPT_ECN_SEEN
NOT_ECT, CE = 0, 3
SYN, RST, ACK, ECE, CWR = 2, 4, 16, 64, 128
SOL_PACKET, PACKET_IGNORE_OUTGOING, SO_RCVBUFFORCE, ETH_P_ALL = 263, 23, 33, 3
TARGETS = [(what, closer, address, port) for address in (CLIENT, CLIENT_V6)
           for what, closer, port in (("download", "peer", 5001), ("upload", "us", 5002))]


def set_kernel(server, value):
    """tcp_ecn: 0 never, 1 asks and agrees, 2 agrees."""
    with server.inside():
        pathlib.Path("/proc/sys/net/ipv4/tcp_ecn").write_text(str(value))


def as_the_kernel_says(peer):
    """Whether ECN is agreed on, and whether ECT has come."""
    bits = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[5]
    return bool(bits & AGREED), bool(bits & SEEN_ECT)


class Asking(junit.Case):
    @junit.row("M1", "M2", "SHLD-8")
    def test_the_kernel_asks_and_we_agree_unless_told_not_to(self):
        for agrees in (True, False):
            with Server("asan", settings(tcp=f"ecn = {str(agrees).lower()}\n")) as server:
                for asks in (1, 2):
                    set_kernel(server, asks)
                    for family in (V4, V6):
                        with self.subTest(agrees=agrees, tcp_ecn=asks, family=family.name):
                            self.is_answered(server, family, agrees and asks == 1)
                self.assertNotIn("Sanitizer", server.log())

    def is_answered(self, server, family, ecn):
        with server.connect(family=family) as peer:
            peer.sendall(request())
            with peer.makefile("rb") as stream:
                self.assertEqual(read_answer(stream).status, 200)
            self.assertEqual(as_the_kernel_says(peer), (ecn, ecn))
            (row,) = server.rows("conns", "--port", str(peer.getsockname()[1]), "--state", "established")
            self.assertEqual(row["ecn"], ecn)
            if ecn:
                self.assertRegex(server.ctl("conns", "--port", str(peer.getsockname()[1])).stdout, r" ecn\b")

    @staticmethod
    def hears(peer):
        return len(read_all(peer)) > 0, as_the_kernel_says(peer)

    @junit.row("B9", "M1", "M2")
    def test_we_ask_when_told_to_and_the_kernel_agrees_unless_told_not_to(self):
        targets = [("upload", "us", address, 5002) for address in (CLIENT, CLIENT_V6)]
        for asks in (True, False):
            arguments = ["--content", __file__, "--connections", len(targets)]
            with Dialer("asan", settings(tcp=f"ecn_request = {str(asks).lower()}\n"), targets, *arguments) as dialer:
                servers = [KernelServer(dialer, address, port, self.hears) for _, _, address, port in targets]
                for server in servers:
                    self.addCleanup(server.close)
                wanted = []
                for agrees in (0, 1, 2):
                    set_kernel(dialer, agrees)
                    dialer.begins()
                    ecn = asks and agrees != 0
                    wanted.append((True, (ecn, ecn)))
                    for server in servers:
                        wait_until(30, "the end", lambda: len(server.results) + len(server.failures) == len(wanted))
                        self.assertEqual((server.results, server.failures), (wanted, []))
                result = dialer.result()
                self.assertNotIn("Sanitizer", dialer.log())
            self.assertEqual(result["tallies"].get("ecn_connections", 0), 2 * len(targets) if asks else 0)


# ---- A router. --------------------------------------------------------------------------------------------------

class Tcp:
    """What a router sees of a TCP packet in a frame; its ECN field can be changed."""

    def __init__(self, frame):
        self.frame, self.v6 = bytearray(frame), frame[12:14] == b"\x86\xdd"
        self.at = 14 + 40 if self.v6 else 14 + (frame[14] & 15) * 4
        end = 14 + 40 + int.from_bytes(frame[18:20]) if self.v6 else 14 + int.from_bytes(frame[16:18])
        self.ecn = (frame[15] >> 4 if self.v6 else frame[15]) & 3
        self.flags = frame[self.at + 13]
        self.seq = int.from_bytes(frame[self.at + 4:self.at + 8])
        self.size = end - self.at - (frame[self.at + 12] >> 4) * 4
        addresses = frame[22:54] if self.v6 else frame[26:34]
        half = len(addresses) // 2
        ports = frame[self.at:self.at + 4]
        self.source, self.target = addresses[:half] + ports[:2], addresses[half:] + ports[2:]

    @staticmethod
    def in_frame(frame):
        is_tcp = (frame[12:14] == b"\x08\x00" and frame[23] == 6) or (frame[12:14] == b"\x86\xdd" and frame[20] == 6)
        return Tcp(frame) if is_tcp else None

    def mark(self):
        old = int.from_bytes(self.frame[14:16])
        self.frame[15] |= 0x30 if self.v6 else 0x03
        self.ecn = CE
        if not self.v6:  # RFC 1624
            total = (~int.from_bytes(self.frame[24:26]) & 0xffff) + (~old & 0xffff) + int.from_bytes(self.frame[14:16])
            total = (total & 0xffff) + (total >> 16)
            total = (total & 0xffff) + (total >> 16)
            self.frame[24:26] = (~total & 0xffff).to_bytes(2)


class Router:
    """Carries frames between two devices of a namespace. `passes(packet)`: may change it; false drops it."""

    def __init__(self, namespace, devices, passes):
        self.passes, self.seen, self.ending = passes, [], threading.Event()
        with harness.inside(namespace):
            self.sides = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) for _ in devices]
        for side, device in zip(self.sides, devices):
            side.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            side.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
            side.bind((device, 0))
        self.thread = threading.Thread(target=self._carry)
        self.thread.start()

    def _carry(self):
        other = dict(zip(self.sides, reversed(self.sides)))
        while not self.ending.is_set():
            for side in select.select(self.sides, [], [], 0.1)[0]:
                frame = side.recv(65_536)
                packet = Tcp.in_frame(frame)
                if packet:
                    if not self.passes(packet):
                        continue
                    self.seen.append(packet)
                    frame = packet.frame
                with contextlib.suppress(OSError):  # the device is on its way out
                    other[side].send(frame)

    def close(self):
        self.ending.set()
        self.thread.join()
        for side in self.sides:
            side.close()


class RoutedDialer(Dialer):
    """On a veth pair; the kernel's TCP on another; between them the router, in a namespace of its own."""

    def __init__(self, tcp, targets, passes, *arguments):
        text = settings(tcp=tcp).replace(f"net_tap0,iface={DEVICE}", f"net_af_packet0,iface={DEVICE}")
        super().__init__("asan", text, targets, *arguments)
        self.passes, self.router = passes, None

    def _before_start(self):
        between, commands = f"{self.namespace}-router", []
        for device, end in ((DEVICE, "ours"), ("client0", "theirs")):
            commands += [f"ip -n {self.namespace} link add {device} type veth peer name {end} netns {between}"]
            for namespace, name in ((self.namespace, device), (between, end)):
                commands += [f"ip netns exec {namespace} ethtool -K {name} tx off tso off gso off gro off >/dev/null",
                             f"ip -n {namespace} link set {name} up"]
        harness.shell(f"make_namespace {between}; " + " && ".join(commands) +
                      f" && add_addresses {self.namespace} client0 {CLIENT}/24 {CLIENT_V6}/64")
        self.router = Router(between, ("ours", "theirs"), self.passes)

    def _after_start(self):
        pass

    def __exit__(self, *reason):
        super().__exit__(*reason)
        if self.router:
            self.router.close()
        harness.shell(f"remove_namespace {self.namespace}-router")


class Routing(junit.Case):
    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="pollux-test.")))
        cls.content = random.Random(5).randbytes(SIZE)
        cls.file = folder / "content"
        cls.file.write_bytes(cls.content)
        cls.digest = hashlib.sha256(cls.content).hexdigest()

    def serves(self, dialer):
        def server(what, address, port):
            def serve(peer):
                if what == "download":
                    peer.sendall(self.content)
                    peer.shutdown(socket.SHUT_WR)
                received = read_all(peer)
                if what == "download":
                    received = self.content + received
                return hashlib.sha256(received).hexdigest(), as_the_kernel_says(peer)[0]

            served = KernelServer(dialer, address, port, serve)
            self.addCleanup(served.close)
            return served

        return [server(what, address, port) for what, _, address, port in TARGETS]

    def everything_moves(self, dialer, ecn, seconds=60):
        servers, before = self.serves(dialer), kernel_counters(dialer)
        dialer.begins()
        wait_until(seconds, "all connections", lambda: all(server.results or server.failures for server in servers))
        for server in servers:
            self.assertEqual((server.results, server.failures), ([(self.digest, ecn)], []))
        counters, result = risen(dialer, before), dialer.result()
        self.assertEqual((result["opened"], result["closed"], result["downloaded"]), (4, 4, 2))
        self.assertNotIn("Sanitizer", dialer.log())
        return counters, result["tallies"]

    @junit.row("M2", "M3", "M4")
    def test_marks_of_a_router_are_echoed_and_obeyed_in_both_directions(self):
        every = collections.Counter()

        def marks(packet):
            if packet.ecn not in (NOT_ECT, CE):
                every[packet.source] += 1
                if every[packet.source] % 8 == 0:
                    packet.mark()
            return True

        arguments = ["--content", self.file, "--connections", len(TARGETS), "--at-once", 2]
        with RoutedDialer("ecn_request = true\n", TARGETS, marks, *arguments) as dialer:
            set_kernel(dialer, 1)
            counters, tallies = self.everything_moves(dialer, True)
            seen = list(dialer.router.seen)
        self.assertEqual(tallies["ecn_connections"], len(TARGETS))
        self.assertGreater(tallies["ce_received"], 0)
        self.assertGreater(tallies["ecn_reductions"], 0)
        self.assertGreater(counters["TcpExtTCPDeliveredCE"], 0, "the kernel has heard our ECE")

        sent = collections.defaultdict(list)
        for packet in seen:
            sent[packet.source, packet.target].append(packet)
        for packets in sent.values():
            self.only_new_data_is_ect(packets)
        for (source, target), packets in sent.items():
            if any(packet.ecn == CE for packet in packets):
                self.assertTrue(any(packet.flags & ECE for packet in sent[target, source]), "echoed")
                self.assertTrue(any(packet.flags & CWR and packet.size for packet in packets), "and heard")

    def only_new_data_is_ect(self, packets):
        start, end = packets[0].seq, 0
        for packet in packets:
            last = (packet.seq - start & 0xffffffff) + packet.size
            if packet.ecn != NOT_ECT:
                self.assertGreater(packet.size, 0)
                self.assertFalse(packet.flags & (SYN | RST))
                self.assertGreater(last, end, "repeated")
            if not packet.flags & SYN:
                self.assertTrue(packet.ecn != NOT_ECT or packet.size == 0 or last <= end, "new data that is not ECT")
            end = max(end, last)

    @junit.row("B9")
    def test_a_router_that_drops_syns_which_ask_is_survived(self):
        def drops(packet):
            return packet.flags & (SYN | ACK | ECE | CWR) != SYN | ECE | CWR

        arguments = ["--content", self.file, "--connections", len(TARGETS), "--at-once", len(TARGETS)]
        with RoutedDialer("ecn_request = true\n", TARGETS, drops, *arguments) as dialer:
            counters, tallies = self.everything_moves(dialer, False)
            self.assertTrue(all(packet.ecn == NOT_ECT for packet in dialer.router.seen))
        self.assertEqual(tallies["syns_retransmitted"], len(TARGETS))
        self.assertNotIn("ecn_connections", tallies)
