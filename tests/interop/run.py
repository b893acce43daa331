#!/usr/bin/env python3
"""Runs the interoperation tests and writes one XML file. Needs root and /dev/net/tun: without them that is a failure.

The minutes of idling run beside everything else; the rest runs in sequence, so that two cores are enough.
"""

import argparse
import os
import pathlib
import re
import resource
import sys
import threading
import unittest

here = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(here), str(here.parent / "support")]
import harness  # noqa: E402
import junit  # noqa: E402


def over_both_families(module):
    """Every class with a `family` gets a twin that runs over IPv6."""
    for name, case in list(vars(module).items()):
        if isinstance(case, type) and "family" in vars(case):
            setattr(module, f"{name}OverIpv6", type(f"{name}OverIpv6", (case,), {"family": harness.V6}))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--asan", required=True, help="build folder with sanitizers")
    parser.add_argument("--release", required=True, help="release build folder")
    parser.add_argument("--xml", required=True)
    parser.add_argument("names", nargs="*", help="only tests whose Class.name matches one of these expressions")
    args = parser.parse_args()

    if os.geteuid() != 0 or not os.path.exists("/dev/net/tun"):
        problem = "the interoperation tests need root and /dev/net/tun"
        print(problem)
        junit.write(args.xml, "interop", [("Interop", "privileges", 0.0, "", problem)])
        return 1
    for build in ("asan", "release"):
        harness.httpd[build] = os.path.abspath(os.path.join(getattr(args, build), "apps/pollux-httpd"))
        harness.dialer[build] = os.path.abspath(
            os.path.join(getattr(args, build), "tests/interop/dialer/pollux-test-dialer"))
    harness.test_client = os.path.abspath(os.path.join(args.release, "tests/support/client/pollux-test-client"))
    harness.link = os.path.abspath(os.path.join(args.release, "tests/interop/link/pollux-test-link"))
    harness.ctl = os.path.abspath(os.path.join(args.asan, "apps/pollux-ctl"))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8192) if most > 0 else 8192, most))

    import ctl_test, device_test, drain_test, filter_test, http_test, impairment_test, program_test, sleep_test  # noqa: E401
    import duplicate_test, ecn_test, goodput_test, link_test, opening_test, traffic_test, workers_test  # noqa: E401

    idle, rest = [], unittest.TestSuite()
    for module in (traffic_test, http_test, opening_test, ecn_test, drain_test, filter_test, workers_test, ctl_test, device_test,
                   impairment_test, duplicate_test, sleep_test, link_test, goodput_test, program_test):
        over_both_families(module)
        for group in unittest.defaultTestLoader.loadTestsFromModule(module):
            for test in group:
                name = ".".join(test.id().split(".")[-2:])
                if not args.names or any(re.search(pattern, name) for pattern in args.names):
                    (idle.append if "Idle" in name else rest.addTest)(test)
    result, idle_results = junit.Result(), [junit.Result() for _ in idle]
    beside = [threading.Thread(target=test.run, args=(own,)) for test, own in zip(idle, idle_results)]
    for thread in beside:
        thread.start()
    rest.run(result)
    for thread in beside:
        thread.join()
    cases = result.cases + [case for own in idle_results for case in own.cases]
    junit.write(args.xml, "interop", cases)
    failed = sum(bool(problem) for *_, problem in cases)
    print(f"interop: {len(cases)} cases, {failed} failed")
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
