"""The virtual devices of config/*.toml, as those files set them up: served without an error, ended without a trace."""

import os
import re
import signal
import subprocess
import time

import harness
import junit
from harness import MemifServer, SERVER, VethServer

URL = f"http://{SERVER}/"
BODY = "Hello from Pollux.\n"


def example(name, core):
    """A file of config/ with the server on another core."""
    text = (harness.source / "config" / name).read_text()
    assert 'cores = "0"' in text
    return text.replace('cores = "0"', f'cores = "{harness.cores[core % len(harness.cores)]}"')


class Veth(junit.Case):
    """A kernel interface, with the kernel's TCP behind the other end of the pair."""

    def serves(self, build, name):
        with VethServer(build, example(name, core=1), ["--status"]) as server:
            done = server.run("curl", "-s", "--max-time", "5", "-w", "%{http_code} %{num_connects}\n", URL, URL)
            self.assertEqual(done.stdout, f"{BODY}200 1\n{BODY}200 0\n")
            done = server.run("taskset", "-c", str(harness.cores[0]), "wrk", "-t1", "-c64", "-d2s", URL)
            self.assertNotRegex(done.stdout, "Socket errors|Non-2xx")
            rate = re.search(r"Requests/sec: *([0-9.]+)", done.stdout)
            self.assertTrue(rate and float(rate[1]) > 1000, done.stdout)
            print(f"         {name}, {build}: {rate[1]} requests a second", flush=True)
            self.assertEqual(server.stop(), 0, server.log())
            self.assertRegex(server.log(), r"in use: connections 0, half-open records 0, ")
            self.assertEqual(re.findall(r" bad_\w+", server.log()), [])
            # An XDP program that stays behind would swallow what arrives.
            self.assertNotIn("xdp", server.run("ip", "link", "show", harness.DEVICE).stdout)

    def test_af_packet_serves_curl_and_wrk(self):
        self.serves("release", "af_packet.toml")

    def test_af_packet_serves_curl_and_wrk_under_sanitizers(self):
        self.serves("asan", "af_packet.toml")

    def test_af_xdp_serves_curl_and_wrk(self):
        self.serves("release", "af_xdp.toml")

    def test_af_xdp_serves_curl_and_wrk_under_sanitizers(self):
        self.serves("asan", "af_xdp.toml")


class VethScript(junit.Case):
    """scripts/veth.sh, which the settings files name for use by hand."""

    def veth(self, *arguments):
        return subprocess.run([harness.source / "scripts/veth.sh", *arguments], stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def test_it_makes_a_pair_without_offloads_and_removes_it(self):
        name = f"pollux-test-{os.getpid()}-veth"
        self.addCleanup(harness.shell, f"remove_namespace {name}")
        self.assertEqual(self.veth("make", name).returncode, 0)
        for device in (harness.DEVICE, "client0"):
            features = subprocess.run(["ip", "netns", "exec", name, "ethtool", "-k", device], text=True,
                                      capture_output=True).stdout
            for feature in ("tx-checksumming", "tcp-segmentation-offload", "generic-segmentation-offload",
                            "generic-receive-offload"):
                self.assertRegex(features, rf"(?m)^{feature}: off")
        self.assertEqual(self.veth("remove", name).returncode, 0)
        self.assertNotIn(name, os.listdir("/run/netns"))

    def test_anything_else_is_one_sentence(self):
        for arguments in ((), ("make",), ("make", ""), ("turn", "x")):
            done = self.veth(*arguments)
            self.assertEqual((done.returncode, done.stdout), (1, "veth.sh: usage: veth.sh make|remove NAME\n"))


class Memif(junit.Case):
    """Shared memory between two processes; the small client is the other one."""

    def command(self, server, *options):
        return ["ip", "netns", "exec", server.namespace, harness.test_client, "--core", str(harness.cores[0]), *options]

    def client(self, server, *options):
        done = subprocess.run(self.command(server, *options), stdin=subprocess.DEVNULL, text=True, timeout=120,
                              env={"RUNTIME_DIRECTORY": str(server.folder)}, capture_output=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""), f"{done.stdout}{server.log()}")
        self.assertIn(" errors 0 ", done.stdout)
        return int(re.match(r"requests (\d+)", done.stdout)[1]), done.stdout.strip()

    def serves(self, build, requests):
        with MemifServer(build, example("memif.toml", core=1), ["--status"]) as server:
            answered, said = self.client(server, "--requests", str(requests))
            self.assertEqual(answered, requests)
            print(f"         {build}: {said}", flush=True)
            answered, said = self.client(server, "--requests", str(requests // 10), "--connection-per-request")
            self.assertEqual(answered, requests // 10)
            print(f"         {build}, a connection each: {said}", flush=True)
            began = time.monotonic()
            self.assertEqual(server.stop(), 0, server.log())
            self.assertLess(time.monotonic() - began, 5, "nobody is connected: there is nothing to wait for")
            self.assertRegex(server.log(), r"in use: connections 0, half-open records 0, ")

    def test_memif_serves_the_small_client(self):
        self.serves("release", 500_000)

    def test_memif_serves_the_small_client_under_sanitizers(self):
        self.serves("asan", 50_000)

    def test_a_server_whose_peer_has_been_killed_serves_the_next_and_ends(self):
        text = example("memif.toml", core=1) + '[engine]\ndrain_timeout = "1s"\n'
        with MemifServer("asan", text, ["--status"]) as server:
            first = subprocess.Popen(self.command(server), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                     env={"RUNTIME_DIRECTORY": str(server.folder)})
            try:
                harness.wait_until(30, "64 connections", lambda: " 64 open " in server.log())
            finally:
                first.send_signal(signal.SIGKILL)
                first.wait()
            self.assertEqual(self.client(server, "--requests", "1000")[0], 1000)
            self.assertEqual(server.stop(), 0, server.log())

    def test_a_client_without_a_server_says_so(self):
        done = subprocess.run([harness.test_client, "--vdev", "net_memif0,role=client,socket=pollux-nobody"],
                              stdin=subprocess.DEVNULL, text=True, timeout=60, capture_output=True)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertIn("pollux-nobody", done.stderr)
