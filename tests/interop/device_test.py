"""The virtual devices of config/*.toml, as those files set them up: served without an error, ended without a trace."""

import os
import re
import signal
import subprocess
import time

import harness
import junit
from harness import MemifServer, V4, V6, VethServer, worker_cores

BODY = "Hello from Pollux.\n"


def example(name, core, workers=1):
    """A file of config/ with the server on other cores."""
    text = (harness.source / "config" / name).read_text()
    assert 'cores = "0"' in text
    return text.replace('cores = "0"', f'cores = "{worker_cores(workers, core)}"')


class Veth(junit.Case):
    """A kernel interface, with the kernel's TCP behind the other end of the pair."""

    def serves(self, build, name):
        with VethServer(build, example(name, core=1), ["--status"], family=V6) as server:
            for family in (V4, V6):
                url = family.url
                done = server.run("curl", "-s", "--max-time", "5", "-w", "%{http_code} %{num_connects}\n", url, url)
                self.assertEqual(done.stdout, f"{BODY}200 1\n{BODY}200 0\n")
                done = server.run("taskset", "-c", str(harness.cores[0]), "wrk", "-t1", "-c64", "-d1s", url)
                self.assertNotRegex(done.stdout, "Socket errors|Non-2xx")
                rate = re.search(r"Requests/sec: *([0-9.]+)", done.stdout)
                self.assertTrue(rate and float(rate[1]) > 1000, done.stdout)
                print(f"         {name}, {build}, {family.name}: {rate[1]} requests a second", flush=True)
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
        addresses = subprocess.run(["ip", "-n", name, "address", "show", "dev", "client0"], text=True,
                                   capture_output=True).stdout
        self.assertIn("inet 192.0.2.2/24", addresses)
        self.assertIn("inet6 2001:db8::2/64", addresses)
        self.assertNotIn("tentative", addresses)
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

    def run_client(self, server, *options):
        return subprocess.run(self.command(server, *options), stdin=subprocess.DEVNULL, text=True, timeout=120,
                              env={"RUNTIME_DIRECTORY": str(server.folder)}, capture_output=True)

    def client(self, server, *options):
        done = self.run_client(server, *options)
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

    # ---- Two workers: each has a queue pair, if the peer has one for it. ----

    def of_each_worker(self, server, name):
        (row,) = [row for row in server.rows("stat", "--per-core") if row["name"] == name]
        return row["workers"]

    def serves_by_two(self, build, requests):
        with MemifServer(build, example("memif.toml", core=1, workers=2), ["--status"]) as server:
            for options in (), ("--connection-per-request",):
                # On kept connections the bytes say little: the client polls on the core of worker 1, which has its turn some
                # thirty times a second while worker 0 keeps the client busy. One request a connection makes it wait for both.
                names = ("opened", "payload_bytes_received") if options else ("opened",)
                before = [self.of_each_worker(server, name) for name in names]
                answered, said = self.client(server, "--queues", "2", "--requests", str(requests), *options)
                self.assertEqual(answered, requests)
                print(f"         two workers, {build} {' '.join(options)}: {said}", flush=True)
                for name, then in zip(names, before):
                    shares = [now - was for now, was in zip(self.of_each_worker(server, name), then)]
                    self.assertTrue(all(share > sum(shares) / 8 for share in shares), (name, shares))
                requests //= 5
            handed_over = sum(self.of_each_worker(server, "handed_over"))
            self.assertGreater(handed_over, 0)
            self.assertEqual(sum(self.of_each_worker(server, "taken_over")), handed_over)
            self.assertEqual(sum(self.of_each_worker(server, "handover_full")), 0)
            (port,) = server.rows("ports")
            self.assertEqual((port["queues"], port["ownership"]), (2, "software"))
            self.assertEqual(server.stop(), 0, server.log())
            self.assertRegex(server.log(), r"in use: connections 0, half-open records 0, ")
            self.assertNotIn("the peer has fewer queue pairs", server.log())

    def test_two_workers_serve_a_peer_with_two_queue_pairs(self):
        self.serves_by_two("release", 100_000)

    def test_two_workers_serve_a_peer_with_two_queue_pairs_under_sanitizers(self):
        self.serves_by_two("asan", 10_000)

    def test_a_peer_with_too_few_queue_pairs_is_told_and_hurts_no_other_queue(self):
        """Before and after it, a peer with enough of them is served."""
        with MemifServer("asan", example("memif.toml", core=1, workers=2), ["--status"]) as server:
            notice = ("port net_memif0: the peer has fewer queue pairs than the 2 workers here; "
                      "what worker 1 sends is lost (sent_without_link)")
            for times in (1, 2):
                if times == 2:  # long enough to be seen between two looks at the workers
                    self.client(server, "--queues", "2", "--requests", "1000000")
                lost, opened = (self.of_each_worker(server, name) for name in ("sent_without_link", "opened"))
                answered = self.of_each_worker(server, "payload_bytes_sent")[0]
                short = subprocess.Popen(self.command(server), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                         env={"RUNTIME_DIRECTORY": str(server.folder)})
                try:
                    harness.wait_until(30, "the notice", lambda: server.log().count(notice) == times)
                    harness.wait_until(5, "what worker 1 loses", lambda: self.of_each_worker(
                        server, "sent_without_link")[1] > lost[1])
                    harness.wait_until(5, "what worker 0 answers", lambda: self.of_each_worker(
                        server, "payload_bytes_sent")[0] > answered + 1_000_000)
                finally:
                    short.send_signal(signal.SIGKILL)
                    short.wait()
                self.assertGreater(self.of_each_worker(server, "opened")[0], opened[0])
                self.assertEqual(self.of_each_worker(server, "opened")[1], opened[1])
            self.client(server, "--queues", "2", "--requests", "1000")
            self.assertEqual(server.stop(), 0, server.log())

    def test_a_client_without_a_server_says_so(self):
        done = subprocess.run([harness.test_client, "--vdev", "net_memif0,role=client,socket=pollux-nobody"],
                              stdin=subprocess.DEVNULL, text=True, timeout=60, capture_output=True)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertIn("pollux-nobody", done.stderr)
