#!/usr/bin/env python3
"""Plants the bugs of mutants/*.toml, one at a time, and asks whether the conversations notice.

A bug is caught when the case that the table names fails, by its own assertions: the build has those of the stack
switched off (NDEBUG), and a program that dies by a signal, does not end or does not compile has caught nothing. All
happens in a temporary copy of the source tree. Exit status: 0 all caught, 1 some missed, 2 nothing could be said.
"""

import argparse
import concurrent.futures
import filecmp
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

here = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(here), str(here.parent)]
import summary  # noqa: E402
import table  # noqa: E402

JOBS = max(2, min(os.cpu_count() or 2, 8))
BUILD_SECONDS, CASE_SECONDS, SUITE_SECONDS = 3600, 60, 120


class Died(Exception):
    """How a program ended that did not come to its end: no case of its has failed by its own assertions."""


class Endless(Died):
    """By being ended."""


class Tree:
    """A copy of the source tree with a build of its own."""

    def __init__(self, folder):
        self.source, self.build = folder / "source", folder / "build"

        def not_source(path, names):
            built = "build" if path == str(table.root) else "__pycache__"
            return [name for name in names if name.startswith((".", built))]

        def copy_if_changed(source, target):
            if not os.path.exists(target) or not filecmp.cmp(source, target, shallow=False):
                shutil.copyfile(source, target)
                shutil.copymode(source, target)

        shutil.copytree(table.root, self.source, ignore=not_source, copy_function=copy_if_changed, dirs_exist_ok=True)
        if (self.build / "build.ninja").exists():
            return
        self._runs(["meson", "setup", self.build, self.source, "--buildtype=plain", "-Doptimization=0",
                    "-Ddebug=false", "-Db_ndebug=true", "-Ddpdk=disabled", "-Dbench=false"])

    def builds(self, target):
        self._runs(["ninja", "-C", self.build, f"-j{JOBS}", target])

    @staticmethod
    def _runs(command):
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  timeout=BUILD_SECONDS)
        except subprocess.TimeoutExpired:
            raise Died(f"{command[0]} took more than {BUILD_SECONDS} s") from None
        if done.returncode != 0:
            lines = done.stdout.splitlines() or [""]
            error = next((line for line in lines if "error:" in line or "ERROR:" in line), lines[-1])
            raise Died(f"{command[0]} failed: {error}")


class Conversations:
    """The conversation program as a catcher: its cases are the names in the table."""

    target = "tests/conversation/conversation"

    def __init__(self, tree, folder):
        self.program, self.folder = tree.build / self.target, folder
        self.environment = {key: value for key, value in os.environ.items()
                            if not key.startswith(("GTEST_", "POLLUX_"))} | {"POLLUX_TEST_ARTIFACTS": str(folder)}

    def runs(self, names, seconds=CASE_SECONDS):
        """Runs the cases that match a filter of GoogleTest's: (all of them, those that failed)."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            xml = pathlib.Path(folder) / "results.xml"
            command = [self.program, f"--gtest_filter={names}", f"--gtest_output=xml:{xml}"]
            try:
                done = subprocess.run(command, env=self.environment, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL, timeout=seconds)
            except subprocess.TimeoutExpired:
                raise Endless(f"{names} did not end within {seconds} s") from None
            if done.returncode not in (0, 1) or not xml.is_file():
                raise Died(f"{names} died with exit status {done.returncode} (below 0: by that signal)")
            cases = [(name, outcome) for name, outcome in summary.cases(xml) if outcome != "skipped"]
        return [name for name, _ in cases], [name for name, outcome in cases if outcome == "failed"]

    def runs_all(self):
        """Every suite in a process of its own, so that one that dies hides no other: (failed cases, deaths). After one
        that does not end no further one is begun."""
        listed = subprocess.run([self.program, "--gtest_list_tests"], env=self.environment, stdout=subprocess.PIPE)
        suites = re.findall(r"^(\S+)\.", listed.stdout.decode(), re.MULTILINE)
        failed, deaths = [], []

        def run(suite):
            if any(isinstance(death, Endless) for death in deaths):
                return
            try:
                failed.extend(self.runs(f"{suite}.*", SUITE_SECONDS)[1])
            except Died as death:
                deaths.append(death)

        with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
            list(pool.map(run, suites))
        return sorted(failed), list(map(str, deaths))


def judge(mutant, tree, catcher, ask_all):
    """Plants one bug and takes it out again: (whether the case of the table caught it, a sentence)."""
    file = tree.source / mutant.file
    original = file.read_text(encoding="utf-8")
    file.write_text(mutant.planted(original), encoding="utf-8")
    try:
        tree.builds(catcher.target)
        try:
            ran, failed = catcher.runs(mutant.caught_by)
            how = "it passes" if ran else "there is no such case"
        except Died as death:
            failed, how = [], str(death)
        if failed and not ask_all:
            return True, f"by {', '.join(failed)}"
        everywhere, deaths = catcher.runs_all()
        others = [name for name in everywhere if name not in failed]
        if failed:
            return True, "; ".join([f"by {', '.join(failed + others)}", *deaths])
        rest = f"caught by {', '.join(others)}: change the table" if others else "nothing else catches it"
        return False, "; ".join([f"not by {mutant.caught_by} ({how})", rest, *deaths])
    except Died as death:
        return False, str(death)
    finally:
        file.write_text(original, encoding="utf-8")


def run(mutants, ask_all, folder):
    for mutant in mutants:  # before anything is built
        mutant.planted((table.root / mutant.file).read_text(encoding="utf-8"))
    print(f"building {Conversations.target} without a planted bug", flush=True)
    tree = Tree(folder)
    catcher = Conversations(tree, folder)
    tree.builds(catcher.target)
    failed, deaths = catcher.runs_all()
    if failed or deaths:
        raise table.Mistake("without a planted bug every case must pass, found: " + ", ".join(failed + deaths))
    missed = 0
    for mutant in sorted(mutants, key=lambda m: (m.file.endswith(".hpp"), m.file)):  # few files are compiled twice
        started = time.monotonic()
        caught, sentence = judge(mutant, tree, catcher, ask_all)
        missed += not caught
        verdict, seconds = "caught" if caught else "MISSED", time.monotonic() - started
        print(f"{verdict} {mutant.name:40} {seconds:4.0f} s  {sentence}", flush=True)
    print(f"{len(mutants) - missed} caught, {missed} missed")
    return 1 if missed else 0


def main():
    parser = argparse.ArgumentParser(prog="run.sh", description=__doc__)
    parser.add_argument("--list", action="store_true", help="only show the mutants, as rows of README.md")
    parser.add_argument("--all", action="store_true", help="name every case that catches, not only the table's")
    parser.add_argument("--tree", type=pathlib.Path, help="keep copy and build in this folder, for the next run")
    parser.add_argument("names", nargs="*", help="only mutants whose whole name matches one of these expressions")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # what is temporary goes with us
    try:
        mutants = [m for m in table.read() if not args.names or any(re.fullmatch(n, m.name) for n in args.names)]
        if not mutants:
            raise table.Mistake(f"no mutant matches {' '.join(args.names)}")
        if args.list:
            print("\n".join(map(table.row, table.reading_order(mutants))))
            return 0
        if args.tree:
            args.tree.mkdir(parents=True, exist_ok=True)
            return run(mutants, args.all, args.tree.resolve())
        with tempfile.TemporaryDirectory(prefix="pollux-mutation-") as folder:
            return run(mutants, args.all, pathlib.Path(folder))
    except re.error as error:
        print(f'run.sh: "{error.pattern}" is no regular expression: {error}', file=sys.stderr)
        return 2
    except (table.Mistake, Died) as mistake:
        print(f"run.sh: {mistake}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
