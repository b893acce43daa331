"""Connections that we open to the kernel, and connections that the kernel opens to us: with and without each option what
arrives is right, every connection reaches its end, and the kernel's counters say that nobody did anything strange."""

import concurrent.futures
import hashlib
import itertools
import pathlib
import random
import re
import socket
import tempfile
import threading
import time

import harness
import junit
from harness import CLIENT, CLIENT_V6, DEVICE, Dialer, V4, V6, settings, wait_until

SIZE = 300_000
QUICK = 'min_rto_variance = "20ms"\nmax_rto = "1s"\nmsl = "500ms"\nfin_wait_2 = "1s"\n'
# Received frames are not corrupted: an ARP answer has no checksum, and a flipped bit would be believed for a minute.
BAD_NETWORK = """
[test]
enabled = true
seed = 20261124
""" + "".join(f"""
[test.{direction}]
loss = "1%"
duplication = "1%"
reordering = "1%"
corruption = "{corruption}"
""" for direction, corruption in (("receive", "0%"), ("send", "1%")))

OPTIONS = ("timestamps", "sack", "window_scaling")
COMBINATIONS = [dict(zip(OPTIONS, chosen)) for chosen in itertools.product((True, False), repeat=3)]
AS_TCP_INFO_SAYS = dict(zip(OPTIONS, (1, 2, 4)))  # linux/tcp.h: TCPI_OPT_...
TARGETS = [(what, closer, address, port) for address in (CLIENT, CLIENT_V6)
           for what, closer, port in (("download", "peer", 5001), ("download", "us", 5002),
                                      ("upload", "us", 5003), ("upload", "peer", 5004))]


def name_of(options):
    return " ".join(option for option in OPTIONS if options[option]) or "no option"


def agreed_options(peer):
    """What the kernel says of a connection."""
    bits = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[5]
    return {option: bool(bits & bit) for option, bit in AS_TCP_INFO_SAYS.items()}


def read_all(peer):
    return b"".join(iter(lambda: peer.recv(1 << 16), b""))


def read_exactly(peer, size):
    data = b""
    while len(data) < size and (more := peer.recv(size - len(data))):
        data += more
    return data


class KernelServer:
    """Listens in the dialer's namespace. `serve(peer)` has each connection; `results` are what it returns."""

    def __init__(self, dialer, address, port, serve, at_once=1):
        self.serve, self.results, self.accepted, self.failures = serve, [], [], []
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with dialer.inside():
            self.listener = socket.create_server((address, port), family=family, backlog=1024)
        self.pool = concurrent.futures.ThreadPoolExecutor(at_once)
        self.thread = threading.Thread(target=self._accept)
        self.thread.start()

    def _accept(self):
        while True:
            try:
                peer, (_, port, *_) = self.listener.accept()
            except OSError:  # shut down
                return
            self.accepted.append(port)
            self.pool.submit(self._serve, peer)

    def _serve(self, peer):
        try:
            with peer:
                peer.settimeout(60)
                self.results.append(self.serve(peer))
        except BaseException as failure:
            self.failures.append(failure)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.pool.shutdown()
        self.listener.close()


def kernel_counters(dialer):
    """What nstat reads, of the dialer's namespace."""
    with dialer.inside():
        text = "".join(pathlib.Path(f"/proc/thread-self/net/{name}").read_text() for name in ("snmp", "netstat"))
    counters = {}
    for names, values in zip(*[iter(text.splitlines())] * 2):
        group, *names = names.split()
        counters.update({group[:-1] + name: int(value) for name, value in zip(names, values.split()[1:])})
    return counters


def risen(dialer, before):
    return {name: count - before[name] for name, count in kernel_counters(dialer).items()}


def set_kernel_options(dialer, options):
    with dialer.inside():
        for option, chosen in options.items():
            pathlib.Path(f"/proc/sys/net/ipv4/tcp_{option}").write_text(str(int(chosen)))


def make_neighbours_permanent(dialer):
    """ARP carries no checksum: one flipped bit would give the kernel a wrong neighbour for a minute."""
    (port,) = dialer.rows("ports")
    for family in (V4, V6):
        dialer.run("ip", "neighbor", "replace", family.server, "lladdr", port["mac"], "dev", DEVICE, "nud", "permanent")


class Opening(junit.Case):
    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="pollux-test.")))
        cls.content = random.Random(3).randbytes(SIZE)
        cls.file = folder / "content"
        cls.file.write_bytes(cls.content)
        cls.digest = hashlib.sha256(cls.content).hexdigest()

    def serves(self, dialer, targets=TARGETS, at_once=4):
        """The kernel's servers for `targets`; each result is the digest of what came and the options agreed on."""
        def server(what, closer, address, port):
            def serve(peer):
                options = agreed_options(peer)
                if what == "download":
                    peer.sendall(self.content)
                received = read_exactly(peer, SIZE) if (what, closer) == ("upload", "peer") else b""
                if closer == "peer":
                    peer.shutdown(socket.SHUT_WR)
                received += read_all(peer)
                return hashlib.sha256(received if what == "upload" else self.content + received).hexdigest(), options

            served = KernelServer(dialer, address, port, serve, at_once)
            self.addCleanup(served.close)
            return served

        return [server(*target) for target in targets]

    def is_echoed(self, dialer, family):
        """The kernel opens: what it sends comes back."""
        with dialer.connect(family=family, timeout=60) as peer:
            options = agreed_options(peer)
            sender = threading.Thread(target=lambda: (peer.sendall(self.content), peer.shutdown(socket.SHUT_WR)))
            sender.start()
            digest = hashlib.sha256(read_all(peer)).hexdigest()
            sender.join()
        return digest, options

    def kernel_opens(self, dialer):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda family: self.is_echoed(dialer, family), (V4, V6)))

    def is_sane(self, counters, result, timestamps):
        """The kernel's counters, beside what was done to our packets on purpose."""
        done = {what: result["tallies"].get(f"impaired_sent_{what}", 0) for what in ("corrupted", "duplicated", "reordered")}
        self.assertLessEqual(counters["TcpInCsumErrors"], done["corrupted"])
        # An old segment, or a SYN that comes twice, is one that was doubled or held back.
        late = done["duplicated"] + done["reordered"]
        self.assertLessEqual(counters["TcpExtPAWSEstab"], late if timestamps else 0)
        self.assertLessEqual(counters["TcpExtTCPChallengeACK"], late)
        self.assertLessEqual(counters["TcpExtTCPSYNChallenge"], late)
        for name in ("TCPSACKReneging", "PAWSActive", "TCPAbortOnTimeout", "TCPAbortOnData", "TCPAbortFailed",
                     "ListenOverflows", "TCPReqQFullDrop", "TCPReqQFullDoCookies"):
            self.assertEqual(counters[f"TcpExt{name}"], 0, name)
        self.assertEqual(counters["TcpEstabResets"], 0)

    def moves_everything(self, dialer, servers, each, options):
        """A batch of `each` connections of ours to every server, and two of the kernel's to us."""
        echoed = self.kernel_opens(dialer)
        before = [len(server.results) for server in servers]
        dialer.begins()
        wait_until(60, "all connections", lambda: all(
            len(server.results) + len(server.failures) == done + each for server, done in zip(servers, before)))
        for server, done in zip(servers, before):
            self.assertEqual(server.failures, [])
            self.assertEqual(server.results[done:], [(self.digest, options)] * each)
        self.assertEqual(echoed, [(self.digest, options)] * 2)

    def ends_well(self, result, connections, downloads, accepted, may_be_left=()):
        ends = {name: result[name] for name in ("opened", "closed", "downloaded", "accepted")}
        self.assertEqual(ends, {"opened": connections, "closed": connections, "downloaded": downloads,
                                "accepted": accepted})
        for name in ("refused", "timed_out", "unreachable", "reset", "not_begun", "refused_sends", "reused_in_time_wait"):
            self.assertEqual(result[name], 0, name)
        left = {name for name, count in result["in_use"].items() if count}
        self.assertLessEqual(left, set(may_be_left), result["in_use"])

    def test_we_open_and_are_opened_to_with_and_without_each_option_of_ours(self):
        damaged = 0
        for options in COMBINATIONS:
            with self.subTest(ours=name_of(options)):
                tcp = QUICK + "".join(f"{option} = {str(chosen).lower()}\n" for option, chosen in options.items())
                arguments = ["--content", self.file, "--connections", len(TARGETS), "--at-once", 8]
                with Dialer("release", settings(tcp=tcp, more=BAD_NETWORK), TARGETS, *arguments) as dialer:
                    make_neighbours_permanent(dialer)
                    servers, before = self.serves(dialer), kernel_counters(dialer)
                    self.moves_everything(dialer, servers, 1, options)
                    counters = risen(dialer, before)
                    result = dialer.result()
                    self.ends_well(result, len(TARGETS), len(TARGETS) // 2, 2, ("time_wait", "table_entries"))
                    self.is_sane(counters, result, options["timestamps"])
                    damaged += counters["TcpInCsumErrors"]
        self.assertGreater(damaged, 0)

    def test_we_open_and_are_opened_to_with_and_without_each_option_of_the_kernels(self):
        arguments = ["--content", self.file, "--connections", len(TARGETS), "--at-once", 8, "--settle"]
        with Dialer("asan", settings(tcp=QUICK, more=BAD_NETWORK), TARGETS, *arguments) as dialer:
            make_neighbours_permanent(dialer)
            servers, before = self.serves(dialer), kernel_counters(dialer)
            for options in COMBINATIONS:
                with self.subTest(the_kernels=name_of(options)):
                    set_kernel_options(dialer, options)
                    self.moves_everything(dialer, servers, 1, options)
            counters = risen(dialer, before)
            result = dialer.result()
            self.ends_well(result, 8 * len(TARGETS), 4 * len(TARGETS), 16)
            self.is_sane(counters, result, True)
            self.assertNotIn("Sanitizer", dialer.log())


class Closing(junit.Case):
    """Connections without content: only their ends matter."""

    def serves(self, dialer, targets):
        """Each closes at once, or when the peer has."""
        def server(_, closer, address, port):
            served = KernelServer(dialer, address, port, lambda peer: closer == "peer" or peer.recv(1))
            self.addCleanup(served.close)
            return served

        return [server(*target) for target in targets]

    def test_10000_connections_end_from_either_side_and_no_tuple_comes_again_too_early(self):
        targets = [("download", closer, address, port) for address in (CLIENT, CLIENT_V6)
                   for closer, port in (("us", 5001), ("peer", 5002))]
        count = 10_000
        with Dialer("release", settings(), targets, "--connections", count, "--at-once", 64) as dialer:
            servers, before = self.serves(dialer, targets), kernel_counters(dialer)
            dialer.begins()
            wait_until(60, "all connections", lambda: sum(len(server.results) for server in servers) == count)
            result, counters = dialer.result(), risen(dialer, before)
            with dialer.inside():
                waiting = int(re.search(r"^TCP: .* tw (\d+)", pathlib.Path("/proc/thread-self/net/sockstat").read_text(),
                                        re.MULTILINE)[1])
        tallies = result["tallies"]
        self.assertEqual((result["opened"], result["closed"]), (count, count))
        for name in ("refused", "timed_out", "unreachable", "reset", "not_begun", "reused"):
            self.assertEqual(result[name], 0, name)
        # Whoever closed first waits: 60 s, longer than all this.
        self.assertEqual((tallies["time_wait_made"], result["in_use"]["time_wait"]), (count // 2, count // 2))
        self.assertEqual(waiting, count // 2)
        self.assertEqual(result["in_use"]["connections"], 0)
        for name in ("time_wait_recycled", "time_wait_expired", "connects_in_use", "connects_without_port", "resets_sent"):
            self.assertNotIn(name, tallies)
        # The kernel has seen the same.
        for server in servers:
            self.assertEqual(server.failures, [])
            self.assertEqual((len(server.accepted), len(set(server.accepted))), (count // 4, count // 4))
            self.assertTrue(all(32_768 <= port <= 60_999 for port in server.accepted))
        self.assertEqual(counters["TcpPassiveOpens"], count)
        for name in ("TcpAttemptFails", "TcpEstabResets", "TcpExtTCPChallengeACK", "TcpExtTCPSYNChallenge",
                     "TcpExtListenOverflows", "TcpExtTCPAbortOnData", "TcpExtTCPAbortOnTimeout"):
            self.assertEqual(counters[name], 0, name)

    @junit.row("ATK-15")
    def test_a_port_waits_for_the_end_of_its_time_wait_when_there_is_no_other(self):
        """100 ports, and TIME-WAIT of 1 s at us. The kernel's lasts 60 s, and lets newer SYNs take it over."""
        targets = [("download", "us", CLIENT, 5001), ("download", "peer", CLIENT_V6, 5002)]
        tcp = 'msl = "500ms"\ntimestamps = false\nfirst_local_port = 40000\nlast_local_port = 40099\n'
        count = 500
        with Dialer("asan", settings(tcp=tcp), targets, "--connections", count, "--at-once", 20, "--settle") as dialer:
            servers, before = self.serves(dialer, targets), kernel_counters(dialer)
            dialer.begins()
            wait_until(60, "all connections", lambda: sum(len(server.results) for server in servers) == count)
            result, counters = dialer.result(), risen(dialer, before)
            self.assertNotIn("Sanitizer", dialer.log())
        self.assertEqual((result["opened"], result["closed"]), (count, count))
        self.assertEqual((result["tuples"], result["reused"]), (200, count - 200))
        self.assertEqual(result["reused_in_time_wait"], 0)
        self.assertGreater(result["tallies"]["connects_without_port"], 0)
        self.assertEqual(result["tallies"]["time_wait_made"], count // 2)
        self.assertEqual(result["tallies"]["time_wait_expired"], count // 2)
        self.assertEqual(counters["TcpPassiveOpens"], count)
        for name in ("TcpEstabResets", "TcpExtTCPChallengeACK", "TcpExtTCPSYNChallenge"):
            self.assertEqual(counters[name], 0, name)


class Reaching(junit.Case):
    """The way to the peer, over both families."""

    def test_a_next_hop_that_does_not_answer_is_unreachable_and_a_closed_port_refuses(self):
        silent = [("192.0.2.77", 80), ("2001:db8::77", 80), ("198.51.100.7", 80), ("2001:db8:ff::7", 80)]
        targets = [("download", "us", *endpoint) for endpoint in [*silent, (CLIENT, 5001), (CLIENT_V6, 5001)]]
        text = settings().replace("[[listen]]", 'gateway = "192.0.2.99"\ngateway_v6 = "2001:db8::99"\n[[listen]]')
        with Dialer("asan", text, targets, "--connections", 5 * len(targets), "--at-once", 5 * len(targets)) as dialer:
            dialer.begins()
            began = time.monotonic()
            result = dialer.result()
            self.assertTrue(6.5 < time.monotonic() - began < 25)  # questions after 0, 1 and 3 s, and 4 s more
            self.assertNotIn("Sanitizer", dialer.log())
        self.assertEqual((result["unreachable"], result["refused"], result["opened"]), (20, 10, 0))
        self.assertEqual(result["in_use"]["connections"], 0)

    def test_a_peer_beyond_the_link_is_reached_through_the_gateway_of_its_family(self):
        far = ("198.51.100.7", "2001:db8:ff::7")
        targets = [("download", "peer", address, 5001) for address in far]
        text = settings().replace("[[listen]]", f'gateway = "{CLIENT}"\ngateway_v6 = "{CLIENT_V6}"\n[[listen]]')
        with Dialer("asan", text, targets, "--connections", 2) as dialer:
            harness.shell(f"add_addresses {dialer.namespace} lo {far[0]}/32 {far[1]}/128")
            for address in far:
                self.addCleanup(KernelServer(dialer, address, 5001, lambda peer: None).close)
            dialer.begins()
            result = dialer.result()
        self.assertEqual((result["opened"], result["closed"]), (2, 2))

    def test_an_address_of_ours_is_used_when_nobody_else_has_claimed_it(self):
        targets = [("download", "peer", CLIENT_V6, 5001)]
        text = settings().replace("duplicate_address_detection = false", "duplicate_address_detection = true")
        with Dialer("asan", text, targets) as dialer:
            self.addCleanup(KernelServer(dialer, CLIENT_V6, 5001, lambda peer: None).close)
            dialer.begins()
            result = dialer.result()
        self.assertEqual((result["opened"], result["closed"]), (1, 1))


class OpeningWorkers(junit.Case):
    def test_two_workers_open_connections_whose_answers_come_home(self):
        targets = [("download", closer, address, port) for address in (CLIENT, CLIENT_V6)
                   for closer, port in (("us", 5001), ("peer", 5002))]
        for build, count in (("asan", 200), ("release", 2_000)):
            with Dialer(build, settings(workers=2), targets, "--connections", count, "--at-once", 16) as dialer:
                servers = [KernelServer(dialer, address, port, lambda peer, closer=closer: closer == "peer" or peer.recv(1))
                           for _, closer, address, port in targets]
                for server in servers:
                    self.addCleanup(server.close)
                before = kernel_counters(dialer)
                dialer.begins()
                result, counters = dialer.result(), risen(dialer, before)
                self.assertNotIn("Sanitizer", dialer.log())
            self.assertEqual((result["opened"], result["closed"], result["reset"]), (count, count, 0))
            self.assertEqual(result["tallies"]["connections_opened"], count)
            self.assertEqual(result["tallies"].get("handed_over", 0), result["tallies"].get("taken_over", 0))
            self.assertNotIn("resets_sent", result["tallies"])
            self.assertEqual(counters["TcpPassiveOpens"], count)
