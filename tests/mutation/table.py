"""The table of planted bugs: mutants/*.toml, one section each.

    [time-wait-cut-short]
    rule = "RFC 9293 section 3.6.1: TIME-WAIT lasts 2 MSL"     what the bug breaks
    mistake = "it lasts one"                                   what its author thought
    chosen = "code"                                            "RFC": by a reader who had not seen the code
    file = "tcp/time_wait.cpp"
    old = "..."                                                must stand in the file exactly once
    new = "..."
    caught_by = "TimeWait.LastsTwiceTheMaximumSegmentLifetime" a case of the conversation program
"""

import dataclasses
import pathlib
import tomllib

folder = pathlib.Path(__file__).resolve().parent / "mutants"
root = folder.parents[2]


class Mistake(Exception):
    """One sentence about what must be mended: the table, or a mutant whose code has moved."""


@dataclasses.dataclass(frozen=True)
class Mutant:
    name: str
    rule: str
    mistake: str
    chosen: str
    file: str
    old: str
    new: str
    caught_by: str

    def planted(self, source):
        """The text of the file with the bug in it."""
        found = source.count(self.old)
        if found != 1:
            raise Mistake(f"{self.name}: its old text stands {found} times in {self.file}, expected once: adapt it")
        return source.replace(self.old, self.new)


def read(files=None):
    """All mutants, in the order of their files and sections."""
    keys = {field.name for field in dataclasses.fields(Mutant)} - {"name"}
    mutants = {}
    for file in sorted(folder.glob("*.toml")) if files is None else files:
        try:
            sections = tomllib.loads(file.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise Mistake(f"{file.name}: {error}") from None
        for name, section in sections.items():
            if not isinstance(section, dict) or set(section) != keys:
                raise Mistake(f"{file.name}: {name}: expected a section with exactly {', '.join(sorted(keys))}")
            if section["chosen"] not in ("RFC", "code"):
                raise Mistake(f'{file.name}: {name}: chosen is "{section["chosen"]}", expected "RFC" or "code"')
            if name in mutants:
                raise Mistake(f"{file.name}: {name}: there is another mutant of this name")
            mutants[name] = Mutant(name, **section)
    return list(mutants.values())


def reading_order(mutants):
    """The reader's own first."""
    return sorted(mutants, key=lambda mutant: mutant.chosen != "RFC")


def row(mutant):
    """As README.md shows it."""
    return f"| `{mutant.name}` | {mutant.rule} | {mutant.mistake} | `{mutant.caught_by}` |"
