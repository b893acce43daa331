"""Duplicate address detection (RFC 4862 section 5.4) between the engine and the kernel at the other end of a veth."""

import time

import harness
import junit
from harness import SERVER_V6, Server, V4, V6, VethServer, read_answer, request, settings

OTHER_V6 = "2001:db8::3"
NOTICE = f"port net_af_packet0: another station uses the address {SERVER_V6}, which stays off"


def detecting(device="net_af_packet0,"):
    """Settings with the detection on, as is the default, and a second IPv6 address."""
    text = settings().replace("duplicate_address_detection = false\n", "").replace("net_tap0,", device)
    return text.replace(f'"{SERVER_V6}/64"', f'"{SERVER_V6}/64", "{OTHER_V6}/64"')


class KernelHasIt(VethServer):
    kernel_addresses = f"{VethServer.kernel_addresses} {SERVER_V6}/64"


class DuplicateAddress(junit.Case):
    def serves(self, server, address):
        host = f"[{address}]" if ":" in address else address
        done = server.run("curl", "-s", "--max-time", "5", "-o", "/dev/null", "-w", "%{http_code}", f"http://{host}/")
        self.assertEqual(done.stdout, "200", address)

    def test_an_address_that_the_kernel_has_stays_off_and_the_others_serve(self):
        with KernelHasIt("asan", detecting(), family=V4) as server:
            harness.wait_until(5, "the notice", lambda: NOTICE in server.log())
            self.serves(server, V4.server)
            harness.wait_until(5, "the other address", lambda: server.run(
                "ping", "-c", "1", "-W", "1", OTHER_V6).returncode == 0)
            self.serves(server, OTHER_V6)
            # It stays off when the kernel has let go of it: nobody is told where it would be.
            server.run("ip", "address", "del", f"{SERVER_V6}/64", "dev", "client0")
            done = server.run("ping", "-c", "2", "-i", "0.2", "-W", "1", SERVER_V6)
            self.assertIn(" 0 received", done.stdout)
            self.assertNotIn("lladdr", server.run("ip", "-6", "neigh", "show", SERVER_V6).stdout)
            self.assertEqual(server.log().count(NOTICE), 1)
            self.assertEqual(server.stop(), 0, server.log())

    def test_the_kernel_does_not_get_an_address_that_the_engine_serves(self):
        with VethServer("asan", detecting(), family=V6) as server:
            server.run("ip", "address", "add", f"{SERVER_V6}/64", "dev", "client0")

            def shown():
                return server.run("ip", "-6", "address", "show", "dev", "client0").stdout

            harness.wait_until(5, "the kernel's detection", lambda: "dadfailed" in shown())
            self.assertRegex(shown(), rf"inet6 {SERVER_V6}/64 .*dadfailed")
            server.run("ip", "address", "del", f"{SERVER_V6}/64", "dev", "client0")
            self.serves(server, SERVER_V6)
            self.assertNotIn("another station", server.log())
            self.assertEqual(server.stop(), 0, server.log())

    def test_detection_costs_a_few_seconds_at_most(self):
        for server in (VethServer("asan", detecting(), family=V6), Server("asan", detecting("net_tap0,"), family=V6)):
            began = time.monotonic()
            with server:
                self.assertLess(time.monotonic() - began, 6)
                with server.connect() as peer, peer.makefile("rb") as stream:
                    peer.sendall(request())
                    self.assertEqual(read_answer(stream).status, 200)
                self.assertNotIn("another station", server.log())
