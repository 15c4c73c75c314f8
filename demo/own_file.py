"""The demo with a person's own file: contract and pipeline are inferred, the file is landed, run and accounted for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from command_line.new import CannotWrite, new, print_made
from command_line.report import print_run
from processing.infer_sample import CannotInfer
from publishing.outcome import RunOutcome
from resources.settings import Settings

APP = "sandbox"
EXIT = {"published": 0, "nothing_to_do": 0, "held": 3, "failed": 1}

Run = Callable[[Console, Settings, str, str], RunOutcome]
Show = Callable[[Console, Path, RunOutcome], None]


class Refused(Exception):
    """Nothing can be inferred from the file; says why and what to do."""


def demo(console: Console, settings: Settings, file: Path, run: Run, show: Show) -> int:
    """Exit code as of `lake run`; 1 also where an equation does not close."""
    try:
        made = new(file, settings.config, APP)
    except (CannotInfer, CannotWrite) as error:
        raise Refused(str(error)) from error
    print_made(console, made)
    if any(p.severity == "error" for p in made.problems):
        return EXIT["failed"]
    landing = settings.data / made.definition.landing
    landing.mkdir(parents=True)
    part = landing / f"{file.name}.tmp"
    shutil.copyfile(file, part)
    part.replace(landing / file.name)
    outcome = run(console, settings, APP, made.definition.pipeline)
    print_run(console, outcome)
    show(console, settings.data, outcome)
    batches = [b for p in outcome.pipelines for b in p.batches]
    # A file that is held is accounted for as a whole: nothing of it is published.
    counts = [c for b in batches if b.status == "published" for c in (b.counts, *(x.counts for x in b.files))]
    closes = bool(batches) and all(c.closes for c in counts)
    counted = sum(b.counts.in_ for b in batches)
    said = "every record is accounted for" if closes else "THE ACCOUNTS DO NOT CLOSE"
    said = "the run failed" if outcome.status == "failed" else said
    held = ", as a held file that publishes nothing" if outcome.status == "held" else ""
    console.print(f"\n{counted:,} records in {file.name}: {said}{held}", markup=False, highlight=False, soft_wrap=True)
    contract = settings.config / "applications" / APP / "staging" / "schemas" / f"{made.definition.pipeline}.json"
    prefix = f"DATALAKE_CONFIG={settings.config} DATALAKE_DATA={settings.data} .venv/bin/lake"
    for line in (
        f"next: correct what was guessed in {contract}, then",
        f"      {prefix} run {APP}/{made.definition.pipeline} --reprocess",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return EXIT[outcome.status] if closes else EXIT["failed"]
