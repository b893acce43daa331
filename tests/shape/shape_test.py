#!/usr/bin/env python3
"""Checks of the code itself: who may include whom, headers that stand alone, lists that are complete, sizes.

Usage: shape_test.py [COMPILER]
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

root = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(root / "tests" / "support")]
import junit  # noqa: E402

compiler = sys.argv[1] if len(sys.argv) > 1 else "g++"

# A layer may include itself and these.
MAY_INCLUDE = {
    "tcp": (),
    "apps/http": (),
    "config": ("tcp",),
    "engine": ("tcp", "config/settings.hpp", "config/secret_file.hpp", "config/changes.hpp"),
    "apps/ctl": ("tcp",),  # the tool knows an engine by its socket alone
    "apps": ("tcp", "apps", "config", "engine"),
}
# What a layer without libraries of others may not name either.
FOREIGN = re.compile(r"#include <(rte_|toml|CLI|nlohmann|sys/|netinet/|arpa/|unistd|linux/|sodium|openssl)")
EXCEPTIONS = {
    pathlib.Path("config/load.cpp"),  # reads TOML
    pathlib.Path("tcp/memory_block.hpp"),  # asks for huge pages behind the big tables, at start
}
CODE = ("tcp", "engine", "apps", "config", "bench", "tests")
INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)


def code(*suffixes):
    """All files of ours with these suffixes, relative to the root."""
    for folder in CODE:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in suffixes and "__pycache__" not in path.parts:
                yield path.relative_to(root)


def text(path):
    return (root / path).read_text(encoding="utf-8")


def layer(path):
    """The most specific layer that the file belongs to; none for tests and benches."""
    return next((name for name in ("apps/http", *MAY_INCLUDE) if path.is_relative_to(name)), None)


class Shape(junit.Case):
    def test_every_layer_includes_only_what_it_may(self):
        wrong = []
        for path in code(".hpp", ".cpp"):
            name = layer(path)
            if name is None:
                continue
            for included in INCLUDE.findall(text(path)):
                if not any(pathlib.Path(included).is_relative_to(allowed) for allowed in (name, *MAY_INCLUDE[name])):
                    wrong.append(f"{path}: {included}")
        self.assertEqual(wrong, [])

    def test_includes_start_at_the_root_and_exist(self):
        wrong = [f"{path}: {included}" for path in code(".hpp", ".cpp") for included in INCLUDE.findall(text(path))
                 if not (root / included).is_file()]
        self.assertEqual(wrong, [])

    def test_protocol_and_http_use_the_standard_library_only(self):
        wrong = [str(path) for path in code(".hpp", ".cpp")
                 if layer(path) in ("tcp", "apps/http", "config") and path not in EXCEPTIONS
                 and FOREIGN.search(text(path))]
        self.assertEqual(wrong, [])

    def test_protocol_neither_asks_for_the_time_nor_for_randomness(self):
        asks = re.compile(r"_clock::now|\btime\(|gettimeofday|clock_gettime|rdtsc|random_device|\brand\(|getrandom")
        wrong = [str(path) for path in code(".hpp", ".cpp")
                 if layer(path) in ("tcp", "apps/http") and asks.search(text(path))]
        self.assertEqual(wrong, [])

    def test_headers_stand_alone(self):
        headers = [path for path in code(".hpp") if layer(path) in ("tcp", "apps/http", "config")]
        self.assertGreater(len(headers), 20)

        def compiles(path):
            with tempfile.NamedTemporaryFile("w", suffix=".cpp") as source:
                source.write(f'#include "{path}"\n#include "{path}"\n')
                source.flush()
                done = subprocess.run([compiler, "-std=c++20", "-fsyntax-only", f"-I{root}", source.name],
                                      capture_output=True, text=True)
                return None if done.returncode == 0 else f"{path}: {done.stderr[:400]}"

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            self.assertEqual([said for said in pool.map(compiles, headers) if said], [])

    def test_headers_are_guarded(self):
        self.assertEqual([str(path) for path in code(".hpp") if "#pragma once" not in text(path)], [])

    def test_every_source_file_is_built(self):
        wrong = []
        for path in code(".cpp"):
            folders = [folder for folder in path.parents if (root / folder / "meson.build").is_file()]
            short = path.stem.removesuffix("_bench")  # bench/ lists its files by what they measure
            if not any(f"'{name}'" in text(folder / "meson.build")
                       for folder in folders for name in (path.relative_to(folder), short)):
                wrong.append(str(path))
        self.assertEqual(wrong, [])

    def test_no_file_is_too_long(self):
        sizes = {str(path): text(path).count("\n") for path in code(".hpp", ".cpp", ".py")}
        self.assertEqual({path: lines for path, lines in sizes.items() if lines > 650}, {})

    def test_nothing_is_left_to_do_or_skipped(self):
        marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|GTEST_SKIP|TEST(_F|_P)?\(\w+, *DISABLED_")
        here = pathlib.Path(__file__).resolve().relative_to(root)
        wrong = [str(path) for path in code(".hpp", ".cpp", ".py", ".build") if path != here and marks.search(text(path))]
        self.assertEqual(wrong, [])

    def test_big_endian_stays_in_the_wire_folder(self):
        swaps = re.compile(r"\b(htons|htonl|ntohs|ntohl|__builtin_bswap\d+|be\d+toh|htobe\d+)\b")
        wrong = [str(path) for path in code(".hpp", ".cpp")
                 if layer(path) in ("tcp", "apps/http") and not path.is_relative_to("tcp/wire") and swaps.search(text(path))]
        self.assertEqual(wrong, [])


if __name__ == "__main__":
    sys.exit(junit.main("shape"))
