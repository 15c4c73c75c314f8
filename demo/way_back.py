"""What the demo shows after the load: a load that is killed in the middle, and a batch that finds its way back.

Both are done as a person would, by the command line, in a lake beside the first: `killed` below its root. What is
compared is read from the tables with `deltalake`.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import plain_contract
import tables
from rich.console import Console

HERE = Path(__file__).resolve().parent
LAKE = [sys.executable, "-c", "from command_line.main import run; run()"]
KILLED = (
    "import sys; from publishing import failpoints; failpoints.arm('quarantine.committed');"
    "sys.argv = ['lake', 'run', 'mortgage/lar']; from command_line.main import run; run()"
)
VIOLATIONS, CLEAN = "lar_2020_bank1_1000_violations.txt", "lar_2020_bank1_1000.txt"
HELD, REFUSED = 3, 2
MOMENTS = ("_ingested_at", "ingest_date", "quarantined_at", "run_id", "raw", "_arrival", "arrival")


class StepFailed(Exception):
    """A command of the demo ended otherwise than it must."""


def lake(root: Path, *arguments: str, expect: int = 0, **more: str) -> dict[str, Any]:
    """What a command says as JSON; {} where it must be refused, which it says on standard error."""
    done = _ran(root, [*LAKE, *arguments, "--json"], **more)
    if done.returncode != expect:
        said = f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
        raise StepFailed(f"lake {' '.join(arguments)} ended with {done.returncode}, not {expect}: {said}")
    found: dict[str, Any] = json.loads(done.stdout) if expect != REFUSED else {}
    return found


def _ran(root: Path, command: Sequence[str], **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DATALAKE_DATA": str(root), **more}
    return subprocess.run(  # noqa: S603 - the words are the demo's own, no shell
        command, env=environment, capture_output=True, text=True, check=False, cwd=HERE.parent
    )


def shown(console: Console, root: Path) -> bool:
    """Both acts with their comparisons; True where nothing differs."""
    other = root / "killed"
    found: list[tables.Line] = []
    acts = {"a load that is killed": killed_and_run_again(root, other), "the way back": there_and_back(other)}
    for title, act in acts.items():
        console.rule(title, align="left")
        for line in act:
            console.print(str(line), markup=False, highlight=False, soft_wrap=True, style=None if line.ok else "red")
            found.append(line)
    return all(line.ok for line in found)


def killed_and_run_again(root: Path, other: Path) -> Iterator[tables.Line]:
    """The same registers into another lake; the load is killed between quarantine and target, and run again."""
    shutil.rmtree(other, ignore_errors=True)
    # The same key seals both quarantines: its id stands beside each record.
    shutil.copytree(root / "keys", other / "keys")
    shutil.copytree(root / "landing", other / "landing")
    died = _ran(other, [sys.executable, "-c", KILLED]).returncode == -signal.SIGKILL
    staged = tables.rows(other / "applications" / "mortgage" / "staging" / "lar", ["_record_id"])
    rejected = _content(other / "applications" / "mortgage" / "exceptions" / "lar").total()
    what = f"crash: killed with {rejected} rejects of a batch committed and {len(staged)} rows of it in the table"
    yield tables.Line(died and rejected > 0 and not staged, what)
    again = lake(other, "run", "mortgage/lar", expect=HELD)
    (other / "run.json").write_text(json.dumps(again, indent=1) + "\n", encoding="utf-8")
    for name, path in (("the table", "staging/lar"), ("the quarantine", "exceptions/lar")):
        one, two = (_content(each / "applications" / "mortgage" / path) for each in (root, other))
        differing = ((one - two) + (two - one)).total()
        what = f"crash: run again, {name} equals that of the load nobody killed, {one.total():,} rows"
        yield tables.Line(not differing, what if not differing else f"{what}: {differing} rows differ")


def _content(table: Path) -> Counter[str]:
    from deltalake import DeltaTable

    if not (table / "_delta_log").is_dir():
        return Counter()
    columns = [field.name for field in DeltaTable(str(table)).schema().fields if field.name not in MOMENTS]
    return Counter(json.dumps(row, default=str, sort_keys=True) for row in tables.rows(table, columns))


def there_and_back(root: Path) -> Iterator[tables.Line]:
    """The register with forty violations: its records corrected from the lender's answer, approved, replayed."""
    quarantine = root / "applications" / "mortgage" / "exceptions" / "lar"
    before = _of_the_register(quarantine)
    batch = before[0]["batch_id"]
    answer = root / "answer.csv"
    cells = _answer(root.parent, answer, before)
    said = ("--reason", "the lender's answer")
    tried = lake(root, "quarantine", "correct", batch, "--csv", str(answer), *said, "--dry-run")
    what = f"way back: {cells} cells of {len(before)} records corrected by file, a dry run says that all would pass"
    yield _same(what, tried["trial"]["would_pass"], len(before))
    lake(root, "quarantine", "correct", batch, "--csv", str(answer), *said)
    lake(root, "quarantine", "approve", "--batch", batch, *said, expect=REFUSED)
    yield tables.Line(True, "way back: who corrected is refused when he approves")
    lake(root, "quarantine", "approve", "--batch", batch, *said, DATALAKE_TOKEN=_token("maria"))
    replayed = lake(root, "replay", "mortgage/lar")
    (done,) = replayed["pipelines"][0]["batches"]
    loaded = _loaded(root, batch)
    # The pipeline compares records with each other, so the batch is computed again, with the answer in place.
    yield _same("way back: the replay is the batch's next attempt", done["attempt"], loaded["attempt"] + 1)
    gained = done["counts"]["accepted"] - loaded["counts"]["accepted"]
    yield _same("way back: it accepts them all beside the others", gained, len(before))
    second = lake(root, "replay", "mortgage/lar")
    yield _same("way back: a second replay finds nothing", second["status"], "nothing_to_do")
    after = _of_the_register(quarantine)
    yield _same("way back: every entry says resolved", Counter(r["state"] for r in after), {"resolved": len(before)})
    rows = tables.rows(root / "applications" / "mortgage" / "staging" / "lar", ["_source_file", "_source_record"])
    numbers = sorted(r["_source_record"] for r in rows if r["_source_file"] == VIOLATIONS)
    yield _same("way back: each record of the register stands in the table once", numbers, list(range(1, 1001)))
    yield _closing(root, batch)
    yield _same("way back: the audit trail is whole", lake(root, "audit", "verify")["findings"], [])
    yield _same("way back: ledger, raw, journal and tables agree", lake(root, "ledger", "verify")["differences"], [])


def _of_the_register(quarantine: Path) -> list[dict[str, Any]]:
    found = tables.rows(quarantine, ["record_id", "batch_id", "source_file", "source_record", "state"])
    return sorted((r for r in found if r["source_file"] == VIOLATIONS), key=lambda r: r["source_record"])


def _answer(demo: Path, path: Path, wanted: Sequence[Mapping[str, Any]]) -> int:
    """What the lender would send: the cells as they were before the demo damaged them. The number of cells."""
    names = list(plain_contract.load()["properties"])
    _, *clean = plain_contract.records(HERE / "registers" / CLEAN)
    _, *damaged = plain_contract.records(demo / "landing" / "hmda" / VIOLATIONS)
    cells = 0
    with path.open("w", encoding="utf-8", newline="") as out:
        write = csv.writer(out)
        write.writerow(["record_id", "column", "value"])
        for entry in wanted:
            right, wrong = clean[entry["source_record"] - 1], damaged[entry["source_record"] - 1]
            whole = len(wrong) != len(right)
            for position, name in enumerate(names):
                if whole or right[position] != wrong[position]:
                    write.writerow([entry["record_id"], name, right[position]])
                    cells += 1
    return cells


def _token(person: str) -> str:
    """A token as a portal would sign it for somebody who approves."""
    import jwt

    claims = {"sub": person, "role": "approver", "exp": int(time.time()) + 600}
    return jwt.encode(claims, os.environ["DATALAKE_TOKEN_KEY"], algorithm="HS256")


def _closing(root: Path, batch: str) -> tables.Line:
    """quarantined = open + replayed + resolved + discarded + superseded + withdrawn, for the batch."""
    listed = lake(root, "quarantine", "list", "--pipeline", "mortgage/lar")
    (line,) = [b for b in listed["batches"] if b["batch"] == batch]
    quarantined, states = _loaded(root, batch)["counts"]["quarantined"], line["states"]
    terms = " + ".join(f"{number} {state}" for state, number in sorted(states.items()))
    return tables.Line(quarantined == sum(states.values()), f"way back: {quarantined} quarantined = {terms}")


def _loaded(root: Path, batch: str) -> dict[str, Any]:
    """The batch as the load that ran to its end told of it."""
    run = json.loads((root / "run.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = next(b for p in run["pipelines"] for b in p["batches"] if b["batch"] == batch)
    return found


def _same(what: str, found: object, expected: object) -> tables.Line:
    return tables.Line(found == expected, what if found == expected else f"{what}: found {found}, wanted {expected}")
