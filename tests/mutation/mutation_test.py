#!/usr/bin/env python3
"""The table of planted bugs fits the code, and the runner does not call caught what is not. Nothing is built here."""

import pathlib
import re
import sys
import tempfile
import types
import unittest

here = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(here), str(here.parent), str(here.parent / "support")]
import junit  # noqa: E402
import run  # noqa: E402
import table  # noqa: E402


class Table(unittest.TestCase):
    def setUp(self):
        self.mutants = table.read()

    def test_is_as_large_as_promised(self):
        self.assertGreaterEqual(len(self.mutants), 20)
        self.assertGreaterEqual(sum(mutant.chosen == "RFC" for mutant in self.mutants), 8)

    def test_every_old_text_stands_once_in_its_file(self):
        for mutant in self.mutants:
            with self.subTest(mutant.name):
                source = (table.root / mutant.file).read_text(encoding="utf-8")
                self.assertNotEqual(mutant.planted(source), source)

    def test_every_catcher_is_a_case_of_the_conversations(self):
        cases = set()
        for file in (here.parent / "conversation").glob("*_test.cpp"):
            found = re.findall(r"^TEST(?:_F|_P)?\((\w+), (\w+)\)", file.read_text(), re.MULTILINE)
            cases |= {".".join(case) for case in found}
        for mutant in self.mutants:
            self.assertTrue(mutant.caught_by in cases, f"{mutant.name}: there is no case {mutant.caught_by}")

    def test_readme_shows_every_mutant_with_its_catcher(self):
        shown = [line for line in (here / "README.md").read_text().splitlines() if line.startswith("| `")]
        self.assertEqual(shown, [table.row(mutant) for mutant in table.reading_order(self.mutants)],
                         "put in what run.sh --list prints")

    def test_moved_code_gives_a_sentence(self):
        for source in ("", "a < b; a < b;"):
            sentence = f"m: its old text stands {source.count('a < b')} times in f.cpp"
            with self.assertRaisesRegex(table.Mistake, sentence):
                mutant("Suite.Case").planted(source)

    def test_wrong_sections_give_a_sentence(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "x.toml"
            for text, sentence in (("[m]\nrule = 'x'", "x.toml: m: expected a section with exactly"),
                                   ("[m", "x.toml: "), ("m = 1", "x.toml: m: expected")):
                file.write_text(text)
                with self.assertRaisesRegex(table.Mistake, sentence):
                    table.read([file])


def mutant(caught_by):
    return table.Mutant("m", "rule", "mistake", "code", "f.cpp", "a < b", "a <= b", caught_by)


PROGRAM = """#!/bin/sh
for a; do
    case $a in
        --gtest_list_tests) printf 'Suite.\\n  Case\\nOther.\\n  Case\\n'; exit 0 ;;
        *xml:*) xml=${a#*xml:} ;;
        *filter=*) filter=${a#*=} ;;
    esac
done
leaves() { echo "<testsuite><testcase classname='$1' name='Case'>$2</testcase></testsuite>" >$xml; }
"""


class Judge(unittest.TestCase):
    """With a build and a program that only seem to be there."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.file = self.folder / "f.cpp"
        self.file.write_text("a < b")
        self.seen = []
        self.tree = types.SimpleNamespace(source=self.folder, build=self.folder,
                                          builds=lambda target: self.seen.append(self.file.read_text()))

    def judge(self, script, ask_all=False):
        """The verdict when the conversation program is this shell script; $xml and $filter are what it was asked."""
        program = self.folder / run.Conversations.target
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"{PROGRAM}{script}\n")
        program.chmod(0o755)
        verdict = run.judge(mutant("Suite.Case"), self.tree, run.Conversations(self.tree, self.folder), ask_all)
        self.assertEqual(self.file.read_text(), "a < b", "the bug is taken out again")
        return verdict

    def test_case_that_fails_has_caught_the_planted_bug(self):
        self.assertEqual(self.judge("leaves Suite '<failure/>'; exit 1"), (True, "by Suite.Case"))
        self.assertEqual(self.seen, ["a <= b"])

    def test_all_catchers_are_named_when_asked(self):
        self.assertEqual(self.judge("leaves ${filter%%.*} '<failure/>'; exit 1", ask_all=True),
                         (True, "by Suite.Case, Other.Case"))

    def test_case_that_passes_has_not(self):
        self.assertEqual(self.judge("leaves Suite"), (False, "not by Suite.Case (it passes); nothing else catches it"))

    def test_another_case_than_the_tables_is_named_and_not_enough(self):
        caught, sentence = self.judge("case $filter in Other*) leaves Other '<failure/>' ;; *) leaves Suite ;; esac")
        self.assertFalse(caught)
        self.assertIn("caught by Other.Case: change the table", sentence)

    def test_crash_has_not(self):
        caught, sentence = self.judge("leaves Suite '<failure/>'; kill -SEGV $$")
        self.assertFalse(caught)
        self.assertIn("Suite.Case died with exit status -11", sentence)

    def test_program_that_leaves_no_results_has_not(self):
        self.assertFalse(self.judge("exit 1")[0])

    def test_bug_that_does_not_compile_has_not_been_caught(self):
        def breaks(target):
            raise run.Died("ninja failed: f.cpp:1: error: static assertion failed")

        self.tree.builds = breaks
        self.assertEqual(self.judge("exit 0"), (False, "ninja failed: f.cpp:1: error: static assertion failed"))


if __name__ == "__main__":
    sys.exit(junit.main("mutation"))
