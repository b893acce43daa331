"""pollux-httpd's command line and settings, and the demo script: what they say and what they leave behind."""

import os
import pathlib
import signal
import subprocess
import tempfile
import time

import harness
import junit
from harness import settings


class Program(junit.Case):
    def run_httpd(self, text, *arguments):
        with tempfile.TemporaryDirectory(prefix="pollux-test.") as folder:
            file = pathlib.Path(folder) / "a.toml"
            file.write_text(text)
            done = subprocess.run([harness.httpd["asan"], "-c", file, *arguments], capture_output=True, text=True,
                                  timeout=60, env={**os.environ, "RUNTIME_DIRECTORY": folder})
            return done.returncode, done.stdout, done.stderr.replace(folder + "/", "")

    def test_check_prints_settings_that_check_again(self):
        status, printed, _ = self.run_httpd(settings(http='idle_timeout = "7s"'), "-t")
        self.assertEqual(status, 0)
        self.assertIn('idle_timeout = "7s"', printed)
        document = printed[printed.index("[eal]"):]
        self.assertEqual(self.run_httpd(document, "-t")[:2], (0, printed))

    def test_wrong_settings_are_one_sentence_and_status_2(self):
        for arguments in ((), ("-t",)):
            status, printed, said = self.run_httpd("[eal]\ncores = 5\n", *arguments)
            self.assertEqual((status, printed), (2, ""), said)
            self.assertEqual(len(said.splitlines()), 1, said)
            self.assertIn("a.toml:2: found the integer 5 for eal.cores, expected", said)

    def test_missing_file_is_one_sentence_and_status_2(self):
        done = subprocess.run([harness.httpd["asan"], "-t", "-c", "/nonexistent.toml"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("/nonexistent.toml:0: found no readable file", done.stderr)

    def test_help_and_version_are_there(self):
        for option in ("--help", "--version"):
            done = subprocess.run([harness.httpd["asan"], option], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0)
            self.assertIn("pollux-httpd", done.stdout)

    def test_device_that_is_not_there_is_named(self):
        text = settings().replace("net_tap0,iface=pollux0", "0000:ff:1f.7")
        status, _, said = self.run_httpd(text)
        self.assertNotEqual(status, 0)
        self.assertIn("0000:ff:1f.7", said)


def traces():
    """What a run could leave behind: namespaces, devices, scratch folders, EAL's files, huge pages, processes."""
    found = set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set()
    found |= {str(p) for p in pathlib.Path("/tmp").glob("pollux-demo.*")}
    for folder in ("/var/run/dpdk", "/run/pollux", "/dev/hugepages", "/sys/class/net"):
        if os.path.isdir(folder):
            found |= {f"{folder}/{name}" for name in os.listdir(folder)}
    for process in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = process.read_bytes().split(b"\0")
        except OSError:
            continue
        if os.path.basename(command[0]) in (b"pollux-httpd", b"wrk") and b"demo.toml" in b" ".join(command):
            found.add(str(process))
    return {name for name in found if "pollux-test" not in name}


class Demo(junit.Case):
    """However scripts/demo.sh ends, it leaves nothing behind."""

    def setUp(self):
        self.before = traces()
        # A shell that runs us in its background has had us ignore SIGINT, which children inherit.
        self.demo = subprocess.Popen([harness.source / "scripts/demo.sh"], stdin=subprocess.DEVNULL, text=True,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                                     preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        self.addCleanup(self.end)
        self.namespace = f"pollux-demo-{self.demo.pid}"
        self.said = []

    def end(self):
        if self.demo.poll() is None:
            os.killpg(self.demo.pid, signal.SIGTERM)
            self.demo.wait(30)
        self.demo.stdout.close()

    def reaches(self, words):
        for line in self.demo.stdout:
            self.said.append(line)
            if words in line:
                return
        self.fail(f"demo.sh never said {words!r}:\n{''.join(self.said)}")

    def ends_without_a_trace(self, status):
        ended = self.demo.wait(60)
        self.said.append(self.demo.stdout.read())
        self.assertEqual(ended, status, "".join(self.said))
        self.assertEqual(traces() - self.before, set())

    def test_interrupt_while_it_is_up(self):
        self.reaches("Ctrl-C ends it")
        os.killpg(self.demo.pid, signal.SIGINT)
        self.ends_without_a_trace(130)

    def test_interrupt_during_the_burst(self):
        self.reaches("== wrk")
        time.sleep(0.5)
        os.killpg(self.demo.pid, signal.SIGINT)
        self.ends_without_a_trace(130)

    def test_interrupt_while_the_server_starts(self):
        self.reaches("building build/release")
        harness.wait_until(60, "the namespace", lambda: os.path.exists(f"/run/netns/{self.namespace}"))
        os.killpg(self.demo.pid, signal.SIGINT)
        self.ends_without_a_trace(130)

    def test_server_killed(self):
        self.reaches("Ctrl-C ends it")
        pids = subprocess.run(["ip", "netns", "pids", self.namespace], capture_output=True, text=True).stdout.split()
        self.assertEqual(len(pids), 1)
        os.kill(int(pids[0]), signal.SIGKILL)
        self.ends_without_a_trace(1)
