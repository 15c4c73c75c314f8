"""The demo: damaged registers through the whole mortgage application, then every count held against the damage list.

    python demo/run_demo.py                    the registers; exit 0 only if everything reconciles as listed
    python demo/run_demo.py my.csv             a file of your own (FILE=my.csv is understood too)
    python demo/run_demo.py --compare          holds what the last demo left against the list, without a run
    python demo/run_demo.py … --expect LIST    another damage list

The lake root is `.demo` in the project, or DATALAKE_DATA; it is made anew each time, if the demo made it before.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import compare
import damage
import own_file
import tables
import way_back
from rich.console import Console

from command_line.report import print_run
from publishing.outcome import BatchOutcome, RunOutcome
from resources.settings import Settings, SettingsError

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
MARK = ".made-by-the-demo"
SEED = 20201231
OK, DIFFERENT, WRONG_USE = 0, 1, 2


class NotOurs(Exception):
    """A folder that the demo would empty and did not make."""


def fresh(root: Path) -> None:
    """An empty lake root. NotOurs where something lies there that the demo did not make."""
    if root.exists() and any(root.iterdir()):
        if not (root / MARK).is_file():
            raise NotOurs(f"{root} is not empty and not made by the demo: set DATALAKE_DATA to another folder")
        shutil.rmtree(root)
    root.mkdir(parents=True, exist_ok=True)
    mark(root)


def mark(root: Path) -> None:
    (root / MARK).write_text("The demo empties this folder whenever it runs.\n", encoding="utf-8")


def environment(root: Path, config: Path) -> Settings:
    """Points the product at these folders and sets the demo's secrets where none are set."""
    for line in (HERE / "environment").read_text(encoding="utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            os.environ.setdefault(name, value)
    os.environ["DATALAKE_DATA"], os.environ["DATALAKE_CONFIG"] = str(root), str(config)
    os.environ.pop("DATALAKE_APPLICATIONS", None)
    return Settings.from_environment()


def run(console: Console, settings: Settings, app: str, name: str) -> RunOutcome:
    """Runs on the same instance and through the same code as `lake run`, and says each batch as it ends."""
    from datalake_assets.execute import execute

    with console.status(f"running {app}/{name} on {settings.engine} …") as status:

        def ended(pipeline: str, batch: BatchOutcome) -> None:
            counts = f"{batch.counts.in_:,} in, {batch.counts.accepted:,} accepted"
            console.print(
                f"  {pipeline}  {batch.key}: {batch.status}, {counts}", markup=False, highlight=False, soft_wrap=True
            )
            status.update(f"running {app}/{name} on {settings.engine}: after {batch.key} …")

        return execute(settings, app, name, watch=ended)


def reported(document: Mapping[str, Any], listed: Mapping[str, Any]) -> Iterator[tables.Line]:
    """What the run says of itself against the list: statuses, reasons, counts, and records that break each rule."""
    found = list(compare.differences(document, listed))
    for text in found:
        yield tables.Line(False, f"report: {text}")
    held = sorted(f["name"] for f in listed["files"] if f["status"] == "held")
    if not found:
        yield tables.Line(True, f"report: status, reason and counts of {len(listed['files'])} files and their batches")
    said = {
        f["uri"].rsplit("/", 1)[-1]
        for p in document["pipelines"]
        for b in p["batches"]
        for f in b["files"]
        if f["status"] == "held"
    }
    what = f"report: held are exactly {', '.join(held)}"
    yield tables.Line(said == set(held), what if said == set(held) else f"{what}; found {', '.join(sorted(said))}")
    open_ends = [
        place["uri"] if "uri" in place else place["key"]
        for p in document["pipelines"]
        for b in p["batches"]
        for place in (b, *b["files"])
        if place["status"] == "published" and not compare.closes(place["counts"])
    ]
    what = "report: the equation closes for every published batch and file"
    yield tables.Line(not open_ends, what if not open_ends else f"{what}: not for {', '.join(open_ends)}")
    for day in listed["staging"]:
        yield _rules(document, day)


def _rules(document: Mapping[str, Any], day: Mapping[str, Any]) -> tables.Line:
    """How many records break each rule that spans columns, warnings too."""
    failed: dict[str, int] = {}
    listed = day["records_breaking"]
    for p in document["pipelines"]:
        for b in p["batches"] if p["pipeline"] == "mortgage/lar" else ():
            if b["business_date"] == day["business_date"] and b["status"] == "published":
                for check in b["checks"]:
                    failed[check["name"]] = failed.get(check["name"], 0) + check["failed_rows"]
    rules = {name: count for name, count in failed.items() if count and name[:1] in "VQ" and name[1:2].isdigit()}
    wrong = sorted(name for name in rules.keys() | listed.keys() if rules.get(name, 0) != listed.get(name, 0))
    what = f"report: records that break each of {len(listed)} edits, {day['business_date']}"
    return tables.Line(not wrong, what if not wrong else f"{what}: others for {', '.join(wrong)}")


def hold_against(console: Console, root: Path, expect: Path | None) -> bool:
    """Prints every comparison with the damage list; True where nothing differs."""
    listed = json.loads((expect or root / "damage.json").read_text(encoding="utf-8"))
    document = json.loads((root / "run.json").read_text(encoding="utf-8"))
    lines = [*reported(document, listed), *tables.compare(root, listed)]
    console.rule("against the damage list", align="left")
    for line in lines:
        console.print(str(line), markup=False, highlight=False, soft_wrap=True, style=None if line.ok else "red")
    wrong = sum(not line.ok for line in lines)
    console.print(f"{len(lines)} comparisons, {wrong} different", style="red" if wrong else "green", highlight=False)
    return not wrong


def where_things_are(console: Console, root: Path, outcome: RunOutcome) -> None:
    """Paths of tables, exports and quarantine, and three quarantined records with every reason, masked."""
    console.rule("where it is", align="left")
    places = {t.path: f"{t.kind:6} {t.name}" for p in outcome.pipelines for b in p.batches for t in b.targets}
    for path, name in places.items():
        _say(console, f"{name:50} {path}")
    quarantines = [b.quarantine for p in outcome.pipelines for b in p.batches if b.quarantine]
    kept = sorted({q.path for q in quarantines if q.records})
    for path in kept:
        _say(console, f"{'delta  quarantine':50} {path}")
    for path in kept[:1]:
        console.rule("quarantined records, masked (three at most)", align="left")
        for row in _three(Path(path)):
            _say(console, f"{row['source_file']} record {row['source_record']}")
            for error in row["errors"]:
                _say(console, f"    {error['severity']:8} {error['rule']}: {error['message']}")
            _say(console, f"    preview  {row['preview']}")


def _three(path: Path) -> list[dict[str, Any]]:
    """Of different kinds: the most reasons first, then those that have other reasons than the ones before."""
    found = tables.rows(path, ["source_file", "source_record", "errors", "preview"])
    found.sort(key=lambda r: (-len(r["errors"]), r["source_file"], r["source_record"]))
    chosen: list[dict[str, Any]] = []
    for row in found:
        kinds = {e["code"] for e in row["errors"]}
        if not any(kinds == {e["code"] for e in other["errors"]} for other in chosen):
            chosen.append(row)
    return (chosen + [r for r in found if r not in chosen])[:3]


def registers(console: Console, root: Path, expect: Path | None) -> int:
    """The main demo."""
    fresh(root)
    settings = environment(root, PROJECT / "config")
    listed = damage.write(root, SEED)
    total = sum(f["records"] for f in listed["files"])
    _say(console, f"{len(listed['files'])} registers, {total:,} records, in {root / listed['landing']}; some damaged:")
    for item in listed["files"]:
        _say(console, f"  {item['name']:40} {item['records']:>5} records  {item['done']}")
    started = time.monotonic()
    outcome = run(console, settings, "mortgage", "hmda_filing")
    (root / "run.json").write_text(json.dumps(outcome.as_dict(), indent=1) + "\n", encoding="utf-8")
    print_run(console, outcome)
    if outcome.status == "failed":
        return DIFFERENT
    same = hold_against(console, root, expect)
    where_things_are(console, root, outcome)
    seconds = time.monotonic() - started
    _say(console, f"\n{seconds:.0f} s. Held files are part of the demo: the list says which and why.")
    try:
        same &= way_back.shown(console, root)
    except way_back.StepFailed as failed:
        _say(console, str(failed))
        return DIFFERENT
    _say(console, f"\n{time.monotonic() - started:.0f} s in all.")
    prefix = f"DATALAKE_DATA={_short(root)} .venv/bin/lake"
    following = {
        f"{prefix} run mortgage/hmda_filing": "the same input again: nothing is published twice",
        f"{prefix} explain mortgage/lar": "what was built and run",
        "make demo FILE=my.csv": "the same with a file of yours",
    }
    for start, (command, what) in zip(("next:", "     ", "     "), following.items(), strict=True):
        _say(console, f"{start} {command:{max(map(len, following))}}  ({what})")
    return OK if same else DIFFERENT


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Run the demo, on damaged registers or on a file of your own.")
    parser.add_argument("file", nargs="?", help="a CSV file of your own, also as FILE=my.csv")
    parser.add_argument("--compare", action="store_true", help="hold what the last demo left against the list")
    parser.add_argument("--expect", type=Path, help="another damage list than the one that the demo writes")
    chosen = parser.parse_args(arguments)
    # Wide enough for every term of the equation where nobody's terminal says otherwise.
    # A copy of standard output: while a run goes on, the descriptor itself leads to standard error.
    output = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    console = Console(file=output, width=None if output.isatty() else 160)
    stated = os.environ.get("DATALAKE_DATA")
    root = Path(stated).absolute() if stated else PROJECT / ".demo"
    try:
        if chosen.compare:
            return OK if hold_against(console, root, chosen.expect) else DIFFERENT
        if chosen.file:
            own = root if stated else root / "own"
            root.mkdir(parents=True, exist_ok=True)
            if own != root and not any(root.iterdir()):
                mark(root)
            fresh(own)
            settings = environment(own, own / "config")
            return own_file.demo(console, settings, Path(chosen.file.removeprefix("FILE=")), run, where_things_are)
        return registers(console, root, chosen.expect)
    except (NotOurs, SettingsError, own_file.Refused) as error:
        print(error, file=sys.stderr)
        return WRONG_USE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
