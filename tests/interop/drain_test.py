"""SIGTERM: requests in hand are answered, idle connections get FIN, what is left at the limit gets RST."""

import signal
import time

import harness
import junit
from harness import Server, UNLIMITED, read_answer, request, settings


class Drain(junit.Case):
    family = harness.V4

    def test_request_in_hand_is_answered_idle_gets_fin_new_ones_get_nothing(self):
        with Server("asan", settings(http=UNLIMITED), family=self.family) as server:
            idle, busy = server.connect(), server.connect()
            with idle, busy, idle.makefile("rb") as idle_stream, busy.makefile("rb") as busy_stream:
                idle.sendall(request())
                self.assertEqual(read_answer(idle_stream).status, 200)
                half = len(request()) // 2
                busy.sendall(request()[:half])
                time.sleep(0.3)
                server.signal(signal.SIGTERM)
                self.assertEqual(idle_stream.read(), b"")
                with self.assertRaises(TimeoutError):
                    server.connect(timeout=1)
                busy.sendall(request()[half:])
                answer = read_answer(busy_stream)
                self.assertEqual((answer.status, answer.fields["connection"]), (200, "close"))
                self.assertEqual(busy_stream.read(), b"")
            self.assertEqual(server.ends(15), 0, server.log())

    def test_what_is_left_at_the_limit_gets_rst(self):
        with Server("asan", settings(http=UNLIMITED, engine='drain_timeout = "1s"'), family=self.family) as server:
            with server.connect() as stuck:
                stuck.sendall(b"GET / HTT")
                time.sleep(0.3)
                server.signal(signal.SIGTERM)
                with self.assertRaises(ConnectionResetError):
                    stuck.recv(1)
            self.assertEqual(server.ends(10), 0, server.log())

    def test_second_signal_ends_at_once(self):
        with Server("asan", settings(http=UNLIMITED, engine='drain_timeout = "1min"'), family=self.family) as server:
            with server.connect() as stuck:
                stuck.sendall(b"GET / HTT")
                time.sleep(0.3)
                server.signal(signal.SIGTERM)
                time.sleep(0.5)
                self.assertTrue(server.is_alive())
                server.signal(signal.SIGINT)
                server.ends(5)
