"""The victim of an attack, and the rule by which every row is judged:

  (a) the process lives, and the sanitizers say nothing
  (b) all pools are back at the start level within 2 MSL and the life of a half-open record; memory does not grow
  (c) honest connections keep 99 % success, and a p99 of at most 3 x that of the same processes without an attack
  (d) at most one reply to a packet from an unverified source, and a SYN-ACK of at most 60 (IPv4) or 80 (IPv6) bytes
  (e) the counter that the attack aims at has moved

MSL is 1 s and the cookie period 2 s, so that the suite sees the end of everything.
"""

import collections
import contextlib
import json
import subprocess
import threading
import time

import harness
import junit
from harness import CLIENT, CLIENT_V6, MemifServer, Server, read_answer, request
from wire import VICTIM_MAC

MSL, COOKIE_PERIOD = 1.0, 2.0
INITIAL_RTO, SYN_ACK_RETRIES = 0.2, 2
HALF_OPEN_LIFE = INITIAL_RTO * (2 ** (SYN_ACK_RETRIES + 1) - 1)  # after 0.2 and 0.4 s, gone 0.8 s later
# All tables are sized at start, but their pages (of 2 MB where the machine has them), and those of the packet pool, come
# with their first use.
MEMORY_KB = 8192
KEPT_POOLS = ("paths", "neighbors")  # what a link has stations; bounded, and never emptied


class Disturbed(AssertionError):
    """A time that was too long: by our doing, or by the machine's, which has other things to do."""


class Retried(junit.Case):
    """Tests in which times are compared: what takes too long three times in a row is ours."""

    TRIES = 3

    def _callTestMethod(self, method):
        for left in reversed(range(self.TRIES)):
            try:
                return method()
            except Disturbed as problem:
                if left == 0:
                    raise
                print(f"  once more: {problem}", flush=True)

    def is_undisturbed(self, in_time, detail):
        if not in_time:
            raise Disturbed(f"too slow: {detail}")


class Mode:
    """How long a row takes and how strictly it is timed."""

    def __init__(self, name, build, seconds, rate, floor_ms, scale):
        self.name, self.build, self.seconds, self.rate, self.floor_ms = name, build, seconds, rate, floor_ms
        self.scale = scale  # of crafted packets and connections

    @property
    def is_strict(self):
        return self.build == "release"


# Two busy processes on two shared cores, one of them slowed down by sanitizers: below the floor p99 says nothing.
SHORT = Mode("short", "asan", 0.8, 400_000, 50, 1)
LONG = Mode("long", "release", 6, 1_200_000, 2, 10)


def settings(device=None, tcp="", security="", capacity="", routes=(), http=harness.UNLIMITED, engine=""):
    """A victim with a default route of each family. `device`: instead of the TAP device."""
    if "initial_rto" not in tcp:
        tcp += f'initial_rto = "{int(INITIAL_RTO * 1000)}ms"\n'
    if "syn_ack_retries" not in tcp:
        tcp += f"syn_ack_retries = {SYN_ACK_RETRIES}\n"
    if "cookie_period" not in security:
        security += f'cookie_period = "{int(COOKIE_PERIOD)}s"\n'
    more = f"[tcp.capacity]\n{capacity}[security]\n{security}"
    text = harness.settings(routes=routes, http=http, tcp=f'msl = "{int(MSL)}s"\n{tcp}', engine=engine, more=more)
    text = text.replace("[[listen]]", f'mac = "{VICTIM_MAC}"\ngateway = "{CLIENT}"\ngateway_v6 = "{CLIENT_V6}"\n'
                                      "[[listen]]", 1)
    return text.replace(f"net_tap0,iface={harness.DEVICE}", device) if device else text


class Watched:
    """What a victim's own tools and the kernel say of it."""

    def counters(self):
        return {row["name"]: row["total"] for row in self.rows("stat", "--all")}

    def pools(self):
        return {row["name"]: row["used"] for row in self.rows("pools") if row["name"] not in KEPT_POOLS}

    def pool(self, name):
        (row,) = [row for row in self.rows("pools") if row["name"] == name]
        return row

    def memory_kb(self):
        pid = self.process.pid
        with open(f"/proc/{pid}/status") as status:
            return int(next(line for line in status if line.startswith("VmRSS:")).split()[1])

    def ends_clean(self, test):
        """Rule (a), last."""
        test.assertTrue(self.is_alive(), self.log())
        test.assertEqual(self.stop(), 0, self.log())
        test.assertNotIn("Sanitizer", self.log())
        test.assertNotIn("runtime error", self.log())


class FloodVictim(Watched, MemifServer):
    """On a memif, whose other end is the flood."""

    DEVICE = "net_memif0,role=server,socket=pollux-attack,rsize=11"

    def __init__(self, mode, **more):
        super().__init__(mode.build, settings(device=self.DEVICE, **more))
        self.mode, self.idle_p99 = mode, {}

    @contextlib.contextmanager
    def flooded(self, *arguments):
        """The flood while it runs: `.during(share)` waits until so much of it is over, `.result()` is what it says."""
        flood = Flood(self, [str(argument) for argument in arguments])
        try:
            yield flood
        finally:
            flood.ends()

    def idle(self, *arguments):
        """p99 of the honest connections without any flood, in ms; measured once for each way of asking."""
        if arguments not in self.idle_p99:
            seconds = min(self.mode.seconds, 3)
            with self.flooded("--idle", "--seconds", seconds, *arguments) as flood:
                self.idle_p99[arguments] = flood.result()["honest"]["p99_us"] / 1000
        return self.idle_p99[arguments]


class Flood:
    def __init__(self, victim, arguments):
        self.seconds = float(arguments[arguments.index("--seconds") + 1])
        device = "net_memif0,role=client,socket=pollux-attack,rsize=11"
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", victim.namespace, harness.flood, "--vdev", device, "--core",
             str(harness.cores[-1]), *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.said = None
        self.started = None

    def _reads_until(self, word):
        for line in self.process.stdout:
            if line.strip() == word:
                return
        raise AssertionError(f"the flood ended: {self.process.stderr.read()}")

    def during(self, share):
        if self.started is None:
            self._reads_until("flooding")
            self.started = time.monotonic()
        time.sleep(max(0.0, self.started + share * self.seconds - time.monotonic()))

    def result(self):
        if self.said is None:
            lines, errors = self.process.communicate(timeout=self.seconds + 60)
            assert self.process.returncode == 0, errors
            self.said = json.loads(lines.splitlines()[-1])
        return self.said

    def ends(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class TapVictim(Watched, Server):
    """On a TAP device, with the kernel as an honest client and crafted frames beside it."""

    def __init__(self, mode, family=harness.V4, **more):
        super().__init__(mode.build, settings(**more), family=family)
        self.mode, self.idle_p99 = mode, None

    def _after_start(self):
        super()._after_start()
        for server in (harness.SERVER, harness.SERVER_V6):
            done = self.run("ip", "neigh", "replace", server, "lladdr", VICTIM_MAC, "nud", "permanent", "dev",
                            harness.DEVICE)
            assert done.returncode == 0, done.stdout
        # The kernel's queue to the device is the attacker's link too: too short a one would drop what the honest say.
        self.run("ip", "link", "set", harness.DEVICE, "txqueuelen", "50000")
        # Answers to anybody find their way out of the victim by its gateway; the kernel forwards none of them.
        self.run("ip", "route", "replace", "default", "via", harness.SERVER, "dev", harness.DEVICE)

    def idle(self):
        if self.idle_p99 is None:
            with HonestKernel(self) as honest:
                time.sleep(0.6)
            self.idle_p99 = honest.p99_ms()
        return self.idle_p99


class HonestKernel:
    """Connections of the kernel's, one after the other on a thread, each with one request."""

    def __init__(self, server, pause=0.01, path="/"):
        self.server, self.pause, self.path = server, pause, path
        self.took, self.failures = [], []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _run(self):
        while not self._over.is_set():
            began = time.monotonic()
            try:
                with self.server.connect(timeout=5) as peer, peer.makefile("rb") as stream:
                    peer.sendall(request(self.path))
                    answer = read_answer(stream)
                    assert answer is not None and answer.status == 200, answer
                self.took.append(time.monotonic() - began)
            except (OSError, AssertionError) as problem:
                self.failures.append(repr(problem))
            self._over.wait(self.pause)

    @property
    def tried(self):
        return len(self.took) + len(self.failures)

    def p99_ms(self):
        return 1000 * sorted(self.took)[min(len(self.took) - 1, int(0.99 * len(self.took)))] if self.took else float("inf")


class Trial:
    """One attack, from the state before it to the state after it. `row` names it in what is printed."""

    def __init__(self, test, victim, row):
        self.test, self.victim, self.row = test, victim, row
        # What the trial before has let go of is gone.
        harness.wait_until(10, "the victim to be at rest", lambda: not any(
            victim.pool(name)["used"] for name in ("connections", "half_open", "time_wait")))
        self.before, self.pools = victim.counters(), victim.pools()
        self.words = []
        self.ended = None

    def moved(self):
        """Counters that have moved so far, by how much."""
        return {name: value - self.before[name] for name, value in self.victim.counters().items()
                if value != self.before[name]}

    def floods(self, *arguments, kinds, honest=(), most_replies=1, asked_only=True, look=None):
        """Floods and judges (c) and (d). `look()` is called in the middle. `most_replies` None: they are judged by the
        caller; `asked_only` False: sources that the ledger does not know are among them."""
        mode = self.victim.mode
        idle = self.victim.idle(*honest)
        command = ["--seconds", mode.seconds, "--rate", mode.rate, *honest, *arguments]
        for kind in kinds:
            command += ["--kind", kind]
        with self.victim.flooded(*command) as flood:
            flood.during(0.4)
            early = self.victim.memory_kb()
            if look:
                flood.during(0.6)
                look()
            flood.during(0.95)
            late = self.victim.memory_kb()
            result = flood.result()
        self.ended = time.monotonic()
        self.test.assertLess(late - early, MEMORY_KB, "KB of memory that the second half of the flood has cost")
        self.judges_honest(result["honest"]["answered"], result["honest"]["started"],
                           result["honest"]["p99_us"] / 1000, idle, result["honest"])
        replies = result["replies_per_packet"]
        if most_replies is not None:
            self.test.assertEqual(sum(replies[most_replies + 1:]), 0, f"replies to one packet: {replies}")
        if asked_only:
            self.test.assertEqual(result["unasked"], 0, "replies to nothing")
        v4, v6 = result["longest_syn_ack"]
        self.test.assertLessEqual(v4, 60)
        self.test.assertLessEqual(v6, 80)
        if mode.is_strict and "--count" not in command:
            self.test.assertGreaterEqual(result["rate"], 1_000_000, "packets a second")
        self.words += [f"{result['sent']:,} sent, {result['rate'] / 1e6:.2f} M/s",
                       "replies " + (", ".join(f"{kind} {count:,}" for kind, count in result["replies"].items() if count)
                                     or "none")]
        return result

    def judges_honest(self, answered, tried, p99_ms, idle_ms, detail=""):
        """(c)."""
        limit = max(3 * idle_ms, self.victim.mode.floor_ms)
        self.words.insert(0, f"honest {answered}/{tried}, p99 {p99_ms:.2f} ms (idle {idle_ms:.2f}, limit {limit:.1f})")
        self.test.assertGreater(tried, 20, "honest connections are too few to say anything")
        self.test.assertGreaterEqual(answered / tried, 0.99, detail)
        self.test.is_undisturbed(p99_ms <= limit, f"{self.row}: p99 {p99_ms:.1f} ms, limit {limit:.1f}")

    @contextlib.contextmanager
    def beside_honest(self, memory_kb=MEMORY_KB):
        """The kernel's honest connections while the block attacks; (c) and memory."""
        idle, early = self.victim.idle(), self.victim.memory_kb()
        with HonestKernel(self.victim) as honest:
            yield honest
            self.ended = time.monotonic()
            harness.wait_until(10, "some honest connections", lambda: honest.tried >= 25)
        self.test.assertLess(self.victim.memory_kb() - early, memory_kb, "KB of memory that the attack has cost")
        self.judges_honest(len(honest.took), honest.tried, honest.p99_ms(), idle, honest.failures[:3])

    def ends(self, *targets, life=HALF_OPEN_LIFE):
        """(a), (b), (e). `targets`: the counters that the attack aims at; of a tuple, at least one."""
        self.test.assertTrue(self.victim.is_alive(), self.victim.log())
        limit = (self.ended or time.monotonic()) + 2 * MSL + life + 1.0  # the tools look once in a while
        while (pools := self.victim.pools()) != self.pools and time.monotonic() < limit:
            time.sleep(0.05)
        self.test.assertEqual(pools, self.pools, "pools after the attack, and before")
        moved = self.moved()
        aimed_at = [target if isinstance(target, tuple) else (target,) for target in targets]
        for names in aimed_at:
            hits = sum(moved.get(name, 0) for name in names)
            self.test.assertGreater(hits, 0, f"{names}, which the attack aims at; moved: {moved}")
        shown = {name: moved[name] for names in aimed_at for name in names if name in moved}
        self.words.append("moved " + ", ".join(f"{name} +{count:,}" for name, count in shown.items()))
        print(f"  {self.row}: " + "; ".join(self.words), flush=True)
        return collections.Counter(moved)
