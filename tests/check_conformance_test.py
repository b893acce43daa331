#!/usr/bin/env python3
"""The checks of the run itself: a table or a run that is not what it says must be found out."""

import contextlib
import io
import pathlib
import sys
import tempfile
import unittest

here = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(here), str(here / "support")]
import check_conformance  # noqa: E402
import junit  # noqa: E402
import summary  # noqa: E402

HEADING = "id\tkind\tbehaviour\tstate\n"


class Conformance(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.table = self.folder / "table.tsv"

    def check(self, table, cases, *options):
        """Exit status and output for a table and a run of (case, rows, inner XML, attributes)."""
        self.table.write_text(HEADING + table)
        body = "".join(
            f'<testcase classname="T" name="{name}" {attributes}><properties><property name="row" value="{rows}"/>'
            f"</properties>{inner}</testcase>"
            for name, rows, inner, attributes in cases
        )
        (self.folder / "run.xml").write_text(f"<testsuites><testsuite>{body}</testsuite></testsuites>")
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            status = check_conformance.main([*options, str(self.table), str(self.folder)])
        return status, said.getvalue()

    def test_tested_row_with_a_passed_case_is_fine(self):
        self.assertEqual(self.check("A1\ttcp\tx\ttested\n", [("a", "A1", "", "")])[0], 0)

    def test_several_rows_of_one_case_count(self):
        table = "A1\ttcp\tx\ttested\nA2\ttcp\tx\ttested\n"
        self.assertEqual(self.check(table, [("a", "A1 A2", "", "")])[0], 0)

    def test_tested_row_without_a_case_is_found(self):
        status, said = self.check("A1\ttcp\tx\ttested\n", [])
        self.assertEqual(status, 1)
        self.assertIn("A1: marked tested, but no executed test records it", said)

    def test_failed_case_does_not_prove_even_beside_a_passed_one(self):
        cases = [("a", "A1", "", ""), ("b", "A1", "<failure/>", "")]
        status, said = self.check("A1\ttcp\tx\ttested\n", cases)
        self.assertEqual(status, 1)
        self.assertIn("A1: T.b failed", said)

    def test_skipped_or_disabled_case_does_not_prove(self):
        for inner, attributes in (("<skipped/>", ""), ("", 'status="notrun"')):
            status, said = self.check("A1\ttcp\tx\ttested\n", [("a", "A1", inner, attributes)])
            self.assertEqual(status, 1)
            self.assertIn("no executed test", said)

    def test_unknown_id_is_found(self):
        status, said = self.check("A1\ttcp\tx\tlater: y\n", [("a", "Z9", "", "")])
        self.assertEqual(status, 1)
        self.assertIn("Z9: recorded by T.a, but not in the table", said)

    def test_row_marked_later_but_proved_is_found_and_can_be_promoted(self):
        status, said = self.check("A1\ttcp\tx\tlater: y\n", [("a", "A1", "", "")])
        self.assertEqual(status, 1)
        self.assertIn("A1: proved by a passed test, but still marked later: y", said)
        status, _ = self.check("A1\ttcp\tx\tlater: y\n", [("a", "A1", "", "")], "--promote")
        self.assertEqual(status, 0)
        self.assertEqual(self.table.read_text(), HEADING + "A1\ttcp\tx\ttested\n")

    def test_malformed_tables_are_found(self):
        for bad in ("A1\ttcp\tx\n", "A1\ttcp\tx\tsoon\n", "A1\tudp\tx\ttested\n", "A1\ttcp\tx\tlater: \n"):
            self.assertEqual(self.check(bad, [("a", "A1", "", "")])[0], 1, bad)
        twice = "A1\ttcp\tx\ttested\n" * 2
        self.assertEqual(self.check(twice, [("a", "A1", "", "")])[0], 1)

    def test_table_of_the_project_is_well_formed(self):
        states, mistakes = check_conformance.read_table(here / "conformance.tsv")
        self.assertEqual(mistakes, [])
        for count, prefix in ((69, "MUST-"), (31, "SHLD-"), (18, "MAY-"), (23, "ATK-"), (29, "HTTP-")):
            self.assertEqual(sum(row.startswith(prefix) for row in states), count, prefix)


class Summary(unittest.TestCase):
    def count(self, files, *options):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                (pathlib.Path(folder) / f"{name}.xml").write_text(text)
            said = io.StringIO()
            argv, sys.argv = sys.argv, ["summary.py", *options, folder]
            try:
                with contextlib.redirect_stdout(said):
                    status = summary.main()
            finally:
                sys.argv = argv
        return status, said.getvalue().splitlines()[-1]

    def test_cases_of_all_files_are_counted(self):
        two = "<testsuite><testcase name='a'/><testcase name='b'/></testsuite>"
        self.assertEqual(self.count({"x": two, "y": two}), (0, "4 passed, 0 failed"))

    def test_failure_error_and_skip_all_count_as_failed(self):
        for inner in ("<failure/>", "<error/>", "<skipped/>"):
            text = f"<testsuite><testcase name='a'/><testcase name='b'>{inner}</testcase></testsuite>"
            self.assertEqual(self.count({"x": text}), (1, "1 passed, 1 failed"))

    def test_program_that_left_nothing_or_rubbish_is_a_failure(self):
        one = "<testsuite><testcase name='a'/></testsuite>"
        self.assertEqual(self.count({"x": one}, "--expect", "y"), (1, "1 passed, 1 failed"))
        self.assertEqual(self.count({"x": one, "y": "<testsuite>"}), (1, "1 passed, 1 failed"))

    def test_nothing_at_all_is_no_success(self):
        self.assertEqual(self.count({}), (1, "0 passed, 0 failed"))


if __name__ == "__main__":
    sys.exit(junit.main("check_conformance"))
