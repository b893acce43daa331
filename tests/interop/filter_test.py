"""[[filter]] against the kernel's TCP: who is denied hears nothing, SIGHUP and `pollux-ctl reload` replace the rules of
a running server, connections of those who stay allowed notice nothing, and a faulty file changes nothing."""

import signal
import socket
import threading

import harness
import junit
from harness import Server, UNLIMITED, V4, V6, read_answer, request, settings

OTHER = {V4.name: "192.0.2.3", V6.name: "2001:db8::3"}  # the kernel's second address
NETWORK = {V4.name: "192.0.2.2/31", V6.name: "2001:db8::2/127"}  # both of them


def rule(action, **keys):
    return "".join(["[[filter]]\n", f'action = "{action}"\n', *(f'{key} = "{value}"\n' for key, value in keys.items())])


class Filter(junit.Case):
    family = V4

    def setUp(self):
        self.first, self.second = self.family.client, OTHER[self.family.name]
        text = self.text(rule("deny", source=self.second))
        self.server = self.enterContext(Server("asan", text, family=self.family))
        bits = "24" if self.family is V4 else "64"
        # Only who asks for it gets the second one.
        nature = [] if self.family is V4 else ["nodad", "preferred_lft", "0"]
        added = self.server.run("ip", "address", "add", f"{self.second}/{bits}", "dev", harness.DEVICE, *nature)
        self.assertEqual(added.returncode, 0, added.stdout)

    def text(self, rules="", tcp=""):
        return settings(http=UNLIMITED, tcp=tcp, more=rules)

    def connect(self, address, timeout=5):
        with self.server.inside():
            connection = socket.create_connection((self.family.server, 80), timeout=timeout,
                                                          source_address=(address, 0))
        self.addCleanup(connection.close)
        return connection

    def is_served(self, address):
        connection = self.connect(address)
        with connection, connection.makefile("rb") as stream:
            connection.sendall(request())
            self.assertEqual(read_answer(stream).status, 200)

    def is_denied(self, address):
        with self.assertRaises(TimeoutError):
            self.connect(address, timeout=1)

    def writes(self, text):
        self.server.file.write_text(text)

    def told(self, count):
        """Waits for so many lines about reloads in the server's log; the last."""
        lines = []

        def enough():
            lines[:] = [line for line in self.server.log().splitlines() if ": reload: " in line]
            return len(lines) >= count

        harness.wait_until(10, f"{count} reloads in the log", enough)
        return lines[-1]

    def hits(self):
        return {row["source"]: row["hits"] for row in self.server.rows("filter")}

    def test_a_denied_client_becomes_allowed_by_sighup_and_the_reverse(self):
        stays, leaves = self.connect(self.first), self.connect(self.first)
        with stays.makefile("rb") as stays_stream, leaves.makefile("rb") as leaves_stream:
            for connection, stream in ((stays, stays_stream), (leaves, leaves_stream)):
                connection.sendall(request())
                self.assertEqual(read_answer(stream).status, 200)
            self.is_denied(self.second)

            self.writes(self.text(rule("deny", source=self.first)))
            self.server.signal(signal.SIGHUP)
            self.assertIn("1 rule of [[filter]] in force", self.told(1))
            self.is_served(self.second)
            self.is_denied(self.first)
            # A rule holds for connections in progress too: they go silent, and nobody is told.
            leaves.settimeout(1)
            leaves.sendall(request())
            with self.assertRaises(TimeoutError):
                leaves.recv(1)

            # And back: what the kernel repeats is answered, and who said nothing meanwhile has noticed nothing.
            self.writes(self.text(rule("deny", source=self.second)))
            self.server.signal(signal.SIGHUP)
            self.told(2)
            leaves.settimeout(20)
            self.assertTrue(leaves.recv(1_000).startswith(b"HTTP/1.1 200"))
            stays.sendall(request())
            self.assertEqual(read_answer(stays_stream).status, 200)
            self.is_served(self.first)
            self.is_denied(self.second)
        stays.close()
        leaves.close()
        self.assertEqual(self.server.stop(), 0, self.server.log())

    def test_the_tool_reloads_and_shows_the_rules_with_their_hits(self):
        self.is_denied(self.second)
        network = NETWORK[self.family.name]
        self.writes(self.text(rule("allow", source=self.second, ports="80") + rule("deny", source=network),
                              tcp="ttl = 17"))
        done = self.server.ctl("reload")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout,
                         "2 rules of [[filter]] in force; needs a restart, and stays as it was: tcp.ttl\n")
        self.assertIn(done.stdout.strip(), self.told(1))
        self.is_served(self.second)
        self.is_denied(self.first)
        length = "32" if self.family is V4 else "128"
        hits = self.hits()
        self.assertGreaterEqual(hits[f"{self.second}/{length}"], 4)
        self.assertGreaterEqual(hits[network], 1)
        shown = self.server.ctl("filter")
        self.assertIn(f"deny    {network}", shown.stdout)
        self.assertIn("what no rule fits", shown.stdout)
        (filtered,) = [row["total"] for row in self.server.rows("stat") if row["name"] == "filtered"]
        self.assertGreaterEqual(filtered, 2)

    def test_a_faulty_file_is_one_sentence_and_the_old_rules_stay(self):
        faulty = self.text('[[filter]]\naction = "deny"\nsource = "192.0.2.1/24"\n')
        self.writes(faulty)
        line = faulty.splitlines().index('source = "192.0.2.1/24"') + 1
        sentence = f'settings.toml:{line}: found the string "192.0.2.1/24" for filter.source, expected a network'
        done = self.server.ctl("reload")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(len(done.stderr.splitlines()), 1)
        self.assertIn(sentence, done.stderr)
        self.assertIn("the rules stay as they were", done.stderr)
        self.server.signal(signal.SIGHUP)
        self.assertIn(sentence, self.told(2))
        self.is_denied(self.second)
        self.is_served(self.first)

    def test_rules_are_replaced_under_load_and_no_request_fails(self):
        done = {}
        load = threading.Thread(target=lambda: done.update(
            wrk=self.server.run("wrk", "-t1", "-c16", "-d4s", self.family.url)))
        load.start()
        self.addCleanup(load.join)
        for i in range(20):
            many = "".join(rule("deny", source=f"10.{i}.{n}.0/24") for n in range(50))
            self.writes(self.text(many + rule("deny", source=self.second)))
            self.assertEqual(self.server.ctl("reload").returncode, 0)
        self.is_denied(self.second)
        load.join()
        self.assertEqual(done["wrk"].returncode, 0, done["wrk"].stdout)
        self.assertNotIn("Socket errors", done["wrk"].stdout)
        self.assertNotIn("Non-2xx", done["wrk"].stdout)
