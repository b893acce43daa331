#!/usr/bin/env python3
"""Counts the cases of all JUnit-like XML files of a test run and ends with one line: N passed, N failed.

A program that should have written a file and did not (it crashed, hung or was not started) counts as one failure, and so
does a case that was skipped: nothing is skipped in silence. Exit status 0 only if something passed and nothing failed.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import xml.etree.ElementTree as ElementTree


def cases(file):
    """Yields (name, outcome) of each case, outcome being passed, failed or skipped."""
    for case in ElementTree.parse(file).iter("testcase"):
        name = f"{case.get('classname', '')}.{case.get('name', '')}"
        if case.find("failure") is not None or case.find("error") is not None:
            yield name, "failed"
        elif case.find("skipped") is not None or case.get("status") == "notrun":
            yield name, "skipped"
        else:
            yield name, "passed"


def expected_of_build(build):
    """The names of meson's tests: each is to leave NAME.xml."""
    listed = subprocess.run(["meson", "introspect", "--tests", build], check=True, capture_output=True, text=True)
    return [test["name"] for test in json.loads(listed.stdout)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", help="meson build folder whose tests are expected")
    parser.add_argument("--expect", action="append", default=[], help="NAME of a further NAME.xml that is expected")
    parser.add_argument("results", type=pathlib.Path)
    args = parser.parse_args()

    passed, failures = 0, []
    for name in (expected_of_build(args.build) if args.build else []) + args.expect:
        if not (args.results / f"{name}.xml").is_file():
            failures.append(f"{name}: left no results")
    for file in sorted(args.results.glob("*.xml")):
        try:
            outcomes = list(cases(file))
        except ElementTree.ParseError as error:
            failures.append(f"{file.stem}: results that cannot be read ({error})")
            continue
        for name, outcome in outcomes:
            if outcome == "passed":
                passed += 1
            else:
                failures.append(f"{file.stem}: {name} {outcome}")
    for failure in failures:
        print(failure)
    print(f"{passed} passed, {len(failures)} failed")
    return 0 if passed and not failures else 1


if __name__ == "__main__":
    sys.exit(main())
