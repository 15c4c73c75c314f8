"""docs/reliability.md: what is promised, what was tried and what came of it.

Scenarios are the docstrings of tests/faults/test_scenarios_*.py: what happens, an empty line, what comes of it. The
numbers are those that `make faults` wrote to docs/reliability.json.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from publishing.failpoints import POINTS

PROJECT = Path(__file__).resolve().parent.parent
NUMBERS = PROJECT / "docs" / "reliability.json"
SCENARIOS = PROJECT / "tests" / "faults"
TITLES: Mapping[str, str] = {
    "runs": "Runs beside each other, and definitions that change",
    "tables": "Others commit to the table",
    "disk": "No room, no right",
    "ledger": "The ledger's database",
    "clock": "The clock",
    "landing": "Landing zones and their servers",
    "senders": "Senders, and what is on its way from them",
}
ENGINES: Mapping[str, str] = {"sail": "embedded", "spark": "Spark"}
KINDS: Mapping[str, str] = {
    "lake run: ": "`lake run` killed at the points",
    "server killed at ": "the Spark server killed under a run",
    "at random": "killed after a random time",
}
HEAD = """# Reliability

Printed by `make docs` from the tests and from what `make faults` wrote to `docs/reliability.json`; do not edit.

## What is promised

- **No record is lost or doubled, whatever crashes and whenever.** Each batch is published by one commit a target, and
  that commit carries the batch's transaction: whoever comes again finds it. Run again, and the lake ends as if nothing
  had happened: tables, quarantine, exports, operations tables, ledger and journal.
- **Two runs at once are as one after the other.** Runs of one pipeline wait for each other on a machine; of two stale
  commits the second is refused, looks again and computes anew.
- **What others do to a table is seen.** No commit is made against a version that is no longer the newest.
- **The clock decides nothing.** Arrival does: a number in ledger and journal.
- **An error has a name and says what to do.** A batch that fails does not stop the others. It ends `failed` with its
  reason, or, where the trouble passes by itself, stays open; the next run takes it up where it stopped. Only a
  transient error is tried again by Dagster.

What is not promised: protection from a disk that loses what it said was written, or from a person who edits the folders
of raw, journal or tables.

## Errors

| name | meaning | tried again |
| --- | --- | --- |
| `DiskFull` | no room left where the lake is written, or a quota or limit of the process | yes |
| `NotWritable` | no right on a folder or file of the lake, or it is mounted read-only | no |
| `LedgerLocked` | another connection holds the ledger for longer than a run waits (30 s) | yes |
| `LedgerUnreachable` | the ledger's database does not answer | yes |
| `LedgerGone` | the ledger was removed, replaced by an older copy, or is damaged: `lake ledger rebuild` | no |
| `CommitConflict` | others committed to the table twelve times in a row while a commit was computed | yes |
| `ZoneUnreachable`, `TooSlow` | a landing zone's server does not answer, or gives fewer than 4 KiB a second | yes |
| `ZoneRefused` | it answers and does not let us in: key, host key, folder, bucket, right | no |
| `EngineUnavailable` | the engine cannot be started, or stopped answering in the middle of a run | yes |
"""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens and what comes of it; `group` is the end of the file's name, `test` the test that shows it."""

    group: str
    test: str
    happens: str
    comes: str


def scenarios() -> Iterator[Scenario]:
    """Every test of the scenarios, in order; ValueError where one does not say both."""
    for group in TITLES:
        path = SCENARIOS / f"test_scenarios_{group}.py"
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
                continue
            happens, _, comes = (ast.get_docstring(node) or "").partition("\n\n")
            if not happens or not comes:
                raise ValueError(f"{path.name}: {node.name} must say what happens, and after an empty line what comes")
            yield Scenario(group, node.name, " ".join(happens.split()), " ".join(comes.split()))


def reliability_page() -> str:
    """The page as text."""
    lines = [HEAD.rstrip(), "", "## What was tried", ""]
    lines += ["Each is a test with real processes, files and databases; `make test` runs them."]
    found = list(scenarios())
    for group, title in TITLES.items():
        lines += ["", f"### {title}", "", "| what happens | what comes of it |", "| --- | --- |"]
        lines += [f"| {_cell(s.happens)} | {_cell(s.comes)} |" for s in found if s.group == group]
    numbers = json.loads(NUMBERS.read_text(encoding="utf-8"))
    total = sum(line["same"] + line["different"] for line in numbers)
    wrong = sum(line["different"] for line in numbers)
    lines += [
        "",
        "## Killed and run again",
        "",
        f"`make faults` kills processes with SIGKILL and runs again: {total} times when these numbers were written, "
        f"{wrong} with a difference. After each, tables, quarantine, exports, operations tables, ledger and journal "
        "are compared, record by record, with those of a run that nobody disturbed.",
        "",
        "| killed at | what had just happened | embedded: same | Spark: same | different |",
        "| --- | --- | --- | --- | --- |",
    ]
    for point, meaning in POINTS.items():
        lines.append(_row(f"`{point}`", meaning, [line for line in numbers if line["at"] == point]))
    for prefix, meaning in KINDS.items():
        lines.append(_row(meaning, "", [line for line in numbers if line["at"].startswith(prefix)]))
    return "\n".join(lines) + "\n"


def _row(name: str, meaning: str, lines: Sequence[Mapping[str, object]]) -> str:
    same = [sum(int(str(x["same"])) for x in lines if x["engine"] == engine) for engine in ENGINES]
    wrong = sum(int(str(x["different"])) for x in lines)
    return f"| {name} | {meaning} | {' | '.join(str(number or '') for number in same)} | {wrong} |"


def _cell(text: str) -> str:
    text = text[0].upper() + text[1:]
    return text.replace("|", "\\|").replace("<", "&lt;")
