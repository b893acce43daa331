#!/usr/bin/env python3
"""Which lines of its own files each target's corpus reaches, as a table: build with -fprofile-instr-generate
-fcoverage-mapping. The files of a target stand in its line of the table in README.md.

Usage: coverage.py --build BUILD --root ROOT [--lines] TARGET...
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile


def files_of(root, target):
    """The second column of the target's line: paths from the root, in backquotes."""
    for line in (root / "tests/fuzz/README.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 3 and cells[1] == f"`{target}`":
            return re.findall(r"`([^`]+)`", cells[2])
    raise SystemExit(f"tests/fuzz/README.md has no line for the target {target}")


def profile_of(program, corpus, folder):
    """Gives the corpus to the program once; returns the merged profile."""
    raw, merged = folder / "raw", folder / "merged"
    subprocess.run([program, "-runs=0", corpus], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   env={**os.environ, "LLVM_PROFILE_FILE": str(raw)})
    subprocess.run(["llvm-profdata", "merge", "-sparse", raw, "-o", merged], check=True)
    return merged


def coverage(program, profile, paths):
    """{path: {line: how often}}."""
    found = subprocess.run(["llvm-cov", "export", "-format=lcov", program, f"-instr-profile={profile}", *paths],
                           check=True, capture_output=True, text=True)
    files, lines = {}, {}
    for record in found.stdout.splitlines():
        if record.startswith("SF:"):
            lines = files.setdefault(record[3:], {})
        elif record.startswith("DA:"):
            number, count = record[3:].split(",")[:2]
            lines[int(number)] = int(count)
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--root", type=pathlib.Path, required=True)
    parser.add_argument("--lines", action="store_true", help="name the lines that are not reached")
    parser.add_argument("targets", nargs="+")
    args = parser.parse_args()

    root = args.root.resolve()
    for target in args.targets:
        program = args.build / "tests/fuzz" / f"pollux-fuzz-{target.replace('_', '-')}"
        paths = [root / file for file in files_of(root, target)]
        with tempfile.TemporaryDirectory() as folder:
            profile = profile_of(program, root / "tests/fuzz/corpus" / target, pathlib.Path(folder))
            found = coverage(program, profile, [str(path) for path in paths])
        # The build reaches sources through links of its own, one per layer.
        resolved = {pathlib.Path(os.path.realpath(path)): lines for path, lines in found.items()}
        reached = total = 0
        for path in paths:
            lines = resolved.get(path, {})
            hit = sum(1 for count in lines.values() if count)
            reached, total = reached + hit, total + len(lines)
            share = f"{100 * hit / len(lines):5.1f} %" if lines else "no code"
            print(f"{target:16} {str(path.relative_to(root)):34} {hit:5} of {len(lines):5} lines {share}")
            if args.lines and hit < len(lines):
                print("    not reached: " + " ".join(str(n) for n in sorted(lines) if not lines[n]))
        print(f"{target:16} {'all':34} {reached:5} of {total:5} lines {100 * reached / max(total, 1):5.1f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
