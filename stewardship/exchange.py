"""A batch as a CSV file for work outside, and the edited file back as a proposed correction.

Masked cells read `masked:aa-99`. Whoever edits the file writes the new value in place of one; what is left as it is
changes nothing. A null and an empty text are both empty cells: one left empty changes neither.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline_xml.checked import Catalog, CheckedPipeline
from publishing.lake import Lake
from publishing.quarantine import OPEN
from stewardship import audit
from stewardship.actors import Actor, reason_of, require
from stewardship.batches import STATES
from stewardship.correct import Proposal, correct_values
from stewardship.entries import scan
from stewardship.new_values import BESIDE, Named, header_name, read_values
from stewardship.payloads import SEALED, Payloads, cells_by_record, fields, masked
from stewardship.refused import Problem, Refused
from stewardship.selection import Scope, named_records, standing

MASK = "masked:"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written. `revealed`: the cells are in clear."""

    pipeline: str
    batch: str
    key: str
    path: str
    records: int
    revealed: bool

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def export(
    lake: Lake, catalog: Catalog, pipeline: CheckedPipeline, actor: Actor, batch: str, path: Path, *,
    state: str | None = OPEN, rule: str | None = None, reveal: bool = False, reason: str = "",
) -> Exported:  # fmt: skip
    """Writes the batch's entries of that state (None: all) to a new file that only its owner reads.

    In clear only for an auditor with a reason, and on record before anything is opened.
    """
    require(catalog, pipeline.key, actor, "reveal" if reveal else "export")
    kept = reason_of(reason) if reveal else reason.strip()
    if state is not None and state not in STATES:
        raise Refused(f"no state '{state}'; valid: {', '.join(STATES)}")
    at = standing(lake, pipeline, Scope(batch))
    batch_id, key = next(iter(at.keys.items()))
    about = {"pipeline": pipeline.key, "key": key, "file": path.name, "revealed": reveal, "reason": kept}
    with lake.ledger.write() as session:
        audit.append(session, lake, actor, "reveal" if reveal else "export", batch_id, about)
    audit.journal_entries(lake)
    columns = (*SEALED, "source_file", "source_record", "errors")
    parts = scan(at.snapshot, [batch_id], columns, state=state, rule=rule)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror}; name a file that does not exist yet") from error
    records = 0
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow([*BESIDE, *(header_name(field.name) for field in fields(pipeline))])
        for line in _lines(lake, pipeline, parts, reveal):
            out.writerow(line)
            records += 1
    return Exported(pipeline.key, batch_id, key, str(path), records, reveal)


def _lines(lake: Lake, pipeline: CheckedPipeline, parts: Iterator[Any], reveal: bool) -> Iterator[list[Any]]:
    payloads = Payloads(lake, pipeline)
    for part in parts:
        cells = cells_by_record(payloads.cells(part))
        for row in part.select(["record_id", "source_file", "source_record", "errors"]).to_pylist():
            own = cells[row["record_id"]]
            rules = " ".join(dict.fromkeys(error["rule"] for error in row["errors"]))
            texts = (own[f.name] if reveal else marked(masked(f, own[f.name])) for f in fields(pipeline))
            yield [row["record_id"], row["source_file"], row["source_record"], rules, *texts]


def marked(mask: str | None) -> str:
    """A mask as a cell of the file, which no value looks like."""
    return "" if mask is None else MASK + mask


def import_file(
    lake: Lake, catalog: Catalog, pipeline: CheckedPipeline, actor: Actor, reason: str, batch: str, path: Path, *,
    dry_run: bool = False,
) -> Proposal:  # fmt: skip
    """Proposes what was edited in an exported file. Records whose line went out of it stay as they are."""
    require(catalog, pipeline.key, actor, "import")
    named = read_values(path)
    edited = _edited(lake, pipeline, batch, named)
    if not edited.values and not edited.problems:
        raise Refused(f"{path.name}: nothing in it differs from what stands in quarantine")
    return correct_values(
        lake, catalog, pipeline, actor, reason, Scope(batch), edited, dry_run=dry_run, action="import"
    )


def _edited(lake: Lake, pipeline: CheckedPipeline, batch: str, named: Named) -> Named:
    """The cells that are neither what stands in quarantine nor its mask."""
    at = standing(lake, pipeline, Scope(batch))
    entries, _ = named_records(at, list(named.values))
    cells_there = Payloads(lake, pipeline).cells(entries)
    standing_cells = cells_by_record(cells_there)
    known = {field.name: field for field in fields(pipeline)}
    problems = list(named.problems)
    values: dict[str, dict[str, str | None]] = {}
    for record, cells in named.values.items():
        own = standing_cells.get(record)
        if own is None:  # not there, or not open: the correction says so
            values[record] = dict(cells)
            continue
        if record in cells_there.ragged:  # its cells belong to no column: it is given whole, or stays
            if any(cells.values()):
                values[record] = dict(cells)
            continue
        for name, text in cells.items():
            if name not in known:
                values.setdefault(record, {})[name] = text
                continue
            unmoved = text in (own[name] or "", marked(masked(known[name], own[name])))
            if not unmoved and text is not None and text.startswith(MASK):
                problems.append(Problem(record, f"{name} holds a mask that was edited: write the whole new value"))
            elif not unmoved:
                values.setdefault(record, {})[name] = text
    return Named(values, tuple(problems))
