"""Python tests that report like the C++ ones: each case with its outcome and the conformance rows it proves, as XML.

    class Thing(junit.Case):
        @junit.row("HTTP-25")
        def test_promise(self): ...
"""

import os
import pathlib
import sys
import threading
import time
import traceback
import unittest
from xml.sax.saxutils import escape, quoteattr


class Case(unittest.TestCase):
    """A test whose subTests count for the whole: one failed part fails it."""


def row(*ids):
    """The decorated test proves these rows of tests/conformance.tsv."""

    def mark(test):
        test.rows = ids
        return test

    return mark


def partly(*ids):
    """The decorated test is about these rows, but does not prove the whole of them."""

    def mark(test):
        test.about = ids
        return test

    return mark


class Result(unittest.TestResult):
    """Collects cases; safe to share between threads that run different suites."""

    lock = threading.Lock()

    def __init__(self):
        super().__init__()
        self.cases = []

    def startTest(self, test):
        super().startTest(test)
        test.started = time.monotonic()

    def _note(self, test, problem):
        seconds = time.monotonic() - getattr(test, "started", time.monotonic())
        name = getattr(test, "_testMethodName", str(test))
        rows = getattr(getattr(test, name, None), "rows", ())
        with self.lock:
            self.cases.append((type(test).__name__, name, seconds, " ".join(rows), problem))
            print(f"  {'FAILED' if problem else 'ok':6} {seconds:6.1f} s  {type(test).__name__}.{name}", flush=True)
            if problem:
                print(problem, flush=True)

    def addSuccess(self, test):
        self._note(test, None)

    def addError(self, test, err):
        self._note(test, "".join(traceback.format_exception(*err)))

    addFailure = addError

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self._note(test, f"{subtest._subDescription()}\n" + "".join(traceback.format_exception(*err)))

    def addSkip(self, test, reason):
        self._note(test, f"skipped: {reason}")  # nothing is skipped in silence

    def failed(self):
        return any(problem for *_, problem in self.cases)


def write(file, suite, cases):
    lines = [f"<testsuite name={quoteattr(suite)} tests=\"{len(cases)}\">"]
    for classname, name, seconds, rows, problem in cases:
        lines.append(f"<testcase classname={quoteattr(classname)} name={quoteattr(name)} time=\"{seconds:.3f}\">")
        if rows:
            lines.append(f"<properties><property name=\"row\" value={quoteattr(rows)}/></properties>")
        if problem:
            lines.append(f"<failure>{escape(problem)}</failure>")
        lines.append("</testcase>")
    lines.append("</testsuite>")
    pathlib.Path(file).write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(name, module="__main__"):
    """Runs the tests of `module` and leaves NAME.xml where GTEST_OUTPUT=xml:FOLDER/ says."""
    result = Result()
    unittest.defaultTestLoader.loadTestsFromModule(sys.modules[module]).run(result)
    output = os.environ.get("GTEST_OUTPUT", "")
    if output.startswith("xml:") and output.endswith("/"):
        write(pathlib.Path(output[4:]) / f"{name}.xml", name, result.cases)
    print(f"{len(result.cases)} cases, {sum(bool(c[4]) for c in result.cases)} failed")
    return 1 if result.failed() or not result.cases else 0
