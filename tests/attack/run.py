#!/usr/bin/env python3
"""The attacks that Pollux has to survive, row by row (README.md). Needs root and /dev/net/tun.

    run.sh                    all rows: short ones under sanitizers, then long ones against the release build
    run.sh --short            under sanitizers only, in less than 100 s
    run.sh --row ATK-05       one row; may be repeated
    run.sh --list             the rows and their tests
"""

import argparse
import itertools
import os
import pathlib
import sys
import threading
import unittest

here = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(here), str(here.parent / "interop"), str(here.parent / "support")]
import harness  # noqa: E402
import junit  # noqa: E402
import victim  # noqa: E402


def modules():
    import blind_test, flood_test, handshake_test, link_test, transfer_test  # noqa: E401
    return [flood_test, handshake_test, link_test, blind_test, transfer_test]


def cases(module):
    """The test classes of a module that have a mode."""
    return [case for case in vars(module).values()
            if isinstance(case, type) and issubclass(case, junit.Case) and case.__module__ == module.__name__]


def rows_of(test):
    """Those that it proves, and those that it is about."""
    method = getattr(test, test._testMethodName)
    return (*getattr(method, "rows", ()), *getattr(method, "about", ()))


def suite_of(mode, wanted):
    """All tests of the wanted rows in this mode: floods, which need both cores, crafted packets, and those that mostly
    wait."""
    floods, crafted, waiting = (unittest.TestSuite() for _ in range(3))
    for module in modules():
        for case in cases(module):
            name = case.__name__ if mode is victim.SHORT else f"{case.__name__}InLong"
            twin = type(name, (case,), {"mode": mode, "__module__": case.__module__})
            suite = waiting if case.waits else floods if module.__name__ == "flood_test" else crafted
            for test in unittest.defaultTestLoader.loadTestsFromTestCase(twin):
                if not wanted or wanted & set(rows_of(test)):
                    suite.addTest(test)
    # Of ours as a client: the interoperation tests have it, and scripts/test.sh runs those anyway.
    if mode is victim.LONG:
        import opening_test  # noqa: E402
        for test in itertools.chain(*unittest.defaultTestLoader.loadTestsFromModule(opening_test)):
            if "ATK-15" in rows_of(test) and (not wanted or "ATK-15" in wanted):
                crafted.addTest(test)
    return floods, crafted, waiting


def listing():
    for test in itertools.chain(*suite_of(victim.LONG, set())):
        print(f"{' '.join(rows_of(test)):8}  {type(test).__name__}.{test._testMethodName}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--asan", default=harness.source / "build/asan", help="build folder with sanitizers")
    parser.add_argument("--release", default=harness.source / "build/release", help="release build folder")
    parser.add_argument("--xml", help="write the outcome there")
    parser.add_argument("--short", action="store_true", help="only the short ones, under sanitizers")
    parser.add_argument("--long", action="store_true", help="only the long ones, against the release build")
    parser.add_argument("--row", action="append", default=[], help="only this row of the table")
    parser.add_argument("--list", action="store_true", help="what there is")
    args = parser.parse_args()
    if args.list:
        listing()
        return 0
    problem = harness.missing_privileges()
    if problem:
        print(problem)
        if args.xml:
            junit.write(args.xml, "attack", [("Attack", "privileges", 0.0, "", problem)])
        return 1
    harness.find_programs(args.asan, args.release)
    harness.ctl = os.path.abspath(os.path.join(args.release, "apps/pollux-ctl"))  # asked so often that it should be quick
    harness.raise_file_limit()
    # What the tools' questions free would be kept for long, and look like memory that an attack has cost.
    os.environ["ASAN_OPTIONS"] = "quarantine_size_mb=1"

    result = junit.Result()
    for mode in (victim.SHORT, victim.LONG):
        if (mode is victim.SHORT and args.long) or (mode is victim.LONG and args.short):
            continue
        floods, crafted, waiting = suite_of(mode, set(args.row))
        floods.run(result)
        beside = junit.Result()
        thread = threading.Thread(target=waiting.run, args=(beside,))
        thread.start()
        crafted.run(result)
        thread.join()
        result.cases += beside.cases
    if args.xml:
        junit.write(args.xml, "attack", result.cases)
    failed = sum(bool(problem) for *_, problem in result.cases)
    print(f"attack: {len(result.cases)} cases, {failed} failed")
    return 1 if failed or not result.cases else 0


if __name__ == "__main__":
    sys.exit(main())
