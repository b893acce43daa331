#!/usr/bin/env python3
"""The attacks that Pollux has to survive, one row of the table (README.md) after the other. Needs root and /dev/net/tun.

    run.sh                    all rows: short ones under sanitizers, then long ones against the release build
    run.sh --short            under sanitizers only, in less than 100 s
    run.sh --row ATK-05       one row; may be repeated
    run.sh --list             the rows and their tests
"""

import argparse
import pathlib
import sys
import unittest

here = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(here), str(here.parent / "interop"), str(here.parent / "support")]
import harness  # noqa: E402
import junit  # noqa: E402
import victim  # noqa: E402


def modules():
    import flood_test, handshake_test  # noqa: E401
    return [flood_test, handshake_test]


def cases(module):
    """The test classes of a module that have a mode."""
    return [case for case in vars(module).values()
            if isinstance(case, type) and issubclass(case, junit.Case) and case.__module__ == module.__name__]


def rows_of(test):
    return getattr(getattr(test, test._testMethodName), "rows", ())


def suite_of(mode, wanted):
    """All tests of the wanted rows in this mode; those that tell a row from its name count for it."""
    suite = unittest.TestSuite()
    for module in modules():
        for case in cases(module):
            name = case.__name__ if mode is victim.SHORT else f"{case.__name__}InLong"
            twin = type(name, (case,), {"mode": mode, "__module__": case.__module__})
            for test in unittest.defaultTestLoader.loadTestsFromTestCase(twin):
                if not wanted or wanted & set(rows_of(test)):
                    suite.addTest(test)
    return suite


def listing():
    for test in suite_of(victim.SHORT, set()):
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
    harness.raise_file_limit()

    result = junit.Result()
    for mode in (victim.SHORT, victim.LONG):
        if (mode is victim.SHORT and args.long) or (mode is victim.LONG and args.short):
            continue
        suite_of(mode, set(args.row)).run(result)
    if args.xml:
        junit.write(args.xml, "attack", result.cases)
    failed = sum(bool(problem) for *_, problem in result.cases)
    print(f"attack: {len(result.cases)} cases, {failed} failed")
    return 1 if failed or not result.cases else 0


if __name__ == "__main__":
    sys.exit(main())
