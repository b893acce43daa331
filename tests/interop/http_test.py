"""What an HTTP client sees, against the sanitizer build."""

import http.client
import socket
import time

import harness
import junit
from harness import CLIENT, DEVICE, SERVER, SERVER_V6, Server, UNLIMITED, read_answer, request, settings

HELLO = b"Hello from Pollux.\n"


class Http(junit.Case):
    """One server for all of it; every test leaves it alive."""

    family = harness.V4

    @classmethod
    def setUpClass(cls):
        text = settings(http=UNLIMITED, routes=[("/b", "body", "second")])
        cls.server = cls.enterClassContext(Server("asan", text, family=cls.family))

    def tearDown(self):
        self.assertTrue(self.server.is_alive(), self.server.log())

    def talk(self, *sent, answers=1, method="GET", gap=0.0):
        """Sends the pieces over one connection, reads so many answers; then says whether the server closed."""
        with self.server.connect() as peer, peer.makefile("rb") as stream:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in sent:
                peer.sendall(piece)
                time.sleep(gap)
            got = [read_answer(stream, method) for _ in range(answers)]
            peer.settimeout(0.3)
            try:
                closed = stream.read(1) == b""
            except TimeoutError:
                closed = False
            return (*got, closed)

    def test_http_client_gets_many_answers_over_one_connection(self):
        with self.server.inside():
            client = http.client.HTTPConnection(self.family.host, timeout=10)
            client.connect()
            port = client.sock.getsockname()[1]
            for _ in range(200):
                client.request("GET", "/")
                answer = client.getresponse()
                self.assertEqual((answer.status, answer.read()), (200, HELLO))
            self.assertEqual(client.sock.getsockname()[1], port)
            client.close()

    def test_request_in_single_bytes_is_answered(self):
        text = request()
        answer, closed = self.talk(*(text[i:i + 1] for i in range(len(text))), gap=0.002)
        self.assertEqual((answer.status, answer.body, closed), (200, HELLO, False))

    @junit.row("HTTP-25")
    def test_pipelined_requests_are_answered_in_order(self):
        sent = b"".join(request(path) for path in ["/", "/b", "/none"] * 20)
        *answers, closed = self.talk(sent, answers=60)
        self.assertEqual([a.status for a in answers], [200, 200, 404] * 20)
        self.assertEqual([a.body for a in answers][0:2], [HELLO, b"second"])
        self.assertFalse(closed)

    def test_head_has_the_length_but_no_body(self):
        answer, closed = self.talk(request(method="HEAD"), method="HEAD")
        self.assertEqual((answer.status, answer.fields["content-length"], closed), (200, str(len(HELLO)), False))

    def test_answers_carry_date_and_length(self):
        answer, _ = self.talk(request())
        stamp = time.mktime(time.strptime(answer.fields["date"], "%a, %d %b %Y %H:%M:%S GMT")) - time.timezone
        self.assertLess(abs(stamp - time.time()), 5)
        self.assertEqual(answer.fields["content-type"], "text/plain; charset=utf-8")

    def test_unknown_path_is_404_and_the_connection_stays(self):
        first, second, closed = self.talk(request("/none") + request(), answers=2)
        self.assertEqual((first.status, second.status, closed), (404, 200, False))

    def test_known_method_that_is_not_allowed_is_405_with_allow(self):
        answer, _ = self.talk(request(method="DELETE"))
        self.assertEqual((answer.status, answer.fields["allow"]), (405, "GET, HEAD, OPTIONS"))

    def test_errors_have_their_status_and_close(self):
        for status, sent in {
            400: b"GET / HTTP/1.1\r\n\r\n",
            414: b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
            431: request(fields=["X: " + "a" * 17000]),
            501: request(method="BREW"),
            505: b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
        }.items():
            with self.subTest(status=status):
                answer, closed = self.talk(sent)
                self.assertEqual((answer.status, closed), (status, True))

    def test_connection_close_is_obeyed(self):
        answer, closed = self.talk(request(fields=["Connection: close"]))
        self.assertEqual((answer.status, answer.fields["connection"], closed), (200, "close", True))

    def test_http_1_0_closes_unless_asked_to_stay(self):
        answer, closed = self.talk(request(version="1.0"))
        self.assertEqual((answer.status, closed), (200, True))
        answer, closed = self.talk(request(version="1.0", fields=["Connection: keep-alive"]))
        self.assertEqual((answer.fields["connection"].lower(), closed), ("keep-alive", False))

    def test_half_closed_client_still_gets_its_answer(self):
        with self.server.connect() as peer, peer.makefile("rb") as stream:
            peer.sendall(request())
            peer.shutdown(socket.SHUT_WR)
            self.assertEqual(read_answer(stream).body, HELLO)
            self.assertEqual(stream.read(), b"")

    def test_closed_port_refuses(self):
        with self.server.inside(), self.assertRaises(ConnectionRefusedError):
            socket.create_connection((self.family.server, 81), timeout=5)

    def test_ping_is_answered_also_when_large(self):
        for size in (56, 1500 - self.family.headers - 8):
            done = self.server.run("ping", "-c", "3", "-i", "0.2", "-W", "2", "-s", str(size), self.family.server)
            self.assertIn("3 received, 0% packet loss", done.stdout)

    def test_z_ends_clean_under_the_sanitizers(self):
        """Last by name: SIGTERM with nothing open ends at once, without a report."""
        with Server("asan", settings(http=UNLIMITED), family=self.family) as server:
            with server.connect() as peer, peer.makefile("rb") as stream:
                peer.sendall(request())
                self.assertEqual(read_answer(stream).status, 200)
            self.assertEqual(server.stop(), 0, server.log())
            self.assertNotIn("Sanitizer", server.log())


class Link(junit.Case):
    """What our neighbour on the link sees."""

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server("asan", settings(http=UNLIMITED)))

    def test_arp_is_answered_for_our_address_only(self):
        client_mac = bytes.fromhex("020000000002")
        with self.server.inside():
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
        with wire:
            wire.bind((DEVICE, 0x0806))
            wire.settimeout(1)
            for address, answered in ((SERVER, True), ("192.0.2.77", False)):
                ask = bytes.fromhex("0001080006040001") + client_mac + socket.inet_aton(CLIENT) + bytes(6)
                wire.send(b"\xff" * 6 + client_mac + b"\x08\x06" + ask + socket.inet_aton(address))
                replies = []
                try:
                    while not replies:
                        frame = wire.recv(2048)
                        if frame[20:22] == b"\0\2" and frame[28:32] == socket.inet_aton(address):
                            replies.append(frame)
                except TimeoutError:
                    pass
                self.assertEqual(bool(replies), answered, address)
                if answered:
                    self.assertEqual(replies[0][32:38], client_mac)
                    self.assertEqual(replies[0][6:12], replies[0][22:28])

    def test_solicitations_are_answered_for_our_address_only(self):
        """The kernel asks in the group of the address; its neighbour table says who answered."""
        for address, answered in ((SERVER_V6, True), ("2001:db8::77", False)):
            self.server.run("ip", "-6", "neigh", "flush", "dev", DEVICE)
            done = self.server.run("ping", "-c", "1", "-W", "4", address)
            table = self.server.run("ip", "-6", "neigh", "show", address).stdout
            self.assertEqual("lladdr" in table, answered, table)
            self.assertEqual("1 received" in done.stdout, answered, done.stdout)


class KeepAlive(junit.Case):
    family = harness.V4

    @classmethod
    def setUpClass(cls):
        limits = 'idle_timeout = "1s"\nmax_requests = 3\n'
        cls.server = cls.enterClassContext(Server("asan", settings(http=limits), family=cls.family))

    @junit.row("HTTP-27")
    def test_number_of_requests_is_counted_down_and_ends_the_connection(self):
        with self.server.connect() as peer, peer.makefile("rb") as stream:
            peer.sendall(request() * 4)
            answers = [read_answer(stream) for _ in range(3)]
            self.assertEqual([a.fields.get("keep-alive") for a in answers], ["timeout=1, max=2", "timeout=1, max=1", None])
            self.assertEqual(answers[2].fields["connection"], "close")
            self.assertIsNone(read_answer(stream))

    @junit.row("HTTP-27")
    def test_idle_connection_is_closed_after_its_time(self):
        with self.server.connect() as peer, peer.makefile("rb") as stream:
            peer.sendall(request())
            read_answer(stream)
            answered = time.monotonic()
            self.assertEqual(stream.read(1), b"")
            self.assertAlmostEqual(time.monotonic() - answered, 1.0, delta=0.5)
