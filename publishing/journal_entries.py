"""Everything the journal holds, read at once: what a ledger is made from again, and what it is compared with.

    claims/<app>/<pipeline>/<claim>[.copied].json
    reopened/<app>/<pipeline>/<digest>.json
    audit/<number>.json
    landing/<app>/<zone>/<decision>[.ended].json
    reruns/<app>/<pipeline>/<number>.json
    runs/<app>/<pipeline>/<thousands>/<number>.<what>.json    the newest of each pipeline only
    <app>/<pipeline>/<batch>/batch.json, attempt-NNNN.<what>.json, recount-<table>-<number>.json,
                             <kind>-<id>[.<what>].json
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from publishing.claim_entries import CLAIMS
from publishing.decisions import Rerun
from publishing.journal import Journal
from publishing.lake import Lake
from publishing.ledger import now
from publishing.run_entries import RUNS

REOPENED = "reopened"
AUDIT = "audit"
LANDING = "landing"
RERUNS = "reruns"
BESIDE = (CLAIMS, REOPENED, AUDIT, RUNS, LANDING, RERUNS)  # folders of the journal that are no application's
Document = dict[str, Any]
_RECOUNT = re.compile(r"recount-.+-(\d{20})\.json")
_ATTEMPT = re.compile(r"attempt-(\d{4,})\.(opened|manifest|scanned|outcome)\.json")


@dataclass(slots=True)
class BatchEntries:
    """The folder of one batch. `attempts`: number -> opened, manifest, scanned, outcome. `others` by file name."""

    id: str
    pipeline: str
    batch: Document | None = None
    attempts: dict[int, dict[str, Document]] = field(default_factory=dict)
    others: dict[str, Document] = field(default_factory=dict)

    def ended(self, status: str) -> dict[int, Document]:
        """The outcomes with a status, by attempt."""
        outcomes = {number: each["outcome"] for number, each in sorted(self.attempts.items()) if "outcome" in each}
        return {number: outcome for number, outcome in outcomes.items() if outcome["status"] == status}

    def of_kind(self, kind: str) -> list[Document]:
        """Entries `<kind>-<id>.json`, in the order of their names."""
        plain = re.compile(rf"{kind}-[^.]+\.json")
        return [document for name, document in sorted(self.others.items()) if plain.fullmatch(name)]


@dataclass(slots=True)
class Entries:
    """All by id: `copied` are claims whose files were copied, `reopened` the attempts that a batch was asked for.

    `taken_back` says when a batch was out of every target; `newest_runs` when the newest run of a pipeline began;
    `asked_for` the attempts (batch, number) that were asked for because of a correction; `reruns_done` the newest rerun
    of each pipeline that was seen to.
    """

    batches: dict[str, BatchEntries] = field(default_factory=dict)
    claims: dict[str, Document] = field(default_factory=dict)
    copied: dict[str, Document] = field(default_factory=dict)
    reopened: dict[str, set[int]] = field(default_factory=dict)
    taken_back: dict[str, str] = field(default_factory=dict)
    asked_for: dict[str, set[tuple[str, int]]] = field(default_factory=dict)
    newest_runs: dict[str, str] = field(default_factory=dict)
    reruns_done: dict[str, Document] = field(default_factory=dict)
    audit: list[Document] = field(default_factory=list)
    landing: list[Document] = field(default_factory=list)

    def is_replay(self, batch_id: str) -> bool:
        """Whether a batch is a replay of its own."""
        found = self.batches.get(batch_id)
        return found is not None and found.batch is not None and found.batch["origin"] == "replay"

    def handed_over(self, replay: BatchEntries) -> bool:
        """Whether the batch of its records was asked for because of its corrections, before it ended itself."""
        if replay.batch is None or not self.is_replay(replay.id):
            return False
        ended = any("outcome" in each for each in replay.attempts.values())
        return not ended and set(replay.batch["window"]["corrections"]) <= self.asked_for.keys()


def journal_scans(lake: Lake, pipeline: str, batch_id: str, attempt: int, scans: Mapping[int, Document]) -> None:
    """What a later attempt found in its files, by arrival: under the definition of its day, not of the first."""
    if scans:
        name = f"{pipeline}/{batch_id}/attempt-{attempt:04d}.scanned.json"
        lake.journal.write(name, {"files": {str(arrival): facts for arrival, facts in scans.items()}})


def journal_reopened(
    lake: Lake,
    pipeline: str,
    attempts: Mapping[str, int],
    taken_back: Mapping[str, int] | None = None,
    corrections: Mapping[str, str] | None = None,
) -> None:
    """That batches were asked for again (batch id -> the attempt they get), in one entry, all of them or none.

    With `taken_back` (batch id -> attempt) also that these are out of every target, which is why the others come back;
    with `corrections` (correction -> batch id) that they come for these.
    """
    if not attempts and not taken_back:
        return
    content: Document = {"pipeline": pipeline, "batches": dict(sorted(attempts.items()))}
    if taken_back:
        content["taken_back"] = dict(sorted(taken_back.items()))
    if corrections:
        content["corrections"] = dict(sorted(corrections.items()))
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]
    lake.journal.write(f"{REOPENED}/{pipeline}/{digest}.json", {**content, "at": now().isoformat()})


def journal_rerun_done(journal: Journal, rerun: Rerun) -> None:
    """That this rerun of a pipeline, and all that were asked for before it, are seen to."""
    content = {"pipeline": rerun.pipeline, "number": rerun.id, "business_date": rerun.business_date.isoformat()}
    name = f"{RERUNS}/{rerun.pipeline}/{rerun.id:012d}.json"
    journal.write(name, {**content, "cause": rerun.cause, "asked_at": rerun.asked_at.isoformat()})


def read_journal(root: Path) -> Entries:
    """All entries below a journal's root. Of manifests, the largest, only which corrections they obeyed."""
    found = Entries()
    newest: dict[str, Path] = {}
    if not root.is_dir():
        return found
    for path in _documents(root):
        parts = path.relative_to(root).parts
        if parts[0] == AUDIT:
            found.audit.append(_read(path))
        elif parts[0] == LANDING:
            found.landing.append(_read(path))
        elif parts[0] == RERUNS and len(parts) == 4:
            done = _read(path)  # in the order of their numbers
            found.reruns_done[done["pipeline"]] = done
        elif parts[0] == CLAIMS and len(parts) == 4:
            document = _read(path)
            kind = found.copied if path.name.endswith(".copied.json") else found.claims
            kind[document["claim"]] = document
        elif parts[0] == REOPENED and len(parts) == 4:
            asked = _read(path)
            for batch, attempt in asked["batches"].items():
                found.reopened.setdefault(batch, set()).add(attempt)
            for correction, batch in asked.get("corrections", {}).items():
                found.asked_for.setdefault(correction, set()).add((batch, asked["batches"][batch]))
            found.taken_back |= dict.fromkeys(asked.get("taken_back", ()), asked.get("at", ""))
        elif parts[0] == RUNS and len(parts) == 5:
            if path.name.endswith(".opened.json"):
                newest["/".join(parts[1:3])] = path  # in the order of their numbers
        elif len(parts) == 4:
            _of_batch(found, path, parts)
    for each in found.batches.values():
        _recounted(each)
    found.newest_runs = {pipeline: _read(path).get("started_at", "") for pipeline, path in newest.items()}
    return found


def ended_at(outcome: Document) -> tuple[int, str]:
    """(number of the run, moment): outcomes of a pipeline in the order they were made, whatever the clock says."""
    facts = outcome.get("ops") or {}
    return facts.get("run") or 0, facts.get("ended_at") or ""


def _documents(root: Path) -> Iterator[Path]:
    """In the order of their names. Hidden ones are what a crash left of an entry that was not finished."""
    yield from (p for p in sorted(root.rglob("*.json")) if not p.name.startswith("."))


def _recounted(batch: BatchEntries) -> None:
    """Outcomes as they were counted anew (publishing/recount.py): the number rises with each count."""
    counts = [(match[1], document) for name, document in batch.others.items() if (match := _RECOUNT.fullmatch(name))]
    for _, document in sorted(counts, key=lambda each: each[0]):
        batch.attempts.get(document["attempt"], {})["outcome"] = document["outcome"]


def _of_batch(found: Entries, path: Path, parts: tuple[str, ...]) -> None:
    app, pipeline, batch_id, name = parts
    entries = found.batches.setdefault(batch_id, BatchEntries(batch_id, f"{app}/{pipeline}"))
    attempt = _ATTEMPT.fullmatch(name)
    if name == "batch.json":
        entries.batch = _read(path)
    elif attempt is None:
        entries.others[name] = _read(path)
    else:
        document = _read(path)
        if attempt[2] == "manifest":
            document = {"corrections": document.get("corrections", [])}
        entries.attempts.setdefault(int(attempt[1]), {})[attempt[2]] = document


def _read(path: Path) -> Document:
    found: Document = json.loads(path.read_text(encoding="utf-8"))
    return found
