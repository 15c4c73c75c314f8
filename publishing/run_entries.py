"""The journal's account of runs: what `ops.pipeline_runs` is made from, and made again.

    runs/<app>/<pipeline>/<thousands>/<number>.opened.json     before a run does anything
    runs/<app>/<pipeline>/<thousands>/<number>.ended.json      when it ends; of a killed one when that is found out

Runs of a pipeline are numbered from 1 in the order they began, whatever the clock says.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from publishing.journal import Journal, attempt_entry
from publishing.lake import Lake
from publishing.ledger import Attempt, Batch

RUNS = "runs"
KILLED = "killed"
FAILED = "failed"
_FOLDER = 1000  # runs a folder


def run_entry(pipeline: str, number: int, what: str) -> str:
    """what: opened, ended."""
    return f"{RUNS}/{pipeline}/{number // _FOLDER:05d}/{number:08d}.{what}.json"


def newest_run(journal: Journal, pipeline: str) -> int:
    """The number of the newest run of a pipeline; 0 where it never ran."""
    folder = journal.root / RUNS / pipeline
    thousands = sorted((p for p in folder.iterdir() if p.name.isdigit()), reverse=True) if folder.is_dir() else []
    for each in thousands:
        numbers = [int(p.name.split(".")[0]) for p in each.glob("[0-9]*.opened.json")]
        if numbers:
            return max(numbers)
    return 0


def open_run(journal: Journal, pipeline: str, facts: Mapping[str, Any]) -> int:
    """Gives a run the next number and writes its first entry."""
    token = uuid.uuid4().hex
    number = newest_run(journal, pipeline) + 1
    while True:
        mine = {**facts, "pipeline": pipeline, "number": number, "token": token}
        if journal.write(run_entry(pipeline, number, "opened"), mine)["token"] == token:
            return number
        number += 1


def end_run(lake: Lake, pipeline: str, number: int, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Writes how a run ended; what stands there already stays."""
    return lake.journal.write(run_entry(pipeline, number, "ended"), {**facts, "pipeline": pipeline, "number": number})


def finished_run(lake: Lake, pipeline: str, number: int) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """(how it began, how it ended) of a run that is over; None where the journal has no such run, or it goes on.

    A run without an end is over when a later one began: they wait for each other, so its process is gone.
    """
    journal = lake.journal
    if not journal.exists(run_entry(pipeline, number, "opened")):
        return None
    opened = journal.read(run_entry(pipeline, number, "opened"))
    name = run_entry(pipeline, number, "ended")
    if journal.exists(name):
        return opened, journal.read(name)
    if number >= newest_run(journal, pipeline):
        return None
    killed = {"status": KILLED, "error_type": KILLED, "reason": "the process ended before its run did"}
    return opened, end_run(lake, pipeline, number, {**killed, "attempts": _ended_by(lake, pipeline, number)})


def went_well(journal: Journal, pipeline: str, number: int) -> bool:
    """Whether a run came to its end with nothing failed; of a number that no run has there is nothing ill to say."""
    name = run_entry(pipeline, number, "ended")
    if journal.exists(name):
        return journal.read(name)["status"] not in (KILLED, FAILED)
    return not journal.exists(run_entry(pipeline, number, "opened"))


def outcomes_of(
    journal: Journal, pipeline: str, number: int, attempts: Sequence[Sequence[Any]]
) -> list[dict[str, Any]]:
    """The journal's outcomes among these attempts (batch id, number) that this run was the first to write."""
    found = []
    for batch_id, attempt in attempts:
        name = attempt_entry(pipeline, batch_id, attempt, "outcome")
        if journal.exists(name):
            document = journal.read(name)
            if (document.get("ops") or {}).get("run") == number:
                found.append(document)
    return found


def _ended_by(lake: Lake, pipeline: str, number: int) -> list[list[Any]]:
    """The attempts whose outcome a killed run journaled; the ledger may not know of the last one."""
    with lake.ledger.read() as session:
        of_pipeline = select(Attempt.batch_id, Attempt.number).join(Batch, Attempt.batch_id == Batch.id)
        known = Attempt.outcome["ops"]["run"].as_integer() == number
        chosen = of_pipeline.where(Batch.pipeline == pipeline, known | (Batch.status == "open"))
        attempts = sorted([batch_id, attempt] for batch_id, attempt in session.execute(chosen))
    ended = {(o["batch"], o["attempt"]) for o in outcomes_of(lake.journal, pipeline, number, attempts)}
    return [each for each in attempts if (each[0], each[1]) in ended]
