#!/usr/bin/env python3
"""Each defence against a SYN flood alone, under the same flood: what it survives and what it costs. Prints the table of
README.md. As root, on an otherwise idle machine of two cores; takes about a minute and a half.

    defences.py [--seconds 5] [--rate 1200000] [--release build/release]
"""

import argparse
import pathlib
import sys

here = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(here), str(here.parent / "interop"), str(here.parent / "support")]
import harness  # noqa: E402
import victim  # noqa: E402

# Linux's and ours: 1 s, and five repetitions.
UNDEFENDED_TCP = 'initial_rto = "1s"\nsyn_ack_retries = 5\n'
PERIOD = 'cookie_period = "60s"\n'
NEVER = PERIOD + 'syn_cookies = "never"\n'
FLOODERS = "16.0.0.0/4"  # flood/sources.hpp

# name, [tcp], [security], [tcp.capacity], what comes last
DEFENCES = [
    ("none: 16,384 records of 63 s", UNDEFENDED_TCP, NEVER, "half_open = 16384\n", ""),
    ("shorter timeout: `half_open_timeout = \"1s\"`", UNDEFENDED_TCP + 'half_open_timeout = "1s"\n', NEVER,
     "half_open = 16384\n", ""),
    ("larger backlog: 1,048,576 records", UNDEFENDED_TCP, NEVER, "half_open = 1048576\n", ""),
    ("both of these", UNDEFENDED_TCP + 'half_open_timeout = "1s"\n', NEVER, "half_open = 1048576\n", ""),
    ("filtering: one `[[filter]]` that denies the flood's network", UNDEFENDED_TCP, NEVER, "half_open = 16384\n",
     f'[[filter]]\naction = "deny"\nsource = "{FLOODERS}"\n'),
    ("cookies: `adaptive`", UNDEFENDED_TCP, PERIOD + 'syn_cookies = "adaptive"\n', "half_open = 16384\n", ""),
    ("cookies: `always`", UNDEFENDED_TCP, PERIOD + 'syn_cookies = "always"\n', "half_open = 16384\n", ""),
]


def measure(defence, args):
    name, tcp, security, capacity, last = defence
    mode = victim.Mode("long", "release", args.seconds, 2, 1)
    with victim.FloodVictim(mode, tcp=tcp, security=security + last, capacity=capacity) as server:
        idle = server.idle()
        memory = server.memory_kb()
        before = server.counters()
        with server.flooded("--kind", "syn", "--seconds", args.seconds, "--rate", args.rate, "--patience-ms", "1000",
                            "--linger", "0.1") as flood:
            result = flood.result()
        after = server.counters()
        (row,) = server.rows("handshakes")
        grown = server.memory_kb() - memory
    moved = {key: after[key] - before[key] for key in after}
    honest = result["honest"]
    success = honest["answered"] / max(honest["started"], 1)
    answered = moved["syn_answered"] + moved["cookie_sent"]
    return [name, f"{result['rate'] / 1e6:.2f} M", f"{success:.1%} of {honest['started']:,}",
            f"{honest['p99_us'] / 1000:.2f} ms ({idle:.2f})" if honest["answered"] else "-",
            f"{answered / result['sent']:.1%}", f"{row['peak']:,}", f"{grown / 1024:.0f} MiB"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rate", type=int, default=1_200_000, help="SYNs a second; 0: as many as the victim takes")
    parser.add_argument("--release", default=harness.source / "build/release", help="release build folder")
    args = parser.parse_args()
    problem = harness.missing_privileges()
    if problem:
        print(problem)
        return 1
    harness.find_programs(args.release, args.release)
    harness.raise_file_limit()
    heading = ["defence", "SYNs/s", "honest success", "p99 (idle)", "SYNs answered", "SYN-RECEIVED, peak", "memory grown"]
    print("| " + " | ".join(heading) + " |\n" + "|---" * len(heading) + "|")
    for defence in DEFENCES:
        print("| " + " | ".join(measure(defence, args)) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
