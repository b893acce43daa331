#!/usr/bin/env python3
"""Our sender against Linux's CUBIC over the same bad link, and beside it: scripts/goodput.sh builds what this needs.

Goodput: the two take turns, A B A B, over a link with the same settings, and with the same seed in each round: the
n-th frame of either is lost. What the receiver has read in so many seconds after its accept() counts; the medians are
compared. The receiver is this machine's kernel both times, with the same settings, and buffers and windows are so
large that the sender's congestion window is the limit.

Fairness (--fairness): two senders share one bottleneck with a drop-tail queue of one bandwidth-delay product. The
second begins `gap` seconds after the first, in alternating order, and what each moved while both were there counts.

`late` is how late the link sent frames, beyond when they were due (99th percentile and longest, us): figures of a run in which it
is not far below the round trip mean nothing.
"""

import argparse
import concurrent.futures
import datetime
import itertools
import json
import os
import pathlib
import platform
import shlex
import signal
import statistics
import subprocess
import sys

here = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(here), str(here.parent / "support")]
import harness  # noqa: E402
from bad_link import Link, LinuxSender, OurSender, Stopped, connected, pause, stopping  # noqa: E402

# Far from what loss allows, but a burst does not arrive at once.
WIDE = "rate=100Mb/s,queue=1000"
CONDITIONS = {
    **{f"loss {loss} %, RTT {rtt} ms": (f"delay={rtt // 2}ms,loss={loss}%,{WIDE}", f"delay={rtt // 2}ms")
       for loss in (1, 3) for rtt in (20, 100)},
    # Held back by less than the quarter of a round trip that RACK allows, and by more than three segments.
    "loss 1 %, reordering 2 %, RTT 20 ms": (f"delay=10ms,loss=1%,reordering=2%,reorder-by=4ms,{WIDE}", "delay=10ms"),
}
OURS_ADDRESS, OTHER_ADDRESS = "192.0.2.11", "192.0.2.12"
FRAME = 1514


def trouble(report):
    """What the link could not do."""
    return {f"{device['device'].split('/')[1]} {what}": device[what] for device in report["devices"]
            for what in ("oversized", "refused", "missed") if device[what]}


# ---- Goodput. -------------------------------------------------------------------------------------------------------


def send_alone(sender, sink, ways, seed, seconds):
    with Link([sender.port], sink.port, *ways, seed=seed) as link:
        sender.begins()
        flow = sink.next_flow()
        pause(seconds + 0.2)
        facts = sender.facts()
        sink.ends_flows()
        sender.finishes()
        report = link.stop()
    return {"sender": sender.name, "seed": seed, "megabits": flow.megabits(flow.began, flow.began + seconds),
            "facts": facts, "link": report, "trouble": trouble(report)}


def goodput(name, options, core):
    """All rounds of one condition."""
    ours, linux = OurSender(options.build_type, OURS_ADDRESS, core, options.tcp), LinuxSender(OTHER_ADDRESS)
    runs = []
    with connected(ours, linux) as sink:
        for number in range(options.runs):
            for sender in (ours, linux):
                runs.append(send_alone(sender, sink, CONDITIONS[name], options.seed + number, options.seconds))
                facts = runs[-1]["facts"]
                print(f"   {name}: {sender.name} {runs[-1]['megabits']:.2f} Mb/s, {facts['retransmitted']} retransmitted, "
                      f"{facts['timeouts']} timeouts", file=sys.stderr, flush=True)
    rates = {sender.name: sorted(run["megabits"] for run in runs if run["sender"] == sender.name)
             for sender in (ours, linux)}
    medians = {who: statistics.median(values) for who, values in rates.items()}
    return {"condition": name, "to_b": CONDITIONS[name][0], "to_a": CONDITIONS[name][1], "medians": medians,
            "rates": rates, "ratio": medians[ours.name] / medians[linux.name], "runs": runs}


def goodput_table(results):
    yield f"{'condition':37} {'ours':>7} {'(least-most)':>15} {'Linux':>7} {'(least-most)':>15} {'ratio':>6}   late"
    for result in results:
        cells = [f"{result['medians'][who]:7.2f} {'(%.2f-%.2f)' % (values[0], values[-1]):>15}"
                 for who, values in result["rates"].items()]
        yield f"{result['condition']:37} {' '.join(cells)} {result['ratio']:6.2f}   {lateness(result)}"


# ---- Fairness. ------------------------------------------------------------------------------------------------------


def send_beside(senders, sink, options, ways, seed):
    """`senders` in the order of their beginning."""
    with Link([sender.port for sender in senders], sink.port, *ways, seed=seed) as link:
        flows = []
        for sender in senders:
            pause(options.gap if flows else 0)
            sender.begins()
            flows.append(sink.next_flow())
        pause(options.seconds + 0.2)
        facts = [sender.facts() for sender in senders]
        sink.ends_flows()
        for sender in senders:
            sender.finishes()
        report = link.stop()
    first = flows[-1].began
    rates = [flow.megabits(first, first + options.seconds) for flow in flows]
    return {"order": [sender.name for sender in senders], "megabits": rates, "facts": facts, "link": report,
            "trouble": trouble(report), "jain": sum(rates) ** 2 / len(rates) / sum(rate ** 2 for rate in rates)}


def fairness(kinds, options, core):
    """All rounds of one pair, of which the first changes."""
    bottleneck = options.rate * 1e6 * options.rtt / 1000 / 8 / FRAME
    ways = (f"delay={options.rtt * 500}us,rate={options.rate}Mb/s,queue={max(round(bottleneck), 1)}",
            f"delay={options.rtt * 500}us")
    pair = [OurSender(options.build_type, address, core, options.tcp) if kind == "ours" else LinuxSender(address)
            for kind, address in zip(kinds, (OURS_ADDRESS, OTHER_ADDRESS))]
    runs = []
    with connected(*pair) as sink:
        for number in range(options.runs):
            order = pair if number % 2 == 0 else pair[::-1]
            run = send_beside(order, sink, options, ways, options.seed + number)
            rates = run["megabits"] if order is pair else run["megabits"][::-1]
            run["share"] = rates[0] / sum(rates)
            runs.append(run)
            print(f"   {' beside '.join(kinds)}: {rates[0]:.2f} and {rates[1]:.2f} Mb/s, the {order.index(pair[0]) + 1}. "
                  "to begin", file=sys.stderr, flush=True)
    return {"condition": " beside ".join(kinds), "to_b": ways[0], "to_a": ways[1], "runs": runs,
            "share": statistics.median(run["share"] for run in runs),
            "shares": sorted(run["share"] for run in runs), "jain": statistics.median(run["jain"] for run in runs),
            "sum": statistics.median(sum(run["megabits"]) for run in runs)}


def fairness_table(results):
    yield f"{'pair':20} {'share of the first':>18} {'(least-most)':>13} {'Jain':>6} {'sum Mb/s':>9}   late"
    for result in results:
        spread = "(%.2f-%.2f)" % (result["shares"][0], result["shares"][-1])
        yield (f"{result['condition']:20} {result['share']:18.2f} {spread:>13} {result['jain']:6.3f} "
               f"{result['sum']:9.2f}   {lateness(result)}")


# ---- Both. ----------------------------------------------------------------------------------------------------------


def lateness(result):
    late = [run["link"]["lateness_us"] for run in result["runs"]]
    troubles = sorted(set(itertools.chain(*(run["trouble"] for run in result["runs"]))))
    return f"{max(run['p99'] for run in late)} / {max(run['max'] for run in late)}" + \
        (f"   LINK: {', '.join(troubles)}" if troubles else "")


def measure(work, options):
    """[function()] in parallel, as many at a time as asked for; the results in order."""
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        futures = [pool.submit(function, subject, options, core) for core, (function, subject) in enumerate(work)]
        try:
            concurrent.futures.wait(futures, return_when=concurrent.futures.FIRST_EXCEPTION)
            failed = [future.exception() for future in futures if future.done() and future.exception()]
            if failed:
                raise failed[0]
            return [future.result() for future in futures]
        except BaseException:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # what was begun is removed now
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            stopping.set()
            pool.shutdown(cancel_futures=True)
            raise


def remove_leftovers():
    """A namespace whose removal was itself interrupted."""
    listed = subprocess.run(["ip", "netns", "list"], stdout=subprocess.PIPE, text=True).stdout
    for line in listed.splitlines():
        if line.startswith(f"pollux-test-{os.getpid()}-"):
            harness.shell(f"remove_namespace {line.split()[0]}")


def interrupted(*_):
    raise KeyboardInterrupt


def positive(kind):
    def read(text):
        if (value := kind(text)) <= 0:
            raise argparse.ArgumentTypeError(f"found {text}, expected more than 0")
        return value
    return read


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True, help="release build folder")
    parser.add_argument("--fairness", action="store_true", help="two senders on one bottleneck, instead of one alone")
    parser.add_argument("--only", default="", help="conditions or pairs whose name contains this")
    parser.add_argument("--runs", type=positive(int), default=5, help="rounds of each")
    parser.add_argument("--seconds", type=positive(float), help="of each run; default 20, with --fairness 30")
    parser.add_argument("--seed", type=int, default=1, help="of the first round")
    parser.add_argument("--jobs", type=positive(int), help="conditions at a time; default all, with --fairness 1")
    parser.add_argument("--rate", type=positive(int), default=20, help="--fairness: of the bottleneck, Mb/s")
    parser.add_argument("--rtt", type=positive(int), default=40, help="--fairness: ms, without the queue")
    parser.add_argument("--gap", type=float, default=2, help="--fairness: s, from the first sender to the second")
    parser.add_argument("--tcp", default="", help="settings of our [tcp], with \\n between lines")
    parser.add_argument("--json", help="file for all figures and counters")
    parser.add_argument("--called", help=argparse.SUPPRESS)  # how a script was
    options = parser.parse_args(arguments)
    options.build_type = "release"
    options.tcp = options.tcp.replace("\\n", "\n")
    options.seconds = options.seconds or (30 if options.fairness else 20)
    return options


def main():
    options = parse(sys.argv[1:])
    folder = pathlib.Path(options.build).resolve()
    harness.dialer["release"] = folder / "tests/interop/dialer/pollux-test-dialer"
    harness.httpd["release"] = None
    harness.link, harness.ctl = folder / "tests/interop/link/pollux-test-link", folder / "apps/pollux-ctl"
    if os.geteuid() != 0 or not os.path.exists("/dev/net/tun"):
        print("goodput.py: network namespaces and TAP devices need root and /dev/net/tun", file=sys.stderr)
        return 1
    if "cubic" not in pathlib.Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split():
        print("goodput.py: this kernel has no CUBIC", file=sys.stderr)
        return 1
    if options.fairness:
        work = [(fairness, pair) for pair in (("ours", "Linux"), ("ours", "ours"), ("Linux", "Linux"))
                if options.only in " beside ".join(pair)]
    else:
        work = [(goodput, name) for name in CONDITIONS if options.only in name]
    if not work:
        print(f"goodput.py: no name contains \"{options.only}\"", file=sys.stderr)
        return 2
    options.jobs = options.jobs or (1 if options.fairness else len(work))
    signal.signal(signal.SIGTERM, interrupted)
    about = {"command": options.called or shlex.join(sys.argv),
             "date": datetime.datetime.now().isoformat(timespec="seconds"), "kernel": platform.release(),
             "cores": len(harness.cores), "load_before": os.getloadavg(), "seconds": options.seconds,
             "runs": options.runs, "jobs": options.jobs}
    try:
        results = measure(work, options)
    except (KeyboardInterrupt, Stopped):
        print("goodput.py: stopped", file=sys.stderr)
        return 130
    finally:
        remove_leftovers()
    about["load_after"] = os.getloadavg()
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({**about, "results": results}, indent=1) + "\n")
    print(f"{about['command']}\n{about['date']}, Linux {about['kernel']}, {about['cores']} cores, load "
          f"{about['load_before'][0]:.1f} to {about['load_after'][0]:.1f}; {options.runs} x {options.seconds:g} s of each, "
          f"{options.jobs} at a time; medians, Mb/s, late in us (p99 / longest)\n")
    print("\n".join((fairness_table if options.fairness else goodput_table)(results)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
