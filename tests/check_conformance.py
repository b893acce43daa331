#!/usr/bin/env python3
"""Holds tests/conformance.tsv against what a test run has really executed.

The table lists every behaviour that Pollux owes its peers: id, kind (tcp, rfc9293, attack, http), the behaviour, its state.
States: `tested`, `later: THEME`, `deviation: REASON`, `host: REASON`, `optional: REASON`.
A test proves a row by a property of its case in the XML, name "row", value one or more ids separated by blanks.

It is a mistake if
  - a row marked tested has no executed, passed case, or has a failed one,
  - a case records an id that the table does not have,
  - a row marked later is proved by a passed case (the table would understate what is there).
With --promote the last kind is corrected in the table instead.
"""

import argparse
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from xml.sax.saxutils import quoteattr

KINDS = {"tcp", "rfc9293", "attack", "http"}
STATE = re.compile(r"tested|(later|deviation|host|optional): \S.*")


def read_table(file):
    """Returns ({id: state}, [mistakes of the table itself])."""
    states, mistakes = {}, []
    lines = file.read_text(encoding="utf-8").splitlines()
    if not lines or lines[0].split("\t") != ["id", "kind", "behaviour", "state"]:
        return {}, [f"{file}:1: no heading id, kind, behaviour, state"]
    for number, line in enumerate(lines[1:], 2):
        fields = line.split("\t")
        where = f"{file}:{number}"
        if len(fields) != 4 or not all(fields):
            mistakes.append(f"{where}: not four columns")
            continue
        row, kind, _, state = fields
        if row in states:
            mistakes.append(f"{where}: {row} again")
        if kind not in KINDS:
            mistakes.append(f"{where}: unknown kind {kind}")
        if not STATE.fullmatch(state):
            mistakes.append(f"{where}: unknown state {state}")
        states[row] = state
    return states, mistakes


def read_results(files):
    """Returns ({id: [(case, passed)]}) of all executed cases; a skipped case proves nothing."""
    proofs = defaultdict(list)
    for file in files:
        for case in ElementTree.parse(file).iter("testcase"):
            if case.get("status") == "notrun" or case.find("skipped") is not None:
                continue
            passed = case.find("failure") is None and case.find("error") is None
            # GoogleTest writes <properties>; older versions wrote an attribute.
            values = [p.get("value", "") for p in case.iter("property") if p.get("name") == "row"]
            values += [case.get("row", "")]
            for row in " ".join(values).split():
                proofs[row].append((f"{case.get('classname', '')}.{case.get('name', '')}", passed))
    return proofs


def compare(states, proofs):
    """Returns (mistakes, ids marked later that are proved)."""
    mistakes, understated = [], []
    for row in sorted(proofs.keys() - states.keys()):
        mistakes.append(f"{row}: recorded by {proofs[row][0][0]}, but not in the table")
    for row, state in states.items():
        runs = proofs.get(row, [])
        failed = [case for case, passed in runs if not passed]
        if state == "tested" and failed:
            mistakes.append(f"{row}: {failed[0]} failed")
        elif state == "tested" and not runs:
            mistakes.append(f"{row}: marked tested, but no executed test records it")
        elif state.startswith("later") and runs and not failed:
            understated.append(row)
    return mistakes, understated


def promote(file, rows):
    lines = file.read_text(encoding="utf-8").splitlines()
    for i, line in enumerate(lines):
        fields = line.split("\t")
        if fields[0] in rows:
            lines[i] = "\t".join(fields[:3] + ["tested"])
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_xml(file, mistakes):
    text = "".join(f"<failure message={quoteattr(mistake)}/>" for mistake in mistakes)
    file.write_text(
        f'<testsuite name="conformance"><testcase classname="conformance" name="table">{text}</testcase></testsuite>\n'
    )


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--xml", type=pathlib.Path, help="write the outcome there as one JUnit case")
    parser.add_argument("--promote", action="store_true", help="mark as tested what is proved but marked later")
    parser.add_argument("table", type=pathlib.Path)
    parser.add_argument("results", type=pathlib.Path, help="folder of the run's XML files")
    args = parser.parse_args(arguments)

    files = sorted(f for f in args.results.glob("*.xml") if f != args.xml)
    states, mistakes = read_table(args.table)
    more, understated = compare(states, read_results(files))
    mistakes += more
    if args.promote:
        promote(args.table, set(understated))
        print(f"promoted: {' '.join(understated) or 'nothing'}")
    else:
        mistakes += [f"{row}: proved by a passed test, but still marked {states[row]}" for row in understated]
    for mistake in mistakes:
        print(f"conformance: {mistake}")
    tested = sum(state == "tested" for state in states.values())
    print(f"conformance: {tested} of {len(states)} rows tested, {len(mistakes)} mistakes")
    if args.xml:
        write_xml(args.xml, mistakes)
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
