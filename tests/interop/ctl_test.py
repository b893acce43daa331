"""pollux-ctl against a running engine: every command under load, filters against what the kernel knows of the same
connections, half-open connections, and what it says when something is wrong."""

import json
import os
import pathlib
import re
import signal
import socket
import stat
import statistics
import struct
import subprocess
import tempfile
import threading
import time

import harness
import junit
from harness import (CLIENT_V6, DEVICE, SERVER, SERVER_V6, Server, UNLIMITED, V4, V6, read_answer, request, run_ctl,
                     settings)

URL = f"http://{SERVER}/"
ETH_P_ALL = 0x0003
KERNEL_MAC = bytes.fromhex("020000000002")  # configure_tap gives it to the kernel's side
LARGE = 8_000_000


class Engine(Server):
    """A server whose control socket is where RUNTIME_DIRECTORY says: in the folder of the test."""

    def text(self, *arguments):
        done = self.ctl(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    def control_socket(self):
        found = list(self.folder.glob("*.sock"))
        assert len(found) == 1, found
        return found[0]


def tcp_info(connection):
    """What the kernel knows of its end: (options, send scale, receive scale, send MSS)."""
    raw = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
    scales = raw[6]
    return raw[5], scales & 0xF, scales >> 4, struct.unpack_from("I", raw, 16)[0]


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn_frame(to_mac, source, port, mss):
    """A SYN with an MSS option from an address that belongs to nobody."""
    here, there = socket.inet_aton(source), socket.inet_aton(SERVER)
    tcp = struct.pack("!HHIIBBHHHBBH", port, 80, 0xFFFFFF00, 0, 6 << 4, 0x02, 65535, 0, 0, 2, 4, mss)
    pseudo = here + there + struct.pack("!BBH", 0, 6, len(tcp))
    tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, 6, 0, here, there)
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return to_mac + KERNEL_MAC + b"\x08\x00" + ip + tcp


class Ctl(junit.Case):
    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="pollux-test.")))
        (folder / "large").write_bytes(b"x" * LARGE)
        routes = [("/large", "file", folder / "large")]
        cls.engine = cls.enterClassContext(Engine("asan", settings(http=UNLIMITED, routes=routes, core=1)))

    def setUp(self):
        self.assertTrue(self.engine.is_alive(), self.engine.log())

    def open(self, family=V4):
        connection = self.engine.connect(family=family)
        self.addCleanup(connection.close)
        return connection

    def total(self, name):
        (row,) = [row for row in self.engine.rows("stat") if row["name"] == name]
        self.assertEqual(row["total"], sum(row["workers"]))
        return row["total"]

    def conn_of(self, connection, *arguments):
        """The row of this connection, found by its port, and by nothing else."""
        port = connection.getsockname()[1]
        (row,) = self.engine.rows("conns", "--port", str(port), *arguments)
        self.assertEqual((row["local"], row["peer"]), (f"{SERVER}:80", "%s:%d" % connection.getsockname()))
        return row

    def test_every_command_answers_under_load(self):
        load = {}
        wrk = threading.Thread(target=lambda: load.update(
            done=self.engine.run("taskset", "-c", str(harness.cores[0]), "wrk", "-t1", "-c32", "-d6s", URL)))
        wrk.start()
        self.addCleanup(wrk.join)
        harness.wait_until(10, "the load", lambda: self.summary().get("established", 0) >= 32)

        delivered, packets = self.total("delivered"), self.engine.rows("ports")[0]["received_packets"]
        harness.wait_until(5, "more requests", lambda: self.total("delivered") > delivered)
        harness.wait_until(5, "more packets", lambda: self.engine.rows("ports")[0]["received_packets"] > packets)

        rows = self.engine.rows("conns", "--state", "established", "--local", f"{SERVER}:80", "--peer", "192.0.2.0/24")
        self.assertGreaterEqual(len(rows), 32)
        self.assertEqual(len({row["peer"] for row in rows}), len(rows), "each once")
        self.assertEqual({row["mss"] for row in rows}, {1448})

        (port,) = self.engine.rows("ports")
        self.assertEqual((port["name"], port["driver"], port["addresses"], port["mtu"], port["link"]),
                         ("net_tap0", "net_tap", [f"{SERVER}/24", f"{SERVER_V6}/64"], 1500, "up"))
        self.assertEqual((port["queues"], port["ownership"]), (1, "one worker"))
        pools = {row["name"]: row for row in self.engine.rows("pools")}
        self.assertGreaterEqual(pools["connections"]["used"], 32)
        self.assertEqual(pools["packets"]["capacity"], 16_384)
        self.assertTrue(0 < pools["packets"]["used"] < 16_384)
        self.assertEqual(self.engine.rows("neigh"), [], "a server answers on the path that a packet came by")

        texts = {command: self.engine.text(*command.split()) for command in
                 ("stat", "stat --per-core --all", "conns", "conns --summary", "ports", "neigh", "pools",
                  "handshakes")}
        self.assertRegex(texts["stat"], r"(?m)^ *\d+  delivered +in-order data handed to the application$")
        self.assertNotRegex(texts["stat"], r"(?m)^ *0 ")
        self.assertRegex(texts["stat --per-core --all"], r"Total +Worker 0 +Name")
        self.assertRegex(texts["stat --per-core --all"], r"(?m)^ +0 +0  land +\S")
        self.assertGreaterEqual(len(re.findall(rf"(?m)^established +\d+ +\d+  {SERVER}:80 +192\.0\.2\.2:\d+\n"
                                               rf"\tworker:0 rto:\S+ rtt:\S+ mss:1448 cwnd:\d+", texts["conns"])), 32)
        self.assertRegex(texts["conns --summary"], r"(?m)^established +\d+$")
        self.assertRegex(texts["conns --summary"], r"(?m)^total +\d+$")
        self.assertRegex(texts["ports"], rf"(?m)^  addresses +{SERVER}/24,? {SERVER_V6}/64$")
        self.assertRegex(texts["ports"], r"(?m)^  received +\d+ packets, \d+ bytes$")
        self.assertRegex(texts["neigh"], r"^Worker +Port +Address +MAC +State")
        self.assertRegex(texts["pools"], r"(?m)^ +0  connections +\d+ +100000 +\d+\.\d$")
        self.assertRegex(texts["handshakes"], r"(?m)^ *\d+  SYNs answered with a record$")

        wrk.join()
        self.assertNotRegex(load["done"].stdout, "Socket errors|Non-2xx", "looking on cost nobody an answer")
        self.assertRegex(load["done"].stdout, r"\d+ requests in")

    def summary(self, *arguments):
        return {row["state"]: row["count"] for row in self.engine.rows("conns", "--summary", *arguments)}

    def test_a_connection_is_told_as_the_kernel_at_its_other_end_knows_it(self):
        connection = self.open()
        connection.sendall(request())
        with connection.makefile("rb") as stream:
            self.assertEqual(read_answer(stream).status, 200)
        harness.wait_until(5, "the last ACK", lambda: self.conn_of(connection)["queued"] == 0)
        row = self.conn_of(connection)
        options, send_scale, receive_scale, mss = tcp_info(connection)
        self.assertEqual(row["state"], "established")
        self.assertEqual((row["unread"], row["in_flight"], row["timer"]), (0, 0, "none"))
        self.assertEqual((row["rcv_scale"], row["snd_scale"], row["mss"]), (send_scale, receive_scale, mss))
        self.assertEqual((row["timestamps"], row["sack"]), (bool(options & 1), bool(options & 2)))
        self.assertTrue(200_000 <= row["rto_us"] < 1_000_000, row)
        self.assertFalse(row["released"] or row["fin_queued"] or row["in_recovery"])

    def test_ipv6_connections_are_spelt_in_brackets_and_found_by_their_prefix(self):
        six, four = self.open(V6), self.open()
        port = six.getsockname()[1]
        local, peer = f"[{SERVER_V6}]:80", f"[{CLIENT_V6}]:{port}"
        found = {"local": local, "peer": peer, "state": "established", "mss": 1428}  # 1500 - 40 - 20 - 12
        for filters in (("--port", str(port)), ("--peer", peer), ("--peer", "2001:db8::/32", "--port", str(port)),
                        ("--peer", f"{CLIENT_V6}/128", "--local", local, "--port", str(port))):
            (row,) = self.engine.rows("conns", *filters)
            self.assertEqual({name: row[name] for name in found}, found, filters)
        peers = {row["peer"] for row in self.engine.rows("conns", "--local", f"{SERVER_V6}/64")}
        self.assertIn(peer, peers)
        self.assertTrue(all(name.startswith("[") for name in peers), peers)
        peers = {row["peer"] for row in self.engine.rows("conns", "--peer", "0.0.0.0/0", "--state", "established")}
        self.assertIn("%s:%d" % four.getsockname(), peers)
        self.assertFalse(any(name.startswith("[") for name in peers), "IPv4's prefix is of IPv4")
        self.assertEqual(self.engine.rows("conns", "--peer", "2001:db8:1::/48"), [])
        self.assertRegex(self.engine.text("conns", "--port", str(port)),
                         rf"(?m)^established +\d+ +\d+  {re.escape(local)} +{re.escape(peer)}\n\tworker:0 ")

    def test_a_reader_that_stops_is_seen_in_the_send_queue_and_the_persist_timer(self):
        connection = self.open()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        connection.sendall(request("/large"))
        harness.wait_until(10, "a closed window", lambda: self.conn_of(connection)["snd_wnd"] == 0)
        harness.wait_until(10, "the persist timer", lambda: self.conn_of(connection)["timer"] == "persist")
        row = self.conn_of(connection)
        self.assertTrue(LARGE - 1_000_000 < row["queued"] <= LARGE + 1_000, row["queued"])
        self.assertIsNotNone(row["timer_left_ms"])
        with connection.makefile("rb") as stream:
            self.assertEqual(len(read_answer(stream).body), LARGE)
        harness.wait_until(5, "the last ACK", lambda: self.conn_of(connection)["queued"] == 0)

    def test_states_follow_the_connection(self):
        connection = self.open()
        port = str(connection.getsockname()[1])
        self.assertEqual(self.summary("--port", port), {"established": 1})
        connection.sendall(request(fields=["Connection: close"]))  # the server closes first
        with connection.makefile("rb") as stream:
            read_answer(stream)
            self.assertEqual(stream.read(), b"")
        harness.wait_until(5, "FIN-WAIT-2", lambda: self.conn_of(connection)["state"] == "fin-wait-2")
        lingering = self.conn_of(connection, "--state", "synchronized")  # the server reads on for 2 s
        self.assertTrue(0 < lingering["deadline_left_ms"] <= 2_001, lingering)
        self.assertFalse(lingering["released"])
        self.assertEqual(self.engine.rows("conns", "--port", port, "--state", "established"), [])
        connection.shutdown(socket.SHUT_WR)
        harness.wait_until(5, "TIME-WAIT", lambda: self.summary("--port", port) == {"time-wait": 1})
        row = self.conn_of(connection, "--state", "time-wait", "--state", "established")
        self.assertEqual(row["timer"], "2msl")
        self.assertTrue(50_000 < row["timer_left_ms"] <= 60_001, "twice the MSL of 30 s")

    def test_half_open_connections_are_syn_received(self):
        mac = bytes.fromhex(self.engine.rows("ports")[0]["mac"].replace(":", ""))
        sources = [f"192.0.2.{last}" for last in range(50, 60)]
        with self.engine.inside():
            raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        with raw:
            raw.bind((DEVICE, 0))
            for source in sources:
                raw.send(syn_frame(mac, source, 5000, 1400))

        def half_open():
            return self.engine.rows("conns", "--state", "syn-received", "--peer", "192.0.2.48/28")

        harness.wait_until(5, "ten half-open connections", lambda: len(half_open()) == 10)
        rows = half_open()
        self.assertEqual({row["peer"] for row in rows}, {f"{source}:5000" for source in sources})
        for row in rows:
            self.assertEqual((row["state"], row["local"], row["peer_mss"], row["sack"], row["timestamps"]),
                             ("syn-received", f"{SERVER}:80", 1400, False, False))
        self.assertEqual(len(self.engine.rows("conns", "--state", "syn-received", "--peer", "192.0.2.50:5000")), 1)
        self.assertGreaterEqual(self.summary()["syn-received"], 10)
        pools = {row["name"]: row for row in self.engine.rows("pools")}
        self.assertGreaterEqual(pools["half_open"]["used"], 10)
        # RFC 6298 (2.1): after a second the SYN-ACK is repeated.
        harness.wait_until(10, "the repetition", lambda: {row["retransmissions"] for row in half_open()} == {1})
        self.assertTrue(all(1_000 <= row["age_ms"] < 8_000 for row in half_open()), half_open())
        text = self.engine.text("conns", "--state", "syn-received")
        self.assertRegex(text, rf"syn-received +- +-  {SERVER}:80 +192\.0\.2\.50:5000\n\tworker:0 age:\S+ "
                               r"retransmissions:1 ")
        self.assertEqual(self.engine.rows("conns", "--state", "established", "--peer", "192.0.2.48/28"), [])

    def test_limit_cuts_and_says_so(self):
        for _ in range(3):
            self.open()
        done = self.engine.ctl("--json", "conns", "--limit", "2")
        self.assertEqual((done.returncode, len(done.stdout.splitlines())), (0, 2))
        self.assertIn("--limit cut", done.stderr)

    def test_a_sleeping_engine_answers_at_once(self):
        """Its worker sleeps up to 50 ms at a time; being asked ends the sleep."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.engine.control_socket()))
            client.settimeout(10)
            stream = client.makefile("rwb", buffering=0)
            times = []
            for _ in range(40):
                begin = time.monotonic()
                stream.write(b'{"command":"pools"}\n')
                answer = b""
                while b'"end"' not in answer:
                    answer += client.recv(65_536)
                times.append(time.monotonic() - begin)
        self.assertLess(statistics.median(times), 0.025, times)

    # ---- What is wrong. ----

    def fails(self, status, words, *arguments, folder=None, before=()):
        done = run_ctl(*arguments, folder=folder or self.engine.folder, before=before)
        self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertRegex(done.stderr, words)

    def test_a_bad_filter_is_one_sentence_and_status_2(self):
        self.fails(2, 'found "open" for a state, expected one of .*syn-received', "conns", "--state", "open")
        self.fails(2, 'found "192.0.2.1/33" for local, expected ADDRESS', "conns", "--local", "192.0.2.1/33")
        self.fails(2, "--port", "conns", "--port", "65536")
        self.fails(2, "--help", "conns", "--limit", "some")
        self.fails(2, "--help", "stat", "--state", "established")
        self.fails(2, "--help")
        self.fails(2, "--help", "dance")

    def test_the_tool_needs_no_dpdk(self):
        needed = subprocess.run(["ldd", harness.ctl], text=True, capture_output=True).stdout
        self.assertIn("libc.so", needed)
        self.assertNotIn("librte", needed)

    def test_help_and_version_are_there(self):
        for arguments in (("--help",), ("--version",), *((command, "--help") for command in
                                                        ("stat", "conns", "ports", "neigh", "pools",
                                                         "handshakes"))):
            done = run_ctl(*arguments, folder="/nonexistent")
            self.assertEqual(done.returncode, 0)
            self.assertIn("pollux-ctl", done.stdout)

    def test_garbage_on_the_socket_is_one_error_line_and_hurts_nobody(self):
        for garbage, words in ((b"GET / HTTP/1.1\r\n", "no JSON object"), (b"\0\xff\n", "no JSON object"),
                               (b"{" * 4_000 + b"\n", "no JSON object"), (b"x" * 10_000, "4096")):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(self.engine.control_socket()))
                client.settimeout(10)
                client.sendall(garbage)
                said = json.loads(client.makefile().readline())
                self.assertEqual(said["kind"], "bad_request")
                self.assertIn(words, said["error"])
        self.assertGreater(len(self.engine.rows("stat")), 50)

    def test_no_engine_is_one_sentence_and_status_1(self):
        with tempfile.TemporaryDirectory(prefix="pollux-test.") as folder:
            self.fails(1, "no engine answers at /nonexistent.sock: No such", "--socket", "/nonexistent.sock", "stat")
            with socket.socket(socket.AF_UNIX) as left:  # as a killed engine leaves it
                left.bind(f"{folder}/dead.sock")
            nothing_else_runs = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs none /run && exec "$@"', "sh")
            self.fails(1, f"found no running engine in {folder}, /run/pollux", "stat", folder=folder,
                       before=nothing_else_runs)
            with socket.socket(socket.AF_UNIX) as a, socket.socket(socket.AF_UNIX) as b:
                for name, listener in (("a", a), ("b", b)):
                    listener.bind(f"{folder}/{name}.sock")
                    listener.listen()
                self.fails(1, rf"found 2 engines, choose one with --socket: {folder}/a.sock, {folder}/b.sock", "stat",
                           folder=folder, before=nothing_else_runs)
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(f"{folder}/c.sock")
                listener.listen()
                dies = threading.Thread(target=lambda: listener.accept()[0].close())
                dies.start()
                self.fails(1, "ended before its answer", "--socket", f"{folder}/c.sock", "stat")
                dies.join()

    # ---- The socket. ----

    def test_the_socket_is_its_owners_alone(self):
        found = self.engine.control_socket().stat()
        self.assertEqual(stat.S_IMODE(found.st_mode), 0o600)
        self.assertEqual(found.st_uid, os.geteuid())


class CtlSocket(junit.Case):
    def test_a_killed_engines_socket_is_replaced_and_the_end_removes_it(self):
        with tempfile.TemporaryDirectory(prefix="pollux-test.") as folder:
            path = pathlib.Path(folder) / "control" / "mine.sock"
            text = settings(engine=f'control_socket = "{path}"')
            with Engine("asan", text) as killed:
                self.assertTrue(killed.rows("--socket", path, "stat"))
                killed.signal(signal.SIGKILL)
                killed.ends(10)
                self.assertTrue(path.exists())
                self.assertEqual(killed.ctl("--socket", path, "stat").returncode, 1)
            with Engine("asan", text) as engine:
                self.assertTrue(engine.rows("--socket", path, "stat"))
                self.assertEqual(engine.stop(), 0, engine.log())
                self.assertFalse(path.exists())

    def start(self, folder, control_socket):
        """A server on a device without a kernel side; how it ended and what it said within a moment."""
        text = settings(engine=f'control_socket = "{control_socket}"').replace(f"net_tap0,iface={DEVICE}", "net_null0")
        file = pathlib.Path(folder) / "a.toml"
        file.write_text(text)
        process = subprocess.Popen([harness.httpd["asan"], "-c", file], stdin=subprocess.DEVNULL, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env={**os.environ, "RUNTIME_DIRECTORY": str(folder)})
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def test_a_path_that_cannot_be_made_ends_the_start_with_a_sentence(self):
        with tempfile.TemporaryDirectory(prefix="pollux-test.") as folder:
            process = self.start(folder, "/proc/nothing/a.sock")
            _, said = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 1)
            self.assertIn("control socket /proc/nothing/a.sock: cannot be made", said)

    def test_off_makes_no_socket(self):
        with tempfile.TemporaryDirectory(prefix="pollux-test.") as folder:
            process = self.start(folder, "off")
            self.assertIn("serving", process.stdout.readline())
            self.assertEqual(list(pathlib.Path(folder).rglob("*.sock")), [])
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(30), 0)
