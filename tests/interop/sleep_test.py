"""idle = "adaptive": what a server without traffic costs, and what the first request after a pause waits longer."""

import os
import statistics
import time

import junit
from harness import Server, UNLIMITED, read_answer, request, settings

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """Of all threads, user and system."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def latencies(server, count=100, pause=0.03):
    """Of single requests on one connection, microseconds, each after a pause in which the worker falls asleep."""
    taken = []
    with server.connect() as peer, peer.makefile("rb") as stream:
        for _ in range(count):
            time.sleep(pause)
            start = time.perf_counter()
            peer.sendall(request())
            assert read_answer(stream).status == 200
            taken.append((time.perf_counter() - start) * 1e6)
    return taken


class Sleep(junit.Case):
    def test_an_idle_server_takes_at_most_5_percent_of_a_core(self):
        with Server("release", settings(http=UNLIMITED, engine='idle = "adaptive"', core=1)) as server, \
                server.connect():
            time.sleep(1)
            before, start = cpu_seconds(server.process.pid), time.monotonic()
            time.sleep(4)
            share = (cpu_seconds(server.process.pid) - before) / (time.monotonic() - start)
            print(f"         {share:.1%} of a core", flush=True)
            self.assertLessEqual(share, 0.05)

    def test_the_first_request_after_a_pause_waits_little_longer_than_with_a_core_that_spins(self):
        median = {}
        for idle in ("spin", "adaptive"):
            with Server("release", settings(http=UNLIMITED, engine=f'idle = "{idle}"', core=1)) as server:
                taken = latencies(server)
                median[idle] = statistics.median(taken)
                slow = sorted(taken)[-2]
                print(f"         {idle}: median {median[idle]:.0f} us, 99 % below {slow:.0f} us", flush=True)
        self.assertLess(median["adaptive"] - median["spin"], 1_000)
